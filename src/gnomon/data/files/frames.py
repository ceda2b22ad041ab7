"""Pandas, polars and Arrow tables, or anything with an Arrow C stream, as Arrow tables with distinct text names.

Files are read in `files`, single columns in `arrays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gnomon.data.files.arrays import from_package, mixed, one_line
from gnomon.errors import DataError


def from_frame(frame: Any) -> pa.Table:
    """A pandas, polars or pyarrow table, or anything with an Arrow C stream, as an Arrow table with text names."""
    if from_package(frame, "pandas"):
        return _from_pandas(frame)
    if from_package(frame, "polars"):
        return _from_polars(frame)
    if isinstance(frame, (pa.Array, pa.ChunkedArray)):
        return pa.table({"x0": frame})
    try:
        table = pa.table(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        raise DataError(f"the {type(frame).__name__} cannot be read as a table ({one_line(error)}); pass a table of columns") from error
    return table.replace_schema_metadata(None)


def _from_pandas(frame: Any) -> pa.Table:
    if not hasattr(frame, "columns"):
        frame = frame.to_frame(name=frame.name if frame.name is not None else "x0")
    names = [column_name(key, "") for key in frame.columns]
    _refuse_duplicates(names, "")
    columns = {}
    for index, name in enumerate(names):
        series = frame.iloc[:, index]
        try:
            columns[name] = pa.array(series, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, OverflowError) as error:
            raise DataError(mixed(series, name, "")) from error
    return pa.table(columns)


def _from_polars(frame: Any) -> pa.Table:
    frame = frame.collect() if hasattr(frame, "collect") else frame
    frame = frame if hasattr(frame, "columns") else frame.to_frame()
    try:
        return frame.to_arrow().replace_schema_metadata(None)
    except Exception as error:  # polars raises its own hierarchy, and panics on Object columns
        raise DataError(f"the polars table cannot be read ({one_line(error)}); drop columns of type Object") from error


def column_name(key: Any, where: str) -> str:
    """A column's name as text: whole numbers are written out, other things refused."""
    if isinstance(key, str) and key.strip():
        return key
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return str(key)
    raise DataError(f"{where}the column name {key!r} is not text; rename the column")


def unique_names(table: pa.Table, where: str) -> pa.Table:
    """`table` without the columns in which pandas keeps its row index.

    Raises:
        DataError: two columns share a name, or one has none.
    """
    hidden = [name for name in table.column_names if name.startswith("__index_level_")]
    table = table.drop_columns(hidden) if hidden else table
    for index, name in enumerate(table.column_names):
        if not name.strip():
            raise DataError(f"{where}column {index + 1} has no name (an index column?); name it or leave it out")
    _refuse_duplicates(table.column_names, where)
    return table


def _refuse_duplicates(names: Sequence[str], where: str) -> None:
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if name in places:
            raise DataError(f"{where}the name '{name}' is used twice, by columns {places[name] + 1} and {place + 1}; rename one")
        places[name] = place
