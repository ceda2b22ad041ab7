"""Autoencoder whose code is a row of symbols out of a finite set, and a density over such rows learned afterwards.

How vectors become codes is in `blocks.quantisers`, the density of codes in `code_prior`, the likelihood of data in `latent`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from gnomon import networks
from gnomon.blocks.columns import ColumnFeatures
from gnomon.blocks.quantisers import FSQ, Quantised, ResidualQuantiser, VectorQuantiser, falling_levels_for, levels_for
from gnomon.data import Examples, Image, Kind, Ragged, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.base import Loss, Model, Player, applied, tensor, wants
from gnomon.models.code_prior import CodePrior
from gnomon.models.latent import LATENT_KINDS, LatentModel, LatentSpread, Likelihood
from gnomon.models.principal_path import PrincipalPath
from gnomon.networks.images import stages
from gnomon.options import parse, unknown

Quantiser = Literal["fsq", "vq", "residual"]

_SIZE = 8  # numbers in a vector of a table
_MOST = 16  # codes per example where no grid says how many
_STEP = 0.01  # of the running frequency of codes
_WIDER = 1.25  # of what a linear way tells: a third less squared error at the start than with codes alike, and still nearly all in use
_WEIGHTS = 2**21  # of a linear way at most; where examples are larger there is none
_SEEN = 1e-3  # of the frequency of codes alike: a code that is rarer is not in use


class VQVAE(LatentModel):
    """An encoder to a row of codes, each one of finitely many, a decoder back, and a prior over rows of codes.

    Stage one minimises -log p(x | codes) in nats per example, gradients passing straight through the quantiser, and stage two
    -log p(codes). Together they bound the density of data, log p(x) >= log p(x | codes(x)) + log p(codes(x)). Images have a grid of
    codes. Both stages have as many epochs as a fit is told.

    For columns of numbers and for pixels the default networks of "fsq" have a linear way beside them, which starts as the principal
    components of the data in finer levels the more they vary: training begins at what a linear code of as many bits tells.

    Args:
        spec: x a Vector, an Image, a Set or Tokens; given, if any, is shown to encoder, decoder and prior: the density is p(x | given).
        codes: how many different codes there are, at least.
        quantiser: "fsq" rounds numbers to levels; "vq" has a table of vectors that follow the data; "residual" has `depth` tables, each
            of what those before leave over.
        positions: codes per example. None takes a grid for images (16 cells; finer with ``net={"longest": 7}``), half as many as there
            are columns, at most 16, for a Vector, and 16 for sets and texts.
        latent: numbers by which each code is told to the decoder; None takes 8, and for "fsq" those that have levels (no other will do).
        depth: tables of "residual".
        commitment: factor on the squared distance of vectors from their codes, of "vq" and "residual"; None takes 0.25.
        balance: factor on how unevenly the codes of a batch are spread, of "fsq"; None takes 0.1.
        spread: of the likelihood, see `models.latent.head_for`; None takes "optimal" for Vectors and Images, else "example".
        likelihood: which it is, likewise.
        prior: options of the density of codes, those of `models.code_prior.CodePrior`.
        encoder: name of a network or a module ``(x, given) -> (n, positions · latent)``; None takes the default of the kind of data. Naming
            it, or the decoder, leaves the linear way out.
        decoder: name of a network or a module ``(z, given) -> raw outputs``; None likewise.
        net: options of the networks; each takes those it knows.
        size: factor on the networks' widths.

    Attributes:
        frequency: ``(depth, codes)`` how often each code was taken in training lately, as shares.
        stage: 0 or 1 while that stage is played, else None.

    Raises:
        DataError: x is of another kind.
        OptionError: an option out of range or without effect.

    Reference: van den Oord et al. 2017, https://arxiv.org/abs/1711.00937; levels: Mentzer et al. 2023, https://arxiv.org/abs/2309.15505

    Example:
        >>> model = VQVAE(Spec(Vector.real(6)), codes=64, positions=2).eval()
        >>> batch = Examples(torch.randn(5, 6))
        >>> model.indices(batch).shape, model.encode(batch).shape, model.sample(3).shape
        (torch.Size([5, 2]), torch.Size([5, 4]), torch.Size([3, 6]))
    """

    dequantises: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 2000}

    frequency: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        codes: int = 512,
        quantiser: Quantiser = "fsq",
        positions: int | None = None,
        latent: int | None = None,
        depth: int | None = None,
        commitment: float | None = None,
        balance: float | None = None,
        spread: LatentSpread | None = None,
        likelihood: Likelihood | None = None,
        prior: dict[str, Any] | None = None,
        encoder: str | nn.Module | None = None,
        decoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        kind = wants(spec, LATENT_KINDS, by="VQVAE")
        spread_asked = spread is not None
        spread = ("optimal" if isinstance(kind, (Vector, Image)) else "example") if spread is None else spread
        plain = encoder in (None, "conv") and decoder in (None, "deconv")
        if positions is None and isinstance(kind, Image) and plain:
            longest = None if net is None or net.get("longest") is None else int(net["longest"])
            positions = math.prod(stages(kind.size, 1, longest)[-1].size)
            net = {"pool": "grid", "start": "grid", **(net or {})}
        positions = _usual(kind) if positions is None else positions
        if positions < 1:
            raise OptionError(f"option 'positions' of VQVAE must be at least 1; got {positions}")
        straight = quantiser == "fsq" and encoder is None and decoder is None and _is_numbers(kind, likelihood, spread)
        straight = straight and positions * len(levels_for(codes)) * math.prod(kind.shape) <= _WEIGHTS
        levels = _levels(codes, kind, positions) if straight else levels_for(codes)
        made = _quantiser(quantiser, codes, levels, latent, depth, commitment, balance, _WIDER if straight else 1.0)
        super().__init__(
            spec, latent=positions * made.size, spread=spread, likelihood=likelihood, encoder=encoder, decoder=decoder, net=net, size=size
        )
        self.quantiser, self.positions, self.codes = made, positions, made.codes
        self.straight = PrincipalPath(kind.shape, positions=positions, size=made.size) if straight else None
        self.prior = ConditionedPrior(spec, made.codes, positions * made.depth, size=size, options=prior or {})
        self.register_buffer("frequency", torch.full((made.depth, made.codes), 1.0 / made.codes))
        if spread_asked:
            self.refuse_void(spread)
        if isinstance(made, FSQ) and made.balance:
            self.separable = False  # type: ignore[misc]  # what keeps codes in use looks at a batch
        if not getattr(self.head, "within", True):
            self.dequantises = False  # type: ignore[misc]  # where in its cell a level lies tells nothing
        self.stage: int | None = None

    # ---- the two games ------------------------------------------------------------------------------------------------

    def players(self) -> tuple[Player, ...]:
        """The one whose stage it is; outside of stages both."""
        own = tuple(name for name, part in self.named_children() if name != "prior" and any(True for _ in part.parameters()))
        both = (Player("autoencoder", loss="loss", modules=own), Player("prior", loss="prior_loss", modules=("prior",)))
        return both if self.stage is None else both[self.stage : self.stage + 1]

    def stages(self) -> Iterator[Model]:
        """Encoder and decoder, then the prior over codes."""
        try:
            for self.stage in (0, 1):
                yield self
        finally:
            self.stage = None

    def train(self, mode: bool = True) -> VQVAE:
        """Training or evaluation mode; encoder and quantiser that are held still stay in evaluation."""
        super().train(mode)
        if self.stage == 1:
            for name, part in self.named_children():
                part.train(mode and name == "prior")
        return self

    def begin(self, examples: Examples) -> None:
        """Start the likelihood from the data, and the quantiser from what the encoder makes of them."""
        super().begin(examples)
        rows = examples[:2048].to(self.device)
        if len(rows):
            with torch.no_grad():
                if self.straight is not None:
                    self.straight.start_reading(tensor(rows.x))
                parts = [rows[start : start + 256] for start in range(0, len(rows), 256)]
                self.quantiser.begin(torch.cat([self._encoded(part) for part in parts]))
                if self.straight is not None:
                    z = [self._quantised(part).vectors.flatten(1) for part in parts]
                    told = [self.decode(code, part.given) for code, part in zip(z, parts, strict=True)]
                    self.straight.start_telling(torch.cat(z), tensor(rows.x) - torch.cat(told))

    def loss(self, batch: Examples) -> Loss:
        """-log p(x | codes) in nats, and what draws vectors to their codes; `perplexity` and `used` tell of the codes taken lately."""
        made = self.quantiser(self._encoded(batch))
        if self.training:
            self._count(made.indices)
        reconstruction = -self.likelihood(made.vectors.flatten(1), batch.given).log_prob(batch.x)
        parts = {"perplexity": self.perplexity.expand(len(batch)), "used": self.used.expand(len(batch))}
        kept = made.loss.sum(-1)
        return Loss.mean(reconstruction + kept, batch.weight, reconstruction=reconstruction, quantiser=kept, **parts)

    def prior_loss(self, batch: Examples) -> Loss:
        """-log p(codes) in nats; nothing of it reaches the encoder."""
        return Loss.mean(-self.prior.log_prob(self.indices(batch), batch.given), batch.weight)

    def validate(self, batch: Examples) -> Loss:
        """What the stage's player is measured by; outside of stages the sum for both."""
        if self.stage is None:
            return Loss.mean(self.score(batch), batch.weight)
        return self.loss(batch) if self.stage == 0 else self.prior_loss(batch)

    # ---- abilities ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def indices(self, batch: Examples) -> Tensor:
        """The codes of each example, ``(n, positions · depth)`` int64; of an image the cells in rows, of "residual" depth goes fastest."""
        return self._quantised(batch).indices.flatten(1)

    def vectors(self, indices: Tensor) -> Tensor:
        """The vectors by which codes are told to the decoder: ``(n, positions · depth) -> (n, positions · latent)``."""
        return self.quantiser.vectors(indices.unflatten(1, (self.positions, self.quantiser.depth))).flatten(1)

    def likelihood(self, z: Tensor, given: Tensor | Ragged | None = None) -> Any:
        """The density of examples given vectors of codes: ``z (n, positions · latent)``, n conditions; the density is one of n examples."""
        if self.straight is None:
            return super().likelihood(z, given)
        return self.head(applied(self.decoder, z, self.condition(given, len(z))) + self.straight.tell(z))

    def encode(self, batch: Examples) -> Tensor:
        """The vectors of the codes of each example, ``(n, positions · latent)``: what `decode` takes. The codes are `indices`."""
        return self._quantised(batch).vectors.flatten(1)

    def sample(self, n: int, given: Tensor | Ragged | None = None) -> Any:
        """``(n, *x)`` in network space: codes from the prior, examples from the likelihood.

        Args:
            n: how many.
            given: n conditions in network space, or None.
        """
        return self.likelihood(self.vectors(self.prior.sample(n, given)), given).sample()

    @torch.no_grad()
    def log_prob_bound(self, batch: Examples, samples: int = 1) -> tuple[Tensor, Tensor]:
        """A lower bound on log p(x | given), in nats: log p(x | codes(x)) + log p(codes(x)), one of the terms that sum up to p(x).

        Args:
            batch: n examples.
            samples: nothing is drawn, so the bound is the same for all.

        Returns:
            The bound and its error, which is zero, each ``(n,)``.
        """
        made = self._quantised(batch)
        told = self.likelihood(made.vectors.flatten(1), batch.given).log_prob(batch.x)
        bound = told + self.prior.log_prob(made.indices.flatten(1), batch.given)
        return bound, torch.zeros_like(bound)

    def score(self, batch: Examples) -> Tensor:
        """How improbable each example is with its codes: the negative of `log_prob_bound`, ``(n,)`` in nats."""
        return -self.log_prob_bound(batch)[0]

    # ---- parts --------------------------------------------------------------------------------------------------------

    @property
    def perplexity(self) -> Tensor:
        """The number of equally frequent codes that tell as much as those taken lately, mean over `depth`."""
        return torch.special.entr(self.frequency).sum(-1).exp().mean()

    @property
    def used(self) -> Tensor:
        """The share of codes that were taken lately."""
        return (self.frequency > _SEEN / self.quantiser.codes).to(self.frequency).mean()

    def _encoded(self, batch: Examples) -> Tensor:
        """``(n, positions, latent)`` before the quantiser."""
        raw = applied(self.encoder, self.read(batch.x), self.condition(batch.given, len(batch)))
        if self.straight is not None:
            raw = raw + self.straight.read(tensor(batch.x))
        return raw.unflatten(-1, (self.positions, self.quantiser.size))

    def _quantised(self, batch: Examples) -> Quantised:
        return self.quantiser(self._encoded(batch))

    @torch.no_grad()
    def _count(self, indices: Tensor) -> None:
        place = indices.flatten(0, -2) + self.quantiser.codes * torch.arange(self.quantiser.depth, device=indices.device)
        one = torch.ones_like(place.flatten(), dtype=self.frequency.dtype)
        count = torch.zeros_like(self.frequency).flatten().index_add(0, place.flatten(), one).view_as(self.frequency)
        self.frequency.mul_(1 - _STEP).add_(count / max(1, place.shape[0]), alpha=_STEP)


class ConditionedPrior(nn.Module):
    """p(codes | given): a `CodePrior` with an encoder of conditions of its own, since it learns alone.

    Args:
        spec: whose condition.
        codes: how many different codes.
        length: codes in a row.
        size: factor on the widths.
        options: of the `CodePrior`.
    """

    def __init__(self, spec: Spec, codes: int, length: int, *, size: float, options: dict[str, Any]) -> None:
        super().__init__()
        self.condition = networks.Condition(spec.given, size=size)
        if "given" in options:
            raise OptionError("option 'prior' of VQVAE takes no 'given': the conditions are those of the data; leave it out")
        own = parse(CodePrior, {"size": size, **options}, name="option 'prior'")
        self.density = CodePrior(codes, length, given=self.condition.outputs, **own)

    def log_prob(self, indices: Tensor, given: Tensor | Ragged | None) -> Tensor:
        """Nats of each row, ``(n,)``."""
        return self.density.log_prob(indices, self.condition(given, len(indices)))

    def sample(self, n: int, given: Tensor | Ragged | None) -> Tensor:
        """Rows of codes."""
        return self.density.sample(n, self.condition(given, n))


def _usual(kind: Kind) -> int:
    return min(_MOST, -(-len(kind) // 2)) if isinstance(kind, Vector) else _MOST


def _is_numbers(kind: Kind, likelihood: Likelihood | None, spread: LatentSpread) -> bool:
    """Whether what the decoder gives is the mean of each number of an example, and nothing else."""
    if likelihood not in (None, "gaussian") or spread == "example" or not isinstance(kind, (Vector, Image)):
        return False
    return kind.levels != 2 or likelihood is not None if isinstance(kind, Image) else ColumnFeatures(kind).plain


def _levels(codes: int, kind: Vector | Image, positions: int) -> tuple[int, ...]:
    """The levels of numbers that fall off: no more numbers than columns, where two for each code do."""
    axes = len(levels_for(codes))
    return falling_levels_for(codes, max(min(axes, 2), min(axes, -(-math.prod(kind.shape) // positions))))


def _quantiser(
    name: str,
    codes: int,
    levels: tuple[int, ...],
    latent: int | None,
    depth: int | None,
    commitment: float | None,
    balance: float | None,
    wider: float,
) -> FSQ | VectorQuantiser | ResidualQuantiser:
    """The quantiser of that name. Raises OptionError for what cannot be."""
    if name not in get_args(Quantiser):
        raise OptionError(unknown("quantiser", name, get_args(Quantiser), owner="VQVAE"))
    without = {"fsq": {"depth": depth, "commitment": commitment}, "vq": {"depth": depth, "balance": balance}}
    for option, value in without.get(name, {"balance": balance}).items():
        if value is not None:
            raise OptionError(f"option '{option}' of VQVAE has no effect with quantiser='{name}'; leave it out")
    if balance is not None and not (balance >= 0 and math.isfinite(balance)):
        raise OptionError(f"option 'balance' of VQVAE wants a finite number from 0; got {balance}")
    if name == "fsq":
        if latent not in (None, len(levels)):
            raise OptionError(f"{codes} codes of quantiser 'fsq' are told by {len(levels)} numbers; leave 'latent' out, or use 'vq'")
        return FSQ(levels, balance=0.1 if balance is None else balance, wider=wider)
    if depth is not None and depth < 1:
        raise OptionError(f"option 'depth' of VQVAE must be at least 1; got {depth}")
    size, own = _SIZE if latent is None else latent, {} if commitment is None else {"commitment": commitment}
    tables = [VectorQuantiser(codes, size, **own) for _ in range(1 if name == "vq" else depth or 2)]
    return tables[0] if name == "vq" else ResidualQuantiser(tables)
