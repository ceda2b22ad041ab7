"""The benchmarks: that their arithmetic is right, that they run, and that starting Gnomon stays light.

Speed itself is not tested here: a busy machine would decide the outcome.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import timing
from benchmarks.startup import heavy_in_help
from benchmarks.timing import Comparison, Seconds

ROOT = Path(__file__).resolve().parent.parent


def test_ratio_is_the_median_of_the_paired_ratios() -> None:
    comparison = Comparison(
        ours=[Seconds(1.0, 1.0), Seconds(9.0, 1.0), Seconds(2.0, 1.0)], peer=[Seconds(2.0, 4.0), Seconds(3.0, 4.0), Seconds(2.0, 4.0)]
    )
    assert comparison.ratio == 1.0
    assert comparison.cpu_ratio == 0.25
    assert comparison.quartiles == (0.75, 2.0)
    assert (comparison.our_seconds, comparison.peer_seconds) == (2.0, 2.0)


def test_per_unit_cancels_what_every_run_costs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing, "processor_seconds", lambda: now[0] / 2)

    def run(epochs: int) -> None:
        now[0] += 5.0 + 0.2 * epochs

    assert timing.per_unit(run, 4, 10) == pytest.approx((0.02, 0.01))


def test_rounds_alternate_and_end_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def side(name: str) -> Seconds:
        now[0] += 1.0
        order.append(name)
        return Seconds(1.0, 1.0)

    assert len(timing.compare(lambda: side("a"), lambda: side("b"), rounds=20, limit=7.0).ours) == 4
    assert order == ["a", "b"] * 4
    assert len(timing.compare(lambda: side("a"), lambda: side("b"), rounds=20, limit=0.0).ours) == 3


def test_figures_are_one_flat_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    timing.emit({"case/peer": 1 / 3, "x_seconds": 2e-9}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"case/peer": 0.333333, "x_seconds": 2e-9}
    timing.emit({"case/peer": 1.0}, as_json=False)
    assert capsys.readouterr().out == ""


def test_help_imports_nothing_heavy() -> None:
    assert heavy_in_help() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["startup", "training", "checks", "latent"])
def test_benchmark_runs(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert any("/" in key for key in figures) and any(key.endswith("_seconds") for key in figures)
    assert all(isinstance(value, float) and value > 0 for key, value in figures.items() if key != "import_extra_seconds")
