"""Likelihoods of pixels that are whole grey levels: Bernoulli, a softmax over levels, discretised logistics, a density between the ends.

They work on network space, as all heads do: a probability is told as a density that is even over the cell of its level.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks.columns import _held
from gnomon.blocks.discretised_logistic import DiscretisedLogistics
from gnomon.data import Image
from gnomon.errors import OptionError

_LOGIT_LIMITS = (-30.0, 30.0)
_LOG_SCALE_LIMITS = (-7.0, 3.0)  # of the log scale of a logistic, in units of half the range of levels
_SERIES = 0.03  # half-logits below are told by a series, where the closed form loses digits


class PixelHead(nn.Module):
    """What likelihoods of levels share: where the cells of the levels lie in network space.

    Args:
        kind: an Image with levels.
        name: of the likelihood, for messages.

    Attributes:
        outputs: channels that the network must give.
        within: whether it matters where in its cell a level lies.

    Raises:
        OptionError: pixels are real numbers.
    """

    within: ClassVar[bool] = False

    low: Tensor
    high: Tensor

    def __init__(self, kind: Image, name: str) -> None:
        super().__init__()
        if kind.levels is None:
            raise OptionError(f"likelihood '{name}' wants pixels that are whole grey levels, and x holds real ones; use 'gaussian'")
        self.kind, self.levels, self.event = kind, kind.levels, 1 + kind.dimension
        self.outputs = kind.channels
        shape = (kind.channels, *[1] * kind.dimension)
        self.register_buffer("low", torch.zeros(shape))
        self.register_buffer("high", torch.full(shape, float(kind.levels)))

    def enclose(self, low: Tensor, high: Tensor) -> None:
        """Say where level 0 begins and the highest level ends in network space, ``(channels,)`` each or one number for all."""
        for buffer, value in ((self.low, low), (self.high, high)):
            value = torch.as_tensor(value).to(buffer)
            buffer.copy_(value.reshape(-1, *[1] * self.kind.dimension).expand_as(buffer))

    def share(self, x: Tensor) -> Tensor:
        """Where pixels lie between the two ends, 0 … 1."""
        return ((x - self.low) / (self.high - self.low)).clamp(0, 1)

    def level(self, x: Tensor) -> Tensor:
        """The level in whose cell each pixel lies, a whole number."""
        return (self.share(x) * self.levels).floor().clamp_max(self.levels - 1)

    def place(self, level: Tensor) -> Tensor:
        """The middle of a level's cell; of a level that is no whole number, as far along."""
        return self.low + (level + 0.5) * ((self.high - self.low) / self.levels)

    def read(self, x: Tensor) -> Tensor:
        """What an encoder should see of pixels that are spread over their cells: the middle of each cell."""
        return self.place(self.level(x))

    def log_volume(self, *, cell: bool) -> Tensor:
        """The log of the volume of one image's cell (or of the whole box) in network space, ``()``."""
        width = (self.high - self.low) / (self.levels if cell else 1)
        return width.log().sum() * math.prod(self.kind.size)

    def total(self, each: Tensor, *, cell: bool = True) -> Tensor:
        """``(*, channels, *size)`` nats of pixels to ``(*,)`` of images, as a density in network space."""
        return each.sum(tuple(range(-self.event, 0))) - self.log_volume(cell=cell)


class PixelDensity:
    """The likelihood that a `PixelHead` makes of raw outputs."""

    def __init__(self, head: Any, raw: Tensor) -> None:
        self.head = head
        self.raw = raw

    def log_prob(self, x: Float[Tensor, "*example"]) -> Float[Tensor, "*batch"]:
        """Nats of each example, ``(*batch,)``, in network space."""
        return self.head.log_prob(self.raw, x)

    def mean(self) -> Float[Tensor, "*example"]:
        """The mean of each pixel."""
        return self.head.mean(self.raw)

    def sample(self) -> Float[Tensor, "*example"]:
        """One draw for each example, in the middle of its cell, with torch's global generator."""
        return self.head.sample(self.raw)


class BernoulliHead(PixelHead):
    """Pixels of two levels, each on with a probability of its own.

    Args:
        kind: an Image of two levels.

    Shape: ``(*, channels, *size) -> PixelDensity``.

    Raises:
        OptionError: pixels have another number of levels.

    Example:
        >>> head = BernoulliHead(Image(1, (2,), levels=2))
        >>> head(torch.zeros(1, 1, 2)).log_prob(torch.tensor([[[0.5, 1.5]]])).exp()
        tensor([0.2500])
    """

    def __init__(self, kind: Image) -> None:
        super().__init__(kind, "bernoulli")
        if kind.levels != 2:
            raise OptionError(f"likelihood 'bernoulli' is for pixels of two levels; these have {kind.levels}: use 'categorical'")

    def forward(self, raw: Float[Tensor, "*raw"]) -> PixelDensity:
        """The likelihood that the raw outputs stand for."""
        return PixelDensity(self, raw)

    def on(self, x: Tensor) -> Tensor:
        """Which pixels are on."""
        return x >= 0.5 * (self.low + self.high)

    def level(self, x: Tensor) -> Tensor:
        """The level in whose cell each pixel lies, 0 or 1."""
        return self.on(x).to(x.dtype)

    def read(self, x: Tensor) -> Tensor:
        """What an encoder should see of pixels that are spread over their cells: the middle of each cell."""
        middle = 0.5 * (self.low + self.high)
        return torch.copysign(0.25 * (self.high - self.low), x - middle) + middle

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """Nats ``(*,)``."""
        sign = torch.copysign(raw.new_ones(()), x - 0.5 * (self.low + self.high))
        return self.total(F.logsigmoid(raw * sign))

    def mean(self, raw: Tensor) -> Tensor:
        """The probability that a pixel is on, as a level between the two."""
        return self.place(raw.sigmoid())

    def sample(self, raw: Tensor) -> Tensor:
        """One draw."""
        return self.place((torch.rand_like(raw) < raw.sigmoid()).to(raw.dtype))


class CategoricalHead(PixelHead):
    """Pixels of which every level has a probability of its own: a softmax over the levels.

    Args:
        kind: an Image with levels.

    Shape: ``(*, channels · levels, *size) -> PixelDensity``.

    Example:
        >>> head = CategoricalHead(Image(1, (2,), levels=4))
        >>> head(torch.zeros(1, 4, 2)).log_prob(torch.tensor([[[0.5, 3.5]]])).exp()
        tensor([0.0625])
    """

    def __init__(self, kind: Image) -> None:
        super().__init__(kind, "categorical")
        self.outputs = kind.channels * self.levels
        self.register_buffer("steps", torch.arange(self.levels).to(torch.get_default_dtype()), persistent=False)

    steps: Tensor

    def forward(self, raw: Float[Tensor, "*raw"]) -> PixelDensity:
        """The likelihood that the raw outputs stand for."""
        return PixelDensity(self, raw)

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """Nats ``(*,)``."""
        index, axis = self.level(x).long().unsqueeze(-self.event - 1), -self.event - 1
        return self.total(self._logits(raw).log_softmax(axis).gather(axis, index).squeeze(axis))

    def mean(self, raw: Tensor) -> Tensor:
        """The mean level."""
        shares = self._logits(raw).softmax(-self.event - 1)
        return self.place((shares * self.steps.view(-1, *[1] * self.event)).sum(-self.event - 1))

    def sample(self, raw: Tensor) -> Tensor:
        """One draw."""
        logits = self._logits(raw)
        waiting = -torch.log(torch.rand_like(logits).clamp_min(torch.finfo(logits.dtype).tiny))  # an exponential clock for each level
        return self.place((logits - waiting.log()).argmax(-self.event - 1).to(raw.dtype))

    def _logits(self, raw: Tensor) -> Tensor:
        """``(*, levels, channels, *size)``."""
        return raw.unflatten(-self.event, (self.levels, self.kind.channels))


class DiscretisedLogisticHead(PixelHead):
    """Pixels whose levels are cells of a logistic distribution (or a mixture); the end cells have what lies beyond them too.

    Args:
        kind: an Image with levels.
        components: logistic distributions of a pixel.

    Shape: ``(*, 3 · components · channels, *size)``, of one component ``2 · channels``, ``-> PixelDensity``.

    Reference: Salimans et al. 2017, https://arxiv.org/abs/1701.05517

    Example:
        >>> head = DiscretisedLogisticHead(Image(1, (1,), levels=3))
        >>> levels = torch.tensor([0.5, 1.5, 2.5]).view(3, 1, 1)
        >>> head(torch.zeros(3, head.outputs, 1)).log_prob(levels).exp().sum().round(decimals=4)
        tensor(1.)
    """

    def __init__(self, kind: Image, *, components: int = 1) -> None:
        super().__init__(kind, "discretised_logistic")
        if components < 1:
            raise OptionError(f"option 'components' of DiscretisedLogisticHead must be 1 or more; got {components}")
        self.components = components
        self.parts = 2 if components == 1 else 3 * components
        self.outputs = self.parts * kind.channels

    def forward(self, raw: Float[Tensor, "*raw"]) -> PixelDensity:
        """The likelihood that the raw outputs stand for."""
        return PixelDensity(self, raw)

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """Nats ``(*,)``."""
        made = self._mixture(raw)
        level = self.level(x)
        batch = torch.broadcast_shapes(level.shape[: -self.event], raw.shape[: -self.event])
        level = level.expand(*batch, *self.kind.shape)
        return self.total(made.log_prob(level.flatten()).view(level.shape))

    def mean(self, raw: Tensor) -> Tensor:
        """The mean of the distribution before it is cut into cells, at most the highest level."""
        made = self._mixture(raw)
        mean = (made.logits.softmax(-1) * made.means).sum(-1)
        return self.place(mean.clamp(0, self.levels - 1).view(self._shape(raw)))

    def sample(self, raw: Tensor) -> Tensor:
        """One draw."""
        return self.place(self._mixture(raw).sample().view(self._shape(raw)))

    def _shape(self, raw: Tensor) -> tuple[int, ...]:
        return (*raw.shape[: -self.event], *self.kind.shape)

    def _mixture(self, raw: Tensor) -> DiscretisedLogistics:
        """One row for each pixel, in the order of ``(*, channels, *size)``."""
        parted = raw.unflatten(-self.event, (self.parts, self.kind.channels)).movedim(-self.event - 1, -1).flatten(0, -2)
        half = 0.5 * (self.levels - 1)
        *rest, mean, log_scale = parted.unflatten(-1, (-1, self.components)).unbind(-2)
        logits = rest[0] if rest else torch.zeros_like(mean)
        log_scale = _held(log_scale - 1, _LOG_SCALE_LIMITS) + math.log(max(half, 0.5))
        low, high = raw.new_zeros(()), raw.new_full((), self.levels - 1.0)
        return DiscretisedLogistics(logits, half * (1 + mean), log_scale, low, high)


class ContinuousBernoulliHead(PixelHead):
    """Pixels with a density exp(η t) η / (exp(η) - 1) of t between the two ends: for grey levels that are many, and often at an end.

    It is a density of the level spread over its cell, not a probability of the level.

    Args:
        kind: an Image with levels.

    Shape: ``(*, channels, *size) -> PixelDensity``.

    Reference: Loaiza-Ganem & Cunningham 2019, https://arxiv.org/abs/1907.06845

    Example:
        >>> head = ContinuousBernoulliHead(Image(1, (1,), levels=256))
        >>> head.enclose(torch.zeros(1), torch.ones(1))
        >>> head(torch.full((1, 1, 1), 2.0)).log_prob(torch.ones(1, 1, 1)).exp()  # 2 e² / (e² - 1)
        tensor([2.3130])
    """

    within: ClassVar[bool] = True

    def __init__(self, kind: Image) -> None:
        super().__init__(kind, "continuous_bernoulli")

    def forward(self, raw: Float[Tensor, "*raw"]) -> PixelDensity:
        """The likelihood that the raw outputs stand for."""
        return PixelDensity(self, _held(raw, _LOGIT_LIMITS))

    def read(self, x: Tensor) -> Tensor:
        """Pixels as they are."""
        return x

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """Nats ``(*,)``."""
        return self.total(raw * (self.share(x) - 0.5) - _log_sinhc(0.5 * raw), cell=False)

    def mean(self, raw: Tensor) -> Tensor:
        """The mean of t, as a place in network space."""
        far = raw.abs() > 2 * _SERIES
        safe = torch.where(far, raw, 1.0)
        mean = torch.where(far, 0.5 / torch.tanh(0.5 * safe) - 1 / safe, raw / 12 - raw**3 / 720) + 0.5
        return self.low + mean * (self.high - self.low)

    def sample(self, raw: Tensor) -> Tensor:
        """One draw, anywhere between the ends."""
        u, steep = torch.rand_like(raw), raw.abs()
        far = steep > 1e-3
        safe = torch.where(far, steep, 1.0)
        falling = torch.where(far, -torch.log1p(u * torch.expm1(-safe)) / safe, u)  # by the inverse of the distribution function
        return self.low + torch.where(raw < 0, falling, 1 - falling) * (self.high - self.low)


def _log_sinhc(h: Tensor) -> Tensor:
    """log(sinh(h) / h), even in h."""
    far = h.abs() > _SERIES
    safe = torch.where(far, h, 1.0).abs()
    closed = safe + torch.log1p(-torch.exp(-2 * safe)) - torch.log(2 * safe)
    near = torch.where(far, 0.0, h).square()
    return torch.where(far, closed, near / 6 - near.square() / 180)
