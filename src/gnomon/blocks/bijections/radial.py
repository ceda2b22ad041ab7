"""Radial steps: columns are drawn towards a centre or pushed away from it, the less the further they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gnomon.blocks.bijections.planar import Steered, above_minus_one

LIMIT = 3.0
"""The radius of a step lies between exp(-LIMIT) and exp(LIMIT)."""


class Radial(Steered):
    """``z = x + m (x - c) / (1 + |x - c| / a)``, with m > -1 and a > 0, where it is invertible. It starts as the identity.

    The inverse is the positive root of one quadratic equation for |x - c|.

    Args:
        size: number of columns, all on the line.
        given: size of the condition, 0 for none; c, a and m depend on it.
        hidden: width of each hidden layer of the network that reads the condition.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Reference: Rezende & Mohamed 2015, https://arxiv.org/abs/1505.05770

    Example:
        >>> z, log_det = Radial(3).forward_and_log_det(torch.ones(5, 3))
        >>> torch.allclose(z, torch.ones(5, 3)), log_det.shape
        (True, torch.Size([5]))
    """

    def __init__(
        self, size: int, *, given: int = 0, hidden: Sequence[int] = (128, 128), activation: str = "silu", dropout: float = 0.0
    ) -> None:
        super().__init__(torch.cat([torch.randn(size), torch.zeros(2)]), given=given, hidden=hidden, activation=activation, dropout=dropout)
        self.size = size

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        centre, radius, pull = self._parts(len(x), given)
        away = x - centre
        nearness = 1 / (1 + _length(away) / radius)
        return torch.addcmul(x, away, (pull * nearness)[:, None]), self._log_det(pull, nearness)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        centre, radius, pull = self._parts(len(z), given)
        away = z - centre
        image = _length(away) / radius  # with t = |x - c| / a it is t (1 + m / (1 + t))
        b = image - 1 - pull
        root = (b * b + 4 * image).sqrt()
        upper = b >= 0
        place = torch.where(upper, 0.5 * (b + root), 2 * image / torch.where(upper, 1.0, root - b))
        nearness = 1 / (1 + place)
        return centre + away / (1 + pull * nearness)[:, None], -self._log_det(pull, nearness)

    def _log_det(self, pull: Tensor, nearness: Tensor) -> Tensor:
        """The tangents are stretched by one factor, the radius by another."""
        return (self.size - 1) * torch.log1p(pull * nearness) + torch.log1p(pull * nearness * nearness)

    def _parts(self, n: int, given: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Centre ``(n, size)``, radius ``(n,)`` and m ``(n,)``."""
        centre, radius, pull = self.rows(n, given).split([self.size, 1, 1], 1)
        return centre, (LIMIT * (radius[:, 0] / LIMIT).tanh()).exp(), above_minus_one(pull[:, 0])


def _length(away: Tensor) -> Tensor:
    """Length of each row, with gradient zero where that is zero."""
    square = away.square().sum(1)
    somewhere = square > 0
    return torch.where(somewhere, torch.where(somewhere, square, 1.0).sqrt(), 0.0)
