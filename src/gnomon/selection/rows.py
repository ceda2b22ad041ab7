"""Which rows a search fits and judges on: the test rows set apart, the folds of the others, and any of them as data for `fit`.

Splits are those of `gnomon.data`, by class, group or time as `fit` itself would make them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import torch
from torch import Tensor

from gnomon import registry
from gnomon.data import Examples, Prepared, mix, prepare, split
from gnomon.data.folds import folds
from gnomon.errors import DataError, OptionError
from gnomon.models import Model
from gnomon.options import names, unknown

READING = ("target", "given", "weight", "drop", "columns", "kind", "missing")
"""Arguments of `fit` that say how data are read: used once, here."""

How = Literal["random", "stratified", "group", "time"]


@dataclass(frozen=True)
class Rows:
    """Everything that was read, and how it may be split.

    Args:
        prepared: all rows.
        how: the way rows are split.
        values: one per row by which they are, or None.
    """

    prepared: Prepared
    how: How
    values: Any

    def data(self, rows: Tensor) -> Prepared:
        """These rows, as `fit` takes them."""
        whole = self.prepared
        table = None if whole.table is None else whole.table.take(pa.array(rows.numpy()))
        return Prepared(whole.spec, whole.raw[rows], table, [], {**whole.source, "rows": len(rows)}, None)

    def raw(self, rows: Tensor) -> Examples:
        """These rows, in the user's units."""
        return self.prepared.raw[rows]

    def values_of(self, rows: Tensor) -> Any:
        """What decides their split."""
        return None if self.values is None else self.values[rows.numpy()]

    def apart(self, rows: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """Two sides of some rows, the second with about `share` of them."""
        one, two = split(len(rows), share, seed=seed, how=self.how, values=self.values_of(rows))
        return rows[one], rows[two]

    def folds(self, rows: Tensor, count: int | float, seed: int) -> list[tuple[Tensor, Tensor]]:
        """Training and judged rows of every fold; one of them where `count` is a share."""
        if isinstance(count, float):
            return [self.apart(rows, count, seed)]
        parts = folds(len(rows), count, seed=seed, how=self.how, values=self.values_of(rows))
        return [(rows[train], rows[held]) for train, held in parts]

    def original(self, rows: Tensor) -> list[int]:
        """Their numbers in the data as they came, from 0."""
        kept = self.prepared.kept
        return (rows if kept is None else kept[rows]).tolist()


def read(model: Any, data: Any, arguments: Mapping[str, Any]) -> Rows:
    """All rows, read as `fit` would read them.

    Args:
        model: name, class or factory.
        data: anything that `fit` takes.
        arguments: of `fit`; those in `READING`, and group and time, are used.

    Raises:
        DataError: the data cannot be used as they are, or lack the column that decides the split.
    """
    kind = registry.models[model] if isinstance(model, str) else model
    reading = {name: arguments[name] for name in READING if arguments.get(name) is not None}
    for name in ("given", "drop"):
        reading[name] = names(reading.get(name), name)
    for name in ("target", "weight"):
        if not isinstance(reading.get(name), (str, type(None))):
            raise OptionError(f"{name} wants the name of a column; got {reading[name]!r}")
    group, time = arguments.get("group"), arguments.get("time")
    if group is not None:
        reading["drop"] = [*reading["drop"], group]
    prepared = prepare(data, **reading, wanted=getattr(kind, "target", None))
    ways: tuple[tuple[How, str | None], ...] = (("group", group), ("time", time))
    for how, column in ways:
        if column is not None:
            known = [] if prepared.table is None else prepared.table.column_names
            if prepared.table is None or column not in known:
                raise DataError(unknown("column", column, known) + f" ({how}=)")
            return Rows(prepared, how, prepared.table[column].to_numpy(zero_copy_only=False))
    y = prepared.raw.y
    if isinstance(y, Tensor) and y.dtype == torch.int64 and y.ndim == 1:
        return Rows(prepared, "stratified", y.numpy())
    return Rows(prepared, "random", None)


def refuse_built(model: Any) -> None:
    """A built model has learned what it has learned: every trial needs a fresh one. Raises OptionError."""
    if isinstance(model, Model):
        raise OptionError("a search builds the model anew for every trial: pass its name, class or a factory, not a built model")


def seed_of(where: str, seed: int, *more: int) -> int:
    """The seed of one use of chance in a search."""
    return mix("selection", where, seed, *more)
