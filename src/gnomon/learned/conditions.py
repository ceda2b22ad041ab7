"""What a user gives as condition, scalars, arrays, images, sets, a table or a file, as numbers: one row per example, NaN where absent.

It knows the kind of the condition, not the model behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnomon.data import Categorical, Column, ConditionKind, Image, Integer, Ragged, Sequence, Set, Spec, Vector, prepare
from gnomon.errors import AbilityError, DataError, OptionError
from gnomon.options import unknown


@dataclass(frozen=True)
class Encoded:
    """What are numbers already, codes for categories, seconds for times: values of one column, or whole conditions."""

    numbers: Tensor | Ragged


def encode_conditions(kind: ConditionKind | None, given: Any, n: int, *, absent: bool) -> Tensor | Ragged | None:
    """The condition of `n` examples in the user's units, as numbers.

    Args:
        kind: what the condition is, None if the model has none.
        given: of columns a dict of scalars or arrays by column name, an array ``(n, columns)`` or ``(columns,)``, a table, a file, or
            None; of images an array of n or of one, in the layout of the training data; of sets a list of arrays ``(elements, columns)``,
            one such array for all, or a table of lists; of any kind an `Encoded` of n rows.
        n: number of examples.
        absent: whether the model was trained with absent conditions (``drop_given > 0``).

    Returns:
        float64 ``(n, columns)``, images, or a Ragged; None if the model has no condition.

    Raises:
        OptionError: an unknown name, or a condition for a model without one.
        AbilityError: an absent condition that was never absent in training.
        DataError: an unknown category, or the wrong number of rows.
    """
    if kind is None:
        if given is None or (isinstance(given, Mapping) and not given):
            return None
        raise OptionError("this run was fitted without conditions, so none can be given; fit with given=… to have them")
    if isinstance(given, Encoded):
        return _rows(given.numbers, n)
    if not isinstance(kind, Vector):
        return _wholes(kind, given, n, absent)
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


def _wholes(kind: Image | Set | Sequence, given: Any, n: int, absent: bool) -> Tensor | Ragged:
    """Conditions that are images, sets or sequences."""
    if given is None or (isinstance(given, Mapping) and not given):
        if isinstance(kind, Image) and absent:
            return torch.full((1, *kind.shape), float("nan")).expand(n, *kind.shape)
        remedy = "" if isinstance(kind, (Set, Sequence)) else ", or fit with drop_given=0.1 to be able to leave it out"
        raise AbilityError(f"the condition has to be given: it was always present in training; give {_wanted(kind)}{remedy}")
    if isinstance(given, Mapping) and not (isinstance(kind, (Set, Sequence)) and set(given) <= set(kind.of.names)):
        raise OptionError(f"the condition of this run is {_word(kind)}, which has no column '{next(iter(given))}'; give {_wanted(kind)}")
    if isinstance(given, Tensor):
        given = given.numpy(force=True)
    if isinstance(given, np.ndarray):
        single = (kind.dimension + (kind.layout != "none")) if isinstance(kind, Image) else 2
        given = [given] if isinstance(kind, (Set, Sequence)) and given.ndim == single else given[None] if given.ndim == single else given
    if not isinstance(given, (np.ndarray, list, tuple)):  # a table or a file, whose rows are the conditions
        return _rows(_read(given, kind), n)
    if not len(given):
        raise DataError(f"given holds nothing; give {_wanted(kind)}")
    beside = {"x": np.zeros((len(given), 1)), "given": given}
    raw = prepare(beside, spec=Spec(Vector.real(1), given=kind), absent=absent).raw
    assert raw.given is not None
    return _rows(raw.given, n)


def _wanted(kind: Image | Set | Sequence) -> str:
    """What the user is asked for, in words."""
    if isinstance(kind, Image):
        return f"images of shape {'x'.join(map(str, kind.shape))}, one or one per example"
    return f"a list of arrays (elements, {len(kind.of)}), one per example, or one such array for all"


def _word(kind: Image | Set | Sequence) -> str:
    return "an image" if isinstance(kind, Image) else f"a {type(kind).__name__.lower()}"


def _rows(values: Tensor | Ragged, n: int) -> Tensor | Ragged:
    """One row per example: those there are, or the only one n times."""
    if len(values) not in (1, n):
        raise DataError(f"the condition has {len(values)} rows for {n} examples; give one, or one per example")
    if len(values) == n:
        return values
    return values[torch.zeros(n, dtype=torch.int64)] if isinstance(values, Ragged) else values.expand(n, *values.shape[1:])


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
        assert isinstance(numbers, Tensor)
    else:
        values = values.numpy(force=True) if isinstance(values, Tensor) else values
        single = np.isscalar(values) or np.shape(values) == ()
        numbers = _numbers({column.name: [values] if single else values}, Vector((column,)))[:, 0]
    if len(numbers) not in (1, n):
        raise DataError(f"condition '{column.name}' has {len(numbers)} values for {n} examples; give one, or one per example")
    return numbers.expand(n)


def _numbers(data: Any, kind: Vector) -> Tensor:
    """``(rows, columns)`` float64: the columns of `kind` in `data`, encoded."""
    raw = _read(data, kind)
    assert isinstance(raw, Tensor)
    return raw


def _read(data: Any, kind: ConditionKind) -> Tensor | Ragged:
    """A table or a file in which there is nothing but conditions (and columns that are ignored)."""
    return prepare(data, spec=Spec(kind), roles=("x",)).raw.x


def parse_conditions(kind: ConditionKind | None, texts: Mapping[str, str]) -> dict[str, Any]:
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
    if not isinstance(kind, Vector):
        raise OptionError(f"the condition of this run is {_word(kind)}, which cannot be written as text; give a file of them: --given-from")
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


def conditions_from(kind: ConditionKind | None, source: Any, n: int) -> Encoded:
    """Conditions of `n` examples from the rows of a table or file, in turn: a longer one is cut, a shorter one starts over."""
    if kind is None:
        raise OptionError("this run was fitted without conditions, so none can be given; fit with given=… to have them")
    raw = _read(source, kind)
    return Encoded(raw[torch.arange(n) % len(raw)])
