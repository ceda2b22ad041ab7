"""The main job in the shell: a table of every support through fit, sample, score and check; what comes back and what integrates."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import gnomon
from gnomon.cli import main

RNG = np.random.default_rng(0)
ROWS = 600
TABLE = pa.table(
    {
        "real": RNG.normal(3.0, 2.0, ROWS),
        "energy": pa.array(RNG.lognormal(1.0, 0.5, ROWS), pa.float32()),
        "share": RNG.beta(2.0, 2.0, ROWS),
        "phi": RNG.uniform(-np.pi, np.pi, ROWS),
        "count": pa.array(RNG.poisson(3.0, ROWS), pa.int16()),
        "flag": RNG.random(ROWS) < 0.3,
        "city": pa.array(RNG.choice(["Rome", "Oslo", "Ürümqi"], ROWS)),
        "when": pa.array(1_700_000_000_000_000 + RNG.integers(0, 10**12, ROWS), pa.timestamp("us", "UTC")),
    }
)
SUPPORTS = ["energy:positive", "share:bounded(0,1)", "phi:periodic(-pi,pi)", "count:integer(0,100)"]
SMALL = ["--set", "transforms=2", "--set", "hidden=16,16", "--quiet"]


def test_every_support_through_fit_sample_score_and_check(tmp_path: Path) -> None:
    data, held_out, run = tmp_path / "events.parquet", tmp_path / "held out.parquet", tmp_path / "run"
    parquet.write_table(TABLE.slice(0, 400), data)
    parquet.write_table(TABLE.slice(400), held_out)
    columns = [part for support in SUPPORTS for part in ("--column", support)]
    assert main(["fit", "flow", str(data), "-o", str(run), *columns, "--epochs", "4", *SMALL]) == 0
    assert main(["sample", str(run), "-n", "500", "-o", str(tmp_path / "made.parquet")]) == 0
    assert main(["score", str(run), str(held_out), "--anomaly", "-o", str(tmp_path / "scores.parquet")]) == 0
    assert main(["check", str(run), str(held_out), "--budget", "1s"]) == 0
    made = parquet.read_table(tmp_path / "made.parquet")
    assert made.schema.equals(TABLE.schema) and not any(column.null_count for column in made.columns)
    assert min(made["energy"].to_pylist()) > 0 and 0 <= min(made["share"].to_pylist()) <= max(made["share"].to_pylist()) <= 1
    assert np.abs(made["phi"].to_pylist()).max() <= math.pi and min(made["count"].to_pylist()) >= 0
    assert set(made["city"].to_pylist()) <= {"Rome", "Oslo", "Ürümqi"}
    scores = parquet.read_table(tmp_path / "scores.parquet")
    assert np.isfinite(scores["log_prob"]).all() and np.isfinite(scores["anomaly"]).all()
    assert 0 < min(scores["p_value"].to_pylist()) <= max(scores["p_value"].to_pylist()) <= 1
    assert json.loads((run / "check" / "report.json").read_text())["statistics"]


ONE = {
    "real": np.linspace(-40.0, 46.0, 20_001),
    "positive": np.exp(np.linspace(-25.0, 15.0, 20_001)),
    "bounded(-2,5)": -2 + 7 / (1 + np.exp(-np.linspace(-20.0, 20.0, 20_001))),
    "periodic(-pi,pi)": np.linspace(-np.pi, np.pi, 20_001),
    "periodic(0,2pi)": np.linspace(0, 2 * np.pi, 20_001),
    "integer": np.arange(-60, 80),
    "integer(0,30)": np.arange(0, 31),
    "integer(0,1)": np.arange(0, 2),
    "categorical": np.arange(4),
}
VALUES = {
    "real": RNG.normal(3.0, 2.0, ROWS),
    "positive": RNG.lognormal(0.0, 1.0, ROWS),
    "bounded(-2,5)": 7 * RNG.beta(0.7, 2.0, ROWS) - 2,
    "periodic(-pi,pi)": (RNG.normal(3.0, 0.8, ROWS) + np.pi) % (2 * np.pi) - np.pi,
    "periodic(0,2pi)": RNG.normal(0.0, 0.8, ROWS) % (2 * np.pi),
    "integer": RNG.poisson(4.0, ROWS),
    "integer(0,30)": RNG.poisson(2.0, ROWS),
    "integer(0,1)": RNG.integers(0, 2, ROWS),
    "categorical": RNG.choice(4, ROWS, p=[0.1, 0.2, 0.3, 0.4]),
}


def fitted(*supports: str) -> gnomon.Learned:
    data = {f"c{i}": VALUES[s] for i, s in enumerate(supports)}
    columns = {f"c{i}": s for i, s in enumerate(supports)}
    options = {"transforms": 2, "hidden": (16, 16)}
    return gnomon.fit("flow", data, columns=columns, options=options, epochs=6, batch_size=64, progress=False)


def weights(support: str, points: np.ndarray) -> np.ndarray:
    """Of the trapezoidal rule on the points; 1 for what is summed."""
    if support.startswith(("integer", "categorical")):
        return np.ones(len(points))
    steps = np.diff(points)
    return (np.r_[steps, 0.0] + np.r_[0.0, steps]) / 2


@pytest.mark.parametrize("support", ONE)
def test_a_fitted_density_integrates_to_one(support: str) -> None:
    points = ONE[support]
    density = np.exp(fitted(support).log_prob({"c0": points}))
    assert float((density * weights(support, points)).sum()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("real", "bounded(-2,5)"), ("positive", "periodic(-pi,pi)"), ("integer(0,30)", "real"), ("integer(0,1)", "integer(0,30)"),
        ("categorical", "bounded(-2,5)"), ("integer", "periodic(0,2pi)"), ("categorical", "integer(0,1)"),
    ],
)  # fmt: skip
def test_a_fitted_density_of_two_columns_integrates_to_one(first: str, second: str) -> None:
    thinned = [ONE[s][:: max(1, len(ONE[s]) // 500)] for s in (first, second)]
    a, b = np.meshgrid(*thinned, indexing="ij")
    density = np.exp(fitted(first, second).log_prob({"c0": a.ravel(), "c1": b.ravel()})).reshape(a.shape)
    total = weights(first, thinned[0]) @ density @ weights(second, thinned[1])
    assert float(total) == pytest.approx(1.0, abs=1e-3)
