"""Unfolding: a learned ratio against the true one, closure on Gaussians against exact iterations, weights, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.errors import DataError, OptionError
from gnomon.training.unfolding import density_ratio, unfold

QUICK = {"epochs": 8}


def test_a_learned_ratio_is_the_true_one() -> None:
    rng = np.random.default_rng(0)
    above, below = rng.normal(0.5, 1, (20_000, 1)), rng.normal(0, 1, (20_000, 1))
    points = np.linspace(-1.5, 2, 15)[:, None]
    found = np.log(density_ratio(above, below, settings=QUICK)(points))
    np.testing.assert_allclose(found, 0.5 * points[:, 0] - 0.125, atol=0.12)
    weighted = density_ratio(below, below, numerator_weight=np.exp(0.5 * below[:, 0]), settings=QUICK)
    np.testing.assert_allclose(np.log(weighted(points)), 0.5 * points[:, 0] - 0.125, atol=0.12)
    uneven = density_ratio(above[:4000], below, settings=QUICK)  # sizes of the sides do not count
    assert abs(np.log(uneven([[0.25]])))[0] < 0.12


def test_closure_on_gaussians() -> None:
    rng = np.random.default_rng(0)
    true, truth = rng.normal(0, 1, (20_000, 1)), rng.normal(-0.5, 1.2, (20_000, 1))
    measured, simulated = (events + 0.5 * rng.normal(size=events.shape) for events in (true, truth))
    made = unfold(truth, simulated, measured, iterations=3, settings=QUICK)
    assert made.history.shape == (3, 20_000) and np.array_equal(made.history[-1], made.weight)
    assert made.weight.mean() == pytest.approx(1) and 0.3 < made.effective / 20_000 < 1
    mean = np.average(truth[:, 0], weights=made.weight)
    assert abs(mean) < 0.05 and abs(np.sqrt(np.average((truth[:, 0] - mean) ** 2, weights=made.weight)) - 1) < 0.05


def test_a_background_is_taken_off_by_negative_weights() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (8000, 1))
    simulated = truth + 0.3 * rng.normal(size=truth.shape)
    signal, background = rng.normal(0, np.sqrt(1.09), (8000, 1)), rng.normal(2, 0.5, (2000, 1))
    expected = rng.normal(2, 0.5, (2000, 1))
    measured, weight = np.concatenate([signal, background, expected]), np.repeat([1.0, -1.0], [10_000, 2000])
    made = unfold(truth, simulated, measured, iterations=1, measured_weight=weight, settings=QUICK)
    assert abs(np.average(truth[:, 0], weights=made.weight)) < 0.08


def test_what_cannot_be_is_refused_by_name() -> None:
    rows = np.zeros((5, 2))
    with pytest.raises(DataError, match="pairs and must have as many rows; got 5 and 4"):
        unfold(rows, rows[:4], rows)
    with pytest.raises(DataError, match="same columns; got 2 and 1"):
        unfold(rows, rows, rows[:, :1])
    with pytest.raises(DataError, match=r"measured wants rows and columns, an array \(n, D\); got shape \(5,\)"):
        unfold(rows, rows, rows[:, 0])
    with pytest.raises(OptionError, match="iterations wants a whole number of 1 or more; got 0"):
        unfold(rows, rows, rows, iterations=0)
    with pytest.raises(DataError, match="weights of numerator sum to 0; they must sum to more than 0"):
        density_ratio(rows, rows, numerator_weight=np.zeros(5))
    with pytest.raises(DataError, match=r"numerator has 5 rows and wants as many weights; got shape \(4,\)"):
        density_ratio(rows, rows, numerator_weight=np.zeros(4))
