"""Conformal coverage as a statistic: promised and found, with and without weights, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Predictions
from gnomon.checks.statistics.conformal import conformal_coverage

QUICK = Effort(few_draws=39)


def _regressed(seed: int, rows: int = 200, weighted: bool = False, spread: bool = True) -> Predictions:
    rng = np.random.default_rng(seed)
    mean, width = rng.normal(size=rows), rng.uniform(0.2, 2, size=rows)
    weight = rng.exponential(size=rows) if weighted else None
    return Predictions("energy", mean + width * rng.normal(size=rows), mean=mean, spread=width if spread else None, weight=weight)


def _classified(seed: int, rows: int = 200, weighted: bool = False) -> Predictions:
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet([0.6, 0.5, 0.4, 0.3], size=rows)
    truth = (rng.random((rows, 1)) > chance.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    return Predictions("kind", truth, probability=chance, classes=tuple("abcd"), weight=rng.exponential(size=rows) if weighted else None)


MAKES = {"numbers": _regressed, "classes": _classified}


def _rows(one: Predictions, seed: int = 0) -> tuple:
    return tuple(conformal_coverage(Case(predictions=(one,), effort=QUICK, seed=seed)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MAKES)
def test_coverage_is_as_promised_with_honest_errors(name: str, weighted: bool) -> None:
    made = [_rows(MAKES[name](seed, weighted=weighted), seed)[0] for seed in range(60)]
    values = np.array([row.value for row in made])
    assert values.mean() == pytest.approx(0.9, abs=4 * values.std() / np.sqrt(60) + 1 / 101)
    assert np.mean([row.null for row in made]) == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(60))
    assert np.median([row.error for row in made]) == pytest.approx(values.std(), rel=0.3)
    assert 0.5 <= np.mean([abs(row.value - row.null) <= row.error for row in made]) <= 0.85
    assert stats.kstest([row.p for row in made], "uniform", alternative="greater").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MAKES)
def test_coverage_is_as_promised_in_200_repeats(name: str, weighted: bool) -> None:
    made = [_rows(MAKES[name](seed, weighted=weighted), seed)[0] for seed in range(200)]
    assert 0.58 <= np.mean([abs(row.value - row.null) <= row.error for row in made]) <= 0.78
    assert stats.kstest([row.p for row in made], "uniform", alternative="greater").pvalue > 0.05 / 4


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MAKES)
def test_errors_of_sizes_are_those_of_repetition(name: str, weighted: bool) -> None:
    made = [_rows(MAKES[name](seed, weighted=weighted), seed)[1] for seed in range(120)]
    assert {row.name for row in made} == {"interval_width" if name == "numbers" else "set_size"}
    assert np.sqrt(np.mean([row.error**2 for row in made])) == pytest.approx(np.std([row.value for row in made]), rel=0.25)


def test_widths_are_those_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=20_000)
    plain = _rows(Predictions("y", mean + 0.5 * rng.normal(size=20_000), mean=mean))[1]
    assert plain.value == pytest.approx(2 * 0.5 * stats.norm.ppf(0.95), abs=4 * plain.error)
    assert plain.null == pytest.approx(2 * np.hypot(1, 0.5) * stats.norm.ppf(0.95), rel=0.05)
    assert plain.value < plain.null and "intervals of one width" in plain.note
    assert "as the predicted spread says" in _rows(_regressed(0))[0].note


def test_the_best_constant_sets_are_the_most_frequent_classes() -> None:
    truth = np.repeat([0, 1, 2, 3], [1000, 900, 60, 40])
    chance = 0.001 + 0.9 * np.eye(4)[truth]
    row = _rows(Predictions("kind", truth, probability=chance, classes=tuple("abcd")))[1]
    assert (row.value, row.null) == pytest.approx((1.0, 2.0))


def test_equal_scores_cover_more_and_raise_no_alarm() -> None:
    """A classifier that is always sure and right covers everything: more than promised is no fault."""
    truth = np.arange(100) % 2
    row = _rows(Predictions("y", truth, probability=np.eye(2)[truth], classes=(0, 1)))[0]
    assert row.value == 1 and row.p == pytest.approx(1) and "some scores are equal" in row.note


def test_rows_that_weigh_too_much_for_a_finite_threshold_are_told() -> None:
    one = _regressed(0, 60)
    weight = np.where(np.arange(60) % 4 == 0, 30.0, 0.5)
    rows = _rows(Predictions("energy", one.truth, mean=one.mean, spread=one.spread, weight=weight))
    assert "rows weigh too much for a finite threshold" in rows[1].note and np.isfinite(rows[1].value) and rows[1].n < 30


def test_few_rows_and_negative_weights_are_left_out() -> None:
    with pytest.raises(LeftOut, match="19 rows"):
        _rows(_regressed(0, 19))
    assert len(_rows(_regressed(0, 20))) == 2
    one = _regressed(0, 40)
    with pytest.raises(LeftOut, match="negative"):
        _rows(Predictions("energy", one.truth, mean=one.mean, weight=np.linspace(-1, 3, 40)))
