"""Toys: densities against integration, samples and independent formulas."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal

from gnomon.data.toys import Checkerboard, Coin, Gaussians, Moons
from gnomon.errors import DataError, OptionError

# toy, bounds of a box that holds all but 1e-9 of it, side of a cell
PLANE = {
    "gaussians": (Gaussians(), 6.5, 0.05),
    "three gaussians": (Gaussians(count=3, radius=1.0, sd=0.5), 6.0, 0.05),
    "checkerboard": (Checkerboard(), 5.0, 0.05),
    "moons": (Moons(), 3.0, 0.05),
    "sharp moons": (Moons(noise=0.05), 2.5, 0.025),
    "blurred moons": (Moons(noise=0.5), 7.0, 0.1),
}


def _grid(end, step):
    axis = np.arange(-end, end, step) + step / 2
    return np.stack([a.ravel() for a in np.meshgrid(axis, axis, indexing="ij")], 1)


@pytest.mark.parametrize("name", PLANE)
def test_density_integrates_to_one_and_gives_the_entropy(name):
    toy, end, step = PLANE[name]
    values = toy.log_prob(_grid(end, step))
    mass = np.exp(values)
    assert mass.sum() * step**2 == pytest.approx(1.0, abs=1e-6)
    entropy = -(mass * np.where(mass > 0, values, 0)).sum() * step**2
    assert toy.entropy == pytest.approx(entropy, abs=1e-5)


@pytest.mark.parametrize("name", PLANE)
def test_samples_follow_the_density(name):
    toy, end, _ = PLANE[name]
    x = toy.sample(10_000, seed=3)
    values = -toy.log_prob(x)
    assert x.shape == (10_000, 2) and np.isfinite(values).all()
    assert values.mean() == pytest.approx(toy.entropy, abs=max(4 * values.std() / math.sqrt(10_000), 1e-12))
    step = end / 4
    fine = step / 16
    points = _grid(end, fine)
    expected, *edges = np.histogram2d(*points.T, bins=8, range=[(-end, end)] * 2, weights=np.exp(toy.log_prob(points)) * fine**2)
    counts, *_ = np.histogram2d(*x.T, bins=8, range=[(-end, end)] * 2)
    full = expected * 10_000 > 10
    chi2 = ((counts - 10_000 * expected)[full] ** 2 / (10_000 * expected[full])).sum()
    assert chi2 < full.sum() + 4 * math.sqrt(2 * full.sum())


@pytest.mark.parametrize("toy", [Gaussians(), Checkerboard(), Moons(), Coin(0.3)], ids=lambda toy: type(toy).__name__)
def test_seeds_repeat(toy):
    assert np.array_equal(toy.sample(50, seed=1), toy.sample(50, seed=1))
    assert not np.array_equal(toy.sample(50, seed=1), toy.sample(50, seed=2))
    assert len(toy.sample(0, seed=1)) == 0 == len(toy.log_prob(toy.sample(0, seed=1)))


def test_published_entropies():
    assert Checkerboard().entropy == pytest.approx(3.4657, abs=5e-5)
    assert Gaussians().entropy == pytest.approx(2.8327, abs=0.0015)  # quoted with this error
    apart = Gaussians(radius=20.0).entropy
    assert apart == pytest.approx(math.log(8) + math.log(2 * math.pi * math.e) + 2 * math.log(0.5 / 1.414), abs=1e-9)


def test_gaussians_against_scipy():
    toy, x = Gaussians(), np.random.default_rng(0).normal(0, 3, (20, 2))
    angles = np.arange(8) * math.pi / 4
    centres = 4 / 1.414 * np.stack([np.cos(angles), np.sin(angles)], 1)
    expected = np.log(np.mean([multivariate_normal(c, (0.5 / 1.414) ** 2 * np.eye(2)).pdf(x) for c in centres], 0))
    assert np.allclose(toy.log_prob(x), expected, rtol=1e-12)


@pytest.mark.parametrize("noise", [0.03, 0.1, 0.5])
def test_moons_against_adaptive_quadrature(noise):
    toy, x = Moons(noise), Moons(noise).sample(12, seed=0)

    def density(point):
        def normal(cx, cy):
            return math.exp(-((point[0] - cx) ** 2 + (point[1] - cy) ** 2) / (2 * noise**2)) / (2 * math.pi * noise**2)

        arcs = (lambda t: normal(math.cos(t), math.sin(t)), lambda t: normal(1 - math.cos(t), 0.5 - math.sin(t)))
        return sum(quad(arc, 0, math.pi, limit=500, epsabs=0, epsrel=1e-11, points=np.linspace(0, math.pi, 40))[0] for arc in arcs) / (
            2 * math.pi
        )

    assert np.allclose(np.exp(toy.log_prob(x)), [density(p) for p in x], rtol=1e-9)


def test_moons_lie_where_scikit_learn_has_them():
    from sklearn.datasets import make_moons

    theirs, label = make_moons(10_000, noise=0.1, random_state=0)
    values = -Moons(0.1).log_prob(theirs)
    assert values.mean() == pytest.approx(Moons(0.1).entropy, abs=4 * values.std() / math.sqrt(10_000))


def test_checkerboard_edges():
    corners = [[-4.0, -4.0], [-2.0, -4.0], [4.0, 2.0], [0.0, 0.0], [3.999, 3.999], [100.0, 100.0]]
    dark = [True, False, False, True, True, False]
    assert np.isfinite(Checkerboard().log_prob(corners)).tolist() == dark


def test_coin():
    coin = Coin(0.3)
    tosses = coin.sample(10_000, seed=0)
    assert tosses.dtype == bool and tosses.shape == (10_000, 1)
    assert tosses.mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 10_000))
    assert np.exp(coin.log_prob([0, 1])).tolist() == pytest.approx([0.7, 0.3])
    assert coin.log_prob([2.0]).tolist() == [-math.inf]
    assert coin.entropy == pytest.approx(-(np.exp(coin.log_prob([0, 1])) * coin.log_prob([0, 1])).sum())


@pytest.mark.parametrize("make", [lambda: Coin(1.0), lambda: Moons(0.0), lambda: Gaussians(sd=-1.0), lambda: Gaussians(count=0)])
def test_impossible_toys_are_refused(make):
    with pytest.raises(OptionError):
        make()


def test_points_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"\(n, 2\); got shape \(3,\)"):
        Moons().log_prob([1.0, 2.0, 3.0])
