"""Convolutional blocks in one, two or three dimensions from one definition, for any number of channels and any size.

How many of them make a network, and how wide they are, is left to the tables of stages in `networks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks.activations import make_activation, pieces
from gnomon.blocks.dropout import make_dropout
from gnomon.blocks.initialisers import Initialiser, initialise
from gnomon.blocks.standardisation import StandardisedConv1d, StandardisedConv2d, StandardisedConv3d
from gnomon.blocks.stochastic_depth import DropPath
from gnomon.errors import OptionError

Norm = Literal["group", "batch", "none"]
Padding = Literal["zeros", "reflect", "replicate", "circular"]

# by dimension; torch's own annotations want tuples of a fixed length
_CONVOLUTIONS: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_STANDARDISED: tuple[Any, ...] = (StandardisedConv1d, StandardisedConv2d, StandardisedConv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_MAX_POOLS: tuple[Any, ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_MEAN_POOLS: tuple[Any, ...] = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
_INTERPOLATIONS = ("linear", "bilinear", "trilinear")


def convolution(
    dimension: int,
    inputs: int,
    outputs: int,
    *,
    kernel: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    bias: bool = True,
    padding_mode: Padding = "zeros",
    standardise: bool = False,
) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
    """A convolution padded so that each axis of n pixels gives ⌈n / stride⌉.

    Args:
        dimension: 1, 2 or 3 spatial axes.
        inputs: channels in.
        outputs: channels out.
        kernel: odd extent of the kernel, one number or one per axis.
        stride: step, one number or one per axis.
        bias: whether a constant is added per channel.
        padding_mode: what stands outside the image: "zeros", "replicate", or "circular" and "reflect" (which need axes longer
            than half a kernel).
        standardise: whether the weights of each output channel are brought to mean zero and one size (see `blocks.standardisation`).
            A kernel of a single weight is left alone.

    Raises:
        OptionError: a dimension other than 1, 2, 3, or an even kernel.

    Example:
        >>> import torch
        >>> convolution(2, 1, 8, stride=2)(torch.zeros(1, 1, 5, 8)).shape
        torch.Size([1, 8, 3, 4])
    """
    if dimension not in (1, 2, 3):
        raise OptionError(f"convolutions have 1, 2 or 3 dimensions; got {dimension}")
    kernels = (kernel,) * dimension if isinstance(kernel, int) else tuple(kernel)
    strides = (stride,) * dimension if isinstance(stride, int) else tuple(stride)
    if any(k % 2 == 0 for k in kernels):
        raise OptionError(f"the kernel of a convolution must be odd so that it has a centre; got {kernel}")
    padding = tuple(k // 2 for k in kernels)
    layers = _STANDARDISED if standardise and inputs * math.prod(kernels) > 1 else _CONVOLUTIONS
    return layers[dimension - 1](inputs, outputs, kernels, strides, padding, bias=bias, padding_mode=padding_mode)


def normalisation(norm: Norm, dimension: int, channels: int) -> nn.Module:
    """The layer that normalises ``(n, channels, *size)``: groups of at least four channels, the batch, or nothing.

    "group" treats each example alone, so it is safe for gradient penalties and `torch.func.vmap`; "batch" is neither.

    Raises:
        OptionError: `norm` is not known.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return _BATCH_NORMS[dimension - 1](channels)
    if norm == "group":
        return nn.GroupNorm(max(g for g in range(1, 9) if channels % g == 0 and (g == 1 or channels // g >= 4)), channels)
    raise OptionError(f"norm is one of group, batch, none; got {norm!r}")


class ConvNormAct(nn.Module):
    """Convolution, normalisation, optional scale and shift by a condition, activation.

    Args:
        dimension: 1, 2 or 3 spatial axes.
        inputs: channels in.
        outputs: channels out.
        kernel: odd extent of the kernel, one number or one per axis.
        stride: step, one number or one per axis.
        norm: "group", "batch" or "none".
        activation: name in `blocks.activations`, or a module class.
        padding_mode: as `convolution`.
        given: size of a condition that scales and shifts each channel (not at all at the start), 0 for none.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.
        standardise: whether the convolution's weights are standardised, as `convolution`.

    Shape: ``(n, inputs, *size), (n, given) -> (n, outputs, *⌈size / stride⌉)``.

    Reference: the condition enters as in FiLM, Perez et al. 2018, https://arxiv.org/abs/1709.07871

    Example:
        >>> import torch
        >>> ConvNormAct(1, 3, 8, stride=2)(torch.zeros(2, 3, 5)).shape
        torch.Size([2, 8, 3])
    """

    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        *,
        kernel: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        norm: Norm = "group",
        activation: str | type[nn.Module] = "silu",
        padding_mode: Padding = "zeros",
        given: int = 0,
        initialiser: Initialiser = "gain",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        self.dimension = dimension
        numbers = outputs * pieces(activation)
        own: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding_mode": padding_mode, "standardise": standardise}
        self.conv = convolution(dimension, inputs, numbers, bias=norm == "none", **own)
        initialise(self.conv, after=activation, before=activation, initialiser=initialiser)
        self.norm = normalisation(norm, dimension, numbers)
        self.modulation = nn.Linear(given, 2 * numbers) if given else None
        if self.modulation is not None:
            initialise(self.modulation, 0.0)
        self.activation = make_activation(activation, dimension=dimension)

    def forward(
        self, x: Float[Tensor, "n inputs *size"], given: Float[Tensor, "n given"] | None = None
    ) -> Float[Tensor, "n outputs *smaller"]:
        """Apply the block."""
        x = self.norm(self.conv(x))
        if self.modulation is not None and given is not None:
            scale, shift = self.modulation(given)[(...,) + (None,) * self.dimension].chunk(2, 1)
            x = x * (1 + scale) + shift
        return self.activation(x)


class ResidualConv(nn.Module):
    """Two convolutions beside a shortcut: ``x + C₂(C₁(x))``, where C₂ starts at zero.

    Args:
        dimension: 1, 2 or 3 spatial axes.
        inputs: channels in.
        outputs: channels out; the shortcut is a 1-pixel convolution where they differ.
        kernel: odd extent of the kernels.
        norm: "group", "batch" or "none".
        activation: name in `blocks.activations`, or a module class.
        padding_mode: as `convolution`.
        given: size of a condition that scales and shifts the channels between the convolutions, 0 for none.
        dropout: probability with which a number between the convolutions is set to zero in training.
        drop_path: probability with which the convolutions leave an example as it is in training.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`; C₂ is zero under every rule.
        standardise: whether the convolutions' weights are standardised, as `convolution`.

    Shape: ``(n, inputs, *size), (n, given) -> (n, outputs, *size)``.

    References: He et al. 2016, https://arxiv.org/abs/1512.03385; zero start: Zhang et al. 2019, https://arxiv.org/abs/1901.09321;
    `drop_path`: Huang et al. 2016, https://arxiv.org/abs/1603.09382

    Example:
        >>> import torch
        >>> x = torch.randn(2, 8, 5, 3)
        >>> torch.equal(ResidualConv(2, 8, 8)(x), x)
        True
    """

    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        *,
        kernel: int | Sequence[int] = 3,
        norm: Norm = "group",
        activation: str | type[nn.Module] = "silu",
        padding_mode: Padding = "zeros",
        given: int = 0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        initialiser: Initialiser = "gain",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        both: dict[str, Any] = {"kernel": kernel, "padding_mode": padding_mode, "standardise": standardise}
        self.first = ConvNormAct(dimension, inputs, outputs, norm=norm, activation=activation, given=given, initialiser=initialiser, **both)
        self.second = convolution(dimension, outputs, outputs, **both)
        initialise(self.second, 0.0)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = convolution(dimension, inputs, outputs, kernel=1, standardise=standardise)
            initialise(self.shortcut, initialiser=initialiser)
        self.dropout = make_dropout(dropout) if dropout else None
        self.path = DropPath(drop_path, dimension=dimension) if drop_path else None

    def forward(
        self, x: Float[Tensor, "n inputs *size"], given: Float[Tensor, "n given"] | None = None
    ) -> Float[Tensor, "n outputs *size"]:
        """Apply the block."""
        between = self.first(x, given)
        branch = self.second(between if self.dropout is None else self.dropout(between))
        return self.shortcut(x) + (branch if self.path is None else self.path(branch))


class Downsample(nn.Module):
    """Shrinks the axes, then applies `ConvNormAct`: n pixels become ⌈n / stride⌉.

    Args:
        dimension: 1, 2 or 3 spatial axes.
        channels: channels in.
        outputs: channels out.
        stride: factor, one number or one per axis.
        mode: "max" takes the largest of each cell of pixels, "mean" the mean (cells overlap where the axis is odd), "stride" leaves
            pixels out in the convolution, which is cheapest. On small images "max" learns far better than "stride".
        norm: "group", "batch" or "none".
        activation: name in `blocks.activations`, or a module class.
        given: size of a condition that scales and shifts each channel, 0 for none.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.
        standardise: whether the convolution's weights are standardised, as `convolution`.

    Shape: ``(n, channels, *size), (n, given) -> (n, outputs, *⌈size / stride⌉)``.

    Example:
        >>> import torch
        >>> Downsample(3, 4, 8)(torch.zeros(1, 4, 1, 2, 5)).shape
        torch.Size([1, 8, 1, 1, 3])
    """

    def __init__(
        self,
        dimension: int,
        channels: int,
        outputs: int,
        *,
        stride: int | Sequence[int] = 2,
        mode: Literal["max", "mean", "stride"] = "max",
        norm: Norm = "group",
        activation: str | type[nn.Module] = "silu",
        given: int = 0,
        initialiser: Initialiser = "gain",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        self.strides = (stride,) * dimension if isinstance(stride, int) else tuple(stride)
        self.mode = mode
        own: dict[str, Any] = {
            "norm": norm,
            "activation": activation,
            "given": given,
            "initialiser": initialiser,
            "standardise": standardise,
        }
        self.block = ConvNormAct(dimension, channels, outputs, stride=self.strides if mode == "stride" else 1, **own)

    def forward(
        self, x: Float[Tensor, "n channels *size"], given: Float[Tensor, "n given"] | None = None
    ) -> Float[Tensor, "n outputs *smaller"]:
        """Shrink and apply the block."""
        if self.mode == "max":
            x = _MAX_POOLS[len(self.strides) - 1](x, self.strides, ceil_mode=True)
        elif self.mode == "mean":
            size = tuple(-(-n // stride) for n, stride in zip(x.shape[2:], self.strides, strict=True))
            x = _MEAN_POOLS[len(self.strides) - 1](x, size)
        return self.block(x, given)


class Upsample(nn.Module):
    """Resizes to an exact size, so that any size can be reached, then applies `ConvNormAct`.

    Args:
        dimension: 1, 2 or 3 spatial axes.
        channels: channels in.
        outputs: channels out.
        size: extent of each axis afterwards.
        mode: "nearest", or "linear" (bilinear in two dimensions, trilinear in three).
        norm: "group", "batch" or "none".
        activation: name in `blocks.activations`, or a module class.
        given: size of a condition that scales and shifts each channel, 0 for none.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.
        standardise: whether the convolution's weights are standardised, as `convolution`.

    Shape: ``(n, channels, *any), (n, given) -> (n, outputs, *size)``.

    Reference: Odena et al. 2016, https://doi.org/10.23915/distill.00003

    Example:
        >>> import torch
        >>> Upsample(2, 8, 4, size=(7, 3))(torch.zeros(1, 8, 4, 2)).shape
        torch.Size([1, 4, 7, 3])
    """

    def __init__(
        self,
        dimension: int,
        channels: int,
        outputs: int,
        *,
        size: Sequence[int],
        mode: Literal["nearest", "linear"] = "nearest",
        norm: Norm = "group",
        activation: str | type[nn.Module] = "silu",
        given: int = 0,
        initialiser: Initialiser = "gain",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        self.size = tuple(size)
        self.mode = "nearest" if mode == "nearest" else _INTERPOLATIONS[dimension - 1]
        own: dict[str, Any] = {
            "norm": norm,
            "activation": activation,
            "given": given,
            "initialiser": initialiser,
            "standardise": standardise,
        }
        self.block = ConvNormAct(dimension, channels, outputs, **own)

    def forward(
        self, x: Float[Tensor, "n channels *size"], given: Float[Tensor, "n given"] | None = None
    ) -> Float[Tensor, "n outputs *larger"]:
        """Resize and apply the block."""
        if tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, size=self.size, mode=self.mode)
        return self.block(x, given)
