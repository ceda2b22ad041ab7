"""The noise of a flow's own rows is the noise that it draws, for every sort of column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import gnomon
from gnomon.checks import Effort
from gnomon.checks.gathering.noise import latent_of
from gnomon.data import prepare

PI = np.pi
COLUMNS = {"pt": "positive", "phi": "periodic(0,1)", "count": "integer(0,9)"}


def _events(seed: int, rows: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    energy, common = rng.uniform(1, 10, size=rows), rng.normal(size=rows)
    return pa.table({
        "energy": energy,
        "signal": energy + common,
        "pt": np.exp(0.5 * common + rng.normal(size=rows)),
        "phi": (rng.normal(size=rows) * 0.2) % 1,
        "count": rng.binomial(9, 0.3, size=rows),
        "kind": np.where(common > 0, "a", "b"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def flow():  # noqa: ANN201
    return gnomon.fit("flow", _events(0, 1500), given=["energy"], columns=COLUMNS, epochs=2, progress=False, options={"hidden": (32,)})


def test_the_noise_of_a_flows_own_rows_is_its_noise(flow) -> None:  # noqa: ANN001
    """Two epochs are few, but the flow is right about rows it draws itself, whole numbers included."""
    own = flow.sample(2000, given={"energy": np.random.default_rng(1).uniform(1, 10, 2000)}, seed=1)
    notes: list[str] = []
    made = latent_of(flow, prepare(own, spec=flow.spec).raw, Effort(model_rows=32_000), 0, notes)
    assert not notes and made.normal.shape == (2000, 3) and made.uniform.shape == (2000, 1)
    for column in made.normal.T:
        assert stats.kstest(column, "norm").pvalue > 0.001
    assert stats.kstest(made.uniform[:, 0], "uniform").pvalue > 0.001
    assert stats.kstest(np.square(made.normal).sum(axis=1), stats.chi2(3).cdf).pvalue > 0.001
    assert made.inversion.max() < 1e-3


def test_the_place_in_a_cell_is_drawn_from_the_flows_own_density() -> None:
    """A flow that has learned nothing is far from even inside the wide cells of a column of three values."""
    rng = np.random.default_rng(0)
    table = pa.table({"count": rng.integers(0, 3, size=1000), "other": rng.normal(size=1000)})
    learned = gnomon.fit("flow", table, columns={"count": "integer(0,2)"}, epochs=1, lr=1e-9, progress=False)
    made = latent_of(learned, prepare(learned.sample(4000, seed=1), spec=learned.spec).raw, Effort(model_rows=64_000), 0, [])
    assert made.normal.std(axis=0) == pytest.approx(1, abs=0.05)
    for column in made.normal.T:
        assert stats.kstest(column, "norm").pvalue > 0.001


def test_other_rows_are_not(flow) -> None:  # noqa: ANN001
    table = _events(2, 1000)
    shifted = table.set_column(1, "signal", pa.array(table["signal"].to_numpy() + 1.0))
    made = latent_of(flow, prepare(shifted, spec=flow.spec).raw, Effort(), 0, [])
    assert min(stats.kstest(column, "norm").pvalue for column in made.normal.T) < 1e-6


def test_where_it_is_left_out() -> None:
    pixels = np.random.default_rng(0).integers(0, 17, size=(60, 1, 3, 3)).astype(np.uint8)
    learned = gnomon.fit("flow", {"x": pixels}, epochs=1, progress=False, options={"transforms": 2, "hidden": (8,)})
    notes: list[str] = []
    assert latent_of(learned, prepare({"x": pixels}, spec=learned.spec).raw, Effort(), 0, notes) is None
    assert notes == ["latent_normality is left out: no place can be drawn in a cell of 9 whole numbers per row"]
    pca = gnomon.fit("pca", np.random.default_rng(0).normal(size=(50, 3)), progress=False)
    assert latent_of(pca, prepare(np.zeros((30, 3)), spec=pca.spec).raw, Effort(), 0, []) is None
