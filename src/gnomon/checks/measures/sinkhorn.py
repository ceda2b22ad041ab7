"""Entropic transport by Sinkhorn's iteration: in the log domain for two samples, and for many weightings of the same rows at once.

Exact transport is in `transport`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.checks.measures.transport import Transport, distances
from gnomon.checks.measures.wasserstein import Floats, Weights, weights_of
from gnomon.errors import OptionError


def sinkhorn_divergence(
    x: ArrayLike,
    y: ArrayLike,
    *,
    epsilon: float,
    weights: Weights = (None, None),
    tolerance: float = 1e-7,
    iterations: int = 10_000,
) -> float:
    """Sinkhorn's divergence with squared distances: T(x, y) − T(x, x) / 2 − T(y, y) / 2, zero only if both samples are the same.

    T is the entropic transport cost, min over plans π of Σ π |x − y|² + ε KL(π ‖ x ⊗ y). As ε → 0 the divergence becomes W2², and as
    ε → ∞ the squared distance of the means.

    Args:
        x: ``(n, D)``.
        y: ``(m, D)``.
        epsilon: blur, in units of x squared.
        weights: of both samples, ``(n,)`` and ``(m,)``, not negative, or None where all rows count the same.
        tolerance: largest total mass by which the plans may miss the samples. The divergence is more exact than that: it errs with
            the square.
        iterations: at most so many.

    Returns:
        The divergence, in units of x squared.

    Raises:
        DataError: samples of different width, empty, with NaN, or with weights that do not fit.
        OptionError: epsilon is not above 0, or the tolerance was not reached.

    Reference: Feydy et al. 2019, "Interpolating between optimal transport and MMD using Sinkhorn divergences", AISTATS.

    Example:
        >>> x = np.array([[0.0], [1.0]])
        >>> round(sinkhorn_divergence(x, x + 3, epsilon=0.1), 6), sinkhorn_divergence(x, x, epsilon=0.1)
        (9.0, 0.0)
    """
    costs = [distances(*pair, squared=True) for pair in ((x, y), (x, x), (y, y))]
    both = (weights, (weights[0], weights[0]), (weights[1], weights[1]))
    joint, first, second = (
        entropic_transport(cost, epsilon=epsilon, weights=pair, tolerance=tolerance, iterations=iterations)
        for cost, pair in zip(costs, both, strict=True)
    )
    return max(0.0, joint.cost - (first.cost + second.cost) / 2)


def entropic_transport(
    cost: Floats,
    *,
    epsilon: float,
    weights: Weights = (None, None),
    tolerance: float = 1e-7,
    iterations: int = 10_000,
) -> Transport:
    """Entropic transport, min over plans π of Σ π · cost + ε KL(π ‖ a ⊗ b), by Sinkhorn's iteration in the log domain.

    The blur falls by halves from the largest cost down to `epsilon`, each starting from the potentials of the one before.

    Args:
        cost: ``(n, m)``. A symmetric one with the same weights on both sides is solved by its one potential, much faster.
        epsilon: blur, in units of the cost.
        weights: of both sides, ``(n,)`` and ``(m,)``, not negative, or None where all rows count the same.
        tolerance: largest total mass by which the plan may miss the weights.
        iterations: at most so many.

    Raises:
        DataError: weights that do not fit.
        OptionError: epsilon is not above 0, or the tolerance was not reached.

    Reference: Cuturi 2013, https://arxiv.org/abs/1306.0895; Schmitzer 2019, https://arxiv.org/abs/1610.06519.
    """
    if not epsilon > 0:
        raise OptionError(f"epsilon must be above 0; got {epsilon}")
    logs = []
    for weight, rows, name in zip(weights, cost.shape, "xy", strict=True):
        share = weights_of(weight, rows, name)
        with np.errstate(divide="ignore"):
            logs.append(np.full(rows, -np.log(rows)) if share is None else np.log(share))
    same = cost.shape[0] == cost.shape[1] and np.array_equal(logs[0], logs[1]) and np.array_equal(cost, cost.T)
    first, second = np.zeros(cost.shape[0]), np.zeros(cost.shape[1])
    pace = Pace()
    for step, blur in enumerate(_blurs(float(np.abs(cost).max(initial=0.0)), epsilon, iterations)):
        before, forward = second, pace.forward
        if not same:
            first = first + forward * (_softly_nearest(cost, before, logs[1], blur) - first)
        second = _softly_nearest(cost.T, first, logs[0], blur)
        missed = float(np.exp(logs[1]) @ np.abs(np.expm1(np.clip((before - second) / blur, -700, 700))))
        if blur == epsilon and step and missed <= tolerance:
            plan = np.exp((first[:, None] + second - cost) / blur + logs[0][:, None] + logs[1])
            return Transport(float(np.exp(logs[0]) @ first + np.exp(logs[1]) @ second), plan, first, second)
        if same:
            first = second = (first + second) / 2
        elif blur == epsilon:
            second = before + forward * (second - before)
            pace.judge(missed)
    raise OptionError(
        f"Sinkhorn's iteration misses {missed:.2g} of the mass after {iterations} steps (tolerance {tolerance:g}); "
        f"raise epsilon above {epsilon:g}, iterations or tolerance"
    )


class Pace:
    """How many times as far as Sinkhorn's step to go: as the rate of the steps so far says is best, or 1 after that led astray.

    Reference: Lehmann et al. 2022, "A note on overrelaxation in the Sinkhorn algorithm", Optimization Letters 16, 2209; for the rate
    from steps that go further already, Young 1971, Iterative Solution of Large Linear Systems, section 6.4.
    """

    _TRIAL = 20  # steps between judgements, of which the second half tells the rate

    def __init__(self) -> None:
        self.forward = 1.0
        self._missed: list[float] = []
        self._least = np.inf
        self._astray = False

    def judge(self, missed: float) -> None:
        """Take note of the mass that the latest step missed."""
        self._missed.append(missed)
        if len(self._missed) < self._TRIAL:
            return
        if not missed <= 10 * self._least:
            self.forward, self._astray = 1.0, True
        rate = (missed / max(self._missed[self._TRIAL // 2 - 1], 1e-300)) ** (2 / self._TRIAL)
        if not self._astray and self.forward - 1 < rate < 1:
            plain = min((rate + self.forward - 1) ** 2 / (rate * self.forward**2), 0.9995)
            self.forward = max(self.forward, 2 / (1 + np.sqrt(1 - plain)))
        self._least = min(self._least, missed)
        self._missed.clear()


def _blurs(largest: float, epsilon: float, iterations: int) -> list[float]:
    falling = [epsilon * 2.0**k for k in range(max(0, int(np.ceil(np.log2(max(largest, epsilon) / epsilon)))), 0, -1)]
    return (falling + [epsilon] * iterations)[: max(2, iterations)]


def _softly_nearest(cost: NDArray[np.float64], potential: Floats, log_weight: Floats, blur: float) -> Floats:
    """−ε log Σ_j weight_j exp((potential_j − cost_ij) / ε): the cost to the nearest, softened by ε."""
    exponent = ((potential + blur * log_weight) - cost) / blur
    top = exponent.max(axis=1)
    exponent -= top[:, None]
    np.exp(exponent, out=exponent)
    return -blur * (top + np.log(exponent.sum(axis=1)))


# ---- many weightings at once ---------------------------------------------------------------------------------------------


def sinkhorn_divergences(
    cost: Floats, first: Floats, second: Floats, *, epsilon: float, tolerance: float = 1e-4, iterations: int = 1_000
) -> Floats:
    """Sinkhorn's divergence for many weightings of the same rows, by products of matrices.

    The potential of all weightings together is taken out of the kernel and cancels in the divergence. What is left of every scaling
    stays near 1 as long as no weighting is very unlike the others, as those of relabelled rows are; else use `sinkhorn_divergence`.

    Args:
        cost: ``(rows, rows)``, symmetric.
        first, second: ``(rows, batch)`` weights that sum to 1 along the rows, not negative.
        epsilon: blur, in units of the cost.
        tolerance: largest total mass by which any plan may miss the weights. The divergence errs with the square.
        iterations: at most so many.

    Returns:
        ``(batch,)``.

    Raises:
        OptionError: the tolerance was not reached.
    """
    together = (first.mean(axis=1) + second.mean(axis=1)) / 2
    potential = entropic_transport(cost, epsilon=epsilon, weights=(together, together), tolerance=tolerance, iterations=iterations).first
    kernel = np.exp((potential[:, None] + potential - cost) / epsilon)
    steps = (_alternating(kernel, first, second), _averaging(kernel, first), _averaging(kernel, second))
    joint, *own = (_converged(each, tolerance, iterations) for each in steps)
    return np.maximum(epsilon * (joint - (own[0] + own[1]) / 2), 0.0)


def _alternating(kernel: Floats, first: Floats, second: Floats) -> Iterator[tuple[Floats, float]]:
    """Cost above the common potential, in units of epsilon, and the largest mass missed, step by step."""
    scale, other, pace = np.ones_like(second), np.ones_like(first), Pace()
    while True:
        forward = pace.forward
        other = other ** (1 - forward) * (kernel @ (second * scale)) ** -forward
        updated = 1 / (kernel.T @ (first * other))
        missed = float((second * np.abs(scale / updated - 1)).sum(axis=0).max())
        yield (first * np.log(other)).sum(axis=0) + (second * np.log(updated)).sum(axis=0), missed
        scale = scale ** (1 - forward) * updated**forward
        pace.judge(missed)


def _averaging(kernel: Floats, share: Floats) -> Iterator[tuple[Floats, float]]:
    """The same for transport of weights to themselves, which has one scaling and hardly needs any steps."""
    scale = np.ones_like(share)
    while True:
        updated = 1 / (kernel @ (share * scale))
        missed = float((share * np.abs(scale / updated - 1)).sum(axis=0).max())
        yield (share * (np.log(scale) + np.log(updated))).sum(axis=0), missed
        scale = np.sqrt(scale * updated)


def _converged(steps: Iterator[tuple[Floats, float]], tolerance: float, iterations: int) -> Floats:
    for _, (value, missed) in zip(range(iterations), steps, strict=False):
        if missed <= tolerance:
            return value
    raise OptionError(f"Sinkhorn's iteration misses {missed:.2g} of the mass after {iterations} steps (tolerance {tolerance:g})")
