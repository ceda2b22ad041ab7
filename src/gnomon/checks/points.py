"""Examples as points between which distances mean something, made from both sides alike, so that relabelling rows stays exact.

Which statistics take distances is none of its business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.nulls import Pool
from gnomon.checks.sides import Floats, Sides

TAIL = 4.0
"""Values further than this many spreads from the centre are drawn in logarithmically: no outlier outweighs all other rows."""

_PIXELS = 256  # images with more pixels, if no encoder has seen them, become principal components
_COMPONENTS = 64
_CHUNK = 65_536  # rows worked on at once


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

    def drawn(self, rows: int, generator: np.random.Generator) -> Points:
        """At most `rows` random rows a side in the same coordinates, pairs kept together; itself if there are no more than that."""
        sides = self.sides
        if max(len(sides.real), len(sides.generated)) <= rows:
            return self
        picks = [np.sort(generator.permutation(len(side))[:rows]) for side in (sides.real, sides.generated)]
        if sides.paired:
            picks[1] = picks[0]
        some = replace(sides, real=sides.real.at(picks[0]), generated=sides.generated.at(picks[1]), _known={})
        return replace(self, real=self.real[picks[0]], generated=self.generated[picks[1]], sides=some)


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
    centre, scale = _scaling(parts[0], parts[1], space)
    real, generated, train = (None if one is None else _placed(one, centre, scale) for one in parts)
    assert real is not None and generated is not None
    return Points(real, generated, train, sides, space)


def _scaling(real: Floats, generated: Floats, space: str) -> tuple[Floats, Floats]:
    """Centre and scale ``(F,)`` of each coordinate, of both sides together; pixels share one scale."""
    if space.startswith("pixel"):
        width = np.concatenate([real, generated])
        return width.mean(axis=0), np.full(width.shape[1], max(float(width.std(axis=0).max(initial=0)), 1e-300))
    centre, scale = np.zeros(real.shape[1]), np.ones(real.shape[1])
    for k in range(len(centre)):  # one after the other: a copy of all of them would be the largest thing in memory
        values = np.concatenate([real[:, k], generated[:, k]])
        low, centre[k], high = np.quantile(values, [0.16, 0.5, 0.84])
        spread = values.std()
        found = (high - low) / 2 if high - low > 1e-9 * spread else spread
        scale[k] = found if found > 0 else 1.0
    return centre, scale


def _placed(coordinates: Floats, centre: Floats, scale: Floats) -> Floats:
    """Coordinates centred, brought to one scale, and with their tails drawn in; some rows at a time."""
    made = np.empty(coordinates.shape)
    for start in range(0, len(coordinates), _CHUNK):
        rows = slice(start, start + _CHUNK)
        made[rows] = _drawn_in((coordinates[rows] - centre) / scale)
    return made


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
