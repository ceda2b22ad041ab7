"""Whether rows are rows at all: values that are missing, or outside the column's support.

How valid values are distributed is left to the other statistics.
"""

from __future__ import annotations

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.sides import Side, Sides
from gnomon.checks.statistic import Statistic, number


def missing(case: Case) -> list[Statistic]:
    """Share of generated rows with missing values, against the share of real ones; no row if there are none.

    Such rows were left out of every other statistic. The p-value is Fisher's exact one.
    """
    sides = case.sides
    if sides is None or not any(sides.missing):
        return []
    lost = sides.missing
    totals = (len(sides.real) + lost[0], len(sides.generated) + lost[1])
    claim = f"all columns: {lost[1]:,} of {totals[1]:,} generated rows hold missing values, but {lost[0]:,} of {totals[0]:,} real ones"
    return [_shares("missing", "all columns", lost, totals, "share of generated rows with missing values; null: share of real ones", claim)]


def outside(case: Case) -> list[Statistic]:
    """Share of generated values below the low or above the high end of a column's support; no row where there are none."""
    sides = case.sides
    if sides is None:
        return []
    rows = []
    for i in sides.compared:
        lost = (_outside(sides, sides.real, i), _outside(sides, sides.generated, i))
        if not any(lost):
            continue
        name, totals = sides.names[i], (len(sides.real), len(sides.generated))
        shares = f"{lost[1]:,} of {totals[1]:,} generated values lie outside its range, but {lost[0]:,} of {totals[0]:,} real ones"
        note = "share of generated values outside the support; null: share of real ones"
        rows.append(_shares("outside", name, lost, totals, note, f"column '{name}': {shares}"))
    return rows


def _outside(sides: Sides, side: Side, column: int) -> int:
    support = sides.columns[column].support
    low, high = getattr(support, "low", None), getattr(support, "high", None)
    if support.name in ("positive", "nonnegative"):
        low = 0.0
    values = side.values[:, column]
    strict = values <= 0 if support.name == "positive" else np.zeros(len(values), dtype=bool)
    below = strict | (values < low if low is not None else False)
    return int((below | (values > high if high is not None else False)).sum())


def _shares(name: str, where: str, lost: tuple[int, int], totals: tuple[int, int], note: str, claim: str) -> Statistic:
    from scipy.stats import fisher_exact

    shares = [k / n for k, n in zip(lost, totals, strict=True)]
    errors = [float(np.sqrt(max(s * (1 - s), 1 / n) / n)) for s, n in zip(shares, totals, strict=True)]
    table = [[lost[1], totals[1] - lost[1]], [lost[0], totals[0] - lost[0]]]
    p = float(fisher_exact(table, alternative="two-sided")[1])
    made = Statistic(name, where, shares[1], errors[1], shares[0], errors[0], p, min(totals), note)
    return made.with_(claim=f"{claim} ({name} {number(100 * shares[1])} %)")
