"""Convolutional blocks against formulas: sizes, padding, condition, independence of the dimension."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from gnomon.blocks import ConvNormAct, Downsample, ResidualConv, Upsample, convolution, normalisation
from gnomon.errors import OptionError


@pytest.mark.parametrize(("dimension", "stride"), list(itertools.product((1, 2, 3), (1, 2, 3))))
def test_sizes_from_one_to_eight_pixels(dimension: int, stride: int) -> None:
    for first in range(1, 9):
        size = (first, 9 - first, 3)[:dimension]
        for kernel in (1, 3, 5):
            out = convolution(dimension, 2, 4, kernel=kernel, stride=stride)(torch.zeros(1, 2, *size))
            assert out.shape == (1, 4, *(-(-n // stride) for n in size))


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_up_undoes_the_sizes_of_down(dimension: int) -> None:
    for n in range(1, 9):
        size = (n, 4, 9 - n)[:dimension]
        for mode in ("max", "mean", "stride"):
            smaller = Downsample(dimension, 2, 8, mode=mode)(torch.zeros(1, 2, *size))
            assert smaller.shape == (1, 8, *(-(-n // 2) for n in size))
            assert Upsample(dimension, 8, 3, size=size)(smaller).shape == (1, 3, *size)


def test_conv_norm_act_is_its_formula() -> None:
    torch.manual_seed(0)
    block, x = ConvNormAct(2, 3, 8, stride=2), torch.randn(4, 3, 5, 6)
    y = F.conv2d(x, block.conv.weight, None, 2, 1)
    groups = y.reshape(4, 2, -1)  # eight channels make two groups of four
    y = ((groups - groups.mean(-1, keepdim=True)) / (groups.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()).reshape(y.shape)
    torch.testing.assert_close(block(x), F.silu(y), atol=1e-5, rtol=1e-5)


def test_condition_scales_and_shifts_each_channel() -> None:
    torch.manual_seed(0)
    block, x, given = ConvNormAct(1, 2, 8, given=3, activation="identity"), torch.randn(4, 2, 5), torch.randn(4, 3)
    plain = block.norm(block.conv(x))
    torch.testing.assert_close(block(x, given), plain)  # not at all at the start
    torch.nn.init.normal_(block.modulation.weight)
    scale, shift = (given @ block.modulation.weight.T).split(8, 1)
    torch.testing.assert_close(block(x, given), plain * (1 + scale[..., None]) + shift[..., None])


def test_one_dimension_is_a_column_of_two() -> None:
    torch.manual_seed(0)
    one, two, three = ConvNormAct(1, 2, 8), ConvNormAct(2, 2, 8, kernel=(3, 1)), ConvNormAct(3, 2, 8, kernel=(1, 3, 1))
    two.conv.weight.data = one.conv.weight.data[..., None]
    three.conv.weight.data = one.conv.weight.data[..., None, :, None]
    x = torch.randn(3, 2, 7)
    torch.testing.assert_close(two(x[..., None])[..., 0], one(x))
    torch.testing.assert_close(three(x[..., None, :, None])[:, :, 0, :, 0], one(x))


def test_circular_padding_commutes_with_shifts() -> None:
    torch.manual_seed(0)
    block, x = ConvNormAct(2, 2, 8, padding_mode="circular"), torch.randn(2, 2, 5, 4)
    torch.testing.assert_close(block(x.roll((2, 1), (2, 3))), block(x).roll((2, 1), (2, 3)))


def test_residual_block_starts_as_its_shortcut() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 5)
    assert torch.equal(ResidualConv(1, 8, 8)(x), x)
    wider = ResidualConv(1, 8, 12)
    torch.testing.assert_close(wider(x), torch.einsum("oi,nik->nok", wider.shortcut.weight[..., 0], x))


def test_downsample_by_hand() -> None:
    x = torch.tensor([[[1.0, 4.0, -2.0]]])
    for mode, expected in (("max", [4.0, -2.0]), ("mean", [2.5, 1.0]), ("stride", [1.0, -2.0])):
        block = Downsample(1, 1, 1, mode=mode, norm="none", activation="identity")
        block.block.conv.weight.data = torch.tensor([[[0.0, 1.0, 0.0]]])
        assert block(x).flatten().tolist() == expected


def test_upsample_repeats_or_interpolates() -> None:
    x = torch.tensor([[[0.0, 4.0]]])
    for mode, expected in (("nearest", [0.0, 0.0, 4.0, 4.0]), ("linear", [0.0, 1.0, 3.0, 4.0])):
        block = Upsample(1, 1, 1, size=(4,), mode=mode, norm="none", activation="identity")
        block.block.conv.weight.data = torch.tensor([[[0.0, 1.0, 0.0]]])
        assert block(x).flatten().tolist() == expected


@pytest.mark.parametrize("channels", [1, 2, 4, 8, 12, 20, 32, 70, 256])
def test_groups_hold_at_least_four_channels(channels: int) -> None:
    groups = normalisation("group", 2, channels).num_groups
    assert channels % groups == 0 and (groups == 1 or channels // groups >= 4) and groups <= 8


def test_batch_norm_when_asked_for() -> None:
    assert isinstance(ConvNormAct(3, 1, 4, norm="batch").norm, torch.nn.BatchNorm3d)


@pytest.mark.parametrize("wrong", [{"dimension": 4}, {"kernel": 2}, {"kernel": (3, 4)}])
def test_errors_name_what_came(wrong: dict) -> None:
    with pytest.raises(OptionError, match="got"):
        convolution(**{"dimension": 2, "inputs": 1, "outputs": 1, **wrong})
    with pytest.raises(OptionError, match="group, batch, none"):
        normalisation("layer", 2, 4)
