"""Models for the doctor: a plain net whose every part can be spoiled, a game on a ring, and small data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnomon.data import Examples, Label, Spec, Vector
from gnomon.models import Loss, Model, Player


def regression(rows: int = 512, columns: int = 6, *, noise: float = 0.1, seed: int = 0) -> tuple[Spec, Examples, Examples]:
    """A smooth function of scaled columns, scaled itself; a fifth of the rows held out."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator)
    y = torch.sin(x[:, :1]) + 0.5 * x[:, 1:2] * x[:, 2:3] + noise * torch.randn(rows, 1, generator=generator)
    y = (y - y.mean()) / y.std()
    cut = rows - rows // 5
    return Spec(Vector.real(columns), Vector.real(1)), Examples(x[:cut], y[:cut]), Examples(x[cut:], y[cut:])


def classification(rows: int = 512, columns: int = 6, classes: int = 3, *, seed: int = 0) -> tuple[Spec, Examples, Examples]:
    """Overlapping Gaussian clouds."""
    generator = torch.Generator().manual_seed(seed)
    centres = 1.5 * torch.randn(classes, columns, generator=generator)
    y = torch.randint(classes, (rows,), generator=generator)
    x = centres[y] + torch.randn(rows, columns, generator=generator)
    x = (x - x.mean(0)) / x.std(0)
    cut = rows - rows // 5
    return Spec(Vector.real(columns), Label(tuple(range(classes)))), Examples(x[:cut], y[:cut]), Examples(x[cut:], y[cut:])


def ring(rows: int = 512, modes: int = 8, *, seed: int = 0) -> tuple[Spec, Examples, Examples]:
    """Gaussians on a ring."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.randint(modes, (rows,), generator=generator) / modes
    x = torch.stack([angle.cos(), angle.sin()], 1) * 1.4 + 0.1 * torch.randn(rows, 2, generator=generator)
    cut = rows - rows // 5
    return Spec(Vector.real(2)), Examples(x[:cut]), Examples(x[cut:])


class Net(Model):
    """Least squares or cross-entropy by a plain net of `widths`, with `act` between layers, as functions rather than modules."""

    def __init__(
        self,
        spec: Spec,
        *,
        widths: Sequence[int] = (32, 32),
        act: Callable[[Tensor], Tensor] = torch.relu,
        outputs: int = 1,
        last: Callable[[Tensor], Tensor] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        enter: float = 1.0,
        within: Callable[[int, Tensor], Tensor] | None = None,
        residual: bool = False,
        norm: bool = False,
    ) -> None:
        super().__init__(spec)
        sizes = [len(spec.x), *widths, outputs]  # type: ignore[arg-type]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(w) if norm else nn.Identity() for w in widths])
        self.act, self.last, self.criterion, self.enter, self.within, self.residual = act, last, loss, enter, within, residual

    def forward(self, x: Tensor) -> Tensor:
        h = x * self.enter
        for index, layer in enumerate(self.layers[:-1]):
            new = self.act(self.norms[index](layer(h)))
            h = h + new if self.residual and new.shape == h.shape else new
            if self.within is not None:
                h = self.within(index, h)
        out = self.layers[-1](h)
        return out if self.last is None else self.last(out)

    def loss(self, batch: Examples) -> Loss:
        out = self.forward(batch.x)  # type: ignore[arg-type]
        if self.criterion is not None:
            values = self.criterion(out, batch.y)  # type: ignore[arg-type]
        elif batch.y.ndim == 1:  # type: ignore[union-attr]
            values = F.cross_entropy(out, batch.y, reduction="none")  # type: ignore[arg-type]
        else:
            values = (out - batch.y).square().sum(1)  # type: ignore[operator]
        return Loss.mean(values, batch.weight)


def scaled(model: Net, factor: float, *, but_last: bool = False) -> Net:
    """The same model, its weights multiplied."""
    with torch.no_grad():
        for layer in model.layers[:-1] if but_last else model.layers:
            layer.weight.mul_(factor)
    return model


def he(model: Net, gain: float = 2.0) -> Net:
    """The same model, its weights drawn with variance gain / inputs."""
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.normal_(0, (gain / layer.weight.shape[1]) ** 0.5)
            layer.bias.zero_()
    return model


class Ring(Model):
    """A game on vectors with the usual losses; its generator can be made poor and its critic strong or dull."""

    monitor: ClassVar[str | None] = None

    def __init__(self, spec: Spec, *, stuck: bool = False, sharp: float = 1.0, dull: bool = False) -> None:
        super().__init__(spec)
        self.sharp, self.dull, self.stuck = sharp, dull, stuck
        self.generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
        self.critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def players(self) -> tuple[Player, ...]:
        return (
            Player("critic", loss="critic_loss", modules=("critic",), average=False),
            Player("generator", loss="generator_loss", modules=("generator",)),
        )

    def fake(self, n: int) -> Tensor:
        z = torch.randn(n, 4, device=self.device)
        return self.generator(0.01 * z if self.stuck else z)

    def score(self, x: Tensor) -> Tensor:
        out = self.critic(x * self.sharp)
        return 0.0 * out if self.dull else out

    def critic_loss(self, batch: Examples) -> Loss:
        real, fake = self.score(batch.x), self.score(self.fake(len(batch)).detach())  # type: ignore[arg-type]
        return Loss.mean((F.softplus(-real) + F.softplus(fake)).squeeze(1))

    def generator_loss(self, batch: Examples) -> Loss:
        return Loss.mean(F.softplus(-self.score(self.fake(len(batch)))).squeeze(1))

    def sample(self, n: int, given: Any = None) -> Tensor:
        return self.fake(n)
