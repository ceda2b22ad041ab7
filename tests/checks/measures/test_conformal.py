"""Conformal prediction: coverage inside its Beta band at every size, sets and intervals against brute force and published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gnomon.checks.measures.conformal import (
    class_scores,
    class_sets,
    conformal_quantile,
    conformal_rank,
    coverage_band,
    coverage_error,
    coverage_p,
    jackknife_plus,
    mean_coverage,
    split_interval,
)
from gnomon.errors import DataError, OptionError

SIZES = (9, 15, 30, 50, 100)
SPLITS = 100


def _coverages(rows: int, level: float = 0.9, splits: int = SPLITS, seed: int = 0) -> np.ndarray:
    """The exact coverage of each of many split-conformal rules: Φ of the threshold, no test rows needed."""
    rng = np.random.default_rng([seed, rows])
    noise = rng.normal(size=(splits, rows))
    halves = [split_interval(residuals, np.zeros(1), level)[1][0] for residuals in noise]
    return 2 * stats.norm.cdf(halves) - 1


@pytest.mark.parametrize("rows", SIZES)
def test_coverage_lies_in_its_beta_band_over_100_splits(rows: int) -> None:
    found = _coverages(rows)
    rank = conformal_rank(rows, 0.9)
    assert stats.kstest(found, stats.beta(rank, rows + 1 - rank).cdf).pvalue > 0.01 / len(SIZES)
    low, high = coverage_band(rows, 0.9, confidence=0.9)
    assert stats.binomtest(int(((low <= found) & (found <= high)).sum()), SPLITS, 0.9).pvalue > 0.01 / len(SIZES)


@pytest.mark.parametrize("rows", [*SIZES, *range(10, 23)])
def test_mean_coverage_lies_between_the_level_and_one_row_more(rows: int) -> None:
    """As MAPIE tests it: a t-test against both ends over 100 splits, Bonferroni over the sizes at 1 %."""
    found = _coverages(rows, seed=1)
    level = 0.01 / 18
    assert stats.ttest_1samp(found, 0.9, alternative="less").pvalue > level
    assert stats.ttest_1samp(found, 0.9 + 1 / (rows + 1), alternative="greater").pvalue > level
    assert mean_coverage(rows, 0.9) == pytest.approx(stats.beta.mean(conformal_rank(rows, 0.9), rows + 1 - conformal_rank(rows, 0.9)))


def test_what_goes_wrong_without_the_row_more() -> None:
    """The linear quantile of nine residuals covers 0.83 instead of 0.9 (sktime's table says 0.829); ours does not fall short."""
    rng = np.random.default_rng(2)
    noise = np.abs(rng.normal(size=(4000, 9)))
    plain = (2 * stats.norm.cdf(np.quantile(noise, 0.9, axis=1)) - 1).mean()
    assert plain == pytest.approx(0.829, abs=0.006)
    assert _coverages(9, splits=4000).mean() == pytest.approx(0.9, abs=0.006)


def test_the_measured_share_is_beta_binomial() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(1000):
        scores = rng.exponential(size=130)
        shares.append(np.mean(scores[50:] <= conformal_quantile(scores[:50], 0.9)))
    assert np.std(shares) == pytest.approx(coverage_error(50, 0.9, 80), rel=0.08)
    assert coverage_error(50, 0.9, 80) == pytest.approx(stats.betabinom(80, 46, 5).std() / 80)
    low, high = coverage_band(50, 0.9, 80, confidence=0.8)
    assert 0.78 <= np.mean((low <= np.array(shares)) & (np.array(shares) <= high)) <= 0.93
    p = [coverage_p(round(share * 80), 80, 50, 0.9) for share in shares]
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01
    assert coverage_p(56, 80, 50, 0.9) < 0.01 < coverage_p(73, 80, 50, 0.9)
    assert coverage_p(80, 80, 50, 0.9, two_sided=False) == 1.0


@pytest.mark.parametrize(("rows", "level", "rank"), [(9, 0.9, 9), (8, 0.9, 9), (19, 0.95, 19), (99, 0.55, 55), (1, 0.5, 1), (99, 0.07, 7)])
def test_ranks_are_exact_where_the_product_is_whole(rows: int, level: float, rank: int) -> None:
    assert conformal_rank(rows, level) == rank


def test_too_few_rows_give_infinite_intervals_and_whole_sets() -> None:
    low, high = split_interval(np.ones(8), np.zeros(3), 0.9)
    assert np.isinf(low).all() and np.isinf(high).all()
    low, high = jackknife_plus(np.ones(8), np.zeros((8, 3)), 0.9)
    assert np.isinf(low).all() and np.isinf(high).all()
    chances = np.full((8, 3), 1 / 3)
    assert class_sets(chances, np.zeros(8, int), chances, 0.9).all()
    assert coverage_band(8, 0.9) == (1.0, 1.0) and coverage_error(8, 0.9, 10) == 0 and coverage_p(5, 5, 8, 0.9) == 1.0


def test_normalised_intervals_are_as_wide_as_the_spread_says() -> None:
    rng = np.random.default_rng(4)
    spread = rng.uniform(0.1, 2, size=4000)
    truth = spread * rng.normal(size=4000)
    half, rest = slice(0, 2000), slice(2000, None)
    low, high = split_interval(truth[half], np.zeros(2000), 0.9, spread_calibration=spread[half], spread=spread[rest])
    inside = (low <= truth[rest]) & (truth[rest] <= high)
    assert np.allclose((high - low) / spread[rest], (high - low)[0] / spread[rest][0])
    wide = spread[rest] > 1
    assert inside[wide].mean() == pytest.approx(0.9, abs=0.03) and inside[~wide].mean() == pytest.approx(0.9, abs=0.03)
    low, high = split_interval(truth[half], np.zeros(2000), 0.9)
    plain = (low <= truth[rest]) & (truth[rest] <= high)
    assert plain[~wide].mean() > 0.97 > 0.87 > plain[wide].mean()


def test_weights_mend_a_shift_between_calibration_and_test_rows() -> None:
    """Spread grows with x; test rows lie where it is large. Unweighted intervals fall short, weighted ones do not."""
    rng = np.random.default_rng(5)
    plain, weighted = [], []
    for _ in range(60):
        x = rng.random(400)
        shifted = np.sqrt(rng.random(200))  # density 2x on [0, 1]
        noise, new = (1 + 4 * x) * rng.normal(size=400), (1 + 4 * shifted) * rng.normal(size=200)
        plain.append(np.mean(np.abs(new) <= conformal_quantile(np.abs(noise), 0.9)))
        weighted.append(np.mean(np.abs(new) <= conformal_quantile(np.abs(noise), 0.9, weight=2 * x, test_weight=2 * shifted)))
    assert np.mean(plain) < 0.87
    assert np.mean(weighted) == pytest.approx(0.9, abs=4 * np.std(weighted) / np.sqrt(60) + 1 / 150)


def test_equal_weights_change_nothing() -> None:
    scores = np.random.default_rng(6).exponential(size=37)
    for level in (0.5, 0.8, 0.9, 0.97, 0.99):
        one = conformal_quantile(scores, level)
        two = conformal_quantile(scores, level, weight=np.full(37, 0.3), test_weight=np.full(2, 0.3))
        assert two.tolist() == [one, one]


# ---- jackknife+ -----------------------------------------------------------------------------------------------------------


def _left_out(x: np.ndarray, y: np.ndarray, fold: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and predictions of straight lines fitted without each fold."""
    from sklearn.linear_model import LinearRegression

    residuals, predictions = np.empty(len(y)), []
    for k in range(fold.max() + 1):
        line = LinearRegression().fit(x[fold != k], y[fold != k])
        residuals[fold == k] = y[fold == k] - line.predict(x[fold == k])
        predictions.append(line.predict(at))
    return residuals, np.array(predictions)


def test_jackknife_plus_is_its_definition() -> None:
    rng = np.random.default_rng(7)
    residuals, predictions = rng.normal(size=23), rng.normal(size=(23, 5))
    low, high = jackknife_plus(residuals, predictions, 0.8)
    k = math.ceil(24 * 0.8)
    for j in range(5):
        assert high[j] == sorted(predictions[:, j] + abs(residuals))[k - 1]
        assert low[j] == sorted(predictions[:, j] - abs(residuals))[24 - k - 1]
    fold = np.arange(23) % 4
    with_folds = jackknife_plus(residuals, predictions[:4], 0.8, fold=fold)
    assert np.array_equal(np.stack(with_folds), np.stack(jackknife_plus(residuals, predictions[:4][fold], 0.8)))


def test_published_figures_of_mapie() -> None:
    """make_regression(500, 10, noise=1), level 0.95: jackknife+ covers .952 with width 3.90, CV+ .954 with 3.91."""
    from sklearn.datasets import make_regression

    x, y = make_regression(n_samples=500, n_features=10, noise=1.0, random_state=1)
    rows = np.arange(500)
    low, high = jackknife_plus(*_left_out(x, y, rows, x), 0.95)
    assert np.mean((low <= y) & (y <= high)) == pytest.approx(0.952, abs=0.003)
    assert np.mean(high - low) == pytest.approx(3.90, abs=0.02)
    fold = np.random.default_rng(1).permutation(500) % 5
    low, high = jackknife_plus(*_left_out(x, y, fold, x), 0.95, fold=fold)
    assert np.mean((low <= y) & (y <= high)) == pytest.approx(0.954, abs=0.006)
    assert np.mean(high - low) == pytest.approx(3.91, abs=0.05)


def test_jackknife_plus_covers_new_rows() -> None:
    rng, covered = np.random.default_rng(8), []
    for _ in range(100):
        x = rng.normal(size=(80, 3))
        y = x @ [1, 2, 3] + rng.standard_t(4, size=80)
        low, high = jackknife_plus(*_left_out(x[:40], y[:40], np.arange(40) % 8, x[40:]), 0.9, fold=np.arange(40) % 8)
        covered.append(np.mean((low <= y[40:]) & (y[40:] <= high)))
    assert np.mean(covered) == pytest.approx(0.9, abs=4 * np.std(covered) / 10 + 0.02)


# ---- classes ----------------------------------------------------------------------------------------------------------------


def _classified(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet([0.6, 0.5, 0.4, 0.3], size=rows)
    return chance, (rng.random((rows, 1)) > chance.cumsum(axis=1)).sum(axis=1).clip(0, 3)


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("rows", [9, 15, 50, 100])
def test_sets_cover_as_promised(method: str, rows: int) -> None:
    covered, sizes = [], []
    for seed in range(SPLITS):
        chance, truth = _classified(seed, rows + 200)
        shares = np.random.default_rng([seed, 1]) if method == "aps" else None
        made = class_sets(chance[:rows], truth[:rows], chance[rows:], 0.9, method=method, generator=shares)
        covered.append(made[np.arange(200), truth[rows:]].mean())
        sizes.append(made.sum(1).mean())
    error = np.std(covered, ddof=1) / np.sqrt(SPLITS)
    assert 0.9 - 3.5 * error <= np.mean(covered) <= 0.9 + 1 / (rows + 1) + 3.5 * error
    assert np.std(covered) == pytest.approx(coverage_error(rows, 0.9, 200), rel=0.3)
    assert 1 < np.mean(sizes) < 4


def test_lac_sets_are_smaller_and_aps_covers_hard_rows_better() -> None:
    chance, truth = _classified(0, 20_000)
    half = slice(0, 10_000)
    rest = slice(10_000, None)
    lac = class_sets(chance[half], truth[half], chance[rest], 0.8)
    aps = class_sets(chance[half], truth[half], chance[rest], 0.8, method="aps", generator=np.random.default_rng(0))
    hard = chance[rest].max(1) < 0.5
    rows = np.arange(10_000)
    assert lac.sum() < aps.sum()
    assert lac[rows, truth[rest]][hard].mean() != pytest.approx(0.8, abs=0.03)
    assert aps[rows, truth[rest]][hard].mean() == pytest.approx(0.8, abs=0.03)


def test_aps_scores_are_a_sum_down_to_the_class() -> None:
    chance = np.array([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8]])
    assert class_scores(chance, method="aps") == pytest.approx(np.array([[0.5, 1.0, 0.8], [0.9, 1.0, 0.8]]))
    u = np.random.default_rng(9).random((2, 1))
    expected = np.array([[0.0, 0.8, 0.5], [0.8, 0.9, 0.0]]) + u * chance
    assert class_scores(chance, method="aps", generator=np.random.default_rng(9)) == pytest.approx(expected)


# ---- bad input --------------------------------------------------------------------------------------------------------------


def test_bad_input_is_named() -> None:
    with pytest.raises(OptionError, match="between 0 and 1"):
        conformal_quantile(np.ones(5), 1.0)
    with pytest.raises(DataError, match="none missing"):
        conformal_quantile(np.array([np.nan]), 0.9)
    with pytest.raises(OptionError, match="test_weight="):
        conformal_quantile(np.ones(5), 0.9, weight=np.ones(5))
    with pytest.raises(DataError, match="not negative"):
        conformal_quantile(np.ones(5), 0.9, weight=-np.ones(5), test_weight=1.0)
    with pytest.raises(OptionError, match="both spreads"):
        split_interval(np.ones(5), np.ones(2), 0.9, spread=np.ones(2))
    with pytest.raises(DataError, match="positive number per row"):
        split_interval(np.ones(5), np.ones(2), 0.9, spread_calibration=np.zeros(5), spread=np.ones(2))
    with pytest.raises(DataError, match=r"predictions \(n, m\)"):
        jackknife_plus(np.ones(5), np.ones((4, 2)), 0.9)
    with pytest.raises(OptionError, match="lac, aps"):
        class_scores(np.ones((2, 2)), method="raps")
    with pytest.raises(DataError, match="class code"):
        class_sets(np.ones((2, 2)), np.array([0, 2]), np.ones((1, 2)), 0.5)
