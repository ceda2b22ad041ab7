"""The verbs, run as a user runs them: what they write, what they print, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet
import pytest
from sklearn.metrics import roc_auc_score

import gnomon
from gnomon.checks.statistic import number
from gnomon.cli import main

RNG = np.random.default_rng(0)
ROWS = 240
TABLE = pa.table(
    {
        "energy": RNG.lognormal(1.0, 0.5, ROWS),
        "phi": RNG.uniform(-3.1, 3.1, ROWS),
        "flag": RNG.integers(0, 2, ROWS).astype(bool),
        "beam": RNG.choice([10.0, 20.0], ROWS),
        "when": pa.array(1_700_000_000_000_000 + RNG.integers(0, 10**12, ROWS), pa.timestamp("us")),
        "city": pa.array(RNG.choice(["Rome", "New York"], ROWS)),
    }
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and small runs, with a space and an accent in its path."""
    folder = tmp_path_factory.mktemp("cli") / "a place é"
    folder.mkdir()
    parquet.write_table(TABLE, folder / "events.parquet")
    csv.write_csv(TABLE.drop_columns(["when"]), folder / "events.csv")
    data = str(folder / "events.parquet")
    common = ["--quiet", "--epochs", "2", "--seed", "1"]
    vae = ["--column", "energy:positive", "--column", "phi:periodic(-pi,pi)", "--set", "latent=2", "--given", "beam,city"]
    assert main(["fit", "vae", data, "-o", str(folder / "vae"), *vae, *common]) == 0
    assert main(["fit", "classifier", data, "-o", str(folder / "classes"), "--target", "city", *common]) == 0
    assert main(["fit", "regressor", data, "-o", str(folder / "numbers"), "--target", "energy", "--drop", "when", *common]) == 0
    assert main(["fit", "pca", data, "-o", str(folder / "pca"), "--drop", "flag,city,when", "--set", "components=2", "--quiet"]) == 0
    return folder


def gnomon_says(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which a command is refused."""
    code, out, err = gnomon_says(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("gnomon: ") and err.count("\n") == 1, err
    return err


# ---- files written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".feather", ".npz"])
def test_samples_have_the_training_tables_columns(place: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"made é{suffix}"
    assert main(["sample", str(place / "vae"), "-n", "20", "--given", "beam=10,city=New York", "-o", str(out)]) == 0
    if suffix == ".npz":
        made = np.load(out)
        assert sorted(made.files) == sorted(TABLE.column_names) and made["city"].tolist() == ["New York"] * 20
        return
    made = gnomon.data.read(out).columns
    assert made.num_rows == 20 and made.column_names == TABLE.column_names
    assert set(made["beam"].to_pylist()) == {10.0} and set(made["city"].to_pylist()) == {"New York"}
    if suffix == ".parquet":
        assert made.schema.equals(TABLE.schema)
        assert min(made["energy"].to_pylist()) > 0 and max(np.abs(made["phi"].to_pylist())) <= np.pi


def test_conditions_come_row_by_row_from_a_file(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.parquet"
    assert main(["sample", str(place / "vae"), "-n", "300", "--given-from", str(place / "events.parquet"), "-o", str(out)]) == 0
    made = parquet.read_table(out)
    expected = TABLE["beam"].to_pylist()
    assert made["beam"].to_pylist() == expected + expected[: 300 - ROWS]


def test_the_same_seed_gives_the_same_samples(place: Path, tmp_path: Path) -> None:
    made = []
    for i, seed in enumerate(("1", "1", "2")):
        out = tmp_path / f"{i}.parquet"
        assert main(["sample", str(place / "pca"), "-n", "5", "--seed", seed, "-o", str(out)]) == 0
        made.append(parquet.read_table(out))
    assert made[0].equals(made[1]) and not made[0].equals(made[2])


def test_scores(place: Path, tmp_path: Path) -> None:
    data = str(place / "events.parquet")
    assert main(["score", str(place / "pca"), data, "-o", str(tmp_path / "a.parquet")]) == 0
    exact = parquet.read_table(tmp_path / "a.parquet")
    assert exact.column_names == ["log_prob"] and exact.num_rows == ROWS
    assert np.array_equal(exact["log_prob"], gnomon.load(place / "pca").log_prob(data))
    assert main(["score", str(place / "vae"), data, "--anomaly", "--samples", "8", "-o", str(tmp_path / "b.csv")]) == 0
    bound = csv.read_csv(tmp_path / "b.csv")
    assert bound.column_names == ["log_prob_bound", "log_prob_error", "anomaly", "p_value"]
    p = np.asarray(bound["p_value"])
    assert (p > 0).all() and (p <= 1).all() and len(np.unique(p)) > 5


def test_anomalies_by_a_way_and_beside_the_truth(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, learned = parquet.read_table(place / "events.parquet"), gnomon.load(place / "vae")
    truth = np.arange(ROWS) % 7 == 0
    parquet.write_table(rows.append_column("strange", pa.array(truth)), tmp_path / "told.parquet")
    arguments = ["score", place / "vae", tmp_path / "told.parquet", "--label", "strange", "-o"]
    code, said, _ = gnomon_says(capsys, *arguments, tmp_path / "a.parquet", "--anomaly-by", "latent", "--direction", "low")
    made = parquet.read_table(tmp_path / "a.parquet")
    scores, p = learned.score(rows, True, by="latent", direction="low")
    assert code == 0 and made.column_names == ["anomaly", "p_value"]
    assert np.array_equal(made["anomaly"], scores) and np.array_equal(made["p_value"], p)
    area = roc_auc_score(truth, -scores)
    assert said.startswith(f"ROC AUC {number(area)} ± ") and "small scores are strange; anomalies are the rows with strange = True" in said
    code, said, _ = gnomon_says(capsys, *arguments, tmp_path / "b.csv", "--direction", "both")
    assert code == 0 and "small p-values are strange" in said and "95 % interval" in said
    code, _, err = gnomon_says(capsys, *arguments, tmp_path / "c.csv", "--anomaly-by", "density")
    assert code == 2 and "vae has no anomaly score by density; it has: reconstruction, bound, latent" in err


def test_without_held_out_rows_p_values_are_empty_and_it_is_said(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = place / "events.parquet", tmp_path / "run"
    arguments = ["--drop", "flag,city,when", "--set", "components=1", "--validation", "0", "--quiet"]
    assert main(["fit", "pca", str(data), "-o", str(run), *arguments]) == 0
    code, _, err = gnomon_says(capsys, "score", run, data, "--anomaly", "-o", tmp_path / "a.parquet")
    assert code == 0 and "p_value is left empty" in err
    assert parquet.read_table(tmp_path / "a.parquet")["p_value"].null_count == ROWS


def test_predictions(place: Path, tmp_path: Path) -> None:
    data = str(place / "events.parquet")
    assert main(["predict", str(place / "classes"), data, "-o", str(tmp_path / "a.csv")]) == 0
    assert csv.read_csv(tmp_path / "a.csv").column_names == ["city"]
    assert set(csv.read_csv(tmp_path / "a.csv")["city"].to_pylist()) <= {"Rome", "New York"}
    assert main(["predict", str(place / "classes"), data, "--proba", "-o", str(tmp_path / "b.parquet")]) == 0
    probability = parquet.read_table(tmp_path / "b.parquet")
    assert probability.column_names == ["probability_New York", "probability_Rome"]
    np.testing.assert_allclose(sum(np.asarray(c) for c in probability.columns), 1.0)
    assert main(["predict", str(place / "numbers"), str(place / "events.csv"), "-o", str(tmp_path / "c.parquet")]) == 0
    numbers = parquet.read_table(tmp_path / "c.parquet")
    assert numbers.column_names == ["energy", "energy_sd"] and min(numbers["energy_sd"].to_pylist()) > 0


def test_codes_there_and_back(place: Path, tmp_path: Path) -> None:
    data, codes = str(place / "events.parquet"), tmp_path / "codes.csv"
    assert main(["encode", str(place / "pca"), data, "-o", str(codes)]) == 0
    assert csv.read_csv(codes).column_names == ["z0", "z1"]
    assert main(["decode", str(place / "pca"), str(codes), "-o", str(tmp_path / "decoded.parquet")]) == 0
    assert main(["reconstruct", str(place / "pca"), data, "-o", str(tmp_path / "again.parquet")]) == 0
    decoded, again = parquet.read_table(tmp_path / "decoded.parquet"), parquet.read_table(tmp_path / "again.parquet")
    assert decoded.column_names == again.column_names == ["energy", "phi", "beam"]
    for name in again.column_names:
        np.testing.assert_allclose(decoded[name], again[name], rtol=1e-4, atol=1e-4)
    assert main(["encode", str(place / "pca"), data, "-o", str(tmp_path / "codes.npy")]) == 0
    assert main(["decode", str(place / "pca"), str(tmp_path / "codes.npy"), "-o", str(tmp_path / "d.csv")]) == 0
    assert csv.read_csv(tmp_path / "d.csv").num_rows == ROWS


def test_decoding_takes_conditions_from_beside_the_codes(place: Path, tmp_path: Path) -> None:
    codes = pa.table({"z0": [0.0, 1.0], "z1": [0.5, 0.5], "beam": [10.0, 20.0], "city": ["Rome", "New York"]})
    parquet.write_table(codes, tmp_path / "codes.parquet")
    assert main(["decode", str(place / "vae"), str(tmp_path / "codes.parquet"), "-o", str(tmp_path / "a.parquet")]) == 0
    assert parquet.read_table(tmp_path / "a.parquet")["city"].to_pylist() == ["Rome", "New York"]


def test_images_go_to_a_folder_of_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", RNG.integers(0, 256, (60, 6, 7, 1)).astype(np.uint8))
    run, out = tmp_path / "run", tmp_path / "made"
    assert main(["fit", "pca", str(tmp_path / "pictures.npy"), "-o", str(run), "--set", "components=3", "--quiet"]) == 0
    assert main(["sample", str(run), "-n", "4", "-o", str(out)]) == 0
    assert len(list(out.glob("*.png"))) == 4
    assert main(["sample", str(run), "-n", "4", "-o", str(tmp_path / "made.npy")]) == 0
    assert np.load(tmp_path / "made.npy").shape == (4, 6, 7, 1)


# ---- fit ------------------------------------------------------------------------------------------------------------


def test_fit_prints_one_json_object(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = gnomon_says(capsys, "fit", "pca", place / "events.csv", "-o", tmp_path / "run", "--set", "components=1", "--json")
    said = json.loads(out)
    assert code == 0 and err == "" and said["model"] == "pca" and said["rows"] == ROWS and "sample" in said["abilities"]


def test_a_recipe_holds_all_arguments_and_the_command_line_wins(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "events.toml"
    recipe.write_text(
        f'model = "classifier"\ndata = "{place / "events.parquet"}"\ntarget = "city"\ndrop = "when"\nepochs = 1\nseed = 3\nlr = 0.01\n'
        '[options]\nlabel_smoothing = 0.1\nnet = { hidden = [8, 8] }\n[columns]\nenergy = "positive"\n'
    )
    assert main(["fit", "--recipe", str(recipe), "-o", str(tmp_path / "a"), "--quiet"]) == 0
    one = gnomon.load(tmp_path / "a")
    assert one.recipe["options"]["label_smoothing"] == 0.1 and one.spec.x.columns[0].support.name == "positive"
    assert one.info["seed"] == 3 and "when" not in one.spec.x.names and one.info["decisions"]["settings"]["lr"] == 0.01
    more = ["--epochs", "2", "--set", "label_smoothing=0.2", "--quiet"]
    assert main(["fit", "--recipe", str(recipe), "-o", str(tmp_path / "b"), *more]) == 0
    other = gnomon.load(tmp_path / "b")
    assert other.recipe["options"]["label_smoothing"] == 0.2 and list(other.recipe["options"]["net"]["hidden"]) == [8, 8]
    assert len(other.history) == 2 and len(one.history) == 1
    recipe.write_text('model = "pca"\nepoch = 3\n')
    assert "did you mean 'epochs'" in refused(capsys, "fit", "--recipe", recipe, "-o", tmp_path / "c")
    recipe.write_text("model = \n")
    assert "TOML" in refused(capsys, "fit", "--recipe", recipe, "-o", tmp_path / "c")
    recipe.write_text('model = "pca"\noptions = 3\n')
    assert "'options' wants a table" in refused(capsys, "fit", "--recipe", recipe, "-o", tmp_path / "c")
    assert "cannot be read" in refused(capsys, "fit", "--recipe", tmp_path / "none.toml", "-o", tmp_path / "c")


def test_a_finished_run_can_be_resumed_and_stays_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = gnomon.load(place / "vae").encode(str(place / "events.parquet"))
    code, _, err = gnomon_says(capsys, "fit", "--resume", place / "vae", "--quiet")
    assert code == 0, err
    assert np.array_equal(gnomon.load(place / "vae").encode(str(place / "events.parquet")), before)
    assert "leave out" in refused(capsys, "fit", "vae", "wine", "--resume", place / "vae")


def test_several_seeds_make_several_runs(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--target", "energy", "--drop", "when", "--epochs", "1", "--seeds", "2", "--quiet"]
    assert main(["fit", "regressor", str(place / "events.parquet"), "-o", str(run), *arguments]) == 0
    assert gnomon.load(run).name == "regressor"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit"], "wants a model and data"),
        (["fit", "pca", "wine"], "-o RUN"),
        (["fit", "vaee", "wine", "-o", "{new}"], "did you mean 'vae'"),
        (["fit", "vae", "{here}/nothing.csv", "-o", "{new}"], "nothing.csv"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--set", "latnt=3"], "did you mean 'latent'"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--set", "latent"], "name=value"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--set", "latent=a"], "whole number"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--column", "energy"], "name:support"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--column", "energy:odd"], "odd"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--given", "bean"], "beam"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--batch-size", "some"], "batch-size"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--epochs", "two"], "--epochs"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--lr", "-1", "--epochs", "1"], "lr"),
        (["fit", "vae", "{here}/events.csv", "-o", "{new}", "--fit", "clipp=1"], "clip"),
        (["fit", "vae", "{here}/events.csv", "-o", "{here}/vae"], "--overwrite|overwrite"),
        (["fit", "classifier", "{here}/events.csv", "-o", "{new}"], "target|y"),
        (["sample", "{here}/vae", "-n", "3", "-o", "{new}.csv", "--given", "beam=ten,city=Rome"], "wants a number"),
        (["sample", "{here}/vae", "-n", "3", "-o", "{new}.csv", "--given", "beam=10,city=Oslo"], "Oslo"),
        (["sample", "{here}/vae", "-n", "3", "-o", "{new}.csv", "--given", "bean=10"], "did you mean 'beam'"),
        (["sample", "{here}/vae", "-n", "3", "-o", "{new}.csv"], "drop_given"),
        (["sample", "{here}/pca", "-n", "3", "-o", "{new}.csv", "--given", "beam=1"], "without conditions"),
        (["sample", "{here}/pca", "-n", "0", "-o", "{new}.csv"], "of 1 or more"),
        (["sample", "{here}/pca", "-n", "3", "-o", "{here}/events.csv"], "already exists"),
        (["sample", "{here}/pca", "-n", "3", "-o", "{new}.xyz"], "xyz"),
        (["sample", "{here}/pca", "-n", "3"], "--out"),
        (["sample", "{here}", "-n", "3", "-o", "{new}.csv"], "run.json"),
        (["sample", "{here}/pca", "-n", "3", "-o", "{new}.csv", "--device", "abacus"], "^gnomon: device .abacus. is not known"),
        (["predict", "{here}/pca", "{here}/events.csv", "-o", "{new}.csv"], "cannot predict"),
        (["predict", "{here}/numbers", "{here}/events.csv", "--proba", "-o", "{new}.csv"], "probabilities"),
        (["predict", "{here}/numbers", "{here}/events.csv", "--samples", "3", "-o", "{new}.csv"], "dropout"),
        (["score", "{here}/classes", "{here}/events.csv", "-o", "{new}.csv"], "log-probability|when"),
        (["decode", "{here}/pca", "{here}/events.csv", "-o", "{new}.csv"], "z0"),
        (["compare", "{here}/pca", "{here}/events.csv"], "two or more"),
        (["compare", "{here}/pca", "{here}/numbers", "{here}/events.csv"], "compared|common"),
        (["doctor", "{here}"], "run.json"),
        (["list", "modells"], "did you mean 'models'"),
        (["show", "flo"], "did you mean 'flow'"),
        (["bogus"], "bogus"),
        (["check", "{here}/pca", "{here}/events.csv", "--require", "c2st"], "demand"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_2(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    import re

    line = refused(capsys, *(a.format(here=place, new=tmp_path / "new") for a in arguments))
    assert re.search(says, line), line
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_overwrite_replaces(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    out.write_text("mine")
    assert main(["sample", str(place / "pca"), "-n", "3", "-o", str(out)]) == 2 and out.read_text() == "mine"
    assert main(["sample", str(place / "pca"), "-n", "3", "-o", str(out), "--overwrite"]) == 0
    assert csv.read_csv(out).num_rows == 3


def test_debug_shows_the_traceback(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = gnomon_says(capsys, "sample", place, "-n", "3", "-o", tmp_path / "a.csv", "--debug")
    assert code == 2 and "Traceback" in err and "RunError" in err


def test_a_fault_of_our_own_is_one_line_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr("gnomon.learned.runs.read_history", lambda run: 1 / 0)
    assert "unexpected ZeroDivisionError" in refused(capsys, "doctor", place / "pca")


def test_ctrl_c_ends_with_130(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [
        "fit",
        "vae",
        str(place / "events.parquet"),
        "-o",
        str(run),
        "--drop",
        "when",
        "--epochs",
        "100000",
        "--patience",
        "100000",
        "--compile",
        "off",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(gnomon.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gnomon", *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    limit = time.monotonic() + 90
    while not (run / "history.jsonl").exists() and time.monotonic() < limit:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130 and b"Traceback" not in err
    assert gnomon.load(run).info["decisions"]["interrupted"]
    assert gnomon.load(run).sample(3).num_rows == 3


# ---- looking --------------------------------------------------------------------------------------------------------


def test_list_and_show(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sort in ("models", "networks", "datasets", "statistics"):
        code, out, _ = gnomon_says(capsys, "list", sort)
        assert code == 0 and all(name in out for name in gnomon.available(sort))
    code, out, _ = gnomon_says(capsys, "show", "vae", "--json")
    facts = json.loads(out)
    assert code == 0 and {o["option"] for o in facts["options"]} >= {"latent", "beta"} and "log_prob_bound" in facts["abilities"]
    code, out, _ = gnomon_says(capsys, "show", "mlp")
    assert code == 0 and "hidden" in out
    code, out, _ = gnomon_says(capsys, "show", place / "vae")
    assert code == 0 and "periodic(-3.14159, 3.14159)" in out and "latent=2" in out and "240 rows" in out


def test_compare_ranks_with_paired_differences(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, other = place / "events.parquet", tmp_path / "other"
    drop = ["--drop", "flag,city,when"]
    assert main(["fit", "pca", str(data), "-o", str(other), *drop, "--set", "components=1", "--quiet"]) == 0
    code, out, _ = gnomon_says(capsys, "compare", other, place / "pca", data, "--json")
    ranking = json.loads(out)["ranking"]
    assert code == 0 and [r["rank"] for r in ranking] == [1, 2]
    assert ranking[0]["value"] >= ranking[1]["value"] and ranking[0]["difference"] == 0
    rows = {str(run): gnomon.load(run).log_prob(str(data)) for run in (other, place / "pca")}
    difference = rows[ranking[0]["run"]] - rows[ranking[1]["run"]]
    assert ranking[1]["difference"] == pytest.approx(difference.mean())
    assert ranking[1]["difference_error"] == pytest.approx(difference.std(ddof=1) / np.sqrt(ROWS))
    assert "trained on this data" in ranking[0]["note"]
    code, out, _ = gnomon_says(capsys, "compare", place / "classes", place / "classes", data)
    assert code == 0 and "accuracy" in out
    code, out, _ = gnomon_says(capsys, "compare", place / "numbers", place / "numbers", data)
    assert code == 0 and "rmse" in out


def test_doctor(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = gnomon_says(capsys, "doctor", place / "vae", "--json")
    assert code == 0 and json.loads(out)["findings"]
    code, out, _ = gnomon_says(capsys, "doctor", place / "pca")
    assert code == 0 and "closed form" in out
    code, out, _ = gnomon_says(capsys, "doctor", place / "vae", place / "events.parquet", "-o", place / "seen by the doctor")
    assert code == 0 and out.count("picture") == 2
    assert {path.name for path in (place / "seen by the doctor").iterdir()} == {"gradients.png", "landscape.png"}
    assert "gradients" in refused(capsys, "doctor", place / "pca", place / "events.parquet")
    assert "gnomon doctor RUN DATA" in refused(capsys, "doctor", place / "vae", "-o", place / "nothing")


def test_range_test(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = gnomon_says(capsys, "fit", "classifier", "wine", "--range-test", "--json", "-o", place / "rates.svg")
    assert code == 0 and 1e-5 < json.loads(out)["suggestion"] < 1
    assert (place / "rates.svg").read_text().startswith("<?xml")
    assert "already exists" in refused(capsys, "fit", "classifier", "wine", "--range-test", "-o", place / "rates.svg")


def test_names_that_steer_a_terminal_are_shown_without_their_power(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "flow", "a\x1b[31mb.csv", "--out", "unused"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "'a\N{REPLACEMENT CHARACTER}[31mb.csv' is no file" in said
