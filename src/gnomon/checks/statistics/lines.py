"""A column as cells on a line, and the distances that are functions of the difference of two distribution functions along it.

They know coefficients of rows and nothing of nulls; what is measured with them, and when it is a surprise, stands in `columns`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.binning import binned, edges_of
from gnomon.checks.sides import Floats
from gnomon.data import Categorical, Column, Periodic

CELLS = 2048
"""Nulls of columns with more distinct values than this are drawn in so many cells of equal occupation."""

TAIL = 0.05
"""A tail is at most this share of the rows of both sides together, at either end."""

FEWEST = 8
"""A tail holds at least so many rows of both sides together."""

_ROWS = 400  # of both sides together, below which there are no tails
_GROWTH = 1.5  # each tail looked at is larger than the one before by this factor


@dataclass(frozen=True, eq=False)
class Marks:
    """Places on a column at which a cell has to end, so that bins and tails are exact whatever the cells are.

    Args:
        bins: ``(k,)`` rising; bin j holds the values above mark j - 1, up to and including mark j. The last bin is open. For categories
            ``(categories,)`` the bin of each.
        tails: ``(t,)`` rising; the values up to a mark, or those above it, are a tail.
    """

    bins: Floats
    tails: Floats

    @classmethod
    def of(cls, column: Column, ordered: Floats, parts: list[Floats], fewest: float) -> Marks:
        """Marks of a column.

        Args:
            column: name and support.
            ordered: ``(rows,)`` values of both sides in rising order.
            parts: the values of each side.
            fewest: the smallest tail holds so many of the rows.
        """
        if isinstance(column.support, Categorical):
            shown = np.concatenate(binned(column, parts)[0])
            bins = np.zeros(len(column.support.values))
            bins[np.concatenate(parts).astype(np.intp)] = shown
            return cls(bins, np.empty(0))
        edges = edges_of(column, parts)
        bins = np.append(np.nextafter(edges[:-1], -np.inf), edges[-1])  # what lies outside the picture is a bin too
        return cls(bins, np.empty(0) if isinstance(column.support, Periodic) else _tail_marks(ordered, fewest))


def _tail_marks(ordered: Floats, fewest: float) -> Floats:
    """Values that cut off tails of growing size at both ends; ties stay together, so a tail may be larger than asked for."""
    most = TAIL * len(ordered)
    if len(ordered) < _ROWS or fewest > most:
        return np.empty(0)
    sizes = fewest * _GROWTH ** np.arange(np.floor(np.log(most / fewest) / np.log(_GROWTH)) + 1)
    sizes = np.unique(np.append(np.rint(sizes), np.floor(most)).astype(np.intp))
    low = ordered[sizes - 1]
    low = low[np.searchsorted(ordered, low, side="right") <= most]
    first = np.searchsorted(ordered, ordered[len(ordered) - sizes])  # where each upper tail begins, ties included
    high = ordered[first[len(ordered) - first <= most] - 1]
    return np.unique(np.concatenate([low, high]))


@dataclass(frozen=True, eq=False)
class Cells:
    """Neighbouring stretches of a column, as distances see them.

    Args:
        counts: ``(cells,)`` rows of both sides together in each cell.
        widths: ``(cells,)`` from the middle of each cell to that of the next; the last one is the way round a circle, or 0.
        bins: ``(k,)`` the last cell of each bin (−1: an empty one at the low end), or for categories ``(cells,)`` the bin of each.
        tails: ``(t,)`` the last cell up to each mark of a tail.
        categorical: whether cells are categories, whose order means nothing.
        circular: whether the ends meet.
        tilt: (m - n) / (n + m) for n real and m generated rows of equal weight.
        sums: ``(k + 1,)`` share of the real rows plus share of the generated ones in each bin, where these do not depend on labels; None
            where they follow from counts and labels, as for rows of equal weight that may change sides with any other.
    """

    counts: Floats
    widths: Floats
    bins: NDArray[np.intp]
    tails: NDArray[np.intp]
    categorical: bool
    circular: bool
    tilt: float = 0.0
    sums: Floats | None = None

    @property
    def reached(self) -> Floats:
        """``(cells,)``: share of the rows of both sides together up to the end of each cell."""
        made = np.cumsum(self.counts)
        return made / made[-1]

    def binned(self, made: Floats) -> Floats:
        """``(batch, cells) -> (batch, k + 1)``: a profile, or (for categories) steps, summed over the bins."""
        if self.categorical:
            count = self.bins.max() + 1 if self.sums is None else len(self.sums)
            return made @ (self.bins[:, None] == np.arange(count))
        ends = np.concatenate([_at(made, self.bins), made[:, -1:]], axis=1)
        return np.diff(ends, axis=1, prepend=0.0)

    def merged(self, most: int) -> tuple[Cells, NDArray[np.intp]]:
        """Coarser cells that still keep bins and tails apart, and the last fine cell in each; categories stay as they are.

        Args:
            most: at most so many cells, beyond those that bins and tails ask for.
        """
        fine = len(self.counts)
        if self.categorical or fine <= most:
            return self, np.arange(fine)
        last = np.unique(np.concatenate([_evenly(fine, most)[1:] - 1, self.bins, self.tails, [fine - 1]]))
        last = last[last >= 0]
        reached = np.cumsum(self.counts)[last]
        bins, tails = (np.where(part >= 0, np.searchsorted(last, part), -1) for part in (self.bins, self.tails))
        ends = np.append(0.0, np.cumsum(self.widths))  # the middle of a merged cell lies halfway between those of its outermost cells
        first = np.append(0, last[:-1] + 1)
        middle = (ends[first] + ends[last]) / 2
        widths = np.append(np.diff(middle), self.widths[-1] + (ends[fine - 1] - middle[-1]) + middle[0] if self.circular else 0.0)
        return Cells(np.diff(reached, prepend=0.0), widths, bins, tails, False, self.circular, self.tilt, self.sums), last


def _evenly(fine: int, most: int) -> NDArray[np.intp]:
    """The first fine cell of each of `most` coarse ones."""
    return np.linspace(0, fine, max(most, 1), endpoint=False).astype(np.intp)


def _at(profile: Floats, places: NDArray[np.intp]) -> Floats:
    """A profile at some cells; zero before the first."""
    return np.where(places >= 0, profile[:, np.maximum(places, 0)], 0.0)


@dataclass(frozen=True, eq=False)
class Line:
    """One column of pooled rows in rising order, ready to turn coefficients into differences of distribution functions.

    Args:
        column: name and support.
        order: ``(rows,)`` the rows in rising order of their values.
        starts: ``(cells,)`` where each cell begins in that order.
        places: ``(cells,)`` the middle of each cell; its value if it is one.
        marks: where cells have to end.
        cells: what distances see.
    """

    column: Column
    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    places: Floats
    marks: Marks
    cells: Cells

    @classmethod
    def of(
        cls,
        values: Floats,
        column: Column,
        real: int,
        *,
        fewest: float = FEWEST,
        most: int | None = None,
        marks: Marks | None = None,
        sums: Floats | None = None,
    ) -> Line:
        """A line of values.

        Args:
            values: ``(rows,)`` pooled values, codes for categories; real rows first.
            column: name and support.
            real: number of real rows.
            fewest: rows in the smallest tail.
            most: at most so many cells (and those that marks ask for); a cell is one distinct value, or several neighbouring ones.
            marks: where cells have to end; made from the values if None.
            sums: as in `Cells`, if they are known.
        """
        order = np.argsort(values)
        ordered = values[order]
        marks = marks or Marks.of(column, ordered, [values[:real], values[real:]], fewest)
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] > ordered[:-1]]))
        categorical, circular = (isinstance(column.support, sort) for sort in (Categorical, Periodic))
        if categorical:
            bins, tails = marks.bins[ordered[starts].astype(np.intp)].astype(np.intp), np.empty(0, dtype=np.intp)
        else:
            bins, tails = (np.searchsorted(ordered, part, side="right") for part in (marks.bins, marks.tails))
            if most is not None and len(starts) > most:
                starts = starts[_evenly(len(starts), most)]
                starts = np.unique(np.concatenate([starts, bins[bins < len(ordered)], tails[tails < len(ordered)]]))
            bins, tails = (np.searchsorted(starts, part, side="left") - 1 for part in (bins, tails))
        counts: Floats = np.broadcast_to(1.0, len(order))
        places = ordered
        if len(starts) < len(order):
            ends = np.append(starts[1:], len(order))
            counts, places = (ends - starts).astype(np.float64), (ordered[starts] + ordered[ends - 1]) / 2
        around = column.support.period - float(places[-1] - places[0]) if isinstance(column.support, Periodic) else 0.0
        widths = np.append(np.diff(places), max(0.0, around))
        cells = Cells(counts, widths, bins, tails, categorical, circular, 1 - 2 * real / len(order), sums)
        return cls(column, order, starts, places, marks, cells)

    def with_sums(self, magnitude: Floats) -> Line:
        """The same with cells that have their `sums`, from the ``(rows,)`` magnitude of coefficients that does not depend on labels."""
        return replace(self, cells=replace(self.cells, sums=self.cells.binned(self.profile(magnitude[None]))[0]))

    def profile(self, coefficients: Floats) -> Floats:
        """``(batch, rows) -> (batch, cells)``: difference of the distribution functions at the end of each cell.

        For categories it is the difference of the shares.
        """
        steps = self._sums(coefficients)
        return steps if self.cells.categorical else np.cumsum(steps, axis=1, out=steps)

    def _sums(self, coefficients: Floats) -> Floats:
        ordered = coefficients.take(self.order, axis=1)
        return ordered if len(self.starts) == len(self.order) else np.add.reduceat(ordered, self.starts, axis=1)

    def most_different(self, profile: Floats, *, in_tails: bool = False) -> float:
        """The value up to which the distribution functions differ most, or the mark of the tail whose probability does."""
        if in_tails:
            return float(self.marks.tails[np.abs(profile[self.cells.tails] / tail_scale(self.cells)).argmax()])
        return float(self.places[np.abs(profile).argmax()])

    def spread_back(self, direction: Floats) -> Floats:
        """``(cells,) -> (rows,)``: what each row contributes, where `direction` says what its cell does."""
        made = np.empty(len(self.order))
        single = len(self.starts) == len(self.order)
        made[self.order] = direction if single else np.repeat(direction, self.cells.counts.astype(np.intp))
        return made


# ---- distances -------------------------------------------------------------------------------------------------------

Distance = Callable[[Cells, Floats], Floats]
"""Cells and profiles ``(batch, cells)`` to distances ``(batch,)``."""


def distances_on(column: Column, cells: Cells) -> dict[str, Distance]:
    """The distances that apply to a column, by name."""
    if isinstance(column.support, Categorical):
        return {"tv": _half_sum, "separation": _separation}
    if isinstance(column.support, Periodic):
        return {"w1": _w1_circle, "kuiper": _range, "separation": _separation}
    made: dict[str, Distance] = {"w1": _w1_line, "ks": _largest, "cvm": _root_mean_square, "separation": _separation}
    return {**made, "tails": _largest_in_tails} if len(cells.tails) else made


def _w1_line(cells: Cells, profile: Floats) -> Floats:
    return np.abs(profile) @ cells.widths


def _w1_circle(cells: Cells, profile: Floats) -> Floats:
    return np.array([np.abs(row - _weighted_median(row, cells.widths)) @ cells.widths for row in profile])


def _largest(cells: Cells, profile: Floats) -> Floats:
    return np.maximum(profile.max(axis=1), -profile.min(axis=1))


def _range(cells: Cells, profile: Floats) -> Floats:
    return profile.max(axis=1) - profile.min(axis=1)


def _half_sum(cells: Cells, steps: Floats) -> Floats:
    return np.abs(steps).sum(axis=1) / 2


def _root_mean_square(cells: Cells, profile: Floats) -> Floats:
    return np.sqrt(np.square(profile) @ cells.counts / cells.counts.sum())


def _separation(cells: Cells, profile: Floats) -> Floats:
    steps = cells.binned(profile)
    return 0.5 * np.divide(np.square(steps), (sums := _sums_of_shares(cells, steps)), out=np.zeros_like(steps), where=sums > 0).sum(axis=1)


def _largest_in_tails(cells: Cells, profile: Floats) -> Floats:
    return np.abs(profile[:, cells.tails] / tail_scale(cells)).max(axis=1)


def tail_scale(cells: Cells) -> Floats:
    """``(t,)``: √(H (1 - H)) at each tail, for the share H of both sides' rows up to it: how much chance can move the difference."""
    share = cells.reached[cells.tails]
    count = cells.counts.sum()
    return np.where((share * count >= 1) & ((1 - share) * count >= 1), np.sqrt(share * (1 - share)), np.inf)


def _sums_of_shares(cells: Cells, steps: Floats) -> Floats:
    """``(batch, bins)``: share of the real rows plus share of the generated ones in each bin, under the labels that gave `steps`."""
    if cells.sums is not None:
        return np.broadcast_to(cells.sums, steps.shape)
    counts = cells.counts if cells.categorical else np.cumsum(cells.counts)
    return 2 * cells.binned(counts[None])[0] / cells.counts.sum() + cells.tilt * steps


def _weighted_median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(reached, reached[-1] / 2)]])


# ---- how much each row moves them ------------------------------------------------------------------------------------


def influence(name: str, line: Line, profile: Floats, coefficients: Floats) -> Floats:
    """``(rows,)``: what each row contributes to a distance, as long as the profile changes little, up to a constant on each side.

    Args:
        name: of the distance.
        line: the column.
        profile: ``(cells,)`` of the data.
        coefficients: ``(rows,)`` of the data.
    """
    cells = line.cells
    if name == "separation":
        steps = cells.binned(profile[None])
        sums = _sums_of_shares(cells, steps)
        ratio = np.divide(steps, sums, out=np.zeros_like(steps), where=sums > 0)[0]
        ratio = line.spread_back(ratio[_bin_of_each(cells)])
        return coefficients * ratio - np.abs(coefficients) * np.square(ratio) / 2
    if name == "cvm":
        square = np.square(profile)
        value = np.sqrt(square @ cells.counts / cells.counts.sum()) or 1.0
        along = np.cumsum((profile * cells.counts)[::-1])[::-1] / (cells.counts.sum() * value)
        return coefficients * line.spread_back(along) + line.spread_back(square / (2 * value * cells.counts.sum()))
    if name == "tails":
        return _influence_on_tails(line, profile, coefficients)
    return coefficients * line.spread_back(_direction(name, cells, profile))


def _direction(name: str, cells: Cells, profile: Floats) -> Floats:
    """``(cells,)`` the function h for which the distance is Σ coefficient · h(row)."""
    if name == "tv":
        return np.sign(profile) / 2
    if name == "w1":
        middle = _weighted_median(profile, cells.widths) if cells.circular else 0.0
        return np.cumsum((np.sign(profile - middle) * cells.widths)[::-1])[::-1]
    places = np.arange(len(profile))
    high, low = int(profile.argmax()), int(profile.argmin())
    if name == "kuiper":
        return (places <= high).astype(np.float64) - (places <= low)
    top = high if profile[high] >= -profile[low] else low
    return (places <= top) * np.sign(profile[top])


def _influence_on_tails(line: Line, profile: Floats, coefficients: Floats) -> Floats:
    """The tail is cut off at a quantile of both sides together, so a row beyond the cut also moves the cut."""
    cells = line.cells
    at, reached, scale = profile[cells.tails], cells.reached, tail_scale(cells)
    top = int(np.abs(at / scale).argmax())
    cell = cells.tails[top]
    reach = 0.25 * min(reached[cell], 1 - reached[cell])  # how steep the difference is near the cut
    low, high = (min(int(np.searchsorted(reached, reached[cell] + step)), len(reached) - 1) for step in (-reach, reach))
    slope = (profile[high] - profile[low]) / max(reached[high] - reached[low], 1e-300)
    inside = line.spread_back((np.arange(len(profile)) <= cell) * (np.sign(at[top]) / scale[top]))
    return inside * (coefficients - slope / len(coefficients))


def _bin_of_each(cells: Cells) -> NDArray[np.intp]:
    """``(cells,)``: the bin of each cell."""
    if cells.categorical:
        return cells.bins
    return np.searchsorted(cells.bins, np.arange(len(cells.counts)), side="left")
