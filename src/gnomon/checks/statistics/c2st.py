"""Two-sample test by a classifier: how well boosted trees tell generated rows from real ones on rows they were not trained on.

One classifier sees what one classifier can see; others belong beside it. Differences of single columns are measured in `columns`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.data import Categorical, Periodic

FEWEST = 20
"""Rows a side below which no classifier is trained."""

_CELLS = 64
_PIXELS = 256  # images with more pixels are shown to the classifier as principal components
_COMPONENTS = 64


@dataclass(frozen=True, eq=False)
class Table:
    """What a classifier is shown: pooled rows, real ones first.

    Args:
        values: ``(rows, F)`` float32.
        cells: ``(rows, F)`` float32: the same in at most 64 cells of about equal occupation on both sides together, codes as they are.
        names: ``(F,)`` the column each feature is made from.
        categorical: ``(F,)`` whether it holds codes.
        real: number of real rows.
        weight: ``(rows,)`` or None.
        paired: whether row i of both sides belongs to one condition.
    """

    values: NDArray[np.float32]
    cells: NDArray[np.float32]
    names: tuple[str, ...]
    categorical: tuple[bool, ...]
    real: int
    weight: Floats | None
    paired: bool

    def __len__(self) -> int:
        return len(self.values)

    def mixed(self, rows: NDArray[np.intp], features: NDArray[np.bool_], generator: np.random.Generator) -> Table:
        """Some rows, with the values of some features shuffled among them."""
        values, cells = self.values[rows], self.cells[rows]
        order = generator.permutation(len(rows))
        values[:, features], cells[:, features] = values[order][:, features], cells[order][:, features]
        return replace(self, values=values, cells=cells, weight=None if self.weight is None else self.weight[rows])


class Classifier:
    """Boosted trees on a `Table`: the default eyes of the test. Anything with this `fit` and `decision` will do in its place.

    They see cells, which are made once for all trainings: a tree would make them anew each time, slowly where there are weights.
    """

    def fit(self, table: Table, rows: NDArray[np.intp], labels: NDArray[np.bool_], seed: int) -> Classifier:
        """Learn to tell rows with a true label (generated) from the others."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        self._trees = HistGradientBoostingClassifier(
            max_iter=int(np.clip(len(rows) // 20, 15, 60)),
            max_leaf_nodes=15,
            min_samples_leaf=int(np.clip(len(rows) // 50, 2, 20)),
            max_bins=_CELLS,
            l2_regularization=1.0,
            early_stopping=False,
            categorical_features=list(table.categorical) if any(table.categorical) else None,
            random_state=seed,
        )
        weight = None if table.weight is None else np.maximum(table.weight[rows], 0.0)
        self._trees.fit(table.cells[rows], labels[rows], sample_weight=weight)
        return self

    def decision(self, table: Table, rows: NDArray[np.intp]) -> Floats:
        """``(n,)``: larger means more like a generated row."""
        return self._trees.decision_function(table.cells[rows])


@dataclass(frozen=True, eq=False)
class Verdict:
    """What cross-fitted classifiers achieved.

    Args:
        auc: area under the ROC curve on rows not trained on, the mean over the folds.
        error: its standard error by DeLong's components, for the classifiers as trained.
        folds: test rows and trained classifier of each fold.
    """

    auc: float
    error: float
    folds: list[tuple[NDArray[np.intp], Any]]


def c2st_auc(case: Case) -> list[Statistic]:
    """Area under the ROC curve of cross-fitted boosted trees, 0.5 if the sides cannot be told apart.

    The null comes from training the classifiers anew on relabelled rows. (Test rows of one fold train the other, so folds vary together
    and the textbook null of an AUC is too narrow: relabelling sees that.) The p-value takes the relabelled AUCs as draws of a normal law
    of unknown mean and spread (Student's t), so that it can be small after few trainings. It is two-sided: an AUC below its null means
    that generated rows are copies of real ones, which a classifier trained on the originals takes for real.

    Reference: Lopez-Paz & Oquab 2017, https://arxiv.org/abs/1610.06545; DeLong et al. 1988, Biometrics 44, 837.

    Raises:
        LeftOut: fewer than 20 rows on a side.
    """
    sides = case.sides
    if sides is None or not sides.compared:
        return []
    if sides.rows < FEWEST:
        raise LeftOut(f"{sides.rows} rows on the smaller side; a classifier wants at least {FEWEST}")
    part = _cut(sides, case.effort.joint_rows)
    table = tabulate(part)
    made = judged_by(Classifier, table, case.effort.retrainings, sides.generator("c2st"), name="c2st_auc")
    note = f"boosted trees, {made.folds}-fold; null from {case.effort.retrainings} trainings on relabelled rows, p by Student's t"
    note += "" if part is sides else f"; on {len(part.real):,} real and {len(part.generated):,} generated rows drawn at random"
    telling = f", mostly by {_listed(made.telling)}" if made.telling else ""
    statistic = made.statistic.with_(n=part.rows, note=note)
    claim = f"all columns: a classifier tells generated rows from real ones{telling} ({statistic})"
    if statistic.value < statistic.null:
        claim = f"all columns: generated rows are too much like real ones, as copies of them would be ({statistic})"
    return [statistic.with_(claim=claim)]


@dataclass(frozen=True)
class Judged:
    """A statistic with what its sentence needs."""

    statistic: Statistic
    folds: int
    telling: tuple[str, ...]


def judged_by(make: Callable[[], Any], table: Table, retrainings: int, generator: np.random.Generator, *, name: str) -> Judged:
    """AUC, error, null and p of the classifiers that `make` makes; shared by all classifier tests.

    Args:
        make: gives an untrained classifier with the methods of `Classifier`.
        table: the pooled rows.
        retrainings: how many relabelled copies of the whole procedure form the null.
        generator: source of chance.
        name: of the statistic.
    """
    from scipy.special import stdtr

    labels = np.arange(len(table)) >= table.real
    folds = 2 if len(table) >= 400 else 4
    found = cross_fit(make, table, labels, folds, generator)
    draws = np.array([cross_fit(make, table, _relabel(table, generator), folds, generator).auc for _ in range(retrainings)])
    null, spread = float(draws.mean()), float(draws.std(ddof=1))
    t = (found.auc - null) / max(spread * np.sqrt(1 + 1 / retrainings), 1e-12)
    p = float(2 * stdtr(retrainings - 1, -abs(t)))
    error = found.error * float(np.sqrt(max(1.0, spread**2 / _textbook_variance(table))))  # folds vary together
    error = max(error, 1 / (min(table.real, len(table) - table.real) + 2))
    telling = _telling(found, table, labels, generator) if p < 0.01 and t > 0 else ()
    statistic = Statistic(name, "all columns", found.auc, error, null, spread, p)
    return Judged(statistic, folds, telling)


def cross_fit(make: Callable[[], Any], table: Table, labels: NDArray[np.bool_], folds: int, generator: np.random.Generator) -> Verdict:
    """Train on all folds but one, judge on that one, in turn. Pairs stay in one fold, and the labels are shared out evenly."""
    fold = np.empty(len(table), dtype=np.intp)
    if table.paired:
        fold[: table.real] = generator.permutation(table.real) % folds
        fold[table.real :] = fold[: table.real]
    else:
        for side in (labels, ~labels):
            fold[side] = generator.permutation(int(side.sum())) % folds
    results, areas, errors = [], [], []
    for k in range(folds):
        classifier = make().fit(table, np.flatnonzero(fold != k), labels, int(generator.integers(2**31)))
        test = np.flatnonzero(fold == k)
        weight = None if table.weight is None else table.weight[test]
        area, error = auc(classifier.decision(table, test), labels[test], weight)
        results.append((test, classifier))
        areas.append(area)
        errors.append(error)
    return Verdict(float(np.mean(areas)), float(np.sqrt(np.square(errors).sum()) / folds), results)


def auc(scores: Floats, labels: NDArray[np.bool_], weight: Floats | None = None) -> tuple[float, float]:
    """Area under the ROC curve and its standard error by DeLong's components; ties count half.

    Args:
        scores: ``(n,)``, larger for rows believed to have a true label.
        labels: ``(n,)`` the truth.
        weight: ``(n,)`` or None.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))[0]
        0.75
    """
    weight = np.ones(len(scores)) if weight is None else weight
    shares = [weight[side] / weight[side].sum() for side in (labels, ~labels)]
    above, below = scores[labels], scores[~labels]
    wins = _share_below(above, below, shares[1])
    losses = 1.0 - _share_below(below, above, shares[0])
    area = float(np.clip(shares[0] @ wins, 0.0, 1.0)) if (weight >= 0).all() else float(shares[0] @ wins)
    variance = sum(float(np.square(share) @ np.square(part - area)) for share, part in zip(shares, (wins, losses), strict=True))
    return area, float(np.sqrt(variance))


def _share_below(points: Floats, scores: Floats, share: Floats) -> Floats:
    """For each point the share of `scores` below it, ties counting half."""
    order = np.argsort(scores)
    reached = np.concatenate([[0.0], np.cumsum(share[order])])
    ordered = scores[order]
    return (reached[np.searchsorted(ordered, points, side="left")] + reached[np.searchsorted(ordered, points, side="right")]) / 2


def tabulate(sides: Sides) -> Table:
    """The rows of both sides as a classifier is shown them: columns, angles also as sine and cosine, and pixels."""
    parts: list[Floats] = []
    names: list[str] = []
    categorical: list[bool] = []
    for i, column in enumerate(sides.columns):
        values = np.concatenate([sides.real.values[:, i], sides.generated.values[:, i]])
        made = [values]
        if isinstance(column.support, Periodic):
            turns = 2 * np.pi * (values - column.support.low) / column.support.period
            made = [values, np.cos(turns), np.sin(turns)]
        parts += made
        names += [column.name] * len(made)
        categorical += [isinstance(column.support, Categorical) and len(column.support.values) <= 64] * len(made)
    if sides.real.pixels is not None and sides.generated.pixels is not None:
        seen = _seen(np.concatenate([side.pixels.reshape(len(side), -1) for side in (sides.real, sides.generated)]))  # type: ignore[union-attr]
        parts += list(seen.T)
        names += ["the pixels"] * seen.shape[1]
        categorical += [False] * seen.shape[1]
    pooled = [np.ones(len(s)) if s.weight is None else s.weight for s in (sides.real, sides.generated)]
    weight = np.concatenate(pooled) if sides.weighted else None
    values32 = np.stack(parts, axis=1).astype(np.float32)
    cells = np.stack([v if code else _celled(v) for v, code in zip(parts, categorical, strict=True)], axis=1).astype(np.float32)
    return Table(values32, cells, tuple(names), tuple(categorical), len(sides.real), weight, sides.paired)


def _celled(values: Floats) -> Floats:
    """The number of the cell in which each value lies."""
    distinct = np.unique(values)
    edges = distinct[1:] if len(distinct) <= _CELLS else np.unique(np.quantile(values, np.linspace(0, 1, _CELLS + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.float64)


def _seen(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels as they are, or the leading principal components of both sides together (which know nothing of the labels)."""
    pixels = pixels.astype(np.float32)
    if pixels.shape[1] <= _PIXELS:
        return pixels
    from sklearn.decomposition import PCA

    return PCA(min(_COMPONENTS, len(pixels) - 1), svd_solver="randomized", random_state=0).fit_transform(pixels).astype(np.float32)


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


def _relabel(table: Table, generator: np.random.Generator) -> NDArray[np.bool_]:
    labels = np.arange(len(table)) >= table.real
    if not table.paired:
        return generator.permutation(labels)
    swapped = generator.integers(0, 2, size=table.real).astype(bool)
    return np.concatenate([swapped, ~swapped])


def _telling(found: Verdict, table: Table, labels: NDArray[np.bool_], generator: np.random.Generator) -> tuple[str, ...]:
    """Up to three columns whose shuffling costs the classifiers most of their AUC."""
    names = list(dict.fromkeys(table.names))
    if len(names) < 2 or len(names) > 100:
        return ()
    loss = np.zeros(len(names))
    for test, classifier in found.folds:
        test = test if len(test) <= 4000 else np.sort(generator.permutation(test)[:4000])
        weight = None if table.weight is None else table.weight[test]
        before = auc(classifier.decision(table, test), labels[test], weight)[0]
        for k, name in enumerate(names):
            mine = np.array([other == name for other in table.names])
            mixed = table.mixed(test, mine, generator)
            loss[k] += (before - auc(classifier.decision(mixed, np.arange(len(test))), labels[test], weight)[0]) / len(found.folds)
    order = [k for k in np.argsort(-loss)[:3] if loss[k] > max(0.01, 0.2 * loss.max())]
    return tuple(names[k] for k in order)


def _listed(names: tuple[str, ...]) -> str:
    shown = [name if name == "the pixels" else f"'{name}'" for name in names]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + f" and {shown[-1]}"


def describe_auc(value: float) -> str:
    """An AUC in words.

    Example:
        >>> describe_auc(0.52)
        'hard to tell apart by a classifier (AUC 0.52)'
    """
    if value < 0.45:
        return f"more alike than fresh rows would be (AUC {number(value)})"
    words = ((0.55, "hard to tell apart"), (0.65, "told apart now and then"), (0.8, "often told apart"), (0.95, "mostly told apart"))
    text = next((text for limit, text in words if value < limit), "told apart almost always")
    return f"{text} by a classifier (AUC {number(value)})"
