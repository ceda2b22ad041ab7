"""Memorisation and copies of training rows: seen where they are, and not mistaken for other faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from gnomon.checks import Case, Effort, LeftOut, Side, Sides
from gnomon.checks.gathering.sources import assemble
from gnomon.checks.statistics.duplicates import copies
from gnomon.checks.statistics.memorisation import NearestRows, memorisation
from gnomon.data import Categorical, Column, Examples, Image, Integer, Spec
from tests.checks.samples import draw, sides

QUICK = Effort(draws=99, more_draws=0, neighbour_rows=200)
DRAWN = Effort(draws=199, more_draws=200)


def _trained(made: Sides, seed: int, rows: int = 300) -> Sides:
    return replace(made, train=Side(draw(np.random.default_rng([seed, 7]), rows)))


def _whole(seed: int) -> Sides:
    rng = np.random.default_rng(seed)
    one, two, three = (np.minimum(rng.poisson(1.5, size=(rows, 4)), 4).astype(float) for rows in (200, 200, 300))
    return replace(Sides.of(one, two, seed=seed), train=Side(three))


WORLDS: dict[str, Callable[[int], Sides]] = {
    "as many rows": lambda seed: _trained(sides(seed, 160, 160), seed),
    "unequal": lambda seed: _trained(sides(seed, 260, 120), seed),
    "weights on one": lambda seed: _trained(sides(seed, 500, 200, weights="one"), seed),
    "weights on both": lambda seed: _trained(sides(seed, 700, 700, weights="same"), seed),
    "paired": lambda seed: _trained(sides(seed, 160, 160, paired=True), seed),
    "whole numbers": _whole,
}


def _repeats(world: str, repeats: int) -> tuple[dict, dict]:
    p, covered = defaultdict(list), defaultdict(list)
    for seed in range(repeats):
        case = Case(WORLDS[world](seed), effort=QUICK, seed=seed)
        for row in (*memorisation(case), *copies(case)):
            p[row.name, row.where].append(row.p)
            covered[row.name, row.where].append(abs(row.value - row.null) <= row.error)
    return p, covered


@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_uniform_and_errors_cover(world: str) -> None:
    p, covered = _repeats(world, 40)
    key = ("memorisation", "training rows")
    for other in p:
        assert stats.kstest(p[other], "uniform", alternative="greater").pvalue > 0.05 / (3 * len(WORLDS)), (other, sorted(p[other]))
    assert stats.kstest(p[key], "uniform").pvalue > 0.001 and 0.45 <= np.mean(covered[key]) <= 0.9
    if world == "whole numbers":  # elsewhere nothing is ever equal
        for where in ("real rows", "training rows"):
            assert 0.42 <= np.mean(covered["copies", where]) <= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_uniform_and_errors_cover_in_200_repeats(world: str) -> None:
    p, covered = _repeats(world, 200)
    for key in p:
        assert stats.kstest(p[key], "uniform", alternative="greater").pvalue > 0.05 / (3 * len(WORLDS)), (key, sorted(p[key]))
        if key[0] == "memorisation" or world == "whole numbers":
            assert 0.58 <= np.mean(covered[key]) <= 0.78, (key, np.mean(covered[key]))


def _case(generated: np.ndarray, train: np.ndarray, seed: int = 1, effort: Effort = DRAWN) -> Case:
    real = np.random.default_rng([seed, 3]).normal(size=(len(generated), generated.shape[1]))
    return Case(replace(Sides.of(real, generated, seed=seed), train=Side(train)), effort=effort, seed=seed)


def test_rows_near_to_training_rows_are_seen() -> None:
    rng = np.random.default_rng(0)
    train, chosen = rng.normal(size=(400, 4)), rng.integers(0, 400, size=500)
    (row,) = memorisation(_case(train[chosen] + 0.05 * rng.normal(size=(500, 4)), train))
    assert row.value > 0.9 and row.null == 0.5 and row.p <= 1 / 400 and row.p_for_findings == row.p
    assert row.claim.startswith("training rows: generated rows lie nearer")


@pytest.mark.parametrize("fault", ["narrow", "wide", "moved", "collapsed"])
def test_other_faults_are_not_taken_for_memorisation(fault: str) -> None:
    """Rows that crowd where there are many training rows are near to these: by plain distances that would be 0.6 to 0.98."""
    rng = np.random.default_rng(0)
    train, generated = rng.normal(size=(3000, 8)), rng.normal(size=(1500, 8))
    changed = {"narrow": 0.8 * generated, "wide": 1.3 * generated, "moved": generated + 0.5, "collapsed": 0.3 * generated}[fault]
    (row,) = memorisation(_case(changed, train))
    assert row.value < 0.55 and row.p_for_findings == 1, str(row)


def test_errors_far_from_the_null_are_the_spread_over_repetitions() -> None:
    train = np.random.default_rng(9).normal(size=(300, 3))
    for paired in (False, True):
        values, errors = [], []
        for seed in range(60):
            rng = np.random.default_rng(seed)
            generated = np.where(rng.random((200, 1)) < 0.5, train[rng.integers(0, 300, 200)] + 0.02, rng.normal(size=(200, 3)))
            made = _case(generated, train, seed, QUICK)
            assert made.sides is not None
            (row,) = memorisation(replace(made, sides=replace(made.sides, paired=paired)))
            values.append(row.value)
            errors.append(row.error)
        assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3), paired


def test_copies_are_counted_and_named() -> None:
    rng = np.random.default_rng(0)
    train, fresh = 50 + 2 * rng.normal(size=(400, 3)), 50 + 2 * rng.normal(size=(500, 3))
    generated = np.where(np.arange(500)[:, None] < 100, train[:100].repeat(5, axis=0).astype(np.float32), fresh)
    real = 50 + 2 * rng.normal(size=(500, 3))
    case = Case(replace(Sides.of(real, generated), train=Side(train)), effort=DRAWN)
    of_real, of_training = copies(case)
    assert of_training.value == pytest.approx(0.2) and of_training.null == 0 and of_training.p <= 1 / 400
    assert of_training.claim.startswith("training rows: generated rows are copies of them: 20 % of them equal one, as 0 %")
    assert of_real.value == 0 and of_real.p > 0.05 and of_training.corrected == pytest.approx(2 * of_training.p)


def test_copies_beside_what_held_out_rows_do() -> None:
    """Whole numbers equal training rows by themselves."""
    rng = np.random.default_rng(1)
    train = rng.integers(0, 3, size=(300, 3)).astype(float)
    real, generated = rng.integers(0, 3, size=(2, 300, 3)).astype(float)
    row = copies(Case(replace(Sides.of(real, generated), train=Side(train)), effort=DRAWN))[1]
    assert row.value > 0.99 and row.null > 0.99 and row.p > 0.05


def test_the_nearest_pairs_are_left_for_the_report() -> None:
    columns = (Column("size"), Column("count", Integer(0, None)), Column("colour", Categorical(("red", "green"))))
    rng = np.random.default_rng(2)
    real, generated, train = (
        np.stack([rng.normal(size=rows), rng.poisson(30, size=rows), rng.integers(0, 2, size=rows)], axis=1).astype(float)
        for rows in (100, 100, 80)
    )
    generated[17] = train[5]
    case = Case(replace(Sides.of(real, generated, columns), train=Side(train)), effort=DRAWN)
    memorisation(case)
    table = case.pictures["neighbours"]
    assert isinstance(table, NearestRows) and table.names == ("size", "count", "colour") and table.pixels is None
    assert table.distances[0] == 0 and list(table.distances) == sorted(table.distances) and table.usual > 0
    assert table.generated[0] == table.training[0] == (train[5, 0], int(train[5, 1]), ("red", "green")[int(train[5, 2])])
    assert len(table.generated) == len(table.training) == len(table.distances) == 8


def test_images_are_compared_by_their_pixels() -> None:
    rng = np.random.default_rng(3)
    train, real, generated = (rng.random((rows, 1, 5, 4)).astype(np.float32) for rows in (60, 100, 100))
    generated[:50] = train[:50]
    import torch

    examples = [Examples(torch.from_numpy(part)) for part in (real, generated, train)]
    made = assemble(Spec(Image(1, (5, 4))), examples[0], examples[1], train=examples[2])
    case = Case(made, effort=DRAWN)
    (row,), (_, copied) = memorisation(case), copies(case)
    assert row.value > 0.7 and row.p <= 0.01 and copied.value == pytest.approx(0.5) and copied.p <= 0.01
    pixels = case.pictures["neighbours"].pixels
    assert pixels is not None and pixels[0].shape == (8, 1, 5, 4) and (pixels[0] == pixels[1]).all()


def test_reasons_for_leaving_out() -> None:
    with pytest.raises(LeftOut, match="not at hand; pass train="):
        memorisation(Case(sides(0)))
    with pytest.raises(LeftOut, match="3 training rows; it wants at least 40"):
        memorisation(Case(_trained(sides(0), 0, rows=3)))
    assert [row.where for row in copies(Case(_trained(sides(0), 0, rows=3), effort=QUICK))] == ["real rows"]
    assert memorisation(Case()) == []


@pytest.mark.slow
def test_resampled_training_rows_at_ten_thousand_rows_of_ten_columns() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(10_000, 10))
    case = _case(train[rng.integers(0, 10_000, size=10_000)], train, effort=Effort.of(None, columns=10))
    (row,), (_, copied) = memorisation(case), copies(case)
    assert row.value > 0.99 and row.p < 0.0003 and copied.value == 1 and copied.p < 0.0003 and copied.p_for_findings < 0.001
