"""How a comparison of runs is shown on the command line: a table, then which differences are real.

The judgement is made in `checks.comparing`.
"""

from __future__ import annotations

from typing import Any

from gnomon.cli.lines import number, table


def told(comparison: Any) -> str:
    """The lines of a `gnomon.checks.Comparison`."""
    header = ["rank", "run", "model", "value", "±", "behind best by", "±", "p", "verdict", "note"]
    rows = [
        [e.rank, e.run, e.model, e.value, e.error, e.difference, e.difference_error, e.p, e.verdict, e.note] for e in comparison.ranking
    ]
    mean = "" if comparison.ranking[0].note.startswith("null ") else "mean "
    lines = [f"{mean}{comparison.metric}, {number(comparison.ranking[0].n)} rows", table(header, rows)]
    if comparison.recipes:
        shown = [
            [r.recipe, len(r.runs), r.mean, r.error, r.sd, r.difference, r.difference_error, r.p, r.verdict] for r in comparison.recipes
        ]
        lines += ["", table(["recipe", "runs", "mean", "±", "run to run", "behind best by", "±", "p", "verdict"], shown)]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in comparison.sentences)])
