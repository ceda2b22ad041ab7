"""How well scores put rows of one sort above the others: the areas under the ROC and precision-recall curves with their errors.

Ties count as ties and weights as repeated rows. The curves themselves stand in `ranking_curves`; what chance would give is the
statistics' business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.measures.estimate import Estimate, Floats
from gnomon.errors import DataError

Bools = NDArray[np.bool_]
Influence = Callable[[Floats, Bools, "Floats | None"], tuple[float, Floats]]
"""``(scores, truth, weight)`` to a value and ``(n,)``: by how much each row moved it from what it should be, to first order."""


class PerClass(NamedTuple):
    """One number per class, each against all others.

    Args:
        values: ``(classes,)``, NaN where a class, or all but it, has no rows.
        errors: ``(classes,)`` standard errors.
        mean: the unweighted mean over the classes that have rows.
    """

    values: Floats
    errors: Floats
    mean: Estimate


def roc_auc(scores: Floats, truth: Bools, weight: Floats | None = None) -> Estimate:
    """Area under the ROC curve: the chance that a true row scores above one that is not. The error is DeLong's.

    Args:
        scores: ``(n,)``, larger for rows believed to be true; infinities are allowed.
        truth: ``(n,)`` whether each row is of the sort that is sought.
        weight: ``(n,)``, or None.

    Raises:
        DataError: rows of one sort only, or a score is missing.

    Reference: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837.

    Example:
        >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).value
        0.75
    """
    return _estimate(*roc_auc_influence(scores, truth, weight))


def roc_auc_influence(scores: Floats, truth: Bools, weight: Floats | None = None) -> tuple[float, Floats]:
    """The area under the ROC curve and ``(n,)`` each row's part of its error: DeLong's components, which may be added up over classes."""
    scores, truth, weight = checked(scores, truth, weight)
    parts = np.empty(len(scores))
    shares = {side: weight[truth == side] / weight[truth == side].sum() for side in (True, False)}
    above, below = scores[truth], scores[~truth]
    parts[truth] = share_below(above, below, shares[False])
    parts[~truth] = 1.0 - share_below(below, above, shares[True])
    area = float(shares[True] @ parts[truth])
    area = min(max(area, 0.0), 1.0) if (weight >= 0).all() else area
    for side in (True, False):
        rows = int((truth == side).sum())
        parts[truth == side] = shares[side] * (parts[truth == side] - area) * np.sqrt(rows / max(1, rows - 1))
    return area, parts


def average_precision(scores: Floats, truth: Bools, weight: Floats | None = None) -> Estimate:
    """Average precision, the area under the precision-recall curve as a sum of steps: Σ (R_k − R_{k−1}) P_k over distinct scores.

    The error is that of the linearised average precision (the infinitesimal jackknife), for rows drawn afresh with their truth.

    Args:
        scores: ``(n,)``, larger for rows believed to be true.
        truth: ``(n,)`` whether each row is of the sort that is sought.
        weight: ``(n,)`` not negative, or None.

    Raises:
        DataError: rows of one sort only, a score is missing, or a weight is negative.

    Example:
        >>> round(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).value, 4)
        0.8333
    """
    return _estimate(*average_precision_influence(scores, truth, weight))


def average_precision_influence(scores: Floats, truth: Bools, weight: Floats | None = None) -> tuple[float, Floats]:
    """The average precision and ``(n,)`` each row's part of its error.

    With A and B the weights of the true and of all rows at or above a row's score, AP is the mean of A / B over the true rows; a row
    enters as one of them, and in A and B of all rows that do not score above it.
    """
    scores, truth, weight = checked(scores, truth, weight)
    if (weight < 0).any():
        raise DataError("average precision is not defined for negative weights; leave those rows out")
    order, group = tied(scores)
    true = np.where(truth[order], weight[order], 0.0)
    found, seen = (at_ends(np.cumsum(part), group) for part in (true, weight[order]))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, per_row = np.where(seen > 0, found / seen, 0.0), np.where(seen > 0, 1.0 / seen, 0.0)
    step = np.diff(found, prepend=0.0) / found[-1]
    value = float(step @ precision)
    from_below = np.cumsum((step * per_row)[::-1])[::-1]
    lost_below = np.cumsum((step * per_row * precision)[::-1])[::-1]
    parts = np.empty(len(scores))
    parts[order] = true * ((precision - value) / found[-1] + from_below)[group] - weight[order] * lost_below[group]
    return value, parts * np.sqrt(len(scores) / (len(scores) - 1))


class Order:
    """Scores put in order once, for average precisions of many truths.

    Args:
        scores: ``(n,)``.
    """

    def __init__(self, scores: Floats) -> None:
        self._order, group = tied(np.asarray(scores, dtype=np.float64))
        self._ends = np.r_[np.flatnonzero(np.diff(group)), len(group) - 1]

    def average_precision(self, truth: Bools, weight: Floats | None = None) -> float:
        """What `average_precision` gives for these scores.

        Args:
            truth: ``(n,)``, of both sorts.
            weight: ``(n,)`` not negative, or None.

        Example:
            >>> round(Order(np.array([0.1, 0.4, 0.35, 0.8])).average_precision(np.array([False, False, True, True])), 4)
            0.8333
        """
        true = truth[self._order].astype(np.float64)
        if weight is None:
            found, seen = np.cumsum(true)[self._ends], self._ends + 1.0
        else:
            own = weight[self._order]
            found, seen = np.cumsum(true * own)[self._ends], np.cumsum(own)[self._ends]
        precision = np.divide(found, seen, out=np.zeros(len(seen)), where=seen > 0)
        return float(np.diff(found, prepend=0) @ precision / found[-1])


def midranks(scores: Floats) -> Floats:
    """``(n,)`` the share of all scores below each, equal ones counting half.

    Example:
        >>> midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist()
        [0.75, 0.125, 0.75, 0.375]
    """
    order, group = tied(scores)
    ends = np.r_[0, np.flatnonzero(np.diff(group)) + 1, len(group)]
    made = np.empty(len(scores))
    made[order] = (1 - (ends[:-1] + ends[1:]) / (2 * len(scores)))[group]
    return made


def one_against_rest(measure: Influence, probability: Floats, truth: NDArray[Any], weight: Floats | None = None) -> PerClass:
    """A measure of two sorts of rows for each class against all others, and its unweighted mean with the classes' dependence respected.

    Args:
        measure: `roc_auc_influence` or `average_precision_influence`.
        probability: ``(n, classes)``.
        truth: ``(n,)`` class codes.
        weight: ``(n,)``, or None.

    Raises:
        DataError: all rows are of one class.
    """
    classes = probability.shape[1]
    values, errors, total, known = np.full(classes, np.nan), np.full(classes, np.nan), np.zeros(len(truth)), 0
    for code in range(classes):
        is_it = truth == code
        if 0 < is_it.sum() < len(truth):
            values[code], parts = measure(probability[:, code], is_it, weight)
            errors[code] = np.sqrt(np.square(parts).sum())
            total, known = total + parts, known + 1
    if not known:
        raise DataError("all rows are of one class; ranking wants at least two")
    return PerClass(values, errors, _estimate(float(np.nanmean(values)), total / known))


def logit_interval(value: float, error: float, level: float = 0.95) -> tuple[float, float]:
    """Interval for an area or a share in [0, 1], symmetric on the logit scale, so that it stays inside.

    At 0 and at 1, where there is no logit, the plain interval is cut at the ends.

    Example:
        >>> low, high = logit_interval(0.9, 0.05)
        >>> round(low, 3), round(high, 3)
        (0.752, 0.964)
    """
    from scipy.special import expit, logit, ndtri

    z = float(ndtri(0.5 + level / 2))
    if not 0 < value < 1:
        return max(0.0, value - z * error), min(1.0, value + z * error)
    half = z * error / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


# ---- parts -------------------------------------------------------------------------------------------------------------


def share_below(points: Floats, scores: Floats, share: Floats) -> Floats:
    """For each point the share of `scores` below it, ties counting half.

    Args:
        points: ``(m,)``.
        scores: ``(n,)``.
        share: ``(n,)`` of each score; they sum to 1.
    """
    order = np.argsort(scores)
    reached, ordered = np.concatenate([[0.0], np.cumsum(share[order])]), scores[order]
    return (reached[np.searchsorted(ordered, points, side="left")] + reached[np.searchsorted(ordered, points, side="right")]) / 2


def checked(scores: Floats, truth: Bools, weight: Floats | None) -> tuple[Floats, Bools, Floats]:
    """Scores, truth and weights as arrays, after a look at them; weights of 1 for None.

    Raises:
        DataError: lengths differ, a score is missing, or there are rows of one sort only.
    """
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=bool)
    weight = np.ones(len(scores)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not scores.shape == truth.shape == weight.shape or scores.ndim != 1:
        raise DataError(f"ranking wants one score, truth and weight per row; got {scores.shape}, {truth.shape} and {weight.shape}")
    if np.isnan(scores).any():
        raise DataError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are missing (NaN); leave those rows out")
    if truth.all() or not truth.any():
        raise DataError(f"all {len(truth)} rows are {'true' if len(truth) and truth.all() else 'false'}; ranking wants rows of both sorts")
    for side in (True, False):
        if not weight[truth == side].sum() > 0:
            raise DataError(f"the weights of the rows that are {str(side).lower()} sum to {weight[truth == side].sum():g}; not above 0")
    return scores, truth, weight


def tied(scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows by falling score, and for each of them the number of its group of equal scores."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    return order, np.r_[0, np.cumsum(ordered[1:] != ordered[:-1])] if len(scores) else np.zeros(0, dtype=np.intp)


def at_ends(running: Floats, group: NDArray[np.intp]) -> Floats:
    """The value at the last row of each group of equal scores."""
    return running[np.r_[np.flatnonzero(np.diff(group)), len(group) - 1]]


def _estimate(value: float, parts: Floats) -> Estimate:
    return Estimate(value, float(np.sqrt(np.square(parts).sum())), len(parts))
