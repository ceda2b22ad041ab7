"""Linear mixing of columns, invertible by construction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import Bijection, buffers


class LULinear(Bijection):
    """An affine map of the first `columns` columns, ``x W^T + b`` with W = L U triangular, which starts as the identity.

    Args:
        size: number of columns.
        columns: how many of them, from the first, are mixed; None for all.

    Reference: Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039

    Example:
        >>> LULinear(2).forward_and_log_det(torch.ones(1, 2))[0]
        tensor([[1., 1.]], grad_fn=<AddmmBackward0>)
    """

    unit: Tensor

    def __init__(self, size: int, *, columns: int | None = None) -> None:
        super().__init__()
        self.columns = size if columns is None else columns
        self.rest = size - self.columns
        self.factors = nn.Parameter(torch.zeros(self.columns, self.columns))  # below the diagonal L, above it U
        self.log_diagonal = nn.Parameter(torch.zeros(self.columns))
        self.bias = nn.Parameter(torch.zeros(self.columns))
        buffers(self, unit=torch.eye(self.columns))

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        lower, upper = self._triangles()
        mixed, rest = x.split([self.columns, self.rest], 1) if self.rest else (x, x)
        mixed = torch.addmm(self.bias, mixed, (lower @ upper).T)
        return torch.cat([mixed, rest], 1) if self.rest else mixed, self.log_diagonal.sum().expand(len(x))

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        lower, upper = self._triangles()
        mixed, rest = z.split([self.columns, self.rest], 1) if self.rest else (z, z)
        solved = torch.linalg.solve_triangular(lower, (mixed - self.bias).T, upper=False, unitriangular=True)
        mixed = torch.linalg.solve_triangular(upper, solved, upper=True).T
        return torch.cat([mixed, rest], 1) if self.rest else mixed, -self.log_diagonal.sum().expand(len(z))

    def _triangles(self) -> tuple[Tensor, Tensor]:
        return self.factors.tril(-1) + self.unit, self.factors.triu(1) + self.unit * self.log_diagonal.exp()
