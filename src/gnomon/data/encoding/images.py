"""Arrays of images, volumes and signals as an `Image` kind with channels first, and back to the user's layout.

Reading picture files is done in `image_folders`, writing them in `tables`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gnomon.data.kinds import Image, Integer, Real, Support
from gnomon.errors import DataError

_BLOCK_BYTES = 1 << 26


def image_kind(
    array: np.ndarray, *, kind: str | None, layout: str | None = None, support: Support | None = None, place: str = "", role: str = "x"
) -> Image:
    """What images an array holds.

    Args:
        array: ``(n, *size)``, ``(n, channels, *size)`` or ``(n, *size, channels)``.
        kind: "image", "signal", or None for arrays of four or five axes.
        layout: where the channels are, if known; else they are last if the last axis is at most 4 and the axis after n is longer.
        support: ``integer(0, levels - 1)`` for whole grey levels, ``real`` for real pixels; None to go by the values: whole numbers
            from 0 have levels (2 … 32 if no pixel is larger, else 256, else 65536), anything else is real.
        place: what stands before every message.
        role: whose images these are, for messages.

    Raises:
        DataError: the array has no such axes, an empty axis, or a support that images cannot have.

    Example:
        >>> image_kind(np.zeros((5, 28, 28, 3)) + 0.5, kind=None)
        Image(channels=3, size=(28, 28), levels=None, layout='last')
    """
    axes = array.ndim
    place = f"{place}{role}: "
    if array.dtype.kind not in "biuf":
        raise DataError(f"{place}images hold numbers; got values of type {array.dtype}")
    allowed = {"signal": (2, 3)}.get(kind or "image", (3, 4, 5))
    if axes not in allowed:
        wanted = "(n, length) or (n, channels, length)" if kind == "signal" else "(n, height, width), or with channels first or last"
        raise DataError(f"{place}kind='{kind or 'image'}' wants an array of shape {wanted}; got {array.shape}")
    if 0 in array.shape[1:]:
        raise DataError(f"{place}images of shape {array.shape[1:]} hold no pixels")
    if layout is None:
        layout = "none" if axes == allowed[0] else "last" if array.shape[-1] <= 4 and array.shape[1] > array.shape[-1] else "first"
    shape = array.shape[1:]
    channels, size = {"none": (1, shape), "first": (shape[0], shape[1:]), "last": (shape[-1], shape[:-1])}[layout]
    levels = _levels(array) if support is None else _levels_of(support, array, place)
    return Image(int(channels), tuple(int(s) for s in size), levels, layout)


def _levels_of(support: Support, array: np.ndarray, place: str) -> int | None:
    if isinstance(support, Real):
        return None
    if not isinstance(support, Integer) or (support.low or 0) != 0:
        raise DataError(f"{place}images are 'real' or 'integer(0,levels-1)'; got '{support.name}'")
    found = _levels(array)
    levels = found if support.high is None else support.high + 1
    if found is None or levels is None or (support.high is not None and not _within(array, levels)):
        raise DataError(f"{place}support 'integer' wants pixels that are whole numbers from 0 to {support.high or 65535}; choose 'real'")
    return levels


def _within(array: np.ndarray, levels: int) -> bool:
    return all(bool(block.max() < levels) for _, block in blocks(array))


def _levels(array: np.ndarray) -> int | None:
    """Number of grey levels if all pixels are whole numbers from 0, else None."""
    if array.dtype == bool:
        return 2
    top = 0.0
    for _, block in blocks(array):
        if array.dtype.kind == "f" and not bool((block == np.floor(block)).all()):
            return None
        low, high = float(block.min()), float(block.max())
        if low < 0 or not math.isfinite(high):
            return None
        top = max(top, high)
    return next((levels for levels in (256, 65536) if top < levels), None) if top >= 32 else max(int(top) + 1, 2)


def blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, rows) in blocks of about 64 MiB."""
    rows = max(1, _BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]


def encode_images(array: np.ndarray, kind: Image, *, place: str = "", role: str = "x", absent: bool = False) -> Tensor:
    """Images as a contiguous tensor ``(n, channels, *size)``: uint8 for up to 256 levels, int32 for more, else float.

    Args:
        array: in the user's layout, or channels first.
        kind: what they are.
        place: what stands before every message.
        role: whose images these are, for messages.
        absent: some may be absent, all of their pixels NaN: then levels come as floats too.

    Raises:
        DataError: the array's images are not those of `kind`.

    Example:
        >>> encode_images(np.zeros((5, 8, 8)), Image(1, (8, 8), 17, "none")).shape
        torch.Size([5, 1, 8, 8])
    """
    expected = _user_shape(kind)
    place = f"{place}{role}: "
    if array.dtype.kind not in "biuf":
        raise DataError(f"{place}images hold numbers; got values of type {array.dtype}")
    if array.shape[1:] != expected:
        if array.shape[1:] != kind.shape:
            raise DataError(f"{place}images have shape {array.shape[1:]}; expected {expected}")
        moved = array
    elif kind.layout == "last":
        moved = np.moveaxis(array, -1, 1)
    else:
        moved = array.reshape(len(array), *kind.shape)
    holes = absent and array.dtype.kind == "f"
    if kind.levels is None:
        target = np.dtype(np.float64 if array.dtype == np.float64 else np.float32)
    else:
        target = np.dtype(np.float32 if holes else np.uint8 if kind.levels <= 256 else np.int32)
        _refuse_other_levels(array, kind.levels, place, holes=holes)
    made = np.ascontiguousarray(moved, dtype=target)
    return torch.from_numpy(made if made.flags.writeable else made.copy())


def _refuse_other_levels(array: np.ndarray, levels: int, place: str, *, holes: bool) -> None:
    """Raise for pixels that are no whole numbers from 0 to levels - 1; with `holes`, NaN is left to others."""
    for start, block in blocks(array):
        with np.errstate(invalid="ignore"):
            bad = (block < 0) | (block >= levels)
            if block.dtype.kind == "f":
                bad |= block != np.floor(block)
        if holes:
            bad &= ~np.isnan(block)
        if bad.any():
            row = int(bad.reshape(len(bad), -1).any(1).argmax())
            pixel = block[row].ravel()[int(bad[row].ravel().argmax())]
            raise DataError(f"{place}image {start + row + 1} holds {pixel:g}; expected whole numbers from 0 to {levels - 1}")


def unfit_images(array: np.ndarray) -> np.ndarray:
    """``(n,)`` bool: images that hold a missing or infinite pixel."""
    unfit = np.zeros(len(array), dtype=bool)
    if array.dtype.kind == "f":
        for start, block in blocks(array):
            unfit[start : start + len(block)] = ~np.isfinite(block.reshape(len(block), -1)).all(1)
    return unfit


def absent_images(array: np.ndarray) -> np.ndarray:
    """``(n,)`` bool: images of which every pixel is NaN, as an absent condition is written."""
    if array.dtype.kind != "f":
        return np.zeros(len(array), dtype=bool)
    return np.isnan(array.reshape(len(array), -1)).all(1)


def decode_images(values: Tensor, kind: Image) -> np.ndarray:
    """Images ``(n, channels, *size)`` as an array in the user's layout: uint8 or int32 for whole levels, else float32.

    Example:
        >>> decode_images(torch.zeros(5, 3, 8, 8), Image(3, (8, 8), None, "last")).shape
        (5, 8, 8, 3)
    """
    array = values.detach().cpu().numpy()
    if kind.levels is None:
        array = array.astype(np.float32, copy=False)
    elif array.dtype.kind == "f":
        array = np.clip(np.rint(array), 0, kind.levels - 1)
    if kind.levels is not None:
        array = array.astype(np.uint8 if kind.levels <= 256 else np.int32, copy=False)
    if kind.layout == "none":
        return array.reshape(len(array), *kind.size)
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if kind.layout == "last" else array


def _user_shape(kind: Image) -> tuple[int, ...]:
    return {"first": kind.shape, "last": (*kind.size, kind.channels), "none": kind.size}[kind.layout]


def image_line(kind: Image) -> str:
    """An image kind in words: ``image 1 x 8 x 8, 17 levels, no channel axis``."""
    word = {1: "signal", 2: "image", 3: "volume"}.get(kind.dimension, "grid")
    values = "real" if kind.levels is None else f"{kind.levels} levels"
    layout = {"first": "channels first", "last": "channels last", "none": "no channel axis"}[kind.layout]
    return f"{word} {'x'.join(map(str, kind.shape))}, {values}, {layout}"
