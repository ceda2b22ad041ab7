"""Pairs of images: PSNR, SSIM, MS-SSIM, and a perceptual distance on the features of the user's own network; in 1, 2 or 3 dimensions.

Each gives one number per pair; `Estimate`s of their mean are made by `mean_of`. Nothing is downloaded, so nothing here is called LPIPS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gnomon.checks.measures.estimate import Floats
from gnomon.errors import DataError

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales of MS-SSIM, from the finest to the coarsest."""

_SPREAD = 1.5  # of the Gaussian window, in pixels; it ends at 3.5 spreads, so it is 11 wide
_FIRST, _SECOND = 0.01, 0.03  # the constants that keep SSIM from dividing by zero, as shares of the range
_CHUNK = 2**22  # pixels worked on at once


def psnr(one: ArrayLike, two: ArrayLike, *, data_range: float) -> Floats:
    """Peak signal-to-noise ratio of each pair in decibels; infinite where both are the same.

    Args:
        one: ``(n, channels, *size)``.
        two: the same shape.
        data_range: largest value less smallest one that a pixel can have.

    Returns:
        ``(n,)``.

    Raises:
        DataError: the shapes differ, an image is empty, or the range is not positive.

    Example:
        >>> psnr(np.zeros((1, 1, 4)), np.full((1, 1, 4), 0.1), data_range=1.0).round(6)
        array([20.])
    """
    with np.errstate(divide="ignore"):
        return -10.0 * np.log10(_each(one, two, lambda a, b: (a - b).square().flatten(1).mean(1), data_range) / data_range**2)


def ssim(one: ArrayLike, two: ArrayLike, *, data_range: float, edges: Literal["reflect", "valid"] = "reflect") -> Floats:
    """Structural similarity of each pair, the mean over places: 1 for the same image.

    The window is a Gaussian of 1.5 pixels, 11 wide; along axes shorter than that it is cut to the longest odd length that fits.

    Args:
        one: ``(n, channels, *size)``.
        two: the same shape.
        data_range: largest value less smallest one that a pixel can have.
        edges: the mean goes over all places, images being mirrored at their edges ("reflect", as torchmetrics has it), or over those
            where the window fits ("valid", as the paper has it).

    Returns:
        ``(n,)``.

    Raises:
        DataError: as for `psnr`.

    Reference: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861

    Example:
        >>> ssim(np.eye(12)[None, None], np.eye(12)[None, None], data_range=1.0)
        array([1.])
    """
    return _each(one, two, lambda a, b: _similarity(a, b, data_range, edges)[0], data_range)


def ms_ssim(one: ArrayLike, two: ArrayLike, *, data_range: float, scales: Sequence[float] = SCALES) -> Floats:
    """Structural similarity at several scales: contrast and structure at each, brightness at the coarsest.

    Args:
        one: ``(n, channels, *size)``; each axis at least 11 pixels at the last scale but one (88 for five scales).
        two: the same shape.
        data_range: largest value less smallest one that a pixel can have.
        scales: weight of each scale, finest first; between two of them the image is halved.

    Returns:
        ``(n,)``; negative similarities count as 0.

    Raises:
        DataError: an axis is too short for so many scales, or as for `psnr`.

    Reference: Wang, Simoncelli & Bovik 2003, https://doi.org/10.1109/ACSSC.2003.1292216
    """
    size = np.shape(one)[2:]
    least = 11 * 2 ** max(0, len(scales) - 2)
    if size and min(size) < least:
        raise DataError(f"ms_ssim with {len(scales)} scales wants images of at least {least} pixels along each axis; got {size}; use fewer")

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        made = torch.ones(len(a), dtype=a.dtype)
        for i, weight in enumerate(scales):
            last = i == len(scales) - 1
            whole, structure = _similarity(a, b, data_range, "reflect" if last else "valid")
            made = made * (whole if last else structure).relu() ** weight
            if not last:
                a, b = (_halved(part) for part in (a, b))
        return made

    return _each(one, two, similarity, data_range)


def perceptual_distance(
    one: ArrayLike, two: ArrayLike, features: nn.Module | Callable[[Tensor], Sequence[Tensor]], *, chunk: int = 256
) -> Floats:
    """How far apart both images of each pair lie in the eyes of a network: at each place of each feature map the channels are brought
    to length 1; squared differences are summed over channels, averaged over places and summed over maps.

    The network is the user's own, such as the encoder of a classifier trained on the user's data; distances are comparable only for
    the same network.

    Args:
        one: ``(n, channels, *size)``.
        two: the same shape.
        features: a function from images ``(n, channels, *size)`` to feature maps, each ``(n, channels, *size)``; or a module, whose
            children in ``stages`` give one map each.
        chunk: pairs worked on at once.

    Returns:
        ``(n,)``.

    Raises:
        DataError: the shapes differ, or the module has no ``stages``.

    Reference: the construction, with a network of their own: Zhang et al. 2018, https://arxiv.org/abs/1801.03924
    """
    one, two = _same_shape(one, two)
    maps = _stage_maps(features) if isinstance(features, nn.Module) else features
    made = []
    with torch.no_grad():
        for start in range(0, len(one), chunk):
            both = [maps(torch.as_tensor(part[start : start + chunk], dtype=torch.float32)) for part in (one, two)]
            steps = [_directions(a) - _directions(b) for a, b in zip(*both, strict=True)]
            made.append(sum(step.square().sum(1).flatten(1).mean(1) for step in steps))
    return torch.cat(made).double().numpy()  # type: ignore[arg-type]


# ---- parts -----------------------------------------------------------------------------------------------------------


def _same_shape(one: ArrayLike, two: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    one, two = np.asarray(one), np.asarray(two)
    if one.shape != two.shape or one.ndim not in (3, 4, 5) or not one.size:
        raise DataError(f"pairs of images want two arrays of one shape (n, channels, *size); got {one.shape} and {two.shape}")
    return one, two


def _each(one: ArrayLike, two: ArrayLike, function: Callable[[Tensor, Tensor], Tensor], data_range: float) -> Floats:
    """`function` of the pairs in double precision, chunk by chunk."""
    one, two = _same_shape(one, two)
    if not data_range > 0:
        raise DataError(f"data_range is the largest value less the smallest one that a pixel can have, above 0; got {data_range}")
    step = max(1, _CHUNK // one[0].size)
    parts = [function(*(torch.as_tensor(part[i : i + step].astype(np.float64)) for part in (one, two))) for i in range(0, len(one), step)]
    return torch.cat(parts).numpy()


def _similarity(a: Tensor, b: Tensor, data_range: float, edges: str) -> tuple[Tensor, Tensor]:
    """``(n,)`` SSIM, and its part that knows contrast and structure alone."""
    first, second = (_FIRST * data_range) ** 2, (_SECOND * data_range) ** 2
    mean_a, mean_b, square_a, square_b, product = (_blurred(part, edges) for part in (a, b, a * a, b * b, a * b))
    variance_a, variance_b = (square_a - mean_a.square()).clamp_min(0), (square_b - mean_b.square()).clamp_min(0)
    structure = (2 * (product - mean_a * mean_b) + second) / (variance_a + variance_b + second)
    brightness = (2 * mean_a * mean_b + first) / (mean_a.square() + mean_b.square() + first)
    return (structure * brightness).flatten(1).mean(1), structure.flatten(1).mean(1)


def _blurred(images: Tensor, edges: str) -> Tensor:
    """Means under the Gaussian window, axis by axis."""
    for axis in range(2, images.dim()):
        length = min(2 * int(3.5 * _SPREAD + 0.5) + 1, images.shape[axis] - 1 + images.shape[axis] % 2)
        place = torch.arange(length, dtype=images.dtype) - (length - 1) / 2
        window = torch.exp(-0.5 * (place / _SPREAD).square())
        moved = images.movedim(axis, -1)
        flat = moved.reshape(-1, 1, moved.shape[-1])
        flat = F.pad(flat, (length // 2, length // 2), mode="reflect") if edges == "reflect" else flat
        images = F.conv1d(flat, (window / window.sum())[None, None]).reshape(*moved.shape[:-1], -1).movedim(-1, axis)
    return images


def _halved(images: Tensor) -> Tensor:
    pool: Any = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[images.dim()]
    return pool(images, 2)


def _directions(features: Tensor) -> Tensor:
    return features / features.square().sum(1, keepdim=True).sqrt().clamp_min(1e-10)


def _stage_maps(module: nn.Module) -> Callable[[Tensor], list[Tensor]]:
    stages = getattr(module, "stages", None)
    if not isinstance(stages, nn.ModuleList):
        raise DataError(f"{type(module).__name__} has no stages whose feature maps could be compared; pass a function that gives them")

    def maps(images: Tensor) -> list[Tensor]:
        made = []
        for stage in stages:
            images = stage(images)
            made.append(images)
        return made

    return maps
