"""The likelihood of a set: how many elements, and a mixture from which each of them is drawn alone.

Elements are described by columns, whose likelihoods are `columns.ColumnHead`'s; how many there are is `counts.Counts`'.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks.columns import ColumnDensity, ColumnHead, Spread
from gnomon.blocks.counts import Counts
from gnomon.blocks.segments import segment_sum
from gnomon.data import Ragged, Set

_OF_COUNT = 16  # raw numbers that tell how many elements there are
_MOST = 4096  # numbers of elements among which the most probable is looked for


class SetHead(nn.Module):
    """Writes sets: p(N) times the product over elements of a mixture density, all parameters given by the raw numbers.

    The order of the elements does not count: the density is that of the elements in any one order, that of the unordered set is N!
    times as large, as for `models.SetFlow`.

    Args:
        kind: the Set that is written.
        components: parts of the mixture: how many different elements a set can have at most, if each is to be told exactly.
        spread: where the spread of numbers and angles comes from (see `ColumnHead`).
        table: how many small numbers of elements have a probability of their own each.

    Attributes:
        outputs: raw numbers that a decoder has to give per set.
        breadth: numbers that are kept for each number of an element while a set is scored.

    Shape: ``(n, outputs) -> SetDensity``.

    Example:
        >>> from gnomon.data import Vector
        >>> head = SetHead(Set(Vector.real(2)), components=3)
        >>> density = head(torch.zeros(2, head.outputs))
        >>> density.log_prob(Ragged(torch.zeros(5, 2), torch.tensor([4, 1]))).shape
        torch.Size([2])
    """

    def __init__(self, kind: Set, *, components: int = 16, spread: Spread = "example", table: int = 32) -> None:
        super().__init__()
        self.element = ColumnHead(kind.of, spread=spread)
        self.counts = Counts(table=table, given=_OF_COUNT, hidden=())
        self.components = self.breadth = components
        self.start = nn.Parameter(torch.randn(components, 1 + self.element.outputs))
        with torch.no_grad():
            self.start[:, 0] = 0.0
        self.outputs = _OF_COUNT + components * (1 + self.element.outputs)

    def measure(self, x: Ragged) -> None:
        """Start at the frequencies of the numbers of elements."""
        self.counts.measure(x.lengths.to(self.start.device))

    def forward(self, raw: Float[Tensor, "n outputs"]) -> SetDensity:
        """The likelihood that the raw numbers stand for."""
        of_count, rest = raw[:, :_OF_COUNT], raw[:, _OF_COUNT:]
        parts = rest.unflatten(-1, (self.components, 1 + self.element.outputs)) + self.start
        return SetDensity(self, of_count, parts[..., 0].log_softmax(-1), parts[..., 1:])


class SetDensity:
    """The likelihood that a `SetHead` makes of raw numbers; n sets are a Ragged with values ``(elements, columns)``."""

    def __init__(self, head: SetHead, of_count: Tensor, log_weights: Tensor, raw: Tensor) -> None:
        self.head, self.of_count, self.log_weights, self.raw = head, of_count, log_weights, raw

    def log_prob(self, x: Ragged) -> Float[Tensor, " n"]:
        """The log-density of each set in nats, of its elements in the order in which they stand, ``(n,)``."""
        rows = x.rows()
        density: ColumnDensity = self.head.element(self.raw.index_select(0, rows))
        values = x.values[:, None].expand(-1, self.head.components, -1)
        each = (density.log_prob(values) + self.log_weights.index_select(0, rows)).logsumexp(-1)
        counts = self.head.counts.log_prob(x.lengths.to(x.device), self.of_count)
        return counts + segment_sum(each, rows, len(x))

    @torch.no_grad()
    def sample(self) -> Ragged:
        """One set for each row of raw numbers, with torch's global generator."""
        counts = self.head.counts.sample(len(self.raw), self.of_count)
        lengths = counts.cpu()
        rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(self.raw.device)
        logits = self.log_weights.index_select(0, rows)
        noise = -torch.log(torch.rand_like(logits).clamp_min(torch.finfo(logits.dtype).tiny))
        chosen = rows * self.head.components + (logits - noise.log()).argmax(-1)
        return Ragged(self.head.element(self.raw.flatten(0, 1).index_select(0, chosen)).sample(), lengths)

    @torch.no_grad()
    def mean(self) -> Ragged:
        """The most probable number of elements, shared out over the parts of the mixture by weight; each at its part's mean.

        Largest fractions round up. Where one part stands for several elements they come out alike.
        """
        lengths = self._most_probable_counts()
        quota = lengths[:, None] * self.log_weights.exp()
        whole = quota.floor()
        rank = (quota - whole).argsort(1, descending=True).argsort(1)
        shares = (whole + (rank < lengths[:, None] - whole.sum(1, keepdim=True))).long()
        means = self.head.element(self.raw.flatten(0, 1)).mean()
        return Ragged(torch.repeat_interleave(means, shares.flatten(), 0), shares.sum(1).cpu())

    def _most_probable_counts(self) -> Tensor:
        counts, n = self.head.counts, len(self.raw)
        most = max(counts.table, min(_MOST, int(counts.centre + 8 * counts.spread)))
        told = [counts.log_prob(self.raw.new_full((n,), k, dtype=torch.int64), self.of_count) for k in range(most + 1)]
        return torch.stack(told, 1).argmax(1)
