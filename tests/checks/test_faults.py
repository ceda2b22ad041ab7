"""Faults planted in one of ten columns at ten thousand rows are named with their column, and honest second samples are left in peace."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, Sides, check
from gnomon.checks.reports.report import Report
from gnomon.checks.statistics.columns import cvm, ks, kuiper, separation, tails, tv, w1
from gnomon.checks.statistics.correlation import correlation
from gnomon.checks.statistics.granularity import distinct
from gnomon.checks.statistics.rank_correlation import rank_correlation

ROWS = 10_000
NAMES = tuple(f"x{i}" for i in range(10))
COLUMNWISE = (w1, ks, kuiper, tv, cvm, tails, separation, distinct, correlation, rank_correlation)
STUDENT = stats.t(3)


def draw(rng: np.random.Generator, *, correlation: float = 0.5, heavy: float = 0.5, mode: float = 0.05) -> np.ndarray:
    """Ten columns that share a factor; `correlation` is that of x0 and x1, `heavy` that of x8 and x9 before they get heavy tails.

    x4, x8 and x9 follow Student's law with 3 degrees of freedom, x5 has a second mode, x6 is log-normal.
    """
    z, factor = rng.normal(size=(ROWS, 10)), rng.normal(size=ROWS)
    x = np.sqrt(0.7) * z + np.sqrt(0.3) * factor[:, None]
    x[:, 1] = correlation * x[:, 0] + np.sqrt(1 - correlation**2) * z[:, 1]
    x[:, 9] = heavy * x[:, 8] + np.sqrt(1 - heavy**2) * z[:, 9]
    x[:, 5] = np.where(rng.random(ROWS) < mode, 4 + 0.3 * z[:, 5], x[:, 5])
    x[:, 6] = np.exp(0.5 * x[:, 6])
    for i in (4, 8, 9):
        x[:, i] = STUDENT.ppf(stats.norm.cdf(x[:, i]))
    return x


def _in(column: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.random.Generator], np.ndarray]:
    def make(rng: np.random.Generator) -> np.ndarray:
        x = draw(rng)
        x[:, column] = change(x[:, column])
        return x

    return make


def _pulled_in(x: np.ndarray) -> np.ndarray:
    far = np.abs(x) > 2.5
    return np.where(far, np.sign(x) * (2.5 - (np.abs(x) - 2.5) % 0.5), x)


def _normal(width: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: width * stats.norm.ppf(STUDENT.cdf(x))


FAULTS: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], str, str]] = {
    "shift": (_in(2, lambda x: x + 0.1), "Column 'x2'", "values are higher by 0."),
    "lost mode": (lambda rng: draw(rng, mode=0.0), "Column 'x5'", "of the generated values lie above"),
    "wrong correlation": (lambda rng: draw(rng, correlation=0.42), "Columns 'x0' and 'x1'", "their correlation is 0.4"),
    "wrong correlation of heavy tails": (lambda rng: draw(rng, heavy=0.42), "Columns 'x8' and 'x9'", "the correlation of their ranks is"),
    "rounded": (_in(3, lambda x: np.round(x, 1)), "Column 'x3'", "rounded to multiples of 0.1"),
    "tail pulled in": (_in(7, _pulled_in), "Column 'x7'", "generated values lie"),
    "normal of the same middle": (_in(4, _normal(float(STUDENT.ppf(0.84)))), "Column 'x4'", "generated values lie"),
    "normal of the same width": (_in(4, _normal(float(STUDENT.std()))), "Column 'x4'", "generated values lie"),
}
WEIGHTS: dict[str, Callable[[np.random.Generator], tuple]] = {
    "no weights": lambda rng: (None, None),
    "weights on one side": lambda rng: (rng.gamma(4, size=ROWS), None),
    "weights on both": lambda rng: (rng.gamma(4, size=ROWS), rng.gamma(4, size=ROWS)),
}


def _columnwise(real: np.ndarray, generated: np.ndarray, weights: tuple, effort: Effort) -> list[str]:
    case = Case(Sides.of(real, generated, NAMES, weights=weights), effort=effort)
    return Report([row for measure in COLUMNWISE for row in measure(case)]).findings


def _named(findings: list[str], place: str, words: str) -> None:
    """The place is named, in these words, and no other column is."""
    assert any(found.startswith(f"{place}: ") and words in found for found in findings), findings
    column = set(re.findall(r"'(x\d)'", place))
    blamed = [set(re.findall(r"'(x\d)'", found.split(": ")[0])) for found in findings]
    assert all(names & column or not names for names in blamed), findings


@pytest.mark.parametrize("fault", FAULTS)
def test_column_statistics_name_the_fault(fault: str) -> None:
    generate, place, words = FAULTS[fault]
    rng = np.random.default_rng(1)
    _named(_columnwise(draw(rng), generate(rng), (None, None), Effort(null_rows=2000)), place, words)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_column_statistics_find_nothing_in_an_honest_sample(weights: str) -> None:
    rng = np.random.default_rng(2)
    assert not _columnwise(draw(rng), draw(rng), WEIGHTS[weights](rng), Effort(null_rows=2000))


@pytest.mark.slow
@pytest.mark.parametrize("weights", [name for name in WEIGHTS if name != "no weights"])
@pytest.mark.parametrize("fault", FAULTS)
def test_column_statistics_name_the_fault_with_weights(fault: str, weights: str) -> None:
    """In two samples of three at least: the correlation of a sample may by chance be much nearer to the right one than the fault is."""
    generate, place, words = FAULTS[fault]
    missed = []
    for seed in range(3):
        rng = np.random.default_rng([3, seed])
        found = _columnwise(draw(rng), generate(rng), WEIGHTS[weights](rng), Effort.of("10s", columns=10))
        if found:
            _named(found, place, words)  # what is said is never about another column
        else:
            missed.append(seed)
    assert len(missed) <= 1, missed


def _table(values: np.ndarray, weight: np.ndarray | None = None) -> dict[str, np.ndarray]:
    made = {name: values[:, i] for i, name in enumerate(NAMES)}
    return made if weight is None else {**made, "w": weight}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_check_names_the_fault(fault: str) -> None:
    generate, place, words = FAULTS[fault]
    rng = np.random.default_rng(4)
    _named(check(_table(draw(rng)), _table(generate(rng)), budget="10s").findings, place, words)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["shift", "lost mode", "rounded"])
def test_a_check_with_weights_names_the_fault(fault: str) -> None:
    generate, place, words = FAULTS[fault]
    rng = np.random.default_rng(5)
    real, generated = (_table(make(rng), rng.gamma(4, size=ROWS)) for make in (draw, generate))
    _named(check(real, generated, budget="10s", weight="w").findings, place, words)


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_check_finds_nothing_in_an_honest_sample(seed: int, weighted: bool) -> None:
    rng = np.random.default_rng([6, seed])
    real, generated = (_table(draw(rng), rng.gamma(4, size=ROWS) if weighted else None) for _ in range(2))
    assert not check(real, generated, budget="10s", weight="w" if weighted else None).findings
