"""Ctrl-C on the command line, once and twice, at any moment: exit code 130, one clear line, nothing lost, and --resume goes on."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from gnomon.learned import runs
from gnomon.training import interrupt as interrupt_module
from gnomon.training.checkpoint import STATE
from tests.training.processes import OFTEN, assert_same_run, can_go_on, done, ended, ready, start, table

CTRL_C = "os.kill(os.getpid(), signal.SIGINT)"
AT_TURN = """
from gnomon.training import loop
play = loop.Loop.play
def played(self, group):
    play(self, group)
    if self.turn == {turn}:
        {what}
loop.Loop.play = played
"""
ONCE, TWICE = AT_TURN.format(turn=20, what=CTRL_C), AT_TURN.format(turn=30, what=f"{CTRL_C}; {CTRL_C}")
WHILE_CALIBRATING = f"""
from gnomon.learned import Learned
Learned.calibrate = lambda self, *rows: {CTRL_C}
"""
WHILE_SAVING = f"""
from gnomon.learned import runs
write = runs.save_file
def interrupted(*arguments):
    write(*arguments)
    {CTRL_C}
runs.save_file = interrupted
"""
WHILE_IMPORTING = f"""
import builtins
load = builtins.__import__
def interrupted(name, *arguments, **options):
    if name == "torch":
        builtins.__import__ = load
        {CTRL_C}
    return load(name, *arguments, **options)
builtins.__import__ = interrupted
"""


def said(place: Path, epochs: int) -> list[str]:
    options = ["--target", "y", "--set", "spread=none", "--net", "hidden=8,8", "--net", "dropout=0.1"]
    return ["fit", "regressor", str(place / "rows.csv"), *options, "--epochs", str(epochs), "--patience", "1000000", "--compile", "off"]


def assert_interrupted(code: int, errors: str, folder: Path) -> None:
    assert code == 130, errors
    assert "Traceback" not in errors and "Exception ignored" not in errors, errors
    lines = [line for line in errors.splitlines() if "interrupted" in line]
    assert len(lines) == 1, errors
    if can_go_on(folder):
        assert f"go on with: gnomon fit --resume {folder}" in lines[0], errors


def test_at_every_kind_of_moment(tmp_path: Path) -> None:
    table(tmp_path / "rows.csv", 80)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done(*said(tmp_path, 12), "-o", whole)
    first = [*said(tmp_path, 12), "-o", parts]
    assert_interrupted(*ended(start(*first, said=WHILE_IMPORTING)), parts)
    assert not runs.is_run(parts)
    for number, how in enumerate((ONCE, TWICE, WHILE_CALIBRATING, WHILE_SAVING)):
        arguments = ["fit", "--resume", parts] if number else first
        assert_interrupted(*ended(start(*arguments, said=how)), parts)
        assert runs.is_run(parts)
        # after an orderly end the best weights so far can be used
        assert (runs.read_run(parts)["weights"] is not None) or number > 0
    done("fit", "--resume", parts)
    assert_same_run(whole, parts)


@pytest.mark.slow
def test_at_random_moments(tmp_path: Path) -> None:
    table(tmp_path / "rows.csv")
    chance = random.Random(0)
    for number in range(20):
        folder = tmp_path / f"{number}"
        process = start(*said(tmp_path, 100_000), "-o", folder, said=OFTEN if number % 2 else "")
        ready(process)
        if number % 2:  # from the first state on, or from the start
            limit = time.monotonic() + 60
            while not (folder / STATE).exists() and time.monotonic() < limit:
                time.sleep(0.002)
        time.sleep(chance.uniform(0.0 if number % 2 else 0.3, 2.0))  # before, Python itself is still starting
        for _ in range(chance.choice((1, 1, 2, 3))):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            time.sleep(chance.choice((0.0, 0.01, 0.1)))
        assert_interrupted(*ended(process), folder)


def test_a_program_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt_module.orderly() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert not interrupt.asked and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
