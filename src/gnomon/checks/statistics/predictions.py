"""Predictions beside the truth: accuracy, log-loss and recall of every class; for numbers the error and the share explained.

The null of a score is the best constant answer on the same rows. Whether chances and spreads are honest is judged in `calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnomon.checks.case import Case, Predictions
from gnomon.checks.measures.calibration import wilson
from gnomon.checks.nulls import holm
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number, plus_minus
from gnomon.checks.statistics.likelihood import weighted_mean

FEWEST = 10
_SMALLEST = 1e-12  # probabilities are not taken to be smaller than this
_FEWEST_OF_A_CLASS = 5
_MOST_CLASSES = 12
"""So many classes get a row: those recognised worst."""


def accuracy(case: Case) -> list[Statistic]:
    """Share of rows whose class is predicted right, against always answering the most frequent class."""
    rows = []
    for one in classified(case):
        right = (one.probability.argmax(axis=1) == one.truth).astype(np.float64)  # type: ignore[union-attr]
        constant = (one.truth == shares(one).argmax()).astype(np.float64)
        rows.append(_against_constant("accuracy", one, right, constant, "always answering the most frequent class", larger_is_better=True))
    return rows


def log_loss(case: Case) -> list[Statistic]:
    """Mean of −log(probability given to the true class) in nats, against always answering the class frequencies."""
    rows = []
    for one in classified(case):
        picked = one.probability[np.arange(len(one.truth)), one.truth]  # type: ignore[index]
        loss = -np.log(np.maximum(picked, _SMALLEST))
        constant = -np.log(np.maximum(shares(one), _SMALLEST))[one.truth]
        rows.append(_against_constant("log_loss", one, loss, constant, "always answering the class frequencies", larger_is_better=False))
    return rows


def class_recall(case: Case) -> list[Statistic]:
    """Share of each class's rows that are predicted right, worst classes first: a finding where one is recognised much less than others.

    Some classes are harder than others, which is no fault. So the null is a recall of half of what the other classes have on average,
    and the p-value is the binomial chance of so few right answers under it, corrected for the number of classes.
    """
    rows: list[Statistic] = []
    for one in classified(case):
        assert one.probability is not None
        weight = np.ones(len(one.truth)) if one.weight is None else np.maximum(one.weight, 0.0)
        right = one.probability.argmax(axis=1) == one.truth
        counts, mass, squares, found = (
            np.bincount(one.truth, weights=part, minlength=one.probability.shape[1])
            for part in (np.ones(len(right)), weight, np.square(weight), weight * right)
        )
        known = np.flatnonzero((counts >= _FEWEST_OF_A_CLASS) & (mass > 0))
        if len(known) < 2:
            continue
        recall = found[known] / mass[known]
        effective = np.square(mass[known]) / squares[known]
        others = (recall.sum() - recall) / (len(known) - 1)
        rows += _recalls(one, known, recall, effective, others)
    return rows


def rmse(case: Case) -> list[Statistic]:
    """Root of the mean squared error in the target's units, against always answering the mean."""
    rows = []
    for one in regressed(case):
        square, constant = _squares(one)
        made = _against_constant("rmse", one, square, constant, "always answering the mean", larger_is_better=False)
        value, null = np.sqrt(made.value), np.sqrt(made.null)
        errors = {"error": made.error / (2 * value) if value > 0 else 0.0, "null_error": made.null_error / (2 * null) if null > 0 else 0.0}
        rows.append(made.with_(value=float(value), null=float(null), **errors))
    return rows


def r2(case: Case) -> list[Statistic]:
    """Share of the target's variance that the predictions explain; 0 is the mean as constant answer."""
    rows = []
    for one in regressed(case):
        square, constant = _squares(one)
        total = weighted_mean(constant, one.weight)[0]
        if not total > 0:
            raise LeftOut(f"the target '{one.target}' is constant")
        ratio = weighted_mean(square, one.weight)[0] / total
        error = weighted_mean((square - ratio * constant) / total, one.weight)[1]
        note = "null: always answering the mean"
        rows.append(Statistic("r2", one.target, 1 - ratio, error, 0.0, n=len(square), note=note, alarm="never"))
    return rows


# ---- parts that other statistics of predictions share --------------------------------------------------------------------


def classified(case: Case, fewest: int = FEWEST) -> list[Predictions]:
    """The predictions of classes. Raises LeftOut if there are fewer rows than `fewest`."""
    return [_enough(one, fewest) for one in case.predictions if one.probability is not None]


def regressed(case: Case, fewest: int = FEWEST) -> list[Predictions]:
    """The predictions of numbers. Raises LeftOut if there are fewer rows than `fewest`."""
    return [_enough(one, fewest) for one in case.predictions if one.mean is not None]


def shares(one: Predictions) -> Floats:
    """Frequency of each class among the checked rows: the best constant answer there is."""
    assert one.probability is not None
    counts = np.bincount(one.truth, weights=one.weight, minlength=one.probability.shape[1])
    return counts / counts.sum()


def positive_weight(one: Predictions) -> Floats | None:
    """The weights, where a statistic has no meaning for negative ones. Raises LeftOut if there are any."""
    if one.weight is not None and (one.weight < 0).any():
        raise LeftOut(f"{int((one.weight < 0).sum())} of {len(one.weight)} weights are negative")
    return one.weight


def over_targets(rows: Sequence[Statistic]) -> list[Statistic]:
    """The same rows, one per target, with their p-values corrected for the number of targets."""
    return [row.with_(corrected=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True)] if len(rows) > 1 else list(rows)


def one_sided(z: float) -> float:
    """Chance that a standard normal number exceeds z."""
    from scipy.special import ndtr

    return float(ndtr(-z))


def two_sided(z: float) -> float:
    """Chance that a standard normal number is further from 0 than z."""
    return 2 * one_sided(abs(z))


# ---- parts ---------------------------------------------------------------------------------------------------------------


def _enough(one: Predictions, fewest: int) -> Predictions:
    if len(one.truth) < fewest:
        raise LeftOut(f"{len(one.truth)} rows; predictions are judged from {fewest}")
    return one


def _recalls(one: Predictions, known: np.ndarray, recall: Floats, rows: Floats, others: Floats) -> list[Statistic]:
    """The rows of the worst classes; `rows` is the number of equally weighted rows that carry as much."""
    limit = others / 2
    p = np.array([_binomial_p(share, count, least) for share, count, least in zip(recall, rows, limit, strict=True)])
    corrected = holm(p.tolist())
    made = []
    for k in np.lexsort((recall, p))[:_MOST_CLASSES]:
        low, high = wilson(recall[k], rows[k])
        where = f"class '{one.classes[known[k]] if one.classes else known[k]}' of {one.target}"
        note = f"null: half the mean recall of the other classes, {number(others[k])}"
        if len(known) > _MOST_CLASSES:
            note += f"; the {_MOST_CLASSES} worst of {len(known)} classes are shown"
        error, null_error = float(high - low) / 2, float(np.sqrt(limit[k] * (1 - limit[k]) / rows[k]))
        row = Statistic("class_recall", where, float(recall[k]), error, float(limit[k]), null_error, float(p[k]), int(rows[k]), note)
        told = f"{100 * recall[k]:.0f} % of its rows are recognised, {100 * others[k]:.0f} % of those of the other classes on average"
        made.append(row.with_(corrected=corrected[k], claim=f"{where}: {told} ({row})"))
    return made


def _binomial_p(share: float, rows: float, least: float) -> float:
    """Chance of at most so large a share of right answers among so many rows; continuous in the number of rows, which weights make so."""
    from scipy.special import betainc

    right = share * rows
    return 1.0 if least <= 0 or right >= rows else float(betainc(rows - right, right + 1, 1 - least))


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
    p = one_sided(gain / gain_error) if gain_error > 0 else (0.0 if gain > 0 else 1.0)
    note = f"null: {words}; p is small if the model beats it"
    claim = f"target '{one.target}': the predictions are no better than {words} ({name} {plus_minus(value, error)} against {number(null)})"
    return Statistic(name, one.target, value, error, null, null_error, p, len(scores), note, claim=claim, alarm="high")
