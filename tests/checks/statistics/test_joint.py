"""Correlations and the classifier test: against NumPy, scikit-learn and the bootstrap; faults that only pairs show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gnomon.checks import Case, Effort, Sides
from gnomon.checks.statistics.c2st import Classifier, Table, auc, c2st_auc, cross_fit, judged_by, tabulate
from gnomon.checks.statistics.correlation import correlation, correlations
from gnomon.data import Categorical, Column, Periodic
from tests.checks.samples import sides

QUICK = Effort(draws=199, more_draws=0, retrainings=6, joint_rows=1500)


def _pair(rho: float, rows: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=(rows, 4))
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1]
    return x


# ---- correlations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_matrices_agree_with_numpy(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = _pair(0.6, 300, rng), _pair(0.2, 200, rng)
    weights = (rng.integers(1, 5, size=300).astype(float), None) if weighted else (None, None)
    found = correlations(Sides.of(x, y, weights=weights))
    repeated = np.repeat(x, weights[0].astype(int), axis=0) if weights[0] is not None else x
    assert np.allclose(found.real, np.corrcoef(repeated.T)) and np.allclose(found.generated, np.corrcoef(y.T))


def test_standard_errors_are_those_of_repetition() -> None:
    rng = np.random.default_rng(1)

    def skewed(rows: int) -> np.ndarray:
        x = _pair(0.5, rows, rng)
        x[:, 1] = np.exp(0.5 * x[:, 1])
        return x

    made = [correlations(Sides.of(skewed(250), skewed(400))) for _ in range(150)]
    spread = np.std([m.difference[0, 1] for m in made])
    assert np.median([m.error[0, 1] for m in made]) == pytest.approx(spread, rel=0.2)


def test_a_wrong_correlation_is_named_with_its_columns_and_nothing_else() -> None:
    from gnomon.checks.reports.report import Report

    rng = np.random.default_rng(2)
    made = Sides.of(_pair(0.5, 10_000, rng), _pair(0.42, 10_000, rng), ["pt", "eta", "phi", "mass"])
    (row,) = correlation(Case(made, effort=Effort(draws=299, more_draws=0)))
    assert row.value == pytest.approx(0.08, abs=4 * row.error) and row.where == "pt, eta"
    (finding,) = Report([row]).findings
    assert finding.startswith("Columns 'pt' and 'eta': their correlation is 0.4")


def test_shifts_and_scales_of_columns_are_no_wrong_correlation() -> None:
    rng = np.random.default_rng(3)
    x, y = _pair(0.5, 800, rng), _pair(0.5, 500, rng)
    y[:, 0], y[:, 1] = 3 * y[:, 0] + 2, 0.5 * y[:, 1] - 1
    (row,) = correlation(Case(Sides.of(x, y), effort=QUICK))
    assert row.p > 0.02


def test_categories_and_angles_take_part() -> None:
    rng = np.random.default_rng(4)
    columns = [Column("angle", Periodic(0, 2 * np.pi)), Column("c", Categorical(("u", "v", "w")))]
    angle = rng.uniform(0, 2 * np.pi, 2000)
    code = (angle // (2 * np.pi / 3)).clip(0, 2)
    real, generated = np.stack([angle, code], axis=1), np.stack([angle, rng.permutation(code)], axis=1)
    (row,) = correlation(Case(Sides.of(real, generated, columns), effort=QUICK))
    assert row.p < 0.01 and "angle" in row.where and "c = " in row.where


def test_wide_tables_stay_within_bounds() -> None:
    rng = np.random.default_rng(5)
    (row,) = correlation(Case(Sides.of(rng.normal(size=(400, 90)), rng.normal(size=(300, 90))), effort=Effort(draws=99, more_draws=0)))
    assert "4,005 pairs" in row.note and row.p > 0.01


# ---- the classifier test -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_auc_agrees_with_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    scores, labels = np.round(rng.normal(size=400), 1), rng.random(400) > 0.3
    weight = rng.exponential(size=400) if weighted else None
    assert auc(scores, labels, weight)[0] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight), rel=1e-9)


def test_auc_error_is_that_of_repetition() -> None:
    rng = np.random.default_rng(1)
    made = []
    for _ in range(300):
        labels = np.arange(150) < 60
        made.append(auc(rng.normal(size=150) + 0.8 * labels, labels, rng.exponential(size=150)))
    areas, errors = np.array(made).T
    assert np.median(errors) == pytest.approx(areas.std(), rel=0.15)


def test_a_fault_that_no_column_shows_is_found_and_its_columns_named() -> None:
    rng = np.random.default_rng(2)
    real, generated = rng.normal(size=(1500, 5)), rng.normal(size=(1500, 5))
    generated[:, 3] = np.abs(generated[:, 3]) * np.sign(generated[:, 1]) * np.sign(generated[:, 0])
    (row,) = c2st_auc(Case(Sides.of(real, generated, list("abcde")), effort=QUICK))
    assert row.value > 0.6 and row.p < 0.01
    assert {"'a'", "'b'", "'d'"} >= set(row.claim.split("mostly by ")[1].split(" (")[0].replace(" and ", ", ").split(", "))


def test_copies_and_disjoint_sides_are_both_told() -> None:
    x = np.random.default_rng(3).normal(size=(300, 2))
    same, apart = (c2st_auc(Case(Sides.of(x, y), effort=QUICK))[0] for y in (x.copy(), x + 10))
    assert same.value < 0.45 and same.p < 0.05 and "copies" in same.claim
    assert apart.value == 1.0 and 0 < apart.error < 0.01 and apart.p < 0.01


def test_paired_conditions_do_not_push_the_null_below_one_half() -> None:
    rng = np.random.default_rng(4)
    given = rng.normal(size=(300, 3))
    noise = [rng.normal(size=(300, 1)) for _ in range(2)]
    made = Sides.of(*(np.concatenate([n, given], axis=1) for n in noise), paired=True)
    labels = np.arange(600) >= 300

    def mean_auc(table: Table) -> float:
        return float(np.mean([cross_fit(Classifier, table, labels, 2, np.random.default_rng(s)).auc for s in range(6)]))

    together = mean_auc(tabulate(made))
    alone = mean_auc(replace(tabulate(made), paired=False))
    assert abs(together - 0.5) < 0.03 and alone < 0.5 - 0.03, (together, alone)


def test_rows_are_drawn_down_and_that_is_said() -> None:
    (row,) = c2st_auc(Case(sides(0, 500, 400), effort=Effort(retrainings=2, joint_rows=100)))
    assert row.n == 100 and "on 100 real and 100 generated rows drawn at random" in row.note


def test_any_classifier_with_the_two_methods_will_do() -> None:
    class Nearer:
        def fit(self, table, rows, labels, seed):  # noqa: ANN001, ANN202
            self.means = [table.values[rows][labels[rows] == side].mean(axis=0) for side in (False, True)]
            return self

        def decision(self, table, rows):  # noqa: ANN001, ANN202
            values = table.values[rows]
            return np.linalg.norm(values - self.means[0], axis=1) - np.linalg.norm(values - self.means[1], axis=1)

    rng = np.random.default_rng(5)
    table = tabulate(Sides.of(rng.normal(size=(300, 3)), rng.normal(size=(300, 3)) + 0.5))
    made = judged_by(Nearer, table, 12, rng, name="c2st_auc_nearer")
    assert made.statistic.value > 0.65 and made.statistic.p < 1e-4 and abs(made.statistic.null - 0.5) < 0.03


def test_large_images_are_shown_as_components() -> None:
    rng = np.random.default_rng(6)
    from gnomon.checks.statistics.c2st import _seen

    assert _seen(rng.integers(0, 255, (50, 16)).astype(np.uint8)).shape == (50, 16)
    assert _seen(rng.normal(size=(90, 900))).shape == (90, 64)
