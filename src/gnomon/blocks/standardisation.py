"""Convolutions whose weights are standardised in every forward pass: mean zero and one size for each output channel.

Padding, strides and sizes are chosen in `blocks.convolution`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-5
"""Added to the sum of squares of a channel's weights, as normalisations add it to a variance."""


class _Standardised(nn.Module):
    """What the convolutions share: weights ``scale · (W - mean) / √(Σ(W - mean)² + ε)``, over the inputs of each output channel.

    Without a bias a normalisation is taken to follow, which makes a scale idle: there is none. With a bias, each output channel
    learns a scale as well.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: extent of each axis.
        stride: step of each axis.
        padding: pixels added at both ends of each axis.
        bias: whether each channel learns a constant and a scale.
        padding_mode: what stands outside the image.

    References: Qiao et al. 2019, https://arxiv.org/abs/1903.10520; with a scale Brock et al. 2021, https://arxiv.org/abs/2101.08692
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    _conv_forward: Any

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        *,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias, padding_mode=padding_mode)
        # one axis, as a bias has: decay, Muon and max-norm are for weights
        self.scale = nn.Parameter(torch.ones(outputs)) if bias else None

    def standardised(self) -> Tensor:
        """The weights that are used, of the shape of `weight`."""
        axes = tuple(range(1, self.weight.ndim))
        centred = self.weight - self.weight.mean(axes, keepdim=True)
        size = torch.rsqrt(centred.square().sum(axes, keepdim=True) + EPSILON)
        return centred * (size if self.scale is None else size * self.scale.reshape(size.shape))

    def forward(self, x: Float[Tensor, "n inputs *size"]) -> Float[Tensor, "n outputs *smaller"]:
        """Convolve with the standardised weights."""
        return self._conv_forward(x, self.standardised(), self.bias)


class StandardisedConv1d(_Standardised, nn.Conv1d):  # type: ignore[misc]
    """`torch.nn.Conv1d` with standardised weights.

    Example:
        >>> weights = StandardisedConv1d(2, 3, (3,), (1,), (1,)).standardised()
        >>> bool((weights.sum((1, 2)).abs() < 1e-5).all())
        True
    """


class StandardisedConv2d(_Standardised, nn.Conv2d):  # type: ignore[misc]
    """`torch.nn.Conv2d` with standardised weights; see `StandardisedConv1d`."""


class StandardisedConv3d(_Standardised, nn.Conv3d):  # type: ignore[misc]
    """`torch.nn.Conv3d` with standardised weights; see `StandardisedConv1d`."""
