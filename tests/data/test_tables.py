"""The way out: numbers back as tables and arrays, files in every format, fingerprints."""

from __future__ import annotations

import hashlib
import os
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from gnomon.data import Column, Examples, Image, Label, Ragged, Vector, as_table, decode, fingerprint, join, prepare, read, stack, write
from gnomon.errors import DataError

RICH = pa.table(
    {
        "f": pa.array([0.5, -1.25, 3.0], pa.float32()),
        "d": [0.1, 2.5, -7.0],
        "i": pa.array([1, -2, 3], pa.int32()),
        "b": [True, False, True],
        "s": ["NA", "b,c", 'say "x"'],
        "t": pa.array([0, 1_500_000, 10**15], pa.timestamp("us")),
        "z": pa.array([0, 10**9, 10**12], pa.timestamp("ms", "Europe/Zurich")),
        "day": pa.array([18_000, 18_001, -5], pa.int32()).cast(pa.date32()),
        "k": pa.array(["u", "v", "u"]).dictionary_encode(),
    }
)


# ---- decode -------------------------------------------------------------------------------------------------------


def test_a_table_comes_back_whole() -> None:
    prepared = prepare(RICH)
    again = decode(prepared.spec.x, prepared.raw.x)
    assert again.schema.equals(RICH.schema) and again.equals(RICH)


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(-(2**53), 2**53), st.booleans(), st.text(max_size=5)), min_size=1, max_size=9))
@settings(max_examples=100, deadline=None)
def test_any_table_comes_back(rows: list[tuple[float, int, bool, str]]) -> None:
    table = pa.table({name: pa.array([row[i] for row in rows]) for i, name in enumerate("fnbs")})
    prepared = prepare(table, columns={"s": "categorical"})
    assert decode(prepared.spec.x, prepared.raw.x).equals(table)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0.5, 1.5], [2.5, -3.5]], np.float32),
        np.array([[0.5, 1.5], [2.5, -3.5]]),
        np.array([[0.5, 1.5], [2.5, -3.5]], np.float16),
        np.array([[1, 2], [3, -4]], np.int16),
        np.array([[1, 2], [3, 4]], np.uint8),
        np.array([[True, False], [False, False]]),
        np.array([["a", "u"], ["b", "u"]]),
        np.array([["2020-01-01"], ["2021-01-01"]], dtype="M8[D]"),
    ],
    ids=lambda a: str(a.dtype),
)
def test_a_bare_array_comes_back_as_one(array: np.ndarray) -> None:
    prepared = prepare(array)
    again = decode(prepared.spec.x, prepared.raw.x)
    assert isinstance(again, np.ndarray) and again.dtype == array.dtype and np.array_equal(again, array)


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 2, 4, 5), (3, 4, 5, 2), (3, 2, 4, 5, 6), (3, 4, 5, 6, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_come_back_in_the_users_layout(shape: tuple[int, ...], dtype: type) -> None:
    array = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    prepared = prepare(array, kind="image")
    again = decode(prepared.spec.x, prepared.raw.x)
    assert again.shape == array.shape and again.dtype == array.dtype and np.array_equal(again, array)


def test_generated_pixels_are_rounded_into_their_levels() -> None:
    values = torch.tensor([-3.0, 0.4, 15.6, 99.0]).reshape(1, 1, 2, 2)
    assert decode(Image(1, (2, 2), 17), values).ravel().tolist() == [0, 0, 16, 16]


@pytest.mark.parametrize(
    ("values", "dtype"), [([3, 7, 3], "int64"), (["u", "v", "u"], "object"), ([True, False, True], "bool"), ([0.0, 2.0, 0.0], "float64")]
)
def test_labels_come_back(values: list[Any], dtype: str) -> None:
    prepared = prepare({"a": [1.0, 2.0, 3.0], "y": values}, target="y", wanted="label")
    again = decode(prepared.spec.y, prepared.raw.y)
    assert again.tolist() == values and again.dtype == dtype
    assert as_table(prepared.spec.y, prepared.raw.y).to_pydict() == {"y": values}


def test_sets_come_back() -> None:
    table = pa.table({"pt": [[1.0, 2.0], [], [3.0]], "n": pa.array([[1, -1], [], [1]], pa.list_(pa.int32()))})
    prepared = prepare(table, kind="set")
    assert decode(prepared.spec.x, prepared.raw.x).equals(table)
    items = [np.array([[1.0, 2.0]]), np.zeros((0, 2)), np.array([[3.0, 4.0], [5.0, 6.0]])]
    prepared = prepare(items, kind="sequence")
    again = decode(prepared.spec.x, prepared.raw.x)
    assert len(again) == 3 and all(np.array_equal(a, b) for a, b in zip(again, items, strict=True))


def test_shapes_are_checked() -> None:
    with pytest.raises(DataError, match="3 columns"):
        decode(Vector.real(3), torch.zeros(2, 4))
    with pytest.raises(DataError, match="images"):
        as_table(Image(1, (2, 2)), torch.zeros(1, 1, 2, 2))


def test_missing_values_become_nulls_in_tables() -> None:
    kind = Vector(tuple(Column(name, type=type_) for name, type_ in (("f", "double"), ("n", "int64"))))
    assert decode(kind, torch.tensor([[1.0, float("nan")], [float("nan"), 2.0]])).to_pydict() == {"f": [1.0, None], "n": [None, 2]}


def test_join_and_stack() -> None:
    left, right = pa.table({"a": [1, 2], "c": [3, 4]}), pa.table({"b": ["u", "v"]})
    assert join([left, right], order=["c", "b", "a", "gone"]).column_names == ["c", "b", "a"]
    assert join([left, right], order=["b"]).column_names == ["b", "a", "c"]
    with pytest.raises(DataError, match="2 and 1 rows"):
        join([left, pa.table({"b": [1]})])
    with pytest.raises(DataError, match="'a'"):
        join([left, left])
    assert stack([left, left])["a"].to_pylist() == [1, 2, 1, 2]
    assert stack([np.ones((2, 3)), np.zeros((1, 3))]).shape == (3, 3)
    assert len(stack([[np.ones(1)], [np.ones(2), np.ones(3)]])) == 3


# ---- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow"])
def test_arrow_files_keep_every_type(suffix: str, tmp_path: Path) -> None:
    path = write(RICH, tmp_path / f"t{suffix}")
    assert read(path).columns.equals(RICH)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_text_files_keep_every_value(suffix: str, tmp_path: Path) -> None:
    found = read(write(RICH, tmp_path / f"t{suffix}")).columns
    for name in RICH.column_names:
        expected, got = RICH[name].to_pylist(), found[name].to_pylist()
        if isinstance(expected[0], datetime):
            expected, got = [e.timestamp() for e in expected], [g.timestamp() for g in got]
        assert got == expected, name
    assert isinstance(found["day"][0].as_py(), date)
    frame = pd.read_csv(tmp_path / f"t{suffix}", sep="\t" if suffix == ".tsv" else ",", keep_default_na=False)
    assert frame["s"].tolist() == RICH["s"].to_pylist() and frame["d"].tolist() == RICH["d"].to_pylist()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npz"])
def test_written_data_follows_the_spec_it_came_from(suffix: str, tmp_path: Path) -> None:
    """What sample writes, score reads."""
    prepared = prepare(RICH)
    path = write(decode(prepared.spec.x, prepared.raw.x), tmp_path / f"t{suffix}")
    again = prepare(path, spec=prepared.spec)
    assert torch.allclose(again.raw.x, prepared.raw.x, rtol=1e-12, atol=0)


def test_npz_and_npy(tmp_path: Path) -> None:
    with np.load(write(RICH, tmp_path / "t.npz"), allow_pickle=False) as archive:
        assert archive.files == RICH.column_names and archive["s"].tolist() == RICH["s"].to_pylist()
        assert archive["t"].dtype == "M8[us]" and archive["k"].tolist() == ["u", "v", "u"]
    numbers = RICH.select(["f", "d", "i", "b"])
    assert np.load(write(numbers, tmp_path / "t.npy")).tolist() == np.column_stack([np.array(c) for c in numbers.columns]).tolist()
    array = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(np.load(write(torch.from_numpy(array), tmp_path / "a.npy")), array)
    with np.load(write(array, tmp_path / "a.npz")) as archive:
        assert np.array_equal(archive["x"], array)


def test_bare_arrays_into_tables(tmp_path: Path) -> None:
    path = write(np.array([[1.5, 2.0], [3.0, 4.0]]), tmp_path / "t.csv")
    assert path.read_text().splitlines()[0].replace('"', "") == "x0,x1"
    assert prepare(path).raw.x.tolist() == [[1.5, 2], [3, 4]]
    assert read(write(np.arange(3), tmp_path / "v.parquet")).columns.to_pydict() == {"x0": [0, 1, 2]}
    sets = [np.ones((2, 2)), np.zeros((0, 2)), np.zeros((1, 2))]
    table = read(write(sets, tmp_path / "s.parquet")).columns
    assert table.column_names == ["x0", "x1"] and [len(v) for v in table["x1"].to_pylist()] == [2, 0, 1]
    with np.load(write(sets, tmp_path / "s.npz")) as archive:
        assert archive["lengths"].tolist() == [2, 0, 1] and archive["values"].shape == (3, 2)
    again = prepare(tmp_path / "s.npz", kind="set").raw.x
    assert again.lengths.tolist() == [2, 0, 1] and again.values.tolist() == [[1, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("shape", "dtype", "mode", "top"),
    [
        ((3, 4, 5), np.uint8, "L", 255),
        ((3, 4, 5, 3), np.uint8, "RGB", 255),
        ((3, 6, 5, 4), np.uint8, "RGBA", 255),
        ((3, 4, 5), bool, "1", 1),
    ],
)
def test_pictures_come_back_from_their_folder(shape: tuple[int, ...], dtype: Any, mode: str, top: int, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, top + 1, shape).astype(dtype)
    folder = write(array, tmp_path / "pictures")
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["000000.png", "000001.png", "000002.png"] and Picture.open(folder / names[0]).mode == mode
    assert np.array_equal(read(folder).x, array)


def test_pictures_of_a_kind(tmp_path: Path) -> None:
    """Channels first are turned; 17 levels are stretched over 0 … 255 so that they can be seen."""
    values = np.array([0, 8, 16, 4]).reshape(1, 1, 2, 2)
    folder = write(values, tmp_path / "a", kind=Image(1, (2, 2), 17, "first"))
    assert read(folder).x.ravel().tolist() == [0, 128, 255, 64]
    reals = np.array([-1.0, 1.0, 0.0, 0.5]).reshape(1, 2, 2)
    assert read(write(reals, tmp_path / "b", kind=Image(1, (2, 2), None, "none"))).x.ravel().tolist() == [0, 255, 128, 191]
    deep = (np.arange(4).reshape(1, 2, 2) * 20_000).astype(np.int32)
    assert read(write(deep, tmp_path / "c", kind=Image(1, (2, 2), 65536, "none"))).x.ravel().tolist() == [0, 20_000, 40_000, 60_000]


def test_existing_files_are_safe(tmp_path: Path) -> None:
    path = write(pa.table({"a": [1]}), tmp_path / "t.csv")
    with pytest.raises(DataError, match="exists"):
        write(pa.table({"a": [2]}), path)
    assert "1" in path.read_text()
    write(pa.table({"a": [2]}), path, overwrite=True)
    assert "2" in path.read_text()
    folder = write(np.zeros((2, 3, 3), np.uint8), tmp_path / "p")
    with pytest.raises(DataError, match="exists"):
        write(np.zeros((1, 3, 3), np.uint8), folder)
    write(np.zeros((1, 3, 3), np.uint8), folder, overwrite=True)
    assert len(list(folder.iterdir())) == 1
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="no folder of PNG"):
        write(np.zeros((1, 3, 3), np.uint8), folder, overwrite=True)
    assert (folder / "thesis.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "t.csv"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(pa.table({"a": [1]}), tmp_path / "t.parquet")
    before = path.read_bytes()

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(DataError, match="No space left"):
        write(pa.table({"a": [2]}), path, overwrite=True)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(DataError, match="No space left"):
        write(np.zeros((1, 3, 3), np.uint8), tmp_path / "p")
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_files_have_ordinary_permissions_and_parents_are_made(tmp_path: Path) -> None:
    path = write(pa.table({"a": [1]}), tmp_path / "deep" / "er" / "t.csv")
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


REFUSED: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "unknown suffix": (RICH, "t.xlsx", ("'.xlsx'", ".parquet")),
    "table to a folder": (RICH, "t", ("folder", "table", ".parquet")),
    "vector to a folder": (np.zeros((3, 4)), "t", ("(3, 4)",)),
    "texts to npy": (RICH, "t.npy", ("'s'", "string", ".npz")),
    "images to csv": (np.zeros((3, 4, 4)), "t.csv", ("(3, 4, 4)", "folder")),
    "lists to csv": (pa.table({"a": [[1]]}), "t.csv", ("'a'", "list", ".parquet")),
    "lists to npz": (pa.table({"a": [[1]]}), "t.npz", ("'a'", "list", ".parquet")),
    "sets to npy": ([np.ones((2, 1)), np.ones((1, 1))], "t.npy", ("lengths", ".npz")),
    "missing texts to npz": (pa.table({"a": ["u", None]}), "t.npz", ("'a'", "missing")),
    "five channels": (np.zeros((3, 5, 9, 9), np.uint8), "t", ("channels", "5")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_format_cannot_hold_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    data, target, expected = REFUSED[name]
    with pytest.raises(DataError) as caught:
        write(data, tmp_path / target)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
    for fragment in expected:
        assert fragment in str(caught.value), caught.value


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be"):
        write(RICH, tmp_path / "t.csv")


# ---- fingerprints -------------------------------------------------------------------------------------------------


def test_fingerprints_are_sha256_and_stable() -> None:
    """Against hashlib over the documented bytes; the digits are those of a little-endian machine."""
    x = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    expected = hashlib.sha256(b"x.values torch.float64 (2, 3)\n" + np.arange(6.0).tobytes()).hexdigest()
    assert fingerprint(Examples(x)) == expected
    assert fingerprint(Examples(x.T.contiguous().T)) == expected


def test_every_change_changes_the_fingerprint() -> None:
    x, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    ragged = Ragged(torch.zeros(4, 1), torch.tensor([1, 3]))
    different = [
        Examples(x),
        Examples(x, y),
        Examples(x, y + 1),
        Examples(x, weight=torch.ones(4)),
        Examples(x, given=torch.ones(4)[:, None]),
        Examples(x.double()),
        Examples(x.reshape(2, 4)),
        Examples(x.index_fill(0, torch.tensor([3]), 1e-40)),
        Examples(ragged),
        Examples(Ragged(ragged.values, torch.tensor([2, 2]))),
        Examples(torch.zeros(4, 1)),
    ]
    assert len({fingerprint(examples) for examples in different}) == len(different)


def test_large_data_is_hashed_in_pieces() -> None:
    x = torch.zeros(3 * 10**6, 6)
    before = fingerprint(Examples(x))
    x[-1, -1] = 1
    assert fingerprint(Examples(x)) != before


def test_label_of_the_spec_is_enough(tmp_path: Path) -> None:
    assert as_table(Label((3, 7), "grade", "int32"), torch.tensor([1, 0])).schema.field("grade").type == pa.int32()
