"""Autoregressive steps: each column is moved by a monotonic map whose parameters depend on the columns before it.

Forward is one pass of a masked network; inverse goes column by column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gnomon.blocks.bijections.bijection import Bijection, buffers
from gnomon.blocks.bijections.conditioner import REACH
from gnomon.blocks.bijections.elementwise import Elementwise, Splines
from gnomon.blocks.bijections.masked import AutoregressiveConditioner
from gnomon.errors import OptionError


class Autoregressive(Bijection):
    """Moves every column by a monotonic map whose parameters depend on the columns before it, and on the condition.

    The network sees numbers no further than 100 from zero, and angles as sine and cosine.

    Args:
        order: the columns, first to last, in which they depend on each other.
        maps: one monotonic map for each column, in that order.
        circular: positions of columns on the circle.
        given: size of the condition, 0 for none.
        frequencies: how many octaves of waves (sines and cosines, the longest 2 `bound` long) of the columns on the line the network
            sees beside the columns themselves; they let it turn sharply.
        bound: half the length of the longest wave.
        hidden: width of each hidden layer of the network; all the same.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Raises:
        OptionError: hidden layers of several widths.

    Reference: Papamakarios et al. 2017, https://arxiv.org/abs/1705.07057
    """

    order: Tensor
    places: Tensor
    waves: Tensor

    def __init__(
        self,
        order: Sequence[int],
        *,
        maps: Elementwise,
        circular: Sequence[int] = (),
        given: int = 0,
        frequencies: int = 0,
        bound: float = 4.0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        laid = list(order)
        self.reordered = laid != sorted(laid)
        self.round = [column in circular for column in laid]
        self.any = any(self.round)
        buffers(self, order=torch.tensor(laid), places=torch.tensor(laid).argsort())
        buffers(self, waves=2.0 ** torch.arange(frequencies) * (math.pi / bound))
        self.maps = maps
        self.conditioner = AutoregressiveConditioner(
            len(laid), maps.parameters_per_column, features=[2 if one else 1 + 2 * frequencies for one in self.round], given=given,
            hidden=hidden, activation=activation, dropout=dropout,
        )  # fmt: skip

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise, all columns at once."""
        z, log_slopes = self.forward_and_log_slopes(x, given)
        return z, log_slopes.sum(1)

    def forward_and_log_slopes(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise, and each column's part of the log-determinant, ``(n, size)``."""
        if self.reordered:
            x = x.index_select(1, self.order)
        plain = not self.any and not len(self.waves)
        seen = x.clamp(-REACH, REACH) if plain else torch.cat([self._features(x[:, i], i) for i in range(x.shape[1])], 1)
        z, log_slopes = self.maps.forward_and_log_slope(x, self.conditioner(seen, given))
        return (z.index_select(1, self.places), log_slopes.index_select(1, self.places)) if self.reordered else (z, log_slopes)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data, column by column."""
        if self.reordered:
            z = z.index_select(1, self.order)
        steps = self.conditioner.steps(len(z), given)
        columns, total = [], z.new_zeros(len(z))
        for column in range(z.shape[1]):
            x, log_slope = self.maps.inverse_and_log_slope(z[:, column], steps.parameters(), column)
            steps.tell(self._features(x, column))
            columns.append(x)
            total = total + log_slope
        x = torch.stack(columns, 1)
        return x.index_select(1, self.places) if self.reordered else x, total

    def _features(self, x: Tensor, column: int) -> Tensor:
        """What the network sees of one column ``(n,)``: ``(n, its features)``."""
        if self.round[column]:
            return torch.stack([x.sin(), x.cos()], 1)
        x = x.clamp(-REACH, REACH)
        if not len(self.waves):
            return x[:, None]
        waves = x[:, None] * self.waves
        return torch.cat([x[:, None], waves.sin(), waves.cos()], 1)


class AutoregressiveSpline(Autoregressive):
    """Moves every column by a rational-quadratic spline whose shape depends on the columns before it, and on the condition.

    Columns on the line are moved inside ``[-bound, bound]`` and left as they are outside. Columns on the circle, angles in [-π, π),
    are moved by a periodic spline and then turned; the network sees their sine and cosine. It starts as the identity.

    Args:
        size: number of columns.
        order: the columns, first to last, in which they depend on each other; None takes their own order.
        circular: positions of those on the circle.
        given: size of the condition, 0 for none.
        bins: pieces of each spline.
        bound: half the width of the interval on which columns on the line are moved.
        frequencies: how many octaves of waves the network sees beside the columns on the line, as `Autoregressive`.
        hidden: width of each hidden layer of the network; all the same.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Raises:
        OptionError: hidden layers of several widths, or an order that is none.

    Reference: Durkan et al. 2019, https://arxiv.org/abs/1906.04032; masked autoregressive flow, Papamakarios et al. 2017,
    https://arxiv.org/abs/1705.07057

    Example:
        >>> step = AutoregressiveSpline(3, hidden=(16, 16))
        >>> z, log_det = step.forward_and_log_det(torch.ones(5, 3))
        >>> z.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        size: int,
        *,
        order: Sequence[int] | None = None,
        circular: Sequence[int] = (),
        given: int = 0,
        bins: int = 8,
        bound: float = 4.0,
        frequencies: int = 0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        laid = ordered(size, order)
        super().__init__(
            laid, maps=Splines([i in circular for i in laid], bins=bins, bound=bound), circular=circular, given=given,
            frequencies=frequencies, bound=bound, hidden=hidden, activation=activation, dropout=dropout,
        )  # fmt: skip


def ordered(size: int, order: Sequence[int] | None) -> list[int]:
    """An order of `size` columns, their own where None is given. Raises OptionError if it does not name each of them once."""
    laid = list(range(size)) if order is None else list(order)
    if sorted(laid) != list(range(size)):
        raise OptionError(f"order names each of {size} columns once; got {laid}")
    return laid


def rotations(size: int, count: int) -> list[tuple[int, ...]]:
    """Orders of the columns for `count` steps: as they are, reversed, then drawn at random, each followed by its reverse.

    Example:
        >>> rotations(3, 2)
        [(0, 1, 2), (2, 1, 0)]
    """
    made: list[tuple[int, ...]] = []
    for pair in range(math.ceil(count / 2)):
        drawn = tuple(torch.randperm(size, generator=torch.Generator().manual_seed(pair)).tolist()) if pair else tuple(range(size))
        made += [drawn, drawn[::-1]]
    return made[:count]
