"""What every random change of examples shares: it acts in training only, and draws for each example on the example's device.

What is changed, and by how much at most, each change says itself.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from gnomon.errors import OptionError


class RandomChange(nn.Module):
    """A random change of examples with one strength; strength 0, and evaluation, leave them alone.

    Random numbers come from torch's global generator of the device where the examples are. Nothing waits for that device,
    and no example is looped over, so a change works under ``torch.func.vmap(randomness="different")`` and ``torch.compile``.

    Args:
        strength: how much is changed at most; 0 for not at all.
    """

    dimensions: ClassVar[tuple[int, ...]] = (1, 2, 3)
    """Numbers of spatial axes the change makes sense for."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """The changed examples in training, of the same shape; the argument itself in evaluation."""
        return self.change(x) if self.training and self.strength else x

    def change(self, x: Tensor) -> Tensor:
        """The examples, each changed by its own draw."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The strength."""
        return f"strength={self.strength}"


class ImageChange(RandomChange):
    """A random change of images ``(n, channels, *size)``.

    Args:
        dimension: number of spatial axes.
        strength: how much is changed at most.

    Raises:
        OptionError: the change makes no sense in that many dimensions.
    """

    def __init__(self, dimension: int, strength: float) -> None:
        super().__init__(strength)
        if dimension not in self.dimensions:
            wanted = " or ".join(str(d) for d in self.dimensions)
            raise OptionError(f"{type(self).__name__} changes images of {wanted} dimensions; got {dimension}")
        self.dimension = dimension

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes, counted from the end."""
        return tuple(range(-self.dimension, 0))


def uniform(x: Tensor, *, channels: bool = False) -> Tensor:
    """Draws from [0, 1), one for each example of `x` (and channel), shaped to broadcast against it."""
    corner = (slice(None), slice(None) if channels else slice(0, 1)) + (slice(0, 1),) * (x.ndim - 2)
    return torch.rand_like(x[corner])


def around(x: Tensor, *, channels: bool = False) -> Tensor:
    """Draws from [-1, 1), one for each example of `x` (and channel), shaped to broadcast against it."""
    return 2 * uniform(x, channels=channels) - 1


def pixels(x: Tensor, axis: int) -> Tensor:
    """0, 1, … along `axis` (counted from the end), shaped to broadcast against `x`, in its dtype."""
    return torch.arange(x.shape[axis], device=x.device, dtype=x.dtype).view(-1, *[1] * (-1 - axis))


def box(x: Tensor, axes: tuple[int, ...], share: Tensor | float) -> Tensor:
    """``(n, 1, *size)`` bool: a box per example whose centre lies anywhere in the image; what sticks out is cut off.

    Args:
        x: images.
        axes: their spatial axes, counted from the end.
        share: extent of the box along each axis as a share of the image's; a number, or one per example shaped to broadcast.
    """
    inside = torch.ones_like(x[:, :1], dtype=torch.bool)
    for axis in axes:
        extent = x.shape[axis]
        centre = uniform(x) * extent - 0.5
        inside = inside & (2 * (pixels(x, axis) - centre).abs() < share * extent)
    return inside


def within(value: float, name: str, highest: float, *, inclusive: bool = True) -> float:
    """`value`, if it is from 0 to `highest`. Raises OptionError naming it `name`."""
    if not (0 <= value <= highest if inclusive else 0 <= value < highest) or value == float("inf"):
        bounds = "0 or more" if highest == float("inf") else f"from 0 to {'' if inclusive else 'below '}{highest:g}"
        raise OptionError(f"{name} must be {bounds}; got {value}")
    return value
