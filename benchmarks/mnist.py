"""-log p of held-out MNIST in nats, each pixel drawn once as black or white, by 1000 weighted draws: VAE, IWAE of 50 draws, VampPrior.

`python -m benchmarks.mnist [--quick] [--json] [--only NAME] [--epochs N]`; MNIST is read from `$GNOMON_DATA/images/mnist`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gnomon

DRAWS, EPOCHS, BATCH, RATE = 1000, 60, 128, 1e-3
NETWORKS: dict[str, Any] = {"latent": 40, "encoder": "mlp", "decoder": "mlp", "net": {"hidden": (300, 300)}}
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "vae": ({}, 90.1),
    "iwae50": ({"objective": "iwae", "draws": 50}, 87.2),
    "vamp": ({"prior": "vamp", "components": 500, "kl_warmup": 0.1}, 86.3),
}
"""Name to options and the highest figure that is wanted."""


def images(folder: Path, name: str, rng: np.random.Generator) -> np.ndarray:
    """One side of MNIST, ``(n, 1, 28, 28)`` zeros and ones: each pixel on with the probability that its grey level says."""
    with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
        grey = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return (rng.random(grey.shape) < grey / 255).astype(np.uint8)


def main() -> None:
    """Fit and judge every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one epoch of 6,000 images, 200 to judge: that it runs, not what it reaches")
    parser.add_argument("--json", action="store_true", help="print all figures as one flat JSON object on the last line")
    parser.add_argument("--only", choices=CASES, help="one case alone")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"how long each case learns ({EPOCHS}; fewer for a slow machine)")
    options = parser.parse_args()
    epochs = 1 if options.quick else options.epochs
    folder = Path(os.environ.get("GNOMON_DATA", "data")) / "images" / "mnist"
    if not folder.is_dir():
        parser.exit(1, f"no folder {folder}; set GNOMON_DATA to where images/mnist lies\n")
    rng = np.random.default_rng(0)
    train, test = images(folder, "train", rng), images(folder, "t10k", rng)
    if options.quick:
        train, test = train[:6000], test[:200]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{len(train):,} images to learn from, {len(test):,} held out; {device}; 784-300-300-40, {epochs} epochs")
    figures: dict[str, float] = {}
    for name in [options.only] if options.only else CASES:
        own, bar = CASES[name]
        began = time.perf_counter()
        learned = gnomon.fit(
            "vae", train, options={**NETWORKS, **own}, epochs=epochs, batch_size=BATCH, lr=RATE, validation=0.05,
            device=device, seed=0, progress=False,
        )  # fmt: skip
        fitted = time.perf_counter()
        value, error = learned.log_prob_bound(test, samples=DRAWS)
        seconds = (fitted - began, time.perf_counter() - fitted)
        print(
            f"{name:<8}{-value.mean():8.2f} ± {value.std() / np.sqrt(len(value)):.2f} nats (bar {bar}; mean error of the draws of an image "
            f"{error.mean():.2f})  fit {seconds[0]:.0f} s, judged in {seconds[1]:.0f} s", flush=True,
        )  # fmt: skip
        figures |= {f"{name}_nll": -float(value.mean()), f"{name}_fit_seconds": seconds[0]}
    if options.json:
        print(json.dumps({key: round(value, 4) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
