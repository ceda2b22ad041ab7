"""Exact and entropic transport: against POT, closed forms and the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.checks.measures import transport
from gnomon.checks.measures.sinkhorn import Pace, entropic_transport, sinkhorn_divergence, sinkhorn_divergences
from gnomon.checks.measures.transport import Transport, distances, earth_mover, exact_transport
from gnomon.errors import DataError, OptionError

ot = pytest.importorskip("ot")


def _problem(seed: int, rows: tuple[int, int], which: str) -> tuple[np.ndarray, np.ndarray, tuple]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows[0], 3)), 1.3 * rng.normal(size=(rows[1], 3)) + 0.2
    return x, y, tuple(rng.exponential(size=n) if side in which else None for n, side in zip(rows, "xy", strict=True))


def _shares(weights: tuple, rows: tuple[int, int]) -> list[np.ndarray]:
    return [np.full(n, 1 / n) if w is None else w / w.sum() for w, n in zip(weights, rows, strict=True)]


def _is_optimal(found: Transport, cost: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    assert np.allclose(found.plan.sum(axis=1), first) and np.allclose(found.plan.sum(axis=0), second)
    assert (found.plan >= -1e-12).all() and (found.plan * cost).sum() == pytest.approx(found.cost, abs=1e-9)
    assert (found.first[:, None] + found.second <= cost + 1e-8).all()  # potentials are feasible, and pay as much as the plan costs
    assert first @ found.first + second @ found.second == pytest.approx(found.cost, abs=1e-8)


PROBLEMS = [((60, 60), ""), ((60, 40), ""), ((60, 60), "x"), ((50, 70), "xy")]


@pytest.mark.parametrize(("rows", "which"), PROBLEMS)
@pytest.mark.parametrize("pot", [True, False])
def test_exact_transport_agrees_with_pot_and_is_optimal(rows: tuple, which: str, pot: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "has_pot", lambda: pot)
    x, y, weights = _problem(0, rows, which)
    shares, cost = _shares(weights, rows), distances(x, y)
    assert earth_mover(x, y, weights=weights) == pytest.approx(float(ot.emd2(*shares, cost)), abs=1e-9)
    _is_optimal(exact_transport(cost, weights), cost, *shares)


def test_without_pot_large_weighted_problems_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "has_pot", lambda: False)
    rows = np.random.default_rng(1).normal(size=(401, 1))
    with pytest.raises(OptionError, match="pip install pot"):
        earth_mover(rows, rows[:100])
    assert earth_mover(rows, rows + 2.0) == pytest.approx(2.0)


def test_rows_moved_together_move_by_the_shift() -> None:
    x = np.random.default_rng(2).normal(size=(50, 3))
    assert earth_mover(x, x[::-1] + np.array([3.0, 0.0, 4.0])) == pytest.approx(5.0)
    assert earth_mover(x, x) == 0.0


@pytest.mark.parametrize(("rows", "which"), PROBLEMS)
@pytest.mark.parametrize("epsilon", [0.4, 5.0])
def test_entropic_transport_agrees_with_pot(rows: tuple, which: str, epsilon: float) -> None:
    x, y, weights = _problem(3, rows, which)
    (a, b), cost = _shares(weights, rows), distances(x, y, squared=True)
    plan = ot.bregman.sinkhorn_log(a, b, cost, epsilon, numItermax=100_000, stopThr=1e-13)
    theirs = (plan * cost).sum() + epsilon * (plan * np.log(plan / (a[:, None] * b))).sum()
    found = entropic_transport(cost, epsilon=epsilon, weights=weights)
    assert found.cost == pytest.approx(float(theirs), abs=1e-9)
    assert np.abs(found.plan - plan).max() < 1e-7


def test_the_divergence_agrees_with_pots_converged_plans() -> None:
    x, y, weights = _problem(4, (60, 50), "x")
    (a, b), epsilon = _shares(weights, (60, 50)), 3.0

    def theirs(one: np.ndarray, other: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
        cost = distances(one, other, squared=True)
        plan = ot.bregman.sinkhorn_log(first, second, cost, epsilon, numItermax=10_000, stopThr=1e-10)
        return float((plan * cost).sum() + epsilon * (plan * np.log(plan / (first[:, None] * second))).sum())

    wanted = theirs(x, y, a, b) - theirs(x, x, a, a) / 2 - theirs(y, y, b, b) / 2
    assert sinkhorn_divergence(x, y, epsilon=epsilon, weights=weights) == pytest.approx(wanted, abs=1e-8)


def test_the_divergence_goes_from_w2_to_the_distance_of_the_means() -> None:
    x, y, _ = _problem(5, (40, 40), "")
    w2 = exact_transport(distances(x, y, squared=True)).cost
    assert sinkhorn_divergence(x, y, epsilon=0.005, tolerance=1e-4) == pytest.approx(w2, rel=0.02)
    assert sinkhorn_divergence(x, y, epsilon=1e5) == pytest.approx(np.square(x.mean(axis=0) - y.mean(axis=0)).sum(), rel=1e-3)
    assert sinkhorn_divergence(x, x, epsilon=0.3) == 0.0
    assert sinkhorn_divergence(x, x + 100.0, epsilon=0.3) == pytest.approx(3e4, rel=1e-6)  # no overflow, however far


def test_lonely_rows_do_not_hold_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of each side far from all others: with plain steps the mass missed falls like one in their number."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    x[0], y[0] = [7.0, 0.0], [7.5, 0.5]
    assert sinkhorn_divergence(x, y, epsilon=0.6, tolerance=2e-5, iterations=1200) > 0
    monkeypatch.setattr(Pace, "judge", lambda self, missed: None)
    with pytest.raises(OptionError, match="after 1200 steps"):
        sinkhorn_divergence(x, y, epsilon=0.6, tolerance=2e-5, iterations=1200)


def test_many_weightings_at_once_are_one_after_the_other() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(80, 2))
    cost = distances(rows, rows, squared=True)
    first, second = (rng.exponential(size=(80, 5)) * (rng.random((80, 5)) < 0.5) for _ in range(2))
    first, second = first / first.sum(axis=0), second / second.sum(axis=0)
    made = sinkhorn_divergences(cost, first, second, epsilon=0.5, tolerance=1e-6)
    wanted = [sinkhorn_divergence(rows, rows, epsilon=0.5, weights=pair) for pair in zip(first.T, second.T, strict=True)]
    assert np.allclose(made, wanted, rtol=0, atol=1e-7)


def test_what_does_not_converge_is_an_error_that_says_what_to_do() -> None:
    x, y, _ = _problem(8, (30, 30), "")
    with pytest.raises(OptionError, match=r"misses .* after 5 steps .*raise epsilon above 0.01, iterations or tolerance"):
        sinkhorn_divergence(x, y, epsilon=0.01, iterations=5)
    with pytest.raises(OptionError, match="epsilon must be above 0"):
        sinkhorn_divergence(x, y, epsilon=0.0)
    with pytest.raises(DataError, match="x has 3 columns and y has 2"):
        earth_mover(x, y[:, :2])
    with pytest.raises(DataError, match="only mass can be moved"):
        earth_mover(x, y, weights=(-np.ones(30), None))
