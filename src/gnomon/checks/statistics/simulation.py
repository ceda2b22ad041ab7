"""Simulation-based calibration: whether held-out rows lie among rows drawn under their own condition as one of them would.

Drawing and ranking is done in `gathering`; how ranks that should be uniform are judged, in `uniformity`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case, Ranks
from gnomon.checks.pictures import Curves, Section, Series
from gnomon.checks.statistic import LeftOut, Statistic
from gnomon.checks.statistics.likelihood import weighted_mean
from gnomon.checks.statistics.uniformity import BAND, Uniformity, uniformities

FEWEST = 50
_MOST_CURVES = 6
_REGION = 0.9  # share of the drawn rows in the region by which confidence is put into words


def sbc(case: Case) -> list[Statistic]:
    """Kuiper's distance of the ranks of each column from equally likely ones: under every condition alike, the drawn values are right.

    It sees a posterior that is too narrow, too wide or shifted, which the comparison of all rows at once may not. Leaves the curves of the
    worst columns, with the band in which 95 % of right ones stay, in ``case.pictures["sbc"]``.

    Raises:
        LeftOut: fewer than 50 rows.

    Reference: Talts et al. 2018, https://arxiv.org/abs/1804.06788
    """
    given = case.ranks
    if given is None or not given.names:
        return []
    _enough(given)
    made = uniformities(list(given.ranks.T), given.weight, case.generator("sbc"), case.effort, levels=given.draws + 1)
    note = f"Kuiper's distance of the ranks among {given.draws} rows drawn under the same condition"
    rows = []
    for name, ranks, one in zip(given.names, given.ranks.T, made, strict=True):
        row = Statistic("sbc", name, one.value, one.error, one.null, one.null_error, one.p, len(ranks), note, one.corrected)
        rows.append(row.with_(claim=f"column '{name}': under given conditions {_fault(given, ranks)} ({row})"))
    _leave(case, "sbc", _rank_curves(given, made))
    return rows


def tarp(case: Case) -> list[Statistic]:
    """Kuiper's distance of expected coverage from credibility, over balls around reference points that hold the drawn rows.

    It looks at all columns together. Leaves the curve of coverage in ``case.pictures["tarp"]``.

    Raises:
        LeftOut: fewer than 50 rows.

    Reference: Lemos et al. 2023, https://arxiv.org/abs/2302.03026
    """
    given = case.ranks
    if given is None:
        return []
    _enough(given)
    ranks = given.distance_ranks
    (one,) = uniformities([ranks], given.weight, case.generator("tarp"), case.effort, levels=given.draws + 1)
    note = f"Kuiper's distance between coverage and credibility, {given.draws} rows drawn under the same condition"
    row = Statistic("tarp", "all columns", one.value, one.error, one.null, one.null_error, one.p, len(ranks), note)
    _leave(case, "tarp", _coverage_curve(one))
    return [row.with_(claim=f"all columns: {_confidence(given)} ({row})")]


def _enough(given: Ranks) -> None:
    if len(given.distance_ranks) < FEWEST:
        raise LeftOut(f"{len(given.distance_ranks)} rows; ranks are judged from {FEWEST}")


def _fault(given: Ranks, ranks: NDArray[np.intp]) -> str:
    """Which way the drawn values are wrong."""
    place = (ranks + 0.5) / (given.draws + 1)
    effective = len(place) if given.weight is None else given.weight.sum() ** 2 / np.square(given.weight).sum()
    mean = weighted_mean(place, given.weight)[0]
    spread = weighted_mean(np.square(place - 0.5), given.weight)[0]
    shift, width = (mean - 0.5) * np.sqrt(12 * effective), (spread - 1 / 12) * np.sqrt(180 * effective)
    if max(abs(shift), abs(width)) < 2.5:
        return "its drawn values have another shape of distribution than the real ones"
    if abs(shift) >= abs(width):
        return f"its drawn values are too {'low' if shift > 0 else 'high'}: the real one has a mean rank of {100 * mean:.0f} % among them"
    return f"its drawn values are too {'narrow' if width > 0 else 'wide'}"


def _confidence(given: Ranks) -> str:
    """Whether the model is too sure or not sure enough, by how often the region around the centre of its draws holds the real row."""
    if given.central_ranks is None:
        return "regions of the model's drawn rows do not hold the real rows as often as they should"
    inside = (given.central_ranks < _REGION * (given.draws + 1)).astype(np.float64)
    held = weighted_mean(inside, given.weight)[0]
    expected = np.ceil(_REGION * (given.draws + 1)) / (given.draws + 1)
    word = "over-confident" if held < expected else "under-confident"
    if abs(held - expected) * np.sqrt(len(inside) / (expected * (1 - expected))) < 2.5:
        return "under given conditions the rows that the model draws are distributed differently from the real ones"
    region = f"the region that should hold {100 * expected:.0f} % of the real rows holds {100 * held:.0f} %"
    return f"under given conditions the model is {word}: {region}"


def _rank_curves(given: Ranks, made: list[Uniformity]) -> Curves:
    order = sorted(range(len(made)), key=lambda i: -made[i].value)[:_MOST_CURVES]
    first = made[order[0]]
    zero = np.zeros_like(first.places)
    band = max(made[i].band for i in order)
    series = [Series(first.places, zero, f"{100 * BAND:.0f} % of right models", zero - band, zero + band, "expected")]
    series += [Series(made[i].places, made[i].curve, given.names[i]) for i in order]
    more = f" The {_MOST_CURVES} worst of {len(made)} columns." if len(made) > _MOST_CURVES else ""
    names = ", ".join(given.names[i] for i in order)
    alt = f"Share of real values at or below each rank among drawn ones, less the share that is right, for {names}.{more}"
    return Curves("Ranks among drawn values", tuple(series), "rank, as a share", "share at or below, less what is right", alt)


def _coverage_curve(one: Uniformity) -> Curves:
    places, curve = (np.concatenate([[0.0], part, [1.0]]) for part in (one.places, one.places + one.curve))
    low, high = np.clip(places - one.band, 0, 1), np.clip(places + one.band, 0, 1)
    expected = Series(places, places, f"{100 * BAND:.0f} % of right models", low, high, "expected")
    top = float(np.abs(one.curve).max())
    alt = f"Expected coverage against credibility; a right model lies on the diagonal, this one strays from it by up to {top:.3f}."
    return Curves(
        "Expected coverage", (expected, Series(places, curve, "this model")), "credibility", "expected coverage", alt, square=True
    )


def _leave(case: Case, name: str, curves: Curves) -> None:
    """Hand a figure to the report; both statistics share a section."""
    case.pictures[name] = curves
    shown = [case.pictures[key] for key in ("sbc", "tarp") if key in case.pictures]
    words = "Real rows among rows drawn under the same condition. Inside the band: as they would lie if the model were right."
    case.pictures.setdefault("sections", {})["simulation"] = Section("simulation", "Under given conditions", words, shown)
