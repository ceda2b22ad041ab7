"""Histograms as densities in one and two dimensions, and drawing values by the inverse transform.

How many bins there are is decided by leaving rows out. Mixtures and kernels are in `densities`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.checks.measures.densities import Floats, points_of, rows_and_shares
from gnomon.errors import DataError


@dataclass(frozen=True, eq=False)
class Histogram:
    """Bins of equal width over a box, each with a constant density; nothing outside. In one or two dimensions.

    Args:
        edges: one ``(bins + 1,)`` per column.
        masses: ``(bins,)`` or ``(bins, bins)`` probabilities of the bins, adding up to 1.

    Example:
        >>> tosses = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
        >>> Histogram.fit(tosses[:, None], bins=2, low=-0.5, high=1.5).masses
        array([0.4, 0.6])
    """

    edges: tuple[Floats, ...]
    masses: Floats

    @classmethod
    def fit(
        cls,
        x: ArrayLike,
        *,
        bins: int | None = None,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        weight: Floats | None = None,
        smoothing: float = 0.0,
        given: int = 0,
    ) -> Histogram:
        """Count rows in bins; of several numbers of bins take that under which each row is most probable given all others.

        Args:
            x: ``(n, 1)`` or ``(n, 2)``.
            bins: how many along each column, or None to find it (then smoothing is 1/2 where none is asked for).
            low: ``(D,)`` or one number for all: where the box begins; the smallest value if None. Rows outside are left out.
            high: where it ends; the largest value if None.
            weight: ``(n,)`` weights, not negative, or None.
            smoothing: rows of mean weight added to every bin.
            given: the first so many columns are conditions: the number is best for the density of the other given these.

        Raises:
            DataError: x is not an array of finite rows, has fewer than two, or more than two columns; or the box is empty.

        Reference: Stone 1974, J. R. Stat. Soc. B 36, 111 (leaving one out).
        """
        rows, share = rows_and_shares(x, weight)
        width = rows.shape[1]
        if width not in (1, 2):
            raise DataError(f"a histogram wants one or two columns; got {width}")
        ends = [rows.min(axis=0) if low is None else np.broadcast_to(np.asarray(low, dtype=np.float64), (width,))]
        ends.append(rows.max(axis=0) if high is None else np.broadcast_to(np.asarray(high, dtype=np.float64), (width,)))
        inside = ((rows >= ends[0]) & (rows <= ends[1])).all(axis=1)
        if not (ends[1] > ends[0]).all() or not share[inside].sum() > 0:
            raise DataError("the box of a histogram must have a width along every column, and rows inside; give low= and high=")
        counts = share[inside] * len(rows)
        if bins is not None:
            edges = tuple(np.linspace(a, b, bins + 1) for a, b in zip(*ends, strict=True))
            return cls(edges, _masses(rows[inside], counts, edges, smoothing))
        tried = [tuple(np.linspace(a, b, count + 1) for a, b in zip(*ends, strict=True)) for count in _bin_counts(len(rows), width)]
        smoothing = smoothing or 0.5
        edges = max(tried, key=lambda one: _left_out_likelihood(rows[inside], counts, one, smoothing, given))
        return cls(edges, _masses(rows[inside], counts, edges, smoothing))

    def log_prob(self, x: ArrayLike) -> Floats:
        """Nats of each row: ``(n, D) -> (n,)``; −inf outside the box and in empty bins."""
        points = points_of(x, len(self.edges))
        place, inside = _places(points, self.edges)
        volume = math.prod(float(edge[1] - edge[0]) for edge in self.edges)
        with np.errstate(divide="ignore"):
            made = np.log(self.masses.reshape(-1)[place] / volume)
        return np.where(inside, made, -np.inf)

    def marginal(self, width: int) -> Histogram:
        """The histogram of the first `width` columns alone."""
        return self if width == len(self.edges) else Histogram(self.edges[:width], self.masses.sum(axis=1))

    def sample(self, n: int, generator: np.random.Generator) -> Floats:
        """``(n, D)`` fresh rows, by the inverse transform: first of the bin's number, then within the bin."""
        reached = np.cumsum(self.masses.reshape(-1))
        bin_ = np.searchsorted(reached, generator.random(n) * reached[-1], side="right")
        index = np.unravel_index(np.minimum(bin_, self.masses.size - 1), self.masses.shape)
        widths = [edge[1] - edge[0] for edge in self.edges]
        return np.stack([e[i] + w * generator.random(n) for e, i, w in zip(self.edges, index, widths, strict=True)], axis=1)


def inverse_transform(uniform: ArrayLike, places: ArrayLike, density: ArrayLike) -> Floats:
    """Values whose distribution has a given density, from uniform numbers: where the distribution function reaches each of them.

    The density is taken as straight between the places and zero beyond; between two places the distribution function is then a parabola,
    which is inverted exactly.

    Args:
        uniform: ``(n,)`` in [0, 1].
        places: ``(m,)`` rising.
        density: ``(m,)`` at the places, not negative; it need not be normalised.

    Raises:
        DataError: places that do not rise, or a density that is negative or zero everywhere.

    Reference: Devroye 1986, Non-Uniform Random Variate Generation, II.2.

    Example:
        >>> inverse_transform([0.0, 0.25, 1.0], [0.0, 1.0], [0.0, 2.0])  # density 2 x, distribution function x²
        array([0. , 0.5, 1. ])
    """
    u, x, p = (np.asarray(values, dtype=np.float64) for values in (uniform, places, density))
    steps = np.diff(x)
    if x.shape != p.shape or len(x) < 2 or not (steps > 0).all():
        raise DataError(f"inverse_transform wants as many rising places as densities; got {x.shape} and {p.shape}")
    masses = steps * (p[1:] + p[:-1]) / 2
    if (p < 0).any() or not masses.sum() > 0:
        raise DataError("a density must not be negative, nor zero everywhere")
    reached = np.concatenate([[0.0], np.cumsum(masses)])
    wanted = u * reached[-1]
    k = np.clip(np.searchsorted(reached, wanted, side="right") - 1, 0, len(steps) - 1)
    k = np.where(masses[k] > 0, k, np.searchsorted(reached, wanted, side="left").clip(1) - 1)  # never end inside a gap
    left, slope = p[k], (p[k + 1] - p[k]) / steps[k]
    rest = np.clip(wanted - reached[k], 0.0, None)
    root = np.sqrt(np.maximum(left**2 + 2 * slope * rest, 0.0))
    return x[k] + np.minimum(np.divide(2 * rest, left + root, out=np.zeros_like(rest), where=rest > 0), steps[k])


# ---- parts -----------------------------------------------------------------------------------------------------------


def _bin_counts(rows: int, width: int) -> list[int]:
    """Numbers of bins along a column that are worth a try."""
    most = max(2, min(256 if width == 1 else 48, int(2 * rows ** (1 / width))))
    return sorted({min(most, round(2 ** (k / 2))) for k in itertools.takewhile(lambda k: 2 ** (k / 2) <= 1.5 * most, range(2, 20))} | {1})


def _places(x: Floats, edges: tuple[Floats, ...]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """``(n,)`` number of each row's bin, and whether it lies in the box; the last bin holds its upper edge."""
    inside = np.ones(len(x), dtype=bool)
    place = np.zeros(len(x), dtype=np.intp)
    for values, edge in zip(x.T, edges, strict=True):
        inside &= (values >= edge[0]) & (values <= edge[-1])
        place = place * (len(edge) - 1) + np.clip(np.searchsorted(edge, values, side="right") - 1, 0, len(edge) - 2)
    return place, inside


def _masses(x: Floats, counts: Floats, edges: tuple[Floats, ...], smoothing: float) -> Floats:
    shape = tuple(len(edge) - 1 for edge in edges)
    made = np.bincount(_places(x, edges)[0], weights=counts, minlength=math.prod(shape)) + smoothing
    return (made / made.sum()).reshape(shape)


def _left_out_likelihood(x: Floats, counts: Floats, edges: tuple[Floats, ...], smoothing: float, given: int) -> float:
    """Mean nats of each row under the histogram of all others (of the last column given the first, if one is given)."""
    total = 0.0
    for sign, width in ((1, len(edges)), (-1, given)):
        if not width:
            continue
        place = _places(x[:, :width], edges[:width])[0]
        bins = math.prod(len(edge) - 1 for edge in edges[:width])
        extra = smoothing * math.prod(len(edge) - 1 for edge in edges[width:])
        held = np.bincount(place, weights=counts, minlength=bins)
        volume = math.prod(float(edge[1] - edge[0]) for edge in edges[:width])
        left = (held[place] - counts + extra) / (counts.sum() - counts + extra * bins) / volume
        total += sign * float(counts @ np.log(np.maximum(left, 1e-300))) / counts.sum()
    return total
