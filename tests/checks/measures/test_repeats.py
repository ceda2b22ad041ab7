"""Equal rows against NumPy's own search for them, and the error of their share against repetition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gnomon.checks.measures.repeats import Groups, error_of_repeats, row_codes
from gnomon.errors import DataError


def test_rows_have_the_same_code_if_and_only_if_they_are_equal_as_float32() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-2, 3, size=(3000, 4)) * 0.1
    codes = row_codes(rows)
    _, ours = np.unique(codes, return_inverse=True)
    _, theirs = np.unique(rows.astype(np.float32), axis=0, return_inverse=True)
    assert len(np.unique(ours)) == len(np.unique(theirs)) == len(np.unique(np.stack([ours, theirs.ravel()]), axis=1).T)


def test_columns_do_not_stand_in_for_each_other() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(500, 3))
    everything = np.concatenate([rows, rows[:, ::-1], rows[:, [1, 0, 2]], -rows])
    assert len(np.unique(row_codes(everything))) == 2000
    assert np.ptp(row_codes(np.array([[0.0, 1.0], [-0.0, 1.0]]))) == 0
    assert len(np.unique(row_codes(rng.normal(size=(40, 1, 5, 5)).astype(np.float32)))) == 40


def test_codes_do_not_collide() -> None:
    assert len(np.unique(row_codes(np.arange(300_000.0)[:, None]))) == 300_000


def test_codes_want_rows() -> None:
    with pytest.raises(DataError, match="rows"):
        row_codes(np.array(1.0))


def test_shares_of_repeats_against_counting() -> None:
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 60, size=200)
    labels = rng.random((9, 200)) < 0.4
    made = Groups.of(rows.astype(np.uint64)).shares(labels)
    for b in range(9):
        generated, real = rows[labels[b]], rows[~labels[b]]
        assert made["duplicates"][b] == pytest.approx(np.mean([(generated == g).sum() > 1 for g in generated]))
        assert made["real"][b] == pytest.approx(np.mean([(real == r).sum() > 1 for r in real]))
        assert made["copies"][b] == pytest.approx(np.isin(generated, real).mean())


def test_without_repeats_there_are_no_shares() -> None:
    made = Groups.of(np.arange(30, dtype=np.uint64)).shares(np.arange(30) < 12)
    assert all(values.tolist() == [0] for values in made.values())


DRAWS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "resampled": lambda rng: rng.integers(0, 800, 800),
    "rarely twice": lambda rng: rng.integers(0, 40_000, 800),
    "some often": lambda rng: np.where(rng.random(800) < 0.5, rng.integers(0, 50, 800), rng.integers(1000, 10**9, 800)),
    "few values": lambda rng: rng.geometric(0.04, 800),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_error_of_repeats_is_the_spread_over_repetitions(draw: str) -> None:
    shares, errors = [], []
    for seed in range(300):
        _, counts = np.unique(DRAWS[draw](np.random.default_rng(seed)), return_counts=True)
        shares.append(counts[counts > 1].sum() / 800)
        errors.append(error_of_repeats(counts[counts > 1], 800))
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.2)
