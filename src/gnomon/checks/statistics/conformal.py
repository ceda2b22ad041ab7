"""Conformal intervals and sets from half of the checked rows, and how often they hold the truth on the other half.

What may be exchanged at random is covered as promised by construction: of interest is what it costs, the width or the size of the sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case, Predictions
from gnomon.checks.measures.conformal import class_scores, conformal_quantile, coverage_band, coverage_error, coverage_p, mean_coverage
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.checks.statistics.likelihood import weighted_mean
from gnomon.checks.statistics.predictions import positive_weight, shares

LEVEL = 0.9
FEWEST = 20
"""Rows below which half of them are too few for a finite threshold at 90 %."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class _Rule:
    """What a conformal rule needs to know.

    Args:
        scores: ``(n,)`` how badly the truth of each row fits its prediction.
        size: threshold (a number, or one per row) and rows to the sizes of their sets, or widths of their intervals.
        name: of the statistic of these sizes.
        words: what is done.
        unit: what the size is, in words.
    """

    scores: Floats
    size: Callable[[float | Floats, Rows], Floats]
    name: str
    words: str
    unit: str


def conformal_coverage(case: Case) -> list[Statistic]:
    """Share of rows whose truth lies in a split-conformal interval or set at 90 %, calibrated on the other, random half of the rows.

    Numbers get intervals as wide as the predicted spread says, times one factor (equally wide ones without a spread), classes the sets
    of those that are probable enough (LAC). The null is the beta-binomial law of exchangeable rows; with weights it is found by halving
    the rows again and again. A second row of statistics says how wide the intervals, or how large the sets, are (`interval_width`,
    `set_size`), beside those of the best constant answer.

    Raises:
        LeftOut: fewer than 20 rows, or negative weights.
    """
    rows: list[Statistic] = []
    for one in case.predictions:
        if len(one.truth) < FEWEST:
            raise LeftOut(f"{len(one.truth)} rows; half of them calibrate, and {LEVEL:.0%} wants {FEWEST} in all")
        weight = positive_weight(one)
        generator = case.generator("conformal", one.target)
        picked = np.arange(len(one.truth))
        if weight is not None:
            keep = np.flatnonzero(weight > 0)
            picked = generator.permutation(keep)[: 2 * case.effort.null_rows]
        rule, constant = _rule(one), _constant(one)
        order = generator.permutation(picked)
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        threshold: float | Floats
        if weight is None:
            coverage, threshold = _coverage(one, rule, *halves)
        else:
            coverage, threshold = _weighted_coverage(one, rule, *halves, weight, case.effort.few_draws, generator)
        rows.append(coverage)
        rows += _size(one, rule, constant, *halves, threshold, weight)
    return rows


def _coverage(one: Predictions, rule: _Rule, calibrating: Rows, testing: Rows) -> tuple[Statistic, float]:
    n, m = len(calibrating), len(testing)
    threshold = float(conformal_quantile(rule.scores[calibrating], LEVEL))
    covered = int((rule.scores[testing] <= threshold).sum())
    ties = len(np.unique(rule.scores)) < len(rule.scores)
    p = coverage_p(covered, m, n, LEVEL, two_sided=not ties)
    low, high = coverage_band(n, LEVEL, m, confidence=0.95)
    error = coverage_error(n, LEVEL, m)
    note = f"{rule.words}; {n:,} rows calibrate; between {number(low)} and {number(high)} in 95 % of cases"
    note += "; some scores are equal, so that it may be larger" if ties else ""
    made = Statistic("conformal_coverage", one.target, covered / m, error, mean_coverage(n, LEVEL), error, p, m, note, alarm="never")
    return made, threshold


def _weighted_coverage(
    one: Predictions, rule: _Rule, calibrating: Rows, testing: Rows, weight: Floats, draws: int, generator: np.random.Generator
) -> tuple[Statistic, Floats]:
    """The same for rows that count by their weights; the null comes from other halvings of the rows."""
    pool, n = np.concatenate([calibrating, testing]), len(calibrating)

    def halved(order: Rows) -> tuple[float, Floats]:
        first, second = order[:n], order[n:]
        limits = np.asarray(conformal_quantile(rule.scores[first], LEVEL, weight=weight[first], test_weight=weight[second]))
        return weighted_mean((rule.scores[second] <= limits).astype(np.float64), weight[second])[0], limits

    value, threshold = halved(pool)
    made = np.array([halved(generator.permutation(pool))[0] for _ in range(draws)])
    far, centre = np.abs(np.append(made, value) - np.append(made, value).mean()), float(made.mean())
    p = float((far >= far[-1] - 1e-12).mean())
    error = float(made.std(ddof=1))
    note = f"{rule.words}, weighted; {n:,} rows calibrate; null from {draws} other halvings of the rows"
    row = Statistic("conformal_coverage", one.target, value, error, centre, error, p, len(testing), note, alarm="never")
    return row, threshold


def _size(
    one: Predictions, rule: _Rule, constant: _Rule, calibrating: Rows, testing: Rows, threshold: float | Floats, weight: Floats | None
) -> list[Statistic]:
    """Mean size on the test rows. Its error is that of the mean, and what another calibration would have made of the threshold."""
    limits = np.broadcast_to(threshold, testing.shape)
    finite = np.isfinite(limits)
    if not finite.any():
        return []
    unbounded, testing, limits = int((~finite).sum()), testing[finite], limits[finite]
    own, other = (None, None) if weight is None else (weight[testing], weight[calibrating])
    value, error = weighted_mean(rule.size(limits, testing), own)
    effective = len(calibrating) if other is None else float(other.sum() ** 2 / np.square(other).sum())
    shift = float(np.sqrt(LEVEL * (1 - LEVEL) / effective))
    ends = [_quantile(rule.scores[calibrating], min(max(LEVEL + step, 0.0), 1.0), other) for step in (-shift, shift)]
    between = [weighted_mean(rule.size(end, testing), own)[0] for end in ends]
    error = float(np.hypot(error, (between[1] - between[0]) / 2))
    plain = (
        float(conformal_quantile(constant.scores[calibrating], LEVEL))
        if other is None
        else _quantile(constant.scores[calibrating], LEVEL, other)
    )
    null = weighted_mean(constant.size(plain, testing), own)[0]
    note = f"{rule.unit} at {LEVEL:.0%}, {rule.words}; null: {constant.words}"
    note += f"; {unbounded:,} rows weigh too much for a finite threshold and are left out" if unbounded else ""
    return [Statistic(rule.name, one.target, value, error, null, n=len(testing), note=note, alarm="never")]


def _rule(one: Predictions) -> _Rule:
    """The rule for these predictions."""
    if one.probability is not None:
        scores = class_scores(one.probability)
        return _sets(scores, one, "sets of classes")
    assert one.mean is not None
    scale = np.ones(len(one.truth)) if one.spread is None else np.maximum(one.spread, 1e-300)
    words = "intervals of one width" if one.spread is None else "intervals as wide as the predicted spread says, times one factor"
    return _intervals(np.abs(one.truth - one.mean) / scale, scale, words)


def _constant(one: Predictions) -> _Rule:
    """The rule for the best constant answer."""
    if one.probability is not None:
        scores = np.broadcast_to(1 - shares(one), one.probability.shape)
        return _sets(scores, one, "sets of the most frequent classes")
    centre = weighted_mean(one.truth, one.weight)[0]
    return _intervals(np.abs(one.truth - centre), np.ones(len(one.truth)), "intervals about the mean of all rows")


def _sets(scores: Floats, one: Predictions, words: str) -> _Rule:
    def size(threshold: float | Floats, rows: Rows) -> Floats:
        limit = np.asarray(threshold)
        return (scores[rows] <= (limit[:, None] if limit.ndim else limit)).sum(axis=1).astype(np.float64)

    return _Rule(scores[np.arange(len(scores)), one.truth], size, "set_size", words, "mean number of classes in a set, which may be empty,")


def _intervals(scores: Floats, scale: Floats, words: str) -> _Rule:
    return _Rule(scores, lambda threshold, rows: 2 * threshold * scale[rows], "interval_width", words, "mean width in the target's units")


def _quantile(scores: Floats, level: float, weight: Floats | None) -> float:
    if weight is None:
        return float(np.quantile(scores, level))
    order = np.argsort(scores)
    reached = np.cumsum(weight[order])
    return float(scores[order][min(len(scores) - 1, int(np.searchsorted(reached, level * reached[-1])))])
