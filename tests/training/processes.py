"""`python -m gnomon` in a process of its own, to be killed, starved or interrupted; and what its run folder must then be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import gnomon
from gnomon.errors import RunError
from gnomon.learned import runs
from gnomon.training.checkpoint import HISTORIES, STATE, Checkpoint

FOREWORD = """
import os, runpy, signal, sys
said, sys.argv = sys.argv[1], ["gnomon", *sys.argv[2:]]
sys.stderr.write("ready\\n"), sys.stderr.flush()
exec(said)
runpy.run_module("gnomon", run_name="__main__")
"""
OFTEN = "from gnomon.training import loop; loop.LOOK = loop.SAVE = 0.02"
"""Said before: the state is looked after all the time, so that every moment is in the middle of something."""


def table(path: Path, rows: int = 160) -> Path:
    """A file to learn from."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(rows, 3))
    y = x[:, 0] ** 2 + x[:, 1] + 0.1 * chance.normal(size=rows)
    path.write_text("a,b,c,y\n" + "".join(",".join(f"{v:.6f}" for v in (*row, last)) + "\n" for row, last in zip(x, y, strict=True)))
    return path


def start(*arguments: object, said: str = "") -> subprocess.Popen[bytes]:
    """``python -m gnomon`` with these arguments; `said` is Python that runs before it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(gnomon.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FOREWORD, said, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def ready(process: subprocess.Popen[bytes]) -> None:
    """Wait until the command is about to begin."""
    assert process.stderr is not None and process.stderr.readline() == b"ready\n"


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code and what the command wrote to stderr."""
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors.decode().removeprefix("ready\n")


def done(*arguments: object, said: str = "") -> None:
    """Run to a good end."""
    code, errors = ended(start(*arguments, said=said))
    assert code == 0, errors


def can_go_on(folder: Path) -> bool:
    """Whether nothing is lost: the folder holds no run yet, or one that loads or can be resumed. False means there is none yet."""
    if not runs.is_run(folder):
        assert not runs.contents(folder), list(folder.iterdir())
        return False
    info = runs.read_run(folder)
    runs.read_history(folder)
    if info["weights"] is not None:
        try:
            gnomon.load(folder)
        except RunError as error:  # killed between weights and run.json
            assert "--resume" in str(error), error
            assert (folder / STATE).exists()
    if (folder / STATE).exists():
        _, facts = Checkpoint(folder).load()
        history = folder / HISTORIES if (folder / HISTORIES).exists() else folder / runs.HISTORY
        lines = history.read_text().splitlines() if history.exists() else []
        assert len(lines) >= facts["history"]
        assert all(json.loads(line) for line in lines[: facts["history"]])
    else:
        assert info["weights"] is None
    return True


def assert_same_run(whole: Path, parts: Path) -> None:
    """Weights, scaling, calibration, state and history of two folders are the same bits, and nothing half-written is left."""
    assert {path.name for path in parts.iterdir()} == {path.name for path in whole.iterdir()}
    for name in (runs.WEIGHTS, STATE):
        expected, found = load_file(whole / name), load_file(parts / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key].nan_to_num(), found[key].nan_to_num()) for key in expected), name
    assert (whole / runs.HISTORY).read_text() == (parts / runs.HISTORY).read_text()
