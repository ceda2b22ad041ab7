"""Files by suffix: which reader opens which, and one clear line when it cannot.

Text tables are parsed in `delimited`, folders of pictures in `image_folders`; nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gnomon.data.files.arrays import one_line
from gnomon.data.files.delimited import is_number, read_delimited
from gnomon.data.files.frames import unique_names
from gnomon.data.files.image_folders import SUFFIXES as IMAGE_SUFFIXES
from gnomon.data.files.image_folders import read_image_folder
from gnomon.data.files.lines import SUFFIXES as LINE_SUFFIXES
from gnomon.data.files.lines import read_lines
from gnomon.data.files.reading import ROLES, Arrays, Table, from_array, from_mapping
from gnomon.errors import DataError

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz", ".csv.bz2", ".csv.zst")
_INSIDE = (".h5", ".hdf5", ".root")
KNOWN = "CSV, TSV, Parquet, Feather, .npy, .npz, HDF5, ROOT, .txt, .smi or a folder of images"


def exists(path: Path) -> bool:
    """Whether `path` is a file or folder, possibly with the name of something inside it (``events.root:tree``)."""
    return split_inside(path)[0].exists()


def split_inside(path: Path) -> tuple[Path, str | None]:
    """A path and what is meant inside the file: ``data.h5:group/values`` → (``data.h5``, ``group/values``)."""
    for suffix in _INSIDE:
        before, colon, inside = str(path).partition(suffix + ":")
        if colon:
            return Path(before + suffix), inside or None
    return path, None


def read_path(path: Path, *, types: Mapping[str, pa.DataType] | None = None) -> Table | Arrays:
    """Read one file or folder.

    Args:
        path: where it is; HDF5 and ROOT files may be followed by ``:name``.
        types: Arrow types of columns in text files, where these should not be guessed.

    Raises:
        DataError: an unknown suffix, an empty or damaged file.
    """
    file, inside = split_inside(path)
    if file.is_dir():
        return read_image_folder(file)
    suffix = file.suffix.lower()
    lowered = file.name.lower()
    try:
        empty = file.stat().st_size == 0
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({one_line(error)})") from error
    if empty:
        raise DataError(f"{file}: the file is empty; expected a table or an array")
    if lowered.endswith(TEXT_SUFFIXES):
        table = read_delimited(file, types=types)
        return Table(unique_names(table, f"{file}: "), name=str(file), notices=_doubtful_names(file, table.column_names))
    if suffix in LINE_SUFFIXES:
        return read_lines(file)
    if suffix in (".h5", ".hdf5"):
        return _read_hdf5(file, inside)
    if suffix == ".root":
        return _read_root(file, inside)
    if suffix not in _READERS:
        raise DataError(_no_reader(file, suffix))
    try:
        return _READERS[suffix](file)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, EOFError) as error:
        raise DataError(f"{file}: cannot be read as {suffix} ({one_line(error)}); the file is damaged or has another format") from error


def _doubtful_names(file: Path, names: list[str]) -> tuple[str, ...]:
    """A notice if the first line may have been data."""
    numbers = [name for name in names if is_number(name)]
    if not numbers or len(numbers) == len(names):
        return ()
    return (f"{file}: the first line was taken as column names, among them '{numbers[0]}'; if it is data, put a line of names on top",)


def _no_reader(file: Path, suffix: str) -> str:
    if suffix in IMAGE_SUFFIXES:
        return f"{file}: one picture is one example; pass the folder that holds them"
    if suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib"):
        return f"{file}: pickled files are never opened, since they can run code; save the data as Parquet, .npy or .npz"
    return f"{file}: files ending in '{suffix}' cannot be read; expected {KNOWN}"


def _read_parquet(file: Path) -> Table:
    import pyarrow.parquet as parquet

    table = parquet.ParquetFile(file).read().replace_schema_metadata(None)
    return Table(unique_names(table, f"{file}: "), name=str(file))


def _read_feather(file: Path) -> Table:
    from pyarrow import feather

    table = feather.read_table(file, memory_map=False).replace_schema_metadata(None)
    return Table(unique_names(table, f"{file}: "), name=str(file))


def _read_npy(file: Path) -> Table | Arrays:
    with file.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise DataError(f"{file}: is no .npy file, or is damaged; write it with numpy.save")
        stream.seek(0)
        return from_array(_checked(partial(np.load, stream, allow_pickle=False), file, ""), name=str(file))


def _read_npz(file: Path) -> Table | Arrays:
    import zipfile

    with file.open("rb") as stream:
        if stream.read(2) != b"PK":
            raise DataError(f"{file}: is no .npz archive; write it with numpy.savez")
        stream.seek(0)
        try:
            archive = np.load(stream, allow_pickle=False)
        except zipfile.BadZipFile as error:
            raise DataError(f"{file}: cannot be read as .npz ({one_line(error)}); the file is damaged") from error
        arrays = {name: _checked(partial(archive.__getitem__, name), file, f" array '{name}'") for name in archive.files}
    return from_named_arrays(arrays, file, "array")


def _checked(load: Callable[[], np.ndarray], file: Path, what: str) -> np.ndarray:
    import zipfile

    try:
        array = load()
    except zipfile.BadZipFile as error:
        raise DataError(f"{file}:{what} is damaged ({one_line(error)})") from error
    except ValueError as error:
        if "pickle" in str(error):
            advice = "numbers or texts of one type (x.astype(float)), or as Parquet"
            raise DataError(f"{file}:{what} holds Python objects, which are never unpickled; save it as {advice}") from error
        raise DataError(f"{file}:{what} cannot be read ({one_line(error)}); the file is damaged") from error
    return array


def from_named_arrays(arrays: dict[str, np.ndarray], file: Path | str, thing: str) -> Table | Arrays:
    """Several arrays of a file: the only one, arrays by role, or columns.

    Args:
        arrays: name to array.
        file: what to call the data in messages.
        thing: what the file calls an array ("data set").

    Raises:
        DataError: no arrays, or several whose names say nothing.
    """
    if not arrays:
        raise DataError(f"{file}: holds no {thing}; expected at least one")
    if set(arrays) == {"values", "lengths"}:  # sets and sequences, as `write` lays them down
        return Arrays(np.split(arrays["values"], np.cumsum(arrays["lengths"])[:-1]), name=str(file))
    x = arrays.get("x", arrays.get("X"))
    roles = x is not None and ("X" in arrays or x.ndim != 1)
    if len(arrays) == 1 and not roles:
        return from_array(next(iter(arrays.values())), name=str(file))
    if roles:
        others = [name for name in arrays if name not in ("X", *ROLES)]
        found = from_mapping({name: array for name, array in arrays.items() if name not in others}, name=str(file), by_role=True)
        return replace(
            found,
            notices=(f"{file}: passed over {', '.join(others)}; read {', '.join(name for name in arrays if name not in others)}",)
            if others
            else (),
        )
    wide = [name for name, array in arrays.items() if array.ndim != 1]
    if wide:
        shapes = ", ".join(f"'{name}' {array.shape}" for name, array in list(arrays.items())[:6])
        raise DataError(f"{file}: holds {shapes}; name them x, y, given, weight, or load the file and pass a dict with these keys")
    return from_mapping(arrays, name=str(file))


def _read_hdf5(file: Path, inside: str | None) -> Table | Arrays:
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"{file}: reading HDF5 needs h5py; install it: pip install 'gnomon[hdf5]'") from error
    try:
        with h5py.File(file, "r") as archive:
            place: Any = archive if inside is None else archive.get(inside)
            if place is None:
                raise DataError(f"{file}: holds no '{inside}'; it holds {', '.join(archive) or 'nothing'}")
            if isinstance(place, h5py.Dataset):
                return from_array(dataset(place), name=str(file))
            found = {name: dataset(item) for name, item in place.items() if isinstance(item, h5py.Dataset)}
            groups = [name for name, item in place.items() if not isinstance(item, h5py.Dataset)]
    except OSError as error:
        raise DataError(f"{file}: cannot be read as HDF5 ({one_line(error)}); the file is damaged or has another format") from error
    if not found and groups:
        raise DataError(f"{file}: holds the groups {', '.join(groups)}; name one: '{file}:{groups[0]}'")
    return from_named_arrays(found, file, "data set")


def dataset(item: Any, rows: slice | tuple[()] = ()) -> np.ndarray:
    """An HDF5 data set, or some of its rows, as an array; texts as texts."""
    import h5py

    return np.asarray(item.asstr()[rows]).astype(str) if h5py.check_string_dtype(item.dtype) else np.asarray(item[rows])


def _read_root(file: Path, inside: str | None) -> Table:
    try:
        import awkward
        import uproot
    except ImportError as error:
        raise DataError(f"{file}: reading ROOT needs uproot; install it: pip install 'gnomon[root]'") from error
    try:
        with uproot.open(file) as archive:
            trees = list(
                dict.fromkeys(key.partition(";")[0] for key, kind in archive.classnames().items() if kind in ("TTree", "ROOT::RNTuple"))
            )
            if inside is None and len(trees) != 1:
                listed = ", ".join(trees) or "none"
                advice = f"name one: '{file}:{trees[0]}'" if trees else "expected a tree of columns"
                raise DataError(f"{file}: holds these trees: {listed}; {advice}")
            name = inside or trees[0]
            if name not in trees:
                raise DataError(f"{file}: holds no tree '{name}'; it holds {', '.join(trees) or 'none'}")
            arrays = archive[name].arrays(library="ak")
            columns = {field: awkward.to_arrow(arrays[field], extensionarray=False) for field in arrays.fields}
    except (OSError, ValueError, NotImplementedError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: cannot be read as ROOT ({one_line(error)}); the file is damaged or has another format") from error
    return Table(unique_names(pa.table(columns), f"{file}: "), name=str(file))


_READERS: dict[str, Callable[[Path], Table | Arrays]] = {
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".feather": _read_feather,
    ".arrow": _read_feather,
    ".npy": _read_npy,
    ".npz": _read_npz,
}
