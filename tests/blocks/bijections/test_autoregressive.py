"""Autoregressive splines: masks that hold, both directions, log-determinants by autograd, and an inverse of one pass of arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gnomon.blocks.bijections import AutoregressiveConditioner, AutoregressiveSpline, rotations
from gnomon.errors import OptionError


def lively(step: AutoregressiveSpline, size: float = 1.0) -> AutoregressiveSpline:
    """The step in double precision with all weights away from their start."""
    generator = torch.Generator().manual_seed(0)
    for p in step.parameters():
        p.data = p.data.double() + size * torch.randn(p.shape, generator=generator, dtype=torch.float64) / max(1, p.shape[-1]) ** 0.5
    return step.double()


@pytest.mark.parametrize("given", [0, 2])
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_parameters_depend_on_earlier_columns_only(size, given) -> None:
    net = AutoregressiveConditioner(size, 3, given=given, hidden=(11, 11, 11))
    for p in net.parameters():
        torch.nn.init.normal_(p)
    x, c = torch.randn(1, size), torch.randn(1, given) if given else None
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, c)[0].sum(-1), x)[:, 0]
    assert (jacobian.triu() == 0).all()
    if size > 1:
        assert (jacobian[1:].diagonal() != 0).any()
    if given:
        seen = torch.autograd.functional.jacobian(lambda c: net(x, c)[0].sum(-1), c)[:, 0]
        assert (seen.abs().sum(1) > 0).all()


@pytest.mark.parametrize("given", [0, 3])
@pytest.mark.parametrize(
    ("size", "more"),
    [
        (1, {}),
        (4, {}),
        (5, {"order": (3, 0, 4, 1, 2)}),
        (4, {"circular": (1, 3), "order": (3, 2, 1, 0)}),
        (2, {"circular": (0, 1)}),
        (3, {"frequencies": 2}),
    ],
    ids=str,
)
def test_both_directions_and_the_jacobian(size, more, given) -> None:
    step = lively(AutoregressiveSpline(size, given=given, hidden=(16, 16), bins=6, **more), 0.6)
    x = 6 * torch.rand(40, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 3
    c = torch.randn(40, given, dtype=torch.float64) if given else None
    z, log_det = step.forward_and_log_det(x, c)
    assert (z - x).abs().max() > 0.1
    with torch.no_grad():
        back, back_log_det = step.inverse_and_log_det(z, c)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(back_log_det, -log_det.detach(), rtol=0, atol=1e-7)
    again, _ = step.forward_and_log_det(step.inverse_and_log_det(x, c)[0], c)  # with gradients: the other way of keeping columns
    torch.testing.assert_close(again, x, rtol=0, atol=1e-8)
    for i in range(3):
        one = None if c is None else c[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(lambda x, one=one: step.forward_and_log_det(x, one)[0][0], x[i : i + 1])[:, 0]
        assert torch.slogdet(jacobian).logabsdet.item() == pytest.approx(log_det[i].item(), abs=1e-9)


def test_it_starts_as_the_identity() -> None:
    x = torch.randn(50, 4)
    z, log_det = AutoregressiveSpline(4).forward_and_log_det(x)
    torch.testing.assert_close(z, x, atol=1e-5, rtol=0)
    torch.testing.assert_close(log_det, torch.zeros(50), atol=1e-5, rtol=0)


def test_the_inverse_costs_about_one_pass_of_arithmetic() -> None:
    step = AutoregressiveSpline(32, hidden=(64, 64))
    x = torch.randn(100, 32)
    flops = []
    for method in (step.forward_and_log_det, step.inverse_and_log_det):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            method(x)
        flops.append(counter.get_total_flops())
    assert flops[1] <= flops[0]


def test_gradients_reach_every_weight_through_the_inverse() -> None:
    step = lively(AutoregressiveSpline(4, given=2, hidden=(12, 12)))
    step.inverse_and_log_det(torch.randn(30, 4, dtype=torch.float64), torch.randn(30, 2, dtype=torch.float64))[0].square().sum().backward()
    for name, p in step.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0, name


def test_bad_options_are_named() -> None:
    with pytest.raises(OptionError, match="hidden layers of one width"):
        AutoregressiveSpline(3, hidden=(8, 16))
    with pytest.raises(OptionError, match="names each of 3 columns once"):
        AutoregressiveSpline(3, order=(0, 1, 1))
    assert len({*rotations(6, 6)}) == 6 and all(sorted(order) == list(range(6)) for order in rotations(6, 6))
