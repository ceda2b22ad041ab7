"""Histograms against NumPy and SciPy, their choice of bins by brute force, and the inverse transform against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks.measures.histograms import Histogram, inverse_transform
from gnomon.errors import DataError


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("width", [1, 2])
def test_densities_equal_numpys(width: int, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, width))
    weight = rng.exponential(size=500) if weighted else None
    made = Histogram.fit(x, bins=7, weight=weight)
    density, edges = np.histogramdd(x, bins=7, weights=weight, density=True)
    volume = np.prod([e[1] - e[0] for e in edges])
    assert all(np.allclose(a, b) for a, b in zip(made.edges, edges, strict=True))
    assert np.allclose(made.masses, density * volume, atol=1e-12)
    with np.errstate(divide="ignore"):
        index = tuple(np.clip(np.searchsorted(e, v, side="right") - 1, 0, 6) for e, v in zip(edges, x.T, strict=True))
        assert np.allclose(made.log_prob(x), np.log(density[index]), atol=1e-9)
    assert (made.log_prob(x + 100) == -np.inf).all()


def test_log_prob_equals_scipys() -> None:
    x = np.random.default_rng(1).exponential(size=300)
    made = Histogram.fit(x[:, None], bins=12)
    peer = stats.rv_histogram(np.histogram(x, bins=12))
    points = np.random.default_rng(2).uniform(-1, 8, size=200)
    with np.errstate(divide="ignore"):
        assert np.allclose(made.log_prob(points[:, None]), peer.logpdf(points), atol=1e-9)


def test_the_coin() -> None:
    tosses = np.array([1.0] * 30 + [0.0] * 70)[:, None]
    made = Histogram.fit(tosses, bins=2, low=-0.5, high=1.5)
    assert np.allclose(np.exp(made.log_prob([[0.0], [1.0]])), [0.7, 0.3])


def test_the_number_of_bins_is_the_best_by_leaving_one_out() -> None:
    x = np.random.default_rng(0).normal(size=(200, 1))
    made = Histogram.fit(x)

    def left_out(bins: int) -> float:
        total = 0.0
        for i in range(len(x)):
            one = Histogram.fit(np.delete(x, i, axis=0), bins=bins, low=x.min(), high=x.max(), smoothing=0.5)
            total += one.log_prob(x[i : i + 1])[0]
        return total

    chosen = len(made.masses)
    assert 4 <= chosen <= 30
    assert left_out(chosen) >= max(left_out(bins) for bins in (1, 2, 4, 8, 16, 32, 64)) - 1e-9


def test_conditional_bins_are_chosen_for_the_conditional_density() -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(0, 2, size=2000) + 0.01 * rng.random(2000)
    x = np.stack([given, rng.normal(size=2000)], axis=1)
    made = Histogram.fit(x, given=1)
    conditional = made.log_prob(x) - made.marginal(1).log_prob(x[:, :1])
    assert conditional.mean() == pytest.approx(-0.5 * np.log(2 * np.pi * np.e), abs=0.05)
    assert made.masses.sum() == pytest.approx(1) and np.allclose(made.marginal(1).masses, made.masses.sum(axis=1))


@pytest.mark.parametrize("width", [1, 2])
def test_samples_follow_the_bins(width: int) -> None:
    made = Histogram.fit(np.random.default_rng(0).exponential(size=(400, width)), bins=5)
    x = made.sample(20_000, np.random.default_rng(1))
    again = Histogram.fit(x, bins=5, low=[e[0] for e in made.edges], high=[e[-1] for e in made.edges])
    assert stats.chisquare(again.masses.ravel()[made.masses.ravel() > 0], made.masses.ravel()[made.masses.ravel() > 0]).pvalue > 0.01
    inside = (x[:, 0] - made.edges[0][0]) / (made.edges[0][1] - made.edges[0][0]) % 1
    assert stats.kstest(inside, "uniform").pvalue > 0.01


def test_the_inverse_transform_inverts() -> None:
    u = np.random.default_rng(0).random(2000)
    grid = np.linspace(0, 40, 40_001)
    assert np.allclose(inverse_transform(u, grid, np.exp(-grid)), -np.log1p(-u), atol=1e-5)
    line = np.linspace(-9, 9, 20_001)
    assert np.allclose(inverse_transform(u, line, 7 * np.exp(-(line**2) / 2)), stats.norm.ppf(u), atol=1e-5)


def test_the_inverse_transform_never_lands_where_there_is_no_density() -> None:
    places, density = np.array([0.0, 1.0, 1.5, 2.0, 3.0]), np.array([1.0, 0.0, 0.0, 0.0, 1.0])
    x = inverse_transform(np.linspace(0, 1, 1001), places, density)
    assert (np.diff(x) > 0).all() or (np.diff(x) >= 0).all()
    assert not ((x > 1 + 1e-9) & (x < 2 - 1e-9)).any()
    assert x[0] == 0 and x[-1] == pytest.approx(3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="one or two columns; got 3"):
        Histogram.fit(np.random.default_rng(0).normal(size=(9, 3)))
    with pytest.raises(DataError, match="must have a width"):
        Histogram.fit(np.zeros((9, 1)))
    with pytest.raises(DataError, match="rising places"):
        inverse_transform([0.5], [0.0, 0.0], [1.0, 1.0])
    with pytest.raises(DataError, match="negative"):
        inverse_transform([0.5], [0.0, 1.0], [1.0, -1.0])
