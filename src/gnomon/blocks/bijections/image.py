"""Bijections of images in one, two or three dimensions that stand as flat rows ``(n, channels x pixels)``, channel after channel.

How many of them follow each other, and at how many scales, is decided in `gnomon.networks.transforms`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import Bijection, buffers
from gnomon.blocks.bijections.coupling import Coupling
from gnomon.blocks.bijections.elementwise import Splines
from gnomon.blocks.bijections.linear import Permutation
from gnomon.blocks.convolution import ConvNormAct, ResidualConv, convolution
from gnomon.blocks.initialisers import initialise
from gnomon.errors import OptionError


class Squeeze(Permutation):
    """Every second pixel of an axis becomes a channel of its own: half the extent, twice the channels. Odd axes stay as they are.

    Args:
        shape: channels, then the extent of each axis.

    Attributes:
        shape: the same afterwards. It is the one that came if no axis is even; then the map is the identity.

    Reference: Dinh et al. 2017, https://arxiv.org/abs/1605.08803

    Example:
        >>> Squeeze((1, 4)).forward_and_log_det(torch.tensor([[0.0, 1.0, 2.0, 3.0]]))[0], Squeeze((3, 8, 5)).shape
        (tensor([[0., 2., 1., 3.]]), (6, 4, 5))
    """

    def __init__(self, shape: Sequence[int]) -> None:
        channels, size = shape[0], tuple(shape[1:])
        factors = [1 if extent % 2 else 2 for extent in size]
        cut = [number for extent, factor in zip(size, factors, strict=True) for number in (extent // factor, factor)]
        axes = range(1, 2 * len(size), 2)
        index = torch.arange(math.prod(shape)).reshape(channels, *cut).permute(0, *(axis + 1 for axis in axes), *axes)
        super().__init__(index.flatten().tolist())
        self.shape = (channels * math.prod(factors), *cut[::2])


class PerPixel(Bijection):
    """The same bijection of the channels at every pixel: with `LULinear` the invertible 1 x 1 convolution.

    Args:
        bijection: of ``(n, channels)``; it sees no condition.
        shape: channels, then the extent of each axis.

    Reference: Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039

    Example:
        >>> from gnomon.blocks.bijections.linear import LULinear
        >>> z, log_det = PerPixel(LULinear(3), (3, 4, 4)).forward_and_log_det(torch.ones(2, 48))
        >>> z.shape, log_det.shape
        (torch.Size([2, 48]), torch.Size([2]))
    """

    def __init__(self, bijection: Bijection, shape: Sequence[int]) -> None:
        super().__init__()
        self.bijection = bijection
        self.channels, self.pixels = shape[0], math.prod(shape[1:])

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        return self._joined(len(x), *self.bijection.forward_and_log_det(self._apart(x)))

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        return self._joined(len(z), *self.bijection.inverse_and_log_det(self._apart(z)))

    def _apart(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.channels, self.pixels)).transpose(1, 2).flatten(0, 1)

    def _joined(self, n: int, x: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
        pixels = x.unflatten(0, (n, self.pixels)).transpose(1, 2).flatten(1)
        return pixels, log_det.unflatten(0, (n, self.pixels)).sum(1)


class FactorOut(Bijection):
    """A bijection of the first columns only; the rest leave for the noise as they are.

    Args:
        bijection: of ``(n, columns)``.
        columns: how many go on.

    Reference: Dinh et al. 2017, https://arxiv.org/abs/1605.08803

    Example:
        >>> from gnomon.blocks.bijections.actnorm import ActNorm
        >>> z, log_det = FactorOut(ActNorm(2), 2).forward_and_log_det(torch.arange(6.0).reshape(2, 3))
        >>> z.tolist()
        [[-1.0, -1.0, 2.0], [1.0, 1.0, 5.0]]
    """

    def __init__(self, bijection: Bijection, columns: int) -> None:
        super().__init__()
        self.bijection = bijection
        self.columns = columns

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        z, log_det = self.bijection.forward_and_log_det(x[:, : self.columns], given)
        return torch.cat([z, x[:, self.columns :]], 1), log_det

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        x, log_det = self.bijection.inverse_and_log_det(z[:, : self.columns], given)
        return torch.cat([x, z[:, self.columns :]], 1), log_det


class ImageCoupling(Coupling):
    """Moves some pixels by splines whose shape a convolutional network tells from the other pixels, and from the condition.

    What is moved are whole channels, or, where there is but one channel, every second pixel, as the black squares of a checkerboard.
    It starts as the identity.

    Args:
        shape: channels, then the extent of each axis.
        moved: the channels that are moved; 0 or 1 alone names the even or the odd squares of the checkerboard.
        given: size of the condition, 0 for none; it scales and shifts the network's channels.
        bins: pieces of each spline.
        bound: half the width of the interval on which pixels are moved.
        hidden: channels of the network: the first is a convolution, each further one adds a residual block; all the same.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Raises:
        OptionError: hidden layers of several widths, or none.

    References: Dinh et al. 2017, https://arxiv.org/abs/1605.08803; Durkan et al. 2019, https://arxiv.org/abs/1906.04032

    Example:
        >>> coupling = ImageCoupling((2, 4, 4), moved=(0,), hidden=(8, 8))
        >>> z, log_det = coupling.forward_and_log_det(torch.ones(5, 32))
        >>> torch.allclose(z, torch.ones(5, 32)), log_det.shape
        (True, torch.Size([5]))
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        moved: Sequence[int] | int,
        given: int = 0,
        bins: int = 8,
        bound: float = 4.0,
        hidden: Sequence[int] = (32, 32),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        places = torch.arange(math.prod(shape)).reshape(tuple(shape))
        if isinstance(moved, int):
            squares = torch.stack(torch.meshgrid(*(torch.arange(extent) for extent in shape), indexing="ij")).sum(0) % 2
            pixels = places[squares == moved].tolist()
        else:
            pixels = places[list(moved)].flatten().tolist()
        maps = Splines([False] * len(pixels), bins=bins, bound=bound)
        options: dict[str, Any] = {"given": given, "hidden": hidden, "activation": activation, "dropout": dropout}
        network = ImageConditioner(shape, pixels, maps.parameters_per_column, **options)
        super().__init__(len(places.flatten()), moved=pixels, maps=maps, given=given, bound=bound, conditioner=network)


class ImageConditioner(nn.Module):
    """Raw parameters for some pixels of an image from the other pixels: convolutions that keep its size. Zero at the start.

    The network sees, besides the channels that are kept in part or whole, where each pixel lies and which are kept.

    Args:
        shape: channels, then the extent of each axis.
        moved: positions, in the flat row, of the pixels that want parameters, rising.
        parameters: how many each of them wants.
        given: size of the condition, 0 for none.
        hidden: channels of the hidden layers, all the same.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    Shape: ``(n, kept + given) -> (n, moved x parameters)``.

    Raises:
        OptionError: hidden layers of several widths, or none.

    Example:
        >>> ImageConditioner((1, 3), [0, 2], 5, hidden=(4,))(torch.ones(2, 1)).shape
        torch.Size([2, 10])
    """

    beside: Tensor
    laid: Tensor
    wanted: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        moved: Sequence[int],
        parameters: int,
        *,
        given: int = 0,
        hidden: Sequence[int] = (32, 32),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not hidden or len(set(hidden)) > 1:
            raise OptionError(f"a multiscale flow wants hidden layers of one number of channels, such as 32,32; got {tuple(hidden)}")
        self.size, self.parameters_per_pixel, self.given = tuple(shape[1:]), parameters, given
        pixels, dimension = math.prod(self.size), len(self.size)
        gone = torch.zeros(math.prod(shape), dtype=torch.bool)
        gone[list(moved)] = True
        kept = torch.nonzero(~gone).flatten()
        seen, asked = (sorted(set((places // pixels).tolist())) for places in (kept, torch.tensor(moved)))
        # each pixel of the channels that are seen, and of those with moved pixels: where it stands in its row, zero standing last
        grid = torch.arange(math.prod(shape)).reshape(-1, pixels)
        stands = torch.full((math.prod(shape),), len(kept), dtype=torch.int64).index_copy(0, kept, torch.arange(len(kept)))
        asking = grid[asked].flatten().tolist()
        place = {pixel: i for i, pixel in enumerate(asking)}
        lines = [torch.linspace(-1, 1, extent) if extent > 1 else torch.zeros(1) for extent in self.size]
        masks = [(~gone).reshape(-1, *self.size)[c].float() for c in seen if bool(gone.reshape(-1, pixels)[c].any())]
        beside = torch.stack([*torch.meshgrid(*lines, indexing="ij"), *masks])
        buffers(self, beside=beside, laid=stands[grid[seen].flatten()], wanted=torch.tensor([place[pixel] for pixel in moved]))
        self.channels, self.asked = len(seen), len(asked)
        self.everything = len(asking) == len(moved)
        own: dict[str, Any] = {"norm": "none", "activation": activation, "given": given}
        self.first = ConvNormAct(dimension, self.channels + len(beside), hidden[0], **own)
        self.inner = nn.ModuleList(ResidualConv(dimension, width, width, dropout=dropout, **own) for width in hidden[1:])
        self.last = convolution(dimension, hidden[0], self.asked * parameters, kernel=1)
        initialise(self.last, 0.0)

    def forward(self, seen: Tensor) -> Tensor:
        """The parameters for each row."""
        kept, given = seen.split([seen.shape[1] - self.given, self.given], 1)
        nothing = kept.new_zeros(len(kept), 1)
        image = torch.cat([kept, nothing], 1).index_select(1, self.laid).unflatten(1, (self.channels, *self.size))
        h = torch.cat([image, self.beside.expand(len(image), *self.beside.shape)], 1)
        condition = given if self.given else None
        h = self.first(h, condition)
        for block in self.inner:
            h = block(h, condition)
        raw = self.last(h).flatten(2).unflatten(1, (self.asked, self.parameters_per_pixel)).transpose(2, 3).flatten(1, 2)
        return (raw if self.everything else raw.index_select(1, self.wanted)).flatten(1)
