"""Examples: a struct of tensors, one per role, with one length. A batch is just fewer examples.

Variable-size roles hold a `Ragged`. Nothing here knows files, units or networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class Ragged:
    """Rows of different lengths laid end to end.

    Args:
        values: ``(sum of lengths, *features)``.
        lengths: ``(rows,)`` int64, always on the host, so that no kernel waits for it.
    """

    values: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def device(self) -> torch.device:
        """Where the values are; the lengths stay on the host."""
        return self.values.device

    def offsets(self) -> Tensor:
        """``(rows + 1,)`` int64 on the host: row i is ``values[offsets[i]:offsets[i + 1]]``."""
        return torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths.cumsum(0)])

    def rows(self) -> Tensor:
        """``(sum of lengths,)``: the row to which each element belongs, on the device of the values."""
        lengths = self.lengths.to(self.device)
        return torch.repeat_interleave(torch.arange(len(self), device=self.device), lengths, output_size=len(self.values))

    def __getitem__(self, index: slice | Tensor) -> Ragged:
        starts, lengths = self.offsets()[:-1][_host(index)], self.lengths[_host(index)]
        total = int(lengths.sum())
        first = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])[:-1]
        within = torch.arange(total) - torch.repeat_interleave(first, lengths, output_size=total)
        picked = torch.repeat_interleave(starts, lengths, output_size=total) + within
        return Ragged(self.values.index_select(0, picked.to(self.device)), lengths)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Ragged:
        """The same rows with their values on `device`."""
        return Ragged(self.values.to(device, non_blocking=non_blocking), self.lengths)

    def split(self) -> list[Tensor]:
        """One tensor per row."""
        return list(self.values.split(self.lengths.tolist()))

    @classmethod
    def cat(cls, parts: list[Ragged]) -> Ragged:
        """The rows of all parts, one after the other."""
        return cls(torch.cat([p.values for p in parts]), torch.cat([p.lengths for p in parts]))


def _host(index: slice | Tensor) -> slice | Tensor:
    return index if isinstance(index, slice) else index.cpu()


def _rows(values: Any, index: slice | Tensor) -> Any:
    """Rows by a slice, a mask or their numbers, which count from 0; numbers on the right device copy row by row, much faster."""
    if isinstance(values, Tensor) and isinstance(index, Tensor) and index.dtype == torch.int64 and index.device == values.device:
        return values.index_select(0, index)
    return values[index]


@dataclass(slots=True)
class Examples:
    """What a model sees: one tensor or Ragged per role, the same length for all.

    Args:
        x: ``(n, *shape)`` tensor or Ragged.
        y: targets: int64 ``(n,)`` for labels, float ``(n, columns)`` for numbers, or None.
        given: conditions ``(n, columns)``, NaN where absent; images, all NaN where absent; a Ragged of sets; or None.
        weight: ``(n,)`` with mean 1, or None when all examples count the same.

    Example:
        >>> batch = Examples(torch.zeros(5, 3), y=torch.arange(5))[1:3]
        >>> len(batch), batch.y.tolist()
        (2, [1, 2])
    """

    x: Tensor | Ragged
    y: Tensor | Ragged | None = None
    given: Tensor | Ragged | None = None
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: slice | Tensor) -> Examples:
        y, given, weight = self.y, self.given, self.weight
        return Examples(
            _rows(self.x, index),
            None if y is None else _rows(y, index),
            None if given is None else _rows(given, index),
            None if weight is None else _rows(weight, index),
        )

    def roles(self) -> Iterator[tuple[str, Tensor | Ragged]]:
        """(name, values) of the roles that are present, in fixed order."""
        for role in ("x", "y", "given", "weight"):
            values = getattr(self, role)
            if values is not None:
                yield role, values

    def with_(self, **roles: Tensor | Ragged | None) -> Examples:
        """A copy with some roles replaced."""
        return Examples(**{**{role: getattr(self, role) for role in ("x", "y", "given", "weight")}, **roles})

    @property
    def device(self) -> torch.device:
        """Where the examples are."""
        return self.x.device

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Examples:
        """The same examples on `device`."""
        return Examples(**{role: values.to(device, non_blocking=non_blocking) for role, values in self.roles()})  # type: ignore[arg-type]

    @classmethod
    def cat(cls, parts: list[Examples]) -> Examples:
        """The examples of all parts, one after the other."""
        joined: dict[str, Any] = {}
        for role, values in parts[0].roles():
            own = [getattr(part, role) for part in parts]
            joined[role] = Ragged.cat(own) if isinstance(values, Ragged) else torch.cat(own)
        return cls(**joined)
