"""Images as columns that can be compared one by one: intensity, contrast, roughness, and the leading components of both sides.

These see single sums over pixels. What pixels do together is left to the classifier test, which is shown the pixels themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.sides import Floats
from gnomon.data import Column

COMPONENTS = 6
_FITTED = 5_000  # images a side to which the components are fitted
_CHUNK = 2**22  # pixels worked on at once


def image_columns(real: NDArray[Any], generated: NDArray[Any], *others: NDArray[Any]) -> tuple[tuple[Column, ...], list[Floats]]:
    """Summary columns of images ``(n, channels, *size)`` of both sides.

    The components are those of both sides together, so they do not know which image is real.

    Args:
        real: images of the data.
        generated: images to be judged.
        others: further images that are only summarised in the same way.

    Returns:
        columns, and their values: ``(n, columns)`` of the real side, ``(m, columns)`` of the generated one, then of the others.
    """
    names = ["mean intensity", "contrast", "roughness"]
    sides = (real, generated, *others)
    made = [_summaries(side) for side in sides]
    if real[0].size > 1:
        centre, axes = _components(real, generated)
        names += [f"pixel component {i + 1}" for i in range(len(axes))]
        made = [np.concatenate([one, _projected(side, centre, axes)], axis=1) for one, side in zip(made, sides, strict=True)]
    return tuple(Column(name) for name in names), made


def _summaries(images: NDArray[Any]) -> Floats:
    """``(n, 3)``: mean, standard deviation, and mean absolute step between neighbours, over all pixels of an image."""
    parts = []
    for part in _chunks(images):
        flat = part.reshape(len(part), -1)
        steps = [np.abs(np.diff(part, axis=axis)).reshape(len(part), -1) for axis in range(2, part.ndim) if part.shape[axis] > 1]
        rough = np.concatenate(steps, axis=1).mean(axis=1) if steps else np.zeros(len(part))
        parts.append(np.stack([flat.mean(axis=1), flat.std(axis=1), rough], axis=1))
    return np.concatenate(parts)


def _components(real: NDArray[Any], generated: NDArray[Any]) -> tuple[Floats, Floats]:
    from sklearn.decomposition import PCA

    some = [side[:: max(1, len(side) // _FITTED)][:_FITTED] for side in (real, generated)]
    pooled = np.concatenate([part.reshape(len(part), -1) for part in some]).astype(np.float64)
    count = min(COMPONENTS, pooled.shape[1], len(pooled) - 1)
    found = PCA(count, svd_solver="randomized", random_state=0).fit(pooled)
    keep = found.explained_variance_ > 1e-12 * max(float(np.square(pooled).mean()), 1e-300)
    return found.mean_, found.components_[keep]


def _projected(images: NDArray[Any], centre: Floats, axes: Floats) -> Floats:
    return np.concatenate([(part.reshape(len(part), -1) - centre) @ axes.T for part in _chunks(images)])


def _chunks(images: NDArray[Any]) -> list[Floats]:
    step = max(1, _CHUNK // max(1, images[0].size))
    return [images[start : start + step].astype(np.float64) for start in range(0, len(images), step)]
