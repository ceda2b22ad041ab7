"""Predictions beside the truth, against scikit-learn, closed forms, and repetition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from gnomon.checks import Case, Effort, LeftOut, Predictions, Report
from gnomon.checks.measures.ranking import roc_auc as area
from gnomon.checks.statistics.calibration import crps, ece, pit, spread_coverage
from gnomon.checks.statistics.predictions import accuracy, class_recall, log_loss, r2, rmse
from gnomon.checks.statistics.ranking import average_precision, roc_auc, shuffled_error, shuffled_precision

QUICK = Effort(draws=99, more_draws=0, few_draws=49)


def _classified(seed: int, rows: int = 600, sharper: float = 1.0, weighted: bool = False, classes: int = 3) -> Predictions:
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet(np.linspace(1.0, 0.5, classes), size=rows)
    truth = (rng.random((rows, 1)) > chance.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    told = chance**sharper / (chance**sharper).sum(axis=1, keepdims=True)
    weight = rng.exponential(size=rows) if weighted else None
    return Predictions("species", truth, probability=told, classes=tuple("abcdef"[:classes]), weight=weight)


def _idle(seed: int, rows: int = 200, weighted: bool = False, classes: int = 3) -> Predictions:
    """Probabilities that know nothing of the truth."""
    rng = np.random.default_rng([seed, 5])
    weight = rng.exponential(size=rows) if weighted else None
    truth = rng.choice(classes, p=np.linspace(1, 2, classes) / np.linspace(1, 2, classes).sum(), size=rows)
    return Predictions(
        "species", truth, probability=rng.dirichlet(np.ones(classes), size=rows), classes=tuple("abcdef"[:classes]), weight=weight
    )


def _regressed(rows: int = 500, honesty: float = 1.0, weighted: bool = False, seed: int = 0, off: float = 0.0) -> Predictions:
    rng = np.random.default_rng(seed)
    mean, spread = rng.normal(size=rows), rng.uniform(0.3, 1, size=rows)
    weight = rng.exponential(size=rows) if weighted else None
    return Predictions("energy", mean + spread * (off + rng.normal(size=rows)), mean=mean, spread=spread * honesty, weight=weight)


# ---- scores --------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("weighted", [False, True])
def test_rmse_and_r2_agree_with_scikit_learn(weighted: bool) -> None:
    one = _regressed(weighted=weighted)
    case = Case(predictions=(one,))
    assert rmse(case)[0].value == pytest.approx(metrics.root_mean_squared_error(one.truth, one.mean, sample_weight=one.weight))
    assert r2(case)[0].value == pytest.approx(metrics.r2_score(one.truth, one.mean, sample_weight=one.weight))


@pytest.mark.parametrize("measure", [accuracy, log_loss, rmse, r2, crps, roc_auc, average_precision])
def test_errors_of_scores_are_those_of_repetition(measure) -> None:  # noqa: ANN001
    make = _regressed if measure in (rmse, r2, crps) else _classified
    effort = Effort(draws=9, few_draws=9)
    made = [measure(Case(predictions=(make(seed=seed, weighted=True),), effort=effort))[0] for seed in range(120)]
    assert np.median([row.error for row in made]) == pytest.approx(np.std([row.value for row in made]), rel=0.25)


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
    measures = (accuracy, log_loss, rmse, r2, roc_auc, average_precision, class_recall, crps)
    assert not Report([row for measure in measures for row in measure(good)]).findings


def test_a_perfect_score_still_has_an_error() -> None:
    truth = np.arange(40) % 2
    one = Predictions("y", truth, probability=np.eye(2)[truth], classes=(0, 1))
    for measure in (accuracy, roc_auc, average_precision, class_recall):
        row = measure(Case(predictions=(one,), effort=QUICK))[0]
        assert row.value == pytest.approx(1) and row.error > 0, measure


def test_few_rows_and_negative_weights_are_left_out() -> None:
    with pytest.raises(LeftOut, match="9 rows"):
        accuracy(Case(predictions=(_classified(0, 9),)))
    one = _regressed(50)
    signed = Predictions("energy", one.truth, mean=one.mean, spread=one.spread, weight=np.linspace(-1, 3, 50))
    for measure in (pit, crps):
        with pytest.raises(LeftOut, match="weights are negative"):
            measure(Case(predictions=(signed,)))
    with pytest.raises(LeftOut, match="one class"):
        roc_auc(Case(predictions=(Predictions("y", np.zeros(20, int), probability=np.full((20, 2), 0.5), classes=("a", "b")),)))


# ---- recall of each class ------------------------------------------------------------------------------------------------


def _lost_class(share: float, rows: int = 400) -> Predictions:
    """Three classes, of which the last is recognised in `share` of its rows only."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, size=rows)
    answer = np.where((truth == 2) & (rng.random(rows) >= share), 0, truth)
    return Predictions("species", truth, probability=0.1 + 0.7 * np.eye(3)[answer], classes=("a", "b", "c, d"))


def test_recall_is_scikit_learn_s_worst_first() -> None:
    one = _classified(2, weighted=True)
    rows = class_recall(Case(predictions=(one,)))
    wanted = metrics.recall_score(one.truth, one.probability.argmax(1), average=None, sample_weight=one.weight)
    assert {row.where: row.value for row in rows} == pytest.approx(
        {f"class '{c}' of species": v for c, v in zip("abc", wanted, strict=True)}
    )
    assert [row.p for row in rows] == sorted(row.p for row in rows)


def test_a_class_that_is_recognised_much_less_is_named() -> None:
    report = Report(class_recall(Case(predictions=(_lost_class(0.1),))))
    assert len(report.findings) == 1
    assert (
        report.findings[0].startswith("Class 'c, d' of species: ") and "% of its rows are recognised, 100 % of those" in report.findings[0]
    )
    assert not Report(class_recall(Case(predictions=(_lost_class(0.6),)))).findings


def test_recall_s_p_value_is_binomial_and_valid_at_half_of_the_others() -> None:
    row = class_recall(Case(predictions=(_lost_class(0.3),)))[0]
    right = round(row.value * row.n)
    assert row.p == pytest.approx(stats.binom.cdf(right, row.n, row.null), rel=1e-6)
    p = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        truth = np.repeat([0, 1], [300, 40])
        answer = np.where(rng.random(340) < np.where(truth == 0, 0.8, 0.4), truth, 1 - truth)
        one = Predictions("y", truth, probability=0.2 + 0.6 * np.eye(2)[answer], classes=("a", "b"))
        p += [row.p for row in class_recall(Case(predictions=(one,))) if row.where == "class 'b' of y"]
    for level in (0.01, 0.05, 0.3):
        assert np.mean(np.array(p) <= level) <= level + 3 * np.sqrt(level / 400) + 0.01


def test_only_the_worst_of_many_classes_get_a_row() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 30, size=3000)
    rows = class_recall(Case(predictions=(Predictions("y", truth, probability=0.01 + np.eye(30)[truth], classes=tuple(range(30))),)))
    assert len(rows) == 12 and "12 worst of 30" in rows[0].note


# ---- ranking -------------------------------------------------------------------------------------------------------------


def test_ranking_of_two_and_of_more_classes() -> None:
    two, three = _classified(4, classes=2), _classified(4)
    row = roc_auc(Case(predictions=(two,)))[0]
    assert row.value == pytest.approx(metrics.roc_auc_score(two.truth, two.probability[:, 1]), abs=1e-9)
    assert row.error == pytest.approx(area(two.probability[:, 1], two.truth == 1).error)
    assert "'b' against 'a'" in row.note and "95 % interval" in row.note
    row = roc_auc(Case(predictions=(three,)))[0]
    assert row.value == pytest.approx(metrics.roc_auc_score(three.truth, three.probability, multi_class="ovr"), abs=1e-9)
    assert "mean over 3 classes" in row.note and "lowest: '" in row.note
    row = average_precision(Case(predictions=(two,), effort=QUICK))[0]
    assert row.value == pytest.approx(metrics.average_precision_score(two.truth, two.probability[:, 1]), abs=1e-9)
    assert row.null == pytest.approx((two.truth == 1).mean(), abs=0.05)


def test_a_class_without_rows_is_told() -> None:
    one = _classified(5)
    some = one.truth != 2
    part = Predictions("species", one.truth[some], probability=one.probability[some], classes=one.classes)
    assert "1 without rows is left out" in roc_auc(Case(predictions=(part,)))[0].note


@pytest.mark.parametrize("classes", [2, 4])
def test_the_spread_of_shuffled_areas_is_exact(classes: int) -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(0, classes, size=40)
    chance = rng.dirichlet(np.ones(classes), size=40).round(1)
    columns = {1: chance[:, 1]} if classes == 2 else {k: chance[:, k] for k in range(classes)}
    draws = []
    for _ in range(2000):
        shuffled = rng.permutation(truth)
        draws.append(np.mean([area(scores, shuffled == code).value for code, scores in columns.items()]))
    assert np.mean(draws) == pytest.approx(0.5, abs=5e-3)
    assert shuffled_error(columns, truth) == pytest.approx(np.std(draws), rel=0.06)


def test_very_many_rows_take_the_normal_law(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    truth, scores = (rng.random(4000) < 0.1).astype(int), {1: rng.normal(size=4000)}
    few = shuffled_precision(0.12, scores, truth, None, rng, 300)
    monkeypatch.setattr("gnomon.checks.statistics.ranking._PERMUTED", 10)
    many = shuffled_precision(0.12, scores, truth, None, rng, 300)
    assert many.mean == pytest.approx(few.mean, abs=4 * few.spread) and many.spread == pytest.approx(few.spread, rel=0.15)


def test_curves_are_left_for_the_report() -> None:
    case = Case(predictions=(_classified(4, classes=2),), effort=QUICK)
    roc_auc(case)
    curves = case.pictures["sections"]["ranking"].curves
    assert [curve.title for curve in curves] == ["ROC curve of species", "Precision and recall of species"]
    assert all((series.low <= series.high).all() for curve in curves for series in curve.series if series.low is not None)


# ---- calibration -----------------------------------------------------------------------------------------------------------


def test_ece_agrees_with_a_loop_over_bins() -> None:
    one = _classified(1)
    row = ece(Case(predictions=(one,), effort=QUICK))[0]
    confidence, right = one.probability.max(1), one.probability.argmax(1) == one.truth
    order = np.argsort(confidence)
    total = sum(abs(right[part].mean() - confidence[part].mean()) * len(part) for part in np.array_split(order, 15)) / len(order)
    assert row.value == pytest.approx(total, abs=1e-9)
    assert "Brier score" in row.note


def test_overconfident_classifiers_are_found() -> None:
    report = Report(ece(Case(predictions=(_classified(0, 2000, sharper=2.5),), effort=Effort(draws=299, more_draws=0))))
    assert "more sure than it is right" in report.findings[0]


def test_spreads_are_judged() -> None:
    assert "too narrow" in Report(spread_coverage(Case(predictions=(_regressed(honesty=0.6),)))).findings[0]
    assert "too wide" in Report(spread_coverage(Case(predictions=(_regressed(honesty=2),)))).findings[0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("change", "words"), [({"honesty": 0.5}, "too narrow"), ({"honesty": 2}, "too wide"), ({"off": 0.6}, "lies above")]
)
def test_wrong_predicted_distributions_are_named(change: dict, words: str, weighted: bool) -> None:
    report = Report(pit(Case(predictions=(_regressed(weighted=weighted, **change),), effort=Effort(draws=199, more_draws=0))))
    assert words in report.findings[0]


def test_pit_is_kolmogorov_s_test() -> None:
    one = _regressed(80, seed=3)
    row = pit(Case(predictions=(one,)))[0]
    wanted = stats.kstest((one.truth - one.mean) / one.spread, "norm")
    assert (row.value, row.p) == pytest.approx((wanted.statistic, wanted.pvalue))
    assert (row.null, row.null_error) == pytest.approx((stats.kstwo(80).mean(), stats.kstwo(80).std()), rel=0.08)


def test_the_null_of_many_rows_is_scaled() -> None:
    one = _regressed(3000, weighted=True, seed=4)
    rows = [pit(Case(predictions=(one,), effort=Effort(draws=400, more_draws=0, null_rows=size)))[0] for size in (300, 3000)]
    assert rows[0].null == pytest.approx(rows[1].null, rel=0.1) and "of 300 rows, scaled to 3,000" in rows[0].note
    two = _classified(4, 3000)
    rows = [ece(Case(predictions=(two,), effort=Effort(draws=400, more_draws=0, null_rows=size)))[0] for size in (500, 3000)]
    assert rows[0].null == pytest.approx(rows[1].null, rel=0.1)


def test_crps_beats_the_distribution_of_all_targets() -> None:
    row = crps(Case(predictions=(_regressed(),)))[0]
    assert row.value < row.null and row.p < 1e-6 and not Report([row]).findings


def test_predictions_without_a_spread_have_no_calibration() -> None:
    plain = Predictions("energy", np.arange(30.0), mean=np.arange(30.0))
    for measure in (pit, crps, spread_coverage):
        assert measure(Case(predictions=(plain,))) == []


def test_several_targets_are_corrected_for() -> None:
    rows = pit(Case(predictions=(_regressed(seed=1, honesty=0.9), _regressed(seed=2)), effort=QUICK))
    small, large = sorted(rows, key=lambda row: row.p)
    assert small.corrected == pytest.approx(min(1, 2 * small.p)) and large.corrected == pytest.approx(max(large.p, small.corrected))


# ---- nulls -----------------------------------------------------------------------------------------------------------------

NULLS = {
    "ece": (ece, lambda seed, weighted: _classified(seed, 200, weighted=weighted)),
    "roc_auc of 2": (roc_auc, lambda seed, weighted: _idle(seed, weighted=weighted, classes=2)),
    "roc_auc of 4": (roc_auc, lambda seed, weighted: _idle(seed, weighted=weighted, classes=4)),
    "average_precision of 2": (average_precision, lambda seed, weighted: _idle(seed, weighted=weighted, classes=2)),
    "average_precision of 4": (average_precision, lambda seed, weighted: _idle(seed, weighted=weighted, classes=4)),
    "pit": (pit, lambda seed, weighted: _regressed(200, seed=seed, weighted=weighted)),
    "spread_coverage": (spread_coverage, lambda seed, weighted: _regressed(200, seed=seed, weighted=weighted)),
}


def _repeats(name: str, weighted: bool, repeats: int, effort: Effort) -> tuple[list[float], float]:
    """P-values under the null, and how often the null lies within one error of the value."""
    measure, make = NULLS[name]
    rows = [measure(Case(predictions=(make(300 + seed, weighted),), effort=effort, seed=seed))[0] for seed in range(repeats)]
    return [row.p for row in rows], float(np.mean([abs(row.value - row.null) <= row.error for row in rows]))


@pytest.fixture
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.checks.statistics.ranking.show", lambda *rest: None)


@pytest.mark.usefixtures("without_curves")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NULLS)
def test_p_values_are_uniform_and_errors_cover(name: str, weighted: bool) -> None:
    p, covered = _repeats(name, weighted, 40, Effort(draws=199, more_draws=0, few_draws=39))
    alternative = "greater" if name == "spread_coverage" else "two-sided"  # a share of few rows is discrete
    assert stats.kstest(p, "uniform", alternative=alternative).pvalue > 0.05 / (2 * len(NULLS)), sorted(p)
    assert 0.45 <= covered <= 0.9


@pytest.mark.slow
@pytest.mark.usefixtures("without_curves")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NULLS)
def test_p_values_are_uniform_and_errors_cover_in_200_repeats(name: str, weighted: bool) -> None:
    p, covered = _repeats(name, weighted, 200, Effort(draws=199, more_draws=0, few_draws=99))
    alternative = "greater" if name == "spread_coverage" else "two-sided"
    assert stats.kstest(p, "uniform", alternative=alternative).pvalue > 0.05 / (2 * len(NULLS)), sorted(p)
    assert 0.58 <= covered <= 0.78
