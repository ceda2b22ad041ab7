"""What every model with a latent code shares: an encoder, a decoder, and the likelihood of an example given its code.

How a code is drawn and what is minimised is said by the models built on it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal, Protocol, get_args, overload

import torch
from torch import Tensor, nn

from gnomon import networks
from gnomon.blocks import ColumnHead
from gnomon.blocks.columns import Spread
from gnomon.blocks.optimal_spread import OptimalHead
from gnomon.blocks.pixel_heads import BernoulliHead, CategoricalHead, ContinuousBernoulliHead, DiscretisedLogisticHead
from gnomon.blocks.set_head import SetHead
from gnomon.blocks.token_head import TokenHead
from gnomon.data import Categorical, Examples, Image, Integer, Kind, Ragged, Set, Spec, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.models.base import Model, applied, wants
from gnomon.options import unknown

LatentSpread = Literal[Spread, "optimal"]
Likelihood = Literal["gaussian", "bernoulli", "categorical", "continuous_bernoulli", "discretised_logistic", "recurrent", "causal"]
LATENT_KINDS = (Vector, Image, Set, Tokens)
"""What models with a latent code take as x."""
MOST_CLASSES = 1024
"""Columns of whole numbers may have so many values that each is given a probability of its own."""

_SYMBOL_BY_SYMBOL = ("recurrent", "causal")
_CONTEXT = 128  # numbers by which a text is told to the network that writes it
_PARTS = 16  # parts of the mixture from which elements of sets come

_PIXELS: dict[str, type[nn.Module]] = {
    "bernoulli": BernoulliHead,
    "categorical": CategoricalHead,
    "continuous_bernoulli": ContinuousBernoulliHead,
    "discretised_logistic": DiscretisedLogisticHead,
}


class Density(Protocol):
    """What a head makes of a network's raw outputs: the likelihood of n examples, each given its code."""

    def log_prob(self, x: Any, /) -> Tensor:
        """``(n,)`` nats, in network space."""

    def mean(self) -> Any:
        """The mean example of each, in network space."""

    def sample(self) -> Any:
        """One draw for each, with torch's global generator."""


def head_for(
    kind: Kind,
    likelihood: Likelihood | None = None,
    *,
    spread: LatentSpread = "example",
    net: dict[str, Any] | None = None,
    size: float = 1.0,
) -> Any:
    """The module that turns a decoder's raw outputs into the likelihood of examples of a kind.

    Args:
        kind: what is told: a Vector, an Image, a Set or Tokens; of a Vector whose whole numbers are classes, the one that `read_as` gives.
        likelihood: None takes "bernoulli" for images of two levels, else "gaussian" (of angles von Mises, of classes softmax).
            For pixels with levels "categorical" (a softmax over the levels), "continuous_bernoulli" (an exponential density between the
            darkest and the brightest) and "discretised_logistic". "categorical" is also for columns of whole numbers. For texts, the
            network by which one symbol follows the other: "recurrent" (None) or "causal" (attention). Sets have a mixture (`SetHead`).
        spread: of numbers that are Gaussian: from the network ("example"), one learned for each column or pixel ("column") or for all
            ("shared"), one ("fixed"), or the root mean square of what the decoder misses ("optimal").
        net: options of the network of texts.
        size: factor on its widths, and on the number of parts in the mixture of sets.

    Returns:
        A module with ``outputs``, the raw numbers (channels) that it wants, and ``forward(raw) -> Density``.

    Raises:
        OptionError: an unknown name, or a likelihood that such data cannot have.
    """
    if likelihood is not None and likelihood not in get_args(Likelihood):
        raise OptionError(unknown("likelihood", likelihood, get_args(Likelihood)))
    if spread != "optimal" and spread not in get_args(Spread):
        raise OptionError(unknown("spread", spread, (*get_args(Spread), "optimal")))
    if isinstance(kind, Tokens):
        return _token_head(kind, likelihood or "recurrent", net or {}, size)
    if isinstance(kind, Set):
        return _set_head(kind, likelihood, spread, size)
    if likelihood is None:
        likelihood = "bernoulli" if isinstance(kind, Image) and kind.levels == 2 else "gaussian"
    if isinstance(kind, Image) and likelihood in _PIXELS:
        return _PIXELS[likelihood](kind)
    assert isinstance(kind, (Vector, Image))
    if likelihood not in ("gaussian", "categorical"):
        proper = "texts" if likelihood in _SYMBOL_BY_SYMBOL else "images"
        got = "an Image" if isinstance(kind, Image) else "a Vector"
        raise OptionError(f"likelihood '{likelihood}' is for {proper}; x is {got}: use 'gaussian', or leave it out")
    if likelihood == "categorical" and isinstance(kind, Vector) and not any(isinstance(c.support, Categorical) for c in kind.columns):
        raise OptionError("likelihood 'categorical' is for columns that are classes, and x has none; use 'gaussian', or leave it out")
    return OptimalHead(kind) if spread == "optimal" else ColumnHead(kind, spread=spread)


def _token_head(kind: Tokens, likelihood: str, net: dict[str, Any], size: float) -> TokenHead:
    if likelihood not in _SYMBOL_BY_SYMBOL:
        raise OptionError(f"likelihood '{likelihood}' is not for texts; use {' or '.join(map(repr, _SYMBOL_BY_SYMBOL))}, or leave it out")
    symbols, context = len(kind.vocabulary), max(1, round(_CONTEXT * size))
    mapper = networks.make("mapper", kind, likelihood, inputs=symbols + 1, outputs=symbols + 1, given=context, size=size, net=net)
    return TokenHead(mapper, symbols=symbols, context=context, longest=kind.longest)


def _set_head(kind: Set, likelihood: str | None, spread: LatentSpread, size: float) -> SetHead:
    if likelihood not in (None, "gaussian"):
        raise OptionError(f"likelihood '{likelihood}' is not for sets; use 'gaussian', or leave it out")
    if spread == "optimal":
        raise OptionError("spread 'optimal' is for columns and pixels; x is a Set: use 'example'")
    return SetHead(kind, components=max(2, round(_PARTS * size)), spread=spread)


def read_as(kind: Kind, likelihood: Likelihood | None) -> Kind:
    """The kind that networks read and write: of a Vector with likelihood "categorical", its whole numbers as classes 0, 1, 2, …

    Raises:
        OptionError: no column of whole numbers, one without two bounds, or one with more than `MOST_CLASSES` values.
    """
    if likelihood != "categorical" or not isinstance(kind, Vector):
        return kind
    if not any(isinstance(column.support, Integer) for column in kind.columns):
        raise OptionError(
            "likelihood 'categorical' is for columns of whole numbers, and x has none; leave it out (categories are classes without it)"
        )
    columns = []
    for column in kind.columns:
        support = column.support
        if isinstance(support, Integer):
            if support.low is None or support.high is None or support.high - support.low >= MOST_CLASSES:
                raise OptionError(
                    f"likelihood 'categorical' wants column '{column.name}' within two bounds, at most {MOST_CLASSES} values apart; "
                    f"declare columns={{'{column.name}': 'integer(low,high)'}}"
                )
            column = replace(column, support=Categorical(tuple(range(support.low, support.high + 1))))
        columns.append(column)
    return replace(kind, columns=tuple(columns))


class LatentModel(Model):
    """An encoder to, and a decoder from, a short code.

    Args:
        spec: roles of an example; x is a Vector, an Image, a Set or Tokens.
        latent: length of the code.
        codes: how many vectors of that length the encoder gives per example.
        spread: where the spread of the likelihood comes from (see `head_for`).
        likelihood: what examples are given their code (see `head_for`).
        extra: how many numbers the encoder gives beside the codes.
        encoder: name of a network or a module; None takes the default of the kind of data.
        decoder: likewise.
        net: options of the networks; each takes those it knows.
        size: factor on the networks' widths.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        latent: int,
        codes: int = 1,
        extra: int = 0,
        spread: LatentSpread,
        likelihood: Likelihood | None = None,
        encoder: str | nn.Module | None,
        decoder: str | nn.Module | None,
        net: dict[str, Any] | None,
        size: float,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, LATENT_KINDS, by=type(self).__name__)
        if latent < 1:
            raise OptionError(f"option 'latent' of {type(self).__name__} must be at least 1; got {latent}")
        self.latent = latent
        self.condition = networks.Condition(spec.given, size=size)
        seen = read_as(kind, likelihood)
        self.whole = seen is not kind and seen != kind
        named: dict[str, str | nn.Module | None] = {"encoder": encoder, "decoder": decoder}
        if isinstance(kind, Tokens):
            named["mapper"] = likelihood if likelihood in _SYMBOL_BY_SYMBOL else None
        own = networks.shared_out(net or {}, seen, named)
        self.head = head_for(seen, likelihood, spread=spread, net=own.get("mapper"), size=size)
        if isinstance(self.head, OptimalHead):
            self.separable = False  # type: ignore[misc]  # the spread is that of a batch
        wiring: dict[str, Any] = {"given": self.condition.outputs, "size": size}
        self.encoder = networks.make("encoder", seen, encoder, outputs=codes * latent + extra, net=own["encoder"], **wiring)
        self.decoder = networks.make("decoder", seen, decoder, inputs=latent, outputs=self.head.outputs, net=own["decoder"], **wiring)

    def refuse_void(self, spread: LatentSpread) -> None:
        """Refuse a spread that somebody asked for where the likelihood has none: of texts, classes and levels of pixels.

        Raises:
            OptionError: so it is.
        """
        columns = self.head.element if isinstance(self.head, SetHead) else self.head
        if not (isinstance(columns, ColumnHead) and (columns.layout.reals or columns.layout.angles)):
            told = "texts" if isinstance(self.spec.x, Tokens) else "pixels" if isinstance(self.spec.x, Image) else "columns"
            raise OptionError(
                f"option 'spread' of {type(self).__name__} has no effect: the likelihood of these {told} has none; leave '{spread}' out"
            )

    def begin(self, examples: Examples) -> None:
        """Show the likelihood the data: of sets, how many elements they have."""
        if callable(getattr(self.head, "measure", None)):
            self.head.measure(examples.x)

    def enclose(self, low: Tensor, high: Tensor) -> None:
        """Tell the likelihood where pixels end."""
        if callable(getattr(self.head, "enclose", None)):
            self.head.enclose(low, high)

    def read(self, x: Any) -> Any:
        """What the encoder sees of examples: of pixels with a probability for each level the middle of the level's cell."""
        read = getattr(self.head, "read", None)
        return x if read is None else read(x)

    def likelihood(self, z: Tensor, given: Tensor | Ragged | None = None) -> Any:
        """The density of examples given codes, a `Density`.

        Shape: ``z (n, latent)``, n conditions; the density is one of n examples.
        """
        return self.head(applied(self.decoder, z, self.condition(given, len(z))))

    def encode(self, batch: Examples) -> Tensor:
        """The code of each example, ``(n, latent)``; the same whenever asked."""
        raise NotImplementedError

    def decode(self, z: Tensor, given: Tensor | Ragged | None = None) -> Tensor:
        """The mean example of each code: ``(n, latent) -> (n, *x)`` in network space."""
        return self.likelihood(z, given).mean()

    def reconstruct(self, batch: Examples) -> Tensor:
        """Each example as its code tells it, ``(n, *x)`` in network space."""
        return self.decode(self.encode(batch), batch.given)


def numbers(kind: Vector | Image | Set | Tokens) -> int:
    """How many numbers one example has; of sets and texts, whose length varies, as many as tell them well (64)."""
    return math.prod(kind.shape) if isinstance(kind, (Vector, Image)) else 64


@overload
def repeated(values: Tensor, times: int) -> Tensor: ...
@overload
def repeated(values: Tensor | Ragged, times: int) -> Tensor | Ragged: ...


def repeated(values: Tensor | Ragged, times: int) -> Tensor | Ragged:
    """``(n, *shape) -> (times * n, *shape)``: the whole laid `times` times end to end."""
    return Ragged.cat([values] * times) if isinstance(values, Ragged) else torch.cat([values] * times)
