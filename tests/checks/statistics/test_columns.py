"""Distances of single columns against SciPy, POT and brute force; nulls that scale; shifts that are found and named."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, Sides
from gnomon.checks.binning import binned
from gnomon.checks.nulls import Pool
from gnomon.checks.statistics.columns import CELLS, cvm, ks, kuiper, separation, tails, tv, w1
from gnomon.data import Categorical, Column, Integer, Periodic

QUICK = Effort(draws=99, more_draws=0)
CIRCLE = Column("angle", Periodic(0.0, 2 * np.pi))


def _two(rng: np.random.Generator, n: int = 240, m: int = 170) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=n), 0.3 + 1.2 * rng.normal(size=m)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_w1_and_ks_agree_with_scipy(weighted: bool, ties: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = (np.round(v, 1) if ties else v for v in _two(rng))
    weights = (rng.exponential(size=len(x)), rng.exponential(size=len(y))) if weighted else (None, None)
    case = Case(Sides.of(x, y, weights=weights), effort=QUICK)
    assert w1(case)[0].value == pytest.approx(stats.wasserstein_distance(x, y, *weights), rel=1e-9)
    if not weighted:
        assert ks(case)[0].value == pytest.approx(stats.ks_2samp(x, y).statistic, rel=1e-9)
        return
    points = np.unique(np.concatenate([x, y]))
    below = [np.array([w[v <= t].sum() / w.sum() for t in points]) for v, w in zip((x, y), weights, strict=True)]
    assert ks(case)[0].value == pytest.approx(np.abs(below[0] - below[1]).max(), rel=1e-9)


def test_w1_on_a_circle_agrees_with_pot_and_does_not_know_the_cut() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.vonmises(0.3, 4, size=150) % (2 * np.pi), rng.vonmises(-0.3, 4, size=150) % (2 * np.pi)
    values = []
    for turn in (0.0, 1.0, 4.5):
        moved = [(v + turn) % (2 * np.pi) for v in (x, y)]
        values.append(w1(Case(Sides.of(*moved, [CIRCLE]), effort=QUICK))[0].value)
    assert values == pytest.approx([values[0]] * 3, rel=1e-9)
    assert values[0] == pytest.approx(2 * np.pi * float(ot.wasserstein_circle(x / (2 * np.pi), y / (2 * np.pi), p=1)[0]), rel=1e-6)
    assert values[0] < 0.5 * stats.wasserstein_distance(x, y), "the short way round was not taken"


def test_kuiper_is_the_largest_difference_over_arcs() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 2 * np.pi, 60), rng.vonmises(0, 1, 50) % (2 * np.pi)
    points = np.sort(np.concatenate([x, y]))
    arcs = [abs(np.mean((x > a) & (x <= b)) - np.mean((y > a) & (y <= b))) for i, a in enumerate(points) for b in points[i:]]
    row = kuiper(Case(Sides.of(x, y, [CIRCLE]), effort=QUICK))[0]
    lowest = [abs(np.mean(x <= b) - np.mean(y <= b)) for b in points]
    assert row.value == pytest.approx(max(arcs + lowest), rel=1e-9)
    assert not ks(Case(Sides.of(x, y, [CIRCLE]), effort=QUICK)), "a circle has no Kolmogorov–Smirnov distance"


def test_tv_is_half_the_sum_of_differences() -> None:
    codes = (np.array([0, 0, 1, 2.0]), np.array([0, 1, 1, 1, 1.0]))
    weights = (np.array([1, 1, 1, 3.0]), None)
    column = Column("c", Categorical(("u", "v", "w")))
    row = tv(Case(Sides.of(*codes, [column], weights=weights), effort=QUICK))[0]
    assert row.value == pytest.approx(0.5 * (abs(2 / 6 - 1 / 5) + abs(1 / 6 - 4 / 5) + abs(3 / 6)), rel=1e-9)
    assert "'v' makes up 80.0 % of the generated rows, but 16.7 % of the real ones" in row.claim


def test_cvm_agrees_with_scipy_after_normalisation() -> None:
    x, y = _two(np.random.default_rng(10))
    row = cvm(Case(Sides.of(x, y), effort=QUICK))[0]
    n, m = len(x), len(y)
    assert n * m / (n + m) * row.value**2 == pytest.approx(stats.cramervonmises_2samp(x, y).statistic, rel=1e-9)
    assert row.alarm == "never"


@pytest.mark.parametrize("weighted", [False, True])
def test_cvm_is_the_root_mean_square_difference_over_all_rows(weighted: bool) -> None:
    rng = np.random.default_rng(11)
    x, y = (np.round(v, 1) for v in _two(rng))
    weights = tuple(rng.exponential(size=len(v)) if weighted else np.ones(len(v)) for v in (x, y))
    row = cvm(Case(Sides.of(x, y, weights=weights), effort=QUICK))[0]
    square = [sum(s * w[v <= t].sum() / w.sum() for s, v, w in zip((1, -1), (x, y), weights, strict=True)) ** 2 for t in [*x, *y]]
    assert row.value == pytest.approx(np.sqrt(np.mean(square)), rel=1e-9)


def _tail(x: np.ndarray, y: np.ndarray, weights: tuple) -> tuple[float, float]:
    """By brute force over all cuts with 8 to 5 % of the pooled rows beyond them: the largest and the value at which it begins."""
    pooled, found = np.sort(np.concatenate([x, y])), [(0.0, 0.0)]
    for cut in np.unique(pooled):
        for inside in (lambda v, c=cut: v <= c, lambda v, c=cut: v >= c):
            share = inside(pooled).mean()
            if 8 <= share * len(pooled) <= 0.05 * len(pooled):
                real, generated = (w[inside(v)].sum() / w.sum() for v, w in zip((x, y), weights, strict=True))
                found.append((abs(real - generated) / np.sqrt(share * (1 - share)), cut))
    return max(found)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sign", [-1, 1])
def test_tails_are_the_largest_relative_difference_beyond_extreme_cuts(weighted: bool, sign: int) -> None:
    rng = np.random.default_rng(12)
    x, y = sign * rng.normal(size=1500), sign * rng.normal(size=900)
    y = np.where(sign * y > 2.2, sign * 2.0, y)
    weights = tuple(rng.uniform(0.99, 1.01, size=len(v)) if weighted else np.ones(len(v)) for v in (x, y))
    row = tails(Case(Sides.of(x, y, weights=weights if weighted else (None, None)), effort=QUICK))[0]
    value, _ = _tail(x, y, weights)
    assert 0.8 * value <= row.value <= value * (1 + 1e-9), "cuts grow by half, so the largest one may be missed by little"
    assert row.p <= 0.03
    where = "above 2" if sign > 0 else "at or below -2"
    assert f"column 'x0': none of the generated values lie {where}" in row.claim and "% of the real ones" in row.claim


def test_tails_know_ties_and_short_ends() -> None:
    rng = np.random.default_rng(13)
    x, y = rng.poisson(0.8, size=5000), rng.poisson(0.8, size=5000)  # nearly half of the rows are 0: there is no low tail
    y = np.where(y > 3, 3, y)
    row = tails(Case(Sides.of(x, y, [Column("count", Integer())]), effort=QUICK))[0]
    assert row.value == pytest.approx(max(_relative(x, y, above) for above in (2, 3, 4)), rel=1e-9)
    assert "none of the generated values lie above 3, but" in row.claim
    coin = rng.integers(0, 2, size=(2, 2000))
    assert not tails(Case(Sides.of(*coin, [Column("coin", Integer())]), effort=QUICK)), "all values are far from rare"
    assert not tails(Case(Sides.of(rng.normal(size=150), rng.normal(size=150)), effort=QUICK)), "too few rows for a tail"


def _relative(x: np.ndarray, y: np.ndarray, above: float) -> float:
    share = np.mean(np.concatenate([x, y]) > above)
    return abs(np.mean(x > above) - np.mean(y > above)) / np.sqrt(share * (1 - share))


def test_small_shares_are_told_with_two_figures() -> None:
    rng = np.random.default_rng(14)
    x, y = rng.normal(size=100_000), rng.normal(size=100_000)
    y = np.where((y > 3.1) & (rng.random(len(y)) < 0.85), 3.0, y)
    row = tails(Case(Sides.of(x, y, ["x4"]), effort=Effort(draws=99, more_draws=0, null_rows=2000)))[0]
    above = [np.mean(v > float(row.claim.split(" above ")[1].split(",")[0])) for v in (y, x)]
    told = [float(part.split(" %")[0].split()[-1]) for part in row.claim.split(", but ")]
    assert row.claim.startswith("column 'x4': only 0.0") and " above 3." in row.claim
    assert told == pytest.approx([100 * share for share in above], abs=0.002)


@pytest.mark.parametrize("column", [Column("real"), Column("count", Integer()), CIRCLE, Column("c", Categorical(tuple(range(30))))])
@pytest.mark.parametrize("weighted", [False, True])
def test_separation_is_that_of_the_histogram(column: Column, weighted: bool) -> None:
    rng = np.random.default_rng(15)
    draw = {
        "real": lambda n: np.exp(rng.normal(size=n)),
        "integer": lambda n: rng.poisson(3, size=n),
        "periodic": lambda n: rng.vonmises(3, 1, size=n) % (2 * np.pi),
        "categorical": lambda n: rng.binomial(29, 0.3, size=n),
    }[column.support.name]
    parts = [draw(n).astype(float) for n in (500, 300)]
    weights = tuple(rng.exponential(size=len(v)) if weighted else np.ones(len(v)) for v in parts)
    row = separation(Case(Sides.of(*parts, [column], weights=weights if weighted else (None, None)), effort=QUICK))[0]
    placed, _, edges = binned(column, parts)
    g, h = (
        np.bincount(np.clip(p, -1, len(edges) - 1) + 1, weights=w, minlength=len(edges) + 1) / w.sum()
        for p, w in zip(placed, weights, strict=True)
    )
    expected = 0.5 * np.sum(np.square(g - h) / np.where(g + h > 0, g + h, 1))
    assert row.value == pytest.approx(expected, rel=1e-9) and row.alarm == "never"
    assert np.isnan(row.p) == weighted


def test_values_do_not_depend_on_the_budget() -> None:
    x, y = _two(np.random.default_rng(3), 3000, 2500)
    values = [w1(Case(Sides.of(x, y), effort=Effort(draws=49, more_draws=0, null_rows=rows)))[0].value for rows in (200, 10_000)]
    assert values[0] == values[1] == pytest.approx(stats.wasserstein_distance(x, y))


def test_a_null_drawn_on_fewer_rows_and_in_cells_is_that_of_all_rows() -> None:
    rng = np.random.default_rng(4)
    columns = [Column("real"), Column("count", Integer()), CIRCLE, Column("c", Categorical(tuple(range(60))))]

    def side(n: int) -> np.ndarray:
        return np.stack([rng.normal(size=n), rng.poisson(3, size=n), rng.uniform(0, 6.28, n), rng.integers(0, 60, n)], axis=1)

    sides = Sides.of(side(3000), side(2000), columns)
    whole, part = (Case(sides, effort=Effort(draws=600, more_draws=0, null_rows=rows)) for rows in (3000, 800))
    assert len(Pool.of(sides)) > CELLS
    for measure in (w1, ks, kuiper, tv, cvm, tails, separation):
        for one, two in zip(measure(whole), measure(part), strict=True):
            assert two.null == pytest.approx(one.null, rel=0.08), one
            assert two.null_error == pytest.approx(one.null_error, rel=0.2), one


def test_the_null_of_ks_is_the_exact_law() -> None:
    rng = np.random.default_rng(5)
    row = ks(Case(Sides.of(rng.normal(size=80), rng.normal(size=60)), effort=Effort(draws=2000, more_draws=0)))[0]
    law = stats.kstwobign.mean() * np.sqrt(1 / 80 + 1 / 60)
    assert row.null == pytest.approx(law, rel=0.1)
    assert row.p == pytest.approx(stats.ks_2samp(*_same(5)).pvalue, abs=0.04)


def _same(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=80), rng.normal(size=60)


@pytest.mark.parametrize("shift", [0.1, 0.5])
def test_far_from_the_null_the_value_is_the_truth_within_its_error(shift: float) -> None:
    pulls = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        rows = int(100 / shift**2)
        row = w1(
            Case(Sides.of(rng.normal(size=rows), shift + rng.normal(size=rows)), effort=Effort(draws=30, more_draws=0, null_rows=300))
        )[0]
        pulls.append((row.value - shift) / row.error)
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.45 and abs(np.mean(pulls)) < 0.75


def test_errors_are_the_spread_of_repeated_samples_far_from_the_null() -> None:
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        made = Sides.of(rng.normal(size=1500), 0.5 + 0.8 * rng.normal(size=1200), seed=seed)
        case = Case(made, effort=Effort(draws=30, more_draws=0, null_rows=300), seed=seed)
        for row in (measure(case)[0] for measure in (w1, ks, cvm, tails, separation)):
            found.setdefault(row.name, []).append((row.value, row.error))
    for name, made in found.items():
        values, errors = np.array(made).T
        assert 0.7 < errors.mean() / values.std(ddof=1) < 1.6, (name, errors.mean() / values.std(ddof=1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x + 0.1, "higher by 0.1"),
        (lambda x: np.where(np.abs(x) > 2, 0.9 * x, x) * 0.93, "less wide"),
        (lambda x: np.where(x > 0, np.abs(x), -(np.abs(x) ** 1.5)), "lie at or below"),
    ],
)
def test_changes_of_one_in_ten_columns_are_found_and_named(change, words: str) -> None:
    from gnomon.checks.reports.report import Report

    rng = np.random.default_rng(6)
    real, generated = rng.normal(size=(10_000, 10)), rng.normal(size=(10_000, 10))
    generated[:, 7] = change(generated[:, 7])
    case = Case(Sides.of(real, generated), effort=Effort(draws=299, more_draws=0, null_rows=2000))
    report = Report(w1(case) + ks(case))
    assert report.findings and all(finding.startswith("Column 'x7'") for finding in report.findings)
    assert any(words in finding for finding in report.findings), report.findings


def test_rare_categories_have_an_honest_null_at_full_size() -> None:
    rng = np.random.default_rng(7)
    column = Column("c", Categorical(tuple(range(3000))))
    p = []
    for seed in range(20):
        made = Sides.of(rng.integers(0, 3000, 4000), rng.integers(0, 3000, 4000), [column], seed=seed)
        p.append(tv(Case(made, effort=Effort(draws=99, more_draws=0, null_rows=300)))[0].p)
    assert 0.25 < np.mean(p) < 0.75


def test_weighted_sides_larger_than_their_null_may_lack_categories_in_it() -> None:
    rng = np.random.default_rng(16)
    codes = [np.append(rng.integers(0, 3, 2999), 3) for _ in range(2)]  # the last category occurs once
    weights = (rng.exponential(size=3000), rng.exponential(size=3000))
    made = Sides.of(*codes, [Column("c", Categorical(("u", "v", "w", "rare")))], weights=weights)
    (row,) = separation(Case(made, effort=Effort(draws=99, more_draws=0, null_rows=200)))
    assert row.null == pytest.approx(row.value, abs=5 * row.null_error) and np.isnan(row.p)
