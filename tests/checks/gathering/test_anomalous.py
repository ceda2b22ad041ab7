"""Checks of data in which a column tells the anomalies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from sklearn import metrics

import gnomon
from gnomon.checks import Effort, check
from gnomon.checks.gathering.anomalous import anomalies_of, parted
from gnomon.data import prepare
from gnomon.errors import AbilityError, DataError, OptionError


def _rows(seed: int, rows: int = 400, strange: int = 30) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal([0, 0, 0], [[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]], size=rows)
    x[:strange] = rng.normal(size=(strange, 3)) * 2
    order = rng.permutation(rows)
    truth = (np.arange(rows) < strange)[order]
    names = {"fault": truth, "kind": np.where(truth, "odd", "good"), "code": np.where(truth, 1, 0)}
    return pa.table({**dict(zip("abc", x[order].T, strict=True)), **names})


@pytest.fixture(scope="module")
def learned():  # noqa: ANN201
    clean = _rows(0, 2000, 0).select(["a", "b", "c"])
    return gnomon.fit("pca", clean, options={"components": 2}, progress=False)


@pytest.mark.parametrize("column", ["fault", "kind", "code"])
def test_scores_are_judged_and_the_rest_is_about_the_other_rows(learned, column: str) -> None:  # noqa: ANN001
    data = _rows(1)
    report = check(learned, data, anomaly=column, budget="1s")
    (row,) = report["anomaly_auc"]
    assert row.value == pytest.approx(metrics.roc_auc_score(data["fault"].to_numpy(zero_copy_only=False), learned.score(data)))
    assert row.value > 0.8 and row.n == 400 and not report.findings, report.findings
    assert report["w1"][0].n == 370
    (precision,) = report["anomaly_average_precision"]
    wanted = metrics.average_precision_score(data["fault"].to_numpy(zero_copy_only=False), learned.score(data))
    assert precision.value == pytest.approx(wanted)
    told = "kind = 'odd', the rarer of its two values (30 rows)" if column == "kind" else f"{column} = {'True' if column == 'fault' else 1}"
    assert any(told in note for note in report.notes), report.notes


def test_strangeness_may_be_told_in_another_way(learned) -> None:  # noqa: ANN001
    data = _rows(1)
    report = check(learned, data, anomaly="fault", anomaly_by="density", budget="1s")
    wanted = metrics.roc_auc_score(data["fault"].to_numpy(zero_copy_only=False), -learned.log_prob(data))
    assert report["anomaly_auc"][0].value == pytest.approx(wanted)
    assert any("strangeness is told by density" in note for note in report.notes)
    with pytest.raises(AbilityError, match="no anomaly score by bound; it has: reconstruction, density, latent"):
        check(learned, data, anomaly="fault", anomaly_by="bound", budget="1s")
    with pytest.raises(OptionError, match="name their column too"):
        check(learned, data, anomaly_by="density", budget="1s")


def test_rare_values_mark_the_anomalies_whatever_they_are(learned) -> None:  # noqa: ANN001
    data = _rows(2)
    signs = np.where(data["fault"].to_numpy(zero_copy_only=False), -1, 1)
    found = parted(learned, data.append_column("sign", pa.array(signs)), "sign")
    assert found.strange["a"].equals(parted(learned, data, "fault").strange["a"]) and found.usual.num_rows == 370


def test_very_many_rows_are_thinned_and_weighted(learned) -> None:  # noqa: ANN001
    data = _rows(3, 4000, 60)
    parts = parted(learned, data, "fault")
    usual = prepare(parts.usual, spec=learned.spec).raw
    made, notes = anomalies_of(learned, usual, parts, Effort(model_rows=500), 0, absent=False)
    assert made.truth.sum() == 60 and len(made.truth) == 500 and any("440 of 3,940 other rows are scored" in note for note in notes)
    assert np.average(made.truth, weights=made.weight) == pytest.approx(60 / 4000) and made.weight.mean() == pytest.approx(1)
    whole, _ = anomalies_of(learned, usual, parts, Effort(), 0, absent=False)
    assert whole.weight is None and len(whole.truth) == 4000


def test_a_model_that_only_scores_is_checked_too(learned, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    monkeypatch.setattr(type(learned), "abilities", property(lambda self: ("score",)))
    report = check(learned, _rows(4), anomaly="fault", budget="1s")
    assert {row.name for row in report.statistics} == {"anomaly_auc", "anomaly_average_precision"}
    with pytest.raises(AbilityError, match="nothing in that to check"):
        check(learned, _rows(4), budget="1s")


def test_bad_columns_are_named(learned) -> None:  # noqa: ANN001
    data = _rows(5)
    with pytest.raises(DataError, match="no column 'faulty'"):
        check(learned, data, anomaly="faulty")
    with pytest.raises(DataError, match="learned about column 'a'"):
        check(learned, data, anomaly="a")
    with pytest.raises(DataError, match="holds 3: 0, 1, 2"):
        check(learned, data.append_column("three", pa.array(np.arange(400) % 3)), anomaly="three")
    with pytest.raises(DataError, match="holds 1 missing"):
        check(learned, data.append_column("holes", pa.array([None] + [0] * 398 + [1])), anomaly="holes")
    with pytest.raises(DataError, match="as many 'u' as 'v'"):
        check(learned, data.append_column("even", pa.array(["u", "v"] * 200)), anomaly="even")
    with pytest.raises(DataError, match="are arrays"):
        check(learned, np.zeros((10, 3)), anomaly="fault")
    with pytest.raises(OptionError, match="two data sets"):
        check(data, data, anomaly="fault")
    drawn = gnomon.fit("gan", data.select(["a", "b"]), epochs=1, progress=False)
    with pytest.raises(AbilityError, match="gan has no anomaly score"):
        check(drawn, data, anomaly="fault")


def test_the_command_line_takes_the_column(learned, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN001
    from gnomon.cli import main

    run = learned.save(tmp_path / "run")
    csv.write_csv(_rows(6), tmp_path / "new.csv")
    assert main(["check", str(run), str(tmp_path / "new.csv"), "--anomaly", "kind", "--budget", "1s", "--require", "anomaly_auc>0.7"]) == 0
    assert "anomaly_auc" in capsys.readouterr().out
