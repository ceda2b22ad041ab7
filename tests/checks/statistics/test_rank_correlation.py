"""Correlations of ranks against SciPy and repetition: wrong dependence is found under heavy tails, changes of single columns are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, Sides
from gnomon.checks.statistics.correlation import correlation, correlations
from gnomon.checks.statistics.rank_correlation import fill_influence, rank_correlation, ranked
from gnomon.data import Categorical, Column, Periodic

QUICK = Effort(draws=199, more_draws=0)


def _pair(rho: float, rows: int, rng: np.random.Generator, width: int = 4) -> np.ndarray:
    x = rng.normal(size=(rows, width))
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1]
    return x


def _ranked(made: Sides) -> Sides:
    return Sides(made.columns, ranked(made, made.real), ranked(made, made.generated), seed=made.seed)


@pytest.mark.parametrize("ties", [False, True])
def test_matrices_are_spearmans(ties: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = (np.round(_pair(rho, rows, rng), 0 if ties else 9) for rho, rows in ((0.6, 300), (0.2, 200)))
    found = correlations(_ranked(Sides.of(x, y)))
    assert np.allclose(found.real, stats.spearmanr(x).statistic) and np.allclose(found.generated, stats.spearmanr(y).statistic)


def test_whole_weights_are_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    x, weight = np.round(_pair(0.6, 200, rng), 1), rng.integers(1, 5, size=200).astype(float)
    found = correlations(_ranked(Sides.of(x, x, weights=(weight, None))))
    assert np.allclose(found.real, stats.spearmanr(np.repeat(x, weight.astype(int), axis=0)).statistic)


@pytest.mark.parametrize("ties", [False, True])
def test_influences_are_what_leaving_out_a_row_changes(ties: bool) -> None:
    """Against the jackknife, for pairs of ranks and for a rank with an indicator."""
    rng = np.random.default_rng(2)
    x = _pair(0.7, 400, rng, 2)
    x = np.column_stack([np.round(x, 1 if ties else 9), rng.random(400) < stats.norm.cdf(x[:, 0])])
    columns = [Column("a"), Column("b"), Column("c", Categorical(("u", "v")))]

    def matrix(rows: np.ndarray) -> np.ndarray:
        return correlations(_ranked(Sides.of(rows, rows, columns))).real

    made = _ranked(Sides.of(x, x, columns))
    found = correlations(made)
    influence = np.empty((400, int(found.pairs.sum())))
    fill_influence(made, made.real, found, influence)
    whole = matrix(x)[found.pairs]
    left = np.array([399 * (whole - matrix(np.delete(x, k, axis=0))[found.pairs]) for k in range(0, 400, 40)])
    assert np.allclose(influence[::40] - influence.mean(axis=0), left, atol=0.03)


@pytest.mark.parametrize("law", [stats.norm, stats.t(3), stats.cauchy, stats.lognorm(2)])
def test_a_wrong_dependence_is_found_whatever_the_tails(law) -> None:  # noqa: ANN001
    rng = np.random.default_rng(3)
    x, y = (law.ppf(stats.norm.cdf(_pair(rho, 10_000, rng))) for rho in (0.5, 0.42))
    (row,) = rank_correlation(Case(Sides.of(x, y, ["pt", "eta", "phi", "mass"]), effort=Effort(null_rows=2000)))
    assert row.p <= 1 / 2000 and row.where == "pt, eta"
    assert row.claim.startswith("columns 'pt' and 'eta': the correlation of their ranks is 0.")
    truth = 6 / np.pi * (np.arcsin(0.25) - np.arcsin(0.21))
    assert row.value == pytest.approx(truth, abs=3.5 * row.error) and row.error == pytest.approx(0.0105, rel=0.15)


def test_changes_of_single_columns_are_no_wrong_dependence() -> None:
    p = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x, y = _pair(0.7, 600, rng), _pair(0.7, 400, rng)
        y[:, 0], y[:, 1], y[:, 2] = np.exp(2 * y[:, 0]), 0.1 * y[:, 1] - 3, np.abs(y[:, 2])
        p.append(rank_correlation(Case(Sides.of(x, y, seed=seed), effort=QUICK))[0].p)
    assert stats.kstest(p, "uniform").pvalue > 0.01, p


def test_strong_dependence_has_an_honest_null() -> None:
    p = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = (_pair(0.97, rows, rng, 2) for rows in (300, 200))
        p.append(rank_correlation(Case(Sides.of(x, y, seed=seed), effort=Effort(draws=99, more_draws=0)))[0].p)
    assert stats.kstest(p, "uniform").pvalue > 0.01, sorted(p)


def test_errors_are_the_spread_of_repeated_samples() -> None:
    made = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sides = Sides.of(np.exp(_pair(0.8, 500, rng, 2)), _pair(0.1, 700, rng, 2), seed=seed)
        (row,) = rank_correlation(Case(sides, effort=Effort(draws=30, more_draws=0)))
        made.append((row.value, row.error))
    values, errors = np.array(made).T
    assert errors.mean() / values.std(ddof=1) == pytest.approx(1, abs=0.25)


def test_angles_and_categories_take_part_unranked() -> None:
    rng = np.random.default_rng(4)
    columns = [Column("angle", Periodic(0, 2 * np.pi)), Column("c", Categorical(("u", "v", "w")))]
    angle = rng.uniform(0, 2 * np.pi, 1500)
    code = (angle // (2 * np.pi / 3)).clip(0, 2)
    made = Sides.of(np.stack([angle, code], 1), np.stack([angle, rng.permutation(code)], 1), columns)
    ((one,), (two,)) = (measure(Case(made, effort=QUICK)) for measure in (correlation, rank_correlation))
    assert one.value == pytest.approx(two.value) and two.p == 1 / 200
    assert not rank_correlation(Case(Sides.of(np.arange(30.0), np.arange(30.0))))
