"""Whether compiling a model's losses repays itself: both ways are timed on a copy, and the answer is written to the run.

On resume the answer is read, never timed again: compiled arithmetic differs in the last bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

WORTH = {"cpu": 600.0, "cuda": 120.0}  # seconds: in shorter runs the trial itself costs more than it can bring
FEWEST = 1000  # turns: of fewer not even the eager time is taken
GAIN = 0.8  # compiled time over eager time, compilation included, that is worth the change of bits
TURNS = 4

Turn = Callable[[], object]


def decide(play: Callable[[bool], Turn], planned: int, device: torch.device) -> dict[str, Any]:
    """Time a few eager turns and, where the plan is long enough, a few compiled ones.

    Args:
        play: makes, on a copy of the models, what plays one turn: compiled or not.
        planned: turns that are to be played.
        device: where.

    Returns:
        ``compile`` (bool), ``why`` in words, and the seconds that were measured.

    Example:
        >>> decide(lambda compiled: lambda: None, 10, torch.device("cpu"))
        {'compile': False, 'why': 'only 10 turns are planned'}
    """
    if planned < FEWEST:
        return {"compile": False, "why": f"only {planned} turns are planned"}
    _, eager = _seconds(play(False), device)
    facts: dict[str, Any] = {"eager_turn_seconds": eager}
    if planned * eager < WORTH.get(device.type, 600.0):
        return {"compile": False, "why": f"the plan takes about {planned * eager:.2g} s without"} | facts
    try:
        first, compiled = _seconds(play(True), device)
    except Exception as error:  # whatever a compiler may raise: there is none, or it cannot do this model
        text = str(error).strip().splitlines() or [type(error).__name__]
        return {"compile": False, "why": f"compiling failed: {text[0][:200]}"} | facts
    facts |= {"compiled_turn_seconds": compiled, "compilation_seconds": first}
    ratio = (first + planned * compiled) / (planned * eager)
    return {"compile": ratio < GAIN, "why": f"compiled, the plan takes {ratio:.2f} of the eager time"} | facts


def _seconds(turn: Turn, device: torch.device) -> tuple[float, float]:
    """Seconds of the first turn, and of one of those after it."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    begin = now()
    turn()
    turn()
    first, rest = now() - begin, []
    for _ in range(TURNS):
        begin = now()
        turn()
        rest.append(now() - begin)
    return first, min(rest)
