"""Pairs of columns by their ranks: what `correlation` looks at, where heavy tails leave the correlation of the values to a few rows.

Only ranks and how rows move them are here; matrices, null and sentence are those of `correlation`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.checks.statistic import Statistic
from gnomon.checks.statistics.correlation import Correlations, applies, correlations, null, row
from gnomon.data import Categorical, Periodic

_RANKED = 100_000  # rows a side that are ranked


def rank_correlation(case: Case) -> list[Statistic]:
    """The largest difference of Spearman's correlation of any two columns, generated minus real, as `correlation` does with values.

    Each side is ranked by itself, so that it does not matter how single columns are distributed. Angles and categories are not ranked:
    they enter through sine, cosine and indicators. At most 100,000 rows a side are looked at.

    Reference: for what a row moves, Hájek's projection; Hollander, Wolfe & Chicken 2014, Nonparametric Statistical Methods, 8.5.

    Raises:
        LeftOut: fewer than 10 rows on a side.
    """
    if case.sides is None or not applies(case.sides):
        return []
    whole = case.sides.take(_RANKED)
    sides = replace(
        whole, real=ranked(whole, whole.real), generated=ranked(whole, whole.generated), _known={"indicated": whole.indicated()}
    )
    found = correlations(sides)
    if not found.pairs.any():
        return []
    drawn = null(sides, found, case.effort, fill_influence, "rank_correlation")
    pairs = np.nonzero(found.pairs)
    worst = tuple(int(k[drawn.own.argmax()]) for k in pairs)
    error = found.error.copy()
    error[worst] = _standard_error(sides, found, worst)
    return [row("rank_correlation", "the correlation of their ranks", sides, replace(found, error=error), drawn)]


def ranked(sides: Sides, side: Side) -> Side:
    """The rows of a side with numbers replaced by the share of its weight below them, and half of that at them."""
    values = side.values.copy()
    share = _shares(side)
    for i, column in enumerate(sides.columns):
        if not isinstance(column.support, (Categorical, Periodic)):
            values[:, i] = 1.0 - _above(values[:, i], share[:, None])[:, 0]
    return Side(values, side.weight)


def fill_influence(sides: Sides, side: Side, found: Correlations, made: Floats) -> None:
    """Fill ``(rows, pairs)`` with the influence of each row of a side on each correlation of ranks, as `correlation.Fill`.

    A row enters a product of ranks itself, and moves the ranks of all rows above it.
    """
    width = len(found.features)
    values, share = sides.features_of(Side(side.values))[:, :width], _shares(side)
    centred = values - share @ values
    spread = np.sqrt(np.maximum(share @ np.square(centred), 0.0))
    spread = np.where(spread > 0, spread, 1.0)
    z = centred / spread
    i, j = np.nonzero(found.pairs)
    half = (found.real + found.generated)[i, j] / 4  # half of the correlation that both sides share
    for first in np.unique(i):
        mine = np.flatnonzero(i == first)
        made[:, mine] = z[:, [first]] * z[:, j[mine]] - half[mine] * (np.square(z[:, [first]]) + np.square(z[:, j[mine]]))
    for k in np.unique(np.concatenate([i, j])):
        if isinstance(sides.columns[found.features[k].column].support, (Categorical, Periodic)):
            continue
        lifted = _above(values[:, k], share[:, None] * z) / spread[k]
        lifted -= share @ lifted
        for one, other in ((i, j), (j, i)):
            mine = np.flatnonzero(one == k)
            made[:, mine] += lifted[:, other[mine]] - 2 * half[mine] * lifted[:, [k]]


def _above(values: Floats, mass: Floats) -> Floats:
    """``(rows,), (rows, F) -> (rows, F)``: the mass of the rows above each row, and half of that of the rows beside it."""
    order = np.argsort(values)
    ordered = values[order]
    reached = np.concatenate([np.cumsum(mass[order][::-1], axis=0)[::-1], np.zeros((1, mass.shape[1]))])
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] > ordered[:-1]]))
    ends = np.append(starts[1:], len(values))
    made = np.empty_like(mass)
    made[order] = np.repeat((reached[starts] + reached[ends]) / 2, ends - starts, axis=0)
    return made


def _shares(side: Side) -> Floats:
    return np.full(len(side), 1 / len(side)) if side.weight is None else side.weight / side.weight.sum()


def _standard_error(sides: Sides, found: Correlations, pair: tuple[int, ...]) -> float:
    """Of the difference of one correlation of ranks; rows of a pair of sides vary together."""
    only = np.zeros_like(found.pairs)
    only[pair] = True
    moved = []
    for side in (sides.real, sides.generated):
        made = np.empty((len(side), 1))
        fill_influence(sides, side, replace(found, pairs=only), made)
        share = _shares(side)
        moved.append(share * (made[:, 0] - share @ made[:, 0]))
    if sides.paired:
        return float(np.sqrt(np.square(moved[1] - moved[0]).sum()))
    return float(np.sqrt(sum(float(one @ one) for one in moved)))
