"""The exact probability of discrete columns: categories first, then whole numbers given these.

The chains themselves are in `categories` and `discretised_logistic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.blocks.categories import CategoryChain
from gnomon.blocks.discretised_logistic import IntegerChain


class DiscreteChain(nn.Module):
    """p(categories | given) p(whole numbers | categories, given), normalised over all rows of codes.

    A row of codes holds the category codes and then the whole numbers.

    Args:
        classes: how many classes each categorical column has.
        bounds: the lowest and the highest of each column of whole numbers, None where there is no bound.
        given: size of the condition, 0 for none.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    Attributes:
        outputs: size of the features: one-hot classes, then one standardised number for each whole one.

    Example:
        >>> chain = DiscreteChain((2,), [(0, 1)])
        >>> chain.log_prob(torch.cartesian_prod(torch.arange(2), torch.arange(2))).exp().sum().round(decimals=4)
        tensor(1., grad_fn=<RoundBackward1>)
    """

    def __init__(
        self,
        classes: Sequence[int],
        bounds: Sequence[tuple[int | None, int | None]] = (),
        *,
        given: int = 0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        network: dict[str, Any] = {"hidden": hidden, "activation": activation, "dropout": dropout}
        self.labels = len(classes)
        self.categories = CategoryChain(classes, given=given, **network)
        self.numbers = IntegerChain(bounds, given=given + self.categories.outputs, **network) if bounds else None
        self.outputs = self.categories.outputs + len(bounds)

    def measure(self, codes: Tensor) -> None:
        """Start the whole numbers at the mean and standard deviation of each column of ``(n, columns)`` codes."""
        if self.numbers is not None and len(codes):
            numbers = codes[:, self.labels :].double()
            self.numbers.measure(numbers.mean(0), numbers.std(0, correction=0))

    def features(self, codes: Tensor) -> Tensor:
        """What networks see of ``(n, columns)`` codes, ``(n, outputs)``."""
        one_hot = self.categories.one_hot(codes)
        return one_hot if self.numbers is None else torch.cat([one_hot, self.numbers.features(codes[:, self.labels :])], 1)

    def log_prob(self, codes: Tensor, given: Tensor | None = None) -> Tensor:
        """The log-probability of each row in nats, ``(n,)``; −inf where a whole number is beyond its bounds.

        Args:
            codes: ``(n, columns)`` int64.
            given: ``(n, given)`` or None.
        """
        total = self.categories.log_prob(codes, given)
        if self.numbers is None:
            return total
        return total + self.numbers.log_prob(codes[:, self.labels :], self._seen(codes, given))

    def sample_and_log_prob(self, n: int, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(n, columns)`` int64 codes drawn with torch's global generator, and their log-probability in nats, ``(n,)``."""
        codes, total = self.categories.sample_and_log_prob(n, given)
        if self.numbers is None:
            return codes, total
        numbers, more = self.numbers.sample_and_log_prob(n, self._seen(codes, given))
        return torch.cat([codes, numbers], 1), total + more

    def _seen(self, codes: Tensor, given: Tensor | None) -> Tensor:
        one_hot = self.categories.one_hot(codes)
        return one_hot if given is None else torch.cat([given, one_hot], 1)
