"""Text tables: CSV and TSV files, with errors that name the row.

Arrow does the parsing; this module guards its entrance (header, separator, encoding) and translates its complaints.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from gnomon.errors import DataError

_SEPARATORS = (",", ";", "\t", "|")
_BLOCK = 1 << 24


def read_delimited(path: Path, *, types: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """A CSV or TSV file as a table. The first line names the columns; the separator is read off it.

    Empty cells (and NA, NaN, null) are missing. Compressed files (.gz, .bz2, .zst) are read as they are.

    Args:
        path: the file.
        types: Arrow types of columns that should not be guessed.

    Raises:
        DataError: an empty file, a missing or repeated name, a row of another length, bytes that are not UTF-8.
    """
    separator, names = header(path)
    parse = pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    wanted = {name: type_ for name, type_ in (types or {}).items() if name in names}
    convert = pa.csv.ConvertOptions(column_types=wanted, strings_can_be_null=True, quoted_strings_can_be_null=False)
    try:
        table = _parse(path, parse, convert)
    except pa.ArrowInvalid as error:
        raise DataError(_complaint(path, parse, convert, error)) from error
    _refuse_bytes(table, path)
    _refuse_open_quote(table, path)
    return table


def _parse(path: Path, parse: pa.csv.ParseOptions, convert: pa.csv.ConvertOptions, *, threads: bool = True) -> pa.Table:
    reading = pa.csv.ReadOptions(use_threads=threads, block_size=_BLOCK)
    return pa.csv.read_csv(path, read_options=reading, parse_options=parse, convert_options=convert)


def header(path: Path) -> tuple[str, list[str]]:
    """The separator and the names in the first line."""
    try:
        with pa.input_stream(str(path)) as stream:
            start = stream.read(1 << 20)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}); is the file damaged?") from error
    if not start.strip():
        raise DataError(f"{path}: the file is empty; expected a line of column names and at least one row")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: the file is UTF-16 text; save it as UTF-8")
    try:
        line = start.lstrip(b"\r\n").splitlines()[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the column names are not UTF-8 text (byte {error.start + 1}); save the file as UTF-8") from error
    fields = {separator: next(csv.reader([line], delimiter=separator)) for separator in _SEPARATORS}
    tabbed = path.name.lower().split(".csv")[0].endswith((".tsv", ".tsv.gz", ".tab"))
    separator = "\t" if tabbed else max(_SEPARATORS, key=lambda s: len(fields[s]))
    names = fields[separator]
    if all(is_number(name) for name in names) and not _counts(names):
        raise DataError(f"{path}: the first line holds numbers ({', '.join(names[:3])} …), not column names; put a line of names on top")
    return separator, names


def _counts(names: list[str]) -> bool:
    """Whether the names are 0, 1, 2 …, as written for tables whose columns were never named."""
    return names in ([str(i) for i in range(len(names))], [str(i + 1) for i in range(len(names))]) and len(names) > 1


def is_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _complaint(path: Path, parse: pa.csv.ParseOptions, convert: pa.csv.ConvertOptions, first: pa.ArrowInvalid) -> str:
    """Arrow's message, parsed once more on one thread because only then it knows the row."""
    text = str(first)
    try:
        _parse(path, parse, convert, threads=False)
    except pa.ArrowInvalid as error:
        text = str(error)
    text = text.splitlines()[0]
    row = re.search(r"Row #(\d+)", text)
    place = f"{path}: row {int(row[1]) - 1}" if row else f"{path}: a row"
    if ragged := re.search(r"Expected (\d+) columns, got (\d+)", text):
        values = "1 value" if ragged[2] == "1" else f"{ragged[2]} values"
        return f"{place} has {values} where the header names {ragged[1]} columns; correct the row"
    if value := re.search(r"CSV conversion error to (\S+): invalid value '(.*)'", text):
        column = re.search(r"column (?:#\d+|'([^']*)')", text)
        number = re.search(r"column #(\d+)", text)
        name = header(path)[1][int(number[1])] if number else column[1] if column and column[1] else ""
        if not row:
            place = f"{path}:"
        return f"{place} column '{name}' holds '{value[2]}' where {value[1]} is expected; correct the value"
    if "UTF8" in text or "UTF-8" in text:
        return f"{path}: holds bytes that are not UTF-8 text; save the file as UTF-8"
    return f"{path}: cannot be read as a table of text ({text}); check its separator and quotes"


def _refuse_open_quote(table: pa.Table, path: Path) -> None:
    """A quote that is never closed swallows the rest of the file into the last row."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        last = column[-1].as_py() if len(column) and pa.types.is_string(column.type) else None
        if last and last.endswith("\n"):
            raise DataError(f"{path}: row {len(column)} column '{name}' opens a quote that is never closed; correct the row")


def _refuse_bytes(table: pa.Table, path: Path) -> None:
    """Arrow gives up on text that is not UTF-8 and hands out bytes: name the first such cell."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_binary(column.type):
            continue
        for row, value in enumerate(column.to_pylist()):
            try:
                (value or b"").decode("utf-8")
            except UnicodeDecodeError:
                raise DataError(f"{path}: column '{name}' row {row + 1} is not UTF-8 text ({value!r}); save the file as UTF-8") from None
