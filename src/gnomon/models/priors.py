"""Densities of codes before an example is seen, p(z): normal, a learned mixture, a mixture of posteriors, or a flow.

How far posteriors are from them is for the models to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections import Chain
from gnomon.errors import OptionError
from gnomon.models.posteriors import Gaussian
from gnomon.networks.transforms import Plan, bijections
from gnomon.options import unknown

PriorName = Literal["normal", "mixture", "vamp", "flow"]
USUAL = {"mixture": 50, "vamp": 100}
"""Components where nobody says how many."""

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_STEPS, _HIDDEN = 4, (64, 64)  # of a flow of codes


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians with independent dimensions.

    Args:
        mean: ``(components, k)``.
        log_spread: ``(components, k)``.
        logits: ``(components,)`` log-weights, up to a constant.
    """

    mean: Tensor
    log_spread: Tensor
    logits: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """``(*, k) -> (*,)`` in nats."""
        # (z - mean)² / spread² as products of matrices, many times quicker than pair by pair; in float64, since large terms cancel.
        points, narrowness = z.double(), torch.exp(-2 * self.log_spread.double())
        mean = self.mean.double()
        squares = points.square() @ narrowness.T - 2 * points @ (mean * narrowness).T + (mean.square() * narrowness).sum(-1)
        constant = (self.log_spread + _HALF_LOG_TWO_PI).sum(-1)
        return (self.logits.log_softmax(-1) - constant - 0.5 * squares).logsumexp(-1).to(z.dtype)

    def sample(self, n: int) -> Tensor:
        """``(n, k)``, with torch's global generator."""
        waiting = -torch.log(torch.rand_like(self.logits.expand(n, -1)).clamp_min(torch.finfo(self.logits.dtype).tiny))
        component = (self.logits - waiting.log()).argmax(-1)  # the component whose exponential clock rings first
        return Gaussian(self.mean.index_select(0, component), self.log_spread.index_select(0, component)).rsample()


@dataclass(frozen=True)
class Flowing:
    """Noise that goes through an invertible map, which may depend on a condition.

    Args:
        bijection: from codes to noise.
        size: length of a code.
        origin: a number of the kind and place of codes.
        condition: ``(n, given)`` or None.
    """

    bijection: Chain
    size: int
    origin: Tensor
    condition: Tensor | None = None

    def log_prob(self, z: Tensor) -> Tensor:
        """``(*, n, k) -> (*, n)`` in nats."""
        flat = z.flatten(0, -2)
        noise, log_det = self.bijection.forward_and_log_det(flat, self._condition(len(flat)))
        return (log_det - (0.5 * noise.square() + _HALF_LOG_TWO_PI).sum(-1)).view(z.shape[:-1])

    def sample(self, n: int) -> Tensor:
        """``(n, k)``, with torch's global generator."""
        noise = torch.randn_like(self.origin.expand(n, self.size))
        return self.bijection.inverse_and_log_det(noise, self._condition(n))[0]

    def _condition(self, rows: int) -> Tensor | None:
        if self.condition is None:
            return None
        return self.condition.expand(rows // max(1, len(self.condition)), *self.condition.shape).flatten(0, 1)


class NormalPrior(nn.Module):
    """A standard Gaussian."""

    origin: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("origin", torch.zeros(latent), persistent=False)

    def forward(self, condition: Tensor | None = None) -> Gaussian:
        """The density."""
        return Gaussian(self.origin, self.origin)


class MixturePrior(nn.Module):
    """A mixture of Gaussians whose weights, means and spreads are learned; it starts as narrow parts of a standard Gaussian."""

    def __init__(self, latent: int, components: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(components, latent))
        self.log_spread = nn.Parameter(torch.full((components, latent), -0.5))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, condition: Tensor | None = None) -> Mixture:
        """The density."""
        return Mixture(self.mean, self.log_spread.clamp(-7, 5), self.logits)


class FlowPrior(nn.Module):
    """Noise through spline couplings; with a condition p(z | given)."""

    origin: Tensor

    def __init__(self, latent: int, given: int) -> None:
        super().__init__()
        self.latent = latent
        plan = Plan(latent, given=given, transforms=_STEPS, bins=8, frequencies=0, network={"hidden": _HIDDEN})
        self.bijection = Chain(bijections("coupling", plan, owner="VAE"))
        self.register_buffer("origin", torch.zeros(1), persistent=False)

    def forward(self, condition: Tensor | None = None) -> Flowing:
        """The density."""
        return Flowing(self.bijection, self.latent, self.origin, condition)


class VampPrior(nn.Module):
    """The examples and conditions whose posteriors, mixed, are the prior: learned, started from data by `begin`.

    Args:
        shape: of one example in network space.
        given: size of the condition's vector, 0 for none.
        components: how many.

    Reference: Tomczak & Welling 2018, https://arxiv.org/abs/1705.07120
    """

    def __init__(self, shape: tuple[int, ...], given: int, components: int) -> None:
        super().__init__()
        self.examples = nn.Parameter(torch.randn(components, *shape))
        self.conditions = nn.Parameter(torch.zeros(components, given)) if given else None
        self.logits = nn.Parameter(torch.zeros(components))

    @torch.no_grad()
    def begin(self, x: Tensor, condition: Tensor | None) -> None:
        """Start from rows of the data, spread evenly over them."""
        rows = torch.linspace(0, len(x) - 1, len(self.examples)).round().long()
        self.examples.copy_(x[rows])
        if self.conditions is not None and condition is not None:
            self.conditions.copy_(condition[rows])

    def mixture(self, posteriors: Gaussian) -> Mixture:
        """The density, given the posterior of each of the `examples`."""
        return Mixture(posteriors.mean, posteriors.log_spread, self.logits)


def make_prior(name: PriorName, latent: int, *, shape: tuple[int, ...] | None, given: int, components: int | None) -> nn.Module:
    """The prior of that name.

    Args:
        name: "normal", "mixture", "vamp" or "flow".
        latent: length of the code.
        shape: of one example in network space, None where examples are of no fixed shape.
        given: size of the condition's vector, 0 for none.
        components: of "mixture" and "vamp"; None takes `USUAL`.

    Raises:
        OptionError: an unknown name, components below one, components without a use, or "vamp" for examples without a fixed shape.
    """
    if name not in ("normal", "mixture", "vamp", "flow"):
        raise OptionError(unknown("prior", name, ("normal", "mixture", "vamp", "flow"), owner="VAE"))
    if components is not None and (name not in USUAL or components < 1):
        what = "must be 1 or more" if name in USUAL else f"has no effect with prior='{name}'"
        raise OptionError(f"option 'components' of VAE {what}; got {components}")
    count = USUAL.get(name, 0) if components is None else components
    if name == "mixture":
        return MixturePrior(latent, count)
    if name == "flow":
        return FlowPrior(latent, given)
    if name == "normal":
        return NormalPrior(latent)
    if shape is None:
        raise OptionError("prior='vamp' learns examples of its own, which must be columns or pixels; use prior='mixture'")
    return VampPrior(shape, given, count)
