"""A Spec in words: one aligned line per column, as printed before every fit.

It only describes; what the columns are was decided in `roles`.
"""

from __future__ import annotations

from itertools import groupby

from gnomon.data.encoding.images import image_line
from gnomon.data.kinds import Bounded, Categorical, Column, Image, Integer, Label, Periodic, Sequence, Set, Spec, Support, Tokens, Vector


def describe(spec: Spec) -> str:
    """One aligned line per column: role, name, support, type. Unnamed columns that are alike share a line.

    Example:
        >>> from gnomon.data import Column, Positive, Spec, Vector
        >>> print(describe(Spec(Vector((Column("energy", Positive(), "GeV"), Column("n", type="int64"))))))
        x  energy  positive  double  GeV
        x  n       real      int64
    """
    rows = [row for role in ("x", "y", "given") for row in _rows(role, getattr(spec, role))]
    if spec.weight is not None:
        rows.append(("weight", spec.weight or "(an array)", "", "", ""))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


Row = tuple[str, str, str, str, str]


def _rows(role: str, kind: object) -> list[Row]:
    if isinstance(kind, Vector):
        return _columns(role, kind)
    if isinstance(kind, (Set, Sequence)):
        word = "set" if isinstance(kind, Set) else "sequence"
        return [(role, name, f"{word} of {support}", type_, units) for role, name, support, type_, units in _columns(role, kind.of)]
    if isinstance(kind, Image):
        return [(role, "", image_line(kind), "", "")]
    if isinstance(kind, Tokens):
        symbols = f"{'symbols of SMILES' if kind.split == 'smiles' else 'characters'} ({_values(kind.vocabulary)})"
        return [(role, "" if kind.bare else kind.name, f"up to {kind.longest} {symbols}", "string", "")]
    if isinstance(kind, Label):
        return [(role, kind.name, f"label ({_values(kind.classes)})", kind.type, "")]
    return []


def _columns(role: str, kind: Vector) -> list[Row]:
    """Lines of a vector's columns; bare columns in a row that are alike become one."""
    rows: list[Row] = []
    for _, alike in groupby(enumerate(kind.columns), key=lambda pair: (pair[1].support, pair[1].type) if kind.bare else pair[0]):
        run = [column for _, column in alike]
        name = run[0].name if len(run) == 1 else f"{run[0].name} … {run[-1].name}"
        rows.append((role, name, _support(run[0]), run[0].type, run[0].units))
    return rows


def _support(column: Column) -> str:
    support: Support = column.support
    if isinstance(support, (Bounded, Periodic)):
        return f"{support.name}({support.low:g}, {support.high:g})"
    if isinstance(support, Integer) and support.low is not None:
        return f"integer({support.low}, {'' if support.high is None else support.high})"
    if isinstance(support, Categorical):
        return f"categorical ({_values(support.values)})"
    return f"{support.name}, seconds since {column.origin}" if column.origin is not None else support.name


def _word(value: object, most: int = 24) -> str:
    text = str(value) if str(value).isprintable() else repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def _values(values: tuple[object, ...], most: int = 6) -> str:
    shown = ", ".join(_word(value) for value in values[:most])
    return f"{len(values)}: {shown}" + (", …" if len(values) > most else "")
