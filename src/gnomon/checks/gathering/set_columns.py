"""Sets as columns that can be compared one by one: how many elements, and what these have as mean, spread, ends and shares.

These see one number of a set at a time. What elements do together is left to statistics that are shown the sets themselves.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.sides import Floats
from gnomon.data import Bounded, Categorical, Column, Integer, Periodic, Ragged, Set

PAIRED = 5
"""Products are taken of so many numeric columns of the elements, the first ones."""

_CATEGORIES = 16  # the most frequent categories of a column have a share each


def set_columns(kind: Set, real: Ragged, generated: Ragged, *others: Ragged) -> tuple[tuple[Column, ...], list[Floats]]:
    """Summary columns of the sets of both sides.

    An empty set has a size and nothing else: its means and ends are those of all elements together, its spreads, products and shares
    zero. What is taken from all elements is taken from both sides together, so it does not know which set is real.

    Args:
        kind: what the elements are.
        real: n sets.
        generated: m sets.
        others: further sets that are only summarised in the same way.

    Returns:
        columns, and their values: ``(n, columns)`` of the real side, ``(m, columns)`` of the generated one, then of the others.

    Example:
        >>> import torch
        >>> from gnomon.data import Vector
        >>> sets = Ragged(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 1]))
        >>> columns, (values, _) = set_columns(Set(Vector((Column("pt"),))), sets, sets)
        >>> [column.name for column in columns][:3], values[:, :3].tolist()
        (['size', 'mean of pt', 'spread of pt'], [[2.0, 2.0, 1.0], [1.0, 5.0, 0.0]])
    """
    sides = [_Elements.of(side) for side in (real, generated, *others)]
    pooled = np.concatenate([side.values for side in sides[:2]])
    listed = [Column("size", Integer(0, None))]
    parts = [[side.sizes[:, None]] for side in sides]
    for i, column in enumerate(kind.of.columns):
        columns, made = _of_column(column, sides, pooled[:, i], i)
        listed += columns
        for part, own in zip(parts, made, strict=True):
            part.append(own)
    numeric = [i for i, column in enumerate(kind.of.columns) if not isinstance(column.support, (Categorical, Periodic))][:PAIRED]
    scaled = [_standardised(side.values, pooled) for side in sides]
    for one, two in itertools.combinations(numeric, 2):
        listed.append(Column(f"product of {kind.of.names[one]} and {kind.of.names[two]}"))
        for part, side, values in zip(parts, sides, scaled, strict=True):
            part.append(side.mean(values[:, one] * values[:, two], 0.0)[:, None])
    return tuple(listed), [np.concatenate(part, axis=1) for part in parts]


@dataclass(frozen=True, eq=False)
class _Elements:
    """The elements of one side, and the set that each belongs to."""

    values: Floats
    rows: NDArray[np.intp]
    sizes: Floats

    @classmethod
    def of(cls, sets: Ragged) -> _Elements:
        lengths = sets.lengths.numpy()
        return cls(sets.values.double().numpy(), np.repeat(np.arange(len(lengths)), lengths), lengths.astype(np.float64))

    def mean(self, values: Floats, empty: float) -> Floats:
        """``(elements,) -> (sets,)``: the mean over each set, `empty` where there is no element."""
        total = np.bincount(self.rows, weights=values, minlength=len(self.sizes))
        return np.where(self.sizes > 0, total / np.maximum(self.sizes, 1), empty)

    def ends(self, values: Floats, empty: float) -> tuple[Floats, Floats]:
        """The smallest and the largest of each set."""
        low, high = np.full(len(self.sizes), np.inf), np.full(len(self.sizes), -np.inf)
        np.minimum.at(low, self.rows, values)
        np.maximum.at(high, self.rows, values)
        filled = self.sizes > 0
        return np.where(filled, low, empty), np.where(filled, high, empty)


def _of_column(column: Column, sides: list[_Elements], pooled: Floats, i: int) -> tuple[list[Column], list[Floats]]:
    """The summaries of one column of the elements, with their values on each side."""
    name, support = column.name, column.support
    if isinstance(support, Categorical):
        shown = _frequent(pooled, len(support.values))
        columns = [Column(f"share of {name} = {support.values[k]}", Bounded(0.0, 1.0)) for k in shown]
        made = [[side.mean((side.values[:, i] == k).astype(np.float64), 0.0) for k in shown] for side in sides]
    elif isinstance(support, Periodic):
        columns = [Column(f"direction of {name}", support, column.units), Column(f"concentration of {name}", Bounded(0.0, 1.0))]
        middle = _turned(pooled, support)
        made = [_circular(side, side.values[:, i], support, complex(middle.mean()) if len(middle) else 1.0 + 0.0j) for side in sides]
    else:
        units = column.units
        columns = [Column(f"{word} of {name}", units=units) for word in ("mean", "spread", "smallest", "largest")]
        centre = float(pooled.mean()) if len(pooled) else 0.0
        never_negative = len(pooled) > 0 and float(pooled.min()) >= 0
        if never_negative:  # energies, momenta, charges: what a set has altogether
            columns.append(Column(f"sum of {name}", units=units))
        made = []
        for side in sides:
            values = side.values[:, i]
            mean = side.mean(values, centre)
            low, high = side.ends(values, centre)
            spread = np.sqrt(side.mean(np.square(values - mean[side.rows]), 0.0))
            made.append([mean, spread, low, high] + ([side.mean(values, 0.0) * side.sizes] if never_negative else []))
    return columns, [np.stack(one, axis=1) if one else np.empty((len(side.sizes), 0)) for one, side in zip(made, sides, strict=True)]


def _turned(values: Floats, support: Periodic) -> NDArray[np.complex128]:
    return np.exp(2j * np.pi * (values - support.low) / support.period)


def _circular(side: _Elements, values: Floats, support: Periodic, empty: complex) -> list[Floats]:
    """Direction and length of the mean of unit vectors, as 0 … 1."""
    turned = _turned(values, support)
    mean = side.mean(turned.real, empty.real) + 1j * side.mean(turned.imag, empty.imag)
    angle = np.mod(np.angle(mean) / (2 * np.pi), 1.0) * support.period + support.low
    length = np.where(side.sizes > 0, np.abs(mean), 0.0)
    return [np.where(angle >= support.high, support.low, angle), np.minimum(length, 1.0)]


def _standardised(values: Floats, pooled: Floats) -> Floats:
    if not len(pooled):
        return values
    spread = pooled.std(axis=0)
    return (values - pooled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _frequent(codes: Floats, count: int) -> list[int]:
    """Codes of the categories that get a share: of two only the second, since the shares sum to one."""
    counts = np.bincount(codes.astype(np.intp), minlength=count)
    shown = sorted(int(k) for k in np.argsort(-counts, kind="stable")[:_CATEGORIES] if counts[k] > 0)
    return shown[1:] if len(shown) == 2 else shown
