"""Bins of conditions: uniform p-values, errors that cover, and faults that show under some conditions only."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Likelihood, Report, Sides
from gnomon.checks.statistics.columns import ks
from gnomon.checks.statistics.conditions import bins_of, conditional_ks, conditional_log_likelihood
from gnomon.data import Categorical, Column, Integer, Periodic
from tests.checks.samples import sides

QUICK = Effort(draws=99, more_draws=0)
COLUMNS = (Column("signal"), Column("width"), Column("energy"), Column("kind", Categorical(("low", "high", "rare"))))


def _events(seed: int, rows: int = 900, *, weighted: bool = False) -> Sides:
    """Two columns under an energy and a kind, drawn alike on both sides."""
    rng = np.random.default_rng([seed, rows])
    energy = rng.uniform(1, 10, size=rows)
    kind = (energy + rng.normal(size=rows) > 5).astype(float)
    both = [np.stack([energy + rng.normal(size=rows), rng.normal(size=rows) * (1 + kind), energy, kind], axis=1) for _ in range(2)]
    weight = rng.exponential(size=rows) if weighted else None
    made = Sides.of(*both, COLUMNS, weights=(weight, weight), paired=True, seed=seed)
    return Sides(made.columns, made.real, made.generated, shared=("energy", "kind"), paired=True, seed=seed)


def _every_sort(seed: int, rows: int = 700) -> Sides:
    """A number, an angle and a category that depend on a whole number."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(2, size=rows)
    columns = (Column("size"), Column("angle", Periodic(0, 1)), Column("colour", Categorical(("red", "green", "blue"))))
    both = []
    for _ in range(2):
        colour = (rng.random(rows) < 1 / (1 + count)).astype(float) + (rng.random(rows) < 0.1)
        both.append(np.stack([rng.exponential(size=rows) * (1 + count), rng.beta(1 + count, 2) % 1, colour, count], axis=1))
    made = Sides.of(*both, (*columns, Column("count", Integer(0, None))), paired=True, seed=seed)
    return Sides(made.columns, made.real, made.generated, shared=("count",), paired=True, seed=seed)


WORLDS = {
    "plain": lambda seed: _events(seed),
    "weights": lambda seed: _events(seed, weighted=True),
    "every sort of column": lambda seed: _every_sort(seed),
    "more rows than are swapped": lambda seed: _events(seed, 5000),
}


def _repeats(world: str, repeats: int) -> tuple[dict, dict, list[float]]:
    """P-values and coverage by place, and the smallest corrected p-value of each repeat."""
    p, covered, smallest = {}, {}, []
    for seed in range(repeats):
        rows = conditional_ks(Case(WORLDS[world](seed), effort=Effort(draws=99, more_draws=0, null_rows=2000), seed=seed))
        for k, row in enumerate(rows):
            p.setdefault(k, []).append(row.p)
            covered.setdefault(k, []).append(abs(row.value - row.null) <= row.error)
        smallest.append(min(row.corrected for row in rows))
    return p, covered, smallest


@pytest.mark.parametrize("world", list(WORLDS)[:3])
def test_p_is_uniform_and_errors_cover(world: str) -> None:
    p, covered, smallest = _repeats(world, 40)
    for k in p:
        if len(p[k]) == 40:
            assert stats.kstest(p[k], "uniform").pvalue > 0.05 / (6 * len(WORLDS)), (k, sorted(p[k]))
            assert 0.42 <= np.mean(covered[k]) <= 0.93
    assert stats.kstest(smallest, "uniform", alternative="greater").pvalue > 1e-3, sorted(smallest)


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_is_uniform_and_errors_cover_in_200_repeats(world: str) -> None:
    p, covered, smallest = _repeats(world, 200)
    for k in p:
        if len(p[k]) == 200:
            assert stats.kstest(p[k], "uniform", alternative="greater").pvalue > 0.05 / (6 * len(WORLDS)), (k, sorted(p[k]))
            assert 0.58 <= np.mean(covered[k]) <= 0.78, (k, np.mean(covered[k]))
    assert stats.kstest(smallest, "uniform", alternative="greater").pvalue > 0.05 / len(WORLDS), sorted(smallest)


def _signal_without_energy(seed: int, rows: int = 4000) -> Sides:
    """A fault that cancels on the whole: the width of the signal depends on the energy the wrong way round."""
    rng = np.random.default_rng(seed)
    energy = rng.uniform(0, 10, size=rows)
    spread = np.where(energy > 5, 2.0, 1.0)
    real, generated = rng.normal(size=rows) * spread, rng.normal(size=rows) * (3 - spread)
    both = [np.stack([one, rng.normal(size=rows), energy], axis=1) for one in (real, generated)]
    made = Sides.of(*both, COLUMNS[:3], paired=True, seed=seed)
    return Sides(made.columns, made.real, made.generated, shared=("energy",), paired=True, seed=seed)


def test_a_fault_that_cancels_on_the_whole_is_named_with_its_condition() -> None:
    made = _signal_without_energy(0)
    assert min(row.p for row in ks(Case(made, effort=QUICK))) > 0.01
    rows = conditional_ks(Case(made, effort=Effort()))
    assert [row.where.split(" | ")[0] for row in rows] == ["signal"] * 4
    assert rows[0].where.startswith("signal | energy in [0.00") and rows[3].where.endswith(", 10]")
    found = Report(rows).findings
    assert len(found) == 4
    assert any(
        one.startswith("Under energy between 2.4") and ("spread 2 times as wide" in one or "spread 1.9 times as wide" in one)
        for one in found
    ), found
    assert all("column 'signal'" in one for one in found)


def test_the_value_is_that_of_scipy_in_the_bin() -> None:
    made = _signal_without_energy(1)
    rows = conditional_ks(Case(made, effort=QUICK))
    for row, one in zip(rows, bins_of(COLUMNS[2], made.real.values[:, 2]), strict=True):
        assert row.value == pytest.approx(stats.ks_2samp(made.real.values[one.rows, 0], made.generated.values[one.rows, 0]).statistic)
        assert row.n == len(one.rows)


def _shifted(seed: int) -> Sides:
    made = _events(seed)
    made.generated.values[:, 0] += 1.0
    return made


def test_the_error_far_away_is_that_of_repetition() -> None:
    rows = [conditional_ks(Case(_shifted(seed), effort=QUICK))[0] for seed in range(80)]
    assert np.median([row.error for row in rows]) == pytest.approx(np.std([row.value for row in rows]), rel=0.3)


def test_bins() -> None:
    rng = np.random.default_rng(0)
    numbers = bins_of(Column("energy"), rng.uniform(size=1000))
    assert [len(one.rows) for one in numbers] == [250] * 4
    assert np.concatenate([one.rows for one in numbers]).size == 1000
    assert len(bins_of(Column("energy"), rng.uniform(size=500))) == 2
    assert bins_of(Column("energy"), rng.uniform(size=300)) == [] and bins_of(Column("energy"), np.ones(2000)) == []
    kinds = bins_of(Column("kind", Categorical(("a", "b", "c"))), np.repeat([0.0, 1.0, 2.0], [300, 500, 20]))
    assert [one.where for one in kinds] == ["kind = b", "kind = a"] and kinds[0].words == "kind = 'b'"
    counts = bins_of(Column("count", Integer(0, None)), np.repeat([0.0, 1.0, 7.0], 400))
    assert [one.where for one in counts] == ["count = 0", "count = 1", "count = 7"]


def test_the_likelihood_of_each_bin_is_told() -> None:
    rng = np.random.default_rng(0)
    energy = rng.uniform(size=(800, 1))
    made = Likelihood(-energy[:, 0], -energy[:, 0] - 0.1, paired=True, given=energy, given_columns=(Column("energy"),))
    rows = conditional_log_likelihood(Case(likelihood=made))
    ordered = np.sort(energy[:, 0]).reshape(4, 200)
    assert [row.value for row in rows] == pytest.approx((-ordered.mean(axis=1)).tolist())
    assert all(row.null == pytest.approx(row.value - 0.1) and row.alarm == "never" for row in rows)
    assert conditional_log_likelihood(Case(likelihood=Likelihood(np.zeros(50)))) == []


def test_where_there_is_nothing_to_say() -> None:
    with pytest.raises(LeftOut, match="no condition has two bins"):
        conditional_ks(Case(sides(0, paired=True)))
    assert conditional_ks(Case(sides(0))) == [] and conditional_ks(Case()) == []
