"""Examples and Ragged: indexing, joining and moving give what lists of rows would."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.data import Examples, Ragged


def _ragged(lengths, width=2):
    total = sum(lengths)
    return Ragged(torch.arange(total * width, dtype=torch.float64).reshape(total, width), torch.tensor(lengths, dtype=torch.int64))


def _lists(ragged):
    return [row.tolist() for row in ragged.split()]


LENGTHS = st.lists(st.integers(0, 4), max_size=8)


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.data())
def test_ragged_rows_behave_like_a_list(lengths, data):
    ragged = _ragged(lengths)
    rows = _lists(ragged)
    assert len(ragged) == len(rows) and [len(r) for r in rows] == lengths
    index = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10) if rows else st.just([]))
    assert _lists(ragged[torch.tensor(index, dtype=torch.int64)]) == [rows[i] for i in index]
    first, last, step = data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 3)))
    assert _lists(ragged[first:last:step]) == rows[first:last:step]


@settings(max_examples=50, deadline=None)
@given(LENGTHS, LENGTHS)
def test_ragged_cat_offsets_and_rows(left, right):
    joined = Ragged.cat([_ragged(left), _ragged(right)])
    assert _lists(joined) == _lists(_ragged(left)) + _lists(_ragged(right))
    assert joined.offsets().tolist() == [sum((left + right)[:i]) for i in range(len(left + right) + 1)]
    assert joined.rows().tolist() == [i for i, n in enumerate(left + right) for _ in range(n)]


def test_ragged_keeps_lengths_on_the_host():
    moved = _ragged([1, 2]).to("meta")
    assert moved.values.device.type == "meta" and moved.lengths.device.type == "cpu" and moved.device.type == "meta"


X = {
    "vector": torch.arange(15.0).reshape(5, 3),
    "image": torch.arange(60).reshape(5, 1, 3, 4).to(torch.uint8),
    "ragged": _ragged([2, 0, 3, 1, 1]),
}


def _examples(name):
    return Examples(X[name], y=torch.arange(5), given=torch.arange(10.0).reshape(5, 2), weight=torch.linspace(0.5, 1.5, 5))


def _plain(values):
    return _lists(values) if isinstance(values, Ragged) else values.tolist()


@pytest.mark.parametrize("name", X)
@pytest.mark.parametrize(
    "index", [slice(1, 4), slice(0, 0), slice(None, None, 2), torch.tensor([4, 0, 0]), torch.tensor([], dtype=torch.int64)]
)
def test_every_role_is_indexed_alike(name, index):
    batch = _examples(name)
    picked = batch[index]
    numbers = torch.arange(5)[index].tolist()
    assert len(picked) == len(numbers) and picked.y.tolist() == numbers
    for role, values in picked.roles():
        whole = _plain(getattr(batch, role))
        assert _plain(values) == [whole[i] for i in numbers]


@pytest.mark.parametrize("name", X)
def test_cat_undoes_cutting(name):
    batch = _examples(name)
    again = Examples.cat([batch[:2], batch[2:2], batch[2:]])
    for (role, a), (other, b) in zip(batch.roles(), again.roles(), strict=True):
        assert role == other and _plain(a) == _plain(b)


def test_absent_roles_stay_absent():
    batch = Examples(X["vector"], given=torch.zeros(5, 1))
    for made in (batch, batch[1:3], batch[torch.tensor([0])], Examples.cat([batch, batch]), batch.to("cpu"), batch.with_(y=None)):
        assert [role for role, _ in made.roles()] == ["x", "given"] and made.y is None and made.weight is None


def test_with_replaces_only_what_is_named():
    batch = _examples("vector")
    other = batch.with_(y=None, weight=torch.ones(5))
    assert other.y is None and other.x is batch.x and other.given is batch.given and float(other.weight.sum()) == 5
    assert batch.y is not None
    with pytest.raises(TypeError):
        batch.with_(label=None)


def test_slices_of_tensors_are_views():
    batch = _examples("vector")
    assert batch[1:3].x.untyped_storage().data_ptr() == batch.x.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", X)
def test_moving_to_a_device(name):
    moved = _examples(name).to("meta")
    assert moved.device.type == "meta" and moved.y.device.type == "meta" and len(moved) == 5
