"""Stochastic depth: in training a residual branch is left out for some examples, so that a deep network is a mixture of shallow ones.

Which branches, and how often, is left to the networks; the usual rule is linear with depth.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.errors import OptionError


class DropPath(nn.Module):
    """In training sets the whole of an example to zero with some probability, and scales the others so that the mean stays.

    Args:
        probability: with which an example is set to zero; 0 ≤ probability < 1.
        dimension: spatial axes after the axis of the units: 0 for vectors ``(*, units)``, 2 for images ``(n, units, h, w)``.

    Draws from torch's global generator, and waits for no device.

    Raises:
        OptionError: a probability out of range.

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382 (who scale at test time instead)

    Example:
        >>> path = DropPath(0.5)
        >>> torch.equal(path.eval()(torch.ones(3, 2)), torch.ones(3, 2))
        True
    """

    def __init__(self, probability: float, *, dimension: int = 0) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise OptionError(f"drop_path is the probability of leaving a residual branch out, at least 0 and below 1; got {probability}")
        self.p = probability
        self.dimension = dimension

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The examples, some of them zero; the argument itself in evaluation."""
        if not self.training or self.p == 0:
            return x
        one_each = x
        for axis in range(-1 - self.dimension, 0):
            one_each = one_each.narrow(axis, 0, 1)
        kept = (torch.rand_like(one_each) >= self.p).to(x.dtype)
        return x * (kept / (1 - self.p))

    def extra_repr(self) -> str:
        """The probability."""
        return f"probability={self.p:.3g}"


def rising(probability: float, depth: int) -> list[float]:
    """The probabilities of `depth` branches, linear from near zero to `probability` at the last: early layers serve all later ones.

    Example:
        >>> rising(0.5, 4)
        [0.125, 0.25, 0.375, 0.5]
    """
    return [probability * (i + 1) / depth for i in range(depth)]
