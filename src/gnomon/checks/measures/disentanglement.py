"""How far single numbers of a code stand for single factors that are known to have made the data: the mutual information gap.

Without such factors nothing of the kind can be measured; and a model learned without them is free to mix them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.checks.measures.estimate import Estimate
from gnomon.errors import DataError

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

BINS = 20
_GROUPS = 20  # of rows, each left out once for the error


def mutual_informations(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> Floats:
    """Mutual information in nats of each number of a code with each factor, ``(k, factors)``, as a share of the factor's entropy.

    Both are cut into `bins` parts of equal numbers of rows; a factor of fewer values keeps its values. The bias of the plug-in estimate,
    about (bins - 1)² / 2n nats, is taken off.

    Args:
        codes: ``(n, k)``.
        factors: ``(n, factors)`` numbers.
        bins: parts.

    Raises:
        DataError: the two have different numbers of rows, or a factor never varies.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(4000, 2))
        >>> mutual_informations(x, x[:, :1]).round(2).tolist()
        [[1.0], [0.0]]
    """
    return _informations(*_parts(codes, factors, bins))


def mutual_information_gap(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> Estimate:
    """The mean over factors of the gap between the number that tells most of a factor and the next one, as a share of its entropy.

    1 where each factor is told by one number alone and fully, 0 where it is spread over several. The error is the jackknife's over groups
    of rows: it knows nothing of how another training would have come out, which differs by more.

    Args:
        codes: ``(n, k)``, k at least 2.
        factors: ``(n, factors)`` numbers.
        bins: parts into which either is cut.

    Raises:
        DataError: as `mutual_informations`, or codes of a single number.

    Reference: Chen et al. 2018, https://arxiv.org/abs/1802.04942

    Example:
        >>> x = np.random.default_rng(0).normal(size=(4000, 2))
        >>> mixed = np.stack([x.sum(1), x[:, 0] - x[:, 1]], 1)
        >>> mutual_information_gap(x, x).value > 0.95, mutual_information_gap(mixed, x).value < 0.05
        (True, True)
    """
    cut, values = _parts(codes, factors, bins)
    if cut.shape[1] < 2:
        raise DataError("a gap is between two numbers of a code, and this one has a single number")
    groups = min(_GROUPS, len(cut))
    of = np.arange(len(cut)) % groups
    without = np.array([_gap(cut[of != group], values[of != group]) for group in range(groups)])
    error = float(np.sqrt((groups - 1) / groups * np.square(without - without.mean()).sum()))
    return Estimate(_gap(cut, values), error, len(cut))


def _gap(cut: Whole, values: Whole) -> float:
    first, second = np.sort(_informations(cut, values), axis=0)[[-1, -2]]
    return float((first - second).mean())


def _informations(cut: Whole, values: Whole) -> Floats:
    """Shares of the factors' entropies, ``(k, factors)``, of what is cut into parts already."""
    made = np.zeros((cut.shape[1], values.shape[1]))
    for j, factor in enumerate(values.T):
        entropy = _entropy(np.bincount(factor))
        if entropy <= 0:
            raise DataError(f"factor {j} never varies, so nothing can tell of it; leave it out")
        for i, code in enumerate(cut.T):
            shared = _entropy(np.bincount(code)) + entropy - _entropy(np.bincount(code * (factor.max() + 1) + factor))
            bias = code.max() * factor.max() / (2 * len(cut)) if shared < entropy - 1e-9 else 0.0
            made[i, j] = max(0.0, shared - bias) / entropy
    return made


def _parts(codes: ArrayLike, factors: ArrayLike, bins: int) -> tuple[Whole, Whole]:
    """Both as numbers of parts, ``(n, k)`` and ``(n, factors)``."""
    one, other = _pair(codes, factors)
    cut, values = (np.stack([_cut(column, bins) for column in side.T], 1) for side in (one, other))
    return cut, values


def _pair(codes: ArrayLike, factors: ArrayLike) -> tuple[Floats, Floats]:
    one, other = (np.asarray(a, dtype=np.float64) for a in (codes, factors))
    other = other[:, None] if other.ndim == 1 else other
    if one.ndim != 2 or other.ndim != 2 or len(one) != len(other) or not len(one):
        raise DataError(f"codes and factors want the same rows, (n, k) and (n, factors); got {one.shape} and {other.shape}")
    return one, other


def _cut(column: Floats, bins: int) -> Whole:
    """Values as numbers of bins of equal counts; few values stay what they are."""
    values, codes = np.unique(column, return_inverse=True)
    if len(values) <= bins:
        return codes
    edges = np.unique(np.quantile(column, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, column, side="right")


def _entropy(counts: Whole) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
