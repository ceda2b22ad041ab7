"""The decision whether to compile: by time, on a copy, written down, and read again on resume."""

from __future__ import annotations

import time

import pytest
import torch

import gnomon
from gnomon.training import compiling
from gnomon.training.compiling import decide
from tests.training.models_for_tests import Plain

CPU = torch.device("cpu")


def sleeping(eager: float, compiled: float, compilation: float):
    """A play whose turns take the given seconds."""

    def play(is_compiled: bool):
        first = [compilation if is_compiled else 0.0]

        def turn() -> None:
            time.sleep((compiled if is_compiled else eager) + (first.pop() if first else 0.0))

        return turn

    return play


@pytest.mark.parametrize(
    ("seconds", "planned", "expected"),
    [((0.004, 0.001, 0.05), 500_000, True), ((0.004, 0.004, 0.05), 500_000, False), ((0.004, 0.001, 0.05), 20_000, False)],
    ids=["repays", "no quicker", "too short a plan"],
)
def test_it_compiles_only_where_the_plan_repays_it(seconds, planned, expected) -> None:
    found = decide(sleeping(*seconds), planned, CPU)
    assert found["compile"] is expected and found["why"]


def test_a_compiler_that_fails_is_named_and_does_without() -> None:
    def play(compiled: bool):
        if compiled:
            raise RuntimeError("no C++ compiler\nmore")
        return lambda: time.sleep(0.004)

    found = decide(play, 500_000, CPU)
    assert found["compile"] is False and found["why"] == "compiling failed: no C++ compiler"


def test_the_trial_leaves_the_fit_as_it_was_and_the_decision_is_replayed(tmp_path, monkeypatch) -> None:
    generator = torch.Generator().manual_seed(0)
    data = {"x": torch.randn(320, 3, generator=generator), "y": torch.randn(320, generator=generator)}
    arguments = {"epochs": 60, "batch_size": 16, "validation": 0.0, "progress": False}
    plain = gnomon.fit(Plain, data, compile="off", **arguments)
    monkeypatch.setitem(compiling.WORTH, "cpu", 0.0)
    monkeypatch.setattr(compiling, "TURNS", 1)
    tried = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: tried.append(module) or module)
    monkeypatch.setattr(compiling, "GAIN", 1e-9)
    probed = gnomon.fit(Plain, data, out=tmp_path / "run", **arguments)
    assert tried and probed.info["decisions"]["compile"]["compile"] is False
    assert "compiled_turn_seconds" in probed.info["decisions"]["compile"]
    for (name, a), b in zip(plain.model.state_dict().items(), probed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    monkeypatch.setattr(compiling, "GAIN", 1e9)
    assert gnomon.fit(Plain, data, **arguments).info["decisions"]["settings"]["compile"] is True
