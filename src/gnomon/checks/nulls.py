"""Nulls: what a statistic would be if both sides came from one distribution, and the p-values that follow.

Every two-sample statistic here is a function of *coefficients*: the weight with which each row enters a difference "real minus
generated". Relabelling rows changes the coefficients and nothing else, so one stream of them serves any statistic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.effort import Effort
from gnomon.checks.sides import Floats, Sides

Key = TypeVar("Key", bound=Hashable)

_BATCH = 2**18  # coefficients made at once: they stay in the cache


@dataclass(frozen=True, eq=False)
class Pool:
    """Both sides laid end to end, real rows first.

    Args:
        real: number of real rows.
        generated: number of generated rows.
        weight: ``(real + generated,)`` weights with mean 1 on each side, or None.
        paired: whether row i of both sides may be swapped with each other only.
    """

    real: int
    generated: int
    weight: Floats | None = None
    paired: bool = False

    @classmethod
    def of(cls, sides: Sides) -> Pool:
        """The pool of the rows of `sides`."""
        weight = None
        if sides.weighted:
            parts = [np.ones(len(s)) if s.weight is None else s.weight * (len(s) / s.weight.sum()) for s in (sides.real, sides.generated)]
            weight = np.concatenate(parts)
        return cls(len(sides.real), len(sides.generated), weight, sides.paired)

    def __len__(self) -> int:
        return self.real + self.generated

    @property
    def method(self) -> str:
        """How the null is made, in words."""
        if self.paired:
            return "swapping the two rows of each condition"
        return "random multipliers" if self.multiplied else "relabelling rows at random"

    @property
    def exchangeable(self) -> bool:
        """Whether any row may change sides with any other: no weights and no pairs."""
        return self.weight is None and not self.paired

    @property
    def noise(self) -> float:
        """Σ of the squared coefficients: the variance of a difference of means of a feature with variance 1."""
        return float(np.square(self.observed()).sum())

    def observed(self) -> Floats:
        """``(rows,)``: coefficients of the data as they are: positive and summing to 1 on the real side, to -1 on the other."""
        weight = np.ones(len(self)) if self.weight is None else self.weight
        return np.concatenate([weight[: self.real] / weight[: self.real].sum(), -weight[self.real :] / weight[self.real :].sum()])

    def relabelled(self, draws: int, generator: np.random.Generator) -> Iterator[Floats]:
        """`draws` rows of coefficients under the null, in batches ``(batch, rows)``.

        Without weights rows change sides at random, which is exact at every size. With weights and equally long sides they take their
        weights along: exact if weights and values are exchangeable, else right for large samples. With weights and sides of different
        length that would give the wrong spread, so each side's rows are multiplied by random signs about the side's mean instead.
        """
        batch = max(1, min(draws, _BATCH // len(self)))
        for start in range(0, draws, batch):
            count = min(batch, draws - start)
            if self.paired:
                yield self._swapped(count, generator)
            elif self.multiplied:
                yield self._multiplied(count, generator)
            else:
                yield self._permuted(count, generator)

    @property
    def multiplied(self) -> bool:
        """Whether rows are multiplied by random signs, since relabelling would give the wrong spread."""
        return self.weight is not None and self.real != self.generated

    def _permuted(self, count: int, generator: np.random.Generator) -> Floats:
        labels = np.stack([_subset(len(self), self.real, generator) for _ in range(count)])
        if self.weight is None:
            return np.where(labels, 1 / self.real, -1 / self.generated)
        real = np.where(labels, self.weight, 0.0)
        rest = self.weight - real
        return real / real.sum(axis=1, keepdims=True) - rest / rest.sum(axis=1, keepdims=True)

    def _swapped(self, count: int, generator: np.random.Generator) -> Floats:
        signs = generator.integers(0, 2, size=(count, self.real)) * 2.0 - 1.0
        return np.concatenate([signs, signs], axis=1) * self.observed()

    def _multiplied(self, count: int, generator: np.random.Generator) -> Floats:
        made = (generator.integers(0, 2, size=(count, len(self))) * 2.0 - 1.0) * self.observed()
        for part in (slice(0, self.real), slice(self.real, None)):
            share = self.observed()[part]
            made[:, part] -= made[:, part].sum(axis=1, keepdims=True) * (share / share.sum())
        return made


def null_draws(
    pool: Pool,
    generator: np.random.Generator,
    measure: Callable[[Floats], dict[Key, Floats]],
    effort: Effort,
    extreme: Callable[[dict[Key, Floats]], bool],
) -> dict[Key, Floats]:
    """What `measure` gives for relabelled rows; more of it where the data lie beyond all of the first draws.

    A p-value cannot be smaller than one in the number of draws, and after correction for many looks that may be too coarse. Drawing on
    where the first p-value is at most some c, and only there, leaves the last one valid, P(p <= a) <= a at every a: below c because all
    draws together have to say so, above c because the first draws had to.

    Args:
        pool: the rows.
        generator: source of chance.
        measure: coefficients ``(batch, rows)`` to values ``(batch,)`` by key.
        effort: its `draws`, and `more_draws`.
        extreme: whether (nearly) no draw so far reached the data, see `surprising`.
    """
    made: dict[Key, Floats] = {}
    for stage in (effort.draws, effort.more_draws):
        parts = [measure(batch) for batch in pool.relabelled(stage, generator)]
        if made:
            parts.insert(0, made)
        if parts:
            made = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        if not extreme(made):
            break
    return made


def surprising(p: Sequence[float], effort: Effort) -> bool:
    """Whether one of some p-values is so small that more draws are worth their time: at most 4 of the first ones reached the data."""
    return min(p, default=1.0) <= 5 / (effort.draws + 1)


def _subset(rows: int, size: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """``(rows,)``: a mask that picks `size` rows, every such subset being equally likely.

    Each row is picked independently, then the surplus is put back at random: by symmetry uniform, and much cheaper than a shuffle.
    """
    picked = generator.integers(0, 2**16, size=rows, dtype=np.uint16) < max(1, round(2**16 * size / rows))
    surplus = int(np.count_nonzero(picked)) - size
    if surplus:
        wrong = np.flatnonzero(picked if surplus > 0 else ~picked)
        picked[generator.choice(wrong, abs(surplus), replace=False, shuffle=False)] = surplus < 0
    return picked


def permutation_p(value: float, draws: Floats) -> float:
    """(k + 1) / (B + 1), where k of the B null draws are at least as large as the value. Exact for exchangeable rows.

    Reference: Phipson & Smyth 2010, "Permutation P-values should never be zero".

    Example:
        >>> permutation_p(2.0, np.array([0.0, 1.0, 2.0, 3.0]))
        0.6
    """
    slack = 1e-9 * max(abs(value), float(np.max(np.abs(draws), initial=0.0)))  # sums in another order are not larger values
    return (int((draws >= value - slack).sum()) + 1) / (len(draws) + 1)


def corrected_for_places(values: Sequence[float], draws: Sequence[Floats]) -> list[float]:
    """P-values of one statistic at many places, corrected for looking at all of them (the largest pull, one step).

    Each place's value is expressed in standard deviations of its own null and compared with the largest such pull of every draw, so
    the dependence of the places is respected and B draws suffice for any number of them.

    Args:
        values: one per place.
        draws: null draws ``(B,)`` per place; draw b of all places belongs to the same relabelling.

    Reference: Westfall & Young 1993, Resampling-Based Multiple Testing.
    """
    pulls, largest = [], np.full(len(draws[0]) if draws else 0, -np.inf)
    for value, null in zip(values, draws, strict=True):
        centre, spread = float(null.mean()), float(null.std())
        if not spread > 0:
            pulls.append(-np.inf if value <= centre else np.inf)
            continue
        pulls.append((value - centre) / spread)
        largest = np.maximum(largest, (null - centre) / spread)
    return [permutation_p(pull, largest) if np.isfinite(pull) else (1.0 if pull < 0 else 1 / (len(largest) + 1)) for pull in pulls]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the chance that *any* of the true nulls is rejected stays below the level. NaN stays NaN.

    Reference: Holm 1979, Scandinavian Journal of Statistics 6, 65.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    known = sorted((i for i, value in enumerate(p) if value == value), key=lambda i: p[i])
    corrected, reached = [float("nan")] * len(p), 0.0
    for rank, i in enumerate(known):
        reached = max(reached, min(1.0, (len(known) - rank) * p[i]))
        corrected[i] = reached
    return corrected


def error_of_distance(value: float, linear: float, draws: Floats) -> float:
    """Standard error of a distance, near its null and far from it.

    Far away a distance is linear in the samples, and `linear` (the standard error of its linearisation) is right. Where the sides agree
    it is not linear at all and varies as its null does: there the error is what covers 68.3 % of the null draws, whatever their skewness.
    In between the two variances are mixed by the share of the squared value that the null does not explain.

    Args:
        value: the distance.
        linear: standard error of its linearisation.
        draws: ``(draws,)`` distances under the null.
    """
    null = float(draws.mean())
    near = float(np.quantile(np.abs(draws - null), 0.6827))
    if not value > null + near:
        return near
    share = 1.0 - ((null + near) / value) ** 2
    return float(np.sqrt(share * linear**2 + (1 - share) * near**2))
