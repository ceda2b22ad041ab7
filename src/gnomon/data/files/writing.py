"""Tables and arrays to files, by suffix and in one step: a file is either whole or not there.

What is written was made by `tables`; reading it back is the business of `files`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gnomon.data.encoding.vectors import two_axes
from gnomon.data.files.lines import write_lines
from gnomon.data.kinds import Image
from gnomon.errors import DataError

TABLES = (".parquet", ".csv", ".tsv", ".feather", ".arrow", ".npy", ".npz", ".txt", ".smi")


def write(data: Any, path: str | os.PathLike[str], *, overwrite: bool = False, kind: Image | None = None) -> Path:
    """Write a table or an array; the suffix decides the format, and no suffix means a folder of PNG.

    The file appears under its name only when it is complete. Missing parent folders are made.

    Args:
        data: a pyarrow table, a numpy array or torch tensor, a list of arrays (sets; to Parquet, Feather or .npz), or a list of texts.
        path: ends in .parquet, .csv, .tsv, .feather, .npy or .npz; of texts alone also .txt or .smi; images may go to a folder.
        overwrite: replace what is there. A folder is only replaced if it holds nothing but PNG files.
        kind: of images: tells their layout and grey levels. Levels other than 256 and 65536 are stretched over 0 … 255, and real
            pixels are stretched from their least to their greatest value.

    Returns:
        the path.

    Raises:
        DataError: the target exists, the suffix is unknown, or the format cannot hold the data.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(pa.table({"a": [1, 2]}), pathlib.Path(folder) / "a.csv").read_text()
        '"a"\\n1\\n2\\n'
    """
    target = Path(path).expanduser()
    suffix = target.suffix.lower()
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists; choose another name or overwrite it (--overwrite, overwrite=True)")
    if suffix == "":
        return _write_images(data, target, kind)
    if suffix not in _WRITERS:
        raise DataError(f"{target}: files ending in '{suffix}' cannot be written; use one of {', '.join(TABLES)} (or a folder, for images)")
    if target.is_dir():
        raise DataError(f"{target} is a folder; choose another name")
    _make_parent(target)
    with _beside(target) as temporary:
        _WRITERS[suffix](data, temporary, target)
    return target


def _make_parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{target}: its folder cannot be made ({error.strerror})") from error


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A temporary name in the same folder, moved to `target` if all went well, removed if not."""
    try:
        number, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror})") from error
    os.close(number)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes private files; the user expects ordinary ones
        os.replace(temporary, target)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{target}: cannot be written ({str(error).splitlines()[0]})") from error
    finally:
        temporary.unlink(missing_ok=True)


# ---- tables -------------------------------------------------------------------------------------------------------


def _table(data: Any, target: Path) -> pa.Table:
    """What is to be written, as a table."""
    if isinstance(data, pa.Table):
        return data
    if _are_texts(data):
        return pa.table({"x": pa.array(data, pa.string())})
    if isinstance(data, list):
        return pa.table({"x0" if i == 0 else f"x{i}": column for i, column in enumerate(_list_columns(data, target))})
    array = np.asarray(data)
    if array.ndim > 2:
        raise DataError(f"{target}: an array of shape {array.shape} is no table; write it to .npy or .npz, or images to a folder")
    grid = two_axes(array)
    return pa.table({f"x{i}": np.ascontiguousarray(grid[:, i]) for i in range(grid.shape[1])})


def _list_columns(items: list[Any], target: Path) -> list[pa.Array]:
    arrays = [two_axes(np.asarray(item)) for item in items]
    widths = {array.shape[1] for array in arrays if array.size}
    if len(widths) != 1:
        raise DataError(f"{target}: a list of arrays with different columns cannot be written")
    offsets = pa.array(np.cumsum([0, *(len(array) for array in arrays)]).astype(np.int32))
    flat = np.concatenate([array for array in arrays if array.size])
    return [pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(flat[:, i]))) for i in range(flat.shape[1])]


def _write_parquet(data: Any, file: Path, target: Path) -> None:
    import pyarrow.parquet as parquet

    parquet.write_table(_table(data, target), file)


def _write_feather(data: Any, file: Path, target: Path) -> None:
    from pyarrow import feather

    feather.write_feather(_table(data, target), file)


def _write_csv(separator: str) -> Callable[[Any, Path, Path], None]:
    def writer(data: Any, file: Path, target: Path) -> None:
        import pyarrow.csv as text

        text.write_csv(_flat(_table(data, target), target), file, write_options=text.WriteOptions(delimiter=separator))

    return writer


def _flat(table: pa.Table, target: Path) -> pa.Table:
    """A table of types that text can hold: dictionaries as their values, half floats as floats."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        type_ = column.type
        if pa.types.is_nested(type_):
            raise DataError(f"{target}: column '{name}' holds {type_}, which text cannot hold; write .parquet or .feather")
        if pa.types.is_dictionary(type_):
            column = column.cast(type_.value_type)
        elif pa.types.is_float16(type_):
            column = column.cast(pa.float32())
        elif pa.types.is_duration(type_):
            column = pa.chunked_array([column.to_numpy() / np.timedelta64(1, "s")])
        columns[name] = column
    return pa.table(columns)


# ---- arrays -------------------------------------------------------------------------------------------------------


def _write_npy(data: Any, file: Path, target: Path) -> None:
    if isinstance(data, pa.Table):
        plain = [name for name, column in zip(data.column_names, data.columns, strict=True) if not _is_number(column.type)]
        if plain:
            kind = data.column(plain[0]).type
            raise DataError(f"{target}: column '{plain[0]}' holds {kind}; .npy holds numbers only; write .npz, .parquet or .csv")
        data = np.stack([column.to_numpy() for column in data.columns], axis=1)
    if _are_texts(data):
        data = np.array(data)
    if isinstance(data, list):
        raise DataError(f"{target}: arrays of different lengths do not fit into .npy; write .npz, .parquet or .feather")
    with file.open("wb") as stream:
        np.save(stream, np.asarray(data), allow_pickle=False)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)


def _are_texts(data: Any) -> bool:
    return isinstance(data, list) and len(data) > 0 and isinstance(data[0], str)


def _write_texts(data: Any, file: Path, target: Path) -> None:
    if isinstance(data, pa.Table) and data.num_columns == 1 and pa.types.is_string(data.column(0).type):
        data = data.column(0).to_pylist()
    if not _are_texts(data):
        raise DataError(f"{target}: a file of lines holds texts and nothing beside them; write .csv or .parquet")
    write_lines(data, file, target)


def _write_npz(data: Any, file: Path, target: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    if _are_texts(data):
        data = np.array(data)
    if isinstance(data, pa.Table):
        for name, column in zip(data.column_names, data.columns, strict=True):
            arrays[name] = _plain(column, name, target)
    elif isinstance(data, list):
        arrays = {"values": np.concatenate([np.asarray(item) for item in data]), "lengths": np.array([len(item) for item in data])}
    else:
        arrays["x"] = np.asarray(data)
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _plain(column: pa.ChunkedArray, name: str, target: Path) -> np.ndarray:
    """A column as a numpy array without objects."""
    if pa.types.is_nested(column.type):
        raise DataError(f"{target}: column '{name}' holds {column.type}, which .npz cannot hold; write .parquet or .feather")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    array = column.to_numpy()
    if array.dtype != object:
        return array
    if column.null_count:
        raise DataError(f"{target}: column '{name}' holds missing texts, which .npz cannot hold; write .parquet or .csv")
    return array.astype(str) if isinstance(array[0] if len(array) else "", str) else np.asarray(array.tolist())


_WRITERS: dict[str, Callable[[Any, Path, Path], None]] = {
    ".parquet": _write_parquet,
    ".feather": _write_feather,
    ".arrow": _write_feather,
    ".csv": _write_csv(","),
    ".tsv": _write_csv("\t"),
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".txt": _write_texts,
    ".smi": _write_texts,
    ".smiles": _write_texts,
}

# ---- folders of images --------------------------------------------------------------------------------------------


def _write_images(data: Any, target: Path, kind: Image | None) -> Path:
    """A folder of PNG files, numbered in order, made beside the target and then moved there."""
    if not isinstance(data, np.ndarray) or data.ndim not in (3, 4):
        shape = f"an array of shape {data.shape}" if isinstance(data, np.ndarray) else f"a {type(data).__name__.lower()}"
        raise DataError(f"{target}: only images go to a folder; got {shape}; name a file ending in {', '.join(TABLES)}")
    if target.exists() and (not target.is_dir() or any(entry.suffix != ".png" for entry in target.iterdir())):
        raise DataError(f"{target} is no folder of PNG files only, so it is not replaced; choose another name")
    pictures = _pictures(data, kind, target)
    _make_parent(target)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror})") from error
    try:
        _save_png(pictures, temporary)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
            os.replace(target, old)
            os.replace(temporary, target)
            shutil.rmtree(old)
        else:
            os.replace(temporary, target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _save_png(pictures: np.ndarray, folder: Path) -> None:
    from PIL import Image as Picture

    digits = max(6, len(str(len(pictures))))
    for index, picture in enumerate(pictures):
        Picture.fromarray(picture).save(folder / f"{index:0{digits}d}.png")


def _pictures(array: np.ndarray, kind: Image | None, target: Path) -> np.ndarray:
    """Images as ``(n, height, width)`` or ``(n, height, width, channels)`` of uint8, uint16 or bool, as PNG wants them."""
    layout = kind.layout if kind is not None else _layout(array)
    if layout == "first" and array.ndim == 4:
        array = np.moveaxis(array, 1, -1)
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 4 and array.shape[-1] not in (2, 3, 4):
        raise DataError(f"{target}: PNG holds 1, 2, 3 or 4 channels; got {array.shape[-1]}; write .npy or .npz")
    levels = kind.levels if kind is not None else {"uint8": 256, "uint16": 65536, "bool": 2}.get(str(array.dtype))
    if levels == 2 and array.ndim == 3:
        return np.ascontiguousarray(array.astype(bool))
    if levels == 256:
        return np.ascontiguousarray(array.astype(np.uint8))
    if levels == 65536 and array.ndim == 3:
        return np.ascontiguousarray(array.astype(np.uint16))
    low, high = (0.0, float(levels - 1)) if levels is not None else (float(array.min()), float(array.max()))
    stretched = (array.astype(np.float32) - low) * (255.0 / (high - low if high > low else 1.0))
    return np.ascontiguousarray(np.rint(stretched).astype(np.uint8))


def _layout(array: np.ndarray) -> str:
    return "last" if array.ndim == 4 and array.shape[-1] <= 4 and array.shape[1] > array.shape[-1] else "first"
