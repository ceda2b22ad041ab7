"""Autoregressive splines: each column is moved by a spline whose shape depends on the columns before it.

Forward is one pass of a masked network; inverse goes column by column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gnomon.blocks.bijections.bijection import Bijection
from gnomon.blocks.bijections.masked import AutoregressiveConditioner
from gnomon.blocks.bijections.splines import identity_start, spline_forward, spline_inverse, spline_table, wrapped
from gnomon.errors import OptionError


class AutoregressiveSpline(Bijection):
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
        frequencies: how many octaves of waves (sines and cosines, the longest 2 `bound` long) of the columns on the line the network
            sees beside the columns themselves; they let it turn sharply.
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

    order: Tensor
    places: Tensor
    start: Tensor
    turns: Tensor
    halves: Tensor
    waves: Tensor

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
        super().__init__()
        laid = list(range(size)) if order is None else list(order)
        if sorted(laid) != list(range(size)):
            raise OptionError(f"order names each of {size} columns once; got {laid}")
        self.reordered = laid != sorted(laid)
        self.round = [column in circular for column in laid]
        self.any = any(self.round)
        turns = torch.tensor(self.round)
        starts = torch.stack([identity_start(bins, bound, circular=one, turned=self.any) for one in self.round])
        for name, value in {
            "order": torch.tensor(laid), "places": torch.tensor([laid.index(i) for i in range(size)]), "start": starts, "turns": turns,
            "halves": torch.where(turns, math.pi, bound), "waves": 2.0 ** torch.arange(frequencies) * (math.pi / bound),
        }.items():  # fmt: skip
            self.register_buffer(name, value, persistent=False)
        self.bound = bound
        self.conditioner = AutoregressiveConditioner(
            size, starts.shape[1], features=[2 if one else 1 + 2 * frequencies for one in self.round], given=given, hidden=hidden,
            activation=activation, dropout=dropout,
        )  # fmt: skip

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise, all columns at once."""
        if self.reordered:
            x = x.index_select(1, self.order)
        seen = torch.cat([self._features(x[:, i], i) for i in range(x.shape[1])], 1) if self.any or len(self.waves) else x
        raw = self.conditioner(seen, given) + self.start
        if self.any:
            z, log_slope = spline_forward(x, spline_table(raw[..., 1:], self.halves, circular=self.turns), self.halves)
            z = torch.where(self.turns, wrapped(z + raw[..., 0]), z)
        else:
            z, log_slope = spline_forward(x, spline_table(raw, self.bound), self.bound)
        return z.index_select(1, self.places) if self.reordered else z, log_slope.sum(1)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data, column by column."""
        if self.reordered:
            z = z.index_select(1, self.order)
        steps = self.conditioner.steps(len(z), given)
        columns, total = [], z.new_zeros(len(z))
        for column in range(z.shape[1]):
            x, log_slope = self._undone(z[:, column], steps.parameters() + self.start[column], column)
            steps.tell(self._features(x, column))
            columns.append(x)
            total = total + log_slope
        x = torch.stack(columns, 1)
        return x.index_select(1, self.places) if self.reordered else x, total

    def _undone(self, z: Tensor, raw: Tensor, column: int) -> tuple[Tensor, Tensor]:
        """One column from noise to data."""
        if not self.any:
            return spline_inverse(z, spline_table(raw, self.bound), self.bound)
        if self.round[column]:
            z = wrapped(z - raw[:, 0])
        half = self.halves[column]
        return spline_inverse(z, spline_table(raw[:, 1:], half, circular=self.turns[column]), half)

    def _features(self, x: Tensor, column: int) -> Tensor:
        """What the network sees of one column ``(n,)``: ``(n, its features)``."""
        if self.round[column]:
            return torch.stack([x.sin(), x.cos()], 1)
        if not len(self.waves):
            return x[:, None]
        waves = x[:, None] * self.waves
        return torch.cat([x[:, None], waves.sin(), waves.cos()], 1)


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
