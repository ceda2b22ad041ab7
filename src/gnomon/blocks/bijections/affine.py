"""Affine couplings and affine autoregressive steps: columns are stretched and shifted, depending on others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gnomon.blocks.bijections.autoregressive import Autoregressive, ordered
from gnomon.blocks.bijections.coupling import Coupling
from gnomon.blocks.bijections.elementwise import Elementwise

LIMIT = 3.0
"""One step stretches or shrinks by less than exp(LIMIT), about 20, whatever its parameters."""


class Affines(Elementwise):
    """``y = x exp(s) + t``, where s = c tanh(raw / c) stays between ±c, c = 3, so that no exponential overflows.

    Args:
        columns: how many columns.

    Example:
        >>> y, log_slope = Affines(1).forward_and_log_slope(torch.ones(1, 1), torch.tensor([[[2.0, 100.0]]]))
        >>> round(y.item(), 3), round(log_slope.item(), 3)
        (22.086, 3.0)
    """

    def __init__(self, columns: int) -> None:
        super().__init__(columns, 2)

    def forward_and_log_slope(self, x: Tensor, raw: Tensor, column: int | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        shift, log_scale = self._parted(raw)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale

    def inverse_and_log_slope(self, z: Tensor, raw: Tensor, column: int | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        shift, log_scale = self._parted(raw)
        return (z - shift) * (-log_scale).exp(), -log_scale

    def _parted(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        shift, stretch = raw.unbind(-1)
        return shift, LIMIT * (stretch / LIMIT).tanh()


class AffineCoupling(Coupling):
    """Stretches and shifts some columns, by how much depends on the others and on the condition. It starts as the identity.

    Args:
        size: number of columns, all on the line.
        moved: positions of those that are moved; the network looks at the others.
        given: size of the condition, 0 for none.
        frequencies: how many octaves of waves the network sees beside the columns, as `Coupling`.
        bound: half the length of the longest wave.
        hidden: width of each hidden layer of the network.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Reference: Dinh et al. 2017, https://arxiv.org/abs/1605.08803

    Example:
        >>> z, log_det = AffineCoupling(3, moved=(0, 2)).forward_and_log_det(torch.ones(5, 3))
        >>> torch.equal(z, torch.ones(5, 3))
        True
    """

    def __init__(
        self,
        size: int,
        *,
        moved: Sequence[int],
        given: int = 0,
        frequencies: int = 0,
        bound: float = 4.0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            size, moved=moved, maps=Affines(len(moved)), given=given, frequencies=frequencies, bound=bound, hidden=hidden,
            activation=activation, dropout=dropout,
        )  # fmt: skip


class AffineAutoregressive(Autoregressive):
    """Stretches and shifts every column, by how much depends on the columns before it and on the condition. Starts as the identity.

    Args:
        size: number of columns, all on the line.
        order: the columns, first to last, in which they depend on each other; None takes their own order.
        given: size of the condition, 0 for none.
        frequencies: how many octaves of waves the network sees beside the columns, as `Autoregressive`.
        bound: half the length of the longest wave.
        hidden: width of each hidden layer of the network; all the same.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Raises:
        OptionError: hidden layers of several widths, or an order that is none.

    Reference: Papamakarios et al. 2017, https://arxiv.org/abs/1705.07057

    Example:
        >>> z, log_det = AffineAutoregressive(3, hidden=(16, 16)).forward_and_log_det(torch.ones(5, 3))
        >>> z.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        size: int,
        *,
        order: Sequence[int] | None = None,
        given: int = 0,
        frequencies: int = 0,
        bound: float = 4.0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            ordered(size, order), maps=Affines(size), given=given, frequencies=frequencies, bound=bound, hidden=hidden,
            activation=activation, dropout=dropout,
        )  # fmt: skip
