"""E7 · Inverse graphics: chairs drawn from azimuth, width and style of the legs, and what the codes of a VAE make of these.

VAEs are fitted to 3,000 chairs without being told the factors. All numbers of a code together tell them well (nearest neighbours, held
out). How far single numbers do is the mutual information gap: 1 where every factor has one number of its own, 0 where each is spread over
several. That is small, it differs between starts by far more than its error, and turning the codes by a random rotation, which a VAE
cannot see since its prior is round, sometimes makes it larger: without labels the factors are not identified (Locatello et al. 2019,
https://arxiv.org/abs/1811.12359), and a traversal that shows one clean factor is luck. Every figure is therefore told for three starts.

Takes about 45 seconds on one core. What comes out: R² of azimuth 1.00 and width 0.99, legs right in 98 %; gaps 0.07 ± 0.05 (plain),
0.08 ± 0.08 (beta = 4), 0.11 ± 0.07 (total correlation) from start to start, after rotations 0.07, 0.14 and 0.08.

    python gallery/e7_factors.py [picture.png]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

import gnomon
from gnomon.checks.latent_pictures import traversals
from gnomon.checks.measures.disentanglement import mutual_information_gap
from gnomon.data.chairs import Chairs

SIZE, ROWS, LATENT, STARTS = 16, 3000, 6, 3
RECIPES: dict[str, dict[str, Any]] = {
    "VAE": {},
    "beta = 4": {"beta": 4.0},
    "total correlation": {"objective": "tc", "strength": 5.0},
}
BARS = {"azimuth": 0.95, "width": 0.95, "legs": 0.95}


def together(codes: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """What all numbers of a code tell: R² of azimuth and width, accuracy of the legs, on the second half by the first."""
    half, scaled = len(codes) // 2, codes / codes.std(0)
    told = {}
    for index, name in enumerate(BARS):
        kind = KNeighborsClassifier if name == "legs" else KNeighborsRegressor
        told[name] = float(kind(10, weights="distance").fit(scaled[:half], known[:half, index]).score(scaled[half:], known[half:, index]))
    return told


def main() -> int:
    """Print what codes tell; 1 if a plain VAE's codes, all together, do not tell the factors."""
    x, _ = Chairs(SIZE).sample(ROWS, seed=0)
    fresh, factors = Chairs(SIZE).sample(ROWS, seed=1)
    known, failed = np.stack(factors, 1), False
    for name, recipe in RECIPES.items():
        gaps, turned = [], []
        for seed in range(STARTS):
            options = {"latent": LATENT, "spread": "shared", "encoder": "mlp", "decoder": "mlp", **recipe}
            learned = gnomon.fit("vae", {"x": x}, options=options, seed=seed, epochs=40, batch_size=64, progress=False)
            codes = learned.encode({"x": fresh})
            turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(LATENT, LATENT)))[0]
            gap, rotated = mutual_information_gap(codes, known), mutual_information_gap(codes / codes.std(0) @ turn, known)
            told = together(codes, known)
            gaps.append(gap.value)
            turned.append(rotated.value)
            words = ", ".join(f"{factor} {value:.2f}" for factor, value in told.items())
            print(f"{name}, start {seed}: all numbers tell {words}; gap {gap}, after a rotation {rotated}")
            failed |= not recipe and any(told[factor] < bar for factor, bar in BARS.items())
        spread = np.std(gaps, ddof=1)
        print(f"{name}: gap {np.mean(gaps):.3f}, from start to start ± {spread:.3f}; after rotations {np.mean(turned):.3f}")
        if name == "VAE" and len(sys.argv) > 1:
            traversals(learned, {"x": fresh}).savefig(sys.argv[1], dpi=150)
    print(f"bars for the plain VAE, all numbers together: {', '.join(f'{factor} {bar}' for factor, bar in BARS.items())}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
