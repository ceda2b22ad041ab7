"""How much work a check does: sample sizes and numbers of null draws, chosen from a budget in seconds by a fixed cost model.

No clock is read, so the same budget gives the same numbers on every machine. What was chosen is recorded in the notes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from gnomon.errors import OptionError

_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}
DEFAULT = 30.0
"""Seconds aimed at when no budget is given; small data take far less."""


@dataclass(frozen=True)
class Effort:
    """Sizes that statistics keep to.

    Args:
        rows: at most so many rows a side are compared at all.
        null_rows: at most so many rows a side are relabelled; nulls of longer data are scaled with the square root of the size.
        draws: number of relabellings.
        more_draws: further relabellings where the data lie beyond all of the first.
        joint_rows: at most so many rows a side for statistics that train a classifier.
        retrainings: how many times that classifier is trained anew on relabelled rows.
        retraining_rows: at most so many rows a side for that; the spread of the null is scaled to all rows.
        model_rows: at most so many rows a side for which the model computes log-probabilities.
        kernel_rows: at most so many rows a side for kernels, which look at all pairs of rows.
        neighbour_rows: at most so many rows a side whose nearest neighbours are sought.
        transport_rows: at most so many rows a side between which mass is moved.
        few_draws: number of relabellings where each costs as much as the value.
        seconds: the budget these sizes were chosen for.
    """

    rows: int = 1_000_000
    null_rows: int = 10_000
    draws: int = 999
    more_draws: int = 3000
    joint_rows: int = 10_000
    retrainings: int = 24
    model_rows: int = 20_000
    kernel_rows: int = 4_000
    neighbour_rows: int = 5_000
    transport_rows: int = 400
    few_draws: int = 99
    retraining_rows: int = 2_000
    seconds: float = DEFAULT

    @classmethod
    def of(cls, budget: str | float | None, *, columns: int) -> Effort:
        """The sizes for a budget ("1min", "90s", 30) and a number of columns.

        Raises:
            OptionError: the budget is not a duration.

        Example:
            >>> Effort.of("5min", columns=10).joint_rows
            200000
        """
        seconds = DEFAULT if budget is None else parse_seconds(budget)
        columns = max(1, columns)
        draws, more_draws = 999, 3000
        null_rows = _between(0.12 * seconds / (draws * columns * 2 * 12e-9), 500, 20_000)
        joint_rows = _between(0.15 * seconds / (1e-6 * (25 + 2 * columns)), 1_000, 200_000)
        retraining_rows = 2_000 if seconds >= 10 else 1_000
        retrainings = int(min(24, max(12, 0.2 * seconds / (2 * (0.1 + 0.0013 * columns)))))
        rows = _between(0.1 * seconds / (columns * 3e-7), 20_000, 1_000_000)
        model_rows = _between(seconds * 700, 1_000, 200_000)
        kernel_rows = _between(770 * math.sqrt(seconds), 500, 20_000)
        neighbour_rows = _between(1000 * math.sqrt(seconds), 1_000, 20_000)
        transport_rows = _between(75 * math.sqrt(seconds), 100, 2_000)
        few_draws = 99 if seconds >= 10 else 49
        return cls(
            rows, null_rows, draws, more_draws, joint_rows, retrainings, model_rows, kernel_rows, neighbour_rows, transport_rows, few_draws,
            retraining_rows, seconds,
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f"budget {self.seconds:g} s: at most {self.rows:,} rows a side compared, {self.null_rows:,} relabelled {self.draws} times "
            f"(and {self.more_draws} more where all of these are exceeded), "
            f"{self.joint_rows:,} for classifiers, trained {self.retrainings} times on {self.retraining_rows:,} relabelled rows, "
            f"{self.model_rows:,} for log-probabilities, {self.kernel_rows:,} for kernels, {self.neighbour_rows:,} for nearest neighbours, "
            f"{self.transport_rows:,} for exact transport"
        )


def parse_seconds(budget: str | float) -> float:
    """Seconds in "1min", "90s", "0.5h" or a plain number.

    Example:
        >>> parse_seconds("1.5min")
        90.0
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([a-z]*?)s?\s*", str(budget).lower())
    unit = None if match is None else _UNITS.get(match.group(2))
    if match is None or unit is None or not 0 < float(match.group(1)) * unit < math.inf:
        raise OptionError(f"budget wants a duration such as 90, '30s' or '5min'; got {budget!r}")
    return float(match.group(1)) * unit


def _between(value: float, low: int, high: int) -> int:
    """`value` as a whole number of two figures, kept in [low, high]."""
    if value <= low:
        return low
    step = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return int(min(high, value // step * step))
