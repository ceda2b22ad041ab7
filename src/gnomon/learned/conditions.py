"""What a user gives as condition, scalars, arrays, a table or a file, as numbers: one row per example, NaN where absent.

It knows the columns of the condition, not the model behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnomon.data import Categorical, Column, Integer, Spec, Vector, prepare
from gnomon.errors import AbilityError, DataError, OptionError
from gnomon.options import unknown


@dataclass(frozen=True)
class Encoded:
    """Values of one column that are numbers already: codes for categories, seconds for times."""

    numbers: Tensor


def encode_conditions(kind: Vector | None, given: Any, n: int, *, absent: bool) -> Tensor | None:
    """The condition of `n` examples in the user's units, as numbers.

    Args:
        kind: the condition's columns, None if the model has no condition.
        given: a dict of scalars or arrays by column name, an array ``(n, columns)`` or ``(columns,)``, a table, a file, or None.
        n: number of examples.
        absent: whether the model was trained with absent conditions (``drop_given > 0``).

    Returns:
        float64 ``(n, columns)``, or None if the model has no condition.

    Raises:
        OptionError: an unknown name, or a condition for a model without one.
        AbilityError: an absent condition that was never absent in training.
        DataError: an unknown category, or the wrong number of rows.
    """
    if kind is None:
        if given is None or (isinstance(given, Mapping) and not given):
            return None
        raise OptionError("this run was fitted without conditions, so none can be given; fit with given=… to have them")
    columns = _by_column(kind, given)
    missing = [name for name in kind.names if name not in columns]
    if missing and not absent:
        some = "" if len(missing) == len(kind) else " as well"
        raise AbilityError(
            f"the condition '{missing[0]}' has to be given{some}: it was always present in training; "
            f"give {missing[0]}=…, or fit with drop_given=0.1 to be able to leave it out"
        )
    values = torch.full((n, len(kind)), float("nan"), dtype=torch.float64)
    for index, column in enumerate(kind.columns):
        if column.name in columns:
            values[:, index] = _encoded(column, columns[column.name], n)
    return values


def _by_column(kind: Vector, given: Any) -> dict[str, Any]:
    """Values by column name; whole tables are encoded at once."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        for name in given:
            if name not in kind.names:
                raise OptionError(unknown("condition", str(name), kind.names))
        return {name: values for name, values in given.items() if values is not None}
    if isinstance(given, (np.ndarray, Tensor, list, tuple, int, float)):
        values = np.atleast_2d(np.asarray(given))
        if values.shape[-1] != len(kind) and values.shape == (1, values.shape[-1]) and len(kind) == 1:
            values = values.T
        if values.ndim != 2 or values.shape[1] != len(kind):
            raise DataError(f"given wants {len(kind)} columns ({', '.join(kind.names)}); got an array of shape {np.shape(given)}")
        return {name: values[:, index] for index, name in enumerate(kind.names)}
    raw = _numbers(given, kind)
    return {name: Encoded(raw[:, index]) for index, name in enumerate(kind.names)}


def _encoded(column: Column, values: Any, n: int) -> Tensor:
    """``(n,)`` float64 numbers of one column."""
    if isinstance(values, Encoded):
        numbers = values.numbers
    else:
        values = values.numpy(force=True) if isinstance(values, Tensor) else values
        single = np.isscalar(values) or np.shape(values) == ()
        numbers = _numbers({column.name: [values] if single else values}, Vector((column,)))[:, 0]
    if len(numbers) not in (1, n):
        raise DataError(f"condition '{column.name}' has {len(numbers)} values for {n} examples; give one, or one per example")
    return numbers.expand(n)


def _numbers(data: Any, kind: Vector) -> Tensor:
    """``(rows, columns)`` float64: the columns of `kind` in `data`, encoded."""
    raw = prepare(data, spec=Spec(kind), roles=("x",)).raw.x
    assert isinstance(raw, Tensor)
    return raw


def parse_conditions(kind: Vector | None, texts: Mapping[str, str]) -> dict[str, Any]:
    """Texts such as those of ``--given a=1,b=yes`` as the values their columns hold.

    Raises:
        OptionError: an unknown name, a number that is none, or a condition for a model without one.
        DataError: an unknown category.

    Example:
        >>> from gnomon.data import Categorical
        >>> parse_conditions(Vector((Column("a"), Column("b", Categorical((False, True))))), {"a": "1.5", "b": "true"})
        {'a': 1.5, 'b': True}
    """
    if kind is None:
        raise OptionError("this run was fitted without conditions, so none can be given; fit with given=… to have them")
    columns = {column.name: column for column in kind.columns}
    made = {}
    for name, text in texts.items():
        if name not in columns:
            raise OptionError(unknown("condition", name, columns))
        made[name] = _value(columns[name], text)
    return made


def _value(column: Column, text: str) -> Any:
    """One text as a value of its column."""
    if isinstance(column.support, Categorical):
        for value in column.support.values:
            if text == str(value) or (isinstance(value, bool) and text.lower() in (str(value).lower(), str(int(value)))):
                return value
        known = ", ".join(str(value) for value in column.support.values[:10])
        raise DataError(
            f"condition '{column.name}' has no category '{text}'; known: {known}{', …' if len(column.support.values) > 10 else ''}"
        )
    if column.origin is not None:
        try:
            return datetime.fromisoformat(text)
        except ValueError as error:
            raise OptionError(f"condition '{column.name}' wants a time such as 2024-05-01T12:00:00; got '{text}'") from error
    try:
        return int(text) if isinstance(column.support, Integer) else float(text)
    except ValueError as error:
        wanted = "a whole number" if isinstance(column.support, Integer) else "a number"
        raise OptionError(f"condition '{column.name}' wants {wanted}; got '{text}'") from error


def conditions_from(kind: Vector | None, source: Any, n: int) -> dict[str, Any]:
    """Conditions of `n` examples from the rows of a table or file, in turn: a longer one is cut, a shorter one starts over."""
    if kind is None:
        raise OptionError("this run was fitted without conditions, so none can be given; fit with given=… to have them")
    raw = _numbers(source, kind)
    rows = torch.arange(n) % len(raw)
    return {name: Encoded(raw[rows, index]) for index, name in enumerate(kind.names)}
