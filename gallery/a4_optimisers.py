"""A4 · Optimisers by name: the update rules beside PyTorch's, and a race on one plot.

The lecture lists gradient descent, its stochastic and mini-batch forms, momentum ("accelerate if going downhill for a long time"),
Nesterov ("… but not indefinitely"), Adagrad (accumulates all past gradients), Adadelta and RMSProp (do not) and Adam, each with one
phrase, and names Levenberg–Marquardt. Here each rule makes thirty steps from the same start as PyTorch's; then all race on a long narrow
bowl (a linear fit) and on a small network, each at the better of two rates; and each phrase becomes a comparison. Last, sharpness-aware
steps are compared with the same by hand, and with ordinary ones on fresh digits.

Takes about 60 seconds on one core. What comes out: rules within 1e-5; on the bowl momentum ends at a third of gradient descent's error
and second-order rules at rounding error; on the network mini-batches beat whole ones, and Levenberg–Marquardt beats the rest.

    python gallery/a4_optimisers.py [picture.png]
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import torch

import gnomon
from gnomon.data import Spec
from gnomon.models import Model
from gnomon.models.classifier import Classifier
from gnomon.models.regressor import Regressor

PEERS: dict[str, Any] = {
    "sgd": torch.optim.SGD, "momentum": torch.optim.SGD, "nesterov": torch.optim.SGD, "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
}  # fmt: skip
OWN = {"momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}, "adamw": {"weight_decay": 0.0}}
RATES = {
    "sgd": (0.1, 0.3), "momentum": (0.01, 0.03), "nesterov": (0.01, 0.03), "adagrad": (0.3, 1.0), "adadelta": (1.0, 3.0),
    "rmsprop": (0.01, 0.03), "adam": (0.03, 0.1), "adamw": (0.03, 0.1), "nadam": (0.01, 0.03), "muon": (0.03, 0.1),
}  # fmt: skip
PLAIN: dict[str, Any] = {"validation": 0, "average": None, "schedule": "constant", "patience": None, "progress": False}
SMALL = {"net": {"hidden": (32,)}}
Curves = dict[str, np.ndarray]


def bowl() -> dict[str, np.ndarray]:
    """A linear law of six columns that hang together."""
    random = np.random.default_rng(0)
    turn, _ = np.linalg.qr(random.normal(size=(6, 6)))
    x = (random.normal(size=(512, 6)) * np.logspace(0, -1.5, 6)) @ turn.T
    return {"x": x.astype(np.float32), "y": x / x.std(0) @ random.normal(size=6)}


def waves() -> dict[str, np.ndarray]:
    """A smooth surface over a square."""
    x = np.random.default_rng(0).uniform(-2, 2, (256, 2)).astype(np.float32)
    return {"x": x, "y": np.sin(2 * x[:, 0]) * np.cos(2 * x[:, 1])}


def rules() -> bool:
    """Thirty steps of each rule and of PyTorch's from the same weights, on whole batches."""
    worst, data = 0.0, waves()
    for name, peer in PEERS.items():
        starts: list[Model] = []

        def made(spec: Spec, starts: list[Model] = starts) -> Model:
            model = Regressor(spec, spread="none", net={"hidden": (16,)})
            starts.append(copy.deepcopy(model))
            return model

        learned = gnomon.fit(made, data, optimizer=name, lr=0.01, clip=None, epochs=30, batch_size="all", **PLAIN)
        (theirs,) = starts
        rows = learned.scaling.store(learned.read(data, target=True))
        optimiser = peer(theirs.parameters(), lr=0.01, **OWN.get(name, {}))
        for _ in range(30):
            optimiser.zero_grad()
            loss = theirs.loss(rows)
            (loss.total / loss.weight).backward()
            optimiser.step()
        apart = [float((a - b).detach().abs().max()) for a, b in zip(theirs.parameters(), learned.model.parameters(), strict=True)]
        worst = max(worst, *apart)
    print(f"30 steps of {len(PEERS)} rules beside torch.optim's: weights differ by at most {worst:.1e} | bar 1e-5 (float32)")
    return worst < 1e-5


def run(name: str, data: Any, hidden: tuple[int, ...], batch: int | str, epochs: int, lr: float | None = None) -> np.ndarray:
    """Training loss of three seeds after each epoch, ``(3, epochs)``."""
    options = {"spread": "none", "net": {"hidden": hidden, "activation": "tanh"}}
    told = PLAIN | {"optimizer": name, "epochs": epochs, "batch_size": batch, "options": options}
    if lr is None:  # second-order rules find their own, and train one model at a time
        learned = [gnomon.fit("regressor", data, seed=seed, **told) for seed in range(3)]
    else:
        try:
            learned = gnomon.fit("regressor", data, seeds=3, clip=None, lr=lr, **told)
        except gnomon.GnomonError:  # it ran away
            return np.full((3, epochs), np.inf)
    return np.nan_to_num(np.array([[line["train/loss"] for line in one.history] for one in learned]), nan=np.inf)


def race(title: str, data: Any, hidden: tuple[int, ...], batch: int | str, epochs: int, second: int) -> Curves:
    """Every rule at the better of its rates; second-order rules for `second` steps on all rows."""
    found: Curves = {}
    print(f"{title}: mean square error (share of the variance) of three seeds")
    for name, rates in RATES.items():
        tried = {lr: run(name, data, hidden, batch, epochs, lr) for lr in rates}
        best = min(tried, key=lambda lr: tried[lr][:, -1].max())
        found[name] = tried[best]
        print(f"  {name:20s} rate {best:<5g} {shown(found[name])} after {epochs} epochs")
    for name in ("lbfgs", "levenberg-marquardt"):
        found[name] = run(name, data, hidden, "all", second)
        print(f"  {name:20s} {'':10s} {shown(found[name])} after {second} steps on all rows")
    return found


def shown(losses: np.ndarray) -> str:
    """Mean and standard error of the last losses."""
    return f"{losses[:, -1].mean():.3g} ± {losses[:, -1].std(ddof=1) / np.sqrt(len(losses)):.1g}"


def sharpness() -> bool:
    """Sharpness-aware steps beside the same by hand, from the same weights, on digits."""
    data = gnomon.data.load("digits")
    x = data["x"].reshape(-1, 64).astype(np.float32)
    rows, fresh = {"x": x[::2], "y": data["y"][::2]}, {"x": x[1::2]}
    starts: list[Model] = []

    def made(spec: Spec) -> Model:
        model = Classifier(spec, net={"hidden": (32,)})
        starts.append(copy.deepcopy(model))
        return model

    told = PLAIN | {"optimizer": "sgd", "lr": 0.1, "sharpness": 0.2, "clip": None}
    learned = gnomon.fit(made, rows, epochs=30, batch_size="all", **told)
    (own,) = starts
    batch, weights = learned.scaling.store(learned.read(rows, target=True)), list(own.parameters())

    def slopes() -> tuple[torch.Tensor, ...]:
        loss = own.loss(batch)
        return torch.autograd.grad(loss.total / loss.weight, weights)

    for _ in range(30):
        here, uphill = [weight.detach().clone() for weight in weights], slopes()
        length = torch.cat([slope.flatten() for slope in uphill]).norm()
        with torch.no_grad():
            for weight, slope in zip(weights, uphill, strict=True):
                weight += 0.2 * slope / length
        there = slopes()
        with torch.no_grad():
            for weight, start, slope in zip(weights, here, there, strict=True):
                weight.copy_(start - 0.1 * slope)
    apart = max(float((a - b).detach().abs().max()) for a, b in zip(weights, learned.model.parameters(), strict=True))
    print(f"30 sharpness-aware steps beside the same by hand: weights differ by at most {apart:.1e} | bar 1e-5 (float32)")
    shares = []
    for radius in (0.0, 0.7):
        many = gnomon.fit("classifier", rows, seeds=6, epochs=60, batch_size=64, lr=3e-3, sharpness=radius, options=SMALL, **PLAIN)
        shares.append(np.array([[(one.predict(fresh) == data["y"][1::2]).mean()] for one in many]))
    print(f"  share of fresh digits named right: ordinary steps {shown(shares[0])}, sharpness-aware ones {shown(shares[1])} | bar: more")
    return apart < 1e-5 and bool(shares[1].mean() > shares[0].mean())


def phrases(narrow: Curves, net: Curves) -> bool:
    """What the lecture says of each rule, as comparisons."""
    last = {("bowl", n): c[:, -1].mean() for n, c in narrow.items()} | {("net", n): c[:, -1].mean() for n, c in net.items()}
    whole = min(run("sgd", waves(), (32,), "all", 30, lr)[:, -1].mean() for lr in RATES["sgd"])
    heavy, damped = (np.mean(np.diff(run(n, bowl(), (), "all", 150, 0.03)) > 0) for n in ("momentum", "nesterov"))
    early, late = (float(-np.diff(np.log(narrow["adagrad"].mean(0)))[part].mean()) for part in (slice(0, 40), slice(110, 149)))
    claims = {
        f"mini-batches beat whole batches in as many epochs: {last['net', 'sgd']:.2g} < {whole:.2g}": last["net", "sgd"] < whole,
        f"momentum is faster along the valley: {last['bowl', 'momentum']:.1g} < {last['bowl', 'sgd']:.1g}": last["bowl", "momentum"]
        < last["bowl", "sgd"],
        f"Nesterov goes uphill in fewer steps than momentum: {damped:.0%} < {heavy:.0%}": damped < heavy,
        f"Adagrad slows down as it accumulates: loss falls by {early:.3f}, later by {late:.3f} e-folds a step": late < early,
        f"Adam beats gradient descent on the network: {last['net', 'adam']:.2g} < {last['net', 'sgd']:.2g}": last["net", "adam"]
        < last["net", "sgd"],
        "second-order rules solve the bowl (bar 1e-10)": max(last["bowl", n] for n in ("lbfgs", "levenberg-marquardt")) < 1e-10,
        "Levenberg–Marquardt ends lowest on the network": min(last, key=lambda k: last[k] if k[0] == "net" else np.inf)[1][0] == "l",
    }
    for text, met in claims.items():
        print(f"  {'met   ' if met else 'MISSED'} {text}")
    return all(claims.values())


def picture(races: dict[str, Curves], file: str) -> None:
    """Loss against epochs for every rule."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(races)), races.items(), strict=True):
        for index, (name, losses) in enumerate(curves.items()):
            line = "-" if index < 10 else "--"
            axes.plot(range(1, losses.shape[1] + 1), losses.mean(0), line, color=f"C{index % 10}", label=name)
        axes.set(title=title, yscale="log", xlabel="epochs (steps, of second-order rules)", ylabel="mean square error")
    axes.legend(fontsize=8)
    figure.savefig(file)


def main() -> int:
    """Print all; 1 if a bar is missed."""
    right = rules()
    narrow = race("a long narrow bowl", bowl(), (), "all", 150, 60)
    net = race("a network of 32 tanh units", waves(), (32,), 32, 30, 30)
    met = [right, phrases(narrow, net), sharpness()]
    if len(sys.argv) > 1:
        picture({"a long narrow bowl": narrow, "a network of 32 tanh units": net}, sys.argv[1])
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
