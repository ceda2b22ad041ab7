"""Folds: every row once, classes in proportion, groups whole, time forward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.data.folds import folds
from gnomon.errors import DataError, OptionError


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.integers(2, 7), st.integers(0, 5), st.sampled_from(["random", "stratified", "group"]), st.integers(1, 12))
def test_every_row_is_held_out_once(n: int, count: int, seed: int, how: str, classes: int) -> None:
    values = torch.arange(n).mul(7).remainder(classes).numpy()
    units = len(set(values.tolist())) if how == "group" else n
    if units < count:
        with pytest.raises(DataError, match="ask for fewer folds"):
            folds(n, count, seed=seed, how=how, values=values)
        return
    parts = folds(n, count, seed=seed, how=how, values=values)
    again = folds(n, count, seed=seed, how=how, values=values)
    assert len(parts) == count and sorted(torch.cat([held for _, held in parts]).tolist()) == list(range(n))
    for (train, held), (train2, held2) in zip(parts, again, strict=True):
        assert torch.equal(train, train2) and torch.equal(held, held2) and len(held)
        assert sorted([*train.tolist(), *held.tolist()]) == list(range(n))
        if how == "group":
            assert not set(values[train.numpy()].tolist()) & set(values[held.numpy()].tolist())
        else:
            assert n // count <= len(held) <= n // count + 1
        if how == "stratified":
            for c in range(classes):
                assert abs((values[held.numpy()] == c).sum() - (values == c).sum() / count) < 1


def test_groups_are_spread_evenly_and_seeds_differ() -> None:
    values = torch.repeat_interleave(torch.arange(20), torch.arange(1, 21)).numpy()
    sizes = [len(held) for _, held in folds(210, 5, seed=0, how="group", values=values)]
    assert max(sizes) - min(sizes) <= 4
    assert any(not torch.equal(a[1], b[1]) for a, b in zip(folds(50, 5, seed=0), folds(50, 5, seed=1), strict=True))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_time_goes_forward(count: int) -> None:
    values = torch.randperm(60, generator=torch.Generator().manual_seed(0)).div(4, rounding_mode="floor").numpy()
    parts = folds(60, count, seed=0, how="time", values=values)
    assert len(parts) == count
    for train, held in parts:
        assert values[train.numpy()].max() < values[held.numpy()].min()
        assert abs(len(held) - 60 / (count + 1)) <= 4
    assert sorted(torch.cat([held for _, held in parts]).tolist()) == sorted(set(range(60)) - set(parts[0][0].tolist()))
    few = folds(4, 3, seed=0, how="time", values=[0, 1, 2, 3])
    assert [held.tolist() for _, held in few] == [[1], [2], [3]]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match="2 folds or more; got 1"):
        folds(10, 1, seed=0)
    with pytest.raises(OptionError, match="random, stratified, group or time"):
        folds(10, 2, seed=0, how="class")
    with pytest.raises(DataError, match="4 moments or more; got 2"):
        folds(4, 3, seed=0, how="time", values=[0, 0, 1, 1])
    with pytest.raises(DataError, match="needs the values"):
        folds(4, 2, seed=0, how="group")
