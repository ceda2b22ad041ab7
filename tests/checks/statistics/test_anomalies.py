"""Anomaly scores beside the truth: scikit-learn's areas, honest errors, valid p-values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from gnomon.checks import Case, Effort, LeftOut, Report
from gnomon.checks.case import Anomalies
from gnomon.checks.statistics.anomalies import anomaly_auc, anomaly_average_precision

MEASURES = (anomaly_auc, anomaly_average_precision)


def _known(seed: int, rows: int = 200, shift: float = 0.0, share: float = 0.1, weighted: bool = False) -> Anomalies:
    rng = np.random.default_rng(seed)
    truth = rng.random(rows) < share
    truth[:6] = True
    return Anomalies(rng.normal(size=rows) + shift * truth, truth, rng.exponential(size=rows) if weighted else None)


@pytest.mark.parametrize("weighted", [False, True])
def test_areas_are_scikit_learn_s(weighted: bool) -> None:
    known = _known(0, shift=1, weighted=weighted)
    case = Case(anomalies=known, effort=Effort(few_draws=19))
    assert anomaly_auc(case)[0].value == pytest.approx(
        metrics.roc_auc_score(known.truth, known.scores, sample_weight=known.weight), abs=1e-9
    )
    wanted = metrics.average_precision_score(known.truth, known.scores, sample_weight=known.weight)
    assert anomaly_average_precision(case)[0].value == pytest.approx(wanted, abs=1e-9)
    assert f"{known.truth.sum()} anomalies among 200 rows" in anomaly_auc(case)[0].note
    assert not Report([row for measure in MEASURES for row in measure(case)]).findings
    assert len(case.pictures["sections"]["ranking"].curves) >= 2


def _repeats(measure, repeats: int, weighted: bool) -> tuple[list[float], float]:  # noqa: ANN001
    effort = Effort(few_draws=99)
    rows = [measure(Case(anomalies=_known(seed, weighted=weighted), effort=effort, seed=seed))[0] for seed in range(repeats)]
    return [row.p for row in rows], float(np.mean([abs(row.value - row.null) <= row.error for row in rows]))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_p_values_are_uniform_and_errors_cover(measure, weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    monkeypatch.setattr("gnomon.checks.statistics.anomalies.show", lambda *rest: None)
    p, covered = _repeats(measure, 60, weighted)
    assert stats.kstest(p, "uniform").pvalue > 0.05 / 4, sorted(p)
    assert 0.5 <= covered <= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_p_values_are_uniform_and_errors_cover_in_200_repeats(measure, weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    monkeypatch.setattr("gnomon.checks.statistics.anomalies.show", lambda *rest: None)
    p, covered = _repeats(measure, 200, weighted)
    assert stats.kstest(p, "uniform").pvalue > 0.05 / 4, sorted(p)
    assert 0.58 <= covered <= 0.78


@pytest.mark.parametrize("measure", MEASURES)
def test_errors_far_from_the_null_are_those_of_repetition(measure, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    monkeypatch.setattr("gnomon.checks.statistics.anomalies.show", lambda *rest: None)
    made = [measure(Case(anomalies=_known(seed, 300, 1.5), effort=Effort(few_draws=5)))[0] for seed in range(150)]
    assert np.sqrt(np.mean([row.error**2 for row in made])) == pytest.approx(np.std([row.value for row in made]), rel=0.2)


def test_scores_that_know_nothing_are_a_finding() -> None:
    known = _known(3, 400)
    report = Report(anomaly_auc(Case(anomalies=Anomalies(-np.abs(known.scores) * known.truth + known.scores, known.truth))))
    assert report.findings[0].startswith("Anomaly scores: they do not put the anomalies above the other rows")


def test_a_perfect_ranking_has_an_error_and_infinite_scores_count() -> None:
    truth = np.arange(60) < 10
    row = anomaly_auc(Case(anomalies=Anomalies(np.where(truth, np.inf, 0.0), truth)))[0]
    assert row.value == 1 and 0 < row.error < 0.2 and row.p < 1e-4


def test_what_cannot_be_ranked_is_left_out() -> None:
    assert anomaly_auc(Case()) == [] and anomaly_average_precision(Case()) == []
    truth = np.arange(60) < 4
    with pytest.raises(LeftOut, match="4 anomalies among 60"):
        anomaly_auc(Case(anomalies=Anomalies(np.zeros(60), truth)))
    with pytest.raises(LeftOut, match="1 of 60 anomaly scores"):
        anomaly_auc(Case(anomalies=Anomalies(np.where(np.arange(60) == 3, np.nan, 0.0), np.arange(60) < 20)))
    with pytest.raises(LeftOut, match="negative"):
        anomaly_average_precision(Case(anomalies=Anomalies(np.arange(60.0), np.arange(60) < 20, np.linspace(-1, 3, 60))))
