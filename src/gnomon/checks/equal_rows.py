"""As many rows on both sides, each counting the same: what statistics need that count rows and look at many rows at once.

Also their null: what any function of labels becomes when the rows change sides. Which functions there are is their own business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.effort import Effort
from gnomon.checks.nulls import Pool, permutation_p, surprising
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import LeftOut

Labels = NDArray[np.bool_]
Direction = Literal["low", "high", "both"]

UNEVEN = 500
"""Weighted rows that count as fewer than this may be too few to be relabelled with their weights …"""
SHARE = 0.5
"""… if they also count as less than this share of their number: their weights then vary as widely as exponential ones."""

_LABELS = 2**22  # labels made at once
_WORD = 64  # relabellings come in multiples of this, which some measures look at together


def equal_rows(sides: Sides, rows: int, *, fewest: int) -> Sides:
    """At most `rows` rows a side, as many on both, without weights.

    Weighted rows are kept with a chance in proportion to their weight, which makes them rows of the weighted distribution without
    repeating any of them: what is true of unweighted rows (relabelling is exact, counts mean shares) is true of these. Pairs stay pairs.

    Args:
        sides: what is compared.
        rows: at most so many a side.
        fewest: fewer are too few.

    Raises:
        LeftOut: there are fewer than `fewest` rows on a side, weights are negative, or they vary so much that too few rows would be kept.
    """
    if sides.rows < fewest:
        raise LeftOut(f"{sides.rows} rows on the smaller side; it wants at least {fewest}")
    made = sides.once("equally weighted", lambda: _equally_weighted(sides)) if sides.weighted else sides
    if made.rows < fewest:
        raise LeftOut(f"the weights vary so much that only {made.rows} rows of equal weight can be drawn; it wants at least {fewest}")
    return made.take(min(rows, made.rows))


def evened(sides: Sides) -> Sides:
    """The sides, or, where weights are so uneven that relabelling rows with their weights would give too small p-values, equal rows.

    That is so where the rows of a side count as fewer than `UNEVEN`, and as less than half of their number: single heavy rows then
    decide, and they stay on their side. Rows drawn by their weight know no such rows. Signed weights cannot be drawn by.
    """
    for side in (sides.real, sides.generated):
        if side.weight is not None and side.effective < min(UNEVEN, SHARE * len(side)) and not (side.weight < 0).any():
            return sides.once("equally weighted", lambda: _equally_weighted(sides))
    return sides


def told(part: Sides, sides: Sides) -> str:
    """What `equal_rows` did, for the note; empty if nothing."""
    if part is sides:
        return ""
    text = f"; on {part.rows:,} rows a side drawn at random"
    return text + (", by their weights" if sides.weighted else "")


def _equally_weighted(sides: Sides) -> Sides:
    kept: list[NDArray[np.intp]] = []
    for name, side in (("real", sides.real), ("generated", sides.generated)):
        if side.weight is not None and (side.weight < 0).any():
            raise LeftOut(f"some weights of the {name} side are negative, and rows are counted")
        chance = np.ones(len(side)) if side.weight is None else side.weight / side.weight.max()
        kept.append(np.flatnonzero(sides.generator("equally weighted", name).random(len(side)) < chance))
    if sides.paired:
        kept[1] = kept[0]
    if not (len(kept[0]) and len(kept[1])):
        raise LeftOut("the weights vary so much that no rows of equal weight can be drawn")
    real, generated = (replace(side.at(rows), weight=None) for side, rows in zip((sides.real, sides.generated), kept, strict=True))
    return replace(sides, real=real, generated=generated, _known={"indicated": sides.indicated()})


@dataclass(frozen=True, eq=False)
class Relabelled:
    """Values of the data, and of the same rows after they changed sides at random.

    Args:
        values: by name.
        draws: ``(draws,)`` by name.
        p: chance of a value as extreme as this one.
    """

    values: dict[str, float]
    draws: dict[str, Floats]
    p: dict[str, float]


def relabelled(
    sides: Sides, name: str, measure: Callable[[Labels], dict[str, Floats]], effort: Effort, directions: Mapping[str, Direction]
) -> Relabelled:
    """What `measure` gives for the data and for relabelled rows; more of these where few draws reached the data (see `null_draws`).

    Args:
        sides: as `equal_rows` made them.
        name: of the stream of chance.
        measure: ``(labellings, rows)`` labels of the pooled rows, real ones first, true for generated, to values by name.
        effort: its `draws`, and `more_draws`.
        directions: which values are extreme, by name; others get no p-value.
    """
    generator, pool = sides.generator(name), Pool.of(sides)
    own = measure((np.arange(len(pool)) >= pool.real)[None, :])
    values = {key: float(one[0]) for key, one in own.items()}
    draws: dict[str, Floats] = {}
    p: dict[str, float] = {}
    block = max(_WORD, _LABELS // len(pool) // _WORD * _WORD)
    for stage in (effort.draws, effort.more_draws):
        for start in range(0, stage, block):
            part = measure(labels(pool, min(block, stage - start), generator))
            draws = {key: np.concatenate([draws[key], one]) for key, one in part.items()} if draws else part
        p = {key: p_value(values[key], draws[key], direction) for key, direction in directions.items()}
        if not surprising(list(p.values()), effort):
            break
    return Relabelled(values, draws, p)


def labels(pool: Pool, draws: int, generator: np.random.Generator) -> Labels:
    """``(draws, rows)``: which rows are called generated under the null, for a pool without weights."""
    return np.concatenate([batch < 0 for batch in pool.relabelled(draws, generator)])


def share_of(values: NDArray[Any], labels: Labels) -> Floats:
    """Mean of ``(rows,)`` values, or share of marks, over the rows that each of ``(draws, rows)`` labellings names."""
    return labels @ values.astype(np.float64) / labels.sum(axis=1)


def p_value(value: float, draws: Floats, direction: Direction) -> float:
    """Chance of a value as extreme as this among the null draws, to one side or to both.

    Example:
        >>> p_value(5.0, np.arange(99.0), "low"), p_value(5.0, np.arange(99.0), "both")
        (0.07, 0.14)
    """
    low, high = permutation_p(-value, -draws), permutation_p(value, draws)
    return {"low": low, "high": high, "both": min(1.0, 2 * min(low, high))}[direction]


def error_beside(value: float, draws: Floats, far: Callable[[], float]) -> float:
    """Standard error of a value that has a null to either side of which it may lie.

    Up to twice that far from its null it is what covers 68.3 % of the draws about their mean, and so most repeats about the null. Further
    away the variance quickly goes over into the square of `far`, the standard error over fresh rows, which does not lean on the null (of
    paired sides it may be much larger: fresh rows have fresh conditions).

    Args:
        value: of the data.
        draws: under the null.
        far: computes that standard error; it is only called where it is needed.
    """
    null = float(draws.mean())
    near, distance = float(np.quantile(np.abs(draws - null), 0.6827)), abs(value - null)
    if not distance > 2 * near * (1 + 1e-9):
        return near
    share = 1.0 - (2 * near / distance) ** 4
    return float(np.sqrt(share * far() ** 2 + (1 - share) * near**2))
