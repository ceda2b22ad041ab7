"""The likelihood of sets integrates to one, is blind to order, and what is drawn and told follows it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks.set_head import SetHead
from gnomon.data import Categorical, Column, Periodic, Ragged, Set, Vector

LINE = Set(Vector.real(1))
MIXED = Set(Vector((Column("c", Categorical(("u", "d"))), Column("phi", Periodic(-math.pi, math.pi)), Column("pt"))))


def made(kind: Set, components: int = 3) -> tuple[SetHead, Tensor]:
    torch.manual_seed(0)
    head = SetHead(kind, components=components, table=4).double()
    head.measure(Ragged(torch.zeros(0, len(kind.of)).double(), torch.tensor([0, 1, 1, 2, 2, 2, 3, 7])))
    return head, 0.5 * torch.randn(1, head.outputs).double()


def repeated(raw: Tensor, rows: int) -> Tensor:
    return raw.expand(rows, -1)


def test_each_number_of_elements_has_its_probability() -> None:
    head, raw = made(LINE)
    points = torch.linspace(-15, 15, 601).double()
    step = (points[1] - points[0]).item()
    counts = head.counts.log_prob(torch.arange(3), repeated(raw[:, :16], 3)).exp().tolist()
    none = head(raw).log_prob(Ragged(torch.zeros(0, 1).double(), torch.tensor([0]))).exp().item()
    one = head(repeated(raw, 601)).log_prob(Ragged(points[:, None], torch.ones(601, dtype=torch.int64))).exp().sum().item() * step
    pairs = torch.cartesian_prod(points[::6], points[::6]).reshape(-1, 1)
    rows = len(pairs) // 2
    two = head(repeated(raw, rows)).log_prob(Ragged(pairs, torch.full((rows,), 2))).exp().sum().item() * (6 * step) ** 2
    assert [none, one, two] == pytest.approx(counts, rel=1e-3)
    assert head.counts.log_prob(torch.arange(2000), repeated(raw[:, :16], 2000)).exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_elements_of_mixed_columns_integrate_to_one() -> None:
    head, raw = made(MIXED)
    angle = (torch.arange(64).double() + 0.5) / 64 * 2 * math.pi - math.pi
    place = torch.linspace(-80, 80, 801).double()
    x = torch.cartesian_prod(torch.tensor([0.0, 1.0]).double(), angle, place)
    density = head(repeated(raw, len(x))).log_prob(Ragged(x, torch.ones(len(x), dtype=torch.int64))).exp()
    total = density.sum().item() * (2 * math.pi / 64) * 0.2
    assert total == pytest.approx(head.counts.log_prob(torch.tensor([1]), raw[:, :16]).exp().item(), rel=1e-3)


def test_order_does_not_count_and_rows_do_not_mix() -> None:
    head, _ = made(MIXED)
    raw = torch.randn(3, head.outputs).double()
    x = torch.stack([torch.tensor([0.0, 1, 1, 0, 1]), torch.rand(5), torch.randn(5)], 1).double()
    sets = Ragged(x, torch.tensor([3, 0, 2]))
    turned = Ragged(x[[2, 0, 1, 4, 3]], sets.lengths)
    together = head(raw).log_prob(sets)
    torch.testing.assert_close(head(raw).log_prob(turned), together)
    alone = [head(raw[i : i + 1]).log_prob(sets[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(torch.cat(alone), together)


def test_what_is_drawn_follows_the_density() -> None:
    head, raw = made(LINE)
    torch.manual_seed(1)
    drawn = head(repeated(raw, 20_000)).sample()
    shares = np.bincount(drawn.lengths.numpy(), minlength=4)[:4] / 20_000
    expected = head.counts.log_prob(torch.arange(4), repeated(raw[:, :16], 4)).exp().tolist()
    assert shares == pytest.approx(expected, abs=0.015)
    density = head(raw)
    weights, element = density.log_weights[0].exp(), head.element(density.raw[0])
    mean = (weights * element.mean()[:, 0]).sum().item()
    second = (weights * (element.mean()[:, 0].square() + element.spread()[:, 0].square())).sum().item()
    spread = math.sqrt(second - mean**2)
    assert drawn.values.mean().item() == pytest.approx(mean, abs=5 * spread / math.sqrt(len(drawn.values)))
    assert drawn.values.std().item() == pytest.approx(spread, rel=0.05)


def test_the_mean_shares_elements_out_by_weight() -> None:
    head, _ = made(LINE)
    raw = torch.zeros(1, head.outputs).double()
    parts = raw[:, 16:].view(1, 3, -1) - head.start.detach()
    parts[0, :, 0] += torch.tensor([0.52, 0.28, 0.2]).double().log()
    parts[0, :, 1] += torch.tensor([-1.0, 0.0, 1.0]).double()
    density = head(torch.cat([raw[:, :16], parts.flatten(1)], 1))
    density._most_probable_counts = lambda: torch.tensor([5])  # type: ignore[method-assign]
    told = density.mean()
    assert told.lengths.tolist() == [5] and told.values.flatten().tolist() == pytest.approx([-1.0, -1, -1, 0, 1])  # 2.6, 1.4 and 1
    again = head(torch.cat([raw[:, :16], parts.flatten(1)], 1)).mean()
    grid = head.counts.log_prob(torch.arange(50), repeated(raw[:, :16], 50))
    assert again.lengths.tolist() == [int(grid.argmax())]


def test_copies_are_vectorised() -> None:
    heads = [made(MIXED)[0] for _ in range(2)]
    x = Ragged(torch.tensor([[0.0, 0.1, 1.0], [1.0, 0.2, -1.0]]).double(), torch.tensor([2]))
    raw = torch.randn(1, heads[0].outputs).double()
    parameters, buffers = stack_module_state(heads)

    class Of(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = heads[0]

        def forward(self) -> Tensor:
            return self.head(raw).log_prob(x)

    named = {f"head.{name}": value for name, value in {**parameters, **buffers}.items()}
    together = vmap(lambda own: functional_call(Of(), own, ()))(named)
    torch.testing.assert_close(together, torch.stack([one(raw).log_prob(x) for one in heads]))
