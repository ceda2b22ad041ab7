"""`gnomon check|compare|doctor`: whether what was learned is any good, which run is best, and what a run's history tells.

Statistics and reports are made in `checks`; comparisons and diagnoses in files of their own beside this one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.arguments import HOW_STRANGE, Debug, Device, Json, Overwrite, Run, Seed, listed, new_target, said, supports
from gnomon.cli.lines import as_json, table
from gnomon.errors import OptionError, RunError

MOST_OF_A_CELL = 48
"""So many characters of a name are shown in a table."""


def check(
    first: Annotated[str, typer.Argument(metavar="RUN|REAL", help="A run folder, or real data.")],
    second: Annotated[str, typer.Argument(metavar="DATA|GENERATED", help="Data the run has not seen, or generated data.")],
    budget: Annotated[str | None, typer.Option(metavar="1min", help="How long it may take, roughly.")] = None,
    require: Annotated[list[str] | None, typer.Option(metavar="'c2st_auc<0.6'", help="Exit 1 unless this holds (at every place).")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="For the report; by default RUN/check or gnomon-check.")
    ] = None,
    anomaly: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that tells which rows are anomalies, for a run with an anomaly score.")
    ] = None,
    anomaly_by: Annotated[str | None, typer.Option(metavar="WAY", help=HOW_STRANGE)] = None,
    train: Annotated[str | None, typer.Option(metavar="DATA", help="Rows the model was trained on, to look for copies of them.")] = None,
    features: Annotated[
        str, typer.Option(metavar="auto|none|RUN", help="What images and sets are compared by: an encoder trained for it, none, or a run.")
    ] = "auto",
    target: Annotated[str | None, typer.Option(metavar="Y", help="Column with labels (two data sets).")] = None,
    weight: Annotated[str | None, typer.Option(metavar="W", help="Column with weights (two data sets).")] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="C,D", help="Columns to leave out (two data sets).")] = None,
    column: Annotated[list[str] | None, typer.Option(metavar="NAME:SUPPORT", help="Support of a column (two data sets).")] = None,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="What bare arrays are: image, … (two data sets).")] = None,
    seed: Seed = 0,
    json: Json = False,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> int:
    """Judge a run on data it has not seen, or generated data against real data; every number beside its null.

    A folder that holds run.json is a run; with two data sets, the first is the real one. The default folder is replaced, one named
    with -o only with --overwrite.

    \b
    Examples:
      gnomon check runs/events heldout.parquet
      gnomon check real.parquet generated.parquet --budget 1min -o report/
      gnomon check runs/events heldout.parquet --require "c2st_auc<0.6" --json
      gnomon check runs/normal heldout.parquet --anomaly is_fault
      gnomon check runs/normal heldout.parquet --anomaly is_fault --anomaly-by latent
    """
    from gnomon import checks, learned
    from gnomon.checks.reports.report import refuse_folder
    from gnomon.learned import runs

    for demand in require or ():
        checks.parse_demand(demand)
    is_run = runs.is_run(first)
    folder = out if out is not None else Path(first) / "check" if is_run else Path("gnomon-check")
    if out is not None:
        new_target(out, overwrite)
    refuse_folder(folder)
    left: Any = learned.load(first) if is_run else first
    reading = said(
        train=train,
        anomaly=anomaly,
        anomaly_by=anomaly_by,
        target=target,
        weight=weight,
        drop=listed(drop),
        columns=supports(column),
        kind=kind,
    )
    report = checks.check(left, second, budget=budget, seed=seed, features=None if features == "none" else features, **reading)
    page = report.save(folder, overwrite=overwrite or out is None)
    failures = checks.requirements(report, require or ())
    if json:
        print(as_json(report.to_json()))
    else:
        print(_told(report))
        print(f"report: {page}")
    for failure in failures:
        print(f"gnomon: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _told(report: Any) -> str:
    rows = [[_short(cell, MOST_OF_A_CELL) for cell in row[:5]] for row in report.table()]
    lines = [table(report.columns[:5], rows)] if report.statistics else []
    return "\n".join([*lines, "", *(_short(text) for text in (report.verdict, *(f"- {finding}" for finding in report.findings)))])


def _short(text: str, most: int = 2000) -> str:
    """A text on one line that steers no terminal, its middle left out if it is too long."""
    from gnomon.errors import visible

    flat = visible(" ".join(text.split()))
    return flat if len(flat) <= most else f"{flat[: most // 2]}…{flat[-(most - 1 - most // 2) :]}"


def compare(
    arguments: Annotated[list[str], typer.Argument(metavar="RUN RUN… DATA", help="Two or more runs, then data none of them has seen.")],
    device: Device = "cpu",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Rank runs on the same held-out data: best first, each with its paired difference to the best ± its standard error, and say which
    differences are real.

    Densities are ranked by mean log_prob, classifiers by the mean log-probability of the true class, regressors by squared error; runs
    without these by how far their samples lie from the data. Runs that differ in their seed only are taken together.

    \b
    Examples:
      gnomon compare runs/flow runs/vae heldout.parquet
    """
    from gnomon import checks
    from gnomon.cli.comparing import told

    if len(arguments) < 3:
        raise OptionError("compare wants two or more runs and then the data: gnomon compare RUN RUN… DATA")
    *names, data = arguments
    made = checks.compare(names, data, device=device)
    print(as_json(made.to_json()) if json else told(made))


def doctor(
    run: Run,
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="Draw layers and loss landscape on these rows too.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="For the pictures; RUN/doctor unless given.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what the history of a run tells about its training, and what to try.

    With data also two pictures: size of signals and gradients layer by layer, and the loss on a plane through the weights.

    \b
    Examples:
      gnomon doctor runs/events
      gnomon doctor runs/events heldout.parquet -o pictures
    """
    from gnomon.cli.diagnosis import diagnose
    from gnomon.learned import runs

    findings = diagnose(runs.read_history(run), runs.read_run(run))
    if out is not None and data is None:
        raise OptionError("pictures are drawn on data: gnomon doctor RUN DATA -o FOLDER")
    drawn = [] if data is None else _drawn(run, data, out or run / "doctor")
    if json:
        listed = [{"severity": severity, "finding": text} for severity, text in findings]
        print(as_json({"run": str(run), "findings": listed, "pictures": [str(path) for path in drawn]}))
        return
    for severity, text in findings:
        print(f"{severity:8} {text}")
    for path in drawn:
        print(f"picture  {path}")


def _drawn(run: Path, data: str, folder: Path) -> list[Path]:
    """The pictures of a run on data."""
    from gnomon.learned import load
    from gnomon.training.doctor import gradient_profile, loss_landscape

    learned = load(run)
    if not learned.model.players():
        raise OptionError(f"{learned.name} is solved in closed form: it has no gradients to draw")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder '{folder}': {error.strerror or error}") from error
    gradient_profile(learned, data).save(folder / "gradients.png")
    loss_landscape(learned, data).save(folder / "landscape.png")
    return [folder / "gradients.png", folder / "landscape.png"]
