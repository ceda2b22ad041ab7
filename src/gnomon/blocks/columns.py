"""How a network reads columns (one-hot, sine and cosine) and how it writes them (a likelihood per column).

Works on network space, where every column is one number; the user's units belong to `data.Scaling`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.data import Categorical, Image, Periodic, Vector
from gnomon.errors import DataError

Spread = Literal["example", "column", "shared", "fixed"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_SPREAD_LIMITS = (-7.0, 5.0)  # of the log standard deviation, in units of the training column's
_ANGLE_LIMITS = (-5.0, 3.0)  # of -log(concentration)/2: from 0.4 degrees to all but uniform
_BELOW_PI = math.pi - 2.5e-7  # rounds to the largest float32 below pi
_ROUNDS = 24  # rejection rounds for angles: each accepts more than 65 %, so fewer than 1e-10 draws run out


@dataclass(frozen=True)
class Layout:
    """Which columns of a Vector are read as numbers, as angles and as classes.

    Args:
        reals: positions of the columns on the whole line (every support but the other two).
        angles: positions of the periodic columns.
        labels: positions of the categorical columns.
        classes: how many classes each of the `labels` has.
    """

    reals: tuple[int, ...]
    angles: tuple[int, ...]
    labels: tuple[int, ...]
    classes: tuple[int, ...]

    @classmethod
    def of(cls, kind: Vector) -> Layout:
        """The layout of `kind`. Raises DataError for a categorical column without classes."""
        supports = [column.support for column in kind.columns]
        angles = tuple(i for i, s in enumerate(supports) if isinstance(s, Periodic))
        labels = tuple(i for i, s in enumerate(supports) if isinstance(s, Categorical))
        for i in labels:
            if not supports[i].values:  # type: ignore[union-attr]
                raise DataError(f"column '{kind.names[i]}' is categorical but has no values; take them from data first")
        reals = tuple(i for i in range(len(supports)) if i not in angles + labels)
        return cls(reals, angles, labels, tuple(len(supports[i].values) for i in labels))  # type: ignore[union-attr]

    @property
    def order(self) -> tuple[int, ...]:
        """Where each column stands after reals, angles and labels are laid side by side."""
        laid = self.reals + self.angles + self.labels
        return tuple(laid.index(i) for i in range(len(laid)))

    @property
    def owner(self) -> tuple[int, ...]:
        """The column to which each feature belongs: reals, sines, cosines, then the classes of each label."""
        one_hot = tuple(i for i, k in zip(self.labels, self.classes, strict=True) for _ in range(k))
        return self.reals + self.angles + self.angles + one_hot


class ColumnFeatures(nn.Module):
    """Reads columns: numbers as they are, angles as sine and cosine, classes one-hot.

    Features stand in the order: numbers, sines, cosines, the classes of each categorical column. Kinds whose columns are all
    numbers, and images, are returned as they are, at no cost.

    Args:
        kind: the Vector or Image to be read.

    Attributes:
        outputs: number of features (of channels, for an image).
        owner: ``(outputs,)`` the column each feature belongs to.

    Shape: ``(*, columns) -> (*, outputs)``; an image ``(n, channels, *size)`` keeps its shape.

    Example:
        >>> from gnomon.data import Column
        >>> kind = Vector((Column("phi", Periodic(0, 1)), Column("pt"), Column("b", Categorical(("no", "yes")))))
        >>> ColumnFeatures(kind)(torch.tensor([[0.0, 2.0, 1.0]]))
        tensor([[2., 0., 1., 0., 1.]])
    """

    owner: Tensor
    reals: Tensor
    angles: Tensor
    codes: Tensor
    coded: Tensor
    order: Tensor

    def __init__(self, kind: Vector | Image) -> None:
        super().__init__()
        self.layout = layout = _channels(kind) if isinstance(kind, Image) else Layout.of(kind)
        self.outputs = len(layout.owner)
        self.plain = not (layout.angles or layout.labels)
        one_hot = tuple(code for k in layout.classes for code in range(k))
        coded = layout.owner[len(layout.reals) + 2 * len(layout.angles) :]
        _indices(self, owner=layout.owner, reals=layout.reals, angles=layout.angles, codes=one_hot, coded=coded, order=layout.order)

    def forward(self, z: Float[Tensor, "*batch"]) -> Float[Tensor, "*features"]:
        """The features of ``z``."""
        if self.plain:
            return z
        angle = z.index_select(-1, self.angles)
        one_hot = (z.index_select(-1, self.coded).round() == self.codes).to(z.dtype)
        return torch.cat([z.index_select(-1, self.reals), angle.sin(), angle.cos(), one_hot], -1)

    def hard(self, features: Float[Tensor, "*features"]) -> Float[Tensor, "*batch"]:
        """Columns from features: the angle of (sine, cosine), the largest class.

        Shape: ``(*, outputs) -> (*, columns)``.
        """
        if self.plain:
            return features
        r, a = len(self.layout.reals), len(self.layout.angles)
        real, sine, cosine, soft = features.split([r, a, a, sum(self.layout.classes)], -1)
        codes = [part.argmax(-1, keepdim=True).to(features.dtype) for part in soft.split(self.layout.classes, -1)]
        return torch.cat([real, _angle(sine, cosine), *codes], -1).index_select(-1, self.order)


def hard(kind: Vector | Image, features: Float[Tensor, "*features"]) -> Float[Tensor, "*batch"]:
    """Network space from (soft) features: the inverse of `ColumnFeatures`, as `ColumnFeatures.hard`.

    Example:
        >>> from gnomon.data import Column
        >>> kind = Vector((Column("b", Categorical(("no", "yes"))), Column("pt")))
        >>> hard(kind, torch.tensor([[2.0, 0.3, 0.7]]))
        tensor([[1., 2.]])
    """
    return ColumnFeatures(kind).to(features.device).hard(features)


class ColumnHead(nn.Module):
    """Writes columns: turns a network's raw outputs into one likelihood per column.

    Numbers are Gaussian, angles von Mises, classes softmax; columns are independent given the raw outputs. An image is Gaussian
    in every pixel. Log-spreads are softly held within [-7, 5], those of angles within [-5, 3].

    Args:
        kind: the Vector or Image to be written.
        spread: where the spread of numbers and angles comes from: the network ("example"), one learned number per column or pixel
            ("column"), one learned number for all ("shared"), or none: it is one ("fixed", the squared error).

    Attributes:
        outputs: raw numbers the network must give per example (channels, for an image).

    Shape: ``(*, outputs)`` or ``(*, outputs, *size)`` ``-> ColumnDensity``.

    Example:
        >>> head = ColumnHead(Vector.real(2))
        >>> head.outputs
        4
        >>> head(torch.zeros(1, 4)).log_prob(torch.zeros(1, 2)).exp().item()  # about 1/(2 pi)
        0.161...
    """

    def __init__(self, kind: Vector | Image, *, spread: Spread = "example") -> None:
        super().__init__()
        self.features = ColumnFeatures(kind)
        self.event = 1 if isinstance(kind, Vector) else 1 + kind.dimension
        self.spread = spread
        self.layout = layout = self.features.layout
        reals, angles = len(layout.reals), len(layout.angles)
        free = spread == "example"
        self.parts = (reals, reals if free else 0, 2 * angles, angles if free else 0, sum(layout.classes))
        self.outputs = sum(self.parts)
        shapes = {"column": (reals, *(kind.size if isinstance(kind, Image) else ())), "shared": ()}
        if spread in shapes and reals:
            self.log_spread = nn.Parameter(torch.zeros(shapes[spread]))
        if spread in shapes and angles:
            self.log_angle_spread = nn.Parameter(torch.zeros((angles,) if spread == "column" else ()))

    def forward(self, raw: Float[Tensor, "*raw"]) -> ColumnDensity:
        """The likelihood that the raw outputs stand for."""
        if not (self.layout.angles or self.layout.labels or self.spread == "example"):
            location, free, vector, free_angle, logits = raw, None, None, None, None
        else:
            location, free, vector, free_angle, logits = raw.split(self.parts, -self.event)
        if self.spread != "example":
            free, free_angle = getattr(self, "log_spread", None), getattr(self, "log_angle_spread", None)
        log_spread = None if free is None else _held(free, _SPREAD_LIMITS)
        natural = None
        if self.layout.angles and vector is not None:
            concentration = 1.0 if free_angle is None else torch.exp(-2 * _held(free_angle, _ANGLE_LIMITS))
            u, v = vector.chunk(2, -1)
            length = torch.rsqrt(1 + u.square() + v.square()) * concentration
            natural = (u * length, v * length)
        return ColumnDensity(self.features, self.event, location, log_spread, natural, logits)


class ColumnDensity:
    """The likelihood that a `ColumnHead` makes of one batch of raw outputs: independent columns per example.

    Made by `ColumnHead`; every method works on network space, where an example is ``(columns,)`` or ``(channels, *size)``.
    """

    def __init__(
        self,
        features: ColumnFeatures,
        event: int,
        location: Tensor,
        log_spread: Tensor | None,
        natural: tuple[Tensor, Tensor] | None,
        logits: Tensor | None,
    ) -> None:
        self.features = features
        self.layout = features.layout
        self.event = event
        self.location = location
        self.log_spread = log_spread
        self.natural = natural
        self.logits = logits

    def log_prob(self, z: Float[Tensor, "*example"]) -> Float[Tensor, "*batch"]:
        """Log-density (of classes: log-probability) of each example in nats, ``(*batch,)``."""
        if self.features.plain:
            return self._gaussian(z).sum(tuple(range(-self.event, 0)))
        parts = [self._gaussian(z.index_select(-1, self.features.reals)), self._von_mises(z.index_select(-1, self.features.angles))]
        return torch.cat([part for part in (*parts, *self._softmax(z)) if part is not None], -1).sum(-1)

    def mean(self) -> Float[Tensor, "*example"]:
        """The mean of numbers, the mean direction of angles, the most probable class."""
        if self.features.plain:
            return self.location
        codes = [logits.argmax(-1, keepdim=True).to(self.location.dtype) for logits in self._logits()]
        return self._laid(self.location, self._direction(), codes)

    def spread(self) -> Float[Tensor, "*example"]:
        """The standard deviation of numbers, the circular standard deviation of angles, NaN for classes."""
        real = torch.ones_like(self.location) if self.log_spread is None else self.log_spread.exp().expand_as(self.location)
        if self.features.plain:
            return real
        angle = None
        if self.natural is not None:
            length = torch.sqrt(self.natural[0].square() + self.natural[1].square() + 1e-12)
            angle = torch.sqrt(-2 * torch.log(torch.special.i1e(length) / torch.special.i0e(length)))
        return self._laid(real, angle, [torch.full_like(logits[..., :1], math.nan) for logits in self._logits()])

    def sample(self) -> Float[Tensor, "*example"]:
        """One draw for each example, with torch's global generator."""
        noise = torch.randn_like(self.location)
        real = self.location + (noise if self.log_spread is None else noise * torch.exp(self.log_spread))
        if self.features.plain:
            return real
        angle = None if self.natural is None else _von_mises_sample(*self.natural)
        return self._laid(real, angle, [_gumbel_argmax(logits) for logits in self._logits()])

    def soft(self) -> Float[Tensor, "*features"]:
        """Differentiable features in the order of `ColumnFeatures`: means, unit (sine, cosine), class probabilities."""
        if self.features.plain:
            return self.location
        parts = [self.location]
        if self.natural is not None:
            u, v = self.natural
            length = torch.rsqrt(u.square() + v.square() + 1e-8)
            parts += [v * length, u * length]
        return torch.cat(parts + [logits.softmax(-1) for logits in self._logits()], -1)

    def _gaussian(self, z: Tensor) -> Tensor:
        if self.log_spread is None:
            return -0.5 * (z - self.location).square() - _HALF_LOG_TWO_PI
        return -0.5 * ((z - self.location) * torch.exp(-self.log_spread)).square() - self.log_spread - _HALF_LOG_TWO_PI

    def _von_mises(self, angle: Tensor) -> Tensor | None:
        if self.natural is None:
            return None
        u, v = self.natural
        length = torch.sqrt(u.square() + v.square() + 1e-12)  # smooth at zero; the normaliser is even, so it stays exact
        return u * angle.cos() + v * angle.sin() - length - torch.log(torch.special.i0e(length)) - 2 * _HALF_LOG_TWO_PI

    def _softmax(self, z: Tensor) -> list[Tensor]:
        codes = [z[..., i : i + 1].round().long() for i in self.layout.labels]
        return [logits.log_softmax(-1).gather(-1, code) for logits, code in zip(self._logits(), codes, strict=True)]

    def _logits(self) -> list[Tensor]:
        return [] if self.logits is None else list(self.logits.split(self.layout.classes, -1))

    def _direction(self) -> Tensor | None:
        return None if self.natural is None else _angle(self.natural[1], self.natural[0])

    def _laid(self, real: Tensor, angle: Tensor | None, codes: list[Tensor]) -> Tensor:
        parts = [real] if angle is None else [real, angle]
        return torch.cat([*parts, *codes], -1).index_select(-1, self.features.order)


def _channels(kind: Image) -> Layout:
    return Layout(tuple(range(kind.channels)), (), (), ())


def _indices(module: nn.Module, **indices: tuple[int, ...]) -> None:
    """Constant index tensors that follow the module to its device but are no part of its state."""
    for name, values in indices.items():
        module.register_buffer(name, torch.tensor(values, dtype=torch.int64), persistent=False)


def _held(value: Tensor, limits: tuple[float, float]) -> Tensor:
    """`value` itself well inside the limits, and smoothly never beyond them."""
    low, high = limits
    return low + F.softplus(high - low - F.softplus(high - value))


def _angle(sine: Tensor, cosine: Tensor) -> Tensor:
    """The angle in [-π, π)."""
    angle = torch.atan2(sine, cosine)
    return torch.where(angle >= math.pi, angle - 2 * math.pi, angle)


def _gumbel_argmax(logits: Tensor) -> Tensor:
    """``(*, classes) -> (*, 1)``: a class drawn by its probability."""
    exponential = -torch.log(torch.rand_like(logits).clamp_min(torch.finfo(logits.dtype).tiny))
    return (logits - exponential.log()).argmax(-1, keepdim=True).to(logits.dtype)


def _von_mises_sample(u: Tensor, v: Tensor) -> Tensor:
    """Draws from the density ∝ exp(u cos φ + v sin φ): the first of a fixed number of proposals that is accepted.

    Reference: Best & Fisher 1979, https://doi.org/10.2307/2346732
    """
    kappa = torch.sqrt(u.double().square() + v.double().square()).clamp_min(1e-5)
    tau = 1 + torch.sqrt(1 + 4 * kappa.square())
    rho = (tau - torch.sqrt(2 * tau)) / (2 * kappa)
    r = (1 + rho.square()) / (2 * rho)
    blank = kappa.expand(_ROUNDS, *kappa.shape)
    cosine = torch.cos(math.pi * torch.rand_like(blank))
    f = ((1 + r * cosine) / (r + cosine)).clamp(-1, 1)
    c = kappa * (r - f)
    tiny = torch.finfo(torch.float64).tiny
    accepted = torch.log(c.clamp_min(tiny) / torch.rand_like(blank).clamp_min(tiny)) + 1 - c >= 0
    first = accepted.to(torch.int8).argmax(0, keepdim=True)
    turned = torch.acos(f.gather(0, first)[0]) * torch.where(torch.rand_like(kappa) < 0.5, -1.0, 1.0)
    angle = torch.atan2(v.double(), u.double()) + turned
    wrapped = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    return wrapped.to(u.dtype).clamp_max(_BELOW_PI)
