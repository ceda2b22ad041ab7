"""Rows of different lengths as a grid with blanks at the end, and back.

Grids are for what walks along a row (recurrence, attention); sums over rows stand in `segments`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gnomon.data import Ragged


class Grid(NamedTuple):
    """Where the elements of a Ragged stand in a grid of ``rows x longest`` places.

    Args:
        rows: number of rows.
        longest: length of the longest row, at least 1.
        places: ``(elements,)`` place of each element in the grid laid flat, on the device of the elements.
        filled: ``(rows, longest)`` bool: True where an element stands.
    """

    rows: int
    longest: int
    places: Tensor
    filled: Tensor

    def pad(self, values: Tensor) -> Tensor:
        """``(elements, *features) -> (rows, longest, *features)``, zero where nothing stands."""
        flat = values.new_zeros(self.rows * self.longest, *values.shape[1:]).index_copy(0, self.places, values)
        return flat.view(self.rows, self.longest, *values.shape[1:])

    def unpad(self, grid: Tensor) -> Tensor:
        """``(rows, longest, *features) -> (elements, *features)``."""
        return grid.flatten(0, 1).index_select(0, self.places)


def grid(x: Ragged) -> Grid:
    """The grid of a Ragged. Its size comes from the lengths on the host, so nothing waits for a device.

    Example:
        >>> made = grid(Ragged(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2, 0, 1])))
        >>> made.pad(torch.tensor([1.0, 2.0, 3.0])).tolist()
        [[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]]
    """
    lengths = x.lengths
    longest = max(1, int(lengths.max())) if len(lengths) else 1
    first = torch.repeat_interleave(torch.arange(len(lengths)) * longest - (lengths.cumsum(0) - lengths), lengths)
    places = torch.arange(len(first)) + first
    filled = torch.arange(longest) < lengths[:, None]
    return Grid(len(lengths), longest, places.to(x.device), filled.to(x.device))
