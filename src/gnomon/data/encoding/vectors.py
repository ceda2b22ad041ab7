"""Several columns as one matrix of numbers: from tables, from bare arrays at once, and following a saved description.

Single columns are encoded in `columns`; which columns belong together is decided in `roles`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from torch import Tensor

from gnomon.data import kinds
from gnomon.data.encoding.columns import LARGEST_EXACT, check_support, encode_column, wrap
from gnomon.data.files.arrays import as_column
from gnomon.data.kinds import Categorical, Column, Integer, Kind, Label, Periodic, Real, Set, Support, Tokens, Vector
from gnomon.errors import DataError


@dataclass
class Part:
    """One role as numbers.

    Args:
        kind: what it is; None for weights.
        values: Vector: float64 ``(n, columns)``, NaN where missing; Label: float64 codes ``(n,)``; Image: tensor;
            Set and Sequence: float64 ``(elements, columns)``; Tokens: int64 ``(symbols,)`` tensor; weight: float64 ``(n,)``.
        name: the column's name, of a weight.
        lengths: elements per row, of a Set, a Sequence or Tokens.
        unfit: ``(n,)`` bool: rows with missing or infinite pixels, of an Image; missing texts, of Tokens.
    """

    kind: Kind | None
    values: np.ndarray | Tensor
    name: str = ""
    lengths: np.ndarray | None = None
    unfit: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values if self.lengths is None else self.lengths)


def vector(table: pa.Table, names: Sequence[str], *, overrides: Mapping[str, Support], place: str, bare: bool = False) -> Part:
    """Columns of a table, one after the other."""
    values = np.empty((table.num_rows, len(names)))
    described = []
    for index, name in enumerate(names):
        numbers, column = encode_column(table.column(name), name, place=place, support=overrides.get(name))
        if name in overrides:
            check_support(column, numbers, place=place)
        values[:, index] = wrapped(numbers, column)
        described.append(column)
    return Part(Vector(tuple(described), bare=bare), values)


def wrapped(numbers: np.ndarray, column: Column) -> np.ndarray:
    """Numbers as they are, angles brought into their interval."""
    return wrap(numbers, column.support) if isinstance(column.support, Periodic) else numbers


def two_axes(array: np.ndarray) -> np.ndarray:
    """``(n,)`` as ``(n, 1)``, anything else as it is."""
    return array[:, None] if array.ndim == 1 else array


def matrix(array: np.ndarray, names: Sequence[str], *, overrides: Mapping[str, Support], place: str) -> Part:
    """A bare array: all columns at once, and singly only those that are overridden or no plain numbers."""
    if isinstance(array, np.ma.MaskedArray) or array.dtype.kind not in "iuf":
        return vector(array_columns(array, names), names, overrides=overrides, place=place, bare=True)
    grid = two_axes(array)
    _refuse_beyond_exact(grid, names, place)
    values = np.array(grid, dtype=np.float64, order="C")
    type_ = str(pa.from_numpy_dtype(grid.dtype)) if grid.dtype.itemsize <= 8 else "double"
    support: Support = Real() if grid.dtype.kind == "f" else Integer()
    described = [Column(name, support, type=type_) for name in names]
    for index, name in enumerate(names):
        if name in overrides:
            numbers, described[index] = encode_column(
                pa.chunked_array([as_column(grid[:, index], name, place)]), name, place=place, support=overrides[name]
            )
            check_support(described[index], numbers, place=place)
            values[:, index] = wrapped(numbers, described[index])
    return Part(Vector(tuple(described), bare=True), values)


def _refuse_beyond_exact(grid: np.ndarray, names: Sequence[str], place: str) -> None:
    if grid.dtype.kind == "f" or grid.dtype.itemsize < 8 or not grid.size:
        return
    if int(grid.max()) > LARGEST_EXACT or int(grid.min()) < -LARGEST_EXACT:
        row, column = np.argwhere((grid > LARGEST_EXACT) | (grid < -LARGEST_EXACT))[0]
        raise DataError(
            f"{place}column '{names[column]}' row {row + 1} holds {grid[row, column]}, beyond 2^53, where numbers are no longer exact; "
            "leave the column out or make it categorical"
        )


def array_names(array: np.ndarray, stem: str, place: str) -> list[str]:
    """Names for the columns of a bare array: x0, x1 …; y; given0 …"""
    if array.ndim > 2:
        raise DataError(f"{place}{stem} has shape {array.shape}; expected (n,) or (n, columns)")
    width = 1 if array.ndim == 1 else array.shape[1]
    if width == 0:
        raise DataError(f"{place}{stem} has shape {array.shape}: no columns; expected at least one")
    return [stem] if stem == "y" and width == 1 else [f"{stem}{i}" for i in range(width)]


def array_columns(array: np.ndarray, names: Sequence[str]) -> pa.Table:
    """A bare array of any values as a table."""
    grid = two_axes(array)
    return pa.table({name: as_column(grid[:, i], name) for i, name in enumerate(names)})


def column_names(kind: Kind, role: str = "x") -> list[str]:
    """Names of the columns of a kind; images are called by their role."""
    if isinstance(kind, Vector):
        return list(kind.names)
    if isinstance(kind, Label) or (isinstance(kind, Tokens) and not kind.bare):
        return [kind.name]
    return column_names(kind.of) if isinstance(kind, (Set, kinds.Sequence)) else [role]


def follow_matrix(array: np.ndarray, kind: Vector, role: str, place: str) -> np.ndarray:
    """A bare array encoded as `kind` says: float64 ``(n, columns)``."""
    if array.ndim > 2 or (1 if array.ndim == 1 else array.shape[1]) != len(kind):
        raise DataError(f"{place}{role} has shape {array.shape}; expected (n, {len(kind)})")
    easy = all(not isinstance(c.support, (Categorical, Periodic)) and c.origin is None for c in kind.columns)
    if easy and array.dtype.kind in "iuf" and not isinstance(array, np.ma.MaskedArray):
        grid = two_axes(array)
        _refuse_beyond_exact(grid, kind.names, place)
        return np.array(grid, dtype=np.float64, order="C")
    return follow_columns(array_columns(array, kind.names), kind, place)


def follow_columns(table: pa.Table, kind: Vector, place: str) -> np.ndarray:
    """The columns of a table that `kind` names, encoded as it says: float64 ``(n, columns)``."""
    demand(table, kind.names, place)
    values = np.empty((table.num_rows, len(kind)))
    for index, column in enumerate(kind.columns):
        values[:, index] = wrapped(encode_column(table.column(column.name), column.name, place=place, like=column)[0], column)
    return values


def demand(table: pa.Table, names: Sequence[str], place: str) -> None:
    """Raise DataError naming the first column that is missing."""
    missing = [name for name in names if name not in table.column_names]
    if missing:
        held = ", ".join(table.column_names[:8]) + (" …" if table.num_columns > 8 else "")
        raise DataError(f"{place}the column '{missing[0]}' is missing; the model needs {', '.join(names[:8])}; the data holds {held}")
