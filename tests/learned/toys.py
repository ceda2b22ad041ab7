"""Models so simple that every ability of a Learned can be worked out by hand, and the shortest way to a Learned of them."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import gnomon
from gnomon.data import Examples, Scaling, Spec, prepare
from gnomon.learned import Learned
from gnomon.models import Model


class Normal(Model):
    """Standard normal in network space, moved by the sum of the condition where there is one."""

    dequantises: ClassVar[bool] = True

    def __init__(self, spec: Spec, *, width: float = 1.0) -> None:
        super().__init__(spec)
        self.width = nn.Parameter(torch.tensor(width))

    def shift(self, given: Tensor | None, n: int) -> Tensor:
        moved = torch.zeros(n) if given is None else given.nan_to_num(nan=0.0).sum(1)
        return moved.reshape(n, *([1] * len(self.spec.x.shape)))

    def log_prob(self, batch: Examples) -> Tensor:
        z = (batch.x.float() - self.shift(batch.given, len(batch))) / self.width
        return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi) - self.width.log()).flatten(1).sum(1)

    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        return self.width * torch.randn(n, *self.spec.x.shape) + self.shift(given, n)

    def encode(self, batch: Examples) -> Tensor:
        return 2 * batch.x.flatten(1)

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        return (z / 2).reshape(len(z), *self.spec.x.shape)

    def reconstruct(self, batch: Examples) -> Tensor:
        return self.decode(self.encode(batch), batch.given)


class Bounded(Model):
    """A lower bound that is log p - 1 with noise, and its error 0.5."""

    dequantises: ClassVar[bool] = True

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.one = nn.Parameter(torch.ones(()))

    def log_prob_bound(self, batch: Examples, samples: int = 4) -> tuple[Tensor, Tensor]:
        value = (-0.5 * batch.x.square() - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1) - self.one
        return value + 0 * torch.randn(len(batch), samples).mean(1), torch.full((len(batch),), 0.5)


class Line(Model):
    """Predicts the first column of x in network space, with a fixed spread."""

    target: ClassVar[str | None] = "numbers"

    def __init__(self, spec: Spec, *, spread: float | None = 0.5, dropout: float = 0.0) -> None:
        super().__init__(spec)
        self.spread = spread
        self.drop = nn.Dropout(dropout)
        self.one = nn.Parameter(torch.ones(()))

    def predict(self, batch: Examples) -> tuple[Tensor, Tensor | None]:
        mean = self.drop(self.one * batch.x[:, :1]).expand(-1, len(self.spec.y))
        return mean, None if self.spread is None else torch.full_like(mean, self.spread)


class Chooser(Model):
    """Logits that are the columns of x in network space."""

    target: ClassVar[str | None] = "label"

    def __init__(self, spec: Spec, *, scale: float = 1.0, net: nn.Module | None = None) -> None:
        super().__init__(spec)
        self.scale = nn.Parameter(torch.tensor(scale))
        self.net = net

    def predict(self, batch: Examples) -> Tensor:
        return self.scale * batch.x[:, : len(self.spec.y.classes)]


class Network(Model):
    """A real network, with every operation whose result could depend on where a row stands in a batch."""

    dequantises: ClassVar[bool] = True

    def __init__(self, spec: Spec, *, hidden: int = 64) -> None:
        super().__init__(spec)
        columns = spec.x.shape[0]
        self.body = nn.Sequential(nn.Linear(columns, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, columns))

    def log_prob(self, batch: Examples) -> Tensor:
        return -(batch.x - self.body(batch.x)).exp().logsumexp(1)

    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        return self.body(torch.randn(n, *self.spec.x.shape))


class Scorer(Model):
    """Only knows how strange something is."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.one = nn.Parameter(torch.ones(()))

    def score(self, batch: Examples) -> Tensor:
        return self.one * batch.x.flatten(1).square().sum(1)


for _name, _kind in (
    ("toy-normal", Normal),
    ("toy-network", Network),
    ("toy-line", Line),
    ("toy-chooser", Chooser),
    ("toy-scorer", Scorer),
):
    gnomon.register(_name, _kind)


def learn(kind: type[Model], data: Any, *, drop_given: float = 0.0, options: dict[str, Any] | None = None, **reading: Any) -> Learned:
    """A Learned of a model that needs no training."""
    prepared = prepare(data, wanted=kind.target, **reading)
    info = {
        "data": {"path": None, "rows": len(prepared.raw), "columns": prepared.source["columns"]},
        "decisions": {"settings": {"drop_given": drop_given}},
        "seed": 0,
    }
    torch.manual_seed(0)
    return Learned(kind(prepared.spec, **(options or {})), Scaling.fit(prepared.spec, prepared.raw), info)
