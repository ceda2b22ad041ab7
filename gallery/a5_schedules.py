"""A5 · Schedules, early stopping and clipping: what each does to one small fit.

The lecture shows PyTorch's one-cycle schedule, the loop of early stopping with a patience of ten epochs, and asks for gradient clipping
against exploding updates. Here a network is trained under every schedule at the same peak rate; the lecture's loop is replayed on the
losses that `gnomon.fit` wrote down and must stop at the same epoch, while the fit also gives the best weights back; a few wild rows
make plain gradient descent run away, with and without clipping; and a range test suggests a rate (on whole batches: on small ones the
noise of the loss misleads it).

Takes about 60 seconds on one core. What comes out: seven of nine schedules end far below the constant rate, all but those that fall
too early (exponential) or too little (inverse root); the epochs are equal; 2 runs of 20 survive the wild rows without clipping, all 20
with it.

    python gallery/a5_schedules.py [picture.png]
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

import gnomon
from gnomon.training import schedules

SEEDS = 10
NET = {"spread": "none", "net": {"hidden": (32, 32)}}
Data = dict[str, np.ndarray]


def noisy_waves(rows: int, seed: int, noise: float = 0.3) -> Data:
    """A smooth surface over a square, with noise."""
    random = np.random.default_rng(seed)
    x = random.uniform(-2, 2, (rows, 2)).astype(np.float32)
    return {"x": x, "y": np.sin(2 * x[:, 0]) * np.cos(2 * x[:, 1]) + noise * random.normal(size=rows)}


def shown(values: np.ndarray) -> str:
    """Mean and standard error."""
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) / math.sqrt(len(values)):.4f}"


def distance(learned: Any, test: Data) -> float:
    """Mean square error on fresh rows without noise."""
    return float(np.mean((learned.predict({"x": test["x"]}) - test["y"]) ** 2))


def every_schedule() -> bool:
    """The same fit under every schedule, with the last weights given back."""
    train, test = noisy_waves(1024, 0), noisy_waves(2000, 1, noise=0)
    told: dict[str, Any] = {"validation": 0, "average": None, "batch_size": 32, "epochs": 30, "lr": 0.02, "progress": False}
    found = {}
    for name in schedules.SCHEDULES:
        more = {"plateau_patience": 3} if name == "plateau" else {}
        learned = gnomon.fit("regressor", train, seeds=SEEDS, schedule=name, options=NET, **told, **more)
        found[name] = np.array([distance(one, test) for one in learned])
    print(f"schedule: mean square error on fresh rows, {SEEDS} seeds, same peak rate | lecture: one-cycle, no figures")
    print("  bar: all but exponential and inverse-root below 0.7 of the constant rate's")
    for name, errors in sorted(found.items(), key=lambda item: item[1].mean()):
        print(f"  {name:13s} {shown(errors)}")
    flat = found["constant"].mean()
    return all(errors.mean() < 0.7 * flat for name, errors in found.items() if name not in ("constant", "exponential", "inverse-root"))


def lectures_loop(losses: list[float], patience: int) -> tuple[int, int]:
    """The epoch after which the lecture's loop stops, and the best one, from the validation losses of every epoch."""
    best, stale, at = math.inf, 0, 0
    for epoch, loss in enumerate(losses, 1):
        if loss < best:
            best, stale, at = loss, 0, epoch
        else:
            stale += 1
            if stale == patience:
                return epoch, at
    return len(losses), at


def early_stopping() -> bool:
    """A network that learns its few rows by heart, stopped in time or not."""
    patience, test, met = 10, noisy_waves(2000, 1, noise=0), True
    errors: dict[str, list[float]] = {"stopped": [], "not stopped": []}
    epochs, gaps = [], []
    for seed in range(5):
        train, held = noisy_waves(100, 10 + seed), noisy_waves(200, 20 + seed)
        told: dict[str, Any] = {"average": None, "schedule": "constant", "batch_size": 20, "lr": 0.01, "epochs": 300, "progress": False}
        learned = gnomon.fit("regressor", train, seed=seed, validation=held, patience=patience, options=NET, **told)
        losses = [line["validation/loss"] for line in learned.history]
        stop, best = lectures_loop(losses, patience)
        rows = learned.scaling.store(learned.read(held, target=True))
        value = learned.model.validate(rows)
        gaps.append(abs(float(value.total.detach() / value.weight) - losses[best - 1]))
        met &= stop == len(losses) < 300
        epochs.append(f"{len(losses)} ({stop}, best {best})")
        whole = gnomon.fit("regressor", train, seed=seed, validation=0, options=NET, **told)
        errors["stopped"].append(distance(learned, test))
        errors["not stopped"].append(distance(whole, test))
    print(f"early stopping, patience {patience}: epochs of the fit (of the lecture's loop) " + ", ".join(epochs) + " | bar: equal")
    print(f"  the weights given back have the best epoch's loss within {max(gaps):.0e} | bar 1e-5 (the lecture's loop keeps the last)")
    words = "; ".join(f"{name} {shown(np.array(values))}" for name, values in errors.items())
    print(f"  mean square error on fresh rows: {words} (300 epochs)")
    return met and max(gaps) < 1e-5 and np.mean(errors["stopped"]) < np.mean(errors["not stopped"])


def clipping() -> bool:
    """Gradient descent on targets with a few wild values, each seed by itself, with and without a largest gradient."""
    data, test = noisy_waves(1024, 0), noisy_waves(2000, 1, noise=0)
    data["y"][::100] += 300 * np.random.default_rng(0).standard_t(2, len(data["y"][::100]))
    scale = data["y"].std()
    told: dict[str, Any] = {"optimizer": "sgd", "lr": 0.5, "validation": 0, "average": None, "batch_size": 16, "epochs": 4}
    survived, last = {}, {}
    for clip in (None, 1.0, 0.1):
        runs = []
        for seed in range(20):
            try:
                learned = gnomon.fit("regressor", data, seed=seed, clip=clip, options=NET, progress=False, **told)
                runs.append(math.sqrt(distance(learned, test)) / scale)
            except gnomon.GnomonError:  # the loss is no longer finite
                runs.append(math.nan)
        survived[clip], last[clip] = int(np.isfinite(runs).sum()), np.nanmean(runs) if np.isfinite(runs).any() else math.nan
    print("clipping, SGD at rate 0.5 on rows of which 1 % are wild: runs of 20 that stay finite | bars: below 10 without, 20 with")
    print("  " + ", ".join(f"clip={clip}: {survived[clip]} (error ÷ spread {last[clip]:.2f})" for clip in survived))
    return survived[None] < 10 and survived[1.0] == survived[0.1] == 20


def suggestion() -> tuple[bool, Any]:
    """The range test's rate beside a hundredth and a hundred times of it."""
    train, test = noisy_waves(1024, 0), noisy_waves(2000, 1, noise=0)
    found = gnomon.range_test("regressor", train, options=NET, batch_size="all", validation=0)
    errors = {}
    for factor in (0.01, 1, 100):
        told: dict[str, Any] = {"validation": 0, "average": None, "batch_size": 32, "epochs": 10, "progress": False}
        learned = gnomon.fit("regressor", train, seeds=3, lr=found.suggestion * factor, options=NET, **told)
        errors[factor] = np.mean([distance(one, test) for one in learned])
    words = ", ".join(f"{found.suggestion * factor:.2g}: {error:.3f}" for factor, error in errors.items())
    print(f"range test suggests a rate of {found.suggestion:.2g} | bar: best of a hundredth, itself, a hundred times\n  errors at {words}")
    return errors[1] < min(errors[0.01], errors[100]), found


def picture(found: Any, file: str) -> None:
    """Every schedule, and the range test."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in schedules.SCHEDULES:
        rate = schedules.make(name, 1000)
        left.plot([rate(step) for step in range(1001)], label=name)
    left.set(xlabel="step of 1000", ylabel="share of the learning rate")
    left.legend(fontsize=8)
    right.plot(found.rates, found.smooth)
    right.axvline(found.suggestion, color="C1", linestyle="--")
    right.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, 2))
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    met = [every_schedule(), early_stopping(), clipping()]
    good, found = suggestion()
    if len(sys.argv) > 1:
        picture(found, sys.argv[1])
    return int(not (all(met) and good))


if __name__ == "__main__":
    sys.exit(main())
