"""Conformal prediction: intervals and sets that cover the truth with the promised chance, whatever the model, from held-out rows.

All it asks is that calibration and test rows are exchangeable. Which rows calibrate, and which test, is for the statistics to say.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.measures.estimate import Floats
from gnomon.errors import DataError, OptionError

METHODS = ("lac", "aps")
_CHUNK = 2**22  # numbers sorted at once


def conformal_rank(calibration: int, level: float) -> int:
    """Which of the sorted calibration scores is the threshold, from 1: ⌈(n + 1) level⌉; beyond n, there is none.

    Without the + 1 the coverage falls short: by 0.07 of 0.9 for nine rows.

    Example:
        >>> conformal_rank(9, 0.9), conformal_rank(8, 0.9)
        (9, 9)
    """
    _level(level)
    return max(1, math.ceil((calibration + 1) * level - 1e-9))  # (n + 1) level that is a whole number but for rounding


def conformal_quantile(
    scores: Floats, level: float, *, weight: Floats | None = None, test_weight: float | Floats | None = None
) -> float | Floats:
    """The threshold that a new score stays at or below with probability at least `level`.

    Args:
        scores: ``(n,)`` of the calibration rows, larger for worse predictions.
        level: the coverage wanted, such as 0.9.
        weight: ``(n,)`` not negative: how much likelier each calibration row is among the test rows than in the calibration (up to a
            factor), for test rows from elsewhere; None where both come from one place.
        test_weight: the same for the test rows, a number or ``(m,)``; with `weight` only.

    Returns:
        a number; with an array of test weights ``(m,)``. Infinite where n is too small for the level (fewer than level / (1 − level)
        rows), since then no finite threshold keeps the promise.

    Raises:
        DataError: no scores, one is missing, or weights do not fit.
        OptionError: the level is not between 0 and 1.

    Reference: Vovk, Gammerman & Shafer 2005; weights: Tibshirani et al. 2019, https://arxiv.org/abs/1904.06019

    Example:
        >>> conformal_quantile(np.arange(1.0, 20.0), 0.9), conformal_quantile(np.arange(1.0, 9.0), 0.9)
        (18.0, inf)
    """
    _level(level)
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
        raise DataError(f"a conformal quantile wants one score per calibration row, none missing; got shape {scores.shape}")
    if weight is None:
        if test_weight is not None:
            raise OptionError("test_weight goes with weight: the calibration rows need weights on the same scale")
        rank = conformal_rank(len(scores), level)
        return math.inf if rank > len(scores) else float(np.partition(scores, rank - 1)[rank - 1])
    if test_weight is None:
        raise OptionError("weighted conformal prediction wants the weight of the test rows too: test_weight=")
    weight, own = np.asarray(weight, dtype=np.float64), np.asarray(test_weight, dtype=np.float64)
    if weight.shape != scores.shape or (weight < 0).any() or (own < 0).any() or not weight.sum() > 0:
        raise DataError("conformal weights are one number per row, not negative and not all zero")
    order = np.argsort(scores)
    reached = np.cumsum(weight[order])
    wanted = level * (reached[-1] + own)  # the test row's own mass lies at infinity
    place = np.searchsorted(reached, wanted * (1 - 1e-12), side="left")
    made = np.append(scores[order], np.inf)[place]
    return float(made) if np.ndim(test_weight) == 0 else made


def split_interval(
    residuals: Floats,
    prediction: Floats,
    level: float,
    *,
    spread_calibration: Floats | None = None,
    spread: Floats | None = None,
    weight: Floats | None = None,
    test_weight: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Intervals about predictions that hold the truth with probability at least `level`, from residuals on rows not trained on.

    Args:
        residuals: ``(n,)`` truth minus prediction on the calibration rows.
        prediction: ``(m,)`` for the test rows.
        level: such as 0.9.
        spread_calibration, spread: ``(n,)`` and ``(m,)`` predicted standard deviations (or any positive scale): intervals are then as
            wide as these say, times one factor; without them all intervals are equally wide.
        weight, test_weight: see `conformal_quantile`.

    Returns:
        lower and upper ends, ``(m,)`` each; infinite where there are too few calibration rows.

    Raises:
        DataError: lengths differ, or a spread is not positive.

    Reference: Lei et al. 2018, https://arxiv.org/abs/1604.04173

    Example:
        >>> low, high = split_interval(np.arange(-9.0, 10.0), np.array([100.0]), 0.9)
        >>> low.tolist(), high.tolist()
        ([91.0], [109.0])
    """
    prediction = np.asarray(prediction, dtype=np.float64)
    scores = np.abs(np.asarray(residuals, dtype=np.float64))
    if (spread is None) != (spread_calibration is None):
        raise OptionError("normalised intervals want both spreads: spread_calibration= and spread=")
    scale: Any = 1.0
    if spread is not None and spread_calibration is not None:
        for name, one, rows in (("spread_calibration", spread_calibration, scores), ("spread", spread, prediction)):
            if np.shape(one) != rows.shape or not (np.asarray(one) > 0).all():
                raise DataError(f"{name} wants one positive number per row; got shape {np.shape(one)} for {len(rows)} rows")
        scores, scale = scores / spread_calibration, np.asarray(spread, dtype=np.float64)
    half = conformal_quantile(scores, level, weight=weight, test_weight=test_weight) * scale
    return prediction - half, prediction + half


def jackknife_plus(residuals: Floats, predictions: Floats, level: float, *, fold: NDArray[np.intp] | None = None) -> tuple[Floats, Floats]:
    """Intervals from models that were each fitted without the rows they are judged on: all rows train, and all calibrate.

    The truth lies inside with probability at least 2 level − 1, whatever the model, and about `level` for stable ones.

    Args:
        residuals: ``(n,)`` truth minus prediction of each training row by the model fitted without it (or without its fold).
        predictions: ``(n, m)`` of the m test rows by the model fitted without row i; with `fold`, ``(folds, m)`` by that without fold k.
        level: such as 0.9.
        fold: ``(n,)`` the fold of each training row (then this is CV+), or None for leave-one-out.

    Returns:
        lower and upper ends, ``(m,)`` each; infinite where n is too small.

    Raises:
        DataError: shapes do not fit.

    Reference: Barber et al. 2021, https://arxiv.org/abs/1905.02928

    Example:
        >>> low, high = jackknife_plus(np.arange(-9.0, 10.0), np.full((19, 1), 100.0), 0.9)
        >>> low.tolist(), high.tolist()
        ([91.0], [109.0])
    """
    size, predictions = np.abs(np.asarray(residuals, dtype=np.float64)), np.asarray(predictions, dtype=np.float64)
    rows = np.arange(len(size)) if fold is None else np.asarray(fold)
    if size.ndim != 1 or predictions.ndim != 2 or rows.shape != size.shape or (fold is None and len(predictions) != len(size)):
        raise DataError(
            f"jackknife+ wants predictions (n, m), or (folds, m) with fold=, for n residuals; got {predictions.shape}, {size.shape}"
        )
    if not len(size) or rows.min() < 0 or rows.max() >= len(predictions):
        raise DataError(f"fold names a row of predictions for each residual; got {len(predictions)} rows")
    rank, count = conformal_rank(len(size), level), predictions.shape[1]
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    if rank > len(size):
        return low, high
    step = max(1, _CHUNK // len(size))
    for start in range(0, count, step):
        part = slice(start, start + step)
        by_row = predictions[rows, part]
        high[part] = np.partition(by_row + size[:, None], rank - 1, axis=0)[rank - 1]
        low[part] = -np.partition(size[:, None] - by_row, rank - 1, axis=0)[rank - 1]
    return low, high


def class_scores(probability: Floats, *, method: str = "lac", generator: np.random.Generator | None = None) -> Floats:
    """``(n, classes)``: how badly each class fits each row, from class probabilities; sets hold the classes that fit well enough.

    Args:
        probability: ``(n, classes)``.
        method: "lac": 1 − p of the class, which gives the smallest sets on average; "aps": the probability of all likelier classes and
            a random share of its own, whose sets are more alike in how often they are right where classes are easy and where not.
        generator: of that random share; without one all of its own probability is counted, and sets are larger than they need be.

    Raises:
        OptionError: an unknown method.

    Reference: Sadinle, Lei & Wasserman 2019, https://arxiv.org/abs/1609.00451 (LAC); Romano, Sesia & Candès 2020,
    https://arxiv.org/abs/2006.02544 (APS)
    """
    if method not in METHODS:
        raise OptionError(f"method '{method}' is not known; use one of {', '.join(METHODS)}")
    probability = np.asarray(probability, dtype=np.float64)
    if probability.ndim != 2:
        raise DataError(f"class probabilities are (rows, classes); got shape {probability.shape}")
    if method == "lac":
        return 1.0 - probability
    order = np.argsort(-probability, axis=1, kind="stable")
    ordered = np.take_along_axis(probability, order, axis=1)
    share = 1.0 if generator is None else generator.random((len(probability), 1))
    made = np.empty_like(probability)
    np.put_along_axis(made, order, np.cumsum(ordered, axis=1) - (1.0 - share) * ordered, axis=1)
    return made


def class_sets(
    probability_calibration: Floats,
    truth: NDArray[Any],
    probability: Floats,
    level: float,
    *,
    method: str = "lac",
    generator: np.random.Generator | None = None,
    weight: Floats | None = None,
    test_weight: Floats | None = None,
) -> NDArray[np.bool_]:
    """Sets of classes that hold the true one with probability at least `level`.

    Args:
        probability_calibration: ``(n, classes)`` on rows not trained on.
        truth: ``(n,)`` their class codes.
        probability: ``(m, classes)`` of the test rows.
        level: such as 0.9.
        method, generator: see `class_scores`.
        weight, test_weight: see `conformal_quantile`.

    Returns:
        ``(m, classes)``: which classes are in the set of each row. A set may be empty; all classes where there are too few rows.

    Example:
        >>> chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
        >>> class_sets(chances, np.array([0, 0, 1, 1]), np.array([[0.97, 0.03], [0.5, 0.5]]), 0.8).tolist()
        [[True, False], [True, True]]
    """
    scores = class_scores(probability_calibration, method=method, generator=generator)
    truth = np.asarray(truth)
    if truth.shape != (len(scores),) or (len(truth) and not 0 <= truth.min() <= truth.max() < scores.shape[1]):
        raise DataError(f"truth wants one class code below {scores.shape[1]} per calibration row; got shape {truth.shape}")
    threshold = conformal_quantile(scores[np.arange(len(truth)), truth], level, weight=weight, test_weight=test_weight)
    limit = np.asarray(threshold)
    return class_scores(probability, method=method, generator=generator) <= (limit[:, None] if limit.ndim else limit)


# ---- what the coverage will be ---------------------------------------------------------------------------------------------


def mean_coverage(calibration: int, level: float) -> float:
    """The mean coverage of a split-conformal rule over calibrations: rank / (n + 1), between level and level + 1 / (n + 1).

    Example:
        >>> mean_coverage(19, 0.9)
        0.9
    """
    return min(1.0, conformal_rank(calibration, level) / (calibration + 1))


def coverage_error(calibration: int, level: float, test: int) -> float:
    """Standard deviation of the share of `test` rows that a rule with `calibration` rows covers (that of the beta-binomial law).

    Example:
        >>> round(coverage_error(1000, 0.9, 10**9), 4)
        0.0095
    """
    rank = conformal_rank(calibration, level)
    if rank > calibration:
        return 0.0
    share = rank / (calibration + 1)
    return math.sqrt(share * (1 - share) * (calibration + 1 + test) / (test * (calibration + 2)))


def coverage_band(calibration: int, level: float, test: int | None = None, confidence: float = 0.683) -> tuple[float, float]:
    """Between which shares the realised coverage lies with the given chance, for scores without ties.

    Given the calibration rows, the coverage of new rows is a draw from Beta(k, n + 1 − k) with k the conformal rank; the share of
    `test` such rows that are covered is then beta-binomial.

    Args:
        calibration: number of calibration rows n.
        level: the coverage asked for.
        test: number of rows on which the coverage is measured; None for ever so many.
        confidence: chance of the band (at least this for a finite test, whose shares are discrete).

    Reference: Angelopoulos & Bates 2021, https://arxiv.org/abs/2107.07511, §3.2

    Example:
        >>> low, high = coverage_band(1000, 0.9)
        >>> round(low, 3), round(high, 3)
        (0.891, 0.91)
    """
    from scipy.special import betaincinv

    rank = conformal_rank(calibration, level)
    if rank > calibration:
        return 1.0, 1.0
    ends = (0.5 - confidence / 2, 0.5 + confidence / 2)
    if test is None:
        low, high = (float(betaincinv(rank, calibration + 1 - rank, end)) for end in ends)
    else:
        reached = np.cumsum(_beta_binomial(test, rank, calibration + 1 - rank))
        low, high = (float(np.searchsorted(reached, end - 1e-12) / test) for end in ends)
    return low, high


def coverage_p(covered: int, test: int, calibration: int, level: float, *, two_sided: bool = True) -> float:
    """Chance of a coverage at least as far off, for exchangeable rows; with ties among the scores only the lower side means something.

    Args:
        covered: how many of the test rows the rule covered.
        test: number of test rows.
        calibration: number of calibration rows.
        level: the coverage asked for.
        two_sided: False for the chance of so few covered rows.
    """
    rank = conformal_rank(calibration, level)
    if rank > calibration:
        return 1.0 if covered == test else 0.0
    law = _beta_binomial(test, rank, calibration + 1 - rank)
    few, many = float(law[: covered + 1].sum()), float(law[covered:].sum())
    return min(1.0, 2 * min(few, many) if two_sided else few)


def _beta_binomial(trials: int, a: int, b: int) -> Floats:
    """``(trials + 1,)`` chance of 0 … `trials` hits whose chance is a draw from Beta(a, b)."""
    from scipy.special import betaln, gammaln

    hits = np.arange(trials + 1)
    ways = gammaln(trials + 1) - gammaln(hits + 1) - gammaln(trials - hits + 1)
    made = np.exp(ways + betaln(hits + a, trials - hits + b) - betaln(a, b))
    return made / made.sum()


def _level(level: float) -> None:
    if not 0 < level < 1:
        raise OptionError(f"level is a coverage between 0 and 1, such as 0.9; got {level!r}")
