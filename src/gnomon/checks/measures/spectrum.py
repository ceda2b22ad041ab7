"""Power of images by scale: the squared Fourier amplitudes, averaged over all directions.

Whether two sets of images have the same power is judged in `statistics.spectrum`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import DataError

Floats = NDArray[np.float64]

MOST_BINS = 24
_CHUNK = 2**21  # pixels transformed at once


@dataclass(frozen=True, eq=False)
class Bands:
    """Bands of spatial frequency of images of one size.

    Args:
        size: extent along each axis.
        band: ``(*size[:-1], size[-1] // 2 + 1)`` the band of each Fourier mode; -1 for the mean of the image, which has no scale.
        multiplicity: of the same shape: 2 where the conjugate mode is not stored, else 1.
        frequency: ``(bands,)`` mean frequency of the modes of a band, in cycles per pixel.

    Example:
        >>> Bands.of((8, 8)).scale.round(1).tolist()
        [6.6, 3.7, 2.6, 2.0, 1.6, 1.4]
    """

    size: tuple[int, ...]
    band: NDArray[np.intp]
    multiplicity: Floats
    frequency: Floats

    @classmethod
    def of(cls, size: tuple[int, ...]) -> Bands:
        """As many bands of equal width as half the longest axis has pixels, at most 24; those without a mode are left out."""
        axes = [np.fft.fftfreq(n) for n in size[:-1]] + [np.fft.rfftfreq(size[-1])]
        radius = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
        radius = np.broadcast_to(radius, tuple(len(axis) for axis in axes))
        if not radius.max() > 0:
            raise DataError(f"images of size {size} have a single pixel and no spectrum")
        last = np.arange(len(axes[-1]))
        single = (last == 0) | ((size[-1] % 2 == 0) & (last == size[-1] // 2))
        multiplicity = np.broadcast_to(np.where(single, 1.0, 2.0), radius.shape)
        bins = min(MOST_BINS, max(1, max(size) // 2))
        width = 0.5 / bins
        # The longest wave is the middle of the first band; what lies in corners goes on beyond half a cycle per pixel.
        placed = np.where(radius > 0, np.maximum(np.rint(radius / width).astype(np.intp) - 1, 0), -1)
        used, compact = np.unique(placed[placed >= 0], return_inverse=True)
        band = np.full(radius.shape, -1, dtype=np.intp)
        band[placed >= 0] = compact
        inside = band >= 0
        modes = np.bincount(band[inside], weights=multiplicity[inside], minlength=len(used))
        frequency = np.bincount(band[inside], weights=(multiplicity * radius)[inside], minlength=len(used)) / modes
        return cls(tuple(size), band, multiplicity, frequency)

    @property
    def scale(self) -> Floats:
        """``(bands,)`` wavelength in pixels."""
        return 1.0 / self.frequency


def radial_power(images: NDArray[Any], bands: Bands | None = None) -> Floats:
    """Power of each image in each band of frequency.

    The power of a mode is |F|² / pixels², where F is the plain Fourier sum: a wave of amplitude a has a²/4 in each of its two modes.
    A band has the mean over its modes and over channels. Adding a constant to an image changes nothing.

    Args:
        images: ``(n, channels, *size)`` with one, two or three axes.
        bands: of images of that size, if they are at hand.

    Returns:
        ``(n, bands)``, in squared units of the pixels.

    Raises:
        DataError: the images have no axis, or a single pixel.

    Example:
        >>> wave = np.cos(2 * np.pi * np.arange(16) / 8)[None, None]
        >>> power = radial_power(wave)
        >>> power[0].round(12).tolist()
        [0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        >>> Bands.of((16,)).scale[:3].round(1).tolist()
        [16.0, 8.0, 5.3]
    """
    if images.ndim < 3:
        raise DataError(f"a power spectrum wants images of shape (n, channels, *size); got {images.shape}")
    bands = Bands.of(images.shape[2:]) if bands is None else bands
    axes = tuple(range(2, images.ndim))
    inside = (bands.band >= 0).ravel()
    member = np.zeros((int(inside.sum()), len(bands.frequency)))
    member[np.arange(len(member)), bands.band.ravel()[inside]] = bands.multiplicity.ravel()[inside]
    member /= member.sum(axis=0)
    pixels = float(np.prod(bands.size))
    made = np.empty((len(images), len(bands.frequency)))
    step = max(1, _CHUNK // max(1, images[0].size)) if len(images) else 1
    for start in range(0, len(images), step):
        part = images[start : start + step].astype(np.float64)
        amplitude = np.fft.rfftn(part - part.mean(axis=axes, keepdims=True), axes=axes) / pixels
        power = (np.square(amplitude.real) + np.square(amplitude.imag)).mean(axis=1)
        made[start : start + step] = power.reshape(len(part), -1)[:, inside] @ member
    return made
