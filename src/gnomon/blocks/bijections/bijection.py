"""What every bijection is: an invertible map with two methods, forward and inverse, both with the log of the Jacobian determinant.

Which density is built of them, and what the numbers mean, is left to `gnomon.models.flow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn


class Bijection(nn.Module):
    """An invertible map of vectors, perhaps another one for each condition.

    Forward goes from data to noise. Both methods take ``(n, size)`` and ``(n, given)`` or None, and return the image ``(n, size)``
    and log |det d output / d input| ``(n,)``.
    """

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        raise NotImplementedError(f"{type(self).__name__} must define forward_and_log_det")

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        raise NotImplementedError(f"{type(self).__name__} must define inverse_and_log_det")


class Chain(Bijection):
    """Bijections one after the other.

    Example:
        >>> import torch
        >>> from gnomon.blocks.bijections import LULinear, SplineCoupling
        >>> chain = Chain([LULinear(2), SplineCoupling(2, moved=(0,))])
        >>> z, log_det = chain.forward_and_log_det(torch.ones(5, 2))
        >>> x, back = chain.inverse_and_log_det(z)
        >>> torch.allclose(x, torch.ones(5, 2), atol=1e-5), torch.allclose(log_det + back, torch.zeros(5), atol=1e-5)
        (True, True)
    """

    def __init__(self, steps: Iterable[Bijection]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Every step from first to last."""
        total = x.new_zeros(len(x))
        for step in cast("Iterable[Bijection]", self.steps):
            x, log_det = step.forward_and_log_det(x, given)
            total = total + log_det
        return x, total

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Every step undone, from last to first."""
        total = z.new_zeros(len(z))
        for step in cast("Iterable[Bijection]", reversed(self.steps)):
            z, log_det = step.inverse_and_log_det(z, given)
            total = total + log_det
        return z, total


def buffers(module: nn.Module, **values: Tensor) -> None:
    """Constants that follow the module to its device but are no part of its state."""
    for name, value in values.items():
        module.register_buffer(name, value, persistent=False)
