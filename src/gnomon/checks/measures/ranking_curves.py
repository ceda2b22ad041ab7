"""ROC and precision-recall curves, and the bands in which repetitions with other rows would lie.

The areas under them, with errors in closed form, stand in `ranking`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gnomon.checks.measures.estimate import Floats
from gnomon.checks.measures.ranking import Bools, at_ends, checked, tied


class Curve(NamedTuple):
    """A curve traced by lowering a threshold.

    Args:
        x: ``(k,)`` false positive rate, or recall.
        y: ``(k,)`` true positive rate, or precision.
        thresholds: ``(k,)`` scores from which rows count as found.
    """

    x: Floats
    y: Floats
    thresholds: Floats


class Bands(NamedTuple):
    """A curve read at fixed places, with the band in which repetitions would lie.

    Args:
        x: ``(k,)`` the places.
        y: ``(k,)`` the curve.
        low: ``(k,)`` lower edge.
        high: ``(k,)`` upper edge.
    """

    x: Floats
    y: Floats
    low: Floats
    high: Floats


def roc_curve(scores: Floats, truth: Bools, weight: Floats | None = None) -> Curve:
    """True against false positive rate for every distinct score, from (0, 0) to (1, 1); the first threshold is infinite.

    Raises:
        DataError: rows of one sort only, or a score is missing.

    Example:
        >>> roc_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).y.tolist()
        [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    scores, truth, weight = checked(scores, truth, weight)
    order, group = tied(scores)
    true, false = (at_ends(np.cumsum(np.where(truth[order] == side, weight[order], 0.0)), group) for side in (True, False))
    thresholds = at_ends(scores[order], group)
    return Curve(np.r_[0.0, false / false[-1]], np.r_[0.0, true / true[-1]], np.r_[np.inf, thresholds])


def precision_recall_curve(scores: Floats, truth: Bools, weight: Floats | None = None) -> Curve:
    """Precision against recall for every distinct score, from the lowest threshold up; the last point is (0, 1) by convention.

    Raises:
        DataError: rows of one sort only, or a score is missing.
    """
    scores, truth, weight = checked(scores, truth, weight)
    order, group = tied(scores)
    true, seen = (at_ends(np.cumsum(part), group) for part in (np.where(truth[order], weight[order], 0.0), weight[order]))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(seen > 0, true / seen, 0.0)
    thresholds = at_ends(scores[order], group)
    return Curve(np.r_[(true / true[-1])[::-1], 0.0], np.r_[precision[::-1], 1.0], np.r_[thresholds[::-1], np.inf])


def roc_bands(
    scores: Floats,
    truth: Bools,
    *,
    generator: np.random.Generator,
    weight: Floats | None = None,
    level: float = 0.683,
    draws: int = 200,
    points: int = 101,
) -> Bands:
    """The ROC curve at evenly spaced false positive rates, with the band of its bootstrap repetitions at each.

    Args:
        scores: ``(n,)``.
        truth: ``(n,)``.
        generator: of the resampling; rows of either sort are drawn apart, so that none is ever without rows.
        weight: ``(n,)``, or None.
        level: share of the repetitions inside the band at each place.
        draws: number of repetitions.
        points: number of places.
    """
    curve = roc_curve(scores, truth, weight)
    at = np.linspace(0, 1, points)

    def read(true: Floats, false: Floats) -> Floats:
        return np.interp(at, np.r_[0.0, false / false[-1]], np.r_[0.0, true / true[-1]])

    low, high = _bootstrap(read, *checked(scores, truth, weight), generator, level, draws)
    return Bands(at, np.interp(at, curve.x, curve.y), low, high)


def precision_recall_bands(
    scores: Floats,
    truth: Bools,
    *,
    generator: np.random.Generator,
    weight: Floats | None = None,
    level: float = 0.683,
    draws: int = 200,
    points: int = 101,
) -> Bands:
    """The precision at evenly spaced recalls (that of the highest threshold which reaches each), with its bootstrap band.

    Args: as for `roc_bands`; rows are drawn whatever their sort, since the precision depends on how many there are of each.
    """
    at = np.linspace(0, 1, points)[1:]

    def read(true: Floats, false: Floats) -> Floats:
        if not true[-1] > 0:
            return np.full(len(at), np.nan)
        place = np.minimum(np.searchsorted(true / true[-1], at - 1e-12), len(true) - 1)
        return true[place] / (true[place] + false[place])

    scores, truth, weight = checked(scores, truth, weight)
    order, group = tied(scores)
    true, false = (at_ends(np.cumsum(np.where(truth[order] == side, weight[order], 0.0)), group) for side in (True, False))
    low, high = _bootstrap(read, scores, truth, weight, generator, level, draws, apart=False)
    return Bands(at, read(true, false), low, high)


def _bootstrap(
    read: Callable[[Floats, Floats], Floats],
    scores: Floats,
    truth: Bools,
    weight: Floats,
    generator: np.random.Generator,
    level: float,
    draws: int,
    apart: bool = True,
) -> tuple[Floats, Floats]:
    """Edges of the middle `level` of what `read` makes of the running weights of true and false rows of resampled data."""
    order, group = tied(scores)
    truth, weight = truth[order], weight[order]
    sorts = [np.flatnonzero(truth), np.flatnonzero(~truth)] if apart else [np.arange(len(truth))]
    made = []
    for _ in range(draws):
        counts = np.zeros(len(truth))
        for rows in sorts:
            counts[rows] = np.bincount(generator.integers(len(rows), size=len(rows)), minlength=len(rows))
        drawn = counts * weight
        true, false = (at_ends(np.cumsum(np.where(truth == side, drawn, 0.0)), group) for side in (True, False))
        made.append(read(true, false))
    low, high = np.nanquantile(np.array(made), [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return low, high
