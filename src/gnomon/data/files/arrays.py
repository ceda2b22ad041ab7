"""Arrays, tensors, series and lists as numpy arrays or Arrow columns of plain values, or one line that says why not.

Whole data sets are read in `reading`, tables in `frames`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gnomon.errors import DataError


def as_array(value: Any, what: str) -> np.ndarray:
    """`value` as a numpy array of numbers, booleans, texts or times in native byte order, without copying where possible.

    Raises:
        DataError: it holds objects or complex numbers, or its rows differ in length.
    """
    if isinstance(value, torch.Tensor):
        array = _from_torch(value, what)
    elif from_package(value, "scipy.sparse"):
        raise DataError(f"{what} is a sparse matrix; make it dense: x.toarray()")
    elif isinstance(value, (pa.Array, pa.ChunkedArray)) or (is_frame(value) and not hasattr(value, "columns")):
        column = as_column(value, what)
        array = np.asarray(column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False))
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], (np.ndarray, torch.Tensor)) and value[0].ndim:
        array = stacked(value)
    else:
        try:
            array = value if isinstance(value, np.ndarray) else np.asarray(value)
        except ValueError as error:
            raise DataError(f"{what}: rows differ in length; for sets or sequences pass kind='set' or kind='sequence'") from error
    if array.dtype == object:
        array = _plain(array, what)
    if isinstance(array, np.ma.MaskedArray) and array.ndim > 2:
        array = np.ma.filled(array.astype(np.float64), np.nan)
    if array.dtype.kind == "c":
        raise DataError(f"{what} holds complex numbers; pass real and imaginary part as two columns")
    if array.dtype.kind not in "biufUSMmTV":
        raise DataError(f"{what} holds values of type {array.dtype}, which cannot be read; convert them to numbers or texts")
    if array.dtype.kind == "S":
        array = _texts(array, what)
    return array if array.dtype.isnative or array.dtype.names else array.astype(array.dtype.newbyteorder("="))


def _from_torch(value: torch.Tensor, what: str) -> np.ndarray:
    if value.layout is not torch.strided:
        raise DataError(f"{what} is a sparse tensor; make it dense: x.to_dense()")
    dense = value.detach().cpu().resolve_conj().resolve_neg()
    return (dense.float() if dense.dtype is torch.bfloat16 else dense).numpy()


def _plain(array: np.ndarray, what: str) -> np.ndarray:
    """An object array whose values are all texts, or all numbers, as such an array."""
    flat = array.ravel()
    kinds = {type(value) for value in flat}
    if kinds and kinds <= {str, np.str_}:
        return array.astype(str)
    if kinds and (kinds <= {bool, np.bool_} or all(issubclass(kind, (int, float, np.number)) for kind in kinds - {type(None)})):
        return np.asarray([np.nan if value is None else value for value in flat]).reshape(array.shape)
    row = next((i for i, value in enumerate(flat) if type(value) is not type(flat[0])), 0)
    raise DataError(
        f"{what} is an object array, holding {type(flat[row]).__name__ if len(flat) else 'nothing'} at position {row + 1}; "
        "convert it to one type of numbers (x.astype(float)) or pass a table"
    )


def _texts(array: np.ndarray, what: str) -> np.ndarray:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} holds bytes that are not UTF-8 text; decode them first") from error


def as_column(value: Any, name: str, where: str = "") -> pa.Array | pa.ChunkedArray:
    """`value` as an Arrow column, masked entries, None and NaT as missing.

    Raises:
        DataError: it has more than one axis, or mixes types (with the row of the first that differs).
    """
    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        return value
    if is_frame(value):
        value = value.to_arrow() if from_package(value, "polars") else value
        if isinstance(value, (pa.Array, pa.ChunkedArray)):
            return value
    if isinstance(value, torch.Tensor):
        value = _from_torch(value, f"{where}column '{name}'")
    try:
        if isinstance(value, np.ndarray):
            return _array_column(value, name, where)
        return pa.array(value, from_pandas=True)
    except UnicodeError as error:
        raise DataError(f"{where}column '{name}' holds half of a surrogate pair, which is no valid text; mend or remove it") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, OverflowError) as error:
        raise DataError(mixed(value, name, where)) from error


def _array_column(value: np.ndarray, name: str, where: str) -> pa.Array:
    if value.ndim != 1:
        raise DataError(f"{where}'{name}' has {value.ndim} axes and cannot be a column; a column is an array of one axis")
    if value.dtype == object:
        return pa.array(value, from_pandas=True)
    mask = np.ascontiguousarray(np.ma.getmaskarray(value)) if isinstance(value, np.ma.MaskedArray) else None
    plain = np.ascontiguousarray(as_array(np.ma.getdata(value), f"{where}column '{name}'"))
    if plain.dtype.kind == "M" and np.datetime_data(plain.dtype)[0] not in ("s", "ms", "us", "ns", "D"):
        plain = plain.astype("M8[s]")
    if plain.dtype.kind == "f" and plain.dtype.itemsize > 8:
        plain = plain.astype(np.float64)
    return pa.array(plain, mask=mask, from_pandas=True)


def mixed(value: Any, name: str, where: str) -> str:
    """The text of the error for a column that Arrow cannot hold: the first value of another type, with its row."""
    items = list(value)
    present = [(row, item) for row, item in enumerate(items) if item is not None and item == item]
    if not present:
        return f"{where}column '{name}' holds no values that can be read; leave it out"
    first = present[0][1]
    numbers = (int, float, np.number)
    for row, item in present[1:]:
        alike = isinstance(item, type(first)) or (isinstance(item, numbers) and isinstance(first, numbers))
        if not alike or isinstance(item, bool) != isinstance(first, bool):
            kinds = f"{type(item).__name__} ({item!r}) among {type(first).__name__}"
            return f"{where}column '{name}' row {row + 1} holds {kinds}; convert the column to one type"
    return f"{where}column '{name}' holds values of type {type(first).__name__}, which cannot be read; convert them to numbers or texts"


def stacked(source: Sequence[Any]) -> np.ndarray:
    """Arrays of one shape as one array. Raises DataError naming the first of another shape."""
    arrays = [as_array(item, f"x[{index}]") for index, item in enumerate(source)]
    for index, item in enumerate(arrays):
        if item.shape != arrays[0].shape:
            raise DataError(f"x: item {index + 1} has shape {item.shape}, the first has {arrays[0].shape}; bring all to one shape")
    return np.stack(arrays)


def from_package(value: Any, package: str) -> bool:
    """Whether the type of `value` comes from `package`, without importing it."""
    module = type(value).__module__ or ""
    return module == package or module.startswith(package + ".")


def is_frame(value: Any) -> bool:
    """Whether `value` is a table or series of pandas, polars or Arrow, or offers an Arrow C stream."""
    stream = hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")
    return isinstance(value, (pa.Table, pa.RecordBatch)) or from_package(value, "pandas") or from_package(value, "polars") or stream


def one_line(error: BaseException) -> str:
    """The first line of another library's message."""
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".;: ") if text else type(error).__name__
