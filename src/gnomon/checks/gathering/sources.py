"""Two data sets, read with one description of their columns, as the sides of a comparison.

What a fitted model adds (its samples, log-probabilities and predictions) is gathered in `learned_case`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.gathering.images import image_columns
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.data import Categorical, Column, Examples, Image, Kind, Label, Spec, Support, Vector, mix, prepare, read
from gnomon.errors import DataError

_IMAGE_COLUMNS = 64  # an image costs the classifier about as much as so many columns


@dataclass(frozen=True)
class Reading:
    """How data is read: what `gnomon.data.prepare` may be told."""

    weight: str | None = None
    drop: str | Sequence[str] = ()
    columns: Mapping[str, str | Support] | None = None
    kind: str | None = None


def case_of_data(real: Any, generated: Any, reading: Reading, *, budget: str | float | None, seed: int) -> tuple[Case, list[str]]:
    """Both data sets as the sides of a case, the generated one read as the real one describes itself.

    Args:
        real: anything that `fit` reads.
        generated: the same columns; a column of weights may be there or not.
        reading: names of columns, supports, kind.
        budget: for the sample sizes.
        seed: of every random choice.

    Returns:
        the case, and notes for the report.

    Raises:
        DataError: the sides differ in columns, types or shapes, or cannot be read.
    """
    origin = read(real, kind=reading.kind)
    first = prepare(origin, missing="drop", weight=reading.weight, drop=reading.drop, columns=reading.columns, kind=reading.kind)
    found = read(generated, kind=reading.kind, types=_texts(first.spec))
    _same_sort(first.spec, found, set(_drop(reading)))
    second = prepare(found, spec=first.spec, missing="drop")
    notes = [f"real: {n}" for n in first.notices] + [f"generated: {n}" for n in second.notices]
    missing = (_rows(origin) - len(first.raw), _rows(found) - len(second.raw))
    width = sum(len(kind) for kind in (first.spec.x, first.spec.given) if isinstance(kind, Vector)) or _IMAGE_COLUMNS
    effort = Effort.of(budget, columns=width)
    parts = [thinned(one.raw, effort.rows, seed, name) for one, name in ((first, "real"), (second, "generated"))]
    for name, one, part in zip(("real", "generated"), (first, second), parts, strict=True):
        if len(part) < len(one.raw):
            notes.append(f"{len(part):,} of {len(one.raw):,} {name} rows are compared, drawn at random")
    sides = assemble(first.spec, *parts, seed=seed)
    return Case(replace(sides, missing=missing), effort=effort, seed=seed), notes


def assemble(spec: Spec, real: Examples, generated: Examples, *, shared: bool = False, seed: int = 0) -> Sides:
    """Raw examples of two sides as columns.

    Args:
        spec: what one example is.
        real: raw examples; their weights are used.
        generated: raw examples of the same roles (a target is compared if both sides have one).
        shared: whether the conditions of the generated side were copied row by row from the real one.
        seed: of the statistics' random choices.

    Raises:
        DataError: an example is a set, a sequence or a text.
    """
    listed: list[Column] = []
    parts: tuple[list[Floats], list[Floats]] = ([], [])
    pixels = None
    for role in ("x", "y", "given"):
        kind, one, two = getattr(spec, role), getattr(real, role), getattr(generated, role)
        if kind is None or one is None or two is None:
            continue
        if isinstance(kind, Image):
            pixels = (one.numpy(), two.numpy())
            columns, *both = image_columns(*pixels)
            listed += columns
        else:
            listed += _columns_of(kind, role)
            both = [_numbers(one), _numbers(two)]
        for part, own in zip(parts, both, strict=True):
            part.append(own)
    names = [column.name for column in listed]
    listed = [replace(c, name=f"{c.name} ({i})") if names.count(c.name) > 1 else c for i, c in enumerate(listed)]
    weights = [_weight(real.weight), _weight(generated.weight)]
    if shared:
        weights[1] = weights[0]
    given = listed[len(listed) - len(spec.given) :] if shared and spec.given is not None else []
    values = [part[0] if len(part) == 1 else np.concatenate(part, axis=1) for part in parts]
    first = Side(values[0], weights[0], None if pixels is None else pixels[0])
    second = Side(values[1], weights[1], None if pixels is None else pixels[1])
    return Sides(tuple(listed), first, second, shared=tuple(c.name for c in given), paired=shared and bool(given), seed=seed)


def thinned(raw: Examples, rows: int, seed: int, name: str) -> Examples:
    """At most `rows` of the examples, drawn at random, in their order."""
    if len(raw) <= rows:
        return raw
    picked = torch.randperm(len(raw), generator=torch.Generator().manual_seed(mix("check", seed, "thinned", name)))[:rows]
    return raw[picked.sort().values]


def _columns_of(kind: Kind, role: str) -> list[Column]:
    if isinstance(kind, Vector):
        return list(kind.columns)
    if isinstance(kind, Label):
        return [Column(kind.name or role, Categorical(kind.classes))]
    raise DataError(f"{type(kind).__name__.lower()}s cannot be compared side by side yet; compare columns made from them")


def _numbers(values: Tensor) -> Floats:
    made = values.to(torch.float64).numpy()
    return made[:, None] if made.ndim == 1 else made


def _weight(weight: Tensor | None) -> Floats | None:
    if weight is None:
        return None
    made = weight.to(torch.float64).numpy()
    return made * (len(made) / made.sum())


def _texts(spec: Spec) -> dict[str, pa.DataType]:
    """Columns that hold texts on the real side are read as texts on the other, even where they show only digits."""
    kinds = [kind for kind in (spec.x, spec.given) if isinstance(kind, Vector)]
    found = {}
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
    extra = [name for name in table.column_names if name not in known]
    if extra:
        shown = ", ".join(f"'{name}'" for name in extra[:5])
        raise DataError(f"the generated side has columns that the real side lacks: {shown}; leave them out with drop=")


def _drop(reading: Reading) -> list[str]:
    return [reading.drop] if isinstance(reading.drop, str) else list(reading.drop)


def _rows(found: Any) -> int:
    table = getattr(found, "columns", None)
    return table.num_rows if table is not None else len(found.x)
