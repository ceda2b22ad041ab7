"""`gnomon search`: its options handed to `gnomon.selection`, from the command line or a TOML recipe with a table [space].

Which settings are tried and what they are worth is decided there; here is only what was said.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.arguments import Debug, Json, Overwrite, assignments, listed, said, supports
from gnomon.cli.fitting import read_recipe
from gnomon.cli.lines import as_json
from gnomon.errors import OptionError

Option = typer.Option
SEARCH = ("space", "trials", "how", "folds", "test", "nested", "metric", "greater")
"""Keys of a recipe that belong to the search; all others are those of a fit."""


def search(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="A model's name: gnomon list models.")] = None,
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A file, a folder of images, or a bundled name.")] = None,
    space: Annotated[
        list[str] | None,
        Option(metavar="NAME=VALUES", help="What may vary: lr=log(1e-4,1e-1), options.latent=integer(2,8), net.hidden=32,32|64,64."),
    ] = None,
    out: Annotated[
        Path | None, Option("-o", "--out", metavar="FOLDER", help="Folder for the search; the same command goes on in it.")
    ] = None,
    trials: Annotated[int | None, Option(metavar="N", help="Settings that are drawn.")] = None,
    how: Annotated[str | None, Option(metavar="HOW", help="random, halving or optuna.")] = None,
    folds: Annotated[str | None, Option(metavar="K|0.2", help="Folds, or a share of rows held out once.")] = None,
    test: Annotated[float | None, Option(metavar="0.2", help="Share of rows that the search never sees.")] = None,
    nested: Annotated[int | None, Option(metavar="K", help="Judge the whole search on K outer folds.")] = None,
    metric: Annotated[str | None, Option(metavar="NAME", help="loss, log_prob, accuracy, … by which settings are compared.")] = None,
    target: Annotated[str | None, Option(metavar="Y", help="Column to be predicted.")] = None,
    given: Annotated[list[str] | None, Option(metavar="A,B", help="Columns that are conditions.")] = None,
    weight: Annotated[str | None, Option(metavar="W", help="Column with weights.")] = None,
    drop: Annotated[list[str] | None, Option(metavar="C,D", help="Columns to leave out.")] = None,
    column: Annotated[
        list[str] | None, Option(metavar="NAME:SUPPORT", help="Where a column's values live: positive, bounded(0,1), …")
    ] = None,
    kind: Annotated[str | None, Option(metavar="KIND", help="image, signal, set, sequence, tokens or smiles, where not evident.")] = None,
    missing: Annotated[str | None, Option(metavar="HOW", help="Missing values: error, drop or impute.")] = None,
    group: Annotated[str | None, Option(metavar="C", help="Column whose values stay on one side of every split.")] = None,
    time: Annotated[str | None, Option(metavar="C", help="Column by which every split goes forward.")] = None,
    epochs: Annotated[int | None, Option(metavar="N", help="Passes over the data; of halving, the most.")] = None,
    setting: Annotated[list[str] | None, Option("--fit", metavar="NAME=VALUE", help="A setting of all fits: batch_size=64, …")] = None,
    set_: Annotated[list[str] | None, Option("--set", metavar="NAME=VALUE", help="An option of the model in all fits.")] = None,
    net: Annotated[list[str] | None, Option(metavar="NAME=VALUE", help="An option of the networks in all fits.")] = None,
    seed: Annotated[int | None, Option(metavar="N", help="Seed of everything random.")] = None,
    device: Annotated[str | None, Option(metavar="D", help="cpu or cuda.")] = None,
    plot: Annotated[Path | None, Option(metavar="FILE.png", help="Draw the score against each quantity.")] = None,
    recipe: Annotated[Path | None, Option(metavar="FILE.toml", help="Take all this from a file; what is said beside it wins.")] = None,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, Option("--quiet", help="No progress, no table.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Look for the settings with which a model learns best, and say what the choice is worth on rows that took no part in it.

    \b
    Examples:
      gnomon search classifier wine --target cultivar --space "lr=log(1e-4,1e-1)" --space "net.hidden=32,32|64,64" -o searches/wine
      gnomon search flow events.parquet --space "options.transforms=integer(2,8)" --how halving --trials 27 -o searches/events
      gnomon search regressor data.csv --target y --space "net.dropout=uniform(0,0.5)" --nested 5 -o searches/data
      gnomon search --recipe search.toml -o searches/again

    Every trial is written down as soon as it is done: after Ctrl-C or a crash the same command goes on. FOLDER/best is the refitted run.
    """
    from gnomon import selection

    arguments = said(
        space=assignments(space, "--space"), trials=trials, how=how, folds=_folds(folds), test=test, nested=nested, metric=metric,
        target=target, given=listed(given), weight=weight, drop=listed(drop), columns=supports(column), kind=kind, missing=missing,
        group=group, time=time, epochs=epochs, seed=seed, device=device,
        options=assignments(set_, "--set") | said(net=assignments(net, "--net")), **assignments(setting, "--fit"),
    )  # fmt: skip
    if recipe is not None:
        found = read_recipe(recipe, beside=SEARCH)
        model, data = model or found.pop("model", None), data or found.pop("data", None)
        said_out = found.pop("out", None)
        out = out if out is not None or said_out is None else Path(said_out)
        for key in ("space", "options", "columns"):
            if key in found or key in arguments:
                arguments[key] = {**found.get(key, {}), **arguments.get(key, {})}
        arguments = {**{key: value for key, value in found.items() if key not in ("model", "data")}, **arguments}
    if model is None or data is None or "space" not in arguments:
        raise OptionError('search wants a model, data and a space: gnomon search MODEL DATA --space "lr=log(1e-4,1e-1)" -o FOLDER')
    if out is None:
        raise OptionError("search wants a folder: add -o FOLDER")
    made = selection.search(model, data, out=out, overwrite=overwrite, progress=not quiet and not json, **arguments)
    if plot is not None:
        made.plot(plot)
    _report(made, out, quiet, json)


def _folds(text: str | None) -> int | float | None:
    """A whole number of folds, or a share."""
    if text is None:
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise OptionError(f"--folds wants a number of folds or a share of rows; got '{text}'") from None


def _report(made: Any, out: Path, quiet: bool, json: bool) -> None:
    """The table and its sentences, or one JSON object."""
    if json:
        print(as_json({"folder": os.fspath(out), "run": os.fspath(out / "best"), **made.to_json()}))
    elif not quiet:
        print(made)
        print(f"run: {out / 'best'}", file=sys.stderr)
