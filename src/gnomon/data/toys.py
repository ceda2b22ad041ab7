"""Toy data whose density and entropy are known exactly, against which every density model can be judged.

They draw and evaluate in numpy; how they become a table is decided by `reading`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.data.seeds import mix
from gnomon.errors import DataError, OptionError

Array = NDArray[np.float64]

_LOG_2PI = math.log(2 * math.pi)
_CHUNK = 1 << 21  # numbers held at a time when a density is a sum over many terms


class Gaussians:
    """Normal distributions of equal weight on a circle; with the defaults the "8 Gaussians" of FFJORD, H = 2.8319 nats.

    Often quoted as 2.8327 ± 0.0015, an estimate from samples that agrees with the integral within its error.

    Args:
        count: how many.
        radius: of the circle on which their centres lie.
        sd: standard deviation of each, in both directions.

    Raises:
        OptionError: a count below one or an sd that is not positive.

    Reference: Grathwohl et al. 2019, https://arxiv.org/abs/1810.01367 (radius 4 and sd 0.5, both divided by 1.414).

    Example:
        >>> toy = Gaussians()
        >>> toy.sample(3, seed=0).shape, round(toy.entropy, 4)
        ((3, 2), 2.8319)
    """

    def __init__(self, count: int = 8, radius: float = 4 / 1.414, sd: float = 0.5 / 1.414) -> None:
        if count < 1 or not sd > 0:
            raise OptionError(f"Gaussians wants count >= 1 and sd > 0; got count={count}, sd={sd}")
        self.count, self.radius, self.sd = count, radius, sd

    @property
    def centres(self) -> Array:
        """``(count, 2)``."""
        angle = 2 * math.pi * np.arange(self.count) / self.count
        return self.radius * np.stack([np.cos(angle), np.sin(angle)], 1)

    def sample(self, n: int, seed: int = 0) -> Array:
        """``(n, 2)`` points; the same seed gives the same points."""
        chance = _chance("gaussians", seed)
        return self.centres[chance.integers(self.count, size=n)] + self.sd * chance.standard_normal((n, 2))

    def log_prob(self, x: ArrayLike) -> Array:
        """``(n, 2) -> (n,)`` nats."""
        return _in_chunks(_points(x, 2), self.count, self._log_prob)

    def _log_prob(self, x: Array) -> Array:
        squares = _squared_distances(x, self.centres)
        return _log_mean_exp(-squares / (2 * self.sd**2)) - _LOG_2PI - 2 * math.log(self.sd)

    @functools.cached_property
    def entropy(self) -> float:
        """Nats, by the trapezoid rule on a grid of sd / 5 that reaches 9 sd beyond the centres (error below 1e-9)."""
        end = self.radius + 9 * self.sd
        return _entropy_on_grid(self.log_prob, (-end, end), (-end, end), self.sd / 5)


class Checkerboard:
    """The dark squares of a board of 4 × 4 over [-4, 4]², uniform: H = log 32 = 3.4657 nats.

    Reference: Grathwohl et al. 2019, https://arxiv.org/abs/1810.01367.

    Example:
        >>> toy = Checkerboard()
        >>> toy.log_prob([[1.0, 1.0], [1.0, 3.0]]).round(4).tolist(), round(toy.entropy, 4)
        ([-3.4657, -inf], 3.4657)
    """

    entropy: float = math.log(32)

    def sample(self, n: int, seed: int = 0) -> Array:
        """``(n, 2)`` points; the same seed gives the same points."""
        chance = _chance("checkerboard", seed)
        column = chance.integers(4, size=n)
        row = 2 * chance.integers(2, size=n) + column % 2
        return 2 * (np.stack([column, row], 1) + chance.random((n, 2))) - 4

    def log_prob(self, x: ArrayLike) -> Array:
        """``(n, 2) -> (n,)`` nats; −inf on light squares and off the board."""
        points = _points(x, 2)
        square = np.floor(points / 2)
        dark = (square.sum(1) % 2 == 0) & (points >= -4).all(1) & (points < 4).all(1)
        return np.where(dark, -self.entropy, -np.inf)


class Moons:
    """Two interleaved half circles of radius 1 with normal noise around them.

    A point is (cos t, sin t) or (1 - cos t, 1/2 - sin t), t uniform in [0, π], plus noise of the given sd in both directions.
    The density is the integral of the normal density over t, by Gauss–Legendre quadrature with 32 + 12 / noise nodes
    (relative error below 1e-9 wherever the density is above 1e-100).

    Args:
        noise: standard deviation of the noise, at least 0.01.

    Raises:
        OptionError: a smaller noise, for which there is no density worth the name.

    Reference: scikit-learn's ``make_moons``, which spaces t evenly where this draws it.

    Example:
        >>> toy = Moons(noise=0.1)
        >>> toy.sample(3, seed=0).shape, round(toy.entropy, 3)
        ((3, 2), 1.008)
    """

    def __init__(self, noise: float = 0.1) -> None:
        if not noise >= 0.01:
            raise OptionError(f"Moons wants noise >= 0.01; got {noise}")
        self.noise = noise

    def sample(self, n: int, seed: int = 0) -> Array:
        """``(n, 2)`` points; the same seed gives the same points."""
        chance = _chance("moons", seed)
        t, lower = math.pi * chance.random(n), chance.integers(2, size=n)
        return self._arc(t, lower) + self.noise * chance.standard_normal((n, 2))

    def log_prob(self, x: ArrayLike) -> Array:
        """``(n, 2) -> (n,)`` nats."""
        return _in_chunks(_points(x, 2), 2 * len(self._nodes[0]), self._log_prob)

    @staticmethod
    def _arc(t: Array, lower: NDArray[np.int64]) -> Array:
        upper = np.stack([np.cos(t), np.sin(t)], 1)
        return np.where(lower[:, None] == 1, np.array([1.0, 0.5]) - upper, upper)

    @functools.cached_property
    def _nodes(self) -> tuple[Array, Array]:
        """Nodes in [0, π] and the log of their weights, which sum to one."""
        nodes, weights = np.polynomial.legendre.leggauss(32 + math.ceil(12 / self.noise))
        return math.pi * (nodes + 1) / 2, np.log(weights / 2)

    def _log_prob(self, x: Array) -> Array:
        t, log_weights = self._nodes
        both = [self._arc(t, np.full(len(t), lower)) for lower in (0, 1)]
        squares = _squared_distances(x, np.concatenate(both))
        terms = np.tile(log_weights, 2) + math.log(len(t)) - squares / (2 * self.noise**2)
        return _log_mean_exp(terms) - _LOG_2PI - 2 * math.log(self.noise)

    @functools.cached_property
    def entropy(self) -> float:
        """Nats, by the trapezoid rule on a grid of noise / 3 that reaches 8 noise beyond the arcs (error below 1e-6)."""
        beyond = 8 * self.noise
        return _entropy_on_grid(self.log_prob, (-1 - beyond, 2 + beyond), (-0.5 - beyond, 1 + beyond), self.noise / 3)


class Coin:
    """A coin that shows heads (True) with probability `p`.

    Raises:
        OptionError: `p` is not strictly between 0 and 1.

    Example:
        >>> coin = Coin(p=0.25)
        >>> coin.log_prob([[True], [False]]).round(4).tolist(), round(coin.entropy, 4)
        ([-1.3863, -0.2877], 0.5623)
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 < p < 1:
            raise OptionError(f"Coin wants a probability p between 0 and 1; got {p}")
        self.p = p

    def sample(self, n: int, seed: int = 0) -> NDArray[np.bool_]:
        """``(n, 1)`` booleans; the same seed gives the same tosses."""
        return _chance("coin", seed).random((n, 1)) < self.p

    def log_prob(self, x: ArrayLike) -> Array:
        """``(n, 1)`` or ``(n,)`` → ``(n,)`` nats of probability; −inf for what is neither 0 nor 1."""
        value = _points(np.asarray(x, dtype=np.float64).reshape(-1, 1), 1)[:, 0]
        return np.where(value == 1, math.log(self.p), np.where(value == 0, math.log1p(-self.p), -np.inf))

    @property
    def entropy(self) -> float:
        """Nats."""
        return -self.p * math.log(self.p) - (1 - self.p) * math.log1p(-self.p)


def _chance(name: str, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(mix("toy", name, seed)))


def _points(x: ArrayLike, width: int) -> Array:
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != width:
        raise DataError(f"expected points of shape (n, {width}); got shape {points.shape}")
    return points


def _squared_distances(x: Array, centres: Array) -> Array:
    """``(n, len(centres))``."""
    return (x[:, :1] - centres[:, 0]) ** 2 + (x[:, 1:] - centres[:, 1]) ** 2


def _log_mean_exp(terms: Array) -> Array:
    """Over the last axis, without overflow."""
    top = terms.max(-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(terms - top).mean(-1))


def _in_chunks(x: Array, terms: int, evaluate: Callable[[Array], Array]) -> Array:
    rows = max(1, _CHUNK // (2 * terms))
    return np.concatenate([evaluate(x[i : i + rows]) for i in range(0, len(x), rows)]) if len(x) else np.zeros(0)


def _entropy_on_grid(log_prob: Callable[[Array], Array], xs: tuple[float, float], ys: tuple[float, float], step: float) -> float:
    x, y = (np.arange(low, high + step, step) for low, high in (xs, ys))
    values = log_prob(np.stack([a.ravel() for a in np.meshgrid(x, y, indexing="ij")], 1))
    return float(-(np.exp(values) * values).sum() * step**2)
