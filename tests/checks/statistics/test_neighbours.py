"""Precision, recall, density and coverage: uniform p-values, errors that cover, and lost modes named with their place."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Sides
from gnomon.checks.measures.neighbours import prdc
from gnomon.checks.points import points
from gnomon.checks.statistics.neighbours import NEIGHBOURS, coverage, density, precision, recall
from tests.checks.samples import sides

ALL = (precision, recall, density, coverage)
NAMES = tuple(function.__name__ for function in ALL)


def _normal(seed: int, real: int = 150, generated: int = 150, columns: int = 5) -> Sides:
    rng = np.random.default_rng(seed)
    return Sides.of(rng.normal(size=(real, columns)), rng.normal(size=(generated, columns)), seed=seed)


WORLDS: dict[str, Callable[[int], Sides]] = {
    "as many rows": _normal,
    "unequal": lambda seed: sides(seed, 250, 150),
    "weights on one": lambda seed: sides(seed, 500, 200, weights="one"),
    "weights on both": lambda seed: sides(seed, 900, 900, weights="same"),
    "paired": lambda seed: sides(seed, 150, 150, paired=True),
    "more rows than are looked at": lambda seed: _normal(seed, 400, 300),
    "whole numbers": lambda seed: Sides.of(*np.random.default_rng(seed).integers(0, 3, size=(2, 150, 5)).astype(float), seed=seed),
}


def _all(case: Case) -> dict[str, object]:
    return {row.name: row for row in itertools.chain.from_iterable(measure(case) for measure in ALL)}


def _repeats(world: str, repeats: int) -> tuple[dict, dict]:
    p, covered = defaultdict(list), defaultdict(list)
    for seed in range(repeats):
        case = Case(WORLDS[world](seed), effort=Effort(draws=99, more_draws=0, neighbour_rows=150), seed=seed)
        for name, row in _all(case).items():
            p[name].append(row.p)
            covered[name].append(abs(row.value - row.null) <= row.error)
    return p, covered


@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_valid_and_errors_cover(world: str) -> None:
    """Shares of a few rows take few values, so p-values may be too large and errors may cover more; density has neither excuse."""
    p, covered = _repeats(world, 40)
    for name in NAMES:
        assert stats.kstest(p[name], "uniform", alternative="greater").pvalue > 0.05 / (4 * len(WORLDS)), (name, sorted(p[name]))
        assert 0.42 <= np.mean(covered[name]) <= 0.97, (name, np.mean(covered[name]))
    assert stats.kstest(p["density"], "uniform").pvalue > 0.001
    assert 0.45 <= np.mean(covered["density"]) <= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_valid_and_errors_cover_in_200_repeats(world: str) -> None:
    p, covered = _repeats(world, 200)
    for name in NAMES:
        assert stats.kstest(p[name], "uniform", alternative="greater").pvalue > 0.05 / (4 * len(WORLDS)), (name, sorted(p[name]))
        assert 0.58 <= np.mean(covered[name]), (name, np.mean(covered[name]))
    assert 0.58 <= np.mean(covered["density"]) <= 0.78
    if world == "as many rows":
        assert all(np.mean(covered[name]) <= 0.78 for name in NAMES), {name: np.mean(covered[name]) for name in NAMES}


def test_values_are_those_of_the_measure_on_points() -> None:
    made = _normal(0, 90, 90)
    both = points(made)
    plain = prdc(both.real, both.generated, NEIGHBOURS)
    for name, row in _all(Case(made, effort=Effort(draws=99, more_draws=0))).items():
        assert row.value == pytest.approx(getattr(plain, name), abs=1e-12) and row.n == 90


def test_the_null_of_coverage_and_density_is_the_theoretical_one_whatever_the_data() -> None:
    for make in (_normal, WORLDS["whole numbers"], lambda seed: sides(seed, 150, 150)):
        rows = _all(Case(make(3), effort=Effort(draws=999, more_draws=0)))
        assert rows["coverage"].null == pytest.approx(1 - 2**-5, abs=0.004)
        assert rows["density"].null == pytest.approx(1, abs=0.03)


def _lost(seed: int, rows: int, columns: int, share: float) -> Sides:
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(2, rows, columns))
    real[rng.random(rows) < share, 1] += 6
    return Sides.of(real, generated, seed=seed)


def test_a_lost_mode_is_named_with_its_place() -> None:
    rows = _all(Case(_lost(0, 800, 4, 0.08), effort=Effort(draws=199, more_draws=200)))
    assert rows["coverage"].p <= 1 / 400 and "'x1' above" in rows["coverage"].claim, rows["coverage"].claim
    assert "mostly not reached by generated ones" in rows["coverage"].claim
    assert rows["recall"].p <= 0.01 and "'x1' above" in rows["recall"].claim
    assert rows["precision"].p > 0.05


def test_rows_where_there_are_none_are_named_with_their_place() -> None:
    made = _lost(0, 800, 4, 0.08)
    swapped = Sides.of(made.generated.values, made.real.values)
    rows = _all(Case(swapped, effort=Effort(draws=199, more_draws=200)))
    assert rows["precision"].p <= 0.01 and "generated rows: those with 'x1' above" in rows["precision"].claim
    assert rows["coverage"].p > 0.05


def test_crowded_rows_are_dense_and_spread_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(2, 500, 8))
    narrow = _all(Case(Sides.of(real, 0.7 * generated), effort=Effort(draws=199, more_draws=0)))["density"]
    wide = _all(Case(Sides.of(real, 1.5 * generated), effort=Effort(draws=199, more_draws=0)))["density"]
    assert narrow.p <= 0.01 and narrow.value > 1.2 and "crowd" in narrow.claim
    assert wide.p <= 0.01 and wide.value < 0.8 and "sparse or absent" in wide.claim


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lost", "shifted"])
def test_far_from_the_null_errors_are_the_spread_over_repetitions(fault: str) -> None:
    values, errors = defaultdict(list), defaultdict(list)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        real, generated = rng.normal(size=(2, 400, 4))
        if fault == "lost":
            real[rng.random(400) < 0.15, 0] += 8
        else:
            generated[:, 0] += 2
        for name, row in _all(Case(Sides.of(real, generated, seed=seed), effort=Effort(draws=99, more_draws=0), seed=seed)).items():
            if abs(row.pull) > 5:
                values[name].append(row.value)
                errors[name].append(row.error)
    assert len(values["coverage"]) == 60
    for name in values:
        if len(values[name]) == 60:
            assert np.mean(errors[name]) == pytest.approx(np.std(values[name]), rel=0.35), name


def test_reasons_for_leaving_out() -> None:
    same = Sides.of(np.ones((60, 2)), np.ones((60, 2)))
    with pytest.raises(LeftOut, match="no neighbours, only shares of values"):
        precision(Case(same))
    with pytest.raises(LeftOut, match="5 rows on the smaller side"):
        coverage(Case(_normal(0, 5, 90)))
    assert precision(Case()) == []


@pytest.mark.slow
def test_a_lost_mode_of_five_percent_at_ten_thousand_rows_of_ten_columns() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(2, 10_000, 10))
    real[rng.random(10_000) < 0.05, 3] += 5
    rows = _all(Case(Sides.of(real, generated), effort=Effort.of(None, columns=10)))
    for name in ("coverage", "recall"):
        assert rows[name].p < 0.0003 and "'x3' above" in rows[name].claim, rows[name].claim
    assert rows["coverage"].pull < -8
