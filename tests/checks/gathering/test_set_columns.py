"""Sets as summary columns: against a loop over sets, with empty sets, angles and categories, and through the one call."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from gnomon.checks import check
from gnomon.checks.gathering.set_columns import set_columns
from gnomon.checks.gathering.sources import Reading, case_of_data
from gnomon.checks.statistics.columns import ks
from gnomon.data import Categorical, Column, Periodic, Positive, Ragged, Set, Vector
from gnomon.errors import DataError

KIND = Set(
    Vector(
        (
            Column("pt", Positive(), "GeV"),
            Column("eta"),
            Column("phi", Periodic(-np.pi, np.pi)),
            Column("sort", Categorical(("a", "b", "c"))),
            Column("sign", Categorical(("-", "+"))),
        )
    )
)


def _sets(seed: int, rows: int = 30, least: int = 0) -> Ragged:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(least, 6, size=rows)
    n = int(lengths.sum())
    columns = [rng.exponential(size=n), rng.normal(size=n), rng.vonmises(2, 1, size=n), rng.integers(0, 3, n), rng.integers(0, 2, n)]
    return Ragged(torch.from_numpy(np.stack(columns, axis=1).astype(np.float64)), torch.from_numpy(lengths))


def _by_hand(sets: Ragged, pooled: np.ndarray) -> dict[str, list[float]]:
    made: dict[str, list[float]] = {}
    centre, spread = pooled.mean(axis=0), pooled.std(axis=0)
    for part in (p.numpy() for p in sets.split()):
        empty = not len(part)
        made.setdefault("size", []).append(len(part))
        for i, name in enumerate(("pt", "eta")):
            values = part[:, i]
            made.setdefault(f"mean of {name}", []).append(centre[i] if empty else values.mean())
            made.setdefault(f"spread of {name}", []).append(0.0 if empty else values.std())
            made.setdefault(f"smallest of {name}", []).append(centre[i] if empty else values.min())
            made.setdefault(f"largest of {name}", []).append(centre[i] if empty else values.max())
        made.setdefault("sum of pt", []).append(part[:, 0].sum())
        unit = np.exp(1j * (pooled if empty else part)[:, 2]).mean()
        made.setdefault("direction of phi", []).append(np.angle(unit))
        made.setdefault("concentration of phi", []).append(0.0 if empty else abs(unit))
        for k, value in enumerate("abc"):
            made.setdefault(f"share of sort = {value}", []).append(0.0 if empty else (part[:, 3] == k).mean())
        made.setdefault("share of sign = +", []).append(0.0 if empty else (part[:, 4] == 1).mean())
        z = (part - centre) / spread
        made.setdefault("product of pt and eta", []).append(0.0 if empty else (z[:, 0] * z[:, 1]).mean())
    return made


def test_columns_are_what_a_loop_over_sets_finds() -> None:
    real, generated = _sets(0), _sets(1, 20)
    pooled = np.concatenate([real.values.numpy(), generated.values.numpy()])
    columns, values = set_columns(KIND, real, generated, real)
    assert len(values) == 3 and np.array_equal(values[0], values[2])
    for sets, found in zip((real, generated), values[:2], strict=True):
        wanted = _by_hand(sets, pooled)
        assert {column.name for column in columns} == set(wanted)
        for i, column in enumerate(columns):
            assert found[:, i] == pytest.approx(np.array(wanted[column.name]), abs=1e-9), column.name
    assert {c.name: c.units for c in columns}["mean of pt"] == "GeV"
    assert isinstance({c.name: c for c in columns}["direction of phi"].support, Periodic)


def test_only_empty_sets_and_a_side_without_elements() -> None:
    none = Ragged(torch.zeros(0, 5, dtype=torch.float64), torch.zeros(4, dtype=torch.int64))
    columns, values = set_columns(KIND, none, none)
    assert np.isfinite(values[0]).all() and values[0].shape == (4, len(columns)) and (values[0][:, 0] == 0).all()
    columns, values = set_columns(KIND, _sets(0), none)
    assert np.isfinite(values[1]).all()


def test_the_order_of_elements_does_not_matter() -> None:
    sets = _sets(2)
    turned = Ragged(torch.cat([part.flip(0) for part in sets.split()]), sets.lengths)
    for one, two in zip(*(set_columns(KIND, s, s)[1] for s in (sets, turned)), strict=True):
        assert np.allclose(one, two)


def _lists(seed: int, rows: int = 250, change: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rng.integers(1, 7), 2)) * [1.0, 1.0 + change] for _ in range(rows)]


def _worst(generated: list[np.ndarray]) -> tuple[str, float]:
    """The column that differs most, and its p-value corrected for the number of columns."""
    case, _ = case_of_data(_lists(0), generated, Reading(kind="set"), budget="1s", seed=0)
    rows = ks(case)
    assert {"size", "mean of x0", "spread of x1", "product of x0 and x1"} <= {row.where for row in rows}
    worst = min(rows, key=lambda row: row.p_for_findings)
    return worst.where, worst.p_for_findings


def test_two_data_sets_of_sets_are_compared_by_their_summaries() -> None:
    assert _worst(_lists(1))[1] > 0.05
    where, p = _worst(_lists(1, change=0.8))
    assert "of x1" in where and p < 0.01
    where, p = _worst([item[:3] for item in _lists(1)])
    assert where == "size" and p < 0.01


def test_tables_of_lists_are_sets_too() -> None:
    tables = [
        pa.table({"pt": [item[:, 0].tolist() for item in _lists(s)], "eta": [item[:, 1].tolist() for item in _lists(s)]}) for s in (0, 1)
    ]
    report = check(*tables, budget="1s", kind="set", features=None)
    assert "mean of pt" in {row.where for row in report["w1"]} and not report.findings


def test_sequences_are_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="sequences cannot be compared side by side: no network reads them yet"):
        check(_lists(0), _lists(1), budget="1s", kind="sequence")


def test_sets_of_other_elements_are_refused() -> None:
    with pytest.raises(DataError, match="2"):
        check(_lists(0), [item[:, :1] for item in _lists(1)], budget="1s", kind="set")
