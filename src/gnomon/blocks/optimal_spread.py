"""The Gaussian whose spread is the best there is for what a decoder misses, so that nothing weighs reconstruction against the code.

Everything but the spread of numbers is as in `blocks.columns`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks.columns import _HALF_LOG_TWO_PI, _SPREAD_LIMITS, ColumnDensity, ColumnHead
from gnomon.data import Image, Vector

_STEP = 0.02  # of the running mean square towards that of a batch


class OptimalHead(ColumnHead):
    """A `ColumnHead` with one spread for all numbers: the root mean square of x less its mean, where the likelihood is highest.

    In training it is measured on the batch at hand, gradient included, so that the loss of D numbers is D/2 times the log of the mean
    square: examples of a batch act on each other. In evaluation it is `mean_square`, a running mean over batches of training, and
    examples are independent. Log-spreads are softly held above -7. Angles have one learned spread for all.

    Args:
        kind: the Vector or Image to be written.

    Attributes:
        outputs: raw numbers the network must give per example (channels, for an image).
        mean_square: of the last batches, 1 at the start.

    Shape: ``(*, outputs)`` or ``(*, outputs, *size)`` ``-> ColumnDensity``.

    Reference: Rybkin, Daniilidis & Levine 2021, https://arxiv.org/abs/2006.13202

    Example:
        >>> head = OptimalHead(Vector.real(2))
        >>> head(torch.zeros(3, 2)).log_prob(torch.full((3, 2), 0.5))  # of a normal density, one of its standard deviations off
        tensor([-1.4516, -1.4516, -1.4516])
    """

    mean_square: Tensor

    def __init__(self, kind: Vector | Image) -> None:
        super().__init__(kind, spread="fixed")
        self.register_buffer("mean_square", torch.ones(()))
        if self.layout.angles:
            self.log_angle_spread = nn.Parameter(torch.zeros(()))

    def forward(self, raw: Float[Tensor, "*raw"]) -> ColumnDensity:
        """The likelihood that the raw outputs stand for."""
        made = super().forward(raw)
        return OptimalDensity(made, self)


class OptimalDensity(ColumnDensity):
    """The likelihood that an `OptimalHead` makes."""

    def __init__(self, fixed: ColumnDensity, head: OptimalHead) -> None:
        log_spread = _above(head.mean_square)
        super().__init__(fixed.features, fixed.event, fixed.location, log_spread, fixed.natural, fixed.logits)
        self.head = head

    def _gaussian(self, z: Tensor) -> Tensor:
        if not self.head.training or not z.numel():
            return super()._gaussian(z)
        missed = (z - self.location).square()
        mean = missed.mean()
        with torch.no_grad():
            self.head.mean_square.mul_(1 - _STEP).add_(_STEP * mean)
        log_spread = _above(mean)
        return -0.5 * missed * torch.exp(-2 * log_spread) - log_spread - _HALF_LOG_TWO_PI


def _above(mean_square: Tensor) -> Tensor:
    """The log of the root, itself where it is well above the least log-spread, and smoothly never below."""
    least = _SPREAD_LIMITS[0]
    return least + F.softplus(0.5 * mean_square.clamp_min(torch.finfo(mean_square.dtype).tiny).log() - least)
