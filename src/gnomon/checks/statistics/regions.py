"""Where in the columns some rows lie that others do not, in plain words: a range of one column or of two.

Which rows are meant, and what is wrong with them, is for the statistics to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.sides import Floats, Side, Sides
from gnomon.checks.statistic import number
from gnomon.data import Categorical

_STANDARD_ERRORS = 5.0  # by so many the share inside a region must lie above the share outside
_FEWEST = 50


@dataclass(frozen=True)
class Region:
    """A part of the columns in which marked rows are frequent, by rows that were not used to find it.

    Args:
        words: that follow "rows with …".
        size: share of all rows that lie in it.
        inside: share of marked rows among those in it.
        outside: share of marked rows among the others.
    """

    words: str
    size: float
    inside: float
    outside: float


def region(sides: Sides, side: Side, marked: NDArray[np.bool_], generator: np.random.Generator) -> Region | None:
    """The range of at most two columns in which marked rows are most surely more frequent than elsewhere; None if there is none.

    A small tree finds it on half of the rows; the shares are those of the other half, where they have to differ by 5 standard errors.

    Args:
        sides: for the columns.
        side: whose rows these are.
        marked: ``(rows,)``.
        generator: source of chance.
    """
    half = generator.permutation(len(side)) % 2 == 0
    if min(marked[half].sum(), (~marked[half]).sum()) < 5 or len(side) < _FEWEST:
        return None
    names, values = _readable(sides, side)
    best: tuple[float, NDArray[np.bool_], str] | None = None
    for depth in (1, 2):
        for inside, words in _leaves(names, values, marked, half, depth):
            surprise = _difference(marked[half], inside[half])
            if best is None or surprise > 1.2 * best[0]:  # one column says it better than two, if it says it nearly as well
                best = (surprise, inside, words)
    if best is None:
        return None
    _, inside, words = best
    rest = ~half
    if not _difference(marked[rest], inside[rest]) > _STANDARD_ERRORS:
        return None
    return Region(words, float(inside.mean()), float(marked[rest & inside].mean()), float(marked[rest & ~inside].mean()))


def _difference(marked: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    """By how many standard errors, if marks were shared out by chance, the share of marked rows is larger inside."""
    first, second, overall = marked[inside], marked[~inside], float(marked.mean())
    if len(first) < 5 or len(second) < 5 or not 0 < overall < 1:
        return 0.0
    return float((first.mean() - second.mean()) / np.sqrt(overall * (1 - overall) * (1 / len(first) + 1 / len(second))))


def _readable(sides: Sides, side: Side) -> tuple[list[tuple[str, str | None]], Floats]:
    """Columns as they are, categories one by one: (column, category) of each, and ``(rows, quantities)``."""
    names: list[tuple[str, str | None]] = []
    values: list[Floats] = []
    for i, column in enumerate(sides.columns):
        if isinstance(column.support, Categorical):
            for code in sides.indicated()[i]:
                names.append((column.name, str(column.support.values[code])))
                values.append((side.values[:, i] == code).astype(np.float64))
        else:
            names.append((column.name, None))
            values.append(side.values[:, i])
    return names, np.stack(values, axis=1) if values else np.empty((len(side), 0))


def _leaves(
    names: list[tuple[str, str | None]], values: Floats, marked: NDArray[np.bool_], half: NDArray[np.bool_], depth: int
) -> list[tuple[NDArray[np.bool_], str]]:
    """The leaves of a tree grown on half of the rows: which rows lie in each, and its conditions in words."""
    from sklearn.tree import DecisionTreeClassifier

    if not values.shape[1]:
        return []
    least = max(10, int(half.sum()) // 100)
    tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=least, class_weight="balanced", random_state=0)
    grown = tree.fit(values[half], marked[half]).tree_
    found: list[tuple[NDArray[np.bool_], str]] = []

    def descend(node: int, bounds: dict[int, tuple[float, float]], inside: NDArray[np.bool_]) -> None:
        if grown.children_left[node] < 0:
            if bounds:
                found.append((inside, _conditions(names, bounds)))
            return
        k, cut = int(grown.feature[node]), float(grown.threshold[node])
        low, high = bounds.get(k, (-np.inf, np.inf))
        below = values[:, k].astype(np.float32) <= cut  # as the tree sees them
        descend(int(grown.children_left[node]), bounds | {k: (low, min(high, cut))}, inside & below)
        descend(int(grown.children_right[node]), bounds | {k: (max(low, cut), high)}, inside & ~below)

    descend(0, {}, np.ones(len(values), dtype=bool))
    return found


def _conditions(names: list[tuple[str, str | None]], bounds: dict[int, tuple[float, float]]) -> str:
    """Bounds in words, joined by "and"."""
    return " and ".join(_condition(*names[k], *limits) for k, limits in bounds.items())


def _condition(name: str, category: Any, low: float, high: float) -> str:
    """One bound in words.

    Example:
        >>> _condition("pt", None, 2.0, 3.5), _condition("pt", None, 2.0, np.inf), _condition("colour", "red", 0.5, np.inf)
        ("'pt' between 2 and 3.5", "'pt' above 2", "'colour' = red")
    """
    if category is not None:
        return f"'{name}' = {category}" if low > 0 else f"'{name}' other than {category}"
    if not np.isfinite(low):
        return f"'{name}' below {number(high)}"
    return f"'{name}' above {number(low)}" if not np.isfinite(high) else f"'{name}' between {number(low)} and {number(high)}"


def percent(share: float) -> str:
    """A share in two figures.

    Example:
        >>> percent(0.0312), percent(1.0), percent(0.99987)
        ('3.1 %', '100 %', '99.987 %')
    """
    return f"{100 * share:.2g} %" if 100 * share < 99 else f"{number(100 * share, 5)} %"
