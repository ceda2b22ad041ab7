"""From many statistics to few sentences: which differences are real after correction for many looks, and what they mean.

Each statistic brings its own sentence; here is decided which are said, and in which order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gnomon.checks.nulls import holm
from gnomon.checks.statistic import Statistic, number, plus_minus
from gnomon.checks.statistics.c2st import describe_auc
from gnomon.checks.statistics.wording import listed

LEVEL = 0.01
"""Chance that a check of a perfect model finds anything at all."""

NOTHING_LEARNED = 0.05
"""A prediction counts as better than the best constant answer if its p-value is below this."""


MOST_OF_ONE = 5
"""So many findings of one statistic are told in full; further ones are named together."""


def corrected(statistics: Sequence[Statistic]) -> list[float]:
    """The p-value of each row after correction for everything the check looked at.

    Statistics that look at many places have corrected for these already; Holm's correction then goes over the statistics by name. Rows
    that are for information, or whose large p is bad news, keep their p-value.
    """
    families: dict[str, float] = {}
    for row in statistics:
        if row.alarm == "low" and math.isfinite(row.p_for_findings):
            families[row.name] = min(families.get(row.name, 1.0), row.p_for_findings)
    names = list(families)
    raised = dict(zip(names, holm([families[name] for name in names]), strict=True))
    factor = {name: raised[name] / families[name] if families[name] > 0 else 1.0 for name in names}
    return [
        min(1.0, row.p_for_findings * factor[row.name]) if row.alarm == "low" and row.name in factor else row.p_for_findings
        for row in statistics
    ]


def wrong(statistics: Sequence[Statistic]) -> list[bool]:
    """Whether each row is a finding."""
    return [
        math.isfinite(row.p) and ((row.alarm == "low" and p <= LEVEL) or (row.alarm == "high" and row.p > NOTHING_LEARNED))
        for row, p in zip(statistics, corrected(statistics), strict=True)
    ]


def findings(statistics: Sequence[Statistic]) -> list[str]:
    """What is wrong, in sentences; empty when nothing is. Those that name a place come first, the worst of them leading.

    Rows of one statistic with the same cause share a sentence, which tells the worst of them and names the other places; so do those
    beyond the worst five of a statistic.
    """
    said = [row for row, bad in zip(statistics, wrong(statistics), strict=True) if bad]
    said.sort(key=lambda row: (_general(row), -_rank(row)))
    groups: dict[tuple[str, str], list[Statistic]] = {}
    for i, row in enumerate(said):
        groups.setdefault((row.name, row.cause or f"row {i}"), []).append(row)
    made: list[str] = []
    told: dict[str, int] = {}
    rest: dict[str, list[Statistic]] = {}
    for (name, _), rows in groups.items():
        told[name] = told.get(name, 0) + 1
        if told[name] <= MOST_OF_ONE:
            made.append(sentence(rows[0]) + (f"; so it is in {listed([row.where for row in rows[1:]])}" if len(rows) > 1 else ""))
        else:
            rest.setdefault(name, []).extend(rows)
    made += [f"By {name} there are more differences, in {listed([row.where for row in rows])}" for name, rows in rest.items()]
    return made


def verdict(statistics: Sequence[Statistic], found: Sequence[str], rows: str, warnings: Sequence[str] = ()) -> str:
    """The check in one or a few sentences.

    Args:
        statistics: all rows.
        found: what `findings` returned.
        rows: what was compared, in words ("500 real and 500 generated rows").
        warnings: sentences that every reader has to know, such as that the rows were trained on.
    """
    parts = [f"{warning}." for warning in warnings]
    judged = [row for row in statistics if math.isfinite(row.p)]
    if found:
        parts.append(f"{len(found)} finding{'s' if len(found) > 1 else ''} on {rows}.")
        parts += [f"{sentence}." for sentence in _worst(found)]
        if len(found) > len(_worst(found)):
            parts.append(f"{len(found) - len(_worst(found))} more below.")
    elif judged:
        agree = "statistics agree with what they should be" if len(judged) > 1 else "statistic agrees with what it should be"
        parts.append(f"Nothing wrong was found on {rows}: {len(judged)} {agree}.")
    else:
        parts.append(f"Nothing could be judged on {rows}.")
    parts += _summary(statistics)
    return " ".join(parts)


def _summary(statistics: Sequence[Statistic]) -> list[str]:
    """The one number of each sort that a reader asks for first."""
    made = []
    found = [row for row in statistics if row.name == "c2st_auc"]
    if found:  # of the classifier that sees most
        top = max(found, key=lambda row: abs(row.value - 0.5))
        made.append(f"Generated and real rows are {describe_auc(top.value, known=not top.p > LEVEL)}.")
    for row in statistics:
        if row.name in ("accuracy", "rmse"):
            got = f"{row.name} {plus_minus(row.value, row.error)}"
            made.append(f"Target '{row.where}': {got}, the best constant answer has {number(row.null)}.")
        if row.name == "log_likelihood":
            made.append(f"Log-likelihood of these rows: {plus_minus(row.value, row.error)} nats per row.")
    return made


def _worst(found: Sequence[str]) -> list[str]:
    """The first three sentences that speak of different places."""
    kept: dict[str, str] = {}
    for sentence in found:
        kept.setdefault(sentence.split(": ")[0], sentence)
    return list(kept.values())[:3]


def _general(row: Statistic) -> bool:
    """Whether a statistic speaks of everything together, and so names no place."""
    return row.where.startswith(("all columns", "pixels", "sets"))


def _rank(row: Statistic) -> float:
    pull = abs(row.pull)
    return pull if math.isfinite(pull) else 1e9


def sentence(row: Statistic) -> str:
    """What is said of a row if it is a finding."""
    text = row.claim or f"{row.where}: {row}"
    return text[0].upper() + text[1:]
