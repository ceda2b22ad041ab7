"""Codes above each other: densities that integrate to one, divergences against draws, products of Gaussians, and a bound that holds."""

from __future__ import annotations

import pytest
import torch

from gnomon.data import Examples, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.ladder_vae import LadderVAE, product
from gnomon.models.posteriors import Gaussian, kl


def ladder(latents: tuple[int, ...] = (1, 1), seed: int = 0) -> LadderVAE:
    """With every parameter off its start, in float64."""
    torch.manual_seed(seed)
    model = LadderVAE(Spec(Vector.real(3), given=Vector.real(2)), latents=latents, width=8, size=0.25)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model.double()


def grid(points: int = 241, end: float = 9.0) -> tuple[torch.Tensor, float]:
    line = torch.linspace(-end, end, points).double()
    return torch.cartesian_prod(line, line), (2 * end / (points - 1)) ** 2


def test_prior_and_posterior_integrate_to_one() -> None:
    model = ladder()
    x, given = torch.randn(1, 3).double(), torch.randn(1, 2).double()
    places, area = grid()
    for density in (model._prior(given, 1), model.posterior(x, given)):
        assert (density.log_prob(places[:, None]).exp().sum() * area).item() == pytest.approx(1, abs=1e-3)


def test_draws_have_the_density_that_is_told() -> None:
    model = ladder((2, 3, 1))
    x, given = torch.randn(4, 3).double(), torch.randn(4, 2).double()
    q = model.posterior(x, given)
    z, log_prob = q.sample_and_log_prob((5,))
    assert z.shape == (5, 4, 6)
    torch.testing.assert_close(q.log_prob(z), log_prob)
    torch.testing.assert_close(q.log_prob(q.mean), q.log_prob(q.mean[None])[0])
    many = model._prior(given[:1], 100_000).sample(100_000)
    assert many.shape == (100_000, 6)
    torch.testing.assert_close(many[:, :2].T.cov(), torch.eye(2).double(), atol=0.03, rtol=0)


def test_the_divergence_is_the_mean_of_what_draws_say() -> None:
    model = ladder((2, 3))
    x, given = torch.randn(1, 3).double(), torch.randn(1, 2).double()
    q, p = model.posterior(x, given), model._prior(given, 1)
    z, log_q = q.sample_and_log_prob((40_000,))
    values = log_q - p.log_prob(z)
    wide = Examples(x.expand(40_000, -1), given=given.expand(40_000, -1))
    _, closed = model._drawn(model.posterior(wide.x, wide.given), None)
    error = (values.var() / len(values) + closed.var() / len(closed)).sqrt()
    assert abs(values.mean() - closed.mean()) < 4 * error
    assert closed.var() < values.var()


def test_a_product_weighs_by_precision() -> None:
    torch.manual_seed(0)
    a, b = (Gaussian(torch.randn(5).double(), torch.randn(5).double()) for _ in range(2))
    made = product(a, b)
    z = torch.randn(7, 1, 5).double()
    each = [q.log_prob(z) for q in (a, b, made)]
    ratio = each[0] + each[1] - each[2]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    wide = Gaussian(torch.zeros(5).double(), torch.full((5,), 20.0).double())
    assert kl(product(wide, b), b).item() == pytest.approx(0, abs=1e-9)  # who knows nothing says nothing


def test_the_loss_is_above_minus_the_bound() -> None:
    model = ladder((2, 2))
    x, given = torch.randn(200, 3).double(), torch.randn(200, 2).double()
    batch = Examples(x, given=given)
    loss = model.loss(batch)
    values = [model.log_prob_bound(batch, samples=k)[0].mean().item() for k in (1, 16, 256)]
    assert values[0] < values[1] < values[2]
    assert loss.total.item() / 200 == pytest.approx(-values[0], abs=1.5)
    assert (loss.total / loss.weight).item() > -values[2]


def test_no_rung_and_no_code_are_refused() -> None:
    for latents in ((), (2, 0)):
        with pytest.raises(OptionError, match="'latents' of LadderVAE wants one or more lengths"):
            LadderVAE(Spec(Vector.real(2)), latents=latents)
    with pytest.raises(OptionError, match="'width' of LadderVAE must be at least 1; got 0"):
        LadderVAE(Spec(Vector.real(2)), width=0)
