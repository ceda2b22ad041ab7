"""A number with its standard error: what a measure returns. Nulls and p-values are the statistics' work."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.statistic import plus_minus

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """Value ± standard error, from `n` independent things.

    Example:
        >>> str(Estimate(0.51234, 0.0123, 100))
        '0.512 ± 0.012'
    """

    value: float
    error: float
    n: int

    def __str__(self) -> str:
        return plus_minus(self.value, self.error)


def mean_of(values: Floats) -> Estimate:
    """The mean of independent values; its error is NaN for fewer than two.

    Example:
        >>> mean_of(np.array([1.0, 3.0]))
        Estimate(value=2.0, error=1.0, n=2)
    """
    values = np.asarray(values, dtype=np.float64)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return Estimate(float(values.mean()), error, len(values))


def jackknife(sums: Floats, function: Callable[[Floats], Floats]) -> Estimate:
    """A smooth function of sums over independent things, with the jackknife's error: each thing is left out once.

    Args:
        sums: ``(n, k)`` what each thing adds to each of the k sums.
        function: ``(m, k)`` sums to ``(m,)`` values.

    Reference: Efron & Stein 1981, Annals of Statistics 9, 586.

    Example:
        >>> jackknife(np.array([[1.0, 1.0], [3.0, 1.0]]), lambda s: s[:, 0] / s[:, 1])
        Estimate(value=2.0, error=1.0, n=2)
    """
    total = sums.sum(axis=0)
    value = float(function(total[None])[0])
    n = len(sums)
    if n < 2:
        return Estimate(value, float("nan"), n)
    without = function(total - sums)
    return Estimate(value, float(np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())), n)
