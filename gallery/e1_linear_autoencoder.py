"""E1 · A linear autoencoder is PCA: from a random start, by gradients alone, it finds the plane of the principal components.

Digits as tables of pixels, codes of 2 and 8 numbers, three random starts each. The plane of the reconstructions is that of PCA to less
than a thousandth of a radian, and the squared error with it. The axes inside the plane are not PCA's: nothing in the loss asks that they
be orthogonal or ordered, since a linear map of the code that the decoder undoes costs nothing. What PCA calls its directions is had
afterwards, as the principal axes of the reconstructions.

Takes about 25 seconds on one core. What comes out: angles of 2e-5 to 7e-5; axes of a code of 8 are 30 to 60 degrees from any principal
direction; those found afterwards are right to 2e-4.

    python gallery/e1_linear_autoencoder.py [picture.png]
"""

from __future__ import annotations

import sys

import numpy as np

import gnomon
from gnomon.data import load

ANGLE_BAR, ERROR_BAR = 1e-3, 1e-5
SEEDS = 3


def pixels() -> np.ndarray:
    """Digits as a table of those pixels that vary, each with spread one, as networks see them."""
    x = load("digits")["x"].reshape(-1, 64).astype(float)
    x = x[:, x.std(0) > 0.5]
    return (x - x.mean(0)) / x.std(0)


def axes_of(learned: gnomon.Learned, k: int) -> np.ndarray:
    """``(pixels, k)``: what a step along each number of the code does to the reconstruction."""
    return (learned.decode(np.eye(k)) - learned.decode(np.zeros((1, k)))).T


def angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Principal angles between two planes, by their sines, which are exact where cosines are not."""
    a, b = np.linalg.qr(one)[0], np.linalg.qr(other)[0]
    return np.arcsin(np.clip(np.linalg.svd(a - b @ (b.T @ a), compute_uv=False), 0, 1))


def directions(learned: gnomon.Learned, x: np.ndarray, k: int) -> np.ndarray:
    """``(pixels, k)`` orthonormal: the principal axes of the reconstructions, by falling variance."""
    made = learned.reconstruct(x)
    return np.linalg.svd(made - made.mean(0), full_matrices=False)[2][:k].T


def picture(pca: gnomon.Learned, linear: gnomon.Learned, x: np.ndarray, file: str) -> None:
    """The same plane in two coordinate systems."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    labels = load("digits")["y"]
    for axes, learned, name in zip(figure.subplots(1, 2), (pca, linear), ("PCA", "linear autoencoder"), strict=True):
        axes.scatter(*learned.encode(x).T, c=labels, cmap="tab10", s=3)
        axes.set_title(f"{name}: codes of two numbers")
    figure.savefig(file)


def main() -> int:
    """Print the angles beside their bar; 1 if one is missed."""
    x, failed = pixels(), False
    for k in (2, 8):
        pca = gnomon.fit("pca", x, options={"components": k}, validation=0, progress=False)
        least = np.square(x - pca.reconstruct(x)).sum(1).mean()
        for seed in range(SEEDS):
            linear = gnomon.fit(
                "autoencoder", x, options={"latent": k, "net": {"hidden": ()}}, seed=seed, validation=0, progress=False,
                batch_size="all", epochs=3000,
            )  # fmt: skip
            axes = axes_of(linear, k)
            largest = angles(axes, axes_of(pca, k)).max()
            excess = np.square(x - linear.reconstruct(x)).sum(1).mean() / least - 1
            units = axes / np.linalg.norm(axes, axis=0)
            turned = np.degrees(np.arccos(np.clip(np.abs(units.T @ axes_of(pca, k)).max(1), 0, 1)))
            found = np.abs((directions(linear, x, k) * axes_of(pca, k)).sum(0))
            off = np.arccos(np.clip(found.min(), 0, 1))
            print(
                f"code of {k}, start {seed}: largest angle between the planes {largest:.1e} (bar {ANGLE_BAR:g}), error above PCA's "
                f"{excess:.1e} (bar {ERROR_BAR:g}); axes of the code {turned.min():.0f} to {turned.max():.0f} degrees from a "
                f"principal direction; those found afterwards off by {off:.1e}"
            )
            failed |= largest > ANGLE_BAR or excess > ERROR_BAR
        if k == 2 and len(sys.argv) > 1:
            picture(pca, linear, x, sys.argv[1])
    mini = gnomon.fit("autoencoder", x, options={"latent": 2, "net": {"hidden": ()}}, validation=0, progress=False)
    pca = gnomon.fit("pca", x, options={"components": 2}, validation=0, progress=False)
    print(f"by default, in small batches: {angles(axes_of(mini, 2), axes_of(pca, 2)).max():.1e}, what batches jitter about the plane")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
