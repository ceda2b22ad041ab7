"""Densities of codes: each prior and posterior integrates to one, agrees with torch's, draws what it tells, and makes the bound exact."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gnomon.data import Examples, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.posteriors import FullGaussian, Gaussian, PosteriorHead, kl_to_normal
from gnomon.models.priors import FlowPrior, Mixture, MixturePrior, VampPrior, make_prior
from gnomon.models.vae import VAE
from tests.models.test_vae import LATENT, WIDTH, linear


def moved(module: nn.Module, by: float = 0.2) -> nn.Module:
    """With every parameter off its start."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(by * torch.randn_like(p))
    return module


def grid(points: int = 161, end: float = 8.0) -> tuple[torch.Tensor, float]:
    """Places in the plane, and the area of each."""
    line = torch.linspace(-end, end, points).double()
    return torch.cartesian_prod(line, line), (2 * end / (points - 1)) ** 2


def full(n: int = 4, k: int = 3) -> FullGaussian:
    return FullGaussian(torch.randn(n, k).double(), torch.linalg.cholesky(torch.eye(k) + (a := torch.randn(n, k, k)) @ a.mT).double())


def test_the_full_gaussian_is_that_of_torch() -> None:
    torch.manual_seed(0)
    q = full()
    oracle = torch.distributions.MultivariateNormal(q.mean, scale_tril=q.factor)
    z = torch.randn(5, 4, 3).double()
    torch.testing.assert_close(q.log_prob(z), oracle.log_prob(z))
    normal = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(kl_to_normal(q), torch.distributions.kl_divergence(oracle, normal))
    torch.testing.assert_close(q.log_spread, oracle.variance.log() / 2)
    draws = q.rsample((100_000,))[:, 0]
    torch.testing.assert_close(draws.T.cov(), (q.factor @ q.factor.mT)[0], rtol=0.05, atol=0.05)


def test_the_head_of_the_full_gaussian_reaches_any_covariance() -> None:
    head = PosteriorHead("full", 3)
    torch.manual_seed(0)
    factor = full(1).factor[0].float()
    scale = factor.diagonal()
    extra = (factor / scale[:, None])[tuple(torch.tril_indices(3, 3, -1))]
    made = head(torch.cat([torch.zeros(3), scale.log(), extra])[None])
    torch.testing.assert_close(made.factor[0], factor)


def test_the_flow_posterior_integrates_to_one_and_tells_the_density_of_its_draws() -> None:
    torch.manual_seed(0)
    head = moved(PosteriorHead("flow", 2)).double()
    q = head(0.3 * torch.randn(1, 4 + head.extra).double())
    places, area = grid()
    assert (q.log_prob(places[:, None]).exp().sum() * area).item() == pytest.approx(1, abs=1e-3)
    z, log_prob = q.sample_and_log_prob((7,))
    torch.testing.assert_close(q.log_prob(z), log_prob, rtol=1e-6, atol=1e-6)
    many = head(0.3 * torch.randn(5, 4 + head.extra).double())
    z, log_prob = many.sample_and_log_prob((3,))
    assert z.shape == (3, 5, 2)
    torch.testing.assert_close(many.log_prob(z), log_prob, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("prior", ["mixture", "flow", "vamp"])
def test_each_prior_integrates_to_one_and_draws_what_it_tells(prior: str) -> None:
    torch.manual_seed(0)
    model = moved(VAE(Spec(Vector.real(3)), latent=2, prior=prior, size=0.25), by=0.02).double()  # type: ignore[arg-type]
    density = model.prior
    places, area = grid()
    probability = density.log_prob(places).exp() * area
    assert probability.sum().item() == pytest.approx(1, abs=1e-3)
    draws = density.sample(100_000).detach()
    torch.testing.assert_close(draws.mean(0), (probability[:, None] * places).sum(0).detach(), atol=0.03, rtol=0)
    torch.testing.assert_close(draws.square().mean(0), (probability[:, None] * places.square()).sum(0).detach(), atol=0.06, rtol=0.03)


def test_the_mixture_is_that_of_torch() -> None:
    torch.manual_seed(0)
    prior = moved(MixturePrior(3, 4))()
    oracle = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=prior.logits),
        torch.distributions.Independent(torch.distributions.Normal(prior.mean, prior.log_spread.exp()), 1),
    )
    z = torch.randn(2, 5, 3)
    torch.testing.assert_close(prior.log_prob(z), oracle.log_prob(z))


def test_narrow_components_far_out_lose_no_digits() -> None:
    torch.manual_seed(0)
    component = torch.randint(0, 5, (50,))
    mean, log_spread = 20 * torch.randn(5, 3), torch.full((5, 3), -7.0)
    z = (mean + log_spread.exp() * torch.randn(5, 3))[component]
    own = Mixture(mean, log_spread, torch.zeros(5)).log_prob(z)
    alone = Gaussian(mean[component].double(), log_spread[component].double()).log_prob(z.double()) - math.log(5)
    torch.testing.assert_close(own, alone.float(), rtol=1e-5, atol=1e-4)


def test_the_vamp_prior_is_the_mixture_of_the_posteriors_of_its_examples() -> None:
    torch.manual_seed(0)
    spec = Spec(Vector.real(3), given=Vector.real(2))
    model = VAE(spec, latent=2, prior="vamp", components=4, size=0.25)
    x, given = torch.randn(40, 3), torch.randn(40, 2)
    model.begin(Examples(x, given=given))
    rows = torch.tensor([0, 13, 26, 39])
    assert isinstance(model.prior_of, VampPrior) and torch.equal(model.prior_of.examples, x[rows])
    z = torch.randn(6, 2)
    each = torch.stack([model.posterior(x[row : row + 1], given[row : row + 1]).log_prob(z) for row in rows])
    torch.testing.assert_close(model.prior.log_prob(z), each.logsumexp(0) - math.log(4))


def test_a_flow_prior_hears_the_condition() -> None:
    torch.manual_seed(0)
    prior = moved(FlowPrior(2, 3))
    z = torch.randn(5, 2)
    a, b = (prior(condition).log_prob(z) for condition in (torch.zeros(5, 3), torch.ones(5, 3)))
    assert not torch.allclose(a, b)
    condition = torch.randn(5, 3)
    many = prior(condition).log_prob(z.expand(4, 5, 2))
    torch.testing.assert_close(many, prior(condition).log_prob(z).expand(4, 5))


class FullEncoder(nn.Module):
    """The exact posterior of a linear decoder, covariance included."""

    def __init__(self, weights: torch.Tensor, noise: float) -> None:
        super().__init__()
        precision = torch.eye(LATENT) + weights.T @ weights / noise**2
        self.matrix = torch.linalg.solve(precision, weights.T / noise**2)
        factor = torch.linalg.cholesky(torch.linalg.inv(precision))
        scale = factor.diagonal()
        self.rest = torch.cat([scale.log(), (factor / scale[:, None])[tuple(torch.tril_indices(LATENT, LATENT, -1))]])

    def forward(self, x: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        mean = x @ self.matrix.T
        return torch.cat([mean, self.rest.expand(len(x), -1)], -1)


def test_with_its_covariance_the_posterior_of_any_linear_decoder_is_exact() -> None:
    model, exact = linear(orthogonal=False)
    noise = model.likelihood(torch.zeros(1, LATENT)).spread()[0, 0].item()
    encoder = FullEncoder(model.decoder.weights.detach(), noise)
    made = VAE(Spec(Vector.real(WIDTH)), latent=LATENT, spread="shared", posterior="full", encoder=encoder, decoder=model.decoder)
    made.head.load_state_dict(model.head.state_dict())
    x = exact.sample((30,))
    value, _ = made.log_prob_bound(Examples(x), samples=1)  # one draw tells it, whatever it is
    torch.testing.assert_close(value, exact.log_prob(x), atol=2e-3, rtol=0)


def test_examples_without_a_fixed_shape_cannot_be_learned() -> None:
    with pytest.raises(OptionError, match="use prior='mixture'"):
        make_prior("vamp", 2, shape=None, given=0, components=None)


def test_gradients_do_not_pass_a_detached_posterior() -> None:
    free = torch.eye(3).expand(2, 3, 3).clone().requires_grad_()
    for q in (Gaussian(torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 3)), FullGaussian(torch.zeros(2, 3), free)):
        assert q.log_prob(torch.zeros(2, 3)).requires_grad and not q.detach().log_prob(torch.zeros(2, 3)).requires_grad
    assert Mixture(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1)).log_prob(torch.zeros(3, 2)).shape == (3,)
