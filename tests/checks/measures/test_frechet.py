"""Fréchet distance: against SciPy's matrix root and closed forms; its extrapolation against the recipe that draws with replacement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from gnomon.checks.measures.frechet import Moments, extrapolated, frechet, frechet_distance, gaussian_map
from gnomon.errors import DataError, OptionError


def _covariance(rng: np.random.Generator, width: int, rank: int | None = None) -> np.ndarray:
    factor = rng.normal(size=(width, width if rank is None else rank))
    return factor @ factor.T / width


@pytest.mark.parametrize("width", [1, 3, 20])
def test_agrees_with_the_matrix_root_of_scipy(width: int) -> None:
    rng = np.random.default_rng(0)
    mean1, mean2, one, other = rng.normal(size=width), rng.normal(size=width), _covariance(rng, width), _covariance(rng, width)
    wanted = np.square(mean1 - mean2).sum() + np.trace(one + other) - 2 * np.trace(sqrtm(one @ other)).real
    assert float(frechet_distance(mean1, one, mean2, other)) == pytest.approx(wanted, abs=1e-9)


def test_covariances_that_commute_have_a_closed_form() -> None:
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    one, other = np.array([4.0, 1.0, 0.0, 0.0, 2.0, 9.0]), np.array([1.0, 1.0, 3.0, 0.0, 2.0, 4.0])  # both singular, differently
    wanted = np.square(np.sqrt(one) - np.sqrt(other)).sum()
    made = frechet_distance(np.zeros(6), basis * one @ basis.T, np.zeros(6), basis * other @ basis.T)
    assert float(made) == pytest.approx(wanted, abs=1e-12 * 10)


def test_singular_covariances_agree_with_the_distance_in_their_own_space() -> None:
    rng = np.random.default_rng(2)
    basis, small = np.linalg.qr(rng.normal(size=(12, 12)))[0][:, :4], [_covariance(rng, 4) for _ in range(2)]
    zero = np.zeros(4)
    inside = float(frechet_distance(zero, small[0], zero, small[1]))
    made = float(frechet_distance(basis @ zero, basis @ small[0] @ basis.T, basis @ zero, basis @ small[1] @ basis.T))
    assert made == pytest.approx(inside, abs=1e-9)
    assert float(frechet_distance(np.zeros(9), _covariance(rng, 9, 2), np.zeros(9), np.zeros((9, 9)))) > 0


def test_many_at_once_are_one_after_the_other() -> None:
    rng = np.random.default_rng(3)
    means, covariances = rng.normal(size=(2, 7, 3)), np.stack([[_covariance(rng, 3) for _ in range(7)] for _ in range(2)])
    made = frechet_distance(means[0], covariances[0], means[1], covariances[1])
    assert made.shape == (7,)
    assert made[4] == pytest.approx(float(frechet_distance(means[0, 4], covariances[0, 4], means[1, 4], covariances[1, 4])))


def test_the_map_of_gaussians_carries_one_covariance_to_the_other() -> None:
    rng = np.random.default_rng(4)
    one, other = _covariance(rng, 5), _covariance(rng, 5)
    way = gaussian_map(one, other)
    assert np.allclose(way, way.T) and np.allclose(way @ one @ way, other)


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_of_parts_join_to_those_of_the_whole(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from gnomon.checks.measures import frechet as module

    rng = np.random.default_rng(5)
    rows, weight = rng.normal(size=(500, 4)) + 1e4, rng.exponential(size=500) if weighted else None
    monkeypatch.setattr(module, "_CHUNK", 64)
    made = Moments.of(rows, weight)
    assert np.allclose(made.mean, np.average(rows, axis=0, weights=weight), rtol=1e-12)
    assert np.allclose(made.covariance, np.cov(rows.T, aweights=weight), rtol=1e-9)


def test_halves_joined_from_blocks_are_halves_of_the_rows() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 0.5

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return float(frechet_distance(one.mean(axis=0), np.cov(one.T), other.mean(axis=0), np.cov(other.T)))

    found = extrapolated([Moments.of(x[:20]), Moments.of(x[20:])], [Moments.of(y[:20]), Moments.of(y[20:])])
    halves = np.mean([distance(one, other) for one in (x[:20], x[20:]) for other in (y[:20], y[20:])])
    assert found.plain == pytest.approx(distance(x, y)) and found.halves == pytest.approx(halves)
    assert found.distance == pytest.approx(2 * found.plain - found.halves) and found.splits == 1


def test_it_is_unbiased_where_the_plain_distance_is_not() -> None:
    rng = np.random.default_rng(7)
    made = [frechet(rng.normal(size=(600, 4)), rng.normal(size=(400, 4)), seed=seed) for seed in range(60)]
    for kind, near in (("distance", True), ("plain", False)):
        values = np.array([getattr(one, kind) for one in made])
        assert (abs(values.mean()) < 4 * values.std() / np.sqrt(60)) == near, (kind, values.mean(), values.std())


def test_far_from_the_null_it_is_the_formula() -> None:
    rng = np.random.default_rng(8)
    found = frechet(rng.normal(size=(20_000, 3)), 2 * rng.normal(size=(20_000, 3)) + 1)
    assert found.distance == pytest.approx(6.0, abs=0.15)


def test_weights_bring_a_wrong_sample_back() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(20_000, 2)) * [1.3, 1.0]
    weight = np.exp(-0.5 * x[:, 0] ** 2 * (1 - 1 / 1.3**2))
    y = rng.normal(size=(20_000, 2))
    assert abs(frechet(x, y, weights=(weight, None)).distance) < 0.002 < 0.05 < frechet(x, y).distance


def test_pairs_lower_the_distance_that_is_taken_off() -> None:
    """Rows that share their noise have less distance by chance, and halves of pairs know that."""
    rng = np.random.default_rng(10)
    made = []
    for seed in range(60):
        common = rng.normal(size=(300, 3))
        x, y = (common + 0.3 * rng.normal(size=(300, 3)) for _ in range(2))
        made.append([frechet(x, y, paired=paired, seed=seed).distance for paired in (True, False)])
    together, alone = np.array(made).T
    error = together.std() / np.sqrt(60)
    assert abs(together.mean()) < 4 * error < -alone.mean()


def test_seeds_repeat() -> None:
    x, y = np.random.default_rng(11).normal(size=(2, 64, 2))
    assert frechet(x, y, seed=1) == frechet(x, y, seed=1) != frechet(x, y, seed=2)


def test_bad_input_is_named() -> None:
    x = np.random.default_rng(12).normal(size=(20, 2))
    with pytest.raises(DataError, match="x has 2 columns and y has 1"):
        frechet(x, x[:, :1])
    with pytest.raises(DataError, match="at least 4 rows; got 3"):
        frechet(x, x[:3])
    with pytest.raises(DataError, match="as many rows each; got 20 and 10"):
        frechet(x, x[:10], paired=True)
    with pytest.raises(OptionError, match="blocks must be at least 2"):
        frechet(x, x, blocks=1)
    with pytest.raises(DataError, match="expected"):
        frechet_distance(np.zeros(2), np.eye(3), np.zeros(2), np.eye(2))
    with pytest.raises(DataError, match="finite"):
        frechet_distance(np.zeros(2), np.full((2, 2), np.nan), np.zeros(2), np.eye(2))


# ---- beside a recipe that draws with replacement ---------------------------------------------------------------------------


def _with_replacement(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, low: int, high: int) -> tuple[float, float]:
    """Extrapolation as in JetNet's FPD: distances of draws *with replacement* at ten sizes, twenty each; a line in 1 / size, at 0."""
    sizes = (1 / np.linspace(1 / low, 1 / high, 10)).astype(int)
    means, errors = [], []
    for size in sizes:
        made = []
        for _ in range(20):
            one, other = (side[rng.integers(0, len(side), size)] for side in (x, y))
            made.append(float(frechet_distance(one.mean(axis=0), np.cov(one.T), other.mean(axis=0), np.cov(other.T))))
        means.append(np.mean(made))
        errors.append(np.std(made) / np.sqrt(20))
    design = np.stack([np.ones(10), 1 / sizes], axis=1) / np.array(errors)[:, None]
    found = np.linalg.lstsq(design, np.array(means) / errors, rcond=None)[0]
    return float(found[0]), float(np.sqrt(np.linalg.inv(design.T @ design)[0, 0]))


def _both_recipes(rows: int, width: int, repeats: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """(value, own error) by drawing with replacement, and our values, where both samples are of one distribution."""
    theirs, ours = [], []
    for seed in range(repeats):
        rng = np.random.default_rng([seed, rows])
        x, y = rng.normal(size=(rows, width)), rng.normal(size=(rows, width))
        theirs.append(_with_replacement(x, y, rng, low, high))
        ours.append(frechet(x, y, seed=seed).distance)
    return np.array(theirs), np.array(ours)


def test_drawing_with_replacement_is_many_errors_off_and_halves_are_not() -> None:
    theirs, ours = _both_recipes(1000, 5, 8, 400, 1000)
    assert np.median(theirs[:, 0] / theirs[:, 1]) > 4
    assert abs(ours.mean()) < 3 * ours.std(ddof=1) / np.sqrt(len(ours))


@pytest.mark.slow
def test_drawing_with_replacement_is_many_errors_off_and_halves_are_not_at_ten_thousand_rows() -> None:
    theirs, ours = _both_recipes(10_000, 10, 12, 5_000, 10_000)
    assert np.median(theirs[:, 0] / theirs[:, 1]) > 4 and theirs[:, 0].min() > 4e-3
    assert abs(ours.mean()) < 3 * ours.std(ddof=1) / np.sqrt(len(ours)) and abs(ours.mean()) < 2e-3
