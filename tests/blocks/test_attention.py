"""Attention agrees with torch's own, keeps to its mask, lets no blank leak, and steps as it runs."""

from __future__ import annotations

import pytest
import torch

from gnomon.blocks.attention import Attention, AttentionLayer, attend, positions
from gnomon.errors import OptionError

FILLED = torch.tensor([[True] * 5, [True, True, False, False, False]])


@pytest.mark.parametrize("causal", [False, True])
def test_heads_are_those_of_torch(causal: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(8, heads=2, causal=causal).double(), torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.ask.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(ours.answer.weight)
        theirs.out_proj.bias.copy_(ours.answer.bias)
    x = torch.randn(2, 5, 8).double()
    barred = torch.ones(5, 5).triu(1).bool() if causal else None
    expected = theirs(x, x, x, key_padding_mask=~FILLED, attn_mask=barred)[0]
    for exact in (False, True):
        ours.exact = exact
        torch.testing.assert_close(ours(x, FILLED)[FILLED], expected[FILLED])


@pytest.mark.parametrize("exact", [False, True])
def test_blanks_never_enter(exact: bool) -> None:
    torch.manual_seed(0)
    layer = AttentionLayer(8, heads=2, exact=exact)
    x = torch.randn(2, 5, 8)
    before = layer(x, FILLED)[FILLED]
    x[1, 2:] = torch.nan
    assert torch.equal(layer(x, FILLED)[FILLED], before)


@pytest.mark.parametrize("exact", [False, True])
def test_who_may_attend_to_nothing_gets_zero(exact: bool) -> None:
    queries, keys, values = torch.randn(3, 2, 1, 4, 3).unbind(0)
    may = torch.tensor([[True] * 4, [False] * 4])[:, None, None, :]
    made = attend(queries, keys, values, may, exact=exact)
    assert made[1].abs().sum() == 0 and torch.isfinite(made).all()
    slope = torch.autograd.grad(attend(queries.requires_grad_(), keys, values, may, exact=exact).sum(), queries)[0]
    assert torch.isfinite(slope).all()


def test_causal_layers_do_not_look_ahead_and_step_as_they_run() -> None:
    torch.manual_seed(0)
    layer = AttentionLayer(8, heads=2, causal=True)
    x = torch.randn(3, 6, 8)
    whole = layer(x)
    other = x.clone()
    other[:, 4:] = torch.randn(3, 2, 8)
    torch.testing.assert_close(layer(other)[:, :4], whole[:, :4])
    assert not torch.allclose(layer(other)[:, 4:], whole[:, 4:])
    keys = values = torch.zeros(3, 2, 0, 4)
    for place in range(6):
        made, keys, values = layer.step(x[:, place], keys, values)
        torch.testing.assert_close(made, whole[:, place])


def test_places_are_told_apart() -> None:
    made = positions(50, 16)
    assert made.shape == (50, 16) and torch.cdist(made, made).add(torch.eye(50)).min() > 0.3
    torch.testing.assert_close(positions(3, 16, start=7), made[7:10])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(OptionError, match="got 3 heads for a width of 8"):
        Attention(8, heads=3)
