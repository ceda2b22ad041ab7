"""E2 · Deep and convolutional autoencoders: digits told by a few numbers, and how much is lost for each length of the code.

Rate-distortion curves of PCA, a dense and a convolutional autoencoder on held-out digits, with standard errors, default settings
throughout; then the convolutional one with 16 numbers beside PCA with 16, on digits and, where `GNOMON_DATA` holds it, on MNIST (there in
short: 12,000 images, five epochs in batches of 64, judged by all 10,000 test images).

Takes about three minutes on one core. What comes out, as a share of PCA's squared error with 16 numbers: digits 0.40, MNIST 0.53
(0.36 after seven epochs of 20,000 images).

    python gallery/e2_compression.py [picture.png]
"""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import numpy as np

import gnomon
from gnomon.checks.latent_pictures import rate_distortion
from gnomon.data import load

BAR = 0.6
DENSE = (1, 2, 4, 8, 16, 32)
CONVOLUTIONAL = (2, 4, 8, 16)


def error(learned: gnomon.Learned, x: np.ndarray) -> tuple[float, float]:
    """Squared error of the reconstruction per image, summed over pixels, with its standard error."""
    each = np.square(np.asarray(learned.reconstruct({"x": x}), dtype=float) - x).sum((1, 2, 3))
    return float(each.mean()), float(each.std() / np.sqrt(len(each)))


def share(own: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """A ratio with its error, as if the two were independent (they see the same rows, so it is rather less)."""
    ratio = own[0] / other[0]
    return ratio, ratio * float(np.hypot(own[1] / own[0], other[1] / other[0]))


def curves(train: np.ndarray, test: np.ndarray) -> dict[str, dict[int, tuple[float, float]]]:
    """Distortion by length of the code, for each family."""
    made: dict[str, dict[int, tuple[float, float]]] = {"PCA": {}, "dense": {}, "convolutional": {}}
    for k in DENSE:
        made["PCA"][k] = error(gnomon.fit("pca", {"x": train}, options={"components": k}, progress=False), test)
        dense = {"latent": k, "encoder": "mlp", "decoder": "mlp"}
        made["dense"][k] = error(gnomon.fit("autoencoder", {"x": train}, options=dense, progress=False), test)
        if k in CONVOLUTIONAL:
            made["convolutional"][k] = error(gnomon.fit("autoencoder", {"x": train}, options={"latent": k}, progress=False), test)
        line = ", ".join(f"{name} {points[k][0]:7.1f} ± {points[k][1]:.1f}" for name, points in made.items() if k in points)
        print(f"digits, {k:2d} numbers: {line}")
    return made


def mnist() -> tuple[np.ndarray, np.ndarray] | None:
    """Training and test images, or None where they are not at hand."""
    folder = Path(os.environ.get("GNOMON_DATA", "")) / "images" / "mnist"
    files = [folder / f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    if "GNOMON_DATA" not in os.environ or not all(file.exists() for file in files):
        return None
    train, test = (np.frombuffer(gzip.open(file).read(), np.uint8, offset=16).reshape(-1, 1, 28, 28) for file in files)
    return train, test


def main() -> int:
    """Print the curves and the two shares beside their bar; 1 if one is missed."""
    x = load("digits")["x"]
    held_out = np.arange(len(x)) % 5 == 0
    made = curves(x[~held_out], x[held_out])
    shares = {"digits": share(made["convolutional"][16], made["PCA"][16])}
    images = mnist()
    if images is None:
        print("MNIST is left out: set GNOMON_DATA to a folder with images/mnist")
    else:
        train, test = images
        pca = error(gnomon.fit("pca", {"x": train[:12_000]}, options={"components": 16}, progress=False), test)
        short = {"epochs": 5, "batch_size": 64}
        found = error(gnomon.fit("autoencoder", {"x": train[:12_000]}, options={"latent": 16}, progress=False, **short), test)
        shares["MNIST"] = share(found, pca)
    for name, (value, spread) in shares.items():
        print(f"{name}: with 16 numbers a convolutional autoencoder has {value:.3f} ± {spread:.3f} of PCA's error (bar {BAR})")
    if len(sys.argv) > 1:
        rate_distortion(made, vertical="squared error per held-out digit").savefig(sys.argv[1])
    return int(any(value > BAR for value, _ in shares.values()))


if __name__ == "__main__":
    sys.exit(main())
