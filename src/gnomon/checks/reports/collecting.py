"""What the figures of a report show, as small numbers: histograms with errors, matrices, tiles of images.

Collected when the check runs, so that a report holds no rows of the data. Drawing them is `figures`' work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.checks.statistic import Statistic, number
from gnomon.checks.statistics.correlation import Correlations
from gnomon.data import Categorical, Column, Integer, Periodic

BINS = 40
MOST_COLUMNS = 30
"""So many columns get a figure: those whose distances stand out most."""

MOST_TILES = 40


@dataclass(frozen=True, eq=False)
class Histogram:
    """Shares of one column on both sides.

    Args:
        name: of the column, with units.
        edges: ``(bins + 1,)``; for categories 0 … bins.
        labels: names of the categories, empty for numbers.
        real: ``(bins,)`` shares of the real rows.
        generated: ``(bins,)`` shares of the generated rows.
        real_error: ``(bins,)`` standard errors.
        generated_error: ``(bins,)`` standard errors.
        left_out: share of both sides' rows outside the picture.
        alt: the picture in words.
    """

    name: str
    edges: Floats
    labels: tuple[str, ...]
    real: Floats
    generated: Floats
    real_error: Floats
    generated_error: Floats
    left_out: float
    alt: str


@dataclass(frozen=True, eq=False)
class Heat:
    """A matrix of differences with the names of its rows.

    Args:
        names: ``(F,)``.
        values: ``(F, F)``; NaN where nothing is compared.
        alt: the picture in words.
    """

    names: tuple[str, ...]
    values: Floats
    alt: str


@dataclass(frozen=True, eq=False)
class Tiles:
    """Example images of both sides, as arrays ``(k, height, width)`` or ``(k, height, width, 3)`` in [0, 1]; signals ``(k, length)``.

    Args:
        real: of the data.
        generated: to be judged.
        alt: the pictures in words.
    """

    real: Floats
    generated: Floats
    alt: str


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy.

    Args:
        name: of the target.
        confidence: ``(bins,)`` mean confidence.
        accuracy: ``(bins,)`` share of right answers.
        error: ``(bins,)`` its standard error.
        alt: the picture in words.
    """

    name: str
    confidence: Floats
    accuracy: Floats
    error: Floats
    alt: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """All figures of a report."""

    histograms: list[Histogram] = field(default_factory=list)
    heat: Heat | None = None
    tiles: Tiles | None = None
    reliability: list[Reliability] = field(default_factory=list)
    left_out: int = 0


def collect(case: Case, statistics: list[Statistic]) -> Pictures:
    """The figures of a case; called after its statistics, whose leavings it uses."""
    sides = case.sides
    histograms: list[Histogram] = []
    tiles = None
    left_out = 0
    if sides is not None:
        order = _by_interest(sides, statistics)
        left_out = max(0, len(order) - MOST_COLUMNS)
        histograms = [histogram(sides, i, statistics) for i in sorted(order[:MOST_COLUMNS])]
        tiles = _tiles(sides)
    for name, (pull, weight) in case.pictures.get("pulls", {}).items():
        histograms.append(_pulls(name, pull, weight, case))
    found = case.pictures.get("correlation")
    heat = None if found is None else _heat(found)
    reliability = [_reliability(name, *rows) for name, rows in case.pictures.get("reliability", {}).items()]
    return Pictures(histograms, heat, tiles, reliability, left_out)


def _by_interest(sides: Sides, statistics: list[Statistic]) -> list[int]:
    """Compared columns, the most different first."""
    pulls: dict[str, float] = {}
    for row in statistics:
        if row.name in ("ks", "kuiper", "tv"):
            pulls[row.where] = row.pull
    return sorted(sides.compared, key=lambda i: -pulls.get(sides.names[i], 0.0))


def histogram(sides: Sides, column: int, statistics: list[Statistic]) -> Histogram:
    """Shares of a column on both sides, in bins common to both."""
    described = sides.columns[column]
    values = [side.values[:, column] for side in (sides.real, sides.generated)]
    labels: tuple[str, ...] = ()
    if isinstance(described.support, Categorical):
        placed, labels, edges = _categories(described, values)
    else:
        edges = _edges(described, values)
        placed = [np.searchsorted(edges, v, side="right") - 1 for v in values]
        placed = [np.where(v == edges[-1], len(edges) - 2, p) for v, p in zip(values, placed, strict=True)]
    bins = len(edges) - 1
    real, generated = (_shares(side, p, bins) for side, p in zip((sides.real, sides.generated), placed, strict=True))
    units = f" [{described.units}]" if described.units else ""
    told = "; ".join(str(row) for row in statistics if row.where == described.name)
    alt = f"Histograms of column {described.name}, real and generated, with their ratio below. {told}"
    name = f"{described.name}{units}"
    return Histogram(name, edges, labels, real[0], generated[0], real[1], generated[1], max(real[2], generated[2]), alt)


def _shares(side: Side, placed: NDArray[np.intp], bins: int) -> tuple[Floats, Floats, float]:
    """Share of the weight in each bin, its standard error, and the share outside."""
    weight = np.ones(len(side)) if side.weight is None else side.weight
    inside = (placed >= 0) & (placed < bins)
    total = weight.sum()
    shares = np.bincount(placed[inside], weights=weight[inside], minlength=bins) / total
    squares = np.bincount(placed[inside], weights=np.square(weight[inside]), minlength=bins) / total**2
    errors = np.sqrt(np.maximum(squares * (1 - 2 * shares) + np.square(shares) * np.square(weight).sum() / total**2, 0.0))
    return shares, errors, float(weight[~inside].sum() / total)


def _edges(column: Column, values: list[Floats]) -> Floats:
    """Bin edges for both sides: whole numbers in the middle of bins, circles whole, long tails cut."""
    support = column.support
    if isinstance(support, Periodic):
        return np.linspace(support.low, support.high, BINS + 1)
    both = np.concatenate([v if len(v) <= 100_000 else v[:: len(v) // 100_000] for v in values])
    low, high = float(both.min()), float(both.max())
    inner = np.quantile(both, [0.005, 0.995])
    if high - low > 3 * (inner[1] - inner[0]) > 0:
        low, high = float(inner[0]), float(inner[1])
    if isinstance(support, Integer) and high - low <= 3 * BINS:
        step = max(1, int(np.ceil((high - low + 1) / (2 * BINS))))
        return np.arange(np.floor(low), high + step + 1, step) - 0.5
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _categories(column: Column, values: list[Floats]) -> tuple[list[NDArray[np.intp]], tuple[str, ...], Floats]:
    """Bins of the most frequent categories, and one for all others."""
    names = column.support.values  # type: ignore[union-attr]
    counts = np.bincount(np.concatenate(values).astype(np.intp), minlength=len(names))
    shown = np.sort(np.argsort(-counts, kind="stable")[:20])
    place = np.full(len(names), len(shown), dtype=np.intp)
    place[shown] = np.arange(len(shown))
    labels = [str(names[k]) for k in shown] + (["all others"] if len(names) > len(shown) else [])
    return [place[v.astype(np.intp)] for v in values], tuple(labels), np.arange(len(labels) + 1.0)


def _pulls(name: str, pull: Floats, weight: Floats | None, case: Case) -> Histogram:
    """Errors of predictions in units of their predicted spread, beside the normal law that an honest spread gives."""
    edges = np.linspace(-4, 4, 33)
    side = Side(pull[:, None], weight)
    shares, errors, outside = _shares(side, np.searchsorted(edges, pull, side="right") - 1, len(edges) - 1)
    from scipy.special import ndtr

    expected = np.diff(ndtr(edges))
    alt = f"Histogram of (truth - prediction) / predicted standard deviation of target {name}, beside the standard normal law."
    return Histogram(f"pull of {name}", edges, (), expected, shares, np.zeros_like(expected), errors, outside, alt)


def _heat(found: Correlations) -> Heat:
    names = tuple(feature.name for feature in found.features)
    shown = found.pairs | found.pairs.T
    values = np.where(shown, found.difference, np.nan)
    top = np.unravel_index(int(np.nanargmax(np.abs(values))), values.shape)
    alt = (
        f"Matrix of the differences of correlations, generated minus real, of {len(names)} quantities. "
        f"The largest is {number(float(values[top]))}, between {names[top[0]]} and {names[top[1]]}."
    )
    return Heat(names, values, alt)


def _tiles(sides: Sides) -> Tiles | None:
    """The first images of both sides, on one scale of grey."""
    if sides.real.pixels is None or sides.generated.pixels is None:
        return None
    some = [side.pixels[:MOST_TILES].astype(np.float64) for side in (sides.real, sides.generated)]  # type: ignore[index]
    low, high = np.quantile(some[0], [0.001, 0.999])
    made = [np.clip((part - low) / max(high - low, 1e-12), 0, 1) for part in some]
    alt = f"{len(some[0])} real and {len(some[1])} generated examples, side by side"
    return Tiles(_flat_image(made[0]), _flat_image(made[1]), alt)


def _flat_image(images: Floats) -> Floats:
    """``(k, channels, *size)`` as something to look at: one channel grey, three coloured, the middle slice of a volume."""
    if images.ndim == 3:
        return images[:, 0]
    if images.ndim == 5:
        images = images[:, :, images.shape[2] // 2]
    return np.moveaxis(images, 1, -1) if images.shape[1] == 3 else images.mean(axis=1)


def _reliability(name: str, confidence: Floats, right: Floats, bins: NDArray[Any], weight: Floats) -> Reliability:
    total = np.bincount(bins, weights=weight)
    mean = np.bincount(bins, weights=weight * confidence) / total
    share = np.bincount(bins, weights=weight * right) / total
    error = np.sqrt(np.maximum(share * (1 - share), 1 / total) * np.bincount(bins, weights=np.square(weight))) / total
    alt = f"Share of right answers against confidence for target {name}, {len(total)} bins; calibrated classifiers lie on the diagonal."
    return Reliability(name, mean, share, error, alt)
