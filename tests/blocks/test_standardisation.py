"""Standardised weights against their formula, and what they promise: no drift of the mean, outputs that keep their size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gnomon.blocks import ConvNormAct, convolution, gain, initialise
from gnomon.blocks.standardisation import EPSILON

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_are_the_formula(dimension: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = convolution(dimension, 3, 5, stride=2, bias=bias, padding_mode="circular", standardise=True)
    layer.weight.data.add_(0.7)
    w = layer.weight.flatten(1)
    centred = w - w.mean(1, keepdim=True)
    expected = centred / (w.shape[1] * w.var(1, correction=0, keepdim=True) + EPSILON).sqrt()
    if bias:
        layer.scale.data.normal_()
        expected = expected * layer.scale[:, None]
    torch.testing.assert_close(layer.standardised().flatten(1), expected)
    plain = convolution(dimension, 3, 5, stride=2, bias=bias, padding_mode="circular")
    plain.weight.data = expected.reshape(plain.weight.shape).detach()
    if bias:
        plain.bias.data = layer.bias.data
    x = torch.randn(2, 3, *(6, 5, 4)[:dimension])
    torch.testing.assert_close(layer(x), plain(x))
    assert isinstance(layer, LAYERS[dimension - 1])


def test_the_size_of_the_weights_has_no_say() -> None:
    layer, x = convolution(2, 3, 5, standardise=True), torch.randn(2, 3, 6, 6)
    before = layer(x)
    layer.weight.data.mul_(7).add_(1)
    torch.testing.assert_close(layer(x), before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("initialiser", ["gain", "orthogonal", "lecun"])
def test_the_start_keeps_the_size_of_the_signal(initialiser: str) -> None:
    torch.manual_seed(0)
    layer = convolution(2, 64, 128, standardise=True)
    initialise(layer, after="relu", initialiser=initialiser)
    torch.testing.assert_close(layer.scale, torch.full_like(layer.scale, gain("relu")))
    y = layer(torch.randn(4, 64, 12, 12))[..., 1:-1, 1:-1]
    assert y.std().item() == pytest.approx(gain("relu"), rel=0.05)


def test_a_mean_of_the_inputs_does_not_reach_the_outputs() -> None:
    # relu gives positive numbers; plain weights turn their mean into a shift of every channel that grows with depth
    torch.manual_seed(0)
    x, plain = torch.randn(16, 32, 8, 8), torch.randn(16, 32, 8, 8)
    for _ in range(12):
        own, standard = (ConvNormAct(2, 32, 32, norm="none", activation="relu", padding_mode="circular", standardise=s) for s in (0, 1))
        x, plain = standard.conv(x).relu(), own.conv(plain).relu()

    def shift(y: torch.Tensor) -> float:
        """Variance of the channels' means against the variance in all."""
        return (y.mean((0, 2, 3)).var() / y.var()).item()

    assert shift(standard.conv(x)) < 0.1 < 0.3 < shift(own.conv(plain))


def test_a_kernel_of_one_weight_is_left_alone() -> None:
    assert type(convolution(2, 1, 4, kernel=1, standardise=True)) is nn.Conv2d
    assert type(convolution(2, 2, 4, kernel=1, standardise=True)) is not nn.Conv2d


def test_the_scale_has_one_axis_so_that_decay_leaves_it_alone() -> None:
    assert convolution(2, 2, 4, standardise=True).scale.shape == (4,)


def test_no_scale_where_a_normalisation_follows() -> None:
    assert ConvNormAct(2, 2, 8, standardise=True).conv.scale is None
    assert ConvNormAct(2, 2, 8, norm="none", standardise=True).conv.scale is not None
