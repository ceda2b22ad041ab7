"""Ladder VAE: codes that stand above each other, each drawn given those above it, coarse first.

What is minimised, and the bound on log p, are the VAE's; here are its codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.blocks import MLP
from gnomon.data import Ragged, Spec
from gnomon.errors import OptionError
from gnomon.models.base import applied
from gnomon.models.latent import LatentSpread, Likelihood
from gnomon.models.posteriors import Gaussian, kl
from gnomon.models.vae import VAE
from gnomon.networks.roles import scaled

_LIMITS = (-7.0, 5.0)  # of log standard deviations


class Rungs(nn.Module):
    """p(z₁) p(z₂ | z₁) p(z₃ | z₁, z₂) …: a standard Gaussian on top, below it Gaussians whose mean and spread depend on all codes above.

    Args:
        latents: length of each code, from the top.
        given: size of the condition, 0 for none.
        width: of the hidden layer between codes.
    """

    def __init__(self, latents: Sequence[int], *, given: int = 0, width: int = 128) -> None:
        super().__init__()
        self.latents, self.given = tuple(latents), given
        above = [sum(latents[:i]) for i in range(1, len(latents))]
        self.below = nn.ModuleList(MLP(a + given, 2 * k, hidden=(width,), final=0.1) for a, k in zip(above, latents[1:], strict=True))

    def prior(self, above: Tensor, condition: Tensor | None, rung: int) -> Gaussian:
        """The density of the code at `rung` given all codes above, ``(rows, sum of their lengths)``."""
        if rung == 0:
            origin = above.new_zeros(len(above), self.latents[0])
            return Gaussian(origin, origin)
        seen = above if condition is None else torch.cat([above, condition], -1)
        mean, log_spread = self.below[rung - 1](seen).chunk(2, -1)
        return Gaussian(mean, log_spread.clamp(*_LIMITS))


@dataclass(frozen=True)
class LadderPrior:
    """p(z) of all codes side by side, from the top.

    Args:
        rungs: what ties the codes.
        origin: a number of the kind and place of codes.
        condition: ``(n, given)`` or None.
    """

    rungs: Rungs
    origin: Tensor
    condition: Tensor | None = None

    def log_prob(self, z: Tensor) -> Tensor:
        """``(*, n, k) -> (*, n)`` in nats."""
        flat = z.flatten(0, -2)
        condition, total, start = _laid(self.condition, len(flat)), flat.new_zeros(len(flat)), 0
        for rung, k in enumerate(self.rungs.latents):
            total = total + self.rungs.prior(flat[:, :start], condition, rung).log_prob(flat[:, start : start + k])
            start += k
        return total.view(z.shape[:-1])

    def sample(self, n: int) -> Tensor:
        """``(n, k)``, with torch's global generator."""
        condition, z = _laid(self.condition, n), self.origin.expand(n, 0)
        for rung in range(len(self.rungs.latents)):
            z = torch.cat([z, self.rungs.prior(z, condition, rung).rsample()], -1)
        return z


@dataclass(frozen=True)
class LadderPosterior:
    """q(z | x): at each rung what the example says, and what the codes above say, each by its precision.

    Args:
        rungs: what ties the codes.
        told: what the example says of the code at each rung, ``(n, k)`` each, from the top.
        condition: ``(n, given)`` or None.
    """

    rungs: Rungs
    told: Sequence[Gaussian]
    condition: Tensor | None = None

    def walk(self, rows: int, z: Tensor | None = None, *, still: bool = False) -> Iterator[tuple[Tensor, Gaussian, Gaussian]]:
        """From the top: the code (of `z` where it is told, the mean if `still`, else a draw), its posterior and its prior."""
        condition, above, start = _laid(self.condition, rows), self.told[0].mean.new_zeros(rows, 0), 0
        for rung, (k, told) in enumerate(zip(self.rungs.latents, self.told, strict=True)):
            prior = self.rungs.prior(above, condition, rung)
            q = product(Gaussian(*(t for t in (_laid(told.mean, rows), _laid(told.log_spread, rows)) if t is not None)), prior)
            code = (q.mean if still else q.rsample()) if z is None else z[:, start : start + k]
            yield code, q, prior
            above, start = torch.cat([above, code], -1), start + k

    @property
    def mean(self) -> Tensor:
        """``(n, k)``: the mean at each rung given the means above."""
        return torch.cat([code for code, _, _ in self.walk(len(self.told[0].mean), still=True)], -1)

    def rsample(self, draws: tuple[int, ...] = ()) -> Tensor:
        """``(*draws, n, k)``, differentiable, with torch's global generator."""
        return self.sample_and_log_prob(draws)[0]

    def sample_and_log_prob(self, draws: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """Codes ``(*draws, n, k)`` and their log-density ``(*draws, n)``."""
        shape = (*draws, len(self.told[0].mean))
        codes, total = [], torch.zeros(())
        for code, q, _ in self.walk(torch.Size(shape).numel()):
            codes.append(code)
            total = q.log_prob(code) + (total if len(codes) > 1 else 0.0)
        return torch.cat(codes, -1).view(*shape, -1), total.view(shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """``(*, n, k) -> (*, n)`` in nats."""
        flat = z.flatten(0, -2)
        return torch.stack([q.log_prob(code) for code, q, _ in self.walk(len(flat), flat)]).sum(0).view(z.shape[:-1])


class LadderVAE(VAE):
    """A VAE with a ladder of codes: a standard Gaussian on top, and each code below drawn given all codes above it.

    Maximises E_q[log p(x | z) - Σ KL(q(zᵢ | x, z above) || p(zᵢ | z above))] in nats per example. What the example says of a code and
    what the codes above say of it are multiplied, so a rung that has nothing to say leaves its prior as it is. The decoder sees all codes.

    Args:
        spec: as for `VAE`.
        latents: length of each code, from the top, where the code knows most and is shortest.
        width: of the hidden layers between codes.
        spread, likelihood, beta, kl_warmup, encoder, decoder, net, size: as for `VAE`.

    Raises:
        DataError: x of a kind that `VAE` does not take.
        OptionError: no code, one shorter than 1, hidden layers of no width, or what `VAE` refuses.

    Reference: Sønderby et al. 2016, https://arxiv.org/abs/1602.02282

    Example:
        >>> from gnomon.data import Examples, Vector
        >>> model = LadderVAE(Spec(Vector.real(6)), latents=(2, 3))
        >>> batch = Examples(torch.randn(5, 6))
        >>> model.encode(batch).shape, model.log_prob_bound(batch, samples=8)[0].shape
        (torch.Size([5, 5]), torch.Size([5]))
    """

    origin: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        latents: Sequence[int] = (4, 16),
        width: int = 128,
        spread: LatentSpread = "example",
        likelihood: Likelihood | None = None,
        beta: float = 1.0,
        kl_warmup: float = 0.0,
        encoder: str | nn.Module | None = None,
        decoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        if not latents or min(latents) < 1:
            raise OptionError(f"option 'latents' of LadderVAE wants one or more lengths of at least 1; got {tuple(latents)}")
        if width < 1:
            raise OptionError(f"option 'width' of LadderVAE must be at least 1; got {width}")
        wide = scaled(width, size)
        super().__init__(
            spec, latent=sum(latents), spread=spread, likelihood=likelihood, beta=beta, free_bits=0.0, kl_warmup=kl_warmup, encoder=encoder,
            decoder=decoder, net=net, size=size,
        )  # fmt: skip
        self.rungs = Rungs(latents, given=self.condition.outputs, width=wide)
        # From the example upwards: each rung reads what the rung below has read.
        read = 2 * sum(latents)
        self.up = nn.ModuleList(MLP(read, read, hidden=(wide,)) for _ in latents[1:])
        self.tell = nn.ModuleList(MLP(read, 2 * k, hidden=(), final=0.1) for k in latents)
        self.register_buffer("origin", torch.zeros(1), persistent=False)
        self.closed = False

    def _prior(self, given: Tensor | Ragged | None, rows: int) -> Any:
        """p(z | given), of all codes side by side."""
        return LadderPrior(self.rungs, self.origin, self.condition(given, rows))

    def posterior(self, x: Tensor | Ragged, given: Tensor | Ragged | None = None) -> Any:
        """q(z | x): n examples and n conditions (or None) to a density of codes ``(n, sum of latents)``."""
        condition = self.condition(given, len(x))
        read = applied(self.encoder, self.read(x), condition)
        told: list[Gaussian] = []
        for i in range(len(self.tell)):
            if i:
                read = read + self.up[i - 1](read)
            mean, log_spread = self.tell[-1 - i](read).chunk(2, -1)
            told.insert(0, Gaussian(mean, log_spread.clamp(*_LIMITS)))
        return LadderPosterior(self.rungs, told, condition)

    def _drawn(self, posterior: Any, prior: Any) -> tuple[Tensor, Tensor]:
        """A draw of all codes, and the sum of the divergences at the rungs, each in closed form given the codes above."""
        codes, total = [], []
        for code, q, p in posterior.walk(len(posterior.told[0].mean)):
            codes.append(code)
            total.append(kl(q, p))
        return torch.cat(codes, -1), torch.stack(total).sum(0)


def product(a: Gaussian, b: Gaussian) -> Gaussian:
    """The normalised product of two densities, ``(*, k)``.

    Example:
        >>> made = product(Gaussian(torch.ones(1), torch.zeros(1)), Gaussian(torch.zeros(1), torch.zeros(1)))
        >>> made.mean, made.log_spread.exp()
        (tensor([0.5000]), tensor([0.7071]))
    """
    log_precision = torch.logaddexp(-2 * a.log_spread, -2 * b.log_spread)
    share = torch.exp(-2 * a.log_spread - log_precision)
    return Gaussian(b.mean + share * (a.mean - b.mean), -0.5 * log_precision)


def _laid(values: Tensor | None, rows: int) -> Tensor | None:
    """``(n, k)`` laid end to end until there are `rows`."""
    if values is None or len(values) == rows:
        return values
    return values.expand(rows // max(1, len(values)), *values.shape).flatten(0, 1)
