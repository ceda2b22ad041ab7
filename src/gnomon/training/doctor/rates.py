"""Whether steps are of the right length: what one update did to the weights and to the loss on the very batch it came from.

Both judgements are free of scale. By the Cauchy-Schwarz inequality a step changes the loss by no more than
``|gradient| · |step|`` as long as the loss is straight on the way; a loss that rises by more has been overshot. And weights that
would move by less than a few hundredths of their size in the whole fit can learn next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

OVERSHOT = 1.0  # rise of the loss in units of |gradient| · |step|
LEAP = 0.1  # of the weights' size in a single step
STILL = 1e-3  # of the weights' size in a single step: shorter ones do not throw a loss up
STANDSTILL = 0.05  # of the weights' size in the whole fit, where the loss has hardly fallen either
STANDSTILL_OF_RIVALS = 0.01  # where the loss tells nothing
USUAL_TURNS = 1000  # a fit that does not say how long it will be
FEWEST_TURNS = 100  # shorter fits are judged as if they had so many


@dataclass(frozen=True)
class Step:
    """What one update did.

    Args:
        turn: of the loop.
        before: loss on the batch before the update.
        after: loss on the same batch, with the same random numbers, after it.
        rise: (after - before) / (|gradient| · |step|).
        ratio: |step| / |weights|, of the weights (not of biases and scales).
        factor: of the schedule at that turn.
        largest: the layer that moved most, in units of its own size.
    """

    turn: int
    before: float
    after: float
    rise: float
    ratio: float
    factor: float
    largest: str = ""


@dataclass(frozen=True)
class Level:
    """The loss before the first step.

    Args:
        value: its mean over the rows it was measured on.
        slack: what chance may add to another measurement of it.
    """

    value: float
    slack: float

    @classmethod
    def of(cls, parts: Sequence[float]) -> Level:
        """From means over parts of the rows."""
        value = sum(parts) / len(parts)
        spread = math.sqrt(sum((p - value) ** 2 for p in parts) / max(1, len(parts) - 1))
        return cls(value, 3 * spread / math.sqrt(len(parts)))

    @property
    def high(self) -> float:
        """What is clearly above it."""
        return self.value + max(self.slack, 0.2 * abs(self.value))


def too_high(steps: Sequence[Step], first: Level, rate: float, *, rivals: bool) -> str | None:
    """One line if steps overshoot.

    Args:
        steps: of one player, oldest first.
        first: loss before the first step.
        rate: the learning rate.
        rivals: whether other players change the loss too, so that its level means nothing.
    """
    needed = 3 if rivals else 2
    if len(steps) < needed or steps[-1].turn < 2:
        return None
    recent = steps[-needed:]
    overshot = all(not s.rise <= OVERSHOT and (rivals or not s.after <= first.high) for s in recent)
    lost = (
        not rivals and all(not s.before <= first.high + 0.5 * abs(first.value) for s in recent[1:]) and all(s.ratio > LEAP for s in recent)
    )
    if not (overshot or lost):
        return None
    last = recent[-1]
    return (
        f"the learning rate {rate:g} is too high: the step of turn {last.turn + 1} moved weights by {100 * last.ratio:.2g} % of their size "
        f"(most in '{last.largest}') and took the loss on its own batch from {last.before:.3g} to {last.after:.3g} "
        f"({first.value:.3g} at the "
        "start); lower lr tenfold"
    )


def blown_up(step: Step, rate: float) -> str:
    """One line on a loss that is no longer finite after a step that was far too long."""
    return (
        f"the learning rate {rate:g} is too high: the step of turn {step.turn + 1} moved weights by {100 * step.ratio:.2g} % of "
        f"their size (most "
        f"in '{step.largest}') and took the loss on its own batch from {step.before:.3g} to {step.after:.3g}, and then it was no "
        f"longer finite; "
        "lower lr tenfold"
    )


def ratios_above(steps: Sequence[Step], limit: float) -> bool:
    """Whether steps were long enough, against the weights, to be the cause of a loss that stands too high."""
    return bool(steps) and max(s.ratio for s in steps) > limit


def too_low(steps: Sequence[Step], rate: float, turns: int | None, *, rivals: bool) -> str | None:
    """One line if weights hardly move: in three looks, the last after 30 turns or more."""
    known = [s for s in steps if s.factor > 1e-3][-3:]
    if len(known) < 3 or known[-1].turn < 29 or not all(s.ratio > 0 for s in known):
        return None  # weights that do not move at all have no gradient, whatever the rate
    planned = USUAL_TURNS if turns is None else max(turns, FEWEST_TURNS)
    moved = [planned * s.ratio / s.factor for s in known]
    if max(moved) >= (STANDSTILL_OF_RIVALS if rivals else STANDSTILL):
        return None
    return (
        f"the learning rate {rate:g} is too low: {planned:,} steps would move the weights by {100 * max(moved):.2g} % of their size; "
        f"raise lr (about {_suggested(rate, max(moved)):.0e})"
    )


def _suggested(rate: float, moved: float) -> float:
    """A rate at which the weights would move by about their own size, never more than a hundredth."""
    return min(rate / max(moved, 1e-12), 1e-2) if rate < 1e-2 else 2 * rate
