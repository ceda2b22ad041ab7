"""Distributions to draw both sides from, with every sort of column, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gnomon.checks import Sides
from gnomon.data import Categorical, Column, Integer, Periodic

COLUMNS = (
    Column("gauss"),
    Column("heavy"),
    Column("angle", Periodic(-np.pi, np.pi)),
    Column("count", Integer(0, None)),
    Column("colour", Categorical(("red", "green", "blue", "rare"))),
)


def draw(generator: np.random.Generator, rows: int) -> np.ndarray:
    """``(rows, 5)`` dependent columns, as described by COLUMNS."""
    gauss = generator.normal(size=rows)
    heavy = np.exp(0.5 * generator.normal(size=rows) + 0.3 * gauss)
    angle = generator.vonmises(2.5, 1.5, size=rows)
    count = generator.poisson(2 + (gauss > 0), size=rows)
    colour = generator.choice(4, p=[0.5, 0.3, 0.15, 0.05], size=rows)
    return np.stack([gauss, heavy, angle, count, colour], axis=1).astype(np.float64)


def sides(seed: int, real: int = 150, generated: int = 150, *, weights: str | None = None, paired: bool = False) -> Sides:
    """Two sides of one distribution.

    Args:
        seed: of the draw and of the statistics.
        real, generated: numbers of rows.
        weights: None; "same": random weights on both; "one": the real side is drawn too wide in `gauss` and weighted back.
        paired: both sides share their last two columns row by row.
    """
    generator = np.random.default_rng([seed, real, generated])
    both = [draw(generator, rows) for rows in (real, generated)]
    pair: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if weights == "same":
        pair = (generator.exponential(size=real), generator.exponential(size=generated))
    if weights == "one":
        both[0][:, 0] = 1.4 * generator.normal(size=real)
        both[1][:, 0] = generator.normal(size=generated)
        both[0][:, 1], both[1][:, 1] = (np.exp(0.5 * generator.normal(size=rows)) for rows in (real, generated))
        both[0][:, 3], both[1][:, 3] = (generator.poisson(2, size=rows) for rows in (real, generated))
        pair = (np.exp(-0.5 * both[0][:, 0] ** 2 * (1 - 1 / 1.96)), None)
    if paired:
        both[1][:, 3:] = both[0][:, 3:]
        both[1][:, 0] = generator.normal(size=generated) * 0.5 + both[0][:, 3]
        both[0][:, 0] = generator.normal(size=real) * 0.5 + both[0][:, 3]
        for part in both:  # drawn anew, as it depended on what was replaced
            part[:, 1] = np.exp(0.5 * generator.normal(size=len(part)) + 0.1 * part[:, 0])
        made = Sides.of(*both, COLUMNS, weights=pair, paired=True, seed=seed)
        return Sides(made.columns, made.real, made.generated, shared=("count", "colour"), paired=True, seed=seed)
    return Sides.of(*both, COLUMNS, weights=pair, seed=seed)


WORLDS: dict[str, Callable[[int], Sides]] = {
    "as many rows": lambda seed: sides(seed, 120, 120),
    "unequal": lambda seed: sides(seed, 200, 70),
    "weights on both": lambda seed: sides(seed, 150, 150, weights="same"),
    "weights on one": lambda seed: sides(seed, 150, 150, weights="one"),
    "weights on one, unequal": lambda seed: sides(seed, 260, 120, weights="one"),
    "paired": lambda seed: sides(seed, 120, 120, paired=True),
}
"""Ways in which both sides are drawn from one distribution, by name; each takes a seed."""
