"""The rows a model was trained on: kept, read again and split again, or given; and what is said where they are not to be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

import gnomon
from gnomon.checks import check
from gnomon.checks.gathering.learned_case import case_of
from gnomon.checks.gathering.sources import Reading, case_of_data
from gnomon.data import Examples, Spec
from gnomon.errors import DataError
from gnomon.models import Model


def _table(seed: int, rows: int = 120) -> pa.Table:
    rng = np.random.default_rng(seed)
    names = np.array(["left", "right"])
    return pa.table({"size": rng.normal(5, 2, size=rows), "mass": rng.exponential(size=rows), "place": names[rng.integers(0, 2, rows)]})


def _train(learned: object, data: object, **more: object) -> tuple[np.ndarray | None, str]:
    case, notes, _ = case_of(learned, data, budget="1s", seed=0, **more)  # type: ignore[arg-type]
    assert case.sides is not None
    return None if case.sides.train is None else case.sides.train.values, "; ".join(notes)


def _sizes(table: pa.Table) -> set[float]:
    return set(table["size"].to_pylist())


def test_rows_given_in_memory_are_kept_but_never_saved(tmp_path: Path) -> None:
    table = _table(0)
    learned = gnomon.fit("pca", table, progress=False, seed=3)
    values, notes = _train(learned, _table(1))
    assert values is not None and len(values) == 108 and set(values[:, 0]) < _sizes(table) and "training rows" not in notes
    loaded = gnomon.load(learned.save(tmp_path / "run"))
    assert loaded.training is None and _train(loaded, _table(1))[0] is None
    assert not any(b"training" in path.name.encode() for path in (tmp_path / "run").iterdir())


def test_large_data_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from gnomon.training import setup

    monkeypatch.setattr(setup, "KEPT_BYTES", 1000)
    assert gnomon.fit("pca", _table(0), progress=False).training is None
    assert gnomon.fit("classifier", _table(0), target="place", epochs=1, progress=False).training is None


@pytest.mark.parametrize("how", ["random", "group", "none", "own"])
def test_files_are_read_and_split_again(how: str, tmp_path: Path) -> None:
    table = _table(0)
    if how == "group":
        table = table.append_column("event", pa.array(np.arange(120) // 10))
    pq.write_table(table, tmp_path / "data.parquet")
    pq.write_table(_table(5), tmp_path / "validation.parquet")
    split = {
        "random": {},
        "group": {"group": "event"},
        "none": {"validation": 0},
        "own": {"validation": str(tmp_path / "validation.parquet")},
    }
    learned = gnomon.fit("pca", str(tmp_path / "data.parquet"), out=tmp_path / "run", progress=False, seed=7, **split[how])
    assert learned.training is None
    kept = gnomon.fit("pca", table, progress=False, seed=7, **split[how]).training
    assert kept is not None
    values, notes = _train(gnomon.load(tmp_path / "run"), _table(1))
    assert values is not None and (values == kept.x.numpy()).all()  # type: ignore[union-attr]
    assert f"{len(kept)} training rows were read again from '{tmp_path / 'data.parquet'}'" in notes
    assert ("split as in the fit" in notes) == (how != "own") and len(values) == (120 if how in ("none", "own") else len(kept))


def test_bundled_sets_are_read_again() -> None:
    learned = gnomon.fit("pca", "wine", options={"components": 2}, progress=False)
    values, notes = _train(learned, learned.sample(60))
    assert values is not None and len(values) == learned.info["split"]["train"] and "read again from 'wine'" in notes


def test_a_file_that_changed_or_went_is_told(tmp_path: Path) -> None:
    pyarrow.csv.write_csv(_table(0), tmp_path / "data.csv")
    learned = gnomon.fit("pca", str(tmp_path / "data.csv"), progress=False)
    assert _train(learned, _table(1))[0] is not None
    pyarrow.csv.write_csv(_table(2), tmp_path / "data.csv")
    values, notes = _train(learned, _table(1))
    assert values is None and "has changed since the fit" in notes
    (tmp_path / "data.csv").write_text("nothing\n")
    values, notes = _train(learned, _table(1))
    assert values is None and "could not be read again: " in notes
    (tmp_path / "data.csv").unlink()
    values, notes = _train(learned, _table(1))
    assert values is None and "is not there" in notes
    assert any("pass train=" in note for note in check(learned, _table(1), budget="1s").notes)


def test_training_rows_may_be_given(tmp_path: Path) -> None:
    table = _table(0)
    loaded = gnomon.load(gnomon.fit("pca", table, progress=False).save(tmp_path / "run"))
    values, _ = _train(loaded, _table(1), train=table)
    assert values is not None and len(values) == 120
    report = check(tmp_path / "run", _table(1), budget="1s", train=table)
    assert report["memorisation"][0].where == "training rows" and [row.where for row in report["copies"]] == ["real rows", "training rows"]


def test_rows_that_were_trained_on_are_no_held_out_rows() -> None:
    table = _table(0)
    learned = gnomon.fit("pca", table, progress=False)
    values, notes = _train(learned, table)
    assert values is None and "nothing can be said about memorisation" in notes
    with pytest.raises(DataError, match="are the same rows"):
        check(learned, _table(1), train=_table(1))
    with pytest.raises(DataError, match="are the same rows"):
        check(_table(1), _table(2), train=_table(1))


def test_two_data_sets_take_training_rows_too() -> None:
    case, _ = case_of_data(_table(1), _table(2), Reading(), budget="1s", seed=0, train=_table(0))
    assert case.sides is not None and case.sides.train is not None and set(case.sides.train.values[:, 0]) == _sizes(_table(0))
    labelled = Reading(target="place")
    with pytest.raises(DataError, match="the training rows lack 'place'"):
        case_of_data(_table(1), _table(2), labelled, budget="1s", seed=0, train=_table(0).drop(["place"]))


def test_conditions_and_images_come_along() -> None:
    learned = gnomon.fit("gan", _table(0), given=["mass"], epochs=1, progress=False)
    case, _, _ = case_of(learned, _table(1), budget="1s", seed=0)
    assert case.sides is not None and case.sides.train is not None and case.sides.paired
    assert case.sides.train.values.shape == (108, 3) and set(case.sides.train.values[:, 2]) < set(_table(0)["mass"].to_pylist())
    pixels = np.random.default_rng(0).random((90, 1, 6, 6)).astype(np.float32)
    learned = gnomon.fit("vae", pixels[:60], epochs=1, progress=False, options={"latent": 2}, validation=0)
    case, _, _ = case_of(learned, pixels[60:], budget="1s", seed=0)
    assert case.sides is not None and case.sides.train is not None and case.sides.train.pixels is not None
    assert (case.sides.train.pixels == pixels[:60]).all() and case.sides.train.values.shape[1] == len(case.sides.columns)


def test_predictors_have_no_use_for_them() -> None:
    learned = gnomon.fit("classifier", _table(0), target="place", epochs=1, progress=False)
    assert any("train= has no effect" in note for note in check(learned, _table(1), budget="1s", train=_table(0)).notes)


class Memoriser(Model):
    """Hands out the rows it was shown."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.register_buffer("seen", torch.zeros(0, len(spec.x.names)))  # type: ignore[union-attr]

    def players(self) -> list:
        return []

    def solve(self, examples: Examples) -> None:
        self.seen = examples.x

    def sample(self, n: int, given: torch.Tensor | None = None) -> torch.Tensor:
        return self.seen[torch.randint(0, len(self.seen), (n,))]


def test_a_model_that_hands_out_its_training_rows_is_named() -> None:
    rng = np.random.default_rng(0)
    learned = gnomon.fit(Memoriser, 100 + rng.normal(size=(400, 4)) * [1, 10, 0.1, 5], progress=False)
    report = check(learned, 100 + rng.normal(size=(400, 4)) * [1, 10, 0.1, 5], budget="5s")
    (row,) = report["memorisation"]
    assert row.value > 0.99 and report["copies"][1].value == 1 and report["duplicates"][0].value > 0.4
    for words in ("generated rows are copies of them", "lie nearer to them", "equal another generated row"):
        assert any(words in finding for finding in report.findings), report.findings
    assert "copies of them" in report.verdict
