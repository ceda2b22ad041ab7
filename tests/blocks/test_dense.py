"""Dense blocks against formulas."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats

from gnomon.blocks import MLP, ResidualMLP, activations, gain, initialise
from gnomon.errors import OptionError

ALONE = [name for name in activations if name not in ("maxout", "softmax")]  # units that see no other


@pytest.mark.parametrize("name", ALONE)
def test_gain_by_adaptive_quadrature(name: str) -> None:
    function = activations[name]().double()
    second_moment, _ = integrate.quad(
        lambda z: function(torch.tensor(z, dtype=torch.float64)).item() ** 2 * stats.norm.pdf(z), -8, 8, points=[0.0]
    )
    assert gain(name) == pytest.approx(second_moment**-0.5, rel=1e-5)


def test_gain_of_relu_is_that_of_he() -> None:
    assert gain("relu") == pytest.approx(math.sqrt(2), rel=1e-6)


@pytest.mark.parametrize("name", ["relu", "silu", "tanh", "gelu"])
def test_signals_keep_their_size_through_many_layers(name: str) -> None:
    torch.manual_seed(0)
    network = MLP(256, 256, hidden=(256,) * 12, activation=name)
    assert 0.5 < network(torch.randn(500, 256)).std().item() < 2


def test_mlp_is_the_product_of_its_layers() -> None:
    torch.manual_seed(0)
    network, x = MLP(3, 2, hidden=(5, 4), activation="tanh"), torch.randn(6, 3)
    (w1, b1, w2, b2, w3, b3) = network.parameters()
    expected = torch.tanh(torch.tanh(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    torch.testing.assert_close(network(x), expected)
    assert [tuple(w.shape) for w in (w1, w2, w3)] == [(5, 3), (4, 5), (2, 4)]


def test_residual_mlp_is_its_formula() -> None:
    torch.manual_seed(0)
    network, x, given = ResidualMLP(3, 2, width=5, depth=2, given=4, activation="tanh"), torch.randn(6, 3), torch.randn(6, 4)
    for outer in network.outer:
        initialise(outer)
    h = network.first(torch.cat([x, given], 1))
    for inner, outer in zip(network.inner, network.outer, strict=True):
        h = h + outer(torch.tanh(inner(torch.cat([torch.tanh(h), given], 1))))
    torch.testing.assert_close(network(x, given), network.last(torch.tanh(h)))


def test_residual_layers_start_as_nothing() -> None:
    torch.manual_seed(0)
    deep, x = ResidualMLP(3, 2, width=8, depth=6), torch.randn(4, 3)
    torch.testing.assert_close(deep(x), deep.last(deep.activation(deep.first(x))))


@pytest.mark.parametrize("block", [MLP, ResidualMLP])
def test_final_zero_is_the_zero_function(block: type) -> None:
    assert torch.equal(block(3, 2, final=0.0)(torch.randn(5, 3)), torch.zeros(5, 2))


@pytest.mark.parametrize("block", [MLP, ResidualMLP])
def test_dropout_acts_in_training_only(block: type) -> None:
    network, x = block(3, 2, dropout=0.5), torch.randn(20, 3)
    if block is ResidualMLP:
        initialise(network.outer[0])
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_batch_norm_normalises_the_batch() -> None:
    torch.manual_seed(0)
    network = MLP(3, 7, hidden=(50,), norm="batch", activation="identity")
    hidden = network[1](network[0](5 + 3 * torch.randn(400, 3)))
    torch.testing.assert_close(hidden.mean(0), torch.zeros(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(hidden.std(0, correction=0), torch.ones(50), atol=1e-3, rtol=0)


def test_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'silu'"):
        MLP(3, 2, activation="siluu")


def test_activation_may_be_a_class() -> None:
    assert isinstance(MLP(3, 2, hidden=(4,), activation=torch.nn.Hardtanh)[1], torch.nn.Hardtanh)
