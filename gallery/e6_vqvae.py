"""E6 · Codes out of a finite set: every image as sixteen symbols out of 512, a density over such rows, and draws from it.

Default settings. How many of the codes held-out digits use, and the squared error of what is told by them beside PCA with one (exact)
number for each code, and beside what no linear code of as many bits can beat: Gaussian components with bits shared out by reverse
water-filling, which VQVAEs this small do not reach. Where `GNOMON_DATA` holds MNIST the same in short: 12,000 images, three epochs in
batches of 64, judged by 4,000 test images. The pictures are digits, what their codes tell, and draws.

Takes three to four minutes on one core.

    python gallery/e6_vqvae.py [picture.png]
"""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import numpy as np

import gnomon
from gnomon.data import load

USED, SHARE = 0.95, {"digits": 0.5, "MNIST": 0.8}
"""At least so many of the codes in use; at most so much of PCA's squared error."""


def codes(learned: gnomon.Learned, x: np.ndarray) -> np.ndarray:
    """The code of each place of each image, ``(n, places)``: rows of `encode` are vectors, alike where the code is."""
    model = learned.model
    return model.indices(learned.scaling.forward(learned.read({"x": x}))).numpy()


def usage(indices: np.ndarray, count: int) -> tuple[float, float]:
    """The share of codes in use, and the perplexity: as many equally frequent ones tell as much."""
    shares = np.bincount(indices.ravel(), minlength=count) / indices.size
    there = shares[shares > 0]
    return len(there) / count, float(np.exp(-(there * np.log(there)).sum()))


def error(learned: gnomon.Learned, x: np.ndarray) -> tuple[float, float]:
    """Squared error of the reconstruction per image, summed over pixels, with its standard error."""
    each = np.square(np.asarray(learned.reconstruct({"x": x}), dtype=float) - x).sum((1, 2, 3))
    return float(each.mean()), float(each.std() / np.sqrt(len(each)))


def linear(train: np.ndarray, test: np.ndarray, bits: float) -> float:
    """The least squared error of Gaussian components with the variances that held-out images have along the training's principal axes."""
    flat, held_out = (part.reshape(len(part), -1).astype(float) for part in (train, test))
    axes = np.linalg.eigh(np.cov(flat.T))[1]
    variances = np.square((held_out - flat.mean(0)) @ axes).mean(0)
    low, high = 0.0, variances.max()
    for _ in range(100):  # the level of the water at which the bits are spent
        level = 0.5 * (low + high)
        spent = 0.5 * np.log2(np.maximum(variances / max(level, 1e-300), 1.0)).sum()
        low, high = (level, high) if spent > bits else (low, level)
    return float(np.minimum(variances, level).sum())


def judged(name: str, learned: gnomon.Learned, train: np.ndarray, test: np.ndarray) -> bool:
    """Print the figures beside their bars; whether both are met."""
    indices, count = codes(learned, test), learned.model.codes
    used, perplexity = usage(indices, count)
    bits = indices.shape[1] * np.log2(count)
    (mean, spread), least = error(learned, test), linear(train, test, bits)
    pca = error(gnomon.fit("pca", {"x": train}, options={"components": indices.shape[1]}, progress=False), test)[0]
    bound = learned.log_prob_bound({"x": test})[0]
    print(f"{name}: {100 * used:.1f} % of {count} codes in use (bar {100 * USED:.0f} %), perplexity {perplexity:.0f}")
    print(f"  squared error {mean:.1f} ± {spread:.1f}; {mean / pca:.3f} of PCA's with {indices.shape[1]} numbers (bar {SHARE[name]})")
    print(f"  {mean / least:.2f} of the best linear code's of {bits:.0f} bits (no bar)")
    print(f"  log p ≥ {bound.mean():.1f} ± {bound.std() / np.sqrt(len(bound)):.1f} nats per image")
    return used >= USED and mean <= SHARE[name] * pca


def mnist() -> tuple[np.ndarray, np.ndarray] | None:
    """Training and test images, or None where they are not at hand."""
    folder = Path(os.environ.get("GNOMON_DATA", "")) / "images" / "mnist"
    files = [folder / f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    if "GNOMON_DATA" not in os.environ or not all(file.exists() for file in files):
        return None
    train, test = (np.frombuffer(gzip.open(file).read(), np.uint8, offset=16).reshape(-1, 1, 28, 28) for file in files)
    return train, test


def picture(learned: gnomon.Learned, x: np.ndarray, path: str) -> None:
    """Images, what their codes tell, and draws: a row of ten each."""
    from matplotlib.figure import Figure

    rows = {"image": x[:10], "from its codes": learned.reconstruct({"x": x[:10]}), "draw": learned.sample(10)}
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(3, 10)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for place, image in zip(line, np.asarray(images), strict=True):
            place.imshow(image[0], cmap="gray_r")
            place.set_axis_off()
        line[0].set_title(name, loc="left", fontsize=9)
    figure.savefig(path)


def main() -> int:
    """Fit, judge, draw; 1 if a bar is missed."""
    x = load("digits")["x"]
    held_out = np.arange(len(x)) % 5 == 0
    train, test = x[~held_out], x[held_out]
    learned = gnomon.fit("vqvae", {"x": train}, progress=False)
    met = [judged("digits", learned, train, test)]
    if len(sys.argv) > 1:
        picture(learned, test, sys.argv[1])
    images = mnist()
    if images is None:
        print("MNIST is left out: set GNOMON_DATA to a folder with images/mnist")
    else:
        few, many = images[0][:12_000], images[1][:4_000]
        short = gnomon.fit("vqvae", {"x": few}, epochs=3, batch_size=64, progress=False)
        met.append(judged("MNIST", short, few, many))
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
