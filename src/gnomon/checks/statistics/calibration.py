"""Whether predictions mean what they say: probabilities of classes, predicted spreads, and whole predicted distributions.

The null is a model that is honest about what it does not know. How good the predictions are is judged in `predictions`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case, Predictions
from gnomon.checks.effort import Effort
from gnomon.checks.measures.calibration import (
    brier,
    calibration_curve,
    calibration_error,
    climatology_crps,
    equal_mass_bins,
    normal_crps,
    normal_pit,
    uniform_distance,
)
from gnomon.checks.nulls import error_of_distance, permutation_p, surprising
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import Statistic, number, plus_minus
from gnomon.checks.statistics.likelihood import weighted_mean
from gnomon.checks.statistics.predictions import classified, one_sided, over_targets, positive_weight, regressed, two_sided

_FEW_DRAWS = 299
_WITHIN_ONE = 0.6826894921370859  # of a normal law within one standard deviation


def ece(case: Case) -> list[Statistic]:
    """Expected calibration error: mean distance of confidence and accuracy over 15 bins of equally many rows.

    Its null is what a perfectly calibrated model with the same confidences gets, from answers drawn right with that probability.
    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    rows = []
    for one in classified(case):
        assert one.probability is not None
        confidence = one.probability.max(axis=1)
        right = (one.probability.argmax(axis=1) == one.truth).astype(np.float64)
        bins = equal_mass_bins(confidence)
        value, signs = calibration_error(right - confidence, bins, one.weight)
        draws, told = _calibrated_draws(case, one, confidence, bins, value)
        linear = weighted_mean(signs[bins] * (right - confidence), one.weight)[1]
        weight = np.ones(len(right)) if one.weight is None else one.weight
        case.pictures.setdefault("reliability", {})[one.target] = (confidence, right, bins, weight)
        over = float(weight @ (confidence - right)) > 0
        note = f"{int(bins.max()) + 1} bins of equally many rows; null: a calibrated model, {told}{_beside(one, confidence, right)}"
        null, null_error = float(draws.mean()), float(draws.std(ddof=1))
        error = error_of_distance(value, linear, draws)
        made = Statistic("ece", one.target, value, error, null, null_error, permutation_p(value, draws), len(right), note)
        word = "more sure than it is right" if over else "less sure than it could be"
        rows.append(made.with_(claim=f"target '{one.target}': the probabilities are not calibrated, the classifier is {word} ({made})"))
    return over_targets(rows)


def spread_coverage(case: Case) -> list[Statistic]:
    """Share of targets within one predicted standard deviation of the prediction: 68.3 % if the spread is honest and the noise normal."""
    rows = []
    for one in regressed(case):
        if one.spread is None or one.mean is None:
            continue
        pull = (one.truth - one.mean) / np.maximum(one.spread, 1e-300)
        value, error = weighted_mean((np.abs(pull) <= 1).astype(np.float64), one.weight)
        effective = len(pull) if one.weight is None else one.weight.sum() ** 2 / np.square(one.weight).sum()
        null_error = float(np.sqrt(_WITHIN_ONE * (1 - _WITHIN_ONE) / effective))
        case.pictures.setdefault("pulls", {})[one.target] = (pull, one.weight)
        p = two_sided((value - _WITHIN_ONE) / null_error)
        note = "share of targets within one predicted standard deviation; null: normal noise of that size"
        error = max(error, 1 / (len(pull) + 2))
        made = Statistic("spread_coverage", one.target, value, error, _WITHIN_ONE, null_error, p, len(pull), note)
        word = "too narrow" if value < _WITHIN_ONE else "too wide"
        rows.append(made.with_(claim=f"target '{one.target}': the predicted standard deviations are {word} ({made})"))
    return over_targets(rows)


def pit(case: Case) -> list[Statistic]:
    """Kolmogorov's distance of the probability integral transforms from uniform: 0 if the predicted normal distributions are right.

    Unlike the coverage of the spread it sees predictions that are off on one side, and noise that is not normal. The null is drawn from
    uniform numbers with the same weights.
    """
    rows = []
    for one in regressed(case):
        if one.spread is None or one.mean is None:
            continue
        weight = positive_weight(one)
        made = normal_pit(one.truth, one.mean, np.maximum(one.spread, 1e-300))
        value, at = uniform_distance(made, weight)
        draws, told = _uniform_draws(case, one, value)
        p = _kolmogorov_p(value, len(made)) if weight is None else permutation_p(value, draws)
        below = (made <= at).astype(np.float64)
        error = error_of_distance(value, weighted_mean(below, weight)[1], draws)
        note = f"distance of Φ((truth − mean) / spread) from uniform; null: normal noise of the predicted size, {told}"
        row = Statistic("pit", one.target, value, error, float(draws.mean()), float(draws.std(ddof=1)), p, len(made), note)
        rows.append(
            row.with_(
                claim=f"target '{one.target}': the predicted distributions are not those of the truth, {_shape(made, weight)} ({row})"
            )
        )
    return over_targets(rows)


def crps(case: Case) -> list[Statistic]:
    """Mean continuous ranked probability score of the predicted normal distributions, in the target's units; smaller is better.

    Beside it stands what the distribution of all targets gets as constant answer. For information: `rmse` raises the alarm.
    """
    rows = []
    for one in regressed(case):
        if one.spread is None or one.mean is None:
            continue
        weight = positive_weight(one)
        scores = normal_crps(one.truth, one.mean, np.maximum(one.spread, 1e-300))
        constant = climatology_crps(one.truth, weight)
        value, error = weighted_mean(scores, weight)
        null, null_error = weighted_mean(constant, weight)
        gain, gain_error = weighted_mean(constant - scores, weight)
        p = one_sided(gain / gain_error) if gain_error > 0 else (0.0 if gain > 0 else 1.0)
        note = "in the target's units; null: always answering the distribution of all targets; p is small if the model beats it"
        claim = f"target '{one.target}': crps {plus_minus(value, error)} against {number(null)} of the distribution of all targets"
        rows.append(Statistic("crps", one.target, value, error, null, null_error, p, len(scores), note, claim=claim, alarm="never"))
    return rows


# ---- parts ---------------------------------------------------------------------------------------------------------------


def _drawn(draw: Callable[[np.random.Generator], float], value: float, effort: Effort, generator: np.random.Generator) -> Floats:
    """Null draws, and more of them where the value lies so far out that the first cannot say how far."""
    draws = np.array([draw(generator) for _ in range(effort.draws)])
    if effort.more_draws and surprising([permutation_p(value, draws)], effort):
        draws = np.concatenate([draws, [draw(generator) for _ in range(effort.more_draws)]])
    return draws


def _beside(one: Predictions, confidence: Floats, right: Floats) -> str:
    """The largest gap of a bin, and the Brier score, for the note."""
    assert one.probability is not None
    if one.weight is not None and (one.weight < 0).any():
        return ""
    mce = calibration_curve(np.clip(confidence, 0, 1), right, weight=one.weight).mce
    score = brier(one.probability, one.truth, one.weight)
    return f"; largest gap of a bin {number(mce)}; Brier score {plus_minus(score.value, score.error)}"


def _calibrated_draws(case: Case, one: Predictions, confidence: Floats, bins: NDArray[np.intp], value: float) -> tuple[Floats, str]:
    """Calibration errors of answers that are right as often as their confidence says, and how they were made."""
    generator = case.generator("ece", one.target)
    rows, scale = _part(len(confidence), one.weight, case.effort, generator)
    chance, place = confidence[rows], bins[rows]
    weight = None if one.weight is None else one.weight[rows]

    def draw(chances: np.random.Generator) -> float:
        return calibration_error((chances.random(len(chance)) < chance) - chance, place, weight)[0] * scale

    draws = _drawn(draw, value, case.effort, generator)
    return draws, f"{len(draws)} draws" + _from_part(len(rows), len(confidence))


def _uniform_draws(case: Case, one: Predictions, value: float) -> tuple[Floats, str]:
    """Distances of uniform numbers with the weights of the rows, and how they were made."""
    generator = case.generator("pit", one.target)
    rows, scale = _part(len(one.truth), one.weight, case.effort, generator)
    weight = None if one.weight is None else one.weight[rows]

    def draw(chances: np.random.Generator) -> float:
        return uniform_distance(chances.random(len(rows)), weight)[0] * scale

    if one.weight is None:  # its p-value is known, so that the draws are for mean and spread alone
        draws = np.array([draw(generator) for _ in range(min(_FEW_DRAWS, case.effort.draws))])
    else:
        draws = _drawn(draw, value, case.effort, generator)
    return draws, f"{len(draws)} draws" + _from_part(len(rows), len(one.truth))


def _part(rows: int, weight: Floats | None, effort: Effort, generator: np.random.Generator) -> tuple[NDArray[np.intp], float]:
    """At most `null_rows` of the rows, and the factor from the spread of their null to that of all rows: the root of the noise."""
    if rows <= effort.null_rows:
        return np.arange(rows), 1.0
    some = np.sort(generator.permutation(rows)[: effort.null_rows])
    return some, float(np.sqrt(_noise(weight, rows) / _noise(None if weight is None else weight[some], len(some))))


def _from_part(some: int, rows: int) -> str:
    return "" if some == rows else f" of {some:,} rows, scaled to {rows:,}"


def _noise(weight: Floats | None, rows: int) -> float:
    return 1 / rows if weight is None else float(np.square(weight).sum() / weight.sum() ** 2)


def _kolmogorov_p(value: float, rows: int) -> float:
    from scipy.stats import kstwo

    return float(kstwo.sf(value, rows))


def _shape(values: Floats, weight: Floats | None) -> str:
    """In which way transforms are not uniform: off to one side, too wide, too narrow, or of another shape."""
    side, side_error = weighted_mean(values - 0.5, weight)
    width, width_error = weighted_mean(np.abs(values - 0.5) - 0.25, weight)
    pulls = [abs(value) / error if error > 0 else np.inf for value, error in ((side, side_error), (width, width_error))]
    if max(pulls) < 3:
        return "which have another shape"
    if pulls[0] >= pulls[1]:
        return f"which lies {'above' if side > 0 else 'below'} them more often than not"
    return f"they are too {'narrow' if width > 0 else 'wide'}"
