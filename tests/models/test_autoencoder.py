"""The autoencoder against the linear case, which PCA solves, and against its likelihood written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gnomon
from gnomon.data import Categorical, Column, Examples, Image, Periodic, Ragged, Set, Spec, Tokens, Vector
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
    with pytest.raises(DataError, match=f"{kind.__name__} wants x to be Vector or Image or Set or Tokens; got nothing"):
        kind(Spec(None))


# ---- noise, sparse codes, contraction --------------------------------------------------------------------------------


def autoencoder(width: int = 6, latent: int = 4, **options: object) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(Spec(Vector.real(width)), latent=latent, net={"hidden": (16,), "activation": "tanh"}, **options).double()


def rows(n: int = 8, width: int = 6) -> Examples:
    return Examples(torch.randn(n, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def test_with_noise_the_target_is_the_clean_example() -> None:
    model, batch = autoencoder(noise="gaussian", noise_strength=0.7), rows()
    torch.manual_seed(5)
    found = model.loss(batch).total
    torch.manual_seed(5)
    assert model.noise is not None
    noisy = batch.with_(x=model.noise(batch.x))
    direct = -model.likelihood(model.encode(noisy)).log_prob(batch.x).sum()
    torch.testing.assert_close(found, direct)
    assert abs(found.item() - model.score(batch).sum().item()) > 1e-3  # what is asked of it afterwards sees no noise


def test_denoising_by_a_linear_map_is_the_wiener_filter() -> None:
    generator = torch.Generator().manual_seed(0)
    spreads = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    x = torch.randn(4000, 3, generator=generator, dtype=torch.float64) * spreads
    torch.manual_seed(0)
    model = Autoencoder(Spec(Vector.real(3)), latent=3, noise="gaussian", noise_strength=1.0, net={"hidden": ()}).double()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(1500):
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * (1 - step / 1500)
        optimiser.zero_grad()
        model.loss(Examples(x)).total.div(len(x)).backward()
        optimiser.step()
    gain = (model.reconstruct(Examples(torch.eye(3).double())) - model.reconstruct(Examples(torch.zeros(3, 3).double()))).T
    wanted = torch.diag(spreads.square() / (spreads.square() + 1))
    torch.testing.assert_close(gain.detach(), wanted, atol=0.04, rtol=0)


def test_an_l1_code_is_not_negative_and_its_sum_is_added() -> None:
    model, batch = autoencoder(sparsity="l1", sparsity_strength=0.3), rows()
    code = model.encode(batch)
    assert (code >= 0).all() and (code == 0).any()
    torch.testing.assert_close(model.loss(batch).total, (model.score(batch) + 0.3 * code.sum(1)).sum())


def test_the_kl_term_is_that_of_coins() -> None:
    from torch.distributions import Bernoulli, kl_divergence

    model, batch = autoencoder(sparsity="kl", sparsity_strength=2.0, active=0.2), rows()
    code = model.encode(batch)
    wanted = kl_divergence(Bernoulli(torch.tensor(0.2).double()), Bernoulli(code.mean(0))).sum()
    torch.testing.assert_close(model.loss(batch).total, model.score(batch).sum() + 2.0 * len(batch) * wanted)
    assert not model.separable and autoencoder().separable


def test_top_k_keeps_the_largest_numbers_and_their_gradients() -> None:
    model, plain, batch = autoencoder(sparsity="top_k", active=0.5), autoencoder(), rows()
    full, kept = plain.encode(batch), model.encode(batch)
    assert ((kept != 0).sum(1) == 2).all()
    assert torch.equal(kept, torch.where(kept != 0, full, 0.0))
    assert (full.abs().where(kept == 0, 0.0).amax(1) <= kept.abs().where(kept != 0, math.inf).amin(1)).all()


@pytest.mark.parametrize("sparsity", [None, "l1", "kl", "top_k"])
def test_the_contractive_term_is_the_frobenius_norm_of_autograds_jacobian(sparsity: str | None) -> None:
    strength, active = (1.0 if sparsity in ("l1", "kl") else None), (0.5 if sparsity in ("kl", "top_k") else None)
    model, batch = autoencoder(sparsity=sparsity, sparsity_strength=strength, contractive=0.5, jacobian="exact", active=active), rows(5)
    one = torch.stack([torch.autograd.functional.jacobian(lambda x: model.encode(Examples(x[None]))[0], x) for x in batch.x])
    wanted = one.square().sum((1, 2))
    torch.testing.assert_close(model.squared_jacobian(batch), wanted)
    loss = model.loss(batch)
    torch.testing.assert_close(loss.parts["contraction"], wanted.sum())
    torch.testing.assert_close(loss.total, loss.parts["reconstruction"] + 0.5 * wanted.sum() + loss.parts.get("sparsity", 0.0))


def test_the_estimate_is_right_in_the_mean_with_its_gradient() -> None:
    model, batch = autoencoder(contractive=1.0), rows(3)
    wanted = model.squared_jacobian(batch)
    slope = torch.autograd.grad(wanted.sum(), list(model.encoder.parameters())[0])[0]
    torch.manual_seed(0)
    repeated = Examples(batch.x.repeat(4000, 1))
    drawn = model.squared_jacobian(repeated, exact=False).view(4000, 3)
    error = drawn.std(0) / math.sqrt(4000)
    assert ((drawn.mean(0) - wanted).abs() < 4 * error).all() and (error / wanted < 0.02).all()
    estimate = torch.autograd.grad(drawn.mean(0).sum(), list(model.encoder.parameters())[0])[0]
    assert (estimate - slope).norm() < 0.05 * slope.norm()


def test_of_an_image_the_jacobian_is_by_its_pixels() -> None:
    torch.manual_seed(0)
    model = Autoencoder(Spec(Image(1, (6, 6))), latent=3, contractive=1.0, size=0.25).double()
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    one = [torch.autograd.functional.jacobian(lambda pixels: model.encode(Examples(pixels[None]))[0], image) for image in x]
    torch.testing.assert_close(model.squared_jacobian(Examples(x)), torch.stack([j.square().sum() for j in one]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sparsity": "l2"}, "unknown sparsity 'l2'"),
        ({"jacobian": "most"}, "unknown jacobian 'most'"),
        ({"noise": "blur"}, "noise 'blur' is for images"),
        ({"noise_strength": 0.5}, "no effect without a noise"),
        ({"sparsity_strength": 0.5}, "no effect without sparsity='l1' or 'kl'"),
        ({"sparsity": "top_k", "sparsity_strength": 0.5}, "no effect without sparsity='l1' or 'kl'"),
        ({"contractive": -1.0}, "'contractive' of Autoencoder must be a finite number from 0; got -1.0"),
        ({"contractive": math.nan}, "'contractive' of Autoencoder must be a finite number from 0; got nan"),
        ({"active": 1.0}, "'active' of Autoencoder must be above 0 and below 1; got 1.0"),
        ({"active": 0.2}, "'active' of Autoencoder has no effect without sparsity='kl' or 'top_k'"),
        ({"active": 0.2, "sparsity": "l1"}, "'active' of Autoencoder has no effect without sparsity='kl' or 'top_k'"),
        ({"contractive": 1.0, "net": {"norm": "batch"}}, "norm='batch' of its encoder looks at a batch"),
        ({"jacobian": "exact"}, "'jacobian' of Autoencoder has no effect without contractive"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Autoencoder(Spec(Vector.real(3)), **options)


def test_pixels_with_levels_have_salt_and_pepper_at_their_ends() -> None:
    model = Autoencoder(Spec(Image(1, (8, 8), levels=17)), noise="salt_and_pepper", noise_strength=1.0)
    model.enclose(torch.tensor([-0.8]), torch.tensor([1.9]))
    assert model.noise is not None
    out = model.noise(torch.zeros(4, 1, 8, 8))
    torch.testing.assert_close(out.unique(), torch.tensor([-0.8, 1.9]))


def test_what_earlier_runs_have_recorded_is_taken() -> None:
    model = Autoencoder(Spec(Vector.real(3)), active=0.1, jacobian="estimate")
    assert (model.active, model.jacobian) == (Autoencoder(Spec(Vector.real(3))).active, Autoencoder(Spec(Vector.real(3))).jacobian)
    assert VAE(Spec(Vector.real(3)), draws=8, objective="elbo").draws == VAE(Spec(Vector.real(3))).draws


# ---- pixels with levels ----------------------------------------------------------------------------------------------

LEVELS: dict[str, tuple[int, Any]] = {
    "bernoulli": (2, None),
    "categorical": (5, "categorical"),
    "logistic": (5, "discretised_logistic"),
    "continuous": (5, "continuous_bernoulli"),
}


class Seen(nn.Module):
    """An encoder that keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 3)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        self.x = x.detach()
        return self.layer(x.flatten(1)).tanh()


def of_levels(name: str, **options: Any) -> tuple[Autoencoder, Examples]:
    """A model of images with levels, and images of which every pixel lies off the middle of its cell."""
    levels, likelihood = LEVELS[name]
    torch.manual_seed(0)
    model = Autoencoder(Spec(Image(1, (6, 6), levels=levels)), latent=3, encoder=Seen(), likelihood=likelihood, size=0.25, **options)
    model.enclose(torch.tensor([-1.0]), torch.tensor([1.5]))
    return model, Examples(2.5 * (torch.randint(levels, (4, 1, 6, 6)) + 0.3) / levels - 1)


@pytest.mark.parametrize("name", LEVELS)
def test_noise_on_levels_reaches_the_encoder(name: str) -> None:
    model, batch = of_levels(name, noise="gaussian", noise_strength=0.5)
    torch.manual_seed(3)
    model.loss(batch)
    shown, middle = model.encoder.x, model.read(batch.x)
    torch.manual_seed(3)
    torch.testing.assert_close(shown, middle + 0.5 * torch.randn_like(middle))
    model.encode(batch)
    assert torch.equal(model.encoder.x, middle)


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "logistic"])
def test_salt_and_pepper_are_levels_that_pixels_can_have(name: str) -> None:
    model, batch = of_levels(name, noise="salt_and_pepper", noise_strength=0.5)
    model.loss(batch)
    shown, width = model.encoder.x, 2.5 / LEVELS[name][0]
    torch.testing.assert_close(shown, model.read(shown))
    torch.testing.assert_close(torch.stack([shown.min(), shown.max()]), torch.tensor([-1 + 0.5 * width, 1.5 - 0.5 * width]))


@pytest.mark.parametrize("name", LEVELS)
def test_of_levels_the_jacobian_is_by_what_the_encoder_sees(name: str) -> None:
    model, batch = of_levels(name, contractive=1.0, jacobian="exact")
    one = [torch.autograd.functional.jacobian(lambda seen: model.encoder(seen[None])[0], image) for image in model.read(batch.x)]
    wanted = torch.stack([j.square().sum() for j in one])
    found = model.squared_jacobian(batch)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(model.loss(batch).parts["contraction"], wanted.sum())
    (slope,) = torch.autograd.grad(found.sum(), [model.encoder.layer.weight])
    assert slope.abs().max() > 0


CONTRACTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "bernoulli": (np.random.default_rng(0).integers(0, 2, (40, 1, 8, 8)).astype(np.uint8), {}),
    "categorical": (np.random.default_rng(0).integers(0, 5, (40, 1, 8, 8)).astype(np.uint8), {"likelihood": "categorical"}),
    "real": (np.random.default_rng(0).normal(size=(40, 1, 8, 8)).astype(np.float32), {}),
    "volume": (np.random.default_rng(0).normal(size=(40, 1, 4, 4, 4)).astype(np.float32), {}),
}


@pytest.mark.parametrize("seeds", [None, 2])
@pytest.mark.parametrize("jacobian", ["exact", "estimate"])
@pytest.mark.parametrize("name", CONTRACTED)
def test_fit_contracts_the_codes_of_images(name: str, jacobian: str, seeds: int | None) -> None:
    images, more = CONTRACTED[name]
    options = {"contractive": 1.0, "jacobian": jacobian, "latent": 3, "size": 0.25, **more}
    learned = gnomon.fit("autoencoder", images, options=options, epochs=1, batch_size=20, seeds=seeds, seed=0, progress=False)
    record = (learned[0] if seeds else learned).history[-1]
    assert record["train/contraction"] > 0
    assert record["train/loss"] == pytest.approx(record["train/contraction"] + record["train/reconstruction"], rel=1e-4)


def test_of_sets_the_jacobian_is_by_the_numbers_of_their_elements() -> None:
    torch.manual_seed(0)
    model = Autoencoder(Spec(Set(Vector.real(2))), latent=3, contractive=1.0, size=0.25).double()
    x = Ragged(torch.randn(5, 2, dtype=torch.float64), torch.tensor([2, 0, 3]))
    found = model.squared_jacobian(Examples(x))
    for i, one in enumerate(x.split()):
        lengths = torch.tensor([len(one)])
        jacobian = torch.autograd.functional.jacobian(lambda v, lengths=lengths: model.encode(Examples(Ragged(v, lengths)))[0], one)
        torch.testing.assert_close(found[i], jacobian.square().sum())


def test_symbols_have_no_jacobian() -> None:
    model = Autoencoder(Spec(Tokens(("a", "b"))), latent=2, contractive=1.0, size=0.25)
    with pytest.raises(OptionError, match="wants numbers to derive by, and x holds symbols"):
        model.squared_jacobian(Examples(Ragged(torch.tensor([0, 1, 1]), torch.tensor([2, 1]))))
