"""Files that are read a block of rows at a time: Parquet, Feather, CSV, NPY and HDF5, in any order of blocks.

A block comes as the same sort of thing as the whole file would; what it means, and the order of blocks, is decided elsewhere.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from gnomon.data.files.arrays import one_line
from gnomon.data.files.delimited import header
from gnomon.data.files.formats import TEXT_SUFFIXES, dataset, from_named_arrays, split_inside
from gnomon.data.files.frames import unique_names
from gnomon.data.files.reading import Arrays, Table, from_array
from gnomon.data.seeds import mix
from gnomon.errors import DataError

BLOCK_ROWS = 1 << 16
"""Rows per block, unless the file's own groups are larger: these are never split."""

_TEXT_BLOCK = 1 << 24  # bytes of text parsed at a time
STREAMED = "Parquet, Feather, CSV, TSV, .npy and HDF5"


@dataclass(frozen=True)
class RowFile:
    """A file of rows in blocks.

    Args:
        name: for messages.
        bounds: rising row numbers from 0 to the number of rows; block j holds rows ``bounds[j]`` … ``bounds[j + 1] - 1``.
        fetch: block number to its rows; called by one thread at a time.
    """

    name: str
    bounds: list[int]
    fetch: Callable[[int], Table | Arrays]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __len__(self) -> int:
        return self.bounds[-1]

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(self.bounds) - 1

    def read(self, block: int) -> Table | Arrays:
        """The rows of one block. Raises DataError if the file has become unreadable."""
        with self._lock:
            try:
                return self.fetch(block)
            except (OSError, pa.ArrowException) as error:
                rows = f"rows {self.bounds[block] + 1} to {self.bounds[block + 1]}"
                raise DataError(f"{self.name}: {rows} cannot be read ({one_line(error)}); the file is damaged or has changed") from error

    def sample(self, rows: int, seed: int) -> Table | Arrays:
        """Whole blocks picked at random until they hold at least `rows` rows, in the order of the file: what a `Spec` and a
        `Scaling` can be fitted on.
        """
        order = np.random.Generator(np.random.PCG64(mix("sample blocks", seed))).permutation(self.blocks).tolist()
        sizes = itertools.accumulate(self.bounds[j + 1] - self.bounds[j] for j in order)
        enough = next((i + 1 for i, total in enumerate(sizes) if total >= rows), len(order))
        parts = [self.read(j) for j in sorted(order[:enough])]
        return _joined(parts, self.name)


def open_rows(path: str | Path, *, block_rows: int = BLOCK_ROWS, types: Mapping[str, pa.DataType] | None = None) -> RowFile:
    """Open a file for reading by blocks.

    Text tables cannot be entered in the middle: they are turned once into a temporary Arrow file, which lives as long as
    the object. Row groups of Parquet and record batches of Feather files are joined up to `block_rows` but never split.

    Args:
        path: the file; HDF5 files may be followed by ``:name``.
        block_rows: rows per block.
        types: Arrow types of columns in text files, where these should not be guessed from the first megabytes.

    Raises:
        DataError: the file cannot be read or has no rows, or its format cannot be entered in the middle.
    """
    file, inside = split_inside(Path(path).expanduser())
    if not file.is_file():
        raise DataError(f"{file}: no such file; streaming reads one file ({STREAMED})")
    suffix = file.suffix.lower()
    try:
        if file.name.lower().endswith(TEXT_SUFFIXES):
            made = _text(file, block_rows, types)
        elif suffix in (".parquet", ".pq"):
            made = _parquet(file, block_rows)
        elif suffix in (".feather", ".arrow"):
            made = _feather(file, block_rows, str(file))
        elif suffix == ".npy":
            made = _npy(file, block_rows)
        elif suffix in (".h5", ".hdf5"):
            made = _hdf5(file, inside, block_rows)
        else:
            raise DataError(f"{file}: files ending in '{suffix}' cannot be streamed; expected {STREAMED}")
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: cannot be read as {suffix} ({one_line(error)}); the file is damaged or has another format") from error
    if not len(made):
        raise DataError(f"{file}: the file has no rows")
    return made


def _joined(parts: list[Table | Arrays], name: str) -> Table | Arrays:
    if isinstance(parts[0], Table):
        return Table(pa.concat_tables([p.columns for p in parts if isinstance(p, Table)]), name=name, bare=parts[0].bare)
    arrays = [p for p in parts if isinstance(p, Arrays)]
    roles = {role: getattr(arrays[0], role) for role in ("x", "y", "given", "weight")}
    joined: dict[str, Any] = {
        role: None if first is None else np.concatenate([getattr(p, role) for p in arrays]) for role, first in roles.items()
    }
    return replace(arrays[0], **joined, name=name)


def _packed(sizes: Iterable[int], block_rows: int) -> tuple[list[int], list[list[int]]]:
    """Consecutive groups of rows put together until they hold `block_rows`: the bounds, and the groups of each block."""
    bounds, members = [0], []
    open_: list[int] = []
    count = 0
    for group, size in enumerate(sizes):
        if size:
            open_.append(group)
            count += size
        if count >= block_rows:
            bounds.append(bounds[-1] + count)
            members.append(open_)
            open_, count = [], 0
    if open_:
        bounds.append(bounds[-1] + count)
        members.append(open_)
    return bounds, members


def _even(rows: int, block_rows: int) -> list[int]:
    return [*range(0, rows, block_rows), rows]


def _parquet(file: Path, block_rows: int) -> RowFile:
    import pyarrow.parquet as parquet

    archive = parquet.ParquetFile(file)
    sizes = (archive.metadata.row_group(i).num_rows for i in range(archive.num_row_groups))
    bounds, members = _packed(sizes, block_rows)

    def fetch(block: int) -> Table:
        table = archive.read_row_groups(members[block], use_threads=False).replace_schema_metadata(None)
        return Table(unique_names(table, f"{file}: "), name=_part(str(file), bounds[block]))

    return RowFile(str(file), bounds, fetch)


def _feather(file: Path, block_rows: int, name: str) -> RowFile:
    source = pa.memory_map(str(file))
    counting = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=[0]))
    sizes = (counting.get_batch(i).num_rows for i in range(counting.num_record_batches))
    bounds, members = _packed(sizes, block_rows)
    archive = pa.ipc.open_file(source)

    def fetch(block: int) -> Table:
        table = pa.Table.from_batches([archive.get_batch(i) for i in members[block]]).replace_schema_metadata(None)
        return Table(unique_names(table, f"{name}: "), name=_part(name, bounds[block]))

    return RowFile(name, bounds, fetch)


def _text(file: Path, block_rows: int, types: Mapping[str, pa.DataType] | None) -> RowFile:
    separator, names = header(file)
    folder = tempfile.TemporaryDirectory(prefix="gnomon-")
    copy = Path(folder.name) / "rows.arrow"
    parse = pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    wanted = {name: type_ for name, type_ in (types or {}).items() if name in names}
    convert = pa.csv.ConvertOptions(column_types=wanted, strings_can_be_null=True, quoted_strings_can_be_null=False)
    try:
        with pa.csv.open_csv(
            file, read_options=pa.csv.ReadOptions(block_size=_TEXT_BLOCK), parse_options=parse, convert_options=convert
        ) as reader:
            with pa.OSFile(str(copy), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
                for batch in reader:
                    writer.write_table(pa.Table.from_batches([batch]), max_chunksize=block_rows)
        made = _feather(copy, block_rows, str(file))
    except pa.ArrowInvalid as error:
        folder.cleanup()
        raise DataError(f"{file}: {one_line(error)}; correct the row, or save the table as Parquet") from error
    weakref.finalize(made, folder.cleanup)
    return made


def _npy(file: Path, block_rows: int) -> RowFile:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if not array.ndim:
        raise DataError(f"{file}: the data is a single value; expected one row per example, an array of shape (n, …)")
    bounds = _even(len(array), block_rows)

    def fetch(block: int) -> Table | Arrays:
        return from_array(np.array(array[bounds[block] : bounds[block + 1]]), name=_part(str(file), bounds[block]))

    return RowFile(str(file), bounds, fetch)


def _hdf5(file: Path, inside: str | None, block_rows: int) -> RowFile:
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"{file}: reading HDF5 needs h5py; install it: pip install 'gnomon[hdf5]'") from error
    archive = h5py.File(file, "r")
    place = archive if inside is None else archive.get(inside)
    if place is None:
        raise DataError(f"{file}: holds no '{inside}'; it holds {', '.join(archive) or 'nothing'}")
    found = {"": place} if hasattr(place, "shape") else {name: item for name, item in place.items() if hasattr(item, "shape")}
    lengths = {len(item) if item.shape else 0 for item in found.values()}
    if len(lengths) != 1:
        raise DataError(f"{file}: its data sets differ in length ({', '.join(map(str, sorted(lengths)))} rows); name one: '{file}:NAME'")
    bounds = _even(lengths.pop(), block_rows)

    def fetch(block: int) -> Table | Arrays:
        arrays = {name: dataset(item, slice(bounds[block], bounds[block + 1])) for name, item in found.items()}
        name = _part(str(file), bounds[block])
        return from_array(arrays[""], name=name) if "" in arrays else from_named_arrays(arrays, name, "data set")

    return RowFile(str(file), bounds, fetch)


def _part(name: str, first: int) -> str:
    return name if first == 0 else f"{name} (counted from row {first + 1})"
