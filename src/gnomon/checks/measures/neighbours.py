"""Exact nearest neighbours by brute force in bounded memory, and precision, recall, density and coverage, which rest on them.

What values two samples of one distribution would give, and what is said of them, stands with the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import DataError

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
T = TypeVar("T")

_BLOCK = 2**14  # reference rows looked at together
_TILE = 2**20  # numbers in a tile of distances: it stays in the cache
_PAIRS = 2**20  # numbers in the differences of pairs formed at once
_UNIT = 2.0**-24  # half the spacing of float32 numbers at 1


def nearest(queries: Floats, references: Floats, count: int = 1, *, itself: bool = True) -> tuple[Floats, Rows]:
    """The nearest `count` rows of `references` to each row of `queries`, by Euclidean distance.

    Distances in float32, as one matrix product for each tile, only rule out what is surely too far; what is left, a few rows more than
    `count`, is measured in float64 from the differences themselves. So the answer is exact, and equal rows are at distance 0.

    Args:
        queries: ``(n, F)``.
        references: ``(m, F)``.
        count: how many neighbours, at most m.
        itself: False if the queries are the references and a row is not to be its own neighbour; `count` is then at most m - 1.

    Returns:
        ``(n, count)`` distances, rising, and ``(n, count)`` row numbers. Which of several equally distant rows come first is not said.

    Raises:
        DataError: the two differ in their number of columns, or there are fewer than `count` rows to choose from.

    Example:
        >>> distances, rows = nearest(np.array([[0.0], [10.0]]), np.array([[1.0], [3.0], [8.0]]))
        >>> distances.tolist(), rows.tolist()
        ([[1.0], [2.0]], [[0], [2]])
    """
    space = _Space.of(queries, references)
    if not 1 <= count <= len(references) - (not itself):
        raise DataError(f"{count} neighbours were asked for, but there are {len(references) - (not itself)} rows to choose from")
    distances, rows = np.empty((len(queries), count)), np.empty((len(queries), count), dtype=np.intp)

    def search(start: int, stop: int) -> None:
        best = _Best.empty(stop - start, count)
        for first, tile in space.tiles(start, stop):
            if not itself:
                own = np.arange(max(start, first), min(stop, first + tile.shape[1]))
                tile[own - start, own - first] = np.inf
            best = best.joined(space, start, first, tile)
        distances[start:stop], rows[start:stop] = np.sqrt(best.squares), best.rows

    for _ in _several_at_a_time(search, space.chunks()):
        pass
    return distances, rows


def within(queries: Floats, references: Floats, radii: Floats) -> Iterator[tuple[Rows, Rows]]:
    """All pairs of a query and a reference that are no further apart than the query's radius.

    Args:
        queries: ``(n, F)``: centres.
        references: ``(m, F)``.
        radii: ``(n,)``; what lies exactly on the sphere counts as inside.

    Yields:
        row numbers of the queries and of the references, pair by pair, some at a time.
    """
    space = _Space.of(queries, references)

    def search(start: int, stop: int) -> list[tuple[Rows, Rows]]:
        limit = space.rounded(np.square(radii[start:stop]))
        found = []
        for first, tile in space.tiles(start, stop):
            i, j = (part + begin for part, begin in zip(_true(tile <= limit[:, None]), (start, first), strict=True))
            inside = np.sqrt(space.squares(i, j)) <= radii[i]
            found.append((i[inside], j[inside]))
        return found

    for pairs in _several_at_a_time(search, space.chunks()):
        yield from pairs


@dataclass(frozen=True, eq=False)
class Balls:
    """Which rows lie in the balls round rows of the other side, a ball reaching to the k-th nearest row of its own side.

    Args:
        k: which neighbour is on the sphere.
        real: ``(n,)`` in how many balls round generated rows each real row lies.
        generated: ``(m,)`` in how many balls round real rows each generated row lies.
        covered: ``(n,)`` whether the ball round each real row holds a generated one.
        weights: of the rows of both sides, or None where all count the same.
    """

    k: int
    real: Rows
    generated: Rows
    covered: NDArray[np.bool_]
    weights: tuple[Floats | None, Floats | None] = (None, None)

    @cached_property
    def precision(self) -> float:
        """Share of generated rows that lie among real ones."""
        return float(np.average(self.generated > 0, weights=self.weights[1]))

    @cached_property
    def recall(self) -> float:
        """Share of real rows that lie among generated ones."""
        return float(np.average(self.real > 0, weights=self.weights[0]))

    @cached_property
    def density(self) -> float:
        """Mean number of balls round real rows in which a generated row lies, over k."""
        return float(np.average(self.generated, weights=self.weights[1]) / self.k)

    @cached_property
    def coverage(self) -> float:
        """Share of real rows whose ball holds a generated one."""
        return float(np.average(self.covered, weights=self.weights[0]))


def prdc(real: Floats, generated: Floats, k: int = 5, *, weights: tuple[Floats | None, Floats | None] = (None, None)) -> Balls:
    """Precision, recall, density and coverage: how far each side lies where the other does.

    A row on the sphere counts as inside. (The authors' program asks for strictly less, so that data without spread are covered by
    nothing, not even by themselves.) Where no two distances are equal that makes no difference.

    For sides of one distribution and n rows each, coverage is 1 - 2⁻ᵏ and density 1 on average, whatever the data; precision and recall
    depend on the number of columns, and mean something only beside their null.

    Args:
        real: ``(n, F)``.
        generated: ``(m, F)``.
        k: which neighbour of its own side a ball reaches to.
        weights: of the real and of the generated rows in the averages, or None. The balls are made by rows, whatever their weight.

    Returns:
        `Balls`, with ``.precision``, ``.recall``, ``.density`` and ``.coverage``.

    Raises:
        DataError: the sides differ in their columns, or one has no more than k rows.

    Reference: Naeem et al. 2020, https://arxiv.org/abs/2002.09797; precision and recall: Kynkäänniemi et al. 2019,
    https://arxiv.org/abs/1904.06991.

    Example:
        >>> made = prdc(np.arange(9.0)[:, None], np.arange(9.0)[:, None] + 4.25, k=2)
        >>> round(made.precision, 4), round(made.coverage, 4)
        (0.6667, 0.5556)
    """
    real, generated = (np.ascontiguousarray(side, dtype=np.float64) for side in (real, generated))
    for name, side in (("real", real), ("generated", generated)):
        if len(side) <= k:
            raise DataError(f"the {k} nearest neighbours want more than {k} rows; the {name} side has {len(side)}")
    counts = [np.zeros(len(side), dtype=np.intp) for side in (real, generated)]
    covered = np.zeros(len(real), dtype=bool)
    for own, other, count in ((real, generated, counts[1]), (generated, real, counts[0])):
        radii = nearest(own, own, k, itself=False)[0][:, -1]
        for centres, inside in within(own, other, radii):
            count += np.bincount(inside, minlength=len(other))
            if own is real:
                covered[centres] = True
    return Balls(k, counts[0], counts[1], covered, weights)


# ---- distances in tiles ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Space:
    """Queries and references about a common centre, with the factors of a lower bound on their squared distances.

    With `slack` s, ``(|x|² + |y|²)(1 - s) - 2xy`` computed in float32 is never above the true squared distance: the rounding of K + 2
    products and sums and of their factors moves it by less than ``(K + 6) 2⁻²⁴ · 2(|x|² + |y|²)``. Lengths there are in units of the
    longest row, so that no square overflows; squares that float32 cannot tell from 0 are looked at in any case.

    Args:
        queries: ``(n, F)`` float64.
        references: ``(m, F)`` float64.
        left: ``(n, F + 2)`` float32.
        right: ``(F + 2, m)`` float32.
        slack: s.
        unit: the square of the longest row.
    """

    queries: Floats
    references: Floats
    left: NDArray[np.float32]
    right: NDArray[np.float32]
    slack: float
    unit: float

    @classmethod
    def of(cls, queries: Floats, references: Floats) -> _Space:
        if queries.ndim != 2 or references.ndim != 2 or queries.shape[1] != references.shape[1]:
            raise DataError(f"distances are between rows with as many columns; got shapes {queries.shape} and {references.shape}")
        queries, references = (np.ascontiguousarray(part, dtype=np.float64) for part in (queries, references))
        centre = references.mean(axis=0)
        slack = 2 * (queries.shape[1] + 8) * _UNIT
        norms = [_squared_lengths(part, centre) for part in (queries, references)]
        unit = max(float(part.max(initial=0)) for part in norms)
        if not np.isfinite(unit):
            raise DataError("distances want finite numbers whose squares are finite too")
        unit = unit if unit > 0 else 1.0
        left = np.ones((len(queries), queries.shape[1] + 2), dtype=np.float32)
        right = np.ones((queries.shape[1] + 2, len(references)), dtype=np.float32)
        left[:, -2], right[-1] = (part * ((1 - slack) / unit) for part in norms)
        for start in range(0, len(queries), _BLOCK):
            left[start : start + _BLOCK, :-2] = (queries[start : start + _BLOCK] - centre) * (-2 / np.sqrt(unit))
        for start in range(0, len(references), _BLOCK):
            right[:-2, start : start + _BLOCK] = (references[start : start + _BLOCK] - centre).T / np.sqrt(unit)
        return cls(queries, references, left, right, slack, unit)

    def chunks(self) -> list[tuple[int, int]]:
        """Ranges of queries for one tile each."""
        step = max(1, _TILE // min(len(self.references), _BLOCK))
        return [(start, min(start + step, len(self.queries))) for start in range(0, len(self.queries), step)]

    def tiles(self, start: int, stop: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First reference of each block, and lower bounds ``(queries, block)`` on the squared distances to it, in the space's units."""
        for first in range(0, len(self.references), _BLOCK):
            yield first, self.left[start:stop] @ self.right[:, first : first + _BLOCK]

    def squares(self, i: Rows, j: Rows) -> Floats:
        """Squared distances of pairs; the same pair gives the same number bit for bit, in either order."""
        step = max(1, _PAIRS // max(1, self.queries.shape[1]))
        made = np.empty(len(i))
        for start in range(0, len(i), step):
            difference = self.queries[i[start : start + step]] - self.references[j[start : start + step]]
            made[start : start + step] = np.einsum("ij,ij->i", difference, difference)
        return made

    def rounded(self, squares: Floats) -> NDArray[np.float32]:
        """Squares in the space's units, as float32 not below: what lies as near has no larger lower bound."""
        return np.nextafter((squares / self.unit + 1e-30).astype(np.float32), np.float32(np.inf))

    def above(self, bounds: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
        """Numbers that no distance exceeds whose lower bound is that small.

        The true square is at most ``bound + 2s(|x|² + |y|²)``, and ``|y|² <= 2|x|² + 2d²``.
        """
        norms = self.left[start:stop, -2].astype(np.float64) / (1 - self.slack)
        squares = (np.maximum(bounds, 0).astype(np.float64) + 6 * self.slack * norms) / (1 - 4 * self.slack)
        return self.rounded(squares * self.unit)


def _squared_lengths(rows: Floats, centre: Floats) -> Floats:
    """``(n,)`` squared distances to the centre, some rows at a time."""
    made = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK] - centre
        made[start : start + _BLOCK] = np.einsum("ij,ij->i", part, part)
    return made


@dataclass(frozen=True, eq=False)
class _Best:
    """The nearest rows found so far: squared distances ``(queries, count)``, rising, and row numbers."""

    squares: Floats
    rows: Rows

    @classmethod
    def empty(cls, queries: int, count: int) -> _Best:
        return cls(np.full((queries, count), np.inf), np.full((queries, count), -1, dtype=np.intp))

    def joined(self, space: _Space, start: int, first: int, tile: NDArray[np.float32]) -> _Best:
        """With those of one more block of references."""
        queries, count = self.squares.shape
        limit = np.minimum(space.rounded(self.squares[:, -1]), space.above(_at_most(tile, count), start, start + queries))
        near = tile <= limit[:, None]
        found = near.sum(axis=1)
        squares, rows = self.squares.copy(), self.rows.copy()
        step = max(1, _PAIRS // (count + int(found.max(initial=0))))  # where all are equally near, there are many
        for low in range(0, queries, step):
            part = slice(low, low + step)
            i, j = _true(near[part])
            place = count + np.arange(len(i)) - np.repeat(np.cumsum(found[part]) - found[part], found[part])
            width = count + int(found[part].max(initial=0))
            pool, named = np.full((len(found[part]), width), np.inf), np.full((len(found[part]), width), -1, dtype=np.intp)
            pool[:, :count], named[:, :count] = self.squares[part], self.rows[part]
            pool[i, place], named[i, place] = space.squares(i + start + low, j + first), j + first
            order = _smallest(pool, count)
            squares[part], rows[part] = np.take_along_axis(pool, order, axis=1), np.take_along_axis(named, order, axis=1)
        return _Best(squares, rows)


def _several_at_a_time(search: Callable[[int, int], T], chunks: list[tuple[int, int]]) -> Iterator[T]:
    """What `search` gives for each chunk, in order, by as many threads as a matrix product would take.

    Small products are slower on several threads than on one, so each thread makes its own; the number of threads of products is as it
    was whenever a result is handed out.
    """
    products = _products()
    threads = max((library["num_threads"] for library in products.info()), default=1)
    if threads == 1 or len(chunks) < 2:
        yield from (search(*chunk) for chunk in chunks)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(chunks), 8 * threads):
            with products.limit(limits=1):
                made = list(pool.map(lambda chunk: search(*chunk), chunks[start : start + 8 * threads]))
            yield from made


@cache
def _products() -> Any:
    """The library that multiplies NumPy's matrices; to find it takes some milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _at_most(tile: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """``(queries,)``: for each row of the tile a number that at least `count` of its entries do not exceed.

    It is the count-th smallest of the minima of groups, much cheaper than the count-th smallest entry and hardly above it.
    """
    queries, width = tile.shape
    groups = min(width, max(16 * count, 256))
    whole = width // groups * groups
    minima = tile[:, :whole].reshape(queries, -1, groups).min(axis=1)
    if whole < width:
        minima[:, : width - whole] = np.minimum(minima[:, : width - whole], tile[:, whole:])
    if groups < count:
        return np.full(queries, np.inf, dtype=np.float32)
    return np.partition(minima, count - 1, axis=1)[:, count - 1]


def _smallest(values: Floats, count: int) -> Rows:
    """``(rows, count)``: places of the smallest entries of each row, in rising order."""
    if values.shape[1] <= 4 * count + 32:
        return np.argsort(values, axis=1, kind="stable")[:, :count]
    some = np.argpartition(values, count - 1, axis=1)[:, :count]
    return np.take_along_axis(some, np.argsort(np.take_along_axis(values, some, axis=1), axis=1, kind="stable"), axis=1)


def _true(mask: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Rows and columns of the true entries, row by row (`np.nonzero` of a flat array is several times faster)."""
    flat = np.flatnonzero(mask)
    rows = flat // mask.shape[1]
    return rows, flat - rows * mask.shape[1]
