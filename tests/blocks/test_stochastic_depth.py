"""Stochastic depth: whole examples, the right share of them, rising with depth, under every transform the loop uses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks import DropPath, ResidualConv, ResidualMLP, rising
from gnomon.data import Image, Vector
from gnomon.errors import OptionError
from gnomon.networks import make


@pytest.mark.parametrize("dimension", [0, 1, 2, 3])
def test_whole_examples_are_left_out_and_the_mean_stays(dimension: int) -> None:
    torch.manual_seed(0)
    y = DropPath(0.3, dimension=dimension)(torch.ones(20_000, 3, *(2,) * dimension)).flatten(1)
    assert (y == y[:, :1]).all()
    assert (y[:, 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.015)
    torch.testing.assert_close(y.unique(), torch.tensor([0, 1 / 0.7]))


def test_each_vector_of_two_batch_axes_is_an_example() -> None:
    torch.manual_seed(0)
    y = DropPath(0.5)(torch.ones(40, 30, 4))
    assert (y == y[..., :1]).all() and 0.4 < (y[..., 0] == 0).float().mean() < 0.6 and y[0].unique().numel() == 2


def test_evaluation_and_probability_zero_leave_all() -> None:
    x = torch.randn(50, 3)
    assert DropPath(0.5).eval()(x) is x and DropPath(0.0)(x) is x


def test_no_examples_are_legal() -> None:
    assert DropPath(0.5, dimension=2)(torch.zeros(0, 3, 2, 2)).shape == (0, 3, 2, 2)


@pytest.mark.parametrize("wrong", [-0.1, 1.0])
def test_a_probability_out_of_range_is_refused(wrong: float) -> None:
    with pytest.raises(OptionError, match="at least 0 and below 1"):
        DropPath(wrong)


def probabilities(network: nn.Module) -> list[float]:
    return [module.p for module in network.modules() if isinstance(module, DropPath)]


def test_networks_rise_linearly_with_depth() -> None:
    residual = make("encoder", Vector.real(3), "residual", outputs=2, depth=4, drop_path=0.4)
    assert probabilities(residual) == pytest.approx([0.1, 0.2, 0.3, 0.4]) == rising(0.4, 4)
    conv = make("encoder", Image(1, (8, 8)), "conv", outputs=2, depth=4, width=8, drop_path=0.4)  # two stages of two pairs
    assert probabilities(conv) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    deconv = make("decoder", Image(1, (8, 8)), "deconv", inputs=2, depth=3, width=8, drop_path=0.4)
    assert probabilities(deconv) == pytest.approx([0.2, 0.4])
    unet = make("mapper", Image(1, (16, 16)), "unet", width=8, drop_path=0.5)  # two down, one between, two up
    assert [pairs[0].path.p for pairs in (unet.down[0], unet.down[2], unet.middle, unet.up[1], unet.up[3])] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5]
    )
    assert not probabilities(make("mapper", Image(1, (8, 8)), "unet", width=8))


@pytest.mark.parametrize(("role", "name"), [("encoder", "conv"), ("decoder", "deconv")])
def test_a_network_without_pairs_says_so(role: str, name: str) -> None:
    with pytest.raises(OptionError, match=f"this network '{name}' has none; set depth=3 or more"):
        make(role, Image(1, (8, 8)), name, depth=2, drop_path=0.1, **({"outputs": 2} if role == "encoder" else {"inputs": 2}))


def test_a_residual_layer_left_out_is_the_identity() -> None:
    torch.manual_seed(0)
    block = ResidualConv(2, 8, 8, drop_path=0.5)
    nn.init.normal_(block.second.weight)
    x = torch.randn(60, 8, 3, 3)
    change = (block(x) - x).flatten(1).abs().amax(1)
    whole = (block.eval()(x) - x).flatten(1).abs().amax(1)
    left_out = change == 0
    assert 10 < left_out.sum() < 50
    torch.testing.assert_close(change[~left_out], 2 * whole[~left_out], rtol=1e-4, atol=1e-4)


BLOCKS = {
    "ResidualMLP": (lambda: ResidualMLP(3, 2, width=8, drop_path=0.5), (16, 3)),
    "ResidualConv": (lambda: ResidualConv(2, 3, 4, drop_path=0.5, dropout=0.5, standardise=True), (16, 3, 4, 4)),
    "unet": (
        lambda: make("mapper", Image(3, (4, 4)), "unet", width=8, drop_path=0.5, dropout=0.5, standardise=True, norm="none"),
        (16, 3, 4, 4),
    ),
}


def moved(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = BLOCKS[name][0]()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", BLOCKS)
def test_vmap_draws_anew_for_every_seed(name: str) -> None:
    module, x = moved(name), torch.randn(BLOCKS[name][1])
    parameters, buffers = stack_module_state([moved(name), moved(name)])  # twice the same weights

    def loss(p: dict, b: dict) -> torch.Tensor:
        return functional_call(module, (p, b), (x,)).square().sum()

    torch.manual_seed(0)
    slopes, values = vmap(torch.func.grad_and_value(loss), randomness="different")(parameters, buffers)
    assert values[0] != values[1] and all(torch.isfinite(slope).all() for slope in slopes.values())


@pytest.mark.parametrize("name", BLOCKS)
def test_second_derivatives_go_through(name: str) -> None:
    module, x = moved(name), torch.randn(BLOCKS[name][1], requires_grad=True)
    (slope,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_compiles_in_one_graph_in_training(name: str) -> None:
    module, x = moved(name), torch.randn(BLOCKS[name][1])
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    y = compiled(x)
    y.square().sum().backward()
    assert torch.isfinite(y).all() and not torch.equal(y, compiled(x))
    torch.testing.assert_close(torch.compile(module.eval(), fullgraph=True, backend="aot_eager")(x), module(x), rtol=1e-4, atol=1e-5)


def test_dropout_of_the_unet_acts_in_training_only() -> None:
    network, x = moved("unet"), torch.randn(4, 3, 4, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
