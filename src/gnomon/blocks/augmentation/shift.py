"""Random moves of images by whole pixels, made in training only.

How far may be moved without changing the meaning is for the model that uses them to say.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.errors import OptionError


class RandomShift(nn.Module):
    """Moves each image by a whole number of pixels along every axis; what moves in is as dark as its darkest pixel.

    Args:
        dimension: number of spatial axes.
        share: largest move as a share of the extent; rounded to pixels, so that short axes may not move at all.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Example:
        >>> shift = RandomShift(1, 0.25)
        >>> shift(torch.arange(4.0).view(1, 1, 4)).shape
        torch.Size([1, 1, 4])
    """

    def __init__(self, dimension: int, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise OptionError(f"the largest shift is a share of the extent, from 0 to below 1; got {share}")
        self.dimension, self.share = dimension, share

    def forward(self, x: Float[Tensor, "n channels *size"]) -> Float[Tensor, "n channels *size"]:
        """The moved images in training; the argument itself in evaluation."""
        if not self.training:
            return x
        axes = tuple(range(x.ndim - self.dimension, x.ndim))
        dark = x.amin(axes, keepdim=True)
        for axis in axes:
            extent = x.shape[axis]
            most = round(self.share * extent)
            if most == 0:
                continue
            one_each = (slice(None),) + (slice(0, 1),) * (x.ndim - 1)
            moves = (torch.rand_like(x[one_each]) * (2 * most + 1)).floor().long() - most
            places = torch.arange(extent, device=x.device).view(-1, *[1] * (x.ndim - 1 - axis)) - moves
            kept = torch.gather(x, axis, places.clamp(0, extent - 1).expand_as(x))
            x = torch.where((places >= 0) & (places < extent), kept, dark)
        return x


class RandomTranslation(RandomShift):
    """`RandomShift` with a usual share.

    Args:
        dimension: number of spatial axes.
        share: largest move along each axis as a share of its extent.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Example:
        >>> RandomTranslation(2)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, share: float = 0.125) -> None:
        super().__init__(dimension, share)
