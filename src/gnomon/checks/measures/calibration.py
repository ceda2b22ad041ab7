"""Whether predicted chances mean what they say: calibration curves and errors, the Brier score, and predictive normal distributions.

Formulas on arrays; what a calibrated model would get at the same size is found by the statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.measures.estimate import Estimate, Floats
from gnomon.errors import DataError

BINS = 15
"""Bins of a calibration curve, if there are rows enough."""

_FEWEST_IN_A_BIN = 5


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Confidence against the share of right answers, in bins of equally many rows.

    Args:
        confidence: ``(bins,)`` mean confidence.
        accuracy: ``(bins,)`` share of right answers.
        low, high: ``(bins,)`` Wilson's interval for that share.
        share: ``(bins,)`` of all rows (or weight) in each bin; they sum to 1.
    """

    confidence: Floats
    accuracy: Floats
    low: Floats
    high: Floats
    share: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of confidence and accuracy."""
        return float(self.share @ np.abs(self.accuracy - self.confidence))

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest distance."""
        return float(np.abs(self.accuracy - self.confidence).max())


class Brier(NamedTuple):
    """The Brier score of a chance and its parts: score = reliability − resolution + uncertainty + within.

    Args:
        score: mean of (p − y)².
        reliability: how far the chances are from what comes true, bin by bin; 0 is calibrated.
        resolution: how much the bins differ in what comes true; larger is better.
        uncertainty: the variance of what comes true.
        within: what the chances vary inside the bins, and what that is good for; 0 for constant chances in each bin.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def equal_mass_bins(confidence: Floats, bins: int = BINS) -> NDArray[np.intp]:
    """``(n,)`` bin of each row, from 0 and without gaps: equally many rows in each, at least five, and equal confidences in one.

    Example:
        >>> equal_mass_bins(np.linspace(0.5, 1.0, 20), bins=2).tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    wanted = min(bins, max(1, len(confidence) // _FEWEST_IN_A_BIN))
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, wanted + 1)))[1:-1]
    return np.unique(np.searchsorted(edges, confidence, side="right"), return_inverse=True)[1]


def calibration_error(gap: Floats, bins: NDArray[np.intp], weight: Floats | None = None) -> tuple[float, Floats]:
    """Expected calibration error of rows in given bins, and the direction of each bin.

    Args:
        gap: ``(n,)`` whether each answer was right (0 or 1) minus its confidence.
        bins: ``(n,)`` from 0.
        weight: ``(n,)``, or None.

    Returns:
        the error, and ``(bins,)``: 1 where answers are right more often than said, −1 where less.
    """
    weight = np.ones(len(gap)) if weight is None else weight
    sums = np.bincount(bins, weights=weight * gap)
    return float(np.abs(sums).sum() / weight.sum()), np.sign(sums)


def calibration_curve(
    confidence: Floats, right: NDArray[Any], *, bins: int = BINS, level: float = 0.683, weight: Floats | None = None
) -> CalibrationCurve:
    """Confidence against the share of right answers.

    Args:
        confidence: ``(n,)`` the chance that was said.
        right: ``(n,)`` whether it came true.
        bins: at most so many.
        level: of Wilson's intervals; with weights for as many rows as carry as much.
        weight: ``(n,)`` not negative, or None.

    Raises:
        DataError: no rows, or not one confidence in [0, 1] and one truth per row.

    Example:
        >>> curve = calibration_curve(np.array([0.6] * 5 + [0.9] * 5), np.array([1, 1, 1, 0, 0, 1, 1, 1, 1, 1]))
        >>> curve.accuracy.round(2).tolist(), round(curve.ece, 3), round(curve.mce, 3)
        ([0.6, 1.0], 0.05, 0.1)
    """
    confidence, outcome, weight = _checked(confidence, right, weight)
    place = equal_mass_bins(confidence, bins)
    mass, said, came, squares = (np.bincount(place, weights=part) for part in (weight, weight * confidence, weight * outcome, weight**2))
    accuracy = came / mass
    low, high = wilson(accuracy, mass**2 / squares, level)
    return CalibrationCurve(said / mass, accuracy, low, high, mass / mass.sum())


def wilson(share: Floats | float, rows: Floats | float, level: float = 0.683) -> tuple[Any, Any]:
    """Wilson's interval for a share of so many independent rows; it stays inside [0, 1] and has a width at 0 and 1.

    Reference: Wilson 1927, Journal of the American Statistical Association 22, 209.

    Example:
        >>> low, high = wilson(1.0, 10, level=0.95)
        >>> round(float(low), 3), round(float(high), 3)
        (0.722, 1.0)
    """
    from scipy.special import ndtri

    z2 = float(ndtri(0.5 + level / 2)) ** 2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = np.sqrt(z2 * (share * (1 - share) / rows + z2 / (4 * np.square(rows)))) / (1 + z2 / rows)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def brier(probability: Floats, truth: NDArray[Any], weight: Floats | None = None) -> Estimate:
    """Brier score: mean over rows of Σ over classes (p − 1 if true, else p)², 0 at best and 2 at worst. Of two classes it counts both.

    Args:
        probability: ``(n, classes)``.
        truth: ``(n,)`` class codes.
        weight: ``(n,)``, or None.

    Reference: Brier 1950, Monthly Weather Review 78, 1.

    Example:
        >>> round(brier(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0])).value, 3)
        0.4
    """
    made = np.array(probability, dtype=np.float64)
    made[np.arange(len(made)), truth] -= 1.0
    losses = np.square(made).sum(axis=1)
    share = np.full(len(losses), 1 / len(losses)) if weight is None else weight / np.sum(weight)
    value, factor = float(share @ losses), len(losses) / max(1, len(losses) - 1)
    return Estimate(value, float(np.sqrt(factor * (np.square(share) @ np.square(losses - value)))), len(losses))


def brier_parts(chance: Floats, outcome: NDArray[Any], *, bins: int = BINS, weight: Floats | None = None) -> Brier:
    """Murphy's decomposition of the Brier score of a chance, exact also where chances differ inside a bin.

    Args:
        chance: ``(n,)`` the chance that was said.
        outcome: ``(n,)`` whether it came true.
        bins: at most so many, of equally many rows.
        weight: ``(n,)`` not negative, or None.

    Reference: Murphy 1973, Journal of Applied Meteorology 12, 595; Stephenson, Coelho & Jolliffe 2008, Weather and Forecasting 23, 752.

    Example:
        >>> parts = brier_parts(np.array([0.2] * 5 + [0.8] * 5), np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 0]))
        >>> [round(part, 3) for part in parts]
        [0.16, 0.0, 0.09, 0.25, 0.0]
    """
    chance, came, weight = _checked(chance, outcome, weight)
    place, share = equal_mass_bins(chance, bins), weight / weight.sum()
    mass = np.bincount(place, weights=share)
    said, true = (np.bincount(place, weights=share * part) / mass for part in (chance, came))
    base = float(share @ came)
    inside = chance - said[place]
    return Brier(
        score=float(share @ np.square(chance - came)),
        reliability=float(mass @ np.square(said - true)),
        resolution=float(mass @ np.square(true - base)),
        uncertainty=base * (1 - base),
        within=float(share @ np.square(inside) - 2 * share @ (inside * (came - true[place]))),
    )


# ---- predictive distributions of numbers -----------------------------------------------------------------------------------


def normal_pit(truth: Floats, mean: Floats, spread: Floats) -> Floats:
    """Probability integral transform: the share of each predicted normal distribution below the truth; uniform if they are right.

    Reference: Dawid 1984, Journal of the Royal Statistical Society A 147, 278.

    Example:
        >>> normal_pit(np.array([1.0, 2.0]), np.array([1.0, 0.0]), np.array([3.0, 1.0])).round(3).tolist()
        [0.5, 0.977]
    """
    from scipy.special import ndtr

    return ndtr((np.asarray(truth, dtype=np.float64) - mean) / _positive(spread))


def normal_crps(truth: Floats, mean: Floats, spread: Floats) -> Floats:
    """``(n,)`` continuous ranked probability score of predicted normal distributions, in the target's units; smaller is better.

    It is the absolute error of a prediction without spread.

    Reference: Gneiting & Raftery 2007, Journal of the American Statistical Association 102, 359, eq. 21.

    Example:
        >>> normal_crps(np.array([0.0]), np.array([0.0]), np.array([1.0])).round(4).tolist()
        [0.2337]
    """
    from scipy.special import ndtr

    scale = _positive(spread)
    z = (np.asarray(truth, dtype=np.float64) - mean) / scale
    density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
    return scale * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def climatology_crps(truth: Floats, weight: Floats | None = None) -> Floats:
    """``(n,)`` the same score if every row is predicted by the distribution of all truths: the best constant answer.

    Example:
        >>> climatology_crps(np.array([0.0, 1.0])).tolist()
        [0.25, 0.25]
    """
    truth = np.asarray(truth, dtype=np.float64)
    share = np.full(len(truth), 1 / len(truth)) if weight is None else weight / np.sum(weight)
    order = np.argsort(truth)
    ordered, part = truth[order] - truth.mean(), share[order]
    mass, moment = np.cumsum(part), np.cumsum(part * ordered)
    distance = ordered * (2 * mass - 1) + moment[-1] - 2 * moment  # E|Y - y|
    made = np.empty(len(truth))
    made[order] = distance - 0.5 * float(part @ distance)
    return made


def uniform_distance(values: Floats, weight: Floats | None = None) -> tuple[float, float]:
    """Kolmogorov's distance of values in [0, 1] from the uniform distribution, and the place where it is reached.

    Args:
        values: ``(n,)``.
        weight: ``(n,)`` not negative, or None.

    Example:
        >>> uniform_distance(np.array([0.5, 0.75]))
        (0.5, 0.5)
    """
    order = np.argsort(values)
    ordered = np.asarray(values, dtype=np.float64)[order]
    share = np.full(len(values), 1 / len(values)) if weight is None else weight[order] / np.sum(weight)
    after = np.cumsum(share)
    above, below = after - ordered, ordered - (after - share)
    top, bottom = int(above.argmax()), int(below.argmax())
    if above[top] >= below[bottom]:
        return float(above[top]), float(ordered[top])
    return float(below[bottom]), float(ordered[bottom])


# ---- parts -----------------------------------------------------------------------------------------------------------------


def _checked(chance: Floats, outcome: NDArray[Any], weight: Floats | None) -> tuple[Floats, Floats, Floats]:
    chance, came = np.asarray(chance, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    weight = np.ones(len(chance)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not chance.shape == came.shape == weight.shape or chance.ndim != 1 or not len(chance):
        raise DataError(f"calibration wants one chance, outcome and weight per row; got {chance.shape}, {came.shape} and {weight.shape}")
    if not ((chance >= 0) & (chance <= 1)).all() or not np.isin(came, (0.0, 1.0)).all():
        raise DataError("calibration wants chances between 0 and 1, and outcomes that are 0 or 1")
    if not (weight >= 0).all() or not weight.sum() > 0:
        raise DataError("the weights of a calibration must not be negative, nor all zero")
    keep = weight > 0
    return chance[keep], came[keep], weight[keep]


def _positive(spread: Floats) -> Floats:
    made = np.asarray(spread, dtype=np.float64)
    if not (made > 0).all():
        raise DataError("a predicted standard deviation is not above 0; predictive distributions want positive ones")
    return made
