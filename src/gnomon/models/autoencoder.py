"""Autoencoder: the shortest honest summary of an example from which it can be told again.

No density over codes: for that see `VAE`; for the linear case in closed form, `PCA`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from gnomon.blocks.columns import Spread
from gnomon.data import Examples, Image, Spec, Vector
from gnomon.models.base import Loss, applied, tensor, wants
from gnomon.models.latent import LatentModel, numbers


class Autoencoder(LatentModel):
    """An encoder to a short code and a decoder back.

    Minimises -log p(x | code(x)) in nats per example. By default numbers keep a spread of one: half the squared error in
    network space, beside 1 - cos for angles and the cross-entropy for categories. A learned spread weighs them by how well they
    can be told, but rewards a code that copies one column exactly over one that tells them all.

    Args:
        spec: x a Vector or an Image; given, if any, is shown to both networks.
        latent: length of the code; None takes half of the numbers of x, at most 16.
        spread: "fixed" (one), or where it is learned: "shared", "column" (per column or pixel), "example" (by the decoder).
        encoder: name of a network or a module ``(x, given) -> (n, latent)``; None takes the default of the kind of data.
        decoder: name of a network or a module ``(z, given) -> raw outputs``; None likewise.
        net: options of the networks; each takes those it knows.
        size: factor on the networks' widths.

    Raises:
        DataError: x is neither a Vector nor an Image.
        OptionError: latent below 1, or an option that the networks do not know.

    Reference: Hinton & Salakhutdinov 2006, https://doi.org/10.1126/science.1127647

    Example:
        >>> import torch
        >>> from gnomon.data import Examples, Spec, Vector
        >>> model = Autoencoder(Spec(Vector.real(6)), latent=2)
        >>> batch = Examples(torch.randn(5, 6))
        >>> model.encode(batch).shape, model.reconstruct(batch).shape
        (torch.Size([5, 2]), torch.Size([5, 6]))
    """

    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 4000}

    def __init__(
        self,
        spec: Spec,
        *,
        latent: int | None = None,
        spread: Spread = "fixed",
        encoder: str | nn.Module | None = None,
        decoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        kind = wants(spec, (Vector, Image), by="Autoencoder")
        latent = min(16, max(1, numbers(kind) // 2)) if latent is None else latent
        super().__init__(spec, latent=latent, spread=spread, encoder=encoder, decoder=decoder, net=net, size=size)

    def loss(self, batch: Examples) -> Loss:
        """-log p(x | code(x)) in nats."""
        return Loss.mean(self.score(batch), batch.weight)

    def encode(self, batch: Examples) -> Tensor:
        """The code of each example, ``(n, latent)``."""
        return applied(self.encoder, batch.x, self.condition(batch.given, len(batch)))

    def score(self, batch: Examples) -> Tensor:
        """How badly each example is told by its code, -log p(x | code(x)), ``(n,)`` in nats."""
        return -self.likelihood(self.encode(batch), batch.given).log_prob(tensor(batch.x))
