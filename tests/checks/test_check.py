"""The one call on two data sets: files and arrays, sides that do not fit, missing rows, weights, images, budgets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gnomon.checks import Report, Sides, check
from gnomon.checks.effort import Effort, parse_seconds
from gnomon.checks.gathering.sources import Reading, case_of_data
from gnomon.data import write
from gnomon.errors import DataError, OptionError


def _table(seed: int, rows: int = 400, **changes) -> pa.Table:  # noqa: ANN003
    rng = np.random.default_rng(seed)
    columns = {
        "pt": rng.exponential(size=rows),
        "phase": rng.uniform(-np.pi, np.pi, size=rows),
        "hits": rng.poisson(3, size=rows),
        "good": rng.random(rows) < 0.7,
        "sort": rng.choice(["1", "2", "3"], size=rows),
        "when": np.datetime64("2024-01-01") + rng.integers(0, 10**6, size=rows).astype("timedelta64[s]"),
    }
    return pa.table({**columns, **changes})


def _same(one: Report, two: Report) -> bool:
    return json.dumps(one.to_json()) == json.dumps(two.to_json())


def test_tables_dicts_frames_and_files_are_all_the_same(tmp_path: Path) -> None:
    import pandas as pd

    real, generated = _table(0), _table(1)
    supports = {"phase": "periodic(-pi,pi)"}
    first = check(real, generated, budget="1s", columns=supports)
    assert not first.findings and {"w1", "ks", "kuiper", "tv", "correlation", "c2st_auc", "coverage"} <= {
        row.name for row in first.statistics
    }
    for suffix in (".parquet", ".csv"):
        write(real, tmp_path / f"real{suffix}")
        write(generated, tmp_path / f"generated{suffix}")
    assert _same(first, check(tmp_path / "real.parquet", str(tmp_path / "generated.parquet"), budget="1s", columns=supports))
    assert _same(first, check(real.to_pandas(), pd.DataFrame(generated.to_pandas()), budget="1s", columns=supports))
    mixed = check(tmp_path / "real.parquet", tmp_path / "generated.csv", budget="1s", columns=supports)
    assert [row.where for row in mixed.statistics] == [row.where for row in first.statistics]


def test_the_same_seed_repeats_bit_for_bit_and_another_does_not() -> None:
    state = np.random.get_state()[1].copy()
    reports = [check(_table(0), _table(1), budget="1s", seed=seed) for seed in (3, 3, 4)]
    assert _same(reports[0], reports[1]) and not _same(reports[0], reports[2])
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(["pt"]), "'pt'"),
        (lambda t: t.append_column("extra", t["pt"]), "columns that the real side lacks: 'extra'"),
        (lambda t: t.set_column(0, "pt", pa.array(["a"] * t.num_rows)), "'pt'"),
        (lambda t: t.set_column(4, "sort", pa.array(["9"] * t.num_rows)), "'9'"),
        (lambda t: t.slice(0, 0), "row"),
        (lambda t: t.set_column(0, "pt", pa.array([float("inf")] + [1.0] * (t.num_rows - 1))), "'pt' row 1 holds inf"),
    ],
)
def test_sides_that_do_not_fit_are_named(change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(_table(0), change(_table(1)), budget="1s")


@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        (np.zeros((9, 2)), np.zeros((9, 3)), "3"),
        (np.zeros((9, 1, 4, 4)), np.zeros((9, 1, 4, 5)), "4"),
        (np.zeros((9, 1, 4, 4)), np.zeros((9, 2)), "image"),
        (np.zeros((9, 2)), "no such file.csv", "no such file"),
    ],
)
def test_arrays_that_do_not_fit_are_named(real, generated, message: str) -> None:  # noqa: ANN001
    with pytest.raises(DataError, match=message):
        check(real, generated, budget="1s")


@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        (np.zeros((0, 2)), np.zeros((9, 2)), "^real side: "),
        (np.zeros((9, 2)), np.zeros((0, 2)), "^generated side: "),
        ({"a": [1.0], "b": [2.0], "c": [1.0]}, {"b": [1.0]}, "^the generated side lacks columns that the real side has: 'a', 'c'; leave"),
        ({"a": [1.0]}, {"a": [1.0], **{f"b{i}": [1.0] for i in range(7)}}, "'b4' and 2 more; leave"),
    ],
)
def test_errors_say_which_side_they_are_about(real, generated, message: str) -> None:  # noqa: ANN001
    with pytest.raises(DataError, match=message):
        check(real, generated, budget="1s")


@pytest.mark.parametrize(
    ("scale", "message"), [(1e300, "up to .*, beyond 1e[+]75; give it"), (1e-300, "no larger than .*, below 1e-75; give it")]
)
@pytest.mark.parametrize("side", ["real", "generated"])
def test_numbers_that_cannot_be_squared_are_refused(scale: float, message: str, side: str) -> None:
    rng = np.random.default_rng(0)
    plain = {"a": rng.normal(size=60), "b": rng.normal(size=60) * (scale if scale < 1 else 1.0)}
    extreme = {"a": rng.normal(size=60), "b": rng.normal(size=60) * scale}
    with pytest.raises(DataError, match=f"{'real' if scale < 1 else side} side: column 'b' holds numbers {message}"):
        check(*((extreme, plain) if side == "real" else (plain, extreme)), budget="1s")


@pytest.mark.parametrize("seed", [1.5, "x", None])
def test_a_seed_is_a_whole_number(seed) -> None:  # noqa: ANN001
    with pytest.raises(OptionError, match="seed wants a whole number; got"):
        check(np.zeros((9, 2)), np.zeros((9, 2)), seed=seed)


def test_a_run_in_the_place_of_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(OptionError, match="is a run, where data is expected; the run comes first"):
        check(np.zeros((9, 2)), tmp_path)


def test_few_rows_are_said_to_be_few() -> None:
    rng = np.random.default_rng(0)
    report = check(rng.normal(size=(1, 2)), rng.normal(size=(40, 2)), budget="1s")
    assert report.verdict.startswith("Of 1 real row little can be said: even gross faults may go unseen. ")


def test_weights_that_leave_few_rows_are_told() -> None:
    rng = np.random.default_rng(0)
    plain = {"a": rng.normal(size=100)}
    told = check({**plain, "w": np.r_[1e6, np.ones(99)]}, {"a": rng.normal(size=100)}, weight="w", budget="1s").verdict
    assert told.startswith(
        "The weights are so uneven that the 100 real rows count as 1: they are judged by 1 of them, drawn by weight. Of 1 real"
    )
    assert "uneven" not in check({**plain, "w": rng.random(100)}, {"a": rng.normal(size=100)}, weight="w", budget="1s").verdict


def _sides(real, generated, weight: str) -> Sides:  # noqa: ANN001
    made = case_of_data(real, generated, Reading(weight=weight), budget="1s", seed=0)[0].sides
    assert made is not None
    return made


@pytest.mark.parametrize("scale", [1e308, 1e-320])
def test_weights_of_any_size_are_brought_to_mean_one(scale: float) -> None:
    rows = np.arange(8.0)
    weight = _sides({"a": rows, "w": np.full(8, scale)}, {"a": rows + 1}, "w").real.weight
    assert weight is not None and weight == pytest.approx(np.ones(8), rel=1e-3)


def test_the_generated_side_alone_may_have_weights() -> None:
    rows = np.arange(8.0)
    made = _sides({"a": rows}, {"a": rows + 1, "w": np.arange(1.0, 9)}, "w")
    assert made.real.weight is None and made.generated.weight == pytest.approx(np.arange(1.0, 9) / 4.5)
    assert made.names == ("a",)


def test_missing_rows_are_counted_reported_and_found() -> None:
    real, generated = _table(0), _table(1)
    holed = generated.set_column(0, "pt", pa.array([None] * 30 + generated["pt"].to_pylist()[30:]))
    report = check(real, holed, budget="1s")
    assert report["missing"][0].value == pytest.approx(30 / 400)
    assert any("30 of 400 generated rows hold missing values" in finding for finding in report.findings)
    assert any("dropped 30 of 400 rows" in note for note in report.notes)


def test_weights_are_used_on_either_side() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=1000) * 1.5
    weight = np.exp(-0.5 * wide**2 * (1 - 1 / 2.25))
    plain = {"x": rng.normal(size=700), "y": rng.normal(size=700)}
    weighted = {"x": wide, "y": rng.normal(size=1000), "w": weight}
    assert check({k: weighted[k] for k in "xy"}, plain, budget="1s").findings
    report = check(weighted, plain, budget="1s", weight="w")
    assert not report.findings and {row.where for row in report["w1"]} == {"x", "y"}
    assert not check(weighted, {**plain, "w": np.ones(700)}, budget="1s", weight="w").findings


def test_columns_may_be_dropped() -> None:
    report = check(_table(0), _table(1), budget="1s", drop=["when", "sort"])
    assert {row.where for row in report["w1"]} | {row.where for row in report["tv"]} == {"pt", "phase", "hits", "good"}


def test_arrays_of_one_axis_and_bare_matrices() -> None:
    rng = np.random.default_rng(0)
    assert [row.where for row in check(rng.normal(size=50), rng.normal(size=60), budget="1s")["ks"]] == ["x0"]
    report = check((rng.normal(size=(90, 2)), rng.integers(0, 3, 90)), (rng.normal(size=(80, 2)), rng.integers(0, 3, 80)), budget="1s")
    assert {row.where for row in report["w1"] + report["tv"]} == {"x0", "x1", "y"}


def test_images_are_compared_by_summaries_and_by_their_pixels() -> None:
    rng = np.random.default_rng(0)
    real, fine, dark = (rng.integers(0, 17, (200, 1, 6, 6)).astype(np.uint8) for _ in range(3))
    assert not check(real, fine, budget="2s").findings
    report = check(real, dark // 2, budget="2s")
    assert report.findings and {"mean intensity", "contrast", "roughness"} <= {row.where for row in report["w1"]}
    shuffled = rng.permuted(real.reshape(200, -1) * (np.arange(36) % 2), axis=1).reshape(real.shape).astype(np.uint8)
    assert check(real * (np.arange(36).reshape(6, 6) % 2).astype(np.uint8), shuffled, budget="2s")["c2st_auc"][0].value > 0.9


def test_sizes_come_from_the_budget_and_are_recorded() -> None:
    rng = np.random.default_rng(0)
    report = check(rng.normal(size=(3000, 2)), rng.normal(size=(2500, 2)), budget="0.5s")
    assert any(note.startswith("budget 0.5 s: at most") for note in report.notes) and "seed 0" in report.notes
    assert "3,000 real and 2,500 generated rows" in report.verdict
    assert all(row.n == 2500 for row in report["c2st_auc"]) and report["earth_mover"][0].n == 100


def test_more_budget_never_means_less_work() -> None:
    for columns in (1, 10, 200):
        made = [Effort.of(seconds, columns=columns) for seconds in (1, 5, 30, 60, 300, 3600)]
        for field in ("rows", "null_rows", "draws", "joint_rows", "retrainings", "model_rows"):
            values = [getattr(effort, field) for effort in made]
            assert values == sorted(values), (columns, field, values)
    assert Effort.of("1min", columns=10).joint_rows <= 200_000


@pytest.mark.parametrize(
    ("text", "seconds"), [("1min", 60), ("90s", 90), ("2 minutes", 120), (30, 30), (0.5, 0.5), ("1h", 3600), ("1e2", 100)]
)
def test_budgets(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["soon", "-3", "0", "1 fortnight", "", "nan", "inf"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="budget wants a duration"):
        parse_seconds(text)


@pytest.mark.slow
def test_faults_at_ten_thousand_rows_are_named() -> None:
    rng = np.random.default_rng(0)

    def rows(seed: int) -> np.ndarray:
        own = np.random.default_rng(seed)
        x = own.normal(size=(10_000, 10))
        x[:, 1] = 0.5 * x[:, 0] + np.sqrt(0.75) * x[:, 1]
        mode = own.random(10_000) < 0.05
        x[mode, 2] += 6
        return x

    def changed(how) -> Report:  # noqa: ANN001
        generated = rows(2)
        how(generated)
        return check(rows(1), generated, budget="10s")

    def shift(x: np.ndarray) -> None:
        x[:, 7] += 0.1

    def lost_mode(x: np.ndarray) -> None:
        far = x[:, 2] > 3
        x[far, 2] = rng.normal(size=far.sum())

    def decorrelate(x: np.ndarray) -> None:
        x[:, 1] = rng.permutation(x[:, 1])

    def rounded(x: np.ndarray) -> None:
        x[:, 4] = np.round(x[:, 4] * 2) / 2

    assert not changed(lambda x: None).findings
    assert "'x7'" in changed(shift).findings[0]
    assert any("'x2'" in finding for finding in changed(lost_mode).findings)
    assert any("'x0' and 'x1'" in finding for finding in changed(decorrelate).findings)
    assert any("'x4'" in finding for finding in changed(rounded).findings)
