"""Activations by name, and weights drawn so that signals keep their size through them.

What the activations stand between (dense layers, convolutions) lives in the blocks that use them.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import nn

from gnomon.errors import OptionError
from gnomon.options import unknown

activations: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def activation_class(activation: str | type[nn.Module]) -> type[nn.Module]:
    """The module class of an activation.

    Args:
        activation: a name in `activations`, or a module class, which is returned as it is.

    Raises:
        OptionError: the name is not known.

    Example:
        >>> activation_class("tanh")()
        Tanh()
    """
    if not isinstance(activation, str):
        return activation
    if activation not in activations:
        raise OptionError(unknown("activation", activation, activations))
    return activations[activation]


def gain(activation: str | type[nn.Module]) -> float:
    """The factor that makes ``f(z)`` of standard normal ``z`` have second moment one: √2 for relu, 1.68 for silu.

    Reference: the argument of He et al. 2015, https://arxiv.org/abs/1502.01852, for any activation.

    Example:
        >>> round(gain("relu"), 2), round(gain("identity"), 2)
        (1.41, 1.0)
    """
    module: Any = activation_class(activation)
    return _gain_of(module)


@functools.cache
def _gain_of(module: Any) -> float:
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    with torch.no_grad():
        squares = module()(z).square()
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return float(torch.trapezoid(squares * density, z)) ** -0.5


def initialise(layer: nn.Module, factor: float = 1.0) -> None:
    """Draw normal weights with standard deviation ``factor / √fan_in``, and zero the bias; `factor` 0 gives zeros.

    Args:
        layer: a linear layer or a convolution.
        factor: standard deviation of the output for independent standard normal inputs.

    Uses torch's global generator.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> initialise(layer, 0.0)
        >>> layer.weight.abs().max().item()
        0.0
    """
    weight, bias = layer.get_parameter("weight"), layer.bias
    with torch.no_grad():
        weight.normal_(0.0, factor / math.sqrt(weight[0].numel()))
        if isinstance(bias, nn.Parameter):
            bias.zero_()
