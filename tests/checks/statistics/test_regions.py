"""Regions are found where they are, in words that are true, and not where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.checks import Sides
from gnomon.checks.statistics.regions import Region, percent, region
from gnomon.data import Categorical, Column


def _found(values: np.ndarray, marked: np.ndarray, columns: list[Column] | None = None) -> Region | None:
    sides = Sides.of(values, values, columns)
    return region(sides, sides.real, marked, np.random.default_rng(0))


def test_one_end_of_one_column() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2000, 5))
    found = _found(values, (values[:, 3] > 1.5) ^ (rng.random(2000) < 0.02))
    assert found is not None and found.words in ("'x3' above 1.49", "'x3' above 1.5", "'x3' above 1.51")
    assert found.size == pytest.approx(0.067, abs=0.02) and found.inside > 0.9 and found.outside < 0.05


def test_a_range_inside_a_column_takes_two_ends() -> None:
    values = np.random.default_rng(1).uniform(0, 10, size=(3000, 3))
    found = _found(values, (values[:, 1] > 4) & (values[:, 1] < 5))
    assert found is not None and found.words == "'x1' between 4 and 5"
    assert found.inside > 0.95 and found.outside < 0.02


def test_two_columns_where_one_does_not_say_it() -> None:
    values = np.random.default_rng(2).normal(size=(4000, 4))
    found = _found(values, (values[:, 0] > 0.5) & (values[:, 2] < -0.5))
    assert found is not None and "'x0' above 0.5" in found.words and "'x2' below -0." in found.words and " and " in found.words
    assert found.inside > 0.95


def test_categories_are_named() -> None:
    rng = np.random.default_rng(3)
    columns = [Column("size"), Column("colour", Categorical(("red", "green", "blue")))]
    values = np.stack([rng.normal(size=900), rng.integers(0, 3, size=900)], axis=1)
    found = _found(values, values[:, 1] == 2, columns)
    assert found is not None and found.words == "'colour' = blue" and found.inside == 1 and found.outside == 0
    found = _found(values, values[:, 1] != 2, columns)
    assert found is not None and found.words == "'colour' other than blue"


def test_chance_makes_no_region() -> None:
    made = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        made += _found(rng.normal(size=(400, 8)), rng.random(400) < 0.1) is not None
    assert made == 0


def test_too_few_rows_make_no_region() -> None:
    assert _found(np.arange(20.0)[:, None], np.arange(20) > 12) is None
    assert _found(np.arange(200.0)[:, None], np.arange(200) > 197) is None
    assert _found(np.arange(200.0)[:, None], np.zeros(200, dtype=bool)) is None


def test_shares_read_well() -> None:
    assert [percent(share) for share in (0, 0.0004, 0.05, 0.123, 0.989, 0.9985, 1)] == [
        "0 %", "0.04 %", "5 %", "12 %", "99 %", "99.85 %", "100 %",
    ]  # fmt: skip
