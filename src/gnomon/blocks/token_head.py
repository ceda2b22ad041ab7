"""The likelihood of a text: one symbol after the other, each given those before it and a vector.

The network that reads what stands before is handed in; the vector comes from a decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks.segments import segment_sum
from gnomon.data import Ragged

ROOM = 1.25
"""A text that is drawn may be so much longer than the longest that was seen."""


class TokenHead(nn.Module):
    """Writes texts: turns a vector into the probability of every sequence of symbols that ends.

    p(text | vector) is the product over symbols of p(symbol | those before, vector), times that of the end. `mapper` is asked with a
    sign for the beginning before the first symbol, and its numbers for a place are the logits of the symbol that follows.

    Args:
        mapper: ``(Ragged of codes, vector) -> (codes, symbols + 1)``, which takes codes up to ``symbols`` (the beginning) and gives the
            logits of each symbol and of the end; for drawing it has ``begin(n, vector)`` and ``step(codes, state, vector)``, as
            `networks.RecurrentNetwork`.
        symbols: size of the vocabulary.
        context: size of the vector.
        longest: number of symbols of the longest text that was seen; what is drawn ends after a quarter more.

    Attributes:
        outputs: size of the vector, what a decoder has to give.
        breadth: numbers that are kept for each symbol while a text is scored.

    Shape: ``(n, outputs) -> TokenDensity``.
    """

    def __init__(self, mapper: nn.Module, *, symbols: int, context: int, longest: int) -> None:
        super().__init__()
        self.mapper, self.symbols, self.outputs = mapper, symbols, context
        self.most = math.ceil(ROOM * longest)
        self.breadth = 2 * context

    def forward(self, raw: Float[Tensor, "n context"]) -> TokenDensity:
        """The likelihood that the vectors stand for."""
        return TokenDensity(self, raw)


class TokenDensity:
    """The likelihood that a `TokenHead` makes of one batch of vectors. A batch of texts is a Ragged of int64 codes."""

    def __init__(self, head: TokenHead, context: Tensor) -> None:
        self.head, self.context = head, context

    def log_prob(self, x: Ragged) -> Float[Tensor, " n"]:
        """The log-probability of each text in nats, ``(n,)``, its end included."""
        begun, following = begun_and_following(x, self.head.symbols)
        logits = self.head.mapper(begun, self.context)
        each = logits.log_softmax(-1).gather(-1, following[:, None])[:, 0]
        return segment_sum(each, begun.rows(), len(x))

    @torch.no_grad()
    def sample(self) -> Ragged:
        """One text for each vector, with torch's global generator; what has not ended by the longest length ends there."""
        return self._written(_drawn)

    @torch.no_grad()
    def mean(self) -> Ragged:
        """The text that takes the most probable symbol at each place: no mean, but what a reader expects of one."""
        return self._written(lambda logits: logits.argmax(-1))

    def _written(self, pick: Callable[[Tensor], Tensor]) -> Ragged:
        mapper, end, n = self.head.mapper, self.head.symbols, len(self.context)
        state = mapper.begin(n, self.context)  # type: ignore[operator]
        codes = torch.full((n,), end, device=self.context.device)
        over = torch.zeros(n, dtype=torch.bool, device=codes.device)
        written = []
        for _ in range(self.head.most):
            logits, state = mapper.step(codes, state, self.context)  # type: ignore[operator]
            codes = pick(logits)
            over = over | (codes == end)
            written.append(torch.where(over, end, codes))
            if bool(over.all()):
                break
        table = torch.stack(written, 1)
        lengths = (table != end).sum(1).cpu()
        index = torch.arange(table.shape[1])
        places = torch.nonzero((index < lengths[:, None]).flatten()).flatten()
        return Ragged(table.flatten().index_select(0, places.to(table.device)), lengths)


def begun_and_following(x: Ragged, symbols: int) -> tuple[Ragged, Tensor]:
    """Texts with a sign for the beginning (code `symbols`) before them, and what follows each place: the text and its end (`symbols`).

    Example:
        >>> begun, following = begun_and_following(Ragged(torch.tensor([0, 1, 1]), torch.tensor([2, 1])), 2)
        >>> begun.values.tolist(), following.tolist()
        ([2, 0, 1, 2, 1], [0, 1, 2, 1, 2])
    """
    codes = x.values.long()
    place = torch.arange(len(codes), device=x.device) + x.rows()
    blank = codes.new_full((len(codes) + len(x),), symbols)
    return Ragged(blank.index_copy(0, place + 1, codes), x.lengths + 1), blank.index_copy(0, place, codes)


def _drawn(logits: Tensor) -> Tensor:
    """A symbol for each row of logits, by its probability."""
    noise = -torch.log(torch.rand_like(logits).clamp_min(torch.finfo(logits.dtype).tiny))
    return (logits - noise.log()).argmax(-1)
