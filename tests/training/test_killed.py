"""`gnomon fit` killed with −9, at random moments and in the middle of its writes: the run always loads or resumes, to the same bits."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from gnomon.learned import runs
from gnomon.training.checkpoint import STATE
from tests.training.processes import OFTEN, assert_same_run, can_go_on, done, ended, ready, start, table

MODELS = {
    "regressor": ["--target", "y", "--set", "spread=none", "--net", "hidden=8,8", "--net", "dropout=0.1"],
    "gan": ["--net", "hidden=8,8", "--set", "latent=2"],
    "seeds": ["--target", "y", "--net", "hidden=8,8", "--net", "dropout=0.1", "--seeds", "3"],
}


def said(place: Path, model: str, epochs: int) -> list[str]:
    """What follows ``gnomon``, but for the folder."""
    name = "regressor" if model == "seeds" else model
    data = str(place / "rows.csv")
    return ["fit", name, data, *MODELS[model], "--epochs", str(epochs), "--patience", "1000", "--validation", "0.2", "--quiet"]


def killed_after(process, folder: Path, seconds: float, *, from_start: bool) -> bool:
    """Kill −9 so long after the start of the command, or after it first touches the folder; whether it was still running."""
    ready(process)
    state = folder / STATE
    before = state.stat().st_mtime_ns if state.exists() else 0
    while not from_start and process.poll() is None and not (state.exists() and state.stat().st_mtime_ns != before):
        time.sleep(0.002)
    limit = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < limit:
        time.sleep(0.001)
    process.kill()
    return ended(process)[0] == -9


def many_kills(place: Path, model: str, kills: int, epochs: int, seed: int) -> None:
    """One run killed so many times, each time gone on with, against one that nobody disturbs."""
    chance = random.Random(seed)
    table(place / "rows.csv")
    whole, parts = place / "whole", place / "parts"
    began = time.monotonic()
    done(*said(place, model, epochs), "-o", whole)
    length = time.monotonic() - began
    count = 0
    while count < kills:
        arguments = ["fit", "--resume", parts, "--quiet"] if runs.is_run(parts) else [*said(place, model, epochs), "-o", parts]
        early = count % 5 == 0
        moment = chance.uniform(0.0, 0.6 * length if early else 0.15 * length)
        if not killed_after(start(*arguments, said=OFTEN), parts, moment, from_start=early):
            assert_same_run(whole, parts)  # it was quicker than we: begin a new one
            parts = place / f"parts-{count}"
        count += 1
        can_go_on(parts)
    arguments = ["fit", "--resume", parts, "--quiet"] if runs.is_run(parts) else [*said(place, model, epochs), "-o", parts]
    done(*arguments)
    assert_same_run(whole, parts)


def test_five_kills_at_random_moments(tmp_path: Path) -> None:
    many_kills(tmp_path, "regressor", 5, 60, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_many_kills_at_random_moments(model: str, tmp_path: Path) -> None:
    many_kills(tmp_path, model, {"regressor": 20, "gan": 15, "seeds": 15}[model], 100, seed=2)


KILL = "os.kill(os.getpid(), signal.SIGKILL)"
HALF = f"""
def half(tensors, path, metadata=None):
    write(tensors, path, metadata=metadata)
    os.truncate(path, os.path.getsize(path) // 2)
    {KILL}
"""
IN_STATE = f"""{OFTEN}
from gnomon.training import checkpoint
write, count = checkpoint.save_file, []
{HALF}
def third(*arguments, **options):
    count.append(1)
    (half if len(count) == 3 else write)(*arguments, **options)
checkpoint.save_file = third
"""
IN_HISTORY = f"""{OFTEN}
from gnomon.training import checkpoint
append = checkpoint.Checkpoint.append
def half(self, record):
    if record["epoch"] % 2:
        return append(self, record)
    with open(self.folder / "history.jsonl", "a") as file:
        file.write('{{"step": 1234, "ep')
    {KILL}
checkpoint.Checkpoint.append = half
"""
IN_WEIGHTS = f"""
from gnomon.learned import runs
write = runs.save_file
{HALF}
runs.save_file = half
"""
BEFORE_RUN_JSON = f"""
from gnomon.learned import runs
def never(*arguments):
    {KILL}
runs.write_info = never
"""
IN_LAST_HISTORY = f"""
from gnomon.learned import runs
def half(folder, history):
    handle, name = runs.tempfile.mkstemp(prefix=".history.jsonl.", suffix=runs.PARTIAL, dir=folder)
    os.write(handle, b'{{"step": 3')
    {KILL}
runs.write_history = half
"""


@pytest.mark.parametrize("model", ["regressor", pytest.param("seeds", marks=pytest.mark.slow)])
def test_killed_within_every_kind_of_write(model: str, tmp_path: Path) -> None:
    table(tmp_path / "rows.csv", 60)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done(*said(tmp_path, model, 12), "-o", whole)
    left = []
    for number, how in enumerate((IN_STATE, IN_HISTORY, IN_WEIGHTS, BEFORE_RUN_JSON, IN_LAST_HISTORY)):
        arguments = ["fit", "--resume", parts, "--quiet"] if number else [*said(tmp_path, model, 12), "-o", parts]
        code, errors = ended(start(*arguments, said=how))
        assert code == -9, errors
        assert can_go_on(parts)
        left.append(len(list(parts.glob(".*" + runs.PARTIAL))))
    assert left[0] == left[2] == left[4] == 1  # a half-written file is left behind, and swept away by the next fit
    done("fit", "--resume", parts, "--quiet")
    assert_same_run(whole, parts)


def test_half_written_files_do_not_make_a_folder_somebody_elses(tmp_path: Path) -> None:
    import gnomon

    for folder, names in ((tmp_path / "a", [".run.json.x1.partial"]), (tmp_path / "b", [".run.json.x1.partial", "state.safetensors"])):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("{")
        gnomon.fit("pca", "iris", out=folder, progress=False, overwrite=len(names) > 1)
        assert {path.name for path in folder.iterdir()} == {runs.RUN, runs.WEIGHTS, runs.HISTORY}


def test_an_overwritten_run_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gnomon

    run = tmp_path / "run"
    told = {"target": "y", "epochs": 2, "progress": False, "options": {"net": {"hidden": (4,)}}}
    data = table(tmp_path / "rows.csv", 60)
    gnomon.fit("regressor", data, out=run, **told)
    expected = gnomon.load(run).predict(data)

    class Killed(BaseException):
        pass

    def dead(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_info", dead)
        with pytest.raises(Killed):
            gnomon.fit("regressor", data, out=run, overwrite=True, seed=1, **told)
    assert (gnomon.load(run).predict(data) == expected).all()
    with monkeypatch.context() as patch:
        patch.setattr("gnomon.training.loop.Loop.run", dead)
        with pytest.raises(Killed):
            gnomon.fit("regressor", data, out=run, overwrite=True, seed=1, **told)
    resumed = gnomon.resume(run, progress=False)
    assert resumed.info["seed"] == 1
    assert (resumed.predict(data) == gnomon.fit("regressor", data, seed=1, **told).predict(data)).all()
