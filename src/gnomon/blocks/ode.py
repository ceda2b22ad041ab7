"""Ordinary differential equations of many rows at once: fixed steps, and adaptive ones in which every row keeps its own pace.

Pure functions of tensors. Gradients go through the steps that were taken; what flows along the solution is left to the callers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gnomon.errors import OptionError

Field = Callable[[Tensor, Tensor], Tensor]
"""``(t, y) -> dy/dt``: t is ``()`` or ``(n,)``, y and its derivative ``(n, size)``; rows may not influence each other."""

# Dormand and Prince's tableau: times, the rows that give each stage, and the difference between the fifth and the fourth order.
_TIMES = (0.2, 0.3, 0.8, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def rk4(field: Field, y: Tensor, start: float, end: float, *, steps: int) -> Tensor:
    """Solve dy/dt = field(t, y) by the classical method of fourth order in equal steps; it works under vmap and compile.

    Args:
        field: the derivative; it gets t as a tensor ``()``.
        y: ``(n, size)`` at time `start`.
        start, end: times; the end may be the earlier one.
        steps: how many, with four looks at the field each.

    Returns:
        ``(n, size)`` at time `end`. Gradients are those of the steps, exact for the numbers returned.

    Raises:
        OptionError: less than one step.

    Example:
        >>> rk4(lambda t, y: -y, torch.ones(1, 1), 0.0, 1.0, steps=10)
        tensor([[0.3679]])
    """
    if steps < 1:
        raise OptionError(f"rk4 wants steps of 1 or more; got {steps}")
    h = (end - start) / steps
    for i in range(steps):
        t = start + i * h
        k1 = field(y.new_full((), t), y)
        middle = y.new_full((), t + 0.5 * h)
        k2 = field(middle, y + 0.5 * h * k1)
        k3 = field(middle, y + 0.5 * h * k2)
        k4 = field(y.new_full((), t + h), y + h * k3)
        y = y + (h / 6) * (k1 + 2 * (k2 + k3) + k4)
    return y


def dopri5(
    field: Field, y: Tensor, start: float, end: float, *, rtol: float = 1e-5, atol: float = 1e-6, max_steps: int = 1000
) -> Tensor:  # fmt: skip
    """Solve dy/dt = field(t, y) by Dormand and Prince's adaptive method of fifth order, every row with its own time and step.

    A row that has arrived stands still until all have. Whether all have is read by the host once per step, so this neither works
    under vmap nor compiles in one graph: there take `rk4`. Where gradients are wanted, the steps are found first, without them, and
    then taken once more: gradients are those of the accepted steps, exact for the numbers returned, the lengths of the steps fixed.

    Args:
        field: the derivative; it gets t as ``(n,)``.
        y: ``(n, size)`` at time `start`.
        start, end: times; the end may be the earlier one.
        rtol, atol: the error allowed in a step, relative and absolute: of a row it is the root of the mean square over its columns.
        max_steps: steps, rejected ones counted, after which to give up.

    Returns:
        ``(n, size)`` at time `end`.

    Raises:
        OptionError: rows are still under way after `max_steps`, or an option is out of range.

    Reference: Dormand & Prince 1980, https://doi.org/10.1016/0771-050X(80)90013-3; the control of the steps: Hairer, Nørsett &
    Wanner 1993, Solving Ordinary Differential Equations I, section II.4

    Example:
        >>> dopri5(lambda t, y: -y, torch.ones(1, 1), 0.0, 1.0)
        tensor([[0.3679]])
    """
    if not (rtol > 0 and atol > 0 and max_steps >= 1):
        raise OptionError(f"dopri5 wants rtol and atol above 0 and max_steps of 1 or more; got {rtol}, {atol} and {max_steps}")
    if start == end or not len(y):
        return y
    with torch.no_grad():
        arrived, taken = _adaptive(field, y.detach(), start, end, rtol, atol, max_steps)
    return _again(field, y, taken) if torch.is_grad_enabled() else arrived


def _adaptive(
    field: Field, y: Tensor, start: float, end: float, rtol: float, atol: float, max_steps: int
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Where every row arrives, and the time and length of each step, 0 for rows that did not move in it."""
    t, goal = y.new_full((len(y),), start), y.new_full((len(y),), end)
    slope = field(t, y)
    length = _first_length(field, t, y, slope, math.copysign(1.0, end - start), rtol, atol)
    taken: list[tuple[Tensor, Tensor]] = []
    for _ in range(max_steps):
        left = goal - t
        last = length.abs() >= left.abs()
        h = torch.where(last, left, length)
        moved, slopes = _step(field, t, y, h, slope)
        ratio = _norm(_combined(slopes, _ERROR) * h[:, None], y, moved, rtol, atol)
        accepted = ratio <= 1  # False where it is not a number
        kept = torch.where(accepted, h, 0.0)
        taken.append((t, kept))
        t = torch.where(accepted & last, goal, t + kept)
        y = torch.where(accepted[:, None], moved, y)
        slope = torch.where(accepted[:, None], slopes[-1], slope)
        factor = (0.9 * ratio.clamp_min(1e-10) ** -0.2).nan_to_num(0.2).clamp(0.2, 5.0)
        length = h * torch.where(accepted, factor, factor.clamp_max(0.9))
        if bool((t == goal).all()):
            return y, taken
    late = t != goal
    where = (goal - t).abs().max().item() / abs(end - start)
    raise OptionError(
        f"the differential equation did not reach t = {end:g} in max_steps = {max_steps}: {int(late.sum())} of {len(y)} rows are under "
        f"way, the last with {where:.3g} of the way to go; raise max_steps or rtol, or look for a velocity that is stiff or not finite"
    )


def _again(field: Field, y: Tensor, taken: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The accepted steps once more. A row of length 0 keeps its slope, so the last stage of a step is the first of the next."""
    slope = field(taken[0][0], y)
    for t, h in taken:
        y, slopes = _step(field, t, y, h, slope)
        slope = slopes[-1]
    return y


def _step(field: Field, t: Tensor, y: Tensor, h: Tensor, slope: Tensor) -> tuple[Tensor, list[Tensor]]:
    """One step of each row: where it leads, and the seven slopes, of which the last is that of the end."""
    slopes, stage = [slope], y
    for time, weights in zip(_TIMES, _STAGES, strict=True):
        stage = y + h[:, None] * _combined(slopes, weights)
        slopes.append(field(t + time * h, stage))
    return stage, slopes


def _combined(slopes: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    total = weights[0] * slopes[0]
    for slope, weight in zip(slopes[1:], weights[1:], strict=True):
        if weight:
            total = total + weight * slope
    return total


def _norm(value: Tensor, y: Tensor, other: Tensor, rtol: float, atol: float) -> Tensor:
    """The size of each row in units of what is allowed, ``(n,)``."""
    return (value / (atol + rtol * torch.maximum(y.abs(), other.abs()))).square().mean(1).sqrt()


def _first_length(field: Field, t: Tensor, y: Tensor, slope: Tensor, sign: float, rtol: float, atol: float) -> Tensor:
    """A cautious length of the first step, from the sizes of the value, its slope and how the slope changes."""
    size, speed = _norm(y, y, y, rtol, atol), _norm(slope, y, y, rtol, atol)
    guess = torch.where((size < 1e-5) | (speed < 1e-5), 1e-6, 0.01 * size / speed.clamp_min(1e-5))
    ahead = field(t + sign * guess, y + sign * guess[:, None] * slope)
    bend = _norm(ahead - slope, y, y, rtol, atol) / guess
    most = torch.maximum(speed, bend)
    other = torch.where(most <= 1e-15, guess.clamp_min(1e-3), (0.01 / most.clamp_min(1e-15)) ** 0.2)
    return sign * torch.minimum(100 * guess, other).nan_to_num(1e-6)
