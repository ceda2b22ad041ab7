"""Drawn chairs with known factors, azimuth, width and style of the legs: images of which one knows how they came about.

What a model makes of the factors is measured by `gnomon.checks.measures.disentanglement`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.data.seeds import mix
from gnomon.errors import OptionError

Array = NDArray[np.float64]
Lines = NDArray[np.float64]
Point = tuple[Array, Array, Array]

_ELEVATION = math.radians(25)  # of the one who looks
_SEAT, _BACK, _DEPTH = 0.0, 1.1, 0.8  # height of the seat, of the back above it, and depth, in units of half the picture
_FLOOR = -0.9
_CHUNK = 256  # images drawn at a time


class Factors(NamedTuple):
    """What a chair is made from, each ``(n,)``.

    Args:
        azimuth: degrees about the vertical, -60 to 60.
        width: 0.6 to 1.2.
        legs: 0 four straight legs, 1 one column on a cross, 2 two runners.
    """

    azimuth: Array
    width: Array
    legs: Array


class Chairs:
    """Chairs in parallel projection, bright lines on black, seen from 25 degrees above.

    Args:
        size: pixels along each side, at least 8.

    Raises:
        OptionError: a smaller size.

    Example:
        >>> x, factors = Chairs(16).sample(5)
        >>> x.shape, x.dtype, factors.azimuth.shape
        ((5, 1, 16, 16), dtype('uint8'), (5,))
    """

    def __init__(self, size: int = 24) -> None:
        if size < 8:
            raise OptionError(f"Chairs wants a size of 8 pixels or more; got {size}")
        self.size = size

    def sample(self, n: int, seed: int = 0) -> tuple[NDArray[np.uint8], Factors]:
        """`n` chairs with factors drawn independently and evenly: images ``(n, 1, size, size)`` and their factors."""
        chance = np.random.Generator(np.random.PCG64(mix("chairs", seed)))
        factors = Factors(chance.uniform(-60, 60, n), chance.uniform(0.6, 1.2, n), chance.integers(3, size=n).astype(np.float64))
        return self.draw(*factors), factors

    def draw(self, azimuth: ArrayLike, width: ArrayLike, legs: ArrayLike) -> NDArray[np.uint8]:
        """Images ``(n, 1, size, size)`` of chairs with these factors."""
        azimuth, width, legs = (np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (azimuth, width, legs))
        azimuth, width, legs = np.broadcast_arrays(azimuth, width, legs)
        made = np.empty((len(azimuth), 1, self.size, self.size), dtype=np.uint8)
        for style in range(3):
            of_style = np.flatnonzero(legs == style)
            for start in range(0, len(of_style), _CHUNK):
                part = of_style[start : start + _CHUNK]
                made[part, 0] = self._drawn(_lines(width[part], style), np.radians(azimuth[part]))
        return made

    def _drawn(self, lines: Lines, azimuth: Array) -> NDArray[np.uint8]:
        """Images of lines ``(n, lines, 2, 3)`` in space, turned by the azimuth."""
        sine, cosine = np.sin(azimuth)[:, None, None], np.cos(azimuth)[:, None, None]
        x, y, z = (lines[..., i] for i in range(3))
        right, away = cosine * x - sine * y, sine * x + cosine * y
        up = math.cos(_ELEVATION) * z + math.sin(_ELEVATION) * away
        flat = np.stack([right, up - 0.1], -1)  # (n, lines, 2 ends, 2), within about ±1.3
        centres = 1.4 * (2 * (np.arange(self.size) + 0.5) / self.size - 1)
        place = np.stack(np.meshgrid(centres, -centres, indexing="xy"), -1).reshape(-1, 2)  # (pixels, 2), from the top left
        start, step = flat[:, :, None, 0], flat[:, :, None, 1] - flat[:, :, None, 0]
        share = ((place - start) * step).sum(-1) / np.maximum(np.square(step).sum(-1), 1e-12)
        nearest = start + np.clip(share, 0, 1)[..., None] * step
        squares = np.square(place - nearest).sum(-1).min(1)
        bright = np.exp(-squares / (2 * (1.0 / self.size) ** 2))  # lines about two pixels wide
        return np.rint(255 * bright).astype(np.uint8).reshape(len(lines), self.size, self.size)


def _lines(width: Array, style: int) -> Lines:
    """``(n, lines, 2, 3)``: the ends of the lines of chairs of one style; x to the right, y away, z up."""
    half = 0.5 * width
    zero, deep, seat, top, floor = (np.full_like(width, value) for value in (0.0, 0.5 * _DEPTH, _SEAT, _SEAT + _BACK, _FLOOR))
    front_left, front_right = (-half, -deep, seat), (half, -deep, seat)
    back_left, back_right = (-half, deep, seat), (half, deep, seat)
    lines: list[tuple[Point, Point]] = [
        (front_left, front_right), (front_right, back_right), (back_right, back_left), (back_left, front_left),
        (front_left, back_right), (back_left, (-half, deep, top)), (back_right, (half, deep, top)),
        ((-half, deep, top), (half, deep, top)), ((-half, deep, top - 0.35), (half, deep, top - 0.35)),
    ]  # fmt: skip
    feet = [(-half, -deep, floor), (half, -deep, floor), (half, deep, floor), (-half, deep, floor)]
    corners = [front_left, front_right, back_right, back_left]
    if style == 0:
        lines += list(zip(corners, feet, strict=True))
    elif style == 1:
        lines += [((zero, zero, seat), (zero, zero, floor)), (feet[0], feet[2]), (feet[1], feet[3])]
    else:
        lines += [(feet[0], feet[3]), (feet[1], feet[2])]
        lines += [((-half, zero, seat), (-half, zero, floor)), ((half, zero, seat), (half, zero, floor))]
    return np.stack([np.stack([np.stack(end, -1) for end in line], 1) for line in lines], 1)
