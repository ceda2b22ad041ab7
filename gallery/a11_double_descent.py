"""A11 · Double descent, scaling with data, parameters and compute, and the loss seen on a plane through the weights.

The lecture shows Belkin's curves: the test error falls and rises again as a U while a network has fewer parameters than it needs to fit
every example, and beyond that interpolation threshold it falls a second time, although the training error is zero. Here a layer of random
features with learned output weights, whose threshold is known exactly, is fitted by Levenberg–Marquardt steps, and compared with the
closed form. Then a small law is learned from more and more examples, and by wider and wider networks: the error on new rows is a power of
either, with fitted exponents. Last, the loss around a trained network, on a plane whose directions are scaled filter by filter.

Takes about 70 seconds on one core. What comes out: the peak at 100 features for 100 examples, two hundred times the floor beyond it;
exponents near -1.5 (examples), -0.9 (parameters) and -0.7 (compute).

    python gallery/a11_double_descent.py [picture.png]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gnomon
from gnomon.training.doctor.pictures import Landscape, loss_landscape

EXAMPLES, COLUMNS, NOISE, REPEATS = 100, 10, 0.1, 5
FEATURES = (5, 10, 20, 40, 70, 90, 100, 110, 140, 200, 400, 800)
PLAIN: dict[str, Any] = {"validation": 0, "average": None, "patience": None, "doctor": False, "progress": False}
Curve = tuple[np.ndarray, np.ndarray]


class RandomFeatures(nn.Module):
    """A hidden layer of waves that stays as it was drawn, and output weights that start at zero and are learned."""

    def __init__(self, features: int, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.register_buffer("weight", 0.3 * torch.randn(features, COLUMNS, generator=random))
        self.register_buffer("bias", 2 * torch.pi * torch.rand(features, generator=random))
        self.out = nn.Linear(features, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def hidden(self, x: Tensor) -> Tensor:
        """The features of rows, ``(n, features)``."""
        return torch.cos(x @ self.weight.T + self.bias) * (2 / len(self.bias)) ** 0.5

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """The prediction, ``(n, 1)``."""
        return self.out(self.hidden(x))


def one(features: int, seed: int) -> tuple[float, float, float]:
    """Mean squared error on the training rows and on new ones, and the largest difference from the closed form's predictions."""
    random = np.random.default_rng(seed)
    direction = random.normal(size=COLUMNS)
    direction /= np.linalg.norm(direction)
    x, new = (random.normal(size=(count, COLUMNS)).astype(np.float32) for count in (EXAMPLES, 2000))
    data, truth = {"x": x, "y": np.sin(x @ direction) + NOISE * random.normal(size=EXAMPLES)}, np.sin(new @ direction)
    told = PLAIN | {"optimizer": "levenberg-marquardt", "batch_size": "all", "schedule": "constant", "epochs": 20, "seed": seed}
    learned = gnomon.fit("regressor", data, options={"spread": "none", "encoder": RandomFeatures(features, seed)}, **told)
    guess, network = learned.predict({"x": new}), learned.model.encoder
    rows, others = learned.scaling.forward(learned.read(data, target=True)), learned.scaling.forward(learned.read({"x": new}))
    seen, unseen = (network.hidden(part.x).double().numpy() for part in (rows, others))
    closed = unseen @ np.linalg.lstsq(seen, rows.y.double().numpy(), rcond=None)[0]
    apart = float(abs((guess - data["y"].mean()) / data["y"].std() - closed[:, 0]).max())
    return float(np.mean((learned.predict({"x": x}) - data["y"]) ** 2)), float(np.mean((guess - truth) ** 2)), apart


def double_descent() -> tuple[bool, np.ndarray]:
    """The test error against the number of features, at a fixed number of examples."""
    found = np.array([[one(features, seed) for seed in range(REPEATS)] for features in FEATURES])
    print(f"random features learned from {EXAMPLES} examples, {REPEATS} seeds: mean squared error")
    for features, each in zip(FEATURES, found, strict=True):
        print(f"  {features:4d} features   training {each[:, 0].mean():.1e}   new rows {shown(each[:, 1])}")
    middle = np.median(found[:, :, 1], axis=1)
    peak = FEATURES[int(middle.argmax())]
    before, after = middle[: FEATURES.index(100)].min(), middle[-1]
    exact = found[[f < EXAMPLES for f in FEATURES], :, 2].max()
    claims = {
        f"lecture: a peak at the interpolation threshold | here at {peak} features (medians over seeds) | bar 90 to 110": 90 <= peak <= 110,
        f"lecture: U-shaped before it | least error {before:.3f}, peak {middle.max():.3g} | bar 10 times": middle.max() > 10 * before,
        f"lecture: a second descent, below the first | {after:.3f} at {FEATURES[-1]} features | bar: below {before:.3f}": after < before,
        f"below the threshold, apart from the closed form by at most {exact:.1e} spreads | bar 0.01": exact < 0.01,
        "beyond the threshold the training error is zero | bar 1e-6": found[[f > EXAMPLES for f in FEATURES], :, 0].max() < 1e-6,
    }
    return told(claims), found


def law(x: np.ndarray) -> np.ndarray:
    """A smooth function of four numbers."""
    random = np.random.default_rng(0)
    return np.tanh(x @ random.normal(size=(4, 20)) + random.uniform(-1, 1, 20)) @ random.normal(size=20) / 2


def drawn(count: int, seed: int) -> dict[str, np.ndarray]:
    """Rows of the law."""
    x = np.random.default_rng(seed).uniform(-1, 1, (count, 4)).astype(np.float32)
    return {"x": x, "y": law(x)}


def scaling() -> tuple[bool, dict[str, Curve]]:
    """Error on new rows (share of the variance) against examples, parameters and compute."""
    new, curves, runs = drawn(4000, 1), {}, []
    shared = PLAIN | {"seeds": 4, "lr": 1e-2}
    amounts, widths, errors = (32, 64, 128, 256, 512), (2, 4, 8, 16, 32, 64), []
    for count in amounts:
        options = {"spread": "none", "net": {"hidden": (128,), "activation": "relu"}}
        learned = gnomon.fit("regressor", drawn(count, 2), options=options, epochs=1500 * 32 // count, batch_size=32, **shared)
        errors.append([float(np.mean((each.predict(new) - new["y"]) ** 2) / new["y"].var()) for each in learned])
    curves["examples"] = np.array(amounts), np.array(errors)
    for width in widths:
        options = {"spread": "none", "net": {"hidden": (width,), "activation": "relu"}}
        given = shared | {"validation": new, "schedule": "constant"}
        learned = gnomon.fit("regressor", drawn(4096, 3), options=options, epochs=20, batch_size=128, **given)
        lines = np.array([[line["validation/loss"] for line in each.history] for each in learned])
        work = 6.0 * (6 * width + 1) * 4096 * np.arange(1, 21)  # operations: six for each parameter and example
        runs.append((work, lines))
    curves["parameters"] = 6 * np.array(widths) + 1, np.array([lines.min(1) for _, lines in runs])
    budgets = np.geomspace(max(work[0] for work, _ in runs[:2]), runs[-1][0][-1], 8)
    best = [np.min([lines[:, work <= budget].min(1) for work, lines in runs if work[0] <= budget], axis=0) for budget in budgets]
    curves["compute"] = budgets, np.array(best)
    claims = {}
    for name, (amount, found) in curves.items():
        slope, error, fitted = exponent(amount, found)
        text = f"error ∝ {name}^{slope:.2f} ± {error:.2f}, R² = {fitted:.3f}"
        claims[f"a power law: {text} | bars: 5 errors from 0, R² above 0.9"] = slope < -5 * error and fitted > 0.9
    return told(claims), curves


def exponent(amount: np.ndarray, found: np.ndarray) -> tuple[float, float, float]:
    """Slope of the mean log error against the log amount, its error from the scatter of the means, and R²."""
    x, y = np.log(amount), np.log(found).mean(1)
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    return float(slope), float(covariance[0, 0] ** 0.5), float(np.corrcoef(x, y)[0, 1] ** 2)


def landscape() -> tuple[bool, Landscape]:
    """The loss around a network that has learned handwritten digits."""
    learned = gnomon.fit("classifier", "digits", epochs=15, seed=0, progress=False, options={"shift": 0.0})
    plane = loss_landscape(learned, "digits", points=15, reach=1.0)
    edge = np.concatenate([plane.loss[[0, -1]].ravel(), plane.loss[:, [0, -1]].ravel()])
    lowest, rise = plane.loss.min(), np.median(edge) / plane.centre
    claims = {
        f"lecture: the trained network lies in a valley | loss {plane.centre:.4f}, least on the plane {lowest:.4f}": plane.centre
        < 2 * lowest,
        f"the edge, one length of the weights away, is {rise:.0f} times higher (median) | bar 10": rise > 10,
    }
    return told(claims), plane


def shown(values: np.ndarray) -> str:
    """Mean and standard error over seeds."""
    return f"{values.mean():.3g} ± {values.std(ddof=1) / np.sqrt(len(values)):.2g}"


def told(claims: dict[str, bool]) -> bool:
    """Print each claim with its outcome."""
    for text, met in claims.items():
        print(f"  {'met   ' if met else 'MISSED'} {text}")
    return all(claims.values())


def picture(found: np.ndarray, curves: dict[str, Curve], plane: Landscape, file: str) -> None:
    """Double descent, three power laws, and lines of equal loss."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    descent, power, valley = figure.subplots(1, 3)
    descent.loglog(FEATURES, np.median(found[:, :, 1], axis=1), "o-", label="new rows")
    descent.loglog(FEATURES, np.median(found[:, :, 0], axis=1).clip(1e-6), "s--", label="training")
    descent.axvline(EXAMPLES, color="0.7")
    descent.set(xlabel=f"features ({EXAMPLES} examples)", ylabel="mean squared error")
    for name, (amount, errors) in curves.items():
        power.loglog(amount / amount[0], np.exp(np.log(errors).mean(1)), "o-", label=f"{name} ÷ {amount[0]:.3g}")
    power.set(xlabel="amount", ylabel="error on new rows ÷ variance")
    valley.contourf(plane.steps, plane.steps, np.log10(plane.loss.T), levels=20)
    valley.set(title="log10 of the loss around a trained network")
    for axes in (descent, power):
        axes.legend()
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    descends, found = double_descent()
    scales, curves = scaling()
    lies_low, plane = landscape()
    if len(sys.argv) > 1:
        picture(found, curves, plane, sys.argv[1])
    return int(not (descends and scales and lies_low))


if __name__ == "__main__":
    sys.exit(main())
