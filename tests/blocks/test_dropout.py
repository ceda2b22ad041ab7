"""Options of networks that cannot be: named before a layer is built, whatever block they reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gnomon.blocks import MLP, ResidualConv, ResidualMLP
from gnomon.blocks.bijections.masked import AutoregressiveConditioner
from gnomon.data import Image, Tokens
from gnomon.errors import OptionError
from gnomon.networks import make

WITH_DROPOUT: dict[str, Callable[[float], nn.Module]] = {
    "mlp": lambda p: MLP(2, 1, dropout=p),
    "residual": lambda p: ResidualMLP(2, 1, dropout=p),
    "masked": lambda p: AutoregressiveConditioner(3, 2, dropout=p),
    "convolution": lambda p: ResidualConv(2, 4, 4, dropout=p),
    "recurrent": lambda p: make("encoder", Tokens(("a", "b")), "recurrent", outputs=2, dropout=p),
    "transformer": lambda p: make("encoder", Tokens(("a", "b")), "transformer", outputs=2, dropout=p),
    "conv": lambda p: make("encoder", Image(1, (8, 8)), outputs=2, dropout=p),
}


@pytest.mark.parametrize("block", WITH_DROPOUT)
@pytest.mark.parametrize("probability", [-0.1, 1.0, 1.5, float("nan")])
def test_a_probability_out_of_range_is_named(block: str, probability: float) -> None:
    with pytest.raises(OptionError, match="at least 0 and below 1; got"):
        WITH_DROPOUT[block](probability)


@pytest.mark.parametrize("block", WITH_DROPOUT)
def test_none_is_no_layer(block: str) -> None:
    assert not any(isinstance(module, nn.Dropout) for module in WITH_DROPOUT[block](0.0).modules())
    assert any(isinstance(module, nn.Dropout) and module.p == 0.3 for module in WITH_DROPOUT[block](0.3).modules())


@pytest.mark.parametrize(
    "block", [lambda: MLP(2, 1, hidden=(8, 0)), lambda: ResidualMLP(2, 1, width=0), lambda: AutoregressiveConditioner(3, 2, hidden=(0, 0))]
)
def test_a_width_of_zero_is_named(block: Callable[[], nn.Module]) -> None:
    with pytest.raises(OptionError, match="widths of 1 or more, such as 128,128; got"):
        block()


def test_no_hidden_layer_is_a_linear_map() -> None:
    block = MLP(2, 1, hidden=())
    x = torch.randn(3, 2)
    assert torch.equal(block(x) + block(-x), 2 * block(torch.zeros(3, 2)))
