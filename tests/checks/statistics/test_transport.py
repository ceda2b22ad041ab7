"""Earth mover's distance and Sinkhorn's divergence of two sides: values, nulls from one matrix of costs, errors, reasons to leave out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Sides, Statistic
from gnomon.checks.measures.sinkhorn import sinkhorn_divergence
from gnomon.checks.measures.transport import distances
from gnomon.checks.measures.transport import earth_mover as distance
from gnomon.checks.nulls import permutation_p
from gnomon.checks.points import points
from gnomon.checks.statistics import transport
from gnomon.checks.statistics.transport import BLUR, earth_mover, sinkhorn
from tests.checks.samples import sides
from tests.checks.statistics.nulls_of_points import FAR, WORLDS, far_from_null, repeats

MEASURES = {"earth_mover": earth_mover, "sinkhorn": sinkhorn}
QUICK = Effort(few_draws=19, transport_rows=60)


def _row(name: str, made: Sides, effort: Effort = QUICK) -> Statistic:
    (row,) = MEASURES[name](Case(made, effort=effort))
    return row


@pytest.mark.parametrize("weights", [None, "same", "one"])
def test_values_are_those_of_the_measures(weights: str | None) -> None:
    if weights is not None:
        pytest.importorskip("ot")
    made = sides(0, 50, 50, weights=weights)
    there, both = points(made), (made.real.weight, made.generated.weight)
    assert _row("earth_mover", made).value == pytest.approx(distance(there.real, there.generated, weights=both), abs=1e-9)
    epsilon = BLUR * distances(there.pooled, there.pooled, squared=True).mean()
    wanted = sinkhorn_divergence(there.real, there.generated, epsilon=epsilon, weights=both)
    assert _row("sinkhorn", made).value == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("paired", [False, True])
def test_nulls_from_one_matrix_of_costs_are_those_of_relabelled_rows(paired: bool) -> None:
    """Every relabelling by brute force, from the rows themselves."""
    made = sides(1, 30, 30, paired=paired)
    there = points(made)
    draws = np.concatenate(list(there.pool.relabelled(19, made.generator("earth_mover"))))
    null = np.array([distance(there.pooled[row > 0], there.pooled[row < 0]) for row in draws])
    row = _row("earth_mover", made)
    assert row.null == pytest.approx(null.mean()) and row.null_error == pytest.approx(null.std(ddof=1))
    assert row.p == permutation_p(row.value, null)
    draws = np.concatenate(list(there.pool.relabelled(19, made.generator("sinkhorn"))))
    epsilon = BLUR * distances(there.pooled, there.pooled, squared=True).mean()
    null = np.array([sinkhorn_divergence(there.pooled[row > 0], there.pooled[row < 0], epsilon=epsilon, tolerance=1e-5) for row in draws])
    assert _row("sinkhorn", made).null == pytest.approx(null.mean(), rel=1e-3)


@pytest.mark.parametrize("name", MEASURES)
def test_what_differs_has_a_small_p_but_raises_no_alarm(name: str) -> None:
    rng = np.random.default_rng(2)
    row = _row(name, Sides.of(rng.normal(size=(80, 2)), rng.normal(size=(70, 2)) + 1.0))
    assert row.p == 1 / 20 and row.alarm == "never" and row.pull > 5
    assert row.n == 60 and "on 60 rows a side drawn at random" in row.note and "19 times" in row.note


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("world", ["unequal", "weights on one, unequal", "paired"])
def test_p_is_uniform_and_errors_cover(name: str, world: str) -> None:
    if "weights" in world:
        pytest.importorskip("ot")
    p, covered, pulls = repeats(MEASURES[name], world, 40, QUICK)
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01, sorted(p)
    assert 0.42 <= np.mean(covered) <= 0.93 and abs(np.mean(pulls)) < 0.7


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("world", WORLDS)
def test_p_is_uniform_and_errors_cover_in_200_repeats(name: str, world: str) -> None:
    if "weights" in world:
        pytest.importorskip("ot")
    p, covered, _ = repeats(MEASURES[name], world, 200, Effort(few_draws=49, transport_rows=60))
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.05 / len(WORLDS), sorted(p)
    assert 0.58 <= np.mean(covered) <= 0.78, np.mean(covered)


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("kind", FAR)
def test_far_from_the_null_the_error_is_that_of_repetition(name: str, kind: str) -> None:
    if kind == "weights":
        pytest.importorskip("ot")
    values, errors = far_from_null(MEASURES[name], kind, 100)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35)  # potentials of so few rows are rough


def test_what_cannot_be_transported_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(40, 1))
    signed = Sides.of(rows, rows + 1, weights=(np.where(np.arange(40) < 5, -1.0, 1.0), None))
    for name in MEASURES:
        with pytest.raises(LeftOut, match="only mass can be moved"):
            _row(name, signed)
    monkeypatch.setattr(transport, "has_pot", lambda: False)
    with pytest.raises(LeftOut, match="pip install pot"):
        _row("earth_mover", sides(0, 30, 30, weights="same"))
    assert _row("earth_mover", sides(0, 40, 30)).n == 30  # without weights it does without


@pytest.mark.parametrize("name", MEASURES)
def test_rows_without_weight_carry_nothing(name: str) -> None:
    pytest.importorskip("ot")
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + 0.5
    weight = np.where(np.arange(40) < 20, 0.0, 1.0)
    row = _row(name, Sides.of(x, y, weights=(weight, None)))
    assert np.isfinite(row.value) and np.isfinite(row.null) and 0 < row.p <= 1


def test_a_large_part_is_relabelled_fewer_times() -> None:
    made = sides(5, 600, 600)
    row = _row("earth_mover", made, Effort(few_draws=99, transport_rows=600, seconds=10))
    assert "19 times" in row.note
    assert "99 times" in _row("earth_mover", made, Effort(few_draws=99, transport_rows=50, seconds=10)).note


@pytest.mark.parametrize("name", MEASURES)
def test_equal_rows_are_at_no_distance(name: str) -> None:
    row = _row(name, Sides.of(np.ones((20, 2)), np.ones((30, 2))))
    assert row.value == row.null == row.error == 0.0 and row.p == 1.0


@pytest.mark.filterwarnings("error")
def test_rows_that_stay_where_they_are_stretch_nothing() -> None:
    """Whole numbers: many rows of both sides coincide, and their distance is 0."""
    rng = np.random.default_rng(3)
    row = _row("earth_mover", Sides.of(*rng.integers(0, 2, size=(2, 60, 2)).astype(float)))
    assert row.value >= 0 and np.isfinite([row.error, row.null, row.null_error]).all()
    far = _row("earth_mover", Sides.of(rng.integers(0, 2, size=(60, 1)) * 1.0, 2.0 * (rng.random((60, 1)) < 0.9)))
    assert 0 < far.error < far.value
