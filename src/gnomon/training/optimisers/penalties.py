"""What keeps a first-order step in bounds: penalties, noise and clipping of the gradient before it, max-norm after it.

They work on the views of flat buffers by parameter; which of them are in use, the options say.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnomon.training.optimisers.options import OptimiserOptions
from gnomon.training.parameters import FlatParameters

_SMALLEST_NORM = 1e-3  # a unit with weights near zero may still move
_NOISE_FALL = 0.275  # half of 0.55, the fall of the variance in Neelakantan et al. 2015


def alter_gradient(parameters: FlatParameters, options: OptimiserOptions, weight: Tensor, step: int) -> None:
    """Add the L1 penalty and noise to the summed gradient, and clip it unit by unit.

    Args:
        parameters: whose gradient is altered in place.
        options: which of them, and how much.
        weight: what the gradient will be divided by; a scalar, or ``(copies,)``.
        step: updates made so far.
    """
    each = weight if parameters.copies is None else weight[:, None]
    grad = parameters.grad
    for kind, stretch in parameters.slices.items() if options.l1 else ():
        if kind in options.decays:
            grad[:, stretch].add_(torch.sign(parameters.data[:, stretch]) * (each * options.l1))
    if options.gradient_noise:
        noise = torch.randn_like(grad) * (each * options.gradient_noise * (1 + step) ** -_NOISE_FALL)
        for g, own in zip(parameters.views(grad).values(), parameters.views(noise).values(), strict=True):
            g.add_(own)  # the gaps between parameters stay 0: they count in norms, and nobody saves them
    if options.adaptive_clip is not None:
        for name, g in parameters.views(grad).items():
            p = parameters.views(parameters.data)[name]
            largest = _norms(p, parameters.copies).clamp_min(_SMALLEST_NORM) * options.adaptive_clip
            norms = _norms(g, parameters.copies) / weight.reshape(-1, *[1] * (g.ndim - 1))
            g.mul_((largest / norms.clamp_min(1e-12)).clamp_max(1.0))


def limit_norms(parameters: FlatParameters, most: float) -> None:
    """Shrink the incoming weights of every unit whose norm exceeds `most` to that norm, in place."""
    axes = 0 if parameters.copies is None else 1
    for p in parameters.views(parameters.data).values():
        if p.ndim - axes >= 2:
            p.mul_((most / _norms(p, parameters.copies).clamp_min(1e-12)).clamp_max(1.0))


def _norms(values: Tensor, copies: int | None) -> Tensor:
    """Norms over all axes but that of the units (and of the copies); over the whole vector where there is one axis."""
    axes = 0 if copies is None else 1
    own = values.ndim - axes
    summed = tuple(range(axes + (1 if own >= 2 else 0), values.ndim))
    return values.abs() if not summed else torch.linalg.vector_norm(values, dim=summed, keepdim=True)
