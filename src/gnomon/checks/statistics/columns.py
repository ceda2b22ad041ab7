"""Column by column: Wasserstein distance, Kolmogorov–Smirnov and Kuiper distances, total variation, with their nulls.

All are functions of the difference of the two distribution functions along a column, so one pass over relabelled rows serves
them all. What columns do together is the business of `correlation` and `c2st`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.nulls import Pool, corrected_for_places, error_of_distance, null_draws, permutation_p
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import Statistic
from gnomon.checks.statistics.wording import change_of_category, change_of_values, most_different_place
from gnomon.data import Categorical, Column, Periodic


def w1(case: Case) -> list[Statistic]:
    """Wasserstein-1 distance of each numeric column, in the column's units: the mean way that values have to move.

    On a circle the way round is free to choose. Reference: Rabin, Delon & Gousseau 2011, J. Math. Imaging Vis. 41, 147.
    """
    return _rows(case, "w1", change_of_values)


def ks(case: Case) -> list[Statistic]:
    """Kolmogorov–Smirnov distance of each numeric column on a line: the largest difference of the distribution functions."""
    return _rows(case, "ks", most_different_place)


def kuiper(case: Case) -> list[Statistic]:
    """Kuiper distance of each periodic column: the largest difference of the probabilities of any arc.

    Reference: Kuiper 1960, Proc. Koninkl. Nederl. Akad. A 63, 38.
    """
    return _rows(case, "kuiper", change_of_values)


def tv(case: Case) -> list[Statistic]:
    """Total variation of each categorical column: the share of rows that would have to change category."""
    return _rows(case, "tv", change_of_category)


# ---- distances as functions of a line of differences -----------------------------------------------------------------

CELLS = 2048
"""Nulls of columns with more distinct values than this are drawn in so many cells of equal occupation."""

Distance = Callable[["Line", Floats], Floats]


@dataclass(frozen=True, eq=False)
class Line:
    """One column of pooled rows in rising order, ready to turn coefficients into differences of distribution functions.

    Args:
        values: ``(rows,)`` pooled values, codes for categories.
        column: name and support.
        most: at most so many cells; a cell is one distinct value, or several neighbouring ones where there are more values.
    """

    values: Floats
    column: Column
    most: int | None = None
    order: NDArray[np.intp] = field(init=False)
    starts: NDArray[np.intp] = field(init=False)
    widths: Floats = field(init=False)

    def __post_init__(self) -> None:
        order = np.argsort(self.values, kind="stable")
        ordered = self.values[order]
        starts = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > 0]))
        if self.most is not None and len(starts) > self.most and not self.categorical:
            starts = starts[np.linspace(0, len(starts), self.most, endpoint=False).astype(np.intp)]
        places = (ordered[starts] + ordered[np.append(starts[1:], len(ordered)) - 1]) / 2
        last = 0.0
        if isinstance(self.column.support, Periodic):
            last = self.column.support.period - float(places[-1] - places[0])  # the arc from the last value on to the first
        widths = np.concatenate([np.diff(places), [max(0.0, last)]])
        for name, made in (("order", order), ("starts", starts), ("widths", widths)):
            object.__setattr__(self, name, made)

    @property
    def categorical(self) -> bool:
        """Whether the values are codes, whose order means nothing."""
        return isinstance(self.column.support, Categorical)

    def profile(self, coefficients: Floats) -> Floats:
        """``(batch, rows) -> (batch, cells)``: difference of the distribution functions at the end of each cell.

        For categories it is the difference of the shares.
        """
        ordered = coefficients.take(self.order, axis=1)
        steps = ordered if len(self.starts) == len(self.order) else np.add.reduceat(ordered, self.starts, axis=1)
        return steps if self.categorical else np.cumsum(steps, axis=1)

    def spread_back(self, direction: Floats) -> Floats:
        """``(cells,) -> (rows,)``: what each row contributes, where `direction` says what its cell does."""
        counts = np.diff(np.append(self.starts, len(self.order)))
        made = np.empty(len(self.order))
        made[self.order] = np.repeat(direction, counts)
        return made


def _w1_line(line: Line, differences: Floats) -> Floats:
    return np.abs(differences) @ line.widths


def _w1_circle(line: Line, differences: Floats) -> Floats:
    return np.array([np.abs(row - _weighted_median(row, line.widths)) @ line.widths for row in differences])


def _largest(line: Line, differences: Floats) -> Floats:
    return np.maximum(differences.max(axis=1), -differences.min(axis=1))


def _range(line: Line, differences: Floats) -> Floats:
    return differences.max(axis=1) - differences.min(axis=1)


def _half_sum(line: Line, steps: Floats) -> Floats:
    return np.abs(steps).sum(axis=1) / 2


def _weighted_median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(reached, reached[-1] / 2)]])


def _distances(column: Column) -> dict[str, Distance]:
    """The distances that apply to a column, by name."""
    if isinstance(column.support, Categorical):
        return {"tv": _half_sum}
    if isinstance(column.support, Periodic):
        return {"w1": _w1_circle, "kuiper": _range}
    return {"w1": _w1_line, "ks": _largest}


def _linearised(name: str, line: Line, profile: Floats) -> Floats:
    """``(distinct,)`` the function h for which the distance is Σ coefficient · h(row) as long as the profile changes little."""
    if name == "tv":
        return np.sign(profile) / 2
    if name == "w1":
        middle = _weighted_median(profile, line.widths) if isinstance(line.column.support, Periodic) else 0.0
        return np.cumsum((np.sign(profile - middle) * line.widths)[::-1])[::-1]
    places = np.arange(len(profile))
    high, low = int(profile.argmax()), int(profile.argmin())
    if name == "kuiper":
        return (places <= high).astype(np.float64) - (places <= low)
    top = high if profile[high] >= -profile[low] else low
    return (places <= top) * np.sign(profile[top])


# ---- values, errors and nulls of all columns -------------------------------------------------------------------------


@dataclass(frozen=True)
class Marginal:
    """One distance of one column.

    Args:
        column: its index.
        value: the distance.
        linear: standard error of its linearisation.
        rough: the distance in the cells in which the null was drawn; it is what the null draws are compared with.
        draws: ``(draws,)`` distances under the null.
    """

    column: int
    value: float
    linear: float
    rough: float
    draws: Floats


def marginals(case: Case) -> dict[str, list[Marginal]]:
    """Every distance of every compared column, by name of the distance; computed once per pair of sides."""
    sides = case.sides
    assert sides is not None
    return sides.once(("marginals", case.effort), lambda: _marginals(sides, case.effort))


def _marginals(sides: Sides, effort: Effort) -> dict[str, list[Marginal]]:
    observed: dict[tuple[int, str], tuple[float, float, float]] = {}
    pool = Pool.of(sides)
    coefficients = pool.observed()
    for i in sides.compared:
        values = _pooled(sides, i)
        line, rough = Line(values, sides.columns[i]), Line(values, sides.columns[i], CELLS)
        profile, rough_profile = line.profile(coefficients[None]), rough.profile(coefficients[None])
        for name, distance in _distances(line.column).items():
            effect = line.spread_back(_linearised(name, line, profile[0]))
            value, compared = (float(distance(made, row)[0]) for made, row in ((line, profile), (rough, rough_profile)))
            observed[i, name] = (value, _linear_error(effect, coefficients, pool), compared)
    nulls = _null_draws(sides, effort, {key: made[2] for key, made in observed.items()})
    found: dict[str, list[Marginal]] = {}
    for (i, name), made in observed.items():
        found.setdefault(name, []).append(Marginal(i, *made, nulls[i, name]))
    return found


def _pooled(sides: Sides, column: int) -> Floats:
    return np.concatenate([sides.real.values[:, column], sides.generated.values[:, column]])


def _linear_error(effect: Floats, coefficients: Floats, pool: Pool) -> float:
    """Standard error of Σ coefficient · effect; rows of a pair vary together."""
    parts = (slice(0, pool.real), slice(pool.real, None))
    moved = [coefficients[part] * (effect[part] - coefficients[part] @ effect[part] / coefficients[part].sum()) for part in parts]
    if pool.paired:
        return float(np.sqrt(np.square(moved[0] + moved[1]).sum()))
    return float(np.sqrt(sum(np.square(part).sum() for part in moved)))


def _null_draws(sides: Sides, effort: Effort, values: dict[tuple[int, str], float]) -> dict[tuple[int, str], Floats]:
    """Null draws of each (column, distance), scaled to the sides' own size."""
    part = sides.take(effort.null_rows)
    pool = Pool.of(part)
    scale = 1.0 if part is sides else np.sqrt(Pool.of(sides).noise / pool.noise)
    lines = {i: Line(_pooled(part, i), part.columns[i], CELLS) for i in part.compared}

    def measure(batch: Floats) -> dict[tuple[int, str], Floats]:
        profiles = {i: line.profile(batch) for i, line in lines.items()}
        return {(i, name): distance(lines[i], profiles[i]) * scale for i in lines for name, distance in _distances(lines[i].column).items()}

    def extreme(draws: dict[tuple[int, str], Floats]) -> bool:
        for name in {name for _, name in draws}:
            mine = [key for key in draws if key[1] == name]
            p = corrected_for_places([values[key] for key in mine], [draws[key] for key in mine])
            if min(p) <= 1 / (effort.draws + 1):
                return True
        return False

    made = null_draws(pool, sides.generator("columns"), measure, effort, extreme)
    if part is not sides and not sides.weighted and not sides.paired:
        for i, line in lines.items():
            if line.categorical:  # rare categories do not scale with the square root of the size
                made[i, "tv"] = _category_draws(sides, i, len(made[i, "tv"]))
    return made


def _category_draws(sides: Sides, column: int, draws: int) -> Floats:
    """Null draws of the total variation at full size: counts of relabelled rows are hypergeometric."""
    codes = [side.values[:, column].astype(np.intp) for side in (sides.real, sides.generated)]
    counts = np.bincount(np.concatenate(codes))
    counts = counts[counts > 0]
    real = sides.generator("categories", column).multivariate_hypergeometric(counts, len(codes[0]), size=draws, method="marginals")
    return np.abs(real / len(codes[0]) - (counts - real) / len(codes[1])).sum(axis=1) / 2


def _rows(case: Case, name: str, claim: Callable[[Sides, int], str]) -> list[Statistic]:
    if case.sides is None:
        return []
    sides = case.sides
    found = marginals(case).get(name, [])
    corrected = corrected_for_places([m.rough for m in found], [m.draws for m in found])
    rows = []
    for marginal, p in zip(found, corrected, strict=True):
        null, null_error = float(marginal.draws.mean()), float(marginal.draws.std(ddof=1))
        made = Statistic(
            name=name,
            where=sides.names[marginal.column],
            value=marginal.value,
            error=error_of_distance(marginal.value, marginal.linear, marginal.draws),
            null=null,
            null_error=null_error,
            p=permutation_p(marginal.rough, marginal.draws),
            n=sides.rows,
            note=_note(sides, marginal, case.effort.null_rows),
            corrected=p,
        )
        rows.append(made.with_(claim=f"{claim(sides, marginal.column)} ({made})"))
    return rows


def _note(sides: Sides, marginal: Marginal, null_rows: int) -> str:
    text = "in seconds; " if sides.columns[marginal.column].origin is not None else ""
    text += f"null from {Pool.of(sides.take(null_rows)).method} {len(marginal.draws)} times"
    if sides.take(null_rows) is not sides:
        text += f" on {sides.take(null_rows).rows:,} rows a side, scaled to all rows"
    return text
