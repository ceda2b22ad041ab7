"""From what was read to a `Spec` and raw `Examples`: which column plays which role, and where its values live.

Reading is done in `reading`, single columns in `columns`; scaling to network space comes later, in `scaling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from gnomon.data import kinds
from gnomon.data.encoding.following import follow
from gnomon.data.encoding.missing import settle
from gnomon.data.encoding.roles import Chosen, infer
from gnomon.data.encoding.sets import ragged
from gnomon.data.encoding.vectors import Part
from gnomon.data.examples import Examples
from gnomon.data.files.reading import TEXTS, Table, read
from gnomon.data.kinds import Categorical, Image, Label, Set, Spec, Support, Tokens, Vector, parse_support
from gnomon.errors import DataError, OptionError

KINDS = ("vector", "image", "signal", "set", "sequence", "tokens", "smiles")


@dataclass(frozen=True)
class Prepared:
    """Data that is ready for scaling.

    Args:
        spec: what one example is.
        raw: the examples in the user's units, as numbers.
        table: the table as it came, with the rows that were kept (all columns, in order), or None for arrays.
        notices: what was done to the data, in sentences for the user.
        source: ``path`` (or name, or None), ``rows`` (kept), ``columns`` (names in order, or None).
        kept: indices of the kept rows when some were dropped, else None.
    """

    spec: Spec
    raw: Examples
    table: pa.Table | None = None
    notices: list[str] = field(default_factory=list)
    source: dict[str, Any] = field(default_factory=dict)
    kept: Tensor | None = None


def prepare(
    data: Any,
    *,
    spec: Spec | None = None,
    target: str | Sequence[str] | None = None,
    given: str | Sequence[str] | None = None,
    weight: str | None = None,
    drop: str | Sequence[str] = (),
    columns: Mapping[str, str | Support] | None = None,
    kind: str | Mapping[str, str] | None = None,
    missing: str = "error",
    wanted: str | None = None,
    roles: Sequence[str] | None = None,
    absent: bool = False,
) -> Prepared:
    """Read data, infer its Spec (or follow a given one), check it, and turn it into numbers.

    Args:
        data: anything `read` accepts, or what was prepared before, which is handed back as it is.
        spec: follow this description (a Learned's) instead of inferring one; other columns are ignored.
        target, given, weight, drop: names of columns; the others are ``x``. Texts may list several, separated by commas.
        columns: column name to support, such as ``{"efficiency": "bounded(0,1)"}``.
        kind: what bare arrays of three axes and lists are: "image", "signal", "set" or "sequence"; of texts "tokens" (characters) or
            "smiles" (atoms and bonds); of conditions ``{"given": "signal"}``.
        missing: "error", "drop" rows, or "impute" (numbers by the median, categories by the most frequent; never a target or weight).
        wanted: how the model reads ``y``: "label", "numbers", or None (labels if texts, booleans or at most 100 whole numbers).
        roles: with `spec`: which roles are read and demanded; by default x and given are, y and weight are read where they exist.
        absent: with `spec`: missing values and columns of ``given`` are NaN instead of an error.

    Returns:
        `Prepared`, with ``raw.x`` float64 ``(n, columns)``, an image tensor or a Ragged; ``raw.y`` int64 ``(n,)`` or float64.

    Raises:
        DataError: anything wrong with the data: one line naming file, column, row (from 1) and remedy.
        OptionError: an unknown value of `kind`, `missing` or `wanted`.

    Example:
        >>> prepared = prepare({"a": [0.5, 1.5], "b": ["u", "v"]}, target="b", wanted="label")
        >>> prepared.raw.x.tolist(), prepared.raw.y.tolist(), prepared.spec.y.classes
        ([[0.5], [1.5]], [0, 1], ('u', 'v'))
    """
    if isinstance(data, Prepared):
        if spec is not None and spec != data.spec:
            raise DataError("the data were prepared as another spec describes them; pass them as they were before")
        return data
    told = _told(kind)
    _one_of("missing", missing, ("error", "drop", "impute"))
    _one_of("wanted", wanted, (None, "label", "numbers"))
    found = read(data, kind=told.get("x") if spec is None else _kind_of(spec), types=_text_types(spec))
    place = f"{found.name}: " if found.name else ""
    overrides = _supports(columns, place)
    if spec is not None:
        parts, found = follow(found, spec, roles=roles, absent=absent, place=place)
    else:
        chosen = Chosen(target=target, given=given, weight=weight, drop=drop)
        parts, found = infer(found, chosen, overrides=overrides, told=told, wanted=wanted, place=place)
    parts, kept, notices = settle(parts, missing=missing, absent=absent, place=place)
    table = _kept_rows(found.columns, kept) if isinstance(found, Table) else None
    raw = _examples(parts)
    made = spec or _spec(parts)
    source = {"path": found.name or None, "rows": len(raw), "columns": None if table is None else list(table.column_names)}
    return Prepared(made, raw, table, [*found.notices, *notices], source, None if kept is None else torch.from_numpy(kept))


def _kept_rows(table: pa.Table, kept: np.ndarray | None) -> pa.Table:
    if kept is None:
        return table
    rows = np.zeros(table.num_rows, dtype=bool)
    rows[kept] = True
    return table.filter(pa.array(rows))


def _one_of(option: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        names = ", ".join(repr(a) for a in allowed if a is not None)
        raise OptionError(f"{option}={value!r} is not known; use one of {names}")


def _told(kind: str | Mapping[str, str] | None) -> dict[str, str]:
    """What the user says that x and given are, by role."""
    told = {} if kind is None else dict(kind) if isinstance(kind, Mapping) else {"x": kind}
    for role, word in told.items():
        if role not in ("x", "given"):
            raise OptionError(f"kind says what x and given are; got {role!r}: write kind={{'x': 'image', 'given': 'set'}}, or one of them")
        _one_of("kind", word, KINDS)
        if role == "given" and word in TEXTS:
            raise OptionError(f"kind={{'given': '{word}'}}: no network reads texts as a condition yet; make columns of them")
    return told


def _kind_of(spec: Spec) -> str | None:
    """The word for what a Spec's x is; None for a table."""
    if isinstance(spec.x, Vector):
        return "vector" if spec.x.bare else None
    if isinstance(spec.x, Image):
        return "signal" if spec.x.dimension == 1 else "image"
    if isinstance(spec.x, Tokens):
        return "tokens"
    return "set" if isinstance(spec.x, Set) else "sequence"


def _supports(columns: Mapping[str, str | Support] | None, place: str) -> dict[str, Support]:
    """The overrides, parsed."""
    if columns is not None and not isinstance(columns, Mapping):
        raise DataError(f"{place}columns wants a dict of column name to support, such as {{'energy': 'positive'}}; got {columns!r}")
    return {
        str(name): parse_support(value, column=str(name)) if isinstance(value, str) else value for name, value in (columns or {}).items()
    }


def _text_types(spec: Spec | None) -> dict[str, pa.DataType]:
    """Columns that were texts in training stay texts, even if a new file shows only digits in them."""
    if spec is None:
        return {}
    texts: dict[str, pa.DataType] = {}
    for kind in (spec.x, spec.y, spec.given):
        for column in kind.columns if isinstance(kind, Vector) else ():
            if isinstance(column.support, Categorical) and column.support.values and isinstance(column.support.values[0], str):
                texts[column.name] = pa.string()
        if isinstance(kind, Label) and kind.classes and isinstance(kind.classes[0], str):
            texts[kind.name] = pa.string()
        if isinstance(kind, Tokens):
            texts[kind.name] = pa.string()
    return texts


def _spec(parts: Mapping[str, Part]) -> Spec:
    x, y, given = (parts[role].kind if role in parts else None for role in ("x", "y", "given"))
    assert x is not None and (given is None or isinstance(given, (Vector, Image, Set, kinds.Sequence)))
    return Spec(x, y, given, parts["weight"].name if "weight" in parts else None)


def _examples(parts: Mapping[str, Part]) -> Examples:
    """The parts as tensors."""
    made: dict[str, Any] = {}
    for role, part in parts.items():
        if part.lengths is not None:
            made[role] = ragged(np.asarray(part.values), part.lengths)
        elif isinstance(part.values, Tensor):
            made[role] = part.values
        elif isinstance(part.kind, Label):
            made[role] = torch.from_numpy(part.values.astype(np.int64))
        else:
            made[role] = torch.from_numpy(np.require(part.values, requirements=["C", "W"]))
    return Examples(**made)
