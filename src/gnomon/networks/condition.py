"""The condition as one vector that every network takes: features of the columns and whether each is present.

What a network does with the vector is its own affair.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks import ColumnFeatures
from gnomon.data import Vector


class Condition(nn.Module):
    """Reads the condition columns: their features, zero where absent, and one presence bit per column.

    Absent is NaN, so that one model learns with and without each condition (the null condition of guidance).

    Args:
        given: the Vector of conditions, or None when a spec has none.

    Attributes:
        outputs: size of the vector, 0 without conditions; what a network takes as ``given=``.

    Shape: ``(n, columns) -> (n, outputs)``.

    Example:
        >>> condition = Condition(Vector.real(2))
        >>> condition(torch.tensor([[1.5, float("nan")]]), 1)
        tensor([[1.5000, 0.0000, 1.0000, 0.0000]])
    """

    null: Tensor

    def __init__(self, given: Vector | None) -> None:
        super().__init__()
        self.features = ColumnFeatures(given) if given is not None and len(given) else None
        self.outputs = 0 if self.features is None or given is None else self.features.outputs + len(given)
        self.register_buffer("null", torch.zeros(self.outputs), persistent=False)

    def forward(self, given: Float[Tensor, "n columns"] | None, rows: int) -> Float[Tensor, "n outputs"] | None:
        """The vector for each of `rows` examples.

        Args:
            given: ``(n, columns)`` in network space, NaN where absent, or None when all are absent.
            rows: n.

        Returns: ``(n, outputs)``; None if the spec has no conditions.
        """
        if self.features is None:
            return None
        if given is None:
            return self.null.expand(rows, -1)
        absent = given.isnan()
        features = self.features(torch.where(absent, 0.0, given))
        bits = (~absent).to(features.dtype)
        return torch.cat([features * bits.index_select(-1, self.features.owner), bits], -1)
