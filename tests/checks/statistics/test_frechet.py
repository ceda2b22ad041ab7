"""Fréchet distance of two sides: value, relabelled moments, null, error and sentence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Sides, Statistic
from gnomon.checks.measures.frechet import frechet_distance
from gnomon.checks.nulls import permutation_p
from gnomon.checks.points import points
from gnomon.checks.statistics.frechet import MOST, _Space, frechet
from tests.checks.samples import sides
from tests.checks.statistics.nulls_of_points import FAR, WORLDS, far_from_null, repeats

QUICK = Effort(draws=99, more_draws=0, few_draws=19)


def _row(made: Sides, effort: Effort = QUICK) -> Statistic:
    (row,) = frechet(Case(made, effort=effort))
    return row


def _of_rows(first: np.ndarray, second: np.ndarray) -> float:
    return float(frechet_distance(first.mean(axis=0), np.cov(first.T, ddof=0), second.mean(axis=0), np.cov(second.T, ddof=0)))


def test_gaussians_far_apart_have_their_formula() -> None:
    rng = np.random.default_rng(0)
    made = Sides.of(rng.normal(size=(4000, 3)), 1.5 * rng.normal(size=(4000, 3)) + [1.0, 0.0, 0.0])
    there = points(made)
    row = _row(made)
    assert row.value == pytest.approx(_of_rows(there.real, there.generated), rel=0.01)
    assert row.null == 0.0 and row.p == 1 / 100 and row.note.startswith("Fréchet distance of standardised columns")
    assert "FID" not in row.note + row.claim + row.name


@pytest.mark.parametrize("paired", [False, True])
def test_relabelled_moments_are_those_of_relabelled_rows(paired: bool) -> None:
    made = sides(1, 80, 80, paired=paired)
    there = points(made)
    draws = np.concatenate(list(there.pool.relabelled(99, made.generator("frechet"))))
    null = np.array([_of_rows(there.pooled[row > 0], there.pooled[row < 0]) for row in draws])
    assert _row(made).p == permutation_p(_of_rows(there.real, there.generated), null)


def test_longer_data_have_the_null_of_a_part_scaled() -> None:
    rng = np.random.default_rng(2)
    made = Sides.of(rng.normal(size=(6000, 3)), rng.normal(size=(5000, 3)))
    whole, part = _row(made), _row(made, Effort(draws=99, more_draws=0, null_rows=1000))
    assert "on 1,000 rows a side, scaled" in part.note and "scaled" not in whole.note
    assert part.null == whole.null == 0.0 and part.value == whole.value
    assert part.null_error == pytest.approx(whole.null_error, rel=0.4)


@pytest.mark.parametrize("world", ["unequal", "weights on one, unequal", "paired"])
def test_p_is_uniform_and_errors_cover(world: str) -> None:
    p, covered, pulls = repeats(frechet, world, 30, Effort(draws=49, more_draws=0, few_draws=12))
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01, sorted(p)
    assert 0.45 <= np.mean(covered) <= 0.93 and abs(np.mean(pulls)) < 0.65


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_is_uniform_and_errors_cover_in_200_repeats(world: str) -> None:
    p, covered, pulls = repeats(frechet, world, 200, Effort(draws=199, more_draws=0, few_draws=49))
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.05 / len(WORLDS), sorted(p)
    assert 0.58 <= np.mean(covered) <= 0.8, np.mean(covered)
    assert abs(np.mean(pulls)) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAR)
def test_far_from_the_null_the_error_is_that_of_repetition(kind: str) -> None:
    values, errors = far_from_null(frechet, kind, 150)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_few_rows_have_a_null_of_their_own() -> None:
    rng = np.random.default_rng(3)
    small, large = (Sides.of(rng.normal(size=(n, 6)), rng.normal(size=(n, 6))) for n in (40, 400))
    assert _row(small).null != 0.0 and "rough" not in _row(small).note and _row(large).null == 0.0


def test_singular_covariances_are_told() -> None:
    rng = np.random.default_rng(4)
    rows = [rng.normal(size=(16, 20)) for _ in range(2)]
    assert "8 rows in 20 coordinates are singular" in _row(Sides.of(*rows)).note
    with pytest.raises(LeftOut, match="7 rows on the smaller side"):
        _row(Sides.of(rows[0][:7], rows[1]))


def test_many_coordinates_are_brought_to_their_leading_components() -> None:
    rng = np.random.default_rng(5)
    common = 2 * rng.normal(size=(600, 2)) @ rng.normal(size=(2, 50)) / np.sqrt(2)
    rows = common + rng.normal(size=(600, 50))
    made = Sides.of(rows[:300], rows[300:] + np.where(np.arange(50) == 11, 1.5, 0.0))
    row = _row(made)
    assert f"in {MOST} leading components of 50 coordinates, with" in row.note
    assert row.p == 1 / 100 and "most of all in 'x11'" in row.claim


def test_what_differs_is_named() -> None:
    from gnomon.checks.reports.report import Report

    rng = np.random.default_rng(6)
    real, generated = rng.normal(size=(4000, 4)), rng.normal(size=(4000, 4))
    names, effort = ["pt", "eta", "phi", "mass"], Effort(draws=199, more_draws=200)
    shifted, wide, turned = generated.copy(), generated.copy(), generated.copy()
    shifted[:, 1] -= 0.2
    wide[:, 2] *= 1.2
    turned[:, 3] = 0.3 * turned[:, 0] + np.sqrt(1 - 0.09) * turned[:, 3]
    (finding,) = Report([_row(Sides.of(real, shifted, names), effort)]).findings
    assert "other means than real ones, most of all in 'eta' (0." in finding and "spreads lower)" in finding
    assert "more variance than real ones, most of all in 'phi'" in _row(Sides.of(real, wide, names)).claim
    assert "other covariances than real ones, most of all of 'pt' and 'mass'" in _row(Sides.of(real, turned, names)).claim


def test_weights_that_leave_no_covariance_are_left_out() -> None:
    rows = np.random.default_rng(7).normal(size=(40, 2))
    weight = np.where(np.arange(40) == 0, 1.0, 0.0)
    with pytest.raises(LeftOut, match="a covariance wants at least two rows"):
        _row(Sides.of(rows, rows + 1, weights=(weight, None)))


def test_few_rows_in_many_columns_have_the_components_of_their_covariance() -> None:
    rng = np.random.default_rng(5)
    part = points(Sides.of(rng.normal(size=(40, 150)) * np.linspace(3, 0.1, 150), rng.normal(size=(45, 150))))
    space = _Space.of(part)
    values, vectors = np.linalg.eigh(np.cov(part.pooled.T))
    count = space.basis.shape[1]
    wanted = vectors[:, -count:]
    assert space.basis @ space.basis.T == pytest.approx(wanted @ wanted.T, abs=1e-8)
    assert space.share == pytest.approx(values[-count:].sum() / values.sum())
