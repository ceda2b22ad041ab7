"""Activations against their closed forms, gains against draws, and those with parameters at work."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gnomon.blocks import MLP, ConvNormAct, activation_class, activations, gain, make_activation, pieces
from gnomon.blocks.activations import AlongUnits, Maxout
from gnomon.errors import OptionError

Formula = Callable[[float], float]


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def normal_pdf(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


CLOSED: dict[str, tuple[Formula, Formula]] = {
    "arctan": (math.atan, lambda x: 1 / (1 + x * x)),
    "elu": (lambda x: x if x > 0 else math.expm1(x), lambda x: 1.0 if x > 0 else math.exp(x)),
    "gelu": (lambda x: x * normal_cdf(x), lambda x: normal_cdf(x) + x * normal_pdf(x)),
    "identity": (lambda x: x, lambda x: 1.0),
    "leaky_relu": (lambda x: x if x > 0 else 0.01 * x, lambda x: 1.0 if x > 0 else 0.01),
    "prelu": (lambda x: x if x > 0 else 0.25 * x, lambda x: 1.0 if x > 0 else 0.25),
    "relu": (lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "sigmoid": (logistic, lambda x: logistic(x) * logistic(-x)),
    "silu": (lambda x: x * logistic(x), lambda x: logistic(x) * (1 + x * logistic(-x))),
    "softplus": (lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))), logistic),
    "step": (lambda x: float(x >= 0), lambda x: float(abs(x) <= 1)),  # the derivative is that of the straight-through rule
    "tanh": (math.tanh, lambda x: 1 / math.cosh(x) ** 2),
}
POINTS = [-7.0, -2.5, -1.01, -0.99, -0.3, -1e-3, 1e-3, 0.4, 0.999, 1.5, 3.0, 6.5]


def test_every_activation_of_single_units_has_a_closed_form_here() -> None:
    assert set(CLOSED) == {name for name in activations if not issubclass(activations[name], AlongUnits)}


@pytest.mark.parametrize("name", CLOSED)
def test_values_and_derivatives_are_the_closed_forms(name: str) -> None:
    value, slope = CLOSED[name]
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    y = make_activation(name).double()(x)
    (derivative,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y.tolist(), [value(p) for p in POINTS], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(derivative.tolist(), [slope(p) for p in POINTS], rtol=1e-12, atol=1e-12)


def test_softmax_and_its_derivative() -> None:
    x = torch.tensor([0.3, -2.0, 1.7], dtype=torch.float64)
    p = [math.exp(v) / sum(math.exp(w) for w in x.tolist()) for v in x.tolist()]
    softmax = make_activation("softmax")
    torch.testing.assert_close(softmax(x).tolist(), p, rtol=1e-12, atol=1e-12)
    expected = [[p[i] * ((i == j) - p[j]) for j in range(3)] for i in range(3)]
    torch.testing.assert_close(torch.func.jacrev(softmax)(x).tolist(), expected, rtol=1e-12, atol=1e-12)


def test_maxout_and_its_derivative() -> None:
    x = torch.tensor([0.3, -2.0, 1.7, 1.8], dtype=torch.float64, requires_grad=True)
    y = make_activation("maxout")(x)
    y.sum().backward()
    assert y.tolist() == [0.3, 1.8] and x.grad.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("dimension", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["softmax", "maxout"])
def test_units_are_the_channels_in_images(name: str, dimension: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, *(3, 2, 4)[:dimension])
    y = make_activation(name, dimension=dimension)(x)
    expected = x.softmax(1) if name == "softmax" else torch.maximum(x[:, ::2], x[:, 1::2])
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("x", [-math.inf, -1e30, 1e30, math.inf])
def test_a_step_is_a_step_however_far(x: float) -> None:
    y = make_activation("step")(torch.tensor([x], requires_grad=True))
    assert y.item() == float(x > 0)


def test_gain_of_maxout_and_softmax_by_drawing() -> None:
    generator = torch.Generator().manual_seed(0)
    for width in (1, 2, 7, 64):
        z = torch.randn(400_000 // width, width, dtype=torch.float64, generator=generator)
        assert gain("softmax", width) == pytest.approx(z.softmax(-1).square().mean().item() ** -0.5, rel=0.02)

    class Maxout5(Maxout):
        pieces = 5

    for module in (Maxout, Maxout5):
        z = torch.randn(200_000, module.pieces, dtype=torch.float64, generator=generator)
        assert gain(module) == pytest.approx(module()(z).square().mean().item() ** -0.5, rel=0.01)
    assert gain("maxout") == pytest.approx(1.0, rel=1e-6)  # of two numbers the larger and the smaller have one second moment


@pytest.mark.parametrize("name", ["maxout", "softmax", "prelu", "arctan", "step"])
def test_signals_keep_their_size_through_layers(name: str) -> None:
    torch.manual_seed(0)
    network = MLP(256, 256, hidden=(256,) * 6, activation=name)
    assert 0.4 < network(torch.randn(500, 256)).square().mean().sqrt().item() < 2.5


def test_prelu_learns_its_slope() -> None:
    torch.manual_seed(0)
    network = MLP(1, 1, hidden=(8,), activation="prelu")
    x = torch.linspace(-2, 2, 64)[:, None]
    before = [p.clone() for p in network.parameters()]
    fit(network, x, torch.where(x > 0, x, -0.7 * x), steps=5)
    assert network[1].weight.numel() == 1 and all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_one_maxout_unit_learns_the_absolute_value() -> None:
    torch.manual_seed(0)
    network = MLP(1, 1, hidden=(1,), activation="maxout")
    x = torch.linspace(-2, 2, 64)[:, None]
    before = network[0].weight.clone()
    fit(network, x, x.abs(), steps=5)
    assert (network[0].weight != before).all()  # both pieces have moved
    fit(network, x, x.abs(), steps=600)
    assert (network(x) - x.abs()).abs().max() < 0.05  # which a single unit of any other activation cannot


def fit(network: nn.Module, x: Tensor, y: Tensor, *, steps: int) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        (network(x) - y).square().mean().backward()
        optimiser.step()


def test_a_layer_before_maxout_gives_its_pieces() -> None:
    assert pieces("maxout") == 2 and pieces(nn.ReLU) == 1
    network = MLP(3, 2, hidden=(5, 4), activation="maxout", norm="layer")
    assert [tuple(p.shape) for p in network.parameters() if p.ndim == 2] == [(10, 3), (8, 5), (2, 4)]
    assert ConvNormAct(2, 3, 8, activation="maxout").conv.weight.shape == (16, 3, 3, 3)


def test_a_step_learns_through_its_gradient() -> None:
    torch.manual_seed(0)
    network = MLP(2, 1, hidden=(16,), activation="step")
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]) * 2 - 1
    fit(network, x, torch.tensor([[0.0], [1], [1], [0]]), steps=400)
    assert ((network(x) > 0.5).flatten() == torch.tensor([False, True, True, False])).all()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'maxout'"):
        activation_class("maxuot")
