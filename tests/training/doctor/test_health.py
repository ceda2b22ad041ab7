"""Healthy fits: the doctor is silent, whatever the net, the data and the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gnomon.data import Examples, Image, Label, Ragged, Set, Spec, Vector
from gnomon.models.autoencoder import Autoencoder
from gnomon.models.classifier import Classifier
from gnomon.models.flow import Flow
from gnomon.models.gan import GAN
from gnomon.models.regressor import Regressor
from gnomon.models.vae import VAE
from tests.training.doctor.models_for_the_doctor import Net, Ring, classification, he, regression, ring

R, C, G = regression(), classification(), ring()
NOISY, NOISE = regression(noise=3.0), regression(noise=50.0)
X = (R[0].with_(y=None), Examples(R[1].x), Examples(R[2].x))


def net(data: Any = R, *, seed: int = 0, **options: Any) -> Net:
    torch.manual_seed(seed)
    return Net(data[0], **{"outputs": len(data[0].y.classes) if isinstance(data[0].y, Label) else 1, **options})


def made(kind: type, *arguments: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(*arguments, **options)


def weighted(data: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    return data[0], *(part.with_(weight=2 * torch.rand(len(part), generator=generator)) for part in data[1:])


def rare() -> Any:
    """One class in twenty of the others."""
    spec, train, held_out = C
    y = train.y
    assert isinstance(y, torch.Tensor)
    few = torch.cat([torch.nonzero(y != 0).flatten(), torch.nonzero(y == 0).flatten()[:8]])
    return spec, train[few], held_out


def digits() -> Any:
    """Images of eight by eight pixels, some of which never change."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.tensor(bunch.images[:600], dtype=torch.float32)[:, None]
    x = (x - x.mean()) / x.std()
    y = torch.tensor(bunch.target[:600])
    return Spec(Image(1, (8, 8)), Label(tuple(range(10)))), Examples(x[:480], y[:480]), Examples(x[480:], y[480:])


def sets() -> Any:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 6, (320,), generator=generator)
    values = torch.randn(int(lengths.sum()), 3, generator=generator)
    x = Ragged(values, lengths)
    total = torch.zeros(320).index_add(0, x.rows(), values[:, 0])
    whole = Examples(x, (total > 0).long())
    return Spec(Set(Vector.real(3)), Label((0, 1))), whole[:256], whole[256:]


def counts() -> Any:
    """Few whole numbers: rows repeat by chance on both sides."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (400, 3), generator=generator).float() - 1.0
    y = x.sum(1, keepdim=True) / 2 + 0.3 * torch.randn(400, 1, generator=generator)
    return Spec(Vector.real(3), Vector.real(1)), Examples(x[:320], y[:320]), Examples(x[320:], y[320:])


HEALTHY: dict[str, tuple[Callable[[], tuple[Any, ...]], dict[str, Any]]] = {
    "relu": (lambda: (net(), *R), {"epochs": 20}),
    "five tanh layers": (lambda: (net(act=torch.tanh, widths=(32,) * 5), *R), {"epochs": 20}),
    "eight tanh layers": (lambda: (he(net(act=torch.tanh, widths=(32,) * 8), 1.0), *R), {"epochs": 15}),
    "two sigmoid layers": (lambda: (net(act=torch.sigmoid), *R), {"epochs": 20, "lr": 3e-3}),
    "eight relu layers": (lambda: (he(net(widths=(32,) * 8)), *R), {"epochs": 15}),
    "sixteen residual layers": (lambda: (net(widths=(32,) * 16, residual=True), *R), {"epochs": 10}),
    "batch normalisation": (lambda: (net(norm=True), *R), {"epochs": 15}),
    "classes": (lambda: (net(C), *C), {"epochs": 20}),
    "batches of four": (lambda: (net(), *R), {"epochs": 6, "batch": 4}),
    "all rows at once": (lambda: (net(), *R), {"epochs": 150, "batch": 409}),
    "weights": (lambda: (net(), *weighted(R)), {"epochs": 15}),
    "noisy targets": (lambda: (net(NOISY), *NOISY), {"epochs": 15}),
    "nothing but noise": (lambda: (net(NOISE), *NOISE), {"epochs": 15}),
    "plain SGD": (lambda: (net(C), *C), {"epochs": 20, "optimizer": "sgd", "lr": 0.05, "schedule": "constant"}),
    "SGD with momentum": (lambda: (net(), *R), {"epochs": 20, "optimizer": "momentum", "lr": 0.01}),
    "a brisk rate": (lambda: (net(), *R), {"epochs": 15, "lr": 1e-2}),
    "sigmoid on zeros and ones": (
        lambda: (net(last=torch.sigmoid, loss=lambda o, y: F.binary_cross_entropy(o, (y > 0).float(), reduction="none").sum(1)), *R),
        {"epochs": 15},
    ),
    "log-probabilities": (
        lambda: (net(C, last=lambda o: o.log_softmax(1), loss=lambda o, y: F.nll_loss(o, y, reduction="none")), *C),
        {"epochs": 15},
    ),
    "twenty rows": (lambda: (net(widths=(8,)), R[0], R[1][:20], R[2]), {"epochs": 60, "batch": 10}),
    "one epoch": (lambda: (net(C), *C), {"epochs": 1}),
    "one cycle": (lambda: (net(), *R), {"epochs": 15, "lr": 1e-2, "schedule": "one-cycle"}),
    "a rare class": (lambda: (net(C), *rare()), {"epochs": 15}),
    "rows that repeat by chance": (lambda: (net(counts()), *counts()), {"epochs": 10}),
    "several models at once": (lambda: ([net(seed=s) for s in range(3)], *R), {"epochs": 10}),
    "half precision": (lambda: (net(), *R), {"epochs": 10, "precision": "bfloat16"}),
    "Regressor": (lambda: (made(Regressor, R[0]), *R), {"epochs": 15}),
    "Classifier": (lambda: (made(Classifier, C[0]), *C), {"epochs": 15, "lr": 2e-3}),
    "Classifier of images": (lambda: (made(Classifier, digits()[0], size=0.25), *digits()), {"epochs": 6, "lr": 2e-3}),
    "Classifier of sets": (lambda: (made(Classifier, sets()[0], size=0.5), *sets()), {"epochs": 15, "lr": 2e-3}),
    "VAE": (lambda: (made(VAE, G[0], latent=4), *G), {"epochs": 30, "lr": 3e-3}),
    "Autoencoder": (lambda: (made(Autoencoder, X[0]), *X), {"epochs": 20, "lr": 2e-3}),
    "Flow": (lambda: (made(Flow, G[0], transforms=3, hidden=(32, 32)), *G), {"epochs": 10, "lr": 2e-3}),
    "GAN": (
        lambda: (made(GAN, G[0], net={"hidden": (64, 64)}), *G),
        {"epochs": 40, "batch": 64, "lr": 1e-3, "betas": (0.0, 0.99), "clip": None, "average": 0.99},
    ),
    "a plain GAN": (lambda: (made(Ring, G[0]), *G), {"epochs": 60, "betas": (0.5, 0.99)}),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_fit_gives_no_line(visit, name) -> None:
    plant, options = HEALTHY[name]
    assert visit(*plant(), **options).lines == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("act", [torch.relu, torch.tanh, F.silu])
def test_health_is_no_matter_of_the_seed(visit, seed, act) -> None:
    """Thirty fits more, over seeds of data and weights."""
    data = regression(seed=seed)
    assert visit(net(data, seed=seed, act=act), *data, epochs=15, seed=seed).lines == []
