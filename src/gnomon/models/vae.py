"""Variational autoencoder: a density over data by way of a latent code, bounded from below.

The likelihood of an example given its code is `blocks.ColumnHead`'s; networks come from `networks.make`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gnomon.blocks.columns import Spread
from gnomon.data import Examples, Ragged, Spec
from gnomon.errors import OptionError
from gnomon.models.base import Loss, applied, tensor
from gnomon.models.latent import LatentModel, repeated

_LOG_SPREAD = (-15.0, 10.0)  # limits of the posterior's log standard deviation
_AT_ONCE = 2**18  # numbers of x that the bound decodes at a time


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussians.

    Args:
        mean: ``(*batch, k)``.
        log_spread: ``(*batch, k)`` log standard deviations.
    """

    mean: Tensor
    log_spread: Tensor

    def rsample(self, draws: tuple[int, ...] = ()) -> Tensor:
        """``(*draws, *batch, k)``, differentiable in mean and spread, with torch's global generator."""
        noise = torch.randn_like(self.mean.expand(*draws, *self.mean.shape))
        return self.mean + noise * self.log_spread.exp()

    def log_prob(self, z: Tensor) -> Tensor:
        """``(*, k) -> (*,)`` in nats."""
        scaled = (z - self.mean) * torch.exp(-self.log_spread)
        return -(0.5 * scaled.square() + self.log_spread + 0.5 * math.log(2 * math.pi)).sum(-1)


def kl(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) in nats, ``(*batch,)``."""
    log_ratio = q.log_spread - p.log_spread
    shift = (q.mean - p.mean) * torch.exp(-p.log_spread)
    return (0.5 * (torch.exp(2 * log_ratio) + shift.square() - 1) - log_ratio).sum(-1)


class VAE(LatentModel):
    """Variational autoencoder: a latent code with a prior, and a decoder that gives a density over data.

    Maximises E_q[log p(x|z)] - KL(q(z|x) || p(z)) in nats per example. The decoder tells the spread of every number as well as
    its mean, so there is no weight between the two terms to be tuned.

    Args:
        spec: x a Vector or an Image; given, if any, is shown to both networks: the density is p(x | given).
        latent: length of the code; dimensions that do not pay for themselves fall silent.
        spread: where the likelihood's spread comes from: "example" (from the decoder), "column" (one per column or pixel),
            "shared" (one for all) or "fixed" (that of the training data: rarely wise).
        beta: factor on the KL term; with any value but 1 the loss is no bound on the log-likelihood (`log_prob_bound` still is).
        encoder: name of a network or a module ``(x, given) -> (n, 2 latent)``; None takes the default of the kind of data.
        decoder: name of a network or a module ``(z, given) -> raw outputs``; None likewise.
        net: options of the networks; each takes those it knows.
        size: factor on the networks' widths.

    Raises:
        DataError: x is neither a Vector nor an Image.
        OptionError: latent below 1, beta below 0, or an option that the networks do not know.

    Reference: Kingma & Welling 2014, https://arxiv.org/abs/1312.6114

    Example:
        >>> import torch
        >>> from gnomon.data import Examples, Ragged, Spec, Vector
        >>> model = VAE(Spec(Vector.real(6)), latent=2)
        >>> batch = Examples(torch.randn(5, 6))
        >>> value, error = model.log_prob_bound(batch, samples=8)
        >>> value.shape, model.sample(3).shape
        (torch.Size([5]), torch.Size([3, 6]))
    """

    dequantises: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"lr": 3e-3, "steps": 1500}

    def __init__(
        self,
        spec: Spec,
        *,
        latent: int = 16,
        spread: Spread = "example",
        beta: float = 1.0,
        encoder: str | nn.Module | None = None,
        decoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec, latent=latent, codes=2, spread=spread, encoder=encoder, decoder=decoder, net=net, size=size)
        if beta < 0:
            raise OptionError(f"option 'beta' of VAE must not be negative; got {beta}")
        self.beta = beta
        self.register_buffer("origin", torch.zeros(latent), persistent=False)

    origin: Tensor

    @property
    def prior(self) -> Gaussian:
        """p(z): a standard Gaussian."""
        return Gaussian(self.origin, self.origin)

    def posterior(self, x: Tensor, given: Tensor | Ragged | None = None) -> Gaussian:
        """q(z | x): ``x (n, *x)`` and n conditions (or None) to Gaussians ``(n, latent)``."""
        mean, log_spread = applied(self.encoder, x, self.condition(given, len(x))).chunk(2, -1)
        return Gaussian(mean, log_spread.clamp(*_LOG_SPREAD))

    def loss(self, batch: Examples) -> Loss:
        """The negative evidence lower bound in nats, by one draw from the posterior."""
        x = tensor(batch.x)
        posterior = self.posterior(x, batch.given)
        z = posterior.rsample()
        reconstruction = self.likelihood(z, batch.given).log_prob(x)
        divergence = kl(posterior, self.prior)
        return Loss.mean(self.beta * divergence - reconstruction, batch.weight, kl=divergence, reconstruction=-reconstruction)

    def encode(self, batch: Examples) -> Tensor:
        """The mean of q(z | x), ``(n, latent)``."""
        return self.posterior(tensor(batch.x), batch.given).mean

    def sample(self, n: int, given: Tensor | Ragged | None = None) -> Tensor:
        """``(n, *x)`` in network space: codes from the prior, examples from the likelihood.

        Args:
            n: how many.
            given: n conditions in network space, or None.
        """
        z = torch.randn(n, self.latent, device=self.origin.device, dtype=self.origin.dtype)
        return self.likelihood(z, given).sample()

    @torch.no_grad()
    def log_prob_bound(self, batch: Examples, samples: int = 256) -> tuple[Tensor, Tensor]:
        """The importance-weighted lower bound on log p(x | given), log 1/k sum_i p(x, z_i) / q(z_i | x).

        It rises towards log p with the number of samples k and equals the evidence lower bound in the mean for k = 1. Memory
        does not grow with k.

        Args:
            batch: n examples.
            samples: k.

        Returns:
            The bound and its standard error (first order in the spread of the weights; infinite for k = 1), each ``(n,)``, nats.

        Reference: Burda, Grosse & Salakhutdinov 2016, https://arxiv.org/abs/1509.00519
        """
        if samples < 1:
            raise OptionError(f"log_prob_bound needs at least 1 sample; got {samples}")
        x, n = tensor(batch.x), len(batch)
        posterior = self.posterior(x, batch.given)
        at_once = max(1, _AT_ONCE // max(1, x.numel()))
        first = second = posterior.mean.new_full((n,), -math.inf)
        for start in range(0, samples, at_once):
            count = min(at_once, samples - start)
            z = posterior.rsample((count,))
            given = None if batch.given is None else repeated(batch.given, count)
            likelihood = self.likelihood(z.flatten(0, 1), given)
            joint = self.prior.log_prob(z) + likelihood.log_prob(repeated(x, count)).view(count, n)
            weights = joint - posterior.log_prob(z)
            first = torch.logaddexp(first, weights.logsumexp(0))
            second = torch.logaddexp(second, (2 * weights).logsumexp(0))
        error = torch.full_like(first, math.inf)
        if samples > 1:
            error = ((samples * torch.exp(second - 2 * first) - 1).clamp_min(0) / (samples - 1)).sqrt()
        return first - math.log(samples), error

    def score(self, batch: Examples) -> Tensor:
        """How improbable each example is: the negative of `log_prob_bound` with 32 samples, ``(n,)`` in nats."""
        return -self.log_prob_bound(batch, samples=32)[0]
