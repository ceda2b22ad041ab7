"""Plain lines for people: aligned tables and numbers, without colours or frames, so that they read the same in a file.

What is said is decided by the verbs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns under a header; numbers to the right, texts to the left.

    Example:
        >>> print(table(["name", "value"], [["w1", 0.5], ["ks", 12]]))
        name  value
        w1      0.5
        ks       12
    """
    cells = [[number(cell) if isinstance(cell, (int, float)) and not isinstance(cell, bool) else str(cell) for cell in row] for row in rows]
    right = [all(isinstance(row[i], (int, float)) and not isinstance(row[i], bool) for row in rows) for i in range(len(header))]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    lines = []
    for row in [list(header), *cells]:
        shown = [cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(row, widths, right, strict=True)]
        lines.append("  ".join(shown).rstrip())
    return "\n".join(lines)


def number(value: float) -> str:
    """Four significant figures; whole numbers in full; a dash for what is not a number.

    Example:
        >>> number(0.123456), number(1234567), number(float("nan"))
        ('0.1235', '1,234,567', '–')
    """
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if math.isnan(value) else f"{value:.4g}"


def as_json(value: Any) -> str:
    """One line of JSON; what is not finite becomes null."""
    return json.dumps(_finite(value), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
