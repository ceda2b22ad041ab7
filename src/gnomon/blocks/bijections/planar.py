"""Planar steps: all columns are pushed along one direction, by how much depends on the place along another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import Bijection
from gnomon.blocks.bijections.conditioner import Conditioner
from gnomon.blocks.bijections.roots import rising_root

MIN_SLOPE = 1e-3
"""No step shrinks any length by more than this."""
_UNIT = math.log(math.expm1(1.0 - MIN_SLOPE))


class Steered(Bijection):
    """What has one row of raw parameters: learned, with what a network makes of the condition added.

    Args:
        start: ``(parameters,)`` where they begin.
        given: size of the condition, 0 for none.
        hidden: width of each hidden layer of the network.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.
    """

    def __init__(
        self, start: Tensor, *, given: int = 0, hidden: Sequence[int] = (128, 128), activation: str = "silu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.raw = nn.Parameter(start)
        self.conditioner = Conditioner(given, len(start), hidden=hidden, activation=activation, dropout=dropout) if given else None

    def rows(self, n: int, given: Tensor | None) -> Tensor:
        """The raw parameters for each of `n` rows, ``(n, parameters)``."""
        if self.conditioner is None or given is None:
            return self.raw.expand(n, -1)
        return self.raw + self.conditioner(given)


class Planar(Steered):
    """``z = x + u tanh(w·x + b)``, with u kept where the map is invertible: w·u > -1. It starts as the identity.

    The component of u along w is replaced, so that w·u becomes softplus(w·u + c) - 1 + 0.001, which is zero where w·u is. The inverse
    is the root of one rising function of w·x, found in a bracket.

    Args:
        size: number of columns, all on the line.
        given: size of the condition, 0 for none; w, u and b depend on it.
        hidden: width of each hidden layer of the network that reads the condition.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Reference: Rezende & Mohamed 2015, https://arxiv.org/abs/1505.05770

    Example:
        >>> z, log_det = Planar(3).forward_and_log_det(torch.ones(5, 3))
        >>> torch.allclose(z, torch.ones(5, 3)), log_det.shape
        (True, torch.Size([5]))
    """

    def __init__(
        self, size: int, *, given: int = 0, hidden: Sequence[int] = (128, 128), activation: str = "silu", dropout: float = 0.0
    ) -> None:
        start = torch.cat([torch.randn(size) / math.sqrt(size), torch.zeros(size), torch.randn(1)])  # w, u, b
        super().__init__(start, given=given, hidden=hidden, activation=activation, dropout=dropout)
        self.size = size

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        direction, push, offset, gain = self._parts(len(x), given)
        bent = ((direction * x).sum(1) + offset).tanh()
        return torch.addcmul(x, push, bent[:, None]), torch.log1p(gain * (1 - bent * bent))

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        direction, push, offset, gain = self._parts(len(z), given)

        def along(place: Tensor) -> tuple[Tensor, Tensor]:
            bent = place.tanh()
            return torch.addcmul(place, gain, bent), 1 + gain * (1 - bent * bent)

        image = (direction * z).sum(1) + offset
        bent = rising_root(along, image, image - gain.abs() - 1e-3, image + gain.abs() + 1e-3).tanh()
        return torch.addcmul(z, push, bent[:, None], value=-1), -torch.log1p(gain * (1 - bent * bent))

    def _parts(self, n: int, given: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w ``(n, size)``, u ``(n, size)``, b ``(n,)`` and w·u ``(n,)``."""
        direction, push, offset = self.rows(n, given).split([self.size, self.size, 1], 1)
        length = direction.square().sum(1, keepdim=True).clamp_min(1e-12)
        along = (direction * push).sum(1, keepdim=True)
        gain = above_minus_one(along)
        return direction, push + direction * ((gain - along) / length), offset[:, 0], gain[:, 0]


def above_minus_one(raw: Tensor) -> Tensor:
    """A number above -1 + 0.001 that rises with `raw` and is zero where that is.

    Example:
        >>> above_minus_one(torch.tensor([-100.0, 0.0, 100.0])).round(decimals=2) + 0.0
        tensor([-1.0000,  0.0000, 99.5400])
    """
    return nn.functional.softplus(raw + _UNIT) - (1 - MIN_SLOPE)
