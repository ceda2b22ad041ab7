"""The classifier and the regressor with every loss: right targets hard and soft, learning, and errors that say what to do."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks.losses import class_losses, number_losses
from gnomon.data import Categorical, Column, Examples, Label, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.base import LossOf, Model
from gnomon.models.classifier import Classifier, ClassLoss
from gnomon.models.regressor import Regressor
from gnomon.options import signature

CLASSES = Spec(Vector.real(2), y=Label(("low", "middle", "high")))
NUMBERS = Spec(Vector.real(2), y=Vector.real(2))


class Read(nn.Module):
    """An encoder whose outputs are handed to it."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return self.outputs


def drawn(n: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(n, 3, generator=generator),
        torch.randint(0, 3, (n,), generator=generator),
        torch.randn(n, 3, generator=generator).softmax(-1),
    )


def test_the_names_models_take_are_those_of_the_tables() -> None:
    assert set(get_args(ClassLoss)) == set(class_losses)
    literal, none = get_args(signature(Regressor)["loss"].annotation)
    assert set(get_args(literal)) == set(number_losses) and none is type(None)


@pytest.mark.parametrize("name", class_losses)
def test_a_classifier_sums_its_loss_over_hard_and_soft_targets(name: str) -> None:
    logits, hard, soft = drawn()
    weight = torch.tensor([0.5, 1.5, 1.0, 2.0, -0.5])
    model = Classifier(CLASSES, loss=name, encoder=Read(logits))
    for y in (hard, soft):
        batch = Examples(torch.zeros(5, 2), y=y, weight=weight)
        expected = (class_losses[name](logits, y) * weight).sum()
        for loss in (model.loss(batch), model.validate(batch)):
            torch.testing.assert_close(loss.total, expected)
            assert loss.weight.item() == 5
        right = (logits.argmax(-1) == (y if y.ndim == 1 else y.argmax(-1))).float()
        torch.testing.assert_close(model.validate(batch).parts["accuracy"], (right * weight).sum())


@pytest.mark.parametrize("name", class_losses)
def test_one_hot_targets_are_the_classes(name: str) -> None:
    logits, hard, _ = drawn()
    model = Classifier(CLASSES, loss=name, label_smoothing=0.2, encoder=Read(logits))
    one_hot = torch.nn.functional.one_hot(hard, 3).float()
    totals = [model.loss(Examples(torch.zeros(5, 2), y=y)).total for y in (hard, one_hot, 0.8 * one_hot + 0.2 / 3)]
    torch.testing.assert_close(totals[0], totals[1])
    plain = Classifier(CLASSES, loss=name, encoder=Read(logits))
    torch.testing.assert_close(totals[0], plain.loss(Examples(torch.zeros(5, 2), y=0.8 * one_hot + 0.2 / 3)).total)


@pytest.mark.parametrize("name", class_losses)
def test_a_classifier_learns_by_every_loss(name: str) -> None:
    torch.manual_seed(0)
    y = torch.arange(3).repeat(60)
    centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    x = centres[y] + 0.4 * torch.randn(180, 2)
    model = Classifier(CLASSES, loss=name, net={"hidden": (16,)})
    batch = Examples(x, y=y)
    train(model, batch, steps=150)
    with torch.no_grad():
        assert model.validate(batch).parts["accuracy"].item() / 180 > 0.97


def train(model: Model, batch: Examples, *, steps: int, lr: float = 0.02) -> None:
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimiser.zero_grad()
        loss = model.loss(batch)
        (loss.total / loss.weight).backward()
        optimiser.step()


@pytest.mark.parametrize("name", number_losses)
def test_a_regressor_minimises_its_loss(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, y = torch.randn(5, 2, generator=generator), torch.randn(5, 2, generator=generator)
    weight = torch.tensor([0.5, 1.5, 1.0, 2.0, -0.5])
    model = Regressor(NUMBERS, spread="none", loss=name, encoder=Read(outputs))
    error = (outputs - y).abs()
    expected = {
        "squared": error.square().mean(-1),
        "absolute": error.mean(-1),
        "huber": torch.where(error < 1, error.square() / 2, error - 0.5).mean(-1),
        "chebyshev": error.amax(-1),
        "euclidean": error.square().sum(-1).sqrt(),
    }[name]
    for w in (None, weight):
        batch = Examples(torch.zeros(5, 2), y=y, weight=w)
        total = (expected * (1 if w is None else w)).sum()
        torch.testing.assert_close(model.loss(batch).total, total)
        torch.testing.assert_close(model.validate(batch).total, total)
        squared = (error.square().mean(-1) * (1 if w is None else w)).sum()
        torch.testing.assert_close(model.validate(batch).parts["squared_error"], squared)


@pytest.mark.parametrize(("name", "centre"), [("squared", 2.0), ("absolute", math.log(4)), ("huber", None)])
def test_a_regressor_finds_the_centre_of_its_loss(name: str, centre: float | None) -> None:
    # exponential targets: mean 2, median 2 ln 2; Huber's centre lies between
    torch.manual_seed(0)
    y = -2 * torch.log(1 - (torch.arange(2000.0) + 0.5) / 2000)[:, None]
    model = Regressor(Spec(Vector.real(1), y=Vector.real(1)), spread="none", loss=name, net={"hidden": ()})
    batch = Examples(torch.zeros(2000, 1), y=y)
    train(model, batch, steps=600, lr=0.05)
    mean, spread = model.predict(batch)
    assert spread is None
    if centre is None:
        assert math.log(4) + 0.05 < mean[0].item() < 1.95
    else:
        assert mean[0].item() == pytest.approx(centre, abs=0.02)


def test_squared_is_the_default_bit_for_bit() -> None:
    totals = []
    for options in ({}, {"loss": "squared"}):
        torch.manual_seed(0)
        model = Regressor(NUMBERS, spread="none", **options)
        totals.append(model.loss(Examples(torch.randn(5, 2), y=torch.randn(5, 2))).total)
        assert model.squared and model.residuals(Examples(torch.randn(5, 2), y=torch.randn(5, 2))).shape == (5, 2)
    assert torch.equal(*totals)


@pytest.mark.parametrize("name", class_losses)
def test_seeds_train_together_by_every_loss(name: str) -> None:
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(LossOf(Classifier(CLASSES, loss=name, net={"hidden": (4,)})))
    parameters, buffers = stack_module_state(models)
    _, hard, soft = drawn()
    for y in (hard, soft):
        batch = Examples(torch.ones(5, 2), y=y)
        totals = vmap(lambda p, b, batch=batch: functional_call(models[0], (p, b), (batch,)).total)(parameters, buffers)
        torch.testing.assert_close(totals, torch.stack([model(batch).total for model in models]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Classifier(CLASSES, loss="hinges"), "unknown loss 'hinges' of Classifier; did you mean 'hinge'"),
        (lambda: Regressor(NUMBERS, spread="none", loss="absolut"), "unknown loss 'absolut' of Regressor; did you mean 'absolute'"),
        (lambda: Regressor(NUMBERS, loss="absolute"), "loss='absolute' wants spread='none': with spread='example' the likelihood"),
        (lambda: Regressor(NUMBERS, spread="shared", loss="squared"), "loss='squared' wants spread='none'"),
        (
            lambda: Regressor(
                Spec(Vector.real(2), y=Vector((Column("c", Categorical((0, 1))), Column("t")))), spread="none", loss="absolute"
            ),
            "wants targets that are all numbers",
        ),
        (
            lambda: Regressor(NUMBERS, spread="none", loss="huber").residuals(Examples(torch.zeros(1, 2), y=torch.zeros(1, 2))),
            "no sum of squares: set spread=none and loss=squared",
        ),
    ],
)
def test_errors_say_what_to_do(call, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_options_are_recorded() -> None:
    assert Classifier(CLASSES, loss="hinge").options_["loss"] == "hinge"
    assert Regressor(NUMBERS, spread="none", loss="huber").options_["loss"] == "huber"
