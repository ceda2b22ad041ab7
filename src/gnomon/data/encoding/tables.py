"""Numbers back as the user's tables and arrays, written to files and fingerprinted.

The way in is `reading` and `infer`; here is the way out, with every type restored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence as ListOf
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from gnomon.data.encoding.columns import arrow_type, decode_column
from gnomon.data.encoding.images import decode_images
from gnomon.data.encoding.sets import as_lists
from gnomon.data.encoding.tokens import texts
from gnomon.data.examples import Examples, Ragged
from gnomon.data.kinds import Categorical, Column, Image, Kind, Label, Sequence, Set, Tokens, Vector
from gnomon.errors import DataError

_CHUNK_BYTES = 1 << 26


def decode(kind: Kind, values: Tensor | Ragged) -> Any:
    """Numbers in the user's units as what the user handed over.

    Args:
        kind: what they are.
        values: Vector ``(n, columns)``, Image ``(n, channels, *size)``, Label codes ``(n,)``, Set, Sequence or Tokens a Ragged.

    Returns:
        Vector: a table, or an array ``(n, columns)`` if it came as one; Image: an array in the user's layout;
        Label: ``(n,)`` array of classes; Set and Sequence: a table of lists, or a list of arrays if they came so; Tokens: a table of
        one column, or a list of texts if they came so.

    Raises:
        DataError: `values` do not have the shape of `kind`.

    Example:
        >>> from gnomon.data import Column, Vector
        >>> decode(Vector((Column("n", type="int64"),)), torch.tensor([[2.0], [5.0]])).to_pydict()
        {'n': [2, 5]}
    """
    if isinstance(kind, Image):
        assert isinstance(values, Tensor)
        return decode_images(values, kind)
    if isinstance(kind, Label):
        return _label_column(kind, values).to_numpy(zero_copy_only=False)
    if isinstance(kind, Vector) and kind.bare:
        return _bare(kind, _numbers(kind, values))
    if isinstance(kind, Tokens) and kind.bare:
        assert isinstance(values, Ragged)
        return texts(kind, values)
    if isinstance(kind, (Set, Sequence)) and kind.of.bare:
        assert isinstance(values, Ragged)
        elements = _bare(kind.of, _numbers(kind.of, values.values))
        return np.split(elements, values.lengths.cumsum(0)[:-1].numpy())
    return as_table(kind, values)


def as_table(kind: Kind, values: Tensor | Ragged) -> pa.Table:
    """Numbers in the user's units as a table, even if the data came as a bare array.

    Raises:
        DataError: images have no columns.

    Example:
        >>> from gnomon.data import Label
        >>> as_table(Label(("cat", "dog"), "animal", "string"), torch.tensor([1, 0])).to_pydict()
        {'animal': ['dog', 'cat']}
    """
    if isinstance(kind, Vector):
        numbers = _numbers(kind, values)
        return pa.table([decode_column(c, numbers[:, i]) for i, c in enumerate(kind.columns)], names=list(kind.names))
    if isinstance(kind, Label):
        return pa.table({kind.name: _label_column(kind, values)})
    if isinstance(kind, (Set, Sequence)):
        assert isinstance(values, Ragged)
        return as_lists(as_table(kind.of, values.values), values.lengths.numpy())
    if isinstance(kind, Tokens):
        assert isinstance(values, Ragged)
        return pa.table({kind.name: pa.array(texts(kind, values), pa.string())})
    raise DataError("images cannot become a table; write them to .npy, .npz or a folder of PNG")


def _numbers(kind: Vector, values: Tensor | Ragged) -> np.ndarray:
    assert isinstance(values, Tensor)
    numbers = values.detach().cpu().numpy()
    if numbers.ndim != 2 or numbers.shape[1] != len(kind):
        raise DataError(f"values of shape {numbers.shape} do not fit {len(kind)} columns")
    return numbers


def _label_column(kind: Label, values: Tensor | Ragged) -> pa.Array:
    assert isinstance(values, Tensor)
    return decode_column(Column(kind.name, Categorical(kind.classes), type=kind.type), values.detach().cpu().numpy())


def _bare(kind: Vector, numbers: np.ndarray) -> np.ndarray:
    """An array ``(n, columns)`` of the columns' common type."""
    types = {column.type for column in kind.columns}
    if len(types) == 1 and not any(isinstance(column.support, Categorical) for column in kind.columns):
        type_ = arrow_type(types.pop())
        if pa.types.is_floating(type_) and not np.isnan(numbers).any():
            return np.ascontiguousarray(numbers, dtype=type_.to_pandas_dtype())
    columns = [decode_column(c, numbers[:, i]) for i, c in enumerate(kind.columns)]
    arrays = [column.to_numpy(zero_copy_only=False) for column in columns]
    arrays = [a.astype(str) if a.dtype == object and pa.types.is_string(c.type) else a for a, c in zip(arrays, columns, strict=True)]
    return np.stack(arrays, axis=1)


def join(parts: ListOf[pa.Table], order: ListOf[str] | None = None) -> pa.Table:
    """Tables of the same rows side by side.

    Args:
        parts: tables with as many rows each, and different names.
        order: names in the wanted order; others follow as they come.

    Raises:
        DataError: a name occurs twice, or the numbers of rows differ.

    Example:
        >>> join([pa.table({"a": [1]}), pa.table({"b": [2]})], order=["b", "a"]).column_names
        ['b', 'a']
    """
    columns: dict[str, pa.ChunkedArray] = {}
    for part in parts:
        if part.num_rows != parts[0].num_rows:
            raise DataError(f"tables of {parts[0].num_rows} and {part.num_rows} rows cannot stand side by side")
        for name, column in zip(part.column_names, part.columns, strict=True):
            if name in columns:
                raise DataError(f"column '{name}' occurs in two tables that are to stand side by side")
            columns[name] = column
    first = [name for name in order or () if name in columns]
    return pa.table({name: columns[name] for name in [*first, *(n for n in columns if n not in set(first))]})


def stack(parts: ListOf[Any]) -> Any:
    """What `decode` returned for successive rows, one below the other: tables, arrays or lists of arrays.

    Example:
        >>> stack([pa.table({"a": [1]}), pa.table({"a": [2]})]).to_pydict()
        {'a': [1, 2]}
    """
    if isinstance(parts[0], pa.Table):
        return pa.concat_tables(parts)
    if isinstance(parts[0], list):
        return [item for part in parts for item in part]
    return np.concatenate(parts)


def fingerprint(examples: Examples) -> str:
    """sha256 of all roles: names, types, shapes and bytes, as 64 hexadecimal digits. The same data gives the same text anywhere.

    Example:
        >>> fingerprint(Examples(torch.zeros(2, 3)))[:12] == fingerprint(Examples(torch.zeros(2, 3)))[:12]
        True
    """
    digest = hashlib.sha256()
    for role, values in examples.roles():
        named = [("values", values.values), ("lengths", values.lengths)] if isinstance(values, Ragged) else [("values", values)]
        for name, tensor in named:
            digest.update(f"{role}.{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            for start in range(0, len(flat), _CHUNK_BYTES):
                digest.update(flat[start : start + _CHUNK_BYTES].data)
    return digest.hexdigest()
