"""Invertible maps with two methods each, forward and inverse, both with the log of the Jacobian determinant; couplings above all.

Which density is built of them, and what the numbers mean, is left to `gnomon.models.flow`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from gnomon.blocks.dense import MLP
from gnomon.blocks.splines import raw_size, spline_forward, spline_inverse, spline_table

SPACING = 1.3
"""Knots start at this many times the quantiles of a standard normal distribution."""
_INSET = 1e-6  # how far inside a box, as a fraction of its width, its edges are taken to lie
_EDGE = 1 - 2 * _INSET
_LOG_TWO = math.log(2.0)


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


class Conditioner(nn.Module):
    """Raw parameters from what may be looked at: an MLP, or, with nothing to look at, as many free numbers. Zero at the start.

    Args:
        inputs: size of what is looked at; 0 for nothing.
        outputs: how many parameters.
        hidden: width of each hidden layer.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    Shape: ``(n, inputs) -> (n, outputs)``.

    Example:
        >>> Conditioner(0, 2)(torch.zeros(3, 0)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: Sequence[int] = (128, 128), activation: str = "silu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(outputs)) if inputs == 0 else None
        if inputs:
            self.network = MLP(inputs, outputs, hidden=hidden, activation=activation, dropout=dropout, final=0.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """The parameters for each row."""
        if self.constant is not None:
            return self.constant.expand(len(inputs), -1)
        return self.network(inputs)


class SplineCoupling(Bijection):
    """Moves some columns by rational-quadratic splines whose shape depends on the others, and on the condition.

    Columns on the line are moved inside ``[-bound, bound]`` and left as they are outside. Columns on the circle, angles in [-π, π),
    are moved by a periodic spline and then turned; the network sees their sine and cosine. It starts as the identity.

    Args:
        size: number of columns.
        moved: positions of those that are moved; the network looks at the others.
        circular: positions of those on the circle.
        given: size of the condition, 0 for none.
        bins: pieces of each spline.
        bound: half the width of the interval on which columns on the line are moved.
        frequencies: how many octaves of waves (sines and cosines, the longest 2 `bound` long) of the columns on the line the network
            sees beside the columns themselves; they let it turn sharply.
        hidden: width of each hidden layer of the network.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Reference: Durkan et al. 2019, https://arxiv.org/abs/1906.04032; circles: Rezende et al. 2020, https://arxiv.org/abs/2002.02428

    Example:
        >>> coupling = SplineCoupling(3, moved=(0, 2), circular=(1,))
        >>> x, log_det = coupling.forward_and_log_det(torch.zeros(5, 3))
        >>> x.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    kept: Tensor
    moved: Tensor
    order: Tensor
    turns: Tensor
    halves: Tensor
    start: Tensor
    waves: Tensor

    def __init__(
        self,
        size: int,
        *,
        moved: Sequence[int],
        circular: Sequence[int] = (),
        given: int = 0,
        bins: int = 8,
        bound: float = 4.0,
        frequencies: int = 0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kept = [i for i in range(size) if i not in moved]
        numbers, angles = [i for i in kept if i not in circular], [i for i in kept if i in circular]
        kept = numbers + angles
        self.seen = (len(numbers), len(angles))
        laid = kept + list(moved)
        _buffers(self, kept=torch.tensor(kept, dtype=torch.int64), moved=torch.tensor(moved, dtype=torch.int64))
        _buffers(self, order=torch.tensor([laid.index(i) for i in range(size)], dtype=torch.int64))
        turns = torch.tensor([i in circular for i in moved])
        _buffers(self, turns=turns, halves=torch.where(turns, math.pi, bound))
        self.any, self.all = bool(turns.any()), bool(turns.all())
        self.bound = bound
        _buffers(self, start=torch.stack([identity_start(bins, bound, circular=turn, turned=self.any) for turn in turns.tolist()]))
        _buffers(self, waves=2.0 ** torch.arange(frequencies) * (math.pi / bound))
        inputs = (1 + 2 * frequencies) * len(numbers) + 2 * len(angles) + given
        self.conditioner = Conditioner(inputs, self.start.numel(), hidden=hidden, activation=activation, dropout=dropout)

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        kept, moved = x.index_select(1, self.kept), x.index_select(1, self.moved)
        table, bound, turn = self._splines(kept, given)
        moved, log_slope = spline_forward(moved, table, bound)
        if turn is not None:
            moved = self._turned(moved, turn)
        return torch.cat([kept, moved], 1).index_select(1, self.order), log_slope.sum(1)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        kept, moved = z.index_select(1, self.kept), z.index_select(1, self.moved)
        table, bound, turn = self._splines(kept, given)
        if turn is not None:
            moved = self._turned(moved, -turn)
        moved, log_slope = spline_inverse(moved, table, bound)
        return torch.cat([kept, moved], 1).index_select(1, self.order), log_slope.sum(1)

    def _splines(self, kept: Tensor, given: Tensor | None) -> tuple[Tensor, float | Tensor, Tensor | None]:
        """Table and bound of the splines, and by how much circles are turned."""
        number, angle = kept.split(self.seen, 1)
        seen = [number]
        if len(self.waves) and self.seen[0]:
            waves = (number.unsqueeze(-1) * self.waves).flatten(1)
            seen += [waves.sin(), waves.cos()]
        if self.seen[1]:
            seen += [angle.sin(), angle.cos()]
        if given is not None:
            seen.append(given)
        raw = self.conditioner(torch.cat(seen, 1) if len(seen) > 1 else number).unflatten(1, self.start.shape) + self.start
        if not self.any:
            return spline_table(raw, self.bound), self.bound, None
        turn, raw = raw[..., 0], raw[..., 1:]
        if self.all:
            return spline_table(raw, math.pi, circular=True), math.pi, turn
        return spline_table(raw, self.halves, circular=self.turns), self.halves, turn

    def _turned(self, moved: Tensor, turn: Tensor) -> Tensor:
        turned = wrapped(moved + turn)
        return turned if self.all else torch.where(self.turns, turned, moved)


class LULinear(Bijection):
    """An affine map of the first `columns` columns, ``x W^T + b`` with W = L U triangular, which starts as the identity.

    Args:
        size: number of columns.
        columns: how many of them, from the first, are mixed; None for all.

    Reference: Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039

    Example:
        >>> LULinear(2).forward_and_log_det(torch.ones(1, 2))[0]
        tensor([[1., 1.]], grad_fn=<AddmmBackward0>)
    """

    unit: Tensor

    def __init__(self, size: int, *, columns: int | None = None) -> None:
        super().__init__()
        self.columns = size if columns is None else columns
        self.rest = size - self.columns
        self.factors = nn.Parameter(torch.zeros(self.columns, self.columns))  # below the diagonal L, above it U
        self.log_diagonal = nn.Parameter(torch.zeros(self.columns))
        self.bias = nn.Parameter(torch.zeros(self.columns))
        _buffers(self, unit=torch.eye(self.columns))

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        lower, upper = self._triangles()
        mixed, rest = x.split([self.columns, self.rest], 1) if self.rest else (x, x)
        mixed = torch.addmm(self.bias, mixed, (lower @ upper).T)
        return torch.cat([mixed, rest], 1) if self.rest else mixed, self.log_diagonal.sum().expand(len(x))

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        lower, upper = self._triangles()
        mixed, rest = z.split([self.columns, self.rest], 1) if self.rest else (z, z)
        solved = torch.linalg.solve_triangular(lower, (mixed - self.bias).T, upper=False, unitriangular=True)
        mixed = torch.linalg.solve_triangular(upper, solved, upper=True).T
        return torch.cat([mixed, rest], 1) if self.rest else mixed, -self.log_diagonal.sum().expand(len(z))

    def _triangles(self) -> tuple[Tensor, Tensor]:
        return self.factors.tril(-1) + self.unit, self.factors.triu(1) + self.unit * self.log_diagonal.exp()


class Box(Bijection):
    """Takes a box onto all space, column by column: a monotonic spline on the box, then the normal quantile function.

    What is uniform on the box becomes standard normal, edges included, before anything is learned. Values beyond the box count as
    on its edge, and what leaves the inverse lies inside the box, moved in by 1e-6 of its width. A column whose ends are infinite is
    moved by its spline within [-8, 8] and left as it is outside.

    Args:
        size: number of columns.
        low, high: ``(size,)`` or one number for all: ends of the box, or minus and plus infinity.
        bins: pieces of each column's spline.

    Example:
        >>> box = Box(2, torch.zeros(2), torch.full((2,), 17.0))
        >>> z, log_det = box.forward_and_log_det(torch.tensor([[8.5, 0.0]]))
        >>> [round(value, 1) for value in z[0].tolist()]
        [0.0, -4.8]
    """

    low: Tensor
    high: Tensor

    def __init__(self, size: int, low: Tensor, high: Tensor, *, bins: int = 16) -> None:
        super().__init__()
        self.register_buffer("low", low.expand(size).clone())
        self.register_buffer("high", high.expand(size).clone())
        self.raw = nn.Parameter(torch.zeros(size, raw_size(bins)))

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From the box to all space."""
        finite, middle, half = self._frame()
        unit = (x - middle) / half
        unit, log_slope = spline_forward(torch.where(finite, unit.clamp(-_EDGE, _EDGE), unit), self._table(x), 1.0)
        z = torch.special.ndtri((0.5 * (unit + 1)).clamp(_INSET, 1 - _INSET))
        log_det = log_slope - torch.where(finite, half.log() + _LOG_TWO + _normal_log_density(z), 0.0)
        return torch.where(finite, z, unit * half), log_det.sum(1)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From all space into the box."""
        finite, middle, half = self._frame()
        unit = torch.where(finite, torch.erf(z * math.sqrt(0.5)).clamp(-_EDGE, _EDGE), z / half)
        unit, log_slope = spline_inverse(unit, self._table(z), 1.0)
        unit = torch.where(finite, unit.clamp(-_EDGE, _EDGE), unit)
        log_det = log_slope + torch.where(finite, half.log() + _LOG_TWO + _normal_log_density(z), 0.0)
        return middle + half * unit, log_det.sum(1)

    def _frame(self) -> tuple[Tensor, Tensor, Tensor]:
        finite = self.low.isfinite() & self.high.isfinite()
        low, high = torch.where(finite, self.low, -8.0), torch.where(finite, self.high, 8.0)
        return finite, 0.5 * (low + high), 0.5 * (high - low)

    def _table(self, like: Tensor) -> Tensor:
        return spline_table(self.raw, 1.0).expand(len(like), -1, -1, -1)


def splits(size: int, count: int) -> list[tuple[int, ...]]:
    """Which columns each of `count` couplings moves: one part of the columns, then the other, then parts of another division.

    Any two columns are parted within the first ``ceil(log2(size))`` divisions, twice as many couplings.

    Reference: Gao et al. 2020, https://arxiv.org/abs/2001.05486

    Example:
        >>> splits(4, 4), splits(1, 2)
        ([(0, 2), (1, 3), (0, 1), (2, 3)], [(0,), (0,)])
    """
    if size == 1:
        return [(0,)] * count
    digits = (size - 1).bit_length()
    made: list[tuple[int, ...]] = []
    for division in range((count + 1) // 2):
        generator = torch.Generator().manual_seed(division // digits)
        rank = torch.randperm(size, generator=generator).tolist() if division >= digits else list(range(size))
        for digit in (0, 1):
            made.append(tuple(i for i in range(size) if (rank[i] >> division % digits) & 1 == digit))
    return made[:count]


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-π, π).

    Example:
        >>> wrapped(torch.tensor([4.0]))
        tensor([-2.2832])
    """
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def identity_start(bins: int, bound: float, *, circular: bool = False, turned: bool = False) -> Tensor:
    """Raw parameters of the identity, with knots closer where a normal distribution has its mass.

    Args:
        bins: pieces of the spline.
        bound: half the width of its interval.
        circular: whether it is one on the circle.
        turned: whether others beside it are, so that it has room for a turn, which comes first, and for the slope at the ends.
    """
    widths = torch.zeros(bins)
    if not circular and bins > 1:
        inner = SPACING * torch.special.ndtri(torch.arange(1, bins).double() / bins)
        limit = torch.tensor([bound], dtype=torch.float64)
        widths = torch.cat([-limit, inner.clamp(-0.9 * bound, 0.9 * bound), limit]).diff().clamp_min(1e-3).log().float()
    extra = 2 if turned else 0
    return torch.cat([torch.zeros(extra // 2), widths, widths, torch.zeros(bins - 1 + extra // 2)])


def _normal_log_density(z: Tensor) -> Tensor:
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


def _buffers(module: nn.Module, **values: Tensor) -> None:
    """Constants that follow the module to its device but are no part of its state."""
    for name, value in values.items():
        module.register_buffer(name, value, persistent=False)
