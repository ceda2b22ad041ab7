"""Noise that takes something from an example, so that a network can learn to put it back: Gaussian, masking, salt and pepper, blur.

Changes that leave an example as good as it was are in `blocks.augmentation`; what is learned from noise is said by the models.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from gnomon.blocks.augmentation.change import uniform
from gnomon.blocks.augmentation.columns import numeric
from gnomon.blocks.augmentation.resampling import blurred
from gnomon.data import Categorical, Image, Kind, Periodic, Ragged, Set, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.options import unknown

Noise = Literal["gaussian", "masking", "salt_and_pepper", "blur"]

STRENGTHS: dict[str, float] = {"gaussian": 0.5, "masking": 0.25, "salt_and_pepper": 0.25, "blur": 1.0}
"""How much noise there is where nobody says: spreads, shares, shares, pixels."""

_FAR = 2.0  # spreads from the mean: salt and pepper where numbers have no ends


class Corruption(nn.Module):
    """Noise on examples in network space, drawn with torch's global generator, in training and in evaluation alike.

    - "gaussian" adds noise of standard deviation `strength` (in spreads of the training data) to every number.
    - "masking" takes each value away with probability `strength`: numbers become the mean; angles, categories and symbols, which have
      no middle, become one drawn at random.
    - "salt_and_pepper" sets each number with probability `strength` to one of its ends, where `enclose` has told them, or to two
      spreads above or below the mean.
    - "blur" blurs images by a Gaussian whose width is uniform between 0 and `strength` pixels.

    Args:
        kind: what an example is: a Vector, an Image, a Set of Vectors (its elements get the noise) or Tokens (masking only).
        noise: which.
        strength: how much; None takes that of `STRENGTHS`.

    Shape: as it came, a Tensor or a Ragged.

    Raises:
        OptionError: an unknown noise, a strength out of range, or noise that the kind of data cannot have.

    Reference: Vincent et al. 2010, https://www.jmlr.org/papers/v11/vincent10a.html

    Example:
        >>> Corruption(Vector.real(3), "masking", strength=1.0)(torch.ones(1, 3))
        tensor([[0., 0., 0.]])
    """

    low: Tensor
    high: Tensor
    moves: Tensor
    classes: Tensor

    def __init__(self, kind: Kind, noise: Noise, *, strength: float | None = None) -> None:
        super().__init__()
        if noise not in STRENGTHS:
            raise OptionError(unknown("noise", noise, get_args(Noise)))
        strength = STRENGTHS[noise] if strength is None else strength
        most = 1.0 if noise in ("masking", "salt_and_pepper") else math.inf
        if not (0 < strength <= most and math.isfinite(strength)):
            raise OptionError(f"the strength of noise '{noise}' must be above 0{' and at most 1' if most == 1 else ''}; got {strength}")
        _check(kind, noise)
        self.noise, self.strength = noise, float(strength)
        self.dimension = kind.dimension if isinstance(kind, Image) else 0
        self.symbols = len(kind.vocabulary) if isinstance(kind, Tokens) else 0
        vector = kind.of if isinstance(kind, Set) else kind
        columns = vector.columns if isinstance(vector, Vector) else ()
        moves = numeric(vector) if isinstance(vector, Vector) else torch.ones(1, dtype=torch.bool)
        supports = [column.support for column in columns]
        classes = [len(s.values) if isinstance(s, Categorical) else 0 for s in supports]
        self.mixed = any(classes) or any(isinstance(s, Periodic) for s in supports)
        self.register_buffer("moves", moves, persistent=False)
        self.register_buffer("classes", torch.tensor(classes or [0], dtype=torch.float32), persistent=False)
        self.register_buffer("low", torch.tensor(-_FAR), persistent=False)
        self.register_buffer("high", torch.tensor(_FAR), persistent=False)

    def enclose(self, low: Tensor, high: Tensor) -> None:
        """Say where pixels end in network space, ``(channels,)`` each: black and white."""
        shape = (-1, *[1] * self.dimension)
        self.low, self.high = (torch.as_tensor(end).to(self.low).reshape(shape) for end in (low, high))

    def forward(self, x: Tensor | Ragged) -> Tensor | Ragged:
        """The examples with noise."""
        return Ragged(self._changed(x.values), x.lengths) if isinstance(x, Ragged) else self._changed(x)

    def _changed(self, x: Tensor) -> Tensor:
        if self.noise == "blur":
            axes = tuple(range(-self.dimension, 0))
            return blurred(x, axes, self.strength * uniform(x), math.ceil(3 * self.strength))
        if self.noise == "gaussian":
            return x + self.strength * torch.randn_like(x) * self.moves.to(x.dtype)
        chance = torch.rand_like(x, dtype=torch.float32 if self.symbols else x.dtype)
        if self.noise == "masking":
            return torch.where(chance < self.strength, self._blank(x), x)
        end = torch.where(chance < 0.5 * self.strength, self.low, self.high).to(x.dtype)
        return torch.where((chance < self.strength) & self.moves, end, x)

    def _blank(self, x: Tensor) -> Tensor:
        """What stands where a value was taken away."""
        if self.symbols:
            return (torch.rand_like(x, dtype=torch.float32) * self.symbols).to(x.dtype)  # rounds down
        if not self.mixed:
            return torch.zeros_like(x)
        drawn = torch.rand_like(x)
        other = torch.where(self.classes > 0, (drawn * self.classes).floor(), (2 * drawn - 1) * math.pi)
        return torch.where(self.moves, 0.0, other)

    def extra_repr(self) -> str:
        """Which noise, and how much."""
        return f"{self.noise}, strength={self.strength}"


def _check(kind: Kind, noise: str) -> None:
    """Raises OptionError for noise that the kind cannot have."""
    name = type(kind).__name__
    if noise == "blur" and not isinstance(kind, Image):
        raise OptionError(f"noise 'blur' is for images, and x is {name}; use masking")
    if isinstance(kind, Tokens) and noise != "masking":
        raise OptionError(f"noise '{noise}' is for numbers, and x holds symbols; use masking")
    vector = kind.of if isinstance(kind, Set) else kind
    if isinstance(vector, Vector) and noise != "masking" and not bool(numeric(vector).any()):
        raise OptionError(f"noise '{noise}' is for numbers, and x has none; use masking")
