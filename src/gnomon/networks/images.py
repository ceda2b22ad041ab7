"""Convolutional networks for images in one, two or three dimensions, of any size, as tables of stages over shared blocks.

Blocks are in `blocks.convolution`; what the outputs mean is left to the models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks import MLP, ConvNormAct, Downsample, DropPath, Initialiser, ResidualConv, Upsample, convolution, initialise, rising
from gnomon.blocks.dropout import make_dropout
from gnomon.data import Image
from gnomon.errors import OptionError
from gnomon.networks.roles import beside, ports, present, scaled

Norm = Literal["group", "batch", "none"]

_SMALLEST = {1: 16, 2: 4, 3: 2}  # an axis is halved while it is longer, so that at most 16 cells stay


class Stage(NamedTuple):
    """One row of an architecture's table: `channels` wide feature maps of extent `size`."""

    channels: int
    size: tuple[int, ...]


def stages(size: Sequence[int], width: int, longest: int | None = None) -> tuple[Stage, ...]:
    """The table for images of `size`: axes halve until at most 16 cells stay, or while they are longer than `longest`.

    The last stage has `width` channels, each earlier one half as many as the next, but no fewer than a quarter of `width`: that
    is where the pixels, and so the time, are.

    Raises:
        OptionError: `longest` is below one.

    Example:
        >>> [stage.channels for stage in stages((28, 28), 64)], [stage.size[0] for stage in stages((28, 28), 64)]
        ([16, 16, 32, 64], [28, 14, 7, 4])
    """
    smallest = _SMALLEST[len(size)] if longest is None else longest
    if smallest < 1:
        raise OptionError(f"longest is the length to which axes are halved and must be at least 1; got {longest}")
    sizes = [tuple(size)]
    while max(sizes[-1]) > smallest:
        sizes.append(tuple(-(-n // 2) if n > smallest else n for n in sizes[-1]))
    depth = len(sizes)
    return tuple(Stage(max(width // 4, width >> (depth - 1 - i), 1), extent) for i, extent in enumerate(sizes))


def strides(before: Stage, after: Stage) -> tuple[int, ...]:
    """The stride along each axis that leads from one stage to the next."""
    return tuple(1 if a == b else 2 for a, b in zip(before.size, after.size, strict=True))


class ConvEncoder(nn.Module):
    """Convolutions that halve the image down to a few cells, then a fully connected head.

    Args:
        kind: the Image that is read.
        role: "encoder".
        inputs: channels that go in, where they are not those of `kind`.
        outputs: numbers that come out.
        given: size of the condition, which scales and shifts every stage and joins the head; 0 for none.
        size: factor on the widths.
        width: channels of the last stage; each earlier one has half, but no fewer than a quarter.
        depth: how many blocks a stage has: convolutions, and from the third on residual pairs.
        pool: what the head sees of the last stage: the "mean" of its cells, all of them ("flatten"), or "both", where each cell
            is divided by their number, so that it is the mean that leads: as good as "mean" at telling classes apart, and nearly
            as good as "flatten" at remembering where things are. With "grid" the head sees each cell alone and gives the same count
            of numbers for each, cell by cell: a code that knows where things are.
        longest: axes are halved while they are longer; None until at most 16 cells stay.
        down: how images shrink, "max", "mean" or "stride" (see `blocks.Downsample`).
        hidden: width of the head's hidden layers.
        norm: "group", "batch" or "none".
        activation: name in `blocks.activations`.
        dropout: probability with which a number of the head is set to zero in training.
        drop_path: probability with which the last residual pair leaves an example as it is in training; earlier ones do so less
            often, in proportion to their depth. It needs a depth of 3 or more.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.
        standardise: whether the weights of the convolutions in the stages are brought to mean zero and one size in every channel.

    Shape: ``(n, channels, *size), (n, given) -> (n, outputs)``.

    Example:
        >>> network = ConvEncoder(Image(1, (8, 8)), "encoder", outputs=10)
        >>> network(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    roles: ClassVar[dict[str, tuple[type, ...]]] = {"encoder": (Image,)}

    def __init__(
        self,
        kind: Image,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        width: int = 64,
        depth: int = 2,
        pool: Literal["both", "mean", "flatten", "grid"] = "both",
        longest: int | None = None,
        down: Literal["max", "mean", "stride"] = "max",
        hidden: tuple[int, ...] = (),
        norm: Norm = "group",
        activation: str = "silu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        initialiser: Initialiser = "gain",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        port = ports("conv", kind, role, inputs, outputs)
        self.inputs, self.outputs, self.given, self.pool = port.inputs, port.outputs, given, pool
        table = stages(kind.size, scaled(width, size, multiple=4), longest)
        dimension = kind.dimension
        shared: dict[str, Any] = _shared(norm, activation, given, initialiser, standardise)
        self.stages = nn.ModuleList([ConvNormAct(dimension, port.inputs, table[0].channels, **shared)])
        self.stages.extend(_deeper(dimension, table[0].channels, depth, shared))
        for before, stage in itertools.pairwise(table):
            self.stages.append(Downsample(dimension, before.channels, stage.channels, stride=strides(before, stage), mode=down, **shared))
            self.stages.extend(_deeper(dimension, stage.channels, depth, shared))
        _leave_out("conv", self.stages, drop_path)
        cells = math.prod(table[-1].size)
        seen = {"mean": 1, "flatten": cells, "both": 1 + cells, "grid": 1}[pool]
        _refuse_uneven("conv", "outputs", port.outputs, table[-1] if pool == "grid" else None)
        self.dropout = make_dropout(dropout)
        dense: dict[str, Any] = {"hidden": tuple(scaled(w, size) for w in hidden), "activation": activation, "dropout": dropout}
        outputs = port.outputs // cells if pool == "grid" else port.outputs
        self.head = MLP(seen * table[-1].channels + given, outputs, final=0.1, initialiser=initialiser, **dense)

    def forward(self, x: Float[Tensor, "n channels *size"], given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, "n outputs"]:
        """Apply the stages and the head."""
        if self.given:
            given = present(given, self.given)
        for stage in self.stages:
            x = stage(x, given)
        if self.pool == "grid":
            return self._by_cell(x.flatten(2).transpose(1, 2), given)
        return self.head(beside(self.dropout(self._pooled(x.flatten(2))), given, self.given))

    def _by_cell(self, cells: Tensor, given: Tensor | None) -> Tensor:
        if given is not None:
            cells = torch.cat([cells, given[:, None].expand(-1, cells.shape[1], -1)], -1)
        return self.head(self.dropout(cells)).flatten(1)

    def _pooled(self, cells: Tensor) -> Tensor:
        if self.pool == "flatten":
            return cells.flatten(1)
        mean = cells.mean(2)
        return mean if self.pool == "mean" else torch.cat([mean, cells.flatten(1) / cells.shape[2]], 1)


class ConvDecoder(nn.Module):
    """A fully connected start at a few cells, then convolutions that double the image up to its size.

    Args:
        kind: the Image that is written.
        role: "decoder".
        inputs: size of the code that goes in.
        outputs: channels that come out, where they are not those of `kind`.
        given: size of the condition, which joins the code and scales and shifts every stage; 0 for none.
        size: factor on the widths.
        width: channels of the first stage; each later one has half, but no fewer than a quarter.
        depth: how many blocks a stage has: convolutions, and from the third on residual pairs.
        hidden: width of the hidden layers before the first stage.
        start: what the code is to the first stage: mapped to all its cells at once ("dense"), or told cell by cell ("grid"), with the
            same count of numbers for each, as an encoder with pool="grid" gives them; then there are no hidden layers.
        longest: length from which axes are doubled; None starts from at most 16 cells.
        norm: "group", "batch" or "none".
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number before the first stage is set to zero in training.
        mode: how feature maps are enlarged, "nearest" or "linear".
        drop_path: probability with which the last residual pair leaves an example as it is in training; earlier ones do so less
            often, in proportion to their depth. It needs a depth of 3 or more.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.
        standardise: whether the weights of the convolutions in the stages are brought to mean zero and one size in every channel.

    Shape: ``(n, inputs), (n, given) -> (n, outputs, *size)``.

    Example:
        >>> network = ConvDecoder(Image(1, (28, 28)), "decoder", inputs=16)
        >>> network(torch.zeros(5, 16)).shape
        torch.Size([5, 1, 28, 28])
    """

    roles: ClassVar[dict[str, tuple[type, ...]]] = {"decoder": (Image,)}

    def __init__(
        self,
        kind: Image,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        width: int = 64,
        depth: int = 1,
        hidden: tuple[int, ...] = (128,),
        start: Literal["dense", "grid"] = "dense",
        longest: int | None = None,
        norm: Norm = "group",
        activation: str = "silu",
        dropout: float = 0.0,
        mode: Literal["nearest", "linear"] = "nearest",
        drop_path: float = 0.0,
        initialiser: Initialiser = "gain",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        port = ports("deconv", kind, role, inputs, outputs)
        self.inputs, self.outputs, self.given = port.inputs, port.outputs, given
        table = stages(kind.size, scaled(width, size, multiple=4), longest)[::-1]
        dimension = kind.dimension
        shared: dict[str, Any] = _shared(norm, activation, given, initialiser, standardise)
        _refuse_uneven("deconv", "inputs", port.inputs, table[0] if start == "grid" else None)
        first = port.inputs // math.prod(table[0].size) if start == "grid" else table[0].channels
        self.start = (first, *table[0].size)
        dense: dict[str, Any] = {"hidden": tuple(scaled(w, size) for w in hidden), "activation": activation, "dropout": dropout}
        self.code = None if start == "grid" else MLP(port.inputs + given, math.prod(self.start), initialiser=initialiser, **dense)
        self.stages = nn.ModuleList([ConvNormAct(dimension, first, table[0].channels, **shared)])
        self.stages.extend(_deeper(dimension, table[0].channels, depth, shared))
        for before, stage in itertools.pairwise(table):
            self.stages.append(Upsample(dimension, before.channels, stage.channels, size=stage.size, mode=mode, **shared))
            self.stages.extend(_deeper(dimension, stage.channels, depth, shared))
        _leave_out("deconv", self.stages, drop_path)
        self.last = convolution(kind.dimension, table[-1].channels, port.outputs)
        initialise(self.last, 0.1, initialiser=initialiser)

    def forward(self, z: Float[Tensor, "n inputs"], given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, "n channels *size"]:
        """Apply the start and the stages."""
        if self.given:
            given = present(given, self.given)
        if self.code is None:
            x = z.unflatten(1, (-1, self.start[0])).transpose(1, 2).contiguous().view(len(z), *self.start)
        else:
            x = self.code(beside(z, given, self.given)).reshape(len(z), *self.start)
        for stage in self.stages:
            x = stage(x, given)
        return self.last(x)


class UNet(nn.Module):
    """Image to image of the same size: down through the stages and up again, each level joined to its mirror image.

    Args:
        kind: the Image that is read, and whose size comes out.
        role: "mapper".
        inputs: channels that go in, where they are not those of `kind`.
        outputs: channels that come out, where they are not those of `kind`.
        given: size of the condition, which scales and shifts every stage; 0 for none.
        size: factor on the widths.
        width: channels of the smallest stage; each larger one has half, but no fewer than a quarter.
        depth: residual pairs per stage, on the way down and on the way up.
        norm: "group", "batch" or "none".
        activation: name in `blocks.activations`.
        mode: how feature maps are enlarged, "nearest" or "linear".
        dropout: probability with which a number between the convolutions of a pair is set to zero in training.
        drop_path: probability with which the last residual pair leaves an example as it is in training; earlier ones do so less
            often, in proportion to their depth.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.
        standardise: whether the weights of the convolutions in the stages are brought to mean zero and one size in every channel.

    Shape: ``(n, channels, *size), (n, given) -> (n, outputs, *size)``.

    Reference: Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597

    Example:
        >>> network = UNet(Image(3, (5, 7)), "mapper", outputs=2, width=8)
        >>> network(torch.zeros(4, 3, 5, 7)).shape
        torch.Size([4, 2, 5, 7])
    """

    roles: ClassVar[dict[str, tuple[type, ...]]] = {"mapper": (Image,)}

    def __init__(
        self,
        kind: Image,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        width: int = 64,
        depth: int = 1,
        norm: Norm = "group",
        activation: str = "silu",
        mode: Literal["nearest", "linear"] = "nearest",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        initialiser: Initialiser = "gain",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        port = ports("unet", kind, role, inputs, outputs)
        self.inputs, self.outputs, self.given = port.inputs, port.outputs, given
        table = stages(kind.size, scaled(width, size, multiple=4))
        dimension = kind.dimension
        shared: dict[str, Any] = _shared(norm, activation, given, initialiser, standardise)
        self.first = convolution(dimension, port.inputs, table[0].channels)
        initialise(self.first, initialiser=initialiser)
        inside = {**shared, "dropout": dropout}
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for before, stage in itertools.pairwise(table):
            self.down.append(_pairs(dimension, before.channels, before.channels, depth, inside))
            self.down.append(Downsample(dimension, before.channels, stage.channels, stride=strides(before, stage), **shared))
        self.middle = _pairs(dimension, table[-1].channels, table[-1].channels, depth, inside)
        for before, stage in itertools.pairwise(table[::-1]):
            self.up.append(Upsample(dimension, before.channels, stage.channels, size=stage.size, mode=mode, **shared))
            self.up.append(_pairs(dimension, 2 * stage.channels, stage.channels, depth, inside))
        _leave_out("unet", (*self.down, self.middle, *self.up), drop_path)
        self.last = convolution(dimension, table[0].channels, port.outputs)
        initialise(self.last, 0.1, initialiser=initialiser)

    def forward(
        self, x: Float[Tensor, "n channels *size"], given: Float[Tensor, "n given"] | None = None
    ) -> Float[Tensor, "n outputs *size"]:
        """Apply the stages down, in the middle, and up."""
        if self.given:
            given = present(given, self.given)
        x = self.first(x)
        kept = []
        for pairs, smaller in zip(self.down[::2], self.down[1::2], strict=True):
            x = pairs(x, given)
            kept.append(x)
            x = smaller(x, given)
        x = self.middle(x, given)
        for larger, pairs in zip(self.up[::2], self.up[1::2], strict=True):
            x = pairs(torch.cat([larger(x, given), kept.pop()], 1), given)
        return self.last(x)


class _Pairs(nn.ModuleList):
    """Residual pairs one after the other, each seeing the condition."""

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        for pair in self:
            x = pair(x, given)
        return x


def _refuse_uneven(network: str, port: str, count: int, stage: Stage | None) -> None:
    """Raises OptionError for a code that is to be told cell by cell and does not come to the same count for each cell."""
    if stage is not None and count % math.prod(stage.size):
        size = " x ".join(map(str, stage.size))
        raise OptionError(
            f"a grid of {size} cells wants {port} of network '{network}' to be a multiple of {math.prod(stage.size)}; got {count}"
        )


def _shared(norm: Norm, activation: str, given: int, initialiser: str, standardise: bool) -> dict[str, Any]:
    """The options of every block of a network."""
    return {"norm": norm, "activation": activation, "given": given, "initialiser": initialiser, "standardise": standardise}


def _leave_out(network: str, parts: Iterable[nn.Module], drop_path: float) -> None:
    """Give the residual pairs among the parts, in the order of the forward pass, rising probabilities of being left out.

    Raises:
        OptionError: there are none to leave out.
    """
    if not drop_path:
        return
    pairs = [module for part in parts for module in part.modules() if isinstance(module, ResidualConv)]
    if not pairs:
        raise OptionError(f"drop_path leaves out residual pairs, and this network '{network}' has none; set depth=3 or more")
    for pair, probability in zip(pairs, rising(drop_path, len(pairs)), strict=True):
        pair.path = DropPath(probability, dimension=pair.first.dimension)


def _deeper(dimension: int, channels: int, depth: int, shared: dict[str, Any]) -> list[nn.Module]:
    """What follows the first block of a stage. Raises OptionError for a depth below one."""
    if depth < 1:
        raise OptionError(f"depth counts the blocks of a stage and must be at least 1; got {depth}")
    convolutions: list[nn.Module] = [ConvNormAct(dimension, channels, channels, **shared) for _ in range(min(depth, 2) - 1)]
    return convolutions + [ResidualConv(dimension, channels, channels, **shared) for _ in range(depth - 2)]


def _pairs(dimension: int, inputs: int, outputs: int, depth: int, shared: dict[str, Any]) -> _Pairs:
    return _Pairs(ResidualConv(dimension, inputs if i == 0 else outputs, outputs, **shared) for i in range(depth))
