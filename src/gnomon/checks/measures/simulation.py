"""Simulation-based calibration: where the truth lies among rows drawn under its own condition, column by column and jointly.

If the drawn law is right, every rank is equally likely. How far from equal they may be by chance is decided by the statistics.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import DataError

Floats = NDArray[np.float64]


def sbc_ranks(truth: Floats, samples: Floats, generator: np.random.Generator) -> NDArray[np.intp]:
    """How many of the drawn values lie below the true one, column by column; equal values are put in random order.

    Args:
        truth: ``(n, D)``.
        samples: ``(n, L, D)``: L rows drawn under the condition of each.
        generator: source of chance for ties.

    Returns:
        ``(n, D)`` ranks from 0 to L, uniform if the drawn law is right.

    Raises:
        DataError: the shapes do not belong together.

    Reference: Talts et al. 2018, https://arxiv.org/abs/1804.06788

    Example:
        >>> sbc_ranks(np.array([[0.5]]), np.array([[[0.1], [0.2], [0.9]]]), np.random.default_rng(0))
        array([[2]])
    """
    truth, samples = _checked(truth, samples)
    below = (samples < truth[:, None]).sum(axis=1)
    equal = (samples == truth[:, None]).sum(axis=1)
    return below + generator.integers(0, equal + 1)


def distance_ranks(truth: Floats, samples: Floats, references: Floats, generator: np.random.Generator) -> NDArray[np.intp]:
    """How many of the drawn rows lie nearer to a reference point than the true row; equally near ones are put in random order.

    The reference points may depend on the condition, but not on the true row: then the ranks are uniform if the drawn law is right.

    Args:
        truth: ``(n, D)``.
        samples: ``(n, L, D)``.
        references: ``(n, D)`` one point for each true row.
        generator: source of chance for ties.

    Returns:
        ``(n,)`` ranks from 0 to L.

    Raises:
        DataError: the shapes do not belong together.

    Reference: Lemos et al. 2023, https://arxiv.org/abs/2302.03026

    Example:
        >>> distance_ranks(np.array([[1.0]]), np.array([[[0.1], [-2.0], [0.9]]]), np.zeros((1, 1)), np.random.default_rng(0))
        array([2])
    """
    truth, samples = _checked(truth, samples)
    if references.shape != truth.shape:
        raise DataError(f"every row wants a reference point: {truth.shape}; got {references.shape}")
    own = np.square(truth - references).sum(axis=1)
    others = np.square(samples - references[:, None]).sum(axis=2)
    return sbc_ranks(own[:, None], others[:, :, None], generator)[:, 0]


def tarp_coverage(truth: Floats, samples: Floats, references: Floats, *, levels: int = 50) -> tuple[Floats, Floats]:
    """Expected coverage of the balls around reference points that hold a given share of the drawn rows.

    Args:
        truth: ``(n, D)``.
        samples: ``(n, L, D)``.
        references: ``(n, D)``.
        levels: how many equal steps of credibility.

    Returns:
        credibility ``(levels + 1,)`` from 0 to 1, and the share of true rows whose ball (the drawn rows nearer to the reference than the
        true one) holds less than that share; the two are equal if the drawn law is right. For reference points outside, a law that is
        too narrow lies above the diagonal at first and below it at last.

    Reference: Lemos et al. 2023, https://arxiv.org/abs/2302.03026

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shift = rng.normal(size=(4000, 1, 2))
        >>> truth, samples = (shift + rng.normal(size=(4000, size, 2)) for size in (1, 100))
        >>> credibility, coverage = tarp_coverage(truth[:, 0], samples, rng.normal(size=(4000, 2)), levels=4)
        >>> bool(np.abs(credibility - coverage).max() < 0.03)
        True
    """
    truth, samples = _checked(truth, samples)
    if references.shape != truth.shape:
        raise DataError(f"every row wants a reference point: {truth.shape}; got {references.shape}")
    own = np.square(truth - references).sum(axis=1)
    nearer = (np.square(samples - references[:, None]).sum(axis=2) < own[:, None]).mean(axis=1)
    credibility = np.linspace(0, 1, levels + 1)
    coverage = (nearer[None] < credibility[1:, None]).mean(axis=1)
    return credibility, np.concatenate([[0.0], coverage])


def _checked(truth: Floats, samples: Floats) -> tuple[Floats, Floats]:
    truth, samples = np.asarray(truth, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    if truth.ndim != 2 or samples.ndim != 3 or (len(samples), samples.shape[2]) != truth.shape or not samples.shape[1]:
        raise DataError(f"ranks want true rows (n, D) and drawn ones (n, L, D); got {truth.shape} and {samples.shape}")
    return truth, samples
