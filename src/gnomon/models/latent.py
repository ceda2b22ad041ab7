"""What every model with a latent code shares: an encoder, a decoder, and the likelihood of an example given its code.

How a code is drawn and what is minimised is said by the models built on it.
"""

from __future__ import annotations

import math
from typing import Any, overload

import torch
from torch import Tensor, nn

from gnomon import networks
from gnomon.blocks import ColumnDensity, ColumnHead
from gnomon.blocks.columns import Spread
from gnomon.data import Examples, Image, Ragged, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.base import Model, applied, wants


class LatentModel(Model):
    """An encoder to, and a decoder from, a short code.

    Args:
        spec: roles of an example; x is a Vector or an Image.
        latent: length of the code.
        codes: how many vectors of that length the encoder gives per example.
        spread: where the spread of the likelihood comes from (see `blocks.ColumnHead`).
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
        spread: Spread,
        encoder: str | nn.Module | None,
        decoder: str | nn.Module | None,
        net: dict[str, Any] | None,
        size: float,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, (Vector, Image), by=type(self).__name__)
        if latent < 1:
            raise OptionError(f"option 'latent' of {type(self).__name__} must be at least 1; got {latent}")
        self.latent = latent
        self.condition = networks.Condition(spec.given, size=size)
        self.head = ColumnHead(kind, spread=spread)
        wiring: dict[str, Any] = {"given": self.condition.outputs, "size": size}
        own = networks.shared_out(net or {}, kind, {"encoder": encoder, "decoder": decoder})
        self.encoder = networks.make("encoder", kind, encoder, outputs=codes * latent, net=own["encoder"], **wiring)
        self.decoder = networks.make("decoder", kind, decoder, inputs=latent, outputs=self.head.outputs, net=own["decoder"], **wiring)

    def likelihood(self, z: Tensor, given: Tensor | Ragged | None = None) -> ColumnDensity:
        """The density of examples given codes.

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


def numbers(kind: Vector | Image) -> int:
    """How many numbers one example has."""
    return math.prod(kind.shape)


@overload
def repeated(values: Tensor, times: int) -> Tensor: ...
@overload
def repeated(values: Tensor | Ragged, times: int) -> Tensor | Ragged: ...


def repeated(values: Tensor | Ragged, times: int) -> Tensor | Ragged:
    """``(n, *shape) -> (times * n, *shape)``: the whole laid `times` times end to end."""
    return Ragged.cat([values] * times) if isinstance(values, Ragged) else torch.cat([values] * times)
