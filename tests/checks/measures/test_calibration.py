"""Calibration curves, the Brier score and predictive normal distributions, against scikit-learn, SciPy and direct integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn import metrics
from sklearn.calibration import calibration_curve as reference_curve

from gnomon.checks.measures.calibration import (
    brier,
    brier_parts,
    calibration_curve,
    climatology_crps,
    equal_mass_bins,
    normal_crps,
    normal_pit,
    uniform_distance,
    wilson,
)
from gnomon.errors import DataError


def _said(rows: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    chance = rng.beta(1.5, 1.0, size=rows)
    return chance, (rng.random(rows) < chance**1.3).astype(int)


def test_the_curve_is_scikit_learn_s() -> None:
    chance, came = _said()
    made = calibration_curve(chance, came, bins=10)
    truth, said = reference_curve(came, chance, n_bins=10, strategy="quantile")
    assert made.accuracy == pytest.approx(truth) and made.confidence == pytest.approx(said)
    assert made.ece == pytest.approx(np.abs(truth - said).mean()) and made.mce == pytest.approx(np.abs(truth - said).max())
    assert made.share.sum() == pytest.approx(1) and (made.low <= made.accuracy).all() and (made.accuracy <= made.high).all()


def test_weights_are_repeated_rows() -> None:
    chance, came = _said(90)
    counts = np.random.default_rng(1).integers(1, 4, size=90)
    bins = equal_mass_bins(chance, 1)
    assert not bins.any()
    one = brier_parts(chance, came, bins=1, weight=counts.astype(float))
    two = brier_parts(np.repeat(chance, counts), np.repeat(came, counts), bins=1)
    assert one == pytest.approx(two)
    weighted = calibration_curve(chance, came, bins=1, weight=counts.astype(float))
    assert weighted.ece == pytest.approx(calibration_curve(np.repeat(chance, counts), np.repeat(came, counts), bins=1).ece)


def test_equal_confidences_share_a_bin() -> None:
    chance = np.repeat([0.1, 0.5, 0.9], [50, 3, 47])
    assert len(np.unique(equal_mass_bins(chance, 10)[:50])) == 1
    assert equal_mass_bins(np.full(30, 0.7)).tolist() == [0] * 30


@pytest.mark.parametrize("rows", [12, 60])
def test_wilson_covers(rows: int) -> None:
    rng = np.random.default_rng(2)
    share = rng.binomial(rows, 0.85, size=4000) / rows
    low, high = wilson(share, rows, 0.95)
    assert 0.93 <= np.mean((low <= 0.85) & (high >= 0.85)) <= 0.98
    wanted = stats.binomtest(9, 12).proportion_ci(0.9, method="wilson")
    assert (float(wilson(9 / 12, 12, 0.9)[0]), float(wilson(9 / 12, 12, 0.9)[1])) == pytest.approx((wanted.low, wanted.high))


def test_brier_is_scikit_learn_s_and_its_parts_add_up() -> None:
    chance, came = _said()
    weight = np.random.default_rng(3).exponential(size=len(chance))
    for w in (None, weight):
        half = metrics.brier_score_loss(came, chance, sample_weight=w)
        assert brier(np.stack([1 - chance, chance], axis=1), came, w).value == pytest.approx(2 * half)
        parts = brier_parts(chance, came, weight=w)
        assert parts.score == pytest.approx(half)
        assert parts.reliability - parts.resolution + parts.uncertainty + parts.within == pytest.approx(parts.score, abs=1e-12)
    made = [brier(np.stack([1 - c, c], axis=1), y).value for c, y in (_said(300, seed) for seed in range(300))]
    assert brier(np.stack([1 - chance, chance], axis=1)[:300], came[:300]).error == pytest.approx(np.std(made), rel=0.15)


def test_crps_of_a_normal_is_its_integral() -> None:
    for truth, mean, spread in ((0.3, 0.0, 1.0), (5.0, 1.0, 0.5), (-2.0, 2.0, 3.0)):
        law = stats.norm(mean, spread)
        below = integrate.quad(lambda x, law=law: law.cdf(x) ** 2, -60, truth, limit=200)[0]
        above = integrate.quad(lambda x, law=law: law.sf(x) ** 2, truth, 60, limit=200)[0]
        assert normal_crps(np.array([truth]), np.array([mean]), np.array([spread]))[0] == pytest.approx(below + above, abs=1e-7)
    assert normal_crps(np.array([3.0]), np.array([1.0]), np.array([1e-9]))[0] == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_crps_of_the_climatology_is_a_double_sum(weighted: bool) -> None:
    rng = np.random.default_rng(4)
    truth, weight = rng.normal(50, 2, size=80).round(1), rng.exponential(size=80) if weighted else None
    share = np.full(80, 1 / 80) if weight is None else weight / weight.sum()
    distance = np.abs(truth[:, None] - truth)
    assert climatology_crps(truth, weight) == pytest.approx(distance @ share - 0.5 * share @ distance @ share, abs=1e-12)


def test_pit_and_its_distance_are_scipy_s() -> None:
    rng = np.random.default_rng(5)
    truth, mean, spread = rng.normal(size=(3, 50)) + [[0], [0], [5]]
    pit = normal_pit(truth, mean, spread)
    assert pit == pytest.approx(stats.norm(mean, spread).cdf(truth))
    wanted = stats.kstest(pit, "uniform")
    assert uniform_distance(pit) == pytest.approx((wanted.statistic, wanted.statistic_location))
    counts = rng.integers(1, 4, size=50)
    assert uniform_distance(pit, counts.astype(float))[0] == pytest.approx(stats.kstest(np.repeat(pit, counts), "uniform").statistic)


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        calibration_curve(np.array([1.2]), np.array([1]))
    with pytest.raises(DataError, match="per row"):
        calibration_curve(np.array([0.2]), np.array([1, 0]))
    with pytest.raises(DataError, match="negative"):
        brier_parts(np.array([0.2, 0.4]), np.array([1, 0]), weight=np.array([1.0, -1.0]))
    with pytest.raises(DataError, match="not above 0"):
        normal_crps(np.zeros(2), np.zeros(2), np.array([1.0, 0.0]))
