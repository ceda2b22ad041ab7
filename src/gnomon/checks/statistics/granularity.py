"""Rounded, discretised and repeated values: column by column, values that occur again and again on one side and never on the other.

How values are distributed is left to `columns`. Whole numbers and categories are grained by nature and are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.equal_rows import equal_rows, told
from gnomon.checks.nulls import corrected_for_places, error_of_distance, permutation_p, surprising
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import Statistic, number
from gnomon.checks.statistics.wording import percent
from gnomon.data import Categorical, Integer

GRAIN = 1e-5
"""Values closer than this, in units of the width of the middle 68 % of a column, count as the same."""

_FEWEST = 20  # rows a side
_NEAR = (3, 32)  # at least and at most so many neighbouring values form a cell in which labels are exchanged
_BATCH = 2**21  # labels drawn at once


def distinct(case: Case) -> list[Statistic]:
    """The share of rows whose value occurs more than once on its own side and never on the other, for each column of real numbers.

    Near 0 if both sides are continuous, or grained alike; about 1/2 if one of them is rounded; no row where no value occurs twice. As many
    rows a side are compared; rows with weights are kept at random in proportion to their weight, so that those that are left count alike.
    The null exchanges labels among rows with neighbouring values only, so that it does not matter how the values are distributed.

    Values are rounded to float32 and then down to 1e-5 of the column's width, on both sides: float32 against float64 is no difference.

    It is an alarm where the generated values are the coarser ones. Where the real ones are, most often because they were recorded with few
    digits, a continuous model is not to blame, and the row is for information; unless the real values are discrete and the most frequent
    one never occurs among generated rows: at most ten values (of 100 rows), or one that makes up 5 % of them (and 20 rows) and at least
    a quarter of all that repeat.

    Raises:
        LeftOut: fewer than 20 rows on a side, weights below zero, or so uneven that fewer than 20 rows would be kept.
    """
    sides = case.sides
    if sides is None:
        return []
    looked_at = [i for i in sides.compared if not isinstance(sides.columns[i].support, (Categorical, Integer))]
    if not looked_at:
        return []
    even = equal_rows(sides, case.effort.null_rows, fewest=_FEWEST)
    found = [made for i in looked_at if (made := Grains.of(even, i)) is not None]
    if not found:
        return []
    draws = _null_draws(found, sides.generator("granularity", "null"), case.effort)
    corrected = corrected_for_places([one.value for one in found], draws)
    return [_row(sides, even, *one) for one in zip(found, draws, corrected, strict=True)]


@dataclass(frozen=True, eq=False)
class Grains:
    """One column of pooled rows, those with the same value together.

    Args:
        column: its index.
        rows: on each side.
        value: share of all rows whose value occurs more than once on its own side and never on the other, with the other side near by.
        error: its standard error by the jackknife.
        sizes: ``(groups,)`` rows with the same value, where it may be chance whether they lie on one side.
        cell: ``(groups,)`` the cell of each group, rising.
        cells: ``(cells, 2)`` rows of each cell, and how many of them are real.
    """

    column: int
    rows: int
    value: float
    error: float
    sizes: NDArray[np.intp]
    cell: NDArray[np.intp]
    cells: NDArray[np.intp]

    @classmethod
    def of(cls, sides: Sides, column: int) -> Grains | None:
        """The groups of equal values of a column, or None if no value occurs twice."""
        pooled = np.concatenate([sides.real.values[:, column], sides.generated.values[:, column]])
        _, group, counts = np.unique(_grained(pooled), return_inverse=True, return_counts=True)
        if len(counts) == len(pooled):
            return None
        rows = len(sides.real)
        own = np.bincount(group[:rows], minlength=len(counts))
        cell = np.arange(len(counts)) // int(np.clip(np.sqrt(len(counts)) / 2, *_NEAR))  # few values are far from each other
        cells = np.stack([np.bincount(cell, counts), np.bincount(cell, own)], axis=1).astype(np.intp)
        mixed = ((cells[:, 1] > 0) & (cells[:, 1] < cells[:, 0]))[cell]
        alone = mixed & (counts > 1) & ((own == 0) | (own == counts))
        larger = np.maximum(cells[:, 1], cells[:, 0] - cells[:, 1]) / cells[:, 0]
        open_ = mixed & (counts > 1) & (counts * np.log(larger[cell]) > np.log(1e-9))
        known, cell = np.unique(cell[open_], return_inverse=True)
        error = _jackknife(group, own, counts, rows)
        return cls(column, rows, float(counts[alone].sum()) / len(pooled), error, counts[open_], cell, cells[known])

    def draw(self, draws: int, generator: np.random.Generator) -> Floats:
        """``(draws,)``: the share under other labels."""
        made = np.zeros(draws)
        if not len(self.sizes):
            return made
        step = max(1, _BATCH // int(self.sizes.sum()))
        for start in range(0, draws, step):
            made[start : start + step] = self._draw(len(made[start : start + step]), generator)
        return made

    def _draw(self, draws: int, generator: np.random.Generator) -> Floats:
        cell = np.repeat(self.cell, self.sizes)
        held = np.bincount(cell)
        total, real = self.cells.T
        some = generator.hypergeometric(real, total - real, held, size=(draws, len(held)))  # real labels among the rows in groups
        place = np.arange(len(cell)) - (np.cumsum(held) - held)[cell]
        order = np.argsort(cell + generator.random((draws, len(cell))), axis=1)
        labels = np.empty(order.shape, dtype=np.intp)
        np.put_along_axis(labels, order, (place < some[:, cell]).astype(np.intp), axis=1)
        own = np.add.reduceat(labels, np.cumsum(self.sizes) - self.sizes, axis=1)
        return ((own == 0) | (own == self.sizes)) @ self.sizes / (2.0 * self.rows)


def _jackknife(group: NDArray[np.intp], own: NDArray[np.intp], counts: NDArray[np.intp], rows: int) -> float:
    """Standard error of the share from what leaving out each row would change."""
    squares = 0.0
    for mine, part in ((own, slice(0, rows)), (counts - own, slice(rows, None))):
        other = counts - mine
        change = np.where(other == 0, np.where(mine == 2, 2, np.where(mine > 2, 1, 0)), 0)
        change = np.where((mine == 1) & (other > 1), -other, change)  # the last obstacle to the other side's group
        each = change[group[part]]
        squares += float(np.square(each - each.mean()).sum())
    return float(np.sqrt(squares)) / (2 * rows)


def _grained(values: Floats) -> Floats:
    """Values rounded to float32, then down to a grain that is a power of two: float32 numbers fill such grains evenly."""
    low, high = np.quantile(values, [0.16, 0.84])
    width = float(high - low) or float(values.std())
    grain = 2.0 ** np.floor(np.log2(GRAIN * width)) if width > 0 else 1.0
    with np.errstate(over="ignore"):
        single = values.astype(np.float32).astype(np.float64)
    return np.floor(np.where(np.isfinite(single), single, values) / grain)


def _null_draws(found: list[Grains], generator: np.random.Generator, effort: Effort) -> list[Floats]:
    """Null draws of each column; more of them where the first are hardly ever reached, as in `nulls.null_draws`."""
    draws = [one.draw(effort.draws, generator) for one in found]
    if surprising(corrected_for_places([one.value for one in found], draws), effort):
        draws = [np.concatenate([first, one.draw(effort.more_draws, generator)]) for first, one in zip(draws, found, strict=True)]
    return draws


def _row(sides: Sides, even: Sides, grains: Grains, draws: Floats, corrected: float) -> Statistic:
    values = [side.values[:, grains.column] for side in (even.real, even.generated)]
    grained = np.split(_grained(np.concatenate(values)), 2)
    found = [_Repeats.of(*one) for one in zip(values, grained, strict=True)]
    coarse = found[1].distinct < found[0].distinct or found[0].discrete(values[1])
    made = Statistic(
        name="distinct",
        where=sides.names[grains.column],
        value=grains.value,
        error=error_of_distance(grains.value, grains.error, draws),
        null=float(draws.mean()),
        null_error=float(draws.std(ddof=1)),
        p=permutation_p(grains.value, draws),
        n=grains.rows,
        note=f"{found[0].distinct:,} real and {found[1].distinct:,} generated values are distinct; "
        f"null from exchanging labels of neighbouring values {len(draws)} times; values nearer than 1e-5 of the width count as the same"
        f"{told(even, sides)}",
        corrected=corrected,
        alarm="low" if coarse else "never",
    )
    words, cause = _words(*found)
    return made.with_(claim=f"column '{made.where}': {words} ({made})", cause=cause)


@dataclass(frozen=True)
class _Repeats:
    """The distinct values of one side.

    Args:
        distinct: how many there are.
        share: of the rows whose value occurs more than once.
        step: distance of neighbouring values, if the repeated ones lie on a grid; else 0.
        offset: of the grid from zero, in steps.
        top: the most frequent value.
        top_share: share of the rows that have it.
    """

    distinct: int
    share: float
    step: float
    offset: float
    top: float
    top_share: float

    @classmethod
    def of(cls, values: Floats, grained: Floats) -> _Repeats:
        """What repeats among some values, given also with their grain."""
        _, first, counts = np.unique(grained, return_index=True, return_counts=True)
        known = values[first]
        repeated = known[counts > 1]
        step, offset = _grid(repeated)
        top = int(counts.argmax())
        share = float(counts[counts > 1].sum() / len(values))
        return cls(len(known), share, step, offset, float(known[top]), float(counts[top] / len(values)))

    @property
    def atom(self) -> bool:
        """Whether one value stands out: it makes up 1 % of the rows at least, and a quarter of those that repeat a value."""
        return self.top_share >= max(0.01, self.share / 4)

    def discrete(self, others: Floats) -> bool:
        """Whether these values are few, or one of them stands out, and the most frequent of them is none of the others."""
        rows = len(others)
        few = self.distinct <= 10 and rows >= 100
        stands_out = self.atom and self.top_share >= max(0.05, 20 / rows)
        return (few or stands_out) and not bool((np.abs(others - self.top) <= 1e-6 * max(abs(self.top), 1e-300)).any())


def _grid(values: Floats) -> tuple[float, float]:
    """The step of the grid on which rising values lie, and its offset from zero in steps; (0, 0) if they lie on none."""
    if len(values) < 3:
        return 0.0, 0.0
    gaps = np.diff(values)
    blur = 4 * float(np.finfo(np.float32).eps) * float(np.abs(values).max())
    gaps = gaps[gaps > blur]
    if not len(gaps):
        return 0.0, 0.0
    for parts in (1, 2, 3, 4, 5, 6):
        step = float(gaps.min()) / parts
        steps = np.rint(gaps / step)
        step = float(gaps.sum() / steps.sum())
        if step > 50 * blur and (np.abs(gaps - steps * step) <= 0.01 * step + blur).mean() > 0.99:
            offset = float(np.median((values / step + 0.5) % 1.0)) - 0.5
            return step, offset
    return 0.0, 0.0


def _words(real: _Repeats, generated: _Repeats) -> tuple[str, str]:
    """What is coarser than what, in words, and what columns have to share to be told together."""
    coarse, fine, name, other = (
        (generated, real, "generated", "real") if generated.distinct < real.distinct else (real, generated, "real", "generated")
    )
    if coarse.atom:
        return f"{percent(coarse.top_share)} of the {name} values are exactly {number(coarse.top, 4)}, unlike the {other} ones", ""
    if coarse.step and coarse.share > 0.5:
        grid = f"multiples of {number(coarse.step)}" if abs(coarse.offset) < 0.02 else f"steps of {number(coarse.step)}"
        but = f"to {number(fine.step)}" if fine.step and fine.share > 0.5 else "not"
        words = f"the {name} values are rounded to {grid}, the {other} ones {'are ' if but == 'not' else ''}{but}"
        return words, words
    words = f"{percent(coarse.share)} of the {name} values occur more than once, but {percent(fine.share)} of the {other} ones"
    return words, f"repeated {name} values"
