"""Spread over seeds: what repeated trainings of one recipe agree on, and whether two recipes differ by more than their repetitions do.

Where the numbers come from, one per training, is the business of whoever compares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gnomon.errors import DataError


class Spread(NamedTuple):
    """What K trainings gave.

    Args:
        mean: over the trainings.
        sd: standard deviation from one training to the next; NaN for a single one.
        error: standard error of the mean, sd / √K; NaN for a single one.
        sd_error: standard error of the standard deviation, for about normal values.
        trainings: how many.
    """

    mean: float
    sd: float
    error: float
    sd_error: float
    trainings: int


class Difference(NamedTuple):
    """The difference of two means.

    Args:
        value: first minus second.
        error: its standard error.
        freedom: degrees of freedom of the error.
        p: two-sided, by Student's t; NaN where a side has a single value.
    """

    value: float
    error: float
    freedom: float
    p: float


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and standard error over trainings that differ in their seed only.

    Raises:
        DataError: no values, or one is not finite.

    Example:
        >>> found = spread([1.0, 2.0, 3.0])
        >>> found.mean, found.sd, round(found.error, 3)
        (2.0, 1.0, 0.577)
    """
    made = np.asarray(values, dtype=np.float64)
    if made.ndim != 1 or not len(made) or not np.isfinite(made).all():
        raise DataError(f"the spread over seeds wants one finite number per training; got {list(values)[:5]}")
    if len(made) < 2:
        return Spread(float(made[0]), math.nan, math.nan, math.nan, 1)
    sd = float(made.std(ddof=1))
    return Spread(float(made.mean()), sd, sd / math.sqrt(len(made)), sd / math.sqrt(2 * (len(made) - 1)), len(made))


def welch(first: Sequence[float], second: Sequence[float], *, shared_error: float = 0.0) -> Difference:
    """Whether two recipes differ by more than their seeds do: Welch's test, which lets the recipes have spreads of their own.

    Args:
        first: one number per training of the first recipe.
        second: of the second.
        shared_error: standard error of the difference that all trainings share (of judging them on few rows), added in quadrature;
            it is taken to be well known.

    Returns:
        the difference of the means; the same for all trainings on both sides gives an error of `shared_error` alone.

    Raises:
        DataError: a side has no values, or one is not finite.

    Reference: Welch 1947, Biometrika 34, 28.

    Example:
        >>> made = welch([1.0, 1.1, 0.9], [2.0, 2.2, 1.8])
        >>> round(made.value, 3), round(made.error, 3), round(made.p, 4)
        (-1.0, 0.129, 0.0048)
    """
    one, two = spread(first), spread(second)
    value = one.mean - two.mean
    if one.trainings < 2 or two.trainings < 2:
        return Difference(value, math.nan, math.nan, math.nan)
    parts = (one.error**2, two.error**2)
    error = math.sqrt(sum(parts) + shared_error**2)
    if error == 0:
        return Difference(value, 0.0, math.inf, 1.0 if value == 0 else 0.0)
    from scipy.special import stdtr

    sizes = sum(part**2 / (side.trainings - 1) for part, side in zip(parts, (one, two), strict=True))
    freedom = error**4 / sizes if sizes > 0 else math.inf
    return Difference(value, error, freedom, float(2 * stdtr(min(freedom, 1e12), -abs(value) / error)))
