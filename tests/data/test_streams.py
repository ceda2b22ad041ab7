"""Streamed: files of every sort give what memory would, threads end, errors arrive; the contract itself is in test_sources."""

import gc
import threading
import time

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch

from gnomon.data import Bounded, Categorical, Column, Examples, Integer, Label, Scaling, Spec, Streamed, Vector, open_rows
from gnomon.data.streams import ahead
from gnomon.errors import DataError

ROWS = 1000


def _table():
    chance = np.random.default_rng(0)
    return pa.table(
        {
            "real": chance.normal(size=ROWS),
            "share": chance.random(ROWS),
            "count": chance.integers(0, 9, ROWS),
            "colour": pa.array(np.array(["red", "green", "blue"])[np.arange(ROWS) % 3]),
            "row": pa.array(np.arange(ROWS), type=pa.int64()),
            "w": chance.random(ROWS) + 0.5,
        }
    )


TABLE_SPEC = Spec(
    Vector(
        (
            Column("real"),
            Column("share", Bounded(0, 1)),
            Column("count", Integer(0, 8), type="int64"),
            Column("colour", Categorical(("blue", "green", "red")), type="string"),
        )
    ),
    y=Vector((Column("row", type="int64"),)),
    weight="w",
)


def _write(path, table):
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path, row_group_size=90)
    elif path.suffix == ".feather":
        pa.feather.write_feather(table, str(path), chunksize=70)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as archive:
            for name in table.column_names:
                column = table[name].to_pylist() if name == "colour" else table[name].to_numpy()
                archive.create_dataset(name, data=column)
    return path


def _scaling_of(table):
    from gnomon.data.encoding.infer import prepare

    raw = prepare(table, spec=TABLE_SPEC).raw
    return Scaling.fit(TABLE_SPEC, raw), raw


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".csv", ".h5"])
def test_tables_are_streamed(tmp_path, suffix):
    table = _table()
    scaling, raw = _scaling_of(table)
    file = open_rows(_write(tmp_path / f"t{suffix}", table), block_rows=128)
    assert len(file) == ROWS and file.blocks > 4
    source = Streamed(file, scaling, batch_size=32, shuffle=False, weight_mean=2.0)
    got = Examples.cat(list(source.batches(0, 0)))
    expected = scaling.forward(raw.with_(weight=raw.weight / 2))
    for (_, a), (_, b) in zip(got.roles(), expected.roles(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    shuffled = Streamed(file, scaling, batch_size=32)
    rows = torch.cat([scaling.inverse("y", b.y) for b in shuffled.batches(0, 0)])[:, 0]
    assert len(rows.unique()) == len(rows) == 31 * 32
    assert rows.corrcoef() is not None and abs(float(np.corrcoef(rows.numpy(), np.arange(len(rows)))[0, 1])) < 0.5


@pytest.mark.parametrize("dtype, shape", [(np.float32, (50, 3)), (np.uint8, (50, 1, 4, 4)), (np.int64, (50,))])
def test_arrays_are_streamed(tmp_path, dtype, shape):
    from gnomon.data.encoding.infer import prepare

    array = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    with h5py.File(tmp_path / "a.h5", "w") as archive:
        archive["group/values"] = array
    found = prepare(array)
    scaling = Scaling.fit(found.spec, found.raw)
    for path in (tmp_path / "a.npy", f"{tmp_path / 'a.h5'}:group/values"):
        source = Streamed(open_rows(path, block_rows=16), scaling, batch_size=7, shuffle=False)
        got = torch.cat([b.x for b in source.batches(0, 0)])
        assert torch.equal(got, scaling.forward(found.raw).x)


def test_roles_in_hdf5_are_streamed(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 3
    with h5py.File(tmp_path / "a.h5", "w") as archive:
        archive["x"], archive["y"] = x, y
    spec = Spec(Vector.real(2), y=Label((0, 1, 2)))
    scaling = Scaling.fit(spec, Examples(torch.from_numpy(x), y=torch.from_numpy(y)))
    source = Streamed(open_rows(tmp_path / "a.h5", block_rows=16), scaling, batch_size=40)
    assert sorted(next(source.batches(0, 0)).y.tolist()) == sorted(y.tolist())


def test_sides_of_a_split_share_one_file(tmp_path):
    table = _table()
    scaling, _ = _scaling_of(table)
    file = open_rows(_write(tmp_path / "t.parquet", table), block_rows=128)
    held_out = torch.arange(0, ROWS, 7)
    train = torch.tensor([i for i in range(ROWS) if i % 7])
    seen = {}
    for name, rows in (("train", train), ("held out", held_out), ("end", torch.arange(990, 1000))):
        source = Streamed(file, scaling, batch_size=5, rows=rows, shuffle=False)
        assert len(source) == len(rows)
        seen[name] = torch.cat([scaling.inverse("y", b.y) for b in source.batches(0, 0)])[:, 0].round().long()
        assert torch.equal(seen[name], rows)
        shuffled = Streamed(file, scaling, batch_size=5, rows=rows)
        full = list(shuffled.batches(0, 3))
        for start in (1, len(full) - 1):
            for a, b in zip(full[start:], shuffled.batches(0, 3, start), strict=True):
                assert all(torch.equal(left, right) for (_, left), (_, right) in zip(a.roles(), b.roles(), strict=True))
    with pytest.raises(DataError, match="none of its 1000 rows"):
        Streamed(file, scaling, batch_size=5, rows=torch.tensor([], dtype=torch.int64))


def _row_numbers(tmp_path, **options):
    """A file whose 103 rows hold their own number, in blocks of 16."""
    np.save(tmp_path / "n.npy", np.arange(103.0)[:, None])
    scaling = Scaling.fit(Spec(Vector.real(1)), Examples(torch.arange(103.0).double()[:, None]))
    return Streamed(open_rows(tmp_path / "n.npy", block_rows=16), scaling, **{"batch_size": 10, **options})


def test_rows_of_a_block_are_mixed_with_their_like_only(tmp_path):
    """Shuffling takes blocks in random order and never holds more than a few: rows that come together are neighbours in the file."""
    source = _row_numbers(tmp_path, batch_size=1)
    rows = torch.cat([source.scaling.inverse("x", b.x) for b in source.batches(0, 0)])[:, 0]
    blocks = rows.round().long() // 16
    changes = int((blocks[1:] != blocks[:-1]).sum())
    assert changes == source.file.blocks - 1
    assert blocks.unique_consecutive().tolist() != sorted(blocks.unique().tolist())


def test_sample_for_fitting(tmp_path):
    table = _table()
    file = open_rows(_write(tmp_path / "t.parquet", table), block_rows=128)
    part = file.sample(300, seed=0)
    rows = part.columns["row"].to_pylist()
    assert 300 <= len(rows) < 600 and rows == sorted(rows) and rows != file.sample(300, seed=3).columns["row"].to_pylist()
    assert file.sample(10**9, seed=0).columns["row"].to_pylist() == list(range(ROWS))
    np.save(tmp_path / "a.npy", np.arange(100.0)[:, None])
    assert open_rows(tmp_path / "a.npy", block_rows=10).sample(25, seed=0).x.shape == (30, 1)


def _reading_threads():
    return [t for t in threading.enumerate() if t.name == "gnomon-reads-ahead"]


def test_closing_early_ends_the_thread(tmp_path):
    for how in ("close", "forget", "error"):
        batches = _row_numbers(tmp_path).batches(0, 0)
        next(batches)
        assert _reading_threads()
        if how == "close":
            batches.close()
        elif how == "forget":
            del batches
            gc.collect()
        else:
            with pytest.raises(KeyboardInterrupt):
                batches.throw(KeyboardInterrupt)
        assert not _reading_threads()


def test_errors_of_the_thread_arrive_after_the_batches_before_them(tmp_path):

    def encode(block):
        rows = torch.from_numpy(block.x[:, 0])
        if 50 in rows:
            raise DataError("row 50 is bad")
        return Examples(rows[:, None].double())

    source = _row_numbers(tmp_path, shuffle=False, encode=encode)
    got = []
    with pytest.raises(DataError, match="row 50 is bad"):
        for batch in source.batches(0, 0):
            got.append(batch)
    assert [len(b) for b in got] == [10] * 4 and not _reading_threads()


def test_reading_stays_a_few_blocks_ahead():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    stream = ahead(items, 2)
    assert next(stream) == 0
    time.sleep(0.2)
    assert len(made) <= 4
    assert list(stream) == list(range(1, 100))


def test_what_cannot_be_streamed_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_rows(tmp_path / "absent.parquet")
    (tmp_path / "a.parquet").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read as .parquet"):
        open_rows(tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="cannot be streamed; expected Parquet"):
        open_rows(tmp_path / "a.npz")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="o.npy"):
        open_rows(tmp_path / "o.npy")
    np.save(tmp_path / "empty.npy", np.zeros((0, 2)))
    with pytest.raises(DataError, match="no rows"):
        open_rows(tmp_path / "empty.npy")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match="ragged.csv"):
        open_rows(tmp_path / "ragged.csv")
    with h5py.File(tmp_path / "two.h5", "w") as archive:
        archive["a"], archive["b"] = np.zeros(3), np.zeros(4)
    with pytest.raises(DataError, match="differ in length"):
        open_rows(tmp_path / "two.h5")


def test_temporary_copy_of_a_text_table_goes_with_the_object(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    file = open_rows(_write(tmp_path / "t.csv", _table()))
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    del file
    gc.collect()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_block_that_loses_rows_is_refused(tmp_path):
    table = _table()
    scaling, _ = _scaling_of(table)
    holed = table.set_column(0, "real", pa.array([None, *table["real"].to_pylist()[1:]]))
    file = open_rows(_write(tmp_path / "t.parquet", holed), block_rows=128)
    with pytest.raises(DataError, match="missing"):
        list(Streamed(file, scaling, batch_size=32).batches(0, 0))
    with pytest.raises(DataError, match="cannot be dropped here"):
        list(Streamed(file, scaling, batch_size=32, missing="drop").batches(0, 0))
