"""Masked networks: parameters of each column from the columns before it, in one pass, or column by column.

Going column by column, every hidden number is computed once and kept, so that it costs about one pass of arithmetic too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnomon.blocks.activations import activation_class, gain
from gnomon.blocks.dropout import checked, make_dropout
from gnomon.blocks.initialisers import initialise
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
        if not checked(hidden) or len(set(hidden)) > 1:
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
        self.dropout = make_dropout(dropout)
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
