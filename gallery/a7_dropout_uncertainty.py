"""A7 · Monte-Carlo dropout: how sure a network is of CO₂ above Mauna Loa beyond the years it has seen, beside a Gaussian process.

The lecture shows Gal and Ghahramani's figure: beyond the data an ordinary network confidently predicts insensible values; with dropout
kept on in prediction the values are no better, but their spread says so. Here networks learn monthly means before 1985 (a fifth of them
held out) and tell of 1985 to 2001 and of far years. Predictions are `predict(samples=100, sd=True)`; to their spread is added that of the
training rows around the mean, as to a plain network's. A Gaussian process with a smooth trend and a yearly cycle judges both.

The series is `series/co2.csv` under $GNOMON_DATA (columns date, as 19580329, and co2, in ppm) or the copy that an installed statsmodels
carries; without either, a made one: the parabola and the two waves that fit the real one best, and noise that goes on for months.

Takes about 25 seconds on one core. What comes out of the real series: 95 % intervals of dropout hold all held-out and all later months, a
plain network's 18 % of the later ones; the spread grows from 0.7 ppm in 1975 to 4 in 2000 and 11 in 2050.

    python gallery/a7_dropout_uncertainty.py [picture.png]
"""

from __future__ import annotations

import csv
import os
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import gnomon

END, DROPOUT, SEEDS = 1985.0, 0.2, 4
FAR = np.array([1975.0, 1990.0, 2000.0, 2010.0, 2025.0, 2050.0])
Predictor = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def series() -> tuple[str, np.ndarray, np.ndarray]:
    """Where the monthly means come from, their years and values in ppm."""
    places = [Path(os.environ.get("GNOMON_DATA", "../shared/data")) / "series/co2.csv"]
    found = find_spec("statsmodels")
    if found is not None and found.origin:
        places.append(Path(found.origin).parent / "datasets/co2/co2.csv")
    for place in places:
        if place.exists():
            with place.open(encoding="utf-8") as file:
                rows = [(row["date"], float(row["co2"])) for row in csv.DictReader(file) if row["co2"]]
            year = np.array([int(day[:4]) + (int(day[4:6]) - 1) / 12 + (int(day[6:]) - 1) / 366 for day, _ in rows])
            months, which = np.unique(np.floor(12 * year), return_inverse=True)
            counts = np.bincount(which)
            return str(place), np.bincount(which, year) / counts, np.bincount(which, [value for _, value in rows]) / counts
    year = 1958.2 + np.arange(526) / 12
    random, lasting = np.random.default_rng(0), 0.0
    noise = np.array([lasting := 0.9 * lasting + 0.33 * random.normal() for _ in year])
    wave = 2.8 * np.sin(2 * np.pi * year - 0.4) + 0.7 * np.sin(4 * np.pi * year + 2.1)
    return "made: no CO₂ data here", year, 314 + 0.82 * (year - 1958) + 0.012 * (year - 1958) ** 2 + wave + noise


def columns(year: np.ndarray) -> dict[str, np.ndarray]:
    """What the networks see of a time."""
    return {"year": year, "season": year % 1}


def networks(year: np.ndarray, value: np.ndarray, dropout: float) -> list[Predictor]:
    """Networks of several seeds, each as a function from years to mean and spread."""
    told: dict[str, Any] = {"validation": 0, "average": None, "patience": None, "lr": 2e-3, "epochs": 250, "batch_size": 64}
    options = {"spread": "none", "net": {"hidden": (128, 128, 128), "activation": "relu", "dropout": dropout}}
    data = columns(year) | {"co2": value}
    support = {"season": "periodic(0,1)"}
    learned = gnomon.fit("regressor", data, target="co2", columns=support, seeds=SEEDS, options=options, progress=False, **told)

    def predictor(one: gnomon.Learned) -> Predictor:
        def passes(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if dropout:
                return one.predict(columns(at), samples=100, sd=True)
            return one.predict(columns(at)), np.zeros(len(at))

        noise = float(np.mean((passes(year)[0] - value) ** 2))

        def predict(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            mean, sd = passes(at)
            return mean, np.sqrt(sd**2 + noise)

        return predict

    return [predictor(one) for one in learned]


def process(year: np.ndarray, value: np.ndarray) -> Predictor:
    """scikit-learn's Gaussian process: a smooth trend, a yearly cycle, deviations that last, and noise."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, ExpSineSquared, WhiteKernel

    trend = ConstantKernel(10.0) * RBF(30.0)
    cycle = ConstantKernel(0.1) * ExpSineSquared(1.0, 1.0, periodicity_bounds="fixed")
    kernel = trend + cycle + ConstantKernel(0.01) * RBF(1.0) + WhiteKernel(1e-3)
    centre, size = value.mean(), value.std()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a parameter near its bound
        made = GaussianProcessRegressor(kernel).fit(year[:, None], (value - centre) / size)

    def predict(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = made.predict(at[:, None], return_std=True)
        return centre + size * mean, size * sd

    return predict


def judged(name: str, made: list[Predictor], parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Share of months inside 95 % intervals by part and seed, and the spread at far years."""
    found, lines = {}, []
    for part, (year, value) in parts.items():
        guesses = [predict(year) for predict in made]
        inside = np.array([np.mean(abs(value - mean) < 1.96 * sd) for mean, sd in guesses])
        off = np.array([np.sqrt(np.mean((value - mean) ** 2)) for mean, _ in guesses])
        wide = np.array([sd.mean() for _, sd in guesses])
        found[part] = inside
        lines.append(f"{part}: {shown(100 * inside, 0)} % inside, off by {shown(off)}, spread {shown(wide)} ppm")
    found["far"] = np.array([predict(FAR)[1] for predict in made])
    print(f"{name:16s} " + "; ".join(lines))
    spreads = ", ".join(f"{year:.0f} {sd:.2f}" for year, sd in zip(FAR, found["far"].mean(0), strict=True))
    print(f"{'':16s} spread in ppm: {spreads}")
    return found


def shown(values: np.ndarray, places: int = 2) -> str:
    """Mean, and its standard error over seeds where there are several."""
    error = f" ± {values.std(ddof=1) / np.sqrt(len(values)):.{places}f}" if len(values) > 1 else ""
    return f"{values.mean():.{places}f}{error}"


def picture(made: dict[str, Predictor], year: np.ndarray, value: np.ndarray, file: str) -> None:
    """Means and twice their spreads, over the years seen and far beyond."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    at = np.linspace(1958, 2030, 1200)
    for axes, (name, predict) in zip(figure.subplots(1, len(made), sharey=True), made.items(), strict=True):
        mean, sd = predict(at)
        axes.fill_between(at, mean - 2 * sd, mean + 2 * sd, alpha=0.3)
        axes.plot(at, mean, linewidth=0.7)
        axes.plot(year, value, "C3", linewidth=0.7)
        axes.axvline(END, color="0.4", linestyle="--")
        axes.set(title=name, xlabel="year")
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    source, year, value = series()
    print(f"series: {source}; {len(year)} months")
    kept = np.random.default_rng(0).random(len(year)) < 0.8
    seen, held, later = (year < END) & kept, (year < END) & ~kept, year >= END
    parts = {"held-out months": (year[held], value[held]), "1985 to 2001": (year[later], value[later])}
    made = {"plain": networks(year[seen], value[seen], 0.0), "dropout": networks(year[seen], value[seen], DROPOUT)}
    made["Gaussian process"] = [process(year[seen], value[seen])]
    plain, dropout, rival = (judged(name, each, parts) for name, each in made.items())
    held_out, beyond = parts
    growth, rival_growth = (found["far"][:, 2].mean() / found["far"][:, 0].mean() for found in (dropout, rival))
    rising = bool((np.diff(dropout["far"].mean(0)) > 0).all())
    sure, unsure = plain[beyond].mean(), dropout[beyond].mean()
    # What goes on for months in the made series no spread foresees, the process's (37 %) no more than dropout's.
    least = rival[beyond].mean() if source.startswith("made") else 0.85
    apart = {part: [abs(found[part].mean() - 0.95) for found in (dropout, rival)] for part in parts}
    told = "; ".join(f"{part}: {mine:.0%} and {theirs:.0%}" for part, (mine, theirs) in apart.items())
    claims = {
        f"lecture: a plain network is confidently wrong | {sure:.0%} of the later months inside | bar: below 60 %": sure < 0.6,
        f"lecture: dropout says that it does not know | {unsure:.0%} inside | bar: above {least:.0%}": unsure > least,
        f"lecture: its spread grows away from the data | {growth:.1f} times from 1975 to 2000 (process {rival_growth:.1f}) | bar: above 2, "
        "rising": rising and growth > 2,
        f"calibrated as the process is | shares off 95 % by, {told} | bar: at most 5 % more": all(a < b + 0.05 for a, b in apart.values()),
    }
    for text, met in claims.items():
        print(f"  {'met   ' if met else 'MISSED'} {text}")
    if len(sys.argv) > 1:
        picture({name: each[0] for name, each in made.items()}, year, value, sys.argv[1])
    return int(not all(claims.values()))


if __name__ == "__main__":
    sys.exit(main())
