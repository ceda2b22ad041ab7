"""Planted faults: each is named, in a line that says what helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gnomon.data import Examples, Label, Spec
from gnomon.models import Loss
from gnomon.models.flow import Flow
from gnomon.models.vae import VAE
from tests.training.doctor.models_for_the_doctor import Net, Ring, classification, he, regression, ring, scaled

R, C, G = regression(), classification(), ring()
X: tuple[Spec, Examples, Examples] = (R[0].with_(y=None), Examples(R[1].x), Examples(R[2].x))


def net(data: tuple[Spec, Examples, Examples] = R, **options: Any) -> Net:
    torch.manual_seed(0)
    return Net(data[0], **{"outputs": len(data[0].y.classes) if isinstance(data[0].y, Label) else 1, **options})


def biased(model: Net, value: float) -> Net:
    with torch.no_grad():
        for layer in model.layers[:-1]:
            layer.bias.fill_(value)
    return model


class Cut(Net):
    """Its first layers are cut off from the loss."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[-1](torch.relu(self.layers[0](x)).detach())


class Broken(Flow):
    """Its inverse is another map than its forward."""

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        return super().decode(z, given) * 1.1


class Won(Ring):
    """A generator far away, with the loss that saturates, against a critic that sees it at once."""

    def fake(self, n: int) -> Tensor:
        return super().fake(n) + 30.0

    def score(self, x: Tensor) -> Tensor:
        return self.critic(x)

    def generator_loss(self, batch: Examples) -> Loss:
        return Loss.mean(-F.softplus(self.score(self.fake(len(batch)))).squeeze(1))


def made(kind: type, *arguments: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(*arguments, **options)


def copied(data: tuple[Spec, Examples, Examples]) -> tuple[Spec, Examples, Examples]:
    spec, train, held_out = data
    return spec, train, Examples.cat([held_out[:60], train[:42]])


def few() -> tuple[Spec, Examples, Examples]:
    spec, train, held_out = regression(200, noise=1.5)
    return spec, train[:32], held_out


def squared(out: Tensor, y: Tensor) -> Tensor:
    return (out - y).square().sum(1)


FAULTS: dict[str, tuple[Callable[[], tuple[Any, ...]], dict[str, Any], list[str]]] = {
    "sigmoid layers with weights times 20": (lambda: (scaled(net(act=torch.sigmoid), 20), *R), {}, ["saturated", "layers.0"]),
    "relu with bias -10": (lambda: (biased(net(), -10.0), *R), {}, ["dead", "layers.0", "32 of 32"]),
    "silu with bias -10": (lambda: (biased(net(act=F.silu), -10.0), *R), {}, ["dead", "layers.0"]),
    "rate 10 with Adam": (lambda: (net(), *R), {"lr": 10.0}, ["learning rate 10 is too high"]),
    "rate 10 with Adam and tanh": (lambda: (net(act=torch.tanh), *R), {"lr": 10.0}, ["learning rate 10 is too high"]),
    "rate 10 with SGD": (lambda: (net(), *R), {"lr": 10.0, "optimizer": "sgd"}, ["learning rate 10 is too high"]),
    "rate 10 without clip": (lambda: (net(), *R), {"lr": 10.0, "optimizer": "sgd", "clip": None}, ["learning rate 10 is too high"]),
    "rate 1e-8": (lambda: (net(), *R), {"lr": 1e-8}, ["learning rate 1e-08 is too low"]),
    "rate 1e-6 with SGD": (lambda: (net(C), *C), {"lr": 1e-6, "optimizer": "sgd"}, ["learning rate 1e-06 is too low"]),
    "30 sigmoid layers": (lambda: (net(act=torch.sigmoid, widths=(16,) * 30), *R), {}, ["vanishing", "layers.0"]),
    "15 tanh layers, weights too small": (lambda: (he(net(act=torch.tanh, widths=(16,) * 15), 0.1), *R), {}, ["vanishing", "layers.0"]),
    "weights times 10": (lambda: (scaled(he(net(widths=(32,) * 4)), 10), *R), {}, ["initial weights are too large", "layers."]),
    "weights times 10, classes": (lambda: (scaled(he(net(C, widths=(32,) * 3)), 10), *C), {}, ["initial weights are too large"]),
    "inputs times 1000": (lambda: (net(enter=1000.0), *R), {}, ["unscaled", "layers.0"]),
    "targets beyond tanh": (lambda: (net(last=torch.tanh), *R), {}, ["out of reach", "tanh", "layers.2"]),
    "targets beyond sigmoid": (lambda: (net(last=torch.sigmoid, loss=squared), *R), {}, ["out of reach", "sigmoid"]),
    "softmax before cross-entropy": (lambda: (net(C, last=lambda o: o.softmax(1)), *C), {}, ["wants logits", "drop the softmax"]),
    "softmax with squared error": (
        lambda: (net(C, last=lambda o: o.softmax(1), loss=lambda o, y: squared(o, F.one_hot(y, 3).float())), *C),
        {},
        ["softmax", "use cross_entropy"],
    ),
    "sigmoid before the cross-entropy of logits": (
        lambda: (
            net(last=torch.sigmoid, loss=lambda o, y: F.binary_cross_entropy_with_logits(o, (y > 0).float(), reduction="none").sum(1)),
            *R,
        ),
        {},
        ["wants logits", "drop the sigmoid"],
    ),
    "rate 1e-5 for a few hundred turns": (lambda: (net(), *R), {"lr": 1e-5, "epochs": 40}, ["learning rate 1e-05 is too low"]),
    "inputs of a ten-thousandth": (lambda: (net(enter=1e-4), *R), {}, ["unscaled", "layers.0"]),
    "targets times 1000": (
        lambda: (net(), R[0], *(part.with_(y=1000 * part.y) for part in R[1:])),
        {},
        ["targets are unscaled"],
    ),
    "a column against a row": (
        lambda: (net(last=lambda o: o.squeeze(1), loss=lambda o, y: (o - y).square().mean(0)), *R),
        {},
        ["every row meets every other"],
    ),
    "held-out rows copied from training": (lambda: (net(), *copied(R)), {}, ["leakage", "42 of 102"]),
    "held-out rows are the training rows": (lambda: (net(C), C[0], C[1], C[1]), {}, ["leakage"]),
    "a huge net on few rows": (lambda: (net(few(), widths=(256, 256)), *few()), {"epochs": 150, "batch": 16, "lr": 3e-3}, ["overfitting"]),
    "log of a negative number in the third layer": (
        lambda: (net(widths=(32, 32, 32), act=torch.tanh, within=lambda i, h: h.log() if i == 2 else h), *R),
        {},
        ["not finite", "log after layer 'layers.2'"],
    ),
    "a root with infinite slope": (
        lambda: (net(within=lambda i, h: (h.relu() * 0).sqrt() if i == 1 else h), *R),
        {},
        ["gradient of 'layers.0.weight' is not", "sqrt"],
    ),
    "layers cut off": (lambda: (made(Cut, R[0], widths=(32,)), *R), {}, ["no gradient reaches layer 'layers.0'"]),
    "a generator that ignores its noise": (lambda: (made(Ring, G[0], stuck=True), *G), {"epochs": 40}, ["mode collapse"]),
    "a critic that wins": (lambda: (made(Won, G[0]), *G), {"epochs": 40}, ["'critic'", "has won"]),
    "a critic that is dull": (lambda: (made(Ring, G[0], dull=True), *G), {"epochs": 20}, ["'critic'", "has lost"]),
    "beta of 100": (lambda: (made(VAE, X[0], latent=4, beta=100.0), *X), {"epochs": 20, "lr": 3e-3}, ["posterior has collapsed"]),
    "a flow whose inverse is another map": (
        lambda: (made(Broken, X[0], transforms=2, hidden=(32,)), *X),
        {"epochs": 10, "lr": 2e-3},
        ["inverse does not invert"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(visit, name) -> None:
    plant, options, words = FAULTS[name]
    lines = visit(*plant(), **options).lines
    assert any(all(word in line for word in words) for line in lines), lines
    assert all("\n" not in line for line in lines) and len(set(lines)) == len(lines)


def test_a_fault_is_said_once_and_not_buried(visit) -> None:
    """One cause makes few lines: the first names it."""
    for name, (plant, options, _) in FAULTS.items():
        if name in ("rate 1e-8", "relu with bias -10", "30 sigmoid layers", "inputs times 1000", "inputs of a ten-thousandth"):
            assert len(visit(*plant(), **options).lines) == 1, name
