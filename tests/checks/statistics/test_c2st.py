"""The classifier test: uniform under the null, faults that one classifier sees and another does not, what gives rows away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from gnomon.checks import Case, Effort, Sides, Statistic
from gnomon.checks.gathering.sources import assemble
from gnomon.checks.statistics.c2st import Discrimination, _folds, auc, c2st_auc, cross_fit, judged_by
from gnomon.checks.statistics.classifiers import Table, Trees, _seen, tabulate
from gnomon.data import Examples, Image, Ragged, Set, Spec, Vector
from tests.checks.samples import sides

QUICK = Effort(draws=199, more_draws=0, retrainings=6, joint_rows=1500)


def _rows(case: Case) -> dict[str, Statistic]:
    return {row.where: row for row in c2st_auc(case)}


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
    case = Case(Sides.of(real, generated, list("abcde")), effort=QUICK)
    row = _rows(case)["all columns"]
    assert row.value > 0.6 and row.p < 0.01
    assert {"'a'", "'b'", "'d'"} >= set(row.claim.split("mostly by ")[1].split(" (")[0].replace(" and ", ", ").split(", "))
    (trees, *_) = case.pictures["c2st"]
    assert isinstance(trees, Discrimination) and set(trees.columns[:3]) == {"a", "b", "d"}


def test_a_sharp_fault_is_seen_by_trees_better_than_by_the_mlp() -> None:
    """Every other tenth of one column is empty: cells show it, a smooth function does not."""
    rng = np.random.default_rng(4)
    real, generated = rng.random((1500, 6)), rng.random((1500, 6))
    generated[:, 2] = (np.floor(generated[:, 2] * 10) // 2 * 2 + generated[:, 2] * 10 % 1) / 10
    found = _rows(Case(Sides.of(real, generated), effort=QUICK))
    assert found["all columns"].value > 0.7 and found["all columns"].value > found["all columns (MLP)"].value


def test_a_fault_spread_over_all_columns_is_seen_by_the_mlp_better_than_by_trees() -> None:
    """One column follows the sum of nineteen others on one side: no split by a single column comes near it."""
    rng = np.random.default_rng(5)
    real, generated = rng.normal(size=(1500, 20)), rng.normal(size=(1500, 20))
    real[:, -1] = 0.95 * real[:, :-1].sum(1) / np.sqrt(19) + np.sqrt(1 - 0.95**2) * real[:, -1]
    found = _rows(Case(Sides.of(real, generated), effort=QUICK))
    seen = found["all columns (MLP)"]
    assert seen.value > 0.75 and seen.p < 0.01 and seen.value > found["all columns"].value + 0.1


def test_copies_and_disjoint_sides_are_both_told() -> None:
    x = np.random.default_rng(3).normal(size=(300, 2))
    same, apart = (_rows(Case(Sides.of(x, y), effort=QUICK))["all columns"] for y in (x.copy(), x + 10))
    assert same.value < 0.45 and same.p < 0.05 and "copies" in same.claim
    assert apart.value == 1.0 and 0 < apart.error < 0.01 and apart.p < 0.01


def test_paired_conditions_do_not_push_the_null_below_one_half() -> None:
    rng = np.random.default_rng(4)
    given = rng.normal(size=(300, 3))
    noise = [rng.normal(size=(300, 1)) for _ in range(2)]
    table = tabulate(Sides.of(*(np.concatenate([n, given], axis=1) for n in noise), paired=True))

    def mean_auc(table: Table) -> float:
        made = []
        for seed in range(6):
            chance = np.random.default_rng(seed)
            made.append(cross_fit(Trees, table, table.labels[None], _folds(table, 2, chance), chance).areas[0])
        return float(np.mean(made))

    together, alone = mean_auc(table), mean_auc(replace(table, paired=False))
    assert abs(together - 0.5) < 0.03 and alone < 0.5 - 0.03, (together, alone)


def test_any_classifier_with_the_two_methods_will_do() -> None:
    class Nearer:
        def fit(self, table, rows, labels, seed):  # noqa: ANN001, ANN202
            self.means = [table.points[rows][labels[rows] == side].mean(axis=0) for side in (False, True)]
            return self

        def decision(self, table, rows):  # noqa: ANN001, ANN202
            values = table.points[rows]
            return np.linalg.norm(values - self.means[0], axis=1) - np.linalg.norm(values - self.means[1], axis=1)

    rng = np.random.default_rng(5)
    table = tabulate(Sides.of(rng.normal(size=(300, 3)), rng.normal(size=(300, 3)) + 0.5))
    made = judged_by(Nearer, table, 12, rng, name="c2st_auc_nearer").statistic
    assert made.value > 0.65 and made.p < 1e-4 and made.null == 0.5


def test_images_are_looked_at_by_a_cnn() -> None:
    """The same strokes at another place in every image: each pixel is as before, neighbouring ones are not."""
    rng = np.random.default_rng(6)

    def images(turned: bool) -> np.ndarray:
        made = 0.3 * rng.normal(size=(500, 1, 12, 12)).astype(np.float32)
        for image in made:
            row, column = rng.integers(0, 8, 2)
            patch = np.eye(4) if not turned else np.eye(4)[::-1]
            image[0, row : row + 4, column : column + 4] += 1.5 * patch
        return made

    import torch

    both = [Examples(torch.from_numpy(images(turned))) for turned in (False, True)]
    found = _rows(Case(assemble(Spec(Image(1, (12, 12))), *both), effort=QUICK))
    (cnn,) = (row for where, row in found.items() if "CNN" in where)
    assert cnn.value > 0.7 and cnn.p < 0.01 and cnn.corrected is not None


def test_sets_are_looked_at_by_deep_sets() -> None:
    """Elements on a ring or in a disc of the same mean and spread."""
    import torch

    rng = np.random.default_rng(7)

    def ragged(ring: bool) -> Ragged:
        lengths = rng.integers(5, 12, size=400)
        count = int(lengths.sum())
        radius = np.full(count, 2**-0.5) if ring else np.sqrt(rng.random(count))
        angle = 2 * np.pi * rng.random(count)
        values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
        return Ragged(torch.from_numpy(values), torch.from_numpy(lengths))

    both = [Examples(ragged(ring)) for ring in (False, True)]
    found = _rows(Case(assemble(Spec(Set(Vector.real(2))), *both), effort=QUICK))
    (deep,) = (row for where, row in found.items() if "Deep Sets" in where)
    assert deep.value > 0.7 and deep.p < 0.01


def test_large_images_are_shown_as_components() -> None:
    rng = np.random.default_rng(8)
    assert _seen(rng.integers(0, 255, (50, 16)).astype(np.uint8)).shape == (50, 16)
    assert _seen(rng.normal(size=(90, 900))).shape == (90, 32)


def _null(repeats: int, effort: Effort, **world: str | bool | int | None) -> tuple[dict[str, list[float]], dict[str, list[bool]]]:
    p: dict[str, list[float]] = {}
    covered: dict[str, list[bool]] = {}
    for seed in range(repeats):
        for where, row in _rows(Case(sides(seed, **{"real": 200, "generated": 200, **world}), effort=effort, seed=seed)).items():
            p.setdefault(where, []).append(row.p)
            covered.setdefault(where, []).append(abs(row.value - row.null) <= row.error)
    return p, covered


@pytest.mark.slow
def test_it_is_uniform_and_covers() -> None:
    p, covered = _null(40, Effort(retrainings=6))
    assert len(p) == 2
    for where in p:
        assert stats.kstest(p[where], "uniform").pvalue > 0.01, (where, sorted(p[where]))
        assert 0.45 <= np.mean(covered[where]) <= 0.9, where


@pytest.mark.slow
@pytest.mark.parametrize("world", [{}, {"weights": "same"}, {"weights": "one"}, {"paired": True}, {"real": 320, "generated": 100}], ids=str)
def test_it_is_uniform_and_covers_in_200_repeats(world: dict) -> None:
    p, covered = _null(200, Effort(retrainings=12), **world)
    for where in p:
        assert stats.kstest(p[where], "uniform").pvalue > 0.05 / 10, where
        assert 0.58 <= np.mean(covered[where]) <= 0.78, where
