"""Labels of the real side teach a classifier: from tables, images, conditions and bundled data; and what it says is honest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import gnomon
from gnomon.checks import Case, check
from gnomon.checks.gathering.features import enriched
from gnomon.checks.gathering.labelling import known_labels, labels_beside, teachable
from gnomon.checks.gathering.learned_case import case_of
from gnomon.checks.gathering.sources import Reading, case_of_data
from gnomon.checks.statistics.labelled import class_share, inception_score, mode_score
from gnomon.data import Label, load, prepare


def _table(seed: int, rows: int = 500, share: float = 0.3) -> pa.Table:
    """Two well separated sorts of rows, one with a category that follows the sort."""
    rng = np.random.default_rng(seed)
    rare = rng.random(rows) < share
    columns = {"a": rng.normal(size=rows) + 4.0 * rare, "n": rng.poisson(2 + 6 * rare), "c": np.where(rng.random(rows) < 0.5, "u", "v")}
    return pa.table({**columns, "sort": np.where(rare, "rare", "usual")})


def _enriched(real: object, generated: object, **reading: str) -> Case:
    case, _ = case_of_data(real, generated, Reading(**reading), budget="2s", seed=0)  # type: ignore[arg-type]
    return enriched(case).case


def test_a_table_with_labels_against_one_without() -> None:
    case = _enriched(_table(0), _table(1).drop(["sort"]), target="sort")
    assert case.labelled is not None and case.sides is not None
    assert case.labelled.classes == ("rare", "usual") and case.labelled.accuracy > 0.95 and 0.6 < case.labelled.chance < 0.8
    assert len(case.labelled.real) == 500 - 166 and len(case.labelled.generated) == 500
    assert len(case.sides.real) == 500, "other statistics keep all rows of tables"
    assert case.sides.names == ("a", "n", "c") and "sort" not in case.sides.names
    assert class_share(case)[0].p > 0.01
    lost = _enriched(_table(0), _table(1, share=0.02).drop(["sort"]), target="sort")
    assert class_share(lost)[0].claim.startswith("sort: class 'rare' makes up ") and class_share(lost)[0].p < 0.01


def test_pairs_of_table_and_labels_and_bundled_targets_are_labels() -> None:
    table = _table(0)
    pair = (table.drop(["sort"]).to_pandas(), table["sort"].to_pandas())
    assert _enriched(pair, _table(1).drop(["sort"])).labelled is not None
    cancer = load("breast_cancer")
    case = _enriched("breast_cancer", cancer.drop(["diagnosis"]) if isinstance(cancer, pa.Table) else cancer)
    assert case.labelled is not None and case.labelled.target == "diagnosis"
    both, _ = case_of_data("iris", load("iris"), Reading(), budget="1s", seed=0)
    assert both.sides is not None and "species" in both.sides.names and both.sides.label is None


def test_labels_on_both_sides_are_compared_as_a_column_too() -> None:
    case = _enriched(_table(0), _table(1), target="sort")
    assert case.labelled is not None and case.sides is not None and case.sides.names == ("a", "n", "c", "sort")


def test_a_target_that_is_a_number_is_no_label() -> None:
    rng = np.random.default_rng(0)
    real = {"x": rng.normal(size=400), "y": rng.normal(size=400)}
    case, notes = case_of_data(real, {"x": rng.normal(size=300)}, Reading(target="y"), budget="1s", seed=0)
    assert enriched(case).case.labelled is None and any("the target of the real side is not compared" in note for note in notes)


def test_labels_that_say_nothing_are_left_out_with_the_reason() -> None:
    rng = np.random.default_rng(0)
    real = {"x": rng.normal(size=400), "y": rng.choice(["a", "b"], 400)}
    report = check(real, {"x": rng.normal(size=300)}, target="y", budget="1s")
    assert any(note.startswith("class_share is left out: a classifier of 'y' is right in ") for note in report.notes)
    assert not report["class_share"] and not report.findings
    few = check({"x": real["x"][:200], "y": real["y"][:200]}, {"x": rng.normal(size=100)}, target="y", budget="1s")
    assert any("too few real rows to set 100 apart" in note for note in few.notes)


def test_digits_in_the_one_call_name_the_class_that_is_lost() -> None:
    digits = load("digits")
    digits = digits[0] if isinstance(digits, tuple) else digits
    order = np.random.default_rng(0).permutation(len(digits["x"]))
    first, second = order[:1000], order[1000:]
    second = second[digits["y"][second] != 3]
    case = _enriched({"x": digits["x"][first], "y": digits["y"][first]}, digits["x"][second])
    assert case.labelled is not None and case.labelled.accuracy > 0.85
    (row,) = class_share(case)
    assert row.p < 0.01 and "class '3' makes up" in row.claim and row.value == pytest.approx(0.1, abs=0.05)
    assert mode_score(case)[0].value < mode_score(case)[0].null


def test_runs_take_labels_from_the_data_or_a_category_among_their_conditions() -> None:
    table = _table(0, 600)
    learned = gnomon.fit("pca", table, given=["sort"], drop=["c"], options={"components": 2}, progress=False)
    case, _, _ = case_of(learned, _table(1, 400), budget="1s", seed=0)[:3]
    made = enriched(case).case
    assert made.sides is not None and made.sides.paired and made.labelled is not None and made.labelled.paired
    assert made.labelled.target == "sort" and len(made.labelled.real) == len(made.labelled.generated) == 400
    case = replace(case, sides=replace(case.sides, train=None))
    made = enriched(case).case
    assert made.labelled is not None and len(made.labelled.real) == len(made.labelled.generated) == 400 - 133
    pixels = load("digits")
    pixels = pixels[0] if isinstance(pixels, tuple) else pixels
    plain = gnomon.fit("pca", pixels["x"][:600], options={"components": 20}, progress=False)
    case, _, _ = case_of(plain, {"x": pixels["x"][600:], "y": pixels["y"][600:]}, budget="1s", seed=0)[:3]
    assert case.sides is not None and case.sides.label is not None and np.array_equal(case.sides.real.label, pixels["y"][600:])
    assert case.sides.generated.label is None and "y" not in case.sides.names
    told = gnomon.fit("pca", {"x": pixels["x"][:600], "y": pixels["y"][:600]}, options={"components": 20}, progress=False)
    case, _, _ = case_of(told, {"x": pixels["x"][600:], "y": pixels["y"][600:]}, budget="1s", seed=0)[:3]
    assert case.sides is not None and case.sides.train is not None and case.sides.train.label is not None
    made = enriched(case)
    assert "540 rows that the model was trained on" in made.notes[0] and made.case.labelled is not None
    assert len(made.case.labelled.real) == case.effort.model_rows == 1000 and made.case.labelled.accuracy > 0.8


def test_labels_beside_the_data_follow_the_rows_that_were_kept() -> None:
    values = np.arange(24.0).reshape(12, 2)
    values[4, 0] = np.nan
    spec = prepare(np.zeros((3, 2))).spec
    data = {"x": values, "y": np.repeat(["u", "v", "w"], 4)}
    found = labels_beside(data, prepare(data, spec=spec, missing="drop"))
    assert found is not None and found[0].classes == ("u", "v", "w") and found[1].tolist() == [0] * 4 + [1] * 3 + [2] * 4
    assert labels_beside(values, prepare(values, spec=spec, missing="drop")) is None
    gone = {"x": np.zeros((4, 2)), "y": np.array([0.0, np.nan, 1.0, 0.0])}
    assert labels_beside(gone, prepare(gone, spec=spec)) is None


def test_what_can_teach() -> None:
    label = Label(("a", "b"))
    assert (
        teachable(label, np.array([0, 1] * 5)) and not teachable(label, np.zeros(50, dtype=int)) and not teachable(label, np.array([0, 1]))
    )
    sides, _ = case_of_data(np.zeros((5, 2)), np.zeros((5, 2)), Reading(), budget="1s", seed=0)
    assert sides.sides is not None and known_labels(sides.sides) is None


@pytest.mark.slow
def test_p_values_are_uniform_with_a_classifier_trained_each_time() -> None:
    p: dict[str, list[float]] = {}
    for seed in range(60):
        case, _ = case_of_data(
            _table(2 * seed, 400), _table(2 * seed + 1, 200).drop(["sort"]), Reading(target="sort"), budget="0.5s", seed=seed
        )
        made = enriched(case).case
        for measure in (class_share, inception_score, mode_score):
            for row in measure(made):
                p.setdefault(row.name, []).append(row.p)
    assert len(p["class_share"]) == 60
    assert stats.kstest(p["class_share"], "uniform", alternative="greater").pvalue > 0.05 / 3
    for name in ("inception_score", "mode_score"):
        assert stats.kstest(p[name], "uniform").pvalue > 0.05 / 3, sorted(p[name])
