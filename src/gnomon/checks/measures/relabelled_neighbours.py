"""Precision, recall, density and coverage of many labellings of the same rows, from one search for neighbours.

Which labellings make a null, and what it is needed for, stands with the statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.measures.neighbours import Floats, Rows, nearest

_WORD = 64  # labellings looked at together: one bit each
Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Rows with lists of their nearest neighbours, long enough for nearly every labelling.

    A labelling says of each row whether it is generated. Along its list a row's ball is open until the k-th neighbour with the row's own
    label, and holds all others up to there; so no distance is needed once the lists are made. Sixty-four labellings are followed at once,
    one in each bit of a word. Where a list ends with a ball still open, that row's list is made longer.

    Args:
        points: ``(N, F)``; no two distances from a row should be equal, or their order is arbitrary.
        k: which neighbour of its own side a ball reaches to.
        length: of the lists at first; by default enough for sides of about equal size that are well mixed.

    Example:
        >>> around = Neighbourhoods(np.random.default_rng(0).normal(size=(40, 2)), k=3)
        >>> around.shares(np.arange(40)[None, :] < 20)["coverage"].shape
        (1,)
    """

    points: Floats
    k: int = 5
    length: int = 48
    lists: Rows = field(init=False)

    def __post_init__(self) -> None:
        length = min(self.length, len(self.points) - 1)
        rows = nearest(self.points, self.points, length, itself=False)[1]
        object.__setattr__(self, "lists", np.ascontiguousarray(rows.T))

    def shares(self, generated: NDArray[np.bool_]) -> dict[str, Floats]:
        """``(labellings, N)``, true for generated rows, to ``(labellings,)`` by name. Each side must have more than k rows."""
        parts = [self._some(generated[start : start + _WORD]) for start in range(0, len(generated), _WORD)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _some(self, generated: NDArray[np.bool_]) -> dict[str, Floats]:
        labels = _packed(generated)
        marked = np.zeros_like(labels)
        state = _State.start(labels, self.k)
        state.follow(self.lists, labels, marked)
        self._longer(state, labels, marked)
        draws, sizes = len(generated), generated.sum(axis=1)
        counts = sum(2**p * _ones(plane & ~labels, draws) for p, plane in enumerate(state.planes))
        return {
            "precision": _ones(marked & labels, draws) / sizes,
            "recall": _ones(marked & ~labels, draws) / (generated.shape[1] - sizes),
            "density": counts / sizes / self.k,
            "coverage": _ones(state.held & ~labels, draws) / (generated.shape[1] - sizes),
        }

    def _longer(self, state: _State, labels: Words, marked: Words) -> None:
        """Go on with the rows whose lists ended too early."""
        reached = len(self.lists)
        while len(open_rows := np.flatnonzero(state.closed[-1] != ~np.uint64(0))) and reached < len(self.points) - 1:
            length = min(4 * reached, len(self.points) - 1)
            found = nearest(self.points[open_rows], self.points, length + 1)[1]
            others = found != open_rows[:, None]
            others[others.all(axis=1), -1] = False  # a row that ties pushed off its own list
            lists = found[others].reshape(len(open_rows), length).T[reached:]
            part = state.at(open_rows)
            part.follow(np.ascontiguousarray(lists), labels, marked)
            state.put(open_rows, part)
            reached = length


@dataclass(eq=False)
class _State:
    """How far the balls of some rows have been followed, one bit for each labelling.

    Args:
        own: ``(rows,)`` the rows' own labels.
        closed: k words a row: whether at least 1, 2, … k neighbours of the own side were met.
        held: whether a row of the other side lies in the ball.
        planes: binary digits of the number of such rows, the lowest first.
    """

    own: Words
    closed: list[Words]
    held: Words
    planes: list[Words]

    @classmethod
    def start(cls, labels: Words, k: int) -> _State:
        return cls(labels, [np.zeros_like(labels) for _ in range(k)], np.zeros_like(labels), [])

    def follow(self, lists: Rows, labels: Words, marked: Words) -> None:
        """Along ``(steps, rows)`` neighbours, from near to far; rows of the other side that lie in a ball are marked."""
        for step, neighbours in enumerate(lists):
            other = labels.take(neighbours)
            other ^= self.own
            inside = other & ~self.closed[-1]
            np.invert(other, out=other)
            for q in range(len(self.closed) - 1, 0, -1):
                self.closed[q] |= self.closed[q - 1] & other
            self.closed[0] |= other
            self.held |= inside
            np.bitwise_or.at(marked, neighbours, inside)
            self._count(inside)
            if step % 8 == 7 and (self.closed[-1] == ~np.uint64(0)).all():
                return

    def _count(self, inside: Words) -> None:
        carry = inside
        for p, plane in enumerate(self.planes):
            self.planes[p], carry = plane ^ carry, plane & carry
            if not carry.any():
                return
        self.planes.append(carry)

    def at(self, rows: Rows) -> _State:
        return _State(self.own[rows], [word[rows] for word in self.closed], self.held[rows], [plane[rows] for plane in self.planes])

    def put(self, rows: Rows, part: _State) -> None:
        """The state of some rows as it has become."""
        self.planes += [np.zeros_like(self.own) for _ in range(len(part.planes) - len(self.planes))]
        for mine, theirs in zip([*self.closed, self.held, *self.planes], [*part.closed, part.held, *part.planes], strict=True):
            mine[rows] = theirs


def _packed(labels: NDArray[np.bool_]) -> Words:
    """``(at most 64, N)`` to ``(N,)``: labelling b is bit b of every word; bits without a labelling repeat the first one."""
    full = np.concatenate([labels, np.repeat(labels[:1], _WORD - len(labels), axis=0)])
    return np.ascontiguousarray(np.packbits(full, axis=0, bitorder="little").T).view("<u8")[:, 0].astype(np.uint64)


def _ones(words: Words, draws: int) -> Floats:
    """``(draws,)``: in how many words each bit is set."""
    bits = np.unpackbits(words.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    return bits.sum(axis=0, dtype=np.int64)[:draws].astype(np.float64)
