"""What the residents learn with default settings: digits classified, their density and their variety; toys of known entropy.

Every figure stands beside what it is to be compared with; nothing here is a time.
"""

from __future__ import annotations

import statistics

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

import gnomon
from benchmarks.timing import arguments, emit, header
from gnomon.data.toys import Checkerboard, Gaussians

METHOD = (
    "digits: train_test_split(test_size=0.2, stratify=y, random_state=0); median over seeds of fits with default settings",
    "densities: nats per image on held-out digits with U(0, 1) noise on both sides, beside a full-covariance Gaussian",
    "gan: 5000 samples judged by a support vector machine, and by coverage (k = 5) over its value real against real",
    "toys: 200,000 training rows, 200,000 fresh ones evaluated; gap = mean negative log-density minus the exact entropy",
)


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train and test images ``(n, 1, 8, 8)`` uint8 and labels."""
    data = load_digits()
    images = data.images.astype(np.uint8)[:, None]
    return tuple(train_test_split(images, data.target, test_size=0.2, stratify=data.target, random_state=0))  # type: ignore[return-value]


def accuracy(seed: int) -> float:
    """Share of held-out digits that the default classifier names."""
    train, test, y, truth = digits()
    learned = gnomon.fit("classifier", {"x": train, "y": y}, seed=seed, progress=False)
    return float((learned.predict({"x": test}) == truth).mean())


def noisy_digits() -> tuple[np.ndarray, np.ndarray]:
    """Train and test rows of 64 real numbers: grey levels plus noise."""
    train, test, _, _ = digits()
    chance = np.random.default_rng(0)
    return tuple(part.reshape(len(part), 64) + chance.uniform(size=(len(part), 64)) for part in (train, test))  # type: ignore[return-value]


def gaussian_log_likelihood() -> float:
    """Mean held-out log-density of the Gaussian with the training mean and covariance."""
    train, test = noisy_digits()
    centred, covariance = test - train.mean(0), np.cov(train.T)
    distance = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    return float(-0.5 * (distance + np.linalg.slogdet(covariance)[1] + 64 * np.log(2 * np.pi)).mean())


def log_likelihood(model: str, seed: int) -> float:
    """Mean held-out log-density (of the VAE: the importance-weighted bound) with default settings."""
    train, test = noisy_digits()
    learned = gnomon.fit(model, train, seed=seed, progress=False)
    return float((learned.log_prob_bound(test)[0] if model == "vae" else learned.log_prob(test)).mean())


def variety(seed: int) -> tuple[float, float, float]:
    """Of 5000 GAN samples: the share of the rarest digit, coverage over its null, and the judge's accuracy on real digits."""
    train, test, y, truth = digits()
    judge = SVC(gamma=0.001).fit(train.reshape(len(train), 64), y)
    sample = np.asarray(gnomon.fit("gan", train, seed=seed, progress=False).sample(5000), dtype=np.float64).reshape(5000, 64)
    shares = np.bincount(judge.predict(sample), minlength=10) / len(sample)
    real = train.reshape(len(train), 64).astype(np.float64)
    half = len(real) // 2
    null = coverage(real[:half], real[half : 2 * half])
    score = float((judge.predict(test.reshape(len(test), 64)) == truth).mean())
    return float(shares.min()), coverage(real[:half], sample[:half]) / null, score


def coverage(real: np.ndarray, generated: np.ndarray, neighbours: int = 5) -> float:
    """Share of real points with a generated one nearer than their k-th real neighbour (Naeem et al. 2020)."""
    among = np.sort(distances(real, real), axis=1)[:, neighbours]
    return float((distances(real, generated).min(1) < among).mean())


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``(len(a), len(b))`` Euclidean distances."""
    return np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0.0))


def gap(toy: Checkerboard | Gaussians, rows: int, **told: int) -> tuple[float, float]:
    """The flow's mean negative log-density of fresh points minus the entropy, and its standard error, in nats."""
    learned = gnomon.fit("flow", toy.sample(rows, seed=1), progress=False, **told)
    fresh = -learned.log_prob(toy.sample(200_000, seed=2))
    return float(fresh.mean() - toy.entropy), float(fresh.std() / np.sqrt(len(fresh)))


def main() -> None:
    """Fit, measure, print."""
    options = arguments(__doc__ or "")
    seeds = range(1) if options.quick else range(5)
    print(header("Quality", ("torch", "scikit-learn"), *METHOD))
    figures: dict[str, float] = {"digits_gaussian_nats": gaussian_log_likelihood()}
    print(f"digits, full-covariance Gaussian: {figures['digits_gaussian_nats']:.1f} nats", flush=True)
    figures["digits_vae_nats"] = median("digits, VAE (bound), nats", [log_likelihood("vae", seed) for seed in seeds])
    varieties = [variety(seed) for seed in seeds]
    figures["digits_gan_rarest"] = median("digits, GAN: share of the rarest class", [v[0] for v in varieties])
    figures["digits_gan_coverage"] = median("digits, GAN: coverage over its null", [v[1] for v in varieties])
    print(f"digits, the judge's accuracy on real digits: {varieties[0][2]:.4f}", flush=True)
    if not options.quick:
        figures["digits_classifier"] = median("digits, classifier: accuracy", [accuracy(seed) for seed in seeds])
        figures["digits_flow_nats"] = median("digits, flow, nats", [log_likelihood("flow", seed) for seed in seeds])
        for name, toy in (("checkerboard", Checkerboard()), ("gaussians", Gaussians())):
            value, error = gap(toy, 200_000)
            figures[f"{name}_gap"], figures[f"{name}_gap_error"] = value, error
            print(f"{name}, flow: {value:+.4f} ± {error:.4f} nats above the entropy", flush=True)
    emit(figures, as_json=options.json)


def median(what: str, values: list[float]) -> float:
    """Print the values and return their median."""
    print(f"{what}: {statistics.median(values):.4f}  (seeds: {', '.join(f'{v:.4f}' for v in values)})", flush=True)
    return statistics.median(values)


if __name__ == "__main__":
    main()
