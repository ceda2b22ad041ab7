"""The figures of a report, collected when the check has run: from the sides, and from what statistics left in `Case.pictures`.

What figures can show stands in `checks.pictures`; drawing them is `figures`' work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.binning import binned, shares
from gnomon.checks.case import Case
from gnomon.checks.measures.calibration import wilson
from gnomon.checks.pictures import Bars, Curves, Heat, Histogram, Section, Series, Table, Tiles
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.checks.statistic import Statistic, number, plus_minus
from gnomon.checks.statistics.c2st import Discrimination
from gnomon.checks.statistics.correlation import Correlations
from gnomon.checks.statistics.memorisation import NearestRows

MOST_COLUMNS = 30
"""So many columns get a figure: those whose distances stand out most."""

MOST_TILES = 40


@dataclass(frozen=True, eq=False)
class Pictures:
    """All figures of a report."""

    histograms: list[Histogram] = field(default_factory=list)
    heat: Heat | None = None
    tiles: Tiles | None = None
    sections: list[Section] = field(default_factory=list)
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
    return Pictures(histograms, heat, tiles, _sections(case), left_out)


def _sections(case: Case) -> list[Section]:
    """Sections of curves and bars, by subject."""
    made = list(case.pictures.get("sections", {}).values())
    if case.pictures.get("c2st"):
        made.insert(0, _telling(case.pictures["c2st"]))
    if case.pictures.get("neighbours") is not None:
        made.append(_neighbours(case.pictures["neighbours"]))
    reliability = [_reliability(name, *rows) for name, rows in case.pictures.get("reliability", {}).items()]
    words = "On the line: what is said with 80 % confidence is right in 80 % of cases."
    made += [Section("calibration", "Calibration", words, reliability)] if reliability else []
    return made + [section for section in [case.pictures.get("training")] if section is not None]


def _telling(found: list[Discrimination]) -> Section:
    """How well each classifier tells the sides apart, and by which columns."""
    curves, bars = [], []
    for one in found:
        curve, diagonal = one.curve, np.array([0.0, 1.0])
        told = f"{one.words}, area {plus_minus(one.area, one.error)}"
        alt = f"ROC curve of {told}, of {one.where}; on the diagonal the sides cannot be told apart."
        lines = (Series(diagonal, diagonal, role="expected"), Series(curve.x, curve.y, told, curve.low, curve.high))
        title = f"Told apart: {one.where}"
        curves.append(Curves(title, lines, "share of real rows taken for generated", "share of generated rows", alt, square=True))
        if one.columns:
            names, values = one.columns[:15], one.importance[:15]
            words = f"How much the area falls if a column is shuffled ({one.words}); most for {names[0]}, by {number(float(values[0]))}."
            bars.append(Bars(f"Which columns tell: {one.words}", names, values, "loss of area under the ROC curve", words))
    words = "Classifiers that try to tell generated from real rows, on rows they were not trained on; bands are standard errors."
    return Section("c2st", "Told apart by classifiers", words, curves, bars)


def _neighbours(found: NearestRows) -> Section:
    """The generated rows that lie nearest to a training row."""
    words = f"Generated rows nearest to a row that was trained on; held-out rows usually lie {number(found.usual)} from theirs."
    if found.pixels is not None:
        low, high = float(found.pixels[1].min()), float(found.pixels[1].max())
        one, two = (np.clip((part - low) / max(high - low, 1e-12), 0, 1).astype(np.float64) for part in found.pixels)
        alt = f"{len(one)} pairs of nearest images, in the same order"
        shown = Tiles(_flat_image(one), _flat_image(two), alt, ("Generated", "Nearest training"))
        return Section("neighbours", "Nearest training rows", words, tiles=[shown])
    rows = []
    for distance, drawn, near in zip(found.distances, found.generated, found.training, strict=True):
        rows.append(("generated", number(distance), *(_cell(value) for value in drawn)))
        rows.append(("training", "", *(_cell(value) for value in near)))
    return Section(
        "neighbours", "Nearest training rows", words, tables=[Table("Nearest pairs", ("row", "distance", *found.names), tuple(rows))]
    )


def _cell(value: float | int | str) -> str:
    return number(value, 5) if isinstance(value, float) else str(value)


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
    placed, labels, edges = binned(described, [side.values[:, column] for side in (sides.real, sides.generated)])
    real, generated = (shares(side, p, len(edges) - 1) for side, p in zip((sides.real, sides.generated), placed, strict=True))
    units = f" [{described.units}]" if described.units else ""
    told = "; ".join(str(row) for row in statistics if row.where == described.name)
    alt = f"Histograms of column {described.name}, real and generated, with their ratio and pull below. {told}"
    name = f"{described.name}{units}"
    return Histogram(name, edges, labels, real[0], generated[0], real[1], generated[1], max(real[2], generated[2]), alt)


def _pulls(name: str, pull: Floats, weight: Floats | None, case: Case) -> Histogram:
    """Errors of predictions in units of their predicted spread, beside the normal law that an honest spread gives."""
    edges = np.linspace(-4, 4, 33)
    side = Side(pull[:, None], weight)
    drawn, errors, outside = shares(side, np.searchsorted(edges, pull, side="right") - 1, len(edges) - 1)
    from scipy.special import ndtr

    expected = np.diff(ndtr(edges))
    alt = f"Histogram of (truth - prediction) / predicted standard deviation of target {name}, beside the standard normal law."
    return Histogram(f"pull of {name}", edges, (), expected, drawn, np.zeros_like(expected), errors, outside, alt)


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


def _reliability(name: str, confidence: Floats, right: Floats, bins: NDArray[Any], weight: Floats) -> Curves:
    total = np.bincount(bins, weights=weight)
    mean = np.bincount(bins, weights=weight * confidence) / total
    share = np.bincount(bins, weights=weight * right) / total
    ends = wilson(np.clip(share, 0.0, 1.0), np.square(total) / np.bincount(bins, weights=np.square(weight)))
    low = float(min(mean.min(), share.min(), 0.9))
    line = Series(np.array([low, 1.0]), np.array([low, 1.0]), role="expected")
    points = Series(mean, share, low=ends[0], high=ends[1], points=True)
    alt = f"Share of right answers against confidence for target {name}, {len(total)} bins; calibrated classifiers lie on the diagonal."
    return Curves(f"Calibration of {name}", (line, points), "confidence", "share of right answers", alt)
