"""The power spectrum as a statistic: its null, its error near and far, what it names, and the curves it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter

from gnomon.checks import Case, Effort, LeftOut, Side, Sides
from gnomon.checks.statistics.spectrum import Spectrum, power_spectrum
from gnomon.data import Column

QUICK = Effort(draws=99, more_draws=0)


def _images(seed: int, rows: int, size: tuple[int, ...] = (8, 8), *, channels: int = 1, smooth: float = 0.0) -> np.ndarray:
    """Correlated noise whose strength varies from image to image."""
    rng = np.random.default_rng([seed, rows, len(size)])
    made = rng.normal(size=(rows, channels, *size)) * rng.gamma(4.0, 0.25, size=(rows, 1, *(1 for _ in size)))
    return made if smooth == 0 else gaussian_filter(made, (0, 0, *(smooth for _ in size)), mode="wrap")


def _sides(real: np.ndarray, generated: np.ndarray, *, weights: tuple = (None, None), paired: bool = False, seed: int = 0) -> Sides:
    made = [Side(images.reshape(len(images), -1)[:, :1], w, images) for images, w in zip((real, generated), weights, strict=True)]
    return Sides((Column("first pixel"),), *made, paired=paired, seed=seed)


def _world(name: str, seed: int, rows: int = 60) -> Sides:
    rng = np.random.default_rng([seed, 9])
    if name == "unequal":
        return _sides(_images(seed, 90), _images(seed + 5000, 45), seed=seed)
    if name == "paired":
        shared = rng.gamma(3.0, 0.5, size=(rows, 1, 1, 1))
        return _sides(shared * _images(seed, rows), shared * _images(seed + 5000, rows), paired=True, seed=seed)
    weights = (rng.exponential(size=rows), rng.exponential(size=rows)) if name == "weights" else (None, None)
    return _sides(_images(seed, rows), _images(seed + 5000, rows), weights=weights, seed=seed)


def _null(name: str, repeats: int, effort: Effort) -> tuple[list[float], float]:
    rows = [power_spectrum(Case(_world(name, seed), effort=effort, seed=seed))[0] for seed in range(repeats)]
    return [row.p for row in rows], float(np.mean([abs(row.value - row.null) <= row.error for row in rows]))


WORLDS = ("plain", "unequal", "weights", "paired")


@pytest.mark.parametrize("world", WORLDS)
def test_p_values_are_uniform_and_errors_cover(world: str) -> None:
    p, covered = _null(world, 40, QUICK)
    assert stats.kstest(p, "uniform").pvalue > 0.05 / len(WORLDS), sorted(p)
    assert 0.45 <= covered <= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("world", [*WORLDS, "larger than its null"])
def test_p_values_are_uniform_and_errors_cover_in_200_repeats(world: str) -> None:
    large = world.startswith("larger")
    p, covered = _null("unequal" if large else world, 200, Effort(draws=199, more_draws=0, null_rows=40 if large else 10_000))
    assert stats.kstest(p, "uniform").pvalue > 0.05 / (len(WORLDS) + 1), sorted(p)
    assert 0.58 <= covered <= 0.78, covered


def test_far_from_the_null_the_error_is_the_spread_over_repetitions() -> None:
    rows = [
        power_spectrum(Case(_sides(_images(s, 150), 0.8 * _images(s + 5000, 120, smooth=0.4)), effort=QUICK, seed=s))[0] for s in range(60)
    ]
    values = np.array([row.value for row in rows])
    assert min(values) > 3 * max(row.null for row in rows)
    assert np.mean([row.error for row in rows]) == pytest.approx(values.std(ddof=1), rel=0.25)


@pytest.mark.parametrize(("size", "channels"), [((32,), 1), ((12, 12), 3), ((6, 6, 6), 1)])
def test_smoothed_images_lack_fine_scales(size: tuple[int, ...], channels: int) -> None:
    real, generated = _images(0, 200, size, channels=channels), _images(1, 150, size, channels=channels, smooth=0.5)
    case = Case(_sides(real, generated), effort=QUICK)
    (row,) = power_spectrum(case)
    assert row.p == 0.01 and row.n == 150 and row.where in row.claim
    assert "at a scale of about" in row.claim and "times the power of real ones" in row.claim
    shown = case.pictures["spectrum"]
    assert isinstance(shown, Spectrum) and (np.diff(shown.scale) < 0).all()
    fine = shown.scale < 2.5
    assert (shown.generated[fine] < 0.8 * shown.real[fine]).all()
    assert case.pictures["sections"]["spectrum"].curves[0].logarithmic == "xy"


def test_a_stripe_of_four_pixels_is_named() -> None:
    real, generated = _images(0, 300, (16, 16)), _images(1, 300, (16, 16))
    generated = generated + 0.8 * np.cos(2 * np.pi * np.arange(16) / 4)
    (row,) = power_spectrum(Case(_sides(real, generated), effort=QUICK))
    assert any(f"about {scale} pixels" in row.claim for scale in ("4", "3.9", "4.1")), row.claim


def test_curves_are_weighted_means_with_their_errors() -> None:
    weight = np.random.default_rng(0).exponential(size=50)
    images = _images(3, 50)
    case = Case(_sides(images, images, weights=(weight, None)), effort=QUICK)
    power_spectrum(case)
    from gnomon.checks.measures.spectrum import radial_power

    power = radial_power(images)
    assert np.allclose(case.pictures["spectrum"].real, np.average(power, axis=0, weights=weight))
    assert np.allclose(case.pictures["spectrum"].generated_error, power.std(axis=0) / np.sqrt(50))


def test_where_it_does_not_apply() -> None:
    assert power_spectrum(Case()) == []
    assert power_spectrum(Case(Sides.of(np.zeros((9, 2)), np.zeros((9, 2))))) == []
    assert power_spectrum(Case(_sides(np.zeros((9, 3, 1, 1)), np.zeros((9, 3, 1, 1))))) == []
    with pytest.raises(LeftOut, match="do not vary"):
        power_spectrum(Case(_sides(np.ones((9, 1, 4, 4)), np.ones((9, 1, 4, 4)))))
