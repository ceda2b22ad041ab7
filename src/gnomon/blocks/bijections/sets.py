"""Invertible maps of whole sets that do not see the order of elements: couplings of elements, and maps of a set's mean and spread.

Elements of all sets lie end to end. Which density is built of them is left to `gnomon.models.set_flow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from gnomon.blocks.activations import make_activation, pieces
from gnomon.blocks.bijections.affine import AffineCoupling
from gnomon.blocks.bijections.bijection import Bijection, Chain, buffers
from gnomon.blocks.bijections.conditioner import REACH, Conditioner
from gnomon.blocks.bijections.coupling import SplineCoupling, splits
from gnomon.blocks.bijections.elementwise import Splines
from gnomon.blocks.dense import MLP
from gnomon.blocks.segments import segment_max, segment_mean, segment_sum

_SMALLEST = 1e-12  # of a spread squared: equal elements, whose spread has no logarithm, count as so far apart
_FARTHEST_SHIFT = 3.0  # one step stretches a set by less than its exponential, about 20


@dataclass(frozen=True)
class Members:
    """To which set each element belongs, and what steps may look at beside the elements' numbers.

    Args:
        rows: ``(elements,)`` int64, the set of each element.
        sizes: ``(sets,)`` how many elements each set has, as floating numbers.
        given: ``(sets, given)`` what is known of each set.
        labels: ``(elements, labels)`` what is known of each element and stays as it is, or None.
    """

    rows: Tensor
    sizes: Tensor
    given: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    def sum(self, values: Tensor) -> Tensor:
        """Of the elements ``(elements, *)`` of each set, ``(sets, *)``; zero for an empty one, as `mean` and `max`."""
        return segment_sum(values, self.rows, len(self))

    def mean(self, values: Tensor) -> Tensor:
        """As `sum`."""
        return segment_mean(values, self.rows, len(self))

    def max(self, values: Tensor) -> Tensor:
        """As `sum`."""
        return segment_max(values, self.rows, len(self))

    def at(self, values: Tensor) -> Tensor:
        """What each element finds at its set: ``(sets, *)`` to ``(elements, *)``."""
        return values.index_select(0, self.rows)


class SetBijection(nn.Module):
    """An invertible map of sets: both methods take ``(elements, size)`` and `Members`, and return the image and a log-determinant.

    That is of the Jacobian of all elements of a set together, ``(sets,)``. Forward goes from data to noise. Sets may be empty.
    """

    def forward_and_log_det(self, x: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        raise NotImplementedError(f"{type(self).__name__} must define forward_and_log_det")

    def inverse_and_log_det(self, z: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        raise NotImplementedError(f"{type(self).__name__} must define inverse_and_log_det")


class SetChain(SetBijection):
    """Maps of sets one after the other.

    Example:
        >>> chain = SetChain([Modes(2, given=1), Each(SplineCoupling(2, moved=(0,)))])
        >>> members = Members(torch.tensor([0, 0, 2]), torch.tensor([2.0, 0.0, 1.0]), torch.zeros(3, 1))
        >>> z, log_det = chain.forward_and_log_det(torch.ones(3, 2), members)
        >>> z.shape, log_det.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(self, steps: Iterable[SetBijection]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward_and_log_det(self, x: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """Every step from first to last."""
        total = torch.zeros_like(members.sizes)
        for step in cast("Iterable[SetBijection]", self.steps):
            x, log_det = step.forward_and_log_det(x, members)
            total = total + log_det
        return x, total

    def inverse_and_log_det(self, z: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """Every step undone, from last to first."""
        total = torch.zeros_like(members.sizes)
        for step in cast("Iterable[SetBijection]", reversed(self.steps)):
            z, log_det = step.inverse_and_log_det(z, members)
            total = total + log_det
        return z, total


class Each(SetBijection):
    """One bijection of single elements, which looks at nothing else."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward_and_log_det(self, x: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        x, log_det = self.bijection.forward_and_log_det(x)
        return x, members.sum(log_det)

    def inverse_and_log_det(self, z: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        z, log_det = self.bijection.inverse_and_log_det(z)
        return z, members.sum(log_det)


class ElementCoupling(SetBijection):
    """Moves some columns of every element by splines, depending on its other columns and on those of all elements of its set together.

    The columns that are kept, and the labels, of each element go through one network; their mean and maximum over the set, with what is
    given of the set, through another, whose numbers every element sees beside its own. Where one column is all there is, nothing is
    kept, and the spline depends on labels and on what is given.

    Args:
        size: number of columns.
        moved: positions of those that are moved.
        circular: positions of columns on the circle.
        given: numbers that are known of each set.
        labels: numbers that are known of each element beside the columns.
        bins: pieces of each spline.
        bound: half the width of the interval on which columns on the line are moved.
        frequencies: how many octaves of waves of an element's own columns its network sees, as `Coupling`.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    References: Zaheer et al. 2017, https://arxiv.org/abs/1703.06114; Durkan et al. 2019, https://arxiv.org/abs/1906.04032
    """

    numbers: Tensor
    angles: Tensor

    def __init__(
        self,
        size: int,
        *,
        moved: Sequence[int],
        circular: Sequence[int] = (),
        given: int = 0,
        labels: int = 0,
        bins: int = 8,
        bound: float = 4.0,
        frequencies: int = 0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        network: dict[str, Any] = {"activation": activation, "dropout": dropout}
        kept = [i for i in range(size) if i not in set(moved)]
        numbers, angles = [i for i in kept if i not in circular], [i for i in kept if i in circular]
        buffers(self, numbers=torch.tensor(numbers, dtype=torch.int64), angles=torch.tensor(angles, dtype=torch.int64))
        inputs = len(numbers) + 2 * len(angles) + labels
        self.element: nn.Module | None = None
        if inputs:
            width = hidden[-1] if hidden else 1
            self.element = MLP(inputs, width * pieces(activation), hidden=hidden[:-1], **network)
            self.activation = make_activation(activation)
            self.whole = MLP(2 * width + given, width, hidden=(width,), **network)
            given = width
        self.coupling = SplineCoupling(
            size, moved=moved, circular=circular, given=given + labels, bins=bins, bound=bound, frequencies=frequencies, hidden=hidden,
            **network,
        )  # fmt: skip

    def forward_and_log_det(self, x: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        x, log_det = self.coupling.forward_and_log_det(x, self._seen(x, members))
        return x, members.sum(log_det)

    def inverse_and_log_det(self, z: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        z, log_det = self.coupling.inverse_and_log_det(z, self._seen(z, members))
        return z, members.sum(log_det)

    def _seen(self, x: Tensor, members: Members) -> Tensor:
        """What the coupling's network sees beside an element's own columns, ``(elements, …)``; columns that move are no part of it."""
        given = members.given
        if self.element is not None:
            angle = x.index_select(1, self.angles)
            own = [x.index_select(1, self.numbers).clamp(-REACH, REACH), angle.sin(), angle.cos()]
            codes = self.activation(self.element(torch.cat(own if members.labels is None else [*own, members.labels], 1)))
            given = self.whole(torch.cat([members.mean(codes), members.max(codes), given], 1))
        given = members.at(given)
        return given if members.labels is None else torch.cat([given, members.labels], 1)


class Modes(SetBijection):
    """Moves the mean and the spread of the numbers of each set, and the elements with them, as a coupling cannot: by what they are.

    Around the mean m of N elements lie v = x - m. The orthonormal coordinate √N m of the set goes through a chain of bijections that
    see log-spreads and what is given; then the log-spread ρ = log √(Σ v² / (N - 1)) of each column goes through a shift and a spline
    to ρ', which see the new mean and what is given, and v is stretched by exp(ρ' - ρ). So the logarithm of the determinant is that of
    the chain, plus for each column log dρ'/dρ + (N - 1)(ρ' - ρ). One element has a mean only; an empty set has neither. Columns on the
    circle stay as they are. It starts as the identity.

    Args:
        size: number of columns; the first `columns` of them are numbers.
        columns: how many; None for all.
        given: numbers that are known of each set.
        bins: pieces of each spline.
        bound: half the width of the interval on which splines act, in standard deviations of √N m, and of log-spreads.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    Example:
        >>> members = Members(torch.tensor([0, 0]), torch.tensor([2.0]), torch.zeros(1, 1))
        >>> z, log_det = Modes(1, given=1).forward_and_log_det(torch.tensor([[0.5], [1.5]]), members)
        >>> torch.allclose(z, torch.tensor([[0.5], [1.5]]), atol=1e-5), log_det.abs() < 1e-5
        (True, tensor([True]))
    """

    def __init__(
        self,
        size: int,
        *,
        columns: int | None = None,
        given: int = 0,
        bins: int = 8,
        bound: float = 4.0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.columns = columns = size if columns is None else columns
        self.rest = size - columns
        network: dict[str, Any] = {"hidden": hidden, "activation": activation, "dropout": dropout}
        seen: dict[str, Any] = {"given": given + columns, **network}
        steps: list[Bijection] = [AffineCoupling(columns, moved=range(columns), **seen)]
        steps += [SplineCoupling(columns, moved=moved, bins=bins, bound=bound, **seen) for moved in splits(columns, min(columns, 2))]
        self.mean = Chain(steps)
        self.maps = Splines([False] * columns, bins=bins, bound=bound)
        self.spread = Conditioner(given + columns, columns * (1 + self.maps.parameters_per_column), **network)

    def forward_and_log_det(self, x: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        numbers, rest = x.split([self.columns, self.rest], 1)
        root, deviation, length, spread = self._parted(numbers, members)
        length, log_det = self.mean.forward_and_log_det(length, self._told(spread, members))
        shift, raw = self._spread(length, members)
        moved, log_slope = self.maps.forward_and_log_slope(spread + shift, raw)
        numbers = members.at(length / root) + deviation * members.at((moved - spread).exp())
        return torch.cat([numbers, rest], 1), self._log_det(log_det, log_slope, moved - spread, members)

    def inverse_and_log_det(self, z: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        numbers, rest = z.split([self.columns, self.rest], 1)
        root, deviation, length, spread = self._parted(numbers, members)
        shift, raw = self._spread(length, members)
        moved, log_slope = self.maps.inverse_and_log_slope(spread, raw)
        moved = moved - shift
        deviation = deviation * members.at((moved - spread).exp())
        # told by the very numbers that forward will find there: equal elements have the smallest spread both ways
        before = self._log_spread(deviation, members)
        length, log_det = self.mean.inverse_and_log_det(length, self._told(before, members))
        return torch.cat([members.at(length / root) + deviation, rest], 1), self._log_det(log_det, log_slope, moved - spread, members)

    def _parted(self, x: Tensor, members: Members) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """√N ``(sets, 1)``, what lies around the mean, √N times the mean, and the log-spread, both ``(sets, columns)``."""
        root = members.sizes.clamp_min(1).sqrt()[:, None]
        mean = members.mean(x)
        deviation = x - members.at(mean)
        return root, deviation, mean * root, self._log_spread(deviation, members)

    def _log_spread(self, deviation: Tensor, members: Members) -> Tensor:
        return 0.5 * (members.sum(deviation.square()) / (members.sizes - 1).clamp_min(1)[:, None]).clamp_min(_SMALLEST).log()

    def _told(self, spread: Tensor, members: Members) -> Tensor:
        """What the mean is told: log-spreads, zero where one element has none, and what is given."""
        spread = torch.where(members.sizes[:, None] > 1, spread.clamp(-self.maps.bound, self.maps.bound), 0.0)
        return torch.cat([spread, members.given], 1)

    def _spread(self, length: Tensor, members: Members) -> tuple[Tensor, Tensor]:
        """By how much log-spreads are shifted ``(sets, columns)``, and the raw parameters of their splines."""
        raw = self.spread(torch.cat([length.clamp(-REACH, REACH), members.given], 1)).unflatten(1, (self.columns, -1))
        return _FARTHEST_SHIFT * (raw[..., 0] / _FARTHEST_SHIFT).tanh(), raw[..., 1:]

    def _log_det(self, mean: Tensor, log_slope: Tensor, stretch: Tensor, members: Members) -> Tensor:
        others = (members.sizes - 1).clamp_min(0)
        spread = log_slope.sum(1) + others * stretch.sum(1)
        return torch.where(members.sizes > 0, mean, 0.0) + torch.where(others > 0, spread, 0.0)
