"""G8 · Simulation-based inference: parameters from a simulator alone, by learning the posterior or the likelihood.

Two tasks of Lueckmann et al. 2021 (https://arxiv.org/abs/2101.04653): two moons (two posterior crescents) and a Gaussian in ten dimensions.
A density of parameters given data is fitted to 10,000 simulations (a flow; a conditional Gaussian), and a neural network tries to tell
its draws from the reference posterior's (C2ST: 0.5 is perfect, 1 is hopeless). Ranks of 500 new truths among 63 draws must be uniform.
Then the density of data given parameters is fitted instead, and its posterior is walked through by stretch moves. Reference draws are the
benchmark's, from `GNOMON_DATA` (without them all is skipped); the exact posteriors written here are compared with those.

Takes under two minutes on one core. C2ST over three observations: learned posterior 0.52 to 0.56 and 0.56 to 0.57 (seeds 1 and 2: up to
0.58); learned likelihood, by 2,000 draws instead of 10,000, 0.49 to 0.56 and 0.52 to 0.56; exact posterior 0.49 to 0.50. Of six sets of
options the Gaussian's have the best log-likelihood of new simulations; the usual ones missed the bar (0.59 to 0.61).
Weak at the rim: another observation, x = (0.337, -0.255) where the two crescents meet, gets 0.65 and 0.71; eight more get 0.50 to 0.53.

    python gallery/g8_inference.py [picture.png]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy import stats
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gnomon
from gnomon.checks.measures.simulation import sbc_ranks
from gnomon.learned.posterior import posterior

Array, Chance, ROOT = np.ndarray, np.random.Generator, np.sqrt(0.5)
SIMULATIONS, DRAWN, WALKERS, RANKED, DRAWS = 10_000, 10_000, 2_000, 500, 63
BAR, SAME, UNIFORM = 0.6, 0.53, 0.01
REFERENCE = Path(os.environ.get("GNOMON_DATA", "../shared/data")) / "tables" / "sbi" / "sbibm_reference_obs1-3.npz"


class Task(NamedTuple):
    """A prior, a simulator, the exact posterior of one observation, and what is fitted to simulations."""

    name: str
    prior: Callable[[int, Chance], Array]
    log_prior: Callable[[Array], Array]
    simulate: Callable[[Array, Chance], Array]
    exact: Callable[[Array, int, Chance], Array]
    fit: dict[str, Any]


def moon(n: int, rng: Chance) -> Array:
    """Points on a half moon."""
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], 1)


def in_square(theta: Array) -> Array:
    """The logarithm of a uniform prior, up to a constant."""
    return np.where((np.abs(theta) <= 1).all(1), 0.0, -np.inf)


def moved_moon(theta: Array, rng: Chance) -> Array:
    """A half moon that moves with θ, and with the mirror image of θ the same."""
    return moon(len(theta), rng) + ROOT * np.stack([-np.abs(theta[:, 0] + theta[:, 1]), theta[:, 1] - theta[:, 0]], 1)


def crescents(x: Array, n: int, rng: Chance) -> Array:
    """θ is a linear function of x and the moon, up to a sign; what lies outside the prior is cut off."""
    place = (x - moon(4 * n, rng)) / ROOT
    place = place[place[:, 0] <= 0]
    total, difference = place[:, 0] * rng.choice([-1, 1], len(place)), place[:, 1]
    theta = np.stack([total - difference, total + difference], 1) / 2
    return theta[np.isfinite(in_square(theta))][:n]


TASKS = (
    Task("two_moons", lambda n, r: r.uniform(-1, 1, (n, 2)), in_square, moved_moon, crescents, {"model": "flow", "epochs": 80}),
    Task(
        "gaussian_linear",
        lambda n, r: np.sqrt(0.1) * r.normal(size=(n, 10)),
        lambda theta: -np.square(theta).sum(1) / 0.2,
        lambda theta, r: theta + np.sqrt(0.1) * r.normal(size=theta.shape),
        lambda x, n, r: x / 2 + np.sqrt(0.05) * r.normal(size=(n, 10)),
        {"model": "mixture_density", "epochs": 60, "options": {"hidden": (64,)}, "weight_decay": 1e-2},
    ),
)


def c2st(ours: Array, reference: Array) -> float:
    """How often a neural network tells the side of a draw, in five-fold cross-validation."""
    x, side = np.concatenate([ours, reference]), np.repeat([0, 1], [len(ours), len(reference)])
    network = MLPClassifier((10 * x.shape[1],) * 2, early_stopping=True, random_state=0)
    return float(cross_val_score(make_pipeline(StandardScaler(), network), x, side, cv=KFold(5, shuffle=True, random_state=0)).mean())


def observed(task: Task) -> list[tuple[Array, Array]]:
    """Three observations, each with draws from its posterior."""
    file = np.load(REFERENCE, allow_pickle=False)
    keys = ("observation", "reference_posterior_samples")
    parts = [[file[f"{task.name}__obs{i}__{key}"].astype(float) for key in keys] for i in (1, 2, 3)]
    return [(x[0], draws) for x, draws in parts]


def uniform(learned: Any, task: Task, rng: Chance) -> float:
    """The least p-value over parameters for uniform ranks of new truths among draws, times the number of parameters."""
    theta = task.prior(RANKED, rng)
    given = dict(zip(learned.spec.given.names, np.repeat(task.simulate(theta, rng), DRAWS, axis=0).T, strict=True))
    drawn = np.asarray(learned.sample(RANKED * DRAWS, given=given, seed=2)).reshape(RANKED, DRAWS, -1)
    counts = [np.bincount(ranks // 8, minlength=8) for ranks in sbc_ranks(theta, drawn, rng).T]
    return min(1.0, theta.shape[1] * min(stats.chisquare(one).pvalue for one in counts))


def run(task: Task, picture: str | None) -> bool:
    """Print the figures of one task; whether a bar was missed. The picture has learned draws above the reference's."""
    rng, start, failed, shown = np.random.default_rng(0), time.process_time(), False, []
    theta = task.prior(SIMULATIONS, rng)
    x = task.simulate(theta, rng)
    learned = gnomon.fit(data={"x": theta, "given": x}, seed=0, progress=False, **task.fit)
    likelihood = gnomon.fit(data={"x": x, "given": theta}, seed=0, progress=False, **task.fit)
    for number, (seen, reference) in enumerate(observed(task), start=1):
        ours = np.asarray(learned.sample(DRAWN, given=dict(zip(learned.spec.given.names, seen, strict=True)), seed=1))
        walked = posterior(likelihood, seen[None], theta, task.log_prior, n=WALKERS, moves=100)
        others = {"posterior": ours, "likelihood": walked.values, "nothing (exact)": task.exact(seen, DRAWN, rng)}
        told = {name: c2st(draws, reference[: len(draws)]) for name, draws in others.items()}
        failed |= max(told["posterior"], told["likelihood"]) > BAR or told["nothing (exact)"] > SAME
        figures = ", ".join(f"{name} {value:.3f}" for name, value in told.items())
        print(f"{task.name} {number}: C2ST of what was learned: {figures} (bars {BAR}, {BAR}, {SAME}); accepted {walked.acceptance:.2f}")
        shown.append((ours, reference))
    p = uniform(learned, task, rng)
    print(f"{task.name}: ranks of {RANKED} truths among {DRAWS} draws, p = {p:.2f} (bar {UNIFORM}); {time.process_time() - start:.0f} s")
    if picture is not None:
        figure = Figure(figsize=(7, 4.6), layout="constrained")
        for axes, points in zip(figure.subplots(2, 3).flat, [pair[row] for row in (0, 1) for pair in shown], strict=True):
            axes.scatter(*points[:3000, :2].T, s=0.5)
        figure.savefig(picture)
    return failed or p < UNIFORM


def main() -> int:
    """Both tasks; 1 if a bar was missed."""
    if not REFERENCE.exists():
        print(f"{REFERENCE} is absent: nothing was run; set GNOMON_DATA to the folder with the benchmark's posteriors")
        return 0
    return int(any([run(task, sys.argv[1] if len(sys.argv) > 1 and task is TASKS[0] else None) for task in TASKS]))


if __name__ == "__main__":
    sys.exit(main())
