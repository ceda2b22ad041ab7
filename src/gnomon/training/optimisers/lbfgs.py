"""L-BFGS on whole data: a direction from remembered steps, and a length that satisfies the strong Wolfe conditions.

Made for smooth losses that are the same function at every look; the loop sees to it that random numbers are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnomon.training.optimisers.optimiser import Look, Optimiser
from gnomon.training.optimisers.options import OptimiserOptions
from gnomon.training.optimisers.rules import RULES
from gnomon.training.parameters import FlatParameters

_DECREASE, _CURVATURE = 1e-4, 0.9  # of the Wolfe conditions, as Nocedal & Wright suggest for quasi-Newton directions
_LOOKS = 25  # at most, along one direction


class LBFGS(Optimiser):
    """Limited-memory BFGS for one model.

    Args:
        parameters: what is moved; of a single model.
        options: `memory`, and `lr` as the first length tried along a direction; `weight_decay` and `l1` join the loss.

    Reference: Liu & Nocedal 1989, https://doi.org/10.1007/BF01589116; line search, Nocedal & Wright 2006, algorithms 3.5 and 3.6
    """

    def __init__(self, parameters: FlatParameters, options: OptimiserOptions) -> None:
        super().__init__(parameters, options, RULES["sgd"])
        for index in range(options.memory):
            self.buffers[f"step-{index}"] = torch.zeros_like(parameters.data)
            self.buffers[f"change-{index}"] = torch.zeros_like(parameters.data)

    @property
    def looks_again(self) -> bool:
        """Always."""
        return True

    def move(self, factor: float, look: Look) -> None:
        """One line search along the quasi-Newton direction."""
        here = self.parameters.data.clone()
        value, gradient = self._value(look)
        direction = self._direction(gradient)
        slope = float((direction * gradient).sum())
        if not slope < 0:  # what is remembered no longer fits: start again from the gradient
            self._forget()
            direction, slope = -gradient, -float(gradient.square().sum())
        first = self.options.lr * factor if self._remembered() else min(1.0, 1.0 / max(1e-12, float(gradient.abs().sum())))
        if slope:
            _, new = self._search(look, here, direction, value, slope, first)
            self._remember(self.parameters.data - here, new - gradient)
        self.steps += 1
        self._average()

    def _value(self, look: Look) -> tuple[float, Tensor]:
        """The mean loss with its penalties at the weights in place, and its gradient."""
        total, weight = look.gradient()
        self.parameters.gather()
        gradient, value = self.parameters.grad / weight, float(total / weight)
        for stretch in (s for kind, s in self.parameters.slices.items() if kind in self.options.decays):
            p = self.parameters.data[:, stretch]
            gradient[:, stretch] += self.options.weight_decay * p + self.options.l1 * p.sign()
            value += float(0.5 * self.options.weight_decay * p.square().sum() + self.options.l1 * p.abs().sum())
        return value, gradient

    def _search(self, look: Look, here: Tensor, direction: Tensor, value: float, slope: float, first: float) -> tuple[float, Tensor]:
        """Leave the weights at a place that satisfies the strong Wolfe conditions (or the best seen); its value and gradient."""

        def at(length: float) -> tuple[float, float, Tensor]:
            torch.add(here, direction, alpha=length, out=self.parameters.data)
            value, gradient = self._value(look)
            return value, float((gradient * direction).sum()), gradient

        low, low_value, low_slope, high = 0.0, value, slope, None
        length, looked = first, 0
        best: tuple[float, float, Tensor] | None = None
        while looked < _LOOKS:
            looked += 1
            now, now_slope, gradient = at(length)
            if now == now and (best is None or now < best[1]):
                best = (length, now, gradient)
            if not now <= value + _DECREASE * length * slope or (looked > 1 and now >= low_value):
                high = length
            elif abs(now_slope) <= -_CURVATURE * slope:
                return now, gradient
            else:
                if now_slope * ((high if high is not None else length + 1.0) - low) >= 0:
                    high = low
                low, low_value, low_slope = length, now, now_slope
            if high is None:
                length *= 2.0
            else:
                length = _between(low, high, low_slope, low_value, now, length)
                if abs(high - low) < 1e-9 * max(1.0, abs(low)):
                    break
        if best is None or best[1] >= value:  # nothing better along this line
            self._forget()
            now, _, gradient = at(0.0)
            return now, gradient
        at(best[0])
        return best[1], best[2]

    # -- memory -----------------------------------------------------------------------------------------------------

    def _remembered(self) -> int:
        return sum(1 for index in range(self.options.memory) if self.buffers[f"change-{index}"].any())

    def _forget(self) -> None:
        for buffer in self.buffers.values():
            buffer.zero_()

    def _remember(self, step: Tensor, change: Tensor) -> None:
        """Put the newest pair in front, if the loss curves upwards along it."""
        if not float((step * change).sum()) > 1e-10 * float(change.square().sum()):
            return
        for index in range(self.options.memory - 1, 0, -1):
            for name in ("step", "change"):
                self.buffers[f"{name}-{index}"].copy_(self.buffers[f"{name}-{index - 1}"])
        self.buffers["step-0"].copy_(step)
        self.buffers["change-0"].copy_(change)

    def _direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian's estimate times the gradient, by the two loops of Nocedal & Wright's algorithm 7.4."""
        pairs = [(self.buffers[f"step-{i}"], self.buffers[f"change-{i}"]) for i in range(self._remembered())]
        q, alphas = gradient.clone(), []
        for s, y in pairs:
            alpha = (s * q).sum() / (s * y).sum()
            alphas.append(alpha)
            q -= alpha * y
        if pairs:
            s, y = pairs[0]
            q *= (s * y).sum() / y.square().sum()
        for (s, y), alpha in zip(reversed(pairs), reversed(alphas), strict=True):
            q += s * (alpha - (y * q).sum() / (s * y).sum())
        return -q


def _between(low: float, high: float, low_slope: float, low_value: float, value: float, length: float) -> float:
    """Where the parabola through the value and slope at `low` and the value at `length` is least, kept off the ends."""
    span = length - low
    bend = value - low_value - low_slope * span
    guess = low - 0.5 * low_slope * span * span / bend if span and bend > 0 else 0.5 * (low + high)
    least, most = sorted((low + 0.1 * (high - low), high - 0.1 * (high - low)))
    return min(max(guess, least), most)
