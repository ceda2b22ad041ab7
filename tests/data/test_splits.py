"""Splits: every row on one side, the same for the same seed, classes, groups and times as promised."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.data import split
from gnomon.errors import DataError, OptionError

VALUES = {
    "random": None,
    "stratified": np.arange(200) % 7,
    "group": np.arange(200) // 5,
    "time": np.arange(200)[::-1].copy(),
}


@pytest.mark.parametrize("how", VALUES)
def test_every_row_is_on_one_side(how):
    train, held_out = split(200, 0.1, seed=4, how=how, values=VALUES[how])
    assert train.dtype == held_out.dtype == torch.int64
    assert torch.equal(torch.cat([train, held_out]).sort().values, torch.arange(200))
    assert torch.equal(train, train.sort().values) and torch.equal(held_out, held_out.sort().values)
    assert len(held_out) == 20


@pytest.mark.parametrize("how", VALUES)
def test_seed_decides(how):
    one, two, other = (split(200, 0.1, seed=s, how=how, values=VALUES[how])[1].tolist() for s in (1, 1, 2))
    assert one == two
    assert (one != other) == (how != "time")


def test_random_split_favours_no_row():
    counts = torch.zeros(20)
    for seed in range(400):
        counts[split(20, 0.25, seed=seed)[1]] += 1
    assert float((counts - 100).abs().max()) < 4.5 * (400 * 0.25 * 0.75) ** 0.5


def test_stratified_keeps_shares_and_single_rows():
    codes = np.array(["a"] * 90 + ["b"] * 9 + ["c"])
    train, held_out = split(100, 0.2, seed=0, how="stratified", values=codes)
    picked = codes[held_out.numpy()].tolist()
    assert [picked.count(c) for c in "abc"] == [18, 2, 0]
    assert len(train) == 80


def test_stratified_works_where_every_class_is_single():
    train, held_out = split(4, 0.5, seed=0, how="stratified", values=np.array([0, 0, 1, 2]))
    assert len(held_out) == 1 and held_out[0] in (0, 1)
    with pytest.raises(DataError, match="one row"):
        split(4, 0.5, seed=0, how="stratified", values=np.arange(4))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.floats(0.05, 0.95), st.integers(0, 5))
def test_groups_stay_together(groups, fraction, seed):
    values = np.array(groups)
    if len(set(groups)) == 1:
        with pytest.raises(DataError, match="two groups"):
            split(len(values), fraction, seed=seed, how="group", values=values)
        return
    train, held_out = (values[side.numpy()] for side in split(len(values), fraction, seed=seed, how="group", values=values))
    assert len(train) and len(held_out) and not set(train) & set(held_out)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.floats(0.05, 0.95))
def test_time_holds_out_the_latest(times, fraction):
    values = np.array(times, dtype="M8[s]")
    if len(set(times)) == 1:
        with pytest.raises(DataError, match="two moments"):
            split(len(values), fraction, seed=0, how="time", values=values)
        return
    train, held_out = (values[side.numpy()] for side in split(len(values), fraction, seed=0, how="time", values=values))
    assert train.max() < held_out.min()


def test_refusals():
    with pytest.raises(OptionError, match="between 0 and 1; got 1.5"):
        split(10, 1.5, seed=0)
    with pytest.raises(OptionError, match="'chance'"):
        split(10, 0.5, seed=0, how="chance", values=np.arange(10))
    with pytest.raises(DataError, match="1 row"):
        split(1, 0.5, seed=0)
    with pytest.raises(DataError, match="got none"):
        split(10, 0.5, seed=0, how="group")
    with pytest.raises(DataError, match=r"each of 10 rows; got shape \(3,\)"):
        split(10, 0.5, seed=0, how="group", values=np.arange(3))
    with pytest.raises(DataError, match="row 2 has none"):
        split(3, 0.5, seed=0, how="time", values=np.array([1.0, np.nan, 2.0]))
    with pytest.raises(DataError, match="row 3 has none"):
        split(3, 0.5, seed=0, how="group", values=np.array(["a", "b", None], dtype=object))


def test_small_fractions_leave_a_row_on_either_side():
    assert [len(side) for side in split(3, 0.01, seed=0)] == [2, 1]
    assert [len(side) for side in split(3, 0.99, seed=0)] == [1, 2]
