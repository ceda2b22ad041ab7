"""Draws from the posterior of parameters under a learned likelihood: the density of data given parameters, turned round by Bayes.

Learning the posterior itself needs nothing of this: any density of the parameters given the data is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gnomon.data import Examples, Spec, Vector, prepare
from gnomon.errors import DataError, OptionError
from gnomon.learned.learned import Learned
from gnomon.options import whole

Floats = NDArray[np.float64]
LogDensity = Callable[[Floats], Floats]

_STRETCH = 2.0  # the largest factor by which a walker's distance from another grows


@dataclass(frozen=True)
class Draws:
    """What a sampler found.

    Args:
        values: ``(n, D)`` one draw a row.
        acceptance: share of proposed moves that were accepted.
        effective: effective number of the weighted draws it began with.
    """

    values: Floats
    acceptance: float
    effective: float


def posterior(
    likelihood: Learned, observed: Any, prior: ArrayLike, log_prior: LogDensity, *, n: int = 1000, moves: int = 100, seed: int = 0
) -> Draws:
    """Draws of the parameters θ from p(θ | x) ∝ p(θ) Πᵢ p(xᵢ | θ), with the likelihood learned as a density of x given θ.

    Draws from the prior are weighted by the likelihood and drawn again by their weights; then all walk on together by stretch moves,
    which leave the posterior as it is and need no step size. Judge by `acceptance` (0.2 to 0.6 is usual) and by `effective`: where only
    a handful of prior draws have weight, give more of them, or more moves.

    Args:
        likelihood: fitted with x as the data and given as θ, all of its columns numbers.
        observed: one or more independent observations, as `fit` reads x.
        prior: ``(m, D)`` draws of θ from the prior.
        log_prior: ``(k, D)`` to the log-density of the prior ``(k,)``, −inf or NaN outside; a constant factor does not matter.
        n: how many draws; an even number from 2 D + 2.
        moves: moves of each walker.
        seed: of everything random.

    Raises:
        OptionError: n or moves out of range, a likelihood without a condition or of something other than numbers, or a log_prior that does
            not give one number for each draw.
        DataError: no draws of the prior, draws with another number of columns or numbers that are not finite, or all of probability zero.

    Reference: Papamakarios et al. 2019, https://arxiv.org/abs/1805.07226

    Example:
        >>> import gnomon
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.normal(size=(2000, 1))
        >>> x = theta + 0.5 * rng.normal(size=(2000, 1))
        >>> learned = gnomon.fit("mixture_density", {"x": x, "given": theta}, epochs=10, progress=False)
        >>> draws = posterior(learned, np.array([[1.0]]), theta, lambda t: -0.5 * (t**2).sum(1), n=400)
        >>> bool(abs(draws.values.mean() - 0.8) < 0.1)  # 1 / (1 + 0.5²)
        True
    """
    kind = likelihood.spec.given
    if kind is None:
        raise OptionError(f"{likelihood.name} was fitted without a condition; fit it with the data as x and the parameters as given")
    if not isinstance(kind, Vector):
        raise OptionError(f"posterior wants the condition to be parameters, columns of numbers; {likelihood.name} was given {kind}")
    least = 2 * len(kind) + 2
    n, moves = whole(n, "n", least=least), whole(moves, "moves")
    if n % 2:
        raise OptionError(f"n wants an even number of {least} or more; got {n}")
    start = _prior_draws(prior, len(kind))
    inside = np.isfinite(_of_prior(log_prior, start))
    if not inside.any():
        raise DataError("log_prior gives no draw from the prior any density; both must be of one prior")
    data = prepare(observed, spec=Spec(likelihood.spec.x), roles=("x",)).raw.x
    if not isinstance(data, torch.Tensor):
        raise OptionError(f"posterior wants a likelihood of columns or images; {likelihood.name} is one of {likelihood.spec.x}")

    def log_likelihood(theta: Floats) -> Floats:
        rows = Examples(data.repeat(len(theta), *[1] * (data.dim() - 1)), given=torch.from_numpy(theta).repeat_interleave(len(data), 0))
        return likelihood.log_prob(rows).reshape(len(theta), len(data)).sum(1)

    generator = np.random.default_rng(seed)
    weight = np.where(inside, log_likelihood(start), -np.inf)
    if not np.isfinite(weight).any():
        raise DataError("no draw from the prior gives the observation any probability; look at both, or give more draws")
    share = np.exp(weight - weight.max())
    share /= share.sum()
    walkers = start[generator.choice(len(start), size=n, p=share)]
    values, accepted = stretch(lambda theta: _both(theta, log_prior, log_likelihood), walkers, moves, generator)
    return Draws(values, accepted, float(1 / np.square(share).sum()))


def stretch(log_prob: LogDensity, walkers: Floats, moves: int, generator: np.random.Generator) -> tuple[Floats, float]:
    """Walkers after `moves` stretch moves, which leave the density ``exp(log_prob)`` as it is, and the share that was accepted.

    Each walker of one half moves along the line through a walker of the other half, so that the scale and the shape of the density
    need not be known; then the halves change places.

    Args:
        log_prob: ``(k, D)`` to ``(k,)``, −inf where nothing may go.
        walkers: ``(n, D)`` where they begin, n even and above 2 D, where the density is not zero.
        moves: of each walker.
        generator: source of chance.

    Raises:
        OptionError: an odd number of walkers or too few, or a log_prob that does not give one number for each.

    Reference: Goodman & Weare 2010, https://doi.org/10.2140/camcos.2010.5.65

    Example:
        >>> rng = np.random.default_rng(0)
        >>> made, accepted = stretch(lambda x: -0.5 * (x**2).sum(1), rng.normal(3, 0.1, (1000, 1)), 200, rng)
        >>> bool(abs(made.std() - 1) < 0.1), 0.5 < accepted < 1
        (True, True)
    """
    walkers = np.array(walkers, dtype=np.float64)
    n, width = walkers.shape
    if n % 2 or n <= 2 * width:
        raise OptionError(f"stretch moves want an even number of walkers above {2 * width}; got {n}")
    value = np.array(log_prob(walkers), dtype=np.float64)
    if value.shape != (n,):
        raise OptionError(f"log_prob wants to give shape ({n},), one number for each walker; it gave {value.shape}")
    order, accepted = np.arange(n), 0
    for _ in range(whole(moves, "moves")):
        generator.shuffle(order)  # new halves each time, or one half could stay trapped in a mode that the other has left
        for moving, still in ((order[: n // 2], order[n // 2 :]), (order[n // 2 :], order[: n // 2])):
            pull = ((_STRETCH - 1) * generator.random(len(moving)) + 1) ** 2 / _STRETCH
            partner = walkers[generator.choice(still, len(moving))]
            proposed = partner + pull[:, None] * (walkers[moving] - partner)
            there = log_prob(proposed)
            takes = np.log(generator.random(len(moving))) < (width - 1) * np.log(pull) + there - value[moving]
            walkers[moving[takes]], value[moving[takes]] = proposed[takes], there[takes]
            accepted += int(takes.sum())
    return walkers, accepted / max(1, moves * n)


def _prior_draws(prior: ArrayLike, width: int) -> Floats:
    """Draws of the prior ``(m, width)``. Raises DataError for anything else."""
    try:
        draws = np.asarray(prior, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the prior wants draws of shape (m, {width}); got {str(prior)[:60]}") from error
    if draws.ndim != 2 or draws.shape[1] != width or not len(draws):
        raise DataError(f"the prior wants draws of shape (m, {width}); got {draws.shape}")
    finite = np.isfinite(draws).all(1)
    if not finite.all():
        raise DataError(f"the prior's draw {int(np.argmin(finite)) + 1} of {len(draws)} is not finite; drop those that are not")
    return draws


def _of_prior(log_prior: LogDensity, theta: Floats) -> Floats:
    """What `log_prior` says, one number for each row. Raises OptionError where it says something else."""
    value = np.array(log_prior(theta), dtype=np.float64)
    if value.shape != (len(theta),):
        raise OptionError(f"log_prior wants to give shape ({len(theta)},), one number for each row of θ; it gave {value.shape}")
    return np.where(np.isnan(value), -np.inf, value)


def _both(theta: Floats, log_prior: LogDensity, log_likelihood: LogDensity) -> Floats:
    """Prior times likelihood; the likelihood is asked only where the prior is not zero."""
    value = _of_prior(log_prior, theta)
    inside = np.isfinite(value)
    if inside.any():
        value[inside] += log_likelihood(theta[inside])
    return value
