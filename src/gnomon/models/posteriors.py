"""Densities of codes given an example, q(z | x): Gaussian with independent dimensions, with any covariance, or bent by a flow.

Which network tells their parameters, and what is minimised with them, is left to the models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections import Chain
from gnomon.errors import OptionError
from gnomon.networks.transforms import Plan, bijections
from gnomon.options import unknown

PosteriorName = Literal["diagonal", "full", "flow"]

_LOG_SPREAD = (-15.0, 10.0)  # limits of the log standard deviation
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_CONTEXT = 16  # numbers by which the encoder steers a flow of codes
_STEPS, _HIDDEN = 2, (64, 64)  # of such a flow


class Posterior(Protocol):
    """A density of one code for each of n examples."""

    @property
    def mean(self) -> Tensor:
        """``(n, latent)``, the code that `encode` gives."""

    def rsample(self, draws: tuple[int, ...] = ()) -> Tensor:
        """``(*draws, n, latent)``, differentiable in the parameters, with torch's global generator."""

    def sample_and_log_prob(self, draws: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """What `rsample` gives, and its log-density ``(*draws, n)`` in nats."""


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

    def sample(self, n: int) -> Tensor:
        """``(n, k)`` where there is no batch."""
        return self.rsample((n,))

    def log_prob(self, z: Tensor) -> Tensor:
        """``(*, k) -> (*,)`` in nats."""
        scaled = (z - self.mean) * torch.exp(-self.log_spread)
        return -(0.5 * scaled.square() + self.log_spread + _HALF_LOG_TWO_PI).sum(-1)

    def sample_and_log_prob(self, draws: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """What `rsample` gives, and its log-density ``(*draws, *batch)``."""
        z = self.rsample(draws)
        return z, self.log_prob(z)

    def detach(self) -> Gaussian:
        """The same density, through whose parameters no gradient flows."""
        return Gaussian(self.mean.detach(), self.log_spread.detach())


@dataclass(frozen=True)
class FullGaussian:
    """Gaussians with any covariance.

    Args:
        mean: ``(*batch, k)``.
        factor: ``(*batch, k, k)`` lower triangular with a positive diagonal, the Cholesky factor of the covariance.
    """

    mean: Tensor
    factor: Tensor

    @property
    def log_spread(self) -> Tensor:
        """``(*batch, k)``: log standard deviation of each dimension, the others integrated out."""
        return 0.5 * self.factor.square().sum(-1).log()

    def rsample(self, draws: tuple[int, ...] = ()) -> Tensor:
        """``(*draws, *batch, k)``, differentiable in mean and factor, with torch's global generator."""
        noise = torch.randn_like(self.mean.expand(*draws, *self.mean.shape))
        return self.mean + (self.factor @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """``(*, k) -> (*,)`` in nats."""
        d = (z - self.mean).unsqueeze(-1)
        scaled = torch.linalg.solve_triangular(self.factor.expand(*d.shape[:-1], -1), d, upper=False).squeeze(-1)
        return -(0.5 * scaled.square() + self.factor.diagonal(dim1=-2, dim2=-1).log() + _HALF_LOG_TWO_PI).sum(-1)

    def sample_and_log_prob(self, draws: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """What `rsample` gives, and its log-density ``(*draws, *batch)``."""
        z = self.rsample(draws)
        return z, self.log_prob(z)

    def detach(self) -> FullGaussian:
        """The same density, through whose parameters no gradient flows."""
        return FullGaussian(self.mean.detach(), self.factor.detach())


@dataclass(frozen=True)
class FlowPosterior:
    """Gaussians whose draws go through an invertible map that depends on the example.

    Args:
        base: ``(n, k)`` independent Gaussians.
        bijection: from codes to draws of the base.
        context: ``(n, c)`` what the map sees of an example.
    """

    base: Gaussian
    bijection: Chain
    context: Tensor

    @property
    def mean(self) -> Tensor:
        """``(n, k)``: where the mean of the base goes, which is near the mean of the code and costs no draws."""
        return self.bijection.inverse_and_log_det(self.base.mean, self.context)[0]

    def rsample(self, draws: tuple[int, ...] = ()) -> Tensor:
        """``(*draws, n, k)``, differentiable, with torch's global generator."""
        return self.sample_and_log_prob(draws)[0]

    def sample_and_log_prob(self, draws: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """Codes ``(*draws, n, k)`` and their log-density ``(*draws, n)``."""
        base = self.base.rsample(draws)
        flat = base.flatten(0, -2)
        z, log_det = self.bijection.inverse_and_log_det(flat, self._context(len(flat)))
        return z.view(base.shape), self.base.log_prob(base) - log_det.view(base.shape[:-1])

    def log_prob(self, z: Tensor) -> Tensor:
        """``(*, n, k) -> (*, n)`` in nats."""
        flat = z.flatten(0, -2)
        base, log_det = self.bijection.forward_and_log_det(flat, self._context(len(flat)))
        return self.base.log_prob(base.view(z.shape)) + log_det.view(z.shape[:-1])

    def _context(self, rows: int) -> Tensor:
        return self.context.expand(rows // max(1, len(self.context)), *self.context.shape).flatten(0, 1)


def kl(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) in nats, ``(*batch,)``."""
    return kl_each(q, p).sum(-1)


def kl_each(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) of each dimension in nats, ``(*batch, k)``."""
    log_ratio = q.log_spread - p.log_spread
    shift = (q.mean - p.mean) * torch.exp(-p.log_spread)
    return 0.5 * (torch.exp(2 * log_ratio) + shift.square() - 1) - log_ratio


def kl_to_normal(q: Gaussian | FullGaussian) -> Tensor:
    """KL(q || standard normal) in nats, ``(*batch,)``.

    Example:
        >>> kl_to_normal(FullGaussian(torch.ones(1, 2), torch.eye(2)[None]))
        tensor([1.])
    """
    if isinstance(q, Gaussian):
        return (0.5 * (torch.exp(2 * q.log_spread) + q.mean.square() - 1) - q.log_spread).sum(-1)
    diagonal = q.factor.diagonal(dim1=-2, dim2=-1)
    return (0.5 * (q.factor.square().sum(-1) + q.mean.square() - 1) - diagonal.log()).sum(-1)


class PosteriorHead(nn.Module):
    """Turns the numbers that an encoder gives into a `Posterior`.

    Args:
        kind: "diagonal", "full" (any covariance, by its Cholesky factor) or "flow" (spline couplings steered by the encoder).
        latent: length of the code.

    Attributes:
        extra: numbers beyond two per dimension of the code, mean and log-spread, that the encoder must give.

    Shape: ``(n, 2 latent + extra) -> Posterior``.

    Raises:
        OptionError: an unknown kind.

    Example:
        >>> head = PosteriorHead("full", 3)
        >>> head(torch.zeros(5, 6 + head.extra)).rsample().shape
        torch.Size([5, 3])
    """

    lower: Tensor

    def __init__(self, kind: PosteriorName, latent: int) -> None:
        super().__init__()
        extra = {"diagonal": 0, "full": latent * (latent - 1) // 2, "flow": _CONTEXT}
        if kind not in extra:
            raise OptionError(unknown("posterior", kind, extra, owner="VAE"))
        self.kind, self.latent, self.extra = kind, latent, extra[kind]
        if kind == "full":
            rows, columns = torch.tril_indices(latent, latent, -1)
            self.register_buffer("lower", rows * latent + columns, persistent=False)
        if kind == "flow":
            plan = Plan(latent, given=_CONTEXT, transforms=_STEPS, bins=8, frequencies=0, network={"hidden": _HIDDEN})
            self.bijection = Chain(bijections("coupling", plan, owner="VAE"))

    def forward(self, raw: Tensor) -> Gaussian | FullGaussian | FlowPosterior:
        """The posterior that the numbers stand for."""
        if self.kind == "diagonal":
            mean, log_spread = raw.chunk(2, -1)
            return Gaussian(mean, log_spread.clamp(*_LOG_SPREAD))
        mean, log_spread, extra = raw.split([self.latent, self.latent, self.extra], -1)
        log_spread = log_spread.clamp(*_LOG_SPREAD)
        if self.kind == "flow":
            return FlowPosterior(Gaussian(mean, log_spread), self.bijection, extra)
        flat = raw.new_zeros(len(raw), self.latent**2).index_copy(1, self.lower, extra)
        # The rows of the factor are in units of their diagonal, so that a narrow dimension stays narrow.
        unit = flat.unflatten(1, (self.latent, self.latent)) + torch.eye(self.latent, dtype=raw.dtype, device=raw.device)
        return FullGaussian(mean, log_spread.exp().unsqueeze(-1) * unit)
