"""Found boxes and masks against true ones: intersection over union, average precision of a detector.

Boxes are ``(low corner, high corner)`` in any number of dimensions. How boxes are found is the models' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.checks.measures.estimate import Estimate, Floats, jackknife, mean_of
from gnomon.errors import DataError

THRESHOLDS = tuple(np.round(np.arange(0.5, 0.96, 0.05), 2).tolist())
"""Overlaps from which a found box counts as right: averaged over, as in the COCO challenge."""

_LEVELS = np.linspace(0, 1, 101)  # of recall, at which the precision is read


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one image.

    Args:
        corners: ``(n, 2 D)``: low corner, then high corner, in pixels.
        labels: ``(n,)`` class of each.
        scores: ``(n,)`` confidence of found boxes; None for true ones.

    Raises:
        DataError: the lengths differ, a box is turned inside out, or a number is not finite.
    """

    corners: Floats
    labels: NDArray[Any]
    scores: Floats | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "corners", _corners(self.corners))
        object.__setattr__(self, "labels", np.asarray(self.labels))
        if self.scores is not None:
            object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float64))
        lengths = {len(self.corners), len(self.labels), len(self.corners) if self.scores is None else len(self.scores)}
        if len(lengths) > 1:
            raise DataError(f"each box has one label and one score; got {len(self.corners)} boxes and {len(self.labels)} labels")
        if self.scores is not None and not np.isfinite(self.scores).all():
            raise DataError("a score is not finite; leave such boxes out")


def box_iou(one: ArrayLike, two: ArrayLike) -> Floats:
    """Intersection over union of every pair of boxes.

    Args:
        one: ``(n, 2 D)``: low corner, then high corner.
        two: ``(m, 2 D)``.

    Returns:
        ``(n, m)`` in [0, 1]; 0 for two empty boxes.

    Example:
        >>> box_iou([[0, 0, 2, 2]], [[1, 1, 3, 3], [0, 0, 2, 1]]).round(4)
        array([[0.1429, 0.5   ]])
    """
    a, b = _corners(one)[:, None], _corners(two)[None]
    half = a.shape[-1] // 2
    sides = np.minimum(a[..., half:], b[..., half:]) - np.maximum(a[..., :half], b[..., :half])
    shared = np.maximum(sides, 0.0).prod(axis=-1)
    volumes = [(part[..., half:] - part[..., :half]).prod(axis=-1) for part in (a, b)]
    union = volumes[0] + volumes[1] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)


def mask_iou(found: ArrayLike, truth: ArrayLike, classes: int | None = None) -> list[Estimate]:
    """Intersection over union of each class of segmented images, pooled over images, with the jackknife's error over images.

    Args:
        found: ``(n, *size)`` class of each pixel.
        truth: the same shape.
        classes: how many there are; by default as many as occur.

    Returns:
        one `Estimate` a class; NaN for a class that occurs on neither side.

    Raises:
        DataError: the shapes differ or there is no image.

    Example:
        >>> [round(e.value, 3) for e in mask_iou([[0, 1, 1]], [[0, 0, 1]])]
        [0.5, 0.5]
    """
    found, truth = np.asarray(found), np.asarray(truth)
    if found.shape != truth.shape or found.ndim < 2 or not found.size:
        raise DataError(f"segmentations are compared pixel by pixel, (n, *size); got {found.shape} and {truth.shape}")
    count = classes or int(max(found.max(), truth.max())) + 1
    axes = tuple(range(1, found.ndim))
    made = []
    for k in range(count):
        ours, theirs = found == k, truth == k
        sums = np.stack([(ours & theirs).sum(axis=axes), (ours | theirs).sum(axis=axes)], axis=1).astype(np.float64)
        if not sums[:, 1].any():
            made.append(Estimate(float("nan"), float("nan"), len(found)))
            continue
        made.append(jackknife(sums, lambda s: s[:, 0] / np.maximum(s[:, 1], 1e-300)))
    return made


def mean_average_precision(
    found: Sequence[Boxes], truth: Sequence[Boxes], *, thresholds: Sequence[float] = THRESHOLDS, draws: int = 100, seed: int = 0
) -> Estimate:
    """Average precision of a detector: the mean over classes and overlap thresholds, each the mean precision at 101 levels of recall.

    Found boxes are taken from the surest to the least sure; each goes to the true box of its class that it overlaps most and that is
    still free, if the overlap reaches the threshold. At a level of recall the best precision at it or beyond counts.

    Args:
        found: boxes with scores, one entry an image.
        truth: true boxes, one entry an image.
        thresholds: overlaps from which a box counts as found.
        draws: resamplings of the images for the error.
        seed: of the resamplings.

    Returns:
        value in [0, 1] with its bootstrap error over images.

    Raises:
        DataError: other numbers of images, found boxes without scores, or no true box at all.

    Reference: Lin et al. 2014, https://arxiv.org/abs/1405.0312 (COCO), without its limits on the number and size of boxes.

    Example:
        >>> truth = [Boxes([[0, 0, 2, 2]], [1])]
        >>> mean_average_precision([Boxes([[0, 0, 2, 1.5]], [1], [0.9])], truth, thresholds=[0.5, 0.8]).value
        0.5
    """
    if len(found) != len(truth) or not len(truth):
        raise DataError(f"found and true boxes come image by image; got {len(found)} and {len(truth)} images")
    if any(one.scores is None for one in found):
        raise DataError("found boxes need scores; pass Boxes(corners, labels, scores)")
    classes = sorted({label for one in truth for label in one.labels.tolist()})
    if not classes:
        raise DataError("there is no true box, so there is nothing to be found")
    matched = [[_matched(one, two, label, thresholds) for one, two in zip(found, truth, strict=True)] for label in classes]
    images = np.arange(len(truth))
    value = _mean_precision(matched, images)
    rng = np.random.default_rng(seed)
    again = [_mean_precision(matched, rng.choice(images, len(images))) for _ in range(draws)] if len(images) > 1 else []
    return Estimate(value, float(np.nanstd(again, ddof=1)) if len(again) > 1 else float("nan"), len(images))


def mean_overlap(found: Sequence[Boxes], truth: Sequence[Boxes]) -> Estimate:
    """Mean over true boxes of the best overlap that any found box of the same class has with it; 0 where there is none.

    Example:
        >>> mean_overlap([Boxes([[0, 0, 2, 1]], [0], [1.0])], [Boxes([[0, 0, 2, 2], [5, 5, 6, 6]], [0, 0])]).value
        0.25
    """
    best = []
    for one, two in zip(found, truth, strict=True):
        overlap = box_iou(one.corners, two.corners) * (one.labels[:, None] == two.labels[None])
        best += overlap.max(axis=0, initial=0.0).tolist()
    if not best:
        raise DataError("there is no true box, so there is nothing to be found")
    return mean_of(np.array(best))


# ---- parts -----------------------------------------------------------------------------------------------------------

Matched = tuple[Floats, NDArray[np.bool_], int]
"""Scores ``(n,)`` of one image's found boxes of a class, whether each is right ``(thresholds, n)``, and the number of true boxes."""


def _corners(boxes: ArrayLike) -> Floats:
    made = np.asarray(boxes, dtype=np.float64)
    made = made.reshape(0, 4) if not made.size and made.ndim < 2 else made
    if made.ndim != 2 or made.shape[1] % 2:
        raise DataError(f"boxes have shape (n, 2 D): low corner, then high corner; got {made.shape}")
    half = made.shape[1] // 2
    if not np.isfinite(made).all() or (made[:, half:] < made[:, :half]).any():
        raise DataError("a box is not finite, or its high corner lies below its low one")
    return made


def _matched(found: Boxes, truth: Boxes, label: Any, thresholds: Sequence[float]) -> Matched:
    mine, theirs = found.labels == label, truth.labels == label
    assert found.scores is not None
    order = np.argsort(-found.scores[mine], kind="stable")
    overlap = box_iou(found.corners[mine], truth.corners[theirs])[order]
    right = np.zeros((len(thresholds), len(order)), dtype=bool)
    for t, threshold in enumerate(thresholds):
        free = np.ones(overlap.shape[1], dtype=bool)
        for i, row in enumerate(overlap):
            open_ = np.where(free, row, -1.0)
            if open_.size and open_.max() >= threshold:
                free[open_.argmax()] = False
                right[t, i] = True
    return found.scores[mine][order], right, int(theirs.sum())


def _mean_precision(matched: list[list[Matched]], images: NDArray[np.intp]) -> float:
    """The mean over classes with true boxes among these images."""
    made = [_precision_of_class([rows[i] for i in images]) for rows in matched if sum(rows[i][2] for i in images)]
    return float(np.mean(made)) if made else float("nan")


def _precision_of_class(rows: list[Matched]) -> float:
    scores = np.concatenate([row[0] for row in rows])
    order = np.argsort(-scores, kind="stable")
    right = np.concatenate([row[1] for row in rows], axis=1)[:, order]
    total = sum(row[2] for row in rows)
    hits = right.cumsum(axis=1)
    recall, precision = hits / total, hits / np.arange(1, len(scores) + 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    made = []
    for reached, values in zip(recall, best, strict=True):
        place = np.searchsorted(reached + 1e-12, _LEVELS, side="left")  # a level is reached despite rounding
        made.append(np.where(place < len(values), np.append(values, 0.0)[np.minimum(place, len(values))], 0.0).mean())
    return float(np.mean(made))
