"""Stretching and shifting of each column, begun where the first batch seen in training has mean zero and standard deviation one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import Bijection

_LEAST = 1e-6


class ActNorm(Bijection):
    """``z = (x - mean) / sd * exp(log_scale) + shift`` with the mean and standard deviation of the first batch seen in training.

    They are buffers, saved with the module, beside one that says whether they were set; shift and log_scale are learned, from zero.
    Until they are set, outside training, it is the identity. Nothing waits for the device. A batch of one row sets nothing, and a
    column that is constant in the first batch keeps its scale. A flow's `begin` sets them from the
    training rows, alike in several processes; without it each process takes its own part of the first batch.

    In training mode the buffers are written in place, as batch normalisation writes its own: `torch.func.jvp` and `torch.func.grad`
    over a module whose buffers are no arguments refuse that; call `eval()` for them.

    Args:
        size: number of columns.
        columns: how many of them, from the first, are moved; None for all.

    Reference: Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039

    Example:
        >>> z, _ = ActNorm(1).forward_and_log_det(torch.tensor([[3.0], [5.0]]))
        >>> z.flatten().tolist()
        [-1.0, 1.0]
    """

    mean: Tensor
    deviation: Tensor
    ready: Tensor

    def __init__(self, size: int, *, columns: int | None = None) -> None:
        super().__init__()
        self.columns = size if columns is None else columns
        self.rest = size - self.columns
        self.log_scale = nn.Parameter(torch.zeros(self.columns))
        self.shift = nn.Parameter(torch.zeros(self.columns))
        self.register_buffer("mean", torch.zeros(self.columns))
        self.register_buffer("deviation", torch.ones(self.columns))
        self.register_buffer("ready", torch.tensor(False))

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        moved, rest = x.split([self.columns, self.rest], 1) if self.rest else (x, x)
        mean, deviation = self._statistics(moved)
        moved = (moved - mean) * (self.log_scale.exp() / deviation) + self.shift
        log_det = (self.log_scale - deviation.log()).sum().expand(len(x))
        return torch.cat([moved, rest], 1) if self.rest else moved, log_det

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        moved, rest = z.split([self.columns, self.rest], 1) if self.rest else (z, z)
        moved = (moved - self.shift) * ((-self.log_scale).exp() * self.deviation) + self.mean
        log_det = (self.deviation.log() - self.log_scale).sum().expand(len(z))
        return torch.cat([moved, rest], 1) if self.rest else moved, log_det

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation that act; in training those of the first batch are kept."""
        if not self.training or len(x) < 2:
            return self.mean, self.deviation
        seen = x.detach()
        deviation = seen.var(0, correction=0).sqrt()
        deviation = torch.where(deviation > _LEAST, deviation, 1.0)
        mean, deviation = torch.where(self.ready, self.mean, seen.mean(0)), torch.where(self.ready, self.deviation, deviation)
        with torch.no_grad():
            self.mean.copy_(mean)
            self.deviation.copy_(deviation)
            self.ready.fill_(True)
        return mean, deviation
