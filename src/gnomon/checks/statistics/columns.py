"""Column by column: distances of the two distributions, with errors and nulls.

All are functions of the difference of the two distribution functions along a column (`lines`), so one pass over relabelled rows serves
them all. Rounding is the business of `granularity`; what columns do together that of `correlation` and `c2st`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.nulls import Pool, corrected_for_places, error_of_distance, null_draws, permutation_p, surprising
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import Alarm, Statistic
from gnomon.checks.statistics.lines import CELLS, FEWEST, Cells, Line, distances_on, influence
from gnomon.checks.statistics.wording import change_in_tails, change_of_category, change_of_values, most_different_place

COUNTED = ("tv", "separation", "tails")
"""Distances that small counts decide, which do not scale with the square root of the size."""


def w1(case: Case) -> list[Statistic]:
    """Wasserstein-1 distance of each numeric column, in the column's units: the mean way that values have to move.

    On a circle the way round is free to choose. Reference: Rabin, Delon & Gousseau 2011, J. Math. Imaging Vis. 41, 147.
    """
    return _rows(case, "w1", lambda sides, marginal: change_of_values(sides, marginal.column))


def ks(case: Case) -> list[Statistic]:
    """Kolmogorov–Smirnov distance of each numeric column on a line: the largest difference of the distribution functions."""
    return _rows(case, "ks", lambda sides, marginal: most_different_place(sides, marginal.column, marginal.place))


def kuiper(case: Case) -> list[Statistic]:
    """Kuiper distance of each periodic column: the largest difference of the probabilities of any arc.

    Reference: Kuiper 1960, Proc. Koninkl. Nederl. Akad. A 63, 38.
    """
    return _rows(case, "kuiper", lambda sides, marginal: change_of_values(sides, marginal.column))


def tv(case: Case) -> list[Statistic]:
    """Total variation of each categorical column: the share of rows that would have to change category."""
    return _rows(case, "tv", lambda sides, marginal: change_of_category(sides, marginal.column))


def cvm(case: Case) -> list[Statistic]:
    """Cramér–von Mises distance of each numeric column on a line: the root mean square difference of the distribution functions.

    The mean is over the rows of both sides, each counting once. Without weights and ties n m / (n + m) times its square is the statistic
    T of Anderson 1962, Ann. Math. Stat. 33, 1148, that SciPy gives. For information: where it sees something, `ks` or `w1` does too.
    """
    return _rows(case, "cvm", lambda sides, marginal: most_different_place(sides, marginal.column, marginal.place), alarm="never")


def tails(case: Case) -> list[Statistic]:
    """The largest difference of the probabilities of a tail of each numeric column on a line, over √(H (1 - H)).

    H is the share of all rows in the tail, at most 5 %, at either end; the smallest tail looked at holds 8 rows of both sides (as many as
    carry so much where they have weights; of those that are relabelled, if these are fewer and have weights or are paired). The divisor is
    what chance grows with, so that rare values weigh as much as frequent ones. With fewer than 400 rows on both sides together, and at
    ends where more than 5 % of the rows share one value, there are no tails.

    Reference: Rényi 1953, Acta Math. Hung. 4, 191 (differences relative to the distribution function).
    """
    return _rows(case, "tails", lambda sides, marginal: change_in_tails(sides, marginal.column, marginal.place))


def separation(case: Case) -> list[Statistic]:
    """Separation power of each column: ½ Σ (g - h)² / (g + h) over the bins of its histogram, 0 if they agree, 1 if they do not meet.

    g and h are the shares of both sides; what lies outside the picture forms two more bins. Chance alone makes it positive: compare it
    with its null. For information. With weights and sides of different length, or of more rows than are relabelled, the
    null is too rough in bins with few rows for a p-value.

    Reference: Diefenbacher et al. 2020, JINST 15 P11004 (as used for calorimeter showers).
    """
    return _rows(case, "separation", lambda sides, marginal: f"column '{sides.names[marginal.column]}'", alarm="never")


# ---- values, errors and nulls of all columns -------------------------------------------------------------------------

Key = tuple[int, str]


@dataclass(frozen=True)
class Marginal:
    """One distance of one column.

    Args:
        column: its index.
        value: the distance.
        linear: standard error of its linearisation.
        rough: the distance in the cells in which the null was drawn; it is what the null draws are compared with.
        place: where the distribution functions differ most (for tails: where the tail begins).
        draws: ``(draws,)`` distances under the null.
    """

    column: int
    value: float
    linear: float
    rough: float
    place: float
    draws: Floats


def marginals(case: Case) -> dict[str, list[Marginal]]:
    """Every distance of every compared column, by name of the distance; computed once per pair of sides."""
    sides = case.sides
    assert sides is not None
    return sides.once(("marginals", case.effort), lambda: _marginals(sides, case.effort))


def _marginals(sides: Sides, effort: Effort) -> dict[str, list[Marginal]]:
    part, pool = sides.take(effort.null_rows), Pool.of(sides)
    fewest = FEWEST * len(pool) / (len(pool) if pool.exchangeable else part.real.effective + part.generated.effective)
    seen: dict[int, _Seen] = {}
    lines: dict[int, Line] = {}
    for i in sides.compared:
        line = Line.of(_pooled(sides, i), sides.columns[i], len(sides.real), fewest=fewest)
        line = line if pool.exchangeable else line.with_sums(np.abs(pool.observed()))
        seen[i] = _seen(line, pool)
        lines[i] = Line.of(_pooled(part, i), part.columns[i], len(part.real), most=CELLS, marks=line.marks, sums=line.cells.sums)
        del line  # it may be large, and the next one is made before it would go
    nulls = _null_draws(sides, part, effort, lines, seen)
    found: dict[str, list[Marginal]] = {}
    for i, one in seen.items():
        for name, numbers in one.numbers.items():
            found.setdefault(name, []).append(Marginal(i, *numbers, nulls[i, name]))
    return found


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of a column at full size.

    Args:
        numbers: by name of the distance: value, linear error, value in coarse cells, place.
        marked: cells no finer than bins and tails ask for.
    """

    numbers: dict[str, tuple[float, float, float, float]]
    marked: Cells


def _seen(line: Line, pool: Pool) -> _Seen:
    coefficients = pool.observed()
    profile = line.profile(coefficients[None])[0]
    coarse, last = line.cells.merged(CELLS)
    numbers = {}
    for name, distance in distances_on(line.column, line.cells).items():
        value, rough = (float(distance(*made)[0]) for made in ((line.cells, profile[None]), (coarse, profile[None, last])))
        error = _linear_error(influence(name, line, profile, coefficients), coefficients, pool)
        numbers[name] = (value, error, rough, line.most_different(profile, in_tails=name == "tails"))
    return _Seen(numbers, line.cells.merged(1)[0])


def _pooled(sides: Sides, column: int) -> Floats:
    return np.concatenate([sides.real.values[:, column], sides.generated.values[:, column]])


def _linear_error(contributions: Floats, coefficients: Floats, pool: Pool) -> float:
    """Standard error of the sum of all rows' contributions; rows of a pair vary together."""
    parts = (slice(0, pool.real), slice(pool.real, None))
    moved = [contributions[part] - coefficients[part] * (contributions[part].sum() / coefficients[part].sum()) for part in parts]
    if pool.paired:
        return float(np.sqrt(np.square(moved[0] + moved[1]).sum()))
    return float(np.sqrt(sum(float(one @ one) for one in moved)))


def _null_draws(sides: Sides, part: Sides, effort: Effort, lines: dict[int, Line], seen: dict[int, _Seen]) -> dict[Key, Floats]:
    """Null draws of each (column, distance), for the sides' own size.

    They come from relabelled rows of a part of the sides and are scaled, except where small counts, which do not scale, decide: those are
    drawn at full size from their own law.
    """
    pool = Pool.of(part)
    scale = 1.0 if part is sides else np.sqrt(Pool.of(sides).noise / pool.noise)
    counted = COUNTED if part is not sides and pool.exchangeable else ()
    observed = {(i, name): numbers[2] for i, one in seen.items() for name, numbers in one.numbers.items()}
    chance = sides.generator("counts")

    def measure(batch: Floats) -> dict[Key, Floats]:
        made: dict[Key, Floats] = {}
        for i, line in lines.items():
            profile = line.profile(batch)
            profile *= scale
            drawn = _drawn_counts(sides, seen[i].marked, len(batch), chance) if counted else profile
            for name, distance in distances_on(line.column, line.cells).items():
                made[i, name] = distance(seen[i].marked, drawn) if name in counted else distance(line.cells, profile)
        return made

    def extreme(draws: dict[Key, Floats]) -> bool:
        names = {name for _, name in draws}
        return any(surprising(corrected_for_places(*_at_places(observed, draws, name)), effort) for name in names)

    return null_draws(pool, sides.generator("columns"), measure, effort, extreme)


def _at_places(values: dict[Key, float], draws: dict[Key, Floats], name: str) -> tuple[list[float], list[Floats]]:
    mine = [key for key in draws if key[1] == name]
    return [values[key] for key in mine], [draws[key] for key in mine]


def _drawn_counts(sides: Sides, cells: Cells, draws: int, generator: np.random.Generator) -> Floats:
    """Profiles ``(draws, cells)`` of relabelled rows at full size: counts of real rows in the cells are hypergeometric."""
    pooled = cells.counts.astype(np.int64)
    real = generator.multivariate_hypergeometric(pooled, len(sides.real), size=draws, method="marginals")
    steps = real / len(sides.real) - (pooled - real) / len(sides.generated)
    return steps if cells.categorical else np.cumsum(steps, axis=1)


def _rows(case: Case, name: str, claim: Callable[[Sides, Marginal], str], alarm: Alarm = "low") -> list[Statistic]:
    if case.sides is None:
        return []
    sides = case.sides
    found = marginals(case).get(name, [])
    corrected = corrected_for_places([m.rough for m in found], [m.draws for m in found])
    part, pool = sides.take(case.effort.null_rows), Pool.of(sides)
    known = name != "separation" or pool.exchangeable or (part is sides and not pool.multiplied)
    rows = []
    for marginal, p in zip(found, corrected, strict=True):
        null, null_error = float(marginal.draws.mean()), float(marginal.draws.std(ddof=1))
        linear = marginal.linear
        if name == "separation" and marginal.value > 0:  # a sum of squares: the part of it that is chance does not make the error grow
            linear *= float(np.sqrt(max(0.0, 1 - null / marginal.value)))
        made = Statistic(
            name=name,
            where=sides.names[marginal.column],
            value=marginal.value,
            error=error_of_distance(marginal.value, linear, marginal.draws),
            null=null,
            null_error=null_error,
            p=permutation_p(marginal.rough, marginal.draws) if known else np.nan,
            n=sides.rows,
            note=_note(sides, marginal, name, case.effort.null_rows),
            corrected=p if known else None,
            alarm=alarm,
        )
        rows.append(made.with_(claim=f"{claim(sides, marginal)} ({made})"))
    return rows


def _note(sides: Sides, marginal: Marginal, name: str, null_rows: int) -> str:
    text = "in seconds; " if name == "w1" and sides.columns[marginal.column].origin is not None else ""
    part = sides.take(null_rows)
    text += f"null from {Pool.of(part).method} {len(marginal.draws)} times"
    if part is sides or (name in COUNTED and Pool.of(sides).exchangeable):
        return text
    return f"{text} on {part.rows:,} rows a side, scaled to all rows"
