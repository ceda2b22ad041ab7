"""The network that gives a bijection its parameters: from what it may look at, or free where there is nothing to look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gnomon.blocks.dense import MLP

REACH = 100.0
"""Networks see numbers no further than this from zero, so that what lies far away, or at infinity, gives finite parameters."""


class Conditioner(nn.Module):
    """Raw parameters from what may be looked at: an MLP, or, with nothing to look at, as many free numbers. Zero at the start.

    Args:
        inputs: size of what is looked at; 0 for nothing.
        outputs: how many parameters.
        hidden: width of each hidden layer.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    Shape: ``(n, inputs) -> (n, outputs)``.

    Example:
        >>> Conditioner(0, 2)(torch.zeros(3, 0)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: Sequence[int] = (128, 128), activation: str = "silu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(outputs)) if inputs == 0 else None
        if inputs:
            self.network = MLP(inputs, outputs, hidden=hidden, activation=activation, dropout=dropout, final=0.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """The parameters for each row."""
        if self.constant is not None:
            return self.constant.expand(len(inputs), -1)
        return self.network(inputs)
