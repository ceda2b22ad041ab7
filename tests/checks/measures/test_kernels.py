"""Kernel distances against brute force, scikit-learn, SciPy and torchmetrics; sums over blocks; random features."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import pairwise

from gnomon.checks.measures import kernels
from gnomon.checks.measures.kernels import (
    Distance,
    GaussianMixture,
    Kernel,
    Polynomial,
    block_sums,
    energy_distance,
    kid,
    median_distance,
    mmd,
    unbiased,
)
from gnomon.checks.measures.random_features import RandomFeatures, mmd_random_features
from gnomon.errors import DataError, OptionError

WIDTHS = (0.5, 1.0, 2.0, 3.0)  # the last is no power of two away from the others


def _two(n: int = 60, m: int = 45, width: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), 0.4 + 1.3 * rng.normal(size=(m, width))


def _by_sklearn(kernel: Kernel, points: np.ndarray) -> np.ndarray:
    if isinstance(kernel, GaussianMixture):
        return np.mean([pairwise.rbf_kernel(points, gamma=0.5 / width**2) for width in kernel.bandwidths], axis=0)
    if isinstance(kernel, Polynomial):
        return pairwise.polynomial_kernel(points, degree=kernel.degree, gamma=1 / points.shape[1], coef0=1)
    return -pairwise.euclidean_distances(points)


KERNELS = {
    "one Gaussian": GaussianMixture((1.5,)),
    "powers of two": GaussianMixture((4.0, 2.0, 1.0, 0.5)),
    "steps of the root of two": GaussianMixture((2.0, 2.0**0.5, 1.0)),
    "any bandwidths": GaussianMixture(WIDTHS),
    "polynomial": Polynomial(),
    "energy": Distance(),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("tile", [7, 64, 1024])
def test_sums_over_blocks_are_those_of_the_whole_matrix(name: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that cut through blocks, tiles of one block, one tile for all; blocks in no order, one of them empty."""
    monkeypatch.setattr(kernels, "_TILE", tile)
    kernel, points = KERNELS[name], np.concatenate(_two())
    rng = np.random.default_rng(1)
    blocks, weight = rng.choice([0, 1, 2, 4, 5], size=len(points)), rng.normal(size=len(points))
    matrix = _by_sklearn(kernel, points)
    np.fill_diagonal(matrix, 0.0)
    member = np.eye(7)[blocks] * weight[:, None]
    wanted = member.T @ matrix @ member
    got = block_sums(kernel, points, blocks, weight, count=7)
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9 * np.abs(wanted).max())
    rough = block_sums(kernel, points, blocks, weight, count=7, single=True)
    assert rough == pytest.approx(wanted, abs=2e-6 * (np.abs(member).T @ np.abs(matrix) @ np.abs(member)).max())


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_agree_with_scikit_learn_row_by_row(name: str) -> None:
    x, y = _two(40, 40)
    wanted = np.diag(_by_sklearn(KERNELS[name], np.concatenate([x, y]))[:40, 40:])
    assert KERNELS[name].between(x, y) == pytest.approx(wanted, rel=1e-9)


def _pairs(matrix: np.ndarray, n: int, weights: tuple) -> float:
    """By the definition, one pair of rows after the other."""
    first, second = ([1.0] * size if w is None else list(w) for w, size in zip(weights, (n, len(matrix) - n), strict=True))
    total = 0.0
    for w, at in ((first, 0), (second, n)):
        pairs = list(itertools.permutations(range(len(w)), 2))
        total += sum(w[i] * w[j] * matrix[at + i, at + j] for i, j in pairs) / sum(w[i] * w[j] for i, j in pairs)
    pairs = list(itertools.product(range(len(first)), range(len(second))))
    across = sum(first[i] * second[j] * matrix[i, n + j] for i, j in pairs) / sum(first[i] * second[j] for i, j in pairs)
    return total - 2 * across


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("which", ["none", "both", "one", "signed"])
def test_distances_agree_with_brute_force(name: str, which: str) -> None:
    x, y = _two(13, 9)
    rng = np.random.default_rng(2)
    w, v = rng.exponential(size=13), rng.exponential(size=9)
    w[0] *= -1 if which == "signed" else 1
    weights = {"none": (None, None), "both": (w, v), "one": (w, None), "signed": (w, v)}[which]
    wanted = _pairs(_by_sklearn(KERNELS[name], np.concatenate([x, y])), 13, weights)
    assert unbiased(KERNELS[name], x, y, weights=weights) == pytest.approx(wanted, rel=1e-9)
    scaled = tuple(None if w is None else 7 * w for w in weights)
    assert unbiased(KERNELS[name], x, y, weights=scaled) == pytest.approx(wanted, rel=1e-9)


def test_named_distances_are_those_of_their_kernels() -> None:
    x, y = _two()
    assert mmd(x, y, bandwidths=WIDTHS) == pytest.approx(unbiased(KERNELS["any bandwidths"], x, y), rel=1e-12)
    assert kid(x, y) == pytest.approx(unbiased(Polynomial(), x, y), rel=1e-12)
    assert energy_distance(x, y) == pytest.approx(unbiased(Distance(), x, y), rel=1e-12)
    middle = median_distance(np.concatenate([x, y]))
    assert mmd(x, y) == pytest.approx(mmd(x, y, bandwidths=[factor * middle for factor in kernels.FACTORS]), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_energy_distance_on_a_line_is_that_of_scipy(weighted: bool) -> None:
    """SciPy's is the root of the V-statistic, which also counts pairs of a row with itself."""
    x, y = (side[:, :1] for side in _two(70, 50))
    rng = np.random.default_rng(3)
    weights = (rng.exponential(size=70), rng.exponential(size=50)) if weighted else (None, None)
    square = stats.energy_distance(x[:, 0], y[:, 0], *weights) ** 2
    shares = [np.full(len(s), 1 / len(s)) if w is None else w / w.sum() for s, w in zip((x, y), weights, strict=True)]
    sums = block_sums(Distance(), np.concatenate([x, y]), np.repeat([0, 1], [70, 50]), np.concatenate(shares))
    assert sums[0, 0] + sums[1, 1] - 2 * sums[0, 1] == pytest.approx(square, rel=1e-9)
    lost = [(sums[k, k] * np.square(share).sum()) / (1 - np.square(share).sum()) for k, share in enumerate(shares)]
    assert energy_distance(x, y, weights=weights) == pytest.approx(square + sum(lost), rel=1e-9)


def test_kid_is_that_of_torchmetrics() -> None:
    metric = pytest.importorskip("torchmetrics.image.kid")
    x, y = _two(50, 50, width=8)
    wanted = metric.poly_mmd(torch.from_numpy(x), torch.from_numpy(y))
    assert kid(x, y) == pytest.approx(float(wanted), rel=1e-9)


def test_far_from_the_origin_little_is_lost() -> None:
    x, y = _two()
    for distance in (mmd, energy_distance):
        assert distance(x + 1e4, y + 1e4) == pytest.approx(distance(x, y), rel=1e-6)
        assert distance(x + 100, y + 100, single=True) == pytest.approx(distance(x, y), rel=1e-3)


def test_expectation_is_zero_if_both_come_from_one_distribution() -> None:
    values = []
    for seed in range(200):
        x, y = np.random.default_rng(seed).normal(size=(2, 15, 2))
        values.append((mmd(x, y), energy_distance(x, y), kid(x, y)))
    pulls = np.mean(values, axis=0) / (np.std(values, axis=0) / np.sqrt(200))
    assert np.abs(pulls).max() < 4, pulls


def test_median_distance() -> None:
    points = np.random.default_rng(4).normal(size=(51, 3))
    assert median_distance(points) == pytest.approx(np.median(pairwise.euclidean_distances(points)[np.triu_indices(51, 1)]), rel=1e-2)
    assert median_distance(np.ones((5, 2))) == 1.0


def test_bad_input_is_refused() -> None:
    x, y = _two()
    with pytest.raises(DataError, match=r"x has shape \(1, 3\); expected"):
        mmd(x[:1], y)
    with pytest.raises(DataError, match="3 columns and y has 2"):
        kid(x, y[:, :2])
    with pytest.raises(DataError, match="y holds missing"):
        energy_distance(x, np.where(y > 1, np.nan, y))
    with pytest.raises(DataError, match=r"weights of x must be .* got shape \(3,\)"):
        mmd(x, y, weights=([1, 2, 3], None))
    with pytest.raises(DataError, match="weights of y leave no pairs"):
        mmd(x, y, weights=(None, np.eye(len(y))[0]))
    with pytest.raises(OptionError, match=r"bandwidths must be positive numbers; got \[1.0, 0.0\]"):
        mmd(x, y, bandwidths=[1.0, 0.0])
    with pytest.raises(OptionError, match="features=3 for 2 bandwidths"):
        mmd_random_features(x, y, features=3, seed=0, bandwidths=[1.0, 2.0])


# ---- random features ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_random_features_give_the_exact_distance_on_average(weighted: bool) -> None:
    x, y = _two(80, 60)
    rng = np.random.default_rng(5)
    weights = (rng.exponential(size=80), rng.exponential(size=60)) if weighted else (None, None)
    exact = mmd(x, y, weights=weights, bandwidths=[1.0, 2.0])
    values = [mmd_random_features(x, y, features=200, seed=seed, weights=weights, bandwidths=[1.0, 2.0]) for seed in range(200)]
    error = np.std(values) / np.sqrt(len(values))
    assert error < 0.05 * exact and abs(np.mean(values) - exact) < 4 * error
    fine = mmd_random_features(x, y, features=40_000, seed=0, weights=weights, bandwidths=[1.0, 2.0])
    assert abs(fine - exact) < 5 * np.std(values) * np.sqrt(200 / 40_000)


def test_random_features_are_a_kernel_of_their_own_and_exactly_unbiased_by_it() -> None:
    """With the matrix of the features' own kernel the definition gives the same."""
    x, y = _two(13, 9)
    features = RandomFeatures.of(GaussianMixture((1.0, 2.0)), np.zeros(3), 40, np.random.default_rng(0))
    phases = np.concatenate([x, y]) @ features.frequencies.double().numpy()
    assert phases.shape == (22, 20) and len(features) == 40
    maps = np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / np.sqrt(20)
    wanted = _pairs(maps @ maps.T, 13, (None, None))
    got = mmd_random_features(x, y, features=40, seed=0, bandwidths=[1.0, 2.0])
    assert got == pytest.approx(wanted, rel=1e-5)


def test_random_features_of_blocks_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = _two(50)
    rng = np.random.default_rng(6)
    blocks, weight = rng.integers(0, 6, size=50), rng.normal(size=50)
    features = RandomFeatures.of(GaussianMixture((1.0,)), np.ones(3), 30, rng)
    phases = (x - 1) @ features.frequencies.double().numpy()
    member = np.eye(7)[blocks] * weight[:, None]
    wanted = np.stack([member.T @ np.cos(phases), member.T @ np.sin(phases)], axis=1)
    for chunk in (1024, 7):
        monkeypatch.setattr("gnomon.checks.measures.random_features._CHUNK", chunk)
        assert features.block_sums(x, blocks, weight, 7) == pytest.approx(wanted, abs=1e-5)


def test_the_same_seed_gives_the_same_value_and_leaves_the_users_state_alone() -> None:
    x, y = _two()
    state, threads = torch.random.get_rng_state().clone(), torch.get_num_threads()
    assert mmd_random_features(x, y, seed=3) == mmd_random_features(x, y, seed=3) != mmd_random_features(x, y, seed=4)
    assert torch.equal(state, torch.random.get_rng_state()) and threads == torch.get_num_threads()
