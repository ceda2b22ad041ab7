"""The best spread: that no other is better, that examples are judged by a running mean, and that the state carries it."""

from __future__ import annotations

import math

import pytest
import torch

from gnomon.blocks import ColumnHead
from gnomon.blocks.optimal_spread import OptimalHead
from gnomon.data import Categorical, Column, Periodic, Vector

REALS = Vector.real(3)


def test_no_other_spread_makes_a_batch_more_probable() -> None:
    torch.manual_seed(0)
    raw, z = torch.randn(50, 3), torch.randn(50, 3)
    best = OptimalHead(REALS)(raw).log_prob(z).sum()
    for log_spread in torch.linspace(-1, 1, 41):
        other = ColumnHead(REALS, spread="shared")
        other.log_spread.data.fill_(log_spread)
        assert other(raw).log_prob(z).sum() <= best + 1e-3
    mean_square = (z - raw).square().mean()
    torch.testing.assert_close(best, -75 * (1 + mean_square.log() + math.log(2 * math.pi)), rtol=1e-3, atol=0)  # held softly


def test_the_gradient_goes_through_the_spread() -> None:
    torch.manual_seed(0)
    z, raw = torch.randn(20, 3).double(), torch.randn(20, 3).double().requires_grad_()
    head = OptimalHead(REALS).double()
    head(raw).log_prob(z).sum().backward()
    other = raw.detach().clone().requires_grad_()
    (-30 * (z - other).square().mean().log()).backward()
    torch.testing.assert_close(raw.grad, other.grad, rtol=2e-3, atol=1e-5)


def test_the_spread_has_a_floor() -> None:
    head = OptimalHead(REALS)
    raw = torch.zeros(4, 3, requires_grad=True)
    value = head(raw).log_prob(torch.zeros(4, 3))
    value.sum().backward()
    assert torch.isfinite(raw.grad).all()
    assert value[0].item() == pytest.approx(3 * (7 - 0.5 * math.log(2 * math.pi)), abs=0.1)


def test_in_evaluation_examples_are_judged_one_by_one_by_the_running_mean() -> None:
    torch.manual_seed(0)
    head = OptimalHead(REALS)
    for _ in range(400):
        head(torch.zeros(64, 3)).log_prob(0.3 * torch.randn(64, 3))
    assert head.mean_square.item() == pytest.approx(0.09, rel=0.05)
    head.eval()
    z = torch.randn(5, 3)
    whole = head(torch.zeros(5, 3)).log_prob(z)
    torch.testing.assert_close(whole, torch.cat([head(torch.zeros(1, 3)).log_prob(row[None]) for row in z]))
    oracle = torch.distributions.Normal(0.0, head.mean_square.sqrt()).log_prob(z).sum(1)
    torch.testing.assert_close(whole, oracle, rtol=1e-2, atol=0.05)
    before = head.mean_square.clone()
    assert torch.equal(before, head.mean_square)
    other = OptimalHead(REALS).eval()
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(torch.zeros(5, 3)).log_prob(z), whole)


def test_angles_and_classes_are_told_beside() -> None:
    kind = Vector((Column("a"), Column("phi", Periodic(0, 1)), Column("c", Categorical(("x", "y")))))
    head, plain = OptimalHead(kind).eval(), ColumnHead(kind, spread="shared").eval()
    raw, z = torch.randn(4, head.outputs), torch.tensor([[0.1, 2.0, 1.0]]).expand(4, -1)
    torch.testing.assert_close(head(raw).log_prob(z), plain(raw).log_prob(z), rtol=0, atol=0.02)  # the other's spread is held
    assert {name for name, _ in head.named_parameters()} == {"log_angle_spread"}
