"""A10 · Universal approximation: more units, more depth, and how many straight pieces a network has.

The lecture approximates a function by 1, 2, 3, 5 and 50 sigmoids and shows the fit becoming good; sets 1-128-1 beside 1-32-8-1, "deeper is
better but is difficult to optimize"; explains one hidden layer as straight cuts and depth as folding; and cites Telgarsky (a deep network
whose sawtooth a shallow one needs exponentially many units for) and Montúfar (regions of a deep rectifier network). Here all is computed:
fits over several seeds; cuts and regions counted on a grid and compared with the formulas; the sawtooth built, then fitted by shallow nets.

Takes about 95 seconds on one core. What comes out: the error falls with every P, from 41 % to about 1 % at 50. Of eight seeds the best
1-32-8-1 (337 weights) ends at half the error or less of the best 1-128-1 (385), though the mean of the deep ones is worse: many get
stuck. Layers of 2 units, 8 in all, make 16 teeth exactly, where 8 units side by side can make 9 pieces.

    python gallery/a10_universal_approximation.py [picture.png]
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gnomon
from gnomon.blocks import MLP

UNITS, SEEDS = (1, 2, 3, 5, 50), 8
X = np.linspace(-1, 1, 256, dtype=np.float32)[:, None]
Predictions = np.ndarray


def fitted(y: np.ndarray, hidden: tuple[int, ...], activation: str = "sigmoid", epochs: int = 400, lr: float = 0.03) -> Predictions:
    """Predictions of `SEEDS` networks trained together, ``(SEEDS, points)``."""
    options = {"spread": "none", "net": {"hidden": hidden, "activation": activation}}
    told: dict[str, Any] = {"batch_size": 32, "validation": 0, "average": None, "patience": None, "progress": False}
    learned = gnomon.fit("regressor", {"x": X, "y": y}, seeds=SEEDS, epochs=epochs, lr=lr, options=options, **told)
    return np.array([one.predict({"x": X}) for one in learned])


def errors(made: Predictions, y: np.ndarray) -> np.ndarray:
    """Root mean square error of each, as a share of the target's spread."""
    return np.sqrt(np.mean((made - y) ** 2, 1)) / y.std()


def shown(found: np.ndarray) -> str:
    """Mean with its standard error, and the best."""
    return f"{100 * found.mean():6.2f} ± {100 * found.std(ddof=1) / np.sqrt(len(found)):.2f} %, best {100 * found.min():.2f} %"


def more_units() -> tuple[bool, np.ndarray, dict[int, np.ndarray]]:
    """One hidden layer of P sigmoids on a function with a few bends."""
    y = (np.sin(np.pi * X) + 0.5 * np.sin(3 * np.pi * X + 1))[:, 0]
    best, curves = {}, {}
    print("P sigmoids in one hidden layer | lecture: a good fit at 50, ever worse with fewer; bars: best falls with P, below 2 % at 50")
    for count in UNITS:
        made = fitted(y, (count,), lr=0.3)
        found = errors(made, y)
        best[count], curves[count] = found.min(), made[found.argmin()]
        print(f"  P = {count:2d}   error {shown(found)}")
    falls = all(best[a] > best[b] for a, b in zip(UNITS[:-1], UNITS[1:], strict=True))
    return falls and best[50] < 0.02, y, curves


def width_or_depth() -> bool:
    """1-128-1, 1-112-1 and 1-32-8-1 on two functions with many bends: the best seed shows what can be, the mean how hard it is to find."""
    met = True
    print("width and depth | lecture: deeper is better, but is difficult to optimize | bar: best of the deep ≤ 0.8 × of the wide")
    for name, y in (("sin 8x", np.sin(8 * X)[:, 0]), ("sin(3x + 6x²)", np.sin(3 * X + 6 * X**2)[:, 0])):
        best = {}
        for hidden in ((128,), (112,), (32, 8)):
            found = errors(fitted(y, hidden), y)
            best[hidden] = found.min()
            weights = sum(parameter.numel() for parameter in MLP(1, 1, hidden=hidden).parameters())
            print(f"  {name:14s} {'-'.join(map(str, (1, *hidden, 1))):8s} ({weights} weights): error {shown(found)}")
        met &= best[32, 8] <= 0.8 * min(best[(128,)], best[(112,)])
    return bool(met)


def regions(layers: list[nn.Linear], low: float, high: float, points: int = 1500) -> int:
    """Straight pieces of a rectifier network on a square: different sets of active units, counted on a fine grid."""
    line = torch.linspace(low, high, points, dtype=torch.float64)
    h, patterns = torch.cartesian_prod(line, line), []
    for layer in layers:
        h = h @ layer.weight.double().T + layer.bias.double()
        patterns.append(h > 0)
        h = h.relu()
    code = torch.cat(patterns, 1).long() @ (2 ** torch.arange(sum(len(layer.bias) for layer in layers)))
    return len(code.unique())


def layer(weight: Tensor | list[list[float]], bias: Tensor | list[float]) -> nn.Linear:
    """A linear layer with these numbers."""
    made = nn.Linear(len(torch.as_tensor(weight)[0]), len(bias))
    with torch.no_grad():
        made.weight.copy_(torch.as_tensor(weight))
        made.bias.copy_(torch.as_tensor(bias))
    return made


def cuts_and_folds() -> bool:
    """One layer cuts the plane as lines do; a layer that folds it first multiplies the pieces, as Montúfar counts them."""
    met, angles = True, torch.linspace(0.1, 0.1 + math.pi, 13)[:12]
    print("cuts: n units in one layer | 1 + n + n(n - 1)/2 regions (Montúfar's formula for one layer)")
    random = torch.Generator().manual_seed(1)
    for n in (1, 2, 4, 8):
        chosen = angles[torch.randperm(12, generator=random)[:n]]
        cut = layer(torch.stack([chosen.cos(), chosen.sin()], 1), 0.6 * torch.rand(n, generator=random) - 0.3)
        counted, formula = regions([cut], -6, 6, 3000), 1 + n + n * (n - 1) // 2
        print(f"  n = {n}: {counted:3d} counted, {formula:3d} by the formula")
        met &= counted == formula
    # Two units a coordinate fold [0, 1] once: 2·relu(x) - 4·relu(x - ½). The next layer reads the folded coordinates.
    fold, unfold = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]), torch.tensor([[2.0, -4, 0, 0], [0, 0, 2, -4]])
    offsets = torch.tensor([0.0, -0.5, 0.0, -0.5])
    last, shift = torch.tensor([[1.0, 0.15], [0.2, 1], [1, 1], [1, -0.9]]), torch.tensor([-0.37, -0.46, -1.2, 0.11])
    print("folds: layers of 4 units, all but the last of which fold the square | 4 a fold times the 11 of four cuts, at least")
    for depth in (1, 2, 3):
        layers = [layer(fold if i == 0 else fold @ unfold, offsets) for i in range(depth - 1)]
        layers.append(layer(last if depth == 1 else last @ unfold, shift))
        counted, formula, flat = regions(layers, 1e-4, 1 - 1e-4), 4 ** (depth - 1) * 11, 1 + 4 * depth + 2 * depth * (4 * depth - 1)
        print(f"  {depth} layers, {4 * depth:2d} units: {counted:3d} counted, {formula:3d} by the formula; {flat} at most side by side")
        met &= counted == formula
    return met


def sawtooth() -> bool:
    """Telgarsky's function of 2 units a layer, exactly; and shallow networks with as many units trained on it."""
    met = True
    print("sawtooth of k layers of 2 units | 2^k straight pieces; 2k units side by side make 2k + 1 at most")
    for k in (1, 2, 3, 4, 5):
        net = MLP(1, 1, hidden=(2,) * k, activation="relu").double()
        tent = torch.tensor([[2.0, -4.0]])
        with torch.no_grad():
            for index, part in enumerate(part for part in net if isinstance(part, nn.Linear)):
                part.weight.copy_(tent if index == k else torch.ones(2, 1) @ (tent if index else torch.ones(1, 1)))
                part.bias.copy_(torch.zeros(1) if index == k else torch.tensor([0.0, -0.5]))
            x = torch.linspace(0, 1, 2**12 + 1, dtype=torch.float64)[:, None]
            slopes = net(x).diff(dim=0) * 2**12
        pieces = 1 + int((slopes.diff(dim=0).abs() > 1).sum())
        words = f"  k = {k}: {pieces:2d} pieces counted, {2**k:2d} by the formula, slopes ±{slopes.abs().max():.0f}"
        if k in (2, 4):
            with torch.no_grad():
                y = net(torch.tensor((X + 1) / 2).double())[:, 0].numpy()
            found = errors(fitted(y, (2 * k,), "relu", 160, 0.02), y)
            words += f"; {2 * k} units side by side, trained: error {shown(found)}"
            met &= k == 2 or found.min() > 0.3
        print(words)
        met &= pieces == 2**k
    print("bar: counts equal, and the best shallow network misses the 16 pieces by more than 30 %")
    return met


def picture(y: np.ndarray, curves: dict[int, np.ndarray], file: str) -> None:
    """The best fit of each P."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 3), layout="constrained")
    for axes, (count, made) in zip(figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True):
        axes.plot(X, y, "k--", linewidth=1)
        axes.plot(X, made)
        axes.set_title(f"P = {count}")
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    good, y, curves = more_units()
    met = [good, width_or_depth(), cuts_and_folds(), sawtooth()]
    if len(sys.argv) > 1:
        picture(y, curves, sys.argv[1])
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
