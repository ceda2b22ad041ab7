"""Accumulated batches equal one big batch in double precision: weighted, signed, ragged, by every first-order rule; else refused.

What is drawn at random (dropout, shifts of images, a VAE's noise, mixup) is drawn for each batch by itself and is no part of this promise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import gnomon
from gnomon.data import Examples, Image, InMemory, Label, Ragged, Scaling, Set, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models import Model
from gnomon.models.autoencoder import Autoencoder
from gnomon.models.classifier import Classifier
from gnomon.models.flow import Flow
from gnomon.models.regressor import Regressor
from gnomon.training import randomness, schedules
from gnomon.training.game import Game
from gnomon.training.loop import Loop, Plan
from gnomon.training.optimisers.options import FIRST_ORDER
from gnomon.training.settings import resolve

ROWS, BIG, SMALL = 104, 32, 8  # three moves an epoch, and some rows left over


class Doubled:
    """A source whose numbers are float64."""

    def __init__(self, source: InMemory) -> None:
        self.source, self.steps = source, source.steps

    def batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[Examples]:
        for batch in self.source.batches(seed, epoch, start):
            yield batch.with_(**{role: _doubled(values) for role, values in batch.roles()})


def _doubled(values: Tensor | Ragged) -> Tensor | Ragged:
    if isinstance(values, Ragged):
        return Ragged(values.values.double(), values.lengths)
    return values.double() if values.is_floating_point() else values


def examples(kind: str, weights: str | None) -> tuple[Spec, Examples]:
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 3, dtype=torch.float64, generator=chance)
    numbers = torch.stack([x[:, 0] ** 2, x[:, 1] + x[:, 2]], 1)
    labels = (x[:, 0] > 0).long() + (x[:, 1] > 1).long()
    weight = None
    if weights is not None:
        weight = torch.rand(ROWS, dtype=torch.float64, generator=chance) + 0.5
        if weights == "signed":
            weight = torch.where(torch.rand(ROWS, generator=chance) < 0.2, -weight, weight)
        weight = weight / weight.mean()
    given = torch.randn(ROWS, 1, dtype=torch.float64, generator=chance)
    three = Label(("a", "b", "c"))
    if kind == "numbers":
        return Spec(Vector.real(3), y=Vector.real(2)), Examples(x, y=numbers, weight=weight)
    if kind == "conditions":
        return Spec(Vector.real(3), given=Vector.real(1)), Examples(x, given=given, weight=weight)
    if kind == "labels":
        return Spec(Vector.real(3), y=three), Examples(x, y=labels, weight=weight)
    if kind == "sets":
        lengths = torch.randint(0, 6, (ROWS,), generator=chance)
        points = torch.randn(int(lengths.sum()), 2, dtype=torch.float64, generator=chance)
        return Spec(Set(Vector.real(2)), y=Vector.real(2)), Examples(Ragged(points, lengths), y=numbers, weight=weight)
    pictures = torch.randn(ROWS, 1, 6, 6, dtype=torch.float64, generator=chance)
    return Spec(Image(1, (6, 6)), y=three), Examples(pictures, y=labels, weight=weight)


def played(kind: type[Model], options: dict[str, Any], spec: Spec, raw: Examples, copies: int | None, **settings: Any) -> Loop:
    made = resolve({"epochs": 2, "patience": None, "lr": 0.01, **settings}, {}, ROWS)
    models = []
    for index in range(copies or 1):
        randomness.seed(100 + index, torch.device("cpu"))
        models.append(kind(spec, **options).double())
    scaling = Scaling.fit(spec, raw)
    train = Doubled(InMemory(scaling.store(raw), scaling, batch_size=made.batch_size))
    game = Game(models, made.optimiser(), together=copies is not None)
    turns = max(1, train.steps // made.accumulate) * made.epochs
    loop = Loop(game, train, None, Plan(made.epochs, schedules.make(made.schedule, turns), made.accumulate), seed=0)
    randomness.seed(7, game.device)
    loop.run()
    assert loop.turn == 6
    return loop


SMALL_NET = {"net": {"hidden": (6,)}}
MODELS: dict[str, tuple[type[Model], dict[str, Any], str]] = {
    "regressor": (Regressor, SMALL_NET, "numbers"),
    "one-spread": (Regressor, SMALL_NET | {"spread": "shared"}, "numbers"),
    "squared": (Regressor, SMALL_NET | {"spread": "none"}, "numbers"),
    "classifier": (Classifier, SMALL_NET | {"label_smoothing": 0.1}, "labels"),
    "autoencoder": (Autoencoder, SMALL_NET | {"latent": 2}, "conditions"),
    "flow": (Flow, {"transforms": 2, "hidden": (6,), "bins": 4}, "conditions"),
    "sets": (Regressor, {}, "sets"),
    "images": (Classifier, {"net": {"width": 4}, "shift": 0.0}, "images"),
}


def assert_equal(big: Loop, small: Loop) -> None:
    for one, other in zip(big.game.sides, small.game.sides, strict=True):
        torch.testing.assert_close(one.data, other.data, rtol=0, atol=1e-12)
    for one, other in zip(big.history, small.history, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name] == pytest.approx(other[name], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("weights", [None, "positive", "signed"])
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, weights: str | None) -> None:
    kind, options, data = MODELS[name]
    spec, raw = examples(data, weights)
    big = played(kind, options, spec, raw, None, batch_size=BIG)
    small = played(kind, options, spec, raw, None, batch_size=SMALL, accumulate=BIG // SMALL)
    assert_equal(big, small)
    assert not torch.equal(big.game.sides[0].data, played(kind, options, spec, raw, None, batch_size=BIG, lr=0.011).game.sides[0].data)


RULES: dict[str, dict[str, Any]] = {name: {"optimizer": name} for name in FIRST_ORDER} | {
    "penalties": {"l1": 1e-3, "weight_decay": 1e-2, "clip": 0.1, "adaptive_clip": 0.05, "max_norm": 1.5, "gradient_noise": 0.1},
    "sharpness": {"sharpness": 0.05},
    "plain-average": {"average": None, "optimizer": "sgd", "clip": None},
}


@pytest.mark.parametrize("copies", [None, 2], ids=["one", "together"])
@pytest.mark.parametrize("rule", RULES)
def test_optimisers(rule: str, copies: int | None) -> None:
    spec, raw = examples("numbers", "signed")
    options = SMALL_NET | {"spread": "none"}
    big = played(Regressor, options, spec, raw, copies, batch_size=BIG, **RULES[rule])
    small = played(Regressor, options, spec, raw, copies, batch_size=SMALL, accumulate=BIG // SMALL, **RULES[rule])
    assert_equal(big, small)


def test_what_a_batch_decides_together_is_refused() -> None:
    told: dict[str, Any] = {"accumulate": 2, "epochs": 1, "progress": False}
    with pytest.raises(OptionError, match="accumulate=2 would change what GAN learns: its examples act on each other"):
        gnomon.fit("gan", "wine", **told)
    with pytest.raises(OptionError, match="accumulate=2 would change what Regressor learns: its BatchNorm1d"):
        gnomon.fit("regressor", "diabetes", options={"net": {"norm": "batch"}}, **told)
    gnomon.fit("regressor", "diabetes", options={"net": {"norm": "layer"}}, **told)
