"""Muon: matrices move along their orthogonalised momentum, everything else by AdamW.

One learning rate serves both, since an orthogonal step is given the size that Adam's usually has.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gnomon.training.optimisers.optimiser import Optimiser
from gnomon.training.optimisers.options import OptimiserOptions
from gnomon.training.optimisers.rules import RULES
from gnomon.training.parameters import FlatParameters

ADAM_SIZE = 0.2  # root mean square of Adam's usual step in units of its rate (Liu et al. 2025)
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(Optimiser):
    """Momentum with Nesterov's look ahead, orthogonalised, for every parameter with two axes or more.

    Kernels of convolutions count as matrices ``(outputs, the rest)``; embeddings, biases and scales are moved by AdamW.

    Args:
        parameters: what is moved.
        options: `momentum` for matrices, `betas` and `eps` for the rest; `weight_decay` acts apart from the gradient.

    Reference: Jordan 2024, https://kellerjordan.github.io/posts/muon; size of the step, Liu et al. 2025,
    https://arxiv.org/abs/2502.16982
    """

    def __init__(self, parameters: FlatParameters, options: OptimiserOptions) -> None:
        super().__init__(parameters, options, RULES["adamw"])
        self._fused = None
        self._matrices = [name for name, kind in parameters.kinds.items() if kind == "weights"]
        end = parameters.slices.get("weights", slice(0, 0)).stop
        self._groups = [(slice(max(s.start, end), s.stop), d) for s, d in self._groups if s.stop is None or s.stop > end]

    def _update(self, rate: float) -> None:
        super()._update(rate)
        data, grad, momentum = (self.parameters.views(b) for b in (self.parameters.data, self.parameters.grad, self.buffers["momentum"]))
        axes = 0 if self.parameters.copies is None else 1
        shapes: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for name in self._matrices:
            m = momentum[name].mul_(self.options.momentum).add_(grad[name])
            ahead = grad[name].add(m, alpha=self.options.momentum).flatten(axes + 1)
            shapes.setdefault(tuple(ahead.shape), []).append((data[name], ahead))
        shrink = 1.0 - rate * (self.options.weight_decay if "weights" in self.options.decays else 0.0)
        for alike in shapes.values():
            steps = orthogonal(torch.stack([step for _, step in alike]))
            size = ADAM_SIZE * math.sqrt(max(steps.shape[-2:]))
            for (p, _), step in zip(alike, steps, strict=True):
                p.mul_(shrink).add_(step.reshape(p.shape), alpha=-rate * size)


def orthogonal(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Matrices with the same singular vectors and singular values near one, by Newton–Schulz iterations.

    Args:
        matrices: ``(*, rows, columns)``.
        iterations: more bring small singular values up; with five all are between 0.7 and 1.2 unless tiny.

    Example:
        >>> made = orthogonal(torch.diag(torch.tensor([3.0, 1.0, 0.5])))
        >>> bool((torch.linalg.svdvals(made) - 1).abs().max() < 0.35)
        True
    """
    a, b, c = _COEFFICIENTS
    wide = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if wide else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-12)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if wide else x
