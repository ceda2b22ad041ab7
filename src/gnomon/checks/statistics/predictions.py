"""Predictions beside the truth: accuracy, log-loss, calibration; for numbers the error, the share explained, the honesty of the spread.

The null of a score is the best constant answer on the same rows; the null of a calibration is a model that means what it says.
"""

from __future__ import annotations

import numpy as np

from gnomon.checks.case import Case, Predictions
from gnomon.checks.nulls import error_of_distance, permutation_p
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number, plus_minus
from gnomon.checks.statistics.likelihood import weighted_mean

FEWEST = 10
BINS = 15
_SMALLEST = 1e-12  # probabilities are not taken to be smaller than this


def accuracy(case: Case) -> list[Statistic]:
    """Share of rows whose class is predicted right, against always answering the most frequent class."""
    rows = []
    for one in _classified(case):
        right = (one.probability.argmax(axis=1) == one.truth).astype(np.float64)  # type: ignore[union-attr]
        constant = (one.truth == _shares(one).argmax()).astype(np.float64)
        rows.append(_against_constant("accuracy", one, right, constant, "always answering the most frequent class", larger_is_better=True))
    return rows


def log_loss(case: Case) -> list[Statistic]:
    """Mean of −log(probability given to the true class) in nats, against always answering the class frequencies."""
    rows = []
    for one in _classified(case):
        picked = one.probability[np.arange(len(one.truth)), one.truth]  # type: ignore[index]
        loss = -np.log(np.maximum(picked, _SMALLEST))
        constant = -np.log(np.maximum(_shares(one), _SMALLEST))[one.truth]
        rows.append(_against_constant("log_loss", one, loss, constant, "always answering the class frequencies", larger_is_better=False))
    return rows


def ece(case: Case) -> list[Statistic]:
    """Expected calibration error: mean distance of confidence and accuracy over 15 bins of equally many rows.

    Its null is what a perfectly calibrated model with the same confidences gets, from answers drawn right with that probability.
    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    rows = []
    for one in _classified(case):
        assert one.probability is not None
        confidence = one.probability.max(axis=1)
        right = (one.probability.argmax(axis=1) == one.truth).astype(np.float64)
        bins = _equal_bins(confidence)
        weight = np.ones(len(right)) if one.weight is None else one.weight
        value, signs = _calibration(right - confidence, bins, weight)
        generator = case.generator("ece", one.target)
        draws = np.array([
            _calibration((generator.random(len(right)) < confidence) - confidence, bins, weight)[0] for _ in range(case.effort.draws)
        ])  # fmt: skip
        linear = weighted_mean(signs[bins] * (right - confidence), weight)[1]
        case.pictures.setdefault("reliability", {})[one.target] = (confidence, right, bins, weight)
        over = float(weight @ (confidence - right)) > 0
        note = f"{int(bins.max()) + 1} bins of equally many rows; null: a calibrated model, {case.effort.draws} draws"
        null, null_error = float(draws.mean()), float(draws.std(ddof=1))
        error = error_of_distance(value, linear, draws)
        made = Statistic("ece", one.target, value, error, null, null_error, permutation_p(value, draws), len(right), note)
        word = "more sure than it is right" if over else "less sure than it could be"
        rows.append(made.with_(claim=f"target '{one.target}': the probabilities are not calibrated, the classifier is {word} ({made})"))
    return rows


def rmse(case: Case) -> list[Statistic]:
    """Root of the mean squared error in the target's units, against always answering the mean."""
    rows = []
    for one in _regressed(case):
        square, constant = _squares(one)
        made = _against_constant("rmse", one, square, constant, "always answering the mean", larger_is_better=False)
        value, null = np.sqrt(made.value), np.sqrt(made.null)
        errors = {"error": made.error / (2 * value) if value > 0 else 0.0, "null_error": made.null_error / (2 * null) if null > 0 else 0.0}
        rows.append(made.with_(value=float(value), null=float(null), **errors))
    return rows


def r2(case: Case) -> list[Statistic]:
    """Share of the target's variance that the predictions explain; 0 is the mean as constant answer."""
    rows = []
    for one in _regressed(case):
        square, constant = _squares(one)
        total = weighted_mean(constant, one.weight)[0]
        if not total > 0:
            raise LeftOut(f"the target '{one.target}' is constant")
        ratio = weighted_mean(square, one.weight)[0] / total
        error = weighted_mean((square - ratio * constant) / total, one.weight)[1]
        note = "null: always answering the mean"
        rows.append(Statistic("r2", one.target, 1 - ratio, error, 0.0, n=len(square), note=note, alarm="never"))
    return rows


def spread_coverage(case: Case) -> list[Statistic]:
    """Share of targets within one predicted standard deviation of the prediction: 68.3 % if the spread is honest and the noise normal."""
    rows = []
    for one in _regressed(case):
        if one.spread is None or one.mean is None:
            continue
        pull = (one.truth - one.mean) / np.maximum(one.spread, 1e-300)
        value, error = weighted_mean((np.abs(pull) <= 1).astype(np.float64), one.weight)
        expected = 0.6826894921370859
        effective = len(pull) if one.weight is None else one.weight.sum() ** 2 / np.square(one.weight).sum()
        null_error = float(np.sqrt(expected * (1 - expected) / effective))
        case.pictures.setdefault("pulls", {})[one.target] = (pull, one.weight)
        p = _two_sided((value - expected) / null_error)
        note = "share of targets within one predicted standard deviation; null: normal noise of that size"
        error = max(error, 1 / (len(pull) + 2))
        made = Statistic("spread_coverage", one.target, value, error, expected, null_error, p, len(pull), note)
        word = "too narrow" if value < expected else "too wide"
        rows.append(made.with_(claim=f"target '{one.target}': the predicted standard deviations are {word} ({made})"))
    return rows


# ---- parts -----------------------------------------------------------------------------------------------------------


def _classified(case: Case) -> list[Predictions]:
    return [_enough(one) for one in case.predictions if one.probability is not None]


def _regressed(case: Case) -> list[Predictions]:
    return [_enough(one) for one in case.predictions if one.mean is not None]


def _enough(one: Predictions) -> Predictions:
    if len(one.truth) < FEWEST:
        raise LeftOut(f"{len(one.truth)} rows; predictions are judged from {FEWEST}")
    return one


def _shares(one: Predictions) -> Floats:
    """Frequency of each class among the checked rows: the best constant answer there is."""
    assert one.probability is not None
    counts = np.bincount(one.truth, weights=one.weight, minlength=one.probability.shape[1])
    return counts / counts.sum()


def _squares(one: Predictions) -> tuple[Floats, Floats]:
    """Squared error of each row, and of the mean as constant answer."""
    assert one.mean is not None
    centre = weighted_mean(one.truth, one.weight)[0]
    return np.square(one.truth - one.mean), np.square(one.truth - centre)


def _against_constant(name: str, one: Predictions, scores: Floats, constant: Floats, words: str, *, larger_is_better: bool) -> Statistic:
    """Mean score beside the constant's, with the one-sided p-value of the paired difference: small if the model beats the constant."""
    value, error = weighted_mean(scores, one.weight)
    null, null_error = weighted_mean(constant, one.weight)
    gain, gain_error = weighted_mean(scores - constant if larger_is_better else constant - scores, one.weight)
    error = max(error, 1 / (len(scores) + 2)) if name == "accuracy" else error  # n right answers out of n do not prove 100 %
    p = _one_sided(gain / gain_error) if gain_error > 0 else (0.0 if gain > 0 else 1.0)
    note = f"null: {words}; p is small if the model beats it"
    claim = f"target '{one.target}': the predictions are no better than {words} ({name} {plus_minus(value, error)} against {number(null)})"
    return Statistic(name, one.target, value, error, null, null_error, p, len(scores), note, claim=claim, alarm="high")


def _equal_bins(confidence: Floats) -> np.ndarray:
    """``(n,)`` bin of each row; equal confidences share a bin."""
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, min(BINS, max(1, len(confidence) // 5)) + 1)))[1:-1]
    return np.unique(np.searchsorted(edges, confidence, side="right"), return_inverse=True)[1]


def _calibration(gap: Floats, bins: np.ndarray, weight: Floats) -> tuple[float, Floats]:
    sums = np.bincount(bins, weights=weight * gap)
    return float(np.abs(sums).sum() / weight.sum()), np.sign(sums)


def _one_sided(z: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(-z))


def _two_sided(z: float) -> float:
    from scipy.special import ndtr

    return float(2 * ndtr(-abs(z)))
