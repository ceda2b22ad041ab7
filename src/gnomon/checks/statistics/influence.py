"""Standard errors of statistics by the influence that each row has on them, and on the spreads in which distances are measured.

How far the rows move a statistic is known by the file of that statistic; what the spread of a null adds is said in `nulls`.
"""

from __future__ import annotations

import numpy as np

from gnomon.checks.nulls import Pool
from gnomon.checks.points import Points
from gnomon.checks.sides import Floats

_WINDOW = 0.03  # share of the rows on each side of a quantile that tells the density there


def linear_error(first: Floats, second: Floats, pool: Pool, *, besides: Floats | None = None) -> float:
    """Standard error of a statistic that changes by the mean of `first` over the real rows plus the mean of `second` over the generated.

    Args:
        first: ``(real,)`` influence of each real row, up to a constant.
        second: ``(generated,)`` influence of each generated row, up to a constant.
        pool: the rows; those of a pair vary together.
        besides: ``(real + generated,)`` what each row adds to the statistic beyond that, with mean 0 on each side.

    Example:
        >>> round(linear_error(np.array([-1.0, 1.0]), np.zeros(3), Pool(2, 3)), 4)  # the error of a mean of two
        0.7071
    """
    coefficients = np.abs(pool.observed())
    moved = []
    for influence, part in ((first, slice(0, pool.real)), (second, slice(pool.real, None))):
        share = coefficients[part]
        moved.append(share * (influence - np.average(influence, weights=share)) + (0.0 if besides is None else besides[part]))
    if pool.paired:
        return float(np.sqrt(np.square(moved[0] + moved[1]).sum()))
    return float(np.sqrt(sum(np.square(part).sum() for part in moved)))


def moves_of_spreads(made: Points) -> Floats:
    """``(rows, F)``: what each pooled row adds to the logarithm of the spread in which each coordinate is measured.

    Points are in units of spreads that the rows themselves tell. Far from the null, the error of a distance is partly that of its unit.

    Reference: for the influence of a row on a quantile, Hampel et al. 1986, Robust Statistics, section 2.3.
    """
    rows, real = made.pooled, len(made.real)
    variance = rows.var(axis=0)
    moves = (np.square(rows - rows.mean(axis=0)) / np.where(variance > 0, variance, 1.0) - 1.0) / 2
    if made.space.startswith("pixel"):
        moves = np.repeat(moves[:, [int(variance.argmax())]], rows.shape[1], axis=1)
    else:
        levels = np.array([0.16, 0.84])
        at, above, below = (np.quantile(rows, levels + step, axis=0) for step in (0.0, _WINDOW, -_WINDOW))
        sparsity = np.minimum(above - at, at - below) / _WINDOW  # the smaller: a gap beside the quantile moves it only when it is reached
        width = at[1] - at[0]
        middle = width > 1e-9 * np.sqrt(variance)
        change = [sparsity[k] * (levels[k] - (rows <= at[k])) for k in (0, 1)]
        moves = np.where(middle, (change[1] - change[0]) / np.where(middle, width, 1.0), moves)
    moves[:real] -= moves[:real].mean(axis=0)
    moves[real:] -= moves[real:].mean(axis=0)
    return moves / len(rows)
