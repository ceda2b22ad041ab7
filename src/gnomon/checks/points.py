"""Examples as points between which distances mean something, made from both sides alike, so that relabelling rows stays exact.

Which statistics take distances is none of its business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.nulls import Pool
from gnomon.checks.sides import Floats, Sides

TAIL = 4.0
"""Values further than this many spreads from the centre are drawn in logarithmically: no outlier outweighs all other rows."""

_PIXELS = 256  # images with more pixels, if no encoder has seen them, become principal components
_COMPONENTS = 64


@dataclass(frozen=True, eq=False)
class Points:
    """Rows of both sides as points of one space.

    Args:
        real: ``(n, F)`` float64.
        generated: ``(m, F)`` float64.
        train: ``(t, F)`` float64, the rows that the model was trained on, or None.
        sides: the sides that they stand for, row by row.
        space: what the coordinates are, in words.
    """

    real: Floats
    generated: Floats
    train: Floats | None
    sides: Sides
    space: str

    @property
    def pooled(self) -> Floats:
        """``(n + m, F)``: both sides laid end to end, real rows first, as in a `Pool`."""
        return np.concatenate([self.real, self.generated])

    @property
    def pool(self) -> Pool:
        """The same rows as a pool of coefficients."""
        return Pool.of(self.sides)


def points(sides: Sides, rows: int | None = None) -> Points:
    """At most `rows` rows a side as points.

    Columns become the features of `Sides.features`, each centred by its median and divided by half the width of its middle 68 %, tails
    drawn in. Images and sets become what an encoder says of them, where one was trained; else pixels, or their leading components.

    Args:
        sides: what is compared.
        rows: at most so many rows a side, drawn at random; all if None.
    """
    part = sides if rows is None else sides.take(rows)
    return part.once("points", lambda: _points(part))


def _points(sides: Sides) -> Points:
    parts, space = _coordinates(sides)
    width = np.concatenate(parts[:2])
    if space.startswith("pixel"):
        centre, scale = width.mean(axis=0), np.full(width.shape[1], max(float(width.std(axis=0).max(initial=0)), 1e-300))
    else:
        low, centre, high = np.quantile(width, [0.16, 0.5, 0.84], axis=0)
        spread = width.std(axis=0)
        scale = np.where(high - low > 1e-9 * spread, (high - low) / 2, spread)
        scale = np.where(scale > 0, scale, 1.0)
    made = [None if one is None else _drawn_in((one - centre) / scale) for one in parts]
    assert made[0] is not None and made[1] is not None
    return Points(made[0], made[1], made[2], sides, space)


def _coordinates(sides: Sides) -> tuple[list[Any], str]:
    """Coordinates of real, generated and training rows (None where there are none), and what they are."""
    three = (sides.real, sides.generated, sides.train)
    if sides.real.embedding is not None:
        return [None if side is None else side.embedding for side in three], "features of an encoder"
    if sides.real.pixels is not None:
        flat = [None if side is None or side.pixels is None else _flat(side.pixels) for side in three]
        return _components(flat) if flat[0].shape[1] > _PIXELS else (flat, "pixels")  # type: ignore[union-attr]
    _, real, generated = sides.features()
    return [real, generated, None if sides.train is None else sides.features_of(sides.train)], "columns"


def _components(flat: list[Any]) -> tuple[list[Any], str]:
    from sklearn.decomposition import PCA

    pooled = np.concatenate(flat[:2])
    found = PCA(min(_COMPONENTS, len(pooled) - 1), svd_solver="randomized", random_state=0).fit(pooled)
    return [None if one is None else found.transform(one) for one in flat], "pixel components"


def _flat(pixels: NDArray[Any]) -> Floats:
    return pixels.reshape(len(pixels), -1).astype(np.float64)


def _drawn_in(values: Floats) -> Floats:
    far = np.abs(values) - TAIL
    return np.where(far > 0, np.copysign(TAIL + np.log1p(np.maximum(far, 0)), values), values)
