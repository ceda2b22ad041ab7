"""Diversity of one set of rows: the Vendi score, and the mean distance of two of them.

What values real rows have, beside which these mean something, stands with the statistics.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import DataError

Floats = NDArray[np.float64]

_TILE = 1024  # rows whose distances to all others are held at once


def vendi(points: Floats, *, kernel: Literal["rbf", "cosine"] = "rbf", width: float | None = None) -> float:
    """Effective number of different rows: exp of the entropy of the eigenvalues of K / n, where K is their similarity matrix.

    It is n if no two rows resemble each other and 1 if all are the same; its cost grows with n³.

    Args:
        points: ``(n, F)``.
        kernel: "rbf", exp(-d² / 2 width²), or "cosine", the cosine of the angle between two rows (a row of zeros resembles only itself).
        width: of the RBF; by default the median distance of two of the rows.

    Raises:
        DataError: there are no rows, or the width is not positive.

    Reference: Friedman & Dieng 2023, https://arxiv.org/abs/2210.02410.

    Example:
        >>> round(vendi(np.eye(7), kernel="cosine"), 6), round(vendi(np.ones((7, 3))), 6)
        (7.0, 1.0)
    """
    if not len(points):
        raise DataError("the Vendi score wants at least one row; got none")
    if kernel == "cosine":
        length = np.sqrt(np.square(points).sum(axis=1, keepdims=True))
        unit = points / np.where(length > 0, length, 1.0)
        alone = int((length == 0).sum())
        gram = unit.T @ unit if points.shape[1] < len(points) else unit @ unit.T
        shares = np.concatenate([np.linalg.eigvalsh(gram), np.ones(alone)]) / len(points)
    else:
        squares = _squares(points, points)
        if width is None:
            width = float(np.sqrt(np.median(squares[np.triu_indices(len(points), 1)]))) if len(points) > 1 else 1.0
            width = width or 1.0  # most rows are the same: any width tells the others apart from these
        if not width > 0:
            raise DataError(f"the width of a kernel must be positive; got {width}")
        shares = np.linalg.eigvalsh(np.exp(-squares / (2 * width**2))) / len(points)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def vendi_error(points: Floats, width: float) -> float:
    """Standard error of the Vendi score with an RBF kernel of given width, over fresh rows.

    A row moves the entropy by ``-n Σ_k u_ik² λ_k log λ_k`` less the entropy itself, with the eigenvalues λ and eigenvectors u of K / n: the
    influence function of the entropy of a mixture.

    Args:
        points: ``(n, F)``.
        width: of the RBF.
    """
    count = len(points)
    shares, vectors = np.linalg.eigh(np.exp(-_squares(points, points) / (2 * width**2)) / count)
    surprise = -np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0)
    effects = count * np.square(vectors) @ surprise
    return float(np.exp(surprise.sum()) * effects.std() / np.sqrt(count))


def mean_distance(points: Floats) -> float:
    """Mean Euclidean distance of two different rows. Distances are formed in tiles and never all held.

    Args:
        points: ``(n, F)``, at least two.

    Raises:
        DataError: there are fewer than two rows.

    Example:
        >>> mean_distance(np.array([[0.0], [3.0], [9.0]]))
        6.0
    """
    return float(mean_distances(points, np.arange(len(points))[None, :] >= 0)[0][0])


def mean_distances(points: Floats, labels: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The same for many ways to choose rows at once, of the rows chosen and of the others.

    Args:
        points: ``(n, F)``.
        labels: ``(choices, n)`` which rows each choice takes.

    Returns:
        ``(choices,)`` of the chosen rows and ``(choices,)`` of the others; NaN for others of fewer than two rows.

    Raises:
        DataError: a choice has fewer than two rows.

    Example:
        >>> mean_distances(np.array([[0.0], [3.0], [9.0], [10.0]]), np.array([[True, False, True, False]]))
        (array([9.]), array([7.]))
    """
    count = labels.sum(axis=1, dtype=np.float64)
    if not (count >= 2).all():
        raise DataError(f"a mean distance is of at least two rows; got {int(count.min())}")
    weight = labels.astype(np.float64)
    inside, reach = np.zeros(len(weight)), np.zeros(len(points))
    for start in range(0, len(points), _TILE):
        mine = slice(start, start + _TILE)
        for first in range(start, len(points), _TILE):  # each pair of tiles once
            theirs, times = slice(first, first + _TILE), 1.0 if first == start else 2.0
            distances = np.sqrt(_squares(points[mine], points[theirs]))
            inside += times * np.einsum("ij,ij->i", weight[:, mine] @ distances, weight[:, theirs])
            reach[mine] += distances.sum(axis=1)
            if first != start:
                reach[theirs] += distances.sum(axis=0)
    outside = np.maximum(reach.sum() - 2 * weight @ reach + inside, 0.0)
    others = len(points) - count
    return inside / (count * (count - 1)), np.divide(outside, others * (others - 1), out=np.full(len(weight), np.nan), where=others > 1)


def distances_from_each(points: Floats) -> Floats:
    """``(n,)``: mean distance of each row to the others, whose spread gives the standard error of `mean_distance`."""
    made = np.empty(len(points))
    for start in range(0, len(points), _TILE):
        made[start : start + _TILE] = np.sqrt(_squares(points[start : start + _TILE], points)).sum(axis=1)
    return made / (len(points) - 1)


def _squares(first: Floats, second: Floats) -> Floats:
    """``(n, m)`` squared distances, about a common centre so that little is lost to rounding; 0 for equal rows."""
    centre = first.mean(axis=0)
    one, two = first - centre, second - centre
    sizes = np.square(one).sum(axis=1)[:, None] + np.square(two).sum(axis=1)
    made = sizes - 2 * one @ two.T
    made[made < 1e-14 * sizes] = 0.0  # what is less than the rounding of its terms
    return made
