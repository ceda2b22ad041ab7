"""What a classifier is shown of both sides, and the default one: boosted trees on columns and pixels.

Networks stand in `neural_classifiers`; training them in turn, and what their success means, is the business of `c2st`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.effort import Effort
from gnomon.checks.points import points
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.data import Categorical, Periodic, Ragged

View = Literal["cells", "points", "pixels", "elements"]
Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]

_CELLS = 64
_PIXELS = 64  # images with more pixels are shown to trees as principal components
_COMPONENTS = 32


@dataclass(frozen=True, eq=False)
class Table:
    """What a classifier is shown: pooled rows, real ones first, in those views that it asked for.

    Args:
        real: number of real rows.
        generated: number of generated rows.
        weight: ``(rows,)`` or None.
        paired: whether row i of both sides belongs to one condition.
        cells: ``(rows, F)`` uint8: columns, angles also as sine and cosine, and pixels, each cut into at most 64 cells of about equal
            occupation on both sides together; codes as they are.
        cell_columns: ``(F,)`` the column that each of these is made from.
        categorical: ``(F,)`` whether it holds codes.
        points: ``(rows, G)`` float32: standardised features of the columns (see `points`).
        point_columns: ``(G,)`` the column that each of these is made from.
        pixels: ``(rows, channels, *size)`` float32, standardised, tails drawn in.
        elements: the standardised elements of each row's set.
    """

    real: int
    generated: int
    weight: Floats | None = None
    paired: bool = False
    cells: NDArray[np.uint8] | None = None
    cell_columns: tuple[str, ...] = ()
    categorical: tuple[bool, ...] = ()
    points: NDArray[np.float32] | None = None
    point_columns: tuple[str, ...] = ()
    pixels: NDArray[np.float32] | None = None
    elements: Ragged | None = None

    def __len__(self) -> int:
        return self.real + self.generated

    @property
    def labels(self) -> Bools:
        """``(rows,)``: whether a row is generated."""
        return np.arange(len(self)) >= self.real

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it shows, each once."""
        return tuple(dict.fromkeys(self.cell_columns + self.point_columns))

    def drawn(self, rows: int, generator: np.random.Generator) -> Table:
        """At most `rows` random rows a side, pairs kept together; itself if there are no more than that."""
        if max(self.real, self.generated) <= rows:
            return self
        first, second = (np.sort(generator.permutation(side)[:rows]) for side in (self.real, self.generated))
        second = first if self.paired else second
        return replace(self.at(np.concatenate([first, self.real + second])), real=len(first), generated=len(second))

    def at(self, rows: Rows) -> Table:
        """Some of the rows, as a table whose numbers of real and generated rows no longer mean anything."""
        import torch

        taken: dict[str, Any] = {name: getattr(self, name) for name in ("weight", "cells", "points", "pixels")}
        taken = {name: None if part is None else part[rows] for name, part in taken.items()}
        elements = None if self.elements is None else self.elements[torch.from_numpy(rows)]
        return replace(self, real=len(rows), generated=0, elements=elements, paired=False, **taken)

    def shuffled(self, column: str, order: Rows) -> Table:
        """The same with the values of one column in another order."""
        made: dict[str, Any] = {}
        for view, names in (("cells", self.cell_columns), ("points", self.point_columns)):
            values = getattr(self, view)
            if values is not None:
                own = np.array([name == column for name in names])
                made[view] = values.copy()
                made[view][:, own] = values[order][:, own]
        return replace(self, **made)


class Classifier(Protocol):
    """Anything that can be trained to tell generated rows from real ones.

    A class whose `many` is True is given labels ``(copies, rows of the table)``, trains one classifier on each of them and returns
    decisions ``(copies, n)``; others are made anew for each labelling and know one axis only.
    """

    def fit(self, table: Table, rows: Rows, labels: Bools, seed: int) -> Classifier:
        """Learn, from some rows of the table, to tell rows with a true label (generated) from the others."""
        ...

    def decision(self, table: Table, rows: Rows) -> Floats:
        """``(n,)``: larger means more like a generated row."""
        ...


@dataclass(frozen=True)
class Sizes:
    """How much a classifier is trained.

    Args:
        rows: at most so many rows a side.
        retraining_rows: at most so many rows a side where it is trained on relabelled rows.
        retrainings: how often it is.
    """

    rows: int
    retraining_rows: int
    retrainings: int


class Trees:
    """Boosted trees: they see edges, gaps and single cells of columns, and what few columns do together.

    They see cells, which are made once for all trainings: a tree would make them anew each time, slowly where there are weights.
    """

    many = False
    where = "all columns"
    words = "boosted trees"
    views: tuple[View, ...] = ("cells",)

    @classmethod
    def sizes(cls, sides: Sides, effort: Effort) -> Sizes:
        """As the effort says."""
        return Sizes(effort.joint_rows, effort.retraining_rows, effort.retrainings)

    def fit(self, table: Table, rows: Rows, labels: Bools, seed: int) -> Trees:
        """Learn to tell rows with a true label (generated) from the others."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        assert table.cells is not None
        self._trees = HistGradientBoostingClassifier(
            max_iter=int(np.clip(len(rows) // 20, 15, 60)),
            max_leaf_nodes=15,
            min_samples_leaf=int(np.clip(len(rows) // 50, 2, 20)),
            max_bins=_CELLS,
            l2_regularization=1.0,
            early_stopping=False,
            categorical_features=list(table.categorical) if any(table.categorical) else None,
            random_state=seed,
        )
        weight = None if table.weight is None else np.maximum(table.weight[rows], 0.0)
        self._trees.fit(table.cells[rows], labels[rows], sample_weight=weight)
        return self

    def decision(self, table: Table, rows: Rows) -> Floats:
        """``(n,)``: larger means more like a generated row."""
        assert table.cells is not None
        return self._trees.decision_function(table.cells[rows])


def tabulate(sides: Sides, views: tuple[View, ...] = ("cells", "points")) -> Table:
    """The rows of both sides as a classifier is shown them.

    Args:
        sides: what is compared.
        views: what of a `Table` is wanted.
    """
    both = (sides.real, sides.generated)
    weight = np.concatenate([np.ones(len(s)) if s.weight is None else s.weight for s in both]) if sides.weighted else None
    made: dict[str, Any] = {}
    if "cells" in views:
        made |= _cells(sides)
    if "points" in views:
        known = {"indicated": sides.indicated()}
        plain = replace(sides, real=_plain(sides.real), generated=_plain(sides.generated), train=None, _known=known)
        made["points"] = points(plain).pooled.astype(np.float32)
        made["point_columns"] = tuple(sides.names[feature.column] for feature in sides.listed_features())
    if "pixels" in views:
        made["pixels"] = _pixels(*(side.pixels for side in both))
    if "elements" in views:
        made["elements"] = _elements(sides)
    return Table(len(sides.real), len(sides.generated), weight, sides.paired, **made)


def _plain(side: Side) -> Side:
    """Its columns alone."""
    return Side(side.values)


def _cells(sides: Sides) -> dict[str, Any]:
    parts: list[NDArray[np.uint8]] = []
    names: list[str] = []
    categorical: list[bool] = []
    for i, column in enumerate(sides.columns):
        values = np.concatenate([sides.real.values[:, i], sides.generated.values[:, i]])
        made = [values]
        if isinstance(column.support, Periodic):
            turns = 2 * np.pi * (values - column.support.low) / column.support.period
            made = [values, np.cos(turns), np.sin(turns)]
        code = isinstance(column.support, Categorical) and len(column.support.values) <= _CELLS
        parts += [values.astype(np.uint8)] if code else [_celled(one) for one in made]
        names += [column.name] * len(made)
        categorical += [code] * len(made)
    if sides.real.pixels is not None and sides.generated.pixels is not None:
        seen = _seen(np.concatenate([side.pixels.reshape(len(side), -1) for side in (sides.real, sides.generated)]))  # type: ignore[union-attr]
        parts += [_celled(pixel) for pixel in seen.T]
        names += ["the pixels"] * seen.shape[1]
        categorical += [False] * seen.shape[1]
    return {"cells": np.stack(parts, axis=1), "cell_columns": tuple(names), "categorical": tuple(categorical)}


def _celled(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The number of the cell in which each value lies."""
    distinct = np.unique(values)
    edges = distinct[1:] if len(distinct) <= _CELLS else np.unique(np.quantile(values, np.linspace(0, 1, _CELLS + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.uint8)


def _seen(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels as they are, or the leading principal components of both sides together (which know nothing of the labels)."""
    pixels = pixels.astype(np.float32)
    if pixels.shape[1] <= _PIXELS:
        return pixels
    from sklearn.decomposition import PCA

    return PCA(min(_COMPONENTS, len(pixels) - 1), svd_solver="randomized", random_state=0).fit_transform(pixels).astype(np.float32)


def _pixels(real: NDArray[Any] | None, generated: NDArray[Any] | None) -> NDArray[np.float32]:
    """Pixels of both sides, centred and divided by their spread, values beyond four spreads drawn in logarithmically."""
    assert real is not None and generated is not None
    values = np.concatenate([real, generated]).astype(np.float32)
    spread = float(values.std(dtype=np.float64))
    values = (values - np.float32(values.mean(dtype=np.float64))) / np.float32(spread if spread > 0 else 1.0)
    far = np.abs(values) - np.float32(4.0)
    return np.where(far > 0, np.copysign(4.0 + np.log1p(np.maximum(far, 0)), values), values).astype(np.float32)


def _elements(sides: Sides) -> Ragged:
    """The sets of both sides, with the features of their elements as points."""
    import torch

    from gnomon.data import Column, Set, Vector

    assert sides.real.sets is not None and sides.generated.sets is not None
    both = (sides.real.sets, sides.generated.sets)
    values = [one.values.double().numpy().reshape(len(one.values), -1) for one in both]
    known = isinstance(sides.kind, Set) and isinstance(sides.kind.of, Vector)
    columns = sides.kind.of.columns if known else [Column(f"element {i}") for i in range(values[0].shape[1])]  # type: ignore[union-attr]
    shown = points(Sides.of(values[0], values[1], columns)).pooled.astype(np.float32)
    return Ragged(torch.from_numpy(shown), torch.cat([one.lengths for one in both]))
