"""The run folder: what is written comes back the same in a new process, and what was damaged or tampered with is one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import gnomon
from gnomon.errors import RunError
from gnomon.learned import load, runs
from tests.learned.toys import Bounded, Chooser, Network, Normal, Scorer, learn

RNG = np.random.default_rng(0)
TWO = {"a": RNG.normal(5.0, 2.0, 200), "b": RNG.normal(-1.0, 1.0, 200)}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    learned = learn(Network, TWO, options={"hidden": 16})
    learned.calibrate(learned.read(TWO))
    return learned.save(tmp_path / "a run ü")


def change(run: Path, **fields: object) -> None:
    """Overwrite fields of run.json."""
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, **fields}))


def test_a_saved_run_gives_the_same_in_a_new_process(run: Path, tmp_path: Path) -> None:
    learned = load(run)
    np.savez(tmp_path / "data.npz", **TWO)
    script = (
        "import sys, numpy as np; from gnomon.learned import load; import tests.learned.toys\n"
        "learned = load(sys.argv[1]); data = dict(np.load(sys.argv[2]))\n"
        "scores, p = learned.score(data, anomaly=True)\n"
        "np.savez(sys.argv[3], log_prob=learned.log_prob(data), sample=np.asarray(learned.sample(9)['a']), scores=scores, p=p)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    arguments = [sys.executable, "-c", script, str(run), str(tmp_path / "data.npz"), str(tmp_path / "out.npz")]
    subprocess.run(arguments, check=True, env=environment)
    out = np.load(tmp_path / "out.npz")
    assert np.array_equal(out["log_prob"], learned.log_prob(TWO))
    assert np.array_equal(out["sample"], np.asarray(learned.sample(9)["a"]))
    scores, p = learned.score(TWO, anomaly=True)
    assert np.array_equal(out["scores"], scores) and np.array_equal(out["p"], p)


def test_what_is_saved_is_what_was_there(tmp_path: Path) -> None:
    learned = learn(Network, TWO, options={"hidden": 16})
    learned.history = [{"step": 1, "epoch": 1, "train/loss": 0.5}, {"step": 2, "epoch": 2, "train/loss": float("nan")}]
    learned.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.recipe["model"] == "toy-network" and again.recipe["options"] == {"hidden": 16}
    assert again.spec == learned.spec and again.abilities == learned.abilities and again.run == tmp_path / "run"
    assert again.history[0] == learned.history[0] and len(again.history) == 2
    assert again.calibration is None
    for name, value in learned.tensors().items():
        assert torch.equal(value, again.tensors()[name]), name


def test_run_json_has_the_promised_fields(run: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    promised = {"format", "gnomon", "recipe", "spec", "split", "seed", "data", "weights", "decisions", "environment", "timing"}
    assert promised <= set(info) and info["format"] == 1 and info["gnomon"] == gnomon.__version__
    assert info["weights"] == {"file": "model.safetensors", "sha256": runs.sha256(run / "model.safetensors")}
    assert "calibration.scores" in load_file(run / "model.safetensors")


def test_saving_refuses_a_full_folder_unless_told(run: Path, tmp_path: Path) -> None:
    learned = load(run)
    with pytest.raises(RunError, match="not empty"):
        learned.save(run)
    (run / "notes.txt").write_text("mine")
    learned.save(run, overwrite=True)
    assert (run / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        learned.save(tmp_path / "file", overwrite=True)
    (tmp_path / "empty").mkdir()
    assert load(learned.save(tmp_path / "empty")).name == "toy-network"


def test_no_temporary_files_stay(run: Path) -> None:
    assert sorted(p.name for p in run.iterdir()) == ["history.jsonl", "model.safetensors", "run.json"]
    assert (run / "run.json").stat().st_mode & 0o777 == (run / "history.jsonl").stat().st_mode & 0o777 != 0o600


def test_tied_and_strided_weights_are_saved(tmp_path: Path) -> None:
    learned = learn(Network, TWO, options={"hidden": 2})
    flat = torch.arange(8.0)
    learned.model.body[2].weight = nn.Parameter(flat[:4].view(2, 2).T)
    learned.model.body[4].weight = learned.model.body[2].weight
    learned.save(tmp_path / "run")
    assert torch.equal(load(tmp_path / "run").model.body[4].weight, torch.tensor([[0.0, 2.0], [1.0, 3.0]]))


# ---- what is refused ------------------------------------------------------------------------------------------------


def one_line(error: pytest.ExceptionInfo[RunError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_changed_weights_are_noticed(run: Path) -> None:
    tensors = load_file(run / "model.safetensors")
    tensors["model.body.0.bias"] += 1e-7
    save_file(tensors, run / "model.safetensors")
    with pytest.raises(RunError, match="sha256") as error:
        load(run)
    assert "model.safetensors" in one_line(error)


def test_a_newer_format_is_refused_by_name(run: Path) -> None:
    change(run, format=runs.FORMAT + 1, gnomon="9.9.9")
    with pytest.raises(RunError, match=rf"format {runs.FORMAT + 1} \(written by gnomon 9\.9\.9\).*upgrade"):
        load(run)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"format": "1"}, "format"),
        ({"format": True}, "format"),
        ({"recipe": []}, "recipe"),
        ({"recipe": {"model": 3, "options": {}}}, "recipe"),
        ({"recipe": {"model": "toy-network", "options": {"hiden": 3}}}, "hidden"),
        ({"recipe": {"model": "toy-network", "options": {"hidden": "many"}}}, "whole number"),
        ({"recipe": {"model": "toy-network", "options": {"hidden": 17}}}, "weights do not fit"),
        ({"spec": {}}, "damaged"),
        ({"spec": {"x": {"kind": "nonsense"}, "y": None, "given": None, "weight": None}}, "damaged"),
        ({"seed": "0"}, "seed"),
        ({"weights": {"file": "../model.safetensors", "sha256": "0" * 64}}, "weights.file"),
        ({"weights": {"file": "/etc/passwd", "sha256": "0" * 64}}, "weights.file"),
        ({"weights": {"file": "model.pt", "sha256": "0" * 64}}, "weights.file"),
        ({"weights": {"file": "model.safetensors", "sha256": "0"}}, "weights.sha256"),
        ({"weights": None}, "no finished weights"),
        ({"weights": {"file": "other.safetensors", "sha256": "0" * 64}}, "missing"),
    ],
)
def test_a_damaged_description_is_one_line(run: Path, fields: dict[str, object], says: str) -> None:
    change(run, **fields)
    with pytest.raises(RunError, match=says) as error:
        load(run)
    one_line(error)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "\x00", "[" * 100_000])
def test_a_run_json_that_is_none_is_one_line(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json.*damaged") as error:
        load(run)
    one_line(error)


def test_missing_fields_and_files_are_named(run: Path, tmp_path: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    del info["recipe"]
    (run / "run.json").write_text(json.dumps(info))
    with pytest.raises(RunError, match="'recipe' is missing"):
        load(run)
    with pytest.raises(RunError, match="does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"holds no run\.json"):
        load(tmp_path / "empty")


def test_weights_that_are_no_safetensors_are_one_line(run: Path) -> None:
    (run / "model.safetensors").write_bytes(b"not weights")
    change(run, weights={"file": "model.safetensors", "sha256": runs.sha256(run / "model.safetensors")})
    with pytest.raises(RunError, match="no readable safetensors") as error:
        load(run)
    one_line(error)


@pytest.mark.parametrize("entry", ["surprise", "optimiser.step", "model.surprise"])
def test_weights_with_unknown_entries_are_refused(run: Path, entry: str) -> None:
    save_file({**load_file(run / "model.safetensors"), entry: torch.zeros(1)}, run / "model.safetensors")
    change(run, weights={"file": "model.safetensors", "sha256": runs.sha256(run / "model.safetensors")})
    with pytest.raises(RunError, match="surprise|optimiser") as error:
        load(run)
    one_line(error)


def test_names_in_a_file_are_never_imported(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for recipe in (
        {"model": "evil_module:Evil", "class": "evil_module:Evil", "options": {}},
        {"model": None, "class": "evil_module:Evil", "options": {}},
        {"model": "toy-chooser", "class": "evil_module:Evil", "options": {"net": {"$module": "evil_module:Evil"}}},
    ):
        change(run, recipe=recipe)
        with pytest.raises(RunError) as error:
            load(run)
        assert "evil_module" in one_line(error)
    assert "evil_module" not in sys.modules


# ---- models of the user's own ---------------------------------------------------------------------------------------


def test_an_unregistered_class_is_named_and_can_be_passed(tmp_path: Path) -> None:
    run = learn(Bounded, TWO).save(tmp_path / "run")
    with pytest.raises(RunError, match=r"'Bounded' from '.*toys'.*model="):
        load(run)
    assert load(run, Bounded).abilities == load(run, lambda spec: Bounded(spec)).abilities == ("log_prob_bound", "score")
    assert load(run, Bounded(load(run, Bounded).spec)).abilities == ("log_prob_bound", "score")
    other = learn(Bounded, {"z": TWO["a"]}).model
    with pytest.raises(RunError, match="other data"):
        load(run, other)
    with pytest.raises(RunError, match="wants a gnomon Model"):
        load(run, nn.Linear(2, 2))


def test_options_that_are_modules_need_the_model(tmp_path: Path) -> None:
    data = {**TWO, "k": np.arange(200) % 2}
    learned = learn(Chooser, data, target="k", options={"net": nn.Linear(2, 2)})
    run = learned.save(tmp_path / "run")
    with pytest.raises(RunError, match=r"Linear as option 'net'.*model="):
        load(run)
    again = load(run, lambda spec: Chooser(spec, net=nn.Linear(2, 2)))
    assert torch.equal(again.model.net.weight, learned.model.net.weight)


def test_a_registered_name_that_is_not_here_is_named(run: Path) -> None:
    change(run, recipe={"model": "theirs", "class": "their_package:Theirs", "options": {}})
    with pytest.raises(RunError, match=r"'theirs' \(their_package:Theirs\).*gnomon\.register"):
        load(run)


# ---- history --------------------------------------------------------------------------------------------------------


def test_a_history_cut_short_loses_its_last_line_only(run: Path) -> None:
    (run / "history.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert runs.read_history(run) == [{"step": 1}, {"step": 2}]
    (run / "history.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(RunError, match="line 2"):
        runs.read_history(run)
    (run / "history.jsonl").unlink()
    assert runs.read_history(run) == []


def test_calibration_without_a_score_or_rows_keeps_nothing() -> None:
    learned = learn(Chooser, {**TWO, "k": np.arange(200) % 2}, target="k")
    learned.calibrate(learned.read(TWO))
    assert learned.calibration is None
    scorer = learn(Scorer, TWO)
    scorer.calibrate(scorer.read(TWO)[:0])
    assert scorer.calibration is None
    normal = learn(Normal, TWO)
    normal.calibrate(normal.read(TWO))
    assert len(normal.calibration) == 200
