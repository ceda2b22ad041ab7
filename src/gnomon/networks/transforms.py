"""The transforms of a normalising flow by name: for each, how the chain of bijections for so many columns is built.

The bijections are in `gnomon.blocks.bijections`; what density is made of the chain is left to `gnomon.models.flow`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch

from gnomon.blocks.bijections import (
    ActNorm,
    AffineAutoregressive,
    AffineCoupling,
    AutoregressiveSpline,
    Bijection,
    Chain,
    Continuous,
    FactorOut,
    ImageCoupling,
    LULinear,
    OrthogonalLinear,
    Permutation,
    PerPixel,
    Planar,
    Radial,
    SplineCoupling,
    Squeeze,
    rotations,
    splits,
)
from gnomon.errors import OptionError
from gnomon.options import unknown

Mixing = Literal["auto", "lu", "orthogonal", "permutation", "none"]
TransformName = Literal[
    "coupling", "autoregressive", "affine", "affine_autoregressive", "planar", "radial", "continuous", "multiscale"
]  # fmt: skip
"""The rows of `TRANSFORMS`, for signatures."""
MIXED_AT_MOST = 128
"""Columns: beyond, the triangles of "auto" mixing would outweigh the networks."""
LEVELS = 3
"""An image is squeezed at most so often."""


@dataclass(frozen=True)
class Plan:
    """What a chain is built for, and of what.

    Args:
        numbers: columns on the line; they come first.
        angles: names of the columns on the circle, which follow.
        given: size of the condition, 0 for none.
        shape: of an image channels, then the extent of each axis; None for columns of a table.
        transforms: how many steps; None takes the transform's usual number.
        bins: pieces of each spline.
        bound: half the width of the interval inside which splines act.
        frequencies: octaves of waves that networks see; None takes 3 for one or two columns, 0 beyond.
        mixing: what numbers go through after every second step.
        actnorm: whether each step begins with `ActNorm` of the numbers.
        network: any of hidden, activation and dropout of the networks.
    """

    numbers: int
    angles: tuple[str, ...] = ()
    given: int = 0
    shape: tuple[int, ...] | None = None
    transforms: int | None = None
    bins: int = 16
    bound: float = 4.0
    frequencies: int | None = None
    mixing: Mixing = "auto"
    actnorm: bool = False
    network: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> int:
        """Numbers and angles together."""
        return self.numbers + len(self.angles)

    @property
    def circular(self) -> tuple[int, ...]:
        """Positions of the angles."""
        return tuple(range(self.numbers, self.columns))


@dataclass(frozen=True)
class Transform:
    """One row of the table.

    Args:
        build: a plan, in which nothing is None, to the steps in order.
        usual: how many steps a plan takes that does not say it.
        hidden: widths of the networks' hidden layers where the plan does not say them.
        angles: whether it moves columns on the circle.
        images: whether it wants an image.
        mixes: whether "auto" mixing of 3 to 128 numbers is learned triangles, or none.
    """

    build: Callable[[Plan], Iterable[Bijection]]
    usual: Callable[[Plan], int]
    hidden: tuple[int, ...] = (128, 128)
    angles: bool = False
    images: bool = False
    mixes: bool = True


def find(name: str, *, owner: str = "Flow") -> Transform:
    """The row of the table. Raises OptionError, naming the nearest known one, if there is none; `owner` is whose option it is."""
    if name not in TRANSFORMS:
        raise OptionError(unknown("transform", name, TRANSFORMS, owner=owner))
    return TRANSFORMS[name]


def bijections(name: str, plan: Plan, *, owner: str = "Flow") -> list[Bijection]:
    """The steps of the transform `name`, from data to noise.

    Args:
        name: a row of `TRANSFORMS`.
        plan: what it is built for.
        owner: whose option it is, for messages.

    Raises:
        OptionError: an unknown transform or mixing, or a transform that does not move this kind of data.

    Example:
        >>> [type(step).__name__ for step in bijections("affine", Plan(numbers=3, transforms=2))]
        ['LULinear', 'AffineCoupling', 'AffineCoupling', 'LULinear']
    """
    row = find(name, owner=owner)
    if plan.mixing not in get_args(Mixing):
        raise OptionError(unknown("mixing", plan.mixing, get_args(Mixing), owner=owner))
    if plan.angles and not row.angles:
        others = " or ".join(other for other in TRANSFORMS if TRANSFORMS[other].angles)
        raise OptionError(f"transform '{name}' moves numbers only and column '{plan.angles[0]}' is an angle; use {others}")
    if row.images and plan.shape is None:
        raise OptionError(f"transform '{name}' is for images and x is a table of columns; use {_others(images=False)}")
    if plan.columns == 0:
        return []
    plan = replace(plan, mixing=_mixing(plan, row), network={"hidden": row.hidden, **plan.network})
    frequencies = (3 if plan.columns <= 2 else 0) if plan.frequencies is None else plan.frequencies
    transforms = row.usual(plan) if plan.transforms is None else plan.transforms
    return list(row.build(replace(plan, frequencies=frequencies, transforms=transforms)))


def _others(*, images: bool) -> str:
    return " or ".join(name for name in TRANSFORMS if TRANSFORMS[name].images == images)


def _mixing(plan: Plan, row: Transform) -> Mixing:
    """What "auto" means here."""
    if plan.mixing != "auto":
        return plan.mixing
    if plan.shape is not None and row.images:
        return "lu"
    return "lu" if row.mixes and 3 <= plan.numbers <= MIXED_AT_MOST else "none"


# ---- chains of steps that each see all columns ------------------------------------------------------------------------------------


def _usual_steps(plan: Plan) -> int:
    """Steps for so many columns; more where some meet the others in couplings only."""
    if plan.columns <= 4:
        return 4
    alone = bool(plan.angles) or plan.mixing == "none"
    return min(max(6, 2 * (plan.columns - 1).bit_length()), 16) if alone else 6


def _twice_as_many(plan: Plan) -> int:
    """Of steps that only stretch and shift: on two moons four affine couplings lose 0.36 nats to four of splines, eight 0.04."""
    return min(2 * _usual_steps(plan), 16)


def _chain(plan: Plan, steps: Iterable[Bijection]) -> Iterator[Bijection]:
    """Steps, normalised before and mixed after every second; what mixes by triangles also comes first, where it can whiten the data."""
    if plan.mixing == "lu" and plan.numbers:
        yield LULinear(plan.columns, columns=plan.numbers)
    for i, step in enumerate(steps):
        if plan.actnorm and plan.numbers:
            yield ActNorm(plan.columns, columns=plan.numbers)
        yield step
        if i % 2 and plan.numbers:
            yield from _mixer(plan.mixing, plan.columns, plan.numbers, seed=i)


def _mixer(mixing: Mixing, size: int, columns: int, *, seed: int) -> Iterator[Bijection]:
    """The mixing of the first `columns`, none where there is nothing to mix."""
    if mixing == "lu":
        yield LULinear(size, columns=columns)
    elif mixing == "orthogonal" and columns > 1:
        yield OrthogonalLinear(size, columns=columns)
    elif mixing == "permutation" and columns > 1:
        drawn = torch.randperm(columns, generator=torch.Generator().manual_seed(seed)).tolist()
        yield Permutation([*drawn, *range(columns, size)])


def _count(plan: Plan) -> int:
    assert plan.transforms is not None
    return plan.transforms


def _network(plan: Plan) -> dict[str, Any]:
    """Options of steps whose network sees columns."""
    return {"given": plan.given, "bound": plan.bound, "frequencies": plan.frequencies, **plan.network}


def _coupling(plan: Plan) -> Iterator[Bijection]:
    own = {"circular": plan.circular, "bins": plan.bins, **_network(plan)}
    return _chain(plan, (SplineCoupling(plan.columns, moved=moved, **own) for moved in splits(plan.columns, _count(plan))))


def _autoregressive(plan: Plan) -> Iterator[Bijection]:
    own = {"circular": plan.circular, "bins": plan.bins, **_network(plan)}
    return _chain(plan, (AutoregressiveSpline(plan.columns, order=order, **own) for order in rotations(plan.columns, _count(plan))))


def _affine(plan: Plan) -> Iterator[Bijection]:
    own = _network(plan)
    return _chain(plan, (AffineCoupling(plan.columns, moved=moved, **own) for moved in splits(plan.columns, _count(plan))))


def _affine_autoregressive(plan: Plan) -> Iterator[Bijection]:
    own = _network(plan)
    return _chain(plan, (AffineAutoregressive(plan.columns, order=order, **own) for order in rotations(plan.columns, _count(plan))))


def _planar(plan: Plan) -> Iterator[Bijection]:
    return _chain(plan, (Planar(plan.columns, given=plan.given, **plan.network) for _ in range(_count(plan))))


def _radial(plan: Plan) -> Iterator[Bijection]:
    return _chain(plan, (Radial(plan.columns, given=plan.given, **plan.network) for _ in range(_count(plan))))


def _continuous(plan: Plan) -> Iterator[Bijection]:
    """Without dropout: the velocity has to be one and the same all the way."""
    network = {name: value for name, value in plan.network.items() if name != "dropout"}
    return _chain(plan, (Continuous(plan.columns, given=plan.given, **network) for _ in range(_count(plan))))


# ---- images at several scales -----------------------------------------------------------------------------------------------------


def _multiscale(plan: Plan) -> Iterator[Bijection]:
    """Squeeze, couplings, and half of the channels leaves, while an axis is even; of an image that none halves one scale is left."""
    assert plan.shape is not None
    return _scale(plan, plan.shape, level=1)


def _scale(plan: Plan, shape: tuple[int, ...], *, level: int) -> Iterator[Bijection]:
    if any(extent % 2 == 0 for extent in shape[1:]):
        squeeze = Squeeze(shape)
        yield squeeze
        shape = squeeze.shape
    channels, size = shape[0], shape[1:]
    own = {"given": plan.given, "bins": plan.bins, "bound": plan.bound, **plan.network}
    moves: list[Any] = list(splits(channels, _count(plan)))
    if channels == 1:
        moves = [i % 2 if math.prod(size) > 1 else 0 for i in range(_count(plan))]
    for i, moved in enumerate(moves):
        if plan.actnorm:
            yield PerPixel(ActNorm(channels), shape)
        yield ImageCoupling(shape, moved=moved, **own)
        if i % 2 and channels > 1:
            yield from (PerPixel(mixer, shape) for mixer in _mixer(plan.mixing, channels, channels, seed=level * 100 + i))
    if level < LEVELS and channels > 1 and any(extent % 2 == 0 for extent in size):
        kept = (channels // 2, *size)
        yield FactorOut(Chain(_scale(plan, kept, level=level + 1)), math.prod(kept))


TRANSFORMS: dict[str, Transform] = {
    "coupling": Transform(_coupling, _usual_steps, angles=True),
    "autoregressive": Transform(_autoregressive, _usual_steps, angles=True),
    "affine": Transform(_affine, _twice_as_many),
    "affine_autoregressive": Transform(_affine_autoregressive, _twice_as_many),
    "planar": Transform(_planar, lambda plan: 16, mixes=False),
    "radial": Transform(_radial, lambda plan: 16, mixes=False),
    "continuous": Transform(_continuous, lambda plan: 1, hidden=(64, 64), mixes=False),
    "multiscale": Transform(_multiscale, lambda plan: 4, hidden=(32, 32), images=True),
}
"""Every transform by name.

===========================  =========================================================================================
``coupling``                 spline couplings: both directions at one pass (the default)
``autoregressive``           splines that depend on the columns before: often the better density; sampling goes column by column
``affine``                   affine couplings (RealNVP)
``affine_autoregressive``    masked autoregressive flow; of one column the density stays normal
``planar``                   pushes along directions; sampling finds a root
``radial``                   pulls towards centres
``continuous``               points move along a learned velocity, solved in steps; both directions at the same cost
``multiscale``               images: squeezed, moved by convolutional spline couplings, half of the channels leaving at each scale
===========================  =========================================================================================
"""
