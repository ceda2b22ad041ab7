"""A small fit with the doctor at its side, as the loop calls it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gnomon.data import Examples, Spec
from gnomon.models import Model
from gnomon.training import randomness, schedules
from gnomon.training.doctor import Doctor
from gnomon.training.game import Game
from gnomon.training.meter import Meter
from gnomon.training.optimisers import OptimiserOptions


class Visit:
    """What came of a fit: the lines that were said, the history, the doctor and the game."""

    def __init__(self, lines: list[str], history: list[dict[str, Any]], doctor: Doctor | None, game: Game) -> None:
        self.lines, self.history, self.doctor, self.game = lines, history, doctor, game


def play(
    models: Model | list[Model],
    spec: Spec,
    train: Examples,
    held_out: Examples | None = None,
    *,
    epochs: int = 10,
    batch: int = 32,
    schedule: str = "cosine",
    watched: bool = True,
    compiled: bool = False,
    precision: str = "float32",
    seed: int = 0,
    **options: Any,
) -> Visit:
    """Train in the plainest way, and ask the doctor where the loop would."""
    together = isinstance(models, list)
    game = Game(models if together else [models], OptimiserOptions(**options), together=together, compiled=compiled, precision=precision)
    per_epoch = max(1, len(train) // batch)
    turns = epochs * per_epoch
    factor = schedules.make(schedule, turns)
    doctor = Doctor(game, spec, seed=seed, turns=turns, precision=precision) if watched else None
    lines: list[str] = []
    history: list[dict[str, Any]] = []
    randomness.seed(seed, game.device)
    order = torch.Generator().manual_seed(seed)
    if doctor is not None:
        lines += doctor.before(train, held_out)
    turn = 0
    for epoch in range(epochs):
        meter = Meter(game.copies)
        game.train()
        rows = torch.randperm(len(train), generator=order)
        for step in range(per_epoch):
            part = train[rows[step * batch : (step + 1) * batch]]
            due = doctor is not None and doctor.due(turn)
            for side in game.sides:
                if len(game.sides) > 1:
                    for other in game.sides:
                        other.require_gradient(other is side)
                if due and doctor is not None:
                    doctor.examine(side, part, factor(turn))
                side.optimiser.zero_grad()
                loss = side.loss(part)
                loss.total.sum().backward()
                meter.add(loss, f"{side.player.name}/" if len(game.sides) > 1 else "")
                side.optimiser.step(factor(turn), loss.weight)
                if due and doctor is not None:
                    doctor.after_update(side)
            turn += 1
        record: dict[str, Any] = {"epoch": epoch + 1} | {f"train/{k}": v for k, v in meter.means().items()}
        if held_out is not None and game.model.monitor is not None:
            judge, held = game.loss_of("validate"), Meter(game.copies)
            game.train(False)
            with torch.no_grad(), randomness.borrowed(1, game.device):
                held.add(judge(held_out))
            record |= {f"validation/{k}": v for k, v in held.means().items()}
        history.append(record)
        losses = [v if isinstance(v, list) else [v] for k, v in record.items() if k.startswith("train/") and k.endswith("loss")]
        if not any(all(math.isfinite(v) for v in copy) for copy in zip(*losses, strict=True)):
            if doctor is not None:
                lines += doctor.diverged(train[:batch])
            break
        if doctor is not None:
            lines += doctor.close_epoch(history, last=epoch == epochs - 1)
    return Visit(lines, history, doctor, game)


@pytest.fixture(scope="session")
def visit() -> Any:
    """`play`, as a fixture: test files of this suite do not import each other."""
    return play
