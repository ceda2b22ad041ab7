"""Random changes of where things stand in an image: mirrored, turned, cropped, stretched, or covered. Made in training only.

Moves by whole pixels are in `shift`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gnomon.blocks.augmentation.change import ImageChange, around, box, pixels, uniform, within
from gnomon.blocks.augmentation.resampling import interpolated, turned
from gnomon.errors import OptionError

Images = Float[Tensor, "n channels *size"]


class RandomFlip(ImageChange):
    """Mirrors half of the images, along each of some axes by its own draw.

    Args:
        dimension: number of spatial axes.
        axes: which of the spatial axes, 0 for the first, -1 for the last.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Raises:
        OptionError: an axis that images of this dimension lack.

    Example:
        >>> RandomFlip(2, axes=(0, 1))(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, axes: tuple[int, ...] = (-1,)) -> None:
        super().__init__(dimension, float(len(axes)))
        for axis in axes:
            if not -dimension <= axis < dimension:
                raise OptionError(f"an image of {dimension} dimensions is flipped along axes 0 to {dimension - 1}; got {axis}")
        self.flipped = sorted({axis % dimension - dimension for axis in axes})

    def change(self, x: Images) -> Images:
        """The images, some of them mirrored."""
        for axis in self.flipped:
            x = torch.where(uniform(x) < 0.5, x.flip(axis), x)
        return x


class RandomRotation(ImageChange):
    """Turns each image about its centre by an angle of its own; what turns in is as dark as the channel's darkest pixel.

    In two dimensions the angle is uniform between plus and minus `degrees`; in three so it is about an axis of random direction.

    Args:
        dimension: number of spatial axes, 2 or 3.
        degrees: largest angle, up to 180.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``. Pixels (voxels) are taken to be square.

    Raises:
        OptionError: one dimension, or an angle out of range.

    Example:
        >>> RandomRotation(3, degrees=30)(torch.zeros(5, 1, 4, 5, 6)).shape
        torch.Size([5, 1, 4, 5, 6])
    """

    dimensions: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, dimension: int, *, degrees: float = 15.0) -> None:
        super().__init__(dimension, within(degrees, "the largest rotation in degrees", 180))

    def change(self, x: Images) -> Images:
        """The images, turned."""
        angle = around(x).flatten() * math.radians(self.strength)
        cosine, sine = angle.cos(), angle.sin()
        if self.dimension == 2:
            return turned(x, [[cosine, -sine], [sine, cosine]])
        direction = torch.randn((x.shape[0], 3), dtype=x.dtype, device=x.device)
        a, b, c = (direction / direction.norm(dim=1, keepdim=True)).unbind(1)
        rest = 1 - cosine  # Rodrigues' formula, written out: a product of matrices may be computed in reduced precision
        rows = [
            [cosine + rest * a * a, rest * a * b - sine * c, rest * a * c + sine * b],
            [rest * a * b + sine * c, cosine + rest * b * b, rest * b * c - sine * a],
            [rest * a * c - sine * b, rest * b * c + sine * a, cosine + rest * c * c],
        ]
        return turned(x, rows)


class RandomCrop(ImageChange):
    """Cuts out a random part of each image and stretches it to the size of the whole.

    The part's extent, the same share of the image's along every axis, is uniform between 1 - `share` and 1; its place is
    uniform.

    Args:
        dimension: number of spatial axes.
        share: how much of the extent is lost at most; below 1.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``. Between pixels values are interpolated linearly.

    Reference: as in Szegedy et al. 2015, https://arxiv.org/abs/1409.4842, without their change of aspect.

    Example:
        >>> RandomCrop(1, share=0.5)(torch.zeros(5, 2, 9)).shape
        torch.Size([5, 2, 9])
    """

    def __init__(self, dimension: int, *, share: float = 0.2) -> None:
        super().__init__(dimension, within(share, "the share of the extent that a crop loses", 1, inclusive=False))

    def change(self, x: Images) -> Images:
        """The cropped images."""
        kept = 1 - self.strength * uniform(x)
        for axis in self.axes:
            extent = x.shape[axis]
            start = uniform(x) * (1 - kept) * extent
            places = start + (pixels(x, axis) + 0.5) * kept - 0.5
            x = interpolated(x, axis, places.clamp(0, extent - 1))
        return x


class RandomScale(ImageChange):
    """Enlarges or shrinks each image about its centre; what comes in is as dark as the channel's darkest pixel.

    The logarithm of the factor is uniform between plus and minus that of 1 + `share`.

    Args:
        dimension: number of spatial axes.
        share: by how much an image is enlarged at most.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``. Between pixels values are interpolated linearly.

    Example:
        >>> RandomScale(2)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, share: float = 0.15) -> None:
        super().__init__(dimension, within(share, "the share by which an image is enlarged", math.inf))

    def change(self, x: Images) -> Images:
        """The scaled images."""
        shrink = torch.exp(around(x) * -math.log1p(self.strength))
        dark = x.amin(self.axes, keepdim=True)
        x = x - dark
        for axis in self.axes:
            centre = (x.shape[axis] - 1) / 2
            x = interpolated(x, axis, centre + (pixels(x, axis) - centre) * shrink)
        return x + dark


class RandomErasing(ImageChange):
    """Covers a box in each image by the mean of its channel. The box's centre lies anywhere; what sticks out is cut off.

    Args:
        dimension: number of spatial axes.
        share: extent of the box along each axis as a share of the image's.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Reference: DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552

    Example:
        >>> RandomErasing(3)(torch.zeros(5, 1, 4, 4, 4)).shape
        torch.Size([5, 1, 4, 4, 4])
    """

    def __init__(self, dimension: int, *, share: float = 0.25) -> None:
        super().__init__(dimension, within(share, "the share of the extent that is erased", 1))

    def change(self, x: Images) -> Images:
        """The images with a box erased."""
        return torch.where(box(x, self.axes, self.strength), x.mean(self.axes, keepdim=True), x)
