"""Log-likelihood, predictions, reconstructions and validity, against SciPy, scikit-learn and known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from gnomon.checks import Case, Effort, LeftOut, Likelihood, Predictions, Reconstruction, Report, Sides
from gnomon.checks.statistics.likelihood import gaussian_baseline, log_likelihood
from gnomon.checks.statistics.predictions import accuracy, ece, log_loss, r2, rmse, spread_coverage
from gnomon.checks.statistics.reconstruction import reconstruction
from gnomon.checks.statistics.validity import missing, outside
from gnomon.data import Bounded, Categorical, Column, Periodic, Positive

QUICK = Effort(draws=99, more_draws=0)
COVARIANCE = np.array([[2.0, 0.9], [0.9, 1.0]])


def _normal(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    law = stats.multivariate_normal([1, -1], COVARIANCE)
    x = law.rvs(rows, random_state=seed)
    return x, law.logpdf(x)


# ---- log-likelihood --------------------------------------------------------------------------------------------------------


def test_the_mean_and_the_baseline_are_right() -> None:
    x, log_prob = _normal(4000, 0)
    rows = log_likelihood(Case(likelihood=Likelihood(log_prob, _normal(4000, 1)[1], numbers=x), effort=QUICK))
    by_name = {row.name: row for row in rows}
    made, gauss = by_name["log_likelihood"], by_name["gaussian_log_likelihood"]
    assert made.value == pytest.approx(log_prob.mean()) and made.error == pytest.approx(log_prob.std(ddof=1) / np.sqrt(4000))
    assert made.value == pytest.approx(-0.5 * np.log(np.linalg.det(2 * np.pi * np.e * COVARIANCE)), abs=3 * made.error)
    assert made.p > 0.01 and gauss.p > 0.01
    assert gauss.value == pytest.approx(made.value, abs=0.01)


def test_the_conditional_baseline_is_the_conditional_density() -> None:
    x, _ = _normal(5000, 2)
    made = gaussian_baseline(Likelihood(np.zeros(5000), numbers=x[:, :1], given=x[:, 1:]))
    slope = COVARIANCE[0, 1] / COVARIANCE[1, 1]
    truth = stats.norm.logpdf(x[:, 0], 1 + slope * (x[:, 1] + 1), np.sqrt(COVARIANCE[0, 0] - slope * COVARIANCE[0, 1]))
    assert made.mean() == pytest.approx(truth.mean(), abs=0.005)


def test_the_baseline_of_whole_numbers_is_a_probability() -> None:
    counts = np.random.default_rng(0).poisson(0.3, size=(3000, 1)).astype(float)
    made = gaussian_baseline(Likelihood(np.zeros(3000), numbers=counts, lattice=np.array([True])))
    plain = gaussian_baseline(Likelihood(np.zeros(3000), numbers=counts))
    assert np.exp(made).max() < 1 and made.mean() < plain.mean()


@pytest.mark.parametrize("numbers", [np.zeros((50, 1)), np.random.default_rng(0).normal(size=(20, 9))])
def test_no_baseline_where_there_is_none(numbers: np.ndarray) -> None:
    assert gaussian_baseline(Likelihood(np.zeros(len(numbers)), numbers=numbers)) is None


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


def test_a_model_worse_than_a_gaussian_is_told_so() -> None:
    x, log_prob = _normal(600, 3)
    report = Report(log_likelihood(Case(likelihood=Likelihood(log_prob - 0.5, numbers=x), effort=QUICK)))
    assert any("worse than a full-covariance Gaussian" in finding for finding in report.findings)


def test_few_rows_are_left_out() -> None:
    with pytest.raises(LeftOut, match="5 rows"):
        log_likelihood(Case(likelihood=Likelihood(np.zeros(5))))
    with pytest.raises(LeftOut, match="−inf"):
        log_likelihood(Case(likelihood=Likelihood(np.full(50, -np.inf))))


# ---- predictions ---------------------------------------------------------------------------------------------------------


def _classified(seed: int, rows: int = 600, sharper: float = 1.0, weighted: bool = False) -> Predictions:
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet([1.0, 0.7, 0.5], size=rows)
    truth = (rng.random((rows, 1)) > chance.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    told = chance**sharper / (chance**sharper).sum(axis=1, keepdims=True)
    weight = rng.exponential(size=rows) if weighted else None
    return Predictions("species", truth, probability=told, classes=("a", "b", "c"), weight=weight)


@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_and_log_loss_agree_with_scikit_learn(weighted: bool) -> None:
    one = _classified(0, weighted=weighted)
    case = Case(predictions=(one,), effort=QUICK)
    assert accuracy(case)[0].value == pytest.approx(metrics.accuracy_score(one.truth, one.probability.argmax(1), sample_weight=one.weight))
    assert log_loss(case)[0].value == pytest.approx(metrics.log_loss(one.truth, one.probability, sample_weight=one.weight))
    counts = np.bincount(one.truth, weights=one.weight)
    assert accuracy(case)[0].null == pytest.approx(counts.max() / counts.sum())
    assert log_loss(case)[0].null == pytest.approx(stats.entropy(counts))
    assert accuracy(case)[0].p < 1e-6


def test_ece_agrees_with_a_loop_over_bins() -> None:
    one = _classified(1)
    row = ece(Case(predictions=(one,), effort=QUICK))[0]
    confidence, right = one.probability.max(1), one.probability.argmax(1) == one.truth
    order = np.argsort(confidence)
    total = sum(abs(right[part].mean() - confidence[part].mean()) * len(part) for part in np.array_split(order, 15)) / len(order)
    assert row.value == pytest.approx(total, abs=1e-9)


def test_ece_is_uniform_for_calibrated_and_found_for_overconfident_classifiers() -> None:
    p = [ece(Case(predictions=(_classified(seed, 200, weighted=seed % 2 == 0),), effort=QUICK, seed=seed))[0].p for seed in range(60)]
    assert stats.kstest(p, "uniform").pvalue > 0.05 / 2, sorted(p)
    report = Report(ece(Case(predictions=(_classified(0, 2000, sharper=2.5),), effort=Effort(draws=299, more_draws=0))))
    assert "more sure than it is right" in report.findings[0]


def _regressed(rows: int = 500, honesty: float = 1.0, weighted: bool = False, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    mean, spread = rng.normal(size=rows), rng.uniform(0.3, 1, size=rows)
    weight = rng.exponential(size=rows) if weighted else None
    return Predictions("energy", mean + spread * rng.normal(size=rows), mean=mean, spread=spread * honesty, weight=weight)


@pytest.mark.parametrize("weighted", [False, True])
def test_rmse_and_r2_agree_with_scikit_learn(weighted: bool) -> None:
    one = _regressed(weighted=weighted)
    case = Case(predictions=(one,))
    assert rmse(case)[0].value == pytest.approx(metrics.root_mean_squared_error(one.truth, one.mean, sample_weight=one.weight))
    assert r2(case)[0].value == pytest.approx(metrics.r2_score(one.truth, one.mean, sample_weight=one.weight))


def test_errors_of_scores_are_those_of_repetition() -> None:
    for measure, make in ((accuracy, _classified), (log_loss, _classified), (rmse, _regressed), (r2, _regressed)):
        made = [measure(Case(predictions=(make(seed=seed, weighted=True),)))[0] for seed in range(120)]
        assert np.median([row.error for row in made]) == pytest.approx(np.std([row.value for row in made]), rel=0.25), measure


def test_spreads_are_judged() -> None:
    honest = [spread_coverage(Case(predictions=(_regressed(200, seed=seed),)))[0] for seed in range(60)]
    assert stats.kstest([row.p for row in honest], "uniform", alternative="greater").pvalue > 0.01
    assert "too narrow" in Report(spread_coverage(Case(predictions=(_regressed(honesty=0.6),)))).findings[0]
    assert "too wide" in Report(spread_coverage(Case(predictions=(_regressed(honesty=2),)))).findings[0]


def test_a_model_that_learned_nothing_is_told_so_and_a_good_one_is_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size=300)
    idle = Predictions("species", truth, probability=rng.dirichlet([9, 9, 9], size=300), classes=("a", "b", "c"))
    flat = Predictions("energy", rng.normal(size=300), mean=0.3 * rng.normal(size=300))
    assert {f.split(" (")[0] for f in Report(accuracy(Case(predictions=(idle,)))).findings} == {
        "Target 'species': the predictions are no better than always answering the most frequent class"
    }
    assert Report(rmse(Case(predictions=(flat,)))).findings
    good = Case(predictions=(_classified(3), _regressed()), effort=QUICK)
    assert not Report([row for measure in (accuracy, log_loss, rmse, r2) for row in measure(good)]).findings


def test_a_perfect_score_still_has_an_error() -> None:
    truth = np.arange(40) % 2
    one = Predictions("y", truth, probability=np.eye(2)[truth], classes=(0, 1))
    assert accuracy(Case(predictions=(one,)))[0].error > 0


# ---- reconstructions and validity -------------------------------------------------------------------------------------------


def test_reconstruction_is_the_share_of_variance_explained() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(500, 2)) * [1, 5]
    again = real + [0.5, 0.0] * rng.normal(size=(500, 2))
    columns = (Column("a"), Column("b"))
    row = reconstruction(Case(reconstruction=Reconstruction(columns, real, again)))[0]
    assert row.value == pytest.approx(np.mean(metrics.r2_score(real, again, multioutput="raw_values")))
    assert Report(reconstruction(Case(reconstruction=Reconstruction(columns, real, real[::-1])))).findings


def test_reconstruction_of_categories_and_angles() -> None:
    rng = np.random.default_rng(1)
    angle = rng.vonmises(np.pi, 3, size=300) % (2 * np.pi)
    code = rng.integers(0, 3, size=300).astype(float)
    real = np.stack([angle, code], axis=1)
    again = np.stack([(angle + 2 * np.pi - 1e-4) % (2 * np.pi), code], axis=1)
    columns = (Column("angle", Periodic(0, 2 * np.pi)), Column("c", Categorical(("u", "v", "w"))))
    assert reconstruction(Case(reconstruction=Reconstruction(columns, real, again)))[0].value > 0.999


def test_missing_and_outside_values_are_counted_and_found() -> None:
    rng = np.random.default_rng(2)
    columns = [Column("share", Bounded(0, 1)), Column("energy", Positive()), Column("free")]
    real, generated = rng.random((400, 3)), rng.random((400, 3))
    generated[:30, 0] += 1
    generated[:40, 1] *= -1
    made = Sides.of(real, generated, columns)
    rows = outside(Case(made))
    assert {row.where: row.value for row in rows} == {"share": pytest.approx(30 / 400, abs=0.01), "energy": 0.1}
    assert all("outside its range" in finding for finding in Report(rows).findings) and len(Report(rows).findings) == 2
    lost = Sides(made.columns, made.real, made.generated, missing=(0, 25))
    assert Report(missing(Case(lost))).findings[0].startswith("All columns: 25 of 425 generated rows hold missing values")
    assert not Report(missing(Case(Sides(made.columns, made.real, made.generated, missing=(20, 25))))).findings
    assert missing(Case(made)) == []


@pytest.mark.parametrize("weighted", [False, True])
def test_reconstructed_images_are_compared_pair_by_pair(weighted: bool) -> None:
    from gnomon.checks.measures.image_quality import psnr as ratio
    from gnomon.checks.statistics.reconstruction import psnr, ssim

    rng = np.random.default_rng(0)
    images = rng.random((40, 2, 12, 11))
    again = np.clip(images + 0.1 * rng.normal(size=images.shape), 0, 1)
    weight = rng.exponential(size=40) if weighted else None
    flat = [part.reshape(40, -1) for part in (images, again)]
    case = Case(reconstruction=Reconstruction((), *flat, weight, shape=(2, 12, 11), data_range=1.0))
    (row,) = psnr(case)
    assert row.value == pytest.approx(np.average(ratio(images, again, data_range=1.0), weights=weight))
    assert row.value > row.null + 5 and ssim(case)[0].value > ssim(case)[0].null
    assert psnr(Case(reconstruction=Reconstruction((), *flat))) == []
