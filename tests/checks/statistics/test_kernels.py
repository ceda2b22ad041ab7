"""Kernel distances as statistics: values by the measures, relabelled blocks against brute force, p-values and errors that hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Sides
from gnomon.checks.gathering.sources import assemble
from gnomon.checks.measures import kernels as measures
from gnomon.checks.measures.kernels import Distance, GaussianMixture, Kernel, Polynomial, block_sums
from gnomon.checks.nulls import Pool
from gnomon.checks.points import points
from gnomon.checks.statistics import blocks as blocks_file
from gnomon.checks.statistics.blocks import Blocks, SquaredDistance
from gnomon.checks.statistics.kernels import _by_pairs, energy, kid, mmd
from gnomon.data import Examples, Image, Spec
from tests.checks.samples import WORLDS, sides

QUICK = Effort(draws=99, more_draws=0)
BY_FEATURES = Effort(draws=99, more_draws=0, kernel_rows=10)


@pytest.fixture
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of several rows even for short sides."""
    monkeypatch.setattr(blocks_file, "BLOCKS", 30)
    monkeypatch.setattr(blocks_file, "MOST", 120)


# ---- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", WORLDS)
def test_values_are_those_of_the_measures_on_points(world: str) -> None:
    made = WORLDS[world](0)
    seen = points(made)
    weights = (made.real.weight, made.generated.weight)
    for kernel, row in ((Distance(), energy(Case(made, effort=QUICK))[0]), (_kernel(made), mmd(Case(made, effort=QUICK))[0])):
        if made.paired:
            wanted = _paired_by_brute_force(kernel, seen.real, seen.generated)
        else:
            wanted = measures.unbiased(kernel, seen.real, seen.generated, weights=weights)
        assert row.value == pytest.approx(wanted, abs=2e-3 * row.null_error), row
        assert row.where == "all columns" and row.n == made.rows


def _kernel(made: Sides) -> GaussianMixture:
    """The kernel that `mmd` takes where the median is taken over all rows."""
    middle = measures.median_distance(points(made).pooled)
    return GaussianMixture(tuple(factor * middle for factor in measures.FACTORS))


def _paired_by_brute_force(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> float:
    total, count = 0.0, len(x)
    for i in range(count):
        others = np.arange(count) != i
        for first, second, sign in ((x, x, 1), (y, y, 1), (x, y, -1), (y, x, -1)):
            total += sign * kernel.between(np.repeat(first[i : i + 1], count, axis=0), second)[others].sum()
    return total / (count * (count - 1))


def test_random_features_take_over_where_there_are_many_rows() -> None:
    made = sides(1, 400, 300)
    made = Sides.of(made.real.values, made.generated.values + [0.5, 0, 0, 0, 0], made.columns)
    by_pairs, by_features = mmd(Case(made, effort=QUICK))[0], mmd(Case(made, effort=BY_FEATURES))[0]
    assert "all pairs of rows" in by_pairs.note and "2,050 random features of all rows" in by_features.note
    choice = float(by_features.note.split("choice adds ± ")[1].split()[0])
    assert 0.005 * by_pairs.value < choice < 0.3 * by_pairs.value
    assert abs(by_features.value - by_pairs.value) < 4 * choice
    assert by_features.null_error == pytest.approx(by_pairs.null_error, rel=0.25)
    assert by_features.n == 300


def test_energy_and_kid_draw_rows_where_there_are_many() -> None:
    row = energy(Case(sides(0, 300, 200), effort=Effort(draws=49, more_draws=50, kernel_rows=80)))[0]
    assert row.n == 80 and "on 80 real and 80 generated rows drawn at random" in row.note
    assert row.alarm == "never" and "49 times" in row.note


def _images(seed: int, shift: float = 0.0) -> Sides:
    import torch

    pixels = torch.rand(120, 1, 5, 4, generator=torch.Generator().manual_seed(seed))
    return assemble(Spec(Image(1, (5, 4))), Examples(pixels[:60]), Examples(pixels[60:] + shift))


def test_kid_is_for_pixels_and_what_an_encoder_sees() -> None:
    assert kid(Case(sides(0), effort=QUICK)) == []
    made = _images(0)
    row = kid(Case(made, effort=QUICK))[0]
    assert row.value == pytest.approx(measures.kid(points(made).real, points(made).generated), abs=1e-3 * row.null_error)
    assert row.alarm == "never" and "pixels" in row.note
    shifted = kid(Case(_images(0, 0.3), effort=QUICK))[0]
    assert shifted.p <= 0.01 < row.p


# ---- relabelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kernel", [GaussianMixture((1.0, 2.0)), Polynomial(), Distance()])
def test_forms_of_relabelled_blocks_are_those_of_all_their_rows(world: str, kernel: Kernel, few_blocks: None) -> None:
    made = points(WORLDS[world](0))
    found = _by_pairs(kernel, made, np.random.default_rng(0))
    blocks, rows = found.blocks, made.pooled
    count = len(rows)
    assert len(blocks) < count
    matrix = np.stack([kernel.between(np.repeat(rows[i : i + 1], count, axis=0), rows) for i in range(count)])
    left_out = np.eye(count, dtype=bool)
    if made.sides.paired:
        left_out |= np.roll(left_out, count // 2, axis=1)
    multipliers = np.concatenate([blocks.observed()[None], *blocks.relabelled(7, np.random.default_rng(1))])
    coefficients = multipliers[:, blocks.blocks] * blocks.weight
    assert coefficients[0] == pytest.approx(Pool.of(made.sides).observed())
    assert np.abs(coefficients.sum(axis=1)).max() < 1e-12
    share = (blocks.together()[blocks.blocks] * blocks.weight)[:, None]
    pairs = np.where(left_out, 0.0, share * share.T)
    middle = (pairs * matrix).sum() / pairs.sum()
    wanted = np.einsum("bi,bj,ij->b", coefficients, coefficients, np.where(left_out, 0.0, matrix - middle))
    assert found.compared(multipliers) == pytest.approx(wanted, abs=20 * found.rounding)


def test_blocks_hold_equally_many_rows_of_one_side(few_blocks: None) -> None:
    blocks = Blocks.of(Pool(200, 71), np.random.default_rng(0))
    assert blocks.real == 67 and blocks.acting == (66, 23)
    sizes = np.bincount(blocks.blocks)
    assert sizes.tolist() == [3] * 66 + [2] + [3] * 23 + [2], "what is left over keeps its label"
    assert (blocks.blocks[:200] < 67).all() and (blocks.blocks[200:] >= 67).all()
    assert np.any(np.diff(blocks.blocks[:200]) < 0), "rows are shuffled"
    for batch in blocks.relabelled(50, np.random.default_rng(1)):
        coefficients = batch[:, blocks.blocks] * blocks.weight
        assert ((coefficients > 0).sum(axis=1) == 200).all()
        assert set(np.round(np.unique(coefficients), 12)) == {round(1 / 200, 12), round(-1 / 71, 12)}
        assert (batch[:, [66, 90]] == [1.0, -1.0]).all()
    capped = Blocks.of(Pool(5000, 20), np.random.default_rng(0))
    assert len(capped) == 121 and capped.acting == (100, 20) and np.bincount(capped.blocks)[100] == 4900


def test_rows_of_short_sides_are_relabelled_one_by_one() -> None:
    blocks = Blocks.of(Pool(2, 3), np.random.default_rng(1))
    draws = np.concatenate(list(blocks.relabelled(6000, np.random.default_rng(1))))[:, blocks.blocks] > 0
    counts = np.bincount(draws @ (2 ** np.arange(5)))
    assert (counts > 0).sum() == 10
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-3


def test_pairs_are_swapped_together(few_blocks: None) -> None:
    blocks = Blocks.of(Pool(100, 100, paired=True), np.random.default_rng(0))
    draws = np.concatenate(list(blocks.relabelled(20, np.random.default_rng(1))))[:, blocks.blocks]
    assert (draws[:, :100] == -draws[:, 100:]).all() and set(np.unique(draws)) == {-1.0, 1.0}


def test_the_null_of_blocks_is_that_of_single_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    made = Sides.of(rng.normal(size=(400, 3)), rng.normal(size=(400, 3)))
    effort = Effort(draws=1500, more_draws=0)
    rows = energy(Case(made, effort=effort))[0]
    monkeypatch.setattr(blocks_file, "BLOCKS", 100)
    together = energy(Case(made, effort=effort))[0]
    assert "in 200 blocks" in together.note and "blocks" not in rows.note
    assert together.value == pytest.approx(rows.value, abs=1e-4 * rows.null_error)
    assert together.null_error == pytest.approx(rows.null_error, rel=0.15) and together.error == pytest.approx(rows.error, rel=0.15)
    assert together.p == pytest.approx(rows.p, abs=0.08)


def test_ties_count_as_reaching_the_data() -> None:
    """Of two equal rows a side and one that differs, single precision must not decide which relabelling is larger."""
    values = np.repeat([0.0, 0.1, 0.3], [6, 6, 2])
    for measure in (mmd, energy):
        p = []
        for seed in range(40):
            drawn = np.random.default_rng(seed).permutation(values)
            p.append(measure(Case(Sides.of(drawn[:7], drawn[7:], seed=seed), effort=QUICK, seed=seed))[0].p)
        assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01, sorted(p)
    row = mmd(Case(Sides.of(np.ones((30, 2)), np.ones((40, 2))), effort=QUICK))[0]
    assert (row.value, row.error, row.null_error, row.p) == (0.0, 0.0, 0.0, 1.0)


# ---- p-values and errors -----------------------------------------------------------------------------------------------


def _repeats(world: Callable[[int], Sides], effort: Effort, repeats: int) -> tuple[dict, dict]:
    p, covered = defaultdict(list), defaultdict(list)
    for seed in range(repeats):
        case = Case(world(seed), effort=effort, seed=seed)
        for measure in (mmd, energy):
            row = measure(case)[0]
            p[row.name].append(row.p)
            covered[row.name].append(abs(row.value - row.null) <= row.error)
    return p, covered


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("how", ["rows", "blocks"])
def test_p_values_are_uniform_and_errors_cover(world: str, how: str, request: pytest.FixtureRequest) -> None:
    if how == "blocks":
        request.getfixturevalue("few_blocks")
    p, covered = _repeats(WORLDS[world], QUICK if how == "rows" else BY_FEATURES, 40)
    for name in p:
        assert stats.kstest(p[name], "uniform").pvalue > 0.05 / (2 * 2 * len(WORLDS)), sorted(p[name])
        assert 0.45 <= np.mean(covered[name]) <= 0.9, (name, np.mean(covered[name]))


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("how", ["rows", "features"])
def test_p_values_are_uniform_and_errors_cover_in_200_repeats(world: str, how: str) -> None:
    effort = Effort(draws=199, more_draws=0, kernel_rows=4000 if how == "rows" else 10)
    p, covered = _repeats(WORLDS[world], effort, 200)
    for name in p:
        assert stats.kstest(p[name], "uniform").pvalue > 0.05 / (2 * 2 * len(WORLDS)), sorted(p[name])
        assert 0.58 <= np.mean(covered[name]) <= 0.78, (name, np.mean(covered[name]))


def _shifted(seed: int, shift: float, kind: str) -> Sides:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(150, 3)), rng.normal(size=(150, 3))
    if kind == "paired":
        condition = rng.normal(size=150)
        x[:, 2] = y[:, 2] = condition
        x[:, 1] += condition
        y[:, 1] += condition
    y[:, 0] += shift
    weights = (rng.exponential(size=150), rng.exponential(size=150)) if kind == "weights" else (None, None)
    return Sides.of(x, y, weights=weights, paired=kind == "paired", seed=seed)


@pytest.mark.parametrize("kind", ["plain", "weights", "paired"])
@pytest.mark.parametrize("effort", [QUICK, BY_FEATURES], ids=["pairs", "features"])
def test_far_from_the_null_the_error_is_the_spread_over_repetitions(kind: str, effort: Effort) -> None:
    rows = [mmd(Case(_shifted(seed, 0.8, kind), effort=effort))[0] for seed in range(40)]
    spread, error = np.std([row.value for row in rows]), np.sqrt(np.mean([row.error**2 for row in rows]))
    assert error == pytest.approx(spread, rel=0.35), (error, spread)
    assert spread > 2 * np.mean([row.null_error for row in rows])


@pytest.mark.parametrize("world", ["as many rows", "unequal", "paired"])
def test_under_the_null_the_linear_part_is_noise_of_twice_its_variance(world: str) -> None:
    """That is what the error of a distant value takes off again."""
    ratios = []
    for seed in range(30):
        found = _by_pairs(Distance(), points(WORLDS[world](seed)), np.random.default_rng(0))
        ratios.append(found.linear**2 / found.null(QUICK, np.random.default_rng(1))[1].var())
    assert np.mean(ratios) == pytest.approx(2.0, rel=0.25), np.mean(ratios)


# ---- what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effort", [Effort(draws=499), Effort(draws=499, kernel_rows=100)], ids=["pairs", "features"])
def test_a_wrong_correlation_and_a_lost_mode_are_found(effort: Effort) -> None:
    from gnomon.checks.reports.report import Report

    rng = np.random.default_rng(8)
    plain = rng.normal(size=(1500, 4))
    related = rng.normal(size=(1500, 4))
    related[:, 1] = 0.4 * related[:, 0] + np.sqrt(1 - 0.16) * related[:, 1]
    modes = rng.normal(size=(1500, 4))
    modes[:150] += 4.0
    for real, generated in ((related, plain), (modes, plain)):
        report = Report(mmd(Case(Sides.of(real, generated), effort=effort)))
        assert report.findings and report.findings[0].startswith("All columns: generated rows do not have the joint distribution")
    assert not Report(mmd(Case(Sides.of(plain, rng.normal(size=(1500, 4))), effort=effort))).findings


def test_more_is_drawn_only_where_the_first_draws_were_exceeded() -> None:
    rng = np.random.default_rng(9)
    x, effort = rng.normal(size=(60, 2)), Effort(draws=99, more_draws=300)
    same, other = (mmd(Case(Sides.of(x, rng.normal(size=(60, 2)) + shift), effort=effort))[0] for shift in (0.0, 3.0))
    assert "99 times" in same.note and "399 times" in other.note and other.p == pytest.approx(1 / 400)


def test_reasons_for_leaving_out() -> None:
    for measure in (mmd, energy):
        with pytest.raises(LeftOut, match="2 rows on the smaller side"):
            measure(Case(sides(0, 30, 2), effort=QUICK))
        with pytest.raises(LeftOut, match="weights leave less than two rows"):
            measure(Case(Sides.of(np.arange(9.0), np.arange(9.0), weights=(np.eye(9)[0], None)), effort=QUICK))
        assert measure(Case(effort=QUICK)) == []


def test_a_squared_distance_of_blocks_is_unbiased_by_its_own_definition() -> None:
    rng = np.random.default_rng(10)
    rows = rng.normal(size=(25, 2))
    blocks = Blocks.of(Pool(15, 10), rng)
    sums = block_sums(Distance(), rows, blocks.blocks, blocks.weight)
    assert SquaredDistance(blocks, sums, 0.0).value == pytest.approx(measures.energy_distance(rows[:15], rows[15:]), rel=1e-9)
