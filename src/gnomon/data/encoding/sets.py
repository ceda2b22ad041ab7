"""Sets and sequences: lists of arrays, or tables with list columns, as a `Ragged` of elements; and back.

What the elements' columns mean is decided as for any table (`columns`); this module only lays them end to end.
"""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gnomon.data.examples import Ragged
from gnomon.errors import DataError


def lay_out(items: Any, *, features: int | None = None, place: str = "", role: str = "x") -> tuple[np.ndarray, np.ndarray]:
    """Arrays of different lengths, end to end.

    Args:
        items: one array ``(m,)`` or ``(m, features)`` per example, or one array ``(n, m)`` or ``(n, m, features)``.
        features: how many each element has, if it is known: then all examples may be empty.
        place: what stands before every message.
        role: whose items these are, for messages.

    Returns:
        elements ``(sum of m, features)`` and lengths ``(n,)`` int64.

    Raises:
        DataError: an item with other features than the first, or of another type than numbers.

    Example:
        >>> elements, lengths = lay_out([np.zeros((2, 3)), np.ones((1, 3))])
        >>> elements.shape, lengths.tolist()
        ((3, 3), [2, 1])
    """
    if isinstance(items, np.ndarray):
        if items.ndim not in (2, 3):
            raise DataError(f"{place}{role}: sets and sequences have shape (n, elements, features); got {items.shape}")
        if items.size == 0:
            return lay_out(list(items), features=features, place=place, role=role)
        grid = items[..., None] if items.ndim == 2 else items
        return grid.reshape(-1, grid.shape[2]), np.full(len(grid), grid.shape[1], dtype=np.int64)
    arrays = [np.asarray(item) for item in items]
    filled = next((a for a in arrays if a.size), None)
    if filled is None and features is not None:
        return np.empty((0, features)), np.zeros(len(arrays), dtype=np.int64)
    if filled is None:
        raise DataError(f"{place}{role}: all sets are empty; expected at least one element")
    flat, features = filled.ndim == 1, 1 if filled.ndim == 1 else int(filled.shape[-1])
    for index, array in enumerate(arrays):
        if not array.size:
            continue
        if array.ndim > 2 or (array.ndim == 1) != flat or (not flat and array.shape[1] != features):
            raise DataError(f"{place}{role}: item {index + 1} has shape {array.shape}; expected (elements, {features}) as in the others")
        if array.dtype.kind not in "biuf":
            raise DataError(f"{place}{role}: item {index + 1} holds values of type {array.dtype}; expected numbers")
    elements = np.concatenate([a.reshape(-1, features) for a in arrays if a.size])
    return elements, np.array([len(a) for a in arrays], dtype=np.int64)


def list_columns(table: pa.Table) -> list[str]:
    """Names of the columns that hold a list per row."""
    return [name for name, column in zip(table.column_names, table.columns, strict=True) if _is_list(column.type)]


def _is_list(type_: pa.DataType) -> bool:
    return pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)


def flatten(table: pa.Table, names: ListOf[str], *, place: str = "") -> tuple[pa.Table, np.ndarray]:
    """List columns of equal lengths as a table of elements, and the lengths ``(n,)`` int64. A missing list is an empty one.

    Raises:
        DataError: a column that holds no lists, or lists whose lengths differ from those of the first.
    """
    import pyarrow.compute as pc  # slow to import, so only when data are read

    lengths: np.ndarray | None = None
    flat = {}
    for name in names:
        column = table.column(name)
        if not _is_list(column.type):
            raise DataError(f"{place}column '{name}' holds {column.type}, not lists; put it into given, target or drop")
        own = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
        if lengths is not None and not np.array_equal(own, lengths):
            row = int((own != lengths).argmax())
            raise DataError(f"{place}column '{name}' row {row + 1} lists {own[row]} elements where '{names[0]}' lists {lengths[row]}")
        lengths = own
        flat[name] = pc.list_flatten(column)
    if lengths is None:
        raise DataError(f"{place}no column holds lists; sets and sequences need at least one")
    return pa.table(flat), lengths


def as_lists(elements: pa.Table, lengths: np.ndarray) -> pa.Table:
    """The inverse of `flatten`: one list per row in every column.

    Example:
        >>> as_lists(pa.table({"a": [1, 2, 3]}), np.array([2, 1])).to_pydict()
        {'a': [[1, 2], [3]]}
    """
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    made = {
        name: pa.ListArray.from_arrays(offsets, column.combine_chunks())
        for name, column in zip(elements.column_names, elements.columns, strict=True)
    }
    return pa.table(made)


def ragged(values: np.ndarray, lengths: np.ndarray) -> Ragged:
    """Elements ``(total, features)`` and lengths ``(n,)`` as a `Ragged`."""
    return Ragged(torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(lengths))
