"""Demands on a report, such as ``c2st_auc<0.6``: for ``gnomon check --require`` and for tests of one's own models."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gnomon.checks.statistic import number
from gnomon.errors import OptionError
from gnomon.options import unknown

if TYPE_CHECKING:
    from gnomon.checks.reports.report import Report

_SIGNS: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def requirements(report: Report, demands: Iterable[str]) -> list[str]:
    """Which demands a report does not meet.

    Args:
        report: what `check` returned.
        demands: each ``name<number``, with <, <=, > or >=. It must hold at every place of the statistic; ``name[place]`` means one place.
            ``findings`` is the number of findings.

    Returns:
        One sentence per demand that fails, empty if all hold. A value that is no number fails.

    Raises:
        OptionError: a demand cannot be read, or names a statistic or place that this report does not have.

    Example:
        >>> from gnomon.checks import Report, Statistic
        >>> report = Report([Statistic("w1", "a", 0.1), Statistic("w1", "b", 0.4)])
        >>> requirements(report, ["w1<0.2", "w1[a]<0.2", "findings<1"])
        ['w1<0.2 is not met: w1 of b is 0.4']
    """
    failures = []
    for demand in demands:
        name, place, sign, bound = parse_demand(demand)
        values = _values(report, name, place)
        wrong = [(where, value) for where, value in values if not (_SIGNS[sign](value, bound) and math.isfinite(value))]
        for where, value in wrong:
            failures.append(f"{demand} is not met: {name}{f' of {where}' if where else ''} is {number(value, 4)}")
    return failures


def parse_demand(text: str) -> tuple[str, str | None, str, float]:
    """Name, place (or None), sign and bound of a demand.

    Raises:
        OptionError: it cannot be read, or its bound is not a number.

    Example:
        >>> parse_demand("w1[pt] <= 0.1")
        ('w1', 'pt', '<=', 0.1)
    """
    match = re.fullmatch(r"\s*([A-Za-z0-9_]+)\s*(?:\[(.*)\])?\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*", text, re.DOTALL)
    try:
        if match is None:
            raise ValueError(text)
        bound = float(match[4])
        if math.isnan(bound):
            raise ValueError(text)
    except ValueError as error:
        raise OptionError(f"a demand looks like 'c2st_auc<0.6' or 'w1[column]<=0.1'; got '{text}'") from error
    return match[1], match[2], match[3], bound


def _values(report: Report, name: str, place: str | None) -> list[tuple[str, float]]:
    if name == "findings":
        return [("", float(len(report.findings)))]
    rows = [(row.where, row.value) for row in report.statistics if row.name == name]
    if not rows:
        known = list(dict.fromkeys(row.name for row in report.statistics)) + ["findings"]
        raise OptionError(unknown("statistic", name, known, owner="this report"))
    if place is None:
        return rows
    picked = [row for row in rows if row[0] == place]
    if not picked:
        raise OptionError(unknown("place", place, [where for where, _ in rows], owner=name))
    return picked
