"""H2: digits drawn with and without asking for a class, by every family that draws: flow, VAE and GAN.

A classifier trained on real digits reads what was drawn: how often it is the digit that was asked for, and, when none is asked for,
how rare the rarest digit is (10 % if all ten come equally often). Bundled digits, about three minutes on one core.
"""

from __future__ import annotations

import sys

import numpy as np

import gnomon
from gnomon.data import load

FAMILIES = {"flow": (20, 160), "vae": (40, 40), "gan": (40, 40)}
"""Epochs for each family, without and with a condition: a flow takes long until it draws what it is asked for."""

ASKED_BAR, RAREST_BAR = 0.9, 0.02
DRAWN = 1000


def share(right: np.ndarray) -> str:
    """A share in per cent with its standard error."""
    return f"{100 * right.mean():5.1f} ± {100 * right.std() / np.sqrt(len(right)):.1f} %"


def main() -> int:
    """Print one line a family; 1 if a figure is below its bar."""
    data = load("digits")
    held_out = np.arange(len(data["y"])) % 5 == 0
    x, y = data["x"][~held_out], data["y"][~held_out]
    judge = gnomon.fit("classifier", {"x": x, "y": y}, seed=0, epochs=30, progress=False)
    right = judge.predict({"x": data["x"][held_out]}) == data["y"][held_out]
    print(f"the judge names {share(right)} of {len(right)} held-out real digits")
    failed = right.mean() < 0.97
    asked = np.arange(DRAWN) % 10
    for family, (epochs, told_epochs) in FAMILIES.items():
        free = gnomon.fit(family, {"x": x}, seed=0, epochs=epochs, progress=False).sample(DRAWN, seed=1)
        counts = np.bincount(judge.predict({"x": np.asarray(free)}), minlength=10)
        told = gnomon.fit(family, {"x": x, "given": y.astype(str)}, seed=0, epochs=told_epochs, progress=False)
        (name,) = told.spec.given.names
        named = judge.predict({"x": np.asarray(told.sample(DRAWN, given={name: asked.astype(str)}, seed=1))}) == asked
        failed |= named.mean() < ASKED_BAR or counts.min() < RAREST_BAR * DRAWN
        print(
            f"{family:5} asked for a digit: drawn {share(named)} (bar {100 * ASKED_BAR:.0f} %); "
            f"asked for none: rarest digit {counts.argmin()} with {100 * counts.min() / DRAWN:.1f} % (bar {100 * RAREST_BAR:.0f} %)"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
