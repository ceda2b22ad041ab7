"""What a fit learns from: the data read, split into training and held-out rows, and scaled; in memory or streamed from a file.

Players and steps are not its business: it ends where the loop's sources begin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gnomon import options as option_parsing
from gnomon import registry
from gnomon.data import (
    Examples,
    InMemory,
    Integer,
    Prepared,
    Real,
    Scaling,
    Source,
    Spec,
    Streamed,
    Vector,
    fingerprint,
    open_rows,
    prepare,
    split,
)  # fmt: skip
from gnomon.data.seeds import mix
from gnomon.errors import DataError, OptionError
from gnomon.learned import Learned, runs
from gnomon.models import Model
from gnomon.training.settings import Settings
from gnomon.training.start import named
from gnomon.training.team import Team

VALIDATION_BATCH = 512
STREAMED_BYTES = 4 * 2**30  # a larger file is streamed unless told otherwise
SAMPLE = 200_000  # rows of a streamed file on which description and scaling are fitted
KEPT = 10_000  # held-out rows of a streamed file that are kept in memory


@dataclass(frozen=True)
class Request:
    """What the user asked for, as it is written to the run and replayed on resume.

    Args:
        reading: the arguments of `data.prepare`.
        validation: share of rows held out, 0, or data.
        group: column whose values stay on one side of the split.
        time: column by which the last rows are held out.
        stream: read the file by blocks; None decides by its size.
        settings: what the user said of `Settings`.
        compile: "auto", "on" or "off".
        seed: of everything random.
        seeds: number of models trained together, or None.
        device: "cpu", "cuda" or None.
        log: names of loggers, or loggers.
        start: a Learned, or the folder of one, or None.
    """

    reading: dict[str, Any]
    validation: Any
    group: str | None
    time: str | None
    stream: bool | None
    settings: dict[str, Any]
    compile: str
    seed: int
    seeds: int | None
    device: str | None
    log: Any = None
    start: Any = None

    def plain(self, data: Any) -> dict[str, Any]:
        """JSON values, the data's path among them; data in memory are left out."""
        values = dict(vars(self))
        own = not isinstance(self.validation, (int, float))
        if own:
            values["validation"] = path_of(self.validation)
        asked = [self.log] if isinstance(self.log, str) else self.log or ()
        values["log"] = [name for name in asked if isinstance(name, str)] if isinstance(asked, (list, tuple)) else []
        return values | {"data": path_of(data), "own_validation": own, "start": named(self.start)}


@dataclass(frozen=True)
class Supply:
    """Data ready to be learned from.

    Args:
        spec: the roles of one example.
        scaling: fitted on training rows.
        raw: the training rows, or of a streamed file a sample of them.
        held_out: held-out rows (of a streamed file some of them), or None.
        rows: how many rows there are for training.
        facts: ``data`` and ``split`` as `run.json` has them.
        notices: what the user should know.
        stream: makes a `Streamed` source of one side ("train" or "validation"), or None when all is in memory.
    """

    spec: Spec
    scaling: Scaling
    raw: Examples
    held_out: Examples | None
    rows: int
    facts: dict[str, Any]
    notices: list[str]
    stream: Mapping[str, Mapping[str, Any]] | None = None

    def train(self, model: Model, settings: Settings, team: Team) -> Source:
        """Training batches in a new order every epoch."""
        shared: dict[str, Any] = {
            "batch_size": settings.batch_size,
            "dequantises": model.dequantises,
            "rank": team.rank,
            "world": team.world,
        }
        if self.stream is not None:
            return Streamed(scaling=self.scaling, device=team.device, **self.stream["train"], **shared)
        return InMemory(self.scaling.store(self.raw).to(team.device), self.scaling, **shared)

    def validation(self, model: Model, settings: Settings, team: Team) -> Source | None:
        """Held-out batches, the same every time; None if there are none or the model has nothing to measure on them."""
        if self.held_out is None or model.monitor is None:
            return None
        size = max(settings.batch_size, VALIDATION_BATCH)
        shared: dict[str, Any] = {"batch_size": size, "dequantises": model.dequantises, "shuffle": False}
        if self.stream is not None and "validation" in self.stream:
            return Streamed(scaling=self.scaling, device=team.device, **self.stream["validation"], **shared)
        return InMemory(self.scaling.store(self.held_out).to(team.device), self.scaling, **shared)


def supply(model: Any, data: Any, request: Request, start: Learned | None = None) -> Supply:
    """Read `data` as `model` wants it and as `request` says, hold rows out, and fit the scaling on the others.

    With `start` data are read and scaled as that fitted model has it.

    Raises:
        DataError: the data cannot be used as they are.
        OptionError: validation is neither a share nor data, or streaming was asked for what is no file.
    """
    path = path_of(data)
    large = path is not None and os.path.isfile(path) and os.path.getsize(path) > STREAMED_BYTES
    if request.stream or (request.stream is None and large):
        if path is None:
            raise OptionError("stream=True reads a file by blocks; give the path of a Parquet, Feather, CSV, .npy or HDF5 file")
        return _streamed(model, Path(path), request, start)
    prepared = prepare(data, **_reading(model, request, start))
    rows = len(prepared.raw)
    facts: dict[str, Any] = {
        "data": {"path": path, "rows": rows, "sha256": fingerprint(prepared.raw), "columns": prepared.source.get("columns")},
        "split": None,
    }
    fraction = _fraction(request.validation)
    raw, held_out = prepared.raw, None
    if fraction is None:
        held_out = prepare(request.validation, spec=prepared.spec, missing=request.reading["missing"]).raw
        facts["split"] = {"how": "own", "by": None, "fraction": None}
    elif fraction > 0:
        how, values = _how(prepared, request)
        train, held = split(rows, fraction, seed=mix("split", request.seed), how=how, values=values)
        raw, held_out = prepared.raw[train], prepared.raw[held]
        facts["split"] = {"how": how, "by": request.group or request.time, "fraction": fraction}
    if len(raw) == 0 or (held_out is not None and len(held_out) == 0):
        raise DataError(f"{rows} rows cannot be split with validation={request.validation}; give more rows or validation=0")
    if facts["split"] is not None:
        facts["split"] |= {"seed": request.seed, "train": len(raw), "validation": 0 if held_out is None else len(held_out)}
    raw, held_out = _weighted(raw), None if held_out is None else _weighted(held_out)
    scaling = _scaling(prepared.spec, raw, start)
    return Supply(prepared.spec, scaling, raw, held_out, len(raw), facts, [*prepared.notices, *scaling.notices, *_never_negative(prepared)])


def path_of(data: Any) -> str | None:
    """The path or bundled name that `data` is, or None for data in memory."""
    return os.fspath(data) if isinstance(data, (str, os.PathLike)) else None


def _streamed(model: Any, path: Path, request: Request, start: Learned | None) -> Supply:
    """A file read by blocks; description and scaling come from a sample of its rows."""
    fraction = _fraction(request.validation)
    if fraction is None or request.group or request.time:
        raise OptionError("a streamed file is split at random by rows: give validation= a share, and no group= or time=")
    file = open_rows(path)
    total = len(file)
    prepared = prepare(file.sample(SAMPLE, mix("sample", request.seed)), **_reading(model, request, start))
    train, held = split(total, fraction, seed=mix("split", request.seed), how="random", values=None) if fraction else (None, None)
    weight = prepared.raw.weight
    mean = 1.0 if weight is None else float(weight.mean())
    raw = _weighted(prepared.raw)
    scaling = _scaling(prepared.spec, raw, start)
    shared = {"file": file, "weight_mean": mean, "missing": request.reading["missing"]}
    sides: dict[str, dict[str, Any]] = {"train": shared | {"rows": train}}
    held_out = None
    if held is not None and len(held):
        sides["validation"] = shared | {"rows": held}
        first = held[held < file.bounds[1]][:KEPT]
        held_out = prepare(file.read(0), spec=prepared.spec, missing=request.reading["missing"]).raw[first]
    count = total if train is None else len(train)
    sizes = {"how": "random", "by": None, "fraction": fraction, "seed": request.seed, "train": count, "validation": total - count}
    facts = {
        "data": {"path": str(path), "rows": total, "sha256": runs.sha256(path), "columns": prepared.source.get("columns")},
        "split": sizes if fraction else None,
    }
    notices = [
        f"{path}: {total:,} rows are streamed; supports and scales come from a sample of {len(raw):,}",
        *prepared.notices,
        *_never_negative(prepared),
        *scaling.notices,
    ]
    return Supply(prepared.spec, scaling, raw, held_out if held_out is not None and len(held_out) else None, count, facts, notices, sides)


def _scaling(spec: Spec, raw: Examples, start: Learned | None) -> Scaling:
    """Measured on the rows, which also refuses what lies outside a column's support; then that of `start`, if there is one."""
    scaling = Scaling.fit(spec, raw)
    return scaling if start is None else Scaling.from_state(spec, start.scaling.state())


def _reading(model: Any, request: Request, start: Learned | None) -> dict[str, Any]:
    """The arguments of `prepare`."""
    if start is not None:
        said = [name for name, value in request.reading.items() if value and name != "missing"]
        if said:
            raise OptionError(f"start= brings its columns and their roles; leave out {', '.join(said)}")
        return {"spec": start.spec, "missing": request.reading["missing"]}
    kind = registry.models[model] if isinstance(model, str) else model
    reading = dict(request.reading)
    for name in ("target", "weight"):
        if reading[name] is not None and not isinstance(reading[name], str):
            raise OptionError(f"{name} wants the name of a column; got {reading[name]!r}")
    if request.group is not None:
        reading["drop"] = [*reading["drop"], request.group]
    if isinstance(model, Model):
        return {"spec": model.spec, "missing": reading["missing"]}
    return reading | {"wanted": getattr(kind, "target", None)}


def _fraction(validation: Any) -> float | None:
    """The share of rows held out; None if the held-out data are given."""
    if isinstance(validation, bool) or validation is None:
        raise OptionError(f"validation must be a share from 0 to below 1, or data; got {validation}")
    if not isinstance(validation, (int, float)):
        return None
    if not 0.0 <= validation < 1.0:
        raise OptionError(f"validation must be a share from 0 to below 1, or data; got {validation}")
    return float(validation)


def _how(prepared: Prepared, request: Request) -> tuple[Literal["random", "stratified", "group", "time"], Any]:
    """How rows are split, and by which values."""
    columns: tuple[tuple[Literal["group", "time"], str | None], ...] = (("group", request.group), ("time", request.time))
    for how, column in columns:
        if column is not None:
            known = [] if prepared.table is None else prepared.table.column_names
            if prepared.table is None or column not in known:
                raise DataError(option_parsing.unknown("column", column, known) + f" ({how}=)")
            return how, prepared.table[column].to_numpy(zero_copy_only=False)
    y = prepared.raw.y
    if isinstance(y, Tensor) and y.dtype == torch.int64 and y.ndim == 1:
        return "stratified", y.numpy()
    return "random", None


def _never_negative(prepared: Prepared) -> list[str]:
    """One line for columns that hold no negative value but may be given one by a model, since nobody said otherwise."""
    kind, x = prepared.spec.x, prepared.raw.x
    if not isinstance(kind, Vector) or kind.bare or not isinstance(x, Tensor):
        return []
    least = x.amin(0).tolist()
    free = [
        (c.name, "integer(0, …)" if isinstance(c.support, Integer) else "positive" if low > 0 else "nonnegative")
        for c, low in zip(kind.columns, least, strict=True)
        if low >= 0 and c.origin is None and (isinstance(c.support, Real) or c.support == Integer())
    ]
    if not free:
        return []
    named = ", ".join(f"{name} ({support})" for name, support in free[:6]) + (" …" if len(free) > 6 else "")
    return [f"never negative in the data, yet a model may draw negative values unless a support is declared: {named}"]


def _weighted(raw: Examples) -> Examples:
    """The same rows, their weights scaled to mean 1."""
    if raw.weight is None:
        return raw
    mean = raw.weight.mean()
    if not mean > 0:
        raise DataError(f"the weights of one side of the split sum to {float(raw.weight.sum()):.4g}; they must sum to more than 0")
    return raw.with_(weight=raw.weight / mean)
