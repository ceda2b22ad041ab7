"""`gnomon compare` as it is read: the table, the verdicts, and the fields of its JSON."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from gnomon.checks import Comparison
from gnomon.checks.comparing import Entry
from gnomon.checks.recipes import Recipe
from gnomon.cli import main
from gnomon.cli.comparing import told

FIELDS = ["rank", "run", "model", "value", "error", "difference", "difference_error", "p", "verdict", "n", "note"]


def test_the_table_says_what_is_real() -> None:
    best = Entry(1, "runs/a", "flow", -1.5, 0.02, 0.0, 0.0, math.nan, "best", 500, "")
    other = Entry(2, "runs/b", "vae", -1.8, 0.03, 0.3, 0.01, 2e-5, "worse", 500, "a lower bound")
    lines = told(Comparison("log_prob (nats)", (best, other), (), ("'b' is worse than 'a'",))).splitlines()
    assert lines[0] == "mean log_prob (nats), 500 rows" and lines[-1] == "- 'b' is worse than 'a'"
    assert (
        "verdict" in lines[1]
        and lines[2].split()[:3] == ["1", "runs/a", "flow"]
        and lines[3].split()[-4:] == ["worse", "a", "lower", "bound"]
    )
    recipe = Recipe("flow", ("a", "b"), -1.5, 0.1, 0.07, 0.0, 0.0, math.nan, "best")
    assert "run to run" in told(Comparison("log_prob (nats)", (best, other), (recipe,)))


def test_json_keeps_its_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for name in ("train", "new"):
        a = rng.normal(size=300)
        parquet.write_table(
            pa.table({"a": a, "b": a + 0.1 * rng.normal(size=300), "c": rng.normal(size=300)}), tmp_path / f"{name}.parquet"
        )
    for k in (1, 2):
        run = str(tmp_path / f"run{k}")
        assert main(["fit", "pca", str(tmp_path / "train.parquet"), "-o", run, "--set", f"components={k}", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "run1"), str(tmp_path / "run2"), str(tmp_path / "new.parquet"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert list(made) == ["metric", "ranking", "recipes", "sentences"] and [list(entry) for entry in made["ranking"]] == [FIELDS] * 2
    assert made["ranking"][0]["p"] is None and made["ranking"][1]["p"] < 0.05 and made["ranking"][1]["verdict"] == "worse"
    assert main(["compare", str(tmp_path / "run1"), str(tmp_path / "run2"), str(tmp_path / "new.parquet")]) == 0
    assert re.search(r"'run\d' is worse than 'run\d' by .* nats a row \(p < 0.001\)", capsys.readouterr().out)
