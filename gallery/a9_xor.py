"""A9 · XOR by one hidden layer of sigmoids: how often it is solved, what helps, batch norm, and XOR in other kinds of data.

The lecture sets it as an exercise, "see what is the effect of different parameters on the convergence characteristics", and shows in a
notebook that values have a better range after batch normalization, both positive and negative. Here 100 seeds are trained together;
then width, learning rate and initialisation are varied; the numbers before and after batch norm are compared; and every network that reads
data solves its own form of XOR: of two numbers, of two halves of an image in one, two and three dimensions, of the signs in a set.

Takes about 75 seconds on one core. What comes out: 99 of 100 seeds with four units (bar 95), all with more, about half with two, for which
XOR has poor local minima; none from zero weights.

    python gallery/a9_xor.py [picture.png]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

import gnomon

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
ANSWERS = np.array([0, 1, 1, 0])
DATA = {"x": np.tile(CORNERS, (512, 1)), "y": np.tile(ANSWERS, 512)}
PLAIN: dict[str, Any] = {"validation": 0, "average": None, "schedule": "constant", "patience": None, "progress": False}
STEPS, SOLVED = 64, 0.1
"""Steps between looks at the loss, and the loss, in nats, from which on all four corners are told apart with 90 % or more."""


def trained(seeds: int, steps: int = 1024, lr: float = 0.05, optimizer: str = "adam", **net: Any) -> list[Any]:
    """XOR networks trained together."""
    options = {"net": {"hidden": (8,), "activation": "sigmoid"} | net}
    told = PLAIN | {"batch_size": 32, "epochs": steps // STEPS, "optimizer": optimizer}
    return gnomon.fit("classifier", DATA, seeds=seeds, lr=lr, options=options, **told)


def told(learned: list[Any]) -> tuple[int, str, np.ndarray]:
    """How many say all four corners right, the same in words with the steps it took, and the losses ``(seeds, epochs)``."""
    right = sum(bool((one.predict({"x": CORNERS}) == ANSWERS).all()) for one in learned)
    losses = np.array([[line["train/loss"] for line in one.history] for one in learned])
    steps = np.where((losses < SOLVED).any(1), (losses < SOLVED).argmax(1) + 1, np.inf) * STEPS
    middle = np.median(steps)
    pace = f"half of them below {SOLVED} nats within {middle:.0f} steps" if middle < np.inf else f"half of them never below {SOLVED} nats"
    return right, f"{right:3d} of {len(learned)}, {pace}", losses


def effects() -> tuple[bool, dict[str, np.ndarray]]:
    """Width, learning rate and initialisation."""
    counts, curves = {}, {}
    hundred = trained(100, hidden=(4,))
    counts["4 units"], words, curves["4 units"] = told(hundred)
    print(f"one hidden layer of 4 sigmoids      {words} | bar 95 of 100")
    choices: dict[str, dict[str, Any]] = {f"{width} units": {"hidden": (width,)} for width in (2, 3, 8, 16)}
    choices |= {f"rate {lr:g}": {"lr": lr} for lr in (0.002, 0.02, 0.2)}
    choices |= {f"SGD, rate {lr:g}": {"lr": lr, "optimizer": "sgd"} for lr in (0.02, 0.5)}
    choices |= {f"weights: {rule}": {"initialiser": rule} for rule in ("xavier", "small", "zeros")}
    choices["batch norm"] = {"norm": "batch"}
    for name, choice in choices.items():
        counts[name], words, curves[name] = told(trained(40, **choice))
        print(f"  {name:20s} {words}")
    met = {
        "≥ 95 of 100 seeds with 4 units": counts["4 units"] >= 95,
        "more units, more seeds: 2 < 3 < 8": counts["2 units"] < counts["3 units"] <= counts["8 units"],
        "too low a rate is not done in time": counts["SGD, rate 0.02"] < 20 < counts["SGD, rate 0.5"],
        "zero weights never learn, small ones are slower": counts["weights: zeros"] == 0
        and curves["weights: small"][:, 3].mean() > curves["8 units"][:, 3].mean(),
    }
    for claim, good in met.items():
        print(f"  {'met   ' if good else 'MISSED'} {claim}")
    return all(met.values()), curves


def normalised() -> tuple[bool, list[np.ndarray]]:
    """The numbers of a second hidden layer's units before and after batch norm, as training sees them, over 20 seeds."""
    parts: list[list[torch.Tensor]] = [[], []]
    for one in trained(20, hidden=(8, 8), norm="batch", steps=256):
        rows = one.scaling.store(one.read({"x": DATA["x"][:64]}))
        layer = one.model.encoder.net[4]
        hook = layer.register_forward_hook(lambda _, inputs, output: (parts[0].append(inputs[0]), parts[1].append(output)) and None)
        one.model.train()
        with torch.no_grad():
            one.model.predict(rows)
        hook.remove()
    values = [torch.cat(part, 1).numpy() for part in parts]
    mixed = [float(((v > 0).mean(0) * (v < 0).mean(0) > 0.1).mean()) for v in values]  # both signs at 11 % or more
    offset = [float(np.mean(abs(v.mean(0)) / v.std(0))) for v in values]
    print(f"units with both signs: {mixed[0]:.0%} before batch norm, {mixed[1]:.0%} after; distance of the mean from zero, in spreads:")
    print(f"  {offset[0]:.2f} before, {offset[1]:.2f} after | lecture: better range, both positive and negative values after")
    return mixed[1] > mixed[0] and offset[1] < offset[0], values


def forms() -> bool:
    """Every network that reads data, on XOR in its own kind of data, judged on examples it has not seen."""
    random = np.random.default_rng(0)
    n = 1200
    bits = random.integers(0, 2, (n, 2))
    y = bits[:, 0] ^ bits[:, 1]
    halves = np.repeat(bits, 4, 1).astype(np.float32)
    images = {d: halves.reshape(n, 1, 8, *[1] * (d - 1)) * np.ones((1, 1, 8, 8, 4)[: d + 2]) for d in (1, 2, 3)}
    images = {d: np.float32(x + 0.1 * random.normal(size=x.shape)) for d, x in images.items()}
    kinds = {1: "signal", 2: "image", 3: "image"}
    numbers = (bits + 0.1 * random.normal(size=bits.shape)).astype(np.float32)
    signs = [np.float32((2 * pair - 1)[random.permutation(2), None] + 0.1 * random.normal(size=(2, 1))) for pair in bits]
    cases = {"mlp, numbers": ("mlp", numbers, None), "residual, numbers": ("residual", numbers, None)}
    cases |= {"mlp, image": ("mlp", images[2], "image")}
    cases |= {f"conv, {d} dimension{'s' if d > 1 else ''}": ("conv", images[d], kinds[d]) for d in images}
    cases["deepsets, set"] = ("deepsets", signs, "set")
    shares = {}
    for name, (network, x, kind) in cases.items():
        rows, fresh = ({"x": x[:900], "y": y[:900]}, {"x": x[900:]})
        options = {"encoder": network} | ({"shift": 0.0} if kind in ("image", "signal") else {})
        learned = gnomon.fit("classifier", rows, kind=kind, options=options, epochs=15, batch_size=64, seed=0, progress=False)
        shares[name] = float((learned.predict(fresh) == y[900:]).mean())
    print("XOR in every kind of data: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()) + " | bar 98 %")
    return min(shares.values()) >= 0.98


def picture(curves: dict[str, np.ndarray], values: list[np.ndarray], file: str) -> None:
    """Loss against steps for every choice, and the numbers before and after batch norm."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, (name, losses) in enumerate(curves.items()):
        steps = STEPS * np.arange(1, losses.shape[1] + 1)
        left.plot(steps, losses.mean(0), "-" if index < 10 else "--", color=f"C{index % 10}", label=name)
    left.set(xlabel="steps", ylabel="mean loss of the seeds, nats")
    left.legend(fontsize=7)
    for name, part in zip(("before batch norm", "after"), values, strict=True):
        right.hist(part.ravel(), bins=np.linspace(-4, 4, 81), alpha=0.6, label=name)
    right.set(xlabel="numbers that a second layer of sigmoids is given")
    right.legend()
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    solved, curves = effects()
    better, values = normalised()
    met = [solved, better, forms()]
    if len(sys.argv) > 1:
        picture(curves, values, sys.argv[1])
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
