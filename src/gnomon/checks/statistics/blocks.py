"""The null of squared distances by a kernel: blocks of rows change sides together, so that relabelling costs next to nothing.

What is summed over pairs of blocks is for `kernels` to say. Statistics that are linear in the rows are relabelled row by row, see `nulls`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.effort import Effort
from gnomon.checks.nulls import Pool, permutation_p, surprising
from gnomon.checks.sides import Floats

BLOCKS = 512
"""About so many blocks on the smaller side; a side with no more rows than that is relabelled row by row."""

MOST = 4 * BLOCKS
"""At most so many blocks on both sides together; further rows of a much longer side keep their label."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Random blocks of equally many rows of one side. Every block is one unit that keeps its label or changes it.

    Relabellings of blocks are a group of permutations of the rows, to which the data as they are belong; so a p-value from them is as exact
    as one from all permutations (Hemerik & Goeman 2018, TEST 27, 811, theorem 1). Blocks must be many, for then the rows that are never
    parted hardly matter. Rows that make no full block, and those beyond `MOST`, form a block that keeps its label.

    Args:
        pool: the rows, real ones first.
        blocks: ``(rows,)`` number of the block of each row; blocks of real rows come first.
        real: how many blocks hold real rows.
        acting: how many of them, and of the others, may change sides; they come first among those of their side.

    Other fields:
        weight: ``(rows,)`` weights that sum to 1 on each side.
        mass: ``(blocks,)`` their sums.
        squares: ``(blocks,)`` the sums of their squares.
        joint: ``(real,)`` Σ w_i w_i′ over the pairs of paired sides; 0 if sides are not paired.
    """

    pool: Pool
    blocks: NDArray[np.intp]
    real: int
    acting: tuple[int, int]
    weight: Floats = field(init=False)
    mass: Floats = field(init=False)
    squares: Floats = field(init=False)
    joint: Floats = field(init=False)

    def __post_init__(self) -> None:
        weight, half = self.pool.observed(), self.pool.real
        weight[half:] *= -1
        count = int(self.blocks.max()) + 1
        joint = np.zeros(self.real)
        if self.pool.paired:
            joint = sums_of(self.blocks[:half], weight[:half] * weight[half:], self.real)
        made = {"weight": weight, "mass": sums_of(self.blocks, weight, count), "squares": sums_of(self.blocks, np.square(weight), count)}
        for name, value in (made | {"joint": joint}).items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.mass)

    @classmethod
    def of(cls, pool: Pool, generator: np.random.Generator) -> Blocks:
        """Random blocks for the way in which `pool` is relabelled."""
        sizes = (pool.real, pool.generated)
        if pool.paired:
            blocks = _shuffled(pool.real, -(-pool.real // BLOCKS), None, generator)
            count = int(blocks.max()) + 1
            return cls(pool, np.concatenate([blocks, blocks + count]), count, (count, count))
        if _multiplied(pool):
            parts = [_shuffled(rows, -(-rows // BLOCKS), None, generator) for rows in sizes]
            acting = [int(part.max()) + 1 for part in parts]
        else:
            size = -(-min(sizes) // BLOCKS)
            few = min(sizes) // size
            acting = [min(rows // size, MOST - few) for rows in sizes]
            parts = [_shuffled(rows, size, most, generator) for rows, most in zip(sizes, acting, strict=True)]
        real = int(parts[0].max()) + 1
        return cls(pool, np.concatenate([parts[0], parts[1] + real]), real, (acting[0], acting[1]))

    def observed(self) -> Floats:
        """``(blocks,)``: +1 for real rows, −1 for generated ones; times the weights these are the coefficients of the data as they are."""
        return np.where(np.arange(len(self)) < self.real, 1.0, -1.0)

    def together(self) -> Floats:
        """``(blocks,)``: times the weights, what each row of both sides together counts."""
        return np.where(np.arange(len(self)) < self.real, self.pool.real, self.pool.generated) / len(self.pool)

    def relabelled(self, draws: int, generator: np.random.Generator) -> Iterator[Floats]:
        """`draws` rows of multipliers under the null, in batches ``(batch, blocks)``; see `Pool.relabelled` for the three ways."""
        if self.pool.paired:
            signs = generator.integers(0, 2, size=(draws, self.real)) * 2.0 - 1.0
            yield np.concatenate([signs, -signs], axis=1)
        elif _multiplied(self.pool):
            made = generator.integers(0, 2, size=(draws, len(self))) * 2.0 - 1.0
            for part in (slice(0, self.real), slice(self.real, None)):
                made[:, part] -= made[:, part] @ self.mass[part, None]
            yield made * self.observed()
        else:
            for batch in Pool(*self.acting).relabelled(draws, generator):
                yield self._exchanged(batch > 0)

    def _exchanged(self, chosen: NDArray[np.bool_]) -> Floats:
        """Multipliers where the chosen of the acting blocks ``(batch, acting)`` become real; blocks take their weights along."""
        real = np.zeros((len(chosen), len(self)), dtype=bool)
        first, second = self.acting
        real[:, : self.real] = True
        real[:, :first], real[:, self.real : self.real + second] = chosen[:, :first], chosen[:, first:]
        scale = self.together() * len(self.pool)
        mass = real @ (scale * self.mass)
        return np.where(real, scale / mass[:, None], -scale / (len(self.pool) - mass)[:, None])

    def lost(self, multipliers: Floats) -> Floats:
        """``(batch, blocks) -> (batch,)``: Σ c_i c_j over what is no pair of independent rows: each row with itself and its partner."""
        own = np.square(multipliers) @ self.squares
        if not self.pool.paired:
            return own
        return own + 2 * (multipliers[:, : self.real] * multipliers[:, self.real :]) @ self.joint


def sums_of(blocks: NDArray[np.intp], values: Floats, count: int) -> Floats:
    """``(rows,), (rows,) -> (count,)``: the sum of the values of each block."""
    return np.bincount(blocks, weights=values, minlength=count).astype(np.float64)


def _shuffled(rows: int, size: int, most: int | None, generator: np.random.Generator) -> NDArray[np.intp]:
    """``(rows,)`` block numbers: `size` random rows each. If only full blocks are wanted, at most `most`, the others share one more."""
    blocks = np.empty(rows, dtype=np.intp)
    blocks[generator.permutation(rows)] = np.arange(rows) // size
    return blocks if most is None else np.minimum(blocks, most)


def _multiplied(pool: Pool) -> bool:
    return pool.weight is not None and pool.real != pool.generated and not pool.paired


@dataclass(frozen=True, eq=False)
class SquaredDistance:
    """A squared distance by a kernel K, and all that follows from sums over pairs of blocks.

    Args:
        blocks: the rows.
        sums: ``(blocks, blocks)`` Σ w_i w_j K_ij over pairs of independent rows: neither i = j, nor the two rows of a pair.
        rounding: values that differ by less are equal.
    """

    blocks: Blocks
    sums: Floats
    rounding: float

    @property
    def value(self) -> float:
        """The mean of K(x, x') + K(y, y') − 2 K(x, y) over pairs of independent rows: unbiased."""
        real = slice(0, self.blocks.real)
        rest = slice(self.blocks.real, None)
        within = [self.sums[part, part].sum() / (1 - self.blocks.squares[part].sum()) for part in (real, rest)]
        return float(within[0] + within[1] - 2 * self.sums[real, rest].sum() / (1 - self.blocks.joint.sum()))

    @property
    def linear(self) -> float:
        """Standard error of the linearised distance: the witness function, summed over the rows of a block, varies from block to block."""
        signs, real = self.blocks.observed(), self.blocks.real
        witness = 2 * signs * (self.sums @ signs)
        moved = [witness[part] - self.blocks.mass[part] * witness[part].sum() for part in (slice(0, real), slice(real, None))]
        if self.blocks.pool.paired:
            moved = [moved[0] + moved[1]]
        return float(np.sqrt(sum(np.square(part).sum() for part in moved)))

    def compared(self, multipliers: Floats) -> Floats:
        """``(batch, blocks) -> (batch,)``: Σ c_i c_j (K_ij − K̄) over pairs of independent rows; 0 on average over relabellings.

        K̄ is the mean over such pairs of both sides together. The data and relabelled rows are compared by this.
        """
        together = self.blocks.together()
        middle = (together @ self.sums @ together) / (1 - self.blocks.lost(together[None])[0])
        forms = np.einsum("bk,bk->b", multipliers @ self.sums, multipliers)
        return forms + middle * self.blocks.lost(multipliers)

    def null(self, effort: Effort, generator: np.random.Generator) -> tuple[float, Floats]:
        """What is compared of the data, and ``(draws,)`` the same of relabelled rows; more where hardly any of the first reach the data."""
        own = float(self.compared(self.blocks.observed()[None])[0]) - self.rounding
        draws = np.empty(0)
        for stage in (effort.draws, effort.more_draws):
            draws = np.concatenate([draws, *(self.compared(batch) for batch in self.blocks.relabelled(stage, generator))])
            if not surprising([permutation_p(own, draws)], effort):
                break
        return own, np.where(np.abs(draws) < self.rounding, 0.0, draws)

    def error(self, own: float, draws: Floats, more: float = 0.0) -> float:
        """Standard error of the value, near its null and far from it.

        Near the null it is what covers 68.3 % of the null draws. Far away the linear part comes on top (Hoeffding's two parts are not
        correlated); its plug-in estimate sees the noise of the witness as well, which is twice the variance of the null.

        Args:
            own: what is compared of the data.
            draws: ``(draws,)`` the same of relabelled rows.
            more: a further standard error of a value far from its null.
        """
        near = float(np.quantile(np.abs(draws - draws.mean()), 0.6827))
        if own <= np.quantile(draws, 0.9):
            return near
        return float(np.sqrt(near**2 + max(0.0, self.linear**2 - 2 * float(draws.var())) + more**2))
