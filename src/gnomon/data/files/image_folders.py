"""Folders of pictures: one array of all images, sub-folder names as labels.

All pictures must share size and mode; resizing is the user's decision. Writing them is done in `tables`.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from gnomon.data.files.arrays import one_line
from gnomon.data.files.reading import Arrays
from gnomon.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_MODES = {"1", "L", "LA", "RGB", "RGBA", "I;16", "I", "F"}


def read_image_folder(folder: Path) -> Arrays:
    """All images of a folder in the order of their names.

    Images lie either in the folder itself or, one level down, in sub-folders whose names are their labels.

    Returns:
        ``x`` of shape ``(n, height, width)`` or ``(n, height, width, channels)``, in the
        files' own numbers; ``y`` the labels or None.

    Raises:
        DataError: no images, an unreadable or huge one, or one that differs from the first in size or mode.
    """
    paths, labels, notices = _find(folder)
    first = _open(paths[0])
    shape, dtype = first.shape, first.dtype
    images = np.empty((len(paths), *shape), dtype=dtype)
    mode = _mode(first)
    for index, path in enumerate(paths):
        image = _open(path)
        if image.shape[:2] != shape[:2]:
            raise DataError(
                f"{path}: is {image.shape[1]}x{image.shape[0]} pixels, but {paths[0].name} is {shape[1]}x{shape[0]}; bring all to one size"
            )
        if image.shape != shape or image.dtype != dtype:
            raise DataError(f"{path}: is {_mode(image)}, but {paths[0].name} is {mode}; convert all to one mode")
        images[index] = image
    layout = "none" if images.ndim == 3 else "last"
    return Arrays(images, y=labels, name=str(folder), layout=layout, notices=tuple(notices))


def _find(folder: Path) -> tuple[list[Path], np.ndarray | None, list[str]]:
    """Paths of the images in order, their labels, and what was passed over."""
    top, others = _images(folder)
    below = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    paths, labels, notices = list(top), [], []
    for sub in below:
        found, more = _images(sub)
        others += more
        deeper = [entry for entry in sub.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        if not found and deeper and any(_images(entry)[0] for entry in deeper):
            raise DataError(f"{folder}: images lie two levels down (in {sub.name}/{deeper[0].name}); pass the folder '{sub}'")
        if found and top:
            raise DataError(f"{folder}: images lie both in the folder and in '{sub.name}'; put all of them into sub-folders, or none")
        paths += found
        labels += [sub.name] * len(found)
    if not paths:
        raise DataError(
            f"{folder}: the folder holds no images; expected files ending in {', '.join(SUFFIXES[:3])} … or sub-folders of them"
        )
    if others:
        notices.append(f"{folder}: passed over {len(others)} files that are no images (such as '{others[0].name}')")
    return paths, np.array(labels) if labels else None, notices


def _images(folder: Path) -> tuple[list[Path], list[Path]]:
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    return [f for f in files if f.suffix.lower() in SUFFIXES], [f for f in files if f.suffix.lower() not in SUFFIXES]


def _mode(image: np.ndarray) -> str:
    channels = "grey" if image.ndim == 2 else {2: "grey with alpha", 3: "RGB", 4: "RGBA"}[image.shape[2]]
    return f"{channels} ({image.dtype})"


def _open(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                plain = picture.mode in _MODES
                array = np.asarray(picture if plain else picture.convert("RGBA" if "transparency" in picture.info else "RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: the image is too large ({one_line(error).partition(',')[0]}); make it smaller or remove it") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: is no image that can be read; remove or replace it") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{path}: the image cannot be read ({one_line(error)}); remove or replace it") from error
    return array.astype(np.uint8) if array.dtype == bool else array
