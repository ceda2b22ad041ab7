"""Ranks and coverage against loops over rows, and on Gaussian posteriors that are right, too narrow, or shifted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks.measures.simulation import distance_ranks, sbc_ranks, tarp_coverage
from gnomon.errors import DataError


def posterior(
    seed: int, rows: int = 1000, draws: int = 63, narrower: float = 1.0, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Condition, truth and draws of: theta ~ N(0, 1)², x = theta + noise, whose posterior is N(x/2, 1/2)."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(rows, 2))
    x = theta + rng.normal(size=(rows, 2))
    samples = x[:, None] / 2 + shift + narrower * np.sqrt(0.5) * rng.normal(size=(rows, draws, 2))
    return x, theta, samples


def test_ranks_equal_a_loop_and_ties_are_shared_out() -> None:
    _, truth, samples = posterior(0, 200, 20)
    made = sbc_ranks(truth, samples, np.random.default_rng(0))
    assert (made == [[sum(samples[i, :, d] < truth[i, d]) for d in range(2)] for i in range(200)]).all()
    coins = np.random.default_rng(1).integers(0, 2, size=(6000, 8, 1)).astype(float)
    tied = sbc_ranks(coins[:, 0], coins[:, 1:], np.random.default_rng(2))[:, 0]
    assert stats.chisquare(np.bincount(tied, minlength=8)).pvalue > 0.001


def test_distance_ranks_equal_a_loop() -> None:
    _, truth, samples = posterior(1, 150, 30)
    references = np.random.default_rng(0).normal(size=(150, 2))
    made = distance_ranks(truth, samples, references, np.random.default_rng(0))
    for i in range(150):
        own = np.linalg.norm(truth[i] - references[i])
        assert made[i] == sum(np.linalg.norm(one - references[i]) < own for one in samples[i])
    credibility, coverage = tarp_coverage(truth, samples, references, levels=10)
    assert np.allclose(coverage[1:], [np.mean(made / 30 < level) for level in credibility[1:]])
    assert coverage[0] == 0 and credibility[-1] == 1


def test_a_right_posterior_is_calibrated_and_a_narrow_one_is_not() -> None:
    for narrower, calibrated in ((1.0, True), (0.8, False), (1.25, False)):
        x, truth, samples = posterior(2, 3000, narrower=narrower)
        rng = np.random.default_rng(3)
        references = 3 * rng.normal(size=x.shape)
        for ranks in (sbc_ranks(truth, samples, rng)[:, 0], distance_ranks(truth, samples, references, rng)):
            p = stats.chisquare(np.bincount(ranks // 8, minlength=8)).pvalue
            assert (p > 0.005) if calibrated else (p < 1e-4), (narrower, p)
        credibility, coverage = tarp_coverage(truth, samples, references)
        bulge = (coverage - credibility)[len(credibility) // 4]
        assert abs(bulge) < 0.025 if calibrated else np.sign(bulge) == (1 if narrower < 1 else -1)


def test_a_shift_moves_the_ranks() -> None:
    _, truth, samples = posterior(4, shift=0.3)
    assert sbc_ranks(truth, samples, np.random.default_rng(0)).mean() < 0.4 * 63


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DataError, match=r"drawn ones \(n, L, D\); got \(5, 2\) and \(4, 3, 2\)"):
        sbc_ranks(np.zeros((5, 2)), np.zeros((4, 3, 2)), np.random.default_rng(0))
    with pytest.raises(DataError, match="reference point"):
        tarp_coverage(np.zeros((5, 2)), np.zeros((5, 3, 2)), np.zeros((4, 2)))
