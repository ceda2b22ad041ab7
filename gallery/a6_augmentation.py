"""A6 · Augmentation on and off: small photographs changed at random while they are learned.

The lecture shows Taylor and Nitschke's table of Caltech101: right in 48.1 % without augmentation, flipping 49.7, rotating 50.8,
cropping 62.0, colour jittering 49.6, edge enhancement 49.3, fancy PCA 49.4; cropping helps most by far. Here the same rows are asked of
400 photographs of CIFAR-10 at half their resolution and a small convolutional network: what moves pixels should help, and cropping most
among the six.

Takes about 80 seconds on one core; wants `images/cifar10_lossless4k.npz` under $GNOMON_DATA, and without it says so and ends.

    python gallery/a6_augmentation.py [picture.png]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import gnomon

FILE = Path(os.environ.get("GNOMON_DATA", "../shared/data")) / "images/cifar10_lossless4k.npz"
SEEDS = 3
ROWS: dict[str, tuple[float, dict[str, Any]]] = {
    "none": (48.13, {}),
    "flipping": (49.73, {"flip": True}),
    "rotating": (50.80, {"rotate": 15.0}),
    "cropping": (61.95, {"crop": 0.4}),
    "colour jittering": (49.57, {"colour": True}),
    "edge enhancement": (49.29, {"edge": True}),
    "fancy PCA": (49.41, {"pca": True}),
}
"""The lecture's accuracy (Caltech101), and the changes here."""


def main() -> int:
    """Print all; 1 if a bar is missed."""
    if not FILE.exists():
        print(f"wants {FILE}: set GNOMON_DATA to the folder that has it; nothing was run")
        return 0
    with np.load(FILE, allow_pickle=False) as file:
        x, y = file["x"].reshape(-1, 16, 2, 16, 2, 3).mean((2, 4), dtype=np.float32) / 255, file["y"].astype(int)
    told: dict[str, Any] = {"kind": "image", "validation": 0, "average": None, "patience": None, "doctor": False, "progress": False}
    told |= {"seeds": SEEDS, "epochs": 60, "batch_size": 50, "lr": 3e-3, "options": {"shift": 0.0, "net": {"width": 32, "depth": 1}}}
    found: dict[str, np.ndarray] = {}
    print(f"400 photographs of CIFAR-10, {SEEDS} seeds: right of 3,000 new ones, in per cent")
    for name, (lecture, changes) in ROWS.items():
        learned = gnomon.fit("classifier", {"x": x[:400], "y": y[:400]}, augment=changes, **told)
        found[name] = np.array([100 * np.mean(one.predict({"x": x[1000:]}) == y[1000:]) for one in learned])
        fitted = np.mean([one.history[-1]["train/loss"] for one in learned])
        error = found[name].std(ddof=1) / SEEDS**0.5
        print(
            f"  {name:18s} lecture (Caltech101): {lecture:.1f} | here: {found[name].mean():.1f} ± {error:.1f}, training loss {fitted:.2f}"
        )
    gains = {name: values.mean() - found["none"].mean() for name, values in found.items() if name != "none"}
    error = float(np.hypot(found["cropping"].std(ddof=1), found["none"].std(ddof=1)) / SEEDS**0.5)
    best = max(gains, key=gains.__getitem__)
    claims = {
        f"cropping helps by {gains['cropping']:.1f} ± {error:.1f} (lecture: 13.8) | bar: two errors": gains["cropping"] > 2 * error,
        f"lecture: cropping helps most | here {best}": best == "cropping",
        f"lecture: all help | here the least gain is {min(gains.values()):.1f} | bar: above -1": min(gains.values()) > -1,
    }
    for text, met in claims.items():
        print(f"  {'met   ' if met else 'MISSED'} {text}")
    if len(sys.argv) > 1:
        picture(found, sys.argv[1])
    return int(not all(claims.values()))


def picture(found: dict[str, np.ndarray], file: str) -> None:
    """Accuracy with each change, the lecture's beside."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, title in zip(figure.subplots(1, 2, sharey=True), ("lecture: Caltech101", "here: 400 of CIFAR-10"), strict=True):
        values = [ROWS[name][0] if title[0] == "l" else each.mean() for name, each in found.items()]
        axes.barh(list(found), values)
        axes.set(title=title, xlabel="right in per cent")
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main())
