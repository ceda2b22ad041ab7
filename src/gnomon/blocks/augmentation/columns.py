"""Random changes of rows of columns, made in training only: noise on numbers, and values borrowed from other rows.

Which columns are numbers is read from their supports; how networks read a column is not decided here.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gnomon.blocks.augmentation.change import RandomChange, within
from gnomon.data import Categorical, Periodic, Vector


def numeric(vector: Vector) -> Tensor:
    """``(columns,)`` bool: which columns are numbers on a line in network space: all but angles and categories.

    Example:
        >>> from gnomon.data import Column
        >>> numeric(Vector((Column("energy"), Column("phi", Periodic(0, 360)))))
        tensor([ True, False])
    """
    return torch.tensor([not isinstance(column.support, (Categorical, Periodic)) for column in vector.columns], dtype=torch.bool)


class ColumnNoise(RandomChange):
    """Adds independent Gaussian noise to the numbers of each row; angles and categories stay as they are.

    Whole numbers are numbers: in network space they are real, and their noise is in units of their spread as well.

    Args:
        vector: the columns.
        spread: standard deviation of the noise, in units of each column's spread over the training rows.

    Shape: ``(n, columns) -> (n, columns)``.

    Example:
        >>> ColumnNoise(Vector.real(3))(torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(self, vector: Vector, *, spread: float = 0.1) -> None:
        super().__init__(within(spread, "the spread of the noise", math.inf))
        self.moves: Tensor
        self.register_buffer("moves", numeric(vector), persistent=False)

    def change(self, x: Float[Tensor, "n columns"]) -> Float[Tensor, "n columns"]:
        """The rows with noise."""
        return x + self.strength * torch.randn_like(x) * self.moves.to(x.dtype)


class ColumnSwap(RandomChange):
    """Replaces each value, with probability `share`, by that of the same column in another row of the batch ("swap noise").

    A column is thereby taken out without leaving its own distribution, categories and angles included. Each value has its own
    draw and its own other row, so what columns have to do with each other is lost where they are swapped.

    Args:
        vector: the columns.
        share: probability with which a value is replaced.

    Shape: ``(n, columns) -> (n, columns)``.

    Example:
        >>> ColumnSwap(Vector.real(3))(torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(self, vector: Vector, *, share: float = 0.1) -> None:
        super().__init__(within(share, "the share of values that are swapped", 1))

    def change(self, x: Float[Tensor, "n columns"]) -> Float[Tensor, "n columns"]:
        """The rows with some values of others."""
        rows = x.shape[0]
        others = 1 + (torch.rand_like(x) * (rows - 1)).floor().long()  # so many rows further, from 1 to rows - 1
        index = (torch.arange(rows, device=x.device).view(-1, 1) + others) % max(1, rows)
        return torch.where(torch.rand_like(x) < self.strength, torch.gather(x, 0, index), x)
