"""One column of a table as numbers and back: categories to codes, times to seconds, every Arrow type restored.

Files and whole tables are read elsewhere (`reading`); which column plays which role is decided in `infer`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa

from gnomon.data.kinds import Bounded, Categorical, Column, Integer, NonNegative, Periodic, Positive, Real, Support
from gnomon.errors import DataError

MAX_CATEGORIES = 1000
LARGEST_EXACT = 2**53
_NUMBER = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
_SECOND = np.timedelta64(1, "s")
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DAY = 86400.0

# ---- Arrow types by name ------------------------------------------------------------------------------------------


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type whose text is `name`, as held in `Column.type`.

    Raises:
        DataError: `name` is no type that a column can have.

    Example:
        >>> arrow_type("timestamp[us, tz=UTC]")
        TimestampType(timestamp[us, tz=UTC])
    """
    if found := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", name):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"dictionary<values=(.+), indices=(\w+), ordered=([01])>", name):
        return pa.dictionary(arrow_type(found[2]), arrow_type(found[1]), ordered=found[3] == "1")
    if found := re.fullmatch(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)", name):
        return getattr(pa, f"decimal{found[1]}")(int(found[2]), int(found[3]))
    try:
        return pa.type_for_alias(name)
    except ValueError as error:
        raise DataError(f"'{name}' is no type of a column; the description of the data is damaged") from error


def is_text(type_: pa.DataType) -> bool:
    """Whether values of this Arrow type are texts."""
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


def _is_timelike(type_: pa.DataType) -> bool:
    return pa.types.is_temporal(type_)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)


# ---- to numbers ---------------------------------------------------------------------------------------------------


def encode_column(
    values: pa.ChunkedArray,
    name: str,
    *,
    place: str = "",
    support: Support | None = None,
    like: Column | None = None,
    limit: bool = True,
) -> tuple[np.ndarray, Column]:
    """A column as float64 numbers, and its description.

    Args:
        values: the column, of any Arrow type that can be learned from.
        name: its name, for messages and the description.
        place: what stands before every message ("data.csv: ").
        support: overrides what the type suggests; a `Categorical` without values takes them from the data.
        like: a description to follow instead: its categories and its origin of time.
        limit: refuse texts with too many distinct values, or numbers mixed with a few texts.

    Returns:
        numbers ``(n,)``, NaN where missing: codes for categories, seconds since the earliest for times; and the `Column`.

    Raises:
        DataError: the type cannot be learned from, a category is unknown, or a whole number exceeds 2^53.

    Example:
        >>> encode_column(pa.chunked_array([["b", "a", None]]), "c")[0].tolist()
        [1.0, 0.0, nan]
    """
    if pa.types.is_null(values.type) and like is not None:
        return np.full(len(values), np.nan), like
    wanted = support if like is None else like.support
    type_ = values.type
    if wanted is None and (pa.types.is_boolean(type_) or is_text(type_) or pa.types.is_dictionary(type_)):
        wanted = Categorical(())
    if isinstance(wanted, Categorical):
        return _encode_categories(values, name, wanted, place=place, like=like, limit=limit and support is None and like is None)
    if _is_timelike(type_):
        return _encode_times(values, name, wanted or Real(), place=place, like=like)
    if not _is_number(type_):
        raise DataError(_not_numbers(values, name, place))
    if like is not None and like.origin is not None:
        raise DataError(f"{place}column '{name}' holds {type_}; expected {like.type}")
    _refuse_beyond_exact(values, name, place)
    numbers = values.cast(pa.float64(), safe=False).to_numpy()
    if like is not None:
        return numbers, like
    default = Integer() if pa.types.is_integer(type_) else Real()
    return numbers, Column(name, wanted or default, type=str(type_))


def _not_numbers(values: pa.ChunkedArray, name: str, place: str) -> str:
    """The text of the error for a column that is neither numbers, nor times, nor categories."""
    import pyarrow.compute as pc  # slow to import, so only when data are read

    type_ = values.type
    where = f"{place}column '{name}'"
    if is_text(type_):
        row = first_row(pc.invert(pc.fill_null(pc.match_substring_regex(values.cast(pa.string()), _NUMBER), True)))
        shown = "" if row is None else f" {values[row].as_py()!r} in row {row + 1}"
        return f"{where} holds text{shown} where numbers are expected; correct the value or leave the column out"
    if pa.types.is_null(type_):
        return f"{where} holds no values at all; leave it out: drop=['{name}']"
    if pa.types.is_boolean(type_) or pa.types.is_dictionary(type_):
        return f"{where} holds {type_} where numbers are expected; convert it to numbers or leave its support categorical"
    if pa.types.is_nested(type_):
        return f"{where} holds {type_}; lists are read with kind='set' or kind='sequence', or leave it out: drop=['{name}']"
    return f"{where} holds {type_}, which cannot be learned from; convert it to numbers or texts, or leave it out: drop=['{name}']"


def _refuse_beyond_exact(values: pa.ChunkedArray, name: str, place: str) -> None:
    import pyarrow.compute as pc  # slow to import, so only when data are read

    if not pa.types.is_integer(values.type) or values.type.bit_width < 64:
        return
    ends = pc.min_max(values).as_py()
    if ends["min"] is None or (ends["max"] <= LARGEST_EXACT and ends["min"] >= -LARGEST_EXACT):
        return
    large = pc.greater(values, pa.scalar(LARGEST_EXACT, values.type))
    if ends["min"] < -LARGEST_EXACT:
        large = pc.or_(large, pc.less(values, pa.scalar(-LARGEST_EXACT, values.type)))
    row = first_row(large) or 0
    raise DataError(
        f"{place}column '{name}' row {row + 1} holds {values[row].as_py()}, beyond 2^53, where numbers are no longer exact; "
        f"leave the column out (drop=['{name}']) or make it categorical"
    )


def first_row(mask: pa.ChunkedArray | np.ndarray) -> int | None:
    """The index of the first True of a mask, or None."""
    flags = np.asarray(mask)
    index = int(flags.argmax()) if len(flags) else 0
    return index if len(flags) and bool(flags[index]) else None


def _encode_times(values: pa.ChunkedArray, name: str, support: Support, *, place: str, like: Column | None) -> tuple[np.ndarray, Column]:
    type_ = values.type
    if like is not None and (like.origin is None) == (pa.types.is_timestamp(type_) or pa.types.is_date(type_)):
        raise DataError(f"{place}column '{name}' holds {type_}; expected {like.type}")
    if pa.types.is_time(type_):
        unit = type_.unit
        ticks = values.cast(pa.int32() if type_.bit_width == 32 else pa.int64()).cast(pa.int64())
        moments = ticks.cast(pa.duration(unit)).to_numpy()
    else:
        moments = values.to_numpy()
    if pa.types.is_duration(type_) or pa.types.is_time(type_):
        return moments / _SECOND, like or Column(name, support, type=str(type_))
    if like is not None:
        return (moments - np.datetime64(like.origin)) / _SECOND, like
    known = moments[~np.isnat(moments)]
    origin = known.min() if len(known) else np.datetime64(0, "s")
    return (moments - origin) / _SECOND, Column(name, support, type=str(type_), origin=str(origin))


def _encode_categories(
    values: pa.ChunkedArray, name: str, wanted: Categorical, *, place: str, like: Column | None, limit: bool
) -> tuple[np.ndarray, Column]:
    import pyarrow.compute as pc  # slow to import, so only when data are read

    where = f"{place}column '{name}'"
    type_ = values.type
    if pa.types.is_nested(type_) or pa.types.is_temporal(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        raise DataError(f"{where} holds {type_}, which cannot be categorical; convert it to texts")
    ranked: list[Any] | None = None
    if pa.types.is_dictionary(type_):
        ranked = values.unify_dictionaries().chunk(0).dictionary.to_pylist() if values.num_chunks else []
        values = values.cast(type_.value_type)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    distinct = pc.drop_null(pc.unique(values))
    if limit:
        _refuse_many(values, distinct, where, name)
    present = distinct.to_pylist()
    categories = wanted.values or _ranked(present, ranked, values.type)
    code = {value: index for index, value in enumerate(categories)}
    codes = np.array([code.get(value, -1) for value in present] + [-2], dtype=np.float64)
    codes[-1] = np.nan
    if len(distinct) and (codes == -1).any():
        unseen = present[int((codes == -1).argmax())]
        row = first_row(pc.fill_null(pc.equal(values, pa.scalar(unseen, values.type)), False))
        raise DataError(f"{where} row {(row or 0) + 1} holds {unseen!r}, which is none of its known values: {_some(categories)}")
    index = pc.fill_null(pc.index_in(values, value_set=distinct), len(distinct))
    return codes[index.to_numpy()], like or Column(name, Categorical(tuple(categories)), type=str(type_))


def _ranked(present: list[Any], ranked: list[Any] | None, type_: pa.DataType) -> tuple[Any, ...]:
    """The categories in their order: false before true, a dictionary's own order, otherwise sorted."""
    if pa.types.is_boolean(type_):
        return (False, True)
    if ranked is not None:
        seen = set(present)
        return tuple(dict.fromkeys(value for value in ranked if value in seen))
    return tuple(sorted(present))


def _refuse_many(values: pa.ChunkedArray, distinct: pa.Array, where: str, name: str) -> None:
    import pyarrow.compute as pc  # slow to import, so only when data are read

    advice = f"leave it out (drop=['{name}']) or, if it is meant, pass columns={{'{name}': 'categorical'}}"
    if not is_text(values.type):
        return
    numeric = pc.match_substring_regex(distinct.cast(pa.string()), _NUMBER)
    if (pc.sum(numeric).as_py() or 0) < len(distinct):
        every = pc.match_substring_regex(values.cast(pa.string()), _NUMBER)
        if (pc.sum(every).as_py() or 0) > 0.5 * (len(values) - values.null_count):
            row = first_row(pc.invert(pc.fill_null(every, True))) or 0
            raise DataError(
                f"{where} row {row + 1} holds the text {values[row].as_py()!r} among numbers; correct it, empty it "
                f"(and pass missing=\"drop\"), or, if they are categories, pass columns={{'{name}': 'categorical'}}"
            )
    if len(distinct) > MAX_CATEGORIES:
        raise DataError(f"{where} holds {len(distinct)} distinct texts, more than {MAX_CATEGORIES}; {advice}")
    if len(distinct) == len(values) and len(values) >= 10:
        raise DataError(f"{where} holds a different text in each of its {len(values)} rows; {advice}")


def _some(values: tuple[Any, ...] | list[Any], most: int = 8) -> str:
    shown = ", ".join(repr(value) for value in values[:most])
    return shown + (f", … ({len(values)} in all)" if len(values) > most else "")


# ---- supports -----------------------------------------------------------------------------------------------------


def check_support(column: Column, values: np.ndarray, *, place: str = "") -> None:
    """See that all numbers (NaN apart) lie in the column's support.

    Raises:
        DataError: the first value outside, with its row and how many more there are.
    """
    support, where = column.support, f"{place}column '{column.name}'"
    if isinstance(support, (Real, Categorical, Periodic)):
        return
    advice = "correct it or choose another support"
    if isinstance(support, Positive):
        outside, expected = values <= 0, "> 0"
        zeros = bool((values == 0).any()) and not bool((values < 0).any())
        advice = f"if zeros are meant, pass columns={{'{column.name}': 'nonnegative'}}" if zeros else advice
    elif isinstance(support, NonNegative):
        outside, expected = values < 0, ">= 0"
    elif isinstance(support, Bounded):
        outside, expected = (values < support.low) | (values > support.high), f"in [{support.low:g}, {support.high:g}]"
    else:
        outside, expected = _outside_integer(support, values)
    row = first_row(outside)
    if row is not None:
        more = int(outside.sum()) - 1
        held = f"{values[row]:.17g}" + (f" (and {more} more rows are outside)" if more else "")
        raise DataError(f"{where} row {row + 1} holds {held}; its support '{support.name}' wants values {expected}; {advice}")


def _outside_integer(support: Integer, values: np.ndarray) -> tuple[np.ndarray, str]:
    outside = np.isfinite(values) & (values != np.floor(values))
    if support.low is not None:
        outside |= values < support.low
    if support.high is not None:
        outside |= values > support.high
    ends = "" if support.low is None and support.high is None else f" from {support.low} to {support.high}"
    return outside, f"that are whole numbers{ends}"


def wrap(values: np.ndarray, support: Periodic) -> np.ndarray:
    """Angles brought into [low, high), whole turns apart; values already there are untouched."""
    moved = support.low + np.mod(values - support.low, support.period)
    moved = np.where(moved >= support.high, support.low, moved)
    return np.where((values >= support.low) & (values < support.high), values, moved)


# ---- back from numbers --------------------------------------------------------------------------------------------


def decode_column(column: Column, values: np.ndarray) -> pa.Array:
    """Numbers back as the user's type: texts, booleans, times, whole numbers; NaN becomes null.

    Args:
        column: the description made by `encode_column`.
        values: ``(n,)`` float64.

    Example:
        >>> decode_column(Column("c", Categorical(("a", "b")), type="string"), np.array([1.0, 0.0])).to_pylist()
        ['b', 'a']
    """
    type_ = arrow_type(column.type)
    values = np.asarray(values, dtype=np.float64)
    absent = np.isnan(values)
    if isinstance(column.support, Categorical):
        return _decode_categories(column.support, type_, values, absent)
    if _is_timelike(type_):
        return _decode_times(column, type_, values, absent)
    if pa.types.is_integer(type_):
        ends = np.iinfo(type_.to_pandas_dtype())
        low, high = float(ends.min), float(ends.max)
        top = np.nextafter(high, 0) if high > LARGEST_EXACT else high
        whole = np.clip(np.rint(np.where(absent, 0, values)), low, top).astype(type_.to_pandas_dtype())
        return pa.array(whole, type=type_, mask=absent if absent.any() else None)
    if pa.types.is_decimal(type_):
        top = 10.0 ** (type_.precision - type_.scale) - 10.0**-type_.scale
        return pa.array(np.clip(values, -top, top), from_pandas=True).cast(type_, safe=False)
    return pa.array(values.astype(type_.to_pandas_dtype()), type=type_, mask=absent if absent.any() else None)


def _decode_categories(support: Categorical, type_: pa.DataType, values: np.ndarray, absent: np.ndarray) -> pa.Array:
    top = max(len(support.values) - 1, 0)
    codes = np.clip(np.rint(np.where(absent, 0, values)), 0, top).astype(np.int32)
    indices = pa.array(codes, mask=absent if absent.any() else None)
    if pa.types.is_dictionary(type_):
        dictionary = pa.array(list(support.values), type=type_.value_type)
        return pa.DictionaryArray.from_arrays(indices.cast(type_.index_type), dictionary, ordered=type_.ordered)
    return pa.array(list(support.values), type=type_).take(indices)


def _decode_times(column: Column, type_: pa.DataType, values: np.ndarray, absent: np.ndarray) -> pa.Array:
    seconds = np.where(absent, 0, values)
    unit = "D" if pa.types.is_date(type_) else type_.unit
    exact = np.floor(seconds / _DAY) if unit == "D" else np.rint(seconds * _PER_SECOND[unit])
    ticks = np.clip(exact, -float(2**62), float(2**62)).astype(np.int64)
    if column.origin is not None:
        ticks = ticks + np.datetime64(column.origin).astype(f"M8[{unit}]").astype(np.int64)
    mask = absent if absent.any() else None
    if pa.types.is_date(type_):
        return pa.array(ticks.astype("M8[D]"), mask=mask).cast(type_)
    width = pa.int32() if pa.types.is_time32(type_) else pa.int64()
    if pa.types.is_time(type_):
        ticks = np.clip(ticks, 0, round(_DAY * _PER_SECOND[unit]) - 1)
    return pa.array(ticks, mask=mask).cast(width).cast(type_)
