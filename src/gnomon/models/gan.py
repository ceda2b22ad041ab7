"""Generative adversarial network: a generator that turns noise into examples, against a critic that tells them from real ones.

Columns are read and written by `blocks.columns`; networks come from `networks.make`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnomon import networks
from gnomon.blocks import ColumnFeatures, ColumnHead
from gnomon.data import Examples, Image, Ragged, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.base import Loss, Model, Player, applied, tensor, wants

_WIDE = {"hidden": (256, 256)}  # dense networks of usual width lose half of the coverage
_FEW_PIXELS = 256  # up to so many, dense networks learn as well as convolutions and an order of magnitude faster


class GAN(Model):
    """Generative adversarial network with relativistic losses and gradient penalties on both sides.

    The critic D scores real examples above generated ones in pairs: it minimises softplus(D(G(z)) - D(x)) while the generator G
    minimises softplus(D(x) - D(G(z))). The penalty gamma/2 (|grad D(x)|^2 + |grad D(G(z))|^2) makes the game converge. The
    generator's averaged weights are the ones that sample.

    Args:
        spec: x a Vector or an Image; given, if any, is shown to both networks. Where it is read by an encoder each has its own.
        latent: length of the noise vector.
        gamma: weight of the gradient penalties, in units of the scaled data; larger is steadier and less diverse.
        generator: name of a decoder or a module ``(z, given) -> raw outputs``; None takes the default of the kind of data, and
            dense layers for images of up to 256 pixels.
        critic: name of an encoder or a module ``(features, given) -> (n, 1)``; None likewise.
        net: options of the networks; each takes those it knows.
        size: factor on the networks' widths.

    Raises:
        DataError: x is neither a Vector nor an Image.
        OptionError: latent below 1 or gamma below 0.

    Reference: Huang et al. 2024, https://arxiv.org/abs/2501.05441; Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661

    Example:
        >>> import torch
        >>> from gnomon.data import Spec, Vector
        >>> GAN(Spec(Vector.real(2)), latent=4).sample(3).shape
        torch.Size([3, 2])
    """

    monitor: ClassVar[str | None] = None
    separable: ClassVar[bool] = False
    dequantises: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "batch_size": 64, "steps": 3000, "lr": 1e-3, "betas": (0.0, 0.99), "clip": None, "average": 0.998, "schedule": "cosine"
    }  # fmt: skip

    def __init__(
        self,
        spec: Spec,
        *,
        latent: int = 16,
        gamma: float = 1.0,
        generator: str | nn.Module | None = None,
        critic: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        kind: Vector | Image = wants(spec, (Vector, Image), by="GAN")
        if latent < 1 or gamma < 0:
            raise OptionError(f"GAN wants latent of 1 or more and gamma of 0 or more; got latent={latent}, gamma={gamma}")
        self.latent, self.gamma = latent, gamma
        self.condition = networks.Condition(spec.given, size=size)
        learned = self.condition.encoder is not None  # what is learned belongs to one player, so the critic then has its own
        self.critic_condition = networks.Condition(spec.given, size=size) if learned else None
        self.features = ColumnFeatures(kind)
        self.head = ColumnHead(kind, spread="fixed")
        if isinstance(kind, Vector) or math.prod(kind.size) <= _FEW_PIXELS:
            generator, critic = "mlp" if generator is None else generator, "mlp" if critic is None else critic
            net = (_WIDE if "mlp" in (generator, critic) else {}) | (net or {})
        own = networks.shared_out(net or {}, kind, {"decoder": generator, "encoder": critic})
        wiring: dict[str, Any] = {"given": self.condition.outputs, "size": size}
        self.generator = networks.make("decoder", kind, generator, inputs=latent, outputs=self.head.outputs, net=own["decoder"], **wiring)
        self.critic = networks.make("encoder", kind, critic, inputs=self.features.outputs, outputs=1, net=own["encoder"], **wiring)
        self.register_buffer("origin", torch.zeros(latent), persistent=False)

    origin: Tensor

    def players(self) -> tuple[Player, ...]:
        """The critic moves first, then the generator, on the same batch."""
        learned = self.critic_condition is not None
        critic = ("critic", "critic_condition") if learned else ("critic",)
        generator = ("generator", "condition") if learned else ("generator",)
        return (
            Player("critic", loss="critic_loss", modules=critic, average=False),
            Player("generator", loss="generator_loss", modules=generator),
        )

    def fake(self, n: int, condition: Tensor | None) -> Tensor:
        """``n`` generated examples as differentiable features (classes as probabilities)."""
        z = torch.randn_like(self.origin.expand(n, -1))
        return self.head(applied(self.generator, z, condition)).soft()

    def critic_loss(self, batch: Examples) -> Loss:
        """softplus(D(fake) - D(real)) plus the gradient penalties at both."""
        condition, shown = self._conditions(batch)
        real, fake = self.features(tensor(batch.x)), self.fake(len(batch), shown).detach()
        (on_real, slope_real), (on_fake, slope_fake) = (self._scored(x, condition) for x in (real, fake))
        penalty = 0.5 * self.gamma * (slope_real + slope_fake)
        gap = on_real - on_fake
        return Loss.mean(F.softplus(-gap) + penalty, batch.weight, gap=gap, penalty=penalty)

    def generator_loss(self, batch: Examples) -> Loss:
        """softplus(D(real) - D(fake))."""
        condition, shown = self._conditions(batch)
        real, fake = self.features(tensor(batch.x)), self.fake(len(batch), shown)
        gap = applied(self.critic, real, condition) - applied(self.critic, fake, condition)
        return Loss.mean(F.softplus(gap).squeeze(1), batch.weight)

    def sample(self, n: int, given: Tensor | Ragged | None = None) -> Tensor:
        """``(n, *x)`` in network space, for n conditions or None."""
        return self.features.hard(self.fake(n, self.condition(given, n)))

    def _conditions(self, batch: Examples) -> tuple[Tensor | None, Tensor | None]:
        """The condition as the critic sees it, and as the generator does."""
        shown = self.condition(batch.given, len(batch))
        return (shown if self.critic_condition is None else self.critic_condition(batch.given, len(batch))), shown

    def _scored(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """The critic's score of each example and the squared length of its slope there, each ``(n,)``."""

        def total(x: Tensor) -> tuple[Tensor, Tensor]:
            score = applied(self.critic, x, condition).squeeze(1)
            return score.sum(), score  # examples do not act on each other, so the slope of the sum holds each one's own

        slope, score = torch.func.grad(total, has_aux=True)(x)
        return score, slope.flatten(1).square().sum(1)
