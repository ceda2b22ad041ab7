"""Transport that sees all coordinates at once, on a few rows: the earth mover's distance and Sinkhorn's divergence. For information only.

Long data are the business of `sliced`, whose p-value raises the alarm.
"""

from __future__ import annotations

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.measures.sinkhorn import entropic_transport, sinkhorn_divergences
from gnomon.checks.measures.transport import Transport, distances, exact_transport, has_pot
from gnomon.checks.nulls import Pool, error_of_distance, permutation_p
from gnomon.checks.points import Points, points
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.checks.statistics.influence import linear_error, moves_of_spreads
from gnomon.errors import OptionError

BLUR = 0.1
"""Blur of Sinkhorn's divergence, in units of the mean squared distance of all rows."""

_SHARE = 0.1  # of the budget for the null of each
_FEWEST = 19  # relabellings, even if that takes longer
_ASSIGNMENT, _SIMPLEX, _SINKHORN = 0.025, 0.06, 0.02  # seconds for one relabelling of 400 rows a side
_TOLERANCE, _ROUGHLY = 1e-4, 1e-3  # mass that plans of the data and of relabelled rows may miss; the divergence errs with the square


def earth_mover(case: Case) -> list[Statistic]:
    """Earth mover's distance of some rows of both sides as points: the least mean way by which one side becomes the other.

    It is large for two samples of the same distribution too, the larger the more coordinates there are: only its distance from the null
    says something.

    Reference: Rubner, Tomasi & Guibas 2000, Int. J. Comput. Vis. 40, 99.

    Raises:
        LeftOut: negative weights; or weights where POT is not installed.
    """
    part = _part(case)
    if part is None:
        return []
    weighted = part.pool.weight is not None
    if weighted and not has_pot():
        raise LeftOut("exact transport of rows with weights wants POT (pip install pot)")
    cost = distances(part.pooled, part.pooled)
    found = exact_transport(cost[: part.pool.real, part.pool.real :], _weights(part.pool))
    length = cost[: part.pool.real, part.pool.real :]
    per_length = np.divide(found.plan, length, out=np.zeros_like(length), where=length > 0)  # what stays where it is does not stretch
    stretch = _moved_squares(part.real, part.generated, per_length)
    draws = _draws(case, part, _SIMPLEX if weighted else _ASSIGNMENT, "earth_mover")
    null = np.array([_relabelled_cost(cost, part.pool, row) for row in draws])
    linear = linear_error(found.first, found.second, part.pool, besides=-moves_of_spreads(part) @ stretch)
    return [_statistic(case, part, "earth_mover", found.cost, linear, null, f"in spreads of {part.space}")]


def sinkhorn(case: Case) -> list[Statistic]:
    """Sinkhorn's divergence of some rows of both sides as points, with squared distances: 0 only where both sides are the same.

    Reference: Feydy et al. 2019, "Interpolating between optimal transport and MMD using Sinkhorn divergences", AISTATS.

    Raises:
        LeftOut: negative weights; or the iteration does not converge.
    """
    part = _part(case)
    if part is None:
        return []
    real, cost = part.pool.real, distances(part.pooled, part.pooled, squared=True)
    epsilon = BLUR * float(cost.mean())
    draws = _draws(case, part, _SINKHORN, "sinkhorn")
    if not epsilon > 0:
        return [_statistic(case, part, "sinkhorn", 0.0, 0.0, np.zeros(len(draws)), "all rows are the same")]
    try:
        value, linear = _divergence(cost, part, epsilon)
        shares = [np.maximum(sign * draws.T, 0.0) for sign in (1, -1)]
        first, second = (share / share.sum(axis=0) for share in shares)
        null = sinkhorn_divergences(cost, first, second, epsilon=epsilon, tolerance=_ROUGHLY)
    except OptionError as error:
        raise LeftOut(str(error)) from None
    text = f"in squared spreads of {part.space}, blur {number(epsilon)}"
    return [_statistic(case, part, "sinkhorn", value, linear, null, text).with_(n=real)]


def _part(case: Case) -> Points | None:
    """As many rows of both sides, or None where there is nothing to compare."""
    sides = case.sides
    if sides is None or not sides.compared:
        return None
    part = points(sides).drawn(min(case.effort.transport_rows, sides.rows), sides.generator("transport", "rows"))
    if not part.real.shape[1]:
        return None
    if part.pool.weight is not None and (part.pool.weight < 0).any():
        raise LeftOut("some weights are negative, and only mass can be moved")
    return part


def _draws(case: Case, part: Points, seconds: float, name: str) -> Floats:
    """Coefficients of relabelled rows: as many as a share of the budget allows at so many seconds for 400 rows a side."""
    each = seconds * (part.pool.real / 400) ** 2.3
    count = min(case.effort.few_draws, max(_FEWEST, int(_SHARE * case.effort.seconds / max(each, 1e-6))))
    return np.concatenate(list(part.pool.relabelled(count, part.sides.generator(name))))


def _weights(pool: Pool) -> tuple[Floats | None, Floats | None]:
    """The weights of both sides, or None where all rows count the same."""
    return (None, None) if pool.weight is None else (pool.weight[: pool.real], pool.weight[pool.real :])


def _relabelled_cost(cost: Floats, pool: Pool, coefficients: Floats) -> float:
    from scipy.optimize import linear_sum_assignment

    real, generated = coefficients > 0, coefficients < 0
    block = cost[np.ix_(real, generated)]
    if pool.weight is None:
        return float(block[linear_sum_assignment(block)].mean())
    return exact_transport(block, (coefficients[real], -coefficients[generated])).cost


def _statistic(case: Case, part: Points, name: str, value: float, linear: float, null: Floats, unit: str) -> Statistic:
    assert case.sides is not None
    note = f"{unit}; null from {part.pool.method} {len(null)} times"
    if len(part.pooled) < len(case.sides.real) + len(case.sides.generated):
        note += f"; on {part.pool.real:,} rows a side drawn at random"
    return Statistic(
        name=name,
        where="all columns",
        value=value,
        error=error_of_distance(value - float(null.mean()), linear, null - null.mean()),  # what is beyond the null adds to it
        null=float(null.mean()),
        null_error=float(null.std(ddof=1)),
        p=permutation_p(value, null),
        n=part.sides.rows,
        note=note,
        alarm="never",
    )


# ---- Sinkhorn ------------------------------------------------------------------------------------------------------------


def _divergence(cost: Floats, part: Points, epsilon: float) -> tuple[float, float]:
    """The divergence and the standard error of its linearisation."""
    real, weights = part.pool.real, _weights(part.pool)
    pairs = ((0, 1), (0, 0), (1, 1))
    halves, rows = (slice(0, real), slice(real, None)), (part.real, part.generated)
    joint, *own = (
        entropic_transport(cost[halves[i], halves[j]], epsilon=epsilon, weights=(weights[i], weights[j]), tolerance=_TOLERANCE)
        for i, j in pairs
    )
    plans: list[tuple[Transport, float, int, int]] = [
        (found, share, i, j) for (i, j), found, share in zip(pairs, (joint, *own), (1, -0.5, -0.5), strict=True)
    ]
    value = max(0.0, sum(share * found.cost for found, share, _, _ in plans))
    stretch = 2 * sum(share * _moved_squares(rows[i], rows[j], found.plan) for found, share, i, j in plans)
    influences = (joint.first - own[0].first, joint.second - own[1].first)
    return value, linear_error(*influences, part.pool, besides=-moves_of_spreads(part) @ stretch)


def _moved_squares(first: Floats, second: Floats, plan: Floats) -> Floats:
    """``(F,)``: Σ plan_ij (first_i − second_j)² along each coordinate."""
    return plan.sum(axis=1) @ np.square(first) + plan.sum(axis=0) @ np.square(second) - 2 * np.einsum("if,if->f", first, plan @ second)
