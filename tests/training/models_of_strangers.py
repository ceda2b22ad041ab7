"""Models and data of the fits that strangers wrote for the doctor, and what it said during one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gnomon
from gnomon.data import Examples, Spec
from gnomon.learned import Learned
from gnomon.models import Loss, Model

Arrays = dict[str, np.ndarray]


def fitted(model: Any, data: Any, **told: Any) -> Learned:
    """A fit as its author would call it, but for the progress bar."""
    return gnomon.fit(model, data, seed=0, progress=False, **told)


def said(learned: Learned) -> list[str]:
    """All that the doctor said during a fit."""
    return [text for line in learned.history for text in line.get("doctor", [])]


def dense(*sizes: int, activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers as PyTorch makes them, with an activation between."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


class LeastSquares(Model):
    """Numbers by least squares; subclasses say by which network."""

    target: ClassVar[str | None] = "numbers"
    net: nn.Module

    def predicted(self, x: Tensor) -> Tensor:
        return self.net(x)

    def loss(self, batch: Examples) -> Loss:
        return Loss.mean((self.predicted(batch.x) - batch.y).square().mean(1), batch.weight)

    def predict(self, batch: Examples) -> tuple[Tensor, Tensor]:
        mean = self.predicted(batch.x)
        return mean, torch.ones_like(mean)


class Classes(Model):
    """Classes by cross-entropy; subclasses say by which network."""

    target: ClassVar[str | None] = "label"
    net: nn.Module

    def loss(self, batch: Examples) -> Loss:
        return Loss.mean(F.cross_entropy(self.net(batch.x), batch.y, reduction="none"), batch.weight)

    def predict(self, batch: Examples) -> Tensor:
        return self.net(batch.x)


class Deep(LeastSquares):
    """Four hidden layers of rectifiers."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.net = dense(len(spec.x), 64, 64, 64, 64, 1, activation=nn.ReLU)


def surface(rows: int, noise: float = 0.1) -> Arrays:
    """Six columns, of which three matter."""
    random = np.random.default_rng(1)
    x = random.normal(size=(rows, 6)).astype(np.float32)
    return {"x": x, "y": np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + noise * random.normal(size=rows)}


class OwnVAE(Model):
    """A textbook's variational autoencoder; `per_column` averages the squared error over columns while the divergence is summed."""

    def __init__(self, spec: Spec, *, latent: int = 4, per_column: bool = False) -> None:
        super().__init__(spec)
        self.per_column = per_column
        self.encoder = dense(len(spec.x), 64, 2 * latent, activation=nn.ReLU)
        self.decoder = dense(latent, 64, len(spec.x), activation=nn.ReLU)

    def loss(self, batch: Examples) -> Loss:
        mean, log_variance = self.encoder(batch.x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        squares = (self.decoder(z) - batch.x).square()
        reconstruction = squares.mean(1) if self.per_column else squares.sum(1) / 2
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return Loss.mean(reconstruction + kl, batch.weight, reconstruction=reconstruction, kl=kl)

    def encode(self, batch: Examples) -> Tensor:
        return self.encoder(batch.x).chunk(2, dim=1)[0]

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        return self.decoder(z)


def three_causes(rows: int) -> Arrays:
    """Sixteen columns moved by three hidden causes."""
    random = np.random.default_rng(3)
    return {"x": np.tanh(random.normal(size=(rows, 3)) @ random.normal(size=(3, 16))) + 0.2 * random.normal(size=(rows, 16))}
