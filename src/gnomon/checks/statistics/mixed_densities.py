"""Classical densities for rows of any columns: numbers in whitened coordinates, one density for each combination of categories.

The formulas for numbers stand in `measures`; which rows are fitted and which are judged is decided in `baselines`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Places
from gnomon.checks.measures.densities import GaussianMixture, KernelDensity
from gnomon.checks.measures.histograms import Histogram
from gnomon.checks.sides import Floats

FINEST = 0.02
"""No baseline resolves anything finer than this share of a column's spread: repeated values are no peaks of infinite height."""

_OWN = 50  # rows of a combination of categories from which it gets a density of its own

Fit = Callable[[Floats, Floats | None, int, int], Any]
"""Whitened rows ``(n, G + D)``, their weights, how many columns are conditions, and a seed, to a density."""


def gaussian(x: Floats, weight: Floats | None, given: int, seed: int) -> GaussianMixture:
    """One normal law with full covariance."""
    return GaussianMixture.fit(x, components=1, weight=weight, regularisation=0.0)


def mixture(x: Floats, weight: Floats | None, given: int, seed: int) -> GaussianMixture:
    """Normal laws with full covariances, as many as the Bayesian information criterion wants and the columns allow."""
    counts = [k for k in (1, 2, 3, 4, 6, 8, 12, 16) if k * x.shape[1] ** 2 <= 16_384 or k == 1]
    return GaussianMixture.fit(x, components=counts, weight=weight, regularisation=FINEST**2, tolerance=2e-3, steps=60, seed=seed)


def kernels(x: Floats, weight: Floats | None, given: int, seed: int) -> KernelDensity:
    """A normal kernel around every row, of a width found by leaving one out."""
    return KernelDensity.fit(x, weight=weight, given=given, least=FINEST, most_rows=500)


@dataclass(frozen=True, eq=False)
class Tailed:
    """A histogram that leaves the chance of one row in n to a wide normal law, so that no row is impossible.

    Args:
        histogram: over the box of the rows it was fitted to.
        wide: the normal law.
        share: of the normal law.
    """

    histogram: Histogram
    wide: GaussianMixture
    share: float

    def log_prob(self, x: Floats) -> Floats:
        """Nats of each row: ``(n, D) -> (n,)``."""
        return np.logaddexp(self.histogram.log_prob(x) + np.log1p(-self.share), self.wide.log_prob(x) + np.log(self.share))

    def marginal(self, width: int) -> Tailed:
        """The density of the first `width` columns alone."""
        return Tailed(self.histogram.marginal(width), self.wide.marginal(width), self.share)


def histogram(x: Floats, weight: Floats | None, given: int, seed: int) -> Tailed:
    """Bins of equal width, as many as are best by leaving one out."""
    width = x.shape[1]
    wide = GaussianMixture(np.ones(1), x.mean(axis=0)[None], 4.0 * np.diag(x.var(axis=0))[None])
    return Tailed(Histogram.fit(x, weight=weight, given=given if given < width else 0), wide, 1 / (len(x) + 1))


@dataclass(frozen=True, eq=False)
class Whitened:
    """A density of numbers in the coordinates in which the rows it was fitted to have mean 0 and covariance 1.

    Args:
        centre: ``(G + D,)``.
        factor: ``(G + D, G + D)`` lower triangular: the first coordinates are functions of the first columns alone.
        density: of the coordinates.
    """

    centre: Floats
    factor: Floats
    density: Any

    @classmethod
    def fit(cls, x: Floats, weight: Floats | None, given: int, fit: Fit, seed: int) -> Whitened:
        """Whiten and fit; `x` has no constant column."""
        centre = np.average(x, axis=0, weights=weight)
        covariance = np.atleast_2d(np.cov(x, rowvar=False, aweights=weight, ddof=0))
        scale = np.sqrt(np.diag(covariance))
        factor = np.linalg.cholesky(covariance / np.outer(scale, scale) + 1e-9 * np.eye(len(scale))) * scale[:, None]
        return cls(centre, factor, fit(_solved(factor, x - centre), weight, given, seed))

    def log_prob(self, x: Floats) -> Floats:
        """Nats of each row of the first ``x.shape[1]`` columns."""
        width = x.shape[1]
        if not width:
            return np.zeros(len(x))
        factor = self.factor[:width, :width]
        density = self.density if width == len(self.factor) else self.density.marginal(width)
        return density.log_prob(_solved(factor, x - self.centre[:width])) - np.log(np.diag(factor)).sum()


@dataclass(frozen=True, eq=False)
class MixedDensity:
    """p(numbers, categories | conditions): shares of the categories times a density of the numbers for each.

    Combinations with few rows share the density of all rows together. Shares are counted with half a row more for every combination
    (less where there are many), so that none is impossible. Conditions that are numbers enter by Bayes' rule.

    Args:
        shares: log share of each combination that was seen: ``{(condition's code, code): log share}``.
        unseen: log share of one that was not, by the condition's code.
        own: the densities of combinations with rows enough.
        pooled: the density of all other rows.
        given: how many conditions are numbers.
        codes: how many combinations of categories there may be.
    """

    shares: dict[tuple[int, int], float]
    unseen: dict[int, float]
    own: dict[tuple[int, int], Whitened]
    pooled: Whitened | None
    given: int
    codes: int

    @classmethod
    def fit(cls, rows: Places, fit: Fit, seed: int) -> MixedDensity:
        """Fit to rows at their first place; numbers must not be constant."""
        x = joint(rows)
        weight = None if rows.weight is None else np.maximum(rows.weight, 0.0)
        pooled = Whitened.fit(x, weight, rows.given.shape[1], fit, seed) if x.shape[1] else None
        spread = x.std(axis=0)
        own, counts = {}, {}
        for key, mine in _groups(rows):
            counts[key] = float(len(mine) if weight is None else weight[mine].sum())
            many = len(mine) >= max(_OWN, 5 * x.shape[1]) and len(mine) < len(x)
            if pooled is not None and many and (x[mine].std(axis=0) > 1e-6 * spread).all():
                own[key] = Whitened.fit(x[mine], None if weight is None else weight[mine], rows.given.shape[1], fit, seed)
        extra = min(0.5, 0.1 * len(x) / rows.codes)
        totals: dict[int, float] = {}
        for (condition, _), count in counts.items():
            totals[condition] = totals.get(condition, 0.0) + count
        whole = {condition: np.log(total + extra * rows.codes) for condition, total in totals.items()}
        shares = {key: float(np.log(count + extra) - whole[key[0]]) for key, count in counts.items()}
        unseen = {condition: float(np.log(extra) - total) for condition, total in whole.items()}
        return cls(shares, unseen, own, pooled, rows.given.shape[1], rows.codes)

    def log_prob(self, rows: Places) -> Floats:
        """Nats of each row in the user's units; the mean over its cell where columns hold whole numbers."""
        made = np.empty(len(rows))
        for (condition, code), mine in _groups(rows):
            part = rows.at(mine)
            terms = part.log_det
            if self.pooled is not None:
                density = self.own.get((condition, code), self.pooled)
                terms = terms + np.stack([density.log_prob(joint(part, place)) for place in range(len(part.points))])
            made[mine] = self._share(condition, code) + np.logaddexp.reduce(terms, axis=0)
            if self.given:
                made[mine] -= self._of_conditions(condition, part.given)
        return made

    def _of_conditions(self, condition: int, given: Floats) -> Floats:
        """log p(conditions that are numbers | those that are categories): the sum over the combinations of categories."""
        assert self.pooled is not None
        mine = [key for key in self.own if key[0] == condition]
        terms = [self.shares[key] + self.own[key].log_prob(given) for key in mine]
        rest = 1.0 - sum(np.exp(self.shares[key]) for key in mine)
        if rest > 1e-12:
            terms.append(np.log(rest) + self.pooled.log_prob(given))
        return np.logaddexp.reduce(np.stack(terms), axis=0)

    def _share(self, condition: int, code: int) -> float:
        known = self.shares.get((condition, code))
        return known if known is not None else self.unseen.get(condition, -float(np.log(self.codes)))


def joint(rows: Places, place: int = 0) -> Floats:
    """``(n, G + D)``: conditions that are numbers, then the rows' own numbers at one of their places."""
    return np.concatenate([rows.given, rows.points[place]], axis=1)


def _groups(rows: Places) -> list[tuple[tuple[int, int], NDArray[np.intp]]]:
    """Rows by combination of categories: ``((condition's code, code), row numbers)``."""
    pairs = np.stack([rows.given_code, rows.code], axis=1)
    keys, place = np.unique(pairs, axis=0, return_inverse=True)
    return [((int(key[0]), int(key[1])), np.flatnonzero(place.reshape(-1) == k)) for k, key in enumerate(keys)]


def _solved(factor: Floats, centred: Floats) -> Floats:
    from scipy.linalg import solve_triangular

    return solve_triangular(factor, centred.T, lower=True).T
