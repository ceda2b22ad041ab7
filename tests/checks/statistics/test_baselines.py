"""Classical densities beside a likelihood: closed forms, normalisation over categories and whole numbers, and a fair comparison."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Likelihood, Places, Report
from gnomon.checks.statistics import mixed_densities
from gnomon.checks.statistics.baselines import baselines
from gnomon.checks.statistics.mixed_densities import MixedDensity

COVARIANCE = np.array([[2.0, 0.9], [0.9, 1.0]])
LAW = stats.multivariate_normal([1, -1], COVARIANCE)
SMALL = Effort(kernel_rows=800)


def _case(x: np.ndarray, log_prob: np.ndarray, *, effort: Effort = SMALL, seed: int = 0, **more) -> Case:  # noqa: ANN003
    return Case(likelihood=Likelihood(log_prob, places=Places.of(x, weight=more.get("weight")), **more), effort=effort, seed=seed)


def test_the_gaussian_and_its_peers_are_right_about_a_gaussian() -> None:
    x = LAW.rvs(3000, random_state=0)
    rows = {row.name: row for row in baselines(_case(x, LAW.logpdf(x)))}
    truth = -0.5 * np.log(np.linalg.det(2 * np.pi * np.e * COVARIANCE))
    assert rows["gaussian_log_likelihood"].value == pytest.approx(truth, abs=3 * rows["gaussian_log_likelihood"].error)
    assert rows["gaussian_log_likelihood"].value == pytest.approx(LAW.logpdf(x).mean(), abs=0.01)
    assert rows["mixture_log_likelihood"].value == pytest.approx(LAW.logpdf(x).mean(), abs=0.03)
    for name, loss in (("kde_log_likelihood", 0.1), ("histogram_log_likelihood", 0.25)):
        assert LAW.logpdf(x).mean() - loss < rows[name].value < LAW.logpdf(x).mean()
    assert min(row.p for row in rows.values()) > 0.05 and not Report(list(rows.values())).findings


def test_densities_are_fitted_to_the_training_rows_where_these_are_at_hand() -> None:
    x, other = LAW.rvs(500, random_state=1), LAW.rvs(4000, random_state=2)
    rows = baselines(_case(x, LAW.logpdf(x), others=Places.of(other), seen=True))
    mean, covariance = other.mean(axis=0), np.cov(other.T, ddof=0)
    assert rows[0].value == pytest.approx(stats.multivariate_normal(mean, covariance).logpdf(x).mean(), abs=1e-6)
    assert "fitted to 4,000 rows of the training" in rows[0].note and "fitted to 800 rows" in rows[1].note


def test_the_leave_out_is_honest() -> None:
    """A density that had seen the row it judges would be far better on noise than one that has not."""
    x = np.random.default_rng(0).normal(size=(120, 12))
    truth = stats.norm.logpdf(x).sum(axis=1)
    for row in baselines(_case(x, truth)):
        assert row.value < truth.mean(), row


@pytest.mark.parametrize("fit", [mixed_densities.gaussian, mixed_densities.mixture, mixed_densities.kernels, mixed_densities.histogram])
def test_given_conditions_the_density_is_conditional(fit) -> None:  # noqa: ANN001
    x = LAW.rvs(1500, random_state=3)
    rows = Places.of(x[:, :1], given=x[:, 1:])
    slope = COVARIANCE[0, 1] / COVARIANCE[1, 1]
    truth = stats.norm.logpdf(x[:, 0], 1 + slope * (x[:, 1] + 1), np.sqrt(COVARIANCE[0, 0] - slope * COVARIANCE[0, 1]))
    made = MixedDensity.fit(rows, fit, 0)
    assert made.log_prob(rows).mean() == pytest.approx(truth.mean(), abs=0.08)
    for condition in (-2.0, 0.5):
        grid = np.linspace(-20, 20, 2001)
        values = made.log_prob(Places.of(grid[:, None], given=np.full((2001, 1), condition)))
        assert np.exp(values).sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=3e-3)


def _with_categories(rows: int, seed: int) -> tuple[Places, np.ndarray]:
    """A number and a category under a number and a category, and the true conditional log-probability."""
    rng = np.random.default_rng(seed)
    given_code = rng.integers(0, 2, size=rows)
    given = rng.normal(size=rows) + given_code
    chance = 1 / (1 + np.exp(-1.5 * given))
    code = (rng.random(rows) < chance).astype(np.intp)
    x = rng.normal(size=rows) + 2 * code + 0.5 * given
    truth = stats.norm.logpdf(x, 2 * code + 0.5 * given) + np.log(np.where(code == 1, chance, 1 - chance))
    places = Places(x[None, :, None], np.zeros((1, rows)), given[:, None], code, given_code, 3)
    return places, truth


@pytest.mark.parametrize("fit", [mixed_densities.gaussian, mixed_densities.mixture, mixed_densities.kernels])
def test_categories_have_their_own_densities_and_all_adds_up_to_one(fit) -> None:  # noqa: ANN001
    rows, truth = _with_categories(1500, 0)
    made = MixedDensity.fit(rows, fit, 0)
    assert made.log_prob(_with_categories(1000, 1)[0]).mean() == pytest.approx(truth.mean(), abs=0.1)
    grid = np.linspace(-15, 15, 601)
    for condition, given in itertools.product((0, 1), (-1.0, 2.0)):
        total = 0.0
        for code in range(3):  # the third was never seen
            n = len(grid)
            points = Places(grid[None, :, None], np.zeros((1, n)), np.full((n, 1), given), np.full(n, code), np.full(n, condition), 3)
            total += np.exp(made.log_prob(points)).sum() * (grid[1] - grid[0])
        assert total == pytest.approx(1, abs=1e-3)


def test_a_table_of_categories_alone_has_its_shares() -> None:
    code = np.array([0] * 650 + [1] * 350)
    none = np.zeros(1000, dtype=np.intp)
    rows = Places(np.zeros((1, 1000, 0)), np.zeros((1, 1000)), np.zeros((1000, 0)), code, none, 2)
    case = Case(likelihood=Likelihood(np.full(1000, np.log(0.5)), places=rows))
    (row,) = baselines(case)
    assert row.name == "histogram_log_likelihood"
    assert row.value == pytest.approx(0.65 * np.log(0.65) + 0.35 * np.log(0.35), abs=0.01) and row.p < 0.05


def test_whole_numbers_have_probabilities() -> None:
    """p(k) is the mean of the density over the cell of k, so it adds up to one and is never above one."""
    k = np.random.default_rng(0).poisson(0.3, size=2000).astype(float)
    u = (np.arange(16) + 0.5) / 16
    rows = Places.of(k[:, None])
    spread = replace(rows, points=(k + u[:, None])[:, :, None], log_det=np.full((16, 2000), -np.log(16)))
    fitted = replace(rows, fitted=k[:, None] + np.random.default_rng(1).random((2000, 1))).to_fit()
    truth = stats.poisson.logpmf(k, 0.3).mean()
    for fit in (mixed_densities.gaussian, mixed_densities.mixture, mixed_densities.kernels, mixed_densities.histogram):
        made = MixedDensity.fit(fitted, fit, 0)
        cells = np.arange(-10.0, 30.0)
        every = replace(Places.of(cells[:, None]), points=(cells + u[:, None])[:, :, None], log_det=np.full((16, 40), -np.log(16)))
        chance = np.exp(made.log_prob(every))
        assert chance.max() < 1 and chance.sum() == pytest.approx(1, abs=0.01), fit
        assert made.log_prob(spread).mean() < truth + 0.01, fit


def test_a_model_worse_than_the_best_of_them_is_told_so_once() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-3, 0.5, size=(500, 1)), rng.normal(3, 0.5, size=(500, 1))])
    as_a_gaussian = stats.norm.logpdf(x[:, 0], 0, np.sqrt(9.25))
    rows = baselines(_case(x, as_a_gaussian))
    assert [row.alarm for row in rows].count("low") == 1
    (finding,) = Report(rows).findings
    assert finding.startswith("All columns: the model is worse than a mixture of Gaussians: its log_likelihood is 1.1")
    right = np.logaddexp(stats.norm.logpdf(x[:, 0], -3, 0.5), stats.norm.logpdf(x[:, 0], 3, 0.5)) + np.log(0.5)
    assert not Report(baselines(_case(x, right))).findings


@pytest.mark.parametrize("weighted", [False, True])
def test_p_is_uniform_for_a_model_that_is_as_good_as_the_gaussian(weighted: bool) -> None:
    """The mirror image of the fitted mean is as far from the truth as the fitted mean itself."""
    p = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        other = rng.normal(size=(100, 1))
        x = rng.normal(size=(300, 1))
        weight = rng.exponential(size=300) if weighted else None
        model = stats.norm.logpdf(x[:, 0], -other.mean(), other.std())
        p.append(baselines(_case(x, model, seed=seed, others=Places.of(other), seen=True, weight=weight))[0].p)
    assert stats.kstest(p, "uniform").pvalue > 0.025, sorted(p)


def test_the_error_is_that_of_repetition() -> None:
    other = Places.of(LAW.rvs(2000, random_state=0))
    made = []
    for seed in range(60):
        x = LAW.rvs(200, random_state=100 + seed)
        made.append(baselines(_case(x, LAW.logpdf(x), others=other, seen=True, effort=Effort(kernel_rows=300))))
    for rows in zip(*made, strict=True):
        assert np.median([row.error for row in rows]) == pytest.approx(np.std([row.value for row in rows]), rel=0.3), rows[0].name


def test_only_some_of_many_rows_are_given_kernels() -> None:
    x = LAW.rvs(3000, random_state=5)
    rows = {row.name: row for row in baselines(_case(x, LAW.logpdf(x), effort=Effort(kernel_rows=400)))}
    assert rows["kde_log_likelihood"].n == 400 and rows["mixture_log_likelihood"].n == 3000


def test_where_there_is_no_density_the_reason_is_told() -> None:
    with pytest.raises(LeftOut, match="a column is constant"):
        baselines(_case(np.zeros((50, 1)), np.zeros(50)))
    with pytest.raises(LeftOut, match="5 rows per column"):
        baselines(_case(np.random.default_rng(0).normal(size=(30, 9)), np.zeros(30)))
    with pytest.raises(LeftOut, match="5 rows with finite"):
        baselines(_case(np.zeros((5, 1)), np.zeros(5)))
    assert baselines(Case(likelihood=Likelihood(np.zeros(50)))) == []
