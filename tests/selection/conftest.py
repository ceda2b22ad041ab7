"""Models for tests of the search: solved at once, one that predicts by chance, one that notes which rows it was given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnomon.data import Examples, Spec
from gnomon.data.seeds import generator
from gnomon.errors import TrainingError
from gnomon.models import Loss, Model, Player

SEEN: list[list[float]] = []
"""The rows of every fit: numbers of the categories of their condition, which are the numbers of the rows."""


class Chance(Model):
    """Calls a class by the sign of a random projection that its option decides: nothing is learned, every option is as good."""

    target = "label"

    def __init__(self, spec: Spec, *, salt: int = 0) -> None:
        super().__init__(spec)
        self.register_buffer("direction", torch.randn(len(spec.x), generator=generator("chance", salt)))

    def players(self) -> tuple[Player, ...]:
        return ()

    def solve(self, examples: Examples) -> None:
        pass

    def predict(self, batch: Examples) -> Tensor:
        sign = (batch.x @ self.direction).sign()
        return torch.stack([-sign, sign], 1)

    def validate(self, batch: Examples) -> Loss:
        right = (self.predict(batch).argmax(1) == batch.y).float()
        return Loss.mean(1 - right, batch.weight, accuracy=right)


class Shrunk(Model):
    """The mean of the target, shrunk by a factor; some factors fail. Notes what it was given."""

    target = "numbers"

    def __init__(self, spec: Spec, *, factor: float = 0.0, bad: bool = False) -> None:
        super().__init__(spec)
        self.factor, self.bad = factor, bad
        self.register_buffer("centre", torch.zeros(()))

    def players(self) -> tuple[Player, ...]:
        return ()

    def solve(self, examples: Examples) -> None:
        if examples.given is not None:
            SEEN.append(examples.given[:, 0].tolist())
        if self.bad:
            raise TrainingError("the loss is no longer finite")
        self.centre = self.factor * examples.y.mean() + examples.x.new_zeros(())

    def predict(self, batch: Examples) -> tuple[Tensor, Tensor]:
        mean = self.centre.expand(len(batch), 1) + self.factor * batch.x[:, :1]
        return mean, torch.ones_like(mean)

    def validate(self, batch: Examples) -> Loss:
        return Loss.mean((self.predict(batch)[0] - batch.y).square().mean(1), batch.weight)


@pytest.fixture
def seen() -> list[list[float]]:
    SEEN.clear()
    return SEEN


@pytest.fixture(scope="session")
def chance() -> type[Model]:
    return Chance


@pytest.fixture(scope="session")
def shrunk() -> type[Model]:
    return Shrunk
