"""The one call on fitted models: what each can do is judged, conditions are taken from the data, and training rows are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import gnomon
from gnomon.checks import check
from gnomon.errors import DataError, OptionError


def _events(seed: int, rows: int = 500) -> pa.Table:
    rng = np.random.default_rng(seed)
    energy = rng.uniform(1, 10, size=rows)
    return pa.table({
        "energy": energy,
        "signal": energy + rng.normal(size=rows),
        "width": rng.normal(size=rows),
        "weight": rng.exponential(size=rows),
        "kind": np.where(energy + rng.normal(size=rows) > 5, "high", "low"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def gaussian():  # noqa: ANN201
    """A model that is right about Gaussian data, fitted in closed form."""
    x = np.random.default_rng(0).multivariate_normal([1, 2, 3], [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 2]], size=20_000)
    return gnomon.fit("pca", x, options={"components": 2}, progress=False, validation=0)


def _gaussian_rows(seed: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal([1, 2, 3], [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 2]], size=rows)


def test_a_right_model_passes_on_new_rows(gaussian) -> None:  # noqa: ANN001
    report = check(gaussian, _gaussian_rows(1, 400), budget="2s")
    assert {"w1", "ks", "correlation", "c2st_auc", "reconstruction"} <= {row.name for row in report.statistics}
    assert len(report["w1"]) == 3 and report["w1"][0].n == 400
    assert not report.findings, report.findings
    assert not report.warnings and "trained on" not in report.verdict


def test_rows_that_were_trained_on_are_told() -> None:
    rows = _gaussian_rows(2, 300)
    learned = gnomon.fit("pca", rows, progress=False)
    report = check(learned, rows, budget="1s")
    assert report.verdict.startswith("The model was trained on 270 of these 300 rows")
    assert report.to_json()["verdict"] == report.verdict
    assert "trained" not in check(learned, _gaussian_rows(3, 300), budget="1s").verdict


def test_a_run_folder_does_as_well(gaussian, tmp_path: Path) -> None:  # noqa: ANN001
    """With the rows it was trained on, which a model fitted to data in memory still has and its folder has not."""
    folder = gaussian.save(tmp_path / "run")
    rows, trained = _gaussian_rows(4, 200), gaussian.training.x.numpy()
    assert check(str(folder), rows, budget="1s", train=trained).to_json() == check(gaussian, rows, budget="1s").to_json()


def test_options_for_two_data_sets_are_refused(gaussian) -> None:  # noqa: ANN001
    with pytest.raises(OptionError, match="a run knows its columns"):
        check(gaussian, _gaussian_rows(5, 50), weight="w")


def test_conditions_come_from_the_data_and_are_not_judged_alone() -> None:
    learned = gnomon.fit("gan", _events(0), given=["energy"], drop=["weight", "kind"], epochs=1, progress=False)
    report = check(learned, _events(1), budget="1s")
    assert {row.where for row in report["w1"]} == {"signal", "width"}
    assert "swapping the two rows of each condition" in report["w1"][0].note
    assert any("energy" in name for name in report.pictures.heat.names)


def test_weighted_rows_are_judged_with_their_weights() -> None:
    learned = gnomon.fit("pca", _events(0), weight="weight", drop=["kind"], progress=False)
    with_weights, without = (check(learned, data, budget="1s") for data in (_events(1), _events(1).drop(["weight"])))
    assert with_weights["w1"][0].value != without["w1"][0].value


@pytest.fixture(scope="module")
def classifier():  # noqa: ANN201
    return gnomon.fit("classifier", _events(0), target="kind", drop=["weight"], epochs=20, progress=False)


def test_classifiers(classifier) -> None:  # noqa: ANN001
    report = check(classifier, _events(1), budget="1s")
    assert {"accuracy", "log_loss", "roc_auc", "average_precision", "class_recall", "ece"} <= {row.name for row in report.statistics}
    truth = _events(1)["kind"].to_numpy(zero_copy_only=False)
    assert report["accuracy"][0].value == pytest.approx(np.mean(classifier.predict(_events(1)) == truth))
    assert report["accuracy"][0].where == "kind" and report["accuracy"][0].value > 0.75
    assert not [finding for finding in report.findings if "no better" in finding]
    assert [s.anchor for s in report.pictures.sections] == ["ranking", "calibration", "training"]
    assert "the best constant answer has" in report.verdict


def test_a_missing_target_is_named(classifier) -> None:  # noqa: ANN001
    with pytest.raises(DataError, match="no target 'kind'"):
        check(classifier, _events(1).drop(["kind"]), budget="1s")


def test_regressors() -> None:
    learned = gnomon.fit("regressor", _events(0), target="signal", drop=["weight", "kind"], epochs=30, progress=False)
    report = check(learned, _events(1), budget="1s")
    names = {row.name for row in report.statistics}
    assert {"rmse", "r2", "crps", "spread_coverage", "pit", "conformal_coverage", "interval_width"} <= names
    truth = _events(1)["signal"].to_numpy()
    assert report["rmse"][0].value == pytest.approx(np.sqrt(np.mean((learned.predict(_events(1)) - truth) ** 2)))
    assert report["rmse"][0].value < report["rmse"][0].null


def test_autoencoders_are_judged_by_their_reconstructions() -> None:
    learned = gnomon.fit("autoencoder", _events(0), drop=["weight"], epochs=2, progress=False)
    assert {row.name for row in check(learned, _events(1), budget="1s").statistics} == {"reconstruction"}


def test_images_and_their_bound() -> None:
    pixels = np.random.default_rng(0).random((120, 1, 6, 6)).astype(np.float32)
    learned = gnomon.fit("vae", pixels[:60], epochs=1, progress=False, options={"latent": 2})
    report = check(learned, pixels[60:], budget="1s")
    assert {"w1", "c2st_auc", "log_likelihood", "reconstruction"} <= {row.name for row in report.statistics}
    assert "a lower bound" in report["log_likelihood"][0].note and report.pictures.tiles is not None


def test_densities_have_their_likelihood_and_a_baseline() -> None:
    rows = _gaussian_rows(0, 1000)
    learned = gnomon.fit("flow", rows, epochs=2, progress=False)
    held_out = _gaussian_rows(1, 300)
    report = check(learned, held_out, budget="1s")
    (row,) = report["log_likelihood"]
    assert row.value == pytest.approx(learned.log_prob(held_out).mean(), abs=1e-6)
    assert np.isfinite([row.null, row.null_error, row.p]).all()
    assert report["gaussian_log_likelihood"][0].value == pytest.approx(-0.5 * np.log((2 * np.pi * np.e) ** 3 * 1.5), abs=0.3)


def test_the_report_repeats_and_leaves_torch_alone(gaussian) -> None:  # noqa: ANN001
    import torch

    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, two = (check(gaussian, _gaussian_rows(6, 150), budget="1s", seed=5) for _ in range(2))
    assert one.to_json() == two.to_json()
    assert torch.equal(before, torch.get_rng_state())


def test_a_runs_own_samples_are_not_the_rows_it_is_checked_with() -> None:
    learned = gnomon.fit("pca", "iris", drop=["species"], options={"components": 2}, progress=False)
    report = gnomon.check(learned, learned.sample(150, seed=0), seed=0)
    assert max(row.value for row in report.statistics if row.name == "ks") > 0
