"""`fit` and `resume`: from data and the name of a model to a Learned.

What can be asked, and what is refused; the work is done in `setup`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon import options as option_parsing
from gnomon.data import Spec, Support
from gnomon.errors import OptionError, RunError
from gnomon.learned import runs
from gnomon.models import Model
from gnomon.training.setup import Fit
from gnomon.training.supply import Request

ModelLike = str | type[Model] | Model | Mapping[str, Any] | Callable[[Spec], Model]


def fit(
    model: ModelLike,
    data: Any = None,
    *,
    target: str | None = None,
    given: Sequence[str] | None = None,
    weight: str | None = None,
    drop: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    kind: str | Mapping[str, str] | None = None,
    missing: str = "error",
    validation: Any = 0.1,
    group: str | None = None,
    time: str | None = None,
    stream: bool | None = None,
    options: Mapping[str, Any] | None = None,
    start: Any = None,
    epochs: int | None = None,
    batch_size: int | str | None = None,
    seed: int = 0,
    seeds: int | None = None,
    device: str | None = None,
    compile: str = "auto",
    log: Any = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Any:
    """Train a model on data and give it back with its scaling: a `Learned`.

    Args:
        model: a name (`gnomon list models`), a Model class, a factory ``spec -> Model``, a built Model, or a recipe: a dict with
            "model" and any argument of this function.
        data: a file, a folder of images, a bundled name, a table, an array, or a dict of arrays by role, in which ``given`` may be images
            ``(n, channels, *size)`` or a list of n sets ``(elements, columns)`` and x a table.
        target: name of the column to be predicted.
        given: names of the columns that are conditions; columns of lists are one set per row.
        weight: name of the column with weights.
        drop: names of columns to leave out.
        columns: support by column name, such as ``{"phi": "periodic(-pi,pi)"}``.
        kind: "image", "signal", "set", "sequence", "tokens" or "smiles", where the data do not tell; of conditions a dict,
            ``{"given": "signal"}``.
        missing: "error", "drop" or "impute".
        validation: share of rows held out, data of its own, or 0 for none.
        group: column whose values stay together on one side of the split; it is not learned from.
        time: column by which the last rows are held out.
        stream: read the file by blocks instead of into memory; by default when it is larger than 4 GiB.
        options: of the model, by name, when `model` is a name, class or recipe.
        start: a Learned, or its run folder, to start from: columns, scaling, options and parameters are taken over from it, so that it
            learns on, on other data too; a `two_stage` started from a vae or autoencoder learns the density of its codes.
        epochs: passes over the data; by default as many as make about 6000 steps.
        batch_size: examples per step, or "all".
        seed: of everything random.
        seeds: train this many models at once, differing in their random numbers; a list is returned.
        device: "cpu" or "cuda"; by default the GPU if there is one.
        compile: "on", "off", or "auto": both ways are timed where a long run is planned, and compilation is kept if it repays itself.
        log: names of loggers ("tensorboard", "mlflow", "wandb", or those that packages add), or objects with `start`, `log`
            and `finish`; see `gnomon.training.loggers`.
        out: folder for the run; with it the fit can be resumed after any interruption.
        overwrite: replace an existing run in `out`.
        progress: show a bar (in a terminal) or a few lines.
        **settings: everything else of `gnomon.training.Settings`: optimizer and its options (lr, weight_decay, clip, l1, …),
            schedule, warmup, patience, accumulate, augment, mixup, cutmix, drop_given, dropout_when, players, doctor, precision.

    Returns:
        A `Learned` with the best weights, or with `seeds` a list of them.

    Raises:
        DataError: the data cannot be used as they are.
        OptionError: an unknown name or a value of the wrong type.
        RunError: `out` exists.
        TrainingError: the loss was never finite.

    Example:
        >>> import gnomon
        >>> learned = gnomon.fit("pca", "wine", options={"components": 2}, progress=False)
        >>> learned.encode("wine").shape
        (178, 2)
    """
    said = {k: v for k, v in locals().items() if k not in ("model", "data", "settings")} | settings
    if isinstance(model, Mapping):
        return _from_recipe(model, data, said)
    return requested(model, data, said).run(overwrite=overwrite)


def requested(model: ModelLike, data: Any, arguments: Mapping[str, Any]) -> Fit:
    """The fit that the arguments of `fit` ask for, not yet begun.

    Args:
        model, data: as in `fit`.
        arguments: any others of `fit`; what is absent has its default.

    Raises:
        OptionError: a value of the wrong type.
    """
    said = {**(fit.__kwdefaults__ or {}), **arguments}
    took = {name: said.pop(name) for name in fit.__kwdefaults__ or {}}
    settings = {**said, **{name: took[name] for name in ("epochs", "batch_size") if took[name] is not None}}
    options, seeds, out = took["options"], took["seeds"], took["out"]
    if options is not None and not isinstance(options, Mapping):
        raise OptionError(f"options wants a table of names and values; got {options!r}")
    request = Request(
        reading={
            "target": took["target"], "given": option_parsing.names(took["given"], "given"), "weight": took["weight"],
            "drop": option_parsing.names(took["drop"], "drop"), "columns": _supports(took["columns"]),
            "kind": took["kind"], "missing": took["missing"],
        },
        **{name: took[name] for name in ("validation", "group", "time", "stream", "compile", "device", "log", "start")}, settings=settings,
        seed=option_parsing.whole(took["seed"], "seed"), seeds=None if seeds is None else option_parsing.whole(seeds, "seeds", least=1),
    )  # fmt: skip
    return Fit(model, dict(options or {}), data, request, None if out is None else Path(out), took["progress"])


def resume(run: str | os.PathLike[str], data: Any = None, *, model: ModelLike | None = None, progress: bool = True) -> Any:
    """Go on with an interrupted fit exactly where its last save was; a finished one is loaded.

    Args:
        run: the run folder.
        data: only needed when the fit was given arrays or tables in memory; must be the same data.
        model: only needed when the fit was given a class or factory of your own that is not registered.
        progress: show a bar or lines.

    Raises:
        RunError: no run there, or nothing to resume, or the data changed since.
    """
    info = runs.read_run(run)
    recipe = info["recipe"]
    if "fit" not in recipe:
        raise RunError(f"run '{run}' was saved without its recipe and cannot be resumed; fit again")
    told = dict(recipe["fit"])
    saved = told.pop("data", None)
    source = saved if data is None else data
    if source is None:
        raise RunError(f"run '{run}' was fitted on data in memory; pass the same data: gnomon.resume(run, data)")
    own = told.pop("own_validation", False)
    if own and isinstance(told["validation"], type(None)):
        raise RunError(f"run '{run}' was fitted with validation data in memory and cannot be resumed from its folder alone; fit again")
    try:
        request = Request(**told)
    except TypeError as error:
        raise RunError(f"run '{run}' is damaged: its recipe does not say all that fit was told ({error}); fit again") from error
    again = Fit(model if model is not None else _named(recipe, run), recipe["options"], source, request, Path(run), progress)
    return again.run(info)


def _from_recipe(recipe: Mapping[str, Any], data: Any, arguments: dict[str, Any]) -> Any:
    """`fit` with the arguments of a recipe; what was said beside it wins where it is not the default."""
    known = {"model", "data", *(k for k in arguments)}
    said = {key: value for key, value in arguments.items() if value is not None and value != (fit.__kwdefaults__ or {}).get(key)}
    merged = {**{k: v for k, v in recipe.items() if k not in ("model", "data")}, **said}
    if "model" not in recipe:
        raise OptionError(f"a recipe needs 'model'; known keys: {', '.join(sorted(known))}")
    source = data if data is not None else recipe.get("data")
    if source is None:
        raise OptionError('neither the recipe nor the call names any data; add data = "file"')
    return fit(recipe["model"], source, **merged)


def _named(recipe: Mapping[str, Any], run: Any) -> str:
    if recipe.get("model") is None:
        raise RunError(f"run '{run}' needs your model class '{recipe.get('class')}': pass it, gnomon.resume(run, model=…)")
    return recipe["model"]


def _supports(columns: Any) -> dict[str, Any]:
    if columns is None:
        return {}
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns):
        raise OptionError(f"columns wants a table of column names and supports, such as {{'energy': 'positive'}}; got {columns!r}")
    for name, support in columns.items():
        if not isinstance(support, (str, Support)):
            raise OptionError(f"column '{name}' wants a support such as 'positive'; got {support!r}")
    return dict(columns)
