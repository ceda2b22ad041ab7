"""Nearest neighbours against brute force, and precision, recall, density and coverage against the authors' program and closed forms."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.checks.measures import neighbours
from gnomon.checks.measures.neighbours import nearest, prdc, within
from gnomon.errors import DataError

NAMES = ("precision", "recall", "density", "coverage")

CLOUDS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "whole numbers": lambda rng, n, d: rng.integers(0, 3, size=(n, d)).astype(float),
    "all the same": lambda rng, n, d: np.ones((n, d)),
    "heavy tails, huge": lambda rng, n, d: rng.standard_cauchy(size=(n, d)) * 1e100,
    "tiny, far from 0": lambda rng, n, d: 1e6 + rng.normal(size=(n, d)) * 1e-6,
    "a few rows far away": lambda rng, n, d: rng.normal(size=(n, d)) * np.where(rng.random((n, 1)) < 0.01, 1e30, 1),
    "clusters": lambda rng, n, d: rng.normal(size=(n, d)) * 1e-5 + rng.integers(0, 9, size=(n, 1)),
}


def _distances(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(queries[:, None] - references[None]).sum(-1))


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("columns", [1, 3, 20])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_nearest_is_what_sorting_all_distances_gives(cloud: str, columns: int, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:  # many tiles, blocks and chunks of pairs
        for name, value in (("_BLOCK", 37), ("_TILE", 200), ("_PAIRS", 100)):
            monkeypatch.setattr(neighbours, name, value)
    rng = np.random.default_rng(columns)
    queries, references = (CLOUDS[cloud](rng, rows, columns) for rows in (120, 150))
    truth = _distances(queries, references)
    for count in (1, 7, 150):
        distances, rows = nearest(queries, references, count)
        assert np.allclose(distances, np.sort(truth, axis=1)[:, :count], rtol=1e-13, atol=0)
        assert np.allclose(np.take_along_axis(truth, rows, axis=1), distances, rtol=1e-13, atol=0)
        assert all(len(set(row)) == count for row in rows.tolist())
    truth = _distances(references, references)
    np.fill_diagonal(truth, np.inf)
    distances, rows = nearest(references, references, 7, itself=False)
    assert np.allclose(distances, np.sort(truth, axis=1)[:, :7], rtol=1e-13, atol=0)
    assert not (rows == np.arange(150)[:, None]).any()


@settings(max_examples=60, deadline=None)
@given(
    columns=st.integers(1, 6),
    scales=st.lists(st.floats(-30, 30), min_size=6, max_size=6),
    offset=st.floats(-1e6, 1e6),
    seed=st.integers(0, 2**32 - 1),
)
def test_rounding_in_the_filter_never_loses_a_neighbour(columns: int, scales: list[float], offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = offset + rng.normal(size=(60, columns)) * 10.0 ** np.array(scales)[:columns] * 10.0 ** rng.uniform(-6, 6, size=(60, 1))
    truth = np.sort(_distances(rows[:20], rows[20:]), axis=1)[:, :3]
    assert np.allclose(nearest(rows[:20], rows[20:], 3)[0], truth, rtol=1e-12, atol=0)


def test_within_counts_the_sphere_itself() -> None:
    rng = np.random.default_rng(0)
    queries, references = rng.integers(0, 4, size=(50, 3)).astype(float), rng.integers(0, 4, size=(70, 3)).astype(float)
    truth = _distances(queries, references)
    radii = np.sort(truth, axis=1)[:, 4]
    found = {pair for i, j in within(queries, references, radii) for pair in zip(i.tolist(), j.tolist(), strict=True)}
    assert found == set(zip(*(part.tolist() for part in np.nonzero(truth <= radii[:, None])), strict=True))


def _peer(real: np.ndarray, generated: np.ndarray, k: int) -> dict[str, float]:
    package = pytest.importorskip("prdc")
    with contextlib.redirect_stdout(io.StringIO()):
        return package.compute_prdc(real, generated, k)


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize(("columns", "rows"), [(1, (400, 400)), (2, (500, 300)), (10, (700, 700)), (64, (300, 600))])
def test_prdc_agrees_with_the_authors_program(columns: int, rows: tuple[int, int], k: int) -> None:
    rng = np.random.default_rng(columns)
    real, generated = rng.normal(size=(rows[0], columns)), 0.9 * rng.normal(size=(rows[1], columns)) + 0.1
    made, peer = prdc(real, generated, k), _peer(real, generated, k)
    for name in NAMES:
        assert getattr(made, name) == pytest.approx(peer[name], abs=1e-9), name


def test_data_without_spread_are_covered_by_themselves() -> None:
    """Where the authors' program, which asks for strictly less, says 0."""
    same = np.full((20, 3), 2.5)
    made = prdc(same, same)
    assert (made.precision, made.recall, made.coverage) == (1, 1, 1) and made.density == 20 / 5
    assert _peer(same, same, 5)["coverage"] == 0
    copied = np.random.default_rng(0).integers(0, 2, size=(40, 3)).astype(float)
    assert prdc(copied, copied).coverage == prdc(copied, copied).precision == 1


def test_sides_far_apart_reach_nothing_and_collapsed_ones_are_dense() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(60, 2))
    away = prdc(real, real + 1000)
    assert (away.precision, away.recall, away.density, away.coverage) == (0, 0, 0, 0)
    collapsed = prdc(real, np.repeat(np.median(real, axis=0)[None], 60, axis=0))
    assert collapsed.precision == 1 and collapsed.recall < 0.1 and collapsed.density > 1.2 and collapsed.coverage < 0.7


def test_weights_count_in_the_averages_as_repeats_would() -> None:
    rng = np.random.default_rng(2)
    real, generated = rng.normal(size=(80, 2)), rng.normal(size=(90, 2)) + 0.5
    weights = (rng.integers(1, 4, size=80).astype(float), rng.integers(0, 4, size=90).astype(float))
    plain, made = prdc(real, generated), prdc(real, generated, weights=weights)
    assert made.precision == pytest.approx(np.repeat(plain.generated > 0, weights[1].astype(int)).mean())
    assert made.density == pytest.approx(np.repeat(plain.generated, weights[1].astype(int)).mean() / 5)
    assert made.recall == pytest.approx(np.repeat(plain.real > 0, weights[0].astype(int)).mean())
    assert made.coverage == pytest.approx(np.repeat(plain.covered, weights[0].astype(int)).mean())
    assert made.coverage != plain.coverage


@pytest.mark.parametrize("columns", [2, 10])
def test_coverage_of_one_distribution_is_one_minus_two_to_minus_k(columns: int) -> None:
    rng = np.random.default_rng(columns)
    made = [prdc(*rng.normal(size=(2, 300, columns)), k=3).coverage for _ in range(40)]
    assert np.mean(made) == pytest.approx(1 - 2**-3, abs=4 * np.std(made) / np.sqrt(40))


def test_memory_stays_below_a_tenth_of_the_full_matrices() -> None:
    rows = 4000
    real, generated = np.random.default_rng(0).normal(size=(2, rows, 10))
    tracemalloc.start()
    prdc(real, generated)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * 3 * 8 * rows**2, f"{peak:,} bytes"


def test_what_cannot_be_answered_is_said() -> None:
    with pytest.raises(DataError, match=r"as many columns; got shapes \(3, 2\) and \(3, 1\)"):
        nearest(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(DataError, match="4 neighbours were asked for, but there are 3 rows"):
        nearest(np.zeros((4, 1)), np.zeros((4, 1)), 4, itself=False)
    with pytest.raises(DataError, match="finite"):
        nearest(np.full((2, 1), 1e200), np.zeros((4, 1)))
    with pytest.raises(DataError, match="want more than 5 rows; the generated side has 5"):
        prdc(np.zeros((9, 1)), np.zeros((5, 1)))
