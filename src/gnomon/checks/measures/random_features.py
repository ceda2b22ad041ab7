"""Maximum mean discrepancy by random features: time and memory grow with the rows, not with their pairs.

The exact distance is in `kernels`; what values two samples of one distribution would give is found by the statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gnomon.checks.measures.kernels import Floats, GaussianMixture, Weights, adder, bandwidths_for, two_samples
from gnomon.errors import OptionError

_CHUNK = 1024  # rows whose features are held at once


@dataclass(frozen=True, eq=False)
class RandomFeatures:
    """Numbers whose scalar products approximate a `GaussianMixture`: cosines and sines of random projections.

    The products are themselves a kernel, with K(x, x) = 1, so the distance by them is as unbiased as the exact one.

    Args:
        frequencies: ``(F, M)`` float32, as many for each bandwidth, one after the other.
        centre: ``(F,)`` taken off all points.
        bandwidths: how many bandwidths there are.

    Reference: Rahimi & Recht 2007, NeurIPS 20.
    """

    frequencies: Tensor
    centre: Floats
    bandwidths: int

    @classmethod
    def of(cls, kernel: GaussianMixture, centre: Floats, features: int, generator: np.random.Generator) -> RandomFeatures:
        """About `features` features (a whole number of pairs for each bandwidth)."""
        each = max(1, features // (2 * len(kernel.bandwidths)))
        made = [generator.normal(size=(len(centre), each)) / width for width in kernel.bandwidths]
        return cls(torch.from_numpy(np.concatenate(made, axis=1)).float(), centre, len(kernel.bandwidths))

    def __len__(self) -> int:
        return 2 * self.frequencies.shape[1]

    def block_sums(self, points: Floats, blocks: NDArray[np.integer], weight: Floats, count: int) -> Floats:
        """Σ w_i (cos, sin)(ω·x_i) over the rows of each block: ``(rows, F), (rows,), (rows,) -> (count, 2, M)``."""
        order = np.argsort(blocks, kind="stable")
        total = torch.zeros(count, len(self), dtype=torch.float64)
        for rows, some in self._chunks(points, order):
            first, inside = int(blocks[rows[0]]), blocks[rows]
            total[first : int(inside[-1]) + 1] += adder(inside - first, weight[rows], torch.float32).T @ some
        return total.numpy().reshape(count, 2, -1)

    def mean(self, points: Floats, share: Floats) -> Floats:
        """Mean cosines and sines ``(2, M)`` of points ``(rows, F)`` by weights ``(rows,)`` that sum to 1."""
        return self.block_sums(points, np.zeros(len(points), dtype=np.intp), share, 1)[0]

    def between(self, x: Floats, y: Floats, blocks: NDArray[np.integer], weight: Floats, count: int) -> Floats:
        """Σ w_i cos ω·(x_i − y_i) over the rows of each block: ``(rows, F), (rows, F), (rows,), (rows,) -> (count, M)``."""
        return self.block_sums(x - y + self.centre, blocks, weight, count)[:, 0]

    def _chunks(self, points: Floats, order: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """Some rows at a time and their cosines and sines ``(rows, 2 M)``, in the same memory every time."""
        width = self.frequencies.shape[1]
        made = torch.empty(min(_CHUNK, len(points)), 2 * width)
        for start in range(0, len(points), _CHUNK):
            rows = order[start : start + _CHUNK]
            phases = torch.from_numpy(points[rows] - self.centre).float() @ self.frequencies
            some = made[: len(phases)]
            torch.cos(phases, out=some[:, :width])
            torch.sin(phases, out=some[:, width:])
            yield rows, some


def unbiased_by_frequency(first: Floats, second: Floats, shares: Sequence[Floats], pairs: Floats | None = None) -> Floats:
    """The unbiased squared difference of two characteristic functions at each frequency; their mean is the squared distance.

    Args:
        first: ``(2, M)`` mean cosines and sines of the one sample.
        second: ``(2, M)`` of the other.
        shares: the weights of both, each summing to 1.
        pairs: ``(M,)`` Σ s_i t_i cos ω·(x_i − y_i), if row i of both belongs together and is no pair of independent rows; else None.
    """
    lost = [float(np.square(share).sum()) for share in shares]
    within = [(np.square(mean).sum(axis=0) - own) / (1 - own) for mean, own in zip((first, second), lost, strict=True)]
    across = (first * second).sum(axis=0)
    if pairs is not None:
        across = (across - pairs) / (1 - float(shares[0] @ shares[1]))
    return within[0] + within[1] - 2 * across


def mmd_random_features(
    x: ArrayLike,
    y: ArrayLike,
    *,
    features: int = 2050,
    seed: int,
    weights: Weights = (None, None),
    bandwidths: Sequence[float] | None = None,
) -> float:
    """Squared maximum mean discrepancy by random features of the mean of Gaussian kernels; unbiased, so it can be negative.

    It differs from `mmd` by the choice of features, about its value / √features; its mean over seeds is that of `mmd`.

    Args:
        x: ``(n, F)``.
        y: ``(m, F)``.
        features: how many, cosines and sines together.
        seed: of the features.
        weights: of both samples, or None where all rows count the same. They may be negative.
        bandwidths: standard deviations of the kernels; by default `FACTORS` times the median distance between rows.

    Raises:
        DataError: as for `mmd`.
        OptionError: a bandwidth is not positive, or there is not one pair of features for each.

    Example:
        >>> from gnomon.checks.measures import kernels
        >>> x = np.random.default_rng(0).normal(size=(500, 2))
        >>> round(mmd_random_features(x, x + 1, seed=0), 1), round(kernels.mmd(x, x + 1), 1)
        (0.1, 0.1)
    """
    first, second, shares = two_samples(np.asarray(x), np.asarray(y), weights)
    kernel = GaussianMixture(bandwidths_for(first, second, bandwidths))
    if features < 2 * len(kernel.bandwidths):
        raise OptionError(f"features={features} for {len(kernel.bandwidths)} bandwidths; each wants two at least")
    centre = (first.mean(axis=0) + second.mean(axis=0)) / 2
    made = RandomFeatures.of(kernel, centre, features, np.random.default_rng(seed))
    means = [made.mean(side, share) for side, share in zip((first, second), shares, strict=True)]
    return float(unbiased_by_frequency(means[0], means[1], shares).mean())
