"""Networks of texts: what stands before is all a mapper knows, asked at once or step by step; encoders know order; words are hidden."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gnomon.data import Ragged, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.networks import make

ABC = Tokens(("a", "b", "c"))
MAPPERS = ["recurrent", "causal"]
ENCODERS = ["recurrent", "transformer"]


def built(role: str, name: str, given: int = 0, **options: Any) -> Any:
    torch.manual_seed(0)
    network = make(role, ABC, name, outputs=4, given=given, size=0.25, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", MAPPERS)
def test_later_symbols_change_nothing_before_them(name: str, layers: int) -> None:
    network = built("mapper", name, layers=layers)
    lengths = torch.tensor([5, 3])
    one = network(Ragged(torch.tensor([0, 1, 2, 0, 1, 2, 2, 0]), lengths))
    other = network(Ragged(torch.tensor([0, 1, 0, 0, 2, 2, 2, 0]), lengths))  # the first text differs from its third symbol on
    torch.testing.assert_close(other[:2], one[:2])
    torch.testing.assert_close(other[5:], one[5:])
    assert not torch.isclose(other[2:5], one[2:5]).any()


@pytest.mark.parametrize("given", [0, 3])
@pytest.mark.parametrize("name", MAPPERS)
def test_step_by_step_is_as_at_once(name: str, given: int) -> None:
    network = built("mapper", name, given, layers=2)
    codes = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])
    condition = torch.randn(2, given) if given else None
    whole = network(Ragged(codes.flatten(), torch.tensor([4, 4])), condition).view(2, 4, 4)
    state = network.begin(2, condition)
    for place in range(4):
        made, state = network.step(codes[:, place], state, condition)
        torch.testing.assert_close(made, whole[:, place])


@pytest.mark.parametrize("name", MAPPERS)
def test_a_mapper_hears_its_condition_from_the_first_symbol_on(name: str) -> None:
    network, x = built("mapper", name, 3), Ragged(torch.tensor([0, 1, 0, 1]), torch.tensor([2, 2]))
    made = network(x, torch.randn(2, 3))
    assert not torch.isclose(made[:2], made[2:]).any()


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_knows_the_order(name: str) -> None:
    network = built("encoder", name)
    made = network(Ragged(torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([3, 3])))
    assert not torch.allclose(made[0], made[1], atol=1e-4)


@pytest.mark.parametrize("name", MAPPERS)
def test_words_are_hidden_in_training_alone(name: str) -> None:
    network, x = built("mapper", name, word_dropout=0.9), Ragged(torch.randint(0, 3, (40,)), torch.tensor([40]))
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
    half = built("mapper", name, word_dropout=0.5).train()
    hidden = (half.read(torch.zeros(4000, dtype=torch.int64), None, None) == half.hidden).all(1).float().mean().item()
    assert hidden == pytest.approx(0.5, abs=0.04)


def test_what_cannot_be_built_is_named() -> None:
    for options, message in (
        ({"word_dropout": 1.0}, "word_dropout must lie between 0 and 1"),
        ({"layers": 0}, "needs at least one layer"),
        ({"heads": 3}, "unknown option 'heads'"),
    ):
        with pytest.raises(OptionError, match=message):
            make("mapper", ABC, "recurrent", **options)
    with pytest.raises(OptionError, match="needs outputs="):
        make("encoder", ABC, "recurrent")
    with pytest.raises(OptionError, match="does not serve as mapper of Tokens; use recurrent or causal"):
        make("mapper", ABC, "transformer")
    with pytest.raises(OptionError, match="does not serve as encoder of Vector"):
        make("encoder", Vector.real(2), "recurrent", outputs=2)
    with pytest.raises(OptionError, match="serves a Tokens only as a decoder with inputs=… and outputs=…"):
        make("decoder", ABC, inputs=2)
