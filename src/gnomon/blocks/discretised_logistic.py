"""The exact probability of whole numbers: mixtures of logistic distributions cut into cells, and chains of them over columns.

Nothing is spread over cells and no density is averaged; what depends on the numbers later is left to the models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnomon.blocks.bijections.conditioner import Conditioner
from gnomon.blocks.columns import _held
from gnomon.errors import OptionError

_LOG_SCALE_LIMITS = (-7.0, 5.0)  # of the log scale, in units of the training column's standard deviation
_NARROWEST = 0.02  # of a scale, in steps: narrower ones cannot be told apart by whole numbers
_LOGISTIC_SD = math.pi / math.sqrt(3)  # standard deviation of the logistic distribution of scale 1


class DiscretisedLogistics:
    """One mixture of logistic distributions over whole numbers for each row.

    The probability of k is F(k + 1/2) - F(k - 1/2) for F the cumulative distribution of the mixture; the lowest and the highest number
    also have what lies beyond them. It is told by log σ(b) + log σ(-a) + log(1 - exp(a - b)) with a and b the standardised ends of
    the cell, in which nothing cancels however far in a tail k lies.

    Args:
        logits: ``(n, K)`` log-weights of the components, up to a constant of each row.
        means: ``(n, K)``.
        log_scales: ``(n, K)``.
        low, high: the lowest and the highest number; tensors without axes or ``(n,)``, infinite where there is no bound.

    Reference: Salimans et al. 2017, https://arxiv.org/abs/1701.05517

    Example:
        >>> die = DiscretisedLogistics(*torch.zeros(3, 1, 1), torch.tensor(-1.0), torch.tensor(1.0))
        >>> die.log_prob(torch.tensor([0.0])).exp()  # tanh(1/4)
        tensor([0.2449])
    """

    def __init__(self, logits: Tensor, means: Tensor, log_scales: Tensor, low: Tensor, high: Tensor) -> None:
        self.logits = logits
        self.means = means
        self.log_scales = log_scales
        self.low, self.high = low, high

    def log_prob(self, k: Tensor) -> Tensor:
        """The log-probability of whole numbers ``(n,)`` within the bounds, ``(n,)`` nats."""
        width = torch.exp(-self.log_scales)
        distance = k[:, None] - self.means
        above, below = F.logsigmoid((distance + 0.5) * width), F.logsigmoid((0.5 - distance) * width)
        lowest, highest = (k <= self.low)[:, None], (k >= self.high)[:, None]
        inside = torch.log(-torch.expm1(-width))
        zero = torch.zeros_like(inside)
        cell = torch.where(lowest, zero, below) + torch.where(highest, zero, above) + torch.where(lowest | highest, zero, inside)
        return (self.logits.log_softmax(-1) + cell).logsumexp(-1)

    def sample(self) -> Tensor:
        """One whole number for each row, ``(n,)``, with torch's global generator."""
        tiny = torch.finfo(self.logits.dtype).tiny
        waiting = -torch.log(torch.rand_like(self.logits).clamp_min(tiny))
        component = (self.logits - waiting.log()).argmax(-1, keepdim=True)  # the component whose exponential clock rings first
        mean, log_scale = (values.gather(1, component).squeeze(1) for values in (self.means, self.log_scales))
        u, v = -torch.log(torch.rand_like(mean).clamp_min(tiny)), -torch.log(torch.rand_like(mean).clamp_min(tiny))
        drawn = torch.round(mean + log_scale.exp() * (u.log() - v.log()))  # a difference of two Gumbel numbers is logistic
        return torch.minimum(torch.maximum(drawn, self.low.to(drawn)), self.high.to(drawn))


class IntegerChain(nn.Module):
    """p(k₁ | given) p(k₂ | k₁, given) …: a mixture of discretised logistics per column, each given the columns before it.

    The sum over all rows of whole numbers is one. At the start every column has its own mean and spread, as `measure` told them (0 and 1
    until then), whatever stands before it.

    Args:
        bounds: the lowest and the highest number of each column, None where there is no bound.
        components: logistic distributions per column.
        given: size of the condition, 0 for none.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.

    Attributes:
        outputs: size of the features, one per column.

    Raises:
        OptionError: a lowest number above the highest, or no component.

    Example:
        >>> chain = IntegerChain([(0, 1), (None, None)])
        >>> chain.measure(torch.tensor([0.5, 30.0]), torch.tensor([0.5, 8.0]))
        >>> k = torch.cartesian_prod(torch.arange(2), torch.arange(-500, 500))
        >>> chain.log_prob(k).exp().sum().round(decimals=4)
        tensor(1., grad_fn=<RoundBackward1>)
    """

    low: Tensor
    high: Tensor
    centre: Tensor
    spread: Tensor
    start: Tensor

    def __init__(
        self,
        bounds: Sequence[tuple[int | None, int | None]],
        *,
        components: int = 5,
        given: int = 0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if components < 1:
            raise OptionError(f"option 'components' of IntegerChain must be 1 or more; got {components}")
        for low, high in bounds:
            if low is not None and high is not None and low > high:
                raise OptionError(f"the lowest whole number must not be above the highest; got {low} and {high}")
        self.outputs = len(bounds)
        self.parameters_of = nn.ModuleList(
            Conditioner(given + i, 3 * components, hidden=hidden, activation=activation, dropout=dropout) for i in range(len(bounds))
        )
        self.register_buffer("low", torch.tensor([-math.inf if low is None else low for low, _ in bounds]).double(), persistent=False)
        self.register_buffer("high", torch.tensor([math.inf if high is None else high for _, high in bounds]).double(), persistent=False)
        self.register_buffer("centre", torch.zeros(len(bounds)))
        self.register_buffer("spread", torch.ones(len(bounds)))
        means = torch.special.ndtri((torch.arange(components) + 0.5) / components)
        width = min(1.0, 1.5 / components) / _LOGISTIC_SD
        self.register_buffer("start", torch.stack([torch.zeros(components), means, torch.full((components,), math.log(width))]))

    def measure(self, centre: Tensor, spread: Tensor) -> None:
        """Tell mean and standard deviation of each column of the training data, ``(columns,)`` each; both are saved with the state."""
        self.centre.copy_(centre)
        self.spread.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))

    def features(self, k: Tensor) -> Tensor:
        """What networks see of ``(n, columns)`` whole numbers: each less its mean, in its standard deviations, ``(n, outputs)``."""
        return ((k.double() - self.centre) / self.spread).to(self.start.dtype)

    def log_prob(self, k: Tensor, given: Tensor | None = None) -> Tensor:
        """The log-probability of each row in nats, ``(n,)``; −inf where a number is beyond its bounds.

        Args:
            k: ``(n, columns)`` whole numbers, int64 or floating.
            given: ``(n, given)`` or None.
        """
        seen = self.features(k)
        total = seen.new_zeros(len(k))
        for i in range(self.outputs):
            inside = (k[:, i] >= self.low[i]) & (k[:, i] <= self.high[i])
            # Measured from a whole number near the mean, so that halves are not lost where single precision holds large numbers.
            value = self._mixture(i, seen[:, :i], given).log_prob((k[:, i].double() - self.centre[i].round()).to(seen.dtype))
            total = total + torch.where(inside, value, -math.inf)
        return total

    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        """``(n, columns)`` int64 whole numbers, drawn with torch's global generator; `given` is ``(n, given)`` or None."""
        return self.sample_and_log_prob(n, given)[0]

    def sample_and_log_prob(self, n: int, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The numbers that `sample` draws, and their log-probability in nats, ``(n,)``."""
        drawn = torch.zeros(n, 0, dtype=torch.int64, device=self.centre.device)
        total = self.start.new_zeros(n)
        for i in range(self.outputs):
            seen = ((drawn.double() - self.centre[:i]) / self.spread[:i]).to(self.start.dtype)
            mixture = self._mixture(i, seen, given)
            one = mixture.sample()
            total = total + mixture.log_prob(one)
            drawn = torch.cat([drawn, (one.double() + self.centre[i].round()).long()[:, None]], 1)
        return drawn, total

    def _mixture(self, i: int, seen: Tensor, given: Tensor | None) -> DiscretisedLogistics:
        """Column i, measured from the whole number nearest its mean."""
        raw = self.parameters_of[i](seen if given is None else torch.cat([given, seen], 1)).unflatten(1, (3, -1)) + self.start
        spread, origin = self.spread[i], self.centre[i].round()
        log_scales = torch.logaddexp(_held(raw[:, 2], _LOG_SCALE_LIMITS) + spread.log(), raw.new_tensor(math.log(_NARROWEST)))
        low, high = ((bound[i] - origin).to(raw.dtype) for bound in (self.low, self.high))
        return DiscretisedLogistics(raw[:, 0], self.centre[i] - origin + spread * raw[:, 1], log_scales, low, high)
