"""Optimisers over flat parameters: Adam, AdamW and SGD, with clipping and averaging that never wait for the device.

One instance moves one player. Schedules, losses and files are not its business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

from gnomon.errors import OptionError
from gnomon.training.parameters import FlatParameters

OPTIMISERS = ("adam", "adamw", "sgd")


@dataclass(frozen=True, kw_only=True)
class OptimiserOptions:
    """What an optimiser can be told.

    Args:
        optimizer: "adam", "adamw" (decay apart from the gradient) or "sgd".
        lr: learning rate before the schedule's factor.
        betas: decay of the averages of gradient and squared gradient (Adam).
        eps: added to the root of the second (Adam).
        momentum: of SGD.
        nesterov: whether SGD looks ahead by its momentum.
        weight_decay: pull of weights (not of biases and scales) towards zero.
        clip: largest norm of the mean gradient, or None.
        average: decay of the exponential average of weights, or None.
    """

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    clip: float | None = 5.0
    average: float | None = 0.999

    def __post_init__(self) -> None:
        checks = {
            "lr": self.lr > 0,
            "betas": len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "eps": self.eps > 0,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": self.weight_decay >= 0,
            "clip": self.clip is None or self.clip > 0,
            "average": self.average is None or 0 < self.average < 1,
        }
        limits = {
            "lr": "above 0", "betas": "two numbers from 0 to below 1", "eps": "above 0", "momentum": "from 0 to below 1",
            "weight_decay": "0 or above", "clip": "above 0, or none", "average": "between 0 and 1, or none",
        }  # fmt: skip
        for name, good in checks.items():
            if not good:
                raise OptionError(f"option '{name}' must be {limits[name]}; got {getattr(self, name)!r}")


class Optimiser:
    """Moves one player's flat parameters down its gradient.

    The gradient in the buffer is that of a weighted *sum*; division by the weight and clipping are folded into one scale.

    Args:
        parameters: what is moved.
        options: how.
    """

    def __init__(self, parameters: FlatParameters, options: OptimiserOptions) -> None:
        self.parameters = parameters
        self.options = options
        self.steps = 0
        adaptive = options.optimizer != "sgd"
        data = parameters.data
        self.buffers: dict[str, Tensor] = {"momentum": torch.zeros_like(data)}
        if adaptive:
            self.buffers["variance"] = torch.zeros_like(data)
        self.averaged = data.clone() if options.average else None
        self._count = torch.zeros((), dtype=torch.float32, device=data.device)
        self._fused = _fused_kernel(options.optimizer, data) if parameters.copies is None else None
        cut = parameters.decayed
        slices = [(slice(0, cut), options.weight_decay), (slice(cut, None), 0.0)]
        self._groups = [g for g in slices if data[:, g[0]].numel()] if options.weight_decay else [(slice(0, None), 0.0)]
        self._parts = [(data[:, s], parameters.grad[:, s], *(b[:, s] for b in self.buffers.values())) for s, _ in self._groups]

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.parameters.zero_grad()

    def step(self, factor: float, weight: Tensor) -> None:
        """One update.

        Args:
            factor: the schedule's factor on the learning rate.
            weight: what the summed gradient is to be divided by; a scalar, or ``(copies,)``.
        """
        self.parameters.gather()
        scale = self._scale(weight)
        self.steps += 1
        rate = self.options.lr * factor
        if self._fused is not None:
            self._count += 1
            for (p, g, m, v), (_, decay) in zip(self._parts, self._groups, strict=True):
                self._fused(
                    [p], [g], [m], [v], [], [self._count],
                    lr=rate, beta1=self.options.betas[0], beta2=self.options.betas[1], weight_decay=decay, eps=self.options.eps,
                    amsgrad=False, maximize=False, grad_scale=scale, found_inf=None,
                )  # fmt: skip
        else:
            self.parameters.grad.div_(scale if self.parameters.copies is None else scale[:, None])
            for part, (_, decay) in zip(self._parts, self._groups, strict=True):
                if self.options.optimizer == "sgd":
                    self._sgd(*part, rate=rate, decay=decay)
                else:
                    self._adam(*part, rate=rate, decay=decay)
        if self.averaged is not None:
            self.averaged.lerp_(self.parameters.data, 1.0 - self._average_decay())

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

    def _scale(self, weight: Tensor) -> Tensor:
        clip = self.options.clip
        if clip is None:
            return weight
        if self.parameters.copies is None:
            return torch.maximum(weight, torch.linalg.vector_norm(self.parameters.grad) / clip)
        return torch.maximum(weight, torch.linalg.vector_norm(self.parameters.grad, dim=1) / clip)

    def _average_decay(self) -> float:
        # Early averages look back over a tenth of the steps made, so that the start is soon forgotten.
        assert self.options.average is not None
        return min(self.options.average, (1 + self.steps) / (10 + self.steps))

    def _adam(self, p: Tensor, g: Tensor, m: Tensor, v: Tensor, *, rate: float, decay: float) -> None:
        beta1, beta2 = self.options.betas
        if decay and self.options.optimizer == "adamw":
            p.mul_(1.0 - rate * decay)
        elif decay:
            g.add_(p, alpha=decay)
        m.lerp_(g, 1.0 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1.0 - beta2)
        root = (v / (1.0 - beta2**self.steps)).sqrt_().add_(self.options.eps)
        p.addcdiv_(m, root, value=-rate / (1.0 - beta1**self.steps))

    def _sgd(self, p: Tensor, g: Tensor, m: Tensor, *, rate: float, decay: float) -> None:
        if decay:
            g.add_(p, alpha=decay)
        momentum = self.options.momentum
        m.mul_(momentum).add_(g)
        p.add_(g.add(m, alpha=momentum) if self.options.nesterov else m, alpha=-rate)


def _fused_kernel(optimizer: str, data: Tensor) -> Callable[..., None] | None:
    """Torch's fused Adam kernel where there is one for this device and type, else None."""
    if data.dtype != torch.float32 or data.device.type not in ("cpu", "cuda"):
        return None
    return getattr(torch, {"adam": "_fused_adam_", "adamw": "_fused_adamw_"}.get(optimizer, ""), None)
