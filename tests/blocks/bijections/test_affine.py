"""Affine couplings and autoregressive steps against zuko's own wiring with the same maps, and at absurd parameters."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions.transforms import AffineTransform
from torch.utils.flop_counter import FlopCounterMode

from gnomon.blocks.bijections import AffineAutoregressive, AffineCoupling, Affines, Bijection
from gnomon.blocks.bijections.affine import LIMIT
from gnomon.errors import OptionError


def lively(step: Bijection, size: float = 0.5) -> Bijection:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return step.double()


def numbers(n: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(n, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def told(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale by the formula in the docstring."""
    return raw[..., 0], (LIMIT * (raw[..., 1] / LIMIT).tanh()).exp()


def test_autoregressive_equals_zukos_with_the_same_network() -> None:
    zuko = pytest.importorskip("zuko")
    step = lively(AffineAutoregressive(4, given=2, hidden=(9, 9)))
    x, given = numbers(200, 4), numbers(200, 2, 2)

    class Affine(AffineTransform):
        def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self(x), self.log_abs_det_jacobian(x, None)

    oracle = zuko.transforms.AutoregressiveTransform(lambda x: Affine(*told(step.conditioner(x, given))), passes=4)
    expected, log_det = oracle(x), oracle.log_abs_det_jacobian(x, oracle(x))
    z, ours = step.forward_and_log_det(x, given)
    torch.testing.assert_close(z, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours, log_det if log_det.ndim == 1 else log_det.sum(1), rtol=1e-12, atol=1e-12)
    for_noise = numbers(200, 4, 3)
    with torch.no_grad():  # column by column with what is kept, against as many passes of the whole network
        torch.testing.assert_close(step.inverse_and_log_det(for_noise, given)[0], oracle.inv(for_noise), rtol=1e-9, atol=1e-9)


def test_coupling_equals_the_formula() -> None:
    step = lively(AffineCoupling(4, moved=(0, 2), hidden=(9,)))
    x = numbers(100, 4)
    shift, scale = told(step.conditioner(x[:, [1, 3]]).unflatten(1, (2, 2)))
    z, log_det = step.forward_and_log_det(x)
    torch.testing.assert_close(z[:, [0, 2]], x[:, [0, 2]] * scale + shift)
    assert torch.equal(z[:, [1, 3]], x[:, [1, 3]])
    torch.testing.assert_close(log_det, scale.log().sum(1))


@pytest.mark.parametrize("raw", [-1e30, -1e3, 0.0, 1e3, 1e30])
def test_no_exponential_overflows(raw: float) -> None:
    maps = Affines(1)
    stretch = torch.tensor([[[0.0, raw]]], requires_grad=True)
    for method in (maps.forward_and_log_slope, maps.inverse_and_log_slope):
        y, log_slope = method(torch.ones(1, 1), stretch)
        assert y.isfinite().all() and log_slope.abs().max() <= LIMIT and y.max() <= math.exp(LIMIT) * 1.0001
        assert torch.autograd.grad(y.sum() + log_slope.sum(), stretch)[0].isfinite().all()


@pytest.mark.parametrize("make", [lambda: AffineCoupling(4, moved=(0, 1)), lambda: AffineAutoregressive(4)])
def test_infinite_neighbours_give_finite_parameters(make) -> None:
    step = lively(make()).float()
    x = torch.tensor([[math.inf, -math.inf, 1e38, 0.5], [0.5, 1e38, -math.inf, math.inf]])
    _, log_det = step.forward_and_log_det(x)
    assert log_det.isfinite().all()
    assert all(g is None or g.isfinite().all() for g in torch.autograd.grad(log_det.sum(), list(step.parameters()), allow_unused=True))


def test_the_inverse_costs_about_one_pass_of_arithmetic() -> None:
    step = AffineAutoregressive(32, hidden=(64, 64))
    flops = []
    for method in (step.forward_and_log_det, step.inverse_and_log_det):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            method(torch.randn(100, 32))
        flops.append(counter.get_total_flops())
    assert flops[1] <= flops[0]


def test_bad_options_are_named() -> None:
    with pytest.raises(OptionError, match="hidden layers of one width"):
        AffineAutoregressive(3, hidden=(8, 16))
    with pytest.raises(OptionError, match="names each of 3 columns once"):
        AffineAutoregressive(3, order=(0, 1, 1))
