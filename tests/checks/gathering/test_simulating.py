"""Ranks of held-out rows among rows that a fitted model draws under their conditions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import gnomon
from gnomon.checks import Case, Effort, Report, check
from gnomon.checks.gathering.simulating import DRAWS, ranks_of
from gnomon.checks.statistics.simulation import sbc, tarp
from gnomon.data import prepare


def _pairs(seed: int, rows: int, *, spread: float = 1.0) -> pa.Table:
    """A Gaussian under a condition: what PCA with a condition is exactly right about."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, size=rows)
    noise = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=rows) * spread
    return pa.table({"x": x, "theta0": 2 * x + noise[:, 0], "theta1": noise[:, 1] - x})


@pytest.fixture(scope="module")
def right():  # noqa: ANN201
    return gnomon.fit("pca", _pairs(0, 20_000), given=["x"], options={"components": 2}, progress=False, validation=0)


def _rows(learned, table: pa.Table, rows: int = 2000):  # noqa: ANN001, ANN202
    notes: list[str] = []
    ranks = ranks_of(learned, prepare(table, spec=learned.spec).raw, Effort(model_rows=rows * DRAWS // 4), 0, notes)
    case = Case(ranks=ranks, effort=Effort())
    return ranks, sbc(case) + tarp(case), notes


def test_a_right_model_is_calibrated(right) -> None:  # noqa: ANN001
    ranks, rows, notes = _rows(right, _pairs(1, 3000))
    assert ranks.names == ("theta0", "theta1") and ranks.ranks.shape == (2000, 2)
    assert ranks.ranks.min() == 0 and ranks.ranks.max() == DRAWS and min(row.p for row in rows) > 0.005
    assert notes == [f"sbc and tarp: {DRAWS} rows drawn under the condition of each of 2,000 held-out rows"]


def test_a_model_narrowed_by_a_fifth_is_named(right) -> None:  # noqa: ANN001
    _, rows, _ = _rows(right, _pairs(2, 3000, spread=1.25))
    found = Report(rows).findings
    assert any(one.startswith("Column 'theta0': under given conditions its drawn values are too narrow") for one in found), found
    assert any("the model is over-confident: the region that should hold 91 % of the real rows holds" in one for one in found), found


def test_the_whole_check_says_it(right) -> None:  # noqa: ANN001
    report = check(right, _pairs(3, 1500), budget="5s")
    names = {row.name for row in report.statistics}
    assert {"sbc", "tarp", "conditional_ks", "conditional_log_likelihood", "gaussian_log_likelihood"} <= names
    assert not [one for one in report.findings if "given conditions" in one or "under" in one], report.findings


def test_ranks_repeat_and_know_weights(right) -> None:  # noqa: ANN001
    raw = prepare(_pairs(4, 400), spec=right.spec).raw
    one, two = (ranks_of(right, raw, Effort(), 7, []) for _ in range(2))
    assert (one.ranks == two.ranks).all() and (one.distance_ranks == two.distance_ranks).all()
    assert (one.ranks != ranks_of(right, raw, Effort(), 8, []).ranks).any()


def test_where_nothing_is_ranked(right) -> None:  # noqa: ANN001
    notes: list[str] = []
    assert ranks_of(right, prepare(_pairs(5, 60), spec=right.spec).raw, Effort(), 0, notes) is None
    assert notes == ["sbc and tarp are left out: 60 rows; ranks want at least 100"]
    plain = gnomon.fit("pca", np.random.default_rng(0).normal(size=(200, 2)), progress=False)
    assert ranks_of(plain, prepare(np.zeros((200, 2)), spec=plain.spec).raw, Effort(), 0, []) is None


def test_images_and_categories_are_ranked() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.random((150, 1, 4, 4)).astype(np.float32)
    images = gnomon.fit("vae", {"x": pixels, "given": rng.random((150, 1))}, epochs=1, progress=False, options={"latent": 2})
    ranks = ranks_of(images, prepare({"x": pixels, "given": rng.random((150, 1))}, spec=images.spec).raw, Effort(), 0, [])
    assert ranks.names == ("mean intensity", "contrast") and len(ranks.distance_ranks) == 150
    table = pa.table({"kind": rng.choice(["a", "b"], 300), "angle": rng.random(300), "e": rng.random(300)})
    mixed = gnomon.fit("gan", table, given=["e"], columns={"angle": "periodic(0,1)"}, epochs=1, progress=False)
    ranks = ranks_of(mixed, prepare(table, spec=mixed.spec).raw, Effort(), 0, [])
    assert ranks.names == ("angle",)
