"""Learning-rate schedules: the factor on the learning rate as a function of the step.

A schedule knows the planned number of steps and nothing else; plateau rules, which need history, are not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gnomon.errors import OptionError
from gnomon.options import unknown

Schedule = Callable[[int], float]


def constant(step: int, total: int) -> float:
    """Always 1."""
    return 1.0


def cosine(step: int, total: int) -> float:
    """From 1 to 0 along half a cosine (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983)."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, total))))


def linear(step: int, total: int) -> float:
    """From 1 to 0 along a straight line."""
    return max(0.0, 1.0 - step / max(1, total))


def one_cycle(step: int, total: int, *, rise: float = 0.3, start: float = 0.04, end: float = 1e-4) -> float:
    """Up from `start` to 1 over the first `rise` of the steps, then down to `end`, both along cosines.

    Reference: Smith & Topin 2018, https://arxiv.org/abs/1708.07120
    """
    peak = max(1.0, rise * total)
    if step < peak:
        return start + (1.0 - start) * 0.5 * (1.0 - math.cos(math.pi * step / peak))
    return end + (1.0 - end) * cosine(int(step - peak), max(1, int(total - peak)))


SCHEDULES: dict[str, Callable[[int, int], float]] = {"constant": constant, "cosine": cosine, "linear": linear, "one-cycle": one_cycle}


def make(name: str, total: int, *, warmup: int = 0) -> Schedule:
    """The schedule called `name` over `total` steps, preceded by a linear rise over the first `warmup` of them.

    Args:
        name: "constant", "cosine", "linear" or "one-cycle".
        total: planned number of steps.
        warmup: steps during which the factor also rises linearly from 1 / warmup to 1.

    Raises:
        OptionError: no schedule has that name.

    Example:
        >>> rate = make("cosine", 100, warmup=10)
        >>> round(rate(0), 3), round(rate(100), 3)
        (0.1, 0.0)
    """
    if name not in SCHEDULES:
        raise OptionError(unknown("schedule", name, SCHEDULES))
    shape = SCHEDULES[name]

    def factor(step: int) -> float:
        return shape(step, total) * (min(1.0, (step + 1) / warmup) if warmup else 1.0)

    return factor
