"""Sources: one order for any number of processes, resuming bit for bit, cheap batches; the same in memory and streamed."""

import math
import time

import numpy as np
import pytest
import torch

from gnomon.data import (
    Bounded,
    Column,
    Examples,
    Image,
    InMemory,
    Integer,
    Label,
    Ragged,
    Scaling,
    Set,
    Spec,
    Vector,
    mix,
)
from gnomon.data import sources as sources_module
from gnomon.data.files.row_files import open_rows
from gnomon.data.streams import Streamed
from gnomon.errors import OptionError

N = 103


def _chance():
    return torch.Generator().manual_seed(0)


def _numbers():
    raw = Examples(torch.randn(N, 3, generator=_chance()).double(), y=torch.arange(N), weight=torch.ones(N).double())
    return Spec(Vector.real(3), y=Label(tuple(range(N))), weight="w"), raw


def _mixed():
    x = torch.stack(
        [torch.rand(N, generator=_chance()), torch.arange(N) % 7.0, (3 * torch.randn(N, generator=_chance())).round()], 1
    ).double()
    kind = Vector((Column("b", Bounded(0, 1)), Column("k", Integer(0, 6)), Column("i", Integer())))
    return Spec(kind, y=Label(tuple(range(N)))), Examples(x, y=torch.arange(N))


def _images():
    x = torch.randint(0, 17, (N, 1, 4, 4), generator=_chance()).to(torch.uint8)
    return Spec(Image(1, (4, 4), levels=17), y=Label(tuple(range(N)))), Examples(x, y=torch.arange(N))


def _sets():
    lengths = torch.arange(N) % 4
    values = torch.stack([torch.randn(int(lengths.sum()), generator=_chance()), torch.arange(int(lengths.sum())) % 3.0], 1).double()
    return Spec(Set(Vector((Column("a"), Column("k", Integer(0, 2))))), y=Label(tuple(range(N)))), Examples(
        Ragged(values, lengths), y=torch.arange(N)
    )


CASES = {"numbers": _numbers, "mixed": _mixed, "images": _images, "sets": _sets}


def _in_memory(name, **options):
    spec, raw = CASES[name]()
    scaling = Scaling.fit(spec, raw)
    return InMemory(scaling.store(raw), scaling, **{"batch_size": 10, "dequantises": True, **options})


def _streamed(name, tmp_path, **options):
    """The same data behind a file of row numbers, in blocks of 16."""
    spec, raw = CASES[name]()
    path = tmp_path / f"{name}.npy"
    if not path.exists():
        np.save(path, np.arange(N)[:, None])
    file = open_rows(path, block_rows=16)
    return Streamed(
        file,
        Scaling.fit(spec, raw),
        encode=lambda block: raw[torch.from_numpy(block.x[:, 0])],
        **{"batch_size": 10, "dequantises": True, **options},
    )


@pytest.fixture(params=["in memory", "streamed"])
def make(request, tmp_path):
    return _in_memory if request.param == "in memory" else lambda name, **options: _streamed(name, tmp_path, **options)


def _same(a, b):
    for (role, left), (other, right) in zip(a.roles(), b.roles(), strict=True):
        assert role == other
        if isinstance(left, Ragged):
            assert torch.equal(left.lengths, right.lengths)
            left, right = left.values, right.values
        assert left.dtype == right.dtype and torch.equal(left, right)


def _rows(batches):
    return [batch.y.tolist() for batch in batches]


# ---- contract of every source ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_batches_are_in_network_space(make, name):
    source = make(name)
    assert len(source) == N and source.steps == 10 and source.batch_size == 10
    batches = list(source.batches(0, 0))
    assert [len(b) for b in batches] == [10] * 10
    x = batches[0].x
    values = torch.cat([b.x.values if isinstance(x, Ragged) else b.x for b in batches])
    assert values.dtype == torch.float32 and bool(values.isfinite().all())
    assert float(values.mean()) == pytest.approx(0, abs=0.25) and float(values.std()) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("name", CASES)
def test_order_depends_on_seed_and_epoch_only(make, name):
    source = make(name)
    first = list(source.batches(3, 5))
    for a, b in zip(first, make(name).batches(3, 5), strict=True):
        _same(a, b)
    rows = _rows(first)
    assert len({row for batch in rows for row in batch}) == 100
    for seed, epoch in ((3, 6), (4, 5), (5, 3)):
        assert _rows(source.batches(seed, epoch)) != rows


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_starting_late_is_skipping_bit_for_bit(make, name, shuffle):
    source = make(name, shuffle=shuffle)
    full = list(source.batches(1, 2))
    for start in (0, 1, 2, 5, 9, source.steps - 1, source.steps, source.steps + 3):
        late = list(source.batches(1, 2, start))
        assert len(late) == max(0, source.steps - start)
        for a, b in zip(full[start:], late, strict=True):
            _same(a, b)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_every_batch(make, name, world, shuffle):
    whole = list(make(name, shuffle=shuffle).batches(1, 2))
    parts = [list(make(name, shuffle=shuffle, rank=rank, world=world).batches(1, 2)) for rank in range(world)]
    for batch, *pieces in zip(whole, *parts, strict=True):
        assert max(len(p) for p in pieces) - min(len(p) for p in pieces) <= 1
        _same(batch, Examples.cat(pieces))


@pytest.mark.parametrize("name", CASES)
def test_without_shuffling_all_rows_come_in_order_with_fixed_noise(make, name):
    source = make(name, shuffle=False)
    batches = list(source.batches(0, 0))
    assert source.steps == 11 and [len(b) for b in batches] == [10] * 10 + [3]
    assert [row for batch in _rows(batches) for row in batch] == list(range(N))
    for a, b in zip(batches, source.batches(7, 8), strict=True):
        _same(a, b)


@pytest.mark.parametrize("batch_size, sizes", [(200, [N]), (N, [N]), (102, [102]), (52, [52]), (1, [1] * N)])
def test_remainder_is_dropped_unless_it_is_all_there_is(make, batch_size, sizes):
    source = make("mixed", batch_size=batch_size)
    assert [len(b) for b in source.batches(0, 0)] == sizes and source.steps == len(sizes)


def test_noise_differs_between_epochs_and_seeds_and_is_absent_when_not_wanted(make):
    source = make("images")
    one, two, three = (
        {row: x for b in source.batches(*place) for row, x in zip(b.y.tolist(), b.x, strict=True)} for place in ((0, 0), (0, 1), (1, 0))
    )
    common = sorted(set(one) & set(two) & set(three))
    assert len(common) > 90 and not any(torch.equal(one[r], two[r]) or torch.equal(one[r], three[r]) for r in common)
    back = [torch.stack([source.scaling.inverse("x", xs[r][None])[0] for r in common]) for xs in (one, two)]
    assert float((back[0] != back[1]).float().mean()) < 1e-3  # noise stays in its cell
    quiet = make("images", dequantises=False)
    middle = {r: x for b in quiet.batches(0, 0) for r, x in zip(b.y.tolist(), b.x, strict=True)}
    expected = quiet.scaling.forward(_images()[1]).x
    assert all(torch.equal(x, expected[r]) for r, x in middle.items())


def test_global_random_state_is_untouched(make):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    list(make("mixed").batches(0, 0))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "options, text", [({"batch_size": 0}, "at least 1"), ({"batch_size": 2, "world": 3}, "at least 3"), ({"rank": 2, "world": 2}, "0 … 1")]
)
def test_refusals(make, options, text):
    with pytest.raises(OptionError, match=text):
        make("numbers", **options)


# ---- in memory ------------------------------------------------------------------------------------------------------


def test_real_batches_are_views_of_one_block():
    batches = list(_in_memory("numbers").batches(0, 0))
    assert len({b.x.untyped_storage().data_ptr() for b in batches}) == 1
    assert len({b.y.untyped_storage().data_ptr() for b in batches}) == 1


def test_without_shuffling_real_batches_are_views_of_the_data():
    source = _in_memory("numbers", shuffle=False)
    assert next(source.batches(0, 0)).x.untyped_storage().data_ptr() == source.stored.x.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("world", [1, 2])
def test_size_of_blocks_does_not_matter(monkeypatch, name, world):
    whole = list(_in_memory(name, world=world).batches(1, 2))
    monkeypatch.setattr(sources_module, "BLOCK_ROWS", 30)
    small = _in_memory(name, world=world)
    for start in (0, 2, 4):
        for a, b in zip(whole[start:], small.batches(1, 2, start), strict=True):
            _same(a, b)


def test_no_rows_are_legal():
    spec, raw = _numbers()
    scaling = Scaling.fit(spec, raw)
    source = InMemory(scaling.store(raw[:0]), scaling, batch_size=4)
    assert len(source) == source.steps == 0 and list(source.batches(0, 0)) == []


def test_a_batch_costs_microseconds():
    raw = Examples(torch.randn(12_800, 20).double(), y=torch.randn(12_800, 1).double())
    scaling = Scaling.fit(Spec(Vector.real(20), y=Vector.real(1)), raw)
    source = InMemory(scaling.store(raw), scaling, batch_size=64)
    best = math.inf
    for _ in range(20):
        started = time.perf_counter()
        for _ in source.batches(0, 0):
            pass
        best = min(best, (time.perf_counter() - started) / source.steps)
    assert best < 25e-6  # 3 µs on a quiet core


def test_mix_separates_what_looks_alike():
    parts = [
        ("a", 1),
        ("a", 2),
        ("a1",),
        ("a", "1"),
        ("a", 1 + 2**32),
        ("a", 1, 0),
        (1, "a"),
        ("a", 10),
        ("a", 1, "0"),
        ("i1",),
        ("s1:a|i1",),
    ]
    seeds = {mix(*p) for p in parts}
    assert len(seeds) == len(parts) and all(0 <= s < 2**32 for s in seeds)
    assert mix("a", np.int64(1)) == mix("a", 1)
    assert mix("order", 0, 0) == 2547235856  # saved runs resume with this number
    with pytest.raises(TypeError):
        mix("a", 0.5)
