"""`gnomon sample|score|predict|encode|decode|reconstruct`: one ability of a run each, from a file to a file.

The abilities are `Learned`'s; here stand the names of the columns that are written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.arguments import HOW_STRANGE, Data, Debug, Device, Out, Overwrite, Run, Seed, assignments, new_target
from gnomon.errors import AbilityError, DataError, OptionError

Samples = Annotated[int | None, typer.Option("--samples", metavar="N", help="Random passes to average over.")]


def sample(
    run: Run,
    out: Out,
    n: Annotated[int, typer.Option("-n", "--number", metavar="N", help="How many.")],
    given: Annotated[list[str] | None, typer.Option(metavar="A=1,B=2", help="The condition, the same for all.")] = None,
    given_from: Annotated[str | None, typer.Option(metavar="FILE", help="Conditions row by row; a shorter file starts over.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Draw new examples, as a table with the training table's columns.

    \b
    Examples:
      gnomon sample runs/events -n 10000 -o samples.parquet
      gnomon sample runs/events -n 500 --given energy=50,particle=e -o electrons.csv
      gnomon sample runs/events -n 10000 --given-from heldout.parquet -o like-heldout.parquet
      gnomon sample runs/digits -n 64 --seed 1 -o pictures/
    """
    new_target(out, overwrite)
    learned = _load(run, device)
    conditions: Any = _said_conditions(learned, given)
    if given_from is not None:
        if given:
            raise OptionError("--given and --given-from exclude each other; put all conditions into the file")
        conditions = _conditions_from(learned, given_from, n)
    _write(learned.sample(n, conditions, seed), out, overwrite, learned)


def score(
    run: Run,
    data: Data,
    out: Out,
    anomaly: Annotated[bool, typer.Option("--anomaly", help="Also write anomaly (larger is stranger) and p_value.")] = False,
    anomaly_by: Annotated[str | None, typer.Option(metavar="WAY", help=f"{HOW_STRANGE} Implies --anomaly.")] = None,
    direction: Annotated[
        str, typer.Option(metavar="high|low|both", help="Which scores p_value calls strange (others than high imply --anomaly).")
    ] = "high",
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column that tells the anomalies: print how well they are found (implies --anomaly)."),
    ] = None,
    samples: Samples = None,
    device: Device = "cpu",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write the log-probability of each example, in nats and in the user's units: column log_prob.

    A model that only knows a lower bound writes log_prob_bound and log_prob_error. With --anomaly: anomaly, larger for stranger
    examples, and p_value, the share of held-out examples that were at least as strange. With --anomaly-by nothing else is written.

    \b
    Examples:
      gnomon score runs/events other.parquet -o scores.parquet
      gnomon score runs/digits digits --anomaly -o scores.csv
      gnomon score runs/digits digits --anomaly-by latent --direction both -o scores.csv
      gnomon score runs/normal new.parquet --label is_fault -o scores.csv
    """
    new_target(out, overwrite)
    learned = _load(run, device)
    anomaly = anomaly or anomaly_by is not None or label is not None or direction != "high"
    if anomaly_by is not None and samples is not None:
        raise OptionError("--samples is for the bound that is written without --anomaly-by; leave one of the two out")
    truth = None if label is None else _truth(learned, data, label)
    raw = learned.read(data if truth is None else truth[0], density=True)
    columns: dict[str, Any] = {}
    if anomaly_by is not None:
        pass
    elif "log_prob" in learned.abilities:
        columns["log_prob"] = learned.log_prob(raw)
    elif "log_prob_bound" in learned.abilities:
        columns["log_prob_bound"], columns["log_prob_error"] = learned.log_prob_bound(raw, samples)
    elif not anomaly:
        hint = "; add --anomaly for its anomaly score" if "score" in learned.abilities else f"; it can: {', '.join(learned.abilities)}"
        raise AbilityError(f"{learned.name} has no log-probability{hint}")
    if anomaly:
        columns["anomaly"] = learned.score(raw, by=anomaly_by)
        columns["p_value"] = _p_values(learned, columns["anomaly"], by=anomaly_by, direction=direction)
    _write_columns(columns, out, overwrite)
    if truth is not None:
        print(_found(columns, direction, *truth[1:]))


def _truth(learned: Any, data: str, label: str) -> Any:
    from gnomon.checks.gathering.anomalous import truth_of

    return truth_of(learned, data, label)


def _found(columns: dict[str, Any], direction: str, truth: Any, note: str) -> str:
    """How well the anomalies are found, in a line: by large scores, by small ones, or, for both directions, by small p-values."""
    import numpy as np

    from gnomon.checks.case import Anomalies
    from gnomon.checks.statistic import LeftOut, number
    from gnomon.checks.statistics.anomalies import auc_of

    strange = -np.asarray(columns["p_value"], dtype=np.float64) if direction == "both" else columns["anomaly"]
    try:
        made, low, high = auc_of(Anomalies(-strange if direction == "low" else strange, truth))
    except LeftOut as reason:
        return f"no ROC AUC: {reason}"
    how = {"low": "small scores are strange", "both": "small p-values are strange"}.get(direction, "large scores are strange")
    return f"ROC AUC {number(made.value)} ± {number(made.error)}, 95 % interval {number(low)} to {number(high)} ({how}; {note})"


def _p_values(learned: Any, scores: Any, **how: Any) -> Any:
    """p-values, or none of them, and a line that says why."""
    import pyarrow as pa

    try:
        return learned.p_value(scores, **how)
    except AbilityError as error:
        print(f"gnomon: p_value is left empty: {error}", file=sys.stderr)
        return pa.nulls(len(scores), pa.float64())


def predict(
    run: Run,
    data: Data,
    out: Out,
    proba: Annotated[bool, typer.Option("--proba", help="Probabilities of the classes: probability_<class>.")] = False,
    samples: Samples = None,
    device: Device = "cpu",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Predict the target: a column of its name, and <target>_sd where the model knows a spread.

    \b
    Examples:
      gnomon predict runs/wine new.csv -o classes.csv
      gnomon predict runs/wine new.csv --proba -o probabilities.parquet
      gnomon predict runs/diabetes new.csv --samples 50 -o progression.csv
    """
    from gnomon.data import Label

    new_target(out, overwrite)
    learned = _load(run, device)
    target = learned.spec.y
    if "predict" in learned.abilities and isinstance(target, Label):
        made = learned.predict(data, proba=proba, samples=samples)
        names = [f"probability_{value}" for value in target.classes] if proba else [target.name]
        _write_columns(dict(zip(names, made.T if proba else [made], strict=True)), out, overwrite)
        return
    try:
        mean, sd = learned.predict(data, proba=proba, samples=samples, sd=True)
    except AbilityError:
        mean, sd = learned.predict(data, proba=proba, samples=samples), None
    columns = {}
    for i, name in enumerate(getattr(target, "names", ("y",))):
        columns[name] = mean if mean.ndim == 1 else mean[:, i]
        if sd is not None:
            columns[f"{name}_sd"] = sd if sd.ndim == 1 else sd[:, i]
    _write_columns(columns, out, overwrite)


def encode(run: Run, data: Data, out: Out, device: Device = "cpu", overwrite: Overwrite = False, debug: Debug = False) -> None:
    """Write the code of each example: columns z0, z1, …

    \b
    Examples:
      gnomon encode runs/digits digits -o codes.parquet
    """
    new_target(out, overwrite)
    codes = _load(run, device).encode(data)
    if out.suffix == ".npy":
        _write(codes, out, overwrite)
        return
    _write_columns({f"z{i}": codes[:, i] for i in range(codes.shape[1])}, out, overwrite)


def decode(
    run: Run,
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file with columns z0, z1, … and the condition's, or an .npy array.")],
    out: Out,
    given: Annotated[list[str] | None, typer.Option(metavar="A=1,B=2", help="The condition, the same for all.")] = None,
    device: Device = "cpu",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Turn codes back into examples.

    \b
    Examples:
      gnomon decode runs/digits codes.parquet -o pictures/
    """
    new_target(out, overwrite)
    learned = _load(run, device)
    codes, beside = _codes(data, () if given else getattr(learned.spec.given, "names", ()))
    _write(learned.decode(codes, _said_conditions(learned, given) or beside), out, overwrite, learned)


def reconstruct(run: Run, data: Data, out: Out, device: Device = "cpu", overwrite: Overwrite = False, debug: Debug = False) -> None:
    """Write each example as the model tells it again, with the training table's columns.

    \b
    Examples:
      gnomon reconstruct runs/digits digits -o again/
    """
    new_target(out, overwrite)
    learned = _load(run, device)
    _write(learned.reconstruct(data), out, overwrite, learned)


def _load(run: Path, device: str) -> Any:
    from gnomon.learned import load

    return load(run, device=device)


def _said_conditions(learned: Any, texts: list[str] | None) -> dict[str, Any] | None:
    """``--given a=1,b=2`` with each value as its column wants it."""
    from gnomon.learned.conditions import parse_conditions

    return parse_conditions(learned.spec.given, assignments(texts, "--given", several=True)) if texts else None


def _conditions_from(learned: Any, source: str, n: int) -> Any:
    """`n` rows of conditions from a file, in turn."""
    from gnomon.learned.conditions import conditions_from

    return conditions_from(learned.spec.given, source, n)


def _codes(source: str, conditions: tuple[str, ...]) -> tuple[Any, dict[str, Any] | None]:
    """The codes ``(n, k)`` in a file, and the columns of the condition that stand beside them."""
    import numpy as np

    from gnomon.data import read

    found: Any = read(source)
    if not hasattr(found, "columns"):  # an array
        if np.ndim(found.x) != 2:
            raise DataError(f"'{source}' holds no codes: decode wants columns z0, z1, … or an array (n, k)")
        return found.x, None
    names = found.columns.column_names
    columns = names if found.bare else [f"z{i}" for i in range(len(names)) if f"z{i}" in names]
    if not columns or (not found.bare and f"z{len(columns) - 1}" not in names):
        there = ", ".join(names[:5])
        raise DataError(f"'{source}' holds no codes: decode wants columns z0, z1, … as `gnomon encode` writes them; got {there}")
    beside = {name: found.columns[name] for name in conditions if name in names}
    try:
        codes = np.stack([found.columns[name].to_numpy().astype(np.float64) for name in columns], axis=1)
    except (TypeError, ValueError) as error:
        raise DataError(f"'{source}': the codes z0, z1, … must be numbers") from error
    return codes, beside or None


def _write_columns(columns: dict[str, Any], out: Path, overwrite: bool) -> None:
    import pyarrow as pa

    _write(pa.table(columns), out, overwrite)


def _write(made: Any, out: Path, overwrite: bool, learned: Any = None) -> None:
    from gnomon.data import Image, write

    kind = None if learned is None or not isinstance(learned.spec.x, Image) else learned.spec.x
    write(made, out, overwrite=overwrite, kind=kind)
