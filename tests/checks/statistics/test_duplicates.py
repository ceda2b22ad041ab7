"""Repeated rows, and rows of the real side handed out again: seen, and not where rows repeat by themselves."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Sides
from gnomon.checks.statistics.duplicates import copies, duplicates
from tests.checks.samples import sides

DRAWN = Effort(draws=199, more_draws=200)


def _whole(seed: int, real: int, generated: int, *, paired: bool = False, weighted: bool = False) -> Sides:
    """Rows of which about half equal another one."""
    rng = np.random.default_rng(seed)
    both = [np.minimum(rng.poisson(1.5, size=(rows, 4)), 4).astype(float) for rows in (real, generated)]
    weight = 0.5 + rng.random(real) if weighted else None
    return Sides.of(*both, weights=(weight, weight if paired else None), paired=paired, seed=seed)


WORLDS = {
    "as many rows": lambda seed: _whole(seed, 200, 200),
    "unequal": lambda seed: _whole(seed, 250, 150),
    "paired": lambda seed: _whole(seed, 200, 200, paired=True),
    "weights": lambda seed: _whole(seed, 300, 250, weighted=True),
    "more than are relabelled": lambda seed: _whole(seed, 400, 300),
}


def _repeats(world: str, repeats: int) -> tuple[dict, dict]:
    p, covered = defaultdict(list), defaultdict(list)
    for seed in range(repeats):
        case = Case(WORLDS[world](seed), effort=Effort(draws=99, more_draws=0, null_rows=200), seed=seed)
        for row in (*duplicates(case), *copies(case)):
            p[row.name].append(row.p)
            covered[row.name].append(abs(row.value - row.null) <= row.error)
    return p, covered


@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_valid_and_errors_cover(world: str) -> None:
    p, covered = _repeats(world, 40)
    for name in ("duplicates", "copies"):
        assert stats.kstest(p[name], "uniform", alternative="greater").pvalue > 0.05 / (2 * len(WORLDS)), (name, sorted(p[name]))
        assert stats.kstest(p[name], "uniform").pvalue > 0.0005, (name, sorted(p[name]))
        assert 0.42 <= np.mean(covered[name]) <= 0.93, (name, np.mean(covered[name]))


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_valid_and_errors_cover_in_200_repeats(world: str) -> None:
    p, covered = _repeats(world, 200)
    for name in ("duplicates", "copies"):
        assert stats.kstest(p[name], "uniform", alternative="greater").pvalue > 0.05 / (2 * len(WORLDS)), (name, sorted(p[name]))
        assert 0.58 <= np.mean(covered[name]) <= 0.78, (name, np.mean(covered[name]))


def test_resampled_rows_are_seen_without_the_rows_they_come_from() -> None:
    rng = np.random.default_rng(0)
    real, unseen = rng.normal(size=(2, 400, 3))
    case = Case(Sides.of(real, unseen[rng.integers(0, 400, size=400)]), effort=DRAWN)
    (row,), (of_real,) = duplicates(case), copies(case)
    assert row.value == pytest.approx(1 - np.exp(-1), abs=0.07) and row.null == 0 and row.p <= 1 / 400
    assert row.claim.startswith("generated rows: 6") and "but 0 % of as many real rows do" in row.claim
    assert of_real.value == 0 and of_real.p > 0.05


def test_real_rows_handed_out_again_are_named() -> None:
    real = np.random.default_rng(1).normal(size=(300, 3))
    (row,) = copies(Case(Sides.of(real, real[::-1].copy()), effort=DRAWN))
    assert row.value == 1 and row.null == 0 and row.p <= 1 / 400 and row.where == "real rows"
    assert row.claim.startswith("real rows: 100 % of the generated rows are equal to one (")
    (row,) = duplicates(Case(Sides.of(real, real.copy()), effort=DRAWN))
    assert row.value == 0 and row.p > 0.9


def test_all_rows_are_told_of_where_only_some_are_relabelled() -> None:
    real = np.random.default_rng(2).normal(size=(3000, 2))
    (row,) = copies(Case(Sides.of(real, real.copy()), effort=Effort(draws=199, more_draws=200, null_rows=600)))
    assert row.p <= 0.01 and row.value == pytest.approx(0.2, abs=0.05) and row.n == 600
    assert "real rows: 100 % of the generated rows are equal to one of all there are" in row.claim


def test_rows_without_repeats_have_nothing_to_say() -> None:
    case = Case(sides(0), effort=DRAWN)
    for row in (*duplicates(case), *copies(case)):
        assert (row.value, row.null, row.error, row.p) == (0, 0, 0, 1)


def test_conditions_do_not_make_a_row_new() -> None:
    rng = np.random.default_rng(3)
    x, given = rng.normal(size=(200, 1)), rng.normal(size=(200, 1))
    real, generated = np.concatenate([x, given], axis=1), np.concatenate([np.zeros((200, 1)), given], axis=1)
    plain = Sides.of(real, generated, ["x", "given"], paired=True)
    made = Sides(plain.columns, plain.real, plain.generated, shared=("given",), paired=True)
    assert duplicates(Case(made, effort=DRAWN))[0].value == 1 and duplicates(Case(plain, effort=DRAWN))[0].value == 0


def test_errors_far_from_the_null_are_the_spread_over_repetitions() -> None:
    shares = defaultdict(list)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        case = Case(Sides.of(rng.normal(size=(300, 2)), rng.integers(0, 200, size=(300, 1)) * np.ones(2)), effort=DRAWN, seed=seed)
        (row,) = duplicates(case)
        shares["value"].append(row.value)
        shares["error"].append(row.error)
    assert np.mean(shares["error"]) == pytest.approx(np.std(shares["value"]), rel=0.3)


def test_reasons_for_leaving_out() -> None:
    with pytest.raises(LeftOut, match="2 rows on the smaller side"):
        duplicates(Case(sides(0, 3, 2)))
    assert duplicates(Case()) == copies(Case()) == []


@pytest.mark.slow
def test_resampled_rows_at_ten_thousand_rows_of_ten_columns() -> None:
    rng = np.random.default_rng(0)
    real, unseen = rng.normal(size=(2, 10_000, 10))
    case = Case(Sides.of(real, unseen[rng.integers(0, 10_000, size=10_000)]), effort=Effort.of(None, columns=10))
    (row,) = duplicates(case)
    assert row.value > 0.6 and row.p < 0.0003
    (row,) = copies(Case(Sides.of(real, real.copy()), effort=Effort.of(None, columns=10)))
    assert row.value == 1 and row.p < 0.0003
