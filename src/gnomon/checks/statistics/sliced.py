"""Sliced Wasserstein distance: the way that rows have to move, seen along many directions, with the direction that differs most.

One sort per direction serves all relabellings. Transport that sees all coordinates at once is in `transport`, single columns in `columns`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.measures.wasserstein import cost_between, directions, projected, quantiles, rising
from gnomon.checks.nulls import Pool, error_of_distance, null_draws, permutation_p, surprising
from gnomon.checks.points import Points, points
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import Statistic, number
from gnomon.checks.statistics.influence import linear_error, moves_of_spreads

PROJECTIONS = 64
"""Directions along which rows are projected."""

CELLS = 128
"""Cells along each direction in which relabelled rows are compared, finer towards both ends."""

_WORK = 1.6e9  # additions allowed for the null; rows are drawn down to fit
_CALIBRATION = 100_000  # at most so many rows a side whose relabellings are transported exactly
_CALIBRATIONS = 16  # so many of them
_CALIBRATION_WORK = 4e7  # values passed for that; directions are left out to fit
_NAMED = 100  # coordinates up to which each is looked at for the sentence
_LEVELS = 512  # of the quantile functions kept from each direction


def sliced_w2(case: Case) -> list[Statistic]:
    """Sliced Wasserstein-2 distance of both sides as points: the root of the mean over directions of W2² of the projections.

    P comes from relabelled rows. Near the null, W2² is ∫ (F − G)² / f along each direction, with f the density of both sides together;
    in cells, that needs sums of coefficients only, and it is what both the data and the relabelled rows are judged by. The null itself
    is calibrated by a few relabellings that are transported exactly.

    Reference: Bonneel et al. 2015, J. Math. Imaging Vis. 51, 22; for the local form, del Barrio, Giné & Utzet 2005, Bernoulli 11, 131.
    """
    sides = case.sides
    if sides is None or not sides.compared:
        return []
    whole = points(sides)
    if not whole.real.shape[1]:
        return []
    along = directions(whole.real.shape[1], PROJECTIONS, sides.generator("sliced", "directions"))
    few = int(_WORK / ((case.effort.draws + case.effort.more_draws) * along.shape[1] * 2))
    part = whole.drawn(max(100, min(case.effort.null_rows, few)), sides.generator("sliced", "rows"))
    cells = _Cells.of(part.pooled @ along)
    seen = _observe(whole, along, cells, part)
    value = float(np.sqrt(seen.costs.mean()))
    draws = _relabelled(sides, part, cells, float(seen.rough.mean()), case.effort)
    exact = _as_exact(draws, whole, along, cells, sides.generator("sliced", "calibration"))
    exact *= np.sqrt(whole.pool.noise)
    linear = _linear(part, along, seen, value) * np.sqrt(whole.pool.noise / part.pool.noise)
    made = Statistic(
        name="sliced_w2",
        where="all columns",
        value=value,
        error=error_of_distance(value, linear, exact),
        null=float(exact.mean()),
        null_error=float(exact.std(ddof=1)),
        p=permutation_p(float(seen.rough.mean()) / whole.pool.noise, draws),
        n=sides.rows,
        note=_note(whole, part, along, seen, len(draws)),
    )
    return [made.with_(claim=f"all columns: {_difference(whole, part, along, seen, cells, made.p)} ({made})")]


# ---- rows and cells ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells along every direction.

    Args:
        edges: ``(P, CELLS - 1)`` upper edges, none of which is the projection of a row; +inf where there are fewer.
        stiffness: ``(P, CELLS - 1)`` what a squared difference of the distribution functions at each edge costs: width² / mass.
        shares: ``(P, CELLS - 1)`` of the pooled rows, below each edge.
        sums: ``(P · CELLS, rows)`` sparse: which rows of the part lie in which cell.
    """

    edges: Floats
    stiffness: Floats
    shares: Floats
    sums: Any = field(repr=False)

    @classmethod
    def of(cls, projections: Floats) -> _Cells:
        """Of pooled rows ``(rows, P)``, which know nothing of the sides."""
        from scipy import sparse

        count, width = projections.shape
        edges, stiffness, shares = np.full((width, CELLS - 1), np.inf), np.zeros((width, CELLS - 1)), np.ones((width, CELLS - 1))
        place = np.empty((width, count), dtype=np.int32)
        for k in range(width):
            made, *known = _edges(np.sort(projections[:, k]))
            edges[k, : len(made)], stiffness[k, : len(made)], shares[k, : len(made)] = made, *known
            place[k] = np.searchsorted(made, projections[:, k]) + k * CELLS
        ones = np.ones(place.size, dtype=np.float32)
        columns = np.tile(np.arange(count, dtype=np.int32), width)
        return cls(edges, stiffness, shares, sparse.csr_matrix((ones, (place.ravel(), columns)), shape=(width * CELLS, count)))

    def differences(self, coefficients: Floats, pool: Pool) -> Floats:
        """``(batch, rows) -> (batch, P, CELLS - 1)``: real minus generated distribution function at each edge."""
        shape = (len(self.edges), CELLS, len(coefficients))
        if pool.weight is None:  # counts are exact, so that equal relabellings give equal distances
            labels = (coefficients > 0).T.astype(np.float32)
            real = np.cumsum((self.sums @ labels).reshape(shape)[:, :-1], axis=1, dtype=np.float64)
            total = np.cumsum(np.diff(self.sums.indptr).reshape(shape[:2])[:, :-1], axis=1)[:, :, None]
            made = real * (1 / pool.real + 1 / pool.generated) - total / pool.generated
        else:
            made = np.cumsum((self.sums @ coefficients.T.astype(np.float32)).reshape(shape)[:, :-1], axis=1, dtype=np.float64)
        return made.transpose(2, 0, 1)

    def costs(self, differences: Floats) -> Floats:
        """``(batch, P, CELLS - 1) -> (batch, P)``: the local form of W2² along each direction."""
        return np.einsum("bpc,bpc,pc->bp", differences, differences, self.stiffness)

    def pulls(self, costs: Floats) -> Floats:
        """``(P,)``: how far costs, in units of the noise, lie beyond those of relabelled rows, in standard deviations."""
        made = np.zeros(len(costs))
        for k, (below, stiffness) in enumerate(zip(self.shares, self.stiffness, strict=True)):
            covariance = np.minimum.outer(below, below) - np.outer(below, below)  # of a Brownian bridge
            spread = np.sqrt(2 * stiffness @ np.square(covariance) @ stiffness)
            made[k] = (costs[k] - stiffness @ np.diag(covariance)) / spread if spread > 0 else 0.0
        return made


def _edges(ordered: Floats) -> tuple[Floats, Floats, Floats]:
    """Edges between pooled projections in rising order, what a squared difference costs at each of them, and the share of rows below.

    Edges lie midway between values that differ by more than rounding, so a row lies in the same cell however its projection was summed.
    """
    ends = np.flatnonzero(np.diff(ordered) > 1e-9 * (ordered[-1] - ordered[0]))
    most = min(CELLS, max(2, len(ordered) // 4)) - 1
    if len(ends) > most:
        levels = np.square(np.sin(np.pi / 2 * np.arange(1, most + 1) / (most + 1)))
        ends = np.unique(ends[np.searchsorted(ends, levels * len(ordered) - 1).clip(0, len(ends) - 1)])
    bounds = np.concatenate([[0], ends + 1, [len(ordered)]])
    middles = (ordered[bounds[:-1]] + ordered[bounds[1:] - 1]) / 2
    masses = np.diff(bounds) / len(ordered)
    costs = np.square(np.diff(middles)) / ((masses[1:] + masses[:-1]) / 2)
    return (ordered[ends] + ordered[ends + 1]) / 2, costs, (ends + 1) / len(ordered)


# ---- the data as they are ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Seen:
    """Both sides along every direction.

    Args:
        costs: ``(P,)`` W2².
        rough: ``(P,)`` the same in cells, in the local form.
        quantiles: ``(2, P, levels)`` quantile functions of the real and of the generated side.
    """

    costs: Floats
    rough: Floats
    quantiles: Floats


def _levels() -> tuple[Floats, Floats]:
    """Levels of a quantile function, finer towards both ends, and how much of [0, 1] each stands for."""
    edges = np.square(np.sin(np.pi / 2 * np.linspace(0, 1, _LEVELS + 1)))
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


def _observe(whole: Points, along: Floats, cells: _Cells, part: Points) -> _Seen:
    levels, _ = _levels()
    weights = [None if side.weight is None else side.weight / side.weight.sum() for side in (whole.sides.real, whole.sides.generated)]
    lines = zip(projected(whole.real, along, weights[0]), projected(whole.generated, along, weights[1]), strict=True)
    costs, differences, kept = [], [], []
    for k, pair in enumerate(lines):
        costs.append(cost_between(*pair[0], *pair[1]))
        below = [_share_below(*side, cells.edges[k]) for side in pair]
        differences.append(below[0] - below[1])
        kept.append([quantiles(*side, levels) for side in pair])
    seen = np.stack(differences)[None] if part is not whole else cells.differences(part.pool.observed()[None], part.pool)
    rough = cells.costs(seen)[0]
    return _Seen(np.array(costs), rough, np.array(kept).transpose(1, 0, 2))


def _share_below(values: Floats, reached: Floats, edges: Floats) -> Floats:
    return np.concatenate([[0.0], reached])[np.searchsorted(values, edges)]


def _linear(part: Points, along: Floats, seen: _Seen, value: float) -> float:
    """Standard error for the rows of the part: W2² is linear in the rows, with Kantorovich's potential as the influence of each."""
    if value == 0:
        return 0.0
    pool, influences, stretch = part.pool, [], np.zeros(len(along))
    sides = ((part.real, slice(0, len(part.real))), (part.generated, slice(len(part.real), None)))
    for side, (rows, own) in enumerate(sides):
        projections, influence, slopes = rows @ along, np.zeros(len(rows)), np.empty((len(rows), along.shape[1]))
        for k in range(along.shape[1]):
            places = seen.quantiles[side, k]
            slope = 2 * (places - seen.quantiles[1 - side, k])  # dφ = 2 (x - T(x)) dx
            potential = np.concatenate([[0.0], np.cumsum(np.diff(places) * (slope[1:] + slope[:-1]) / 2)])
            influence += np.interp(projections[:, k], places, potential) / along.shape[1]
            slopes[:, k] = np.interp(projections[:, k], places, slope)
        influences.append(influence)
        stretch += np.abs(pool.observed()[own]) @ (rows * (slopes @ along.T)) / along.shape[1]
    return linear_error(influences[0], influences[1], pool, besides=-moves_of_spreads(part) @ stretch) / (2 * value)


# ---- the null ------------------------------------------------------------------------------------------------------------


def _relabelled(sides: Sides, part: Points, cells: _Cells, rough: float, effort: Effort) -> Floats:
    """Local W2² of relabelled rows, the mean over directions, in units of the noise of their coefficients."""
    pool = part.pool
    noise = pool.noise
    own = rough / Pool.of(sides).noise

    def measure(batch: Floats) -> dict[str, Floats]:
        return {"mean": cells.costs(cells.differences(batch, pool)).mean(axis=1) / noise}

    generator = sides.generator("sliced")

    def extreme(draws: dict[str, Floats]) -> bool:
        return surprising([permutation_p(own, draws["mean"])], effort)

    return null_draws(pool, generator, measure, effort, extreme)["mean"]


def _as_exact(draws: Floats, whole: Points, along: Floats, cells: _Cells, generator: np.random.Generator) -> Floats:
    """Local W2² of relabelled rows as exact W2, in units of the root of the noise.

    A few relabellings of (nearly) all rows are transported exactly. What their distances are for a given local distance, with the
    scatter about that, is carried over to all draws.
    """
    part = whole.drawn(_CALIBRATION, generator)
    rows, pool = part.pooled, part.pool
    count = int(np.clip(_CALIBRATION_WORK / (_CALIBRATIONS * len(pool)), 8, along.shape[1]))
    coefficients = np.concatenate(list(pool.relabelled(_CALIBRATIONS, generator)))
    exact, rough = np.zeros(_CALIBRATIONS), np.zeros(_CALIBRATIONS)
    for k in range(min(count, along.shape[1])):
        more_exact, more_rough = _both_costs(rows @ along[:, k], coefficients, pool, cells.edges[k], cells.stiffness[k])
        exact += more_exact
        rough += more_rough
    exact, rough = (np.sqrt(total / (count * pool.noise)) for total in (exact, rough))
    spread = float(rough.var())
    slope = float(np.clip(np.mean((rough - rough.mean()) * (exact - exact.mean())) / spread, 0.0, 2.0)) if spread > 0 else 0.0
    scatter = exact - exact.mean() - slope * (rough - rough.mean())
    made = exact.mean() + slope * (np.sqrt(draws) - rough.mean()) + np.resize(scatter, len(draws))
    return np.maximum(made, 0.0)


def _both_costs(values: Floats, coefficients: Floats, pool: Pool, edges: Floats, stiffness: Floats) -> tuple[Floats, Floats]:
    """W2² along one direction for every row of coefficients ``(batch, rows)``, by the quantile functions and in the local form."""
    levels, shares = _levels()
    order = np.argsort(values)
    ordered = values[order]
    weight = np.ones(len(pool)) if pool.weight is None else pool.weight
    both = np.cumsum(weight[order]) / weight.sum()
    part = weight[: pool.real].sum() / weight.sum()
    at = np.searchsorted(ordered, edges)
    exact, rough = np.empty(len(coefficients)), np.empty(len(coefficients))
    for k, row in enumerate(coefficients):
        difference = np.cumsum(row[order])
        sides = (both + (1 - part) * difference, both - part * difference)
        if pool.weight is not None:
            sides = (rising(sides[0]), rising(sides[1]))
        ways = np.subtract(*(quantiles(ordered, reached, levels) for reached in sides))
        exact[k] = shares @ np.square(ways)
        rough[k] = stiffness @ np.square(np.concatenate([[0.0], difference])[at])
    return exact, rough


# ---- words ---------------------------------------------------------------------------------------------------------------


def _note(whole: Points, part: Points, along: Floats, seen: _Seen, draws: int) -> str:
    text = f"of {whole.space} in spreads"
    if along.shape[1] > 1:
        text += f", along {along.shape[1]} random directions, whose choice adds ± {number(_error_of_choice(along, seen.costs), 2)}"
    text += f"; null from {part.pool.method} {draws} times"
    if part is not whole:
        text += f" on {part.sides.rows:,} rows a side, scaled to all rows"
    weight = whole.pool.weight
    if weight is not None and (weight < 0).any():
        text += "; where negative weights make a distribution function fall, it was held level"
    return text


def _error_of_choice(along: Floats, costs: Floats) -> float:
    """Standard error of the root of the mean cost due to the choice of directions; those at right angles to each other go together."""
    if not costs.mean() > 0:
        return 0.0
    width, sets = len(along), len(costs) // len(along)
    means = costs[: sets * width].reshape(sets, width).mean(axis=1) if sets >= 4 else costs
    return float(means.std(ddof=1) / np.sqrt(len(means)) / (2 * np.sqrt(costs.mean())))


def _difference(whole: Points, part: Points, along: Floats, seen: _Seen, cells: _Cells, p: float) -> str:
    """What differs along the direction that differs most, in words. Single coordinates are looked at too, if there is something to name."""
    pulls = cells.pulls(seen.rough / whole.pool.noise)
    if p <= 0.05 and whole.space == "columns" and 1 < len(along) <= _NAMED:
        axes = np.eye(len(along))
        own_cells = _Cells.of(part.pooled)
        own = _observe(whole, axes, own_cells, part)
        own_pulls = own_cells.pulls(own.rough / whole.pool.noise)
        if own_pulls.max() >= pulls.max():
            along, seen, pulls = axes, own, own_pulls
    direction = int(pulls.argmax())
    _, shares = _levels()
    real, generated = seen.quantiles[:, direction]
    weights = along[:, direction]
    turn = np.sign(weights[np.abs(weights).argmax()])
    shift = float(turn * (shares @ (generated - real)))
    spreads = [float(np.sqrt(max(0.0, shares @ np.square(side - shares @ side)))) for side in (real, generated)]
    where = _direction(whole, turn * weights)
    if shift**2 >= seen.costs[direction] / 2:
        return f"generated rows lie {number(abs(shift))} spreads {'higher' if shift > 0 else 'lower'} {where}"
    if (spreads[1] - spreads[0]) ** 2 >= seen.costs[direction] / 2 and spreads[0] > 0:
        return f"generated rows spread {number(spreads[1] / spreads[0])} times as widely {where}"
    return f"generated rows are distributed differently from real ones {where}"


def _direction(whole: Points, weights: NDArray[np.float64]) -> str:
    if whole.space != "columns":
        return f"along the direction among the {whole.space} that differs most"
    names = [feature.name for feature in whole.sides.features()[0]]
    if len(names) == 1:
        return f"along '{names[0]}'"
    order = [int(k) for k in np.argsort(-np.abs(weights))[:3] if abs(weights[k]) >= np.abs(weights).max() / 2]
    text = f"'{names[order[0]]}'" + "".join(f" {'+' if weights[k] > 0 else '−'} '{names[k]}'" for k in order[1:])
    return f"along {text}, the direction that differs most"
