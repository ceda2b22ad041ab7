"""Wasserstein distances on a line, exact by sorting, and their mean over projections on lines, in memory of rows × a few directions.

Transport that knows all coordinates at once is the business of `transport`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.errors import DataError, OptionError

Floats = NDArray[np.float64]
Weights = tuple[ArrayLike | None, ArrayLike | None]

_CHUNK = 2**22  # projected values held at once


def wasserstein(x: ArrayLike, y: ArrayLike, *, p: float = 1, weights: Weights = (None, None)) -> float:
    """Wasserstein distance of two samples of a number, in its units: the p-th root of ∫ |F⁻¹(u) − G⁻¹(u)|^p du.

    Args:
        x: ``(n,)``.
        y: ``(m,)``.
        p: 1, 2 or any power from 1 on.
        weights: of both samples, ``(n,)`` and ``(m,)``, not negative, or None where all rows count the same.

    Raises:
        DataError: a sample is empty, holds NaN, or its weights do not fit.
        OptionError: p is below 1.

    Reference: Villani 2003, Topics in Optimal Transportation, theorem 2.18.

    Example:
        >>> wasserstein([0.0, 1.0], [2.0, 3.0]), wasserstein([0.0], [1.0, 3.0], p=2, weights=(None, [3.0, 1.0]))
        (2.0, 1.7320508075688772)
    """
    pair = [rows_of(np.asarray(side, dtype=np.float64)[:, None], name) for side, name in ((x, "x"), (y, "y"))]
    return sliced_wasserstein(*pair, projections=np.ones((1, 1)), p=p, weights=weights)


def sliced_wasserstein(
    x: ArrayLike,
    y: ArrayLike,
    *,
    projections: int | ArrayLike = 64,
    p: float = 2,
    weights: Weights = (None, None),
    seed: int = 0,
) -> float:
    """Sliced Wasserstein distance: the p-th root of the mean over directions of W_p^p of the projections.

    Args:
        x: ``(n, D)``.
        y: ``(m, D)``.
        projections: how many random directions, or the directions themselves as the columns of ``(D, P)``.
        p: 1, 2 or any power from 1 on.
        weights: of both samples, ``(n,)`` and ``(m,)``, not negative, or None where all rows count the same.
        seed: of the random directions.

    Raises:
        DataError: samples of different width, empty, with NaN, or with weights that do not fit.
        OptionError: p below 1, or no direction.

    Reference: Bonneel et al. 2015, J. Math. Imaging Vis. 51, 22.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(500, 3))
        >>> round(sliced_wasserstein(x, x + np.array([3.0, 0, 0]), projections=63), 6)  # 3 / √D, as directions come in orthogonal triples
        1.732051
    """
    first, second = rows_of(x, "x"), rows_of(y, "y")
    if first.shape[1] != second.shape[1]:
        raise DataError(f"x has {first.shape[1]} columns and y has {second.shape[1]}; distances want as many on both sides")
    if not p >= 1:
        raise OptionError(f"p must be at least 1; got {p}")
    made = projections
    if isinstance(made, (int, np.integer)):
        made = directions(first.shape[1], int(made), np.random.default_rng(seed))
    made = np.asarray(made, dtype=np.float64)
    if made.ndim != 2 or made.shape[0] != first.shape[1] or not made.shape[1]:
        raise OptionError(f"projections has shape {made.shape}; expected ({first.shape[1]}, directions)")
    shares = [weights_of(weight, len(rows), name) for weight, rows, name in zip(weights, (first, second), "xy", strict=True)]
    lines = zip(projected(first, made, shares[0]), projected(second, made, shares[1]), strict=True)
    costs = [cost_between(*one, *other, p=p) for one, other in lines]
    return float(np.mean(costs) ** (1 / p))


def directions(width: int, count: int, generator: np.random.Generator) -> Floats:
    """``(width, count)``: random unit vectors, uniform on the sphere, every `width` of them at right angles to each other.

    Right angles make the mean over directions of a squared shift exact after each full set. Numbers have one direction only.

    Reference: Rowland et al. 2019, "Orthogonal estimation of Wasserstein distances", AISTATS.

    Raises:
        OptionError: fewer than one direction.
    """
    if count < 1:
        raise OptionError(f"projections must be at least 1; got {count}")
    if width == 1:
        return np.ones((1, 1))
    sets = [np.linalg.qr(generator.standard_normal((width, width))) for _ in range(-(-count // width))]
    return np.concatenate([q * np.sign(np.diag(r)) for q, r in sets], axis=1)[:, :count]


def projected(rows: Floats, along: Floats, weight: Floats | None = None) -> Iterator[tuple[Floats, Floats]]:
    """For each direction the projections in rising order, and the share of the weight up to and including each.

    Args:
        rows: ``(n, D)``.
        along: ``(D, P)``.
        weight: ``(n,)`` or None. Where negative weights make the share fall, it stays at the largest one reached.
    """
    chunk = max(1, _CHUNK // len(rows))
    equal = np.arange(1, len(rows) + 1) / len(rows)
    for start in range(0, along.shape[1], chunk):
        values = along[:, start : start + chunk].T @ rows.T
        for line in values:
            if weight is None:
                yield np.sort(line), equal
                continue
            order = np.argsort(line)
            yield line[order], rising(np.cumsum(weight[order]))


def rising(reached: Floats) -> Floats:
    """Cumulated weights as a distribution function: never falling, from at least 0 to 1."""
    return np.minimum(np.maximum.accumulate(np.maximum(reached / reached[-1], 0.0)), 1.0)


def cost_between(x: Floats, reached_x: Floats, y: Floats, reached_y: Floats, *, p: float = 2) -> float:
    """W_p^p of two distributions on a line, each given by its values in rising order and the share of the weight up to each."""
    if np.array_equal(reached_x, reached_y):
        return float((np.diff(reached_x, prepend=0.0) * _power(x - y, p)).sum())
    levels = np.concatenate([reached_x, reached_y])
    order = np.argsort(levels, kind="stable")  # two rising runs: merged, not sorted
    steps = np.diff(levels[order], prepend=0.0)
    from_x = order < len(x)
    before: NDArray[np.intp] = np.cumsum(from_x) - from_x  # how many values of x lie wholly below each step
    at_x = np.minimum(before, len(x) - 1)
    at_y = np.minimum(np.arange(len(order)) - before, len(y) - 1)
    return float((steps * _power(x[at_x] - y[at_y], p)).sum())


def quantiles(values: Floats, reached: Floats, levels: Floats) -> Floats:
    """The values below which the shares `levels` of the weight lie, for values in rising order."""
    return values[np.minimum(np.searchsorted(reached, levels), len(values) - 1)]


def _power(difference: Floats, p: float) -> Floats:
    return np.square(difference) if p == 2 else np.abs(difference) if p == 1 else np.abs(difference) ** p


def rows_of(x: ArrayLike, name: str) -> Floats:
    """A sample as ``(n, D)`` float64. Raises DataError if it is empty, of another shape, or not finite."""
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise DataError(f"{name} has shape {rows.shape}; expected (rows, columns), neither of them 0")
    if not np.isfinite(rows).all():
        raise DataError(f"{name} holds missing or infinite values; drop those rows")
    return rows


def weights_of(weight: ArrayLike | None, rows: int, name: str) -> Floats | None:
    """Weights that sum to 1, or None. Raises DataError if they are not one number per row, finite, and none negative."""
    if weight is None:
        return None
    made = np.asarray(weight, dtype=np.float64)
    if made.shape != (rows,):
        raise DataError(f"the weights of {name} have shape {made.shape}; expected ({rows},)")
    if not (np.isfinite(made).all() and (made >= 0).all() and made.sum() > 0):
        raise DataError(f"the weights of {name} must be finite, not negative, and not all 0: only mass can be moved")
    return made / made.sum()
