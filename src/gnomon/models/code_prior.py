"""The probability of a row of codes, one after the other, each given those before it and a condition.

What the codes stand for is the business of `vqvae`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gnomon.blocks import initialise
from gnomon.blocks.attention import AttentionLayer
from gnomon.errors import OptionError
from gnomon.networks.roles import present, scaled

_CHANCE = 1e-3  # share of all codes alike that is mixed in, so that no code is impossible


class CodePrior(nn.Module):
    """A small causal network over rows of codes of one length: logits of each place, moved by attention to the codes before it.

    Args:
        codes: how many different codes.
        length: codes in a row.
        given: size of the condition, which is added at every place; 0 for none.
        size: factor on the width.
        width: numbers per place.
        layers: how many layers of attention.
        heads: attention heads, which share the width.
        dropout: probability with which a number that a layer adds is set to zero in training.

    Shape: indices ``(n, length)``, given ``(n, given) -> log_prob (n,)``.

    Raises:
        OptionError: no layers, width or heads.

    Reference: van den Oord et al. 2017, https://arxiv.org/abs/1711.00937, with attention in place of convolutions.

    Example:
        >>> prior = CodePrior(8, 3)
        >>> prior.log_prob(torch.zeros(2, 3, dtype=torch.long)).shape, prior.sample(5).shape
        (torch.Size([2]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        codes: int,
        length: int,
        *,
        given: int = 0,
        size: float = 1.0,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value in (("layers", layers), ("width", width), ("heads", heads)):
            if value < 1:
                raise OptionError(f"option '{name}' of the prior over codes must be at least 1; got {value}")
        width = scaled(width, size, multiple=2 * heads)
        self.codes, self.length, self.given, self.heads = codes, length, given, heads
        self.before = nn.Embedding(codes, width) if length > 1 else None
        self.place = nn.Parameter(0.1 * torch.randn(length, width))
        self.condition = nn.Linear(given, width, bias=False) if given else None
        self.layers = nn.ModuleList(AttentionLayer(width, heads=heads, causal=True, dropout=dropout, exact=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, codes, bias=False)
        self.logits = nn.Parameter(torch.zeros(length, codes))
        initialise(self.last, 0.1)

    def log_prob(self, indices: Int64[Tensor, "n length"], given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, " n"]:
        """Nats of each row."""
        h = self.place.expand(len(indices), -1, -1)
        if self.before is not None:
            h = h + F.pad(F.embedding(indices[:, :-1], self.before.weight), (0, 0, 1, 0))
        if self.condition is not None:
            h = h + self.condition(present(given, self.given))[:, None]
        for layer in self.layers:
            h = layer(h)
        return self._told(h, self.logits).gather(-1, indices.unsqueeze(-1)).squeeze(-1).sum(-1)

    @torch.no_grad()
    def sample(self, n: int, given: Float[Tensor, "n given"] | None = None) -> Int64[Tensor, "n length"]:
        """Rows of codes, with torch's global generator."""
        none = self.place.new_zeros(n, self.heads, 0, self.place.shape[1] // self.heads)
        kept, drawn = [(none, none)] * len(self.layers), list[Tensor]()
        told = None if self.condition is None else self.condition(present(given, self.given))
        for place in range(self.length):
            h = self.place[place].expand(n, -1)
            if drawn and self.before is not None:
                h = h + F.embedding(drawn[-1], self.before.weight)
            if told is not None:
                h = h + told
            for i, layer in enumerate(self.layers):
                h, *moved = layer.step(h, *kept[i])  # type: ignore[operator]
                kept[i] = (moved[0], moved[1])
            logits = self._told(h, self.logits[place])
            waiting = -torch.log(torch.rand_like(logits).clamp_min(torch.finfo(logits.dtype).tiny))
            drawn.append((logits - waiting.log()).argmax(-1))  # the code whose exponential clock rings first
        return torch.stack(drawn, 1)

    def _told(self, h: Tensor, logits: Tensor) -> Tensor:
        """Log-probabilities of what stands at each place."""
        told = (self.last(self.norm(h)) + logits).log_softmax(-1)
        return torch.logaddexp(told + math.log1p(-_CHANCE), torch.full_like(told, math.log(_CHANCE / self.codes)))
