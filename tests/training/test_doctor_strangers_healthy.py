"""Healthy fits written without having seen the doctor's thresholds: it must leave them in peace.

Each fit is what somebody might do on an ordinary day, with a model of their own or a resident; written before any of them was run with the
doctor, and left as it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gnomon
from gnomon.data import Examples, Spec
from gnomon.data.toys import Moons
from gnomon.learned import Learned
from gnomon.models import Loss, Model
from tests.training.models_of_strangers import Classes, LeastSquares, OwnVAE, dense, fitted, said, surface, three_causes


class Normalised(Classes):
    """Six hidden layers of rectifiers with batch normalisation."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        hidden = [layer for _ in range(6) for layer in (nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())]
        self.net = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))


def deep_with_batch_norm() -> Learned:
    told = {"optimizer": "nesterov", "lr": 0.05, "schedule": "one-cycle", "weight_decay": 1e-4}
    return fitted(Normalised, "digits", epochs=15, batch_size=64, **told)


class Recurrent(LeastSquares):
    """Reads a short series number by number with a recurrent layer of tanh, and tells the next."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.cells = nn.RNN(1, 32, batch_first=True)
        self.last = nn.Linear(32, 1)

    def predicted(self, x: Tensor) -> Tensor:
        return self.last(self.cells(x.unsqueeze(2))[0][:, -1])


def recurrent() -> Learned:
    random = np.random.default_rng(4)
    frequency, phase = random.uniform(0.2, 1.0, (1000, 1)), random.uniform(0, 6.28, (1000, 1))
    series = np.sin(frequency * np.arange(17) + phase) + 0.1 * random.normal(size=(1000, 17))
    return fitted(Recurrent, {"x": series[:, :16], "y": series[:, 16]}, epochs=20, lr=3e-3, clip=1.0)


def small_and_noisy() -> Learned:
    """442 patients, of whose disease half of the variance can be told at best; a small net, decayed and stopped early."""
    net = {"hidden": (32,), "dropout": 0.1}
    return fitted("regressor", "diabetes", target="progression", options={"net": net}, weight_decay=1e-3, epochs=60, patience=10)


class Logistic(Model):
    """One logit by a small net."""

    target: ClassVar[str | None] = "label"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.net = dense(len(spec.x), 32, 1, activation=nn.ReLU)

    def loss(self, batch: Examples) -> Loss:
        values = F.binary_cross_entropy_with_logits(self.net(batch.x)[:, 0], batch.y.to(torch.float32), reduction="none")
        return Loss.mean(values, batch.weight)

    def predict(self, batch: Examples) -> Tensor:
        logit = self.net(batch.x)
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def imbalanced_by_plain_descent() -> Learned:
    random = np.random.default_rng(5)
    x = random.normal(size=(3000, 8)).astype(np.float32)
    y = (x[:, 0] - x[:, 1] + x[:, 2] * x[:, 3] + 0.5 * random.normal(size=3000) > 3.2).astype(int)
    return fitted(Logistic, {"x": x, "y": y}, optimizer="sgd", lr=0.1, epochs=10)


class Robust(LeastSquares):
    """Least squares near, absolute error far."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.net = dense(len(spec.x), 64, 64, 1, activation=nn.SiLU)

    def loss(self, batch: Examples) -> Loss:
        return Loss.mean(F.smooth_l1_loss(self.predicted(batch.x), batch.y, beta=0.3, reduction="none").mean(1), batch.weight)


def heavy_tails_with_weights() -> Learned:
    random = np.random.default_rng(6)
    x = random.normal(size=(3000, 5)).astype(np.float32)
    y = 2 * x[:, 0] + np.abs(x[:, 1]) + 0.5 * random.standard_t(2, 3000)
    return fitted(Robust, {"x": x, "y": y, "weight": random.gamma(2.0, 0.5, 3000)}, epochs=6, lr=2e-3)


def moons_by_a_gan() -> Learned:
    return fitted("gan", Moons(noise=0.1).sample(1000, seed=7), options={"net": {"hidden": (64, 64)}}, epochs=40)


def own_vae() -> Learned:
    return fitted(OwnVAE, three_causes(2000), epochs=25, lr=2e-3)


def short_flow() -> Learned:
    """A table of a positive column, an angle, a category and a number that hangs on all three."""
    random = np.random.default_rng(8)
    size, angle, kind = random.lognormal(0, 0.5, 1500), random.vonmises(0, 2, 1500), random.integers(0, 3, 1500)
    number = size * np.cos(angle) + kind + 0.3 * random.normal(size=1500)
    table = pa.table({"size": size, "angle": angle, "kind": np.array(["a", "b", "c"])[kind], "number": number})
    return fitted("flow", table, columns={"size": "positive", "angle": "periodic(-pi,pi)"}, options={"hidden": (64, 64)}, epochs=15)


class Residual(LeastSquares):
    """Four residual blocks with layer normalisation and dropout."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.first, self.last = nn.Linear(len(spec.x), 48), nn.Linear(48, 1)
        parts = [nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 96), nn.GELU(), nn.Dropout(0.1), nn.Linear(96, 48)) for _ in range(4)]
        self.blocks = nn.ModuleList(parts)

    def predicted(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(hidden)


def residual_with_warmup() -> Learned:
    return fitted(Residual, surface(1500), optimizer="adamw", lr=1e-3, weight_decay=0.01, warmup=50, epochs=15)


def rare_words() -> Learned:
    """Counts of 200 words, most of them absent from most texts."""
    random = np.random.default_rng(12)
    topic = random.integers(0, 3, 1500)
    shares = random.dirichlet(np.full(200, 0.1), 3)
    x = np.stack([random.multinomial(30, shares[t] * 0.6 + 0.4 / 200) for t in topic]).astype(np.float32)
    return fitted("classifier", {"x": x, "y": topic}, options={"net": {"hidden": (32,), "activation": "relu", "dropout": 0.3}}, epochs=8)


def wrong_labels() -> Learned:
    """A fifth of the labels are wrong, and the fit is stopped early."""
    random = np.random.default_rng(13)
    x = random.normal(size=(2000, 6)).astype(np.float32)
    y = np.where(random.random(2000) < 0.2, random.integers(0, 2, 2000), x[:, 0] * x[:, 1] > 0).astype(int)
    return fitted("classifier", {"x": x, "y": y}, options={"net": {"hidden": (32, 32)}}, epochs=30, patience=5)


def autoencoder_of_digits() -> Learned:
    x = gnomon.data.load("digits")["x"]
    return fitted("autoencoder", {"x": x}, options={"latent": 8, "encoder": "mlp", "decoder": "mlp"}, epochs=15)


HEALTHY: tuple[Callable[[], Learned], ...] = (
    deep_with_batch_norm,
    recurrent,
    small_and_noisy,
    imbalanced_by_plain_descent,
    heavy_tails_with_weights,
    moons_by_a_gan,
    own_vae,
    short_flow,
    residual_with_warmup,
    rare_words,
    wrong_labels,
    autoencoder_of_digits,
)


@pytest.mark.parametrize("fit", HEALTHY, ids=lambda fit: fit.__name__)
def test_a_healthy_fit_is_left_in_peace(fit: Callable[[], Learned]) -> None:
    assert said(fit()) == []
