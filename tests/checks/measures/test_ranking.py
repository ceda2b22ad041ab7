"""ROC and precision-recall: equal to scikit-learn, errors equal to the spread of repetitions, intervals and bands that cover."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from gnomon.checks.measures.ranking import (
    Order,
    average_precision,
    average_precision_influence,
    logit_interval,
    midranks,
    one_against_rest,
    roc_auc,
    roc_auc_influence,
)
from gnomon.checks.measures.ranking_curves import precision_recall_bands, precision_recall_curve, roc_bands, roc_curve
from gnomon.errors import DataError


def _ranked(seed: int, rows: int = 300, shift: float = 1.0, share: float = 0.3, *, ties: bool = False, weighted: bool = False):  # noqa: ANN202
    rng = np.random.default_rng([seed, rows])
    truth = rng.random(rows) < share
    truth[:2] = [True, False]
    scores = rng.normal(size=rows) + shift * truth
    return np.round(scores, 1) if ties else scores, truth, rng.exponential(size=rows) if weighted else None


SORTS = list(itertools.product([False, True], [False, True]))


@pytest.mark.parametrize(("ties", "weighted"), SORTS)
def test_areas_and_curves_are_those_of_scikit_learn(ties: bool, weighted: bool) -> None:
    for seed, rows in ((0, 300), (1, 7), (2, 2), (3, 1000)):
        scores, truth, weight = _ranked(seed, rows, ties=ties, weighted=weighted)
        assert roc_auc(scores, truth, weight).value == pytest.approx(metrics.roc_auc_score(truth, scores, sample_weight=weight), abs=1e-9)
        wanted = metrics.average_precision_score(truth, scores, sample_weight=weight)
        assert average_precision(scores, truth, weight).value == pytest.approx(wanted, abs=1e-9)
        made = roc_curve(scores, truth, weight)
        for got, expected in zip(made, metrics.roc_curve(truth, scores, sample_weight=weight, drop_intermediate=False), strict=True):
            assert got == pytest.approx(expected, abs=1e-9)
        found = precision_recall_curve(scores, truth, weight)
        precision, recall, thresholds = metrics.precision_recall_curve(truth, scores, sample_weight=weight)
        assert found.y == pytest.approx(precision, abs=1e-9) and found.x == pytest.approx(recall, abs=1e-9)
        assert found.thresholds[:-1] == pytest.approx(thresholds)


@pytest.mark.parametrize(("ties", "weighted"), SORTS)
def test_an_order_serves_many_truths(ties: bool, weighted: bool) -> None:
    scores, truth, weight = _ranked(9, 200, ties=ties, weighted=weighted)
    order = Order(scores)
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(truth)
        assert order.average_precision(shuffled, weight) == pytest.approx(average_precision(scores, shuffled, weight).value, abs=1e-12)
    assert midranks(scores) == pytest.approx((stats.rankdata(scores) - 0.5) / 200)


def test_weights_are_repeated_rows() -> None:
    scores, truth, _ = _ranked(4, 60, ties=True)
    counts = np.random.default_rng(0).integers(1, 4, size=60)
    for measure in (roc_auc, average_precision):
        again = measure(np.repeat(scores, counts), np.repeat(truth, counts)).value
        assert measure(scores, truth, counts.astype(float)).value == pytest.approx(again, abs=1e-12)


def test_delong_s_error_is_its_formula() -> None:
    scores, truth, _ = _ranked(5, 80, ties=True)
    wins = (scores[truth][:, None] > scores[~truth]) + 0.5 * (scores[truth][:, None] == scores[~truth])
    variance = wins.mean(1).var(ddof=1) / truth.sum() + wins.mean(0).var(ddof=1) / (~truth).sum()
    assert roc_auc(scores, truth).error == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_the_error_of_average_precision_is_that_of_leaving_out_a_little_weight() -> None:
    scores, truth, _ = _ranked(6, 60, ties=True)
    weight = np.random.default_rng(1).exponential(size=60)
    value, parts = average_precision_influence(scores, truth, weight)
    assert parts.sum() == pytest.approx(0, abs=1e-12)
    for row in range(60):
        more = weight.copy()
        more[row] *= 1 + 1e-6
        slope = (average_precision(scores, truth, more).value - value) / 1e-6
        assert parts[row] == pytest.approx(slope * np.sqrt(60 / 59), abs=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("measure", [roc_auc, average_precision])
def test_errors_are_the_spread_of_repetitions(measure, shift: float, weighted: bool) -> None:  # noqa: ANN001
    made = [measure(*_ranked(seed, 400, shift, weighted=weighted)) for seed in range(250)]
    assert np.sqrt(np.mean([m.error**2 for m in made])) == pytest.approx(np.std([m.value for m in made]), rel=0.17)


@pytest.mark.parametrize("shift", [1.0, 2.5])
def test_logit_intervals_cover(shift: float) -> None:
    truth = stats.norm.cdf(shift / np.sqrt(2))
    inside = []
    for seed in range(400):
        found = roc_auc(*_ranked(seed, 150, shift))
        low, high = logit_interval(found.value, found.error)
        assert 0 <= low <= found.value <= high <= 1
        inside.append(low <= truth <= high)
    assert 0.91 <= np.mean(inside) <= 0.98
    assert logit_interval(1.0, 0.1, 0.683) == (pytest.approx(0.9, abs=0.001), 1.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_one_class_against_the_others_is_scikit_learn_s(weighted: bool) -> None:
    rng = np.random.default_rng(7)
    chance = rng.dirichlet([1, 1, 1], size=400)
    truth = (rng.random((400, 1)) > chance.cumsum(1)).sum(1)
    weight = rng.exponential(size=400) if weighted else None
    made = one_against_rest(roc_auc_influence, chance, truth, weight)
    if weight is None:
        assert made.mean.value == pytest.approx(metrics.roc_auc_score(truth, chance, multi_class="ovr"), abs=1e-9)
    each = [metrics.roc_auc_score(truth == k, chance[:, k], sample_weight=weight) for k in range(3)]
    assert made.values == pytest.approx(each, abs=1e-9)
    found = one_against_rest(average_precision_influence, chance, truth, weight)
    each = [metrics.average_precision_score(truth == k, chance[:, k], sample_weight=weight) for k in range(3)]
    assert found.values == pytest.approx(each, abs=1e-9) and found.mean.value == pytest.approx(np.mean(each), abs=1e-9)


@pytest.mark.parametrize("measure", [roc_auc_influence, average_precision_influence])
def test_the_error_of_the_mean_over_classes_knows_their_dependence(measure) -> None:  # noqa: ANN001
    made = []
    for seed in range(250):
        rng = np.random.default_rng(seed)
        chance = rng.dirichlet([1, 1, 1], size=300)
        made.append(one_against_rest(measure, chance, (rng.random((300, 1)) > chance.cumsum(1)).sum(1)).mean)
    spread = np.std([m.value for m in made])
    assert np.mean([m.error for m in made]) == pytest.approx(spread, rel=0.17)


def test_a_class_without_rows_is_left_out_of_the_mean() -> None:
    chance = np.array([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1]])
    made = one_against_rest(roc_auc_influence, chance, np.array([0, 1, 0]))
    assert np.isnan(made.values[2]) and made.mean.value == 1.0


@pytest.mark.parametrize("make", [roc_bands, precision_recall_bands])
def test_bands_hold_the_curve_of_ever_so_many_rows(make) -> None:  # noqa: ANN001
    """On average over places, 68 % bands cover the true curve in about 68 % of repetitions."""
    places = 21
    if make is roc_bands:
        at = np.linspace(0, 1, places)
        truth = stats.norm.sf(stats.norm.isf(at) - 1.5)
    else:
        at = np.linspace(0, 1, places)[1:]
        cut = 1.5 - stats.norm.ppf(at)
        truth = 0.3 * at / (0.3 * at + 0.7 * stats.norm.sf(cut))
    inside = []
    for seed in range(60):
        scores, is_it, _ = _ranked(seed, 400, 1.5)
        made = make(scores, is_it, generator=np.random.default_rng(seed), draws=100, points=places)
        assert made.x == pytest.approx(at) and (made.low <= made.high).all()
        inside.append(((made.low <= truth) & (truth <= made.high))[2:-2])
    assert np.mean(inside) == pytest.approx(0.68, abs=0.1)


def test_bands_repeat_with_their_seed() -> None:
    scores, truth, weight = _ranked(8, 100, weighted=True)
    one, two = (roc_bands(scores, truth, generator=np.random.default_rng(3), weight=weight, draws=20) for _ in range(2))
    assert np.array_equal(one.low, two.low) and np.array_equal(one.high, two.high)


def test_infinite_scores_are_the_strangest() -> None:
    scores, truth = np.array([np.inf, np.inf, 1.0, -np.inf]), np.array([True, True, False, False])
    assert roc_auc(scores, truth).value == 1.0 and average_precision(scores, truth).value == 1.0


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="both sorts"):
        roc_auc(np.ones(3), np.ones(3, bool))
    with pytest.raises(DataError, match="1 of 2 scores"):
        roc_auc(np.array([np.nan, 1]), np.array([True, False]))
    with pytest.raises(DataError, match="per row"):
        roc_auc(np.ones(3), np.ones(2, bool))
    with pytest.raises(DataError, match="negative"):
        average_precision(np.arange(3.0), np.array([True, False, True]), np.array([1.0, 2.0, -0.5]))
    with pytest.raises(DataError, match="one class"):
        one_against_rest(roc_auc_influence, np.ones((3, 2)), np.zeros(3, int))
