"""Held-out log-likelihood beside what the model's own samples get, whole and by condition, and as bits per dimension.

The log-probabilities come with the case; how a model computes them is its own affair. Classical densities beside it are in `baselines`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gnomon.checks.case import Case, Likelihood
from gnomon.checks.nulls import Pool, null_draws, permutation_p
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, plus_minus

FEWEST = 20


def log_likelihood(case: Case) -> list[Statistic]:
    """Mean log-probability of the held-out rows in nats per row, ± its standard error.

    If data and model agree, rows drawn from the model get the same mean: that is the null, and the p-value tests the difference (two
    sides, relabelling held-out and drawn rows). Rows outside the support (−inf) are left out of the mean and counted in a row of
    their own, `impossible`.

    Raises:
        LeftOut: fewer than 20 rows.
    """
    given = case.likelihood
    if given is None:
        return []
    if len(given.real) < FEWEST:
        raise LeftOut(f"{len(given.real)} rows; the mean log-probability wants at least {FEWEST}")
    rows = [*_impossible(given)]
    known, drawn = finite_rows(given)
    if len(known.real) < FEWEST:
        raise LeftOut(f"all but {len(known.real)} of {len(given.real)} rows have log-probability −inf")
    value, error = weighted_mean(known.real, known.weight)
    bound = "a lower bound; " if given.bound else ""
    made = Statistic("log_likelihood", "all columns", value, error, n=len(known.real), note=f"{bound}nats per row", alarm="never")
    if drawn is not None and len(drawn) >= FEWEST:
        made = _against_own_rows(case, known, drawn, made)
    rows.insert(0, made)
    return rows


def bits_per_dimension(case: Case) -> list[Statistic]:
    """Mean code length of images with levels in bits per pixel and channel: −log₂ probability over the number of pixels. For information.

    Of a lower bound on the log-probability it is an upper bound. Images that the model holds to be impossible are left out.
    """
    given = case.likelihood
    if given is None or not given.pixels:
        return []
    known, _ = finite_rows(given)
    if len(known.real) < FEWEST:
        raise LeftOut(f"{len(known.real)} images with finite log-probability; a mean wants at least {FEWEST}")
    value, error = weighted_mean(-known.real / (known.pixels * np.log(2)), known.weight)
    note = f"bits per pixel and channel, of {known.pixels:,} an image" + ("; an upper bound" if known.bound else "")
    return [Statistic("bits_per_dimension", "the images", value, error, n=len(known.real), note=note, alarm="never")]


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


def finite_rows(given: Likelihood) -> tuple[Likelihood, Floats | None]:
    """Held-out rows with finite log-probability, and the drawn ones; pairs stay pairs."""
    keep = np.isfinite(given.real)
    drawn = given.generated
    if given.paired and drawn is not None:
        keep &= np.isfinite(drawn)
        drawn = drawn[keep]
    elif drawn is not None:
        drawn = drawn[np.isfinite(drawn)]
    weight, conditions = (None if part is None else part[keep] for part in (given.weight, given.given))
    places = None if given.places is None else given.places.at(np.flatnonzero(keep))
    return replace(given, real=given.real[keep], generated=drawn, weight=weight, places=places, given=conditions), drawn


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
