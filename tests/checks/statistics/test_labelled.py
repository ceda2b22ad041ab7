"""Statistics by classes: their nulls, errors near and far, what they name, and when a classifier is not believed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from gnomon.checks import Case, Effort, LeftOut
from gnomon.checks.case import Labelled
from gnomon.checks.measures import classes as measures
from gnomon.checks.statistics.labelled import class_share, inception_score, mode_score

SHARES = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
QUICK = Effort(draws=99, more_draws=0)
MEASURES = (class_share, inception_score, mode_score)


def _seen(generator: np.random.Generator, rows: int, shares: np.ndarray = SHARES, *, sure: float = 4.0, mood: np.ndarray | None = None):
    """``(rows, classes)`` what a good classifier says of rows with these shares of classes."""
    truth = generator.choice(len(shares), p=shares, size=rows)
    logits = generator.normal(size=(rows, len(shares))) + sure * np.eye(len(shares))[truth]
    return softmax(logits if mood is None else logits + mood, axis=1)


def _labelled(real: np.ndarray, generated: np.ndarray, accuracy: float = 0.95, chance: float = 0.3, **more) -> Labelled:  # noqa: ANN003
    return Labelled("sort", tuple("abcdefghij"[: real.shape[1]]), real, generated, accuracy, chance, **more)


def _world(name: str, seed: int) -> Labelled:
    rng = np.random.default_rng([seed, 4])
    if name == "unequal":
        return _labelled(_seen(rng, 240), _seen(rng, 90))
    if name == "many generated":
        return _labelled(_seen(rng, 90), _seen(rng, 300))
    if name == "weights":
        return _labelled(_seen(rng, 160), _seen(rng, 160), weights=(rng.exponential(size=160), rng.exponential(size=160)))
    if name == "weights, unequal":
        return _labelled(_seen(rng, 240), _seen(rng, 130), weights=(rng.exponential(size=240), None))
    if name == "paired":
        mood = 2.0 * rng.normal(size=(160, len(SHARES)))
        return _labelled(_seen(rng, 160, sure=1.5, mood=mood), _seen(rng, 160, sure=1.5, mood=mood), paired=True)
    return _labelled(_seen(rng, 150), _seen(rng, 150))


WORLDS = ("plain", "unequal", "many generated", "weights", "weights, unequal", "paired")


def _repeats(world: Callable[[int], Labelled], effort: Effort, repeats: int) -> tuple[dict, dict]:
    p, covered = defaultdict(list), defaultdict(list)
    for seed in range(repeats):
        case = Case(labelled=world(seed), effort=effort, seed=seed)
        for measure in MEASURES:
            (row,) = measure(case)
            p[row.name].append(row.p)
            covered[row.name].append(abs(row.value - row.null) <= row.error)
    return p, covered


def _uniform(p: list[float], discrete: bool) -> float:
    """P-values of few counts may be conservative, but never small too often."""
    return stats.kstest(p, "uniform", alternative="greater" if discrete else "two-sided").pvalue


@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_uniform_and_errors_cover(world: str) -> None:
    p, covered = _repeats(lambda seed: _world(world, seed), QUICK, 40)
    for name in p:
        assert _uniform(p[name], name == "class_share") > 0.05 / (3 * len(WORLDS)), (name, sorted(p[name]))
        assert 0.45 <= np.mean(covered[name]) <= 0.92, (name, np.mean(covered[name]))


@pytest.mark.slow
@pytest.mark.parametrize("world", [*WORLDS, "larger than its null"])
def test_p_values_are_uniform_and_errors_cover_in_200_repeats(world: str) -> None:
    large = world.startswith("larger")
    effort = Effort(draws=199, more_draws=0, null_rows=80 if large else 10_000)
    p, covered = _repeats(lambda seed: _world("unequal" if large else world, seed), effort, 200)
    for name in p:
        assert _uniform(p[name], name == "class_share") > 0.05 / (3 * (len(WORLDS) + 1)), (name, sorted(p[name]))
        assert 0.58 <= np.mean(covered[name]) <= 0.78, (name, np.mean(covered[name]))


@pytest.mark.parametrize("world", ["plain", "weighted", "paired"])
def test_far_from_the_null_errors_are_the_spread_over_repetitions(world: str) -> None:
    lost = np.array([0.7, 0.2, 0.1, 0.0, 0.0])
    rows = defaultdict(list)
    for seed in range(80):
        rng = np.random.default_rng([seed, 5])
        mood = rng.normal(size=(300, 5)) if world == "paired" else None
        sides = _seen(rng, 300, sure=5.0, mood=mood), _seen(rng, 300, lost, sure=3.5, mood=mood)
        weights = (rng.exponential(size=300), rng.exponential(size=300)) if world == "weighted" else (None, None)
        case = Case(labelled=_labelled(*sides, paired=world == "paired", weights=weights), effort=QUICK, seed=seed)
        for measure in MEASURES:
            rows[measure.__name__] += measure(case)
    for name, made in rows.items():
        values = np.array([row.value for row in made])
        assert np.mean([row.error for row in made]) == pytest.approx(values.std(ddof=1), rel=0.25), name
        assert abs(np.mean([row.value - row.null for row in made])) > 4 * np.mean([row.null_error for row in made]), name


def test_values_are_those_of_the_formulas() -> None:
    rng = np.random.default_rng(0)
    real, generated, weights = _seen(rng, 80), _seen(rng, 70), (rng.exponential(size=80), rng.exponential(size=70))
    case = Case(labelled=_labelled(real, generated, weights=weights), effort=QUICK)
    assert inception_score(case)[0].value == pytest.approx(measures.inception_score(generated, weights[1]), rel=1e-9)
    assert mode_score(case)[0].value == pytest.approx(measures.mode_score(generated, real, weights[::-1]), rel=1e-9)
    shares = [np.bincount(side.argmax(axis=1), weights=w, minlength=5) for side, w in zip((real, generated), weights, strict=True)]
    differences = np.abs(shares[0] / weights[0].sum() - shares[1] / weights[1].sum())
    (row,) = class_share(case)
    assert row.value == pytest.approx(differences["abcde".index(row.note.split("'")[1])], rel=1e-9)


def test_a_lost_rare_class_is_named() -> None:
    rng = np.random.default_rng(1)
    shares = np.array([0.5, 0.47, 0.03])
    real, generated = _seen(rng, 3000, shares, sure=9.0), _seen(rng, 3000, np.array([0.516, 0.484, 0.0]), sure=9.0)
    case = Case(labelled=_labelled(real, generated, chance=0.5), effort=QUICK)
    (row,) = class_share(case)
    assert row.p == 0.01 and row.alarm == "low" and row.n == 3000
    assert row.claim.startswith("sort: class 'c' makes up 0 % of the generated rows, but ") and " of the real ones" in row.claim
    assert mode_score(case)[0].value < mode_score(case)[0].null and mode_score(case)[0].alarm == "never"


def test_blurred_rows_lower_the_inception_score() -> None:
    rng = np.random.default_rng(2)
    (row,) = inception_score(Case(labelled=_labelled(_seen(rng, 400, sure=5.0), _seen(rng, 300, sure=2.0)), effort=QUICK))
    assert row.value < row.null - 5 * row.null_error and row.p == pytest.approx(0.02)


def test_rare_classes_have_an_exact_null_beyond_the_rows_relabelled() -> None:
    rng = np.random.default_rng(3)
    rare = np.array([0.5, 0.499, 0.001])
    p = []
    for seed in range(60):
        sides = [np.eye(3)[rng.choice(3, p=rare, size=2000)] for _ in range(2)]
        labelled = _labelled(*sides, chance=0.5)
        p.append(class_share(Case(labelled=labelled, effort=Effort(draws=99, more_draws=0, null_rows=100), seed=seed))[0].p)
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(("accuracy", "chance"), [(0.7, 0.1), (0.92, 0.9)])
def test_a_classifier_that_is_seldom_right_is_not_believed(accuracy: float, chance: float) -> None:
    case = Case(labelled=_labelled(np.eye(5), np.eye(5), accuracy, chance))
    for measure in MEASURES:
        with pytest.raises(LeftOut, match=f"'sort' is right in {100 * accuracy:.0f} % of held-out real rows"):
            measure(case)


def test_nothing_without_labels() -> None:
    assert [measure(Case()) for measure in MEASURES] == [[], [], []]


def test_classes_that_nobody_has_and_one_row_a_side() -> None:
    only = np.eye(5)[[1, 1, 1]]
    assert class_share(Case(labelled=_labelled(only, only), effort=QUICK))[0].p == 1.0
    (row,) = class_share(Case(labelled=_labelled(np.eye(5)[:1], np.eye(5)[1:2]), effort=QUICK))
    assert row.value == 1.0 and np.isfinite(row.error) and row.p == 1.0
