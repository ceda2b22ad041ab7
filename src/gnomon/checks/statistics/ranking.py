"""How well class probabilities rank the rows: area under the ROC curve and average precision, each class against the others.

For information, since `accuracy` and `log_loss` raise the alarm where nothing was learned. Formulas stand in `measures.ranking`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case, Predictions
from gnomon.checks.measures.ranking import (
    Bools,
    Influence,
    Order,
    average_precision_influence,
    logit_interval,
    midranks,
    one_against_rest,
    roc_auc_influence,
)
from gnomon.checks.measures.ranking_curves import Bands, precision_recall_bands, roc_bands
from gnomon.checks.nulls import permutation_p
from gnomon.checks.pictures import Curves, Section, Series
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number, plus_minus
from gnomon.checks.statistics.predictions import classified, one_sided, positive_weight

_PERMUTED = 200_000  # rows times columns of scores that are permuted; beyond, the law of many rows is used


def roc_auc(case: Case) -> list[Statistic]:
    """Area under the ROC curve: of the second of two classes against the first, or the mean over classes, each against all others.

    The error is DeLong's. The null is 0.5 with the spread that the area has when truth is shuffled against the scores (in closed form),
    or with weights that of the error; the p-value is one-sided and normal.
    """
    rows = []
    for one in classified(case):
        weight = positive_weight(one)
        columns, told = _columns(one)
        value, error, lowest = _judged(roc_auc_influence, one, columns, weight)
        null_error = shuffled_error(columns, one.truth) if weight is None else error
        p = one_sided((value - 0.5) / null_error) if null_error > 0 else float(value <= 0.5)
        low, high = logit_interval(value, error)
        note = f"{told}; 95 % interval {number(low)} to {number(high)}{lowest}; p is small if it beats chance"
        row = Statistic("roc_auc", one.target, value, error, 0.5, null_error, p, len(one.truth), note, alarm="never")
        rows.append(row)
        if len(columns) == 1 and len(one.truth) <= case.effort.null_rows:
            (code, scores), generator = next(iter(columns.items())), case.generator("ranking", one.target)
            show(case, one.target, str(row), scores, one.truth == code, weight, generator)
    return rows


def average_precision(case: Case) -> list[Statistic]:
    """Average precision: of the second of two classes, or the mean over classes, each against all others.

    The null is what shuffled truth gets (weights go along with it), about the share of the class.
    """
    rows = []
    for one in classified(case):
        weight = positive_weight(one)
        columns, told = _columns(one)
        value, error, lowest = _judged(average_precision_influence, one, columns, weight)
        generator = case.generator("average_precision", one.target)
        null = shuffled_precision(value, columns, one.truth, weight, generator, case.effort.few_draws)
        low, high = logit_interval(value, error)
        error = null.error(value, error)
        note = f"{told}; 95 % interval {number(low)} to {number(high)}{lowest}; null: truth shuffled against the scores"
        rows.append(
            Statistic("average_precision", one.target, value, error, null.mean, null.spread, null.p, len(one.truth), note, alarm="never")
        )
    return rows


# ---- nulls, shared with anomaly scores -----------------------------------------------------------------------------------


def shuffled_error(columns: dict[int, Floats], truth: NDArray[Any]) -> float:
    """Standard deviation of the mean area under the ROC curve over all shufflings of the truth, exactly.

    The area is linear in the ranks, so its mean over classes is Σ of a(row, class of the row), whose variance is Hoeffding's.

    Args:
        columns: the scores ``(n,)`` of each class code that is ranked against the others.
        truth: ``(n,)`` class codes.

    Reference: Hoeffding 1951, Annals of Mathematical Statistics 22, 558.
    """
    rows, counts = len(truth), np.bincount(truth)
    mass, total = np.zeros(rows), 0.0
    moved: dict[int, Floats | float] = {}
    for code, scores in columns.items():
        ranks = midranks(scores) * (1 / counts[code] + 1 / (rows - counts[code])) / len(columns)
        moved[code] = ranks - ranks.mean()
        mass = mass + counts[code] / rows * moved[code]
    for code, count in enumerate(counts.tolist()):
        total += count * float(np.square(moved.get(code, 0.0) - mass).sum())
    return float(np.sqrt(total / (rows - 1)))


def shuffled_precision(
    value: float, columns: dict[int, Floats], truth: NDArray[Any], weight: Floats | None, generator: np.random.Generator, draws: int
) -> Shuffled:
    """What average precision is when the truth, with its weights, is shuffled against the scores.

    Of very many rows one shuffling is taken, and the spread of a normal law from the linearised average precision less base rate.

    Args:
        value: the average precision.
        columns: the scores ``(n,)`` of each class code that is ranked against the others.
        truth: ``(n,)`` class codes.
        weight: ``(n,)`` or None.
        generator: of the shuffling.
        draws: how many.
    """

    rows, codes = len(truth), list(columns)

    def shuffled() -> tuple[NDArray[Any], Floats | None]:
        order = generator.permutation(rows)
        return truth[order], None if weight is None else weight[order]

    if rows * len(codes) > _PERMUTED:
        drawn, own = shuffled()
        found = [average_precision_influence(columns[code], drawn == code, own) for code in codes]
        share = np.full(rows, 1 / rows) if own is None else own / own.sum()
        base = [share * ((drawn == code) - float(share @ (drawn == code))) for code in codes]
        null = float(np.mean([one for one, _ in found]))
        spread = float(np.sqrt(np.square(np.mean([parts for _, parts in found], axis=0) - np.mean(base, axis=0)).sum()))
        return Shuffled(null, spread, spread, one_sided((value - null) / spread))
    ordered = {code: Order(scores) for code, scores in columns.items()}
    made = np.empty(draws)
    for k in range(draws):
        drawn, own = shuffled()
        made[k] = np.mean([one.average_precision(drawn == code, own) for code, one in ordered.items()])
    near = float(np.quantile(np.abs(made - made.mean()), 0.6827))
    return Shuffled(float(made.mean()), float(made.std(ddof=1)), near, permutation_p(value, made))


class Shuffled(NamedTuple):
    """A null from shuffled truth.

    Args:
        mean: of the shuffled values.
        spread: their standard deviation.
        near: within which distance of the mean 68.3 % of them lie.
        p: share of them at or above the value.
    """

    mean: float
    spread: float
    near: float
    p: float

    def error(self, value: float, own: float) -> float:
        """The error of a value whose null moves along with it, having the same rows' base rate.

        Near the null it is how far shuffled values lie off; from two such distances on that of the value itself takes over.
        """
        far = abs(value - self.mean) / 2
        share = 1 - (self.near / far) ** 2 if far > self.near else 0.0
        return float(np.sqrt(share * own**2 + (1 - share) * self.near**2))


# ---- figures -------------------------------------------------------------------------------------------------------------


def show(case: Case, name: str, told: str, scores: Floats, truth: Bools, weight: Floats | None, generator: np.random.Generator) -> None:
    """Leave both curves with their bands for the report."""
    words = "Bands hold 68 % of the repetitions with other rows. The grey line is what chance would give."
    section = case.pictures.setdefault("sections", {}).setdefault("ranking", Section("ranking", "Ranking", words))
    base = float(np.average(truth, weights=weight))
    curves = (
        (f"ROC curve of {name}", roc_bands, "false positive rate", "true positive rate", (0.0, 1.0)),
        (f"Precision and recall of {name}", precision_recall_bands, "recall", "precision", (base, base)),
    )
    for title, make, horizontal, vertical, ends in curves:
        made: Bands = make(scores, truth, generator=generator, weight=weight)
        chance = Series(np.array([0.0, 1.0]), np.array(ends), "chance", role="expected")
        series = (chance, Series(made.x, made.y, "", made.low, made.high))
        section.curves.append(Curves(title, series, horizontal, vertical, f"{title}, with its band. {told}", square=True))


# ---- parts ---------------------------------------------------------------------------------------------------------------


def _columns(one: Predictions) -> tuple[dict[int, Floats], str]:
    """The scores of each class that is ranked against the others, by its code, and in words what is ranked.

    Raises:
        LeftOut: all rows are of one class.
    """
    assert one.probability is not None
    there = np.bincount(one.truth, weights=one.weight, minlength=one.probability.shape[1]) > 0
    classes, names = one.probability.shape[1], one.classes or tuple(range(one.probability.shape[1]))
    if there.sum() < 2:
        raise LeftOut(f"all rows are of one class of '{one.target}'")
    if classes == 2:
        return {1: one.probability[:, 1]}, f"'{names[1]}' against '{names[0]}'"
    known = [int(code) for code in np.flatnonzero(there)]
    words = f"mean over {len(known)} classes, each against all others"
    lost = classes - len(known)
    words += f" ({lost} without rows {'is' if lost == 1 else 'are'} left out)" if lost else ""
    return {code: one.probability[:, code] for code in known}, words


def _judged(measure: Influence, one: Predictions, columns: dict[int, Floats], weight: Floats | None) -> tuple[float, float, str]:
    """Value, error, and in words the class that is ranked worst."""
    codes = list(columns)
    if len(codes) == 1:
        value, parts = measure(columns[codes[0]], one.truth == codes[0], weight)
        smallest = min(int((one.truth == codes[0]).sum()), int((one.truth != codes[0]).sum()))
        return value, _above_zero(float(np.sqrt(np.square(parts).sum())), smallest), ""
    assert one.probability is not None
    made = one_against_rest(measure, one.probability, one.truth, weight)
    worst = int(np.nanargmin(made.values))
    name = one.classes[worst] if one.classes else worst
    smallest = int(np.bincount(one.truth)[codes].min())
    return (
        made.mean.value,
        _above_zero(made.mean.error, smallest),
        f"; lowest: '{name}' {plus_minus(made.values[worst], made.errors[worst])}",
    )


def _above_zero(error: float, rows: int) -> float:
    """The error, or where no row is out of order, and so none is seen, about what the next row of the rarer sort might change."""
    return error if error > 0 else 1 / (rows + 2)
