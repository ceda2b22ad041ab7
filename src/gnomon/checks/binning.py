"""Columns in bins common to both sides, with standard errors: what histograms show and what separation power is taken from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.sides import Floats, Side
from gnomon.data import Categorical, Column, Integer, Periodic

BINS = 40


def binned(column: Column, values: list[Floats]) -> tuple[list[NDArray[np.intp]], tuple[str, ...], Floats]:
    """Bins common to both sides.

    Args:
        column: name and support.
        values: of each side.

    Returns:
        the bin of each value (outside ``[0, bins)`` for values in cut tails), names of the bins of a categorical column, and
        ``(bins + 1,)`` edges.
    """
    if isinstance(column.support, Categorical):
        return _categories(column, values)
    edges = edges_of(column, values)
    placed = [np.searchsorted(edges, v, side="right") - 1 for v in values]
    return [np.where(v == edges[-1], len(edges) - 2, p) for v, p in zip(values, placed, strict=True)], (), edges


def shares(side: Side, placed: NDArray[np.intp], bins: int) -> tuple[Floats, Floats, float]:
    """Share of the weight in each bin, its standard error, and the share outside."""
    weight = np.ones(len(side)) if side.weight is None else side.weight
    inside = (placed >= 0) & (placed < bins)
    total = weight.sum()
    shares = np.bincount(placed[inside], weights=weight[inside], minlength=bins) / total
    squares = np.bincount(placed[inside], weights=np.square(weight[inside]), minlength=bins) / total**2
    errors = np.sqrt(np.maximum(squares * (1 - 2 * shares) + np.square(shares) * np.square(weight).sum() / total**2, 0.0))
    return shares, errors, float(weight[~inside].sum() / total)


def edges_of(column: Column, values: list[Floats]) -> Floats:
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
