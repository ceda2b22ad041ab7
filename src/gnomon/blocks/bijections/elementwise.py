"""Monotonic maps of single columns by raw parameters: what couplings and autoregressive steps move columns with.

Which network gives the parameters, and what it may look at, is left to `coupling` and `autoregressive`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import buffers
from gnomon.blocks.bijections.splines import identity_start, spline_forward, spline_inverse, spline_table, wrapped


class Elementwise(nn.Module):
    """One monotonic map for each of some columns; raw parameters of zero give the identity.

    Both methods take ``(n, columns)`` and raw parameters ``(n, columns, parameters)``, or, of one `column`, ``(n,)`` and
    ``(n, parameters)``; they return the image and the log of its derivative, each of the shape of the first.

    Args:
        columns: how many columns.
        parameters: how many raw numbers each takes.
    """

    def __init__(self, columns: int, parameters: int) -> None:
        super().__init__()
        self.columns = columns
        self.parameters_per_column = parameters

    def forward_and_log_slope(self, x: Tensor, raw: Tensor, column: int | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        raise NotImplementedError(f"{type(self).__name__} must define forward_and_log_slope")

    def inverse_and_log_slope(self, z: Tensor, raw: Tensor, column: int | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        raise NotImplementedError(f"{type(self).__name__} must define inverse_and_log_slope")


class Splines(Elementwise):
    """Rational-quadratic splines: on the line inside ``[-bound, bound]``, on the circle periodic and then turned.

    Args:
        circular: of each column, whether it is on the circle.
        bins: pieces of each spline.
        bound: half the width of the interval on which columns on the line are moved.

    Reference: Durkan et al. 2019, https://arxiv.org/abs/1906.04032; circles: Rezende et al. 2020, https://arxiv.org/abs/2002.02428

    Example:
        >>> maps = Splines([False, True])
        >>> y, log_slope = maps.forward_and_log_slope(torch.ones(5, 2), torch.zeros(5, 2, maps.parameters_per_column))
        >>> torch.allclose(y, torch.ones(5, 2))
        True
    """

    start: Tensor
    turns: Tensor
    halves: Tensor

    def __init__(self, circular: Sequence[bool], *, bins: int = 8, bound: float = 4.0) -> None:
        some = any(circular)
        starts = {turn: identity_start(bins, bound, circular=turn, turned=some) for turn in set(circular)}
        start = torch.stack([starts[turn] for turn in circular])
        super().__init__(*start.shape)
        self.any, self.all = some, all(circular)
        self.bound = bound
        turns = torch.tensor(list(circular))
        buffers(self, start=start, turns=turns, halves=torch.where(turns, math.pi, bound))

    def forward_and_log_slope(self, x: Tensor, raw: Tensor, column: int | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        table, bound, turn = self._tables(raw, column)
        y, log_slope = spline_forward(x, table, bound)
        return (y if turn is None else self._turned(y, turn, column)), log_slope

    def inverse_and_log_slope(self, z: Tensor, raw: Tensor, column: int | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        table, bound, turn = self._tables(raw, column)
        return spline_inverse(z if turn is None else self._turned(z, -turn, column), table, bound)

    def _tables(self, raw: Tensor, column: int | None) -> tuple[Tensor, float | Tensor, Tensor | None]:
        """Table and bound of the splines, and by how much circles are turned."""
        raw = raw + (self.start if column is None else self.start[column])
        if not self.any:
            return spline_table(raw, self.bound), self.bound, None
        turn, raw = raw[..., 0], raw[..., 1:]
        if self.all:
            return spline_table(raw, math.pi, circular=True), math.pi, turn
        halves, turns = (self.halves, self.turns) if column is None else (self.halves[column], self.turns[column])
        return spline_table(raw, halves, circular=turns), halves, turn

    def _turned(self, value: Tensor, turn: Tensor, column: int | None) -> Tensor:
        turned = wrapped(value + turn)
        return turned if self.all else torch.where(self.turns if column is None else self.turns[column], turned, value)
