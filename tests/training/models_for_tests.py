"""Small models that exercise the loop: one player, two players, stages, dropout, buffers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gnomon.data import Examples, Spec
from gnomon.models import Loss, Model, Player


class Plain(Model):
    """Least squares by a small net, with dropout and a buffer that counts batches."""

    def __init__(self, spec: Spec, *, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__(spec)
        self.net = nn.Sequential(nn.Linear(len(spec.x), width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 1))

    def loss(self, batch: Examples) -> Loss:
        error = (self.net(batch.x) - batch.y).square().sum(1)
        return Loss.mean(error, batch.weight, error=error)


class Counting(Plain):
    """Plain, with a buffer that changes as it trains."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, batch: Examples) -> Loss:
        if self.training:
            self.seen += len(batch)
        return super().loss(batch)


class Duel(Model):
    """A generator against a critic on vectors: least squares losses, random latents."""

    monitor = None

    def __init__(self, spec: Spec, *, critic_steps: int = 2) -> None:
        super().__init__(spec)
        size = len(spec.x)
        self.critic_steps = critic_steps
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, size))
        self.critic = nn.Sequential(nn.Linear(size, 8), nn.Tanh(), nn.Linear(8, 1))

    def players(self) -> tuple[Player, ...]:
        return (
            Player("critic", loss="critic_loss", modules=("critic",), steps=self.critic_steps, average=False),
            Player("generator", loss="generator_loss", modules=("generator",)),
        )

    def fake(self, x: Tensor) -> Tensor:
        return self.generator(torch.randn_like(x[:, :2]))

    def critic_loss(self, batch: Examples) -> Loss:
        real, fake = self.critic(batch.x), self.critic(self.fake(batch.x))
        return Loss.mean(((real - 1).square() + fake.square()).sum(1), real=real.sum(1))

    def generator_loss(self, batch: Examples) -> Loss:
        return Loss.mean((self.critic(self.fake(batch.x)) - 1).square().sum(1))


class Layered(Model):
    """Learns layer by layer: two stages, each a game over one of two linear maps."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.first = nn.Linear(len(spec.x), 4)
        self.second = nn.Linear(4, 1)
        self.active = "first"

    def players(self) -> tuple[Player, ...]:
        return (Player(self.active, modules=(self.active,)),)

    def loss(self, batch: Examples) -> Loss:
        hidden = self.first(batch.x)
        out = hidden[:, :1] if self.active == "first" else self.second(torch.tanh(hidden))
        return Loss.mean((out - batch.y).square().sum(1))

    def stages(self) -> Iterator[Model]:
        for name in ("first", "second"):
            self.active = name
            yield self
