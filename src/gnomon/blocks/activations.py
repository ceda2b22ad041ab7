"""Activations by name, and the factor that keeps the size of a signal through each of them.

What they stand between (dense layers, convolutions) lives in the blocks that use them; weights are drawn in `blocks.initialisers`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.errors import OptionError
from gnomon.options import unknown


class Arctan(nn.Module):
    """The angle whose tangent is x: a sigmoid from -π/2 to π/2 with long tails.

    Example:
        >>> Arctan()(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.7854])
    """

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """atan(x)."""
        return x.atan()


class Step(nn.Module):
    """The Heaviside step, 1 for x ≥ 0 and 0 below, with a straight-through gradient.

    The true derivative is zero wherever it exists, and nothing would be learned through it. Instead the derivative is taken to be
    1 where |x| ≤ 1 and 0 elsewhere, as if the step were x itself, cut off at ±1.

    References: Bengio et al. 2013, https://arxiv.org/abs/1308.3432; the cut-off: Hubara et al. 2016,
    https://arxiv.org/abs/1602.02830

    Example:
        >>> x = torch.tensor([-3.0, -0.5, 0.0, 0.5], requires_grad=True)
        >>> y = Step()(x)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0])
    """

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Zeros and ones."""
        through = x.clamp(-1, 1)
        return (x >= 0).to(x.dtype) + (through - through.detach())

    @staticmethod
    def second_moment(width: int) -> float:
        """E[f(z)²] for standard normal z: half of them are one."""
        return 0.5


class AlongUnits(nn.Module):
    """An activation in which the units of one layer act on each other.

    Args:
        axis: the axis of the units, counted from the end: -1 after a dense layer, -3 in images of two dimensions.
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class Softmax(AlongUnits):
    """Positive numbers that sum to one over the units.

    Example:
        >>> Softmax()(torch.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """exp(x) over its sum."""
        return x.softmax(self.axis)

    @staticmethod
    def second_moment(width: int) -> float:
        """E[f(z)²] of one of `width` units for independent standard normal z, to six digits."""
        return _softmax_second_moment(width)


class Maxout(AlongUnits):
    """The largest of several pieces for each unit, where every piece is a linear function of the layer before: a learned convex shape.

    The dense layer or convolution before it gives `pieces` numbers for every unit; blocks see to that, so that ``hidden`` and
    ``width`` count units here as everywhere. Another number of pieces is a subclass with another `pieces`.

    Shape: ``(…, pieces · units, …) -> (…, units, …)``; the pieces of a unit stand side by side.

    Reference: Goodfellow et al. 2013, https://arxiv.org/abs/1302.4389

    Example:
        >>> Maxout()(torch.tensor([1.0, 2.0, -1.0, -3.0]))
        tensor([ 2., -1.])
    """

    pieces: ClassVar[int] = 2

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*units"]:
        """The maxima."""
        return x.unflatten(self.axis, (-1, self.pieces)).amax(self.axis)

    @classmethod
    def second_moment(cls, width: int) -> float:
        """E[f(z)²] for independent standard normal pieces."""
        z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
        below = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
        return float(torch.trapezoid(z.square() * cls.pieces * below ** (cls.pieces - 1) * _density(z), z))


activations: dict[str, type[nn.Module]] = {
    "arctan": Arctan,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "maxout": Maxout,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softmax": Softmax,
    "softplus": nn.Softplus,
    "step": Step,
    "tanh": nn.Tanh,
}
"""Every activation by name. PReLU learns one slope for each layer (He et al. 2015, https://arxiv.org/abs/1502.01852)."""


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


def make_activation(activation: str | type[nn.Module], *, dimension: int = 0) -> nn.Module:
    """An activation for a layer whose units are followed by `dimension` spatial axes.

    Args:
        activation: a name in `activations`, or a module class that takes no arguments.
        dimension: 0 after a dense layer; 1, 2 or 3 in images.

    Raises:
        OptionError: the name is not known.

    Example:
        >>> make_activation("softmax", dimension=2)(torch.zeros(1, 4, 3, 3))[0, :, 0, 0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    module = activation_class(activation)
    return module(axis=-1 - dimension) if issubclass(module, AlongUnits) else module()


def pieces(activation: str | type[nn.Module]) -> int:
    """How many numbers the layer before an activation gives for each unit: one, and for maxout as many as it has pieces.

    Example:
        >>> pieces("relu"), pieces("maxout")
        (1, 2)
    """
    module = activation_class(activation)
    return module.pieces if issubclass(module, Maxout) else 1


def gain(activation: str | type[nn.Module], width: int = 1) -> float:
    """The factor that makes ``f(z)`` of standard normal ``z`` have second moment one: √2 for relu, 1.68 for silu.

    Args:
        activation: a name in `activations`, or a module class.
        width: units of the layer; only softmax depends on it.

    Reference: the argument of He et al. 2015, https://arxiv.org/abs/1502.01852, for any activation.

    Example:
        >>> round(gain("relu"), 2), round(gain("identity"), 2)
        (1.41, 1.0)
    """
    module: Any = activation_class(activation)
    return _gain_of(module, width if issubclass(module, Softmax) else 1)


@functools.cache
def _gain_of(module: Any, width: int) -> float:
    if hasattr(module, "second_moment"):
        return float(module.second_moment(width)) ** -0.5
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    with torch.no_grad():
        squares = module().double()(z).square()
    return float(torch.trapezoid(squares * _density(z), z)) ** -0.5


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)


@functools.cache
def _softmax_second_moment(width: int) -> float:
    # 1/S² is the integral of t exp(-tS), which makes the other units independent factors; t = exp(u)
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)
    u = torch.linspace(-15 - math.log(width), 15, 1201, dtype=torch.float64)
    decay = torch.exp(-torch.exp(u[:, None] + z))
    others = torch.trapezoid(decay * _density(z), z) ** (width - 1)
    own = torch.trapezoid(torch.exp(2 * (u[:, None] + z)) * decay * _density(z), z)
    return float(torch.trapezoid(own * others, u))
