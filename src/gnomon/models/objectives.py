"""What a VAE may minimise beside its bound: distances between codes and prior, dependence among dimensions, weighted draws.

Pure functions of codes and log-densities; which networks gave them is the model's affair.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import vjp

from gnomon.models.posteriors import Gaussian


def squared_mmd(a: Tensor, b: Tensor) -> Tensor:
    """The squared maximum mean discrepancy between two samples by the kernel exp(-|z - z'|² / 2k), without bias, ``()``.

    Args:
        a: ``(n, k)``.
        b: ``(m, k)``.

    Reference: Gretton et al. 2012, https://jmlr.org/papers/v13/gretton12a.html

    Example:
        >>> squared_mmd(torch.zeros(2, 1), torch.full((2, 1), 9.0)).round(decimals=4)
        tensor(2.)
    """
    return _others(a) + _others(b) - 2 * _kernel(a, b).mean()


def total_correlation(z: Tensor, q: Gaussian) -> Tensor:
    """log q(z) - Σⱼ log q(zⱼ) at each draw, ``(n,)`` nats, q(z) being the mixture of the posteriors of the batch.

    Its mean is the total correlation of the codes; from a batch of n it is too small where codes tell examples apart, by up to log n for
    each dimension but one, and right as n grows.

    Args:
        z: ``(n, k)``, a draw from each posterior.
        q: the posteriors ``(n, k)``.

    Reference: Chen et al. 2018, https://arxiv.org/abs/1802.04942 (minibatch-weighted sampling, without the constant of the data's size)
    """
    scaled = (z.unsqueeze(1) - q.mean) * torch.exp(-q.log_spread)
    each = -0.5 * scaled.square() - q.log_spread - 0.5 * math.log(2 * math.pi)
    log_n = math.log(max(1, len(z)))
    return each.sum(-1).logsumexp(1) - log_n - (each.logsumexp(1) - log_n).sum(-1)


def doubly_reparametrised(log_weights: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """-log 1/k Σᵢ wᵢ for each example, ``(n,)``, with the gradient by z that is right in the mean where q counts as constant.

    The value is that of the importance-weighted bound. By what `log_weights` depends on, the gradient is the usual one, each draw by its
    share w̃ᵢ of the weights; along z each draw counts by w̃ᵢ².

    Args:
        log_weights: codes ``(k, n, latent)`` to log p(x, z) - log q(z | x) ``(k, n)``, q with parameters without gradient.
        z: draws that depend on the parameters of q.

    Reference: Tucker et al. 2019, https://arxiv.org/abs/1810.04152
    """
    made = vjp(log_weights, z.detach())
    weights, pull = made[0], made[1]
    shares = weights.detach().softmax(0)
    (slope,) = pull(shares)
    along = (shares.unsqueeze(-1) * slope).detach() * z
    surrogate = (shares * weights).sum(0) + along.sum((0, -1))
    value = weights.detach().logsumexp(0) - math.log(len(weights))
    return -(value + surrogate - surrogate.detach())


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """``(n, m)``; without a square root, whose gradient at zero is none."""
    distance = a.square().sum(-1)[:, None] + b.square().sum(-1) - 2 * a @ b.T
    return torch.exp(-distance.clamp_min(0) / (2 * a.shape[-1]))


def _others(a: Tensor) -> Tensor:
    """Mean of the kernel over pairs of different rows; 1 for one row alone."""
    n = len(a)
    if n < 2:
        return a.new_ones(())
    return (_kernel(a, a).sum() - n) / (n * (n - 1))
