"""One judged number: value and error, beside what two samples of the same distribution would give at the same size.

It says how a number is held, said and written; how it is computed stands in the file of each statistic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from gnomon.checks.case import Case

Alarm = Literal["low", "high", "never"]


@dataclass(frozen=True)
class Statistic:
    """A value ± its standard error, with its null at the same number of rows and a p-value.

    Args:
        name: what is measured ("w1"), as the user writes it in ``--require``.
        where: the place: a column, a pair of columns, "all columns", a target.
        value: the number.
        error: its standard error: the spread over repetitions with fresh rows on both sides.
        null: its mean if both sides came from the same distribution (for predictions: what the best constant answer gets).
        null_error: its standard deviation under that null.
        p: chance of a value at least as extreme under the null; NaN where no null exists.
        n: rows used on the smaller side.
        note: units, sample sizes and approximations that a reader has to know.
        corrected: p after correction for the many places this statistic looked at; None means that it looked at one.
        claim: the plain sentence to be said if the p-value raises the alarm.
        cause: what is the matter, in short: rows of one statistic with the same cause share a sentence; empty: each has its own.
        alarm: "low": a small p is bad news; "high": a large p is (nothing was learned); "never": for information.

    Example:
        >>> str(Statistic("w1", "pt", 0.31, 0.02, 0.04, 0.01, p=0.001, n=500))
        'w1 of pt 0.310 ± 0.020, null 0.040 ± 0.010, p 0.001'
    """

    name: str
    where: str
    value: float
    error: float = math.nan
    null: float = math.nan
    null_error: float = math.nan
    p: float = math.nan
    n: int = 0
    note: str = ""
    corrected: float | None = None
    claim: str = ""
    alarm: Alarm = "low"
    cause: str = ""

    def __str__(self) -> str:
        p = f", p {number(self.p, 2)}" if math.isfinite(self.p) else ""
        null = f", null {plus_minus(self.null, self.null_error)}{p}" if math.isfinite(self.null) else ""
        return f"{self.name} of {self.where} {plus_minus(self.value, self.error)}{null}"

    @property
    def p_for_findings(self) -> float:
        """The p-value after correction for the places this statistic looked at."""
        return self.p if self.corrected is None else self.corrected

    @property
    def pull(self) -> float:
        """How many standard deviations of its null the value is away from it; NaN without a null."""
        distance = self.value - self.null
        if not (math.isfinite(distance) and math.isfinite(self.null_error)):
            return math.nan
        if self.null_error > 0 or distance == 0:
            return distance / self.null_error if distance else 0.0
        return math.copysign(math.inf, distance)

    def with_(self, **changes: Any) -> Statistic:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """The nine fields of the check JSON; what is not finite becomes None."""
        numbers = {key: _finite(getattr(self, key)) for key in ("value", "error", "null", "null_error", "p")}
        return {"name": self.name, "where": self.where, **numbers, "n": int(self.n), "note": self.note}


Measure = Callable[["Case"], list[Statistic]]
"""What the registry of statistics holds: a function of a `Case`. It returns no rows where it does not apply, and raises
`LeftOut` with the reason where it would apply but cannot be computed."""


class LeftOut(Exception):
    """A statistic cannot be computed on this data; the text is the reason, for the report."""


def plus_minus(value: float, error: float) -> str:
    """``0.1035 ± 0.0100``: both with the decimals that two figures of the error need.

    Example:
        >>> plus_minus(0.10351, 0.00998), plus_minus(1234.5, 20), plus_minus(0.5, float("nan"))
        ('0.1035 ± 0.0100', '1234 ± 20', '0.5')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else str(value)
    if not math.isfinite(error) or error <= 1e-9 * abs(value):
        return number(value)
    if abs(error) < 1e-4 or max(abs(value), error) >= 1e6:
        return f"{value:.3g} ± {error:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def number(value: float, digits: int = 3) -> str:
    """A number in at most `digits` figures; a dash if there is none."""
    return "–" if math.isnan(value) else f"{value:.{digits}g}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
