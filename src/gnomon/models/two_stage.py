"""A density over codes, learned after the codes: an autoencoder or VAE first, then a flow, a mixture or a second VAE on what it encodes.

The networks of the first stage are those of `Autoencoder` and `VAE`; densities of the second are the models of that name.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gnomon.data import Examples, Ragged, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.autoencoder import Autoencoder
from gnomon.models.base import Loss, Model, Player, fits
from gnomon.models.flow import Flow
from gnomon.models.latent import LatentModel, repeated
from gnomon.models.mixture_density import MixtureDensity
from gnomon.models.vae import VAE
from gnomon.options import parse, unknown

_BASES: dict[str, type[LatentModel]] = {"vae": VAE, "autoencoder": Autoencoder}
_DENSITIES: dict[str, tuple[type[Model], dict[str, Any]]] = {
    "flow": (Flow, {"transforms": 4, "hidden": (64, 64)}),
    "mixture": (MixtureDensity, {"components": 10}),
    "gaussian": (MixtureDensity, {"components": 1}),
    "vae": (VAE, {}),
}
_BLUR = 0.01  # of codes that are points, in units of their spread: a code that never varies has no density


@dataclass(frozen=True)
class _Codes:
    """The density of codes for n conditions."""

    model: TwoStage
    given: Tensor | Ragged | None

    def log_prob(self, z: Tensor) -> Tensor:
        """``(draws, n, latent) -> (draws, n)`` in nats."""
        given = None if self.given is None else repeated(self.given, len(z))
        return self.model.log_prior(z.flatten(0, 1), given).view(z.shape[:-1])


class TwoStage(Model):
    """A latent density after training: first what encodes and decodes, then, with it held still, a density of the codes.

    Stage one minimises the loss of the base, stage two -log p(code) in nats per example, of codes drawn from q(z | x) for a VAE and of
    the codes themselves for an autoencoder, brought to mean zero and spread one. Samples are decoded draws of that density: what the
    decoder was shown in training, where the prior of the base is at best near to it. Both stages have as many epochs as a fit is told.
    With ``fit(…, start=learned)`` the base is a VAE or autoencoder that was fitted before, and the density alone is learned.

    Args:
        spec: roles of an example, as the base takes them; with given the density is p(code | given).
        base: "vae" or "autoencoder".
        density: of the codes: "flow", "mixture" of ten Gaussians, "gaussian" (one) or "vae" (a second VAE).
        latent: length of the code; None takes the base's own default.
        base_options: other options of the base.
        density_options: options of the density, those of the model `flow`, `mixture_density` or `vae`.
        size: factor on the widths of all networks.

    Attributes:
        stage: 0 or 1 while that stage is played, else None.

    Raises:
        DataError: x of a kind that the base does not take.
        OptionError: an unknown name, or an option that base or density refuse.

    Reference: Dai & Wipf 2019, https://arxiv.org/abs/1903.05789; Ghosh et al. 2020, https://arxiv.org/abs/1903.12436

    Example:
        >>> model = TwoStage(Spec(Vector.real(6)), base="autoencoder", density="mixture", latent=2)
        >>> [[player.name for player in stage.players()] for stage in model.stages()]
        [['base'], ['density']]
        >>> model.sample(3).shape
        torch.Size([3, 6])
    """

    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 4000, "warmup": 300}

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        base: Literal["vae", "autoencoder"] = "vae",
        density: Literal["flow", "mixture", "gaussian", "vae"] = "flow",
        latent: int | None = None,
        base_options: dict[str, Any] | None = None,
        density_options: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        if base not in _BASES:
            raise OptionError(unknown("base", base, _BASES, owner="TwoStage"))
        if density not in _DENSITIES:
            raise OptionError(unknown("density", density, _DENSITIES, owner="TwoStage"))
        if latent is not None and "latent" in (base_options or {}):
            raise OptionError("option 'latent' of TwoStage is said twice, there and in base_options; leave one of them out")
        if density == "gaussian" and "components" in (density_options or {}):
            raise OptionError("density='gaussian' of TwoStage has one component; use density='mixture', or leave 'components' out")
        own = {"size": size, **({} if latent is None else {"latent": latent}), **(base_options or {})}
        self.base = _BASES[base](spec, **parse(_BASES[base], own, name=f"base '{base}'"))
        kind, usual = _DENSITIES[density]
        if density == "flow" and base == "vae":
            usual = {**usual, "dropout": 0.0}  # every epoch draws the codes anew: they cannot be learned by heart
        of_codes = Spec(Vector.real(self.base.latent), given=spec.given)
        self.density = kind(of_codes, **parse(kind, {"size": size, **usual, **(density_options or {})}, name=f"density '{density}'"))
        self.latent = self.base.latent
        self.register_buffer("centre", torch.zeros(self.base.latent))
        self.register_buffer("spread", torch.ones(self.base.latent))
        self.whole = self.base.whole
        self.dequantises, self.separable = self.base.dequantises, self.base.separable  # type: ignore[misc]
        if base != "vae":
            self.log_prob_bound = None  # type: ignore[assignment,method-assign]  # codes that are points leave nothing to be weighted
        self.adopted = False
        self.stage: int | None = None
        self._rows: Examples | None = None

    # ---- a base that is fitted already --------------------------------------------------------------------------------

    @classmethod
    def options_from(cls, start: Model, options: dict[str, Any]) -> dict[str, Any]:
        """Of a fitted VAE or autoencoder the options of the base; of a TwoStage all options."""
        name = next((name for name, kind in _BASES.items() if type(start) is kind), None)
        if name is None and type(start) is not cls:
            raise OptionError(f"TwoStage cannot start from a {type(start).__name__}; start= wants a fitted vae, autoencoder or two_stage")
        if name is None:
            return super().options_from(start, options)
        for said in ("latent", "base_options"):
            if options.get(said) is not None:
                raise OptionError(f"option '{said}' of TwoStage has no effect with start=, which brings the base as it is; leave it out")
        if options.get("base", name) != name:
            raise OptionError(f"base='{options['base']}' of TwoStage does not fit start=, which is a {name}; leave base out")
        return {**options, "base": name, "base_options": copy.deepcopy(start.options_)}

    def adopt(self, start: Model) -> None:
        """Take over a fitted base, which then stays as it is: the density alone is learned; or all of a TwoStage."""
        if isinstance(start, TwoStage):
            super().adopt(start)
        else:
            fits(self.base, start)
            self.base.load_state_dict(start.state_dict())
            self.adopted = True

    # ---- the two games ------------------------------------------------------------------------------------------------

    def players(self) -> tuple[Player, ...]:
        """The one whose stage it is; outside of stages both."""
        both = (Player("base", loss="base_loss", modules=("base",)), Player("density", loss="density_loss", modules=("density",)))
        return both if self.stage is None else both[self.stage : self.stage + 1]

    def stages(self) -> Iterator[Model]:
        """The base, unless it was fitted before, then the density of its codes."""
        try:
            self.stage = 0
            if not self.adopted:
                yield self
            self._measure()
            self.stage = 1
            yield self
        finally:
            self.stage, self._rows = None, None

    def enclose(self, low: Tensor, high: Tensor) -> None:
        """Handed on to the base."""
        self.base.enclose(low, high)

    def begin(self, examples: Examples) -> None:
        """Let the base begin, and keep the rows until their codes can be measured."""
        self.base.begin(examples)
        self._rows = examples

    def train(self, mode: bool = True) -> TwoStage:
        """Training or evaluation mode; a base that is held still stays in evaluation."""
        super().train(mode)
        if self.stage == 1:
            self.base.eval()
        return self

    def base_loss(self, batch: Examples) -> Loss:
        """The loss of the base."""
        return self.base.loss(batch)

    def density_loss(self, batch: Examples) -> Loss:
        """-log p(code) in nats, or the second VAE's bound on it; nothing of it reaches the base."""
        return self.density.loss(self._codes(batch))

    def validate(self, batch: Examples) -> Loss:
        """What the stage's player is measured by; outside of stages the sum for both."""
        if self.stage == 0:
            return self.base.validate(batch)
        codes = self.density.validate(self._codes(batch))
        if self.stage == 1:
            return codes
        base = self.base.validate(batch)
        return Loss(base.total + codes.total, base.weight, {**base.parts, "codes": codes.total.detach()})

    # ---- abilities ----------------------------------------------------------------------------------------------------

    def encode(self, batch: Examples) -> Tensor:
        """The base's code of each example, ``(n, latent)``."""
        return self.base.encode(batch)

    def decode(self, z: Tensor, given: Tensor | Ragged | None = None) -> Any:
        """The mean example of each code: ``(n, latent) -> (n, *x)`` in network space."""
        return self.base.decode(z, given)

    def reconstruct(self, batch: Examples) -> Any:
        """Each example as its code tells it, in network space."""
        return self.base.reconstruct(batch)

    def sample(self, n: int, given: Tensor | Ragged | None = None) -> Any:
        """``(n, *x)`` in network space: codes from the density; of a VAE a draw from its likelihood, of an autoencoder the mean.

        Args:
            n: how many.
            given: n conditions in network space, or None.
        """
        z = self.sample_codes(n, given)
        return self.base.likelihood(z, given).sample() if isinstance(self.base, VAE) else self.base.decode(z, given)

    def sample_codes(self, n: int, given: Tensor | Ragged | None = None) -> Tensor:
        """Codes alone, ``(n, latent)``."""
        return self.density.sample(n, given) * self.spread + self.centre  # type: ignore[operator]

    def log_prior(self, z: Tensor, given: Tensor | Ragged | None = None) -> Tensor:
        """log p(code) by the density, of a second VAE a lower bound: ``(n, latent) -> (n,)`` in nats."""
        return -self._improbable(z, given)

    def log_prob_bound(self, batch: Examples, samples: int = 256) -> tuple[Tensor, Tensor]:
        """Of a VAE the bound on log p(x | given) whose codes come from the density; see `VAE.log_prob_bound`. An autoencoder has none.

        Args:
            batch: n examples.
            samples: weighted draws of each.

        Returns:
            The bound and its standard error, each ``(n,)``, nats.
        """
        return self.base.log_prob_bound(batch, samples, prior=lambda given, rows: _Codes(self, given))  # type: ignore[operator]

    def draw_codes(self, batch: Examples) -> Tensor:
        """Codes of examples as the density is shown them, ``(n, latent)``, without gradient: of a VAE a draw from q(z | x)."""
        with torch.no_grad():
            return self.base.posterior(batch.x, batch.given).rsample() if isinstance(self.base, VAE) else self.base.encode(batch)

    def score(self, batch: Examples) -> Tensor:
        """How strange each example is with its code, -log p(x | code) - log p(code), ``(n,)`` in nats."""
        code = self.base.encode(batch)
        told = self.base.likelihood(code, batch.given).log_prob(batch.x)
        return self._improbable(code, batch.given) - told

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _improbable(self, code: Tensor, given: Tensor | Ragged | None) -> Tensor:
        """-log p(code), ``(n,)``."""
        scaled = Examples((code - self.centre) / self.spread, given=given)
        return self.density.score(scaled) + self.spread.log().sum()  # type: ignore[operator]

    def _codes(self, batch: Examples) -> Examples:
        code = (self.draw_codes(batch) - self.centre) / self.spread
        if not isinstance(self.base, VAE):
            code = code + _BLUR * torch.randn_like(code)
        return Examples(code, given=batch.given, weight=batch.weight)

    @torch.no_grad()
    def _measure(self) -> None:
        """Take mean and spread of the codes of the first rows, and let the density begin from them; the same in every process."""
        if self._rows is None or len(self._rows) < 2:
            return
        rows, device = self._rows.to(self.device), self.device
        self.base.eval()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            code = torch.cat([self.draw_codes(rows[start : start + 256]) for start in range(0, len(rows), 256)])
            self.centre.copy_(code.mean(0))
            spread = code.std(0)
            self.spread.copy_(torch.where(spread > 1e-6 * spread.max(), spread, 1.0))
            self.density.begin(Examples(((code - self.centre) / self.spread).cpu(), given=self._rows.given))
