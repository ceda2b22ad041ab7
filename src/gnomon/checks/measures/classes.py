"""Scores of samples by the classes that a classifier sees in them: how sure it is, and how the classes are shared out.

Where the class probabilities come from, and what a score means beside its null, is said elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import DataError

Floats = NDArray[np.float64]

_SMALLEST = 1e-12


def inception_score(probability: Floats, weight: Floats | None = None) -> float:
    """Exponential of the mutual information between example and class, in [1, classes].

    exp(E KL(p(y|x) ‖ p(y))), where p(y) is the mean of p(y|x): high if every example plainly belongs to a class and all classes occur.

    Args:
        probability: ``(n, classes)`` p(y|x) of each example.
        weight: ``(n,)`` or None.

    Raises:
        DataError: no rows, or rows that do not sum to 1.

    Reference: Salimans et al. 2016, https://arxiv.org/abs/1606.03498, here with classes of the user's own.

    Example:
        >>> round(inception_score(np.eye(4)), 6), round(inception_score(np.full((4, 4), 0.25)), 6)
        (4.0, 1.0)
    """
    mean, certainty = _moments(probability, weight)
    return float(np.exp(log_inception(mean, certainty)))


def mode_score(generated: Floats, real: Floats, weights: tuple[Floats | None, Floats | None] = (None, None)) -> float:
    """The inception score of generated examples, lowered by how far their classes are shared out otherwise than the real ones'.

    exp(E KL(p(y|x) ‖ p(y)) - KL(p(y) ‖ p*(y))), where p(y) is the mean over generated and p*(y) that over real examples.

    Args:
        generated: ``(m, classes)`` p(y|x) of generated examples.
        real: ``(n, classes)`` of real ones.
        weights: of the generated and of the real examples, or None.

    Raises:
        DataError: no rows, rows that do not sum to 1, or other numbers of classes.

    Reference: Che et al. 2017, https://arxiv.org/abs/1612.02136, as written by Xu et al. 2018, https://arxiv.org/abs/1806.07755
    (taken literally, with both divergences from the real shares, the first paper's score is the inception score).

    Example:
        >>> round(mode_score(np.eye(4), np.eye(4)), 6), round(mode_score(np.eye(4)[:2], np.eye(4)), 6)
        (4.0, 1.0)
    """
    if generated.shape[1:] != real.shape[1:]:
        raise DataError(f"generated and real rows have {generated.shape[1:]} and {real.shape[1:]} classes; expected the same")
    mean, certainty = _moments(generated, weights[0])
    return float(np.exp(log_mode(mean, certainty, _moments(real, weights[1])[0])))


def log_inception(mean: Floats, certainty: Floats | float) -> Floats:
    """Logarithm of the inception score.

    Args:
        mean: ``(*, classes)`` p(y).
        certainty: ``(*)`` mean of Σ p(y|x) log p(y|x).
    """
    return certainty - (mean * np.log(np.maximum(mean, _SMALLEST))).sum(axis=-1)


def log_mode(mean: Floats, certainty: Floats | float, real: Floats) -> Floats:
    """Logarithm of the mode score; as `log_inception`, with the real side's ``(*, classes)`` p*(y)."""
    ratio = np.log(np.maximum(mean, _SMALLEST)) - np.log(np.maximum(real, _SMALLEST))
    return log_inception(mean, certainty) - (mean * ratio).sum(axis=-1)


def certainty_of(probability: Floats) -> Floats:
    """``(n, classes) -> (n,)``: Σ p log p of each row, minus its entropy in nats.

    Example:
        >>> certainty_of(np.array([[1.0, 0.0], [0.5, 0.5]])).round(4).tolist()
        [0.0, -0.6931]
    """
    return (probability * np.log(np.maximum(probability, _SMALLEST))).sum(axis=1) + 0.0


def _moments(probability: Floats, weight: Floats | None) -> tuple[Floats, float]:
    if probability.ndim != 2 or not len(probability):
        raise DataError(f"class probabilities want shape (rows, classes); got {probability.shape}")
    if not np.allclose(probability.sum(axis=1), 1.0, atol=1e-4):
        raise DataError("class probabilities must sum to 1 in every row")
    share = np.full(len(probability), 1 / len(probability)) if weight is None else weight / weight.sum()
    return share @ probability, float(share @ certainty_of(probability))
