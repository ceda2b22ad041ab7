"""What the numbers written after every epoch tell: overfitting, no progress, jumps, still falling.

Pure functions of a history; they look at no weights or data, so that a run can be judged long after it ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

History = Sequence[Mapping[str, Any]]

FEWEST = 5  # epochs below which a trend is not judged
TAIL = 0.2  # share of the epochs that counts as the end
LOST = 0.5  # of what the held-out loss had gained, given back: overfitting
BY_HEART = 1e-3  # of the first loss: training rows are known so well that no noise in them can be left over
LEFT = 0.25  # of the first loss, still there on held-out rows: nothing of the kind is known of these


def series(history: History, key: str) -> np.ndarray:
    """Finite values of a metric (means over seeds trained together), by epoch."""
    values = [entry.get(key) for entry in history]
    numbers = [
        float(np.mean(v)) if isinstance(v, list) else v for v in values if isinstance(v, (int, float, list)) and not isinstance(v, bool)
    ]
    return np.array([v for v in numbers if math.isfinite(v)], dtype=np.float64)


def jitter(values: np.ndarray) -> float:
    """Size of the jitter from epoch to epoch, from second differences in the later half, so that a trend does not count."""
    second = np.diff(values[len(values) // 2 :], n=2)
    return float(np.median(np.abs(second)) / 1.65) if len(second) else 0.0


def still_falling(values: np.ndarray) -> bool:
    """Whether the last part fell by more than a twentieth of the whole fall and more than its jitter explains.

    Example:
        >>> still_falling(np.linspace(5.0, 3.0, 20)), still_falling(np.exp(-np.arange(20.0)))
        (True, False)
    """
    tail = values[-max(3, int(TAIL * len(values))) :]
    fall = float(tail[0] - tail[-1])
    whole = float(values[0] - values.min())
    return whole > 0 and fall > 0.05 * whole and fall > 3 * jitter(values) and int(np.argmin(values)) >= len(values) - 2


def steady(values: np.ndarray) -> bool:
    """Whether the loss fell as fast in the second half as in the first: learning has hardly begun.

    Example:
        >>> steady(np.linspace(5.0, 3.0, 20)), steady(np.exp(-0.2 * np.arange(20.0)))
        (True, False)
    """
    if len(values) < 2 * FEWEST:
        return False
    middle = len(values) // 2
    first, second = float(values[0] - values[middle]), float(values[middle] - values[-1])
    return second > 0 and second >= 0.8 * first and second > 6 * jitter(values)


def overfitting(history: History, *, first: float | None = None) -> str | None:
    """One line if the held-out loss gave back a good part of what it had gained while the training loss went on falling.

    Args:
        history: records of epochs.
        first: loss before the first step, where it is known.
    """
    held, train = series(history, "validation/loss"), series(history, "train/loss")
    if len(held) < FEWEST or len(train) != len(held):
        return None
    best = int(np.argmin(held))
    after = held[best + 1 :]
    if len(after) < max(FEWEST, int(TAIL * len(held))):
        return None
    end = float(np.median(after[-max(3, len(after) // 4) :]))
    rise = end - float(held[best])
    start = max(float(held[0]), float(train[0]), -math.inf if first is None else first)
    gained = start - float(held[best])
    spread = _scatter(after)
    apart = float(train[best] - train[-1])
    # A curve of pure noise has its least value somewhere too: what counts is a rise against its scatter, with training going on.
    significant = rise > 4 * max(jitter(held), spread) and apart > 0.1 * rise
    if not significant or rise < LOST * gained or rise < 0.02 * (abs(float(held[best])) + abs(end)):
        return None
    return (
        f"overfitting: the held-out loss was best in epoch {best + 1} of {len(held)} ({held[best]:.4g}) and rose to {end:.4g} while "
        f"the training "
        f"loss fell from {train[best]:.4g} to {train[-1]:.4g}; get more data, a smaller model, dropout or weight_decay"
    )


def by_heart(history: History, *, first: float | None) -> str | None:
    """One line if the training loss, one that cannot be negative, has all but vanished while most of the held-out loss is still there.

    Args:
        history: records of epochs.
        first: loss before the first step, where it is known.
    """
    held, train = series(history, "validation/loss"), series(history, "train/loss")
    if first is None or len(held) < FEWEST or len(train) != len(held) or min(train.min(), held.min()) < 0 or first <= 0:
        return None
    if train[-1] > BY_HEART * first or held.min() < LEFT * first:
        return None
    return (
        f"overfitting: the training rows are learned by heart (loss {train[-1]:.2g}, {first:.4g} at the start), and on held-out rows the "
        f"loss is still {held.min():.4g} at best; get more data, a smaller model, dropout or weight_decay"
    )


def _scatter(values: np.ndarray) -> float:
    """Scatter of the values about the straight line through them, per point of the last quarter's median."""
    if len(values) < 3:
        return math.inf
    x = np.arange(len(values), dtype=np.float64)
    residual = values - np.polyval(np.polyfit(x, values, 1), x)
    return float(np.std(residual) / math.sqrt(max(1, len(values) // 4)))


def jumps(history: History, key: str) -> int | None:
    """The epoch in which a training loss jumped up by more than half of all its range and did not come back at once, or None."""
    values = series(history, key)
    if len(values) < FEWEST:
        return None
    rises = np.diff(values)
    found = np.flatnonzero(rises > max(0.5 * float(np.ptp(values)), 10 * jitter(values)))
    return int(found[0]) + 2 if len(found) else None


def flat(history: History, key: str) -> bool:
    """Whether a loss never left its first value by more than its jitter."""
    values = series(history, key)
    if len(values) < FEWEST:
        return False
    noise = jitter(values)
    return abs(values[0] - values[-1]) <= 2 * noise and abs(values[0] - values.min()) <= 4 * noise


def above(history: History, key: str, level: float) -> bool:
    """Whether the last three epochs' values all lie above `level`."""
    values = series(history[-3:], key)
    return len(values) == 3 and bool(np.all(values > level))
