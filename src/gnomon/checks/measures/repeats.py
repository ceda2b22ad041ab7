"""Equal rows: which rows are the same to float32 precision, and which are repeated within their side or found on the other.

What shares of them chance alone would give, and what they mean, stands with the statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import DataError

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_CHUNK = 2**22  # numbers looked at together


def row_codes(values: NDArray[Any]) -> NDArray[np.uint64]:
    """``(n, …)`` numbers to ``(n,)`` codes: rows have the same code if and only if they are equal as float32.

    (Two unequal rows of a million have the same code with a chance of less than 10⁻⁷.)

    Raises:
        DataError: there are no rows' axes to speak of.

    Example:
        >>> codes = row_codes(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0 + 1e-12]]))
        >>> bool(codes[0] == codes[2]), bool(codes[0] == codes[1])
        (True, False)
    """
    if values.ndim < 1:
        raise DataError("codes are of rows; got a single number")
    flat = values.reshape(len(values), -1)
    made = np.full(len(flat), 0x9E3779B97F4A7C15, dtype=np.uint64)
    step = max(1, _CHUNK // max(1, flat.shape[1]))
    for start in range(0, len(flat), step):
        part = flat[start : start + step].astype(np.float32) + np.float32(0)  # -0 is 0
        mixed = made[start : start + step]
        for column in np.ascontiguousarray(part.T).view(np.uint32).astype(np.uint64):
            _mix(mixed, column)
    return made


def _mix(state: NDArray[np.uint64], word: NDArray[np.uint64]) -> None:
    """Stir a word into each state, in place (the finaliser of SplitMix64, Steele et al. 2014)."""
    state += word + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(31)


@dataclass(frozen=True, eq=False)
class Groups:
    """Pooled rows that equal at least one other, group by group.

    Args:
        rows: their numbers, those of a group side by side.
        starts: where each group begins.
        sizes: how many rows each has.
        count: of all pooled rows.
    """

    rows: Rows
    starts: Rows
    sizes: Rows
    count: int

    @classmethod
    def of(cls, codes: NDArray[np.uint64]) -> Groups:
        """From the codes of all pooled rows.

        Example:
            >>> Groups.of(np.array([7, 5, 7, 9, 7], dtype=np.uint64)).rows.tolist()
            [0, 2, 4]
        """
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        sizes = np.diff(np.append(starts, len(codes)))
        several = sizes > 1
        kept = sizes[several]
        return cls(order[np.repeat(several, sizes)], np.cumsum(kept) - kept, kept, len(codes))

    def shares(self, generated: NDArray[np.bool_]) -> dict[str, Floats]:
        """Repeated and copied rows of labellings ``(draws, rows)``, true for generated ones.

        Returns:
            ``(draws,)`` each: "duplicates", the share of generated rows that equal another generated one; "copies", the share of
            generated rows that equal a real one; "real", the share of real rows that equal another real one.
        """
        generated = np.atleast_2d(generated)
        total = generated.sum(axis=1, dtype=np.float64)
        if not len(self.rows):
            return {name: np.zeros(len(generated)) for name in ("duplicates", "copies", "real")}
        made = np.add.reduceat(generated[:, self.rows], self.starts, axis=1, dtype=np.int64)
        rest = self.sizes - made
        return {
            "duplicates": np.where(made > 1, made, 0).sum(axis=1) / total,
            "copies": np.where(rest > 0, made, 0).sum(axis=1) / total,
            "real": np.where(rest > 1, rest, 0).sum(axis=1) / (generated.shape[1] - total),
        }


def error_of_repeats(sizes: Rows, total: int) -> float:
    """Standard error of the share of rows that equal another row, over fresh samples of the same size.

    One less that share is the share of singles, S₁ / n. With cells filled at random, Var S₁ is the sum of each cell's p₁ - p₁², less what
    the fixed total takes away: (E S₁ - 2 E S₂)² / n. The squares sum to about 2 S₂ exp(-3 S₃ / S₂), exactly so where all cells are alike
    or all are rare.

    Args:
        sizes: of the groups of two and more equal rows.
        total: number of rows.

    Example:
        >>> round(error_of_repeats(np.array([2] * 8), 1000), 5)
        0.00557
    """
    counts = np.bincount(sizes, minlength=4)
    singles = total - int(sizes.sum())
    pairs, triples = int(counts[2]), int(counts[3])
    squares = 2 * pairs * np.exp(-3 * triples / pairs) if pairs else 0.0
    return float(np.sqrt(max(singles - squares - (singles - 2 * pairs) ** 2 / total, 0.0)) / total)
