"""Fréchet distance of two samples: that of the Gaussians with their means and covariances, and its extrapolation to endless samples.

What the coordinates are (columns, or features of an encoder) is the caller's business; nothing here is an FID.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.checks.measures.wasserstein import Floats, Weights, rows_of, weights_of
from gnomon.errors import DataError, OptionError

_CHUNK = 65_536


def frechet_distance(mean1: ArrayLike, covariance1: ArrayLike, mean2: ArrayLike, covariance2: ArrayLike) -> Floats:
    """Squared Wasserstein-2 distance of Gaussians: |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½).

    The last trace is the sum of the singular values of Σ₁^½ Σ₂^½, which are the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, without the
    rounding that roots of zeros magnify: singular covariances are as good as any.

    Args:
        mean1, mean2: ``(*, D)``.
        covariance1, covariance2: ``(*, D, D)``, symmetric; negative eigenvalues count as 0.

    Returns:
        ``(*)``, in squared units of the coordinates.

    Raises:
        DataError: shapes that do not fit, or entries that are not finite.

    Reference: Dowson & Landau 1982, J. Multivariate Analysis 12, 450.

    Example:
        >>> float(frechet_distance([0.0, 0.0], np.eye(2), [3.0, 4.0], np.diag([4.0, 9.0])))
        30.0
    """
    means = [np.asarray(one, dtype=np.float64) for one in (mean1, mean2)]
    covariances = [np.asarray(one, dtype=np.float64) for one in (covariance1, covariance2)]
    for mean, covariance in zip(means, covariances, strict=True):
        if covariance.shape[-2:] != (means[0].shape[-1],) * 2 or mean.shape[-1] != means[0].shape[-1]:
            raise DataError(f"a mean has shape {mean.shape} and its covariance {covariance.shape}; expected (D,) and (D, D), D the same")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise DataError("means and covariances must be finite")
    roots = [square_root(one) for one in covariances]
    shared = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum(axis=-1)
    traces = sum(np.trace(one, axis1=-2, axis2=-1) for one in covariances)
    return np.maximum(np.square(means[0] - means[1]).sum(axis=-1) + traces - 2 * shared, 0.0)


def square_root(matrix: Floats, *, inverse: bool = False) -> Floats:
    """``(*, D, D)``: the symmetric root of symmetric matrices, or its pseudo-inverse; eigenvalues within rounding of 0 count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    least = values.shape[-1] * np.finfo(np.float64).eps * np.abs(values).max(axis=-1, keepdims=True)
    kept = values > least
    roots = np.sqrt(np.where(kept, values, 1.0))
    return (vectors * np.where(kept, 1 / roots if inverse else roots, 0.0)[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def gaussian_map(covariance1: Floats, covariance2: Floats) -> Floats:
    """``(D, D)``: the matrix by which the optimal transport of the first Gaussian to the second multiplies what is off the mean."""
    root, inverse = square_root(covariance1), square_root(covariance1, inverse=True)
    return inverse @ square_root(root @ covariance2 @ root) @ inverse


# ---- moments -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of rows, ready to be joined with those of further rows.

    Args:
        total: Σ w.
        squares: Σ w².
        mean: ``(D,)``.
        scatter: ``(D, D)`` Σ w (x − mean)(x − mean)ᵀ.

    Reference: Chan, Golub & LeVeque 1983, The American Statistician 37, 242.

    Example:
        >>> x = np.arange(12.0).reshape(6, 2)
        >>> joined = Moments.of(x[:2]) + Moments.of(x[2:])
        >>> joined.mean.tolist(), joined.covariance[0].tolist()
        ([5.0, 6.0], [14.0, 14.0])
    """

    total: float
    squares: float
    mean: Floats
    scatter: Floats

    @classmethod
    def of(cls, rows: NDArray[np.float64], weight: Floats | None = None) -> Moments:
        """Of ``(n, D)`` rows, a chunk at a time, with weights ``(n,)`` or all counting 1."""
        made = None
        for start in range(0, len(rows), _CHUNK):
            part = np.asarray(rows[start : start + _CHUNK], dtype=np.float64)
            share = np.ones(len(part)) if weight is None else weight[start : start + _CHUNK]
            total = float(share.sum())
            mean = share @ part / total if total else part.mean(axis=0)
            centred = part - mean
            one = cls(total, float(np.square(share).sum()), mean, (centred * share[:, None]).T @ centred)
            made = one if made is None else made + one
        if made is None:
            raise DataError("moments want at least one row; got none")
        return made

    def __add__(self, other: Moments) -> Moments:
        total = self.total + other.total
        step = other.mean - self.mean
        if not total:
            return Moments(0.0, self.squares + other.squares, self.mean, self.scatter + other.scatter)
        mean = self.mean + step * (other.total / total)
        between = np.outer(step, step) * (self.total * other.total / total)
        return Moments(total, self.squares + other.squares, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Floats:
        """``(D, D)``, unbiased: without weights divided by n − 1, with weights by Σw − Σw² / Σw as NumPy does for ``aweights``."""
        freedom = self.total - self.squares / self.total if self.total > 0 else 0.0
        if not freedom > 0:
            raise DataError("a covariance wants at least two rows with weights that sum to more than 0")
        return self.scatter / freedom


# ---- samples -------------------------------------------------------------------------------------------------------------


class Frechet(NamedTuple):
    """Fréchet distance of two samples.

    Args:
        distance: extrapolated to endless samples, 2 · plain − halves; below 0 about as often as above where both are of one distribution.
        plain: of the samples as they are; too large by some c / n.
        halves: its mean over halves of the samples; too large by twice that.
        splits: how many times both samples were halved.
    """

    distance: float
    plain: float
    halves: float
    splits: int


def frechet(
    x: ArrayLike, y: ArrayLike, *, weights: Weights = (None, None), paired: bool = False, blocks: int = 16, seed: int = 0
) -> Frechet:
    """Fréchet distance of two samples, extrapolated from halves to endless samples.

    The distance of finite samples is too large, in inverse proportion to their size: twice the distance minus that of halves is not,
    up to order 1 / n². Rows are dealt to blocks at random, *without* replacement, and halves are joined from blocks, so that one pass
    over the rows serves ``blocks - 1`` splits into halves.

    Args:
        x: ``(n, D)``.
        y: ``(m, D)``.
        weights: of both samples, ``(n,)`` and ``(m,)``, not negative, or None where all rows count the same.
        paired: whether row i of both samples belongs together; then so do the halves.
        blocks: at most so many; the largest power of 2 that leaves two rows in each is used.
        seed: of the dealing.

    Raises:
        DataError: samples of different width, with NaN, fewer than four rows, or weights that do not fit.
        OptionError: fewer than two blocks.

    Reference: Chong & Forsyth 2020, "Effectively unbiased FID and Inception Score and where to find them", CVPR, who extrapolate in 1 / n.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(2, 4000, 5))
        >>> found = frechet(x, y)
        >>> found.plain > 0.002, abs(found.distance) < 0.002
        (True, True)
    """
    rows = [rows_of(x, "x"), rows_of(y, "y")]
    if rows[0].shape[1] != rows[1].shape[1]:
        raise DataError(f"x has {rows[0].shape[1]} columns and y has {rows[1].shape[1]}; distances want as many on both sides")
    shares = [weights_of(weight, len(one), name) for weight, one, name in zip(weights, rows, "xy", strict=True)]
    return extrapolated(*dealt(rows, shares, blocks, np.random.default_rng(seed), paired=paired), paired=paired)


def dealt(
    rows: Sequence[Floats], weights: Sequence[Floats | None], blocks: int, generator: np.random.Generator, *, paired: bool = False
) -> list[list[Moments]]:
    """Moments of both samples in as many random blocks each; arguments and errors as for `frechet`."""
    if blocks < 2:
        raise OptionError(f"blocks must be at least 2; got {blocks}")
    fewest = min(len(one) for one in rows)
    if fewest < 4:
        raise DataError(f"halves want at least 4 rows; got {fewest}")
    if paired and len(rows[0]) != len(rows[1]):
        raise DataError(f"paired samples need as many rows each; got {len(rows[0])} and {len(rows[1])}")
    count = 2 ** int(np.log2(min(blocks, fewest // 2)))
    orders = [generator.permutation(len(one)) for one in rows]
    if paired:
        orders[1] = orders[0]
    return [
        [Moments.of(one[piece], None if weight is None else weight[piece]) for piece in np.array_split(order, count)]
        for one, weight, order in zip(rows, weights, orders, strict=True)
    ]


def extrapolated(first: Sequence[Moments], second: Sequence[Moments], *, paired: bool = False) -> Frechet:
    """The distance from the moments of as many blocks of both samples, a power of 2; each row of a Hadamard matrix halves them."""
    from scipy.linalg import hadamard

    both = [_joined(blocks) for blocks in (first, second)]
    plain = float(frechet_distance(both[0].mean, both[0].covariance, both[1].mean, both[1].covariance))
    signs = hadamard(len(first))[1:]
    halves = [[_halves(blocks, whole.mean, signs == side) for side in (1, -1)] for blocks, whole in zip((first, second), both, strict=True)]
    pairs = ((0, 0), (1, 1)) if paired else ((0, 0), (1, 1), (0, 1), (1, 0))
    mean = float(np.mean([frechet_distance(*halves[0][one], *halves[1][other]).mean() for one, other in pairs]))
    return Frechet(2 * plain - mean, plain, mean, len(signs))


def _halves(blocks: Sequence[Moments], centre: Floats, chosen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Means ``(S, D)`` and covariances ``(S, D, D)`` of the blocks that each row of ``(S, blocks)`` chooses, as joining them would give."""
    share = chosen.astype(np.float64)
    totals, means = np.array([block.total for block in blocks]), np.stack([block.mean - centre for block in blocks])
    products = np.stack([block.scatter for block in blocks]) + totals[:, None, None] * means[:, :, None] * means[:, None, :]
    total = share @ totals
    freedom = total - share @ np.array([block.squares for block in blocks]) / np.where(total > 0, total, 1.0)
    if not (total > 0).all() or not (freedom > 0).all():
        raise DataError("a covariance wants at least two rows with weights that sum to more than 0")
    mean = share @ (totals[:, None] * means) / total[:, None]
    scatter = np.tensordot(share, products, 1) - total[:, None, None] * mean[:, :, None] * mean[:, None, :]
    return mean + centre, scatter / freedom[:, None, None]


def _joined(blocks: Sequence[Moments]) -> Moments:
    made = blocks[0]
    for block in blocks[1:]:
        made = made + block
    return made
