"""H1: judging generators: one model that is right, and four that are wrong in four ways, each named by the verdict of `gnomon.check`.

Shows the table of goals and metrics (distances, fidelity, diversity, memorisation, classes) with errors and nulls, where others print
bare numbers. Data: bundled digits, moons and breast cancer. About two minutes on two cores.
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa

import gnomon
from gnomon.data import load

BUDGET = "10s"


def digits(keep: tuple[int, ...] = tuple(range(10))) -> tuple[dict, dict]:
    """Training and held-out digits of some classes; the held-out ones always of all."""
    data = load("digits")
    train = np.arange(len(data["y"])) % 4 != 0
    some = train & np.isin(data["y"], keep)
    return {"x": data["x"][some], "y": data["y"][some]}, {"x": data["x"][~train], "y": data["y"][~train]}


def good_flow() -> gnomon.Report:
    """A flow on two moons, checked on rows that it has not seen."""
    moons = load("moons")
    learned = gnomon.fit("flow", moons.slice(0, 8000), epochs=60, seed=0, progress=False)
    return gnomon.check(learned, moons.slice(8000, 2000), budget=BUDGET)


def mode_dropping_gan() -> gnomon.Report:
    """A GAN that never saw a seven, against all digits."""
    train, held_out = digits(keep=(0, 1, 2, 3, 4, 5, 6, 8, 9))
    learned = gnomon.fit("gan", {"x": train["x"]}, seed=0, progress=False)
    return gnomon.check(held_out, learned.sample(1500), budget=BUDGET)


def memoriser() -> gnomon.Report:
    """Training rows drawn again, with their training set at hand."""
    table = load("breast_cancer").drop(["diagnosis"])
    order = np.random.default_rng(1).permutation(len(table))
    train, held_out = table.take(pa.array(order[:380])), table.take(pa.array(order[380:]))
    again = train.take(np.random.default_rng(0).integers(0, len(train), 400))
    return gnomon.check(held_out, again, train=train, budget=BUDGET)


def means_of_a_vae() -> gnomon.Report:
    """What a VAE's decoder says on average, without the spread that belongs to it."""
    train, held_out = digits()
    learned = gnomon.fit("vae", {"x": train["x"]}, seed=0, epochs=120, progress=False)
    codes = np.random.default_rng(0).normal(size=(1500, learned.encode({"x": train["x"][:2]}).shape[1]))
    return gnomon.check({"x": held_out["x"]}, learned.decode(codes), budget=BUDGET)


def decorrelated_flow() -> gnomon.Report:
    """The flow on two moons, whose samples had one column shuffled."""
    moons = load("moons")
    learned = gnomon.fit("flow", moons.slice(0, 8000), epochs=40, seed=0, progress=False)
    drawn = learned.sample(2000)
    first = drawn.column_names[0]
    shuffled = drawn[first].take(pa.array(np.random.default_rng(0).permutation(len(drawn))))
    return gnomon.check(moons.slice(8000, 2000), drawn.set_column(0, first, shuffled), budget=BUDGET)


CASES = {
    "a good flow": (good_flow, ()),
    "a GAN that drops a mode": (mode_dropping_gan, ("class '7'",)),
    "a memoriser": (memoriser, ("training rows", "copies")),
    "decoder means of a VAE": (means_of_a_vae, ("pixel", "contrast", "roughness", "spectrum")),
    "a flow with two columns decorrelated": (decorrelated_flow, ("correlation",)),
}


def main() -> int:
    """Print each verdict, and the statistics that were looked at; 1 if a fault was not named or a good model was blamed."""
    failed = 0
    for name, (make, words) in CASES.items():
        report = make()
        named = not report.findings if not words else any(word in finding for finding in report.findings for word in words)
        failed += not named
        print(f"\n== {name}: {'as it should be' if named else 'NOT NAMED'}\n{report.verdict}")
        for row in report.statistics:
            if row.where.startswith(("all columns", "pixels", "class")):
                print(f"   {row}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
