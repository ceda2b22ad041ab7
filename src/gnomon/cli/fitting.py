"""`gnomon fit`: its options handed to `gnomon.training`, from the command line, a TOML recipe, or the run to be resumed.

What the options mean and which values are right is decided there; here is only what was said.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.arguments import Debug, Json, Overwrite, assignments, listed, nested, new_target, said, supports
from gnomon.cli.lines import as_json, number
from gnomon.errors import OptionError

Option = typer.Option
_ROLES, _TRAINING, _MODEL, _RUN = "Which column is what", "Training", "Model and networks", "Run"


def fit(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="A model's name: gnomon list models.")] = None,
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A file, a folder of images, or a bundled name.")] = None,
    out: Annotated[Path | None, Option("-o", "--out", metavar="RUN", help="Folder for the run.")] = None,
    target: Annotated[str | None, Option(metavar="Y", help="Column to be predicted.")] = None,
    given: Annotated[list[str] | None, Option(metavar="A,B", help="Columns that are conditions.")] = None,
    weight: Annotated[str | None, Option(metavar="W", help="Column with weights.")] = None,
    drop: Annotated[list[str] | None, Option(metavar="C,D", help="Columns to leave out.")] = None,
    column: Annotated[
        list[str] | None, Option(metavar="NAME:SUPPORT", help="Where a column's values live: positive, bounded(0,1), …")
    ] = None,
    kind: Annotated[str | None, Option(metavar="KIND", help="image, signal, set, sequence, tokens or smiles, where not evident.")] = None,
    missing: Annotated[str | None, Option(metavar="HOW", help="Missing values: error, drop or impute.")] = None,
    validation: Annotated[str | None, Option(metavar="0.1|FILE", help="Share of rows held out, or data of its own.")] = None,
    group: Annotated[str | None, Option(metavar="C", help="Column whose values stay on one side of the split.")] = None,
    time: Annotated[str | None, Option(metavar="C", help="Column by which the last rows are held out.")] = None,
    epochs: Annotated[int | None, Option(metavar="N", help="Passes over the data.")] = None,
    batch_size: Annotated[str | None, Option(metavar="N|all", help="Examples per step.")] = None,
    lr: Annotated[float | None, Option(metavar="X", help="Learning rate.")] = None,
    optimizer: Annotated[str | None, Option(metavar="NAME", help="adam, adamw, momentum, muon, lbfgs, …")] = None,
    schedule: Annotated[str | None, Option(metavar="NAME", help="constant, cosine, one-cycle, plateau, …")] = None,
    patience: Annotated[int | None, Option(metavar="N", help="Epochs without improvement before the end.")] = None,
    setting: Annotated[
        list[str] | None, Option("--fit", metavar="NAME=VALUE", help="Any other setting of the fit: clip=1, augment=flip,rotate=15, …")
    ] = None,
    set_: Annotated[
        list[str] | None, Option("--set", metavar="NAME=VALUE", help="An option of the model: gnomon show MODEL; also prior.width=64, …")
    ] = None,
    start: Annotated[str | None, Option(metavar="RUN", help="Learn on from a fitted model; two_stage takes a vae or autoencoder.")] = None,
    encoder: Annotated[str | None, Option(metavar="NAME", help="Encoder network.")] = None,
    decoder: Annotated[str | None, Option(metavar="NAME", help="Decoder network.")] = None,
    mapper: Annotated[str | None, Option(metavar="NAME", help="Mapper network.")] = None,
    net: Annotated[list[str] | None, Option(metavar="NAME=VALUE", help="An option of the networks: gnomon show NETWORK.")] = None,
    seed: Annotated[int | None, Option(metavar="N", help="Seed of everything random.")] = None,
    seeds: Annotated[int | None, Option(metavar="K", help="Train K models at once.")] = None,
    device: Annotated[str | None, Option(metavar="D", help="cpu or cuda.")] = None,
    precision: Annotated[str | None, Option(metavar="P", help="float32 or bfloat16.")] = None,
    compile: Annotated[str | None, Option(metavar="auto|on|off", help="Whether losses are compiled.")] = None,
    log: Annotated[list[str] | None, Option(metavar="NAME", help="Tell a logger too: tensorboard, mlflow or wandb.")] = None,
    range_test: Annotated[
        bool, Option("--range-test", help="No fit: try rising learning rates and suggest one; -o FILE.png draws them.")
    ] = False,
    recipe: Annotated[Path | None, Option(metavar="FILE.toml", help="Take all this from a file; what is said beside it wins.")] = None,
    resume: Annotated[Path | None, Option(metavar="RUN", help="Go on with an interrupted run.")] = None,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, Option("--quiet", help="No progress, no summary.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Train a model on data and keep it in a run folder.

    \b
    Examples:
      gnomon fit flow events.parquet --given energy --epochs 50 -o runs/events
      gnomon fit classifier wine --target cultivar --set label_smoothing=0.1 -o runs/wine
      gnomon fit vae digits --encoder conv --net width=32 --lr 0.001 -o runs/digits
      gnomon fit flow data.csv --column "phi:periodic(-pi,pi)" --column "e:positive" -o runs/data
      gnomon fit flow events.parquet --range-test -o rates.png
      gnomon fit two_stage digits --start runs/digits -o runs/digits-density
      gnomon fit --recipe events.toml -o runs/again
      gnomon fit --resume runs/events

    Ctrl-C saves the run and keeps the best weights so far; --resume goes on exactly where it stopped.
    """
    from gnomon import training

    show = not quiet and not json
    options: dict[str, Any] = nested(assignments(set_, "--set"), "--set")
    options |= said(encoder=encoder, decoder=decoder, mapper=mapper, net=assignments(net, "--net"))
    arguments = said(
        target=target, given=listed(given), weight=weight, drop=listed(drop), columns=supports(column), kind=kind, missing=missing,
        validation=_validation(validation), group=group, time=time, epochs=epochs, batch_size=_batch_size(batch_size), lr=lr,
        optimizer=optimizer, schedule=schedule, patience=patience, seed=seed, seeds=seeds, device=device, precision=precision,
        compile=compile, options=options, start=start, log=listed(log), **assignments(setting, "--fit"),
    )  # fmt: skip
    if resume is not None:
        _refuse_beside_resume(said(model=model, data=data, recipe=recipe, out=out) | {k: v for k, v in arguments.items() if v})
        return _report(training.resume(resume, progress=show), resume, show, json)
    if recipe is not None:
        model, data, arguments, out = _merged(recipe, model, data, arguments, out)
    if model is None or data is None:
        raise OptionError("fit wants a model and data: gnomon fit MODEL DATA -o RUN (or --recipe FILE.toml, or --resume RUN)")
    if range_test:
        return _range_test(training.range_test(model, data, **arguments), out, overwrite, json)
    if out is None:
        raise OptionError("fit wants a folder for the run: add -o RUN")
    return _report(training.fit(model, data, out=out, overwrite=overwrite, progress=show, **arguments), out, show, json)


def _range_test(found: Any, picture: Path | None, overwrite: bool, json: bool) -> int:
    """Say which learning rate is suggested, and draw the losses if a file was named."""
    if picture is not None:
        found.plot(new_target(picture, overwrite))
    if json:
        print(as_json({"suggestion": found.suggestion, "rates": found.rates.tolist(), "losses": found.losses.tolist()}))
        return 0
    lowest = int(found.smooth.argmin())
    print(f"suggested learning rate: {found.suggestion:.2g} (--lr {found.suggestion:.2g})")
    print(f"  the loss has made half of its fall there; it is lowest at {found.rates[lowest]:.2g}, and {len(found.rates)} steps were made")
    return 0


def _refuse_beside_resume(arguments: dict[str, Any]) -> None:
    """A run goes on as it was begun; anything that would change it is named."""
    if arguments:
        names = ", ".join(f"--{name.replace('_', '-')}" if name not in ("model", "data") else name.upper() for name in arguments)
        raise OptionError(f"--resume goes on with what the run says; leave out {names}")


def _validation(text: str | None) -> float | str | None:
    """A share, or the name of a file."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _batch_size(text: str | None) -> int | str | None:
    if text is None or text == "all":
        return text
    if not text.isdecimal():
        raise OptionError(f"--batch-size wants a whole number or 'all'; got '{text}'")
    return int(text)


def read_recipe(path: Path, *, beside: Sequence[str] = ()) -> dict[str, Any]:
    """The keys of a TOML recipe, checked against what `fit` takes, and those that may stand `beside` them.

    Raises:
        OptionError: the file is missing, is not TOML, or has an unknown key.
    """
    import tomllib

    from gnomon import options, training

    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"recipe '{path}' cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"recipe '{path}' is not valid TOML: {error}") from error
    known = ["model", "data", *options.signature(training.fit), *options.signature(training.Settings), *beside]
    for key in recipe:
        if key not in known or key in ("overwrite", "progress"):
            raise OptionError(options.unknown("key", key, known, owner=f"recipe '{path}'"))
    recipe |= {key: listed([recipe[key]]) for key in ("given", "drop") if isinstance(recipe.get(key), str)}
    for key in ("options", "columns"):
        if not isinstance(recipe.get(key, {}), dict):
            raise OptionError(f"recipe '{path}': '{key}' wants a table of names and values; got {recipe[key]!r}")
    return recipe


def _merged(
    path: Path, model: str | None, data: str | None, arguments: dict[str, Any], out: Path | None
) -> tuple[str | None, str | None, dict[str, Any], Path | None]:
    """The recipe with what was said on the command line laid over it."""
    recipe = read_recipe(path)
    model, data = model or recipe.pop("model", None), data or recipe.pop("data", None)
    recipe.pop("model", None), recipe.pop("data", None)
    said_out = recipe.pop("out", None)
    for key in ("options", "columns"):
        if key in recipe or key in arguments:
            arguments[key] = {**recipe.get(key, {}), **arguments.get(key, {})}
    return model, data, {**recipe, **arguments}, out if out is not None else None if said_out is None else Path(said_out)


def _report(learned: Any, out: Path, show: bool, json: bool) -> int:
    """Say what came out; 130 if Ctrl-C ended it."""
    from gnomon.cli import INTERRUPTED

    several = learned if isinstance(learned, list) else [learned]
    decisions = several[0].info.get("decisions", {})
    last = [one.history[-1] if one.history else {} for one in several]
    if json:
        print(as_json({
            "run": os.fspath(out), "model": several[0].name, "abilities": several[0].abilities, "rows": several[0].info["data"].get("rows"),
            "interrupted": bool(decisions.get("interrupted")), "metrics": last if isinstance(learned, list) else last[0],
            "seconds": several[0].info.get("timing", {}).get("seconds"),
        }))  # fmt: skip
    elif show:
        print(_summary(several, out), file=sys.stderr)
    return INTERRUPTED if decisions.get("interrupted") else 0


def _summary(several: list[Any], out: Path) -> str:
    first = several[0]
    rows, seconds = first.info["data"].get("rows"), first.info.get("timing", {}).get("seconds")
    lines = [
        f"{first.name} learned from {number(rows)} rows in {number(float(seconds))} s" if rows and seconds else f"{first.name} learned"
    ]
    if first.info.get("decisions", {}).get("interrupted"):
        lines = [f"interrupted after epoch {len(first.history)}; the run is saved; go on with: gnomon fit --resume {out}"]
    for metric in sorted({key for one in several for key in _best(one)}):
        values = [_best(one)[metric] for one in several if metric in _best(one)]
        lines.append(f"  {metric}: {', '.join(number(value) for value in values)}")
    if len(several) > 1:
        lines.append(f"  each is a run of its own in {out}/seed-…; {out} itself is the one with the least held-out loss")
    lines.append(f"  it can: {', '.join(first.abilities)}")
    lines.append(f"run: {out}")
    return "\n".join(lines)


def _best(learned: Any) -> dict[str, float]:
    """Held-out metrics of the epoch with the lowest held-out loss (of the last one where there is no such thing)."""
    found = [e for e in learned.history if isinstance(e.get("validation/loss"), (int, float)) and math.isfinite(e["validation/loss"])]
    entry = min(found, key=lambda e: e["validation/loss"]) if found else learned.history[-1] if learned.history else {}
    return {key: float(v) for key, v in entry.items() if key.startswith("validation/") and isinstance(v, (int, float))}
