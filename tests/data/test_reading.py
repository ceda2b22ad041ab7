"""Reading: every source gives the same numbers, and every bad one gives exactly one line that names the place and the remedy."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.sparse
import torch
from PIL import Image as Picture

from gnomon.data import load, prepare, read
from gnomon.data.encoding.columns import arrow_type, decode_column, encode_column
from gnomon.data.files.reading import Arrays, Table
from gnomon.errors import DataError, GnomonError, OptionError

# ---- every way to hand over the same table ------------------------------------------------------------------------

NUMBERS = {"a": [0.5, 1.5, -2.25], "n": [3, 1, 2]}
TEXTS = NUMBERS | {"s": ["u", "v", "u"]}


def parquet(folder: Path, table: pa.Table) -> Path:
    pa.parquet.write_table(table, folder / "t.parquet")
    return folder / "t.parquet"


def text(folder: Path, table: pa.Table, name: str = "t.csv", separator: str = ",") -> Path:
    lines = [separator.join(table.column_names)] + [separator.join(str(v) for v in row.values()) for row in table.to_pylist()]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def gzipped(folder: Path, table: pa.Table) -> Path:
    import gzip

    plain = text(folder, table)
    (folder / "t.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return folder / "t.csv.gz"


def feather(folder: Path, table: pa.Table) -> Path:
    pa.feather.write_feather(table, folder / "t.feather")
    return folder / "t.feather"


def npz(folder: Path, table: pa.Table) -> Path:
    np.savez(folder / "t.npz", **{name: np.array(table[name].to_pylist()) for name in table.column_names})
    return folder / "t.npz"


def npy(folder: Path, table: pa.Table) -> Path:
    np.save(folder / "t.npy", structured(folder, table))
    return folder / "t.npy"


def structured(folder: Path, table: pa.Table) -> np.ndarray:
    return np.array([tuple(row.values()) for row in table.to_pylist()], dtype=[("a", ">f8"), ("n", ">i8"), ("s", "U1")])


def hdf5(folder: Path, table: pa.Table, name: str = "t.h5", group: str = "/") -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / name, "w") as file:
        for column in table.column_names:
            values = table[column].to_pylist()
            file.require_group(group).create_dataset(column, data=values if column != "s" else np.array(values, dtype=object))
    return folder / name


def root(folder: Path, table: pa.Table) -> Path:
    uproot = pytest.importorskip("uproot")
    with uproot.recreate(folder / "t.root") as file:
        made = file.mktree("events", {"a": "float64", "n": "int64"})
        made.extend({"a": np.array(table["a"]), "n": np.array(table["n"])})
    return folder / "t.root"


class Stream:
    """Any table library that speaks Arrow's C stream."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


SOURCES: dict[str, Callable[[Path, pa.Table], Any]] = {
    "arrow": lambda folder, t: t,
    "arrow in pieces": lambda folder, t: pa.concat_tables([t.slice(0, 1), t.slice(1)]),
    "record batch": lambda folder, t: t.combine_chunks().to_batches()[0],
    "stream": lambda folder, t: Stream(t),
    "dict of lists": lambda folder, t: t.to_pydict(),
    "dict of arrays": lambda folder, t: {name: np.array(t[name].to_pylist()) for name in t.column_names},
    "dict of tensors": lambda folder, t: t.to_pydict() | {"a": torch.tensor(t["a"].to_pylist(), dtype=torch.float64)},
    "dict of series": lambda folder, t: {name: t[name].to_pandas() for name in t.column_names},
    "records": lambda folder, t: t.to_pylist(),
    "pandas": lambda folder, t: t.to_pandas(),
    "pandas index": lambda folder, t: t.to_pandas().set_index(np.array([7, 5, 5])),
    "pandas objects": lambda folder, t: t.to_pandas().astype(object),
    "polars": lambda folder, t: pl.from_arrow(t),
    "polars lazy": lambda folder, t: pl.from_arrow(t).lazy(),
    "structured": structured,
    "csv": text,
    "csv path as text": lambda folder, t: str(text(folder, t)),
    "csv gz": gzipped,
    "csv semicolons": lambda folder, t: text(folder, t, separator=";"),
    "csv capitals": lambda folder, t: text(folder, t, name="T.CSV"),
    "tsv": lambda folder, t: text(folder, t, name="t.tsv", separator="\t"),
    "parquet": parquet,
    "feather": feather,
    "npz": npz,
    "npy structured": npy,
    "hdf5": hdf5,
    "hdf5 group": lambda folder, t: f"{hdf5(folder, t, group='deep/er')}:deep/er",
    "root": lambda folder, t: root(folder, t),
    "root tree": lambda folder, t: f"{root(folder, t)}:events",
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_numbers(source: str, tmp_path: Path) -> None:
    prepared = prepare(SOURCES[source](tmp_path, pa.table(TEXTS)))
    names = prepared.spec.x.names
    assert names[:2] == ("a", "n")
    expected = [[0.5, 3, 0], [1.5, 1, 1], [-2.25, 2, 0]]
    assert prepared.raw.x.dtype == torch.float64
    assert prepared.raw.x.tolist() == [row[: len(names)] for row in expected]
    assert [c.support.name for c in prepared.spec.x.columns] == ["real", "integer", "categorical"][: len(names)]


ARRAYS: dict[str, Any] = {
    "float64": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "float32": np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32),
    "float16": np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float16),
    "longdouble": np.array([[1, 2], [3, 4], [5, 6]], dtype=np.longdouble),
    "int8": np.array([[1, 2], [3, 4], [5, 6]], dtype=np.int8),
    "uint64": np.array([[1, 2], [3, 4], [5, 6]], dtype=np.uint64),
    "big-endian float": np.array([[1, 2], [3, 4], [5, 6]], dtype=">f8"),
    "big-endian int": np.array([[1, 2], [3, 4], [5, 6]], dtype=">i4"),
    "Fortran": np.asfortranarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "strided": np.repeat(np.repeat([[1.0, 2], [3, 4], [5, 6]], 2, 0), 2, 1)[::2, ::2],
    "reversed": np.array([[5.0, 6.0], [3.0, 4.0], [1.0, 2.0]])[::-1],
    "transposed": np.array([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]).T,
    "read-only": np.frombuffer(np.arange(1.0, 7.0).tobytes()).reshape(3, 2),
    "objects": np.array([[1, 2], [3.0, 4], [5, 6]], dtype=object),
    "masked nowhere": np.ma.masked_array([[1.0, 2], [3, 4], [5, 6]]),
    "matrix of lists": [[1, 2], [3, 4], [5, 6]],
    "torch": torch.tensor([[1.0, 2], [3, 4], [5, 6]]),
    "torch strided": torch.tensor([[1.0, 3, 5], [2, 4, 6]]).T,
    "torch bfloat16": torch.tensor([[1, 2], [3, 4], [5, 6]], dtype=torch.bfloat16),
    "torch with gradient": torch.tensor([[1.0, 2], [3, 4], [5, 6]], requires_grad=True),
    "torch int": torch.tensor([[1, 2], [3, 4], [5, 6]]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_gives_the_same_numbers(name: str) -> None:
    raw = prepare(ARRAYS[name]).raw.x
    assert raw.dtype == torch.float64 and raw.is_contiguous()
    assert raw.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_arrays_are_not_shared_with_the_user() -> None:
    mine = np.ones((3, 2))
    prepared = prepare(mine)
    mine[:] = 7
    assert prepared.raw.x.eq(1).all()


def test_npz_by_role_and_npy(tmp_path: Path) -> None:
    np.savez(tmp_path / "roles.npz", X=np.ones((4, 2)), y=np.array([0, 1, 1, 0]))
    found = read(tmp_path / "roles.npz")
    assert isinstance(found, Arrays) and found.x.shape == (4, 2) and found.y.tolist() == [0, 1, 1, 0]
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    assert prepare(tmp_path / "x.npy").raw.x.shape == (4, 2)
    np.savez(tmp_path / "more.npz", x=np.ones((4, 2)), extra=np.zeros(9))
    assert "passed over extra" in prepare(tmp_path / "more.npz").notices[0]


def test_a_pair_of_table_and_target() -> None:
    prepared = prepare((pd.DataFrame({"a": [1.0, 2.0]}), pd.Series(["u", "v"], name="kind")), wanted="label")
    assert prepared.spec.x.names == ("a",) and prepared.spec.y.name == "kind" and prepared.raw.y.tolist() == [0, 1]


def test_columns_named_x_and_y_stay_columns() -> None:
    assert isinstance(read({"x": [1.0, 2.0], "y": [3.0, 4.0]}), Table)
    assert prepare({"x": [1.0, 2.0], "y": [3.0, 4.0]}).spec.x.names == ("x", "y")
    assert prepare({"x": [1.0, 2.0], "y": ["u", "v"]}, wanted="label").spec.y.classes == ("u", "v")


def test_the_row_index_of_pandas_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=["r", "s"])
    frame.to_parquet(tmp_path / "t.parquet")
    assert "__index_level_0__" in pa.parquet.read_schema(tmp_path / "t.parquet").names
    assert prepare(tmp_path / "t.parquet").spec.x.names == ("a",)


def test_a_frame_by_role() -> None:
    prepared = prepare({"x": pd.DataFrame({"a": [1.0, 2.0]}), "y": ["u", "v"]}, wanted="label")
    assert prepared.spec.x.names == ("a",) and prepared.raw.y.tolist() == [0, 1]


def test_masked_images_miss_their_pixels() -> None:
    images = np.ma.masked_less(np.arange(1.0, 33.0).reshape(2, 1, 4, 4), 17)
    with pytest.raises(DataError, match="image 1"):
        prepare(images)


def test_integer_names_become_text() -> None:
    assert prepare(pd.DataFrame(np.eye(3))).spec.x.names == ("0", "1", "2")


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "diabetes", "iris", "moons", "gaussians", "checkerboard", "coin"])
def test_bundled_data_needs_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(prepare(name).raw) >= 100
    read(load(name)[0] if isinstance(load(name), tuple) else load(name))
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="no images"):
        prepare(name)  # a folder of that name goes first


def test_bundled_targets_serve_models_that_need_one() -> None:
    assert prepare("wine", wanted="label").spec.y.name == "cultivar"
    assert prepare("diabetes", wanted="numbers").spec.y.names == ("progression",)
    assert prepare("wine").spec.y is None
    with pytest.raises(OptionError, match="did you mean 'digits'"):
        load("digit")


def test_toys_have_columns_x_and_y() -> None:
    prepared = prepare("moons")
    assert prepared.spec.x.names == ("x", "y") and prepared.raw.x.shape == (10_000, 2)


# ---- text files ---------------------------------------------------------------------------------------------------


def csv(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


def test_csv_marks_of_bytes_quotes_and_line_ends(tmp_path: Path) -> None:
    table = read(csv(tmp_path, '\ufeff"a b","c,d"\r\n1,"x\ny"\r\n2,"say ""z"""\r\n')).columns
    assert table.to_pydict() == {"a b": [1, 2], "c,d": ["x\ny", 'say "z"']}


def test_csv_missing_cells(tmp_path: Path) -> None:
    table = read(csv(tmp_path, 'a,s\n,\nNA,NA\n1,"NA"\n')).columns
    assert table.to_pydict() == {"a": [None, None, 1], "s": [None, None, "NA"]}


def test_csv_types_that_change_late(tmp_path: Path) -> None:
    """Whole numbers for many megabytes, then a fraction: the column is real, not an error."""
    prepared = prepare(csv(tmp_path, "a,b\n" + "1,2\n" * 5_000_000 + "1.5,2\n"))
    assert [c.type for c in prepared.spec.x.columns] == ["double", "int64"]
    assert prepared.raw.x[-1].tolist() == [1.5, 2.0]


def test_csv_times(tmp_path: Path) -> None:
    table = read(csv(tmp_path, "t,d\n2020-01-01T10:00:00,2020-01-01\n2020-01-01 11:30:00,2021-01-01\n"))
    prepared = prepare(table)
    assert prepared.raw.x.tolist() == [[0, 0], [5400, 366 * 86400]]


def test_doubtful_header_is_said(tmp_path: Path) -> None:
    assert "the first line was taken as column names" in prepare(csv(tmp_path, "39,State\n1,u\n2,v\n")).notices[0]
    assert prepare(csv(tmp_path, "0,1\n1,2\n2,3\n")).spec.x.names == ("0", "1")


# ---- pictures -----------------------------------------------------------------------------------------------------


def pictures(folder: Path, images: dict[str, np.ndarray]) -> Path:
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(image).save(folder / name)
    return folder


GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def test_image_folder_with_labels(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "f", {"cat/b.png": GREY, "cat/a.png": GREY + 1, "dog/a.png": GREY + 2})
    (folder / "dog" / ".hidden").write_text("x")
    (folder / "dog" / "notes.txt").write_text("x")
    prepared = prepare(folder, wanted="label")
    assert prepared.spec.x.shape == (1, 3, 4) and prepared.spec.x.levels == 256 and prepared.spec.x.layout == "none"
    assert prepared.spec.y.classes == ("cat", "dog") and prepared.raw.y.tolist() == [0, 0, 1]
    assert torch.equal(prepared.raw.x[:, 0, 0, 0], torch.tensor([1, 0, 2], dtype=torch.uint8))  # a.png before b.png
    assert "notes.txt" in prepared.notices[0]


@pytest.mark.parametrize(
    ("image", "shape", "levels"),
    [
        (COLOUR, (3, 3, 4), 256),
        (np.concatenate([COLOUR, COLOUR[..., :1]], -1), (4, 3, 4), 256),
        (GREY > 100, (1, 3, 4), 2),
        (GREY.astype(np.uint16) * 300, (1, 3, 4), 65536),
    ],
)
def test_image_modes(image: np.ndarray, shape: tuple[int, ...], levels: int, tmp_path: Path) -> None:
    prepared = prepare(pictures(tmp_path / "f", {"a.png": image}))
    assert prepared.spec.x.shape == shape and prepared.spec.x.levels == levels and prepared.spec.y is None
    expected = image if image.ndim == 2 else np.moveaxis(image, -1, 0)
    assert np.array_equal(prepared.raw.x[0].reshape(expected.shape).numpy(), expected.astype(np.int64))


# ---- one line for everything that is wrong ------------------------------------------------------------------------

Build = Callable[[Path], Any]


def damaged(name: str, content: bytes = b"\x93 nothing of the kind " * 9) -> Build:
    return lambda folder: csv(folder, content, name)


def mixed_pictures(**images: np.ndarray) -> Build:
    return lambda folder: pictures(folder / "f", {f"{name}.png": image for name, image in images.items()})


def truncated(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (30, 40), dtype=np.uint8)
    made = pictures(folder / "f", {"a.png": noise, "b.png": noise})
    (made / "b.png").write_bytes((made / "b.png").read_bytes()[:600])
    return made


def no_picture(folder: Path) -> Path:
    made = pictures(folder / "f", {"a.png": GREY})
    (made / "b.png").write_text("hello")
    return made


def bomb(folder: Path) -> Path:
    (folder / "f").mkdir()
    Picture.new("1", (14_000, 14_000)).save(folder / "f" / "a.png")
    return folder / "f"


def saved(array: Any, name: str = "t.npy") -> Build:
    def build(folder: Path) -> Path:
        (np.save if name.endswith("npy") else np.savez)(folder / name, array, allow_pickle=True)
        return folder / name

    return build


def same(value: Any) -> Build:
    return lambda folder: value


LATIN = "naïve".encode("latin1")
BAD: dict[str, tuple[Build, tuple[str, ...]]] = {
    # text files
    "empty file": (damaged("t.csv", b""), ("t.csv", "empty")),
    "blank file": (damaged("t.csv", b"\n\n  \n"), ("t.csv", "empty")),
    "only a header": (damaged("t.csv", b"a,b\n"), ("t.csv", "no rows")),
    "ragged row": (damaged("t.csv", b"a,b\n1,2\n3\n4,5\n"), ("t.csv", "row 2", "1 value", "2 columns")),
    "ragged row far down": (damaged("t.csv", b"a,b\n" + b"1,2\n" * 3_000_000 + b"3,4,5\n"), ("t.csv", "row 3000001", "3 values")),
    "repeated name": (damaged("t.csv", b"a,b,a\n1,2,3\n"), ("t.csv", "'a'", "columns 1 and 3", "rename")),
    "no name": (damaged("t.csv", b",a\n0,1\n"), ("t.csv", "column 1 has no name")),
    "trailing separator": (damaged("t.csv", b"a,b,\n1,2,\n"), ("t.csv", "column 3 has no name")),
    "text among numbers": (damaged("t.csv", b"a,b\n1,2\n3,4\n5,oops\n7,8\n"), ("t.csv", "'b'", "row 3", "'oops'", "drop")),
    "text among numbers far down": (damaged("t.csv", b"a,b\n" + b"1,2\n" * 100_000 + b"1,?\n"), ("t.csv", "'b'", "row 100001", "'?'")),
    "no header": (damaged("t.csv", b"1.5,2\n3,4\n"), ("t.csv", "first line holds numbers", "names")),
    "Latin-1 cell": (damaged("t.csv", b"a,b\n1,x\n2," + LATIN + b"\n"), ("t.csv", "'b'", "row 2", "UTF-8")),
    "Latin-1 cell far down": (damaged("t.csv", b"a\n" + b"x\n" * 50 + LATIN + b"\n"), ("t.csv", "'a'", "row 51", "UTF-8")),
    "Latin-1 name": (damaged("t.csv", LATIN + b",b\n1,2\n"), ("t.csv", "column names", "UTF-8")),
    "UTF-16": (damaged("t.csv", "a,b\n1,2\n".encode("utf-16")), ("t.csv", "UTF-16", "UTF-8")),
    "open quote": (damaged("t.csv", b'a,b\n1,"x\n2,3\n'), ("t.csv", "row 1", "'b'", "quote")),
    "damaged gz": (damaged("t.csv.gz"), ("t.csv.gz", "damaged")),
    # other files
    "no file": (same("nowhere.csv"), ("nowhere.csv", "no file")),
    "nearly a bundled name": (same("digit"), ("did you mean 'digits'",)),
    "nearly a file": (lambda folder: csv(folder, "a\n1\n", "events.csv").with_name("event.csv"), ("did you mean", "events.csv")),
    "unknown suffix": (damaged("t.xlsx"), ("t.xlsx", "'.xlsx'", "Parquet")),
    "pickle": (damaged("t.pkl"), ("t.pkl", "never opened", "Parquet")),
    "torch file": (damaged("t.pt"), ("t.pt", "never opened")),
    "one picture": (lambda folder: pictures(folder, {"a.png": GREY}) / "a.png", ("a.png", "folder")),
    "damaged parquet": (damaged("t.parquet"), ("t.parquet", "damaged")),
    "damaged feather": (damaged("t.feather"), ("t.feather", "damaged")),
    "damaged npy": (damaged("t.npy"), ("t.npy", "damaged")),
    "damaged npz": (damaged("t.npz"), ("t.npz", "archive")),
    "cut npz": (damaged("t.npz", b"PK\x03\x04 cut off"), ("t.npz", "damaged")),
    "damaged h5": (damaged("t.h5"), ("t.h5", "damaged")),
    "damaged root": (damaged("t.root"), ("t.root", "damaged")),
    "empty parquet": (damaged("t.parquet", b""), ("t.parquet", "empty")),
    "h5 group missing": (lambda folder: f"{hdf5(folder, pa.table(NUMBERS))}:nix", ("t.h5", "no 'nix'", "a, n")),
    "h5 groups only": (lambda folder: hdf5(folder, pa.table(NUMBERS), group="g"), ("t.h5", "groups g", "t.h5:g")),
    "root tree missing": (lambda folder: f"{root(folder, pa.table(NUMBERS))}:nix", ("t.root", "no tree 'nix'", "events")),
    "npy of objects": (saved(np.array([1, "a"], dtype=object)), ("t.npy", "never unpickled")),
    "npz of objects": (saved(np.array([1, "a"], dtype=object), "t.npz"), ("t.npz", "arr_0", "never unpickled")),
    "npz without names": (
        lambda folder: (np.savez(folder / "t.npz", images=np.zeros((2, 3, 3)), labels=np.zeros(2)), folder / "t.npz")[1],
        ("t.npz", "'images' (2, 3, 3)", "x, y"),
    ),
    # pictures
    "no pictures": (lambda folder: (folder / "f").mkdir() or folder / "f", ("no images",)),
    "size differs": (mixed_pictures(a=GREY, b=GREY[:2]), ("b.png", "4x2", "a.png is 4x3")),
    "mode differs": (mixed_pictures(a=GREY, b=COLOUR), ("b.png", "RGB", "a.png is grey")),
    "cut picture": (truncated, ("b.png", "remove")),
    "no picture": (no_picture, ("b.png", "no image")),
    "huge picture": (bomb, ("a.png", "too large")),
    "pictures on two levels": (lambda folder: pictures(folder / "f", {"a.png": GREY, "g/a.png": GREY}), ("'g'", "sub-folders")),
    "pictures too deep": (lambda folder: pictures(folder / "f", {"g/h/a.png": GREY}), ("two levels down",)),
    # objects
    "nothing": (same(None), ("None", "pass a path")),
    "a number": (same(3.5), ("single value",)),
    "0-d array": (same(np.array(3.5)), ("single value", "(n, …)")),
    "a generator": (lambda folder: (i for i in range(3)), ("generator", "pass a path")),
    "a set": (same({1, 2}), ("a set",)),
    "complex": (same(np.zeros((3, 2), complex)), ("complex", "two columns")),
    "complex tensor": (same(torch.zeros(3, 2, dtype=torch.complex64)), ("complex",)),
    "object array": (same(np.array([[1, "a"], [2, 3]], dtype=object)), ("object array", "str", "astype(float)")),
    "sparse matrix": (same(scipy.sparse.eye_array(3)), ("sparse", "toarray")),
    "sparse tensor": (same(torch.eye(3).to_sparse()), ("sparse", "to_dense")),
    "no rows": (same(np.zeros((0, 3))), ("no rows",)),
    "no columns": (same(np.zeros((3, 0))), ("no columns",)),
    "empty dict": (same({}), ("no columns",)),
    "empty list": (same([]), ("empty list",)),
    "empty frame": (same(pd.DataFrame({"a": []})), ("no rows",)),
    "lengths differ": (same({"a": [1, 2], "b": [1]}), ("'b' has 1 rows", "'a' has 2")),
    "x and y differ": (same((np.zeros((3, 2)), np.zeros(2))), ("'y' has 2 rows", "'x' has 3")),
    "three parts": (same((1, 2, 3)), ("3 parts", "(x, y)")),
    "wide column": (same({"a": np.zeros((3, 2)), "b": np.zeros(3)}), ("'a' has 2 axes",)),
    "scalar column": (same({"a": 1.5}), ("'a' has 0 axes",)),
    "mixed list": (same({"a": [1, 2, "x"]}), ("'a'", "row 3", "'x'")),
    "mixed pandas": (same(pd.DataFrame({"a": [1.5, None, "x"]})), ("'a'", "row 3", "'x'")),
    "mixed bool": (same(pd.DataFrame({"a": pd.Series([True, 2], dtype=object)})), ("'a'", "row 2")),
    "pandas twice": (same(pd.DataFrame(np.eye(2), columns=["a", "a"])), ("'a' is used twice",)),
    "pandas 1 and '1'": (same(pd.DataFrame(np.eye(2), columns=[1, "1"])), ("'1' is used twice",)),
    "dict 1 and '1'": (same({1: [1], "1": [2]}), ("same name",)),
    "pandas tuple names": (same(pd.DataFrame(np.eye(2), columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]))), ("not text", "rename")),
    "arrow twice": (same(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])), ("'a' is used twice",)),
    "lists in a column": (same({"a": [[1, 2], [3]]}), ("'a'", "list", "kind='set'")),
    "bytes in a column": (same(pa.table({"a": [b"x", b"y"]})), ("'a'", "binary", "drop")),
    "empty column": (same({"a": [None, None]}), ("'a'", "no values at all", "drop")),
    "2^53 + 1": (same({"a": [1, 2**53 + 1]}), ("'a'", "row 2", "9007199254740993", "2^53")),
    "-2^53 - 1": (same({"a": [1, -(2**53) - 1]}), ("'a'", "row 2", "-9007199254740993")),
    "uint64": (same({"a": np.array([1, 2**64 - 1], dtype=np.uint64)}), ("'a'", "row 2", "18446744073709551615")),
    "2^53 + 1 in an array": (same(np.array([[1, 2], [3, 2**53 + 1]])), ("'x1'", "row 2", "9007199254740993")),
    "three axes": (same(np.zeros((3, 4, 5))), ("(3, 4, 5)", "kind='image'", "'signal'", "'sequence'", "'set'")),
    "list of arrays": (same([np.zeros(2), np.ones(2)]), ("kind='image'", "'set'")),
    "list of ragged arrays": (same([np.zeros((2, 3)), np.ones((1, 3))]), ("different lengths", "kind='set'")),
    "ragged lists": (same([[1, 2], [3]]), ("different lengths",)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BAD)
def test_every_bad_input_gives_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, expected = BAD[name]
    monkeypatch.chdir(tmp_path)
    data = build(tmp_path)
    with pytest.raises(GnomonError) as caught:
        prepare(data)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    for fragment in expected:
        assert fragment in message, message


def test_extras_are_named_when_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for suffix, module, extra in ((".h5", "h5py", "gnomon[hdf5]"), (".root", "uproot", "gnomon[root]")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(DataError) as caught:
            read(csv(tmp_path, "x", f"t{suffix}"))
        assert extra in str(caught.value)


def test_ragged_branches_of_a_root_tree_can_be_dropped(tmp_path: Path) -> None:
    uproot, awkward = pytest.importorskip("uproot"), pytest.importorskip("awkward")
    with uproot.recreate(tmp_path / "t.root") as file:
        file["events"] = {"met": np.array([1.0, 2.0]), "jet": awkward.Array({"pt": [[1.0], [2.0, 3.0]]})}
    names = read(tmp_path / "t.root").columns.column_names
    assert "met" in names
    assert prepare(tmp_path / "t.root", drop=[n for n in names if n != "met"]).raw.x.tolist() == [[1.0], [2.0]]


# ---- every type of column, there and back -------------------------------------------------------------------------

SECONDS = [1_577_934_245, None, 915_148_800, 1_577_934_246]
TYPES: dict[str, pa.Array] = {
    **{
        str(t): pa.array([3, None, 5, 3]).cast(t)
        for t in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64(), pa.float16())
    },
    "float": pa.array([0.1, None, -5.5, 3], pa.float32()),
    "double": pa.array([0.1, None, -5.5e300, 3]),
    "decimal": pa.array([Decimal("1.25"), None, Decimal("-3.50"), Decimal("0.01")], pa.decimal128(10, 2)),
    "bool": pa.array([True, None, False, True]),
    "string": pa.array(["b", None, "ä", "b"]),
    "large string": pa.array(["b", None, "ä", "b"], pa.large_string()),
    "dictionary": pa.array(["b", None, "a", "b"]).dictionary_encode(),
    "ordered dictionary": pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 1], pa.int8()), pa.array(["z", "a"]), ordered=True),
    "dictionary of ints": pa.array([5, None, 3, 5]).dictionary_encode(),
    **{
        f"timestamp {unit} {zone}": pa.array([None if s is None else s * per for s in SECONDS], pa.timestamp(unit, zone))
        for unit, per in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9))
        for zone in (None, "UTC", "Europe/Zurich")
    },
    "fractions of seconds": pa.array([1_000_001, None, 999_999, 123_456_789], pa.timestamp("us")),
    "date32": pa.array([18_000, None, -3, 18_001], pa.int32()).cast(pa.date32()),
    "date64": pa.array([18_000, None, -3, 18_001], pa.int32()).cast(pa.date32()).cast(pa.date64()),
    "time32": pa.array([86_399_999, None, 0, 5], pa.int32()).cast(pa.time32("ms")),
    "time64": pa.array([86_399_999_999, None, 0, 5], pa.int64()).cast(pa.time64("us")),
    "duration": pa.array([100, None, -3, 5], pa.int64()).cast(pa.duration("ns")),
}


@pytest.mark.parametrize("name", TYPES)
def test_every_type_comes_back(name: str) -> None:
    array = TYPES[name]
    numbers, column = encode_column(pa.chunked_array([array]), "c")
    assert numbers.dtype == np.float64 and np.isnan(numbers).tolist() == [False, True, False, False]
    assert arrow_type(column.type) == array.type
    back = decode_column(column, numbers)
    back.validate(full=True)
    assert back.type == array.type and back.to_pylist() == array.to_pylist()


@pytest.mark.parametrize("name", TYPES)
def test_new_data_follows_the_old_description(name: str) -> None:
    """Another order, another piece of the rows, and the same codes and seconds."""
    array = TYPES[name]
    numbers, column = encode_column(pa.chunked_array([array]), "c")
    again, same_column = encode_column(pa.chunked_array([array[2:], array[:1]]), "c", like=column)
    assert same_column is column and again.tolist() == [*numbers[2:], numbers[0]]


def test_seconds_are_seconds_since_the_first() -> None:
    """Against Python's own calendar."""
    from datetime import UTC, datetime

    moments = [datetime(2024, 2, 29, 12, 0, 0, 250_000, UTC), datetime(2023, 12, 31, 23, 59, 59, 0, UTC)]
    numbers, column = encode_column(pa.chunked_array([pa.array(moments, pa.timestamp("us", "UTC"))]), "t")
    assert numbers.tolist() == [(moments[0] - moments[1]).total_seconds(), 0.0]
    assert column.origin == "2023-12-31T23:59:59.000000"


def test_out_of_range_numbers_stay_within_their_type() -> None:
    _, column = encode_column(pa.chunked_array([pa.array([1, 2], pa.uint8())]), "n")
    assert decode_column(column, np.array([-7.0, 300.0, 2.4])).to_pylist() == [0, 255, 2]
    _, column = encode_column(pa.chunked_array([pa.array([1, 2], pa.int64())]), "n")
    assert decode_column(column, np.array([1e30]))[0].as_py() > 9.2e18
    _, column = encode_column(pa.chunked_array([TYPES["time32"]]), "t")
    assert decode_column(column, np.array([1e9])).to_pylist()[0].hour == 23


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_time_units_may_differ_from_training(unit: str) -> None:
    _, column = encode_column(pa.chunked_array([pa.array([10**6, 3 * 10**6], pa.timestamp("us"))]), "t")
    later = pa.array([5], pa.timestamp("s")).cast(pa.timestamp(unit))
    assert encode_column(pa.chunked_array([later]), "t", like=column)[0].tolist() == [4.0]


def test_arrow_writes_what_the_reader_reads(tmp_path: Path) -> None:
    """CSV by another writer (Arrow's own), so that quoting and times are theirs."""
    table = pa.table({"s": ["a,b", "NA", "c\nd"], "t": pa.array([0, 1, 2], pa.timestamp("s")), "b": [True, False, True]})
    buffer = io.BytesIO()
    pa.csv.write_csv(table, buffer)
    found = read(csv(tmp_path, buffer.getvalue())).columns
    assert found.to_pydict() == table.to_pydict()
