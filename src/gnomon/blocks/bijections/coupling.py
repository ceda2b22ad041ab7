"""Couplings: some columns are moved, depending on the others, so that both directions cost the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import Bijection, buffers
from gnomon.blocks.bijections.conditioner import REACH, Conditioner
from gnomon.blocks.bijections.elementwise import Elementwise, Splines


class Coupling(Bijection):
    """Moves some columns, each by a monotonic map whose parameters depend on the columns that are kept, and on the condition.

    The network sees numbers no further than 100 from zero, and angles as sine and cosine.

    Args:
        size: number of columns.
        moved: positions of those that are moved; the network looks at the others.
        maps: one monotonic map for each of those.
        circular: positions of columns on the circle.
        given: size of the condition, 0 for none.
        frequencies: how many octaves of waves (sines and cosines, the longest 2 `bound` long) of the columns on the line the network
            sees beside the columns themselves; they let it turn sharply.
        bound: half the length of the longest wave.
        hidden: width of each hidden layer of the network.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.
        conditioner: another network in place of that one, ``(n, what is kept, then given) -> (n, moved x parameters)``.

    Reference: Dinh et al. 2017, https://arxiv.org/abs/1605.08803
    """

    kept: Tensor
    moved: Tensor
    order: Tensor
    waves: Tensor

    def __init__(
        self,
        size: int,
        *,
        moved: Sequence[int],
        maps: Elementwise,
        circular: Sequence[int] = (),
        given: int = 0,
        frequencies: int = 0,
        bound: float = 4.0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
        conditioner: nn.Module | None = None,
    ) -> None:
        super().__init__()
        kept = [i for i in range(size) if i not in set(moved)]
        numbers, angles = [i for i in kept if i not in circular], [i for i in kept if i in circular]
        kept = numbers + angles
        self.seen = (len(numbers), len(angles))
        place = {column: i for i, column in enumerate([*kept, *moved])}
        buffers(self, kept=torch.tensor(kept, dtype=torch.int64), moved=torch.tensor(moved, dtype=torch.int64))
        buffers(self, order=torch.tensor([place[i] for i in range(size)], dtype=torch.int64))
        buffers(self, waves=2.0 ** torch.arange(frequencies) * (math.pi / bound))
        self.maps = maps
        inputs = (1 + 2 * frequencies) * len(numbers) + 2 * len(angles) + given
        outputs = maps.columns * maps.parameters_per_column
        self.conditioner = conditioner or Conditioner(inputs, outputs, hidden=hidden, activation=activation, dropout=dropout)

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        kept, moved = x.index_select(1, self.kept), x.index_select(1, self.moved)
        moved, log_slope = self.maps.forward_and_log_slope(moved, self._raw(kept, given))
        return torch.cat([kept, moved], 1).index_select(1, self.order), log_slope.sum(1)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        kept, moved = z.index_select(1, self.kept), z.index_select(1, self.moved)
        moved, log_slope = self.maps.inverse_and_log_slope(moved, self._raw(kept, given))
        return torch.cat([kept, moved], 1).index_select(1, self.order), log_slope.sum(1)

    def _raw(self, kept: Tensor, given: Tensor | None) -> Tensor:
        """The raw parameters of the maps, ``(n, moved, parameters)``."""
        number, angle = kept.split(self.seen, 1)
        number = number.clamp(-REACH, REACH)
        seen = [number]
        if len(self.waves) and self.seen[0]:
            waves = (number.unsqueeze(-1) * self.waves).flatten(1)
            seen += [waves.sin(), waves.cos()]
        if self.seen[1]:
            seen += [angle.sin(), angle.cos()]
        if given is not None:
            seen.append(given)
        raw = self.conditioner(torch.cat(seen, 1) if len(seen) > 1 else number)
        return raw.unflatten(1, (self.maps.columns, self.maps.parameters_per_column))


class SplineCoupling(Coupling):
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
        frequencies: how many octaves of waves the network sees beside the columns on the line, as `Coupling`.
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
        super().__init__(
            size, moved=moved, maps=Splines([i in circular for i in moved], bins=bins, bound=bound), circular=circular, given=given,
            frequencies=frequencies, bound=bound, hidden=hidden, activation=activation, dropout=dropout,
        )  # fmt: skip


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
