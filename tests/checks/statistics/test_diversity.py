"""Diversity beside that of real rows: valid under the null, and a collapsed or too wide generator is seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist

from gnomon.checks import Case, Effort, LeftOut, Sides
from gnomon.checks.points import points
from gnomon.checks.statistics.diversity import diversity, vendi_score
from tests.checks.samples import sides

QUICK = Effort(draws=99, more_draws=0, kernel_rows=600, transport_rows=60, few_draws=49)

WORLDS: dict[str, Callable[[int], Sides]] = {
    "as many rows": lambda seed: sides(seed, 150, 150),
    "unequal": lambda seed: sides(seed, 260, 120),
    "weights on one": lambda seed: sides(seed, 500, 200, weights="one"),
    "weights on both": lambda seed: sides(seed, 700, 700, weights="same"),
    "paired": lambda seed: sides(seed, 150, 150, paired=True),
    "two values, as often": lambda seed: Sides.of(*np.random.default_rng(seed).integers(0, 2, size=(2, 150, 1)).astype(float), seed=seed),
}


def _repeats(world: str, repeats: int) -> tuple[dict, dict]:
    p, covered = defaultdict(list), defaultdict(list)
    for seed in range(repeats):
        case = Case(WORLDS[world](seed), effort=QUICK, seed=seed)
        for row in (*diversity(case), *vendi_score(case)):
            p[row.name].append(row.p)
            covered[row.name].append(abs(row.value - row.null) <= row.error)
    return p, covered


@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_valid_and_errors_cover(world: str) -> None:
    p, covered = _repeats(world, 40)
    for name in ("diversity", "vendi"):
        assert stats.kstest(p[name], "uniform", alternative="greater").pvalue > 0.05 / (2 * len(WORLDS)), (name, sorted(p[name]))
        assert 0.42 <= np.mean(covered[name]) <= 0.95, (name, np.mean(covered[name]))


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_valid_and_errors_cover_in_200_repeats(world: str) -> None:
    p, covered = _repeats(world, 200)
    for name in ("diversity", "vendi"):
        assert stats.kstest(p[name], "uniform", alternative="greater").pvalue > 0.05 / (2 * len(WORLDS)), (name, sorted(p[name]))
        assert 0.58 <= np.mean(covered[name]) <= (0.78 if world != "two values, as often" else 0.85), (name, np.mean(covered[name]))


def test_the_value_is_a_ratio_of_mean_distances() -> None:
    made = sides(0, 80, 80)
    (row,) = diversity(Case(made, effort=QUICK))
    both = points(made)
    assert row.value == pytest.approx(pdist(both.generated).mean() / pdist(both.real).mean(), rel=1e-9)
    assert row.null == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("scale", "word"), [(0.7, "too much alike"), (1.4, "too diverse")])
def test_both_directions_are_seen(scale: float, word: str) -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(2, 400, 5))
    case = Case(Sides.of(real, scale * generated), effort=Effort(draws=199, more_draws=200, transport_rows=150))
    (row,), (vendi,) = diversity(case), vendi_score(case)
    assert row.p <= 0.01 and word in row.claim and (row.value < 1) == (scale < 1)
    assert vendi.p <= 0.05 and (vendi.value < vendi.null) == (scale < 1) and vendi.alarm == "never"


def test_a_generator_that_lost_most_modes_is_seen() -> None:
    rng = np.random.default_rng(1)
    centres = 4 * rng.normal(size=(10, 6))
    real = centres[rng.integers(0, 10, size=400)] + 0.3 * rng.normal(size=(400, 6))
    generated = centres[rng.integers(0, 2, size=400)] + 0.3 * rng.normal(size=(400, 6))
    (row,) = diversity(Case(Sides.of(real, generated), effort=Effort(draws=199, more_draws=200)))
    assert row.value < 0.8 and row.p <= 0.01


def test_errors_far_from_the_null_are_the_spread_over_repetitions() -> None:
    for paired in (False, True):
        made = defaultdict(list)
        for seed in range(50):
            rng = np.random.default_rng(seed)
            shared = rng.normal(size=(150, 1)) * (3 if paired else 0)
            real, generated = rng.normal(size=(2, 150, 4)) * np.array([1.0, 0.3]).reshape(2, 1, 1) + shared
            case = Case(Sides.of(real, generated, paired=paired, seed=seed), effort=QUICK, seed=seed)
            for row in (*diversity(case), *vendi_score(case)):
                made[row.name].append((row.value, row.error, abs(row.pull)))
        for name, several in made.items():
            values, errors, pulls = np.array(several).T
            if np.mean(pulls) > 5 and not (name == "vendi" and paired):  # there the kernel's width moves along with the shared part
                assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35), (name, paired)
        assert np.mean(np.array(made["diversity"])[:, 2]) > 5


def test_reasons_for_leaving_out() -> None:
    with pytest.raises(LeftOut, match="all real rows are the same"):
        diversity(Case(Sides.of(np.ones((40, 2)), np.random.default_rng(0).normal(size=(40, 2)))))
    with pytest.raises(LeftOut, match="2 rows on the smaller side"):
        vendi_score(Case(sides(0, 3, 2)))
    assert diversity(Case()) == vendi_score(Case()) == []
