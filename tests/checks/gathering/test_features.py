"""Features by an encoder: rows that train are not compared, p-values stay uniform, faults are seen that summaries hide, and all repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import gnomon
from gnomon.checks import Case, Effort, Sides, check
from gnomon.checks.gathering.encoders import Made, digests
from gnomon.checks.gathering.features import MOST, Enriched, enriched, without
from gnomon.checks.gathering.labelling import rows_of
from gnomon.checks.gathering.sources import Reading, case_of_data
from gnomon.checks.nulls import Pool, corrected_for_places, permutation_p
from gnomon.checks.points import points
from gnomon.checks.reports.report import Report
from gnomon.errors import DataError, OptionError

TINY = Effort(seconds=0.5, draws=199, more_draws=0)


# ---- worlds ------------------------------------------------------------------------------------------------------------


def _images(seed: int, rows: int) -> np.ndarray:
    """Bright spots at a random place of 6 × 6 pixels, with noise."""
    rng = np.random.default_rng([seed, 1])
    i, j = rng.integers(0, 6, size=(2, rows))
    made = 0.2 * rng.normal(size=(rows, 1, 6, 6))
    made[np.arange(rows), 0, i, j] += 2
    return made


def _parity(seed: int, rows: int, odd: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Three stripe patterns of random sign, and whether the product of the signs is positive: no two patterns together tell it."""
    rng = np.random.default_rng([seed, 2])
    signs = rng.choice([-1.0, 1.0], size=(rows, 3))
    right = rng.random(rows) < odd
    signs[:, 2] = np.where(right, 1, -1) * signs[:, 0] * signs[:, 1]
    made = 0.1 * rng.normal(size=(rows, 1, 9, 8))
    for k in range(3):
        made[:, 0, 3 * k : 3 * k + 3] += (1 + 0.5 * k) * signs[:, k, None, None] * np.tile([1.0, -1.0], 4)
    return made, right.astype(np.int64)


def _rings(seed: int, rows: int, broken: bool = False) -> list[np.ndarray]:
    """Sets of elements with three columns: the third is the sum of the others on a circle, so that any two are independent."""
    rng = np.random.default_rng([seed, 3])
    made = []
    for _ in range(rows):
        x = rng.random((rng.integers(4, 9), 3))
        if not broken:
            x[:, 2] = (x[:, 0] + x[:, 1]) % 1.0
        made.append(x)
    return made


WORLDS: dict[str, tuple[Callable[[int, int], object], str]] = {"images": (_images, "image"), "sets": (_rings, "set")}


def _case(real: object, generated: object, kind: str, seed: int = 0, effort: Effort = TINY) -> Case:
    case, _ = case_of_data(real, generated, Reading(kind=kind), budget=None, seed=seed)
    return replace(case, effort=effort)


def _p_of_points(sides: Sides, draws: int = 199) -> float:
    """P-value of the squared difference of mean random waves over the points: a kernel distance."""
    made = points(sides)
    rng = np.random.default_rng([sides.seed, 7])
    waves = made.pooled @ rng.normal(size=(made.pooled.shape[1], 64)) / np.sqrt(made.pooled.shape[1])
    waves = np.concatenate([np.cos(waves), np.sin(waves)], axis=1)
    pool = Pool.of(sides)
    value = float(np.square(pool.observed() @ waves).sum())
    null = np.concatenate([np.square(batch @ waves).sum(axis=1) for batch in pool.relabelled(draws, rng)])
    return permutation_p(value, null)


def _p_of_columns(sides: Sides) -> float:
    """Smallest p-value of the differences of means and of squares of the summary columns, corrected for their number."""
    both = np.concatenate([sides.real.values, sides.generated.values])
    both = (both - both.mean(axis=0)) / both.std(axis=0)
    both = np.concatenate([both, both**2], axis=1)
    pool = Pool.of(sides)
    values = np.abs(pool.observed() @ both)
    null = np.abs(np.concatenate([batch @ both for batch in pool.relabelled(399, np.random.default_rng(0))]))
    return min(corrected_for_places(list(values), list(null.T)))


# ---- what may be compared ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", WORLDS)
def test_rows_that_train_are_not_compared_and_all_others_are(world: str) -> None:
    draw, kind = WORLDS[world]
    case = _case(draw(0, 330), draw(1, 200), kind)
    made = enriched(case)
    assert case.sides is not None and made.case.sides is not None and made.encoder is not None
    trained = set(Made.of(made.encoder).digests)
    compared = digests(rows_of(made.case.sides.real, made.case.sides))
    assert len(trained) == 110 and len(compared) == 220 and not trained & set(compared)
    assert trained | set(compared) == set(digests(rows_of(case.sides.real, case.sides)))
    assert len(made.case.sides.generated) == 200
    assert "110 real rows set apart" in made.notes[0] and "the other 220 are" in made.notes[0]


def test_the_rows_of_the_model_train_where_they_are_at_hand() -> None:
    case = _case(_images(0, 150), _images(1, 150), "image")
    assert case.sides is not None
    train = _case(_images(2, 130), _images(3, 5), "image").sides
    assert train is not None
    made = enriched(replace(case, sides=replace(case.sides, train=train.real)))
    sides = made.case.sides
    assert sides is not None and sides.train is not None and sides.train.embedding is not None and made.encoder is not None
    assert len(sides.real) == 150 and len(Made.of(made.encoder).digests) == 130
    assert "130 rows that the model was trained on" in made.notes[0]


def test_pairs_are_set_apart_together() -> None:
    case = _case(_images(0, 320), _images(1, 320), "image")
    assert case.sides is not None
    apart = np.arange(0, 320, 3)
    sides = without(replace(case.sides, paired=True), apart)
    rest = np.setdiff1d(np.arange(320), apart)
    assert np.array_equal(sides.real.values, case.sides.real.values[rest])
    assert np.array_equal(sides.generated.values, case.sides.generated.values[rest])


@pytest.mark.parametrize("world", WORLDS)
def test_too_few_rows_are_compared_without_features(world: str) -> None:
    draw, kind = WORLDS[world]
    made = enriched(_case(draw(0, 250), draw(1, 200), kind))
    assert made.encoder is None and made.case.sides is not None and len(made.case.sides.real) == 250
    assert "too few real rows to set 100 apart" in made.notes[0]


def test_at_most_five_thousand_rows_train_and_many_rows_are_cut() -> None:
    case = _case(
        np.zeros((16_000, 1, 2, 2)) + np.random.default_rng(0).normal(size=(16_000, 1, 2, 2)), _images(1, 9)[:, :, :2, :2], "image"
    )
    made = enriched(replace(case, effort=replace(TINY, model_rows=300)))
    assert made.encoder is not None and len(Made.of(made.encoder).digests) == MOST
    assert made.case.sides is not None and len(made.case.sides.real) == 300 and len(made.case.sides.generated) == 9
    assert any("at most 300 rows a side" in note for note in made.notes)


# ---- the null ----------------------------------------------------------------------------------------------------------


def _null(world: str, repeats: int, *, encoder: object = "auto", rows: int = 310) -> list[float]:
    draw, kind = WORLDS[world]
    found = []
    for seed in range(repeats):
        made = enriched(_case(draw(10 + 2 * seed, rows), draw(11 + 2 * seed, 150), kind, seed), encoder)  # type: ignore[arg-type]
        assert made.case.sides is not None and made.case.sides.real.embedding is not None
        found.append(_p_of_points(made.case.sides))
    return found


def _stored(world: str) -> object:
    draw, kind = WORLDS[world]
    return enriched(_case(draw(0, 330), draw(1, 20), kind)).encoder


@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_uniform_with_an_encoder_trained_each_time(world: str) -> None:
    assert stats.kstest(_null(world, 10), "uniform").pvalue > 0.01


@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_uniform_with_one_stored_encoder(world: str) -> None:
    assert stats.kstest(_null(world, 40, encoder=_stored(world), rows=150), "uniform").pvalue > 0.025


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_uniform_in_200_repeats(world: str) -> None:
    assert stats.kstest(_null(world, 60), "uniform").pvalue > 0.0125
    assert stats.kstest(_null(world, 200, encoder=_stored(world), rows=150), "uniform").pvalue > 0.0125


# ---- what features see -------------------------------------------------------------------------------------------------


def test_a_fault_of_images_that_summaries_hide_is_seen() -> None:
    (real, right), (generated, _) = _parity(0, 1200), _parity(1, 800, odd=0.7)
    made = enriched(_case({"x": real, "y": right}, generated, "image", effort=replace(TINY, seconds=20.0)))
    assert made.case.sides is not None and made.case.labelled is not None and made.case.labelled.accuracy > 0.9
    assert _p_of_columns(made.case.sides) > 0.05 and _p_of_points(made.case.sides) < 0.01


def test_a_fault_of_sets_that_summaries_hide_is_seen() -> None:
    made = enriched(_case(_rings(0, 1200), _rings(1, 800, broken=True), "set", effort=replace(TINY, seconds=20.0)))
    assert made.case.sides is not None
    assert _p_of_columns(made.case.sides) > 0.05 and _p_of_points(made.case.sides) < 0.01


# ---- repeating and reusing ---------------------------------------------------------------------------------------------


def _same(one: Enriched, two: Enriched) -> bool:
    a, b = one.case.sides, two.case.sides
    assert a is not None and b is not None
    pairs = [(a.real, b.real), (a.generated, b.generated)]
    return all(np.array_equal(x.embedding, y.embedding) and np.array_equal(x.values, y.values) for x, y in pairs)  # type: ignore[arg-type]


@pytest.mark.parametrize("world", WORLDS)
def test_the_same_seed_repeats_and_another_does_not(world: str) -> None:
    draw, kind = WORLDS[world]
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    made = [enriched(_case(draw(0, 330), draw(1, 60), kind, seed)) for seed in (0, 0, 5)]
    assert _same(made[0], made[1])
    assert made[2].case.sides is not None and not np.array_equal(made[0].case.sides.real.values, made[2].case.sides.real.values)  # type: ignore[union-attr]
    assert torch.equal(state, torch.get_rng_state()) and (np.random.get_state()[1] == numpy_state).all()


@pytest.mark.parametrize("world", [*WORLDS, "labelled images"])
def test_the_encoder_is_stored_with_the_report_and_gives_identical_numbers(world: str, tmp_path: Path) -> None:
    draw, kind = WORLDS.get(world, (_images, "image"))
    real: object = draw(0, 330)
    if world.startswith("labelled"):
        right = np.array(["no", "yes"])[np.random.default_rng(0).integers(0, 2, 330)]
        real = {"x": np.asarray(real) + 2.0 * (right == "yes")[:, None, None, None], "y": right}
    first = enriched(_case(real, draw(1, 60), kind))
    Report([], encoder=first.encoder).save(tmp_path)
    again = enriched(_case(real, draw(1, 60), kind), tmp_path / "features")
    assert _same(first, again) and "110 real rows that trained it are left out" in again.notes[0] and again.encoder is None
    if world.startswith("labelled"):
        assert first.case.labelled is not None and again.case.labelled is not None
        assert np.array_equal(first.case.labelled.real, again.case.labelled.real)
        assert first.case.labelled.accuracy == again.case.labelled.accuracy > 0.9
    other = enriched(_case(draw(8, 150), draw(1, 60), kind), str(tmp_path / "features"))
    assert other.case.sides is not None and len(other.case.sides.real) == 150


def test_the_one_call_stores_and_reuses(tmp_path: Path) -> None:
    real, generated = _images(0, 330), _images(1, 300)
    first = check(real, generated, budget="1s")
    first.save(tmp_path)
    assert check(real, generated, budget="1s", features=tmp_path / "features").to_json() == first.to_json()


# ---- encoders that are given -------------------------------------------------------------------------------------------


def test_functions_runs_and_models_are_taken() -> None:
    case = _case(_images(0, 150), _images(1, 120), "image")
    by_function = enriched(case, lambda pixels: pixels.reshape(len(pixels), -1)[:, :3])
    assert by_function.case.sides is not None and by_function.case.sides.real.embedding.shape == (150, 3)  # type: ignore[union-attr]
    learned = gnomon.fit("pca", _images(2, 100), options={"components": 4}, progress=False)
    by_model = enriched(case, learned)
    assert np.allclose(by_model.case.sides.real.embedding, learned.encode(_images(0, 150)), atol=1e-5)  # type: ignore[union-attr, arg-type]
    assert "no row that trained it should be among the real ones" in by_model.notes[0]
    sets = enriched(_case(_rings(0, 50), _rings(1, 40), "set"), lambda given: np.asarray(given.lengths)[:, None])
    assert sets.case.sides.real.embedding[:, 0].tolist() == [len(item) for item in _rings(0, 50)]  # type: ignore[union-attr, index]


def test_tables_keep_their_columns_unless_an_encoder_is_given() -> None:
    rng = np.random.default_rng(0)
    case, _ = case_of_data(rng.normal(size=(400, 3)), rng.normal(size=(300, 3)), Reading(), budget="1s", seed=0)
    plain = enriched(case)
    assert plain.case is case and not plain.notes and plain.encoder is None
    given = enriched(case, lambda columns: columns[:, :2] ** 2)
    assert np.allclose(given.case.sides.real.embedding, case.sides.real.values[:, :2] ** 2)  # type: ignore[union-attr]


def test_none_leaves_pixels() -> None:
    case = _case(_images(0, 400), _images(1, 120), "image")
    assert enriched(case, None).case is case


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("soon", "'soon' is no run folder"),
        (3, "got int"),
        (lambda pixels: pixels[:5].reshape(5, -1), r"shape \(150, k\); got \(5, 36\)"),
        (lambda pixels: np.full((len(pixels), 2), np.nan), "not finite"),
    ],
)
def test_what_is_no_encoder_is_named(features: object, message: str) -> None:
    with pytest.raises((OptionError, DataError), match=message):
        enriched(_case(_images(0, 150), _images(1, 120), "image"), features)  # type: ignore[arg-type]


def test_an_encoder_of_other_examples_is_named() -> None:
    rng = np.random.default_rng(0)
    case = _case(_images(0, 150), _images(1, 120), "image")
    with pytest.raises(DataError, match=r"reads images of shape \(1, 5, 5\); these have \(1, 6, 6\)"):
        enriched(case, gnomon.fit("pca", rng.normal(size=(50, 1, 5, 5)), options={"components": 2}, progress=False))
    with pytest.raises(DataError, match="reads a vector; these are images"):
        enriched(case, gnomon.fit("pca", rng.normal(size=(50, 5)), options={"components": 2}, progress=False))
    with pytest.raises(OptionError, match="has conditions: y"):
        data = {"x": rng.normal(size=60), "z": rng.normal(size=60), "y": rng.normal(size=60)}
        enriched(case, gnomon.fit("pca", data, given=["y"], options={"components": 1}, progress=False))
    with pytest.raises(OptionError, match="wants a model that encodes, or a classifier"):
        enriched(case, gnomon.fit("gan", rng.normal(size=(60, 2)), epochs=1, progress=False))
