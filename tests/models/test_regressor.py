"""The regressor against the Gaussian's formula, and on data whose spread is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gnomon.data import Categorical, Column, Examples, Label, Periodic, Spec, Vector
from gnomon.errors import DataError
from gnomon.models.regressor import Regressor

SPEC = Spec(Vector.real(1), y=Vector.real(2))


class Read(nn.Module):
    """An encoder whose outputs are handed to it."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return self.outputs


def test_the_loss_is_minus_the_log_density_of_the_predicted_gaussian() -> None:
    raw = torch.tensor([[0.5, -1.0, 0.1, -0.3], [0.0, 2.0, 0.2, 0.4]])
    model = Regressor(SPEC, encoder=Read(raw))
    y = torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    mean, spread = model.predict(Examples(torch.zeros(2, 1)))
    assert spread is not None
    torch.testing.assert_close(mean, raw[:, :2])
    torch.testing.assert_close(spread, raw[:, 2:].exp(), rtol=0.05, atol=0)  # softly held within limits
    expected = -torch.distributions.Normal(mean, spread).log_prob(y).sum()
    torch.testing.assert_close(model.loss(Examples(torch.zeros(2, 1), y=y)).total, expected)


def test_without_a_spread_the_loss_is_the_mean_squared_error() -> None:
    raw, y = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    model = Regressor(SPEC, encoder=Read(raw), spread="none")
    batch = Examples(torch.zeros(2, 1), y=y)
    assert (model.loss(batch).total / model.loss(batch).weight).item() == (1 + 4 + 4 + 16) / 4
    assert model.validate(batch).total.item() == model.validate(batch).parts["squared_error"].item() == (5 + 20) / 2
    assert model.loss(batch.with_(weight=torch.tensor([2.0, 0.0]))).total.item() == 5
    assert model.predict(batch)[1] is None


def test_validation_reports_the_squared_error_beside_the_loss() -> None:
    model = Regressor(SPEC, encoder=Read(torch.zeros(2, 4)))
    parts = model.validate(Examples(torch.zeros(2, 1), y=torch.tensor([[1.0, 3.0], [0.0, 0.0]]))).parts
    assert parts["squared_error"].item() == 5


@pytest.mark.parametrize("spread", ["example", "column", "shared"])
def test_it_learns_mean_and_spread(spread: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4000, 1, generator=generator) * 2 - 1
    truth = torch.exp(x - 1) if spread == "example" else torch.full_like(x, 0.3)
    y = torch.sin(2 * x) + truth * torch.randn(4000, 1, generator=generator)
    torch.manual_seed(0)
    model = Regressor(Spec(Vector.real(1), y=Vector.real(1)), spread=spread, net={"hidden": (16,), "activation": "tanh"})
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = model.loss(Examples(x, y=y))
        (loss.total / loss.weight).backward()
        return loss.total / loss.weight

    optimiser.step(closure)
    mean, found = model.predict(Examples(x))
    assert found is not None
    assert (mean - torch.sin(2 * x)).abs().mean() < 0.03
    assert (found / truth).log().abs().mean() < 0.06


def test_angles_and_categories_can_be_targets() -> None:
    targets = Vector((Column("phi", Periodic(0, 1)), Column("kind", Categorical(("a", "b"))), Column("e")))
    model = Regressor(Spec(Vector.real(1), y=targets))
    mean, spread = model.predict(Examples(torch.randn(50, 1)))
    assert spread is not None and spread.shape == mean.shape == (50, 3)
    assert (mean[:, 0].abs() <= math.pi).all() and set(mean[:, 1].tolist()) <= {0.0, 1.0}
    assert (spread[:, 0] > 0).all() and spread[:, 1].isnan().all() and (spread[:, 2] > 0).all()


def test_the_spread_of_an_angle_is_the_circular_standard_deviation() -> None:
    targets = Vector((Column("phi", Periodic(0, 1)),))
    model = Regressor(Spec(Vector.real(1), y=targets), encoder=Read(torch.tensor([[3.0, 4.0, -1.0]])))
    spread = model.predict(Examples(torch.zeros(1, 1)))[1]
    assert spread is not None
    torch.manual_seed(0)
    draws = torch.cat([model.likelihood(Examples(torch.zeros(1, 1))).sample().detach() for _ in range(4000)])
    length = torch.complex(draws.cos(), draws.sin()).mean().abs()
    assert spread.detach().item() == pytest.approx(math.sqrt(-2 * math.log(length.item())), rel=0.05)


@pytest.mark.parametrize("target", [None, Label(("a", "b"))])
def test_a_target_that_is_no_number_is_refused(target: Label | None) -> None:
    with pytest.raises(DataError, match="Regressor wants y to be Vector; got (nothing|Label)"):
        Regressor(Spec(Vector.real(2), y=target))
