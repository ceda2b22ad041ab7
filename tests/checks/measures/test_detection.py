"""Overlaps and average precision: by brute force, by hand, against scikit-learn's curve; errors are those of repetition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, precision_recall_curve

from gnomon.checks.measures.detection import Boxes, box_iou, mask_iou, mean_average_precision, mean_overlap
from gnomon.errors import DataError


def _boxes(rng: np.random.Generator, count: int, dimension: int = 2, high: int = 12) -> np.ndarray:
    low = rng.integers(0, high - 4, size=(count, dimension))
    return np.concatenate([low, low + rng.integers(1, 5, size=(count, dimension))], axis=1).astype(float)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_overlaps_by_counting_cells(dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    one, two = _boxes(rng, 6, dimension), _boxes(rng, 7, dimension)

    def cells(box: np.ndarray) -> np.ndarray:
        grid = np.zeros((12,) * dimension, dtype=bool)
        grid[tuple(slice(int(a), int(b)) for a, b in zip(box[:dimension], box[dimension:], strict=True))] = True
        return grid

    wanted = [[(cells(a) & cells(b)).sum() / (cells(a) | cells(b)).sum() for b in two] for a in one]
    assert np.allclose(box_iou(one, two), wanted)


def test_masks_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size=(5, 6, 7))
    found = np.where(rng.random(truth.shape) < 0.3, rng.integers(0, 3, size=truth.shape), truth)
    ours = mask_iou(found, truth, classes=4)
    assert np.allclose([e.value for e in ours[:3]], jaccard_score(truth.ravel(), found.ravel(), average=None))
    assert np.isnan(ours[3].value) and all(e.error > 0 for e in ours[:3])


def _scene(seed: int, images: int, wrong: float = 0.3) -> tuple[list[Boxes], list[Boxes]]:
    """Non-overlapping boxes, found exactly or somewhere else."""
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(images):
        count = rng.integers(1, 5)
        own = np.array([[10 * i, 0, 10 * i + 4, 4] for i in range(count)], dtype=float)
        miss = rng.random(count) < wrong
        labels = rng.integers(0, 2, size=count)
        truth.append(Boxes(own, labels))
        found.append(Boxes(own + 100 * miss[:, None], labels, rng.random(count) - 0.3 * miss))
    return found, truth


def test_average_precision_is_the_interpolated_curve_of_scikit_learn() -> None:
    """Where each true box is found exactly or not at all, scores and hits alone decide: scikit-learn's curve can be interpolated."""
    found, truth = _scene(3, 30)
    made = []
    for label in (0, 1):
        scores = np.concatenate([f.scores[f.labels == label] for f in found])
        right = np.concatenate([f.corners[f.labels == label, 0] < 100 for f in found])
        total = sum(int((t.labels == label).sum()) for t in truth)
        precision, recall, _ = precision_recall_curve(right, scores)
        precision, recall = precision[:-1], recall[:-1] * right.sum() / total  # without the point that scikit-learn adds
        made.append(np.mean([precision[recall >= level - 1e-12].max(initial=0.0) for level in np.linspace(0, 1, 101)]))
    assert mean_average_precision(found, truth, draws=2).value == pytest.approx(np.mean(made), abs=1e-9)


def test_a_box_is_found_once_and_by_the_surest() -> None:
    truth = [Boxes([[0, 0, 2, 2]], ["a"])]
    twice = [Boxes([[0, 0, 2, 2], [0, 0, 2, 2]], ["a", "a"], [0.5, 0.9])]
    assert mean_average_precision(twice, truth).value == pytest.approx(1.0)
    other = [Boxes([[0, 0, 2, 2]], ["b"], [0.9])]
    assert mean_average_precision(other, truth).value == 0.0
    nothing = [Boxes(np.empty((0, 4)), [], [])]
    assert mean_average_precision(nothing, truth).value == 0.0 and mean_overlap(nothing, truth).value == 0.0


def test_stricter_overlap_is_harder() -> None:
    truth, near = [Boxes([[0, 0, 10, 10]], [0])], [Boxes([[0, 0, 10, 7]], [0], [1.0])]
    assert mean_average_precision(near, truth).value == pytest.approx(0.5)  # 0.7 reaches 0.5, 0.55, 0.6, 0.65, 0.7


def test_the_error_is_that_of_repetition() -> None:
    made = [mean_average_precision(*_scene(seed, 40), thresholds=[0.5], draws=60) for seed in range(40)]
    values, errors, _ = np.array(made).T
    assert np.median(errors) == pytest.approx(values.std(ddof=1), rel=0.35)


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(DataError, match="low corner, then high corner"):
        box_iou([[0, 0, 1]], [[0, 0, 1, 1]])
    with pytest.raises(DataError, match="high corner lies below"):
        Boxes([[2, 0, 1, 1]], [0])
    with pytest.raises(DataError, match="one label"):
        Boxes([[0, 0, 1, 1]], [0, 1])
    with pytest.raises(DataError, match="need scores"):
        mean_average_precision([Boxes([[0, 0, 1, 1]], [0])], [Boxes([[0, 0, 1, 1]], [0])])
    with pytest.raises(DataError, match="no true box"):
        mean_average_precision([Boxes([[0, 0, 1, 1]], [0], [1.0])], [Boxes(np.empty((0, 4)), [])])
    with pytest.raises(DataError, match="pixel by pixel"):
        mask_iou(np.zeros((2, 3)), np.zeros((2, 4)))
