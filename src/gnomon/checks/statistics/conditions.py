"""Conditional models condition by condition: the largest difference of any column, and the likelihood, in bins of each condition.

A model may be right on the whole and wrong everywhere. Ranks under each condition stand in `simulation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.nulls import Pool, error_of_distance, permutation_p
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.checks.statistics.likelihood import finite_rows, weighted_mean
from gnomon.checks.statistics.wording import change_of_category, change_of_values
from gnomon.data import Categorical, Column, Integer, Periodic, Support

FEWEST = 200
"""A bin of a condition holds at least so many rows."""

_BINS = 4
_MOST_CATEGORIES = 12
_MOST_COLUMNS = 8  # conditions looked at
_ROWS = 100_000  # rows whose distances are taken
_SLACK = np.float64(2e-6)  # what single precision may take from a draw: one that equals the data must not fall below it


@dataclass(frozen=True, eq=False)
class Bin:
    """Rows whose condition is alike.

    Args:
        condition: its name.
        where: in short ("energy in [5, 8]").
        words: in words ("energy between 5 and 8").
        rows: ``(m,)`` their numbers.
    """

    condition: str
    where: str
    words: str
    rows: NDArray[np.intp]


def conditional_ks(case: Case) -> list[Statistic]:
    """For each bin of each condition, the column that differs most: its Kolmogorov–Smirnov distance among the rows of the bin.

    Bins are quarters of the rows for conditions that are numbers, and the categories of the others, with at least 200 rows each. Columns on
    circles have Kuiper's distance, categories total variation. "Most" is in standard deviations of each column's null. The null swaps the
    two rows of a condition, in all bins alike; p is corrected for the columns of the bin, and `corrected` for all bins as well.

    Raises:
        LeftOut: no condition has two bins.
    """
    sides = case.sides
    if sides is None or not sides.paired or not sides.shared or not sides.compared:
        return []
    sides = sides.take(_ROWS)
    given = [i for i, name in enumerate(sides.names) if name in sides.shared][:_MOST_COLUMNS]
    bins = [one for i in given for one in bins_of(sides.columns[i], sides.real.values[:, i])]
    if not bins:
        raise LeftOut(f"no condition has two bins of {FEWEST} rows or more")
    found = [_differences(sides, one) for one in bins]
    draws = _null_draws(sides, bins, found, case.effort)
    pulls = [_pulls(differences, null) for differences, null in zip(found, draws, strict=True)]
    largest = np.max([drawn.max(axis=1) for _, drawn in pulls], axis=0)
    rows = []
    for one, differences, null, (pull, drawn) in zip(bins, found, draws, pulls, strict=True):
        worst = int(pull.argmax())
        values = np.take_along_axis(null, drawn.argmax(axis=1)[:, None], axis=1)[:, 0]
        p, corrected = (permutation_p(float(pull[worst]), against) for against in (drawn.max(axis=1), largest))
        rows.append(_row(sides, one, differences[worst], values, p, corrected))
    return rows


def conditional_log_likelihood(case: Case) -> list[Statistic]:
    """Mean log-probability of the held-out rows of each bin of each condition, beside that of rows drawn under the same conditions.

    For information: in nats per row.
    """
    given = case.likelihood
    if given is None or given.given is None:
        return []
    known, drawn = finite_rows(given)
    assert known.given is not None
    rows = []
    for column, values in zip(known.given_columns[:_MOST_COLUMNS], known.given.T, strict=False):
        for one in bins_of(column, values):
            weight = None if known.weight is None else known.weight[one.rows]
            value, error = weighted_mean(known.real[one.rows], weight)
            null, null_error = (np.nan, np.nan)
            if drawn is not None and known.paired:
                null, null_error = weighted_mean(drawn[one.rows], weight)
            note = "nats per row" + ("; the null is the mean over rows that the model drew" if np.isfinite(null) else "")
            rows.append(
                Statistic(
                    "conditional_log_likelihood", one.where, value, error, null, null_error, n=len(one.rows), note=note, alarm="never"
                )
            )
    return rows


def bins_of(column: Column, values: Floats) -> list[Bin]:
    """Bins of a condition; none if there would be but one.

    Args:
        column: the condition.
        values: ``(n,)`` of it.
    """
    if isinstance(column.support, Categorical):
        made = [
            Bin(column.name, f"{column.name} = {name}", f"{column.name} = '{name}'", np.flatnonzero(values == k))
            for k, name in enumerate(column.support.values)
        ]
        made = sorted((one for one in made if len(one.rows) >= FEWEST), key=lambda one: -len(one.rows))[:_MOST_CATEGORIES]
        return made if len(made) > 1 else []
    count = min(_BINS, len(values) // FEWEST)
    if count < 2:
        return []
    distinct = np.unique(values)
    edges = distinct if len(distinct) <= _BINS else np.unique(np.quantile(values, np.linspace(0, 1, count + 1), method="inverted_cdf"))[1:]
    place = np.searchsorted(edges, values, side="left")  # a bin reaches from above one edge up to and including the next
    made = []
    for k in range(len(edges)):
        rows = np.flatnonzero(place == k)
        if len(rows) >= FEWEST:
            made.append(_between(column, float(values[rows].min()), float(values[rows].max()), rows))
    return made if len(made) > 1 else []


def _between(column: Column, low: float, high: float, rows: NDArray[np.intp]) -> Bin:
    digits = 6 if isinstance(column.support, Integer) else 3
    ends = number(low, digits), number(high, digits)
    if low == high:
        return Bin(column.name, f"{column.name} = {ends[0]}", f"{column.name} = {ends[0]}", rows)
    return Bin(column.name, f"{column.name} in [{ends[0]}, {ends[1]}]", f"{column.name} between {ends[0]} and {ends[1]}", rows)


# ---- differences in one bin -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Line:
    """A column of the pooled rows of a bin, ready to turn coefficients into a distance.

    Args:
        support: of the column: on a line the distance is Kolmogorov and Smirnov's, on a circle Kuiper's, of categories total variation.
        order: ``(rows,)`` from the smallest value to the largest.
        ends: ``(k,)`` the last row, in that order, of each distinct value.
    """

    support: Support
    order: NDArray[np.intp]
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, part: Sides, column: int) -> _Line:
        values = np.concatenate([side.values[:, column] for side in (part.real, part.generated)])
        order = np.argsort(values, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(values[order]) > 0, True))
        return cls(part.columns[column].support, order, ends)

    def profile(self, coefficients: Floats) -> Floats:
        """``(batch, rows) -> (batch, k)``: difference of the distribution functions at each distinct value; of the shares of categories."""
        return self._reached(coefficients[:, self.order])

    def swapped(self, signs: NDArray[np.int8], coefficients: Floats) -> NDArray[np.float32]:
        """The same ``(batch, k)`` where both rows of a condition get its sign ``(batch, conditions)``; in single precision, for speed."""
        ordered = signs.take(self.order % signs.shape[1], axis=1) * coefficients[self.order].astype(np.float32)
        return self._reached(ordered)

    def _reached(self, ordered: NDArray[Any]) -> NDArray[Any]:
        reached = np.cumsum(ordered, axis=1, out=ordered)
        reached = reached if len(self.ends) == len(self.order) else reached[:, self.ends]
        return np.diff(reached, axis=1, prepend=0.0) if isinstance(self.support, Categorical) else reached

    def distance(self, profile: NDArray[Any]) -> NDArray[Any]:
        """``(batch, k) -> (batch,)``."""
        if isinstance(self.support, Categorical):
            return np.abs(profile).sum(axis=1) / 2
        if isinstance(self.support, Periodic):
            return profile.max(axis=1) - profile.min(axis=1)
        return np.maximum(profile.max(axis=1), -profile.min(axis=1))

    def effect(self, profile: Floats) -> Floats:
        """``(rows,)`` the function h for which the distance is Σ coefficient · h(row), as long as the profile ``(k,)`` changes little."""
        places = np.arange(len(profile))
        high, low = int(profile.argmax()), int(profile.argmin())
        if isinstance(self.support, Categorical):
            made = np.sign(profile) / 2
        elif isinstance(self.support, Periodic):
            made = (places <= high).astype(np.float64) - (places <= low)
        else:
            top = high if profile[high] >= -profile[low] else low
            made = (places <= top) * np.sign(profile[top])
        effect = np.empty(len(self.order))
        effect[self.order] = np.repeat(made, np.diff(self.ends, prepend=-1))
        return effect


@dataclass(frozen=True)
class _Difference:
    """One column in one bin.

    Args:
        column: its index.
        value: the distance.
        linear: standard error of its linearisation.
    """

    column: int
    value: float
    linear: float


def _part(sides: Sides, rows: NDArray[np.intp]) -> Sides:
    return replace(sides, real=sides.real.at(rows), generated=sides.generated.at(rows), train=None, _known={})


def _differences(sides: Sides, one: Bin) -> list[_Difference]:
    part = _part(sides, one.rows)
    coefficients = Pool.of(part).observed()
    made = []
    for i in part.compared:
        line = _Line.of(part, i)
        profile = line.profile(coefficients[None])
        error = _linear_error(line.effect(profile[0]), coefficients, len(one.rows))
        made.append(_Difference(i, float(line.distance(profile)[0]), error))
    return made


def _linear_error(effect: Floats, coefficients: Floats, rows: int) -> float:
    """Standard error of Σ coefficient · effect; the two rows of a condition vary together."""
    parts = (slice(0, rows), slice(rows, None))
    moved = [coefficients[part] * (effect[part] - coefficients[part] @ effect[part] / coefficients[part].sum()) for part in parts]
    return float(np.sqrt(np.square(moved[0] + moved[1]).sum()))


def _null_draws(sides: Sides, bins: Sequence[Bin], found: list[list[_Difference]], effort: Effort) -> list[Floats]:
    """``(draws, columns)`` distances in each bin where the two rows of conditions are swapped at random, in all bins alike."""
    generator = sides.generator("conditions")
    most = max(2_000, effort.null_rows // (2 * len({one.condition for one in bins})))
    kept = np.zeros(len(sides.real), dtype=bool)
    kept[generator.permutation(len(kept))[:most]] = True
    prepared = []
    for one in bins:
        rows = one.rows[kept[one.rows]]
        part = _part(sides, rows)
        coefficients = Pool.of(part).observed()
        scale = np.sqrt(Pool.of(_part(sides, one.rows)).noise / np.square(coefficients).sum())
        prepared.append((rows, coefficients * scale, [_Line.of(part, i) for i in part.compared]))
    made: list[list[Floats]] = [[] for _ in bins]
    so_far: list[Floats] = []
    for stage in (effort.draws, effort.more_draws):
        for start in range(0, stage, 64):
            signs = generator.integers(0, 2, size=(min(64, stage - start), len(kept)), dtype=np.int8) * np.int8(2) - np.int8(1)
            for k, (rows, coefficients, lines) in enumerate(prepared):
                mine = signs.take(rows, axis=1)
                made[k].append(np.stack([line.distance(line.swapped(mine, coefficients)) for line in lines], axis=1) + _SLACK)
        so_far = [np.concatenate(one) for one in made]
        pulls = [_pulls(differences, null) for differences, null in zip(found, so_far, strict=True)]
        largest = np.max([drawn.max(axis=1) for _, drawn in pulls], axis=0)
        if permutation_p(max(float(pull.max()) for pull, _ in pulls), largest) > 5 / (effort.draws + 1):
            break  # more draws are for what (nearly) none of the first reached
    return so_far


def _pulls(differences: list[_Difference], draws: Floats) -> tuple[Floats, Floats]:
    """Distances ``(columns,)`` and draws ``(draws, columns)`` in standard deviations of the null.

    Mean and deviation are those of the data and the draws together, which treats them alike: the p-value of the largest stays exact.
    """
    values = np.array([one.value for one in differences])
    both = np.concatenate([values[None], draws])
    spread = both.std(axis=0)
    both = np.where(spread > 0, (both - both.mean(axis=0)) / np.where(spread > 0, spread, 1.0), 0.0)
    return both[0], both[1:]


def _row(sides: Sides, one: Bin, difference: _Difference, draws: Floats, p: float, corrected: float) -> Statistic:
    name = sides.names[difference.column]
    error = error_of_distance(difference.value, difference.linear, draws)
    note = f"the column that differs most in this bin, for which null and p are corrected; rows swapped {len(draws)} times"
    made = Statistic(
        "conditional_ks", f"{name} | {one.where}", difference.value, error, float(draws.mean()), float(draws.std(ddof=1)), p, len(one.rows),
        note, corrected,
    )  # fmt: skip
    categorical = isinstance(sides.columns[difference.column].support, Categorical)
    words = (change_of_category if categorical else change_of_values)(_part(sides, one.rows), difference.column)
    return made.with_(claim=f"under {one.words}, {words} ({made})")
