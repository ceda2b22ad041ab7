"""Held-out log-likelihood beside what the model's own samples get, and beside a full-covariance Gaussian.

The log-probabilities come with the case; how a model computes them is its own affair.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gnomon.checks.case import Case, Likelihood
from gnomon.checks.nulls import Pool, null_draws, permutation_p
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, plus_minus

FEWEST = 20
_FOLDS = 10


def log_likelihood(case: Case) -> list[Statistic]:
    """Mean log-probability of the held-out rows in nats per row, ± its standard error.

    If data and model agree, rows drawn from the model get the same mean: that is the null, and the p-value tests the difference (two
    sides, relabelling held-out and drawn rows). Rows outside the support (−inf) are left out of the mean and counted in a row of
    their own, `impossible`. Where rows are numbers, the same mean under a full-covariance Gaussian stands beside it.

    Raises:
        LeftOut: fewer than 20 rows.
    """
    given = case.likelihood
    if given is None:
        return []
    if len(given.real) < FEWEST:
        raise LeftOut(f"{len(given.real)} rows; the mean log-probability wants at least {FEWEST}")
    rows = [*_impossible(given)]
    known, drawn = _finite_rows(given)
    if len(known.real) < FEWEST:
        raise LeftOut(f"all but {len(known.real)} of {len(given.real)} rows have log-probability −inf")
    value, error = weighted_mean(known.real, known.weight)
    bound = "a lower bound; " if given.bound else ""
    made = Statistic("log_likelihood", "all columns", value, error, n=len(known.real), note=f"{bound}nats per row", alarm="never")
    if drawn is not None and len(drawn) >= FEWEST:
        made = _against_own_rows(case, known, drawn, made)
    rows.insert(0, made)
    baseline = gaussian_baseline(known) if known.numbers is not None else None
    if baseline is not None:
        rows.insert(1, _against_gaussian(known, baseline))
    return rows


def _against_own_rows(case: Case, known: Likelihood, drawn: Floats, made: Statistic) -> Statistic:
    """The statistic with its null: what the model gives to rows it drew itself."""
    null, null_error = weighted_mean(drawn, known.weight if known.paired else None)
    weight = None
    if known.weight is not None:
        second = known.weight if known.paired else np.ones(len(drawn))
        weight = np.concatenate([known.weight * len(known.weight) / known.weight.sum(), second * len(second) / second.sum()])
    pool = Pool(len(known.real), len(drawn), weight, known.paired)
    both = np.concatenate([known.real, drawn])
    scale = 1.0
    if len(pool) > 4 * case.effort.null_rows:  # the null of a difference of means depends on the size through the noise alone
        part, rows = _part(pool, case)
        scale, pool, both_part = float(np.sqrt(pool.noise / part.noise)), part, both[rows]
    else:
        both_part = both
    centred = both_part - both_part.mean()
    distance = abs(made.value - null)
    draws = null_draws(
        pool,
        case.generator("log_likelihood"),
        lambda batch: {"distance": np.abs(batch @ centred) * scale},
        case.effort,
        lambda so_far: distance > so_far["distance"].max(initial=0),
    )
    p = permutation_p(distance, draws["distance"])
    side = "less" if made.value < null else "more"
    note = f"{made.note}; the null is the mean over {len(drawn):,} rows drawn from the model itself"
    claim = (
        f"all columns: the real rows are {side} probable under the model than rows it draws itself "
        f"(log_likelihood {plus_minus(made.value, made.error)} against {plus_minus(null, null_error)} nats)"
    )
    return made.with_(null=null, null_error=null_error, p=p, note=note, claim=claim, alarm="low")


def _part(pool: Pool, case: Case) -> tuple[Pool, np.ndarray]:
    """At most twice `null_rows` rows of each side, and their places in the pool."""
    most, generator = 2 * case.effort.null_rows, case.generator("log_likelihood", "rows")
    first = np.sort(generator.permutation(pool.real)[:most])
    second = first if pool.paired else np.sort(generator.permutation(pool.generated)[:most])
    rows = np.concatenate([first, pool.real + second])
    return Pool(len(first), len(second), None if pool.weight is None else pool.weight[rows], pool.paired), rows


def _impossible(given: Likelihood) -> list[Statistic]:
    """A row for held-out rows that the model holds to be impossible, if there are any."""
    lost = ~np.isfinite(given.real)
    if not lost.any():
        return []
    share, error = weighted_mean(lost.astype(np.float64), given.weight)
    claim = f"all columns: {int(lost.sum()):,} of {len(lost):,} held-out rows are impossible under the model (log-probability −inf)"
    note = "share of rows with log-probability −inf"
    return [Statistic("impossible", "all columns", share, error, 0.0, 0.0, p=0.0, n=len(lost), note=note, claim=claim)]


def _finite_rows(given: Likelihood) -> tuple[Likelihood, Floats | None]:
    """Held-out rows with finite log-probability, and the drawn ones; pairs stay pairs."""
    keep = np.isfinite(given.real)
    drawn = given.generated
    if given.paired and drawn is not None:
        keep &= np.isfinite(drawn)
        drawn = drawn[keep]
    elif drawn is not None:
        drawn = drawn[np.isfinite(drawn)]
    weight, numbers, condition = (None if part is None else part[keep] for part in (given.weight, given.numbers, given.given))
    return replace(given, real=given.real[keep], generated=drawn, weight=weight, numbers=numbers, given=condition), drawn


def _against_gaussian(known: Likelihood, baseline: Floats) -> Statistic:
    """What a Gaussian gets on the same rows; the paired difference tells whether the model is worse than that."""
    from scipy.special import ndtr

    value, error = weighted_mean(baseline, known.weight)
    gain, gain_error = weighted_mean(known.real - baseline, known.weight)
    p = float(ndtr(gain / gain_error)) if gain_error > 0 else 1.0
    note = (
        f"nats per row of a Gaussian with full covariance, {_FOLDS}-fold on the checked rows; "
        f"the model's mean is {plus_minus(gain, gain_error)} above; p is small if the model is worse"
    )
    claim = (
        f"all columns: the model is worse than a full-covariance Gaussian: its log_likelihood lies {plus_minus(-gain, gain_error)} nats "
        f"below the Gaussian's"
    )
    return Statistic("gaussian_log_likelihood", "all columns", value, error, p=p, n=len(known.real), note=note, claim=claim)


def gaussian_baseline(known: Likelihood) -> Floats | None:
    """``(n,)`` log-density of each row under a Gaussian fitted to the other folds, given the condition; None with too few rows.

    Whole numbers are spread over their cell by adding 1/12 to their variance, as the model sees them.
    """
    assert known.numbers is not None
    rows, width = known.numbers.shape
    joint = known.numbers if known.given is None else np.concatenate([known.numbers, known.given], axis=1)
    others = np.empty((0, joint.shape[1])) if known.others is None else known.others
    spread = joint.std(axis=0)
    if rows + len(others) < 5 * joint.shape[1]:
        return None
    extra = np.zeros(joint.shape[1])
    if known.lattice is not None:
        extra[:width] = known.lattice / 12.0
    if (np.sqrt(np.square(spread) + extra) <= 1e-12 * np.abs(joint).max(axis=0, initial=1e-300)).any():
        return None  # a constant column has no density
    made = np.empty(rows)
    fold = np.arange(rows) % _FOLDS
    for k in range(_FOLDS):
        train, test = np.concatenate([joint[fold != k], others]), fold == k
        weight = None if known.weight is None else np.concatenate([np.maximum(known.weight[fold != k], 0), np.ones(len(others))])
        mean = np.average(train, axis=0, weights=weight)
        covariance = np.atleast_2d(np.cov(train, rowvar=False, aweights=weight)) + np.diag(extra)
        made[test] = _log_normal(joint[test] - mean, covariance)
        if joint.shape[1] > width:
            made[test] -= _log_normal((joint[test] - mean)[:, width:], covariance[width:, width:])
    return made


def _log_normal(centred: Floats, covariance: Floats) -> Floats:
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale) + 1e-9 * np.eye(len(scale))
    factor = np.linalg.cholesky(correlation)
    whitened = np.linalg.solve(factor, (centred / scale).T)
    determinant = np.log(np.diag(factor)).sum() + np.log(scale).sum()
    return -0.5 * np.square(whitened).sum(axis=0) - determinant - 0.5 * len(scale) * np.log(2 * np.pi)


def weighted_mean(values: Floats, weight: Floats | None = None) -> tuple[float, float]:
    """Mean and its standard error.

    Example:
        >>> weighted_mean(np.array([1.0, 3.0]))
        (2.0, 1.0)
    """
    share = np.full(len(values), 1 / len(values)) if weight is None else weight / weight.sum()
    mean = float(share @ values)
    correction = len(values) / max(1, len(values) - 1)
    return mean, float(np.sqrt(correction * (np.square(share) @ np.square(values - mean))))
