"""Noise of held-out rows: uniform p-values where the density is right, words that name what is wrong, and invertibility."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, Latent, LeftOut, Report
from gnomon.checks.statistics.latent import inversion_error, latent_normality

QUICK = Effort(draws=199, more_draws=0)


def _right(seed: int, rows: int = 200, width: int = 5, *, weighted: bool = False, circles: int = 1) -> Latent:
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=rows) if weighted else None
    return Latent(rng.normal(size=(rows, width)), rng.random((rows, circles)), weight)


def _repeats(weighted: bool, repeats: int) -> list[list]:
    rows = 600 if weighted else 200
    return [latent_normality(Case(latent=_right(s, rows, weighted=weighted), effort=QUICK, seed=s)) for s in range(repeats)]


@pytest.mark.parametrize("weighted", [False, True])
def test_p_is_uniform_and_errors_cover_for_a_right_density(weighted: bool) -> None:
    for rows in zip(*_repeats(weighted, 50), strict=True):
        assert stats.kstest([row.p for row in rows], "uniform").pvalue > 0.05 / 4, sorted(row.p for row in rows)
        assert 0.45 <= np.mean([abs(row.value - row.null) <= row.error for row in rows]) <= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_p_is_uniform_and_errors_cover_in_200_repeats(weighted: bool) -> None:
    for rows in zip(*_repeats(weighted, 200), strict=True):
        assert stats.kstest([row.p for row in rows], "uniform").pvalue > 0.05 / 4
        assert 0.58 <= np.mean([abs(row.value - row.null) <= row.error for row in rows]) <= 0.78


def test_the_worst_coordinate_is_named() -> None:
    made = _right(0, 3000)
    made.normal[:, 2] = 0.3 + 1.1 * made.normal[:, 2]
    rows = latent_normality(Case(latent=made, effort=QUICK))
    assert rows[0].where == "noise coordinate 3"
    (finding, *_) = Report(rows).findings
    assert finding.startswith("Noise coordinate 3: held-out rows have mean 0.3")
    turned = _right(1, 3000)
    turned.uniform[:, 0] = np.random.default_rng(2).beta(1.5, 1, size=3000)
    assert "round the circle" in Report(latent_normality(Case(latent=turned, effort=QUICK))).findings[0]


@pytest.mark.parametrize(("factor", "word"), [(1.1, "too narrow"), (0.9, "too wide")])
def test_the_length_tells_a_narrow_density_from_a_wide_one(factor: float, word: str) -> None:
    made = _right(0, 2000, 10)
    rows = latent_normality(Case(latent=Latent(factor * made.normal, made.uniform), effort=QUICK))
    assert any(word in finding for finding in Report(rows).findings)


def test_dependent_coordinates_show_in_the_length_alone() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(3000, 1)) * np.ones(4)
    coordinate, length = latent_normality(Case(latent=Latent(common, np.empty((3000, 0))), effort=QUICK))
    assert coordinate.p > 1e-3 and length.p < 1e-6


def test_the_error_far_away_is_that_of_repetition() -> None:
    made = []
    for seed in range(100):
        one = _right(seed, 400, 1, circles=0)
        made.append(latent_normality(Case(latent=Latent(0.6 * one.normal, one.uniform), effort=QUICK))[0])
    assert np.median([row.error for row in made]) == pytest.approx(np.std([row.value for row in made]), rel=0.25)


def test_rows_that_do_not_come_back_are_a_finding() -> None:
    made = _right(0)
    good, bad = (Latent(made.normal, made.uniform, inversion=np.array([1e-6, worst])) for worst in (3e-4, np.nan))
    (row,) = inversion_error(Case(latent=good))
    assert row.value == 3e-4 and row.alarm == "never" and not Report([row]).findings
    assert "cannot be inverted" in Report(inversion_error(Case(latent=bad))).findings[0]
    assert inversion_error(Case(latent=made)) == [] and latent_normality(Case()) == []


def test_few_rows_are_left_out() -> None:
    with pytest.raises(LeftOut, match="5 rows"):
        latent_normality(Case(latent=_right(0, 5)))
