"""The two sides of a comparison, real and generated, as float64 columns with supports, weights and streams of chance.

Reading files and asking models for rows is `sources`' work; what is computed from the sides stands in the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from gnomon.data import Categorical, Column, Kind, Label, Periodic, Ragged
from gnomon.data.seeds import mix
from gnomon.errors import DataError

Floats = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Side:
    """The rows of one side.

    Args:
        values: ``(n, D)`` float64: one number per column, codes for categories.
        weight: ``(n,)`` weights with mean 1, or None when all rows count the same. Signed weights are allowed.
        pixels: ``(n, channels, *size)`` if an example is an image, else None.
        sets: the elements of each row's set if an example is a set, else None.
        embedding: ``(n, k)`` features of each example by a trained encoder, or None.
        label: ``(n,)`` code of the class that each row belongs to by the user's own labels, or None where nobody knows.
    """

    values: Floats
    weight: Floats | None = None
    pixels: NDArray[Any] | None = None
    sets: Ragged | None = None
    embedding: Floats | None = None
    label: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def effective(self) -> float:
        """The number of equally weighted rows that carry as much: (Σw)² / Σw²."""
        return float(len(self)) if self.weight is None else float(self.weight.sum() ** 2 / np.square(self.weight).sum())

    def at(self, rows: NDArray[np.intp]) -> Side:
        """Some of the rows; the weights keep their scale relative to each other."""
        sets = None if self.sets is None else self.sets[torch.from_numpy(rows)]
        parts: tuple[NDArray[Any] | None, ...] = (self.weight, self.pixels, self.embedding, self.label)
        weight, pixels, embedding, label = (None if part is None else part[rows] for part in parts)
        return Side(self.values[rows], weight, pixels, sets, embedding, label)


@dataclass(frozen=True, eq=False)
class Sides:
    """Real and generated rows with the same columns.

    Args:
        columns: name and support of each column.
        real: rows of the data.
        generated: rows to be judged.
        shared: names of columns that were copied from the real side (conditions): compared only together with others.
        paired: whether row i of both sides has the same condition, so that under the null the two may be swapped.
        missing: rows with missing values that were left out, on the real and on the generated side.
        train: rows that the model was trained on, with the same columns, or None if they are not at hand.
        kind: what one example is, if that is known; a Vector's columns are then the first ones.
        label: what the classes of the sides' labels are, or None.
        seed: of every random choice; each statistic has a stream of its own.

    Raises:
        DataError: the sides do not have the columns, or hold NaN or infinite values.

    Example:
        >>> sides = Sides.of(np.zeros((5, 1)), np.ones((6, 1)), ["height"])
        >>> len(sides.real), len(sides.generated), sides.names
        (5, 6, ('height',))
    """

    columns: tuple[Column, ...]
    real: Side
    generated: Side
    shared: tuple[str, ...] = ()
    paired: bool = False
    missing: tuple[int, int] = (0, 0)
    train: Side | None = None
    kind: Kind | None = None
    label: Label | None = None
    seed: int = 0
    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name, side in (("real", self.real), ("generated", self.generated)):
            if side.values.ndim != 2 or side.values.shape[1] != len(self.columns):
                raise DataError(f"the {name} side has shape {side.values.shape}; expected (rows, {len(self.columns)})")
            if not len(side):
                raise DataError(f"the {name} side has no rows")
            for i in np.flatnonzero(~np.isfinite(side.values).all(axis=0))[:1]:
                raise DataError(f"column '{self.columns[i].name}' of the {name} side holds missing or infinite values; drop those rows")
            if side.weight is not None and (side.weight.shape != (len(side),) or not np.isfinite(side.weight).all()):
                raise DataError(f"the weights of the {name} side must be one finite number per row; got shape {side.weight.shape}")
            if side.weight is not None and not side.weight.sum() > 0:
                raise DataError(f"the weights of the {name} side sum to {side.weight.sum():g}; they must sum to more than 0")
        if self.paired and len(self.real) != len(self.generated):
            raise DataError(f"paired sides need as many rows each; got {len(self.real)} and {len(self.generated)}")

    @classmethod
    def of(
        cls,
        real: Floats,
        generated: Floats,
        columns: Sequence[str | Column] | None = None,
        *,
        weights: tuple[Floats | None, Floats | None] = (None, None),
        paired: bool = False,
        seed: int = 0,
    ) -> Sides:
        """From two arrays ``(n, D)`` and the names (real support) or columns; weights are brought to mean 1."""
        made = [np.asarray(side, dtype=np.float64) for side in (real, generated)]
        made = [side[:, None] if side.ndim == 1 else side for side in made]
        given = columns if columns is not None else [f"x{i}" for i in range(made[0].shape[1])]
        listed = tuple(c if isinstance(c, Column) else Column(c) for c in given)
        scaled = [None if w is None else np.asarray(w, dtype=np.float64) * (len(w) / abs(np.sum(w))) for w in weights]
        return cls(listed, Side(made[0], scaled[0]), Side(made[1], scaled[1]), paired=paired, seed=seed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def compared(self) -> tuple[int, ...]:
        """Indices of the columns that are compared one by one: all but the conditions."""
        return tuple(i for i, column in enumerate(self.columns) if column.name not in self.shared)

    @property
    def rows(self) -> int:
        """Rows of the smaller side."""
        return min(len(self.real), len(self.generated))

    @property
    def weighted(self) -> bool:
        """Whether either side has weights."""
        return self.real.weight is not None or self.generated.weight is not None

    def generator(self, *name: str | int) -> np.random.Generator:
        """A fresh stream of chance that belongs to `name` and the seed alone."""
        return np.random.default_rng([mix("check", self.seed, *name), self.seed & 0xFFFFFFFF])

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed at the first request only: intermediate results that several statistics share."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def take(self, rows: int) -> Sides:
        """At most `rows` random rows a side, pairs kept together; the sides themselves if they are no longer than that."""
        return self.once(("take", rows), lambda: self._take(rows))

    def _take(self, rows: int) -> Sides:
        if max(len(self.real), len(self.generated)) <= rows:
            return self
        generator = self.generator("rows", rows)
        picks = [np.sort(generator.permutation(len(side))[:rows]) for side in (self.real, self.generated)]
        if self.paired:
            picks[1] = picks[0]
        known = {"indicated": self.indicated()}  # a part has the same features as the whole
        return replace(self, real=self.real.at(picks[0]), generated=self.generated.at(picks[1]), _known=known)

    def indicated(self) -> dict[int, list[int]]:
        """The categories of each categorical column that get an indicator among the features."""
        return self.once("indicated", self._indicated)

    def _indicated(self) -> dict[int, list[int]]:
        made = {}
        for i, column in enumerate(self.columns):
            if isinstance(column.support, Categorical):
                codes = np.concatenate([self.real.values[:, i], self.generated.values[:, i]])
                made[i] = _frequent(codes, len(column.support.values))
        return made

    def features(self) -> tuple[tuple[Feature, ...], Floats, Floats]:
        """Columns as numbers that may be multiplied and added: reals as they are, (cos, sin) of circles, indicators of categories.

        Returns:
            the features, and their values ``(n, F)`` on the real and on the generated side. Rare categories (fewer than 5 rows
            on both sides together) and those beyond the 32 most frequent have no indicator; nor has one of two categories.
        """
        return self.once("features", self._features)

    def _features(self) -> tuple[tuple[Feature, ...], Floats, Floats]:
        return self.listed_features(), self.features_of(self.real), self.features_of(self.generated)

    def listed_features(self) -> tuple[Feature, ...]:
        """What the features are, without their values."""
        return tuple(Feature(name, i) for i, column in enumerate(self.columns) for name in self._feature_names(column, i))

    def _feature_names(self, column: Column, i: int) -> list[str]:
        if isinstance(column.support, Periodic):
            return [f"cos {column.name}", f"sin {column.name}"]
        if isinstance(column.support, Categorical):
            return [f"{column.name} = {column.support.values[k]}" for k in self.indicated()[i]]
        return [column.name]

    def features_of(self, side: Side) -> Floats:
        """``(rows, F)``: the features, as `features` lists them, of any rows with these columns."""
        made: list[Floats] = []
        for i, column in enumerate(self.columns):
            values, support = side.values[:, i], column.support
            if isinstance(support, Periodic):
                turns = 2 * np.pi * (values - support.low) / support.period
                made += [np.cos(turns), np.sin(turns)]
            elif isinstance(support, Categorical):
                made += [(values == k).astype(np.float64) for k in self.indicated()[i]]
            else:
                made.append(values)
        return np.stack(made, axis=1) if made else np.empty((len(side), 0))


@dataclass(frozen=True)
class Feature:
    """A number made from one column.

    Args:
        name: in words ("colour = red").
        column: index of the column it is made from.
    """

    name: str
    column: int


def _frequent(codes: Floats, count: int) -> list[int]:
    """The categories that are frequent enough for a feature, in order."""
    counts = np.bincount(codes.astype(np.intp), minlength=count)
    frequent = [int(k) for k in np.argsort(-counts, kind="stable")[:32] if counts[k] >= 5]
    if len(frequent) == 2:
        frequent = [max(frequent)]
    return sorted(frequent)
