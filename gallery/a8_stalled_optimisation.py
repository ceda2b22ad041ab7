"""A8 · Why optimisation stalls: five causes and their cures with the doctor's words beside each, and gradients that vanish with depth.

The lecture lists five causes, read off the update of a hidden weight, a product of input, derivative of the activation, weight and error:
inputs of zero size, saturated activations, zero weights, updates so large that weights explode, and outputs whose range misses the
targets; each has its cure. Here a net of two hidden layers meets each cause and its cure, five seeds together. Then the lecture's
"products of small numbers are even smaller" is measured: the gradient at the first layer beside that at the last, for nets of sigmoids and
of rectifiers of growing depth, and what is left of learning.

Takes about 80 seconds on one core. What comes out: each cause leaves at least five times (mostly a hundred times) as much of the variance
unlearned as its cure; through sigmoids a gradient loses a factor of about 4 a layer, through rectifiers none. The doctor names
each cause.

    python gallery/a8_stalled_optimisation.py [picture.png]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gnomon
from gnomon.blocks import MLP
from gnomon.data import Examples, Spec, Vector
from gnomon.errors import TrainingError
from gnomon.models import Loss, Model
from gnomon.models.regressor import Regressor
from gnomon.training.doctor import gradient_profile

SEEDS, STALLED, LEARNED = 5, 5, 0.1
DEPTHS = (2, 4, 8, 16)
FACTORS = {"sigmoid": (2.0, np.inf), "relu": (0.0, 1.2)}
"""Between which numbers a layer divides the gradient, on average."""


class Net(Model):
    """Least squares, with room for mistakes: what inputs and first weights are multiplied by, and what the output goes through."""

    def __init__(
        self, spec: Spec, *, scale: float = 1.0, activation: str = "tanh", initialiser: str = "gain", squash: bool = False
    ) -> None:
        super().__init__(spec)
        self.scale = scale
        self.net = MLP(3, 1, hidden=(32, 32), activation=activation, initialiser=initialiser)  # type: ignore[arg-type]
        self.last = nn.Sigmoid() if squash else nn.Identity()

    def loss(self, batch: Examples) -> Loss:
        """Mean square error."""
        return Loss.mean((self.last(self.net(batch.x * self.scale)) - batch.y).square().mean(1), batch.weight)


def waves() -> dict[str, np.ndarray]:
    """A smooth law of three columns."""
    x = np.random.default_rng(0).normal(size=(2048, 3)).astype(np.float32)
    return {"x": x, "y": np.sin(x[:, 0]) + 0.5 * x[:, 1] * np.cos(x[:, 2])}


CAUSES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "1 inputs near zero": ({"scale": 1e-4}, {}, {"optimizer": "momentum", "lr": 0.03}, ("input", "unscaled", "reads")),
    "2 saturated units": ({"scale": 1e4}, {}, {"lr": 3e-3}, ("saturated",)),
    "3 zero weights": ({"initialiser": "zeros"}, {}, {"lr": 3e-3}, ("zero",)),
    "4 exploding updates": (
        {"activation": "relu", "lr": 1.0},
        {"activation": "relu", "lr": 0.05, "clip": 1.0},
        {"optimizer": "sgd"},
        ("rate", "explod"),
    ),
    "4 … into saturation": ({"lr": 1.0}, {"lr": 3e-3}, {}, ("steps have driven them there",)),
    "5 output out of range": ({"squash": True}, {}, {"lr": 3e-3}, ("reach", "range")),
}
"""Each cause: what is wrong, the cure, what both are told, and words of which the doctor should say one."""


def trained(options: dict[str, Any], told: dict[str, Any]) -> tuple[np.ndarray, list[str]]:
    """The share of the variance left after training, of each seed, and what the doctor said. Infinite where the loss was never finite."""
    own = {name: value for name, value in options.items() if name not in ("lr", "clip")}
    told = {"epochs": 40, "batch_size": 64, "validation": 0, "clip": None, "average": None, "progress": False} | told
    told |= {name: value for name, value in options.items() if name in ("lr", "clip")}
    try:
        learned = gnomon.fit(Net, waves(), options=own, seeds=SEEDS, **told)
    except TrainingError as error:
        return np.full(SEEDS, np.inf), [str(error)]
    texts = dict.fromkeys(text for one in learned for line in one.history for text in line.get("doctor", []))
    return np.array([one.history[-1]["train/loss"] for one in learned]), list(texts)


def causes() -> bool:
    """Every cause and its cure."""
    good = True
    print(f"share of the variance left, {SEEDS} seeds | bars: with the cause ≥ {STALLED} × that with the cure, which is < {LEARNED}")
    for name, (wrong, cure, told, words) in CAUSES.items():
        stalled, said = trained(wrong, told)
        healed, quiet = trained(cure, told)
        met = stalled.min() > STALLED * healed.max() and healed.max() < LEARNED
        good &= met
        change = ", ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in wrong.items())
        print(f"{name:22s} {shown(stalled)} with {change} | cured {shown(healed)}{'' if met else '  MISSED'}")
        named = [text for text in said if any(word in text for word in words)]
        print(f"  doctor: {(named or said or ['nothing'])[0]}" + ("" if named else "  [NOT THE CAUSE]"))
        print(f"  doctor of the cured fit: {quiet[0] if quiet else 'nothing to say'}")
    return good


def shown(values: np.ndarray) -> str:
    """Mean and standard error."""
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}" if np.isfinite(values).all() else "not finite"


def profile(activation: str, depth: int) -> np.ndarray:
    """Gradient with respect to what each layer gives, over that of the last hidden layer: geometric mean of eight draws."""
    made = []
    for seed in range(8):
        torch.manual_seed(seed)
        net = {"hidden": (64,) * depth, "activation": activation, "initialiser": "he" if activation == "relu" else "xavier"}
        model = Regressor(Spec(Vector.real(8), y=Vector.real(1)), spread="none", net=net)
        x: Tensor = torch.randn(256, 8)
        seen = gradient_profile(model, Examples(x, y=x.sin().sum(1, keepdim=True)))
        made.append(np.log(seen.slopes[:-1] / seen.slopes[-2]))
    return np.exp(np.mean(made, 0))


def depth() -> tuple[bool, dict[str, np.ndarray]]:
    """Gradients through depth before the first step, and what nets of that depth learn."""
    good, profiles, left = True, {}, {}
    for activation, (low, high) in FACTORS.items():
        for layers in DEPTHS:
            net = {"hidden": (32,) * layers, "activation": activation, "initialiser": "he" if activation == "relu" else "xavier"}
            told = {"epochs": 20, "batch_size": 64, "lr": 1e-3, "validation": 0, "average": None, "progress": False}
            learned = gnomon.fit("regressor", waves(), seeds=3, options={"spread": "none", "net": net}, **told)
            left[activation, layers] = np.mean([one.history[-1]["train/loss"] for one in learned])
        profiles[activation] = [profile(activation, layers) for layers in DEPTHS]
        lost = [1 / made[0] for made in profiles[activation]]
        factor = lost[-1] ** (1 / (DEPTHS[-1] - 1))
        good &= low < factor < high
        told_lost = ", ".join(f"{layers}: {value:.3g}" for layers, value in zip(DEPTHS, lost, strict=True))
        print(f"{activation:7s} last ÷ first gradient by depth: {told_lost}; a factor of {factor:.2f} a layer | bar {low:g} to {high:g}")
        print(f"        variance left after 20 epochs:  {', '.join(f'{d}: {left[activation, d]:.3f}' for d in DEPTHS)}")
    deepest = DEPTHS[-1]
    print(f"at depth {deepest}: sigmoids {left['sigmoid', deepest]:.2f}, rectifiers {left['relu', deepest]:.2f} | bars > 0.9, < 0.2")
    print("lecture: each layer is one more factor a'(·) ≤ 1/4, and products of small numbers vanish")
    return good and left["sigmoid", deepest] > 0.9 and left["relu", deepest] < 0.2, profiles


def picture(profiles: dict[str, Any], file: str) -> None:
    """Gradient against layer, one line for each depth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, (activation, made) in zip(figure.subplots(1, 2, sharey=True), profiles.items(), strict=True):
        for layers, values in zip(DEPTHS, made, strict=True):
            axes.semilogy(range(1, layers + 1), values, marker="o", markersize=3, label=f"{layers} layers")
        axes.set(title=activation, xlabel="layer", ylabel="gradient ÷ that of the last")
    axes.legend()
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    good = causes()
    vanished, profiles = depth()
    if len(sys.argv) > 1:
        picture(profiles, sys.argv[1])
    return int(not (good and vanished))


if __name__ == "__main__":
    sys.exit(main())
