"""Loggers: what they are told, that a failing one never stops training, and that nothing is imported or sent unasked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from gnomon import registry
from gnomon.errors import OptionError
from gnomon.training.loggers import Logger, facts, make, numbers

INFO = {
    "recipe": {
        "model": "classifier", "class": "gnomon.models.classifier:Classifier",
        "options": {"size": 1.0, "encoder": None, "net": {"hidden": [32, 32], "place": "/home/me/secret"}},
        "fit": {"data": "/home/me/secret.csv", "device": None},
    },
    "data": {"path": "/home/me/secret.csv", "rows": 120, "sha256": "ab", "columns": ["a"]},
    "environment": {"platform": "a machine"},
    "seed": 3,
    "decisions": {"settings": {"lr": 0.01, "schedule": "cosine", "average": None, "compile": False}, "device": "cpu"},
}  # fmt: skip
RECORD = {
    "step": 8,
    "epoch": 1,
    "train/loss": 0.5,
    "validation/loss": [0.25, 0.75],
    "doctor": ["dead units"],
    "bad": float("inf"),
    "yes": True,
}


class Recording:
    """Remembers what it was told; fails where it is asked to."""

    def __init__(self, folder: Path | None = None) -> None:
        self.told: list[Any] = []
        self.fails: set[str] = set()

    def _do(self, what: str, *values: Any) -> None:
        if what in self.fails:
            raise RuntimeError("no\nspace")
        self.told.append((what, *values))

    def start(self, info: dict[str, Any]) -> None:
        self._do("start", info)

    def log(self, record: dict[str, float], step: int) -> None:
        self._do("log", record, step)

    def finish(self) -> None:
        self._do("finish")


def test_what_a_logger_is_told_is_plain_and_names_no_place() -> None:
    inner = Recording()
    (logger,) = make(inner)
    logger.start(INFO)
    logger.log(RECORD, 8)
    logger.finish()
    logger.finish()
    told = {
        "model": "classifier", "seed": 3, "rows": 120, "options.size": 1.0, "options.net.hidden": "[32, 32]",
        "settings.lr": 0.01, "settings.schedule": "cosine", "settings.compile": False,
    }  # fmt: skip
    measured = {"step": 8.0, "epoch": 1.0, "train/loss": 0.5, "validation/loss/0": 0.25, "validation/loss/1": 0.75}
    assert inner.told == [("start", told), ("log", measured, 8), ("finish",)]
    assert "/" not in str(facts(INFO)) and numbers({"a": float("nan")}) == {}


def test_one_that_fails_is_said_once_and_off() -> None:
    inner, lines = Recording(), []
    inner.fails = {"log"}
    (logger,) = make([inner], say=lines.append)
    logger.start(INFO)
    for step in range(3):
        logger.log({"loss": 1.0}, step)
    inner.fails = set()
    logger.log({"loss": 1.0}, 4)
    logger.finish()
    assert lines == ["log='Recording' failed and is off from here on (RuntimeError: no space); training goes on"]
    assert [what for what, *_ in inner.told] == ["start"]


def test_one_that_cannot_start_stops_before_training() -> None:
    inner = Recording()
    inner.fails = {"start"}
    (logger,) = make(inner)
    with pytest.raises(OptionError, match=r"log='Recording' cannot be started \(RuntimeError: no space\)"):
        logger.start(INFO)
    logger.log({"loss": 1.0}, 1)  # never opened: nothing is handed on, nothing raised
    logger.finish()
    assert inner.told == []


def test_ctrl_c_inside_a_logger_is_not_swallowed() -> None:
    class Asking(Recording):
        def log(self, record: dict[str, float], step: int) -> None:
            raise KeyboardInterrupt

    (logger,) = make(Asking())
    logger.start({})
    with pytest.raises(KeyboardInterrupt):
        logger.log({}, 0)


def test_names_come_from_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.loggers, "_registered", {})
    registry.register("mine", Recording, sort="loggers")
    made = make("mine, tensorboard", Path("here"))
    assert [one.name for one in made] == ["mine", "tensorboard"] and isinstance(made[0].logger, Recording)
    assert all(isinstance(registry.loggers[name](None), Logger) for name in registry.available("loggers"))
    with pytest.raises(OptionError, match="unknown logger 'tensorbord'; did you mean 'tensorboard'"):
        make("tensorbord")
    for wrong in (3, [3], {"a": 1}, Recording):
        with pytest.raises(OptionError, match="log wants names of loggers"):
            make(wrong)


def test_entry_points_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def entry_points(**wanted: str) -> list[Any]:
        asked.append(wanted)
        return [types.SimpleNamespace(load=lambda: Recording)]

    monkeypatch.setattr(registry.loggers, "_registered", {})
    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    assert isinstance(make("theirs")[0].logger, Recording)
    assert asked == [{"group": "gnomon.loggers", "name": "theirs"}]


def test_unused_they_import_nothing() -> None:
    code = (
        "import sys\nfrom gnomon.training.loggers import make\nassert make(None) == [] and make([]) == []\n"
        "make('tensorboard,mlflow,wandb')\n"
        "print([m for m in ('tensorboard', 'mlflow', 'wandb', 'torch.utils.tensorboard') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(registry.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")])
def test_an_absent_package_is_named(name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OptionError, match=rf"pip install 'gnomon\[{name}\]'"):
        make(name, tmp_path)[0].start(INFO)
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_DIR"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(OptionError, match="pass out="):
        make(name, None)[0].start(INFO)


# ---- stand-ins for the packages ----------------------------------------------------------------------------------------


class _Fake:
    """Any attribute is a function that notes its call and returns another stand-in."""

    def __init__(self, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]], **values: Any) -> None:
        self.calls = calls
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append((name, arguments, named))
            return None if name == "get_experiment_by_name" else _Fake(self.calls, info=types.SimpleNamespace(run_id="r"))

        return call


def test_wandb_is_offline_unless_the_environment_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setitem(sys.modules, "wandb", _Fake(calls))
    for variable in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ERROR_REPORTING"):
        monkeypatch.delenv(variable, raising=False)
    before = dict(os.environ)
    (logger,) = make("wandb", tmp_path / "run")
    logger.start(INFO)
    logger.log(RECORD, 8)
    logger.finish()
    assert dict(os.environ) == before
    began = next(named for name, _, named in calls if name == "init")
    assert began["mode"] == "offline" and began["dir"] == str(tmp_path / "run") and "secret" not in str(began["config"])
    assert ("log", (numbers(RECORD),), {"step": 8}) in calls and calls[-1][0] == "finish"
    monkeypatch.setenv("WANDB_MODE", "online")
    make("wandb", tmp_path)[0].start(INFO)
    assert [named["mode"] for name, _, named in calls if name == "init"] == ["offline", "online"]


def test_mlflow_writes_into_the_runs_folder_unless_the_environment_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    seen = []
    package = _Fake(calls)
    package.MlflowClient = lambda **named: (seen.append((named, os.environ.get("MLFLOW_DISABLE_TELEMETRY"))), package)[1]
    monkeypatch.setitem(sys.modules, "mlflow", package)
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.delenv(variable, raising=False)
    (logger,) = make("mlflow", tmp_path)
    logger.start(INFO)
    logger.log({"step": 8, "train/loss": 0.5}, 8)
    logger.finish()
    assert seen == [({"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}, None)]
    assert ("log_metric", ("r", "train/loss", 0.5), {"step": 8}) in calls and ("set_terminated", ("r",), {}) in calls
    assert ("log_param", ("r", "settings.lr", "0.01"), {}) in calls
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://example.org")
    make("mlflow", None)[0].start(INFO)
    assert seen[-1][0] == {"tracking_uri": "https://example.org"}


# ---- the packages themselves, where they are installed ---------------------------------------------------------------------


def test_tensorboard_itself(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (logger,) = make("tensorboard", tmp_path)
    logger.start(INFO)
    for step in (8, 16):
        logger.log({"step": step, "train/loss": 1.0 / step, "validation/loss": [0.5, 0.25]}, step)
    logger.finish()
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == ["train/loss", "validation/loss/0", "validation/loss/1"]
    assert [(event.step, event.value) for event in found.Scalars("train/loss")] == [(8, 0.125), (16, 0.0625)]


def test_mlflow_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mlflow.get_tracking_uri()
    (logger,) = make("mlflow", tmp_path)
    logger.start(INFO)
    logger.log({"step": 8, "train/loss": 0.125}, 8)
    logger.finish()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("gnomon").experiment_id])
    assert run.data.metrics == {"train/loss": 0.125} and run.data.params["options.size"] == "1.0" and run.info.status == "FINISHED"
    assert mlflow.get_tracking_uri() == before and mlflow.active_run() is None


def test_wandb_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    (logger,) = make("wandb", tmp_path)
    logger.start(INFO)
    logger.log({"step": 8, "train/loss": 0.125}, 8)
    logger.finish()
    assert wandb.run is None
    written = [path for path in (tmp_path / "wandb").glob("offline-run-*/*.wandb")]
    assert len(written) == 1
    for _ in range(100):  # their own process writes the file
        if b"train/loss" in written[0].read_bytes():
            break
        time.sleep(0.1)
    assert b"train/loss" in written[0].read_bytes() and b"secret" not in written[0].read_bytes()
