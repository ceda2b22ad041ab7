"""Kernel distances of two samples: maximum mean discrepancy, KID and energy distance, over tiles of all pairs of rows.

Random features, which know no pairs, are in `random_features`. Nulls are found by the statistics, with the tiles of this file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gnomon.errors import DataError, OptionError

Floats = NDArray[np.float64]
Weights = tuple[ArrayLike | None, ArrayLike | None]

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the mixture of Gaussian kernels, in units of the median distance between rows."""

_TILE = 1024  # rows and columns of the kernel matrix that are held at once
_PIECE = 2**14  # numbers worked on while they stay in the cache; so few that torch does not wake other threads for them
_SAMPLE = 1000  # rows between which the median distance is taken


class Kernel(Protocol):
    """A positive definite (or conditionally positive definite) function of two points."""

    def lifted(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """``(rows, F) -> (rows, k), (rows, k)``: two maps of the points whose scalar products determine the kernel."""
        ...

    def finish(self, products: Tensor) -> None:
        """Turn such products into values of the kernel, in place."""
        ...

    def between(self, x: Floats, y: Floats) -> Floats:
        """``(rows, F), (rows, F) -> (rows,)``: values row by row."""
        ...


@dataclass(frozen=True)
class GaussianMixture:
    """The mean of Gaussian kernels exp(−|x − y|² / 2σ²) over several bandwidths σ.

    Where the squares of neighbouring bandwidths differ by a power of two, one exponential serves them all: the others are its squares.
    """

    bandwidths: tuple[float, ...]

    def lifted(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernel`: the products are −|x − y|² / 2σ² for the largest σ."""
        return _square_distances(points, -self._rates[0])

    def finish(self, products: Tensor) -> None:
        """See `Kernel`."""
        rates, power = self._rates, torch.exp(products)
        total = power.clone()
        for rate, squarings in zip(rates[1:], self._squarings, strict=True):
            if squarings is None:
                power = torch.exp(products * (rate / rates[0]))
            else:
                for _ in range(squarings):
                    power.mul_(power)
            total.add_(power)
        torch.mul(total, 1 / len(rates), out=products)

    def between(self, x: Floats, y: Floats) -> Floats:
        """See `Kernel`."""
        squares = np.square(x - y).sum(axis=1)
        return np.mean([np.exp(-rate * squares) for rate in self._rates], axis=0)

    @property
    def _rates(self) -> list[float]:
        return [0.5 / width**2 for width in sorted(self.bandwidths, reverse=True)]

    @property
    def _squarings(self) -> list[int | None]:
        """How often each exponential is squared to give the next one; None where squaring does not give it."""
        rates = self._rates
        steps = [math.log2(b / a) for a, b in zip(rates[:-1], rates[1:], strict=True)]
        return [round(step) if abs(step - round(step)) < 1e-12 and round(step) <= 6 else None for step in steps]


@dataclass(frozen=True)
class Polynomial:
    """(x·y / F + 1)^degree for points of F coordinates: the kernel of KID. It is not the same after a shift of all points."""

    degree: int = 3

    def lifted(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernel`: the products are x·y / F."""
        return points / points.shape[1], points

    def finish(self, products: Tensor) -> None:
        """See `Kernel`."""
        products.add_(1.0).pow_(self.degree)

    def between(self, x: Floats, y: Floats) -> Floats:
        """See `Kernel`."""
        return ((x * y).sum(axis=1) / x.shape[1] + 1.0) ** self.degree


@dataclass(frozen=True)
class Distance:
    """−|x − y|, the kernel of the energy distance: positive definite for coefficients that sum to 0."""

    def lifted(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernel`: the products are |x − y|²."""
        return _square_distances(points, 1.0)

    def finish(self, products: Tensor) -> None:
        """See `Kernel`."""
        products.clamp_min_(0.0).sqrt_().neg_()

    def between(self, x: Floats, y: Floats) -> Floats:
        """See `Kernel`."""
        return -np.sqrt(np.square(x - y).sum(axis=1))


def _square_distances(points: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Maps whose products are factor · |x − y|²; the points are centred first, so that little cancels."""
    points = points - points.mean(dim=0)
    squares, ones = factor * points.square().sum(dim=1, keepdim=True), torch.ones_like(points[:, :1])
    return torch.cat([-2 * factor * points, squares, ones], dim=1), torch.cat([points, ones, squares], dim=1)


# ---- sums over all pairs of rows ---------------------------------------------------------------------------------------


def block_sums(
    kernel: Kernel, points: Floats, blocks: NDArray[np.integer], weight: Floats, *, count: int | None = None, single: bool = False
) -> Floats:
    """Σ w_i w_j K_ij over the rows i of one block and j ≠ i of another, for all pairs of blocks, without ever storing K.

    From these sums follows Σ_{i≠j} c_i c_j K_ij for any coefficients c that are multiples of w in each block: a quadratic form with as
    many variables as there are blocks. So any number of relabellings of blocks costs no more than one look at the kernel.

    K is made in tiles, those on and above the diagonal only. A constant near its mean is taken off the tiles and put back in the end, so
    that little is lost to rounding even in single precision.

    Args:
        kernel: the function K.
        points: ``(rows, F)``.
        blocks: ``(rows,)`` number of the block of each row, from 0 on.
        weight: ``(rows,)``.
        count: how many blocks there are, if not all of them have rows.
        single: tiles in float32, twice as fast, with errors of about 1e-6 of K's largest values; sums over tiles are in float64 anyway.

    Returns:
        ``(blocks, blocks)``, symmetric.

    Example:
        >>> block_sums(Distance(), np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1]), np.ones(3))
        array([[-2., -5.],
               [-5.,  0.]])
    """
    kind = torch.float32 if single else torch.float64
    order = np.argsort(blocks, kind="stable")
    blocks, points, weight = blocks[order], points[order], weight[order]
    left, right = (part.to(kind) for part in kernel.lifted(torch.from_numpy(points)))
    shift = _middle(kernel, points)
    count = int(blocks[-1]) + 1 if count is None else count
    sums = np.zeros((count, count))
    starts = range(0, len(points), _TILE)
    spans = [(int(blocks[start]), int(blocks[start : start + _TILE][-1]) + 1) for start in starts]
    adders = [adder(blocks[k : k + _TILE] - span[0], weight[k : k + _TILE], kind) for k, span in zip(starts, spans, strict=True)]
    for i, start in enumerate(starts):
        for j, first in enumerate(starts[i:], start=i):
            tile = _tile(kernel, left[start : start + _TILE], right[first : first + _TILE], shift)
            if i == j:
                tile.fill_diagonal_(0.0)
            made = (adders[i].T @ (tile @ adders[j])).double().numpy()
            sums[slice(*spans[i]), slice(*spans[j])] += made
            if i != j:
                sums[slice(*spans[j]), slice(*spans[i])] += made.T
    total, squares = (np.bincount(blocks, weights=part, minlength=count) for part in (weight, np.square(weight)))
    sums += shift * np.outer(total, total)
    sums[np.diag_indices(count)] -= shift * squares
    return sums


def adder(blocks: NDArray[np.integer], weight: Floats, kind: torch.dtype) -> Tensor:
    """``(rows, blocks)``: multiplying by it adds up rows, each times its weight, block by block."""
    made = torch.zeros(len(blocks), int(blocks[-1]) + 1, dtype=kind)
    made[torch.arange(len(blocks)), torch.from_numpy(blocks.astype(np.int64))] = torch.from_numpy(weight).to(kind)
    return made


def _tile(kernel: Kernel, left: Tensor, right: Tensor, shift: float) -> Tensor:
    tile = left @ right.T
    for piece in tile.view(-1).split(_PIECE):
        kernel.finish(piece)
        piece.sub_(shift)
    return tile


def _middle(kernel: Kernel, points: Floats) -> float:
    """About the mean of K over pairs of different rows: of those a few steps apart, in float64."""
    some = points[:: max(1, len(points) // 256)]
    return float(np.mean([kernel.between(some, np.roll(some, step, axis=0)).mean() for step in (1, 7, 31, 101)]))


def unbiased(kernel: Kernel, x: Floats, y: Floats, *, weights: Weights = (None, None), single: bool = False) -> float:
    """The squared distance of two samples by a kernel, unbiased: the mean of K(x, x') + K(y, y') − 2 K(x, y) over pairs of different rows.

    Its expectation is 0 if both come from one distribution, so it can be negative. With weights the mean over pairs within a side is
    Σ_{i≠j} w_i w_j K_ij / ((Σw)² − Σw²).

    Args:
        kernel: the function K.
        x: ``(n, F)``.
        y: ``(m, F)``.
        weights: of both samples, or None where all rows count the same. They may be negative.
        single: see `block_sums`.

    Raises:
        DataError: a sample has fewer than two rows, missing values or other columns, or its weights do not fit or cancel.
    """
    x, y, shares = two_samples(x, y, weights)
    sides = np.repeat([0, 1], [len(x), len(y)])
    sums = block_sums(kernel, np.concatenate([x, y]), sides, np.concatenate(shares), single=single)
    within = [sums[k, k] / (1 - np.square(shares[k]).sum()) for k in (0, 1)]
    return float(within[0] + within[1] - 2 * sums[0, 1])


# ---- the distances -----------------------------------------------------------------------------------------------------


def mmd(
    x: ArrayLike, y: ArrayLike, *, weights: Weights = (None, None), bandwidths: Sequence[float] | None = None, single: bool = False
) -> float:
    """Squared maximum mean discrepancy by the mean of Gaussian kernels of several bandwidths; unbiased, so it can be negative.

    Args:
        x: ``(n, F)``.
        y: ``(m, F)``.
        weights: of both samples, or None where all rows count the same. They may be negative.
        bandwidths: standard deviations of the kernels; by default `FACTORS` times the median distance between rows.
        single: tiles in float32, see `block_sums`.

    Raises:
        DataError: a sample has fewer than two rows, missing values or other columns, or its weights do not fit or cancel.
        OptionError: a bandwidth is not positive.

    Reference: Gretton et al. 2012, JMLR 13, 723, lemma 6.

    Example:
        >>> x = np.arange(4.0)[:, None]
        >>> round(mmd(x, x + 1, bandwidths=[1.0]), 6), round(mmd(x, x + 9, bandwidths=[1.0]), 6)
        (-0.199928, 0.700457)
    """
    first, second = _rows(x, "x"), _rows(y, "y")
    return unbiased(GaussianMixture(bandwidths_for(first, second, bandwidths)), first, second, weights=weights, single=single)


def kid(x: ArrayLike, y: ArrayLike, *, weights: Weights = (None, None), single: bool = False) -> float:
    """Kernel inception distance of features: squared maximum mean discrepancy by the kernel (x·y / F + 1)³, over all pairs; unbiased.

    Args:
        x: ``(n, F)`` features.
        y: ``(m, F)`` features.
        weights: of both samples, or None where all rows count the same.
        single: tiles in float32, see `block_sums`.

    Raises:
        DataError: as for `mmd`.

    Reference: Bińkowski et al. 2018, https://arxiv.org/abs/1801.01401

    Example:
        >>> kid([[0.0], [2.0]], [[1.0], [1.0]])
        -19.0
    """
    return unbiased(Polynomial(), _rows(x, "x"), _rows(y, "y"), weights=weights, single=single)


def energy_distance(x: ArrayLike, y: ArrayLike, *, weights: Weights = (None, None), single: bool = False) -> float:
    """Energy distance 2 E|x − y| − E|x − x'| − E|y − y'|, in the units of the points; unbiased, so it can be negative.

    (SciPy's `energy_distance` is the root of the same with pairs of equal rows counted as pairs, which makes it positive.)

    Args:
        x: ``(n, F)``.
        y: ``(m, F)``.
        weights: of both samples, or None where all rows count the same.
        single: tiles in float32, see `block_sums`.

    Raises:
        DataError: as for `mmd`.

    Reference: Székely & Rizzo 2013, J. Stat. Plan. Inference 143, 1249.

    Example:
        >>> energy_distance([[0.0], [1.0]], [[5.0], [6.0]])
        8.0
    """
    return unbiased(Distance(), _rows(x, "x"), _rows(y, "y"), weights=weights, single=single)


def median_distance(points: Floats) -> float:
    """The median distance between different points; 1 if there are none.

    Args:
        points: ``(rows, F)``; all pairs are looked at, so a few hundred rows will do.

    Example:
        >>> median_distance(np.array([[0.0], [0.0], [2.0], [5.0]]))
        3.0
    """
    distances = torch.nn.functional.pdist(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float64)))
    distances = distances[distances > 0]
    return float(distances.median()) if len(distances) else 1.0


def bandwidths_for(x: Floats, y: Floats, told: Sequence[float] | None) -> tuple[float, ...]:
    """The bandwidths told, or `FACTORS` times the median distance between some rows of both. Raises OptionError if one is not positive."""
    if told is not None:
        if not len(told) or not all(0 < width < math.inf for width in told):
            raise OptionError(f"bandwidths must be positive numbers; got {list(told)}")
        return tuple(float(width) for width in told)
    pooled = np.concatenate([x, y])
    middle = median_distance(pooled[np.random.default_rng(0).permutation(len(pooled))[:_SAMPLE]])
    return tuple(factor * middle for factor in FACTORS)


def _rows(x: ArrayLike, name: str) -> Floats:
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2 or not rows.shape[1]:
        raise DataError(f"{name} has shape {rows.shape}; expected (rows, columns), with two rows at least")
    if not np.isfinite(rows).all():
        raise DataError(f"{name} holds missing or infinite values; drop those rows")
    return rows


def two_samples(x: Floats, y: Floats, weights: Weights) -> tuple[Floats, Floats, list[Floats]]:
    """Both samples and their weights, made to sum to 1. Raises DataError as `mmd` does."""
    x, y = _rows(x, "x"), _rows(y, "y")
    if x.shape[1] != y.shape[1]:
        raise DataError(f"x has {x.shape[1]} columns and y has {y.shape[1]}; they must have the same")
    shares = []
    for name, side, weight in (("x", x, weights[0]), ("y", y, weights[1])):
        share = np.ones(len(side)) if weight is None else np.asarray(weight, dtype=np.float64)
        if share.shape != (len(side),) or not np.isfinite(share).all():
            raise DataError(f"the weights of {name} must be one finite number per row; got shape {share.shape} for {len(side)} rows")
        if not share.sum() ** 2 > np.square(share).sum():
            raise DataError(f"the weights of {name} leave no pairs of rows: (Σw)² must exceed Σw²; give more rows or other weights")
        shares.append(share / share.sum())
    return x, y, shares
