"""A fit that starts from a fitted model: what is taken over, what is refused, and that it is resumed bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import gnomon
from gnomon.cli import main
from gnomon.errors import DataError, GnomonError, OptionError, RunError
from gnomon.learned import Learned
from gnomon.training import start as start_module
from tests.training.test_resume import assert_equal, killed_and_resumed, same


def rows(n: int = 120, seed: int = 0, shift: float = 0.0) -> pa.Table:
    chance = np.random.default_rng(seed)
    a = chance.normal(size=n) + shift
    return pa.table({"a": a, "b": a + 0.1 * chance.normal(size=n), "c": chance.normal(size=n)})


def begun(model: str = "vae", **told: Any) -> Learned:
    options = {"latent": 2, "net": {"hidden": (8,)}}
    return gnomon.fit(model, rows(), **{"options": options, "epochs": 2, "batch_size": 32, "progress": False, **told})


def weights(learned: Learned) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learned.model.state_dict().items()}


def test_scaling_options_and_parameters_are_taken_over_also_on_other_data() -> None:
    first = begun()
    before = weights(first)
    second = gnomon.fit("vae", rows(seed=1, shift=5.0), start=first, lr=1e-12, epochs=1, progress=False)
    assert second.model.options_ == first.model.options_
    assert all(torch.equal(second.scaling.state()[name], value) for name, value in first.scaling.state().items())
    for name, value in second.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in first.model.state_dict().items())  # the first stays as it was
    np.testing.assert_allclose(second.encode(rows(seed=2)), first.encode(rows(seed=2)), atol=1e-5)


def test_what_goes_on_is_better_than_what_begins() -> None:
    first = gnomon.fit("regressor", rows(), target="b", epochs=30, batch_size=32, progress=False)
    on, new = (
        gnomon.fit("regressor", rows(seed=1), epochs=1, batch_size=32, progress=False, **told)
        for told in ({"start": first}, {"target": "b"})
    )
    assert on.history[0]["validation/loss"] < new.history[0]["validation/loss"] - 0.5


@pytest.mark.parametrize("density", ["flow", "mixture", "vae"])
@pytest.mark.parametrize("base", ["vae", "autoencoder"])
def test_a_density_of_codes_after_training(base: str, density: str, tmp_path: Path) -> None:
    first = begun(base)
    both = gnomon.fit(
        "two_stage", rows(), start=first, options={"density": density}, epochs=2, batch_size=32, progress=False, out=tmp_path / "run"
    )
    assert all(torch.equal(both.model.base.state_dict()[name], value) for name, value in weights(first).items())
    assert len(both.history) == 2  # one stage alone
    assert np.array_equal(both.encode(rows(seed=3)), first.encode(rows(seed=3)))
    assert np.array_equal(gnomon.load(tmp_path / "run").sample(4, seed=1)["a"], both.sample(4, seed=1)["a"])


def test_several_seeds_start_from_one_model() -> None:
    first = begun()
    several = gnomon.fit("two_stage", rows(), start=first, seeds=2, epochs=1, batch_size=32, progress=False)
    for one in several:
        assert all(torch.equal(one.model.base.state_dict()[name], value) for name, value in weights(first).items())
    one, other = (learned.sample(3, seed=0)["a"].to_pylist() for learned in several)
    assert one != other


@pytest.mark.parametrize("kept", ["in memory", "in a folder"])
@pytest.mark.parametrize("model", ["vae", "two_stage"])
def test_killed_and_resumed_equals_uninterrupted(model: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begun()
    start: Any = first if kept == "in memory" else first.save(tmp_path / "first")

    def begin(folder: Path) -> Any:
        return gnomon.fit(model, rows(), start=start, epochs=3, batch_size=16, lr=0.01, progress=False, out=folder)

    whole = begin(tmp_path / "whole")
    with monkeypatch.context() as patch:  # the run has a copy of its own
        gone = first.run and tmp_path / "moved"
        if gone:
            first.run.rename(gone)
            start = gone
        parts = killed_and_resumed(patch, tmp_path / "parts", begin, lambda f: gnomon.resume(f, rows(), progress=False))
    assert_equal(tmp_path / "whole", tmp_path / "parts")
    assert same(whole, parts)


def test_without_the_model_it_started_from_a_run_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = lambda f: gnomon.fit("vae", rows(), start=begun(), epochs=3, batch_size=16, progress=False, out=f)  # noqa: E731

    def again(folder: Path) -> Any:
        (folder / start_module.FOLDER / "run.json").unlink()
        return gnomon.resume(folder, rows(), progress=False)

    with pytest.raises(RunError, match="start"):
        killed_and_resumed(monkeypatch, tmp_path / "run", begin, again, ((2, 2),))


def test_a_run_may_start_from_what_it_replaces(tmp_path: Path) -> None:
    begun(out=tmp_path / "run")
    for _ in range(2):
        gnomon.fit("vae", rows(), start=tmp_path / "run", epochs=1, progress=False, out=tmp_path / "run", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "run" / "start").iterdir()) == ["model.safetensors", "run.json"]
    begun(out=tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "start").exists()


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        ({"model": "vae", "options": {"latent": 3}}, OptionError, "start= does not fit: 'encoder.* leave out options"),
        ({"model": "flow"}, OptionError, "Flow cannot start from a VAE; start= wants a fitted Flow"),
        ({"model": "pca"}, OptionError, "PCA cannot start from a VAE"),
        ({"model": "two_stage", "options": {"latent": 2}}, OptionError, "'latent' of TwoStage has no effect with start="),
        ({"model": "two_stage", "options": {"base": "autoencoder"}}, OptionError, "leave base out"),
        ({"model": "vae", "drop": ["a"]}, OptionError, "start= brings its columns and their roles; leave out drop"),
        ({"model": "vae", "start": 3}, OptionError, "start wants a Learned or the folder of a run; got 3"),
        ({"model": "vae", "start": "nowhere"}, RunError, "'nowhere' is not a run folder"),
        ({"model": "vae", "data": rows().drop_columns(["c"])}, DataError, "'c'"),
        ({"model": lambda spec: None}, OptionError, "start= needs a model's name or class"),
    ],
)
def test_what_does_not_go_together_is_named(told: dict[str, Any], error: type[GnomonError], message: str) -> None:
    with pytest.raises(error, match=message):
        gnomon.fit(**{"data": rows(), "start": begun(epochs=1), "epochs": 1, "progress": False, **told})


def test_what_is_learned_in_closed_form_starts_from_nothing() -> None:
    with pytest.raises(OptionError, match="PCA learns in closed form, from nothing; leave out start"):
        gnomon.fit("pca", "wine", start=gnomon.fit("pca", "wine", progress=False), progress=False)


def test_in_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun(out=tmp_path / "vae")
    from pyarrow import parquet

    parquet.write_table(rows(), tmp_path / "rows.parquet")
    told = ["fit", "two_stage", str(tmp_path / "rows.parquet"), "--start", str(tmp_path / "vae"), "--set", "density=mixture"]
    assert main([*told, "--epochs", "1", "-o", str(tmp_path / "both")]) == 0
    assert gnomon.load(tmp_path / "both").model.options_["density"] == "mixture"
    assert main([*told, "--target", "a", "--epochs", "1", "-o", str(tmp_path / "no")]) != 0
    assert "leave out target" in capsys.readouterr().err


def test_training_rows_are_found_again_for_a_check(tmp_path: Path) -> None:
    from pyarrow import parquet

    from gnomon.checks.gathering.training_rows import _again

    parquet.write_table(rows(), tmp_path / "rows.parquet")
    learned = gnomon.fit("vae", tmp_path / "rows.parquet", start=begun(), epochs=1, progress=False)
    found, _ = _again(learned, str(tmp_path / "rows.parquet"))
    assert found is not None and len(found) == 108
