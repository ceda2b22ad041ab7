"""A linear way beside an encoder and a decoder, started from the principal components of the data.

What is done to the numbers in between, and what the networks beside it add, is left to the models.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_LEAST = 1e-3  # of the largest standard deviation, and of one: components of less are left to the networks
_RIDGE = 1e-3  # added to the variances of the numbers that come back, at most one


class PrincipalPath(nn.Module):
    """A linear map of examples to numbers, and one of numbers to examples; both start from the data and are learned from there on.

    Until `start_reading` and `start_telling` both give zero.

    Args:
        shape: of an example.
        positions: groups of numbers.
        size: numbers in a group. The components of largest variance are the first numbers of all groups, the next the second ones.

    Shape: ``read (n, *shape) -> (n, positions · size)``, ``tell`` back.

    Reference: Jolliffe & Cadima 2016, https://doi.org/10.1098/rsta.2015.0202

    Example:
        >>> x = torch.randn(100, 3) * torch.tensor([5.0, 2.0, 1.0])
        >>> path = PrincipalPath((3,), positions=3, size=1)
        >>> path.start_reading(x)
        >>> path.start_telling(path.read(x), x)
        >>> bool((path.tell(path.read(x)) - x).abs().max() < 0.1)
        True
    """

    def __init__(self, shape: tuple[int, ...], *, positions: int, size: int) -> None:
        super().__init__()
        self.shape, self.positions, self.size = tuple(shape), positions, size
        wide, numbers = math.prod(shape), positions * size
        self.share = wide**-0.5  # so that one step of the weights moves the numbers of a large image no further than those of a small one
        self.reading, self.telling = nn.Linear(wide, numbers), nn.Linear(numbers, wide)
        for layer in (self.reading, self.telling):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def read(self, x: Tensor) -> Tensor:
        """The numbers of examples."""
        return self.reading(x.flatten(1) * self.share)

    def tell(self, z: Tensor) -> Tensor:
        """Examples from their numbers."""
        return self.telling(z).view(-1, *self.shape)

    @torch.no_grad()
    def start_reading(self, x: Tensor) -> None:
        """Let the numbers be the principal components of examples, each of mean zero and spread one."""
        rows = x.flatten(1).double()
        count = min(rows.shape[0], rows.shape[1], self.positions * self.size)
        mean = rows.mean(0)
        axes, spreads = _principal(rows - mean, count)
        seen = spreads > _LEAST * spreads[0].clamp_min(1.0)
        weight = torch.where(seen, axes / torch.where(seen, spreads, 1.0), 0.0).mT
        order = torch.arange(count, device=x.device)
        slots = order % self.positions * self.size + order // self.positions
        self.reading.weight.zero_().index_copy_(0, slots, (weight / self.share).to(self.reading.weight))
        self.reading.bias.zero_().index_copy_(0, slots, (-weight @ mean).to(self.reading.bias))

    @torch.no_grad()
    def start_telling(self, z: Tensor, missed: Tensor) -> None:
        """Let examples be told from what has become of their numbers as well as a linear map can.

        Args:
            z: the numbers, as they come back.
            missed: ``(n, *shape)`` what is to be told by them.
        """
        numbers, rows = z.double(), missed.flatten(1).double()
        middle, mean = numbers.mean(0), rows.mean(0)
        centred = numbers - middle
        unit = torch.eye(numbers.shape[1], dtype=numbers.dtype, device=z.device)
        square = centred.mT @ centred / len(rows) + _RIDGE * unit
        slopes = torch.linalg.solve(square, centred.mT @ (rows - mean) / len(rows))
        self.telling.weight.copy_(slopes.mT)
        self.telling.bias.copy_(mean - middle @ slopes)


def _principal(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first axes ``(columns, count)`` of centred rows and the spreads along them, by the smaller of the two square matrices."""
    tall = rows.shape[0] >= rows.shape[1]
    values, vectors = torch.linalg.eigh((rows.mT @ rows if tall else rows @ rows.mT) / rows.shape[0])
    spreads = values.flip(0)[:count].clamp_min(torch.finfo(rows.dtype).tiny).sqrt()
    axes = vectors.flip(1)[:, :count]
    return (axes if tall else rows.mT @ axes / (spreads * math.sqrt(rows.shape[0]))), spreads
