"""Whether the best trial is better than the default and the runner-up, or only luckier on these rows: said plainly.

Scores are paired on the same rows; p-values are corrected for how many settings were looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.selection.scoring import finite, paired, plus_minus
from gnomon.selection.trials import Trial

LEVEL = 0.05
"""Chance that settings of equal merit are said to differ."""


@dataclass(frozen=True)
class Comparison:
    """The best trial beside another.

    Args:
        best: name of the best trial.
        other: name of the other.
        difference: how much better the best is, in units of the score; positive is better.
        error: its standard error, paired block by block.
        p: chance of so large a difference of equals, corrected for the number of settings; NaN with a single row.
    """

    best: str
    other: str
    difference: float
    error: float
    p: float

    @property
    def real(self) -> bool:
        """Whether the difference is more than luck."""
        return self.p <= LEVEL

    def __str__(self) -> str:
        gap = plus_minus(self.difference, self.error)
        if math.isnan(self.p):
            return (
                f"{self.best} is ahead of {self.other} by {gap}; whether that is real cannot be said from one held-out share (folds=5 can)"
            )
        chance = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        if self.real:
            return f"{self.best} is better than {self.other} by {gap} ({chance}, corrected for the number of settings)"
        return f"{self.best} cannot be told from {self.other}: ahead by {gap} ({chance}, corrected for the number of settings)"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        numbers = {"difference": finite(self.difference), "error": finite(self.error), "p": finite(self.p)}
        return {"best": self.best, "other": self.other, **numbers, "real": self.real}


def compared(candidates: Sequence[Trial], settings: int, ratio: float, greater: bool) -> list[Comparison]:
    """The best beside the default and beside the runner-up.

    Args:
        candidates: trials that ran their whole length, best first, the default among them.
        settings: from how many settings the best was chosen.
        ratio: judged rows over training rows in a fold.
        greater: whether more of the score is better.
    """
    best, sign = candidates[0], 1.0 if greater else -1.0
    made = []
    for other in dict.fromkeys(t.number for t in [*[t for t in candidates[1:] if t.number == 0], *candidates[1:2]]):
        trial = next(t for t in candidates if t.number == other)
        difference, error, p = paired(trial.folds, best.folds, ratio)
        # The default was fixed beforehand, so that the best is one of `settings`; the runner-up is one end of all pairs.
        looks = settings if 0 in (other, best.number) else settings * (settings + 1) // 2
        made.append(Comparison(best.name, trial.name, sign * difference, error, min(1.0, p * looks) if p == p else math.nan))
    return made
