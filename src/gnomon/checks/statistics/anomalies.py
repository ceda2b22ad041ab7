"""Anomaly scores beside the truth: how well they put anomalies above all other rows.

Formulas stand in `measures.ranking`; which rows are anomalies is said by the case.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Anomalies, Case
from gnomon.checks.measures.estimate import Estimate
from gnomon.checks.measures.ranking import average_precision_influence, logit_interval, roc_auc_influence
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.checks.statistics.predictions import one_sided
from gnomon.checks.statistics.ranking import show, shuffled_error, shuffled_precision

FEWEST = 5
"""Anomalies, and other rows, below which nothing is said."""

WHERE = "anomaly scores"


def auc_of(known: Anomalies, level: float = 0.95) -> tuple[Estimate, float, float]:
    """Area under the ROC curve of anomaly scores with DeLong's error, and the ends of its interval, symmetric on the logit scale.

    Where no row is out of order, the error is about what the next row of the rarer sort might change.

    Raises:
        LeftOut: fewer than 5 anomalies or other rows, or a score is missing.
    """
    value, parts = roc_auc_influence(*_enough(known))
    error = _error(parts, known)
    return Estimate(value, error, len(known.truth)), *logit_interval(value, error, level)


def anomaly_auc(case: Case) -> list[Statistic]:
    """Area under the ROC curve of the anomaly scores: the chance that an anomaly is stranger than another row; 0.5 knows nothing.

    The error is DeLong's, the p-value one-sided; a large one is a finding.

    Raises:
        LeftOut: fewer than 5 anomalies or other rows, or a score is missing.
    """
    known = case.anomalies
    if known is None:
        return []
    (value, error, _), low, high = auc_of(known)
    truth = known.truth.astype(np.intp)
    null_error = shuffled_error({1: known.scores}, truth) if known.weight is None else error
    p = one_sided((value - 0.5) / null_error) if null_error > 0 else 1.0
    note = f"{_counts(known)}; 95 % interval {number(low)} to {number(high)}; p is small if it beats chance"
    made = Statistic("anomaly_auc", WHERE, value, error, 0.5, null_error, p, len(truth), note, alarm="high")
    if len(truth) <= case.effort.null_rows:
        show(case, WHERE, str(made), known.scores, known.truth, known.weight, case.generator("ranking", WHERE))
    return [made.with_(claim=f"{WHERE}: they do not put the anomalies above the other rows ({made})")]


def anomaly_average_precision(case: Case) -> list[Statistic]:
    """Average precision of the anomaly scores; knowing nothing gives about the share of anomalies.

    Raises:
        LeftOut: fewer than 5 anomalies or other rows, or a score is missing.
    """
    known = case.anomalies
    if known is None:
        return []
    _enough(known)
    if known.weight is not None and (known.weight < 0).any():
        raise LeftOut(f"{int((known.weight < 0).sum())} of {len(known.weight)} weights are negative")
    value, parts = average_precision_influence(known.scores, known.truth, known.weight)
    error, truth = _error(parts, known), known.truth.astype(np.intp)
    generator, draws = case.generator("anomaly_average_precision"), case.effort.few_draws
    null = shuffled_precision(value, {1: known.scores}, truth, known.weight, generator, draws)
    low, high = logit_interval(value, error)
    error = null.error(value, error)
    note = f"{_counts(known)}; 95 % interval {number(low)} to {number(high)}; null: truth shuffled against the scores"
    return [Statistic("anomaly_average_precision", WHERE, value, error, null.mean, null.spread, null.p, len(truth), note, alarm="never")]


def _enough(known: Anomalies) -> tuple[Floats, NDArray[np.bool_], Floats | None]:
    """Scores, truth and weight, if there is enough of either sort."""
    strange = int(known.truth.sum())
    if min(strange, len(known.truth) - strange) < FEWEST:
        raise LeftOut(f"{strange} anomalies among {len(known.truth)} rows; ranking wants {FEWEST} of either sort")
    if np.isnan(known.scores).any():
        raise LeftOut(f"{int(np.isnan(known.scores).sum())} of {len(known.scores)} anomaly scores are missing (NaN)")
    return known.scores, known.truth, known.weight


def _error(parts: Floats, known: Anomalies) -> float:
    """The error; where no row is out of order, about what the next row of the rarer sort might change."""
    error, strange = float(np.sqrt(np.square(parts).sum())), int(known.truth.sum())
    return error if error > 0 else 1 / (min(strange, len(known.truth) - strange) + 2)


def _counts(known: Anomalies) -> str:
    base = float(np.average(known.truth, weights=known.weight))
    return f"{int(known.truth.sum()):,} anomalies among {len(known.truth):,} rows, base rate {number(base)}"
