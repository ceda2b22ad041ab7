"""The invertible maps behind `Scaling`: one number per column or pixel, to and from network space, with their derivative.

They know columns and channels, but neither roles nor batches; all arithmetic is elementwise and differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from gnomon.data.kinds import Bounded, Categorical, Image, Integer, NonNegative, Periodic, Positive, Vector
from gnomon.errors import DataError

EDGE = 1e-6
"""How far exact ends of a support are moved inward: a fraction of the width of a bounded column, of the mean absolute value
of a nonnegative one, of one step for integers with a single bound. Values strictly inside stay where they are, so that the
map is one to one onto the line; on the way back, what lies within this distance of a closed end becomes that end."""

_TINY = torch.finfo(torch.float64).tiny
_CELL = (0.125, 0.375, 0.625, 0.875)  # where the moments of an integer's cell are taken
_PI32 = 3.1415925  # the largest float32 below pi
_CHUNK = 1 << 22  # numbers converted at a time when images are measured


class ColumnMap:
    """The map of the columns of a Vector: an affine map onto the support's standard form, bent onto the line, standardised.

    =============  ==============================  =================================================
    support        standard form t                 number y, then z = (y - mean) / scale
    =============  ==============================  =================================================
    real           x                               t
    positive       x                               log t
    nonnegative    x, for 0 EDGE times mean |x|    log t
    bounded        (x - low) / (high - low)        log(t / (1 - t)), for the ends with t = EDGE, 1 - EDGE
    periodic       (x - low) / period, wrapped     2 pi t - pi, in [-pi, pi); mean 0 and scale 1
    integer        k + u as real, or bounded on [low, high + 1), or log of the distance from its only bound
    categorical    the code                        t; mean 0 and scale 1
    =============  ==============================  =================================================

    Args:
        vector: the columns.
        mean, scale, floor: ``(D,)`` float64; `floor` is the t that stands for the end (and for all beyond) where logs are taken.

    Shape: ``(n, D) -> (n, D)`` for every method, in the dtype of the argument.
    """

    def __init__(self, vector: Vector, mean: Tensor, scale: Tensor, floor: Tensor) -> None:
        self.vector = vector
        self.mean, self.scale, self.floor = mean, scale, floor
        rows = [_standard(column.support) for column in vector.columns]
        families = [row[0] for row in rows]
        self.start, self.width, self.lowest, self.highest = (
            torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in range(1, 5)
        )
        supports = [column.support for column in vector.columns]
        self.integers = torch.tensor([i for i, s in enumerate(supports) if isinstance(s, Integer)], dtype=torch.int64)
        self.whole = torch.tensor([isinstance(s, (Integer, Categorical)) for s in supports], dtype=torch.bool)
        self.logs, self.logits, self.circles, self.codes = (_where(families, name) for name in ("log", "logit", "circle", "code"))
        closed = [i for i, s in enumerate(supports) if isinstance(s, (NonNegative, Bounded))]
        self.closed = torch.tensor(closed, dtype=torch.int64)
        self.two_ended = torch.tensor([isinstance(supports[i], Bounded) for i in closed], dtype=torch.bool)

    @classmethod
    def fit(cls, vector: Vector, x: Tensor, weight: Tensor | None) -> ColumnMap:
        """Standardise by weighted moments of `x` ``(n, D)`` float64 in which NaN is absent; constant columns get scale 1."""
        width = len(vector)
        weight = None if weight is None else (weight.abs() if bool((weight < 0).any()) else weight).double()
        mean, scale, floor = (torch.full((width,), value, dtype=torch.float64) for value in (0.0, 1.0, _TINY))
        for i, column in enumerate(vector.columns):
            if isinstance(column.support, NonNegative):
                size = float(_moments(x[:, i : i + 1].abs(), weight)[0])
                floor[i] = EDGE * (size if size > 0 else 1.0)
            elif isinstance(column.support, (Integer, Bounded)):
                floor[i] = EDGE
        made = cls(vector, mean, scale, floor)
        mapped = made.forward(x)
        mean, variance = _moments(mapped, weight)
        if len(made.integers):
            cells = ColumnMap(_picked(vector, made.integers), *(v[made.integers] for v in (0 * mean, scale, floor)))
            parts = [_moments(cells.forward(x[:, made.integers] + u), weight) for u in _CELL]
            centre = torch.stack([m for m, _ in parts]).mean(0)
            mean[made.integers] = centre
            variance[made.integers] = torch.stack([v + (m - centre) ** 2 for m, v in parts]).mean(0)
        spread = variance.sqrt()
        flat = constant(x) | (spread <= 4e-15 * mean.abs())
        scale = torch.where(flat, torch.ones_like(spread), spread) * made.width.sign()
        fixed = _is_in(made.circles, width) | _is_in(made.codes, width)
        mean, scale = mean.masked_fill(fixed, 0.0), scale.masked_fill(fixed, 1.0)
        for i in torch.nonzero(~constant(mapped) & ~fixed & (spread == 0)).flatten().tolist():
            raise DataError(f"column '{vector.names[i]}' varies by less than numbers can square; rescale it")
        for i in torch.nonzero(~(mean.isfinite() & scale.isfinite())).flatten().tolist():
            raise DataError(f"column '{vector.names[i]}' spans more than numbers can hold; rescale it or declare it positive")
        return cls(vector, mean, scale, floor)

    def forward(self, x: Tensor) -> Tensor:
        """Network space. Values outside the support are moved to its edge (a circle wraps them); NaN stays NaN."""
        y = (x - self.start) / self.width
        if len(self.logs):
            y = y.index_copy(1, self.logs, _lifted(y[:, self.logs], self.floor[self.logs]).log())
        if len(self.logits):
            t = _inward(y[:, self.logits])
            y = y.index_copy(1, self.logits, t.log() - (-t).log1p())
        if len(self.circles):
            t = y[:, self.circles]
            y = y.index_copy(1, self.circles, (2 * math.pi * (t - t.floor()) - math.pi).clamp(-_PI32, _PI32))
        return (y - self.mean) / self.scale

    def log_derivative(self, x: Tensor) -> Tensor:
        """log |dz/dx| at points `x` (for integers k + u); 0 for categories."""
        out = (-(self.scale.abs().log() + self.width.abs().log())).expand(x.shape)
        t = (x - self.start) / self.width
        if len(self.logs):
            out = out.index_add(1, self.logs, -_lifted(t[:, self.logs], self.floor[self.logs]).log())
        if len(self.logits):
            inside = _inward(t[:, self.logits])
            out = out.index_add(1, self.logits, -(inside.log() + (-inside).log1p()))
        if len(self.circles):
            out = out.index_add(1, self.circles, torch.full_like(t[:, self.circles], math.log(2 * math.pi)))
        return out

    def inverse(self, z: Tensor, *, whole: bool = True) -> Tensor:
        """The user's numbers: integers floored into their bounds (``whole=False``: left as k + u - 1/2), angles wrapped
        into [low, high), categories rounded to a code, numbers within EDGE of a closed end put on it.
        """
        t = self._unbend(z * self.scale + self.mean)
        if len(self.closed):
            part, near = t[:, self.closed], self.floor[self.closed] * (1 + 1e-4)
            part = torch.where(part <= near, 0.0, part)
            t = t.index_copy(1, self.closed, torch.where((part >= 1 - near) & self.two_ended, 1.0, part))
        x = self.start + self.width * t
        if len(self.circles):
            low, period = self.start[self.circles], self.width[self.circles]
            wrapped = low + torch.remainder(x[:, self.circles] - low, period)
            x = x.index_copy(1, self.circles, torch.where(wrapped >= low + period, low, wrapped))
        if len(self.integers):
            cell = x[:, self.integers]
            x = x.index_copy(1, self.integers, cell.floor() if whole else cell - 0.5)
        if len(self.codes):
            x = x.index_copy(1, self.codes, x[:, self.codes].round())
        return x.clamp(self.lowest, self.highest)

    def derivative(self, z: Tensor) -> Tensor:
        """dx/dz, positive."""
        t = self._unbend(z * self.scale + self.mean)
        slope = (self.scale * self.width).expand(z.shape)
        if len(self.logs):
            slope = slope.index_copy(1, self.logs, (slope * t)[:, self.logs])
        if len(self.logits):
            slope = slope.index_copy(1, self.logits, (slope * t * (1 - t))[:, self.logits])
        if len(self.circles):
            slope = slope.index_copy(1, self.circles, slope[:, self.circles] / (2 * math.pi))
        return slope

    def _unbend(self, y: Tensor) -> Tensor:
        t = y
        if len(self.logs):
            t = t.index_copy(1, self.logs, y[:, self.logs].clamp(-700.0, 700.0).exp())
        if len(self.logits):
            t = t.index_copy(1, self.logits, y[:, self.logits].sigmoid())
        if len(self.circles):
            t = t.index_copy(1, self.circles, (y[:, self.circles] + math.pi) / (2 * math.pi))
        return t

    def outside(self, x: Tensor) -> Tensor:
        """``(n, D)`` bool: values that are not finite, beyond the bounds, or not whole where they must be."""
        return ~x.isfinite() | (x < self.lowest) | (x > self.highest) | (self.whole & (x != x.floor()))

    def origins(self) -> Tensor:
        """A whole number per integer column from which its values are kept as float32, so that large ones stay exact."""
        line = torch.where(self.start != 0, self.start, (self.mean - 0.5).round())
        return torch.where(self.lowest.isfinite(), self.lowest, torch.where(self.highest.isfinite(), self.highest, line))[self.integers]

    def kept(self, numbers: Tensor, *, whole: bool = True) -> Tensor:
        """Whole numbers of the integer columns from those measured from `origins`, within their bounds (not rounded if not `whole`)."""
        k = (numbers.round() if whole else numbers) + self.origins()
        return torch.minimum(torch.maximum(k, self.lowest[self.integers]), self.highest[self.integers])

    def of_integers(self, device: torch.device) -> ColumnMap:
        """The map of the integer columns alone in float32, for values measured from `origins`."""
        index, origin = self.integers, self.origins()
        made = ColumnMap(_picked(self.vector, index), self.mean[index], self.scale[index], self.floor[index])
        bent = _is_in(made.logs, len(index)) | _is_in(made.logits, len(index))
        made.start = torch.where(bent, made.start - origin, made.start)
        made.mean = torch.where(bent, made.mean, made.mean - origin)
        for name in ("start", "width", "mean", "scale", "floor"):
            setattr(made, name, getattr(made, name).to(device, torch.float32))
        made.logs, made.logits, made.circles = made.logs.to(device), made.logits.to(device), made.circles.to(device)
        return made


class ChannelMap:
    """The map of an Image: z = (x - mean) / scale with one mean and scale per channel; x is k + u where there are levels.

    Args:
        image: the kind.
        mean, scale: ``(channels,)`` float64.
    """

    def __init__(self, image: Image, mean: Tensor, scale: Tensor) -> None:
        self.image = image
        self.mean, self.scale = mean, scale
        self._placed: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    @classmethod
    def fit(cls, image: Image, x: Tensor, weight: Tensor | None) -> ChannelMap:
        """Standardise by weighted moments over examples and pixels of `x` ``(n, channels, *size)``."""
        total, first, second = 0.0, torch.zeros(image.channels).double(), torch.zeros(image.channels).double()
        centre = x[:1].double().flatten(2).mean((0, 2)) if len(x) else first
        for part, share in _pieces(x, weight):
            values = part.double().flatten(2) - centre[:, None]
            total += float(share.sum())
            first += (values.mean(2) * share[:, None]).sum(0)
            second += ((values**2).mean(2) * share[:, None]).sum(0)
        mean = first / total if total > 0 else first
        variance = (second / total - mean**2).clamp(min=0) if total > 0 else second
        if image.levels is not None:
            mean, variance = mean + 0.5, variance + torch.where(variance > 0, 1 / 12, 0.0)
        spread = variance.sqrt()
        flat = spread <= 1e-7 * (mean + centre).abs()
        return cls(image, mean + centre, torch.where(flat, torch.ones_like(spread), spread))

    def _per_channel(self, name: str, like: Tensor) -> Tensor:
        """Mean or scale shaped for images, where `like` is; kept, so that no batch waits for a transfer."""
        key = (name, like.device, like.dtype)
        if key not in self._placed:
            with torch.inference_mode(False):  # what is kept must serve in training too
                self._placed[key] = getattr(self, name).to(like.device, like.dtype).reshape(-1, *([1] * self.image.dimension))
        return self._placed[key]

    def forward(self, x: Tensor) -> Tensor:
        """Network space, in the dtype of `x`, for points k + u where there are levels."""
        return self.forward_(x.clone())

    def forward_(self, x: Tensor) -> Tensor:
        """`forward` in the memory of `x`."""
        return x.sub_(self._per_channel("mean", x)).div_(self._per_channel("scale", x))

    def inverse(self, z: Tensor, *, whole: bool = True) -> Tensor:
        """The user's pixels: levels floored and clipped to uint8 (int32 above 256 levels), or real ones in float32."""
        x = z * self._per_channel("scale", z) + self._per_channel("mean", z)
        if self.image.levels is None:
            return x.float()
        if not whole:
            return (x - 0.5).clamp(0, self.image.levels - 1).float()
        return x.floor().clamp(0, self.image.levels - 1).to(torch.uint8 if self.image.levels <= 256 else torch.int32)

    def derivative(self, z: Tensor) -> Tensor:
        """dx/dz, the same for all pixels of a channel."""
        return self._per_channel("scale", z.double()).expand(z.shape)

    def log_det(self) -> float:
        """log |dz/dx| summed over an image: the same for all."""
        return -float(self.scale.log().sum()) * math.prod(self.image.size)

    def outside(self, x: Tensor) -> Tensor:
        """``(n,)`` bool: images with a pixel that is not finite, or no level."""
        if not x.is_floating_point():
            if self.image.levels is None or not x.numel():
                return torch.zeros(len(x), dtype=torch.bool)
            low, high = (f(x.flatten(1), 1).long() for f in (torch.amin, torch.amax))  # uint8 cannot be compared with 256
            return (low < 0) | (high >= self.image.levels)
        bad = ~x.isfinite()
        if self.image.levels is not None:
            bad = bad | (x < 0) | (x > self.image.levels - 1) | (x != x.floor())
        return bad.flatten(1).any(1)


def constant(x: Tensor) -> Tensor:
    """``(D,)`` bool: columns of `x` ``(n, D)`` whose present values are all the same (or that have none)."""
    if not len(x):
        return torch.ones(x.shape[1], dtype=torch.bool)
    low, high = x.amin(0), x.amax(0)
    if bool(low.isnan().any()):
        absent = x.isnan()
        low, high = x.masked_fill(absent, math.inf).amin(0), x.masked_fill(absent, -math.inf).amax(0)
    return high <= low


def _standard(support: object) -> tuple[str, float, float, float, float]:
    """Family, start and width of the standard form t = (x - start) / width, and the lowest and highest legal value."""
    inf = math.inf
    if isinstance(support, Positive):
        return "log", 0.0, 1.0, _TINY, inf
    if isinstance(support, NonNegative):
        return "log", 0.0, 1.0, 0.0, inf
    if isinstance(support, Bounded):
        return "logit", support.low, support.high - support.low, support.low, support.high
    if isinstance(support, Periodic):
        return "circle", support.low, support.period, -inf, inf
    if isinstance(support, Categorical):
        return "code", 0.0, 1.0, 0.0, float(max(len(support.values) - 1, 0))
    if isinstance(support, Integer):
        low, high = support.low, support.high
        if low is not None and high is not None:
            return "logit", float(low), float(high + 1 - low), float(low), float(high)
        if low is not None:
            return "log", float(low), 1.0, float(low), inf
        if high is not None:
            return "log", float(high + 1), -1.0, -inf, float(high)
    return "line", 0.0, 1.0, -inf, inf


def _picked(vector: Vector, index: Tensor) -> Vector:
    return Vector(tuple(vector.columns[i] for i in index.tolist()))


def _lifted(t: Tensor, floor: Tensor) -> Tensor:
    return torch.where(t <= 0, floor, t)


def _inward(t: Tensor) -> Tensor:
    return torch.where(t <= 0, EDGE, torch.where(t >= 1, 1 - EDGE, t))


def _where(families: list[str], name: str) -> Tensor:
    return torch.tensor([i for i, family in enumerate(families) if family == name], dtype=torch.int64)


def _is_in(index: Tensor, width: int) -> Tensor:
    return torch.zeros(width, dtype=torch.bool).index_fill(0, index, True)


def _moments(y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance of each column, over the values that are present."""
    absent = y.isnan()
    if weight is None and not bool(absent.any()):
        variance, mean = torch.var_mean(y, 0, correction=0)
        return mean, variance
    share = (~absent).double() if weight is None else (~absent) * weight[:, None]
    total = share.sum(0)
    total = torch.where(total > 0, total, torch.ones_like(total))
    y = y.masked_fill(absent, 0.0)
    mean = (share * y).sum(0) / total
    return mean, (share * (y - mean) ** 2).sum(0) / total


def _pieces(x: Tensor, weight: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of `x` small enough to be held in float64, each with the weight of its rows."""
    rows = max(1, _CHUNK // max(1, math.prod(x.shape[1:])))
    shares = torch.ones(len(x)).double() if weight is None else (weight.abs() if bool((weight < 0).any()) else weight).double()
    for first in range(0, len(x), rows):
        yield x[first : first + rows], shares[first : first + rows]
