"""The first-order optimiser: a rule over flat parameters, with clipping and averaging that never wait for the device.

Rules that look at the loss more than once in a step have files of their own and share the state kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from gnomon.training.optimisers.options import OptimiserOptions
from gnomon.training.optimisers.penalties import alter_gradient, limit_norms
from gnomon.training.optimisers.rules import RULES, Rule, fused_kernel
from gnomon.training.parameters import FlatParameters


@dataclass(frozen=True)
class Look:
    """What an optimiser may ask about the loss at the weights in place; random numbers are the same at every look.

    Args:
        gradient: puts the gradient of the summed loss in the buffer; returns that sum and the weight it is to be divided by.
        residuals: ``(m,)`` numbers whose squares the loss sums, their Jacobian ``(m, size)`` by the flat parameters, and the
            weight. Raises OptionError where the model has none.
    """

    gradient: Callable[[], tuple[Tensor, Tensor]]
    residuals: Callable[[], tuple[Tensor, Tensor, Tensor]]


class Optimiser:
    """Moves one player's flat parameters down its gradient.

    The gradient in the buffer is that of a weighted *sum*; division by the weight and clipping are folded into one scale.

    Args:
        parameters: what is moved.
        options: how.
        rule: the rule of ``options.optimizer`` unless given.
    """

    def __init__(self, parameters: FlatParameters, options: OptimiserOptions, rule: Rule | None = None) -> None:
        self.parameters = parameters
        self.options = options
        self.rule = rule or RULES[options.optimizer]
        self.steps = 0
        data = parameters.data
        self.buffers: dict[str, Tensor] = {name: torch.zeros_like(data) for name in self.rule.buffers}
        self.averaged = data.clone() if options.average else None
        self._count = torch.zeros((), dtype=torch.float32, device=data.device)
        self._altered = bool(options.l1 or options.gradient_noise or options.adaptive_clip is not None)
        self._groups = decay_groups(parameters, options)
        whole = parameters.copies is None or len(self._groups) == 1  # parts of several copies do not lie in one piece
        self._fused = fused_kernel(self.rule, data, options) if whole else None

    @property
    def looks_again(self) -> bool:
        """Whether a step asks for the loss more than once: then the loop calls `move`, else `step`."""
        return self.options.sharpness > 0

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.parameters.zero_grad()

    def move(self, factor: float, look: Look) -> None:
        """One update by the gradient at the worst place within the radius `sharpness`.

        Args:
            factor: the schedule's factor on the learning rate.
            look: the loss.
        """
        _, weight = look.gradient()
        self.parameters.gather()
        here, gradient = self.parameters.data.clone(), self.parameters.grad
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp_min(1e-12)
        self.parameters.data.add_(gradient * (self.options.sharpness / norm))
        _, weight = look.gradient()
        self.parameters.data.copy_(here)
        self.step(factor, weight)

    def step(self, factor: float, weight: Tensor) -> None:
        """One update by the gradient in the buffer.

        Args:
            factor: the schedule's factor on the learning rate.
            weight: what the summed gradient is to be divided by; a scalar, or ``(copies,)``.
        """
        self.parameters.gather()
        if self._altered:
            alter_gradient(self.parameters, self.options, weight, self.steps)
        scale = self._scale(weight)
        self.steps += 1
        rate = self.options.lr * factor
        if self._fused is not None:
            self._count += 1
            if self.parameters.copies is not None:  # each has a scale of its own, and the kernel takes one
                self.parameters.grad.div_(scale[:, None])
                scale = torch.ones_like(self._count)
            for part, decay in self._parts:
                self._fused(*part, self._count, rate=rate, decay=decay, scale=scale)
        else:
            self.parameters.grad.div_(scale if self.parameters.copies is None else scale[:, None])
            self._update(rate)
        if self.options.max_norm is not None:
            limit_norms(self.parameters, self.options.max_norm)
        self._average()

    def state(self) -> dict[str, Tensor]:
        """Every tensor needed to go on exactly, keyed ``buffer/parameter``."""
        buffers = dict(self.buffers) | {"last": self.parameters.data}
        if self.averaged is not None:
            buffers["average"] = self.averaged
        return {f"{key}/{name}": view for key, buffer in buffers.items() for name, view in self.parameters.views(buffer).items()}

    def load_state(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Copy the tensors of `state` into place; `steps` is how many updates had been made."""
        for key, view in self.state().items():
            view.copy_(tensors[key])
        self.steps = steps
        self._count.fill_(float(steps))

    def options_dict(self) -> dict[str, object]:
        """The options as plain values for the run's record."""
        return asdict(self.options)

    @cached_property
    def _parts(self) -> list[tuple[tuple[Tensor, ...], float]]:
        """Weights, gradient and buffers of each stretch with a decay of its own, and that decay."""
        flat = (self.parameters.data, self.parameters.grad, *self.buffers.values())
        return [(tuple(buffer[:, stretch] for buffer in flat), decay) for stretch, decay in self._groups]

    def _update(self, rate: float) -> None:
        """Move by the mean gradient in the buffer."""
        for (p, g, *buffers), decay in self._parts:
            if decay and self.rule.apart:
                p.mul_(1.0 - rate * decay)
            elif decay:
                g.add_(p, alpha=decay)
            self.rule.update(p, g, *buffers, options=self.options, rate=rate, step=self.steps)

    def _average(self) -> None:
        if self.averaged is not None:
            # Early averages look back over a tenth of the steps made, so that the start is soon forgotten.
            assert self.options.average is not None
            decay = min(self.options.average, (1 + self.steps) / (10 + self.steps))
            self.averaged.lerp_(self.parameters.data, 1.0 - decay)

    def _scale(self, weight: Tensor) -> Tensor:
        clip = self.options.clip
        if clip is None:
            return weight
        if self.parameters.copies is None:
            return torch.maximum(weight, torch.linalg.vector_norm(self.parameters.grad) / clip)
        return torch.maximum(weight, torch.linalg.vector_norm(self.parameters.grad, dim=1) / clip)


def decay_groups(parameters: FlatParameters, options: OptimiserOptions) -> list[tuple[slice, float]]:
    """Stretches of the buffer with the decay that each has; neighbours with the same are one."""
    if not options.weight_decay:
        return [(slice(0, None), 0.0)]
    groups: list[tuple[slice, float]] = []
    for kind, stretch in parameters.slices.items():
        decay = options.weight_decay if kind in options.decays else 0.0
        if groups and groups[-1][1] == decay:
            stretch = slice(groups.pop()[0].start, stretch.stop)
        groups.append((stretch, decay))
    return groups
