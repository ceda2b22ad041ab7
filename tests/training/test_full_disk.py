"""A disk that is full, a folder that cannot be written, another fit in the same folder: one clear line, and nothing lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gnomon
from gnomon.cli import main
from gnomon.data import Examples
from gnomon.errors import RunError
from gnomon.learned import runs
from gnomon.training import loop, setup
from gnomon.training.checkpoint import STATE, Checkpoint
from tests.training.processes import assert_same_run, can_go_on, done, ended, start, table

TOLD: dict[str, Any] = {
    "target": "y",
    "epochs": 4,
    "batch_size": 16,
    "validation": 0.2,
    "progress": False,
    "options": {"net": {"hidden": (16, 16), "dropout": 0.1}},
}
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
"""No file of this process can be longer: the run's record and its history can be written, its state and weights cannot."""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return table(tmp_path / "rows.csv", 100)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a file system can be mounted by the administrator only ({made.stderr.strip()})")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path) -> Path:
    """Leave no room."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return ballast


def at_turn(monkeypatch: pytest.MonkeyPatch, acts: dict[int, Any]) -> None:
    """Look and save after every turn, and do something at some."""
    original = loop.Loop.play

    def watched(self: Any, group: list[Examples]) -> None:
        if self.turn in acts:
            acts[self.turn]()
        original(self, group)
        self.save()

    monkeypatch.setattr(loop.Loop, "play", watched)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are Unix's")
def test_a_limit_of_the_system_ends_in_one_line_and_the_run_begins_once_more(rows: Path, tmp_path: Path) -> None:
    told = ["fit", "regressor", rows, "--target", "y", "--epochs", "4", "--quiet", "-o"]
    done(*told, tmp_path / "whole")
    code, errors = ended(start(*told, tmp_path / "run", said=LIMIT))
    assert code == 2 and errors.count("\n") == 1 and errors.startswith("gnomon: cannot save the state"), errors
    assert "File too large" in errors
    assert can_go_on(tmp_path / "run") and not list((tmp_path / "run").glob(".*"))
    done("fit", "--resume", tmp_path / "run", "--quiet")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_full_disk_keeps_the_last_good_state(rows: Path, small_disk: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    gnomon.fit("regressor", rows, out=tmp_path / "whole", **TOLD)
    run = small_disk / "run"
    with monkeypatch.context() as patch:
        at_turn(patch, {7: lambda: fill(small_disk)})
        with pytest.raises(RunError, match="No space left on device; the last good state is kept") as caught:
            gnomon.fit("regressor", rows, out=run, **TOLD)
    assert "\n" not in str(caught.value)
    assert can_go_on(run) and Checkpoint(run).load()[1]["turn"] == 7
    assert main(["fit", "--resume", str(run), "--quiet"]) == 2  # still full
    assert "No space left" in capsys.readouterr().err
    assert can_go_on(run) and Checkpoint(run).load()[1]["turn"] == 7
    (small_disk / "ballast").unlink()
    gnomon.resume(run, progress=False)
    assert_same_run(tmp_path / "whole", run)


def test_a_disk_that_was_full_for_a_while_costs_nothing(rows: Path, small_disk: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    gnomon.fit("regressor", rows, out=tmp_path / "whole", **TOLD)
    run = small_disk / "run"
    at_turn(monkeypatch, {3: lambda: fill(small_disk), 12: lambda: (small_disk / "ballast").unlink()})  # over two ends of an epoch
    gnomon.fit("regressor", rows, out=run, **{**TOLD, "progress": True})
    assert "cannot write" in capsys.readouterr().err
    assert_same_run(tmp_path / "whole", run)


def test_a_full_disk_at_the_very_end_keeps_the_state(rows: Path, small_disk: Path, tmp_path: Path, monkeypatch) -> None:
    gnomon.fit("regressor", rows, out=tmp_path / "whole", **TOLD)
    run = small_disk / "run"
    with monkeypatch.context() as patch:
        original = loop.Loop._finish
        patch.setattr(loop.Loop, "_finish", lambda self: (original(self), fill(small_disk)))
        with pytest.raises(RunError, match=r"cannot write '.*model.safetensors': No space left on device; what was there before is kept"):
            gnomon.fit("regressor", rows, out=run, **TOLD)
    assert can_go_on(run)
    (small_disk / "ballast").unlink()
    gnomon.resume(run, progress=False)
    assert_same_run(tmp_path / "whole", run)


def test_half_a_line_of_history_is_taken_back(tmp_path: Path, monkeypatch) -> None:
    here = Checkpoint(tmp_path)
    here.append({"step": 1})
    opened = Path.open

    class Short:
        """A disk with room for three more bytes."""

        def __init__(self, file: Any) -> None:
            self.file, self.left = file, 3

        def __enter__(self) -> Short:
            return self

        def __exit__(self, *reason: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            if not self.left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.left = 0
            return self.file.write(data[:3])

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *a, **b: Short(opened(*a, **b)))
        with pytest.raises(RunError, match="No space left on device"):
            here.append({"step": 2})
        with pytest.raises(RunError, match="No space left on device"):  # no state that has seen a line which is not there
            here.save({}, {"history": 2})
    assert (tmp_path / runs.HISTORY).read_text() == '{"step": 1}\n' and not (tmp_path / STATE).exists()
    here.append({"step": 3})
    assert [record["step"] for record in runs.read_history(tmp_path)] == [1, 2, 3]


def test_an_orderly_end_that_cannot_be_saved_says_so(rows: Path, small_disk: Path, monkeypatch) -> None:
    original = loop.Loop._epoch

    def interrupted(self: Any, interrupt: Any) -> None:
        interrupt.asked = self.epoch == 2
        if interrupt.asked:
            fill(small_disk)
        original(self, interrupt)

    monkeypatch.setattr(loop.Loop, "_epoch", interrupted)
    with pytest.raises(RunError, match="No space left on device; the last good state is kept"):
        gnomon.fit("regressor", rows, out=small_disk / "run", **TOLD)


# ---- folders that cannot be written ---------------------------------------------------------------------------------


def refused(rows: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of Python's error, which is the command line's too."""
    with pytest.raises(RunError) as caught:
        gnomon.fit("regressor", rows, out=out, **TOLD)
    assert main(["fit", "regressor", str(rows), "--target", "y", "--epochs", "1", "--quiet", "-o", str(out)]) == 2
    assert capsys.readouterr().err == f"gnomon: {caught.value}\n"
    return str(caught.value)


def test_a_folder_below_a_file_is_refused(rows: Path, capsys) -> None:
    assert "Not a directory" in refused(rows, rows / "run", capsys)


def test_a_folder_that_may_not_be_written_is_refused(rows: Path, tmp_path: Path, capsys) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("permissions do not count for the administrator")
    place = tmp_path / "place"
    place.mkdir(mode=0o555)
    assert "Permission denied" in refused(rows, place / "run", capsys)


def test_a_read_only_disk_is_refused_and_keeps_what_it_has(rows: Path, small_disk: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    gnomon.fit("regressor", rows, out=tmp_path / "whole", **TOLD)

    def mounted(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], check=True)

    mounted("ro")
    assert "Read-only file system" in refused(rows, small_disk / "run", capsys)
    mounted("rw")
    run = small_disk / "run"
    with monkeypatch.context() as patch:
        at_turn(patch, {6: lambda: mounted("ro")})
        with pytest.raises(RunError, match="Read-only file system; the last good state is kept"):
            gnomon.fit("regressor", rows, out=run, **TOLD)
    assert can_go_on(run) and Checkpoint(run).load()[1]["turn"] == 6
    with pytest.raises(RunError, match="Read-only file system"):
        gnomon.resume(run, progress=False)
    mounted("rw")
    gnomon.resume(run, progress=False)
    assert_same_run(tmp_path / "whole", run)


# ---- two fits in one folder -----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
def test_a_second_fit_in_the_same_folder_is_named(rows: Path, tmp_path: Path, monkeypatch) -> None:
    run = tmp_path / "run"
    found = []

    def intrude() -> None:
        for again in (lambda: gnomon.fit("regressor", rows, out=run, overwrite=True, **TOLD), lambda: gnomon.resume(run, progress=False)):
            with pytest.raises(RunError, match="another fit is writing to .*; wait until it is done, or choose another folder"):
                again()
        code, errors = ended(start("fit", "--resume", run, "--quiet"))
        found.append((code, errors))

    with monkeypatch.context() as patch:
        at_turn(patch, {5: intrude})
        gnomon.fit("regressor", rows, out=run, **TOLD)
    assert found == [(2, f"gnomon: another fit is writing to '{run}'; wait until it is done, or choose another folder\n")]
    gnomon.fit("regressor", rows, out=tmp_path / "whole", **TOLD)
    assert_same_run(tmp_path / "whole", run)
    gnomon.resume(run, progress=False)  # given back at the end


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
def test_who_comes_second_to_a_new_folder_does_not_overwrite_it(rows: Path, tmp_path: Path, monkeypatch) -> None:
    run = tmp_path / "run"
    prepare = setup.Fit.prepare

    def slow(self: Any, resumed: Any = None) -> Any:
        made = prepare(self, resumed)
        if not run.exists():  # meanwhile another one is quicker
            with monkeypatch.context() as patch:
                patch.setattr(setup.Fit, "prepare", prepare)
                gnomon.fit("pca", "iris", out=run, progress=False)
        return made

    monkeypatch.setattr(setup.Fit, "prepare", slow)
    with pytest.raises(RunError, match="exists and is not empty"):
        gnomon.fit("regressor", rows, out=run, **TOLD)
    assert gnomon.load(run).name == "pca"
