"""Which column or array of new data plays which role, and its values as numbers.

What a single column's values mean is decided in `columns`; missing values are settled afterwards, in `missing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gnomon.data import kinds
from gnomon.data.encoding.images import encode_images, image_kind, unfit_images
from gnomon.data.encoding.sets import flatten, lay_out, list_columns
from gnomon.data.encoding.targets import target_part, weight_part
from gnomon.data.encoding.tokens import learned_from, of_table
from gnomon.data.encoding.vectors import Part, array_columns, array_names, column_names, matrix, two_axes, vector
from gnomon.data.files.arrays import as_array, as_column
from gnomon.data.files.reading import TEXTS, Arrays, Table
from gnomon.data.kinds import Set, Support, Vector
from gnomon.errors import DataError
from gnomon.options import unknown


@dataclass(frozen=True)
class Chosen:
    """The user's choice of columns by role; None where nothing was said."""

    target: str | Sequence[str] | None = None
    given: str | Sequence[str] | None = None
    weight: str | None = None
    drop: str | Sequence[str] = ()

    def __bool__(self) -> bool:
        return any(value is not None and len(value) for value in (self.target, self.given, self.weight, self.drop))


def infer(
    found: Table | Arrays, chosen: Chosen, *, overrides: Mapping[str, Support], told: Mapping[str, str], wanted: str | None, place: str
) -> tuple[dict[str, Part], Table | Arrays]:
    """The roles of new data; `told` says of x or given what an array does not tell.

    Returns:
        the parts by role, and the data itself (bare arrays become a table if columns of theirs were named).

    Raises:
        DataError: as `prepare`.
    """
    if isinstance(found, Arrays) and chosen and not (found.y is not None and chosen == Chosen(target="y")):
        found = as_table(found, place)
    if isinstance(found, Table):
        return _infer_table(found, chosen, overrides=overrides, told=told, wanted=wanted, place=place), found
    return _infer_arrays(found, overrides=overrides, told=told, wanted=wanted, place=place), found


def _infer_table(
    found: Table, chosen: Chosen, *, overrides: Mapping[str, Support], told: Mapping[str, str], wanted: str | None, place: str
) -> dict[str, Part]:
    table, names, kind = found.columns, found.columns.column_names, told.get("x")
    refuse_empty(table.num_rows, place)
    if kind in ("image", "signal"):
        raise DataError(f"{place}kind='{kind}' wants arrays or a folder of images; got a table of columns")
    drop = _listed(chosen.drop, names, "drop", place)
    target = _listed(chosen.target, names, "target", place) or ([found.target] if found.target else [])
    if wanted and not target:
        if found.suggested is None:
            raise DataError(f"{place}this model needs a target; name the column to predict: target='{names[-1]}'")
        target = [found.suggested]
    given = _listed(chosen.given, names, "given", place)
    weight = _listed(chosen.weight, names, "weight", place)
    if len(weight) > 1:
        raise DataError(f"{place}weight wants one column; got {', '.join(weight)}")
    _refuse_shared({"target": target, "given": given, "weight": weight, "drop": drop}, place)
    if given and found.given is not None:
        raise DataError(f"{place}given= names columns of x, and the condition also came as an array beside it; leave one of them out")
    beside = None if found.given is None else _infer_given(found.given, overrides, told.get("given"), place)
    _known_overrides(overrides, [*names, *(column_names(beside.kind, "given") if beside and beside.kind else ())], place)
    taken = {*target, *given, *weight, *drop}
    x = [name for name in names if name not in taken]
    if not x:
        raise DataError(f"{place}no column is left for x; all {len(names)} are target, given, weight or dropped")
    parts: dict[str, Part] = {}
    if kind in ("set", "sequence"):
        parts["x"] = _elements(table, x, kind, overrides, place)
    elif kind in TEXTS:
        parts["x"] = of_table(table, x, split=kind, place=place, bare=found.bare)
    else:
        parts["x"] = vector(table, x, overrides=overrides, place=place, bare=found.bare)
    if target:
        parts["y"] = target_part(table, target, overrides=overrides, wanted=wanted, place=place)
    if given:
        lists = bool(set(given) & set(list_columns(table)))
        if lists:
            parts["given"] = _elements(table, given, told.get("given") or "set", overrides, place, role="given")
        else:
            parts["given"] = vector(table, given, overrides=overrides, place=place)
    if beside is not None:
        parts["given"] = beside
    if weight:
        parts["weight"] = weight_part(table.column(weight[0]), weight[0], place)
    return parts


def _infer_arrays(
    found: Arrays, *, overrides: Mapping[str, Support], told: Mapping[str, str], wanted: str | None, place: str
) -> dict[str, Part]:
    refuse_empty(len(found.x), place)
    if wanted and found.y is None:
        raise DataError(f"{place}this model needs a target; pass (x, y), or a dict with x= and y=")
    parts: dict[str, Part] = {"x": _infer_x(found, overrides, told.get("x"), place)}
    if found.y is not None:
        names = array_names(found.y, "y", place)
        parts["y"] = target_part(array_columns(found.y, names), names, overrides=overrides, wanted=wanted, place=place, bare=True)
    if found.given is not None:
        parts["given"] = _infer_given(found.given, overrides, told.get("given"), place)
    if found.weight is not None:
        if found.weight.ndim != 1:
            raise DataError(f"{place}weight wants one number per row, shape (n,); got shape {found.weight.shape}")
        parts["weight"] = weight_part(pa.chunked_array([as_column(found.weight, "weight", place)]), "", place)
    known = [name for role, part in parts.items() if part.kind is not None for name in column_names(part.kind, role)]
    _known_overrides(overrides, known, place)
    return parts


def _infer_x(found: Arrays, overrides: Mapping[str, Support], kind: str | None, place: str) -> Part:
    x = found.x
    if kind in TEXTS or (kind is None and found.kind is not None):
        return learned_from(x, split=kind or found.kind or "", place=place)
    if found.kind is not None:
        raise DataError(f"{place}lines of text are tokens; kind='{kind}' wants numbers")
    if kind in ("set", "sequence"):
        return _laid_out(x, "x", kind, overrides, place)
    if isinstance(x, list):
        raise DataError(f"{place}x is a list of arrays of different lengths; pass kind='set' or kind='sequence'")
    if kind in ("image", "signal") or (kind is None and (x.ndim >= 4 or found.layout is not None)):
        image = image_kind(x, kind=kind, layout=found.layout, support=overrides.get("x"), place=place)
        return Part(image, encode_images(x, image, place=place), unfit=unfit_images(x))
    if x.ndim >= 3:
        raise DataError(f"{place}x has shape {x.shape}; say what it is: kind='image', 'signal', 'sequence' or 'set'")
    return matrix(x, array_names(x, "x", place), overrides=overrides, place=place)


def _infer_given(given: Any, overrides: Mapping[str, Support], kind: str | None, place: str) -> Part:
    """Conditions that are no columns of a table: a matrix, images, sets (which lists are, if nothing is said) or sequences."""
    if kind in ("set", "sequence") or (kind is None and isinstance(given, list)):
        return _laid_out(given, "given", kind or "set", overrides, place)
    array = as_array(given, "given") if isinstance(given, list) else given
    if kind in ("image", "signal") or (kind is None and array.ndim >= 4):
        image = image_kind(array, kind=kind, support=overrides.get("given"), place=place, role="given")
        return Part(image, encode_images(array, image, place=place, role="given"), unfit=unfit_images(array))
    if array.ndim >= 3:
        told = "say what it is: kind={'given': 'image'}, 'signal', 'sequence' or 'set' (a list of arrays is read as sets)"
        raise DataError(f"{place}given has shape {array.shape}; {told}")
    return matrix(array, array_names(array, "given", place), overrides=overrides, place=place)


def _laid_out(items: Any, role: str, kind: str, overrides: Mapping[str, Support], place: str) -> Part:
    """Sets or sequences that came as arrays."""
    elements, lengths = lay_out(items, place=place, role=role)
    part = matrix(elements, array_names(elements, role, place), overrides=overrides, place=place)
    assert isinstance(part.kind, Vector)
    return Part((Set if kind == "set" else kinds.Sequence)(part.kind), part.values, lengths=lengths)


def _elements(table: pa.Table, names: Sequence[str], kind: str, overrides: Mapping[str, Support], place: str, *, role: str = "x") -> Part:
    """The elements of list columns."""
    lists = set(list_columns(table))
    plain = [name for name in names if name not in lists]
    if plain and role == "given":
        listed = next(name for name in names if name in lists)
        raise DataError(f"{place}given is columns of numbers or columns of lists; '{listed}' holds lists and '{plain[0]}' does not")
    if plain:
        raise DataError(
            f"{place}kind='{kind}' wants columns of lists; '{plain[0]}' holds {table.column(plain[0]).type}: put it into given or drop"
        )
    flat, lengths = flatten(table, names, place=place)
    part = vector(flat, names, overrides=overrides, place=place)
    assert isinstance(part.kind, Vector)
    return Part((Set if kind == "set" else kinds.Sequence)(part.kind), part.values, lengths=lengths)


# ---- names ----------------------------------------------------------------------------------------------------------


def _listed(value: str | Sequence[str] | None, names: Sequence[str], what: str, place: str) -> list[str]:
    """The names of columns in `value`: a name, several separated by commas, or a list."""
    if value is None:
        return []
    if isinstance(value, str):
        asked = [value] if value in names else [part.strip() for part in value.split(",") if part.strip()]
    else:
        asked = [str(name) for name in value]
    for name in asked:
        if name not in names:
            raise DataError(place + unknown("column", name, names, owner=what))
    return list(dict.fromkeys(asked))


def _known_overrides(overrides: Mapping[str, Support], names: Sequence[str], place: str) -> None:
    for name in overrides:
        if name not in names:
            raise DataError(place + unknown("column", name, names, owner="columns"))


def _refuse_shared(roles: Mapping[str, Sequence[str]], place: str) -> None:
    seen: dict[str, str] = {}
    for role, names in roles.items():
        for name in names:
            if name in seen:
                raise DataError(f"{place}column '{name}' is named as both {seen[name]} and {role}; choose one")
            seen[name] = role


def refuse_empty(rows: int, place: str) -> None:
    """Raise DataError if there are no rows."""
    if rows == 0:
        raise DataError(f"{place}{'' if place else 'the data '}holds no rows; expected at least one")


def as_table(found: Arrays, place: str) -> Table:
    """Bare arrays as one table x0, x1 …, y, given0 …, so that their columns can be named."""
    if isinstance(found.x, list) or found.x.ndim > 2:
        raise DataError(f"{place}target, given, weight and drop name columns of a table; here pass a dict with x=, y=, given=, weight=")
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    beside = found.given is not None and (isinstance(found.given, list) or found.given.ndim > 2)
    for stem in ("x", "y", "given", "weight"):
        array = getattr(found, stem)
        if array is not None and not (beside and stem == "given"):
            names = ["weight"] if stem == "weight" else array_names(array, stem, place)
            grid = two_axes(array)
            columns |= {name: as_column(grid[:, i], name, place) for i, name in enumerate(names)}
    target = "y" if found.y is not None else None
    given = found.given if beside else None
    return Table(pa.table(columns), name=found.name, target=target, bare=True, notices=found.notices, given=given)
