"""Mixtures and kernel densities against scikit-learn, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture as Peer
from sklearn.neighbors import KernelDensity as PeerKernels

from gnomon.checks.measures.densities import COMPONENTS, GaussianMixture, KernelDensity, conditional_log_prob
from gnomon.errors import DataError, OptionError


def _blobs(rows: int = 900, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0, 0], [4, 0, 1], [0, 5, -2]])
    return centres[rng.integers(3, size=rows)] + rng.normal(size=(rows, 3)) @ np.array([[1, 0.3, 0], [0, 0.8, 0.2], [0, 0, 0.5]])


@pytest.mark.parametrize("components", [1, 2, 3, 5])
def test_a_mixture_equals_scikit_learns(components: int) -> None:
    x, new = _blobs(), _blobs(seed=1)
    peer = Peer(components, random_state=0, max_iter=100).fit(x)
    made = GaussianMixture.fit(x, components=components)
    assert np.allclose(made.log_prob(new), peer.score_samples(new), rtol=1e-9, atol=1e-9)
    assert made.bic(x) == pytest.approx(peer.bic(x), rel=1e-9)


def test_the_criterion_chooses_as_scikit_learns_does() -> None:
    x = _blobs()
    chosen = len(GaussianMixture.fit(x).shares)
    assert chosen == min(COMPONENTS, key=lambda k: Peer(k, random_state=0).fit(x).bic(x)) == 3
    assert len(GaussianMixture.fit(np.random.default_rng(0).normal(size=(500, 4))).shares) == 1


def test_any_mixture_has_scikit_learns_scores() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2)) * [1e-3, 1e3] + [5, -1e4]
    peer = Peer(4, random_state=1, max_iter=1, reg_covar=1e-9)
    with pytest.warns():
        peer.fit(x)
    made = GaussianMixture(peer.weights_, peer.means_, peer.covariances_)
    assert np.allclose(made.log_prob(x), peer.score_samples(x), rtol=1e-9, atol=1e-7)


def test_weights_count_like_repeated_rows() -> None:
    x, weight = _blobs(300), np.random.default_rng(2).integers(0, 4, size=300)
    repeated = np.repeat(x, weight, axis=0)
    start = np.eye(3)[np.where(x[:, 0] > 2, 1, 2 * (x[:, 1] > 2.5))]
    one = GaussianMixture._climb(x, weight / weight.sum(), start, 1e-6, 1e-8, 300)
    two = GaussianMixture._climb(repeated, np.full(len(repeated), 1 / len(repeated)), np.repeat(start, weight, axis=0), 1e-6, 1e-8, 300)
    assert np.allclose(one.log_prob(x), two.log_prob(x), atol=1e-9)
    kernels = [KernelDensity.fit(x, bandwidth=0.3, weight=weight * 1.0), KernelDensity.fit(repeated, bandwidth=0.3)]
    assert np.allclose(*(k.log_prob(_blobs(40, 5)) for k in kernels), atol=1e-9)


def test_marginals_and_conditionals_of_a_gaussian_are_those_of_the_closed_form() -> None:
    covariance = np.array([[2.0, 0.9], [0.9, 1.0]])
    law = GaussianMixture(np.ones(1), np.array([[1.0, -1.0]]), covariance[None])
    x = law.sample(100, np.random.default_rng(0))
    assert np.allclose(law.log_prob(x), stats.multivariate_normal([1, -1], covariance).logpdf(x))
    slope = 0.9 / 2.0
    truth = stats.norm.logpdf(x[:, 1], -1 + slope * (x[:, 0] - 1), np.sqrt(1 - 0.9 * slope))
    assert np.allclose(conditional_log_prob(law, x, 1), truth)
    assert np.allclose(conditional_log_prob(law, x, 0), law.log_prob(x))


@pytest.mark.parametrize("make", [lambda x: GaussianMixture.fit(x[:, :2]), lambda x: KernelDensity.fit(x[:, :2])])
def test_densities_are_normalised_and_their_marginals_integrate_them(make) -> None:  # noqa: ANN001
    density = make(_blobs(400))
    grid = np.linspace(-8, 13, 211)
    step = grid[1] - grid[0]
    mesh = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    values = np.exp(density.log_prob(mesh)).reshape(len(grid), -1)
    assert values.sum() * step**2 == pytest.approx(1, abs=1e-5)
    assert np.allclose(values.sum(axis=1) * step, np.exp(density.marginal(1).log_prob(grid[:, None])), atol=1e-5)


@pytest.mark.parametrize("make", [lambda x: GaussianMixture.fit(x), lambda x: KernelDensity.fit(x)])
def test_samples_follow_the_density(make) -> None:  # noqa: ANN001
    density = make(_blobs(400))
    x = density.sample(4000, np.random.default_rng(0))
    grid = np.linspace(-10, 15, 5001)
    reached = np.cumsum(np.exp(density.marginal(1).log_prob(grid[:, None]))) * (grid[1] - grid[0])
    assert stats.kstest(x[:, 0], lambda v: np.interp(v, grid, reached)).pvalue > 0.01


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bandwidth", [0.05, 0.4, 3.0])
def test_kernels_equal_scikit_learns(bandwidth: float, weighted: bool) -> None:
    x, new = _blobs(2000) + 100.0, _blobs(1500, 1) + 100.0
    weight = np.random.default_rng(0).exponential(size=2000) if weighted else None
    # one leaf: with several, scikit-learn's bounds cancel in the tails, where its scores are then wrong by many nats
    peer = PeerKernels(bandwidth=bandwidth, leaf_size=2000).fit(x, sample_weight=weight)
    made = KernelDensity.fit(x, bandwidth=bandwidth, weight=weight).log_prob(new)
    assert np.allclose(made, peer.score_samples(new), rtol=1e-9, atol=1e-9)


def _left_out(x: np.ndarray, bandwidth: float, given: int = 0) -> float:
    total = 0.0
    for i in range(len(x)):
        others = np.delete(x, i, axis=0)
        total += PeerKernels(bandwidth=bandwidth).fit(others).score(x[i : i + 1])
        if given:
            total -= PeerKernels(bandwidth=bandwidth).fit(others[:, :given]).score(x[i : i + 1, :given])
    return total / len(x)


@pytest.mark.parametrize("given", [0, 1])
def test_the_bandwidth_is_the_best_by_leaving_one_out(given: int) -> None:
    x = _blobs(100)[:, :2]
    found = KernelDensity.fit(x, given=given).bandwidth
    best = _left_out(x, found, given)
    assert best >= max(_left_out(x, found * factor, given) for factor in (0.5, 0.9, 1.1, 2)) - 1e-4


def test_the_bandwidth_of_many_rows_is_carried_over() -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 2))
    found = KernelDensity.fit(x).bandwidth
    assert found == pytest.approx(20_000 ** (-1 / 6), rel=0.25)  # Silverman's rule is right for a Gaussian
    assert KernelDensity.fit(np.repeat(np.arange(3.0), 50)[:, None], least=0.05).bandwidth >= 0.05 * np.sqrt(2 / 3) * 0.999


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(n, D\); got shape \(5,\)"):
        GaussianMixture.fit(np.zeros(5))
    with pytest.raises(DataError, match="at least two rows"):
        KernelDensity.fit(np.zeros((1, 2)))
    with pytest.raises(DataError, match="all rows are the same"):
        KernelDensity.fit(np.zeros((9, 2)))
    with pytest.raises(DataError, match="none negative"):
        GaussianMixture.fit(np.zeros((3, 1)), weight=np.array([1, -1, 2.0]))
    with pytest.raises(DataError, match="2 columns"):
        GaussianMixture.fit(_blobs(50)[:, :2]).log_prob(np.zeros((3, 1)))
    with pytest.raises(OptionError, match="above 0"):
        KernelDensity.fit(_blobs(50), bandwidth=0.0)
    with pytest.raises(OptionError, match="at least one"):
        GaussianMixture.fit(_blobs(50), components=0)
