"""Two-sample test by classifiers: how well each of several tells generated rows from real ones on rows it was not trained on.

What classifiers there are stands in `classifiers` and `neural_classifiers`. Differences of single columns are measured in `columns`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.measures.ranking import roc_auc, roc_auc_influence
from gnomon.checks.measures.ranking_curves import Bands, roc_bands
from gnomon.checks.nulls import holm
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.checks.statistics.classifiers import Bools, Classifier, Rows, Table, Trees, tabulate
from gnomon.checks.statistics.regions import percent, region
from gnomon.errors import DataError

FEWEST = 20
"""Rows a side below which no classifier is trained."""

_SURPRISE = 0.01  # p-value from which on it is looked for what gives generated rows away
_COLUMNS = 100  # tables with more columns have no importance per column
_SHUFFLED = 10_000  # rows a fold on which columns are shuffled
_DRAWN = 20_000  # rows of which the ROC curve is drawn, and a side among which the place is sought


@dataclass(frozen=True, eq=False)
class Discrimination:
    """How one classifier tells the sides apart, for the figures of the report.

    Args:
        where: as in the statistic ("all columns (MLP)").
        words: what the classifier is ("boosted trees").
        area: area under the ROC curve.
        error: its standard error.
        curve: the ROC curve of its decisions about rows that it was not trained on, ranked within each fold, with its band.
        columns: names of the columns that it sees, the most important first; empty where columns are not what it sees.
        importance: ``(columns,)`` by how much the area falls if the column is shuffled.
        importance_error: ``(columns,)`` standard errors.
    """

    where: str
    words: str
    area: float
    error: float
    curve: Bands
    columns: tuple[str, ...]
    importance: Floats
    importance_error: Floats


@dataclass(frozen=True, eq=False)
class Fold:
    """A classifier and the rows that it was not trained on.

    Args:
        rows: of the table.
        classifier: trained on all others; where it was trained on many labellings, it decides for all of them.
        decisions: ``(copies, rows)``.
    """

    rows: Rows
    classifier: Classifier
    decisions: Floats


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What cross-fitted classifiers achieved, for each labelling.

    Args:
        areas: ``(copies,)`` area under the ROC curve on rows not trained on, the mean over the folds.
        error: standard error of the first by DeLong's components, for the classifiers as trained.
        folds: the parts.
    """

    areas: Floats
    error: float
    folds: list[Fold]


@dataclass(frozen=True, eq=False)
class Judged:
    """A statistic, and the classifiers behind it."""

    statistic: Statistic
    found: CrossFit


def c2st_auc(case: Case) -> list[Statistic]:
    """Area under the ROC curve of cross-fitted classifiers, 0.5 if they cannot tell the sides apart; one row per classifier.

    Boosted trees look at every sort of data; beside them an MLP at tables, a CNN at images, Deep Sets at sets. See `judged_by` for the
    null and the p-values, which are corrected for the number of classifiers by Holm's method.

    Reference: Lopez-Paz & Oquab 2017, https://arxiv.org/abs/1610.06545.

    Raises:
        LeftOut: fewer than 20 rows on a side, or weights that sum to less than zero in a part of the rows.
    """
    sides = case.sides
    if sides is None or not sides.compared:
        return []
    if sides.rows < FEWEST:
        raise LeftOut(f"{sides.rows} rows on the smaller side; a classifier wants at least {FEWEST}")
    rows, pictures = [], []
    for make in classifiers_for(sides):
        row, picture = _look(make, sides, case)
        rows.append(row)
        pictures.append(picture)
    case.pictures["c2st"] = pictures
    return [row.with_(corrected=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True)]


def classifiers_for(sides: Sides) -> list[Any]:
    """The classes of the classifiers that look at such rows."""
    from gnomon.checks.statistics.neural_classifiers import Convolutional, Perceptron, SetEncoder

    if sides.real.pixels is not None and sides.generated.pixels is not None:
        return [Trees, Convolutional]
    sets = (sides.real.sets, sides.generated.sets)
    if all(one is not None and len(one.values) for one in sets):
        return [Trees, SetEncoder]
    return [Trees, Perceptron]


def _look(make: Any, sides: Sides, case: Case) -> tuple[Statistic, Discrimination]:
    """What one classifier sees, in numbers, in words, and for the figures."""
    generator, sizes = sides.generator("c2st", make.where), make.sizes(sides, case.effort)
    part = _cut(sides, sizes.rows)
    table = tabulate(part, make.views)
    try:
        made = judged_by(make, table, sizes.retrainings, generator, name="c2st_auc", retraining_rows=sizes.retraining_rows)
    except DataError as reason:
        raise LeftOut(str(reason)) from reason
    row = made.statistic.with_(where=make.where, n=part.rows)
    note = f"{make.words}, {len(made.found.folds)}-fold; null from {sizes.retrainings} trainings on relabelled rows, p by Student's t"
    if max(table.real, table.generated) > sizes.retraining_rows:
        note += f"; these on {sizes.retraining_rows:,} rows a side, their spread scaled to all rows"
    note += "" if part is sides else f"; on {table.real:,} real and {table.generated:,} generated rows drawn at random"
    seen = row.p < _SURPRISE and row.value > row.null
    names, loss, error = _importance(made.found, table, generator)
    telling = _telling(names, loss, error) if seen else ()
    row = row.with_(note=note, claim=_claim(row, make.words, telling, _place(part, generator) if seen and telling else ""))
    return row, Discrimination(make.where, make.words, row.value, row.error, _curve(made.found, table, generator), names, loss, error)


def judged_by(
    make: Callable[[], Any],
    table: Table,
    retrainings: int,
    generator: np.random.Generator,
    *,
    name: str,
    retraining_rows: int | None = None,
) -> Judged:
    """AUC, error, null and p of the classifiers that `make` makes; shared by all classifier tests.

    Test rows of one fold train the others, so under the null the areas of the folds vary together, and by more than the textbook
    (Mann and Whitney's variance of fixed scores) has it. By how much is measured: the whole procedure is repeated on relabelled rows.
    That ratio depends on the classifier but hardly on the number of rows, so long tables are relabelled on few of theirs. Relabelling
    within folds makes 0.5 the exact mean; the p-value takes the relabelled areas as draws of a normal law about 0.5 with unknown spread
    (Student's t), so that it can be small after few trainings. It is two-sided: an AUC below 0.5 means that generated rows are copies
    of real ones, which a classifier trained on the originals takes for real.

    Args:
        make: gives an untrained `Classifier`.
        table: the pooled rows.
        retrainings: how many relabelled copies of the whole procedure form the null.
        generator: source of chance.
        name: of the statistic.
        retraining_rows: at most so many rows a side for these; all if None.

    Raises:
        DataError: the weights of a part of the rows sum to less than zero.

    Reference: DeLong et al. 1988, Biometrics 44, 837 (error).
    """
    from scipy.special import stdtr

    folds = 2 if len(table) >= 400 else 4
    small = table if retraining_rows is None else table.drawn(retraining_rows, generator)
    fold = _folds(table, folds, generator)
    if small is table:
        labels = np.concatenate([table.labels[None], _relabelled(table, fold, retrainings, generator)])
        found = cross_fit(make, table, labels, fold, generator)
        draws = found.areas[1:]
    else:
        found = cross_fit(make, table, table.labels[None], fold, generator)
        fold = _folds(small, folds, generator)
        draws = cross_fit(make, small, _relabelled(small, fold, retrainings, generator), fold, generator).areas
    factor = float(np.square(draws - 0.5).mean()) / _textbook_variance(small)
    spread = max(float(np.sqrt(factor * _textbook_variance(table))), 1e-12)
    area = float(found.areas[0])
    p = float(2 * stdtr(retrainings, -abs(area - 0.5) / spread))
    # Far from 0.5 the classifiers of all folds agree on what they saw, and their areas no longer vary together.
    share = min(1.0, (spread / max(abs(area - 0.5), 1e-12)) ** 2)
    error = found.error * float(np.sqrt(1 + (factor - 1) * share))
    error = max(error, 1 / (min(table.real, table.generated) + 2))
    return Judged(Statistic(name, "all columns", area, error, 0.5, spread, p), found)


def cross_fit(make: Callable[[], Any], table: Table, labels: Bools, fold: Rows, generator: np.random.Generator) -> CrossFit:
    """Train on all folds but one, judge on that one, in turn.

    Args:
        make: gives an untrained `Classifier`.
        table: the rows.
        labels: ``(copies, rows)``, each a labelling of its own.
        fold: ``(rows,)`` number of the fold that a row is judged in.
        generator: source of chance.
    """
    parts, areas, errors = [], [], []
    for k in range(int(fold.max()) + 1):
        train, test, seed = np.flatnonzero(fold != k), np.flatnonzero(fold == k), int(generator.integers(2**31))
        classifier, decisions = _decided(make, table, train, test, labels, seed)
        weight = None if table.weight is None else table.weight[test]
        made = [auc(decision, own[test], weight) for decision, own in zip(decisions, labels, strict=True)]
        parts.append(Fold(test, classifier, decisions))
        areas.append([area for area, _ in made])
        errors.append(made[0][1])
    return CrossFit(np.mean(areas, axis=0), float(np.sqrt(np.square(errors).sum()) / len(errors)), parts)


def _decided(make: Callable[[], Any], table: Table, train: Rows, test: Rows, labels: Bools, seed: int) -> tuple[Any, Floats]:
    """The first labelling's classifier (or that of all), and ``(copies, test rows)``."""
    first = make()
    if getattr(first, "many", False):
        return first, first.fit(table, train, labels, seed).decision(table, test)
    first.fit(table, train, labels[0], seed)
    others = [make().fit(table, train, own, seed).decision(table, test) for own in labels[1:]]
    return first, np.stack([first.decision(table, test), *others])


def auc(scores: Floats, labels: Bools, weight: Floats | None = None) -> tuple[float, float]:
    """Area under the ROC curve and its standard error by DeLong's components; ties count half.

    Args:
        scores: ``(n,)``, larger for rows believed to have a true label.
        labels: ``(n,)`` the truth.
        weight: ``(n,)`` or None.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))[0]
        0.75
    """
    made = roc_auc(scores, labels, weight)
    return made.value, made.error


def _cut(sides: Sides, rows: int) -> Sides:
    """At most `rows` a side; as many on both if there are weights, where unequal sides would give relabelled rows another spread."""
    if sides.weighted and len(sides.real) != len(sides.generated):
        rows = min(rows, sides.rows)
    return sides.take(rows)


def _textbook_variance(table: Table) -> float:
    """Variance of the AUC of fixed scores that know nothing (Mann and Whitney's), for rows of equal weight that carry as much."""
    weight = np.ones(len(table)) if table.weight is None else table.weight
    first, second = (np.square(part.sum()) / np.square(part).sum() for part in (weight[: table.real], weight[table.real :]))
    return float((1 / first + 1 / second + 1 / (first * second)) / 12)


def _folds(table: Table, folds: int, generator: np.random.Generator) -> Rows:
    """``(rows,)`` the fold of each row: pairs stay in one, and both sides are shared out evenly."""
    first = generator.permutation(table.real) % folds
    return np.concatenate([first, first if table.paired else generator.permutation(table.generated) % folds])


def _relabelled(table: Table, fold: Rows, copies: int, generator: np.random.Generator) -> Bools:
    """``(copies, rows)`` labels that change places within each fold, or within each pair."""
    if table.paired:
        swapped = generator.integers(0, 2, size=(copies, table.real)).astype(bool)
        return np.concatenate([swapped, ~swapped], axis=1)
    made = np.repeat(table.labels[None], copies, axis=0)
    for k in range(int(fold.max()) + 1):
        rows = np.flatnonzero(fold == k)
        made[:, rows] = generator.permuted(made[:, rows], axis=1)
    return made


# ---- what gives generated rows away --------------------------------------------------------------------------------------


def _importance(found: CrossFit, table: Table, generator: np.random.Generator) -> tuple[tuple[str, ...], Floats, Floats]:
    """Columns with the AUC that their shuffling costs, most first, and its standard errors."""
    names = table.columns if table.pixels is None and table.elements is None else ()
    if not 2 <= len(names) <= _COLUMNS:
        return (), np.empty(0), np.empty(0)
    loss, variance = np.zeros(len(names)), np.zeros(len(names))
    for fold in found.folds:
        rows = fold.rows if len(fold.rows) <= _SHUFFLED else np.sort(generator.choice(fold.rows, _SHUFFLED, replace=False))
        part, labels, every = table.at(rows), table.labels[rows], np.arange(len(rows))
        before, parts = roc_auc_influence(_first(fold.classifier, part), labels, part.weight)
        for k, name in enumerate(names):
            mixed = part.shuffled(name, generator.permutation(every))
            after, others = roc_auc_influence(_first(fold.classifier, mixed), labels, part.weight)
            loss[k] += (before - after) / len(found.folds)
            variance[k] += float(np.square(parts - others).sum()) / len(found.folds) ** 2
    order = np.argsort(-loss, kind="stable")
    return tuple(names[k] for k in order), loss[order], np.sqrt(variance[order])


def _first(classifier: Any, table: Table) -> Floats:
    """``(rows,)`` the decisions of the classifier of the first labelling."""
    made = classifier.decision(table, np.arange(len(table)))
    return made if made.ndim == 1 else made[0]


def _telling(names: tuple[str, ...], loss: Floats, error: Floats) -> tuple[str, ...]:
    """Up to three columns that surely matter, and not much less than the first."""
    return tuple(name for name, own, sd in list(zip(names, loss, error, strict=True))[:3] if own > max(2.5 * sd, 0.2 * loss[0]))


def _curve(found: CrossFit, table: Table, generator: np.random.Generator) -> Bands:
    """The ROC curve of all folds together, each row ranked within its own."""
    rows = np.concatenate([fold.rows for fold in found.folds])
    ranks = np.concatenate([_ranks(fold.decisions[0]) for fold in found.folds])
    some = np.arange(len(rows)) if len(rows) <= _DRAWN else generator.choice(len(rows), _DRAWN, replace=False)
    weight = None if table.weight is None else np.maximum(table.weight[rows[some]], 0.0)
    return roc_bands(ranks[some], table.labels[rows[some]], generator=generator, weight=weight, draws=100, points=51)


def _ranks(decisions: Floats) -> Floats:
    """Ranks in (0, 1), ties together."""
    _, place, counts = np.unique(decisions, return_inverse=True, return_counts=True)
    return ((np.cumsum(counts) - 0.5 * counts) / len(decisions))[place]


def _place(sides: Sides, generator: np.random.Generator) -> str:
    """Where rows of one side are plainly too many, in words; empty if there is no such place, or the rows do not count alike."""
    if sides.weighted:
        return ""
    sides = sides.take(_DRAWN)
    both = Side(np.concatenate([sides.real.values, sides.generated.values]))
    labels = np.arange(len(both)) >= len(sides.real)
    made = [region(sides, both, marked, generator) for marked in (labels, ~labels)]
    clear = [(one.inside - one.outside, k) for k, one in enumerate(made) if one is not None]
    if not clear:
        return ""
    k = max(clear)[1]
    one, side, usual = made[k], ("generated", "real")[k], float((labels, ~labels)[k].mean())
    assert one is not None
    return f"; of the rows with {one.words}, {percent(one.inside)} are {side} instead of {percent(usual)}"


def _claim(row: Statistic, words: str, telling: tuple[str, ...], place: str) -> str:
    """The sentence for a finding."""
    if row.value < row.null:
        return f"{row.where}: generated rows are too much like real ones, as copies of them would be ({row})"
    mostly = f", mostly by {_listed(telling)}" if telling else ""
    return f"{row.where}: a classifier ({words}) tells generated rows from real ones{mostly}{place} ({row})"


def _listed(names: tuple[str, ...]) -> str:
    shown = [name if name == "the pixels" else f"'{name}'" for name in names]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + f" and {shown[-1]}"


def describe_auc(value: float, *, known: bool = True) -> str:
    """An AUC in words.

    Args:
        value: the area.
        known: whether it differs from that of two samples of one distribution.

    Example:
        >>> describe_auc(0.52), describe_auc(0.58, known=False)
        ('hard to tell apart by a classifier (AUC 0.52)', 'not told apart by a classifier (AUC 0.58)')
    """
    if not known:
        return f"not told apart by a classifier (AUC {number(value)})"
    if value < 0.45:
        return f"more alike than fresh rows would be (AUC {number(value)})"
    words = ((0.55, "hard to tell apart"), (0.65, "told apart now and then"), (0.8, "often told apart"), (0.95, "mostly told apart"))
    text = next((text for limit, text in words if value < limit), "told apart almost always")
    return f"{text} by a classifier (AUC {number(value)})"
