"""The target as classes or as numbers, and the weights: what the model wants wins over what the values suggest.

Columns are encoded in `columns` and `vectors`; this module decides how `y` is read and refuses what is plainly no class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from gnomon.data.encoding.columns import encode_column, is_text
from gnomon.data.encoding.vectors import Part, vector
from gnomon.data.kinds import Categorical, Column, Integer, Label, Real, Support, Vector
from gnomon.errors import DataError

MAX_CLASSES = 1000
_FEW_CLASSES = 100


def target_part(
    table: pa.Table, names: Sequence[str], *, overrides: Mapping[str, Support], wanted: str | None, place: str, bare: bool = False
) -> Part:
    """The target as classes or as numbers: what the model wants, else what its values suggest."""
    if wanted == "label" and len(names) > 1:
        raise DataError(
            f"{place}a classifier wants one target; got {len(names)}: {', '.join(names[:4])} (one column of class names or numbers)"
        )
    column = table.column(names[0])
    override = overrides.get(names[0])
    if wanted == "label" or (wanted is None and len(names) == 1 and _suggests_classes(column, override)):
        if override is not None and not isinstance(override, Categorical):
            raise DataError(f"{place}column '{names[0]}' is the target of a classifier; its support cannot be '{override.name}'")
        return _label(column, names[0], override, wanted == "label", place)
    for name in names:
        if wanted == "numbers" and name not in overrides and not _is_numeric(table.column(name).type):
            raise DataError(
                f"{place}target '{name}' holds {table.column(name).type}; a regressor wants numbers (a classifier takes classes)"
            )
    part = vector(table, names, overrides=overrides, place=place, bare=bare)
    assert isinstance(part.kind, Vector)
    if wanted != "numbers":
        return part
    # A predicted mean is no whole number, so whole targets are learned and returned as reals unless the user says otherwise.
    described = [
        replace(c, support=Real(), type="double") if isinstance(c.support, Integer) and c.name not in overrides else c
        for c in part.kind.columns
    ]
    return Part(Vector(tuple(described), bare=bare), part.values)


def _is_numeric(type_: pa.DataType) -> bool:
    plain = pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    return plain or pa.types.is_temporal(type_)


def _suggests_classes(column: pa.ChunkedArray, override: Support | None) -> bool:
    import pyarrow.compute as pc  # slow to import, so only when data are read

    if override is not None:
        return isinstance(override, Categorical)
    type_ = column.type
    if pa.types.is_boolean(type_) or is_text(type_) or pa.types.is_dictionary(type_):
        return True
    return pa.types.is_integer(type_) and pc.count_distinct(column).as_py() <= _FEW_CLASSES


def _label(column: pa.ChunkedArray, name: str, override: Support | None, strict: bool, place: str) -> Part:
    """Class codes; refuses what are plainly no classes."""
    if pa.types.is_temporal(column.type):
        raise DataError(f"{place}target '{name}' holds {column.type}; a classifier wants classes (texts, booleans or whole numbers)")
    if override is None:
        _refuse_no_classes(column, name, place)
    codes, described = encode_column(column, name, place=place, support=override or Categorical(()))
    assert isinstance(described.support, Categorical)
    classes = described.support.values
    present = np.unique(codes[~np.isnan(codes)])
    if strict and len(present) < 2:
        shown = repr(classes[int(present[0])]) if len(present) else "nothing"
        raise DataError(f"{place}target '{name}' holds one class only ({shown}); a classifier needs at least two")
    return Part(Label(classes, name, described.type), codes)


def _refuse_no_classes(column: pa.ChunkedArray, name: str, place: str) -> None:
    import pyarrow.compute as pc  # slow to import, so only when data are read

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    count = pc.count_distinct(column).as_py()
    if pa.types.is_floating(column.type):
        fractions = pc.not_equal(column, pc.floor(column))
        if pc.any(fractions).as_py() and count > 20:
            raise DataError(
                f"{place}target '{name}' holds {count} distinct numbers that are not whole; a classifier wants classes (use a regressor)"
            )
    if count > MAX_CLASSES:
        advice = f"use a regressor, or, if it is meant, pass columns={{'{name}': 'categorical'}}"
        raise DataError(f"{place}target '{name}' holds {count} distinct values, more than {MAX_CLASSES} classes; {advice}")
    if count == len(column) and len(column) >= 10:
        raise DataError(
            f"{place}target '{name}' holds a different value in each of its {len(column)} rows; a classifier wants classes that repeat"
        )


def weight_part(column: pa.ChunkedArray, name: str, place: str) -> Part:
    """Weights as numbers. Raises DataError if they are none."""
    where = f"{place}weight" + (f" '{name}'" if name else "")
    if not _is_numeric(column.type) or pa.types.is_temporal(column.type):
        raise DataError(f"{where} holds {column.type}; expected numbers")
    return Part(None, encode_column(column, name or "weight", place=place)[0], name=name)


def follow_label(column: pa.ChunkedArray, kind: Label, place: str) -> np.ndarray:
    """Codes of the known classes, NaN where missing. Raises DataError naming an unknown one."""
    like = Column(kind.name, Categorical(kind.classes), type=kind.type)
    return encode_column(column, kind.name, place=place, like=like)[0]
