"""Weights before the first step, by name: rules that keep the size of a signal through depth, and planted faults that do not.

Which activation a layer follows is told by the block that holds it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gnomon.blocks.activations import activation_class, gain
from gnomon.errors import OptionError
from gnomon.options import unknown

Initialiser = Literal[
    "gain", "critical", "he", "he_uniform", "xavier", "xavier_uniform", "lecun", "lecun_uniform", "orthogonal", "small", "zeros"
]
"""What a block takes as `initialiser`; the names of `initialisers`."""


class Fan(NamedTuple):
    """What a rule may look at.

    Args:
        inputs: numbers that one output is a sum of.
        outputs: numbers that one input adds to.
        gain: factor that undoes the shrinking by the activation before the layer.
    """

    inputs: int
    outputs: int
    gain: float


Rule = Callable[[Tensor, float, Fan], object]
"""Fills a weight ``(outputs, inputs, *kernel)`` in place; the number multiplies."""


def _normal(numerator: Callable[[Fan], float], denominator: Callable[[Fan], float]) -> Rule:
    """Normal weights with standard deviation numerator / √denominator."""
    return lambda weight, factor, fan: weight.normal_(0.0, factor * numerator(fan) / math.sqrt(denominator(fan)))


def _uniform(numerator: Callable[[Fan], float], denominator: Callable[[Fan], float]) -> Rule:
    """Uniform weights with that standard deviation."""

    def fill(weight: Tensor, factor: float, fan: Fan) -> None:
        bound = math.sqrt(3) * factor * numerator(fan) / math.sqrt(denominator(fan))
        weight.uniform_(-1.0, 1.0).mul_(bound)

    return fill


def _orthogonal(weight: Tensor, factor: float, fan: Fan) -> None:
    # orthogonal columns of a tall matrix keep the length of the input, not the size of each output
    tall = max(1.0, len(weight) / fan.inputs)
    nn.init.orthogonal_(weight, factor * fan.gain * math.sqrt(tall))


_TWO = math.sqrt(2)
initialisers: dict[str, Rule] = {
    "gain": _normal(lambda fan: fan.gain, lambda fan: fan.inputs),
    "critical": _normal(lambda fan: fan.gain, lambda fan: fan.inputs),
    "he": _normal(lambda fan: _TWO, lambda fan: fan.inputs),
    "he_uniform": _uniform(lambda fan: _TWO, lambda fan: fan.inputs),
    "xavier": _normal(lambda fan: _TWO, lambda fan: fan.inputs + fan.outputs),
    "xavier_uniform": _uniform(lambda fan: _TWO, lambda fan: fan.inputs + fan.outputs),
    "lecun": _normal(lambda fan: 1.0, lambda fan: fan.inputs),
    "lecun_uniform": _uniform(lambda fan: 1.0, lambda fan: fan.inputs),
    "orthogonal": _orthogonal,
    "small": _normal(lambda fan: 0.01, lambda fan: 1.0),
    "zeros": lambda weight, factor, fan: weight.zero_(),
}
"""Every rule by name.

========================  ============================================================================================
``gain``                  N(0, gain² / inputs), the gain that of the activation before: outputs keep their size (the default)
``critical``              as `gain`, but with a size of signal, and biases, at which gradients keep theirs too: `Critical`
``he``                    N(0, 2 / inputs), for relu; He et al. 2015, https://arxiv.org/abs/1502.01852
``xavier``                N(0, 2 / (inputs + outputs)), for tanh; Glorot & Bengio 2010
``lecun``                 N(0, 1 / inputs); LeCun et al. 1998, https://doi.org/10.1007/3-540-49430-8_2
``…_uniform``             the same standard deviation, uniform
``orthogonal``            orthogonal rows (or columns) times the gain; Saxe et al. 2014, https://arxiv.org/abs/1312.6120
``small``                 N(0, 0.01²) whatever the width: signals vanish with depth
``zeros``                 nothing moves but the last bias: a fault to be found
========================  ============================================================================================
"""


def initialise(
    layer: nn.Module,
    factor: float = 1.0,
    *,
    after: str | type[nn.Module] | None = None,
    before: str | type[nn.Module] | None = None,
    initialiser: str = "gain",
) -> None:
    """Draw the weights of a layer, and zero the bias (which "critical" draws too).

    By default weights are normal with standard deviation ``factor · gain(after) / √fan_in``. A convolution with standardised
    weights has its scale set instead, as far as it has one.

    Args:
        layer: a linear layer or a convolution.
        factor: multiplies the weights; 0 gives zeros under every rule. Without `after` it is, by default, the standard deviation
            of the output for independent standard normal inputs.
        after: the activation the inputs have been through; None for none.
        before: the activation the outputs go through; only "critical" asks.
        initialiser: name in `initialisers`.

    Raises:
        OptionError: the name is not known.

    Uses torch's global generator.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> initialise(layer, 0.0)
        >>> layer.weight.abs().max().item()
        0.0
    """
    if initialiser not in initialisers:
        raise OptionError(unknown("initialiser", initialiser, initialisers))
    weight, bias, scale = layer.get_parameter("weight"), layer.bias, getattr(layer, "scale", None)
    cells = weight[0, 0].numel()
    signal, spread = (1.0 if after is None else gain(after, weight.shape[1])), 0.0
    if initialiser == "critical":
        signal, spread = _critical_signal(after, before, signal)
    fan = Fan(weight.shape[1] * cells, weight.shape[0] * cells, signal)
    with torch.no_grad():
        if isinstance(scale, nn.Parameter):
            scale.fill_(factor * signal)
            factor = 1.0
        initialisers[initialiser](weight, factor, fan)
        if isinstance(bias, nn.Parameter):
            bias.zero_()
            if spread and factor:
                bias.normal_(0.0, factor * spread)


class Critical(NamedTuple):
    """Where signals neither shrink nor grow through a deep stack of layers with one activation, and gradients neither.

    With weights N(0, `weight`² / inputs) and biases N(0, `bias`²), numbers before the activation keep the variance `variance`, and
    gradients keep their size on average: weight² E[f'(z)²] = 1 and variance = weight² E[f(z)²] + bias², z ~ N(0, variance).
    Of the variances from one upwards the first is taken from which small deviations do not grow.

    Args:
        weight: factor of the weights of hidden layers.
        bias: standard deviation of their biases.
        variance: of the numbers before the activation.
        gain: factor that makes the last layer's outputs have second moment one.

    References: Poole et al. 2016, https://arxiv.org/abs/1606.05340; Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232;
    Hayou et al. 2019, https://arxiv.org/abs/1902.06853
    """

    weight: float
    bias: float
    variance: float
    gain: float


def critical(activation: str | type[nn.Module]) -> Critical | None:
    """The critical point of an activation; None where there is none with a variance up to 16 (sigmoid, softplus, step, softmax).

    Example:
        >>> point = critical("tanh")
        >>> [round(number, 2) for number in point]
        [1.47, 0.39, 1.0, 1.59]
        >>> critical("sigmoid") is None
        True
    """
    module: Any = activation_class(activation)
    return _critical(module)


def _critical_signal(after: Any, before: Any, otherwise: float) -> tuple[float, float]:
    """The factor on the weights and the spread of the bias."""
    point = critical(before if after is None else after) if (after or before) is not None else None
    if point is None:
        return otherwise, 0.0
    if after is None:
        return math.sqrt(point.variance), 0.0
    return (point.gain, 0.0) if before is None else (point.weight, point.bias)


_ALLOWANCE = 1e-5  # of the quadrature


@functools.cache
def _critical(module: Any) -> Critical | None:
    if hasattr(module, "second_moment"):
        return None  # units act on each other, or the derivative is not the true one
    function = module().double()
    for exponent in range(33):
        variance = 2 ** (exponent / 8)
        squares, slopes = _moments(function, variance)
        weight = 1 / slopes
        bias = variance - weight * squares
        step = 1e-3 * variance
        growth = weight * (_moments(function, variance + step)[0] - _moments(function, variance - step)[0]) / (2 * step)
        if bias >= -_ALLOWANCE * variance and growth <= 1 + _ALLOWANCE:
            return Critical(math.sqrt(weight), math.sqrt(bias) if bias > _ALLOWANCE * variance else 0.0, variance, squares**-0.5)
    return None


def _moments(function: nn.Module, variance: float) -> tuple[float, float]:
    """E[f(z)²] and E[f'(z)²] for z ~ N(0, variance); no node falls on zero, where derivatives may jump."""
    z = torch.linspace(-9, 9, 4000, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    with torch.enable_grad():
        x = (z * math.sqrt(variance)).requires_grad_()
        y = function(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
    squares, slopes = (torch.trapezoid(v.detach().square() * density, z) for v in (y, slope))
    return float(squares), float(slopes)
