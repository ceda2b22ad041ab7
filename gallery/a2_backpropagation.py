"""A2 · Multilayer perceptron: the rules of backpropagation by hand, beside automatic differentiation, and the graph it walks.

The lecture derives Δw_jk = α δ_k z_j and Δv_ij = α δ_j x_i for one hidden layer, and shows e = (a + b)(b + 1) at a = 2, b = 1 with the
derivatives 2 and 5. Here both are computed by hand in numpy and by the library; then fifty steps of gradient descent by hand are
compared with `gnomon.fit`. One slide's hidden δ carries an extra x_i: with it the rule is wrong, as is shown. Last, the graph of
operations behind the loss of every model that learns by gradients is walked, and every parameter must be found in it.

The library draws no graphs itself, so the walk is written here, in ten lines.

Takes about 10 seconds on one core. What comes out: 2 and 5; hand and automatic gradients within 1e-15, fifty steps within 1e-6.

    python gallery/a2_backpropagation.py [picture.png]
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

import gnomon
from gnomon.blocks import MLP
from gnomon.data import Examples, Spec
from gnomon.models import Model
from gnomon.models.regressor import Regressor

BAR = 1e-12
Arrays = list[np.ndarray]


def lecture_example() -> tuple[bool, Tensor]:
    """The derivatives of e = (a + b)(b + 1) at a = 2, b = 1."""
    a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    e = (a + b) * (b + 1)
    to_a, to_b = torch.autograd.grad(e, (a, b), retain_graph=True)
    print(f"e = (a + b)(b + 1) at a = 2, b = 1   lecture: de/da = 2, de/db = 5 | here: {to_a.item():g}, {to_b.item():g}")
    return (to_a.item(), to_b.item()) == (2.0, 5.0), e


def by_hand(weights: Arrays, x: np.ndarray, t: np.ndarray, *, linear: bool = False, slip: bool = False) -> Arrays:
    """Gradients of E = ½ Σ (t - y)² by the lecture's three stages, for v, b, w, c: hidden and outer weights, each with its bias."""
    v, b, w, c = weights
    z = expit(x @ v.T + b)
    u = z @ w.T + c
    y = u if linear else expit(u)
    delta = (t - y) * (1 if linear else y * (1 - y))  # δ_k = (t_k - y_k) a'(u_k)
    hidden = (delta @ w) * z * (1 - z)  # δ_j = Σ_k δ_k w_jk a'(u_j)
    return [-(hidden * x[:, :1] if slip else hidden).T @ x, -hidden.sum(0), -delta.T @ z, -delta.sum(0)]


def gradients() -> bool:
    """Hand rule, automatic differentiation and differences of the loss, for 4 inputs, 5 hidden units and 3 outputs."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(MLP(4, 3, hidden=(5,), activation="sigmoid"), torch.nn.Sigmoid()).double()
    x, t = torch.randn(20, 4, dtype=torch.float64), torch.rand(20, 3, dtype=torch.float64)
    error = 0.5 * (t - net(x)).square().sum()
    automatic = [g.numpy() for g in torch.autograd.grad(error, list(net.parameters()))]
    weights = [p.detach().numpy() for p in net.parameters()]
    hand, slipped = (by_hand(weights, x.numpy(), t.numpy(), slip=slip) for slip in (False, True))
    apart = max(float(abs(a - h).max()) for a, h in zip(automatic, hand, strict=True))
    wrong = float(abs(automatic[0] - slipped[0]).max())
    print(f"gradients by hand and by autograd    largest difference {apart:.1e} | bar {BAR:.0e}; with the slide's extra x_i {wrong:.2f}")
    still = {"no error": (weights, net(x).detach().numpy()), "no output z": ([weights[0], weights[1] - 1e3, *weights[2:]], t.numpy())}
    still["saturated a'"] = ([*weights[:3], weights[3] + 1e3], t.numpy())
    sizes = {name: float(abs(by_hand(w, x.numpy(), target)[2]).max()) for name, (w, target) in still.items()}
    told = ", ".join(f"{name}: {size:.0e}" for name, size in sizes.items())
    print(f"gradient of w if a term is zero      lecture: none | here: {told}; ordinarily {abs(hand[2]).max():.2f}")
    return apart <= BAR and wrong > 0.01 and max(sizes.values()) < 1e-12


def training() -> bool:
    """Fifty steps of gradient descent by hand, and the same by `gnomon.fit`, from the same weights."""
    starts: list[Model] = []

    def made(spec: Spec) -> Model:
        model = Regressor(spec, spread="none", net={"hidden": (6,), "activation": "sigmoid"})
        starts.append(copy.deepcopy(model))
        return model

    random = np.random.default_rng(0)
    x = random.normal(size=(200, 3)).astype(np.float32)
    data = {"x": x, "y": np.sin(x).sum(1) + x[:, 0] * x[:, 1]}
    plain: dict[str, Any] = {"optimizer": "sgd", "clip": None, "average": None, "schedule": "constant", "validation": 0, "progress": False}
    learned = gnomon.fit(made, data, lr=0.2, epochs=50, batch_size="all", **plain)
    rows = learned.scaling.forward(learned.read(data, target=True))
    inputs, targets = (np.asarray(part, dtype=np.float64) for part in (rows.x, rows.y))
    weights = [p.detach().double().numpy() for p in starts[0].parameters()]
    for _ in range(50):
        moves = by_hand(weights, inputs, targets, linear=True)
        weights = [w - 0.2 * 2 * move / len(inputs) for w, move in zip(weights, moves, strict=True)]  # fit's loss is the mean square
    apart = max(float(abs(w - p.detach().numpy()).max()) for w, p in zip(weights, learned.model.parameters(), strict=True))
    moved = max(float((a - b).detach().abs().max()) for a, b in zip(starts[0].parameters(), learned.model.parameters(), strict=True))
    print(f"50 steps by hand and by gnomon.fit   weights moved by {moved:.2f} and differ by {apart:.1e} | bar 1e-5 (float32)")
    return apart < 1e-5 < moved


def graph(root: Tensor) -> tuple[dict[Any, int], list[tuple[Any, Any]]]:
    """The operations behind a number: each with its depth below it, and who uses whose result."""
    depths, edges, waiting = {root.grad_fn: 0}, [], [root.grad_fn]
    while waiting:
        node = waiting.pop(0)
        for below, _ in node.next_functions:
            if below is not None:
                edges.append((node, below))
                if below not in depths:
                    depths[below] = depths[node] + 1
                    waiting.append(below)
    return depths, edges


def graphs_of_models() -> bool:
    """The graph of every model's loss reaches all of its parameters."""
    complete = True
    for name in gnomon.available("models"):
        data = "diabetes" if name == "regressor" else "wine"
        learned = gnomon.fit(name, data, epochs=1, progress=False)
        batch: Examples = learned.scaling.forward(learned.read(data, target=learned.model.target is not None))
        for player in learned.model.players():
            depths, edges = graph(getattr(learned.model, player.loss)(batch).total)
            found = {id(node.variable) for node in depths if hasattr(node, "variable")}
            own = [id(parameter) for parameter in player.parameters(learned.model).values()]
            complete &= found.issuperset(own)
            reached = f"{len(found & set(own)):2d} of {len(own):2d} parameter tensors reached"
            print(f"graph of {name + ' (' + player.name + ')':28s}{len(depths):4d} operations, {len(edges):4d} edges, {reached}")
    return complete


def picture(roots: dict[str, Tensor], file: str) -> None:
    """The graph behind each number, from the number down to the leaves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    for axes, (title, root) in zip(figure.subplots(1, len(roots)), roots.items(), strict=True):
        depths, edges = graph(root)
        levels = [[node for node in depths if depths[node] == level] for level in range(max(depths.values()) + 1)]
        place = {node: ((i + 0.5) / len(level), -depth) for depth, level in enumerate(levels) for i, node in enumerate(level)}
        for above, below in edges:
            axes.annotate("", place[above], place[below], arrowprops={"arrowstyle": "->", "color": "0.6"})
        for node, at in place.items():
            shape = f" {tuple(node.variable.shape)}" if hasattr(node, "variable") else ""
            label = ("parameter" if shape else node.name().removesuffix("Backward0")) + shape
            axes.text(*at, label, ha="center", va="center", fontsize=7, bbox={"boxstyle": "round", "fc": "C1" if shape else "w"})
        axes.set(title=title, xlim=(0, 1), ylim=(-len(levels), 1))
        axes.axis("off")
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    right, e = lecture_example()
    met = [right, gradients(), training(), graphs_of_models()]
    two_layers = torch.nn.Sequential(MLP(2, 1, hidden=(2,), activation="sigmoid"), torch.nn.Sigmoid())
    print(f"the module tree of the lecture's two-layer network:\n{two_layers}")
    if len(sys.argv) > 1:
        picture({"e = (a + b)(b + 1)": e, "two-layer network": two_layers(torch.rand(4, 2)).square().mean()}, sys.argv[1])
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
