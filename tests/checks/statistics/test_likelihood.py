"""The mean log-probability and its null: closed forms, uniform p-values, and faults that have to be named."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Likelihood, Report
from gnomon.checks.statistics.likelihood import bits_per_dimension, log_likelihood

QUICK = Effort(draws=99, more_draws=0)
COVARIANCE = np.array([[2.0, 0.9], [0.9, 1.0]])


def _normal(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    law = stats.multivariate_normal([1, -1], COVARIANCE)
    x = law.rvs(rows, random_state=seed)
    return x, law.logpdf(x)


def test_the_mean_is_right() -> None:
    _, log_prob = _normal(4000, 0)
    (made,) = log_likelihood(Case(likelihood=Likelihood(log_prob, _normal(4000, 1)[1]), effort=QUICK))
    assert made.value == pytest.approx(log_prob.mean()) and made.error == pytest.approx(log_prob.std(ddof=1) / np.sqrt(4000))
    assert made.value == pytest.approx(-0.5 * np.log(np.linalg.det(2 * np.pi * np.e * COVARIANCE)), abs=3 * made.error)
    assert made.p > 0.01


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_p_value_against_the_models_own_rows_is_uniform(paired: bool, weighted: bool) -> None:
    p = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        condition = rng.normal(size=80) if paired else 0.0
        weight = rng.exponential(size=80) if weighted else None
        made = Likelihood(condition - rng.exponential(size=80), condition - rng.exponential(size=80), weight, paired=paired)
        p.append(log_likelihood(Case(likelihood=made, effort=QUICK, seed=seed))[0].p)
    assert stats.kstest(p, "uniform").pvalue > 0.05 / 4, sorted(p)


def test_the_null_of_large_data_is_scaled() -> None:
    rng = np.random.default_rng(0)
    made = Likelihood(-rng.exponential(size=9000), -rng.exponential(size=9000) - 0.03)
    p = [log_likelihood(Case(likelihood=made, effort=Effort(draws=999, more_draws=0, null_rows=rows)))[0].p for rows in (500, 10_000)]
    assert p[0] == pytest.approx(p[1], abs=0.03) and p[0] < 0.15


def test_overfitting_and_impossible_rows_are_findings() -> None:
    rng = np.random.default_rng(1)
    held_out = -2 * rng.exponential(size=400) - 1
    held_out[:3] = -np.inf
    report = Report(log_likelihood(Case(likelihood=Likelihood(held_out, -rng.exponential(size=400)), effort=QUICK)))
    assert any("3 of 400 held-out rows are impossible" in finding for finding in report.findings)
    assert any("less probable under the model than rows it draws itself" in finding for finding in report.findings)


def test_bits_per_dimension_are_those_of_uniform_pixels() -> None:
    log_prob = np.full(100, -64 * np.log(17.0))
    log_prob[3] = -np.inf
    (row,) = bits_per_dimension(Case(likelihood=Likelihood(log_prob, pixels=64, bound=True)))
    assert row.value == pytest.approx(np.log2(17)) and row.n == 99 and "upper bound" in row.note and row.alarm == "never"
    assert bits_per_dimension(Case(likelihood=Likelihood(log_prob))) == []


def test_few_rows_are_left_out() -> None:
    with pytest.raises(LeftOut, match="5 rows"):
        log_likelihood(Case(likelihood=Likelihood(np.zeros(5))))
    with pytest.raises(LeftOut, match="−inf"):
        log_likelihood(Case(likelihood=Likelihood(np.full(50, -np.inf))))
