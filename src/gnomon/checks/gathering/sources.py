"""Two data sets, read with one description of their columns, as the sides of a comparison.

What a fitted model adds (its samples, log-probabilities and predictions) is gathered in `learned_case`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.gathering.images import image_columns
from gnomon.checks.gathering.set_columns import set_columns
from gnomon.checks.gathering.text_columns import text_columns
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.data import (
    Categorical,
    Column,
    Examples,
    Image,
    Kind,
    Label,
    Set,
    Spec,
    Support,
    Tokens,
    Vector,
    fingerprint,
    mix,
    prepare,
    read,
)
from gnomon.errors import DataError

_LARGEST = 1e75  # fourth powers of this are numbers yet, and their sums over many rows
_IMAGE_COLUMNS = 64  # an image costs the classifier about as much as so many columns


@dataclass(frozen=True)
class Reading:
    """How data is read: what `gnomon.data.prepare` may be told."""

    weight: str | None = None
    target: str | None = None
    drop: str | Sequence[str] = ()
    columns: Mapping[str, str | Support] | None = None
    kind: str | None = None


def case_of_data(
    real: Any, generated: Any, reading: Reading, *, budget: str | float | None, seed: int, train: Any = None
) -> tuple[Case, list[str]]:
    """Both data sets as the sides of a case, the generated one read as the real one describes itself.

    Args:
        real: anything that `fit` reads.
        generated: the same columns; a column of weights may be there or not.
        reading: names of columns, supports, kind.
        budget: for the sample sizes.
        seed: of every random choice.
        train: rows that the generated side's model was trained on, or None.

    Returns:
        the case, and notes for the report.

    Raises:
        DataError: the sides differ in columns, types or shapes, or cannot be read.
    """
    with _of("real side"):
        origin: Any = read(real, kind=reading.kind)
    with _of("generated side"):
        wanted = _target(origin, generated, reading)
    weight = None if _weighs_only(generated, origin, reading) else reading.weight
    with _of("real side"):
        first = prepare(origin, missing="drop", target=wanted, weight=weight, drop=reading.drop, columns=reading.columns, kind=reading.kind)
    missing = [_rows(origin) - len(first.raw)]
    first, origin = replace(first, table=None), None  # the numbers are enough: what was read goes before more is read
    with _of("generated side"):
        found: Any = read(generated, kind=reading.kind, types=_texts(first.spec))
    spec = first.spec.with_(weight=reading.weight)
    _same_sort(spec, found, set(_drop(reading)))
    with _of("generated side"):
        second = prepare(found, spec=spec, missing="drop")
    missing.append(_rows(found) - len(second.raw))
    second, found = replace(second, table=None), None
    pa.default_memory_pool().release_unused()
    notes = [f"real: {n}" for n in first.notices] + [f"generated: {n}" for n in second.notices]
    if first.raw.y is not None and second.raw.y is None:
        notes.append("the target of the real side is not compared: the generated side has none")
    width = sum(len(kind) for kind in (first.spec.x, first.spec.given) if isinstance(kind, Vector)) or _IMAGE_COLUMNS
    effort = Effort.of(budget, columns=width)
    parts = [thinned(one.raw, effort.rows, seed, name) for one, name in ((first, "real"), (second, "generated"))]
    for name, one, part in zip(("real", "generated"), (first, second), parts, strict=True):
        if len(part) < len(one.raw):
            notes.append(f"{len(part):,} of {len(one.raw):,} {name} rows are compared, drawn at random")
    with _of("train="):
        trained = None if train is None else prepare(train, spec=first.spec, missing="drop")
    if trained is not None:
        if fingerprint(trained.raw) == fingerprint(first.raw):
            raise DataError("train= and the real side are the same rows; pass rows that the model has not seen as the real side")
        notes += [f"train: {n}" for n in trained.notices]
    known = first.spec
    if known.given is not None and not isinstance(known.given, Vector):
        known = known.with_(given=None)
        notes.append("conditions are not compared: they are no columns")
    sides = assemble(known, *parts, seed=seed, train=None if trained is None else thinned(trained.raw, effort.rows, seed, "train"))
    return Case(replace(sides, missing=(missing[0], missing[1])), effort=effort, seed=seed), notes


@contextmanager
def _of(side: str) -> Iterator[None]:
    """Inside the block an error says first which of the data sets it is about."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{side}: {error}") from error


def assemble(
    spec: Spec, real: Examples, generated: Examples, *, shared: bool = False, seed: int = 0, train: Examples | None = None
) -> Sides:
    """Raw examples of two sides as columns.

    Args:
        spec: what one example is.
        real: raw examples; their weights are used.
        generated: raw examples of the same roles (a target is compared if both sides have one).
        shared: whether the conditions of the generated side were copied row by row from the real one.
        seed: of the statistics' random choices.
        train: raw examples that the model was trained on, or None; their weights do not matter.

    Raises:
        DataError: an example is a sequence, the training rows lack what the sides have, or a column holds numbers so large, or so
            close together near zero, that their fourth powers are beyond float64.
    """
    listed: list[Column] = []
    all_sides = [real, generated] if train is None else [real, generated, train]
    parts: list[list[Floats]] = [[] for _ in all_sides]
    pixels, sets = None, None
    for role in ("x", "y", "given"):
        kind, several = getattr(spec, role), [getattr(side, role) for side in all_sides]
        if kind is None or several[0] is None or several[1] is None:
            continue
        if several[-1] is None:
            raise DataError(f"the training rows lack {_named(kind, role)}, by which both sides are compared; pass train= with it")
        if isinstance(kind, Image):
            pixels = [one.numpy() for one in several]
            columns, made = image_columns(*pixels)
            listed += columns
        elif isinstance(kind, Set):
            sets = several
            columns, made = set_columns(kind, *sets)
            listed += columns
        elif isinstance(kind, Tokens):
            columns, made = text_columns(kind, *several)
            listed += columns
        else:
            listed += _columns_of(kind, role)
            made = [_numbers(one) for one in several]
        for part, own in zip(parts, made, strict=True):
            part.append(own)
    names = [column.name for column in listed]
    listed = [replace(c, name=f"{c.name} ({i})") if names.count(c.name) > 1 else c for i, c in enumerate(listed)]
    weights = [_weight(real.weight), _weight(generated.weight), None]
    if shared:
        weights[1] = weights[0]
    given = listed[len(listed) - len(spec.given) :] if shared and isinstance(spec.given, Vector) else []
    values = [part[0] if len(part) == 1 else np.concatenate(part, axis=1) for part in parts]
    for name, rows in zip(("real side", "generated side", "training rows"), values, strict=False):
        _refuse_extremes(name, rows, listed)
    label = spec.y if isinstance(spec.y, Label) else None
    codes = [side.y.numpy().astype(np.intp) if label is not None and isinstance(side.y, Tensor) else None for side in all_sides]
    first, second, *third = (
        Side(values[i], weights[i], None if pixels is None else pixels[i], None if sets is None else sets[i], label=codes[i])
        for i in range(len(all_sides))
    )
    pairs: dict[str, Any] = {"shared": tuple(c.name for c in given), "paired": shared and bool(given)}
    return Sides(tuple(listed), first, second, **pairs, train=third[0] if third else None, kind=spec.x, label=label, seed=seed)


def _refuse_extremes(name: str, rows: Floats, columns: Sequence[Column]) -> None:
    low, high = rows.min(axis=0, initial=math.inf), rows.max(axis=0, initial=-math.inf)
    size, width = np.maximum(np.abs(low), np.abs(high)), high / 2 - low / 2
    for i in np.flatnonzero(np.isfinite(size) & ((size > _LARGEST) | ((width > 0) & (size < 1 / _LARGEST))))[:1]:
        told = f"up to {size[i]:.3g}, beyond {_LARGEST:g}" if size[i] > 1 else f"no larger than {size[i]:.3g}, below {1 / _LARGEST:g}"
        raise DataError(f"{name}: column '{columns[i].name}' holds numbers {told}; give it in other units, or leave it out")


def thinned(raw: Examples, rows: int, seed: int, name: str) -> Examples:
    """At most `rows` of the examples, drawn at random, in their order."""
    if len(raw) <= rows:
        return raw
    picked = torch.randperm(len(raw), generator=torch.Generator().manual_seed(mix("check", seed, "thinned", name)))[:rows]
    return raw[picked.sort().values]


def _named(kind: Kind, role: str) -> str:
    return f"the columns {', '.join(kind.names)}" if isinstance(kind, Vector) else f"'{getattr(kind, 'name', None) or role}'"


def _columns_of(kind: Kind, role: str) -> list[Column]:
    if isinstance(kind, Vector):
        return list(kind.columns)
    if isinstance(kind, Label):
        return [Column(kind.name or role, Categorical(kind.classes))]
    thing = f"{type(kind).__name__.lower()}s"
    raise DataError(f"{thing} cannot be compared side by side: no network reads them yet; pass kind='set', or columns made from them")


def _numbers(values: Tensor) -> Floats:
    made = values.to(torch.float64).numpy()
    return made[:, None] if made.ndim == 1 else made


def _weight(weight: Tensor | None) -> Floats | None:
    if weight is None:
        return None
    made = weight.to(torch.float64).numpy()
    made = made / np.abs(made).max()  # the sum of the largest numbers is beyond them, and that of the smallest has lost its figures
    return made * (len(made) / made.sum())


def _target(origin: Any, generated: Any, reading: Reading) -> str | None:
    """The column of the real side that holds its labels: the one that is named, or a bundled one that the generated side lacks."""
    name = getattr(origin, "suggested", None)
    if reading.target is not None or name is None:
        return reading.target
    found = getattr(read(generated, kind=reading.kind), "columns", None)
    taken = {*_drop(reading), reading.weight}
    return None if name in taken or (found is not None and name in found.column_names) else name


def _weighs_only(generated: Any, origin: Any, reading: Reading) -> bool:
    """Whether the column of weights is one that the generated side has and the real side has not."""
    own = getattr(origin, "columns", None)
    if reading.weight is None or own is None or reading.weight in own.column_names:
        return False
    found = getattr(read(generated, kind=reading.kind), "columns", None)
    return found is not None and reading.weight in found.column_names


def _texts(spec: Spec) -> dict[str, pa.DataType]:
    """Columns that hold texts on the real side are read as texts on the other, even where they show only digits."""
    kinds = [kind for kind in (spec.x, spec.given) if isinstance(kind, Vector)]
    found = {}
    if isinstance(spec.y, Label) and spec.y.classes and isinstance(spec.y.classes[0], str):
        found[spec.y.name] = pa.string()
    for column in (column for kind in kinds for column in kind.columns):
        support = column.support
        if isinstance(support, Categorical) and support.values and isinstance(support.values[0], str):
            found[column.name] = pa.string()
    return found


def _same_sort(spec: Spec, found: Any, dropped: set[str]) -> None:
    """Refuse generated data of another sort, or with columns that the real side lacks."""
    table = getattr(found, "columns", None)
    if table is None or not isinstance(spec.x, Vector):
        return
    known = {name for kind in (spec.x, spec.given) if isinstance(kind, Vector) for name in kind.names} | dropped | {spec.weight}
    if isinstance(spec.y, Label):
        known.add(spec.y.name)
    if isinstance(spec.y, Vector):
        known |= set(spec.y.names)
    needed = [name for kind in (spec.x, spec.given) if isinstance(kind, Vector) for name in kind.names]
    lacking = [name for name in needed if name not in table.column_names]
    if lacking:
        shown = ", ".join(f"'{name}'" for name in lacking[:5]) + (f" and {len(lacking) - 5:,} more" if len(lacking) > 5 else "")
        raise DataError(f"the generated side lacks columns that the real side has: {shown}; leave them out with drop=")
    extra = [name for name in table.column_names if name not in known]
    if extra:
        shown = ", ".join(f"'{name}'" for name in extra[:5]) + (f" and {len(extra) - 5:,} more" if len(extra) > 5 else "")
        raise DataError(f"the generated side has columns that the real side lacks: {shown}; leave them out with drop=")


def _drop(reading: Reading) -> list[str]:
    return [reading.drop] if isinstance(reading.drop, str) else list(reading.drop)


def _rows(found: Any) -> int:
    table = getattr(found, "columns", None)
    return table.num_rows if table is not None else len(found.x)
