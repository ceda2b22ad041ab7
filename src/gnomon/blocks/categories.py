"""The exact probability of several categorical columns: a chain of softmaxes, each given the columns before it.

What the codes stand for, and what depends on them later, is left to the models.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.conditioner import Conditioner


class CategoryChain(nn.Module):
    """p(c₁ | given) p(c₂ | c₁, given) …: one softmax per column, all classes equally probable at the start.

    Args:
        classes: how many classes each column has.
        given: size of the condition, 0 for none.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    Attributes:
        outputs: size of the one-hot features, the sum of `classes`.

    Example:
        >>> chain = CategoryChain((2, 3))
        >>> chain.log_prob(torch.tensor([[1, 2]])).exp()
        tensor([0.1667], grad_fn=<ExpBackward0>)
    """

    columns: Tensor
    codes: Tensor
    origin: Tensor

    def __init__(
        self, classes: Sequence[int], *, given: int = 0, hidden: Sequence[int] = (128, 128), activation: str = "silu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.outputs = sum(classes)
        self.logits = nn.ModuleList(
            Conditioner(given + sum(classes[:i]), count, hidden=hidden, activation=activation, dropout=dropout)
            for i, count in enumerate(classes)
        )
        columns = [i for i, count in enumerate(classes) for _ in range(count)]
        codes = [code for count in classes for code in range(count)]
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.register_buffer("codes", torch.tensor(codes, dtype=torch.int64), persistent=False)
        self.register_buffer("origin", torch.zeros(()), persistent=False)

    def one_hot(self, codes: Tensor) -> Tensor:
        """``(n, columns)`` int64 to ``(n, outputs)`` zeros and ones of the default kind of number of the networks."""
        return (codes.index_select(1, self.columns) == self.codes).to(self.origin.dtype)

    def log_prob(self, codes: Tensor, given: Tensor | None = None) -> Tensor:
        """The log-probability of each row in nats, ``(n,)``.

        Args:
            codes: ``(n, columns)`` int64 codes 0 … classes - 1.
            given: ``(n, given)`` or None.
        """
        features = self.one_hot(codes)
        total = features.new_zeros(len(features))
        for i, conditioner in enumerate(self.logits):
            seen = features[:, : sum(self.classes[:i])]
            logits = conditioner(seen if given is None else torch.cat([given, seen], 1))
            total = total + logits.log_softmax(-1).gather(1, codes[:, i : i + 1]).squeeze(1)
        return total

    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        """``(n, columns)`` int64 codes, drawn with torch's global generator; `given` is ``(n, given)`` or None."""
        return self.sample_and_log_prob(n, given)[0]

    def sample_and_log_prob(self, n: int, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The codes that `sample` draws, and their log-probability in nats, ``(n,)``."""
        seen = self.origin.new_zeros(n, 0)
        drawn: list[Tensor] = [self.codes.new_zeros(n, 0)]
        total = seen.new_zeros(n)
        for count, conditioner in zip(self.classes, self.logits, strict=True):
            logits = conditioner(seen if given is None else torch.cat([given, seen], 1))
            waiting = -torch.log(torch.rand_like(logits))  # the class whose exponential clock rings first
            drawn.append((logits - waiting.log()).argmax(1, keepdim=True))
            total = total + logits.log_softmax(-1).gather(1, drawn[-1]).squeeze(1)
            seen = torch.cat([seen, (drawn[-1] == torch.arange(count, device=seen.device)).to(seen.dtype)], 1)
        return torch.cat(drawn, 1), total
