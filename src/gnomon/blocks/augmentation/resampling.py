"""Images read at other places than their pixels, or blurred: plain functions of given places, angles and widths.

Nothing is drawn here; how much an image is turned or stretched is said by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gnomon.blocks.augmentation.change import pixels


def interpolated(x: Tensor, axis: int, places: Tensor) -> Tensor:
    """`x` read at real `places` along one axis, linearly between pixels; outside the image it is 0.

    Args:
        x: ``(n, channels, *size)``.
        axis: the spatial axis, counted from the end.
        places: in pixels, one per example and pixel of the axis, shaped to broadcast against `x`.

    Shape: as `x`.

    Example:
        >>> interpolated(torch.tensor([[[0.0, 10.0, 20.0]]]), -1, torch.tensor([[[0.5, 2.0, 2.5]]]))
        tensor([[[ 5., 20., 10.]]])
    """
    last = x.shape[axis] - 1
    below = places.floor()
    share = places - below
    index = below.long()
    first = torch.gather(x, axis, index.clamp(0, last).expand_as(x))
    second = torch.gather(x, axis, (index + 1).clamp(0, last).expand_as(x))
    first_share = torch.where((index >= 0) & (index <= last), 1 - share, 0.0)
    second_share = torch.where((index >= -1) & (index < last), share, 0.0)
    return first * first_share + second * second_share


def turned(x: Tensor, matrix: Sequence[Sequence[Tensor]]) -> Tensor:
    """Images turned (or sheared) about their centre; what comes in from outside is as dark as the darkest pixel of the channel.

    Args:
        x: ``(n, channels, *size)`` with two or three spatial axes.
        matrix: rows of numbers ``(n,)`` that take a pixel's place, seen from the centre, to the place where it is read.

    Shape: as `x`. Between pixels values are interpolated linearly.

    Example:
        >>> quarter = [[torch.zeros(1), -torch.ones(1)], [torch.ones(1), torch.zeros(1)]]
        >>> turned(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), quarter)
        tensor([[[[3., 1.],
                  [4., 2.]]]])
    """
    axes = range(-len(matrix), 0)
    places = [pixels(x, axis) - (x.shape[axis] - 1) / 2 for axis in axes]
    shape = (-1, *[1] * len(matrix))
    read = []
    for axis, row in zip(axes, matrix, strict=True):
        parts = [entry.view(shape) * along for entry, along in zip(row, places, strict=True)]
        read.append(sum(parts[1:], parts[0]) * (2 / x.shape[axis]))  # in units of half the extent, as grid_sample counts
    dark = x.amin(tuple(axes), keepdim=True)
    return F.grid_sample(x - dark, torch.stack(read[::-1], -1), padding_mode="zeros", align_corners=False) + dark


def blurred(x: Tensor, axes: Sequence[int], width: Tensor, radius: int) -> Tensor:
    """Images blurred by a Gaussian cut off at `radius` pixels; beyond the border the border's pixels go on.

    Args:
        x: ``(n, channels, *size)``.
        axes: along which, counted from the end.
        width: standard deviation in pixels per example, shaped to broadcast against `x`; 0 leaves an image alone.
        radius: largest distance in pixels that is looked at.

    Shape: as `x`.
    """
    narrow = width.clamp(min=1e-3)  # its Gaussian is 1 at distance 0 and 0 elsewhere, as that of width 0 should be
    weights = [torch.exp(-0.5 * (abs(step) / narrow).square()) for step in range(-radius, radius + 1)]
    whole = sum(weights[1:], weights[0])
    for axis in axes:
        extent = x.shape[axis]
        index = (torch.arange(extent + 2 * radius, device=x.device) - radius).clamp(0, extent - 1)
        padded = x.index_select(axis, index)
        parts = [weight * padded.narrow(axis, start, extent) for start, weight in enumerate(weights)]
        x = sum(parts[1:], parts[0]) / whole
    return x


def edges(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The size of the gradient by Sobel's filter, per pixel and channel, in grey levels per pixel.

    Along each axis the difference of the two neighbours is taken, smoothed by 1, 2, 1 across the other axes; the square root
    of the sum of squares is returned. Beyond the border the border's pixels go on.

    Args:
        x: ``(n, channels, *size)``.
        axes: the spatial axes, counted from the end.

    Shape: as `x`.

    Example:
        >>> edges(torch.tensor([[[0.0, 0.0, 2.0, 2.0]]]), (-1,))
        tensor([[[0., 1., 1., 0.]]])
    """
    squares = torch.zeros_like(x)
    for axis in axes:
        slope = (_neighbour(x, axis, 1) - _neighbour(x, axis, -1)) / 2
        for other in axes:
            if other != axis:
                slope = (_neighbour(slope, other, -1) + 2 * slope + _neighbour(slope, other, 1)) / 4
        squares = squares + slope.square()
    return squares.sqrt()


def downsampled(x: Tensor, axes: Sequence[int], factor: int) -> Tensor:
    """Images of which every block of `factor` pixels along each axis shows its mean; blocks at the far border may be smaller.

    Args:
        x: ``(n, channels, *size)``.
        axes: the spatial axes, counted from the end.
        factor: extent of a block in pixels.

    Shape: as `x`.

    Example:
        >>> downsampled(torch.tensor([[[0.0, 2.0, 4.0, 6.0, 9.0]]]), (-1,), 2)
        tensor([[[1., 1., 5., 5., 9.]]])
    """
    kernel = tuple(min(factor, x.shape[axis]) for axis in axes)
    pools = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
    means = pools[len(kernel) - 1](x, kernel, stride=kernel, ceil_mode=True)
    for axis, step in zip(axes, kernel, strict=True):
        index = torch.arange(x.shape[axis], device=x.device) // step
        means = means.index_select(axis, index)
    return means


def _neighbour(x: Tensor, axis: int, step: int) -> Tensor:
    """The pixels `step` further along an axis; at the border the border's own."""
    extent = x.shape[axis]
    return x.index_select(axis, (torch.arange(extent, device=x.device) + step).clamp(0, extent - 1))
