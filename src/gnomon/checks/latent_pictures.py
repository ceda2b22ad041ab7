"""Pictures of a latent space: a map of codes with what is decoded along it, strips of walks, distortion against the length of the code.

Walks are made by `gnomon.learned.exploring`. Drawn with matplotlib's object interface, so the user's figures and settings stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.data import Image
from gnomon.errors import DataError, OptionError
from gnomon.learned.exploring import VALUES, Latent
from gnomon.learned.learned import Learned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_TILES = 12  # decoded along each side of a map
_WIDE = 3.5  # standard deviations that a map shows
_REACH = 2.5  # standard deviations from the middle of a map to its edge
_MOST = 3000  # points of a map
_CLASSES = 10  # labels with a colour of their own


@dataclass(frozen=True, eq=False)
class LatentMap:
    """Codes in a plane.

    Args:
        places: ``(n, 2)``, in standard deviations.
        labels: ``(n,)`` texts or numbers, or None.
        axes: ``(2, k)`` what one standard deviation along each axis of the plane is as a code.
        centre: ``(k,)`` the code in the middle.
        share: of the codes' variance that the plane shows.
        tiles: what is decoded over the plane, row by row from the top left, ``(12 * 12, height, width)`` or with colours; None for
            data that are no images.
    """

    places: Floats
    labels: NDArray[Any] | None
    axes: Floats
    centre: Floats
    share: float
    tiles: Floats | None

    def figure(self) -> Figure:
        """Points coloured by their labels, beside the decoded plane."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5 if self.tiles is None else 10, 5), layout="constrained")
        made = figure.subplots(1, 1 if self.tiles is None else 2, squeeze=False)[0]
        axes = made[0]
        _scatter(axes, self.places, self.labels)
        axes.set(
            xlim=(-_WIDE, _WIDE), ylim=(-_WIDE, _WIDE), aspect="equal", xlabel="first axis (standard deviations)", ylabel="second axis"
        )
        axes.set_title(f"codes of {len(self.places):,} examples; the plane holds {100 * self.share:.0f} % of their variance", fontsize=9)
        if self.tiles is not None:
            _mosaic(made[1], self.tiles, _TILES)
            made[1].set_title(f"decoded over the plane, ±{_REACH:g} standard deviations", fontsize=9)
        return figure


def latent_map(learned: Learned, data: Any, labels: ArrayLike | None = None, *, given: Any = None) -> LatentMap:
    """A map of the codes of `data`: codes of two numbers as they are, longer ones along the two directions in which they vary most.

    Args:
        learned: what can encode and decode.
        data: examples.
        labels: one for each example, by which points are coloured.
        given: the condition of what is decoded, where the model has one.

    Raises:
        AbilityError: the model cannot encode and decode.
        DataError: fewer than two examples, or another number of labels.
    """
    latent = Latent(learned, data)
    codes = latent.codes
    assert codes is not None
    marks = None if labels is None else np.asarray(labels)
    if len(codes) < 2:
        raise DataError(f"a map wants two examples or more; got {len(codes)}")
    if marks is not None and len(marks) != len(codes):
        raise DataError(f"a map wants one label for each example; got {len(marks)} for {len(codes)}")
    centred = codes - codes.mean(0)
    if codes.shape[1] <= 2:
        axes = np.zeros((2, codes.shape[1]))
        np.fill_diagonal(axes, codes.std(0))
    else:
        _, singular, directions = np.linalg.svd(centred, full_matrices=False)
        axes = directions[:2] * (singular[:2, None] / np.sqrt(len(codes)))
    sizes = np.maximum(np.square(axes).sum(1), 1e-300)
    places = centred @ axes.T / sizes
    along = np.linspace(-_REACH, _REACH, _TILES)
    up, right = (m.ravel() for m in np.meshgrid(along[::-1], along, indexing="ij"))
    tiles = None
    if isinstance(learned.spec.x, Image):
        tiles = shown(learned.decode(latent.centre + np.stack([right, up], 1) @ axes, given), learned.spec.x)
    share = float(sizes.sum() / max(np.square(centred).mean(0).sum(), 1e-300))
    return LatentMap(places, marks, axes, latent.centre, min(share, 1.0), tiles)


def strips(images: Any, kind: Image, columns: int, *, titles: Sequence[str] = ()) -> Figure:
    """Images in rows of `columns`, one walk a row.

    Args:
        images: as `Latent` gives them, a whole number of rows.
        kind: of the images.
        columns: images in a row.
        titles: of the rows.

    Raises:
        DataError: the images fill no whole rows.
    """
    from matplotlib.figure import Figure

    tiles = shown(images, kind)
    if columns < 1 or len(tiles) % columns:
        raise DataError(f"strips wants rows of {columns} images; got {len(tiles)}")
    rows = len(tiles) // columns
    figure = Figure(figsize=(0.7 * columns + (1.2 if titles else 0), 0.7 * rows), layout="constrained")
    for index, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        _mosaic(axes, tiles[index : index + 1], 1)
        if titles and index % columns == 0:
            axes.set_ylabel(titles[index // columns], rotation=0, ha="right", va="center", fontsize=7)
    return figure


def traversals(learned: Learned, data: Any, *, most: int = 10, values: Sequence[float] = VALUES) -> Figure:
    """What each number of the code does: one row for each of the `most` that vary most, around the first example of `data`.

    Raises:
        OptionError: the data are no images.
    """
    kind = _image(learned)
    raw = learned.read(data)
    latent = Latent(learned, raw)
    order = np.argsort(-latent.spread, kind="stable")[:most]
    made = np.concatenate([np.asarray(latent.traverse(raw[:1], int(d), values)) for d in order])
    return strips(made, kind, len(values), titles=[f"z{d}" for d in order])


def interpolations(learned: Learned, data: Any, *, pairs: int = 6, steps: int = 9, spherical: bool = False) -> Figure:
    """Walks from example to example of `data`, taken in order, one a row.

    Raises:
        OptionError: the data are no images.
        DataError: fewer than two examples.
    """
    kind = _image(learned)
    raw = learned.read(data)
    pairs = min(pairs, len(raw) // 2)
    if pairs < 1:
        raise DataError(f"a walk wants two examples; got {len(raw)}")
    walks = Latent(learned).interpolate(raw[: 2 * pairs : 2], raw[1 : 2 * pairs : 2], steps, spherical=spherical)
    return strips(walks, kind, steps)


def rate_distortion(curves: Mapping[str, Mapping[int, tuple[float, float]]], *, vertical: str = "squared error per example") -> Figure:
    """Distortion against the length of the code, with standard errors, on logarithmic axes.

    Args:
        curves: name to length of the code to (distortion, its standard error).
        vertical: what the distortion is.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        x = sorted(points)
        y, error = np.array([points[length] for length in x], dtype=np.float64).T
        axes.errorbar(x, y, error, label=name, marker="o", markersize=3, capsize=2)
    axes.set(xscale="log", yscale="log", xlabel="numbers in the code", ylabel=vertical)
    lengths = sorted({length for points in curves.values() for length in points})
    axes.set_xticks(lengths, labels=[str(length) for length in lengths])
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure


def shown(images: Any, kind: Image) -> Floats:
    """Images as matplotlib shows them, ``(n, height, width)`` or ``(n, height, width, 3)`` in [0, 1]; signals as ``(n, length)``.

    Of volumes the middle slice is shown, of channels other than three the first.
    """
    values = np.asarray(images, dtype=np.float64)
    if kind.layout == "last":
        values = np.moveaxis(values, -1, 1)
    values = values.reshape(len(values), *kind.shape)
    while values.ndim > 4:
        values = values[:, :, values.shape[2] // 2]
    if kind.levels is not None:
        values = values / max(1, kind.levels - 1)
    elif len(values):
        low, high = np.quantile(values, [0.005, 0.995])
        values = (values - low) / max(float(high - low), 1e-12)
    values = values if values.ndim == 3 else values.clip(0, 1)
    if values.ndim == 4 and values.shape[1] == 3:
        return np.moveaxis(values, 1, -1)
    return values[:, 0]


# ---- parts ------------------------------------------------------------------------------------------------------------


def _image(learned: Learned) -> Image:
    kind = learned.spec.x
    if not isinstance(kind, Image):
        raise OptionError(f"strips are of images, and x of this run is {type(kind).__name__}; use gnomon.learned.Latent for its walks")
    return kind


def _mosaic(axes: Any, tiles: Floats, columns: int) -> None:
    """Tiles side by side; signals as curves."""
    axes.set_xticks([])
    axes.set_yticks([])
    if tiles.ndim == 2:
        span = max(float(np.ptp(tiles)), 1e-12)
        for index, signal in enumerate(tiles):
            row, column = divmod(index, columns)
            axes.plot(column + np.linspace(0.05, 0.95, len(signal)), -row + 0.9 * (signal - tiles.min()) / span, color="#0072b2", lw=0.7)
        return
    rows = -(-len(tiles) // columns)
    if columns > 1:  # a white line between tiles
        tiles = np.pad(tiles, [(0, 0), (0, 1), (0, 1), *[(0, 0)] * (tiles.ndim - 3)], constant_values=1.0 if tiles.ndim == 4 else 0.0)
    grid = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    picture = grid.reshape(rows * tiles.shape[1], columns * tiles.shape[2], *tiles.shape[3:])
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")


def _scatter(axes: Any, places: Floats, labels: NDArray[Any] | None) -> None:
    """Points, coloured by class, or by number where there are many."""
    step = max(1, -(-len(places) // _MOST))
    places, labels = places[::step], None if labels is None else labels[::step]
    if labels is None:
        axes.scatter(*places.T, s=4, color="#0072b2", linewidths=0)
        return
    names = np.unique(labels)
    if len(names) > _CLASSES and labels.dtype.kind in "iuf":
        points = axes.scatter(*places.T, s=4, c=labels.astype(np.float64), cmap="viridis", linewidths=0)
        axes.figure.colorbar(points, ax=axes, shrink=0.7)
        return
    import matplotlib

    colours = matplotlib.colormaps["tab10" if len(names) <= _CLASSES else "tab20"]
    for index, name in enumerate(names):
        axes.scatter(*places[labels == name].T, s=4, color=colours(index % colours.N), label=str(name), linewidths=0)
    if len(names) <= 20:
        axes.legend(frameon=False, fontsize=7, markerscale=2, ncols=1, loc="upper right")
