"""A16 · Weight initialisation: the size of signals and gradients through fifty layers, for every rule by name, and what it does to a fit.

The lecture says only: don't start with zero weights, use small random ones; and that products of many small factors vanish with depth. Here
every rule of `initialiser="…"` is drawn four times in a net of fifty layers of 512 units, with rectifiers and with tanh, and the root mean
square of what each layer gives, and of the gradient that comes back to it, is followed from layer to layer. A rule keeps the scale if its
largest is less than twice its smallest. Then nets of twenty layers learn digits for a few epochs from each rule's weights.

Takes about 60 seconds on one core. What comes out: with rectifiers he, gain, critical and orthogonal keep both within 2×, lecun and xavier
lose a factor of 10^7; with tanh only critical keeps both: gain and orthogonal keep signals but not gradients, which change by a factor of
50, xavier neither (10 and 8).

    python gallery/a16_initialisation.py [picture.png]
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import gnomon
from gnomon.blocks import initialisers
from gnomon.data import Examples, Spec, Vector, load
from gnomon.models.regressor import Regressor
from gnomon.training.doctor import gradient_profile

DEPTH, WIDTH, SEEDS, BAR = 50, 512, 4, 2.0
KEEP = {("relu", rule) for rule in ("he", "he_uniform", "gain", "critical", "orthogonal")} | {("tanh", "critical")}
"""Rules that keep both signals and gradients, by what theory says of each activation."""
LOSE = {("relu", rule): 1e6 for rule in ("lecun", "lecun_uniform", "xavier", "xavier_uniform", "small")} | {("tanh", "small"): 1e6}
"""Rules that lose at least this factor."""
TAUGHT = ("he", "gain", "critical", "orthogonal", "lecun", "xavier", "small", "zeros")
Sizes = dict[tuple[str, str], np.ndarray]


def sizes(activation: str, rule: str) -> np.ndarray:
    """``(2, 50)``: signals and gradients of each hidden layer, root mean squares over examples, units and four draws."""
    squares = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        spec = Spec(Vector.real(WIDTH), y=Vector.real(WIDTH))
        model = Regressor(spec, spread="none", net={"hidden": (WIDTH,) * DEPTH, "activation": activation, "initialiser": rule})
        seen = gradient_profile(model, Examples(torch.randn(64, WIDTH), y=torch.randn(64, WIDTH)))
        squares.append([seen.signals[:-1] ** 2, seen.slopes[:-1] ** 2])
    return np.sqrt(np.mean(squares, 0))


def span(values: np.ndarray) -> float:
    """The largest over the smallest; infinite where nothing arrives."""
    return float(values.max() / values.min()) if values.min() > 0 else float("inf")


def through_depth() -> tuple[bool, Sizes]:
    """Every rule with both activations."""
    found: Sizes = {}
    good = True
    print(f"largest ÷ smallest over {DEPTH} layers of {WIDTH} units, {SEEDS} draws")
    for activation in ("relu", "tanh"):
        for rule in [name for name in initialisers if activation == "relu" or "uniform" not in name]:
            found[activation, rule] = made = sizes(activation, rule)
            signals, gradients = span(made[0]), span(made[1])
            words, met = "", True
            if (activation, rule) in KEEP:
                words, met = f"bar: both below {BAR:g}", max(signals, gradients) < BAR
            elif (activation, rule) in LOSE:
                words, met = f"bar: both above {LOSE[activation, rule]:.0e}", min(signals, gradients) > LOSE[activation, rule]
            elif rule == "zeros":
                words, met = "bar: nothing comes through", signals == gradients == float("inf")
            print(f"  {activation:5s} {rule:16s} signals {signals:9.3g}  gradients {gradients:9.3g}  {words}{'' if met else '  MISSED'}")
            good &= met
    signals, gradients = (span(part) for part in found["tanh", "gain"])
    print(f"tanh, gain: keeps signals ({signals:.2f}) but not gradients ({gradients:.0f}), so the two are different things | bar < 2, > 10")
    return good and signals < BAR and gradients > 10, found


def lessons() -> bool:
    """Digits by twenty layers of rectifiers, from each rule's weights, three seeds together."""
    losses, data = {}, load("digits")
    for rule in TAUGHT:
        net = {"hidden": (64,) * 20, "activation": "relu", "initialiser": rule}
        told = {"epochs": 8, "batch_size": 64, "lr": 5e-4, "seeds": 3, "validation": 0, "average": None, "progress": False}
        learned = gnomon.fit("classifier", data, options={"encoder": "mlp", "net": net, "shift": 0.0}, **told)
        last = np.array([one.history[-1]["train/loss"] for one in learned])
        losses[rule] = last.mean()
        texts = [text for line in learned[0].history for text in line.get("doctor", [])]
        print(
            f"  {rule:10s} {last.mean():.3f} ± {last.std(ddof=1) / np.sqrt(3):.3f} nats   doctor: {texts[0] if texts else 'nothing to say'}"
        )
    kept, lost = (max if worst else min for worst in (True, False))
    best_lost, worst_kept = lost(losses[r] for r in ("small", "zeros")), kept(losses[r] for r in ("he", "gain", "critical", "orthogonal"))
    print(f"rules that keep the scale end at {worst_kept:.2f} or less, small and zero weights at {best_lost:.2f} | bars < 1, > 2.2")
    return worst_kept < 1 and best_lost > 2.2


def picture(found: Sizes, file: str) -> None:
    """Signals and gradients against depth, one line a rule."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    for i, row in enumerate(figure.subplots(2, 2, sharex=True)):
        for axes, activation in zip(row, ("relu", "tanh"), strict=True):
            for rule in ("gain", "critical", "he", "xavier", "lecun", "orthogonal", "small"):
                axes.semilogy(range(1, DEPTH + 1), np.maximum(found[activation, rule][i], 1e-30), label=rule)
            axes.set(title=f"{'gradients' if i else 'signals'}, {activation}", xlabel="layer", ylim=(1e-12, 1e3))
    axes.legend(ncols=2, fontsize="small")
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    good, found = through_depth()
    print("digits by twenty layers of rectifiers after eight epochs: training loss of three seeds")
    good &= lessons()
    if len(sys.argv) > 1:
        picture(found, sys.argv[1])
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
