"""Attention of the elements of a row to one another, where a mask says who may attend to whom.

Positions, residual paths and norms belong to the layer around it, `AttentionLayer`; rows are grids (`padding`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gnomon.blocks.dropout import make_dropout
from gnomon.blocks.initialisers import Initialiser, initialise
from gnomon.errors import OptionError


class Attention(nn.Module):
    """Several heads, each with a softmax over scaled products of queries and keys.

    Where a query may attend to nothing it gets zero. What stands at places that nobody may attend to never enters, be it NaN.

    Args:
        width: numbers per element.
        heads: how many heads share them.
        causal: whether an element attends only to itself and those before it.
        exact: plain arithmetic, which has second derivatives and takes jvp; else torch's fused kernel.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: ``(n, length, width)``, filled ``(n, length) -> (n, length, width)``; filled is True where an element stands.

    Raises:
        OptionError: heads that do not divide the width.

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762

    Example:
        >>> Attention(8, heads=2)(torch.zeros(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, width: int, *, heads: int = 4, causal: bool = False, exact: bool = False, initialiser: Initialiser = "gain") -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise OptionError(f"heads must divide the width of an attention; got {heads} heads for a width of {width}")
        self.heads, self.causal, self.exact = heads, causal, exact
        self.ask = nn.Linear(width, 3 * width, bias=False)  # a bias of the keys would change nothing
        self.answer = nn.Linear(width, width)
        for layer in (self.ask, self.answer):
            initialise(layer, initialiser=initialiser)

    def forward(
        self, x: Float[Tensor, "n length width"], filled: Bool[Tensor, "n length"] | None = None
    ) -> Float[Tensor, "n length width"]:
        """Let every element attend."""
        if filled is not None:
            x = torch.where(filled[..., None], x, 0.0)
        queries, keys, values = (self._heads(part) for part in self.ask(x).chunk(3, -1))
        length = x.shape[1]
        may = torch.ones(length, length, dtype=torch.bool, device=x.device)
        may = may.tril() if self.causal else may
        may = may[None, None] if filled is None else may & filled[:, None, None, :]
        return self.answer(_joined(attend(queries, keys, values, may, exact=self.exact)))

    def step(self, x: Float[Tensor, "n width"], keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One more element, which attends to itself and those before it.

        Args:
            x: ``(n, width)``.
            keys, values: ``(n, heads, before, width / heads)`` of those before, as this method gave them; `before` may be 0.

        Returns:
            ``(n, width)``, and keys and values with one more.
        """
        query, key, value = (self._heads(part) for part in self.ask(x[:, None]).chunk(3, -1))
        keys, values = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        may = torch.ones(1, 1, 1, keys.shape[2], dtype=torch.bool, device=x.device)
        return self.answer(_joined(attend(query, keys, values, may, exact=True)))[:, 0], keys, values

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def attend(
    queries: Float[Tensor, "n heads asked size"],
    keys: Float[Tensor, "n heads told size"],
    values: Float[Tensor, "n heads told size"],
    may: Bool[Tensor, "#n #heads #asked told"],
    *,
    exact: bool = False,
) -> Float[Tensor, "n heads asked size"]:
    """The mean of the values, weighted by softmax over keys of query · key / √size among those that `may` (True) be attended to.

    A query that may attend to nothing gets zero.
    """
    if not exact:
        some = may.any(-1, keepdim=True)
        told = F.scaled_dot_product_attention(queries, keys, values, attn_mask=may | ~some)
        return torch.where(some, told, 0.0)
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
    scores = torch.where(may, scores, -torch.inf)
    top = scores.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).min)
    weights = torch.exp(scores - top)
    return (weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)) @ values


class AttentionLayer(nn.Module):
    """Attention and two dense layers, each on a normalised copy that is added to what came in.

    Args:
        width, heads, causal, exact, initialiser: as for `Attention`.
        wide: width of the hidden dense layer over `width`.
        dropout: probability with which a number that is added is set to zero in training.

    Shape: as `Attention`.

    Reference: Xiong et al. 2020 (norms before), https://arxiv.org/abs/2002.04745

    Example:
        >>> AttentionLayer(8, heads=2, causal=True)(torch.zeros(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 4,
        causal: bool = False,
        wide: int = 4,
        dropout: float = 0.0,
        exact: bool = False,
        initialiser: Initialiser = "gain",
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads=heads, causal=causal, exact=exact, initialiser=initialiser)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.wider, self.back = nn.Linear(width, wide * width), nn.Linear(wide * width, width)
        for layer in (self.wider, self.back):
            initialise(layer, initialiser=initialiser)
        self.drop = make_dropout(dropout)

    def forward(
        self, x: Float[Tensor, "n length width"], filled: Bool[Tensor, "n length"] | None = None
    ) -> Float[Tensor, "n length width"]:
        """Attend, then map each element."""
        x = x + self.drop(self.attention(self.before(x), filled))
        return x + self._dense(x)

    def step(self, x: Float[Tensor, "n width"], keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One more element of a causal layer; arguments and returns as `Attention.step`."""
        told, keys, values = self.attention.step(self.before(x), keys, values)
        x = x + self.drop(told)
        return x + self._dense(x), keys, values

    def _dense(self, x: Tensor) -> Tensor:
        return self.drop(self.back(F.gelu(self.wider(self.between(x)))))


def positions(length: int, width: int, *, start: int = 0, device: torch.device | None = None) -> Float[Tensor, "length width"]:
    """Sines and cosines of places `start`, `start` + 1, … at rising wave lengths: any length, learned or not.

    Example:
        >>> positions(2, 4)[0].tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    place = torch.arange(start, start + length, device=device, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, device=device, dtype=torch.float32) * (-math.log(10_000.0) / width))
    return torch.stack([torch.sin(place * rates), torch.cos(place * rates)], -1).flatten(1)[:, :width]
