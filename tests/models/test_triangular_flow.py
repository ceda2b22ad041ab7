"""Triangular flows: the parts of the density add up, marginals and conditionals are those of quadrature, quantiles of the samples."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gnomon.data import Categorical, Column, Examples, Image, Periodic, Real, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.triangular_flow import TriangularFlow

SMALL: dict[str, Any] = {"hidden": (16, 16), "bins": 6, "transforms": 2}
MIXED = Vector((Column("a"), Column("phi", Periodic(-math.pi, math.pi)), Column("b", Real()), Column("c")))


def lively(kind: Vector = MIXED, given: Vector | None = None, **options: Any) -> TriangularFlow:
    torch.manual_seed(0)
    flow = TriangularFlow(Spec(kind, given=given), **{**SMALL, **options}).double().eval()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return flow


def test_columns_add_up_and_see_only_those_before() -> None:
    flow = lively(first=("b",), given=Vector.real(1))
    assert flow.order == ("b", "a", "phi", "c")
    batch = Examples(flow.sample(50, torch.zeros(50, 1).double()), given=torch.zeros(50, 1).double())
    parts = flow.log_prob_by_column(batch)
    torch.testing.assert_close(parts.sum(1), flow.log_prob(batch), rtol=0, atol=1e-10)
    x = batch.x.clone()
    x[:, 1] += 0.3  # phi: what comes before it in the order, b and a, does not notice
    moved = flow.log_prob_by_column(batch.with_(x=x))
    assert torch.equal(moved[:, [2, 0]], parts[:, [2, 0]])
    assert (moved[:, [1, 3]] != parts[:, [1, 3]]).any(0).all()


def test_the_marginal_is_the_integral_over_the_rest() -> None:
    flow = lively(Vector.real(2), first=("x1",))
    own = torch.tensor([-1.0, 0.3, 2.0]).double()
    rest = (torch.arange(8000).double() + 0.5) / 8000 * 16 - 8
    grid = torch.stack([rest.repeat(3), own.repeat_interleave(8000)], 1)
    joint = flow.log_prob(Examples(grid)).exp().view(3, -1).sum(1) * 16 / 8000
    parts = flow.log_prob_by_column(Examples(torch.stack([torch.zeros(3).double(), own], 1)))
    torch.testing.assert_close(parts[:, 1].exp(), joint, rtol=1e-4, atol=0)


def test_known_columns_stay_and_the_rest_follows_the_conditional() -> None:
    flow = lively(first=("b", "a"))
    known = torch.tensor([[0.4, -0.7]]).double().expand(20_000, -1)
    torch.manual_seed(1)
    rows = flow.complete(known)
    assert torch.equal(rows[:, [2, 0]], known)
    phi = rows[:1, 1:2]
    for q in (0.1, 0.5, 0.9):  # the quantile of c needs phi, so compare where phi is known too
        at = flow.quantile(torch.tensor([q]).double(), torch.cat([known[:1], phi], 1))
        again = flow.complete(torch.cat([known, phi.expand(20_000, -1)], 1))[:, 3]
        assert abs(float((again < at).double().mean()) - q) < 4 * (q * (1 - q) / 20_000) ** 0.5


def test_quantiles_invert_the_distribution_function() -> None:
    flow = lively(Vector.real(2))
    known = torch.tensor([[0.5]]).double()
    at = flow.quantile(torch.tensor([0.3]).double(), known)
    below = (torch.arange(40_000).double() + 0.5) / 40_000 * (at + 9) - 9
    density = flow.log_prob_by_column(Examples(torch.stack([known[0].expand(40_000), below], 1)))[:, 1].exp()
    assert abs(float(density.detach().sum() * (at.detach() + 9) / 40_000) - 0.3) < 1e-4


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(OptionError, match="unknown column 'd' of first"):
        TriangularFlow(Spec(MIXED), first=("d",))
    with pytest.raises(DataError, match="'kind' holds categories; use Flow"):
        TriangularFlow(Spec(Vector((Column("a"), Column("kind", Categorical((1, 2)))))))
    with pytest.raises(DataError, match="TriangularFlow wants x to be Vector"):
        TriangularFlow(Spec(Image(1, (2, 2))))
    flow = lively()
    with pytest.raises(DataError, match="column 'phi' is an angle"):
        flow.quantile(torch.tensor([0.5]).double(), torch.zeros(1, 1).double())
    with pytest.raises(DataError, match="no column is left"):
        flow.quantile(torch.tensor([0.5]).double(), torch.zeros(1, 4).double())
