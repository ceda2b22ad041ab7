"""What a prediction costs, one number per example: thirteen losses of classes, and five of numbers.

Pure functions of tensors. Weights, sums over a batch and what a model reports are left to `gnomon.models`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Outputs = Float[Tensor, "n outputs"]
PerExample = Float[Tensor, " n"]
LossFunction = Callable[[Tensor, Tensor], Tensor]

MARGIN = 0.5
"""How far on the right side of zero an output must be for the hinge losses to be zero."""


def as_probabilities(targets: Tensor, like: Tensor) -> Tensor:
    """Targets as ``(n, classes)`` in the dtype of `like`: one-hot where they are class indices ``(n,)``, else as they are.

    Args:
        targets: ``(n,)`` int64 class indices, or ``(n, classes)`` numbers.
        like: ``(n, classes)`` outputs.

    Example:
        >>> as_probabilities(torch.tensor([2, 0]), torch.zeros(2, 3))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    if targets.ndim == 1 and not targets.is_floating_point():
        return (targets.unsqueeze(-1) == torch.arange(like.shape[-1], device=like.device)).to(like.dtype)
    return targets


# ---- of the outputs themselves: for numbers, and for classes against one-hot targets -------------------------------


def sum_of_squares(outputs: Outputs, targets: Tensor) -> PerExample:
    """Σ (output - target)², least at the mean of the targets.

    Args:
        outputs: ``(n, k)`` numbers, or one raw output per class.
        targets: ``(n, k)`` numbers, or ``(n,)`` int64 class indices. So for all losses of this module.

    Example:
        >>> sum_of_squares(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([5.])
    """
    return (outputs - as_probabilities(targets, outputs)).square().sum(-1)


def absolute(outputs: Outputs, targets: Tensor) -> PerExample:
    """L1: Σ |output - target|, least at the median of the targets.

    Example:
        >>> absolute(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([3.])
    """
    return (outputs - as_probabilities(targets, outputs)).abs().sum(-1)


def euclidean(outputs: Outputs, targets: Tensor) -> PerExample:
    """L2: √Σ (output - target)², the distance; its gradient has length one however near, and is zero at the target.

    Example:
        >>> euclidean(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([5.])
    """
    squares = sum_of_squares(outputs, targets)
    away = squares > 0
    return torch.where(away, torch.where(away, squares, 1.0).sqrt(), 0.0)


def largest(outputs: Outputs, targets: Tensor) -> PerExample:
    """Chebyshev's distance: max |output - target|.

    Example:
        >>> largest(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([2.])
    """
    return (outputs - as_probabilities(targets, outputs)).abs().amax(-1)


def huber(outputs: Outputs, targets: Tensor) -> PerExample:
    """Σ h(output - target) with h(e) = e²/2 up to |e| = 1 and |e| - ½ beyond: squares for small errors, absolute for outliers.

    Reference: Huber 1964, https://doi.org/10.1214/aoms/1177703732

    Example:
        >>> huber(torch.tensor([[0.5, -3.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([2.6250])
    """
    size = (outputs - as_probabilities(targets, outputs)).abs()
    small = size.clamp_max(1.0)
    return (small * (size - 0.5 * small)).sum(-1)


def hinge(outputs: Outputs, targets: Tensor) -> PerExample:
    """Σ max(0, ½ - s · output) with s = +1 for the right class and -1 for the others: one against the rest.

    For targets that are probabilities it is the expected loss, each class being right with its probability.

    Example:
        >>> hinge(torch.tensor([[0.2, -0.1]]), torch.tensor([0]))
        tensor([0.7000])
    """
    return _hinge(outputs, targets, 1)


def squared_hinge(outputs: Outputs, targets: Tensor) -> PerExample:
    """Σ max(0, ½ - s · output)², as `hinge`.

    Example:
        >>> squared_hinge(torch.tensor([[0.2, -0.1]]), torch.tensor([0]))
        tensor([0.2500])
    """
    return _hinge(outputs, targets, 2)


def cubed_hinge(outputs: Outputs, targets: Tensor) -> PerExample:
    """Σ max(0, ½ - s · output)³, as `hinge`.

    Example:
        >>> cubed_hinge(torch.tensor([[0.2, -0.1]]), torch.tensor([0]))
        tensor([0.0910])
    """
    return _hinge(outputs, targets, 3)


def _hinge(outputs: Tensor, targets: Tensor, power: int) -> Tensor:
    p = as_probabilities(targets, outputs)
    right, wrong = (MARGIN - outputs).relu(), (MARGIN + outputs).relu()
    return (p * right**power + (1 - p) * wrong**power).sum(-1)


# ---- of probabilities, the softmax of the outputs -----------------------------------------------------------------


def expectation(logits: Outputs, targets: Tensor) -> PerExample:
    """Σ |p - target| with p = softmax(logits): twice the probability of a wrong answer drawn from p.

    Example:
        >>> expectation(torch.zeros(1, 2), torch.tensor([0]))
        tensor([1.])
    """
    return absolute(logits.softmax(-1), targets)


def regularised_expectation(logits: Outputs, targets: Tensor) -> PerExample:
    """Σ (p - target)² with p = softmax(logits): Brier's score.

    Example:
        >>> regularised_expectation(torch.zeros(1, 2), torch.tensor([0]))
        tensor([0.5000])
    """
    return sum_of_squares(logits.softmax(-1), targets)


def chebyshev(logits: Outputs, targets: Tensor) -> PerExample:
    """max |p - target| with p = softmax(logits).

    Example:
        >>> chebyshev(torch.zeros(1, 2), torch.tensor([0]))
        tensor([0.5000])
    """
    return largest(logits.softmax(-1), targets)


def cross_entropy(logits: Outputs, targets: Tensor) -> PerExample:
    """The log loss, -Σ target · log p with p = softmax(logits), in nats.

    Example:
        >>> cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
        tensor([0.6931])
    """
    return F.cross_entropy(logits, targets, reduction="none")


def squared_log(logits: Outputs, targets: Tensor) -> PerExample:
    """Σ (target · log p)² with p = softmax(logits).

    The formula is sometimes printed with a minus before the sum, which would reward wrong answers; the sign here is that which is
    least at the right one. For targets that are no single class it is not least at p = target.

    Example:
        >>> squared_log(torch.zeros(1, 2), torch.tensor([0]))
        tensor([0.4805])
    """
    return (as_probabilities(targets, logits) * logits.log_softmax(-1)).square().sum(-1)


def tanimoto(logits: Outputs, targets: Tensor) -> PerExample:
    """1 - p·target / (p·p + target·target - p·target) with p = softmax(logits): one minus the overlap.

    The overlap itself, as it is sometimes printed, is greatest at the right answer; one minus it is zero there.

    Example:
        >>> tanimoto(torch.zeros(1, 2), torch.tensor([0]))
        tensor([0.5000])
    """
    p, targets = logits.softmax(-1), as_probabilities(targets, logits)
    common = (p * targets).sum(-1)
    return 1 - common / (p.square().sum(-1) + targets.square().sum(-1) - common)


def cauchy_schwarz(logits: Outputs, targets: Tensor) -> PerExample:
    """-log(p·target / (|p| |target|)) with p = softmax(logits): minus the log of the cosine, zero where p is the target.

    It is computed from log p, so that no answer, however wrong, is infinitely bad.

    Example:
        >>> cauchy_schwarz(torch.zeros(1, 2), torch.tensor([0]))
        tensor([0.3466])
    """
    log_p, targets = logits.log_softmax(-1), as_probabilities(targets, logits)
    common = torch.logsumexp(log_p + targets.log(), -1)  # a class with target 0 has no part in it
    return 0.5 * (torch.logsumexp(2 * log_p, -1) + targets.square().sum(-1).log()) - common


class_losses: dict[str, LossFunction] = {
    "cross_entropy": cross_entropy,
    "squared": sum_of_squares,
    "absolute": absolute,
    "euclidean": euclidean,
    "expectation": expectation,
    "regularised_expectation": regularised_expectation,
    "chebyshev": chebyshev,
    "hinge": hinge,
    "squared_hinge": squared_hinge,
    "cubed_hinge": cubed_hinge,
    "squared_log": squared_log,
    "tanimoto": tanimoto,
    "cauchy_schwarz": cauchy_schwarz,
}
"""Losses of classes by name: of ``(n, classes)`` outputs and targets that are class indices ``(n,)`` or probabilities.

"squared", "absolute", "euclidean" and the hinge losses compare the outputs themselves with the targets, so that their softmax is no
probability; all others compare the softmax of the outputs.

Reference: Janocha & Czarnecki 2017, https://arxiv.org/abs/1702.05659, Table 1
"""

RAW = frozenset({"squared", "absolute", "euclidean", "hinge", "squared_hinge", "cubed_hinge"})
"""The names in `class_losses` that compare the outputs themselves with the targets."""

number_losses: dict[str, LossFunction] = {
    "squared": sum_of_squares,
    "absolute": absolute,
    "huber": huber,
    "chebyshev": largest,
    "euclidean": euclidean,
}
"""Losses of numbers by name: of ``(n, columns)`` outputs and targets."""
