"""Time of one training step: `gnomon.fit` with everything on against hand-written loops, Lightning and skorch.

The network is small on purpose: with a large one the arithmetic hides what the training loop itself costs.
"""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gnomon
from benchmarks.timing import Comparison, Seconds, arguments, compare, emit, header, installed, per_unit
from gnomon.blocks import MLP

ROWS, INPUTS, HIDDEN, BATCH = 12_800, 20, (64, 64), 64
STEPS = ROWS // BATCH
RATE, CLIP, DECAY, SEED = 1e-3, 5.0, 0.999, 0

METHOD = (
    f"MLP {INPUTS}-{HIDDEN[0]}-{HIDDEN[1]}-1 (SiLU), mean squared error, batch {BATCH}, {ROWS:,} rows: {STEPS} steps an epoch; "
    "float32, one thread, CPU, eager",
    "time per step = (fit of 2 N epochs - fit of N epochs) / steps of N epochs, the same for every side, so that start-up cancels",
    "median of the ratios of paired rounds (Gnomon, peer, Gnomon, peer, ...) in one process; Adam (fused where torch offers it) for all",
    "Gnomon: shuffling, cosine schedule, clipping, averaged weights, loss and history, progress lines; no validation",
    "loop: permute once an epoch, split, fused Adam, and nothing else; same: Gnomon's features written by hand",
    "lightning: Trainer's defaults (bar, log, checkpoints), so Gnomon writes a run folder there too; "
    "skorch: no validation, no printing, its quickest setting",
)


def network() -> nn.Module:
    """A freshly initialised multilayer perceptron, the same module on all sides."""
    return MLP(INPUTS, 1, hidden=HIDDEN, activation="silu")


def data() -> tuple[Tensor, Tensor]:
    """Standard normal inputs and a noisy wave along one direction: ``(rows, 20)`` and ``(rows, 1)``."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(ROWS, INPUTS, generator=generator)
    direction = torch.randn(INPUTS, 1, generator=generator) / math.sqrt(INPUTS)
    return x, torch.sin(2.0 * x @ direction) + 0.1 * torch.randn(ROWS, 1, generator=generator)


def fit_gnomon(x: Tensor, y: Tensor, epochs: int, *, out: str | None = None) -> None:
    """`gnomon.fit` with everything on."""
    options = {"spread": "none", "net": {"hidden": HIDDEN, "activation": "silu"}}
    gnomon.fit(
        "regressor", (x, y), options=options, validation=0.0, epochs=epochs, batch_size=BATCH, lr=RATE, optimizer="adam",
        schedule="cosine", clip=CLIP, average=DECAY, seed=SEED, device="cpu", compile="off", out=out,
    )  # fmt: skip


def fit_loop(x: Tensor, y: Tensor, epochs: int) -> None:
    """The shortest loop that one would write by hand."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    for _ in range(epochs):
        order = torch.randperm(ROWS)
        for inputs, targets in zip(x[order].split(BATCH), y[order].split(BATCH), strict=True):
            loss = F.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def fit_same(x: Tensor, y: Tensor, epochs: int) -> None:
    """What Gnomon does at each step, written by hand: schedule, clipping, averaged weights, running loss, history."""
    model = network()
    parameters = list(model.parameters())
    averaged = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=RATE, fused=True)
    total, step, history = epochs * STEPS, 0, []
    for epoch in range(epochs):
        order = torch.randperm(ROWS)
        running = torch.zeros(())
        for inputs, targets in zip(x[order].split(BATCH), y[order].split(BATCH), strict=True):
            optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1.0 + math.cos(math.pi * step / total))
            loss = F.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(averaged, parameters, 1.0 - DECAY)
                running += loss.detach()
            step += 1
        history.append({"epoch": epoch, "step": step, "train/loss": running.item() / STEPS})


def lightning_fit(x: Tensor, y: Tensor) -> Callable[[int], None]:
    """Lightning's Trainer with its defaults, on the data loader of its documentation."""
    import lightning
    from torch.utils.data import DataLoader, TensorDataset

    class Regression(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
            inputs, targets = batch
            loss = F.mse_loss(self.network(inputs), targets)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=RATE, fused=True)

    def fit(epochs: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=folder)
            trainer.fit(Regression(), DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True))

    return fit


def skorch_fit(x: Tensor, y: Tensor) -> Callable[[int], None]:
    """skorch's regressor without its validation split and its table."""
    from skorch import NeuralNetRegressor

    def fit(epochs: int) -> None:
        regressor = NeuralNetRegressor(
            network, max_epochs=epochs, lr=RATE, batch_size=BATCH, optimizer=torch.optim.Adam, optimizer__fused=True,
            iterator_train__shuffle=True, train_split=None, verbose=0, device="cpu",
        )  # fmt: skip
        regressor.fit(x, y)

    return fit


class Case(NamedTuple):
    """One peer: what must be installed, the highest ratio that is wanted, how to make its fit."""

    peer: str
    package: str
    bar: float
    make: Callable[[Tensor, Tensor], Callable[[int], None]]


CASES = (
    Case("loop", "torch", 1.3, lambda x, y: lambda epochs: fit_loop(x, y, epochs)),
    Case("same", "torch", 1.05, lambda x, y: lambda epochs: fit_same(x, y, epochs)),
    Case("lightning", "lightning", 0.33, lightning_fit),
    Case("skorch", "skorch", 0.45, skorch_fit),
)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Progress bars, notices and warnings of all sides go to memory, so that no terminal slows one of them down."""
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run(case: Case, x: Tensor, y: Tensor, *, quick: bool) -> Comparison:
    """Paired rounds of Gnomon and one peer."""
    epochs, rounds, limit = (3, 5, 9.0) if quick else (10, 11, 120.0)
    saving = case.peer == "lightning"

    def ours(count: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fit_gnomon(x, y, count, out=f"{folder}/run" if saving else None)

    def measure(fit: Callable[[int], None]) -> Callable[[], Seconds]:
        return lambda: per_unit(fit, epochs, STEPS)

    with silent():
        peer = case.make(x, y)
        ours(1)
        peer(1)
        return compare(measure(ours), measure(peer), rounds=rounds, limit=limit)


def main() -> None:
    """Run all cases whose peers are installed and print the table."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    x, y = data()
    print(header("Training step, small network", ("torch", "lightning", "skorch"), *METHOD))
    print(f"{'case':<18}{'ratio':>7}  {'quartiles':<15}{'by CPU':>7}{'bar':>7}{'Gnomon':>12}{'peer':>12}  rounds")
    figures: dict[str, float] = {}
    for case in CASES:
        if installed(case.package) is None:
            print(f"mlp64/{case.peer:<12} left out: {case.package} is not installed; pip install 'gnomon[bench]'")
            continue
        result = run(case, x, y, quick=options.quick)
        low, high = result.quartiles
        print(
            f"mlp64/{case.peer:<12}{result.ratio:7.3f}  {f'{low:.3f} - {high:.3f}':<15}{result.cpu_ratio:7.3f}{case.bar:7.2f}"
            f"{result.our_seconds * 1e6:9.0f} us{result.peer_seconds * 1e6:9.0f} us  {len(result.ours)}",
            flush=True,
        )
        figures[f"mlp64/{case.peer}"] = result.ratio
        figures[f"mlp64_{case.peer}_step_seconds"] = result.peer_seconds
        figures.setdefault("mlp64_gnomon_step_seconds", result.our_seconds)
    emit(figures, as_json=options.json)


if __name__ == "__main__":
    main()
