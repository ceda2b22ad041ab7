"""The probability of how many: a softmax over the small numbers, a mixture of discretised logistics over the larger ones.

What is counted, and what depends on the number later, is left to the models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.blocks.categories import CategoryChain
from gnomon.blocks.discretised_logistic import IntegerChain
from gnomon.errors import OptionError


class Counts(nn.Module):
    """p(N | given) over 0, 1, 2, …: softmax over 0 … table - 1 and "more"; "more" is shared out by logistics cut into cells.

    The sum over all numbers is one and none is impossible. `measure` starts it at the frequencies in the data.

    Args:
        table: how many small numbers have a probability of their own each.
        components: logistic distributions over the larger ones.
        given: size of the condition, 0 for none.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    Raises:
        OptionError: a table of fewer than one number.

    Example:
        >>> counts = Counts(table=4)
        >>> counts.measure(torch.tensor([1, 1, 2, 9]))
        >>> counts.log_prob(torch.tensor([0, 1, 2])).exp()  # 0, 2 and 1 of 4, each with a fifth of one more
        tensor([0.0400, 0.4400, 0.2400], grad_fn=<ExpBackward0>)
        >>> counts.log_prob(torch.arange(1000)).exp().sum().round(decimals=4)
        tensor(1., grad_fn=<RoundBackward1>)
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        *,
        table: int = 32,
        components: int = 5,
        given: int = 0,
        hidden: Sequence[int] = (64, 64),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if table < 1:
            raise OptionError(f"option 'table' of Counts must be 1 or more; got {table}")
        network: dict[str, Any] = {"given": given, "hidden": hidden, "activation": activation, "dropout": dropout}
        self.table = table
        self.small = CategoryChain((table + 1,), **network)
        self.large = IntegerChain([(table, None)], components=components, **network)
        self.register_buffer("centre", torch.zeros(1))
        self.register_buffer("spread", torch.ones(1))

    @torch.no_grad()
    def measure(self, counts: Tensor) -> None:
        """Start at the frequencies of ``(n,)`` numbers, and one more that is shared evenly by the table, whatever is given."""
        if not len(counts):
            return
        seen = torch.bincount(counts.clamp(max=self.table), minlength=self.table + 1)
        logits = (seen + 1 / (self.table + 1)).double().log()
        conditioner: Any = self.small.logits[0]
        start = conditioner.constant if conditioner.constant is not None else conditioner.network[-1].bias
        start.copy_(logits - logits.mean())
        large = counts[counts >= self.table].double()
        around = (large.mean(), large.std(correction=0)) if len(large) else (torch.tensor(self.table), torch.tensor(math.sqrt(self.table)))
        self.large.measure(*(value.reshape(1) for value in around))
        centre, spread = counts.double().mean(), counts.double().std(correction=0)
        self.centre.fill_(centre)
        self.spread.fill_(spread if spread > 0 else 1.0)

    def features(self, counts: Tensor) -> Tensor:
        """What networks see of ``(n,)`` numbers: in standard deviations from the mean of the data, and the logarithm, ``(n, 2)``."""
        counts = counts.to(self.centre.dtype)
        return torch.stack([(counts - self.centre) / self.spread, torch.log1p(counts)], 1)

    def log_prob(self, counts: Tensor, given: Tensor | None = None) -> Tensor:
        """The log-probability of each number in nats, ``(n,)``; −inf below zero.

        Args:
            counts: ``(n,)`` int64.
            given: ``(n, given)`` or None.
        """
        small = self.small.log_prob(counts.clamp(0, self.table)[:, None], given)
        large = self.large.log_prob(counts.clamp_min(self.table)[:, None], given)
        return torch.where(counts < 0, -math.inf, small + torch.where(counts >= self.table, large, 0.0))

    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        """``(n,)`` int64, drawn with torch's global generator; `given` is ``(n, given)`` or None."""
        small, large = self.small.sample(n, given)[:, 0], self.large.sample(n, given)[:, 0]
        return torch.where(small < self.table, small, large)
