"""Power spectrum of images: at which scale generated ones are too smooth or too rough, with the curves of both sides.

The formula stands in `measures.spectrum`; how images look pixel by pixel is left to classifiers and features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.measures.spectrum import Bands, radial_power
from gnomon.checks.nulls import Pool, error_of_distance, null_draws, permutation_p
from gnomon.checks.pictures import Curves, Section, Series
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.checks.statistic import LeftOut, Statistic, number

WHERE = "the images"


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean power of the images of both sides by scale, as left in ``case.pictures["spectrum"]``.

    Args:
        scale: ``(bands,)`` wavelengths in pixels, the longest first.
        real: ``(bands,)`` mean power of the real images.
        generated: ``(bands,)`` of the generated ones.
        real_error: ``(bands,)`` standard errors.
        generated_error: ``(bands,)`` standard errors.
    """

    scale: Floats
    real: Floats
    generated: Floats
    real_error: Floats
    generated_error: Floats


def power_spectrum(case: Case) -> list[Statistic]:
    """Largest difference of the mean amplitude over bands of scale, in units of its spread from image to image.

    The amplitude of an image in a band is the root of its radially averaged power there. Units of the spread of all images together do
    not change when rows are relabelled, so the largest over the bands is compared with the largest of every relabelling.

    Raises:
        LeftOut: no image varies at any scale.
    """
    sides = case.sides
    if sides is None or sides.real.pixels is None or sides.generated.pixels is None or sides.real.pixels[0, 0].size < 2:
        return []
    bands = Bands.of(sides.real.pixels.shape[2:])
    amplitudes = _amplitudes(sides, bands)
    case.pictures["spectrum"] = shown = _spectrum(sides, amplitudes, bands)
    case.pictures.setdefault("sections", {})["spectrum"] = _section(shown)
    spread = amplitudes.std(axis=0)
    varied = spread > 1e-9 * max(float(amplitudes.max()), 1e-300)
    if not varied.any():
        raise LeftOut("the images do not vary at any scale")
    amplitudes = amplitudes / np.where(varied, spread, np.inf)
    pool = Pool.of(sides)
    differences = pool.observed() @ amplitudes
    band = int(np.abs(differences).argmax())
    value = float(np.abs(differences[band]))
    draws = _null(case, sides, bands, np.where(varied, spread, np.inf), value)
    error = error_of_distance(value, _linear_error(pool, amplitudes[:, band], float(differences[band])), draws)
    note = (
        f"in {int(varied.sum())} bands of scale, in units of the spread from image to image; null from {pool.method} {len(draws)} times"
        + ("" if sides.take(case.effort.null_rows) is sides else f" on {case.effort.null_rows:,} images a side, scaled to all")
    )
    made = Statistic(
        "power_spectrum", WHERE, value, error, float(draws.mean()), float(draws.std(ddof=1)), permutation_p(value, draws), sides.rows, note
    )
    return [made.with_(claim=_claim(shown, band, made))]


def _amplitudes(sides: Sides, bands: Bands) -> Floats:
    """``(n + m, bands)``: root of the power of every image, real ones first."""
    return np.sqrt(np.concatenate([radial_power(side.pixels, bands) for side in (sides.real, sides.generated) if side.pixels is not None]))


def _null(case: Case, sides: Sides, bands: Bands, spread: Floats, value: float) -> Floats:
    """Draws of the largest difference under the null, scaled to the sides' own size."""
    part = sides.take(case.effort.null_rows)
    pool = Pool.of(part)
    scale = 1.0 if part is sides else float(np.sqrt(Pool.of(sides).noise / pool.noise))
    amplitudes = _amplitudes(part, bands) / spread
    made = null_draws(
        pool,
        sides.generator("power spectrum"),
        lambda batch: {WHERE: np.abs(batch @ amplitudes).max(axis=1) * scale},
        case.effort,
        lambda draws: value > float(draws[WHERE].max(initial=0.0)),
    )
    return made[WHERE]


def _linear_error(pool: Pool, amplitude: Floats, difference: float) -> float:
    """Standard error of a difference of means in units of the pooled spread (here 1), whose own error counts too."""
    coefficients = pool.observed()
    parts = (slice(0, pool.real), slice(pool.real, None))
    squares = np.square(amplitude - amplitude.mean())
    moved = []
    for part in parts:
        own = coefficients[part] * (amplitude[part] - coefficients[part] @ amplitude[part] / coefficients[part].sum())
        moved.append(own - difference / 2 * (squares[part] - squares[part].mean()) / len(pool))
    if pool.paired:
        return float(np.sqrt(np.square(moved[0] + moved[1]).sum()))
    return float(np.sqrt(sum(np.square(part).sum() for part in moved)))


def _spectrum(sides: Sides, amplitudes: Floats, bands: Bands) -> Spectrum:
    power = np.square(amplitudes)
    split = len(sides.real)
    real, real_error = _mean(sides.real, power[:split])
    generated, generated_error = _mean(sides.generated, power[split:])
    return Spectrum(bands.scale, real, generated, real_error, generated_error)


def _mean(side: Side, power: Floats) -> tuple[Floats, Floats]:
    """Weighted means over images, and their standard errors."""
    share = np.full(len(side), 1 / len(side)) if side.weight is None else side.weight / side.weight.sum()
    mean = share @ power
    return mean, np.sqrt(np.square(share) @ np.square(power - mean))


def _section(shown: Spectrum) -> Section:
    series = []
    floor = 1e-12 * max(float(shown.real.max()), float(shown.generated.max()), 1e-300)  # the axis is logarithmic
    for role, mean, error in (("real", shown.real, shown.real_error), ("generated", shown.generated, shown.generated_error)):
        low, high = np.maximum(mean - error, floor), np.maximum(mean + error, floor)
        series.append(Series(shown.scale, np.maximum(mean, floor), role, low, high, role))
    alt = f"Mean power of real and generated images by scale, from {number(shown.scale[0])} to {number(shown.scale[-1])} pixels."
    curves = Curves("Power spectrum", tuple(series), "wavelength in pixels", "mean power", alt, "xy")
    words = "How much images vary at each scale, averaged over directions, with standard errors: fine detail is on the left."
    return Section("spectrum", "Power spectrum", words, [curves])


def _claim(shown: Spectrum, band: int, made: Statistic) -> str:
    real, generated = float(shown.real[band]), float(shown.generated[band])
    compared = f"{number(generated / real, 2)} times the power of real ones" if real > 0 else "power where real ones have none"
    return f"{WHERE}: at a scale of about {number(float(shown.scale[band]), 2)} pixels generated ones have {compared} ({made})"
