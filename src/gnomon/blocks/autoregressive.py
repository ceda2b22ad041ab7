"""Autoregressive splines: each column is moved by a spline whose shape depends on the columns before it.

Forward is one pass of a masked network. Inverse goes column by column, but every hidden number is computed once and kept, so that it
costs about one pass of arithmetic too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnomon.blocks.activations import activation_class, gain
from gnomon.blocks.coupling import Bijection, identity_start, wrapped
from gnomon.blocks.initialisers import initialise
from gnomon.blocks.splines import spline_forward, spline_inverse, spline_table
from gnomon.errors import OptionError


class MaskedLinear(nn.Linear):
    """A linear layer in which an output sees only inputs of a lower (or equal) degree; units stand in the order of their degrees.

    Args:
        inputs: degree of each input, rising.
        outputs: degree of each output, rising.
        strict: whether an output sees lower degrees only, or its own as well.

    Shape: ``(*, len(inputs)) -> (*, len(outputs))``.

    Reference: Germain et al. 2015, https://arxiv.org/abs/1502.03509

    Example:
        >>> layer = MaskedLinear([1, 2], [0, 1, 2])
        >>> layer.mask.int().tolist()
        [[0, 0], [1, 0], [1, 1]]
    """

    mask: Tensor

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], *, strict: bool = False) -> None:
        super().__init__(len(inputs), len(outputs))
        seen, seeing = torch.tensor(inputs), torch.tensor(outputs)
        self.register_buffer("mask", (seeing[:, None] > seen) if strict else (seeing[:, None] >= seen), persistent=False)

    def masked(self) -> Tensor:
        """The weights that act, ``(outputs, inputs)``."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return F.linear(x, self.masked(), self.bias)


class AutoregressiveConditioner(nn.Module):
    """A masked residual network: for each of D columns, parameters that depend on the condition and on the columns before it.

    ``h ← h + W₂ f(W₁ f(h))`` with masks that never let a later column through; zero at the start.

    Args:
        size: number of columns D.
        parameters: numbers per column.
        features: how many inputs speak of each column; None means one each.
        given: size of the condition, 0 for none.
        hidden: width of each hidden layer; all the same. The first is linear in the inputs, each further one adds a residual layer.
        activation: name in `blocks.activations`, of one that acts on each number alone.
        dropout: probability with which a number inside a residual layer is set to zero in training.

    Shape: ``(n, sum(features)), (n, given) -> (n, size, parameters)``.

    Raises:
        OptionError: hidden layers of several widths, or none.

    Reference: Germain et al. 2015, https://arxiv.org/abs/1502.03509; residual masks, Nash & Durkan 2019, https://arxiv.org/abs/1904.05626

    Example:
        >>> AutoregressiveConditioner(3, 2)(torch.zeros(5, 3)).shape
        torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        size: int,
        parameters: int,
        *,
        features: Sequence[int] | None = None,
        given: int = 0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not hidden or len(set(hidden)) > 1:
            raise OptionError(f"an autoregressive flow wants hidden layers of one width, such as 128,128; got {tuple(hidden)}")
        self.size, self.parameters_per_column, self.given = size, parameters, given
        columns = list(range(1, size + 1))
        least = 0 if given else 1
        count = max(1, size - least)  # degrees that a hidden unit may have: `least` … size - 1
        degrees = sorted(least + i % count for i in range(hidden[0])) if size > 1 or given else [0] * hidden[0]
        self.ends = [sum(degree <= column for degree in degrees) for column in range(size)]
        inputs = [column for column, count in zip(columns, features or [1] * size, strict=True) for _ in range(count)]
        self.first = MaskedLinear([0] * given + inputs, degrees)
        self.inner = nn.ModuleList(MaskedLinear(degrees, degrees) for _ in hidden[1:])
        self.outer = nn.ModuleList(MaskedLinear(degrees, degrees) for _ in hidden[1:])
        self.last = MaskedLinear(degrees, [column for column in columns for _ in range(parameters)], strict=True)
        self.activation = activation_class(activation)()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self._draw(activation)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """The parameters of all columns at once."""
        h = self.first(x if given is None else torch.cat([given, x], 1))
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(self.dropout(self.activation(inner(self.activation(h)))))
        return self.last(self.activation(h)).unflatten(1, (self.size, self.parameters_per_column))

    def steps(self, n: int, given: Tensor | None = None) -> Columnwise:
        """The same column by column; every hidden number is computed once. In evaluation only where there is dropout."""
        return Columnwise(self, n, given)

    def _draw(self, activation: str) -> None:
        """Weights for the numbers of inputs that the masks leave; zeros where the identity is to be the start."""
        factor = gain(activation)
        initialise(self.first)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            initialise(inner, factor)
            initialise(outer, 0.0)
        initialise(self.last, 0.0)
        for layer in (self.first, *self.inner):
            left = layer.mask.sum(1, keepdim=True).clamp_min(1)
            layer.weight.data.mul_((layer.mask.shape[1] / left).sqrt())


class Columnwise:
    """The network of an `AutoregressiveConditioner`, told one column after the other.

    Args:
        conditioner: whose network.
        n: rows.
        given: ``(n, given)`` or None.
    """

    def __init__(self, conditioner: AutoregressiveConditioner, n: int, given: Tensor | None) -> None:
        self.of, self.column, self.end = conditioner, 0, 0
        layers = [conditioner.first, *conditioner.inner, *conditioner.outer, conditioner.last]
        self.weights: dict[Any, Tensor] = {layer: layer.masked() for layer in layers}
        like = conditioner.first.weight
        width = len(conditioner.first.bias)
        shared: dict[str, Any] = {"like": like, "n": n}
        self.seen = Growing(conditioner.first.in_features, **shared)
        if given is not None:
            self.seen.add(given)
        self.hidden = [Growing(width, **shared) for _ in range(1 + 2 * len(conditioner.inner))]

    def parameters(self) -> Tensor:
        """``(n, parameters)`` of the next column, from the condition and the columns told so far."""
        net, start, end = self.of, self.end, self.of.ends[self.column]
        if end > start:
            new = slice(start, end)
            h = self._part(net.first, new, self.seen)
            self.hidden[0].add(net.activation(h))
            for index, (inner, outer) in enumerate(zip(net.inner, net.outer, strict=True)):
                self.hidden[2 * index + 1].add(net.activation(self._part(inner, new, self.hidden[2 * index])))
                h = h + self._part(outer, new, self.hidden[2 * index + 1])
                self.hidden[2 * index + 2].add(net.activation(h))
            self.end = end
        rows = slice(self.column * net.parameters_per_column, (self.column + 1) * net.parameters_per_column)
        return self._part(net.last, rows, self.hidden[-1])

    def tell(self, features: Tensor) -> None:
        """What speaks of that column, ``(n, its features)``."""
        self.seen.add(features)
        self.column += 1

    def _part(self, layer: Any, rows: slice, inputs: Growing) -> Tensor:
        known = inputs.values()
        return F.linear(known, self.weights[layer][rows, : known.shape[1]], layer.bias[rows])


class Growing:
    """Columns that are added from left to right: written into one buffer, or, where gradients are wanted, put together anew.

    Args:
        width: columns in the end.
        like: a tensor of the same type and device.
        n: rows.
    """

    def __init__(self, width: int, *, like: Tensor, n: int) -> None:
        self._end = 0
        self._parts: list[Tensor] | None = [like.new_empty(n, 0)] if torch.is_grad_enabled() else None
        self._buffer = like.new_empty(n, width) if self._parts is None else None

    def add(self, values: Tensor) -> None:
        """Columns ``(n, k)`` to the right."""
        if self._buffer is None:
            assert self._parts is not None
            self._parts = [torch.cat([*self._parts, values], 1)]
        else:
            self._buffer[:, self._end : self._end + values.shape[1]] = values
        self._end += values.shape[1]

    def values(self) -> Tensor:
        """All columns so far."""
        if self._buffer is None:
            assert self._parts is not None
            return self._parts[0]
        return self._buffer[:, : self._end]


class AutoregressiveSpline(Bijection):
    """Moves every column by a rational-quadratic spline whose shape depends on the columns before it, and on the condition.

    Columns on the line are moved inside ``[-bound, bound]`` and left as they are outside. Columns on the circle, angles in [-π, π),
    are moved by a periodic spline and then turned; the network sees their sine and cosine. It starts as the identity.

    Args:
        size: number of columns.
        order: the columns, first to last, in which they depend on each other; None takes their own order.
        circular: positions of those on the circle.
        given: size of the condition, 0 for none.
        bins: pieces of each spline.
        bound: half the width of the interval on which columns on the line are moved.
        frequencies: how many octaves of waves (sines and cosines, the longest 2 `bound` long) of the columns on the line the network
            sees beside the columns themselves; they let it turn sharply.
        hidden: width of each hidden layer of the network; all the same.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number of the network is set to zero in training.

    Raises:
        OptionError: hidden layers of several widths, or an order that is none.

    Reference: Durkan et al. 2019, https://arxiv.org/abs/1906.04032; masked autoregressive flow, Papamakarios et al. 2017,
    https://arxiv.org/abs/1705.07057

    Example:
        >>> step = AutoregressiveSpline(3, hidden=(16, 16))
        >>> z, log_det = step.forward_and_log_det(torch.ones(5, 3))
        >>> z.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    order: Tensor
    places: Tensor
    start: Tensor
    turns: Tensor
    halves: Tensor
    waves: Tensor

    def __init__(
        self,
        size: int,
        *,
        order: Sequence[int] | None = None,
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
        laid = list(range(size)) if order is None else list(order)
        if sorted(laid) != list(range(size)):
            raise OptionError(f"order names each of {size} columns once; got {laid}")
        self.reordered = laid != sorted(laid)
        self.round = [column in circular for column in laid]
        self.any = any(self.round)
        turns = torch.tensor(self.round)
        starts = torch.stack([identity_start(bins, bound, circular=one, turned=self.any) for one in self.round])
        for name, value in {
            "order": torch.tensor(laid), "places": torch.tensor([laid.index(i) for i in range(size)]), "start": starts, "turns": turns,
            "halves": torch.where(turns, math.pi, bound), "waves": 2.0 ** torch.arange(frequencies) * (math.pi / bound),
        }.items():  # fmt: skip
            self.register_buffer(name, value, persistent=False)
        self.bound = bound
        self.conditioner = AutoregressiveConditioner(
            size, starts.shape[1], features=[2 if one else 1 + 2 * frequencies for one in self.round], given=given, hidden=hidden,
            activation=activation, dropout=dropout,
        )  # fmt: skip

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise, all columns at once."""
        if self.reordered:
            x = x.index_select(1, self.order)
        seen = torch.cat([self._features(x[:, i], i) for i in range(x.shape[1])], 1) if self.any or len(self.waves) else x
        raw = self.conditioner(seen, given) + self.start
        if self.any:
            z, log_slope = spline_forward(x, spline_table(raw[..., 1:], self.halves, circular=self.turns), self.halves)
            z = torch.where(self.turns, wrapped(z + raw[..., 0]), z)
        else:
            z, log_slope = spline_forward(x, spline_table(raw, self.bound), self.bound)
        return z.index_select(1, self.places) if self.reordered else z, log_slope.sum(1)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data, column by column."""
        if self.reordered:
            z = z.index_select(1, self.order)
        steps = self.conditioner.steps(len(z), given)
        columns, total = [], z.new_zeros(len(z))
        for column in range(z.shape[1]):
            x, log_slope = self._undone(z[:, column], steps.parameters() + self.start[column], column)
            steps.tell(self._features(x, column))
            columns.append(x)
            total = total + log_slope
        x = torch.stack(columns, 1)
        return x.index_select(1, self.places) if self.reordered else x, total

    def _undone(self, z: Tensor, raw: Tensor, column: int) -> tuple[Tensor, Tensor]:
        """One column from noise to data."""
        if not self.any:
            return spline_inverse(z, spline_table(raw, self.bound), self.bound)
        if self.round[column]:
            z = wrapped(z - raw[:, 0])
        half = self.halves[column]
        return spline_inverse(z, spline_table(raw[:, 1:], half, circular=self.turns[column]), half)

    def _features(self, x: Tensor, column: int) -> Tensor:
        """What the network sees of one column ``(n,)``: ``(n, its features)``."""
        if self.round[column]:
            return torch.stack([x.sin(), x.cos()], 1)
        if not len(self.waves):
            return x[:, None]
        waves = x[:, None] * self.waves
        return torch.cat([x[:, None], waves.sin(), waves.cos()], 1)


def rotations(size: int, count: int) -> list[tuple[int, ...]]:
    """Orders of the columns for `count` steps: as they are, reversed, then drawn at random, each followed by its reverse.

    Example:
        >>> rotations(3, 2)
        [(0, 1, 2), (2, 1, 0)]
    """
    made: list[tuple[int, ...]] = []
    for pair in range(math.ceil(count / 2)):
        drawn = tuple(torch.randperm(size, generator=torch.Generator().manual_seed(pair)).tolist()) if pair else tuple(range(size))
        made += [drawn, drawn[::-1]]
    return made[:count]
