"""The user's labels, where there are any, and what a classifier trained on them says of the rows of both sides.

Training it is done in `encoders`, on rows chosen in `features`; what its answers mean is judged in `statistics.labelled`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnomon.checks.case import Labelled
from gnomon.checks.gathering.encoders import Rows, probabilities_by
from gnomon.checks.sides import Side, Sides
from gnomon.data import Categorical, Examples, Image, Label, Prepared, Spec, Vector, read
from gnomon.data.encoding.targets import target_part
from gnomon.data.encoding.vectors import array_columns, array_names, column_names
from gnomon.data.files.reading import Arrays
from gnomon.errors import DataError
from gnomon.learned import Learned

MOST = 100
"""Labels of more classes than this are left alone."""

_EACH = 5  # rows of a class, on average, below which no classifier is trained


@dataclass(frozen=True, eq=False)
class Known:
    """Labels of the real rows.

    Args:
        label: the classes.
        real: ``(n,)`` codes of the rows of the real side.
        train: ``(t,)`` codes of the rows that the model was trained on, or None.
    """

    label: Label
    real: NDArray[np.intp]
    train: NDArray[np.intp] | None = None


def known_labels(sides: Sides) -> Known | None:
    """The labels of the real rows, or else their first categorical condition; None if there is neither."""
    if sides.label is not None and sides.real.label is not None:
        known = Known(sides.label, sides.real.label, None if sides.train is None else sides.train.label)
        return known if 2 <= len(sides.label.classes) <= MOST else None
    for i, column in enumerate(sides.columns):
        support = column.support
        if column.name in sides.shared and isinstance(support, Categorical) and 2 <= len(support.values) <= MOST:
            codes = [None if side is None else side.values[:, i].astype(np.intp) for side in (sides.real, sides.train)]
            assert codes[0] is not None
            return Known(Label(support.values, column.name, column.type), codes[0], codes[1])
    return None


def teachable(label: Label, codes: NDArray[np.intp]) -> bool:
    """Whether rows with these labels can teach a classifier: two classes at least, and five rows a class on average."""
    present = np.unique(codes)
    return len(present) >= 2 and len(codes) >= _EACH * len(present)


def labelled_by(classifier: Learned, sides: Sides) -> Labelled:
    """What the classifier says of both sides.

    Args:
        classifier: of the sides' labels, trained on other rows.
        sides: whose rows are shown to it.
    """
    known = known_labels(sides)
    assert known is not None
    made = [probabilities_by(classifier, sides.kind, rows_of(side, sides)) for side in (sides.real, sides.generated)]
    weight = np.ones(len(sides.real)) if sides.real.weight is None else sides.real.weight
    share = weight / weight.sum()
    accuracy = float(share @ (made[0].argmax(axis=1) == known.real))
    chance = float(np.bincount(known.real, weights=share).max())
    weights = (sides.real.weight, sides.generated.weight)
    return Labelled(known.label.name, known.label.classes, made[0], made[1], accuracy, chance, weights, sides.paired)


def rows_of(side: Side, sides: Sides) -> Rows:
    """The examples of a side as numbers: pixels, sets, or the columns of a table."""
    if side.pixels is not None:
        return torch.from_numpy(np.ascontiguousarray(side.pixels))
    if side.sets is not None:
        return side.sets
    assert isinstance(sides.kind, Vector)
    return torch.from_numpy(np.ascontiguousarray(side.values[:, : len(sides.kind)]))


def with_labels(
    sides: Sides, data: Any, prepared: Prepared, keep: Callable[[Examples], Examples], *, train: Examples | None = None
) -> Sides:
    """The sides with the labels that come with the data of a run, if there are any.

    Args:
        sides: whose real rows are those of the data.
        data: what the user handed over.
        prepared: the same, read as the run describes it.
        keep: picks the rows of the real side out of all.
        train: the rows of the sides' training rows, with their labels if the run knows them.
    """
    found = labels_beside(data, prepared)
    if found is None:
        return sides
    codes = keep(Examples(torch.from_numpy(found[1].astype(np.int64)))).x
    assert isinstance(codes, torch.Tensor)
    if len(codes) != len(sides.real):
        return sides
    taught = sides.train
    if taught is not None and train is not None and prepared.spec.y == found[0] and isinstance(train.y, torch.Tensor):
        taught = replace(taught, label=train.y.numpy().astype(np.intp))
    return replace(sides, real=replace(sides.real, label=codes.numpy().astype(np.intp)), train=taught, label=found[0])


def labels_beside(data: Any, prepared: Prepared) -> tuple[Label, NDArray[np.intp]] | None:
    """Labels that come with the data of a run which does not learn them, such as those of the bundled digits.

    Args:
        data: what the user handed over.
        prepared: the same, read as the run describes it.

    Returns:
        the classes and the code of each kept row; None if there are no labels, or some are missing.
    """
    if isinstance(prepared.spec.y, Label) and isinstance(prepared.raw.y, torch.Tensor):
        return prepared.spec.y, prepared.raw.y.numpy().astype(np.intp)
    if prepared.spec.y is not None or (isinstance(data, (str, os.PathLike)) and Path(data).suffix not in ("", ".npz")):
        return None
    kind = "signal" if isinstance(prepared.spec.x, Image) and prepared.spec.x.dimension == 1 else None
    found = read(data, kind="image" if kind is None and isinstance(prepared.spec.x, Image) else kind)
    if isinstance(found, Arrays):
        if found.y is None:
            return None
        names = array_names(found.y, "y", "")
        table = array_columns(found.y, names)
    else:
        names = [name for name in (found.target, found.suggested) if name is not None][:1]
        table = found.columns
    if len(names) != 1 or names[0] in _used(prepared.spec):
        return None
    try:
        part = target_part(table, names, overrides={}, wanted=None, place="")
    except DataError:  # a target that is no label either way: nothing to teach a classifier
        return None
    values = np.asarray(part.values, dtype=np.float64)
    values = values if prepared.kept is None else values[prepared.kept.numpy()]
    if not isinstance(part.kind, Label) or len(values) != len(prepared.raw) or not np.isfinite(values).all():
        return None
    return part.kind, values.astype(np.intp)


def _used(spec: Spec) -> set[str]:
    """Names of the columns that the run learns from."""
    kinds = [kind for kind in (spec.x, spec.given) if isinstance(kind, Vector)]
    return {name for kind in kinds for name in column_names(kind)}
