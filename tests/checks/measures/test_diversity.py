"""The Vendi score where it is known, and mean distances against SciPy."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.checks.measures import diversity
from gnomon.checks.measures.diversity import distances_from_each, mean_distance, mean_distances, vendi, vendi_error
from gnomon.errors import DataError


def test_rows_that_do_not_resemble_each_other_count_one_each() -> None:
    assert vendi(np.eye(12), kernel="cosine") == pytest.approx(12, abs=1e-9)
    assert vendi(100.0 * np.arange(9)[:, None], width=1.0) == pytest.approx(9, abs=1e-9)
    assert vendi(np.zeros((5, 3)), kernel="cosine") == pytest.approx(5, abs=1e-9)  # no direction in common


def test_rows_that_are_all_the_same_count_once() -> None:
    assert vendi(np.ones((12, 3)), kernel="cosine") == pytest.approx(1, abs=1e-9)
    assert vendi(np.full((12, 3), 7.0)) == pytest.approx(1, abs=1e-9)
    assert vendi(np.zeros((1, 2))) == pytest.approx(1, abs=1e-9)


def test_groups_count_by_the_entropy_of_their_shares() -> None:
    shares = np.array([1, 2, 5]) / 8
    rows = np.repeat(np.eye(3), [1, 2, 5], axis=0)
    assert vendi(rows, kernel="cosine") == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), abs=1e-9)


@pytest.mark.parametrize("columns", [2, 40])
@pytest.mark.parametrize("kernel", ["rbf", "cosine"])
def test_vendi_is_the_published_definition(kernel: str, columns: int) -> None:
    from scipy.spatial.distance import cdist

    rows = np.random.default_rng(0).normal(size=(30, columns))
    similar = np.exp(-(cdist(rows, rows) ** 2) / (2 * 1.7**2)) if kernel == "rbf" else 1 - cdist(rows, rows, "cosine")
    eigenvalues = np.linalg.eigvals(similar / 30).real
    eigenvalues = eigenvalues[eigenvalues > 1e-15]
    expected = np.exp(-(eigenvalues * np.log(eigenvalues)).sum())
    assert vendi(rows, kernel=kernel, width=1.7) == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


def test_the_error_of_vendi_is_the_spread_over_repetitions() -> None:
    made = [np.random.default_rng(seed).normal(size=(80, 3)) * [1, 1, 0.3] for seed in range(200)]
    errors = [vendi_error(rows, 1.5) for rows in made[:40]]
    assert np.mean(errors) == pytest.approx(np.std([vendi(rows, width=1.5) for rows in made]), rel=0.15)


@pytest.mark.parametrize("tile", [1024, 7])
def test_mean_distances_against_scipy(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.spatial.distance import cdist, pdist

    monkeypatch.setattr(diversity, "_TILE", tile)
    rng = np.random.default_rng(1)
    rows = 1e4 + rng.normal(size=(40, 3))
    labels = rng.random((6, 40)) < 0.4
    inside, outside = mean_distances(rows, labels)
    for b in range(6):
        assert inside[b] == pytest.approx(pdist(rows[labels[b]]).mean(), rel=1e-9)
        assert outside[b] == pytest.approx(pdist(rows[~labels[b]]).mean(), rel=1e-9)
    assert mean_distance(rows) == pytest.approx(pdist(rows).mean(), rel=1e-9)
    assert np.allclose(distances_from_each(rows), cdist(rows, rows).sum(1) / 39, rtol=1e-9)


def test_equal_rows_are_at_distance_nought() -> None:
    assert mean_distance(np.full((50, 4), 0.1)) == 0
    assert mean_distances(np.full((50, 4), 1e5 / 3), np.arange(50)[None] < 10)[1].tolist() == [0]


def test_too_little_is_refused() -> None:
    with pytest.raises(DataError, match="at least two rows; got 1"):
        mean_distance(np.zeros((1, 2)))
    assert np.isnan(mean_distances(np.zeros((3, 1)), np.array([[True, True, False]]))[1][0])
    with pytest.raises(DataError, match="at least one row"):
        vendi(np.zeros((0, 2)))
    with pytest.raises(DataError, match="must be positive; got -1"):
        vendi(np.zeros((3, 2)), width=-1.0)
