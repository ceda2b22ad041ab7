"""Networks as eyes of the classifier test: an MLP on columns, a CNN on images, Deep Sets on sets; many are trained at once.

What rows look like to them is made in `classifiers`; what their success means is the business of `c2st`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks import MLP, initialise
from gnomon.checks.effort import Effort
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistics.classifiers import Bools, Rows, Sizes, Table, View
from gnomon.data import Examples, Image, Set, Vector
from gnomon.networks.images import ConvEncoder
from gnomon.networks.sets import DeepSets
from gnomon.training.randomness import borrowed

_MOMENTUM, _SQUARES, _TINY = 0.9, 0.99, 1e-8
_NUMBERS = 2**22  # activations held at once where decisions are made


class Network:
    """Several networks from different starts, whose mean logit decides; copies of them for any number of labellings in one tensor.

    All copies start alike and see the same rows in the same order, so that they differ by their labels alone. They take a fixed number
    of steps, and the batch grows with the rows: then what they learn from labels that mean nothing hardly depends on how many rows
    there are, and the spread of its success, in units of the textbook one, can be measured on few of them.
    """

    many = True
    where: str
    words: str
    views: tuple[View, ...]
    members = 4
    steps = 240
    passes = 6.0
    rate = 0.01

    @classmethod
    def sizes(cls, sides: Sides, effort: Effort) -> Sizes:
        """As the effort says; half of the rows are enough for the null."""
        return Sizes(effort.joint_rows, -(-effort.retraining_rows // 2), effort.retrainings)

    def network(self, table: Table) -> nn.Module:
        """One network with fresh weights: (x, given) to ``(n, 1)`` logits."""
        raise NotImplementedError

    def shown(self, table: Table, rows: Rows) -> Examples:
        """What it is shown of some rows."""
        raise NotImplementedError

    def width(self, table: Table) -> int:
        """Activations that one row needs at once."""
        return 64

    def fit(self, table: Table, rows: Rows, labels: Bools, seed: int) -> Network:
        """Learn to tell rows with a true label (generated) from the others, once per labelling ``(copies, rows of the table)``."""
        wanted = np.atleast_2d(labels)[:, rows]
        self._copies = len(wanted)
        with borrowed(seed, torch.device("cpu")):
            networks = [self.network(table) for _ in range(self.members)]
            starts, _ = stack_module_state(networks)
            self._plan = networks[0].to("meta")
            self._weights = {name: start.detach().repeat(self._copies, *(1,) * (start.ndim - 1)) for name, start in starts.items()}
            targets = torch.from_numpy(wanted.astype(np.float32)).repeat_interleave(self.members, 0)
            shares = torch.from_numpy(_shares(wanted, None if table.weight is None else table.weight[rows]))
            shares = shares.repeat_interleave(self.members, 0)
            self._train(self.shown(table, rows), targets, shares)
        return self

    @torch.no_grad()
    def decision(self, table: Table, rows: Rows) -> Floats:
        """``(copies, n)``: larger means more like a generated row."""
        step = max(1, _NUMBERS // (len(next(iter(self._weights.values()))) * self.width(table)))
        made = []
        for start in range(0, len(rows), step):
            logits = self._logits(self._weights, self.shown(table, rows[start : start + step]))
            made.append(logits.view(self._copies, self.members, -1).mean(1).double())
        return torch.cat(made, 1).numpy()

    def _logits(self, weights: dict[str, Tensor], batch: Examples) -> Tensor:
        """``(networks, n)``."""

        def one(own: dict[str, Tensor]) -> Tensor:
            arguments = (batch.x,) if batch.given is None else (batch.x, batch.given)
            return functional_call(self._plan, own, arguments).squeeze(-1)

        return vmap(one)(weights)

    def _train(self, examples: Examples, targets: Tensor, shares: Tensor) -> None:
        """Adam with a rate that rises for a tenth of the steps and then falls to zero along a cosine."""
        weights = [part.requires_grad_() for part in self._weights.values()]
        means, squares = ([torch.zeros_like(part) for part in weights] for _ in range(2))
        for step, rows in enumerate(_batches(len(examples), self.steps, self.passes)):
            logits = self._logits(dict(zip(self._weights, weights, strict=True)), examples[rows])
            losses = nn.functional.binary_cross_entropy_with_logits(logits, targets[:, rows], weight=shares[:, rows], reduction="none")
            slopes = torch.autograd.grad(losses.mean(1).sum(), weights)
            rate = self.rate * min(1.0, 10 * (step + 1) / self.steps) * (1 + math.cos(math.pi * step / self.steps)) / 2
            with torch.no_grad():
                torch._foreach_lerp_(means, slopes, 1 - _MOMENTUM)
                torch._foreach_mul_(squares, _SQUARES)
                torch._foreach_addcmul_(squares, slopes, slopes, 1 - _SQUARES)
                sizes = torch._foreach_sqrt(squares)
                torch._foreach_div_(sizes, math.sqrt(1 - _SQUARES ** (step + 1)))
                torch._foreach_add_(sizes, _TINY)
                torch._foreach_addcdiv_(weights, means, sizes, value=-rate / (1 - _MOMENTUM ** (step + 1)))
        self._weights = {name: part.detach() for name, part in zip(self._weights, weights, strict=True)}


class Perceptron(Network):
    """An MLP on standardised columns: it sees smooth differences that many columns share, such as rotations and correlations."""

    where = "all columns (MLP)"
    words = "four small MLPs"
    views = ("points",)
    hidden = (32, 32)

    def network(self, table: Table) -> nn.Module:
        """Two hidden layers."""
        assert table.points is not None
        return MLP(table.points.shape[1], 1, hidden=self.hidden, final=0.1)

    def shown(self, table: Table, rows: Rows) -> Examples:
        """Points."""
        return Examples(_points(table, rows))

    def width(self, table: Table) -> int:
        """Two layers, or the points."""
        assert table.points is not None
        return max(2 * sum(self.hidden), table.points.shape[1])


class _WithColumns(nn.Module):
    """An encoder whose code is joined by columns before the last layers."""

    def __init__(self, encoder: nn.Module, code: int, columns: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = MLP(code + columns, 1, hidden=(32,), final=0.1)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        return self.head(torch.cat([nn.functional.silu(self.encoder(x)), given], -1))


class Convolutional(Network):
    """A CNN on pixels in one, two or three dimensions, which is told the columns too: it sees texture wherever it lies in the image."""

    where = "pixels (CNN)"
    words = "two small CNNs"
    views = ("points", "pixels")
    members = 2
    steps = 160

    @classmethod
    def sizes(cls, sides: Sides, effort: Effort) -> Sizes:
        """Fewer images, the larger they are."""
        assert sides.real.pixels is not None
        return _affordable(effort, cls.members * cls.passes * (25e-6 + 0.13e-6 * sides.real.pixels[0].size))

    def network(self, table: Table) -> nn.Module:
        """Few channels, halved down to a few cells."""
        assert table.pixels is not None and table.points is not None
        channels, *size = table.pixels.shape[1:]
        encoder = ConvEncoder(Image(channels, tuple(size)), "encoder", outputs=16, size=0.25, depth=1, norm="none")
        initialise(encoder.head[-1])  # it starts small, for whole models
        return _WithColumns(encoder, 16, table.points.shape[1])

    def shown(self, table: Table, rows: Rows) -> Examples:
        """Pixels and columns."""
        assert table.pixels is not None
        return Examples(torch.from_numpy(table.pixels[rows]), given=_points(table, rows))

    def width(self, table: Table) -> int:
        """The first layer's maps."""
        assert table.pixels is not None
        return 16 * math.prod(table.pixels.shape[2:])


class SetEncoder(Network):
    """Deep Sets on the elements of sets, told the columns too: they see what sums over any function of one element show."""

    where = "sets (Deep Sets)"
    words = "two small Deep Sets"
    views = ("points", "elements")
    members = 2
    steps = 160

    @classmethod
    def sizes(cls, sides: Sides, effort: Effort) -> Sizes:
        """Fewer sets, the more elements they have."""
        assert sides.real.sets is not None
        return _affordable(effort, cls.members * cls.passes * (10e-6 + 1e-6 * len(sides.real.sets.values) / len(sides.real.sets)))

    def network(self, table: Table) -> nn.Module:
        """Two layers per element, one per set."""
        assert table.elements is not None and table.points is not None
        width = table.elements.values.shape[1]
        return DeepSets(
            Set(Vector.real(width)), "encoder", inputs=width, outputs=1, given=table.points.shape[1], element=(32, 32), hidden=(32,)
        )  # fmt: skip

    def shown(self, table: Table, rows: Rows) -> Examples:
        """Elements and columns."""
        assert table.elements is not None
        return Examples(table.elements[torch.from_numpy(rows)], given=_points(table, rows))

    def width(self, table: Table) -> int:
        """Two layers for each of its elements."""
        assert table.elements is not None
        return 128 * max(1, len(table.elements.values) // len(table.elements))


def _points(table: Table, rows: Rows) -> Tensor:
    assert table.points is not None
    return torch.from_numpy(table.points[rows])


def _affordable(effort: Effort, seconds: float) -> Sizes:
    """Sizes for a network of which one row costs so many seconds: a tenth of the budget for the value, as much for its null."""
    retrainings = min(effort.retrainings, 12)
    rows = int(max(500, 0.05 * effort.seconds / seconds))
    retraining_rows = int(max(100, 0.05 * effort.seconds / (seconds * retrainings)))
    return Sizes(min(effort.joint_rows, rows), min(effort.retraining_rows, retraining_rows), retrainings)


def _shares(labels: Bools, weight: Floats | None) -> Any:
    """``(copies, rows)`` float32 weights with mean 1 that give rows of both labels the same total."""
    own = np.ones(labels.shape[1]) if weight is None else np.maximum(weight, 0.0)
    totals = [np.maximum((own * side).sum(axis=1, keepdims=True), 1e-300) for side in (labels, ~labels)]
    return (0.5 * labels.shape[1] * own * np.where(labels, 1 / totals[0], 1 / totals[1])).astype(np.float32)


def _batches(rows: int, steps: int, passes: float) -> Iterator[Tensor]:
    """`steps` batches that go through all rows `passes` times, or as often as batches of four need."""
    size = min(rows, max(4, round(passes * rows / steps)))
    order = torch.cat([torch.randperm(rows) for _ in range(-(-steps * size // rows))])
    yield from order[: steps * size].view(steps, size)
