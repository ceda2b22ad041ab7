"""Correlations: against NumPy and repetition; faults that only pairs show."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.checks import Case, Effort, Sides
from gnomon.checks.statistics.correlation import correlation, correlations
from gnomon.data import Categorical, Column, Periodic

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
