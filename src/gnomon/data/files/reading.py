"""What the user hands over, read as named columns (`Table`) or as arrays by role (`Arrays`).

Objects in memory are read here, files in `files`. What plays which role, and what its values mean, is decided in `infer`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gnomon.data.files.arrays import as_array, as_column, from_package, is_frame
from gnomon.data.files.frames import column_name, from_frame, unique_names
from gnomon.errors import DataError

ROLES = ("x", "y", "given", "weight")
TEXTS = ("tokens", "smiles")
"""The words for x being texts that fall apart into symbols."""


@dataclass(frozen=True)
class Table:
    """Named columns of one length, as they came.

    Args:
        columns: the columns, in order, with distinct names.
        name: what to call the data in messages: the path of its file, or "".
        target: the column that the user handed over as target, or None.
        suggested: the column that is the target if a model needs one and none is named, or None.
        bare: whether it came as a plain array and goes back as one.
        notices: what was done to the data on the way in.
        given: conditions that came beside the table, an array or a list of arrays as in `Arrays`, or None.
    """

    columns: pa.Table
    name: str = ""
    target: str | None = None
    suggested: str | None = None
    bare: bool = False
    notices: tuple[str, ...] = ()
    given: Any = None


@dataclass(frozen=True)
class Arrays:
    """Arrays by role, as they came.

    Args:
        x: ``(n, …)`` array, or a list when the examples differ in length: of arrays, or of texts.
        y: ``(n,)`` or ``(n, columns)`` targets, or None.
        given: ``(n,)`` or ``(n, columns)`` conditions, ``(n, …)`` images, a list of ``(elements, columns)`` sets, or None.
        weight: ``(n,)``, or None.
        name: what to call the data in messages: the path of its file, or "".
        layout: where images keep their channels, if known: "first", "last" or "none".
        notices: what was done to the data on the way in.
        kind: what x is, where the file tells: "tokens" or "smiles".
    """

    x: Any
    y: Any = None
    given: Any = None
    weight: Any = None
    name: str = ""
    layout: str | None = None
    notices: tuple[str, ...] = ()
    kind: str | None = None


def read(source: Any, *, kind: str | None = None, types: Mapping[str, pa.DataType] | None = None) -> Table | Arrays:
    """Read any supported data without interpreting it.

    Args:
        source: a path (CSV, TSV, Parquet, Feather, NPY, NPZ, HDF5, ROOT, lines of text, folder of images), a bundled name, a numpy or
            torch array, a tuple ``(x, y)``, a dict of columns or of arrays by role, a pandas, polars or pyarrow table, a list of records,
            a list of arrays or of texts.
        kind: what the data is, where it is not evident: "image", "signal", "set", "sequence", "tokens", "smiles" or "vector".
        types: Arrow types of columns in text files, where these should not be guessed.

    Raises:
        DataError: the data cannot be read; one line naming file, column and row.

    Example:
        >>> read({"a": [1, 2], "b": ["u", "v"]}).columns.column_names
        ['a', 'b']
    """
    if isinstance(source, (Table, Arrays)):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _read_named(source, types)
    if isinstance(source, tuple):
        return _read_pair(source)
    if isinstance(source, Mapping):
        return from_mapping(source, by_role=kind is not None)
    if from_package(source, "scipy.sparse"):
        raise DataError(f"a sparse matrix ({type(source).__name__}) cannot be read; make it dense: x.toarray()")
    if is_frame(source):
        return Table(unique_names(from_frame(source), ""))
    if isinstance(source, list):
        return _read_list(source, kind)
    if hasattr(source, "log_prob") and callable(getattr(source, "sample", None)):
        return read(_toy_table(source))
    if source is None or not (hasattr(source, "__array__") or hasattr(source, "__array_interface__") or np.isscalar(source)):
        what = "nothing (None)" if source is None else f"a {type(source).__name__}"
        raise DataError(f"{what} cannot be read as data; pass a path, a table, a dict of columns, an array, or (x, y)")
    return from_array(as_array(source, "x"))


def load(name: str) -> Any:
    """The bundled data set `name`, as the array, dict or table that `read` and `fit` accept.

    Raises:
        OptionError: no data set has that name; the nearest is named.

    Example:
        >>> load("moons").column_names
        ['x', 'y']
    """
    from gnomon.registry import datasets

    data, _ = _bundled(datasets[name])
    return data


def _bundled(entry: Any) -> tuple[Any, str | None]:
    """The data and the default target of an entry of the registry: a toy density, or a function that loads."""
    made = entry()
    if hasattr(made, "sample") and hasattr(made, "log_prob"):
        return _toy_table(made), None
    return made if isinstance(made, tuple) and len(made) == 2 and (made[1] is None or isinstance(made[1], str)) else (made, None)


def _toy_table(toy: Any, rows: int = 10_000) -> pa.Table:
    points = np.asarray(toy.sample(rows, seed=0))
    points = points.reshape(len(points), -1)
    names = ("x", "y", "z") if points.shape[1] <= 3 else tuple(f"x{i}" for i in range(points.shape[1]))
    return pa.table({name: points[:, i] for i, name in zip(range(points.shape[1]), names, strict=False)})


def _read_named(source: str | os.PathLike[str], types: Mapping[str, pa.DataType] | None) -> Table | Arrays:
    """A file or folder; failing that, a bundled data set."""
    from gnomon.data.files import formats
    from gnomon.registry import datasets

    path = Path(source).expanduser()
    if formats.exists(path):
        return formats.read_path(path, types=types)
    name = str(source)
    if name in datasets:
        data, target = _bundled(datasets[name])
        found = read(data)
        return replace(found, name=name, suggested=target) if isinstance(found, Table) else replace(found, name=name)
    near = difflib.get_close_matches(name, datasets, 1)
    beside = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [], 1)
    hint = f"did you mean '{path.parent / beside[0]}'?" if beside else f"did you mean '{near[0]}'?" if near else "check the path"
    raise DataError(f"'{name}' is no file, no folder and no bundled data set (gnomon list datasets); {hint}")


def _read_pair(source: tuple[Any, ...]) -> Arrays | Table:
    if len(source) != 2:
        raise DataError(f"a tuple of data is (x, y); got {len(source)} parts; pass a dict with x=, y=, given=, weight= instead")
    x, y = source
    return _beside_table({"x": x, "y": y}) if is_frame(x) else _by_role({"x": x, "y": y})


def _beside_table(source: Mapping[str, Any], where: str = "") -> Table:
    """A table as x, with a target or conditions beside it."""
    table = read(source["x"])
    assert isinstance(table, Table)
    y, given = source.get("y"), source.get("given")
    if y is not None:
        name = str(getattr(y, "name", None) or "y")
        if name in table.columns.column_names:
            raise DataError(f"(x, y): the table x already has a column '{name}'; pass one table and target='{name}'")
        column = as_column(y, name)
        _same_length({"x": table.columns.num_rows, "y": len(column)})
        table = replace(table, columns=table.columns.append_column(name, column), target=name)
    if given is not None:
        table = replace(table, given=_role("given", given, where))
        _same_length({"x": table.columns.num_rows, "given": len(table.given)}, where)
    return table


def from_mapping(source: Mapping[Any, Any], *, name: str = "", by_role: bool = False) -> Table | Arrays:
    """A dict: arrays by role if its keys are x, y, given, weight and x or given has more than one axis; else columns."""
    where = f"{name}: " if name else ""
    if not source:
        raise DataError(f"{where or 'the data '}holds no columns; pass at least one")
    lowered = {"x" if key == "X" else key: value for key, value in source.items()}
    if set(lowered) <= set(ROLES) and "x" in lowered and (by_role or _no_columns(lowered)):
        return _by_role(lowered, name=name)
    columns = {column_name(key, where): value for key, value in source.items()}
    if len(columns) < len(source):
        raise DataError(f"{where}two columns have the same name once it is text; rename one of {list(columns)}")
    wide = [key for key, value in columns.items() if _axes(value) != 1 and not isinstance(value, (list, tuple))]
    if wide:
        axes = _axes(columns[wide[0]])
        advice = "arrays by role want the keys x, y, given, weight" if axes else "a column is an array of one axis"
        raise DataError(f"{where}'{wide[0]}' has {axes} axes and cannot be a column; {advice}")
    made = {key: as_column(value, key, where) for key, value in columns.items()}
    _same_length({key: len(column) for key, column in made.items()}, where)
    return Table(pa.table(made), name=name, suggested="y" if set(columns) <= set(ROLES) and "y" in columns else None)


def _by_role(source: Mapping[str, Any], *, name: str = "") -> Arrays | Table:
    where = f"{name}: " if name else ""
    if _is_table(source["x"]) and source.get("weight") is None:
        return _beside_table(source, where)
    roles = {role: _role(role, value, where) for role, value in source.items() if value is not None}
    _same_length({role: len(value) for role, value in roles.items()}, where)
    return Arrays(**roles, name=name)


def _role(role: str, value: Any, where: str) -> Any:
    """One role as an array, or as a list of arrays where examples differ in length or conditions are sets."""
    if (role in ("x", "given") and _is_ragged(value)) or (role == "given" and _are_sets(value)):
        return [as_array(item, f"{where}{role}[{index}]") for index, item in enumerate(value)]
    array = as_array(value, f"{where}{role}")
    if array.ndim == 0:
        raise DataError(f"{where}{role} is a single number; expected one row per example, an array of shape (n, …)")
    return array


def from_array(array: np.ndarray, *, name: str = "") -> Table | Arrays:
    """One array: a table if its values are not plain numbers, else the role x."""
    where = f"{name}: " if name else ""
    if array.ndim == 0:
        raise DataError(f"{where}the data is a single value; expected one row per example, an array of shape (n, …)")
    if array.dtype.names:
        made = {field: as_column(array[field], field, where) for field in array.dtype.names}
        return Table(pa.table(made), name=name)
    return Arrays(array, name=name)


def _read_list(source: list[Any], kind: str | None) -> Table | Arrays:
    if not source:
        raise DataError("the data is an empty list; pass at least one row")
    if isinstance(source[0], Mapping):
        names = list(dict.fromkeys(key for record in source for key in record))
        return from_mapping({name: [record.get(name) for record in source] for name in names})
    if kind in ("set", "sequence") or _is_ragged(source):
        return _by_role({"x": source})
    if kind is None and any(isinstance(item, (np.ndarray, torch.Tensor)) and item.ndim for item in source):
        raise DataError("a list of arrays needs to be told what it is: pass kind='image', 'signal', 'sequence' or 'set'")
    if kind is not None:
        return _by_role({"x": as_array(source, "x")})
    return from_array(as_array(source, "x"))


def _is_ragged(value: Any) -> bool:
    """Whether `value` is a list of arrays (or of lists) whose lengths differ."""
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1):
        return False
    if not len(value) or not all(hasattr(item, "__len__") and not isinstance(item, (str, bytes, Mapping)) for item in value):
        return False
    return len({len(item) for item in value}) > 1


def _are_sets(value: Any) -> bool:
    """Whether `value` is a list of arrays of two axes: sets of elements, even where all are of one length."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and _axes(value[0]) == 2


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (is_frame(value) and hasattr(value, "columns"))


def _no_columns(source: Mapping[str, Any]) -> bool:
    """Whether x or given of a dict cannot be a column, so that its keys must be roles."""
    given = source.get("given")
    return _is_table(source["x"]) or _axes(source["x"]) != 1 or _axes(given) > (2 if isinstance(given, (list, tuple)) else 1)


def _axes(value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return 1 + _axes(value[0]) if len(value) and not isinstance(value[0], (str, bytes)) else 1
    if isinstance(value, (str, bytes)) or value is None:
        return 0
    if hasattr(value, "ndim"):
        return int(value.ndim)
    return len(value.shape) if hasattr(value, "shape") else 1 if hasattr(value, "__len__") else 0


def _same_length(lengths: Mapping[str, int], where: str = "") -> None:
    (first, expected), *others = lengths.items()
    for name, length in others:
        if length != expected:
            raise DataError(f"{where}'{name}' has {length} rows but '{first}' has {expected}; give all the same number of rows")
