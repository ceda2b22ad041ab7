"""Random changes of how an image looks, leaving things where they are: colour, contrast, noise, blur, edges. In training only.

Pixels are those of network space, where the training data's spread is 1; any other range does, with strengths to suit.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gnomon.blocks.augmentation.change import ImageChange, around, uniform, within
from gnomon.blocks.augmentation.resampling import blurred, downsampled, edges

Images = Float[Tensor, "n channels *size"]


class RandomColour(ImageChange):
    """Multiplies each channel of each image by a gain and adds an offset.

    The gain is uniform in 1 ± `share`, the offset in ± `share` of the spread of network space.

    Args:
        dimension: number of spatial axes.
        share: largest change of the gain, and largest offset.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Example:
        >>> RandomColour(2)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, share: float = 0.1) -> None:
        super().__init__(dimension, within(share, "the share by which colours change", 1))

    def change(self, x: Images) -> Images:
        """The recoloured images."""
        return x * (1 + self.strength * around(x, channels=True)) + self.strength * around(x, channels=True)


class RandomPCA(ImageChange):
    """Adds to all pixels of an image one random colour out of those in which the batch varies ("fancy PCA").

    The colour is the sum over the principal components of the batch's pixels of component × eigenvalue × a Gaussian draw. As a
    rotated Gaussian vector is one again, that sum is the covariance of the channels times such a vector, and so it is computed.

    Args:
        dimension: number of spatial axes.
        spread: standard deviation of the Gaussian draws.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Reference: Krizhevsky, Sutskever & Hinton 2012, section 4.1, https://doi.org/10.1145/3065386

    Example:
        >>> RandomPCA(2)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, spread: float = 0.1) -> None:
        super().__init__(dimension, within(spread, "the spread of the components", math.inf))

    def change(self, x: Images) -> Images:
        """The recoloured images."""
        flat = x.flatten(2)
        centred = flat - flat.mean((0, 2), keepdim=True)
        covariance = torch.einsum("ncp,ndp->cd", centred, centred) / max(1, flat.shape[0] * flat.shape[2])
        draws = self.strength * torch.randn(flat.shape[:2], dtype=x.dtype, device=x.device)
        colour = torch.einsum("nc,cd->nd", draws, covariance)
        return x + colour.reshape(*colour.shape, *[1] * self.dimension)


class RandomContrast(ImageChange):
    """Multiplies the distance of every pixel from the mean of its channel by a factor, one for each image, uniform in 1 ± `share`.

    Args:
        dimension: number of spatial axes.
        share: largest change of the factor.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Example:
        >>> RandomContrast(1)(torch.zeros(5, 2, 8)).shape
        torch.Size([5, 2, 8])
    """

    def __init__(self, dimension: int, *, share: float = 0.25) -> None:
        super().__init__(dimension, within(share, "the share by which contrast changes", 1))

    def change(self, x: Images) -> Images:
        """The images with more or less contrast."""
        mean = x.mean(self.axes, keepdim=True)
        return mean + (x - mean) * (1 + self.strength * around(x))


class RandomNoise(ImageChange):
    """Adds independent Gaussian noise to every pixel.

    Args:
        dimension: number of spatial axes.
        spread: standard deviation of the noise; in network space, in units of the spread of the training pixels.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Example:
        >>> RandomNoise(2)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, spread: float = 0.1) -> None:
        super().__init__(dimension, within(spread, "the spread of the noise", math.inf))

    def change(self, x: Images) -> Images:
        """The images with noise."""
        return x + self.strength * torch.randn_like(x)


class RandomBlur(ImageChange):
    """Blurs each image by a Gaussian whose standard deviation is uniform between 0 and `width` pixels, cut off at three widths.

    Args:
        dimension: number of spatial axes.
        width: largest standard deviation in pixels.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``. Beyond the border the border's pixels go on.

    Example:
        >>> RandomBlur(2, width=0.5)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, width: float = 1.0) -> None:
        super().__init__(dimension, within(width, "the width of the blur in pixels", math.inf))
        self.radius = math.ceil(3 * width)

    def change(self, x: Images) -> Images:
        """The blurred images."""
        return blurred(x, self.axes, self.strength * uniform(x), self.radius)


class RandomEdge(ImageChange):
    """Mixes into each image its own edges: a share, uniform between 0 and `share`, of the size of its gradient by Sobel's filter.

    The edge image is stretched to the range of the channel it comes from, so that the mixture stays in that range.

    Args:
        dimension: number of spatial axes.
        share: largest share of the edge image.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Example:
        >>> RandomEdge(2)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, share: float = 0.3) -> None:
        super().__init__(dimension, within(share, "the share of the edge image", 1))

    def change(self, x: Images) -> Images:
        """The images with their edges mixed in."""
        size = edges(x, self.axes)
        low, high = x.amin(self.axes, keepdim=True), x.amax(self.axes, keepdim=True)
        most = size.amax(self.axes, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        return torch.lerp(x, low + (high - low) * (size / most), self.strength * uniform(x))


class RandomDownsampling(ImageChange):
    """Takes resolution from each image: blocks of 1, 2, … up to `factor` pixels along each axis, with equal chances, show their mean.

    Args:
        dimension: number of spatial axes.
        factor: largest extent of a block in pixels; 0 and 1 leave images alone.

    Shape: ``(n, channels, *size) -> (n, channels, *size)``.

    Example:
        >>> RandomDownsampling(2, factor=3)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, dimension: int, *, factor: int = 2) -> None:
        super().__init__(dimension, within(factor, "the largest block of pixels", math.inf))
        self.factor = factor

    def change(self, x: Images) -> Images:
        """The images with less resolution."""
        drawn = (uniform(x) * self.factor).floor()
        out = x
        for block in range(2, self.factor + 1):
            out = torch.where(drawn == block - 1, downsampled(x, self.axes, block), out)
        return out
