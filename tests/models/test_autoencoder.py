"""The autoencoder against the linear case, which PCA solves, and against its likelihood written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gnomon.data import Categorical, Column, Examples, Image, Periodic, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models import Model
from gnomon.models.autoencoder import Autoencoder
from gnomon.models.pca import PCA
from gnomon.models.vae import VAE


def minimise(model: Model, batch: Examples, rounds: int = 400) -> None:
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=rounds, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = model.loss(batch)
        (loss.total / loss.weight).backward()
        return loss.total / loss.weight

    optimiser.step(closure)


@pytest.mark.parametrize("spread", ["fixed", "shared"])
def test_a_linear_autoencoder_finds_the_plane_of_the_principal_components(spread: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 6, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 2, 1.5, 1, 0.5, 0.2])
    x = x @ torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    torch.manual_seed(0)
    spec = Spec(Vector.real(6))
    model, pca = Autoencoder(spec, latent=2, spread=spread, net={"hidden": ()}).double(), PCA(spec, components=2)
    minimise(model, Examples(x))
    pca.solve(Examples(x))
    plane = torch.linalg.qr((model.decode(torch.eye(2).double()) - model.decode(torch.zeros(2, 2).double())).T)[0]
    cosines = torch.linalg.svdvals(plane.T @ pca.directions.double().T)
    assert cosines.clamp(max=1).arccos().max() < 1e-3
    if spread == "shared":
        left = (x - model.reconstruct(Examples(x))).square().mean()
        found = model.likelihood(model.encode(Examples(x))).spread()[0, 0]
        assert found.item() == pytest.approx(math.sqrt(left.item()), rel=0.01)


def test_the_loss_is_half_the_squared_error() -> None:
    torch.manual_seed(0)
    model, batch = Autoencoder(Spec(Vector.real(4)), latent=2), Examples(torch.randn(7, 4))
    half = 0.5 * (batch.x - model.reconstruct(batch)).square().sum(-1) + 2 * math.log(2 * math.pi)  # and the Gaussian's constant
    torch.testing.assert_close(model.score(batch), half)
    torch.testing.assert_close(model.loss(batch).total, half.sum())


def test_mixed_columns_are_told_again() -> None:
    kind = Vector((Column("phi", Periodic(0, 1)), Column("kind", Categorical(("a", "b"))), Column("e")))
    torch.manual_seed(0)
    t = torch.rand(300) * 2 - 1
    noise = 0.1 * torch.randn(2, 300)
    x = torch.stack([2.7 * t + noise[0], (t > 0).float(), t + noise[1]], 1)  # one hidden number tells them all
    model = Autoencoder(Spec(kind), latent=1, net={"hidden": (32,), "activation": "tanh"})
    minimise(model, Examples(x), rounds=200)
    again = model.reconstruct(Examples(x)).detach()
    turned = (again[:, 0] - x[:, 0] + math.pi).remainder(2 * math.pi) - math.pi
    assert turned.abs().mean() < 0.25 and (again[:, 2] - x[:, 2]).abs().mean() < 0.12
    assert (again[:, 1] == x[:, 1]).float().mean() > 0.97


def test_an_example_unlike_the_others_scores_higher() -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 1) * torch.tensor([1.0, -1.0, 0.5])
    model = Autoencoder(Spec(Vector.real(3)), latent=1, net={"hidden": ()})
    minimise(model, Examples(x), rounds=60)
    odd = Examples(torch.tensor([[1.0, 1.0, 1.0]]))
    assert model.score(odd).item() > model.score(Examples(x)).max().item()


@pytest.mark.parametrize(("width", "latent"), [(1, 1), (5, 2), (64, 16)])
def test_the_code_is_shorter_than_the_example_by_default(width: int, latent: int) -> None:
    assert Autoencoder(Spec(Vector.real(width))).latent == latent


@pytest.mark.parametrize("kind", [Autoencoder, VAE])
def test_options_reach_the_network_that_knows_them(kind: type[Model]) -> None:
    image = Spec(Image(1, (8, 8)))
    model = kind(image, encoder="mlp", net={"hidden": (7,), "width": 8})
    assert model.encoder.net[0].out_features == 7 and model.decoder is not None
    with pytest.raises(OptionError, match="unknown option 'colour'"):
        kind(image, net={"colour": 3})


@pytest.mark.parametrize("kind", [Autoencoder, VAE])
def test_a_code_without_length_is_refused(kind: type[Model]) -> None:
    with pytest.raises(OptionError, match=f"'latent' of {kind.__name__} must be at least 1; got 0"):
        kind(Spec(Vector.real(3)), latent=0)
    with pytest.raises(DataError, match=f"{kind.__name__} wants x to be Vector or Image; got nothing"):
        kind(Spec(None))
