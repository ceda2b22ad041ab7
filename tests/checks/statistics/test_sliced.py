"""Sliced W2 of two sides: value, local form, error, null and sentence."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, Sides, Statistic
from gnomon.checks.measures.wasserstein import directions, sliced_wasserstein, wasserstein
from gnomon.checks.nulls import Pool
from gnomon.checks.points import points
from gnomon.checks.statistics.influence import linear_error, moves_of_spreads
from gnomon.checks.statistics.sliced import CELLS, PROJECTIONS, _both_costs, _Cells, sliced_w2
from tests.checks.samples import sides
from tests.checks.statistics.nulls_of_points import FAR, WORLDS, far_from_null, repeats

QUICK = Effort(draws=99, more_draws=0)


def _row(made: Sides, effort: Effort = QUICK) -> Statistic:
    (row,) = sliced_w2(Case(made, effort=effort))
    return row


# ---- value ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, "same", "one"])
def test_the_value_is_the_exact_distance_of_the_points(weights: str | None) -> None:
    made = sides(0, 150, 110, weights=weights)
    there = points(made)
    along = directions(there.real.shape[1], PROJECTIONS, made.generator("sliced", "directions"))
    wanted = sliced_wasserstein(there.real, there.generated, projections=along, weights=(made.real.weight, made.generated.weight))
    assert _row(made).value == pytest.approx(wanted, abs=1e-12)


def test_one_column_is_plain_w2() -> None:
    rng = np.random.default_rng(1)
    made = Sides.of(rng.normal(size=200), rng.normal(size=150) + 0.4)
    row = _row(made)
    assert row.value == pytest.approx(wasserstein(points(made).real[:, 0], points(made).generated[:, 0], p=2), abs=1e-12)
    assert "directions" not in row.note and "along 'x0'" in row.claim


# ---- cells ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_differences_in_cells_are_those_of_the_distribution_functions(weighted: bool) -> None:
    rng = np.random.default_rng(2)
    rows = np.round(rng.normal(size=(300, 3)), 1)  # with ties
    pool = Pool(180, 120, rng.exponential(size=300) if weighted else None)
    cells = _Cells.of(rows)
    coefficients = next(iter(pool.relabelled(5, rng)))
    made = cells.differences(coefficients, pool)
    for k in range(3):
        known = np.isfinite(cells.edges[k])
        assert 10 < known.sum() < CELLS and not np.isin(cells.edges[k], rows[:, k]).any()
        wanted = [[row[rows[:, k] <= edge].sum() for edge in cells.edges[k][known]] for row in coefficients]
        assert np.allclose(made[:, k, known], wanted, atol=1e-6)


def test_the_local_form_is_w2_for_small_differences() -> None:
    """Both forms of many relabellings of a long smooth sample: the same mean within a few per cent, and hardly any scatter."""
    rng = np.random.default_rng(3)
    values, pool = rng.uniform(size=8000), Pool(5000, 3000)
    cells = _Cells.of(values[:, None])
    coefficients = np.concatenate(list(pool.relabelled(40, rng)))
    exact, rough = _both_costs(values, coefficients, pool, cells.edges[0], cells.stiffness[0])
    assert np.corrcoef(exact, rough)[0, 1] > 0.99
    assert rough.mean() == pytest.approx(exact.mean(), rel=0.04)
    real = values[coefficients[0] > 0], values[coefficients[0] < 0]
    assert exact[0] == pytest.approx(wasserstein(*real, p=2) ** 2, rel=0.03)
    assert rough == pytest.approx(cells.costs(cells.differences(coefficients, pool))[:, 0])


def test_pulls_are_in_standard_deviations_of_relabelled_costs() -> None:
    rng = np.random.default_rng(4)
    rows, pool = np.stack([rng.normal(size=1500), rng.exponential(size=1500), rng.integers(0, 2, 1500)], axis=1), Pool(900, 600)
    cells = _Cells.of(rows)
    costs = cells.costs(cells.differences(np.concatenate(list(pool.relabelled(2000, rng))), pool)) / pool.noise
    pulls = np.array([cells.pulls(one) for one in costs])
    assert np.allclose(pulls.mean(axis=0), 0, atol=0.12) and np.allclose(pulls.std(axis=0), 1, atol=0.25)


# ---- null and error ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", ["unequal", "weights on one, unequal", "paired"])
def test_p_is_uniform_and_errors_cover(world: str) -> None:
    p, covered, pulls = repeats(sliced_w2, world, 40, Effort(draws=49, more_draws=0))
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01, sorted(p)
    assert 0.45 <= np.mean(covered) <= 0.9 and abs(np.mean(pulls)) < 0.65


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_is_uniform_and_errors_cover_in_200_repeats(world: str) -> None:
    p, covered, _ = repeats(sliced_w2, world, 200, Effort(draws=199, more_draws=0))
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.05 / len(WORLDS), sorted(p)
    assert stats.kstest(p, "uniform").pvalue > 1e-4
    assert 0.58 <= np.mean(covered) <= 0.78, np.mean(covered)


def test_nulls_of_longer_data_are_scaled() -> None:
    rng = np.random.default_rng(5)
    made = Sides.of(rng.normal(size=(4000, 3)), rng.normal(size=(3000, 3)))
    whole, part = _row(made), _row(made, Effort(draws=99, more_draws=0, null_rows=700))
    assert "on 700 rows a side, scaled" in part.note and "scaled" not in whole.note
    assert part.null == pytest.approx(whole.null, rel=0.1) and part.null_error == pytest.approx(whole.null_error, rel=0.4)


@pytest.mark.parametrize("columns", ["atoms", "both"])
def test_columns_of_few_values_have_a_null_too(columns: str) -> None:
    """Where values are atoms, W2 falls with the fourth root of the size: the exact relabellings know that."""
    p, pulls = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, y = (rng.integers(0, 3, size=(400, 2)).astype(float) for _ in range(2))
        if columns == "both":
            x[:, 1], y[:, 1] = rng.normal(size=400), rng.normal(size=400)
        row = _row(Sides.of(x, y, seed=seed), Effort(draws=49, more_draws=0))
        p.append(row.p)
        pulls.append((row.value - row.null) / row.null_error)
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01
    assert abs(np.mean(pulls)) < 0.7 and 0.6 < np.std(pulls) < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAR)
def test_far_from_the_null_the_error_is_that_of_repetition(kind: str) -> None:
    values, errors = far_from_null(sliced_w2, kind, 150)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_a_statistic_that_is_a_mean_has_the_error_of_a_mean() -> None:
    rng = np.random.default_rng(6)
    first, second, weight = rng.normal(size=50), rng.normal(size=40), rng.exponential(size=90)
    assert linear_error(first, second, Pool(50, 40)) == pytest.approx(np.sqrt(first.var() / 50 + second.var() / 40))
    share = weight[:50] / weight[:50].sum()
    wanted = np.sqrt(np.square(share * (first - share @ first)).sum())
    assert linear_error(first, np.zeros(40), Pool(50, 40, weight)) == pytest.approx(wanted)
    assert linear_error(first[:40], -first[:40], Pool(40, 40, paired=True)) == pytest.approx(0.0, abs=1e-12)


def test_rows_move_the_spreads_as_much_as_repetition_does() -> None:
    """Spreads of both sides together by quantiles: their error from one sample is their scatter over samples."""

    def spread(rows: np.ndarray) -> float:
        low, high = np.quantile(rows, [0.16, 0.84])
        return float(np.log((high - low) / 2))

    errors, spreads = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = rng.logistic(size=400)
        made = Sides.of(rows[:250], rows[250:])
        errors.append(np.sqrt(np.square(moves_of_spreads(points(made))).sum()))
        spreads.append(spread(rows))
    assert np.mean(errors) == pytest.approx(np.std(spreads), rel=0.15)


# ---- words and bounds ----------------------------------------------------------------------------------------------------


def _shifted(rng: np.random.Generator, rows: int, change: Callable[[np.ndarray], None], width: int = 10) -> Sides:
    real, generated = rng.normal(size=(rows, width)), rng.normal(size=(rows, width))
    change(generated)
    return Sides.of(real, generated, [f"c{k}" for k in range(width)])


def test_a_small_shift_of_one_column_is_found_and_named() -> None:
    from gnomon.checks.reports.report import Report

    def shift(rows: np.ndarray) -> None:
        rows[:, 7] -= 0.1

    row = _row(_shifted(np.random.default_rng(7), 10_000, shift), Effort(draws=199, more_draws=200))
    assert row.p <= 1 / 400 and row.value == pytest.approx(0.0417, abs=0.006)
    (finding,) = Report([row]).findings
    assert "lie 0." in finding and "spreads lower along 'c7', the direction that differs most" in finding


def test_a_direction_of_two_columns_is_named_by_both() -> None:
    def narrow(rows: np.ndarray) -> None:
        common = (rows[:, 0] - rows[:, 1]) / 2
        rows[:, 0], rows[:, 1] = rows[:, 0] - 0.6 * common, rows[:, 1] + 0.6 * common

    row = _row(_shifted(np.random.default_rng(8), 3000, narrow, width=2))
    assert "times as widely along 'c" in row.claim and " − 'c" in row.claim


def test_what_is_neither_shifted_nor_narrowed_is_distributed_differently() -> None:
    def split(rows: np.ndarray) -> None:
        rows[:, 2] = np.sqrt(0.1) * rows[:, 2] + np.sqrt(0.9) * np.random.default_rng(0).choice([-1.0, 1.0], len(rows))

    assert "distributed differently from real ones along 'c2'" in _row(_shifted(np.random.default_rng(9), 2000, split, width=4)).claim


def test_the_error_of_the_choice_of_directions_is_that_of_other_choices() -> None:
    rng = np.random.default_rng(10)
    real, generated = rng.normal(size=(500, 6)), rng.normal(size=(500, 6)) * [1, 1, 1, 1, 1, 3]
    made = [_row(Sides.of(real, generated, seed=seed), Effort(draws=9, more_draws=0)) for seed in range(30)]
    told = np.mean([float(row.note.split("whose choice adds ± ")[1].split(";")[0]) for row in made])
    assert told == pytest.approx(np.std([row.value for row in made]), rel=0.5)


def test_negative_weights_are_told() -> None:
    rng = np.random.default_rng(11)
    weight = np.where(rng.random(400) < 0.1, -1.0, 1.0)
    row = _row(Sides.of(rng.normal(size=(400, 2)), rng.normal(size=(400, 2)), weights=(weight, None)))
    assert row.p > 0.01 and "negative weights" in row.note


def test_long_data_take_bounded_memory() -> None:
    rng = np.random.default_rng(12)
    made = Sides.of(rng.normal(size=(200_000, 4)), rng.normal(size=(200_000, 4)))
    points(made)
    tracemalloc.start()
    row = _row(made, Effort(draws=99, more_draws=0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6 and row.p > 0.01, peak
