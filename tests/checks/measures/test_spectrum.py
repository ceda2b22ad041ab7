"""Radially averaged power: against sums over all modes written out, against plane waves, and in one, two and three dimensions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gnomon.checks.measures.spectrum import MOST_BINS, Bands, radial_power
from gnomon.errors import DataError

SIZES = [(2,), (9,), (16,), (4, 5), (8, 8), (1, 7), (3, 4, 5), (6, 6, 6)]


def _by_hand(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean power and mean frequency of each band of one image ``(channels, *size)``, mode by mode."""
    size = image.shape[1:]
    width = 0.5 / min(MOST_BINS, max(1, max(size) // 2))
    places = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"), -1)
    found: dict[int, list[tuple[float, float]]] = {}
    for mode in itertools.product(*[range(n) for n in size]):
        signed = [k / n if k <= n / 2 else k / n - 1 for k, n in zip(mode, size, strict=True)]
        radius = float(np.linalg.norm(signed))
        if radius == 0:
            continue
        wave = np.exp(-2j * np.pi * (places @ np.array([k / n for k, n in zip(mode, size, strict=True)])))
        power = np.mean([abs((channel * wave).sum()) ** 2 for channel in image]) / np.prod(size) ** 2
        found.setdefault(max(round(radius / width) - 1, 0), []).append((power, radius))
    made = [np.mean(found[band], axis=0) for band in sorted(found)]
    return np.array([m[0] for m in made]), np.array([m[1] for m in made])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_mean_over_the_modes_of_a_band(size: tuple[int, ...], channels: int) -> None:
    image = np.random.default_rng(0).normal(size=(channels, *size))
    power, frequency = _by_hand(image)
    assert np.allclose(radial_power(image[None])[0], power, rtol=1e-10, atol=1e-14)
    assert np.allclose(Bands.of(size).frequency, frequency, rtol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_all_modes_together_are_the_variance(size: tuple[int, ...]) -> None:
    images = np.random.default_rng(1).normal(size=(5, 1, *size)) + 7.0
    bands = Bands.of(size)
    modes = np.bincount(bands.band[bands.band >= 0], weights=bands.multiplicity[bands.band >= 0])
    assert modes.sum() == np.prod(size) - 1
    assert np.allclose(radial_power(images) @ modes, images.reshape(5, -1).var(axis=1))


def test_a_wave_lies_at_its_wavelength_and_a_constant_nowhere() -> None:
    x = np.arange(32)
    wave = 3.0 * np.cos(2 * np.pi * x / 8)[None, None, None, :] * np.ones((1, 1, 32, 1))
    power = radial_power(wave + 100)[0]
    scale = Bands.of((32, 32)).scale
    assert scale[power.argmax()] == pytest.approx(8, rel=0.05) and power.max() / power.sum() > 1 - 1e-9
    assert (radial_power(np.full((1, 2, 5, 5), 3.0)) == 0).all()


def test_white_noise_has_the_same_power_at_every_scale_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from gnomon.checks.measures import spectrum

    images = np.random.default_rng(2).normal(size=(3000, 1, 8, 8)).astype(np.float32)
    power = radial_power(images)
    assert power.mean(axis=0) == pytest.approx(np.full(power.shape[1], 1 / 64), rel=0.05)
    monkeypatch.setattr(spectrum, "_CHUNK", 100)
    assert np.allclose(radial_power(images[:40]), power[:40], rtol=1e-12)
    assert radial_power(images[:0]).shape == (0, power.shape[1])


def test_whole_numbers_do_not_overflow() -> None:
    images = np.random.default_rng(3).integers(0, 256, (4, 1, 6, 6)).astype(np.uint8)
    assert np.array_equal(radial_power(images), radial_power(images.astype(np.float64)))


def test_what_has_no_spectrum_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(n, channels, \*size\); got \(3, 4\)"):
        radial_power(np.zeros((3, 4)))
    with pytest.raises(DataError, match="single pixel"):
        radial_power(np.zeros((3, 1, 1, 1)))
