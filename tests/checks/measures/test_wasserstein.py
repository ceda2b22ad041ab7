"""Wasserstein distances on a line and sliced ones: against SciPy, POT and closed forms."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from gnomon.checks.measures.wasserstein import directions, projected, quantiles, rising, sliced_wasserstein, wasserstein
from gnomon.errors import DataError, OptionError

ot = pytest.importorskip("ot")


def _pair(rng: np.random.Generator, rows: tuple[int, int], width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(rows[0], width)), 1.3 * rng.normal(size=(rows[1], width)) + 0.2


def _weights(rng: np.random.Generator, rows: tuple[int, int], which: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    return tuple(rng.exponential(size=n) * 7 if side in which else None for n, side in zip(rows, "xy", strict=True))  # type: ignore[return-value]


def _shares(weights: tuple[np.ndarray | None, np.ndarray | None]) -> list[np.ndarray | None]:
    return [None if w is None else w / w.sum() for w in weights]


@pytest.mark.parametrize("rows", [(200, 200), (200, 131)])
@pytest.mark.parametrize("which", ["", "x", "xy"])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_distances_on_a_line_agree_with_pot_and_scipy(rows: tuple[int, int], which: str, p: int) -> None:
    rng = np.random.default_rng(0)
    x, y = (np.round(side[:, 0], 1) for side in _pair(rng, rows))  # with ties
    weights = _weights(rng, rows, which)
    made = wasserstein(x, y, p=p, weights=weights)
    assert made == pytest.approx(float(ot.wasserstein_1d(x, y, *_shares(weights), p=p)) ** (1 / p), abs=1e-9)
    if p == 1:
        assert made == pytest.approx(stats.wasserstein_distance(x, y, *weights), abs=1e-9)


@pytest.mark.parametrize("rows", [(200, 200), (200, 131)])
@pytest.mark.parametrize("which", ["", "y", "xy"])
@pytest.mark.parametrize("p", [1, 2])
def test_sliced_distances_agree_with_pot_along_the_same_directions(rows: tuple[int, int], which: str, p: int) -> None:
    rng = np.random.default_rng(1)
    x, y = _pair(rng, rows)
    weights, along = _weights(rng, rows, which), directions(4, 10, rng)
    theirs = ot.sliced_wasserstein_distance(x, y, *_shares(weights), projections=along, p=p)
    assert sliced_wasserstein(x, y, projections=along, p=p, weights=weights) == pytest.approx(float(theirs), abs=1e-9)


def test_whole_weights_are_repetitions() -> None:
    rng = np.random.default_rng(2)
    x, y = _pair(rng, (40, 60))
    weight = rng.integers(0, 4, size=40)
    repeated = np.repeat(x, weight, axis=0)
    made = sliced_wasserstein(x, y, weights=(weight.astype(float), None))
    assert made == pytest.approx(sliced_wasserstein(repeated, y), abs=1e-12)


def test_gaussians_have_the_distance_of_their_formula() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40_000, 3)), 1.5 * rng.normal(size=(40_000, 3)) + np.array([0.6, 0.0, 0.0])
    assert sliced_wasserstein(x, y, projections=63) == pytest.approx(np.sqrt(0.6**2 / 3 + 0.5**2), abs=0.02)
    assert wasserstein(x[:, 0], y[:, 1] / 1.5 + 0.6) == pytest.approx(0.6, abs=0.03)


def test_directions_are_orthogonal_sets_and_uniform_on_the_sphere() -> None:
    made = directions(3, 6000, np.random.default_rng(4))
    assert np.allclose(np.linalg.norm(made, axis=0), 1)
    assert np.allclose(made[:, :3].T @ made[:, :3], np.eye(3))
    assert np.allclose(made @ made.T / 6000, np.eye(3) / 3)  # full sets: exact
    for one in made:  # a coordinate of a uniform direction in three dimensions is uniform
        assert stats.kstest(one, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert directions(1, 64, np.random.default_rng(0)).shape == (1, 1)
    assert directions(5, 7, np.random.default_rng(0)).shape == (5, 7)


def test_seeds_repeat_and_leave_the_users_state_alone() -> None:
    x, y = _pair(np.random.default_rng(5), (50, 60))
    state = np.random.get_state()[1].copy()
    assert sliced_wasserstein(x, y, seed=1) == sliced_wasserstein(x, y, seed=1) != sliced_wasserstein(x, y, seed=2)
    assert (np.random.get_state()[1] == state).all()


def test_falling_shares_are_held_level() -> None:
    assert rising(np.array([2.0, 1.0, -1.0, 4.0])).tolist() == [0.5, 0.5, 0.5, 1.0]
    ((values, reached),) = projected(np.array([[3.0], [1.0], [2.0]]), np.ones((1, 1)), np.array([1.0, 1.0, -0.5]))
    assert values.tolist() == [1.0, 2.0, 3.0] and np.allclose(reached, [2 / 3, 2 / 3, 1.0])
    assert quantiles(values, reached, np.array([0.1, 0.6, 0.7, 1.0])).tolist() == [1.0, 1.0, 3.0, 3.0]


def test_memory_is_a_few_directions_at_a_time() -> None:
    rng = np.random.default_rng(6)
    x, y = (rng.normal(size=(300_000, 4)) for _ in range(2))
    tracemalloc.start()
    sliced_wasserstein(x, y, projections=40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6, peak  # all directions at once would take 192e6


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (dict(x=np.zeros((3, 2)), y=np.zeros((3, 1))), DataError, "x has 2 columns and y has 1"),
        (dict(x=np.zeros((0, 2)), y=np.zeros((3, 2))), DataError, r"x has shape \(0, 2\)"),
        (dict(x=np.zeros(3), y=np.zeros((3, 2))), DataError, r"expected \(rows, columns\)"),
        (dict(x=np.full((3, 2), np.nan), y=np.zeros((3, 2))), DataError, "x holds missing"),
        (dict(x=np.zeros((3, 2)), y=np.zeros((3, 2)), weights=(None, [1, 2])), DataError, r"weights of y have shape \(2,\)"),
        (dict(x=np.zeros((3, 2)), y=np.zeros((3, 2)), weights=([1, -1, 2], None)), DataError, "only mass can be moved"),
        (dict(x=np.zeros((3, 2)), y=np.zeros((3, 2)), p=0.5), OptionError, "p must be at least 1"),
        (dict(x=np.zeros((3, 2)), y=np.zeros((3, 2)), projections=0), OptionError, "projections must be at least 1"),
        (dict(x=np.zeros((3, 2)), y=np.zeros((3, 2)), projections=np.ones((3, 2))), OptionError, r"expected \(2, directions\)"),
    ],
)
def test_bad_input_is_named(arguments: dict, error: type[Exception], text: str) -> None:
    x, y = arguments.pop("x"), arguments.pop("y")
    with pytest.raises(error, match=text):
        sliced_wasserstein(x, y, **arguments)
