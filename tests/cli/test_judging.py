"""`gnomon check` and `gnomon demo` in the shell: reports, demands, exit codes, and where things are put."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from gnomon.cli import main

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples of one distribution, one of another, and a run."""
    folder = tmp_path_factory.mktemp("judging")
    for name, shift in (("real", 0.0), ("same", 0.0), ("other", 1.5)):
        parquet.write_table(pa.table({"a": RNG.normal(shift, 1.0, 300), "b": RNG.normal(0.0, 1.0, 300)}), folder / f"{name}.parquet")
    assert main(["fit", "pca", str(folder / "real.parquet"), "-o", str(folder / "run"), "--set", "components=1", "--quiet"]) == 0
    return folder


def check(*arguments: object) -> int:
    return main(["check", *(str(a) for a in arguments), "--budget", "1s"])


def test_two_data_sets(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, other, out = place / "real.parquet", place / "other.parquet", tmp_path / "report é"
    assert check(real, other, "-o", out) == 0
    text = capsys.readouterr().out
    assert "w1" in text and text.rstrip().endswith(f"report: {out / 'report.html'}")
    report = json.loads((out / "report.json").read_text())
    assert report["format"] == 1 and report["findings"] and (out / "report.html").stat().st_size > 1000
    names = {row["name"] for row in report["statistics"]}
    assert {"w1", "ks", "c2st_auc"} <= names
    assert check(real, other, "-o", out) == 2
    assert check(real, other, "-o", out, "--overwrite") == 0


def test_demands_decide_the_exit_code(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, same, other = (place / f"{name}.parquet" for name in ("real", "same", "other"))
    assert check(real, same, "-o", tmp_path / "a", "--require", "c2st_auc<0.7", "--require", "findings<1") == 0
    capsys.readouterr()
    assert check(real, other, "-o", tmp_path / "b", "--require", "c2st_auc<0.7") == 1
    assert "c2st_auc<0.7" in capsys.readouterr().err
    assert check(real, same, "-o", tmp_path / "c", "--require", "nonsense<1") == 2


def test_json_is_the_only_thing_on_stdout(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(place / "real.parquet", place / "same.parquet", "-o", tmp_path / "a", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"format", "verdict", "findings", "statistics"}
    assert said == json.loads((tmp_path / "a" / "report.json").read_text())


def test_a_run_keeps_its_report_and_says_if_it_has_seen_the_data(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the default folder is replaced
        assert check(place / "run", place / "same.parquet") == 0
    assert (place / "run" / "check" / "report.html").exists()
    assert "trained on" not in capsys.readouterr().out
    assert check(place / "run", place / "real.parquet") == 0
    assert "trained on" in capsys.readouterr().out


def test_without_a_run_the_report_is_put_beside_the_caller(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check(place / "real.parquet", place / "same.parquet") == 0
    assert (tmp_path / "gnomon-check" / "report.json").exists()


@pytest.mark.slow
def test_the_demo_ends_with_a_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a demo"
    assert main(["demo", "-o", str(out), "--epochs", "0.02"]) == 0
    text = capfd.readouterr().out
    last = text.rstrip().splitlines()[-1]
    assert last == f"report: {out / 'moons' / 'check' / 'report.html'}" and os.path.exists(last.removeprefix("report: "))
    assert "null" in text and "log_likelihood" in text
    assert len(list((out / "digits-samples").glob("*.png"))) == 10 and (out / "digits.png").stat().st_size > 1000
    assert main(["demo", "-o", str(out)]) == 2
