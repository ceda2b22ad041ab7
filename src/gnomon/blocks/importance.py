"""Samples of one density as those of another: importance weights, what they are worth, and a Markov chain that uses them up.

Pure functions of log-weights ``(n,)``, log target (up to a constant) minus log proposal, of independent draws from the proposal.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Measured(NamedTuple):
    """A value with its standard error."""

    value: float
    error: float


def normalised(log_weights: Tensor) -> Tensor:
    """The weights with mean 1, ``(n,)`` float64; -inf gives 0.

    Example:
        >>> normalised(torch.tensor([0.0, 0.0, -math.inf]))
        tensor([1.5000, 1.5000, 0.0000], dtype=torch.float64)
    """
    return log_weights.double().softmax(0) * len(log_weights)


def log_partition(log_weights: Tensor) -> Measured:
    """log Z in nats, the log of the mean weight: the normalisation of the target where the proposal's is 1.

    The error is that of the mean, divided by the mean; it is as blind as the sample to regions that the proposal never visits.

    Example:
        >>> log_partition(torch.zeros(4)).value
        0.0
    """
    values = log_weights.double()
    n = len(values)
    relative = normalised(values).var(correction=1) / n if n > 1 else torch.tensor(math.nan)
    return Measured(float(values.logsumexp(0)) - math.log(n), float(relative.sqrt()))


def effective_share(log_weights: Tensor) -> Measured:
    """Effective sample size as a share of n, ``(Σ w)² / (n Σ w²)``, with the jackknife's error.

    It is biased upwards where n is too small to meet the largest weights: a share of 0.3 among 64 draws may be 0.01 among 65,536.

    Reference: Kish 1965, Survey Sampling; the jackknife: Efron & Stein 1981, Annals of Statistics 9, 586

    Example:
        >>> round(effective_share(torch.tensor([1.0, 1.0, -100.0])).value, 4)
        0.6667
    """
    w = normalised(log_weights)
    n = len(w)
    total, squares = w.sum(), w.square().sum()
    without = (total - w).square() / ((n - 1) * (squares - w.square()))
    error = ((n - 1) / n * (without - without.mean()).square().sum()).sqrt() if n > 2 else torch.tensor(math.nan)
    return Measured(float(total.square() / (n * squares)), float(error))


def weighted_mean(values: Tensor, log_weights: Tensor) -> Measured:
    """The target's mean of what was evaluated at the draws, ``(n,)``: ``Σ w v / Σ w``, with the error of the ratio.

    Example:
        >>> weighted_mean(torch.tensor([1.0, 3.0]), torch.zeros(2)).value
        2.0
    """
    w = normalised(log_weights) / len(log_weights)
    mean = (w * values.double()).sum()
    return Measured(float(mean), float((w * (values.double() - mean)).square().sum().sqrt()))


def independence_metropolis(log_weights: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, float]:
    """Metropolis–Hastings with the draws, in their order, as proposals: a chain whose stationary density is the target.

    Args:
        log_weights: ``(n,)``; the first draw is where the chain starts.
        generator: of the acceptances, on the host; torch's global one if None.

    Returns:
        ``(n,)`` int64, which draw the chain is at after each proposal; and the share of proposals accepted. It is a loop on the host.

    Reference: Hastings 1970, https://doi.org/10.1093/biomet/57.1.97; Albergo et al. 2019, https://arxiv.org/abs/1904.12072

    Example:
        >>> chain, accepted = independence_metropolis(torch.zeros(5))
        >>> chain.tolist(), accepted
        ([0, 1, 2, 3, 4], 1.0)
    """
    weights = log_weights.double().tolist()
    chances = torch.rand(len(weights), dtype=torch.float64, generator=generator).log().tolist()
    chain, at, accepted = [], 0, 0
    for proposed, (weight, chance) in enumerate(zip(weights, chances, strict=True)):
        # An impossible draw is left for any other, and never taken; a weight that is not a number is never taken either.
        if proposed and weight > -math.inf and (weights[at] == -math.inf or chance < weight - weights[at]):
            at, accepted = proposed, accepted + 1
        chain.append(at)
    return torch.tensor(chain), accepted / max(1, len(weights) - 1)
