"""Repeated and copied rows: a model that hands out the rows it has seen is known by them, even where those are not at hand.

Rows that are near to training rows without being equal are looked at in `memorisation`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.equal_rows import Labels, Relabelled, equal_rows, error_beside, relabelled, told
from gnomon.checks.measures.repeats import Groups, error_of_repeats, row_codes
from gnomon.checks.nulls import Pool
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.checks.statistic import Statistic
from gnomon.checks.statistics.memorisation import copied
from gnomon.checks.statistics.regions import percent

FEWEST = 20
"""Rows a side below which no repeats are counted."""


def duplicates(case: Case) -> list[Statistic]:
    """Share of generated rows that equal another generated one, in all columns that are not conditions, to float32 precision.

    Rows of whole numbers and categories repeat by themselves; so the null is the share of as many real rows that equal another real one,
    and p says how often the difference would be as large if both sides' rows were relabelled.

    Raises:
        LeftOut: fewer than 20 rows a side, or negative or very unequal weights.
    """
    if case.sides is None or not case.sides.compared:
        return []
    part, groups, null = _repeats(case)
    value, real, draws = null.values["duplicates"], null.values["real"], null.draws["more duplicates"]
    made = np.add.reduceat(groups.rows >= part.rows, groups.starts, dtype=np.int64) if len(groups.rows) else np.empty(0, dtype=np.int64)
    row = Statistic(
        name="duplicates",
        where="generated rows",
        value=value,
        error=error_beside(value, real + draws, lambda: error_of_repeats(made[made > 1], part.rows)),
        null=real,
        null_error=float(draws.std(ddof=1)),
        p=null.p["more duplicates"],
        n=part.rows,
        note=f"share of rows that equal another one of their side, beside that of real rows; {_note(case.sides, part, null)}",
    )
    claim = f"generated rows: {percent(value)} of them equal another generated row, but {percent(real)} of as many real rows do ({row})"
    return [row.with_(claim=claim)]


def copies(case: Case) -> list[Statistic]:
    """Share of generated rows that equal a real row, and where training rows are at hand, of those that equal a training row.

    The null of the first is the share of real rows that equal another real one, that of the second the share of held-out rows that equal
    a training row, so what repeats by itself is no fault. p comes from relabelling.

    Raises:
        LeftOut: as for `duplicates`.
    """
    if case.sides is None or not case.sides.compared:
        return []
    rows = [_of_real(case), *copied(case)]
    return [row.with_(corrected=min(1.0, len(rows) * row.p)) for row in rows]


def _of_real(case: Case) -> Statistic:
    sides = case.sides
    assert sides is not None
    part, _, null = _repeats(case)
    value, real, draws = null.values["copies"], null.values["real"], null.draws["more copies"]
    row = Statistic(
        name="copies",
        where="real rows",
        value=value,
        error=error_beside(value, real + draws, lambda: float(np.sqrt(value * (1 - value) / part.rows))),
        null=real,
        null_error=float(draws.std(ddof=1)),
        p=null.p["more copies"],
        n=part.rows,
        note=f"share of generated rows that equal a real one, beside that of real rows that equal another; {_note(sides, part, null)}",
    )
    share = value
    if row.p <= 0.05 and part is not sides:
        share = float(Groups.of(_codes(sides)).shares(_labels(sides))["copies"][0])
    among = "" if part is sides else " of all there are"
    return row.with_(claim=f"real rows: {percent(share)} of the generated rows are equal to one{among} ({row})")


def _repeats(case: Case) -> tuple[Sides, Groups, Relabelled]:
    sides = case.sides
    assert sides is not None
    return sides.once(("repeats", case.effort), lambda: _counted(sides, case))


def _counted(sides: Sides, case: Case) -> tuple[Sides, Groups, Relabelled]:
    part = equal_rows(sides, case.effort.null_rows, fewest=FEWEST)
    groups = Groups.of(_codes(part))

    def measure(labels: Labels) -> dict[str, Floats]:
        made = groups.shares(labels)
        return made | {f"more {name}": made[name] - made["real"] for name in ("duplicates", "copies")}

    return part, groups, relabelled(part, "repeats", measure, case.effort, {"more duplicates": "high", "more copies": "high"})


def _codes(sides: Sides) -> NDArray[np.uint64]:
    """``(rows,)`` of both sides laid end to end."""
    return np.concatenate([_codes_of(sides, side) for side in (sides.real, sides.generated)])


def _codes_of(sides: Sides, side: Side) -> NDArray[np.uint64]:
    made = row_codes(side.values[:, list(sides.compared)])
    return made if side.pixels is None else made * np.uint64(31) + row_codes(side.pixels)


def _labels(sides: Sides) -> NDArray[np.bool_]:
    return np.arange(len(sides.real) + len(sides.generated)) >= len(sides.real)


def _note(sides: Sides, part: Sides, null: Relabelled) -> str:
    text = f"p from {Pool.of(part).method} {len(null.draws['copies'])} times{told(part, sides)}"
    return text + ("" if part is sides else "; more rows hold more repeats")
