"""Simulation-based calibration on Gaussian posteriors whose truth is known: right ones pass, wrong ones are named."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Ranks, Report
from gnomon.checks.measures.simulation import distance_ranks, sbc_ranks
from gnomon.checks.statistics.simulation import sbc, tarp

QUICK = Effort(draws=199, more_draws=0)
DRAWS = 63


def ranked(seed: int, rows: int = 200, *, narrower: float = 1.0, shift: float = 0.0, ignore: bool = False, weighted: bool = False) -> Ranks:
    """theta ~ N(0, 1)², x = theta + noise: the posterior is N(x/2, 1/2). Weighted: theta is drawn too wide and weighted back."""
    rng = np.random.default_rng([seed, rows])
    scale = 1.3 if weighted else 1.0
    theta = scale * rng.normal(size=(rows, 2))
    weight = np.exp(-0.5 * (theta**2).sum(axis=1) * (1 - 1 / scale**2)) if weighted else None
    x = theta + rng.normal(size=(rows, 2))
    centre, spread = (np.zeros_like(x), 1.0) if ignore else (x / 2, np.sqrt(0.5))
    samples = centre[:, None] + shift * np.array([1.0, 0.0]) + narrower * spread * rng.normal(size=(rows, DRAWS, 2))
    references = x / 2 + rng.normal(size=x.shape)  # they know the condition
    middle = (theta + samples.sum(axis=1)) / (DRAWS + 1)
    return Ranks(
        ("theta0", "theta1"), sbc_ranks(theta, samples, rng), DRAWS, distance_ranks(theta, samples, references, rng),
        weight if weight is None else weight / weight.mean(), distance_ranks(theta, samples, middle, rng),
    )  # fmt: skip


def _repeats(weighted: bool, repeats: int) -> list[list]:
    made = []
    for seed in range(repeats):
        case = Case(ranks=ranked(seed, 500 if weighted else 200, weighted=weighted), effort=QUICK, seed=seed)
        made.append(sbc(case) + tarp(case))
    return made


@pytest.mark.parametrize("weighted", [False, True])
def test_p_is_uniform_and_errors_cover_for_a_right_posterior(weighted: bool) -> None:
    for rows in zip(*_repeats(weighted, 50), strict=True):
        p = [row.p for row in rows]
        assert stats.kstest(p, "uniform").pvalue > 0.05 / 6, (rows[0].name, rows[0].where, sorted(p))
        assert 0.45 <= np.mean([abs(row.value - row.null) <= row.error for row in rows]) <= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_p_is_uniform_and_errors_cover_in_200_repeats(weighted: bool) -> None:
    for rows in zip(*_repeats(weighted, 200), strict=True):
        assert stats.kstest([row.p for row in rows], "uniform").pvalue > 0.05 / 6
        assert 0.58 <= np.mean([abs(row.value - row.null) <= row.error for row in rows]) <= 0.78


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("fault", "column", "all_columns"),
    [
        ({"narrower": 0.8}, "Column 'theta0': under given conditions its drawn values are too narrow", "over-confident"),
        ({"narrower": 1.25}, "Column 'theta1': under given conditions its drawn values are too wide", "under-confident"),
        ({"shift": 0.3}, "Column 'theta0': under given conditions its drawn values are too high", None),  # balls hardly see a small shift
    ],
)
def test_a_wrong_posterior_is_named(fault: dict[str, float], column: str, all_columns: str | None, weighted: bool) -> None:
    case = Case(ranks=ranked(0, 2500 if weighted else 1300, weighted=weighted, **fault), effort=Effort())
    rows = sbc(case) + tarp(case)
    found = Report(rows).findings
    assert any(one.startswith(column) for one in found), found
    assert all_columns is None or any(all_columns in one for one in found), found


def test_a_model_that_ignores_the_condition_is_seen_by_points_that_know_it() -> None:
    case = Case(ranks=ranked(0, 1000, ignore=True), effort=QUICK)
    assert min(row.p for row in sbc(case)) > 1e-3  # the ranks of each column alone are right
    assert tarp(case)[0].p < 1e-6


def test_a_right_posterior_has_no_findings_and_leaves_its_curves() -> None:
    case = Case(ranks=ranked(1, 1000), effort=QUICK)
    rows = sbc(case) + tarp(case)
    assert not Report(rows).findings and [row.where for row in rows] == ["theta0", "theta1", "all columns"]
    assert {"sbc", "tarp"} <= set(case.pictures) and len(case.pictures["sections"]["simulation"].curves) == 2
    band, line = case.pictures["tarp"].series
    assert (band.low <= line.y).all() and (line.y <= band.high).all()


def test_few_rows_are_left_out() -> None:
    with pytest.raises(LeftOut, match="20 rows"):
        sbc(Case(ranks=ranked(0, 20)))
    assert sbc(Case()) == [] and tarp(Case()) == []
