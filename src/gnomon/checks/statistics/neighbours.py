"""Precision, recall, density and coverage: whether generated rows lie among real ones, and whether they reach all of these.

Their formulas stand in `measures.neighbours`; rows that come too near to those the model was trained on are looked at in `memorisation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.equal_rows import Direction, Relabelled, equal_rows, error_beside, relabelled, told
from gnomon.checks.measures.neighbours import Balls, prdc
from gnomon.checks.measures.relabelled_neighbours import Neighbourhoods
from gnomon.checks.nulls import Pool
from gnomon.checks.points import points
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.checks.statistics.regions import percent, region

NEIGHBOURS = 5
"""The k of all four: a ball reaches to the fifth nearest row of its own side."""

FEWEST = 20
"""Rows a side below which no neighbours are looked at."""

_SPLITS = 10  # into halves, for the error far from the null
_EQUAL = 0.05  # chance that two rows are equal above which neighbours mean nothing
_HAIR = 1e-9  # by so much equally distant rows are moved, in units of the columns' spread

_DIRECTIONS: dict[str, Direction] = {"precision": "low", "recall": "low", "density": "both", "coverage": "low"}


def precision(case: Case) -> list[Statistic]:
    """Share of generated rows that lie among real ones: within the ball round some real row to its fifth nearest real row.

    Low means that the model makes rows which do not occur. It says nothing of rows that are missing, and means something only beside its
    null: two samples of one distribution have 0.94 in ten columns and 0.5 in a thousand.

    Reference: Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991.

    Raises:
        LeftOut: fewer than 20 rows a side, negative or very unequal weights, or rows most of which are equal.
    """
    return _row(case, "precision")


def recall(case: Case) -> list[Statistic]:
    """Share of real rows that lie among generated ones. Low means that the model does not make all that occurs.

    Reference and errors: as for `precision`.
    """
    return _row(case, "recall")


def density(case: Case) -> list[Statistic]:
    """Mean number of balls round real rows in which a generated row lies, over 5: 1 for a good model, whatever the data.

    High means that generated rows crowd where real rows are dense; low, that they lie where these are sparse or absent.

    Reference: Naeem et al. 2020, https://arxiv.org/abs/2002.09797. Errors: as for `precision`.
    """
    return _row(case, "density")


def coverage(case: Case) -> list[Statistic]:
    """Share of real rows with a generated one among as near neighbours as their fifth real one: 1 - 2⁻⁵ for a good model.

    Low means that there are real rows where the model makes none, as after a lost mode; the sentence says where they lie.

    Reference: Naeem et al. 2020, https://arxiv.org/abs/2002.09797. Errors: as for `precision`.
    """
    return _row(case, "coverage")


@dataclass(frozen=True, eq=False)
class Found:
    """What all four share.

    Args:
        part: the rows that were looked at, as many on both sides.
        balls: of these rows.
        null: their values, and those of relabelled rows.
        real: ``(n, F)`` the points.
        generated: ``(n, F)``.
    """

    part: Sides
    balls: Balls
    null: Relabelled
    real: Floats
    generated: Floats

    @cached_property
    def errors(self) -> dict[str, float]:
        """Standard errors that do not lean on the null: from how two halves of both sides differ, over several ways to halve them."""
        rows, generator = self.part.rows, self.part.generator("neighbours", "halves")
        differences = []
        for _ in range(_SPLITS):
            order = [generator.permutation(rows) for _ in range(2)]
            if self.part.paired:
                order[1] = order[0]
            first, second = (prdc(self.real[order[0][k::2]], self.generated[order[1][k::2]], NEIGHBOURS) for k in range(2))
            differences.append([getattr(first, name) - getattr(second, name) for name in _DIRECTIONS])
        # a half varies twice as much as the whole, and the difference of two of them four times
        return dict(zip(_DIRECTIONS, np.sqrt(np.square(differences).mean(axis=0) / 4).tolist(), strict=True))


def found(case: Case) -> Found:
    """The search for neighbours, done once."""
    assert case.sides is not None
    return case.sides.once(("neighbours", case.effort), lambda: _found(case))


def _found(case: Case) -> Found:
    sides = case.sides
    assert sides is not None
    part = equal_rows(sides, case.effort.neighbour_rows, fewest=FEWEST)
    pooled = apart(points(part).pooled, part.generator("neighbours", "hair"))
    real, generated = pooled[: part.rows], pooled[part.rows :]
    around = Neighbourhoods(pooled, NEIGHBOURS)
    null = relabelled(part, "neighbours", around.shares, case.effort, _DIRECTIONS)
    return Found(part, prdc(real, generated, NEIGHBOURS), null, real, generated)


def apart(pooled: Floats, generator: np.random.Generator) -> Floats:
    """The same points, moved by a hair where columns repeat values, so that equally distant rows come in a random order.

    Raises:
        LeftOut: so many rows are equal that their neighbours are a matter of chance.
    """
    _, counts = np.unique(pooled, axis=0, return_counts=True)
    equal = float((counts * (counts - 1.0)).sum() / (len(pooled) * (len(pooled) - 1.0)))
    if equal > _EQUAL:
        raise LeftOut(f"two rows are equal with a chance of {number(equal)}: there are no neighbours, only shares of values")
    repeated = np.array([len(np.unique(column)) < len(column) for column in pooled.T])
    return pooled + _HAIR * repeated * generator.normal(size=pooled.shape)


def _row(case: Case, name: str) -> list[Statistic]:
    if case.sides is None or not case.sides.compared:
        return []
    made = found(case)
    value, draws = float(getattr(made.balls, name)), made.null.draws[name]
    statistic = Statistic(
        name=name,
        where="generated rows" if name in ("precision", "density") else "real rows",
        value=value,
        error=error_beside(value, draws, lambda: made.errors[name]),
        null=float(draws.mean()),
        null_error=float(draws.std(ddof=1)),
        p=made.null.p[name],
        n=made.part.rows,
        note=_note(case.sides, made, name),
    )
    if not statistic.p <= 0.05:  # nobody will hear it
        return [statistic.with_(claim=_plain(statistic))]
    return [statistic.with_(claim=_claim(made, statistic))]


def _note(sides: Sides, made: Found, name: str) -> str:
    space = points(made.part).space
    text = f"{NEIGHBOURS} nearest neighbours by {space}; null from {Pool.of(made.part).method} {len(made.null.draws[name])} times"
    text += "; p for both directions" if _DIRECTIONS[name] == "both" else "; p for low values only"
    return text + told(made.part, sides)


# ---- words -----------------------------------------------------------------------------------------------------------


def _claim(made: Found, row: Statistic) -> str:
    """What is wrong, and where the rows lie that it concerns."""
    balls, part = made.balls, made.part
    side, marked = {
        "precision": (part.generated, balls.generated == 0),
        "recall": (part.real, balls.real == 0),
        "density": (part.generated, balls.generated > np.quantile(balls.generated, 0.9)),
        "coverage": (part.real, ~balls.covered),
    }[row.name]
    place = None if row.name == "density" else region(part, side, marked, part.generator("neighbours", "region", row.name))
    if place is None:
        return _plain(row)
    whose, mostly, more = {
        "precision": ("generated rows", "mostly lie among no real ones", "lie among no real ones"),
        "recall": ("real rows", "mostly lie among no generated ones", "lie among no generated ones"),
        "coverage": ("real rows", "are mostly not reached by generated ones", "are not reached by generated ones"),
    }[row.name]
    those = f"those with {place.words} ({percent(place.size)} of them)"
    said = f"{those} {mostly}" if place.inside >= 0.5 else f"more of {those} {more}"
    return f"{whose}: {said}: {percent(place.inside)}, and {percent(place.outside)} elsewhere ({row})"


def _plain(row: Statistic) -> str:
    if row.name == "precision":
        return f"generated rows: {percent(1 - row.value)} of them lie among no real ones, where {percent(1 - row.null)} would ({row})"
    if row.name == "recall":
        return f"real rows: {percent(1 - row.value)} of them lie among no generated ones, where {percent(1 - row.null)} would ({row})"
    if row.name == "coverage":
        return f"real rows: {percent(1 - row.value)} of them are not reached by generated ones, where {percent(1 - row.null)} would ({row})"
    if row.value > row.null:
        return f"generated rows: they crowd where real rows are dense ({row})"
    return f"generated rows: they lie where real rows are sparse or absent ({row})"
