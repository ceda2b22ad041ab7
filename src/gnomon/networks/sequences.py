"""Networks for texts, sequences of symbols held in a Ragged of codes, and of vectors: recurrent, and of attention.

A mapper gives numbers for every symbol that depend on it and those before it; what they stand for is said by heads and models.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gnomon.blocks import MLP, ColumnFeatures, Initialiser, segment_mean
from gnomon.blocks.attention import AttentionLayer, positions
from gnomon.blocks.dropout import make_dropout
from gnomon.blocks.padding import grid
from gnomon.blocks.recurrent import GRU
from gnomon.data import Ragged, Sequence, Tokens
from gnomon.errors import OptionError
from gnomon.networks.roles import beside, present, scaled

_Named = dict[str, Any]
State = tuple[Tensor, ...]
"""What a mapper keeps of the symbols it has seen, when it is asked for one after the other."""


class _Symbols(nn.Module):
    """What networks of texts and sequences share: a vector for each element, with the condition added, and some hidden in training.

    Args:
        name: of the network, for messages.
        kind: the Tokens or Sequence that is read.
        inputs: how many different codes there are, where not one per symbol of `kind`; of a sequence, numbers per element.
        outputs: as passed by the caller.
        role: "encoder" or "mapper".
        width: numbers of the vector of a symbol.
        given: size of the condition, which is added to every symbol by a mapper.
        word_dropout: share of symbols that are hidden in training.
    """

    def __init__(
        self,
        name: str,
        kind: Tokens | Sequence,
        *,
        inputs: int | None,
        outputs: int | None,
        role: str,
        width: int,
        given: int,
        word_dropout: float,
    ) -> None:
        super().__init__()
        if not 0 <= word_dropout < 1:
            raise OptionError(f"word_dropout must lie between 0 and 1 (1 excluded); got {word_dropout}")
        if outputs is None and role == "encoder":
            raise OptionError(f"network '{name}' as an encoder needs outputs=…, the size of the code it gives")
        self.given, self.word_dropout = given, word_dropout
        self.features: ColumnFeatures | None = None
        if isinstance(kind, Tokens):
            self.outputs = len(kind.vocabulary) if outputs is None else outputs
            self.symbols: nn.Embedding | nn.Linear = nn.Embedding(len(kind.vocabulary) if inputs is None else inputs, width)
        else:
            self.outputs = len(kind.of) if outputs is None else outputs
            self.features = ColumnFeatures(kind.of) if inputs is None else None
            self.symbols = nn.Linear(self.features.outputs if self.features is not None else inputs or 0, width)
        self.hidden = nn.Parameter(torch.zeros(width)) if word_dropout else None
        self.condition = nn.Linear(given, width, bias=False) if given and role == "mapper" else None

    def read(self, codes: Tensor, rows: Tensor | None, given: Tensor | None) -> Tensor:
        """``(elements,)`` codes, of sequences ``(elements, columns)`` numbers, each of a row of `given`, as vectors."""
        if isinstance(self.symbols, nn.Linear):
            vectors = self.symbols(codes if self.features is None else self.features(codes))
        else:
            vectors = F.embedding(codes.long(), self.symbols.weight)
        if self.hidden is not None and self.training:
            hide = torch.rand_like(vectors[..., :1]) < self.word_dropout
            vectors = torch.where(hide, self.hidden, vectors)
        if self.condition is not None:
            told = self.condition(present(given, self.given))
            vectors = vectors + (told if rows is None else told.index_select(0, rows))
        return vectors


class RecurrentNetwork(_Symbols):
    """Gated recurrent layers. An encoder reads in both directions; a mapper forwards only, so it knows what stands before.

    Args:
        kind: the Tokens, or as an encoder the Sequence, that is read.
        role: "encoder" or "mapper".
        inputs: how many different codes there are, where not one per symbol of `kind`.
        outputs: numbers that come out, per text or per symbol.
        given: size of the condition: it joins what an encoder has read, and begins and accompanies a mapper.
        size: factor on the widths.
        width: numbers of the state, in each direction.
        layers: how many layers, one upon the other.
        embedding: numbers by which a symbol is seen.
        dropout: probability with which a number between layers is set to zero in training.
        word_dropout: share of symbols hidden in training, so that a mapper learns to heed its condition.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: Ragged of n texts with values ``(symbols,)``, of sequences ``(elements, columns)``, ``(n, given) ->`` encoder ``(n, outputs)``,
        mapper ``(symbols, outputs)``.

    Reference: Cho et al. 2014, https://arxiv.org/abs/1406.1078

    Example:
        >>> network = RecurrentNetwork(Tokens(("a", "b")), "encoder", outputs=3)
        >>> network(Ragged(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]))).shape
        torch.Size([3, 3])
    """

    roles: ClassVar[dict[str, tuple[type, ...]]] = {"encoder": (Tokens, Sequence), "mapper": (Tokens,)}

    def __init__(
        self,
        kind: Tokens | Sequence,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        width: int = 128,
        layers: int = 1,
        embedding: int = 64,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        initialiser: Initialiser = "gain",
    ) -> None:
        seen, width = scaled(embedding, size), scaled(width, size)
        common: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "given": given, "word_dropout": word_dropout}
        super().__init__("recurrent", kind, role=role, width=seen, **common)
        if layers < 1:
            raise OptionError(f"network 'recurrent' needs at least one layer; got layers={layers}")
        ways = 2 if role == "encoder" else 1
        reads = [seen, *[ways * width] * (layers - 1)]
        self.width = width
        self.forwards = nn.ModuleList(GRU(numbers, width, initialiser=initialiser) for numbers in reads)
        self.drop = make_dropout(dropout)
        shared: dict[str, Any] = {"hidden": (), "final": 0.1, "initialiser": initialiser}
        if role == "encoder":
            self.backwards = nn.ModuleList(GRU(numbers, width, initialiser=initialiser) for numbers in reads)
            self.net = MLP(3 * ways * width // 2 + given, self.outputs, **shared | {"hidden": (width,)})
        else:
            self.first = nn.Linear(given, layers * width) if given else None
            self.net = MLP(width, self.outputs, **shared)
        self.role = role

    def forward(self, x: Ragged, given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, "rows outputs"]:
        """Read texts."""
        if self.role == "encoder":
            return self.net(beside(self._both_ways(x), given, self.given))
        place = grid(x)
        states = place.pad(self.read(x.values, x.rows() if self.given else None, given))
        for layer, first in zip(self.forwards, self.begin(len(x), given), strict=True):
            states = layer(self.drop(states), None, first.to(states))
        return self.net(place.unpad(states))

    def _both_ways(self, x: Ragged) -> Tensor:
        """The last states of both directions, and the mean of the forward ones, of each text."""
        place = grid(x)
        ends = x.offsets()
        mirror = torch.repeat_interleave(ends[:-1] + ends[1:] - 1, x.lengths) - torch.arange(len(x.values))
        mirror = mirror.to(x.device)
        values, last = self.read(x.values, None, None), []
        for onwards, back in zip(self.forwards, self.backwards, strict=True):
            there = onwards(self.drop(place.pad(values)), place.filled)
            again = back(self.drop(place.pad(values.index_select(0, mirror))), place.filled)
            last = [there[:, -1], again[:, -1]]
            seen = place.unpad(there)
            values = torch.cat([seen, place.unpad(again).index_select(0, mirror)], -1)
        return torch.cat([*last, segment_mean(seen, x.rows(), len(x))], -1)

    def begin(self, n: int, given: Float[Tensor, "n given"] | None = None) -> State:
        """What a mapper knows of `n` texts before their first symbol."""
        if self.first is None:
            return tuple(self.symbols.weight.new_zeros(n, self.width) for _ in self.forwards)
        return torch.tanh(self.first(present(given, self.given))).split(self.width, -1)

    def step(self, codes: Int64[Tensor, " n"], state: State, given: Float[Tensor, "n given"] | None = None) -> tuple[Tensor, State]:
        """One more symbol of each text: numbers ``(n, outputs)`` and what is known now."""
        seen, after = self.read(codes, None, given), []
        for layer, before in zip(self.forwards, state, strict=True):
            assert isinstance(layer, GRU)
            seen = layer.step(self.drop(seen), before)
            after.append(seen)
        return self.net(seen), tuple(after)


class _Attentive(_Symbols):
    """Layers of attention over the symbols of a text, with sines and cosines for their places."""

    def __init__(
        self, name: str, kind: Tokens, role: str, *, size: float, width: int, heads: int, layers: int, attention: _Named, **ports: Any
    ) -> None:
        width = scaled(width, size, multiple=2 * heads)
        super().__init__(name, kind, role=role, width=width, **ports)
        self.layers = nn.ModuleList(AttentionLayer(width, heads=heads, **attention) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.width, self.heads = width, heads

    def attended(self, x: Ragged, given: Tensor | None) -> Tensor:
        """``(symbols, width)``: every symbol after the layers."""
        place = grid(x)
        values = place.pad(self.read(x.values, x.rows() if self.condition is not None else None, given))
        values = values + positions(place.longest, self.width, device=values.device).to(values)
        for layer in self.layers:
            values = layer(values, place.filled)
        return self.norm(place.unpad(values))


class Transformer(_Attentive):
    """Layers of attention in which every symbol sees all others; their mean is mapped to what comes out.

    Args:
        kind: the Tokens that are read.
        role: "encoder".
        inputs: how many different codes there are, where not one per symbol of `kind`.
        outputs: numbers that come out.
        given: size of the condition, which joins the mean.
        size: factor on the widths.
        width: numbers per symbol.
        heads: attention heads, which share the width.
        layers: how many layers.
        dropout: probability with which a number that a layer adds is set to zero in training.
        exact: plain arithmetic instead of torch's fused attention; it has second derivatives.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: Ragged of n texts with values ``(symbols,)``, ``(n, given) -> (n, outputs)``.

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762

    Example:
        >>> network = Transformer(Tokens(("a", "b")), "encoder", outputs=3)
        >>> network(Ragged(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]))).shape
        torch.Size([3, 3])
    """

    roles: ClassVar[dict[str, tuple[type, ...]]] = {"encoder": (Tokens,)}

    def __init__(
        self,
        kind: Tokens,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.0,
        exact: bool = False,
        initialiser: Initialiser = "gain",
    ) -> None:
        attention: _Named = {"causal": False, "dropout": dropout, "exact": exact, "initialiser": initialiser}
        ports: _Named = {"inputs": inputs, "outputs": outputs, "given": given, "word_dropout": 0.0}
        super().__init__("transformer", kind, role, size=size, width=width, heads=heads, layers=layers, attention=attention, **ports)
        self.net = MLP(self.width + given, self.outputs, hidden=(self.width,), final=0.1, initialiser=initialiser)

    def forward(self, x: Ragged, given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, "n outputs"]:
        """Read texts."""
        pooled = segment_mean(self.attended(x, given), x.rows(), len(x))
        return self.net(beside(pooled, given, self.given))


class CausalNetwork(_Attentive):
    """Layers of attention in which a symbol sees itself and those before it.

    Args:
        kind: the Tokens that are read.
        role: "mapper".
        inputs: how many different codes there are, where not one per symbol of `kind`.
        outputs: numbers that come out per symbol.
        given: size of the condition, which is added to every symbol.
        size: factor on the widths.
        width: numbers per symbol.
        heads: attention heads, which share the width.
        layers: how many layers.
        dropout: probability with which a number that a layer adds is set to zero in training.
        word_dropout: share of symbols hidden in training, so that the condition is heeded.
        exact: plain arithmetic instead of torch's fused attention; it has second derivatives.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: Ragged of n texts with values ``(symbols,)``, ``(n, given) -> (symbols, outputs)``.

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762

    Example:
        >>> network = CausalNetwork(Tokens(("a", "b")), "mapper")
        >>> network(Ragged(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]))).shape
        torch.Size([3, 2])
    """

    roles: ClassVar[dict[str, tuple[type, ...]]] = {"mapper": (Tokens,)}

    def __init__(
        self,
        kind: Tokens,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        exact: bool = False,
        initialiser: Initialiser = "gain",
    ) -> None:
        attention: _Named = {"causal": True, "dropout": dropout, "exact": exact, "initialiser": initialiser}
        ports: _Named = {"inputs": inputs, "outputs": outputs, "given": given, "word_dropout": word_dropout}
        super().__init__("causal", kind, role, size=size, width=width, heads=heads, layers=layers, attention=attention, **ports)
        self.net = MLP(self.width, self.outputs, hidden=(), final=0.1, initialiser=initialiser)

    def forward(self, x: Ragged, given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, "symbols outputs"]:
        """Read texts."""
        return self.net(self.attended(x, given))

    def begin(self, n: int, given: Float[Tensor, "n given"] | None = None) -> State:
        """What is known of `n` texts before their first symbol: no keys and no values in any layer."""
        none = self.symbols.weight.new_zeros(n, self.heads, 0, self.width // self.heads)
        return (none, none) * len(self.layers)

    def step(self, codes: Int64[Tensor, " n"], state: State, given: Float[Tensor, "n given"] | None = None) -> tuple[Tensor, State]:
        """One more symbol of each text: numbers ``(n, outputs)`` and what is known now."""
        seen = self.read(codes, None, given)
        seen = seen + positions(1, self.width, start=state[0].shape[2], device=seen.device).to(seen)
        after: list[Tensor] = []
        for layer, keys, values in zip(self.layers, state[::2], state[1::2], strict=True):
            assert isinstance(layer, AttentionLayer)
            seen, *own = layer.step(seen, keys, values)
            after += own
        return self.net(self.norm(seen)), tuple(after)
