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
    told = flow.marginal_log_prob(Examples(torch.stack([torch.full((3,), math.nan).double(), own], 1)), ("x1",))
    torch.testing.assert_close(told.exp(), joint, rtol=1e-4, atol=0)


def test_known_columns_stay_and_the_rest_follows_the_conditional() -> None:
    flow = lively(first=("b", "a"))
    known = torch.tensor([[-0.7, math.nan, 0.4, math.nan]]).double().expand(20_000, -1)
    torch.manual_seed(1)
    rows = flow.complete(known, ("a", "b"))
    assert torch.equal(rows[:, [2, 0]], known[:, [2, 0]])
    known = rows[:1].expand(20_000, -1)  # the quantile of c needs phi, so compare where phi is known too
    again = flow.complete(known, ("a", "b", "phi"))[:, 3]
    for q, at in zip((0.1, 0.5, 0.9), flow.quantile((0.1, 0.5, 0.9), "c", rows[:1], ("a", "b", "phi"))[0], strict=True):
        assert abs(float((again < at).double().mean()) - q) < 4 * (q * (1 - q) / 20_000) ** 0.5


def test_quantiles_invert_the_distribution_function() -> None:
    flow = lively(Vector.real(2))
    known = torch.tensor([[0.5, 0.0]]).double()
    at = flow.quantile([0.3], "x1", known, ("x0",))[0]
    below = (torch.arange(40_000).double() + 0.5) / 40_000 * (at + 9) - 9
    density = flow.log_prob_by_column(Examples(torch.stack([known[0, :1].expand(40_000), below], 1)))[:, 1].exp()
    assert abs(float(density.detach().sum() * (at.detach() + 9) / 40_000) - 0.3) < 1e-4


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(OptionError, match="unknown column 'd' of first"):
        TriangularFlow(Spec(MIXED), first=("d",))
    with pytest.raises(DataError, match="'kind' holds categories; use Flow"):
        TriangularFlow(Spec(Vector((Column("a"), Column("kind", Categorical((1, 2)))))))
    with pytest.raises(DataError, match="TriangularFlow wants x to be Vector"):
        TriangularFlow(Spec(Image(1, (2, 2))))
    flow = lively()
    x = torch.zeros(1, 4).double()
    with pytest.raises(OptionError, match="column 'phi' is an angle"):
        flow.quantile([0.5], "phi", x, ("a",))
    with pytest.raises(OptionError, match="no column is left; got 'c'"):
        flow.quantile([0.5], "c", x, ("a", "phi", "b", "c"))
    with pytest.raises(OptionError, match="after the 0 known ones, and the next one is 'a'; got 'b'"):
        flow.quantile([0.5], "b", x)
    with pytest.raises(OptionError, match=r"the first of the order \(a, phi, b, c\); got b; fit with first"):
        flow.marginal_log_prob(Examples(x), ("b",))
