"""The VAE against densities known exactly: a linear decoder makes p(x) a Gaussian, its posterior another."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gnomon.data import Examples, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models import vae as module
from gnomon.models.vae import VAE, Gaussian, kl

WIDTH, LATENT = 5, 2
WEIGHTS = torch.randn(WIDTH, LATENT, generator=torch.Generator().manual_seed(0))


class LinearEncoder(nn.Module):
    """The posterior of one code dimension after the other; exact for orthogonal weights, `inflation` times too wide."""

    def __init__(self, weights: Tensor, noise: float, inflation: float) -> None:
        super().__init__()
        precision = torch.eye(LATENT) + weights.T @ weights / noise**2
        self.matrix = nn.Parameter(torch.linalg.solve(precision, weights.T / noise**2))
        self.log_spread = nn.Parameter(-0.5 * precision.diagonal().log() + math.log(inflation))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        mean = x @ self.matrix.T
        return torch.cat([mean, self.log_spread.expand_as(mean)], -1)


class LinearDecoder(nn.Module):
    """W z, with a count of the examples it decoded at a time."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.rows: list[int] = []

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        self.rows.append(len(z))
        return z @ self.weights.T


def linear(*, orthogonal: bool, inflation: float = 1.0) -> tuple[VAE, torch.distributions.MultivariateNormal]:
    """A VAE whose p(x) is known, and that p(x)."""
    weights = torch.linalg.qr(WEIGHTS)[0] * torch.tensor([2.0, 1.0]) if orthogonal else WEIGHTS
    model = VAE(Spec(Vector.real(WIDTH)), latent=LATENT, spread="shared", decoder=LinearDecoder(weights))
    model.head.log_spread.data.fill_(-0.7)
    noise = model.likelihood(torch.zeros(1, LATENT)).spread()[0, 0].item()
    model.encoder = LinearEncoder(weights, noise, inflation)
    exact = torch.distributions.MultivariateNormal(torch.zeros(WIDTH), weights @ weights.T + noise**2 * torch.eye(WIDTH))
    return model, exact


def test_the_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    q, p = (Gaussian(torch.randn(4, 3), torch.randn(4, 3)) for _ in range(2))
    oracle = [torch.distributions.Independent(torch.distributions.Normal(g.mean, g.log_spread.exp()), 1) for g in (q, p)]
    torch.testing.assert_close(kl(q, p), torch.distributions.kl_divergence(*oracle))
    z = torch.randn(4, 3)
    torch.testing.assert_close(q.log_prob(z), oracle[0].log_prob(z))


def test_the_loss_is_the_negative_evidence_lower_bound_in_nats() -> None:
    model, exact = linear(orthogonal=True)
    x = exact.sample((2000,))
    torch.manual_seed(0)
    loss = model.loss(Examples(x))
    torch.testing.assert_close(loss.total, loss.parts["kl"] + loss.parts["reconstruction"], rtol=1e-4, atol=0)
    gap = (loss.total / loss.weight + exact.log_prob(x).mean()).item()
    assert abs(gap) < 0.1  # the posterior is exact: the bound touches, up to the noise of one draw per example
    halved = VAE(model.spec, latent=LATENT, spread="shared", beta=0.5, encoder=model.encoder, decoder=model.decoder)
    halved.head.load_state_dict(model.head.state_dict())
    torch.manual_seed(0)
    torch.testing.assert_close(halved.loss(Examples(x)).total, 0.5 * loss.parts["kl"] + loss.parts["reconstruction"], rtol=1e-4, atol=0)


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_with_the_exact_posterior_the_bound_is_the_log_probability(samples: int) -> None:
    model, exact = linear(orthogonal=True)
    x = exact.sample((20,))
    value, error = model.log_prob_bound(Examples(x), samples=samples)
    torch.testing.assert_close(value, exact.log_prob(x), atol=2e-3, rtol=0)
    assert error.isinf().all() if samples == 1 else (error < 1e-2).all()


def test_with_another_posterior_the_bound_rises_to_it_from_below() -> None:
    model, exact = linear(orthogonal=False, inflation=1.5)
    torch.manual_seed(0)
    x = exact.sample((2000,))
    gaps = [(model.log_prob_bound(Examples(x), samples=k)[0] - exact.log_prob(x)).mean().item() for k in (1, 4, 32, 512)]
    assert gaps[0] < gaps[1] < gaps[2] < gaps[3] < 0.01
    assert gaps[0] < -0.3 and abs(gaps[3]) < 0.01


def test_the_standard_error_is_the_spread_of_the_bound() -> None:
    model, exact = linear(orthogonal=False, inflation=1.5)
    torch.manual_seed(0)
    x = exact.sample((1,)).expand(3000, -1)
    value, error = model.log_prob_bound(Examples(x), samples=400)
    assert error.mean().item() == pytest.approx(value.std().item(), rel=0.1)


def test_memory_does_not_grow_with_the_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    model, exact = linear(orthogonal=True)
    monkeypatch.setattr(module, "_AT_ONCE", 100)
    x = exact.sample((6,))
    model.decoder.rows.clear()
    value, _ = model.log_prob_bound(Examples(x), samples=64)
    assert max(model.decoder.rows) * WIDTH <= 100 and sum(model.decoder.rows) == 6 * 64
    torch.testing.assert_close(value, exact.log_prob(x), atol=2e-3, rtol=0)


def test_the_bound_builds_no_graph() -> None:
    model, exact = linear(orthogonal=True)
    assert not any(t.requires_grad for t in model.log_prob_bound(Examples(exact.sample((3,))), samples=2))


def test_samples_follow_the_exact_density() -> None:
    model, exact = linear(orthogonal=False)
    torch.manual_seed(0)
    draws = model.sample(200_000).detach()
    torch.testing.assert_close(draws.T.cov(), exact.covariance_matrix, atol=0.05, rtol=0.02)
    torch.testing.assert_close(draws.mean(0), torch.zeros(WIDTH), atol=0.02, rtol=0)


def test_the_code_is_the_posterior_mean() -> None:
    model, exact = linear(orthogonal=False)
    x = exact.sample((4,))
    torch.testing.assert_close(model.encode(Examples(x)), x @ model.encoder.matrix.T)
    torch.testing.assert_close(model.reconstruct(Examples(x)), x @ model.encoder.matrix.T @ model.decoder.weights.T)


def test_the_score_is_the_negative_bound() -> None:
    model, exact = linear(orthogonal=True)
    x = exact.sample((4,))
    torch.testing.assert_close(model.score(Examples(x)), -exact.log_prob(x), atol=2e-3, rtol=0)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="'beta' of VAE must be a finite number from 0; got -1"):
        VAE(Spec(Vector.real(2)), beta=-1.0)
    with pytest.raises(OptionError, match="at least 1 sample; got 0"):
        VAE(Spec(Vector.real(2))).log_prob_bound(Examples(torch.zeros(1, 2)), samples=0)
