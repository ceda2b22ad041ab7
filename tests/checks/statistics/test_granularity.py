"""Rounded, discretised and repeated values are noticed and named; grains that both sides have, or that float32 has, are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Sides, Statistic
from gnomon.checks.statistics.granularity import Grains, distinct
from gnomon.data import Categorical, Column, Integer, Periodic

QUICK = Effort(draws=199, more_draws=0)


def _row(real: np.ndarray, generated: np.ndarray, effort: Effort = QUICK, **options: object) -> Statistic:
    (row,) = distinct(Case(Sides.of(real, generated, ["x4"], **options), effort=effort))  # type: ignore[arg-type]
    return row


def _normal(seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), rng.normal(size=n)


@pytest.mark.parametrize("step", [1.0, 0.25, 0.1, 0.01])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_rounded_values_are_found_with_their_step(step: float, offset: float) -> None:
    x, y = _normal(0)
    row = _row(x, np.round(y / step) * step + offset * step)
    assert row.p == 1 / 200 and row.alarm == "low" and row.value > 0.4
    known = "multiples of" if offset == 0 else "steps of"
    words = f"column 'x4': the generated values are rounded to {known} {step:g}, the real ones are not"
    atom = step == 1  # the middle value is then that of every third row
    assert row.claim.startswith("column 'x4': 3") if atom else row.claim.startswith(words), row.claim


def test_real_values_recorded_with_few_digits_are_told_but_no_alarm() -> None:
    x, y = _normal(1)
    row = _row(np.round(x, 1), y)
    assert row.p == 1 / 200 and row.alarm == "never"
    assert "the real values are rounded to multiples of 0.1, the generated ones are not" in row.claim


@pytest.mark.parametrize(
    ("real", "generated", "words"),
    [
        (2, 1, "the generated values are rounded to multiples of 0.1, the real ones to 0.01"),
        (1, 2, "the real values are rounded to multiples of 0.1, the generated ones to 0.01"),
    ],
)
def test_the_coarser_of_two_grids_is_named(real: int, generated: int, words: str) -> None:
    x, y = _normal(2)
    row = _row(np.round(x, real), np.round(y, generated))
    assert row.p == 1 / 200 and words in row.claim and row.alarm == ("low" if generated < real else "never")


def test_lost_and_invented_single_values_are_named() -> None:
    x, y = _normal(3)
    some = np.random.default_rng(4).random(len(x)) < 0.1
    lost, made = _row(np.where(some, 0.0, x), y), _row(x, np.where(some, 2.5, y))
    assert lost.p == made.p == 1 / 200 and lost.alarm == made.alarm == "low"
    assert f"{100 * some.mean():.1f} % of the real values are exactly 0, unlike the generated ones" in lost.claim
    assert f"{100 * some.mean():.1f} % of the generated values are exactly 2.5, unlike the real ones" in made.claim


def test_discrete_values_smeared_out_are_an_alarm() -> None:
    rng = np.random.default_rng(5)
    real = rng.integers(0, 4, 2000) / 4
    assert _row(real, real + 0.02 * rng.normal(size=2000)).alarm == "low"


def test_a_part_of_the_rows_and_repeated_rows_are_found() -> None:
    rng = np.random.default_rng(6)
    x, y = _normal(6)
    part = _row(x, np.where(rng.random(len(y)) < 0.3, np.round(y, 1), y))
    repeated = _row(x, rng.choice(y, len(y)))
    for row in (part, repeated):
        assert row.p == 1 / 200 and "of the generated values occur more than once, but" in row.claim, row.claim


@pytest.mark.parametrize(
    ("real", "generated"),
    [
        (lambda x: np.round(x, 1), lambda y: np.round(y, 1)),
        (lambda x: np.round(x, 2), lambda y: np.round(0.8 * y + 0.3, 2)),
        (lambda x: np.where(np.abs(x) < 0.3, 0.0, x), lambda y: np.where(np.abs(y) < 0.4, 0.0, y)),
        (lambda x: x, lambda y: y.astype(np.float32)),
        (lambda x: 1000 + x, lambda y: (1000 + y).astype(np.float32)),
        (np.exp, lambda y: np.exp(y.astype(np.float32))),
        (lambda x: x, lambda y: 0.01 * y),
    ],
    ids=["both at 0.1", "both at 0.01, moved", "both with zeros", "float32", "float32 far from zero", "float32 before exp", "narrow"],
)
@pytest.mark.parametrize("rows", [4000, 100_000])
def test_grains_of_both_sides_and_of_float32_are_no_finding(real: Callable, generated: Callable, rows: int) -> None:
    p = []
    for seed in range(5):
        x, y = _normal(seed, rows)
        p.append(_row(real(x), generated(y)).p)
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 1e-3 and sum(one <= 0.01 for one in p) <= 1, p


def test_whole_numbers_categories_and_values_that_never_repeat_have_no_row() -> None:
    rng = np.random.default_rng(7)
    columns = [Column("count", Integer()), Column("sort", Categorical(("a", "b"))), Column("real")]
    real, generated = (np.stack([rng.poisson(3, 50), rng.integers(0, 2, 50), rng.uniform(size=50)], axis=1) for _ in range(2))
    assert not distinct(Case(Sides.of(real, generated, columns), effort=QUICK))
    angles = np.round(rng.uniform(0, 6.28, (2, 400)), 1)
    assert distinct(Case(Sides.of(*angles, [Column("angle", Periodic(0, 6.3))]), effort=QUICK))


def test_weights_thin_rows_out_and_negative_ones_are_refused() -> None:
    rng = np.random.default_rng(8)
    x, y = _normal(8)
    weights = (rng.exponential(size=len(x)), rng.exponential(size=len(y)))
    assert _row(x, np.round(y, 1), weights=weights).p == 1 / 200
    row = _row(x, y, weights=weights) if len(distinct(Case(Sides.of(x, y, weights=weights), effort=QUICK))) else None
    assert row is None or row.n < 1000
    with pytest.raises(LeftOut, match="negative"):
        _row(x, y, weights=(weights[0] - 0.1, None))


def test_the_value_is_the_share_of_rows_in_one_sided_groups() -> None:
    """By brute force, where each group has both sides near by."""
    x, y = (np.round(v[:300], 2) for v in _normal(9))
    alone = sum(np.sum(a == v) for a, b in ((x, y), (y, x)) for v in np.unique(a) if np.sum(a == v) > 1 and v not in b)
    grains = Grains.of(Sides.of(x, y), 0)
    assert grains is not None
    outside = sum(np.sum(a == v) for a, b in ((x, y), (y, x)) for v in np.unique(a) if np.sum(a == v) > 1 and not b.min() <= v <= b.max())
    assert (alone - outside) / 600 <= grains.value <= alone / 600


def test_null_draws_are_those_of_shuffled_labels() -> None:
    """The quick way (only rows in groups, with a hypergeometric number of labels) against shuffling whole cells."""
    rng = np.random.default_rng(10)
    x, y = (np.round(v[:200], 1) for v in _normal(10))
    grains = Grains.of(Sides.of(x, y), 0)
    assert grains is not None
    known, group, counts = np.unique(np.round(np.concatenate([x, y]), 6), return_inverse=True, return_counts=True)
    labels = np.arange(400) < 200
    cell = (np.arange(len(known)) // max(3, int(np.sqrt(len(known)) / 2)))[group]
    slow = []
    for _ in range(1500):
        shuffled = labels.copy()
        for c in np.unique(cell):
            shuffled[cell == c] = rng.permutation(labels[cell == c])
        own = np.bincount(group, weights=shuffled, minlength=len(known))
        slow.append(counts[(counts > 1) & ((own == 0) | (own == counts))].sum() / 400)
    one_sided = [c for c in np.unique(cell) if len(set(labels[cell == c])) == 1]
    slow = np.array(slow) - sum(counts[(counts > 1)][np.isin(known[counts > 1], known[group[cell == c]])].sum() for c in one_sided) / 400
    quick = grains.draw(1500, rng)
    assert quick.mean() == pytest.approx(slow.mean(), rel=0.06)
    assert quick.std() == pytest.approx(slow.std(), rel=0.08)


def test_errors_are_the_spread_of_repeated_samples() -> None:
    values, errors = [], []
    for seed in range(40):
        x, y = _normal(seed, 1500)
        row = _row(x, np.where(np.random.default_rng(seed).random(1500) < 0.5, np.round(y, 1), y), Effort(draws=30, more_draws=0))
        values.append(row.value)
        errors.append(row.error)
    assert 0.75 < np.mean(errors) / np.std(values) < 1.5
