"""The condition as one vector that every network takes: features of columns, an image, a set or a sequence, and whether it is present.

What a network does with the vector is its own affair.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks import ColumnFeatures
from gnomon.data import ConditionKind, Image, Ragged, Sequence, Set, Vector
from gnomon.errors import DataError
from gnomon.networks.factory import make

FEATURES = 32
"""How many features an encoder makes of an image, a set or a sequence."""

_ENCODERS: dict[type, dict[str, Any]] = {
    Image: {"width": 32, "norm": "none"},  # a norm would take away how bright an image is, and that may be the condition
    Set: {"element": (64, 64), "hidden": (64,)},
    Sequence: {"width": 64},
}
"""The kinds that are read by an encoder, with its options: half the usual widths, since the condition is not the main thing."""


class Condition(nn.Module):
    """Reads the condition: features, zero where absent, and bits that say what is present.

    Columns are read one by one, each with a bit of its own, and nothing is learned. An image, a set or a sequence is read by an
    encoder, which is learned and so belongs to one player; one bit stands for the whole. Absent is NaN (of an image every pixel), so
    that one model learns with and without the condition (the null condition of guidance). An empty set is present; sets and sequences
    are absent only all at once.

    Args:
        given: the Vector, Image, Set or Sequence of conditions, or None when a spec has none.
        size: factor on the widths of the encoder.

    Attributes:
        outputs: size of the vector, 0 without conditions; what a network takes as ``given=``.
        encoder: what is learned, or None.

    Shape: ``(n, columns)``, ``(n, channels, *size)`` or a Ragged of n sets ``-> (n, outputs)``.

    Raises:
        DataError: a condition of another kind.

    Example:
        >>> condition = Condition(Vector.real(2))
        >>> condition(torch.tensor([[1.5, float("nan")]]), 1)
        tensor([[1.5000, 0.0000, 1.0000, 0.0000]])
        >>> Condition(Image(1, (8, 8)))(torch.zeros(5, 1, 8, 8), 5).shape
        torch.Size([5, 33])
    """

    null: Tensor

    def __init__(self, given: ConditionKind | None, *, size: float = 1.0) -> None:
        super().__init__()
        self.features: ColumnFeatures | None = None
        self.encoder: nn.Module | None = None
        self.outputs = 0
        if isinstance(given, Vector) and len(given):
            self.features = ColumnFeatures(given)
            self.outputs = self.features.outputs + len(given)
        elif given is not None and type(given) in _ENCODERS:
            self.encoder = make("encoder", given, outputs=FEATURES, size=size, net=_ENCODERS[type(given)])
            self.outputs = FEATURES + 1
        elif given is not None and not isinstance(given, Vector):
            names = ", ".join(["Vector", *(kind.__name__ for kind in _ENCODERS)])
            raise DataError(f"a condition is one of {names}; got {type(given).__name__}; make columns of it")
        self.register_buffer("null", torch.zeros(self.outputs), persistent=False)

    def forward(self, given: Float[Tensor, "n ..."] | Ragged | None, rows: int) -> Float[Tensor, "n outputs"] | None:
        """The vector for each of `rows` examples.

        Args:
            given: in network space, NaN where absent, or None when all are absent.
            rows: n.

        Returns: ``(n, outputs)``; None if the spec has no conditions.
        """
        if not self.outputs:
            return None
        if given is None:
            return self.null.expand(rows, -1)
        if self.encoder is not None:
            return self._encoded(self.encoder, given)
        assert self.features is not None and isinstance(given, Tensor)
        absent = given.isnan()
        features = self.features(torch.where(absent, 0.0, given))
        bits = (~absent).to(features.dtype)
        return torch.cat([features * bits.index_select(-1, self.features.owner), bits], -1)

    def _encoded(self, encoder: nn.Module, given: Tensor | Ragged) -> Tensor:
        if isinstance(given, Ragged):
            features = encoder(given)
            return torch.cat([features, torch.ones_like(features[:, :1])], -1)
        absent = given.flatten(1).isnan().any(1)
        features = encoder(torch.where(absent.view(-1, *[1] * (given.ndim - 1)), 0.0, given))
        bit = (~absent).to(features.dtype).unsqueeze(1)
        return torch.cat([features * bit, bit], -1)
