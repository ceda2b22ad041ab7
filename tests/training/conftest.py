"""Data and a way to play a game, shared by the tests of the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gnomon.data import Examples, InMemory, Scaling, Spec, Vector
from gnomon.models import Model
from gnomon.training import randomness, schedules
from gnomon.training.checkpoint import Checkpoint
from gnomon.training.game import Game
from gnomon.training.loop import Loop, Plan
from gnomon.training.settings import resolve

ROWS, BATCH = 200, 16


class Playground:
    """Fits small models on one fixed regression problem."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(ROWS, 3, dtype=torch.float64, generator=generator)
        y = x[:, :1] ** 2 + 0.1 * torch.randn(ROWS, 1, dtype=torch.float64, generator=generator)
        self.spec = Spec(Vector.real(3), Vector.real(1))
        self.raw = Examples(x, y)
        self.scaling = Scaling.fit(self.spec, self.raw)
        self.stored = self.scaling.store(self.raw)

    def loop(self, kind: type[Model], folder: Path | None = None, *, copies: int | None = None, stage: int = 0, **settings: Any) -> Loop:
        """A loop ready to run, the same every time."""
        made = resolve({"epochs": 3, "batch_size": BATCH, "patience": None, **settings}, {}, ROWS)
        models = []
        for index in range(copies or 1):
            randomness.seed(100 + index, torch.device("cpu"))
            models.append(kind(self.spec))
        train = InMemory(self.stored, self.scaling, batch_size=made.batch_size)
        validation = InMemory(self.stored[:64], self.scaling, batch_size=64, shuffle=False)
        game = Game(models, made.optimiser(), together=copies is not None)
        plan = Plan(made.epochs, schedules.make(made.schedule, 60), made.accumulate, made.patience, kind.monitor)
        checkpoint = None if folder is None else Checkpoint(folder)
        loop = Loop(game, train, validation if kind.monitor else None, plan, seed=0, checkpoint=checkpoint, stage=stage)
        randomness.seed(7, game.device)
        return loop


@pytest.fixture(scope="session")
def playground() -> Playground:
    return Playground()
