"""New data encoded as a saved Spec says: the same columns, categories and origins of time as in training.

How new data without a Spec is understood stands in `roles`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gnomon.data import kinds
from gnomon.data.encoding.images import absent_images, encode_images, unfit_images
from gnomon.data.encoding.roles import as_table, refuse_empty
from gnomon.data.encoding.sets import flatten, lay_out
from gnomon.data.encoding.targets import follow_label, weight_part
from gnomon.data.encoding.tokens import encoded, text_column
from gnomon.data.encoding.vectors import Part, column_names, demand, follow_columns, follow_matrix
from gnomon.data.files.arrays import as_array, as_column
from gnomon.data.files.reading import Arrays, Table
from gnomon.data.kinds import Image, Label, Set, Spec, Tokens, Vector
from gnomon.errors import DataError


def follow(
    found: Table | Arrays, spec: Spec, *, roles: Sequence[str] | None, absent: bool, place: str
) -> tuple[dict[str, Part], Table | Arrays]:
    """The roles that `spec` names, encoded as it says.

    Raises:
        DataError: a demanded column is missing, of another type, or holds an unknown category.
    """
    found = _fitting(found, spec, place)
    demanded = [role for role in (roles or ("x", "given")) if role == "x" or getattr(spec, role) is not None]
    optional = [role for role in ("y", "weight") if roles is None and getattr(spec, role) is not None]
    parts: dict[str, Part] = {}
    for role in ("x", "y", "given", "weight"):
        if role in demanded or (role in optional and _has(found, spec, role)):
            parts[role] = _follow_role(found, spec, role, absent and role == "given", place)
    refuse_empty(len(parts["x"]) if "x" in parts else 1, place)
    return parts, found


def _fitting(found: Table | Arrays, spec: Spec, place: str) -> Table | Arrays:
    """The data in the form in which the spec was inferred: bare arrays as a table if its roles were columns of one."""
    if isinstance(found, Table):
        if isinstance(spec.x, Image):
            raise DataError(f"{place}expected images of shape {spec.x.shape}; got a table of columns")
        return found
    if not isinstance(spec.x, Vector) or isinstance(found.x, list) or found.x.ndim > 2:
        return found
    width = 1 if found.x.ndim == 1 else found.x.shape[1]
    if not spec.x.bare:
        names = ", ".join(spec.x.names[:6]) + (" …" if len(spec.x) > 6 else "")
        raise DataError(f"{place}expected a table with the columns {names}; got a bare array of {width} columns")
    named = {name for role in ("y", "given") if getattr(spec, role) is not None for name in column_names(getattr(spec, role), role)}
    if width != len(spec.x) and any(name[0] == "x" and name[1:].isdigit() for name in named):
        return as_table(found, place)
    return found


def _has(found: Table | Arrays, spec: Spec, role: str) -> bool:
    if isinstance(found, Arrays):
        return getattr(found, role) is not None
    names = [spec.weight] if role == "weight" else column_names(getattr(spec, role), role)
    return all(name in found.columns.column_names for name in names)


def _follow_role(found: Table | Arrays, spec: Spec, role: str, absent: bool, place: str) -> Part:
    kind = getattr(spec, role)
    array = found.given if isinstance(found, Table) and role == "given" else None
    beside = isinstance(kind, Image) or (
        role == "given" and isinstance(kind, (Set, kinds.Sequence)) and kind.of.bare
    )  # never columns of a table
    if isinstance(found, Arrays) or array is not None or beside:
        array = getattr(found, role, None)
        if array is None:
            if absent:
                return _nothing(kind, found)
            raise DataError(f"{place}the data has no {role}; pass a dict with x= and {role}=")
        return _follow_array(array, kind, role, place, absent)
    table = found.columns
    if role == "weight":
        demand(table, [kind], place)
        return weight_part(table.column(kind), kind, place)
    if isinstance(kind, (Set, kinds.Sequence)):
        demand(table, kind.of.names, place)
        flat, lengths = flatten(table, kind.of.names, place=place)
        return Part(kind, follow_columns(flat, kind.of, place), lengths=lengths)
    if isinstance(kind, Tokens):
        return encoded(text_column(table, kind, place), kind, place=place)
    if isinstance(kind, Label):
        demand(table, [kind.name], place)
        return Part(kind, follow_label(table.column(kind.name), kind, place))
    if absent:
        missing = [column for column in kind.columns if column.name not in table.column_names]
        for column in missing:
            table = table.append_column(column.name, pa.nulls(table.num_rows))
    return Part(kind, follow_columns(table, kind, place))


def _nothing(kind: Any, found: Table | Arrays) -> Part:
    """A condition that is absent from every row."""
    rows = found.columns.num_rows if isinstance(found, Table) else len(found.x)
    absent = np.full((rows, *kind.shape), np.nan, dtype=np.float32 if isinstance(kind, Image) else np.float64)
    return Part(kind, torch.from_numpy(absent) if isinstance(kind, Image) else absent)


def _follow_array(array: Any, kind: Any, role: str, place: str, absent: bool) -> Part:
    if role == "weight":
        return weight_part(pa.chunked_array([as_column(array, "weight", place)]), "", place)
    if isinstance(kind, Image):
        if isinstance(array, list) and role == "given":
            array = as_array(array, role)
        if isinstance(array, list):
            raise DataError(f"{place}expected images of shape {kind.shape}; got arrays of different lengths")
        unfit = unfit_images(array)
        values = encode_images(array, kind, place=place, role=role, absent=absent)
        return Part(kind, values, unfit=unfit & ~absent_images(array) if absent else unfit)
    if isinstance(kind, (Set, kinds.Sequence)):
        elements, lengths = lay_out(array, features=len(kind.of), place=place, role=role)
        return Part(kind, follow_matrix(elements, kind.of, role, place), lengths=lengths)
    if isinstance(kind, Tokens):
        return encoded(array, kind, place=place)
    if isinstance(array, list):
        raise DataError(f"{place}{role} is a list of arrays of different lengths; expected {len(kind)} columns")
    if isinstance(kind, Label):
        return Part(kind, follow_label(pa.chunked_array([as_column(array.reshape(len(array)), kind.name, place)]), kind, place))
    return Part(kind, follow_matrix(array, kind, role, place))
