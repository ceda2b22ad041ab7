"""Quantisers: vectors of numbers become one of finitely many codes, and gradients pass straight through.

Where the vectors come from, and what the codes cost, is left to the models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gnomon.errors import OptionError

_LEAST = 1e-4  # of the mean variance, added to each
_LEVELS = (2, 8)  # fewest and most levels of an axis, where they are chosen


class Quantised(NamedTuple):
    """What a quantiser makes of vectors ``(*, size)``.

    Args:
        vectors: ``(*, size)``, those of the codes; the gradient is that of what was quantised.
        indices: ``(*, depth)`` int64, which code it is (of a `ResidualQuantiser` one of each of its quantisers, else one).
        loss: ``(*)`` what is to be added to the loss so that vectors keep to their codes; zero where nothing is.
        told: ``(*, size)`` what was quantised: the vectors that came, or what they were squashed to.
    """

    vectors: Tensor
    indices: Tensor
    loss: Tensor
    told: Tensor


def levels_for(codes: int) -> tuple[int, ...]:
    """The levels of the axes of an `FSQ` with at least so many codes: as few axes of at most eight levels as do, as few codes as do.

    Example:
        >>> levels_for(512), levels_for(1000), levels_for(5)
        ((8, 8, 8), (8, 5, 5, 5), (5,))
    """
    if codes < 2:
        raise OptionError(f"a quantiser wants at least 2 codes; got {codes}")
    axes = next(axes for axes in itertools.count(1) if _LEVELS[1] ** axes >= codes)
    found = itertools.combinations_with_replacement(range(_LEVELS[1], _LEVELS[0] - 1, -1), axes)
    return min((levels for levels in found if math.prod(levels) >= codes), key=lambda levels: (math.prod(levels), -min(levels)))


def falling_levels_for(codes: int, axes: int) -> tuple[int, ...]:
    """The levels of that many axes, each about half of those before it, for numbers of which the first tell the most.

    At least so many codes, and at most a quarter more. Of four axes or more the first has about four times the levels of the last.

    Example:
        >>> falling_levels_for(512, 3), falling_levels_for(512, 2), falling_levels_for(64, 2), falling_levels_for(5, 1)
        ((16, 8, 4), (32, 16), (11, 6), (5,))
    """
    if codes < 2 or not 1 <= axes <= math.log2(codes):
        raise OptionError(f"a quantiser wants at least 2 codes and 2 levels for each axis; got {codes} codes for {axes} axes")
    step = min(1.0, 2.0 / max(1, axes - 1))
    ideal = [math.log2(codes) / axes + step * (0.5 * (axes - 1) - axis) for axis in range(axes)]
    near = [[level for level in range(math.floor(2**bits) - 1, math.ceil(2**bits) + 3) if level >= 2] for bits in ideal]
    found = [levels for levels in itertools.product(*near) if codes <= math.prod(levels) <= 1.25 * codes + 1]

    def apart(levels: tuple[int, ...]) -> float:
        return math.prod(levels) / codes - 1 + sum((math.log2(a) - b) ** 2 for a, b in zip(levels, ideal, strict=True))

    return min(found, key=apart)


class FSQ(nn.Module):
    """Finite scalar quantisation: each number of a vector is rounded to one of few levels, and the code is the combination.

    There is no table of codes that could be learned badly. An affine map brings the vectors of the start (`begin`) to uncorrelated numbers
    of mean zero and spread one, the normal distribution function brings these between -1 and 1, so that all combinations of levels are
    about as likely, and each goes to the middle of its level. Later on `balance` keeps it so: what is added to the loss in training is
    zero where the numbers of a batch are spread between -1 and 1 evenly and uncorrelated.

    Args:
        levels: of each number; the codes are their product.
        reach: None to bring numbers between -1 and 1 as said above; else how far they reach from zero, one for each number, and they are
            cut off there (for the later stages of a `ResidualQuantiser`).
        balance: factor on the squared distance, from what even numbers have, of the means and second moments of a batch; 0 for none.
        wider: factor on the spread of the normal distribution function with which `begin` starts. Levels of equal probability are wide
            where vectors are rare; above one they are more alike in width, which tells vectors with a smaller squared error, and codes
            in the middle are likelier than others (widths alone would have it at the square root of three).

    Attributes:
        size: numbers in a vector.
        codes: how many codes there are.
        depth: indices per vector, 1.

    Shape: ``(*, size) -> Quantised``.

    Raises:
        OptionError: fewer than two levels.

    Reference: Mentzer et al. 2023, https://arxiv.org/abs/2309.15505; here with levels of equal probability. Widths: Panter & Dite 1951,
    https://doi.org/10.1109/JRPROC.1951.230419

    Example:
        >>> quantiser = FSQ((2, 4))
        >>> made = quantiser.eval()(torch.tensor([[-1.0, 0.1], [1.0, 3.0]]))
        >>> made.vectors, made.indices
        (tensor([[-0.5000,  0.2500],
                [ 0.5000,  0.7500]]), tensor([[2],
                [7]]))
    """

    centre: Tensor
    mixing: Tensor
    levels: Tensor
    places: Tensor
    reach: Tensor

    def __init__(self, levels: Sequence[int], *, reach: Sequence[float] | None = None, balance: float = 0.0, wider: float = 1.0) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise OptionError(f"an FSQ wants at least two levels for each number; got levels={tuple(levels)}")
        self.size, self.codes, self.depth, self.balance, self.squashes = len(levels), math.prod(levels), 1, balance, reach is None
        if not wider > 0:
            raise OptionError(f"the factor 'wider' of an FSQ must be above 0; got {wider}")
        self.wider = wider
        places = [math.prod(levels[i + 1 :]) for i in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32), persistent=False)
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.register_buffer("reach", torch.tensor(reach or [1.0] * len(levels)), persistent=False)
        self.register_buffer("centre", torch.zeros(len(levels)))
        self.register_buffer("mixing", math.sqrt(0.5) * torch.eye(len(levels)))

    def forward(self, z: Float[Tensor, "*batch size"]) -> Quantised:
        """Quantise."""
        told = self.told(z)
        with torch.no_grad():
            digits = self._digits(told)
            vectors = self._vectors(digits)
        indices = (digits.long() * self.places).sum(-1, keepdim=True)
        return Quantised(told + (vectors - told).detach(), indices, self._uneven(told), told)

    @torch.no_grad()
    def begin(self, z: Float[Tensor, "*batch size"]) -> None:
        """Take the affine map from vectors as the network gives them at the start."""
        rows = z.reshape(-1, self.size).double()
        if not self.squashes or rows.shape[0] <= self.size:
            return
        covariance = rows.mT.cov(correction=0).reshape(self.size, self.size)
        unit = torch.eye(self.size, dtype=rows.dtype, device=rows.device)
        least = _LEAST * covariance.diagonal().mean() + torch.finfo(torch.float32).tiny
        lower = torch.linalg.cholesky_ex(covariance + least * unit).L
        self.mixing.copy_(torch.linalg.solve_triangular(lower, unit, upper=False).mT * (math.sqrt(0.5) / self.wider))
        self.centre.copy_(rows.mean(0))

    def told(self, z: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """What is quantised: the numbers between -1 and 1."""
        if not self.squashes:
            return torch.minimum(torch.maximum(z, -self.reach), self.reach)
        return torch.erf((z - self.centre) @ self.mixing)

    def vectors(self, indices: Int64[Tensor, "*batch 1"]) -> Float[Tensor, "*batch size"]:
        """The vectors of codes."""
        return self._vectors((indices // self.places).remainder(self.levels.long()))

    def _digits(self, told: Tensor) -> Tensor:
        share = 0.5 * (told / self.reach + 1)
        return torch.minimum((share * self.levels).floor().clamp_min(0), self.levels - 1)

    def _vectors(self, digits: Tensor) -> Tensor:
        return ((2 * digits + 1) / self.levels - 1) * self.reach

    def _uneven(self, told: Tensor) -> Tensor:
        """How far the numbers of a batch are from even and uncorrelated ones, for each vector the same."""
        none = told.new_zeros(told.shape[:-1])
        if not (self.training and self.balance and self.squashes) or not told.numel():
            return none
        rows = math.sqrt(3.0) * told.reshape(-1, self.size)  # whose variance is 1 where they are even
        moments = rows.mT @ rows / rows.shape[0] - torch.eye(self.size, device=told.device, dtype=told.dtype)
        return none + self.balance * (rows.mean(0).square().sum() + moments.square().sum())


class VectorQuantiser(nn.Module):
    """A table of vectors, each vector that comes being replaced by the nearest; the table follows the means of what it replaces.

    The table is no parameter: sums and counts of the vectors that each code replaced are running means in float32, and the code is their
    ratio. A code that hardly replaces anything is moved, with its sum and its count, to a vector of the batch at hand. What is added to the
    loss draws the vectors towards their codes: `commitment` times the squared distance.

    Args:
        codes: how many.
        size: numbers in a vector.
        decay: of the running means.
        least: a code is moved once it replaces fewer vectors than this share of what all codes alike would replace; 0 for never.
        commitment: factor on the squared distance.

    Attributes:
        table: ``(codes, size)``.
        counts, sums: running means of how many vectors each code replaced, 1 where it is as many as for the others, and of their sums.
        depth: indices per vector, 1.

    Shape: ``(*, size) -> Quantised``.

    Raises:
        OptionError: an option out of range.

    Reference: van den Oord et al. 2017, https://arxiv.org/abs/1711.00937; running means in its appendix A.1; codes moved to where vectors
    are: Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341

    Example:
        >>> quantiser = VectorQuantiser(4, 2)
        >>> quantiser.begin(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
        >>> quantiser.eval()(torch.tensor([[0.9, 0.2]])).vectors
        tensor([[1., 0.]])
    """

    table: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, size: int, *, decay: float = 0.98, least: float = 0.1, commitment: float = 0.25) -> None:
        super().__init__()
        if codes < 2 or size < 1:
            raise OptionError(f"a quantiser wants at least 2 codes of at least 1 number; got {codes} codes of {size}")
        if not 0 <= decay < 1 or not 0 <= least < 1 or commitment < 0:
            raise OptionError(f"a quantiser wants decay and least from 0 to below 1, commitment from 0; got {decay}, {least}, {commitment}")
        self.codes, self.size, self.depth, self.decay, self.least, self.commitment = codes, size, 1, decay, least, commitment
        self.register_buffer("table", torch.randn(codes, size))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", self.table.clone())

    def forward(self, z: Float[Tensor, "*batch size"]) -> Quantised:
        """Quantise; in training the table then follows."""
        indices = self.nearest(z.detach())
        vectors = F.embedding(indices, self.table).to(z)
        if self.training:
            vectors = vectors.clone()
            self._follow(z.detach().reshape(-1, self.size).float(), indices.reshape(-1))
        loss = self.commitment * (z - vectors).square().sum(-1)
        return Quantised(z + (vectors - z).detach(), indices.unsqueeze(-1), loss, z)

    def begin(self, z: Float[Tensor, "*batch size"]) -> None:
        """Start the table from k means of vectors, the same ones for the same vectors."""
        rows = z.detach().reshape(-1, self.size).float()
        if len(rows):
            table, counts = k_means(rows, self.codes)
            self.table.copy_(table)
            self.counts.copy_(counts.clamp_min(1.0) / counts.clamp_min(1.0).mean())
            self.sums.copy_(table * self.counts[:, None])

    def nearest(self, z: Float[Tensor, "*batch size"]) -> Int64[Tensor, "*batch"]:
        """The index of the nearest code."""
        return _nearest(z.float(), self.table)

    def told(self, z: Tensor) -> Tensor:
        """What is quantised: the vectors themselves."""
        return z

    def vectors(self, indices: Int64[Tensor, "*batch 1"]) -> Float[Tensor, "*batch size"]:
        """The vectors of codes."""
        return F.embedding(indices[..., 0], self.table)

    @torch.no_grad()
    def _follow(self, rows: Tensor, indices: Tensor) -> None:
        count = torch.zeros_like(self.counts).index_add(0, indices, torch.ones_like(rows[:, 0]))
        total = torch.zeros_like(self.sums).index_add(0, indices, rows)
        found = everywhere(torch.cat([count[:, None], total], 1))
        found = found * (self.codes / found[:, 0].sum().clamp_min(1.0))
        self.counts.mul_(self.decay).add_(found[:, 0], alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(found[:, 1:], alpha=1 - self.decay)
        if self.least:
            usual = self.counts.mean()
            place = (torch.rand_like(self.counts) * rows.shape[0]).long().clamp_max(rows.shape[0] - 1)
            picked = from_first(rows.index_select(0, place))
            dead = self.counts < self.least * usual
            self.counts.copy_(torch.where(dead, usual, self.counts))
            self.sums.copy_(torch.where(dead[:, None], picked * usual, self.sums))
        self.table.copy_(self.sums / self.counts.clamp_min(1e-5)[:, None])


class ResidualQuantiser(nn.Module):
    """Several quantisers, each of what those before it leave over: the vector is the sum of their vectors.

    Args:
        quantisers: of vectors of one size.

    Attributes:
        codes: how many each has.
        depth: how many quantisers, and so indices per vector.

    Shape: ``(*, size) -> Quantised``.

    Reference: Zeghidour et al. 2021, https://arxiv.org/abs/2107.03312

    Example:
        >>> quantiser = ResidualQuantiser([FSQ((2,)), FSQ((2,), reach=(0.5,))])
        >>> made = quantiser.eval()(torch.tensor([[0.1], [2.0]]))
        >>> made.vectors.tolist(), made.indices.tolist()
        ([[0.25], [0.75]], [[1, 0], [1, 1]])
    """

    def __init__(self, quantisers: Sequence[FSQ | VectorQuantiser]) -> None:
        super().__init__()
        if not quantisers or any(q.size != quantisers[0].size or q.codes != quantisers[0].codes for q in quantisers):
            raise OptionError("a residual quantiser wants quantisers of the same number of codes, for vectors of one size")
        self.quantisers = nn.ModuleList(quantisers)
        self.size, self.codes, self.depth = quantisers[0].size, quantisers[0].codes, len(quantisers)

    def forward(self, z: Float[Tensor, "*batch size"]) -> Quantised:
        """Quantise."""
        rest, parts = z, []
        for quantiser in self.quantisers:
            parts.append(quantiser(rest))
            rest = parts[-1].told - parts[-1].vectors.detach()
        told, total = parts[0].told, sum(part.vectors.detach() for part in parts)
        indices = torch.cat([part.indices for part in parts], -1)
        return Quantised(told + (total - told).detach(), indices, sum(part.loss for part in parts), told)

    def begin(self, z: Float[Tensor, "*batch size"]) -> None:
        """Let each quantiser begin from what those before it leave over."""
        for quantiser in self.quantisers:
            quantiser.begin(z)  # type: ignore[operator]
            told = quantiser.told(z)  # type: ignore[operator]
            training, quantiser.training = quantiser.training, False
            z = told - quantiser(z).vectors
            quantiser.training = training

    def told(self, z: Tensor) -> Tensor:
        """What is quantised."""
        return self.quantisers[0].told(z)  # type: ignore[operator]

    def vectors(self, indices: Int64[Tensor, "*batch depth"]) -> Float[Tensor, "*batch size"]:
        """The vectors of codes: sums over the quantisers."""
        each = zip(self.quantisers, indices.split(1, -1), strict=True)
        return torch.stack([quantiser.vectors(part) for quantiser, part in each]).sum(0)  # type: ignore[operator]


@torch.no_grad()
def k_means(rows: Tensor, count: int, *, rounds: int = 10, most: int = 16) -> tuple[Tensor, Tensor]:
    """Means of clusters of vectors by Lloyd's rounds, and how many vectors each has; deterministic.

    Centres start at vectors drawn by a generator of a fixed seed. A cluster that loses all its vectors moves to one of those that are
    farthest from their own centres.

    Args:
        rows: ``(n, size)``; of more than `most` for each cluster some are taken evenly. Fewer than `count` are repeated.
        count: how many clusters.
        rounds: how often centres are moved.
        most: vectors per cluster.

    Returns:
        Centres ``(count, size)`` and counts ``(count,)``.

    Reference: Lloyd 1982, https://doi.org/10.1109/TIT.1982.1056489
    """
    if rows.shape[0] > most * count:
        rows = rows.index_select(0, torch.linspace(0, rows.shape[0] - 1, most * count, device=rows.device).round().long())
    order = torch.randperm(rows.shape[0], generator=torch.Generator().manual_seed(0)).to(rows.device)
    centres = rows.index_select(0, order[torch.arange(count, device=rows.device) % rows.shape[0]])
    for _ in range(rounds):
        nearest = _nearest(rows, centres)
        counts = torch.zeros_like(centres[:, 0]).index_add(0, nearest, torch.ones_like(rows[:, 0]))
        means = torch.zeros_like(centres).index_add(0, nearest, rows) / counts.clamp_min(1)[:, None]
        far = (rows - centres.index_select(0, nearest)).square().sum(1).argsort(descending=True)
        spare = rows.index_select(0, far[((counts == 0).cumsum(0) - 1).clamp_min(0) % rows.shape[0]])
        centres = torch.where((counts == 0)[:, None], spare, means)
    nearest = _nearest(rows, centres)
    return centres, torch.zeros_like(centres[:, 0]).index_add(0, nearest, torch.ones_like(rows[:, 0]))


def _nearest(z: Tensor, table: Tensor) -> Tensor:
    """The index of the nearest row of the table; z·z is the same for all of them."""
    return (table.square().sum(-1) - 2 * z @ table.transpose(-1, -2)).argmin(-1)


def everywhere(values: Tensor) -> Tensor:
    """The sum over all processes that share a fit; alone, the values."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


def from_first(values: Tensor) -> Tensor:
    """The first process's values, in every process that shares a fit; alone, the values."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast(values, 0)
    return values
