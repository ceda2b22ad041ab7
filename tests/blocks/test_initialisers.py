"""Rules of the first weights: their scale, and what becomes of signals and gradients over fifty layers."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from gnomon.blocks import MLP, ConvNormAct, ResidualConv, ResidualMLP, convolution, gain, initialise, initialisers
from gnomon.blocks.initialisers import Initialiser, critical
from gnomon.data import Image, Ragged, Set, Vector
from gnomon.errors import OptionError
from gnomon.networks import make

IN, OUT = 400, 600
DEVIATIONS = {
    "gain": gain("silu") / math.sqrt(IN),
    "he": math.sqrt(2 / IN),
    "he_uniform": math.sqrt(2 / IN),
    "xavier": math.sqrt(2 / (IN + OUT)),
    "xavier_uniform": math.sqrt(2 / (IN + OUT)),
    "lecun": 1 / math.sqrt(IN),
    "lecun_uniform": 1 / math.sqrt(IN),
    "orthogonal": gain("silu") / math.sqrt(IN),
    "small": 0.01,
    "zeros": 0.0,
}


def test_the_names_that_blocks_take_are_those_of_the_table() -> None:
    assert set(get_args(Initialiser)) == set(initialisers) == {*DEVIATIONS, "critical"}


@pytest.mark.parametrize("name", DEVIATIONS)
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_the_deviation_of_the_weights(name: str, kind: str) -> None:
    torch.manual_seed(0)
    # 400 inputs and 600 outputs of a kernel of three
    layer = nn.Linear(IN, OUT) if kind == "linear" else convolution(1, IN, OUT)
    cells = 1 if kind == "linear" else 3
    for factor in (1.0, 0.1, 0.0):
        initialise(layer, factor, after="silu", initialiser=name)
        expected = factor * DEVIATIONS[name] / (1 if name == "small" else math.sqrt(cells))
        if name == "orthogonal" and kind == "convolution":
            expected = factor * gain("silu") / math.sqrt(3 * IN)
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.01, abs=1e-12)
        assert layer.bias.abs().max() == 0
    if name.endswith("uniform"):
        initialise(layer, initialiser=name)
        assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(3) * layer.weight.std().item(), rel=0.01)


def test_orthogonal_matrices_keep_lengths_or_sizes() -> None:
    square, tall, wide = nn.Linear(50, 50), nn.Linear(20, 80), nn.Linear(80, 20)
    for layer in (square, tall, wide):
        initialise(layer, initialiser="orthogonal")
    torch.testing.assert_close(square.weight @ square.weight.T, torch.eye(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(wide.weight @ wide.weight.T, torch.eye(20), atol=1e-5, rtol=0)
    torch.testing.assert_close(tall.weight.T @ tall.weight, 4 * torch.eye(20), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["arctan", "tanh", "silu", "gelu", "elu", "relu"])
def test_the_critical_point_by_adaptive_quadrature(name: str) -> None:
    point = critical(name)
    function = MLP(1, 1, hidden=(1,), activation=name)[1].double()

    def mean(moment: str, variance: float) -> float:
        def integrand(z: float) -> float:
            x = torch.tensor(z * math.sqrt(variance), dtype=torch.float64, requires_grad=True)
            y = function(x)
            (slope,) = torch.autograd.grad(y, x)
            return float((y if moment == "value" else slope).detach()) ** 2 * stats.norm.pdf(z)

        return integrate.quad(integrand, -9, 9, points=[0.0], limit=80)[0]

    q = point.variance
    assert point.weight**2 * mean("slope", q) == pytest.approx(1, rel=1e-5)
    assert point.weight**2 * mean("value", q) + point.bias**2 == pytest.approx(q, rel=1e-5)
    growth = point.weight**2 * (mean("value", 1.01 * q) - mean("value", 0.99 * q)) / (0.02 * q)
    assert growth < 1 + 1e-4
    assert point.gain**2 * mean("value", q) == pytest.approx(1, rel=1e-5)


def test_where_there_is_no_critical_point_the_gain_is_taken() -> None:
    assert critical("sigmoid") is None and critical("maxout") is None
    states = []
    for name in ("gain", "critical"):
        torch.manual_seed(0)
        states.append(MLP(3, 2, hidden=(8, 8), activation="maxout", initialiser=name).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


DEPTH, WIDTH = 50, 512


def squares(activation: str, initialiser: str, seed: int = 0) -> Tensor:
    """``(2, 50)`` mean squares of the activations of each layer, and of the gradients of a loss by them."""
    torch.manual_seed(seed)
    network = MLP(WIDTH, WIDTH, hidden=(WIDTH,) * DEPTH, activation=activation, initialiser=initialiser)
    hidden = []
    h = torch.randn(64, WIDTH)
    for layer in list(network)[:-1]:
        h = layer(h)
        if not isinstance(layer, nn.Linear):
            h.retain_grad()
            hidden.append(h)
    (network[-1](h) * torch.randn(64, WIDTH)).sum().backward()
    assert len(hidden) == DEPTH
    return torch.stack([torch.stack([part.detach().double().square().mean() for part in (h, h.grad)]) for h in hidden], 1)


def spans(activation: str, initialiser: str, seeds: int = 1) -> list[float]:
    """Largest over smallest size (root mean square over the networks) among fifty layers: of signals, and of gradients."""
    sizes = torch.stack([squares(activation, initialiser, seed) for seed in range(seeds)]).mean(0).sqrt()
    return (sizes.amax(1) / sizes.amin(1).clamp_min(1e-300)).tolist()


@pytest.mark.parametrize(
    ("activation", "initialiser"),
    [("relu", "he"), ("relu", "gain"), ("relu", "orthogonal"), ("tanh", "critical"), ("silu", "critical"), ("gelu", "critical")],
)
def test_over_fifty_layers_signals_and_gradients_keep_their_size_within_two(activation: str, initialiser: str) -> None:
    # a single network wanders about this by chance, the less the wider it is
    forward, backward = spans(activation, initialiser, seeds=4)
    assert forward < 2 and backward < 2


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
def test_over_fifty_layers_small_weights_lose_both(activation: str) -> None:
    forward, backward = spans(activation, "small")
    assert forward > 1e6 and backward > 1e6


@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_keeping_the_size_of_signals_alone_does_not_keep_that_of_gradients(activation: str) -> None:
    assert spans(activation, "gain")[1] > 10


BUILT = {
    "mlp": lambda name: make("encoder", Vector.real(3), "mlp", outputs=2, hidden=(8,), initialiser=name),
    "residual": lambda name: make("encoder", Vector.real(3), "residual", outputs=2, width=8, initialiser=name),
    "conv": lambda name: make("encoder", Image(1, (8, 8)), "conv", outputs=2, width=8, depth=3, initialiser=name),
    "deconv": lambda name: make("decoder", Image(1, (8, 8)), "deconv", inputs=2, width=8, initialiser=name),
    "unet": lambda name: make("mapper", Image(1, (8, 8)), "unet", width=8, initialiser=name),
    "deepsets": lambda name: make("encoder", Set(Vector.real(3)), "deepsets", outputs=2, element=(8, 8), hidden=(8,), initialiser=name),
}


@pytest.mark.parametrize("network", BUILT)
def test_every_network_hands_the_rule_to_all_its_layers(network: str) -> None:
    zeros = BUILT[network]("zeros")
    layers = [m for m in zeros.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    assert layers and all(layer.weight.abs().max() == 0 for layer in layers)
    small = BUILT[network]("small")
    weights = [m.weight for m in small.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    assert all(weight.abs().max() < 0.06 for weight in weights) and any(weight.abs().max() > 0 for weight in weights)
    x = {"deconv": torch.randn(4, 2), "deepsets": Ragged(torch.randn(5, 3), torch.tensor([4, 1]))}.get(network)
    x = x if x is not None else torch.randn(4, *((3,) if network in ("mlp", "residual") else (1, 8, 8)))
    for name in initialisers:
        assert torch.isfinite(BUILT[network](name)(x)).all()


@pytest.mark.parametrize("name", initialisers)
def test_what_blocks_start_at_zero_stays_zero_under_every_rule(name: str) -> None:
    block = ResidualMLP(3, 2, width=8, initialiser=name)
    assert all(outer.weight.abs().max() == 0 for outer in block.outer)
    x = torch.randn(2, 8, 5)
    assert torch.equal(ResidualConv(1, 8, 8, initialiser=name, standardise=True)(x), x)
    assert MLP(3, 2, final=0.0, initialiser=name)(torch.randn(4, 3)).abs().max() == 0


def test_errors_name_the_rule() -> None:
    with pytest.raises(OptionError, match="unknown initialiser 'xaver'; did you mean 'xavier'"):
        ConvNormAct(2, 1, 8, initialiser="xaver")
    with pytest.raises(OptionError, match="option 'initialiser' of network 'mlp' wants one of gain, critical, he"):
        make("encoder", Vector.real(3), outputs=2, initialiser="hee")
