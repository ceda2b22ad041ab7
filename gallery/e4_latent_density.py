"""E4 · A latent map, walks through it, and why a Gaussian over the codes of an autoencoder fails: the right latent density is not known.

Digits. The codes of an autoencoder lie as they please: a Gaussian fitted to them is told from codes of held-out digits by a classifier, and
what is decoded from it from held-out digits. A VAE draws its codes near to a known density, and a flow learned on them afterwards
(`two_stage`) does the rest. How far either is from held-out digits is measured by `gnomon.check`, with the difference and its p-value.

Takes about two minutes on one core. What comes out, AUC of boosted trees: codes 0.71 for the Gaussian and 0.52 for the flow; samples 0.95
for autoencoder and Gaussian, 0.85 for VAE and flow.

    python gallery/e4_latent_density.py [folder for pictures]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from scipy import stats

import gnomon
from gnomon.checks.latent_pictures import interpolations, latent_map, traversals
from gnomon.data import load

LEVEL = 0.01
RIVALS = {
    "autoencoder and Gaussian": {"base": "autoencoder", "density": "gaussian"},
    "VAE and flow": {"base": "vae", "density": "flow"},
}

Found = dict[str, tuple[float, float]]


def told_apart(real: np.ndarray, made: np.ndarray, seed: int) -> Found:
    """Area under the ROC curve (0.5: alike) and its standard error, for each classifier that looks."""
    report = gnomon.check(real, made, features=None, seed=seed)
    return {row.where: (row.value, row.error) for row in report["c2st_auc"]}


def codes(learned: gnomon.Learned, test: np.ndarray, n: int) -> Found:
    """The density of the codes alone, against codes of held-out digits."""
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = learned.model.sample_codes(n).numpy()
    real = learned.model.draw_codes(learned.scaling.forward(learned.read({"x": test}))).numpy()
    return told_apart(real, drawn, seed=2)


def main() -> int:
    """Print the figures; 1 if VAE and flow do not beat the autoencoder with a Gaussian for every classifier."""
    data = load("digits")
    held_out = np.arange(len(data["x"])) % 3 == 0
    train, test, labels = data["x"][~held_out], data["x"][held_out], data["y"][held_out]
    found: dict[str, Found] = {}
    runs: dict[str, gnomon.Learned] = {}
    for name, options in RIVALS.items():
        runs[name] = gnomon.fit("two_stage", {"x": train}, options=options, seed=0, progress=False)
        found[name] = told_apart(test, runs[name].sample(len(test), seed=1), seed=0)
        for where, (value, error) in codes(runs[name], test, len(test)).items():
            print(f"{name}: codes are told from those of held-out digits, AUC {value:.3f} ± {error:.3f} ({where})")
    worst = 0.0
    for where in found["VAE and flow"]:
        (one, one_error), (other, other_error) = (found[name][where] for name in RIVALS)
        p = float(stats.norm.sf((one - other) / np.hypot(one_error, other_error)))
        worst = max(worst, p)
        print(
            f"samples against held-out digits, {where}: AUC {one:.3f} ± {one_error:.3f} for the autoencoder and Gaussian, "
            f"{other:.3f} ± {other_error:.3f} for VAE and flow; p = {p:.1e} (bar {LEVEL})"
        )
    if len(sys.argv) > 1:
        pictures(runs, test, labels, Path(sys.argv[1]))
    return int(worst >= LEVEL)


def pictures(runs: dict[str, gnomon.Learned], test: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    """Maps and walks of both."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, learned in runs.items():
        short = "vae" if name.startswith("VAE") else "autoencoder"
        latent_map(learned, {"x": test}, labels).figure().savefig(folder / f"{short}-map.png")
        interpolations(learned, {"x": test}, spherical=short == "vae").savefig(folder / f"{short}-walks.png")
        traversals(learned, {"x": test}).savefig(folder / f"{short}-traversals.png")


if __name__ == "__main__":
    sys.exit(main())
