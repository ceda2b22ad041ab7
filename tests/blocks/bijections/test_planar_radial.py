"""Planar and radial steps against normflows with the same parameters, at their limits, and the root that undoes them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gnomon.blocks.bijections import Bijection, Planar, Radial, rising_root
from gnomon.blocks.bijections.planar import above_minus_one


def lively(step: Bijection, size: float = 1.0, seed: int = 0) -> Bijection:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return step.double()


def numbers(n: int, size: int) -> Tensor:
    return 2 * torch.randn(n, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("seed", range(5))
def test_planar_equals_normflows(seed: int) -> None:
    peer = pytest.importorskip("normflows").flows.Planar
    step, x = lively(Planar(3), seed=seed), numbers(100, 3)
    with torch.no_grad():
        w, u, b, gain = step._parts(1, None)
        inner = torch.expm1(gain + 1).log()  # their u is bent before it acts: the one that becomes ours
        bent = u + w * ((inner - gain) / w.square().sum())
        theirs = peer((3,), u=bent.clone(), w=w.clone(), b=b.clone()).double()
        expected, log_det = theirs(x)
        z, ours = step.forward_and_log_det(x)
    torch.testing.assert_close(z, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours, log_det, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_radial_equals_normflows(seed: int) -> None:
    peer = pytest.importorskip("normflows").flows.Radial
    step, x = lively(Radial(3), seed=seed), numbers(100, 3)
    with torch.no_grad():
        centre, radius, pull = step._parts(1, None)
        theirs = peer((3,), z_0=centre.clone()).double()
        theirs.alpha.data, theirs.beta.data = radius.clone(), torch.expm1(radius * (1 + pull)).log()
        expected, log_det = theirs(x)
        z, ours = step.forward_and_log_det(x)
    torch.testing.assert_close(z, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours, log_det, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("make", [Planar, Radial])
def test_inverse_within_a_billionth_in_double_precision(make, scale: float) -> None:
    for seed in range(10):
        step, x = lively(make(4), scale, seed), numbers(300, 4)
        z, log_det = step.forward_and_log_det(x)
        back, back_log_det = step.inverse_and_log_det(z)
        size = 1 + z.abs().max()  # digits below those of the image itself are lost on the way there
        assert (back - x).abs().max() < 1e-9 * size
        torch.testing.assert_close(back_log_det, -log_det, rtol=1e-6, atol=1e-6)
        back, _ = step.inverse_and_log_det(x)
        assert (step.forward_and_log_det(back)[0] - x).abs().max() < 1e-9 * size


@pytest.mark.parametrize("make", [Planar, Radial])
def test_absurd_parameters_give_no_nan_in_single_precision(make) -> None:
    for seed in range(20):
        step = lively(make(4), 100.0, seed).float()
        x = numbers(500, 4).float()
        for method in (step.forward_and_log_det, step.inverse_and_log_det):
            y, log_det = method(x)
            assert y.isfinite().all() and log_det.isfinite().all()
            assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum() + log_det.sum(), list(step.parameters())))


def test_nothing_is_folded() -> None:
    planar = Planar(2).double()
    planar.raw.data = torch.tensor([3.0, 0.0, -50.0, 1.0, 0.2], dtype=torch.float64)  # unbent, w·u = -150 would fold the plane
    line = torch.linspace(-3, 3, 1001, dtype=torch.float64)
    z, log_det = planar.forward_and_log_det(torch.stack([line, torch.zeros_like(line)], 1))
    assert (z[:, 0].diff() > 0).all() and log_det.min() > math.log(1e-3) - 1e-6
    radial = Radial(2).double()
    radial.raw.data = torch.tensor([0.0, 0.0, -1.0, -50.0], dtype=torch.float64)
    z, log_det = radial.forward_and_log_det(torch.stack([line, torch.zeros_like(line)], 1))
    assert (z[:, 0].diff() > 0).all() and log_det.isfinite().all()


def test_the_centre_of_a_radial_step_is_a_legal_place() -> None:
    step = lively(Radial(3))
    x = step.raw[:3].detach()[None].clone().requires_grad_()
    z, log_det = step.forward_and_log_det(x)
    torch.testing.assert_close(z, x)
    gradients = torch.autograd.grad(z.sum() + log_det.sum(), [x, step.raw])
    assert all(g.isfinite().all() for g in gradients)
    torch.testing.assert_close(step.inverse_and_log_det(x)[0], x)


def test_the_bend_is_above_minus_one_and_zero_at_zero() -> None:
    raw = torch.linspace(-200, 200, 4001, dtype=torch.float64)
    bent = above_minus_one(raw)
    assert (bent >= -0.999).all() and (bent.diff() >= 0).all() and bent[2000].abs() < 1e-13


# ---- roots -------------------------------------------------------------------------------------------------------------------------


def test_roots_and_their_derivatives() -> None:
    value = torch.linspace(-0.99, 0.99, 50, dtype=torch.float64).requires_grad_()
    steep = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        bent = (steep * x).tanh()
        return bent, steep * (1 - bent * bent)

    wide = torch.full_like(value, 1e3)
    root = rising_root(function, value, -wide, wide)
    torch.testing.assert_close(root, value.atanh() / 3)
    (slope,) = torch.autograd.grad(root.sum(), value, create_graph=True)
    torch.testing.assert_close(slope, 1 / (3 * (1 - value**2)))
    torch.testing.assert_close(torch.autograd.grad(slope.sum(), value, retain_graph=True)[0], 2 * value / (3 * (1 - value**2) ** 2))
    torch.testing.assert_close(torch.autograd.grad(root.sum(), steep)[0], -(value.atanh() / 9).sum(), rtol=0, atol=1e-9)
