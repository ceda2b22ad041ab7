"""Learning-rate schedules: the factor on the learning rate as a function of the step, and the plateau rule, which reads history.

A schedule knows the planned number of steps and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


def exponential(step: int, total: int, *, end: float = 1e-3) -> float:
    """From 1 to `end`, each step by the same factor."""
    return end ** min(1.0, step / max(1, total))


def steps(step: int, total: int, *, fall: float = 0.1) -> float:
    """1, and `fall` of it after each of half and three quarters of the steps (He et al. 2016, https://arxiv.org/abs/1512.03385)."""
    return fall ** ((step >= 0.5 * total) + (step >= 0.75 * total))


def inverse_root(step: int, total: int) -> float:
    """1 for a hundredth of the steps, then falling as one over the root of the step (Vaswani et al. 2017, section 5.3)."""
    flat = max(1.0, total / 100)
    return min(1.0, math.sqrt(flat / max(1, step)))


def trapezoid(step: int, total: int, *, fall: float = 0.2) -> float:
    """1, then down to 0 along a straight line over the last `fall` of the steps (Hägele et al. 2024, https://arxiv.org/abs/2405.18392)."""
    return min(1.0, linear(step, total) / fall)


def restarts(step: int, total: int, *, cycles: int = 3) -> float:
    """Half cosines from 1 to 0, each twice as long as the one before (Loshchilov & Hutter 2017)."""
    unit = max(1.0, total / (2**cycles - 1))
    index = min(cycles - 1, int(math.log2(step / unit + 1.0)))
    return cosine(int(step - unit * (2**index - 1)), max(1, int(unit * 2**index)))


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": constant, "cosine": cosine, "linear": linear, "one-cycle": one_cycle, "exponential": exponential, "steps": steps,
    "inverse-root": inverse_root, "trapezoid": trapezoid, "restarts": restarts, "plateau": constant,
}  # fmt: skip
"""Every name that `make` takes; "plateau" is constant here, and `Plateau` says when it falls."""


def make(name: str, total: int, *, warmup: int = 0) -> Schedule:
    """The schedule called `name` over `total` steps, preceded by a linear rise over the first `warmup` of them.

    Args:
        name: a key of `SCHEDULES`.
        total: planned number of steps.
        warmup: steps during which the factor also rises linearly from 1 / warmup to 1; at most a quarter of all.

    Raises:
        OptionError: no schedule has that name.

    Example:
        >>> rate = make("cosine", 100, warmup=10)
        >>> round(rate(0), 3), round(rate(100), 3)
        (0.1, 0.0)
    """
    if name not in SCHEDULES:
        raise OptionError(unknown("schedule", name, SCHEDULES))
    shape, warmup = SCHEDULES[name], min(warmup, total // 4)

    def factor(step: int) -> float:
        return shape(step, total) * (min(1.0, (step + 1) / warmup) if warmup else 1.0)

    return factor


@dataclass
class Plateau:
    """A factor that falls whenever the watched value has not become better for some epochs.

    Args:
        patience: epochs without a better value before a fall.
        fall: what the factor is multiplied by.
        factor: where it stands.
        best: the lowest value seen.
        stale: epochs since then.

    Example:
        >>> rule = Plateau(patience=2)
        >>> for value in (1.0, 0.5, 0.6, 0.7):
        ...     rule.see(value)
        >>> rule.factor
        0.5
    """

    patience: int = 5
    fall: float = 0.5
    factor: float = 1.0
    best: float = math.inf
    stale: int = 0

    def see(self, value: float) -> None:
        """Take note of the value at the end of an epoch; lower is better."""
        if value < self.best:
            self.best, self.stale = value, 0
            return
        self.stale += 1
        if self.stale >= self.patience:
            self.factor, self.stale = self.factor * self.fall, 0

    def state(self) -> dict[str, Any]:
        """Where it stands, as plain values."""
        return {"factor": self.factor, "best": self.best, "stale": self.stale}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.factor, self.best, self.stale = state["factor"], state["best"], state["stale"]
