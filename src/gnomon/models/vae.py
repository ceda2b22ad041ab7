"""Variational autoencoder: a density over data by way of a latent code, bounded from below.

Likelihoods are chosen by `models.latent`, densities of codes are in `priors` and `posteriors`, objectives in `objectives`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from gnomon.data import Examples, Image, Ragged, Spec, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.models.base import Loss, applied, tensor
from gnomon.models.latent import LatentModel, LatentSpread, Likelihood, repeated
from gnomon.models.objectives import doubly_reparametrised, squared_mmd, total_correlation
from gnomon.models.posteriors import FlowPosterior, FullGaussian, Gaussian, PosteriorHead, PosteriorName, kl, kl_each, kl_to_normal
from gnomon.models.priors import Flowing, FlowPrior, Mixture, PriorName, VampPrior, make_prior
from gnomon.options import unknown

__all__ = ["VAE", "Gaussian", "kl"]

Prior = Callable[[Tensor | Ragged | None, int], Any]
Objective = Literal["elbo", "iwae", "dreg", "mmd", "tc"]

_FREE_OF_TEXTS = 0.5
_AT_ONCE = 2**18  # numbers of x that the bound decodes at a time
_BESIDE = 32  # numbers that networks make of each number of an element or symbol, about
_STRENGTHS: dict[str, float] = {"elbo": 0.0, "iwae": 0.0, "dreg": 0.0, "mmd": 1000.0, "tc": 5.0}  # where nobody says
_WEIGHTED = ("iwae", "dreg")
_DRAWS = 8


class VAE(LatentModel):
    """Variational autoencoder: a latent code with a prior, and a decoder that gives a density over data.

    Maximises E_q[log p(x|z)] - KL(q(z|x) || p(z)) in nats per example. The decoder tells the spread of every number as well as
    its mean, so there is no weight between the two terms to be tuned.

    Args:
        spec: x a Vector, an Image, a Set or Tokens; given, if any, is shown to both networks: the density is p(x | given).
        latent: length of the code; dimensions that do not pay for themselves fall silent.
        spread: where the likelihood's spread comes from: "example" (from the decoder), "column" (one per column or pixel),
            "shared" (one for all), "optimal" (one for all, the root mean square of what the decoder misses: of the batch in training, a
            running mean of it otherwise) or "fixed" (that of the training data: rarely wise). Texts and pixels with levels have none.
        likelihood: None takes "bernoulli" for images of two levels, else "gaussian"; for pixels with levels also "categorical",
            "continuous_bernoulli" and "discretised_logistic", for columns of whole numbers with two bounds "categorical".
        prior: of codes: "normal", "mixture" (learned Gaussians), "vamp" (the posteriors of learned examples, mixed) or "flow" (spline
            couplings, which depend on given).
        components: how many of "mixture" and "vamp"; None takes 50 and 100.
        posterior: "diagonal", "full" (any covariance) or "flow" (spline couplings of the code, steered by the encoder).
        objective: "elbo"; "iwae", the bound by `draws` weighted draws; "dreg", the same with a gradient for the encoder that does not fade
            as draws grow; "mmd", which adds the discrepancy between codes and draws of the prior; "tc", which adds the total correlation
            of the code.
        draws: from the posterior for each example and step, of "iwae" and "dreg"; None takes 8.
        strength: factor on what "mmd" (None takes 1000) and "tc" (5) add.
        beta: factor on the KL term; with any value but 1 the loss is no bound on the log-likelihood (`log_prob_bound` still is).
        free_bits: nats that each dimension of the code may tell before the KL term counts, as a mean over a batch; in training only. None
            takes 0.5 for texts, since a network that writes symbol by symbol needs no code to do it well and would leave it empty; and 0
            for all other data, and where prior, posterior, beta, kl_warmup or weighted draws are chosen.
        kl_warmup: share of the training in which the factor on the KL term rises evenly from 0 to `beta`.
        encoder: name of a network or a module ``(x, given) -> (n, 2 latent)``, of other posteriors more numbers; None takes the default
            of the kind of data.
        decoder: name of a network or a module ``(z, given) -> raw outputs``; None likewise.
        net: options of the networks; each takes those it knows.
        size: factor on the networks' widths.

    Raises:
        DataError: x is of another kind.
        OptionError: an option out of range or without effect, or one that the networks do not know.

    Reference: Kingma & Welling 2014, https://arxiv.org/abs/1312.6114; weighted draws: Burda et al. 2016,
    https://arxiv.org/abs/1509.00519; mmd: Zhao et al. 2019, https://arxiv.org/abs/1706.02262; free bits: Kingma et al. 2016,
    https://arxiv.org/abs/1606.04934

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
    defaults: ClassVar[dict[str, Any]] = {"lr": 3e-3, "steps": 3000}

    elapsed: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        latent: int = 16,
        spread: LatentSpread = "example",
        likelihood: Likelihood | None = None,
        prior: PriorName = "normal",
        components: int | None = None,
        posterior: PosteriorName = "diagonal",
        objective: Objective = "elbo",
        draws: int | None = None,
        strength: float | None = None,
        beta: float = 1.0,
        free_bits: float | None = None,
        kl_warmup: float = 0.0,
        encoder: str | nn.Module | None = None,
        decoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        if free_bits is None:
            alone = prior == "normal" and posterior == "diagonal" and objective not in _WEIGHTED and beta == 1 and not kl_warmup
            free_bits = _FREE_OF_TEXTS if alone and isinstance(spec.x, Tokens) else 0.0
        _check(prior, posterior, objective, draws, strength, beta, free_bits, kl_warmup)
        posterior_of = PosteriorHead(posterior, max(1, latent))
        super().__init__(
            spec, latent=latent, codes=2, extra=posterior_of.extra, spread=spread, likelihood=likelihood, encoder=encoder, decoder=decoder,
            net=net, size=size,
        )  # fmt: skip
        if spread != "example":
            self.refuse_void(spread)
        self.posterior_of = posterior_of
        shape = spec.x.shape if isinstance(spec.x, (Vector, Image)) else None
        self.prior_of = make_prior(prior, latent, shape=shape, given=self.condition.outputs, components=components)
        self.objective, self.draws = objective, _DRAWS if draws is None else draws
        self.beta, self.free_bits, self.kl_warmup = beta, free_bits, kl_warmup
        self.strength = _STRENGTHS[objective] if strength is None else strength
        self.closed = prior == "normal" and posterior != "flow"
        if objective in ("mmd", "tc") or free_bits:
            self.separable = False  # type: ignore[misc]  # means over a batch count
        if not getattr(self.head, "within", True):
            self.dequantises = False  # type: ignore[misc]  # where in its cell a level lies tells nothing
        if kl_warmup:
            self.register_buffer("elapsed", torch.ones(()), persistent=False)

    # ---- densities of codes -------------------------------------------------------------------------------------------

    @property
    def prior(self) -> Gaussian | Mixture | Flowing:
        """p(z), of a flow without a condition: a density with `log_prob` and `sample`."""
        return self._prior(None, 1)

    def _prior(self, given: Tensor | Ragged | None, rows: int) -> Gaussian | Mixture | Flowing:
        """p(z), or p(z | given) of a flow, for `rows` examples."""
        of = self.prior_of
        if isinstance(of, VampPrior):
            return of.mixture(self.posterior_of(applied(self.encoder, of.examples, of.conditions)))
        return of(self.condition(given, rows) if isinstance(of, FlowPrior) else None)

    def posterior(self, x: Tensor | Ragged, given: Tensor | Ragged | None = None) -> Gaussian | FullGaussian | FlowPosterior:
        """q(z | x): n examples and n conditions (or None) to densities of codes ``(n, latent)``."""
        return self.posterior_of(applied(self.encoder, self.read(x), self.condition(given, len(x))))

    def begin(self, examples: Examples) -> None:
        """Start the likelihood, and the learned examples of "vamp", from the data."""
        super().begin(examples)
        if isinstance(self.prior_of, VampPrior) and len(examples):
            rows = examples.to(self.device)
            with torch.no_grad():
                self.prior_of.begin(tensor(rows.x), self.condition(rows.given, len(rows)))

    # ---- what is minimised --------------------------------------------------------------------------------------------

    def loss(self, batch: Examples) -> Loss:
        """The negative evidence lower bound in nats by one draw from the posterior, or what `objective` says instead."""
        posterior = self.posterior(batch.x, batch.given)
        if self.objective in _WEIGHTED:
            return self._weighted_loss(batch, posterior)
        prior = self._prior(batch.given, len(batch))
        z, divergence = self._drawn(posterior, prior)
        reconstruction = self.likelihood(z, batch.given).log_prob(batch.x)
        parts = {"kl": divergence, "reconstruction": -reconstruction}
        total = self._counted(divergence, posterior) - reconstruction
        if self.objective == "mmd":
            parts["mmd"] = squared_mmd(z, prior.sample(len(z))).expand(len(z))
        elif self.objective == "tc":
            assert isinstance(posterior, Gaussian)
            parts["tc"] = total_correlation(z, posterior)
        if self.strength:
            total = total + self.strength * parts[self.objective]
        return Loss.mean(total, batch.weight, **parts)

    def _drawn(self, posterior: Any, prior: Any) -> tuple[Tensor, Tensor]:
        """A draw of the code and the divergence of its posterior from the prior, ``(n,)``: in closed form, else at the draw."""
        if self.closed:
            return posterior.rsample(), kl_to_normal(posterior)
        z, log_q = posterior.sample_and_log_prob()
        return z, log_q - prior.log_prob(z)

    def _counted(self, divergence: Tensor, posterior: Any) -> Tensor:
        """The KL term ``(n,)`` with its factor; free nats and warm-up are for training only, so that bounds can be compared."""
        if not self.training:
            return self.beta * divergence
        if self.free_bits:
            told = kl_each(posterior, Gaussian(posterior.mean.new_zeros(()), posterior.mean.new_zeros(()))).mean(0)
            divergence = told.clamp_min(self.free_bits).sum().expand(len(divergence))
        if self.kl_warmup:
            return self.beta * (self.elapsed / self.kl_warmup).clamp_max(1.0) * divergence
        return self.beta * divergence

    def _weighted_loss(self, batch: Examples, posterior: Any) -> Loss:
        """Minus the bound by `draws` weighted draws."""
        z = posterior.rsample((self.draws,))
        prior, x = self._prior(batch.given, len(batch)), repeated(batch.x, self.draws)
        given = None if batch.given is None else repeated(batch.given, self.draws)
        told: dict[str, Tensor] = {}

        def log_weights(codes: Tensor) -> Tensor:
            likelihood = self.likelihood(codes.flatten(0, 1), given).log_prob(x).view(codes.shape[:-1])
            q = posterior.detach() if self.objective == "dreg" else posterior
            divergence = q.log_prob(codes) - prior.log_prob(codes)
            if self.objective == "iwae" or not torch.is_grad_enabled():
                told.update(kl=divergence.mean(0), reconstruction=-likelihood.mean(0))
            return likelihood - divergence

        if self.objective == "dreg" and torch.is_grad_enabled():
            total = doubly_reparametrised(log_weights, z)
            return Loss.mean(total, batch.weight, kl=kl_to_normal(posterior)) if self.closed else Loss.mean(total, batch.weight)
        total = math.log(self.draws) - log_weights(z).logsumexp(0)
        return Loss.mean(total, batch.weight, **told)

    # ---- abilities ----------------------------------------------------------------------------------------------------

    def encode(self, batch: Examples) -> Tensor:
        """The mean of q(z | x), ``(n, latent)``; of a flow the code of the mean of its noise."""
        return self.posterior(batch.x, batch.given).mean

    @torch.no_grad()
    def code_draws(self, batch: Examples) -> tuple[Tensor, Tensor]:
        """For each example a code from its posterior, and one from the prior, ``(n, latent)`` each: do they lie in the same places?"""
        codes, _ = self.posterior(batch.x, batch.given).sample_and_log_prob()
        return codes, self._prior(batch.given, len(batch)).sample(len(batch))

    def sample(self, n: int, given: Tensor | Ragged | None = None) -> Any:
        """``(n, *x)`` in network space: codes from the prior, examples from the likelihood.

        Args:
            n: how many.
            given: n conditions in network space, or None.
        """
        return self.likelihood(self.sample_codes(n, given), given).sample()

    def sample_codes(self, n: int, given: Tensor | Ragged | None = None) -> Tensor:
        """Codes alone from the prior, ``(n, latent)``."""
        return self._prior(given, n).sample(n)

    def log_prior(self, z: Tensor, given: Tensor | Ragged | None = None) -> Tensor:
        """log p(code), or log p(code | given) of a flow: ``(n, latent) -> (n,)`` in nats."""
        return self._prior(given, len(z)).log_prob(z)

    @torch.no_grad()
    def log_prob_bound(self, batch: Examples, samples: int = 256, *, prior: Prior | None = None) -> tuple[Tensor, Tensor]:
        """The importance-weighted lower bound on log p(x | given), log 1/k sum_i p(x, z_i) / q(z_i | x).

        It rises towards log p with the number of samples k and equals the evidence lower bound in the mean for k = 1. Memory
        grows neither with k nor with n.

        Args:
            batch: n examples.
            samples: k.
            prior: another density of codes than the model's own: n conditions (or None) and n to what has a `log_prob` of codes
                ``(*, n, latent)``.

        Returns:
            The bound and its standard error (first order in the spread of the weights; infinite for k = 1), each ``(n,)``, nats.

        Reference: Burda, Grosse & Salakhutdinov 2016, https://arxiv.org/abs/1509.00519
        """
        if samples < 1:
            raise OptionError(f"log_prob_bound needs at least 1 sample; got {samples}")
        rows = max(1, _AT_ONCE // self._width(batch))
        parts = [
            self._bound(batch[start : start + rows], samples, rows, prior or self._prior) for start in range(0, max(1, len(batch)), rows)
        ]
        value, error = (torch.cat(each) for each in zip(*parts, strict=True))
        return value, error

    def _width(self, batch: Examples) -> int:
        """How many numbers one example costs: those of x, of the decoder's outputs, or the components of the prior."""
        values = batch.x.values if isinstance(batch.x, Ragged) else batch.x
        each = math.ceil(values.numel() / max(1, len(batch))) * (_BESIDE if isinstance(batch.x, Ragged) else 1)
        each *= getattr(self.head, "breadth", 1)
        if isinstance(self.spec.x, Image):
            each = max(each, self.head.outputs * math.prod(self.spec.x.size))
        logits = getattr(self.prior_of, "logits", None)
        return max(1, each, 0 if logits is None else 2 * len(logits))

    def _bound(self, batch: Examples, samples: int, rows: int, prior_of: Prior) -> tuple[Tensor, Tensor]:
        """The bound of few examples and its error, `rows` codes at a time."""
        n = len(batch)
        posterior, prior = self.posterior(batch.x, batch.given), prior_of(batch.given, n)
        at_once = max(1, rows // max(1, n))
        first = second = posterior.mean.new_full((n,), -math.inf)
        for start in range(0, samples, at_once):
            count = min(at_once, samples - start)
            z, log_q = posterior.sample_and_log_prob((count,))
            given = None if batch.given is None else repeated(batch.given, count)
            likelihood = self.likelihood(z.flatten(0, 1), given)
            weights = likelihood.log_prob(repeated(batch.x, count)).view(count, n) + prior.log_prob(z) - log_q
            first = torch.logaddexp(first, weights.logsumexp(0))
            second = torch.logaddexp(second, (2 * weights).logsumexp(0))
        error = torch.full_like(first, math.inf)
        if samples > 1:
            error = ((samples * torch.exp(second - 2 * first) - 1).clamp_min(0) / (samples - 1)).sqrt()
        return first - math.log(samples), error

    def score(self, batch: Examples) -> Tensor:
        """How improbable each example is: the negative of `log_prob_bound` with 32 samples, ``(n,)`` in nats."""
        return -self.log_prob_bound(batch, samples=32)[0]


def _check(
    prior: str,
    posterior: str,
    objective: str,
    draws: int | None,
    strength: float | None,
    beta: float,
    free_bits: float,
    kl_warmup: float,
) -> None:
    """Raises OptionError for what cannot be."""
    if objective not in _STRENGTHS:
        raise OptionError(unknown("objective", objective, _STRENGTHS, owner="VAE"))
    for name, value in (("beta", beta), ("free_bits", free_bits), ("strength", strength or 0.0)):
        if not (value >= 0 and math.isfinite(value)):
            raise OptionError(f"option '{name}' of VAE must be a finite number from 0; got {value}")
    if not 0 <= kl_warmup <= 1:
        raise OptionError(f"option 'kl_warmup' of VAE is a share of the training, 0 … 1; got {kl_warmup}")
    if draws is not None and draws < 1:
        raise OptionError(f"option 'draws' of VAE must be 1 or more; got {draws}")
    if draws not in (None, _DRAWS) and objective not in _WEIGHTED:  # runs saved earlier name the usual number
        raise OptionError(f"option 'draws' of VAE has no effect with objective='{objective}'; it is for iwae and dreg")
    if strength is not None and not _STRENGTHS[objective]:
        raise OptionError(f"option 'strength' of VAE has no effect with objective='{objective}'; it is for mmd and tc")
    if objective in _WEIGHTED and (beta != 1 or free_bits or kl_warmup):
        raise OptionError(f"objective '{objective}' of VAE has no KL term of its own: leave beta, free_bits and kl_warmup out")
    if free_bits and (prior != "normal" or posterior != "diagonal"):
        raise OptionError("option 'free_bits' of VAE counts each dimension alone: it wants prior='normal' and posterior='diagonal'")
    for name, chosen, wanted, fitting in (
        ("prior", prior, "vamp", ("diagonal",)),
        ("objective", objective, "tc", ("diagonal",)),
        ("objective", objective, "dreg", ("diagonal", "full")),
    ):
        if chosen == wanted and posterior in get_args(PosteriorName) and posterior not in fitting:
            raise OptionError(f"{name} '{wanted}' of VAE wants posterior={' or '.join(map(repr, fitting))}; got '{posterior}'")
