"""How far numbers that should be uniform are from it: Kuiper's distance, its error and null.

What the numbers are (ranks, noise) and what is said about them is the business of `simulation` and `latent`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.effort import Effort
from gnomon.checks.nulls import corrected_for_places, error_of_distance, permutation_p
from gnomon.checks.sides import Floats

BAND = 0.95
"""Chance that a curve stays inside its band everywhere if the numbers are uniform."""

_CELLS = 256
_ROWS = 4_000  # weighted rows whose weights are given random signs; nulls of more rows are scaled
_QUANTILES = 4_000
_TERMS = np.arange(1, 101)[:, None] ** 2


@dataclass(frozen=True, eq=False)
class Uniformity:
    """How far numbers are from uniform.

    Args:
        value: the largest difference between the share of the numbers in any interval and its width.
        error: its standard error.
        linear: the standard error of the difference for that one interval.
        null: the mean of the value for uniform numbers.
        null_error: its standard deviation then.
        p: chance of a larger value then.
        corrected: p after correction for all sets of numbers looked at together.
        places: ``(k,)`` where the curve is given.
        curve: ``(k,)`` share of the numbers at or below each place, less the uniform share.
        band: how far a curve of uniform numbers strays at most, in 95 % of cases.
        draws: ``(draws,)`` equally likely values for uniform numbers; with weights, draw b of all sets belongs together.
    """

    value: float
    error: float
    linear: float
    null: float
    null_error: float
    p: float
    corrected: float
    places: Floats
    curve: Floats
    band: float
    draws: Floats


def uniformities(
    sets: Sequence[NDArray[Any]], weight: Floats | None, generator: np.random.Generator, effort: Effort, *, levels: int | None = None
) -> list[Uniformity]:
    """Compare each set of numbers with the uniform law.

    Kuiper's distance notices a wrong width as well as a shift, where Kolmogorov's sees little of the former. Without weights its null is
    known: Kuiper's law for numbers, draws of uniform ranks for ranks. With weights, which may depend on anything, rows get random signs,
    all sets alike; that is right for many rows.

    Args:
        sets: each ``(n,)`` numbers in [0, 1], or ranks 0 … levels - 1.
        weight: ``(n,)`` or None.
        generator: source of chance.
        effort: numbers of draws.
        levels: how many ranks there are; None for numbers.

    Reference: Kuiper 1960, Proc. Koninkl. Nederl. Akad. A 63, 38.
    """
    share = np.full(len(sets[0]), 1 / len(sets[0])) if weight is None else weight / weight.sum()
    scaled = [np.asarray(one, dtype=np.float64) if levels is None else (one + 1.0) / levels for one in sets]
    grid = np.arange(1, levels or _CELLS) / (levels or _CELLS)
    curves = [_reached(one, share, grid) - grid for one in scaled]
    tops = [_farthest(one, share, curve, grid, levels) for one, curve in zip(scaled, curves, strict=True)]
    if weight is None:
        draws, band, p = _known([value for value, *_ in tops], len(share), generator, effort, levels)
        all_draws, bands = [draws] * len(sets), [band] * len(sets)
        corrected = [min(1.0, len(p) * one) for one in p]
    else:
        rough = [_range(curve[None])[0] for curve in curves]  # on the cells on which the draws are made
        all_draws, bands = _with_signs(scaled, share, grid, rough, generator, effort)
        p = [permutation_p(value, one) for value, one in zip(rough, all_draws, strict=True)]
        corrected = corrected_for_places(rough, all_draws)
    made = []
    for i, (value, low, high) in enumerate(tops):
        inside = (scaled[i] > low) & (scaled[i] <= high)
        linear = float(np.sqrt(np.square(share) @ np.square(inside - share @ inside)))
        error = error_of_distance(value, linear, all_draws[i])
        null, spread = float(all_draws[i].mean()), float(all_draws[i].std())
        made.append(Uniformity(value, error, linear, null, spread, p[i], corrected[i], grid, curves[i], bands[i], all_draws[i]))
    return made


def largest_of(p: float, count: int) -> float:
    """The p-value of the smallest, `p`, of `count` independent p-values."""
    return float(-np.expm1(count * np.log1p(-min(p, 1 - 1e-16))))


def kuiper_p(values: Floats, n: int) -> Floats:
    """Chance that Kuiper's distance of n uniform numbers is at least so large.

    Reference: Stephens 1970, J. R. Stat. Soc. B 32, 115, for the correction at small n.

    Example:
        >>> kuiper_p(np.array([0.1747]), 100).round(2)
        array([0.04])
    """
    return _series(np.square(np.atleast_1d(values) * _stretch(n)))


def kuiper_draws(n: int, sets: int = 1) -> Floats:
    """Equally likely values of Kuiper's distance of n uniform numbers; of the largest of several independent ones."""
    values, chance = _law()
    wanted = ((np.arange(_QUANTILES) + 0.5) / _QUANTILES) ** (1 / sets)
    return np.interp(1 - wanted, chance[::-1], values[::-1]) / _stretch(n)


@functools.lru_cache(maxsize=1)
def _law() -> tuple[Floats, Floats]:
    """Values of the distance for many numbers, times the root of their number, and the chance of a larger one."""
    values = np.linspace(0.4, 5.0, 8000)
    return values, _series(np.square(values))


def _series(squared: Floats) -> Floats:
    terms = 2 * (4 * _TERMS * squared - 1) * np.exp(-2 * _TERMS * squared)
    return np.where(squared < 0.16, 1.0, np.clip(terms.sum(axis=0), 0.0, 1.0))


def _stretch(n: int) -> float:
    return float(np.sqrt(n) + 0.155 + 0.24 / np.sqrt(n))


def _range(curves: Floats) -> Floats:
    """``(batch, k) -> (batch,)``: from the lowest to the highest point; the ends of a curve are at zero."""
    return np.maximum(curves.max(axis=1), 0.0) - np.minimum(curves.min(axis=1), 0.0)


def _reached(values: Floats, share: Floats, grid: Floats) -> Floats:
    """``(k,)`` share of the numbers at or below each place."""
    order = np.argsort(values, kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(share[order])])
    return reached[np.searchsorted(values[order], grid + 1e-12, side="right")]


def _farthest(values: Floats, share: Floats, curve: Floats, grid: Floats, levels: int | None) -> tuple[float, float, float]:
    """Kuiper's distance, and the interval that it belongs to. Numbers are compared at each of them, from both sides; ranks at each rank."""
    if levels is None:
        order = np.argsort(values, kind="stable")
        ordered, reached = values[order], np.cumsum(share[order])
        grid = np.concatenate([ordered, np.nextafter(ordered, -np.inf)])
        curve = np.concatenate([reached - ordered, reached - share[order] - ordered])
    grid, curve = np.concatenate([[0.0], grid + (0 if levels is None else 1e-12)]), np.concatenate([[0.0], curve])
    top, bottom = int(curve.argmax()), int(curve.argmin())
    low, high = sorted((float(grid[top]), float(grid[bottom])))
    return float(curve[top] - curve[bottom]), low, high


def _known(
    values: Sequence[float], n: int, generator: np.random.Generator, effort: Effort, levels: int | None
) -> tuple[Floats, float, list[float]]:
    """Draws of the null without weights, how far the curve strays in 95 % of them, and the p-values."""
    from scipy.stats import kstwobign

    bounds = [float(p) for p in kuiper_p(np.array(values), n)]
    if levels is None:
        return kuiper_draws(n), float(kstwobign.ppf(BAND) / (np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n))), bounds
    counts = generator.multinomial(n, np.full(levels, 1 / levels), size=effort.draws + effort.more_draws)
    curves = np.cumsum(counts, axis=1)[:, :-1] / n - np.arange(1, levels) / levels
    draws = _range(curves)
    p = []
    for value, bound in zip(values, bounds, strict=True):
        drawn = permutation_p(value, draws)
        # Ranks stray less far than numbers do, so where no draw reaches the value Kuiper's chance is an upper bound on the true one.
        p.append(min(drawn, bound) if drawn <= 1 / (len(draws) + 1) else drawn)
    return draws, float(np.quantile(np.abs(curves).max(axis=1), BAND)), p


def _with_signs(
    sets: Sequence[Floats], share: Floats, grid: Floats, values: Sequence[float], generator: np.random.Generator, effort: Effort
) -> tuple[list[Floats], list[float]]:
    """For each set the distance ``(draws,)`` where each row's contribution gets a random sign, the same in all sets; and the bands."""
    rows = np.arange(len(share)) if len(share) <= _ROWS else np.sort(generator.permutation(len(share))[:_ROWS])
    part = share[rows] / share[rows].sum()
    scale = float(np.sqrt(np.square(share).sum() / np.square(part).sum()))
    orders = [np.argsort(one[rows], kind="stable") for one in sets]
    ends = [np.searchsorted(one[rows][order], grid + 1e-12, side="right") for one, order in zip(sets, orders, strict=True)]
    made: list[list[Floats]] = [[] for _ in sets]
    strays: list[list[Floats]] = [[] for _ in sets]
    so_far: list[Floats] = []
    for stage in (effort.draws, effort.more_draws):
        for start in range(0, stage, 128):
            signs = generator.integers(0, 2, size=(min(128, stage - start), len(rows))) * 2.0 - 1.0
            signs *= part
            total = signs.sum(axis=1, keepdims=True)
            for i, (order, end) in enumerate(zip(orders, ends, strict=True)):
                reached = np.concatenate([np.zeros((len(signs), 1)), np.cumsum(signs[:, order], axis=1)], axis=1)[:, end]
                curves = (reached - total * grid) * scale
                made[i].append(_range(curves))
                strays[i].append(np.abs(curves).max(axis=1))
        so_far = [np.concatenate(one) for one in made]
        if min(corrected_for_places(values, so_far)) > 1 / (effort.draws + 1):
            break
    return so_far, [float(np.quantile(np.concatenate(one), BAND)) for one in strays]
