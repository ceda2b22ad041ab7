"""From a box onto all space: where data ends, and normal noise does not."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import Bijection
from gnomon.blocks.bijections.splines import raw_size, spline_forward, spline_inverse, spline_table

_INSET = 1e-6  # how far inside a box, as a fraction of its width, its edges are taken to lie
_EDGE = 1 - 2 * _INSET
_LOG_TWO = math.log(2.0)


class Box(Bijection):
    """Takes a box onto all space, column by column: a monotonic spline on the box, then the normal quantile function.

    What is uniform on the box becomes standard normal, edges included, before anything is learned. Values beyond the box count as
    on its edge, and what leaves the inverse lies inside the box, moved in by 1e-6 of its width. A column whose ends are infinite is
    moved by its spline within [-8, 8] and left as it is outside.

    Args:
        size: number of columns.
        low, high: ``(size,)`` or one number for all: ends of the box, or minus and plus infinity.
        bins: pieces of each column's spline.

    Example:
        >>> box = Box(2, torch.zeros(2), torch.full((2,), 17.0))
        >>> z, log_det = box.forward_and_log_det(torch.tensor([[8.5, 0.0]]))
        >>> [round(value, 1) for value in z[0].tolist()]
        [0.0, -4.8]
    """

    low: Tensor
    high: Tensor

    def __init__(self, size: int, low: Tensor, high: Tensor, *, bins: int = 16) -> None:
        super().__init__()
        self.register_buffer("low", low.expand(size).clone())
        self.register_buffer("high", high.expand(size).clone())
        self.raw = nn.Parameter(torch.zeros(size, raw_size(bins)))

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From the box to all space."""
        finite, middle, half = self._frame()
        unit = (x - middle) / half
        unit, log_slope = spline_forward(torch.where(finite, unit.clamp(-_EDGE, _EDGE), unit), self._table(x), 1.0)
        z = torch.special.ndtri((0.5 * (unit + 1)).clamp(_INSET, 1 - _INSET))
        log_det = log_slope - torch.where(finite, half.log() + _LOG_TWO + _normal_log_density(z), 0.0)
        return torch.where(finite, z, unit * half), log_det.sum(1)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From all space into the box."""
        finite, middle, half = self._frame()
        unit = torch.where(finite, torch.erf(z * math.sqrt(0.5)).clamp(-_EDGE, _EDGE), z / half)
        unit, log_slope = spline_inverse(unit, self._table(z), 1.0)
        unit = torch.where(finite, unit.clamp(-_EDGE, _EDGE), unit)
        log_det = log_slope + torch.where(finite, half.log() + _LOG_TWO + _normal_log_density(z), 0.0)
        return middle + half * unit, log_det.sum(1)

    def _frame(self) -> tuple[Tensor, Tensor, Tensor]:
        finite = self.low.isfinite() & self.high.isfinite()
        low, high = torch.where(finite, self.low, -8.0), torch.where(finite, self.high, 8.0)
        return finite, 0.5 * (low + high), 0.5 * (high - low)

    def _table(self, like: Tensor) -> Tensor:
        return spline_table(self.raw, 1.0).expand(len(like), -1, -1, -1)


def _normal_log_density(z: Tensor) -> Tensor:
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
