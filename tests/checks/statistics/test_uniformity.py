"""Kuiper's distance against a loop over intervals and simulated nulls: p-values are uniform, errors cover, with weights and for ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Effort
from gnomon.checks.statistics.uniformity import Uniformity, kuiper_draws, kuiper_p, largest_of, uniformities

Made = tuple[list[np.ndarray], np.ndarray | None, int | None]


def _importance(rng: np.random.Generator) -> Made:
    """Numbers drawn too wide and weighted back."""
    x = 1.4 * rng.normal(size=500)
    return [stats.norm.cdf(x), rng.random(500)], np.exp(-0.5 * x**2 * (1 - 1 / 1.96)), None


WORLDS: dict[str, Callable[[np.random.Generator], Made]] = {
    "numbers": lambda rng: ([rng.random(150), rng.random(150)], None, None),
    "ranks": lambda rng: ([rng.integers(0, 64, 150), rng.integers(0, 64, 150)], None, 64),
    "few ranks": lambda rng: ([rng.integers(0, 8, 150)], None, 8),
    "weighted numbers": _importance,
    "weighted ranks": lambda rng: ([rng.integers(0, 64, 400), rng.integers(0, 64, 400)], rng.exponential(size=400), 64),
}


def _repeats(world: str, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """P-values of the first set, and whether its null lies within one error of its value."""
    p, covered = [], []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        sets, weight, levels = WORLDS[world](rng)
        made = uniformities(sets, weight, rng, Effort(draws=199, more_draws=0), levels=levels)[0]
        p.append(made.p)
        covered.append(abs(made.value - made.null) <= made.error)
    return np.array(p), np.array(covered)


@pytest.mark.parametrize("world", WORLDS)
def test_p_is_uniform_and_errors_cover(world: str) -> None:
    p, covered = _repeats(world, 60)
    assert stats.kstest(p, "uniform").pvalue > 0.05 / len(WORLDS), sorted(p)
    assert 0.5 <= covered.mean() <= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_is_uniform_and_errors_cover_in_400_repeats(world: str) -> None:
    p, covered = _repeats(world, 400)
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.05 / len(WORLDS)
    assert 0.58 <= covered.mean() <= 0.78


@pytest.mark.parametrize("weighted", [False, True])
def test_the_value_is_the_largest_difference_of_any_interval(weighted: bool) -> None:
    rng = np.random.default_rng(3)
    u = rng.beta(2, 1.5, size=40)
    weight = rng.exponential(size=40) if weighted else None
    share = np.full(40, 1 / 40) if weight is None else weight / weight.sum()
    ends = np.concatenate([[0.0], np.sort(u), np.nextafter(np.sort(u), 0), [1.0]])
    largest = max(abs(share[(u > a) & (u <= b)].sum() - (b - a)) for a in ends for b in ends if b > a)
    made = uniformities([u], weight, rng, Effort(draws=49, more_draws=0))[0]
    assert made.value == pytest.approx(largest, abs=1e-9)


def test_the_law_is_that_of_simulated_numbers() -> None:
    x = np.sort(np.random.default_rng(1).random((4000, 50)), axis=1)
    steps = np.arange(1, 51) / 50
    values = (steps - x).max(axis=1) + (x - steps + 1 / 50).max(axis=1)
    for p in (0.3, 0.1, 0.02):
        assert np.mean(kuiper_p(values, 50) <= p) == pytest.approx(p, abs=3 * np.sqrt(p / 4000) + 0.02 * p)
    assert kuiper_draws(50).mean() == pytest.approx(values.mean(), rel=0.02)
    assert kuiper_draws(50, 8).mean() == pytest.approx(values.reshape(500, 8).max(axis=1).mean(), rel=0.02)
    assert largest_of(0.01, 20) == pytest.approx(1 - 0.99**20)


def _far(seed: int, weighted: bool, levels: int | None) -> Uniformity:
    rng = np.random.default_rng(seed)
    u = rng.beta(2.5, 2.5, size=300)
    sets = [u if levels is None else np.floor(u * levels).astype(np.intp)]
    return uniformities(sets, rng.exponential(size=300) if weighted else None, rng, Effort(draws=99, more_draws=0), levels=levels)[0]


@pytest.mark.parametrize(("weighted", "levels"), [(False, None), (True, None), (False, 32), (True, 32)])
def test_far_from_uniform_the_error_is_that_of_repetition(weighted: bool, levels: int | None) -> None:
    made = [_far(seed, weighted, levels) for seed in range(150)]
    assert np.median([one.error for one in made]) == pytest.approx(np.std([one.value for one in made]), rel=0.25)
    assert max(one.p for one in made) < (0.05 if weighted else 1e-3)


def test_p_of_ranks_is_not_bound_by_the_number_of_draws() -> None:
    ranks = np.random.default_rng(0).binomial(63, 0.6, size=400)
    assert uniformities([ranks], None, np.random.default_rng(0), Effort(draws=99, more_draws=0), levels=64)[0].p < 1e-12


def test_bands_hold_the_curves_of_uniform_numbers() -> None:
    inside = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        made = uniformities([rng.integers(0, 64, 300)], None, rng, Effort(draws=99, more_draws=0), levels=64)[0]
        inside.append(np.abs(made.curve).max() <= made.band)
    assert 0.9 <= np.mean(inside) <= 0.99
