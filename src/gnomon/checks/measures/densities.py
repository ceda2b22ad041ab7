"""Classical explicit densities: Gaussian mixtures and kernel densities, fitted to rows of numbers, in nats per row.

Histograms are in `histograms`. Which of these a model has to beat is decided by the statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.errors import DataError, OptionError

Floats = NDArray[np.float64]

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Numbers of components among which the Bayesian information criterion chooses."""

_LOG_2PI = math.log(2 * math.pi)
_TILE = 2**21  # pairs of rows looked at together


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of normal laws with full covariances; with one component, a Gaussian.

    Args:
        shares: ``(K,)`` adding up to 1.
        means: ``(K, D)``.
        covariances: ``(K, D, D)``.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(1000, 2)) + np.array([[3, 0]]) * (np.arange(1000) % 2)[:, None]
        >>> mixture = GaussianMixture.fit(x)
        >>> len(mixture.shares), mixture.log_prob(x).shape
        (2, (1000,))
    """

    shares: Floats
    means: Floats
    covariances: Floats

    @classmethod
    def fit(
        cls,
        x: ArrayLike,
        *,
        components: int | Sequence[int] = COMPONENTS,
        weight: Floats | None = None,
        regularisation: float = 1e-6,
        tolerance: float = 1e-3,
        steps: int = 100,
        seed: int = 0,
    ) -> GaussianMixture:
        """The maximum of the likelihood by expectation and maximisation from k-means.

        Several numbers of components are tried in rising order, until the Bayesian information criterion has got worse twice.

        Args:
            x: ``(n, D)``.
            components: how many, or numbers to choose from.
            weight: ``(n,)`` weights, not negative, or None.
            regularisation: added to all variances, in units of x squared.
            tolerance: it stops when a step gains less than that many nats per row.
            steps: at most so many.
            seed: of k-means.

        Raises:
            DataError: x is not an array of finite rows, or has fewer than two.
            OptionError: no number of components.

        Reference: Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1; Schwarz 1978, Annals of Statistics 6, 461.
        """
        rows, share = rows_and_shares(x, weight)
        tried = (components,) if isinstance(components, int) else tuple(components)
        if not tried or min(tried) < 1:
            raise OptionError(f"a mixture wants at least one component; got {components}")
        best, least, worse = None, math.inf, 0
        for count in sorted(tried):
            if count > 1 and count > len(rows) / 2:
                break
            made = cls._climb(rows, share, _first_guess(rows, share, count, seed), regularisation, tolerance, steps)
            criterion = made.bic(rows, weight) if len(tried) > 1 else -math.inf
            if criterion < least:
                best, least, worse = made, criterion, 0
            else:
                worse += 1
            if worse == 2:
                break
        if best is None:
            raise OptionError(f"{len(rows)} rows cannot have {min(tried)} components; ask for fewer")
        return best

    @classmethod
    def _climb(cls, x: Floats, share: Floats, belongs: Floats, regularisation: float, tolerance: float, steps: int) -> GaussianMixture:
        """Steps from memberships ``(n, K)`` until the likelihood hardly rises."""
        made = cls._of(x, share, belongs, regularisation)
        before = -math.inf
        for _ in range(steps):
            terms = made._terms(x)
            total = _log_sum(terms)
            reached = float(share @ total)
            made = cls._of(x, share, np.exp(terms - total[:, None]), regularisation)
            if abs(reached - before) < tolerance:
                break
            before = reached
        return made

    @classmethod
    def _of(cls, x: Floats, share: Floats, belongs: Floats, regularisation: float) -> GaussianMixture:
        """The mixture that fits best where it is known how much each row belongs to each component."""
        held = belongs * share[:, None]
        counts = held.sum(axis=0) + 1e-300
        means = (held.T @ x) / counts[:, None]
        covariances = np.empty((len(counts), x.shape[1], x.shape[1]))
        for k in range(len(counts)):
            centred = x - means[k]
            covariances[k] = (held[:, k, None] * centred).T @ centred / counts[k]
        covariances[:, np.arange(x.shape[1]), np.arange(x.shape[1])] += regularisation
        return cls(counts / counts.sum(), means, covariances)

    def log_prob(self, x: ArrayLike) -> Floats:
        """Nats of each row: ``(n, D) -> (n,)``."""
        rows = points_of(x, self.means.shape[1])
        return np.concatenate([_log_sum(self._terms(part)) for part in _parts(rows, len(self.shares) * max(1, rows.shape[1]))])

    def bic(self, x: ArrayLike, weight: Floats | None = None) -> float:
        """The Bayesian information criterion: parameters · log n − 2 · log-likelihood of n rows; smaller is better."""
        rows, share = rows_and_shares(x, weight)
        width = rows.shape[1]
        parameters = len(self.shares) * (1 + width + width * (width + 1) / 2) - 1
        effective = 1 / float(np.square(share).sum())
        return parameters * math.log(effective) - 2 * effective * float(share @ self.log_prob(rows))

    def marginal(self, width: int) -> GaussianMixture:
        """The mixture of the first `width` columns alone."""
        return GaussianMixture(self.shares, self.means[:, :width], self.covariances[:, :width, :width])

    def sample(self, n: int, generator: np.random.Generator) -> Floats:
        """``(n, D)`` fresh rows."""
        noise = generator.standard_normal((n, self.means.shape[1]))
        component = generator.choice(len(self.shares), size=n, p=self.shares)
        factors = np.linalg.cholesky(self.covariances)
        return self.means[component] + np.einsum("nij,nj->ni", factors[component], noise)

    def _terms(self, x: Floats) -> Floats:
        """``(n, K)`` log of share times density of each component."""
        made = np.empty((len(x), len(self.shares)))
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            scale = np.sqrt(np.diag(covariance))
            factor = np.linalg.cholesky(covariance / np.outer(scale, scale))
            inverse = np.linalg.inv(factor) / scale
            noise = (x - mean) @ inverse.T
            log_det = math.fsum(np.log(np.diag(factor) * scale))
            made[:, k] = -0.5 * (np.einsum("ij,ij->i", noise, noise) + x.shape[1] * _LOG_2PI) - log_det
        return made + np.log(self.shares)


@dataclass(frozen=True, eq=False)
class KernelDensity:
    """A normal kernel of one width around each of the rows it was fitted to.

    Args:
        rows: ``(m, D)``.
        bandwidth: standard deviation of the kernel in every direction.
        weight: ``(m,)`` shares adding up to 1.

    Example:
        >>> density = KernelDensity.fit(np.random.default_rng(0).normal(size=(500, 1)))
        >>> 0.1 < density.bandwidth < 0.5
        True
    """

    rows: Floats
    bandwidth: float
    weight: Floats

    @classmethod
    def fit(
        cls,
        x: ArrayLike,
        *,
        bandwidth: float | None = None,
        weight: Floats | None = None,
        given: int = 0,
        least: float = 1e-3,
        most_rows: int = 1000,
    ) -> KernelDensity:
        """Kernels around the rows; their width is the one under which each row is most probable given all others.

        Args:
            x: ``(n, D)``.
            bandwidth: the width, or None to find it.
            weight: ``(n,)`` weights, not negative, or None.
            given: the first so many columns are conditions: the width is best for the density of the others given these.
            least: the width found is at least this share of the spread of the rows.
            most_rows: it is sought on at most so many rows, taken evenly, and carried over by the rate n^(−1/(D + 4)).

        Raises:
            DataError: x is not an array of finite rows, or has fewer than two.
            OptionError: a bandwidth that is not above 0.

        Reference: Habbema, Hermans & van den Broek 1974 (leaving one out); Silverman 1986 for the rate.
        """
        rows, share = rows_and_shares(x, weight)
        if bandwidth is None:
            bandwidth = _best_bandwidth(rows, share, given, least, most_rows)
        if not bandwidth > 0:
            raise OptionError(f"the bandwidth of a kernel must be above 0; got {bandwidth}")
        return cls(rows, float(bandwidth), share)

    def log_prob(self, x: ArrayLike) -> Floats:
        """Nats of each row: ``(n, D) -> (n,)``. Pairs of rows are formed in tiles, never all at once."""
        points, width = points_of(x, self.rows.shape[1]), self.rows.shape[1]
        constant = -width * (math.log(self.bandwidth) + 0.5 * _LOG_2PI)
        with np.errstate(divide="ignore"):
            log_weight = np.log(self.weight)
        centre = self.weight @ self.rows
        made = []
        for part in _parts(points, len(self.rows)):
            terms = _squared_distances(part - centre, self.rows - centre)
            terms *= -0.5 / self.bandwidth**2
            made.append(_log_sum(terms + log_weight))
        return np.concatenate(made) + constant

    def marginal(self, width: int) -> KernelDensity:
        """The density of the first `width` columns alone."""
        return KernelDensity(self.rows[:, :width], self.bandwidth, self.weight)

    def sample(self, n: int, generator: np.random.Generator) -> Floats:
        """``(n, D)`` fresh rows."""
        picked = self.rows[generator.choice(len(self.rows), size=n, p=self.weight)]
        return picked + self.bandwidth * generator.standard_normal(picked.shape)


def conditional_log_prob(density: Any, x: ArrayLike, given: int) -> Floats:
    """Nats of the other columns given the first `given`: ``log p(all) − log p(first)``, ``(n, D) -> (n,)``.

    Args:
        density: anything with `log_prob` and `marginal`, as the classes here.
        x: ``(n, D)``.
        given: how many columns are conditions.
    """
    rows = np.asarray(x, dtype=np.float64)
    joint = density.log_prob(rows)
    return joint - density.marginal(given).log_prob(rows[:, :given]) if given else joint


# ---- parts -----------------------------------------------------------------------------------------------------------


def rows_and_shares(x: ArrayLike, weight: Floats | None) -> tuple[Floats, Floats]:
    """Rows ``(n, D)`` to which a density is fitted and their shares, which add up to 1; refuses what no density can be fitted to."""
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2 or not np.isfinite(rows).all():
        raise DataError(f"a density is fitted to at least two rows of finite numbers, an array (n, D); got shape {rows.shape}")
    if weight is None:
        return rows, np.full(len(rows), 1 / len(rows))
    share = np.asarray(weight, dtype=np.float64)
    if share.shape != (len(rows),) or not (share >= 0).all() or not share.sum() > 0:
        raise DataError(f"weights must be one number per row, none negative, not all zero; got shape {share.shape}")
    return rows, share / share.sum()


def points_of(x: ArrayLike, width: int) -> Floats:
    """Points ``(n, width)`` at which a density is evaluated; refuses another width."""
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != width:
        raise DataError(f"this density is one of {width} columns; got an array of shape {points.shape}")
    return points


def _parts(x: Floats, per_row: int) -> Iterator[Floats]:
    """Rows in parts for which `per_row` numbers per row fit in a tile; one empty part if there are none."""
    step = max(1, _TILE // max(1, per_row))
    return (x[start : start + step] for start in range(0, max(1, len(x)), step))


def _log_sum(terms: Floats) -> Floats:
    """``(n, K) -> (n,)``: log of the sum of exponentials."""
    top = terms.max(axis=1)
    top = np.where(np.isfinite(top), top, 0.0)
    terms = terms - top[:, None]
    with np.errstate(divide="ignore"):
        return np.log(np.exp(terms, out=terms).sum(axis=1)) + top


def _squared_distances(x: Floats, rows: Floats) -> Floats:
    made = x @ rows.T
    made *= -2.0
    made += np.einsum("ij,ij->i", x, x)[:, None]
    made += np.einsum("ij,ij->i", rows, rows)
    return np.maximum(made, 0.0, out=made)


def _first_guess(x: Floats, share: Floats, count: int, seed: int) -> Floats:
    """``(n, count)`` memberships by k-means."""
    if count == 1:
        return np.ones((len(x), 1))
    from sklearn.cluster import KMeans

    means = KMeans(count, n_init=1, random_state=seed).fit(x, sample_weight=share * len(x))
    return np.eye(count)[means.labels_]


def _best_bandwidth(x: Floats, share: Floats, given: int, least: float, most_rows: int) -> float:
    """The width that maximises the likelihood of each row under the kernels around all others."""
    from scipy.optimize import minimize_scalar

    some = np.linspace(0, len(x) - 1, min(most_rows, len(x))).astype(np.intp)
    part, weight = x[some], share[some] / share[some].sum()
    spread = math.sqrt(float(np.mean(weight @ np.square(part - weight @ part))))
    if not spread > 0:
        raise DataError("all rows are the same; a kernel density has no width there")
    widths = [x.shape[1]] + ([given] if given else [])
    squares = [_squared_distances(part[:, :width] - part[0, :width], part[:, :width] - part[0, :width]) for width in widths]
    with np.errstate(divide="ignore"):
        log_weight = np.log(weight)

    def loss(log_width: float) -> float:
        total = 0.0
        for sign, width, square in zip((1, -1), widths, squares, strict=False):
            terms = -0.5 * math.exp(-2 * log_width) * square + log_weight
            np.fill_diagonal(terms, -np.inf)
            total += sign * float(weight @ np.maximum(_log_sum(terms), -1e6)) - sign * width * log_width
        return -total

    rule = spread * (4 / ((x.shape[1] + 2) * len(part))) ** (1 / (x.shape[1] + 4))  # Silverman's, for a Gaussian
    low = math.log(max(least * spread, rule / 50))
    found = minimize_scalar(loss, bounds=(low, max(low + 1e-3, math.log(4 * rule))), method="bounded", options={"xatol": 0.02})
    return max(least * spread, math.exp(found.x) * (len(part) / len(x)) ** (1 / (x.shape[1] + 4)))
