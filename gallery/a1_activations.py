"""A1 · One neuron and its activations: every function and derivative by name beside its formula, and what one neuron can learn.

The lecture shows a table of functions and derivatives. Here it is computed: values and derivatives (by automatic differentiation, in
float64) of the modules that `activation="…"` names, against closed forms written out below. Then one neuron learns AND and OR but not
XOR, and PReLU and maxout learn a slope and a shape that a rectifier does not have.

Two differences from the slides, on purpose: leaky ReLU has the slope 0.01 (0.1 there), and the step has a straight-through gradient,
since its true derivative, 0, would teach nothing.

Takes about 20 seconds on one core. What comes out: all within 1e-14; AND and OR by 20 neurons of 20, XOR by none.

    python gallery/a1_activations.py [picture.png]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import ndtr

import gnomon
from gnomon.blocks import activations, make_activation

BAR = 1e-12
Numbers = np.ndarray


def sigmoid(x: Numbers) -> Numbers:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


FORMULAS: dict[str, tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]] = {
    "identity": (lambda x: x, lambda x: 1 + 0 * x),
    "step": (lambda x: 1.0 * (x >= 0), lambda x: 1.0 * (abs(x) <= 1)),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "tanh": (lambda x: 2 / (1 + np.exp(-2 * x)) - 1, lambda x: 1 - np.tanh(x) ** 2),
    "arctan": (np.arctan, lambda x: 1 / (x**2 + 1)),
    "relu": (lambda x: np.maximum(0, x), lambda x: 1.0 * (x > 0)),
    "leaky_relu": (lambda x: np.maximum(0.01 * x, x), lambda x: np.where(x > 0, 1, 0.01)),
    "prelu": (lambda x: np.where(x < 0, 0.25 * x, x), lambda x: np.where(x < 0, 0.25, 1)),
    "elu": (lambda x: np.where(x < 0, np.exp(x) - 1, x), lambda x: np.where(x < 0, np.exp(x), 1)),
    "softplus": (lambda x: np.log1p(np.exp(x)), sigmoid),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "gelu": (lambda x: x * ndtr(x), lambda x: ndtr(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)),
}
"""Value and derivative of every activation of one number."""


def computed(name: str, x: Numbers) -> tuple[Numbers, Numbers]:
    """Value and derivative at x of the module that `name` stands for."""
    at = torch.tensor(x, requires_grad=True)
    value = make_activation(name).double()(at)
    (slope,) = torch.autograd.grad(value.sum(), at)
    return value.detach().numpy(), slope.numpy()


def table() -> bool:
    """Every activation of one number beside its formula."""
    grid = np.linspace(-6, 6, 4001) + 1e-4  # no point on a kink
    print("activation     f(-1)    f(1)  f'(-1)   f'(1)   largest difference from the formulas, f and f' (bar 1e-12)")
    worst = 0.0
    for name, formula in FORMULAS.items():
        differences = [abs(ours - f(grid)).max() for ours, f in zip(computed(name, grid), formula, strict=True)]
        values, slopes = computed(name, np.array([-1.0, 1.0]))
        print(
            f"{name:12s} {values[0]:7.4f} {values[1]:7.4f} {slopes[0]:7.4f} {slopes[1]:7.4f}   {differences[0]:.1e}  {differences[1]:.1e}"
        )
        worst = max(worst, *differences)
    return worst <= BAR


def several_units() -> bool:
    """Softmax and maxout, whose units act on each other: values and the whole matrix of derivatives."""
    x = torch.tensor(np.random.default_rng(0).normal(size=6))
    p = np.exp(x.numpy()) / np.exp(x.numpy()).sum()
    pairs = x.numpy().reshape(3, 2)
    chosen = np.eye(6)[np.arange(3) * 2 + pairs.argmax(1)]
    worst = 0.0
    for name, value, matrix in (("softmax", p, np.diag(p) - np.outer(p, p)), ("maxout", pairs.max(1), chosen)):
        module = make_activation(name).double()
        slopes = torch.autograd.functional.jacobian(module, x).numpy()
        differences = abs(module(x).numpy() - value).max(), abs(slopes - matrix).max()
        print(f"{name:12s} {'six numbers, matrix of derivatives':31s}   {differences[0]:.1e}  {differences[1]:.1e}")
        worst = max(worst, *differences)
    print(f"covered: {len(FORMULAS) + 2} of {len(activations)} names in gnomon.blocks.activations")
    return worst <= BAR and set(activations) == {*FORMULAS, "softmax", "maxout"}


def one_neuron() -> bool:
    """AND, OR and XOR of two inputs by a single neuron for each answer: no hidden layer."""
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    shares = {}
    for name, answers in (("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", [0, 1, 1, 0])):
        data = {"x": np.tile(corners, (128, 1)), "y": np.tile(answers, 128)}
        told = {"seeds": 20, "epochs": 15, "lr": 0.1, "validation": 0, "progress": False, "options": {"net": {"hidden": ()}}}
        learned = gnomon.fit("classifier", data, **told)
        shares[name] = np.mean([(one.predict({"x": corners}) == answers).all() for one in learned])
    print("one neuron learns, of 20 seeds: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()) + "; bars 100, 100, 0 %")
    return shares == {"and": 1.0, "or": 1.0, "xor": 0.0}


def learned_shapes() -> bool:
    """One hidden unit of each kind on |x| and on a rectifier that leaks 0.4: the error of the best of 20 seeds."""
    x = np.linspace(-1, 1, 512, dtype=np.float32)[:, None]
    targets = {"|x|": abs(x[:, 0]), "leak of 0.4": np.maximum(x, 0.4 * x)[:, 0]}
    errors = {}
    for shape, y in targets.items():
        for name in ("relu", "prelu", "maxout"):
            options = {"spread": "none", "net": {"hidden": (1,), "activation": name}}
            told = {"seeds": 20, "epochs": 30, "lr": 0.03, "validation": 0, "progress": False}
            learned = gnomon.fit("regressor", {"x": x, "y": y}, options=options, **told)
            errors[shape, name] = min(float(np.sqrt(np.mean((one.predict({"x": x}) - y) ** 2))) for one in learned) / y.std()
        told_errors = ", ".join(f"{name} {errors[shape, name]:.4f}" for name in ("relu", "prelu", "maxout"))
        print(f"one unit on {shape:11s}: error ÷ spread {told_errors}")
    print("bar: prelu and maxout below 0.02 on both, relu above 0.1")
    return all((error > 0.1) if name == "relu" else (error < 0.02) for (_, name), error in errors.items())


def picture(file: str) -> None:
    """Every activation of one number with its derivative."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    x = np.linspace(-4, 4, 401)
    for axes, name in zip(figure.subplots(3, 4, sharex=True).flat, FORMULAS, strict=True):
        value, slope = computed(name, x)
        axes.plot(x, value, label="f")
        axes.plot(x, slope, "--", label="f'")
        axes.set(title=name, ylim=(-1.7, 3))
    axes.legend()
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    met = [step() for step in (table, several_units, one_neuron, learned_shapes)]
    if len(sys.argv) > 1:
        picture(sys.argv[1])
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
