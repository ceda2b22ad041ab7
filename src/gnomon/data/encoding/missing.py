"""Missing and infinite values, and weights: refused, dropped or filled, with one line that says so.

Everything is numbers here: NaN stands for a missing value of any type.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gnomon.data.encoding.columns import first_row
from gnomon.data.encoding.vectors import Part
from gnomon.data.kinds import Categorical, Column, Integer, Label, Vector
from gnomon.errors import DataError


def settle(parts: dict[str, Part], *, missing: str, absent: bool, place: str) -> tuple[dict[str, Part], np.ndarray | None, list[str]]:
    """Parts without missing or infinite values.

    Args:
        parts: by role.
        missing: "error", "drop" or "impute".
        absent: leave NaN in `given` as they are (of images those that are wholly NaN; others are unfit).
        place: what stands before every message.

    Returns:
        the parts, indices of the kept rows (None if all), and sentences that say what was done.

    Raises:
        DataError: infinite values; missing values that may not be dropped or filled; weights that are not positive in sum.
    """
    notices: list[str] = []
    bad = {}
    for role, part in parts.items():
        unfit = _unfit(role, part, place)
        if unfit is not None and not (absent and role == "given" and part.unfit is None):
            bad[role] = unfit
    kept: np.ndarray | None = None
    if bad and missing == "error":
        raise DataError(_complaint(parts, bad, place))
    if bad and missing == "impute":
        notices += [notice for role in bad for notice in _impute(role, parts[role], place)]
    if bad and missing == "drop":
        gone = np.logical_or.reduce(list(bad.values()))
        kept = np.flatnonzero(~gone)
        if not len(kept):
            raise DataError(f'{place}every row has a missing value{_emptiest(parts)}; fill them with missing="impute" or leave that out')
        parts = {role: _take(part, kept) for role, part in parts.items()}
        notices.append(f"{place}dropped {int(gone.sum())} of {len(gone)} rows with missing values")
    if "weight" in parts:
        _check_weights(parts["weight"], place)
    return parts, kept, notices


def _emptiest(parts: dict[str, Part]) -> str:
    """Which column lacks most values, in words; empty where none is a column."""
    tables = {role: part for role, part in parts.items() if not isinstance(part.values, Tensor)}
    lacking = [(float(np.isnan(numbers).mean()), column.name) for role, part in tables.items() for column, numbers in _columns(role, part)]
    share, name = max(lacking, default=(0.0, ""))
    return f" (column '{name}' lacks {share:.0%} of its values)" if share else ""


def _columns(role: str, part: Part) -> Iterator[tuple[Column, np.ndarray]]:
    """Each column of a part made of numbers."""
    values = np.asarray(part.values)
    if isinstance(part.kind, Label):
        yield Column(part.kind.name, Categorical(part.kind.classes)), values
    elif part.kind is None:
        yield Column(part.name or "weight"), values
    else:
        of = part.kind if isinstance(part.kind, Vector) else part.kind.of  # type: ignore[union-attr]
        for index, column in enumerate(of.columns):
            yield column, values[:, index]


def _unfit(role: str, part: Part, place: str) -> np.ndarray | None:
    """``(n,)`` bool: rows with a missing value, or None if there are none. Infinite values are refused at once."""
    if isinstance(part.values, Tensor):
        return part.unfit if part.unfit is not None and part.unfit.any() else None
    if np.isfinite(part.values).all():
        return None
    for column, numbers in _columns(role, part):
        infinite = np.isinf(numbers)
        row = first_row(infinite)
        if row is not None:
            count, shown = int(infinite.sum()), "inf" if numbers[row] > 0 else "-inf"
            more = f" ({count} infinite values in all)" if count > 1 else ""
            owner = row if part.lengths is None else _owner(part, row)
            where = f"{place}column '{column.name}' row {owner + 1}"
            raise DataError(f"{where} holds {shown}{more}; replace infinite values or remove their rows")
    absent = np.isnan(part.values)
    rows = absent.any(1) if absent.ndim == 2 else absent
    if part.lengths is None:
        return rows
    owners = np.repeat(np.arange(len(part)), part.lengths)
    return np.bincount(owners[rows], minlength=len(part)) > 0


def _owner(part: Part, element: int) -> int:
    assert part.lengths is not None
    return int(np.searchsorted(np.cumsum(part.lengths), element, side="right"))


def _complaint(parts: dict[str, Part], bad: dict[str, np.ndarray], place: str) -> str:
    remedy = 'drop these rows with missing="drop" or fill them with missing="impute"'
    role = next(iter(bad))
    part = parts[role]
    if isinstance(part.values, Tensor):
        row = first_row(bad[role]) or 0
        if part.lengths is not None:
            told = f"{int(bad[role].sum())} missing text(s), the first in row {row + 1}"
            return f"{place}column '{getattr(part.kind, 'name', role)}' holds {told}; drop them with missing=\"drop\""
        told = f"({int(bad[role].sum())} images do)"
        return f'{place}{role}: image {row + 1} holds missing or infinite pixels {told}; drop them with missing="drop"'
    holed = [(column, np.isnan(numbers)) for column, numbers in _columns(role, part) if np.isnan(numbers).any()]
    column, absent = holed[0]
    first = first_row(absent) or 0
    row = (first if part.lengths is None else _owner(part, first)) + 1
    count = int(absent.sum())
    others = sum(1 for r in bad if not isinstance(parts[r].values, Tensor) for _, n in _columns(r, parts[r]) if np.isnan(n).any()) - 1
    more = f", and {others} other column{'s have' if others > 1 else ' has'} some" if others else ""
    remedy = remedy if role in ("x", "given") else 'drop these rows with missing="drop"'
    return f"{place}column '{column.name}' holds {count} missing value{'s' if count > 1 else ''} (the first in row {row}{more}); {remedy}"


def _impute(role: str, part: Part, place: str) -> list[str]:
    """Fill missing values in place: numbers by the median, categories by the most frequent one."""
    if role not in ("x", "given"):
        name = getattr(part.kind, "name", "") or part.name or role
        raise DataError(
            f"{place}{'target' if role == 'y' else role} '{name}' holds missing values, which are never filled; pass missing=\"drop\""
        )
    if isinstance(part.values, Tensor):
        what = "images with missing pixels" if part.lengths is None else "missing texts"
        raise DataError(f'{place}{role}: {what} cannot be filled; pass missing="drop"')
    notices = []
    for column, numbers in _columns(role, part):
        absent = np.isnan(numbers)
        if not absent.any():
            continue
        present = numbers[~absent]
        if not len(present):
            raise DataError(f"{place}column '{column.name}' holds no values at all; leave it out: drop=['{column.name}']")
        if isinstance(column.support, Categorical):
            fill = float(np.bincount(present.astype(np.int64)).argmax())
            shown, way = repr(column.support.values[int(fill)]), "the most frequent value"
        else:
            fill = float(np.quantile(present, 0.5, method="lower") if isinstance(column.support, Integer) else np.median(present))
            shown, way = f"{fill:g}", "the median"
            if column.origin is not None:
                shown = f"{fill:g} s after {column.origin}"
        numbers[absent] = fill
        notices.append(f"{place}column '{column.name}': filled {int(absent.sum())} missing values with {way}, {shown}")
    return notices


def _take(part: Part, kept: np.ndarray) -> Part:
    unfit = None if part.unfit is None else part.unfit[kept]
    if part.lengths is None:
        values = part.values[torch.from_numpy(kept)] if isinstance(part.values, Tensor) else part.values[kept]
        return Part(part.kind, values, part.name, unfit=unfit)
    rows = np.zeros(len(part), dtype=bool)
    rows[kept] = True
    values = np.asarray(part.values)[np.repeat(rows, part.lengths)]
    own = torch.from_numpy(values) if isinstance(part.values, Tensor) else values
    return Part(part.kind, own, part.name, part.lengths[kept], unfit)


def _check_weights(part: Part, place: str) -> None:
    total = float(np.sum(part.values))
    if not total > 0:
        name = f"'{part.name}' " if part.name else ""
        raise DataError(f"{place}the weights {name}sum to {total:g}; their sum must be greater than 0")
