"""Worlds in which both sides are of one distribution, and some in which they are not, for statistics of whole rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gnomon.checks import Case, Effort, Sides, Statistic
from tests.checks import samples
from tests.checks.samples import sides

WORLDS: dict[str, Callable[[int], Sides]] = {
    **samples.WORLDS,
    "larger than the null": lambda seed: sides(seed, 600, 500),
}

FAR = ("shift", "scale", "mode", "weights", "paired")


def repeats(
    measure: Callable[[Case], list[Statistic]], world: str, count: int, effort: Effort
) -> tuple[list[float], list[bool], list[float]]:
    """P-values, whether the null lies within one error of the value, and pulls, over `count` draws of a world."""
    if world == "larger than the null":
        effort = Effort(**{**vars(effort), "null_rows": 200})
    p, covered, pulls = [], [], []
    for seed in range(count):
        (row,) = measure(Case(WORLDS[world](seed), effort=effort, seed=seed))
        p.append(row.p)
        covered.append(abs(row.value - row.null) <= row.error)
        pulls.append((row.value - row.null) / row.null_error)
    return p, covered, pulls


def _far(kind: str, seed: int) -> Sides:
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(400, 4)), rng.normal(size=(300, 4))
    weights: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if kind == "scale":
        generated *= 1.8
    elif kind == "mode":
        generated[:, 0] += 6 * (rng.random(300) < 0.3)
    else:
        if kind == "weights":
            weights = (rng.exponential(size=400), rng.exponential(size=300))
        if kind == "paired":
            real = real[:300]
            generated = 0.9 * real + 0.45 * generated
        generated[:, 1] += 1.0
    return Sides.of(real, generated, weights=weights, paired=kind == "paired", seed=0)


def far_from_null(measure: Callable[[Case], list[Statistic]], kind: str, count: int) -> tuple[list[float], list[float]]:
    """Values and errors of `count` repetitions of sides that differ, with the same seed of the statistic."""
    effort = Effort(draws=49, more_draws=0, few_draws=19, transport_rows=150)
    rows = [measure(Case(_far(kind, seed), effort=effort))[0] for seed in range(count)]
    return [row.value for row in rows], [row.error for row in rows]
