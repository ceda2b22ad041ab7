"""Time of one training step: `gnomon.fit` with everything on against hand-written loops, Lightning, Accelerate, skorch and Keras.

The networks are small on purpose: with large ones the arithmetic hides what the training loop itself costs.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gnomon
from benchmarks.timing import Comparison, Seconds, arguments, compare, emit, header, installed, per_unit, timed
from gnomon.blocks import MLP

RATE, CLIP, DECAY, SEED = 1e-3, 5.0, 0.999, 0

METHOD = (
    "mlp64, mlp256: MLP 20-H-H-1 (SiLU), mean squared error, batch 64; cnn28: two convolutions and two dense layers, 28 x 28, batch 64; "
    "resnet20: He et al. 2016 for 3 x 32 x 32, batch 32; cross-entropy. float32, one thread, CPU, eager; the same module on all sides",
    "time per step = (fit of 2 N epochs - fit of N epochs) / steps of N epochs, the same for every side, so that start-up cancels",
    "median of the ratios of paired rounds (Gnomon, peer, Gnomon, peer, ...) in one process; Adam (fused where torch offers it) for all",
    "Gnomon: shuffling, cosine schedule, clipping, averaged weights, loss and history, doctor, progress lines; no validation",
    "loop: permute once an epoch, split, fused Adam, and nothing else; same: Gnomon's features written by hand",
    "lightning: Trainer's defaults (bar, log, checkpoints), so Gnomon writes a run folder there too; accelerate: its documented loop over "
    "the same batches; skorch, keras: no validation, no printing, their quickest settings",
    "seeds16/runs16: one fit of 16 seeds against 16 fits, start-up included; doctor/off: a whole fit with and without the doctor",
)


@dataclass(frozen=True)
class Work:
    """What is trained.

    Args:
        network: a freshly initialised network, the same module on all sides.
        x, y: the data.
        batch: examples per step.
        loss: mean loss of outputs against targets.
        epochs: of the shorter of the two fits, in full and in quick runs.
    """

    network: Callable[[], nn.Module]
    x: Tensor
    y: Tensor
    batch: int
    loss: Callable[[Tensor, Tensor], Tensor]
    epochs: tuple[int, int]

    @property
    def steps(self) -> int:
        return len(self.x) // self.batch


def regression(width: int, epochs: tuple[int, int]) -> Work:
    """Standard normal inputs and a noisy wave along one direction: ``(12800, 20)`` and ``(12800, 1)``."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(12_800, 20, generator=generator)
    direction = torch.randn(20, 1, generator=generator) / math.sqrt(20)
    y = torch.sin(2.0 * x @ direction) + 0.1 * torch.randn(12_800, 1, generator=generator)
    return Work(lambda: MLP(20, 1, hidden=(width, width), activation="silu"), x, y, 64, F.mse_loss, epochs)


def images(network: Callable[[], nn.Module], shape: tuple[int, ...], rows: int, batch: int, epochs: tuple[int, int]) -> Work:
    """Noise with ten labels: what is learned does not matter to the clock."""
    generator = torch.Generator().manual_seed(SEED)
    y = torch.arange(rows) % 10
    return Work(network, torch.randn(rows, *shape, generator=generator), y, batch, F.cross_entropy, epochs)


def cnn28() -> nn.Module:
    """Two convolutions with pooling and two dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


class Residual(nn.Module):
    """Two convolutions with batch normalisation beside a shortcut that pads missing channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.missing = stride, outputs - inputs
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.missing)))


def resnet20() -> nn.Module:
    """Three stages of three residual blocks with 16, 32 and 64 channels."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Residual(a, b, 1 if a == b else 2) for a, b in zip(widths[:-1], widths[1:], strict=True)]
    start = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*start, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def fit_gnomon(work: Work, epochs: int, **more: Any) -> None:
    """`gnomon.fit` with everything on."""
    labels = work.y.ndim == 1
    options: dict[str, Any] = {"encoder": work.network()} | ({"shift": 0.0} if labels else {"spread": "none"})
    if "seeds" in more:
        options["encoder"], options["net"] = "mlp", {"hidden": (64, 64), "activation": "silu"}
    gnomon.fit(
        "classifier" if labels else "regressor", {"x": work.x, "y": work.y}, options=options, validation=0.0, epochs=epochs,
        batch_size=work.batch, lr=RATE, optimizer="adam", schedule="cosine", clip=CLIP, average=DECAY, device="cpu", compile="off",
        **{"seed": SEED, **more},
    )  # fmt: skip


def batches(work: Work) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: permuted once, then split."""
    order = torch.randperm(len(work.x))
    return zip(work.x[order].split(work.batch), work.y[order].split(work.batch), strict=True)


def loop_fit(work: Work) -> Callable[[int], None]:
    """The shortest loop that one would write by hand."""

    def fit(epochs: int) -> None:
        model = work.network()
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
        for _ in range(epochs):
            for inputs, targets in batches(work):
                loss = work.loss(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return fit


def same_fit(work: Work) -> Callable[[int], None]:
    """What Gnomon does at each step, written by hand: schedule, clipping, averaged weights, running loss, history."""

    def fit(epochs: int) -> None:
        model = work.network()
        parameters = list(model.parameters())
        averaged = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.Adam(parameters, lr=RATE, fused=True)
        total, step, history = epochs * work.steps, 0, []
        for epoch in range(epochs):
            running = torch.zeros(())
            for inputs, targets in batches(work):
                optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1.0 + math.cos(math.pi * step / total))
                loss = work.loss(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, CLIP)
                optimizer.step()
                with torch.no_grad():
                    torch._foreach_lerp_(averaged, parameters, 1.0 - DECAY)
                    running += loss.detach()
                step += 1
            history.append({"epoch": epoch, "step": step, "train/loss": running.item() / work.steps})

    return fit


def lightning_fit(work: Work) -> Callable[[int], None]:
    """Lightning's Trainer with its defaults, on the data loader of its documentation."""
    import lightning
    from torch.utils.data import DataLoader, TensorDataset

    class Regression(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = work.network()

        def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
            inputs, targets = batch
            loss = work.loss(self.network(inputs), targets)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=RATE, fused=True)

    def fit(epochs: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=folder)
            trainer.fit(Regression(), DataLoader(TensorDataset(work.x, work.y), batch_size=work.batch, shuffle=True))

    return fit


def accelerate_fit(work: Work) -> Callable[[int], None]:
    """Accelerate's documented loop, given the quick batches of the bare loop instead of a data loader."""
    from accelerate import Accelerator

    def fit(epochs: int) -> None:
        accelerator = Accelerator(cpu=True)
        model = work.network()
        model, optimizer = accelerator.prepare(model, torch.optim.Adam(model.parameters(), lr=RATE, fused=True))
        for _ in range(epochs):
            for inputs, targets in batches(work):
                optimizer.zero_grad()
                loss = work.loss(model(inputs), targets)
                accelerator.backward(loss)
                optimizer.step()

    return fit


def skorch_fit(work: Work) -> Callable[[int], None]:
    """skorch's regressor without its validation split and its table."""
    from skorch import NeuralNetRegressor

    def fit(epochs: int) -> None:
        regressor = NeuralNetRegressor(
            work.network, max_epochs=epochs, lr=RATE, batch_size=work.batch, optimizer=torch.optim.Adam, optimizer__fused=True,
            iterator_train__shuffle=True, train_split=None, verbose=0, device="cpu",
        )  # fmt: skip
        regressor.fit(work.x, work.y)

    return fit


def keras_fit(work: Work) -> Callable[[int], None]:
    """Keras on its torch backend, with its own layers of the same sizes."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    inputs, targets = work.x.numpy(), work.y.numpy()
    width = next(layer.out_features for layer in work.network().modules() if isinstance(layer, nn.Linear))

    def fit(epochs: int) -> None:
        layers = keras.layers
        model = keras.Sequential([layers.Dense(width, activation="silu"), layers.Dense(width, activation="silu"), layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse")
        model.fit(inputs, targets, batch_size=work.batch, epochs=epochs, verbose=0)

    return fit


class Case(NamedTuple):
    """One comparison: on which work, against whom, what must be installed, the highest ratio that is wanted."""

    work: str
    peer: str
    package: str
    bar: float
    make: Callable[[Work], Callable[[int], None]]

    @property
    def name(self) -> str:
        return f"{self.work}/{self.peer}"


CASES = (
    Case("mlp64", "loop", "torch", 1.2, loop_fit),
    Case("mlp64", "same", "torch", 1.05, same_fit),
    Case("mlp256", "loop", "torch", 1.1, loop_fit),
    Case("mlp64", "lightning", "lightning", 0.25, lightning_fit),
    Case("mlp64", "accelerate", "accelerate", 0.6, accelerate_fit),
    Case("mlp64", "skorch", "skorch", 0.4, skorch_fit),
    Case("mlp64", "keras", "keras", 0.2, keras_fit),
    Case("cnn28", "loop", "torch", 1.03, loop_fit),
    Case("resnet20", "loop", "torch", 1.02, loop_fit),
)


def works(quick: bool) -> dict[str, Work]:
    """The work of every case; image sets are shorter in a quick run."""
    return {
        "mlp64": regression(64, (10, 1)),
        "mlp256": regression(256, (5, 1)),
        "cnn28": images(cnn28, (1, 28, 28), 64 * (8 if quick else 60), 64, (2, 1)),
        "resnet20": images(resnet20, (3, 32, 32), 32 * (2 if quick else 40), 32, (2, 1)),
    }


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Progress bars, notices and warnings of all sides go to memory, so that no terminal slows one of them down."""
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def against(case: Case, work: Work, *, quick: bool) -> Comparison:
    """Paired rounds of Gnomon and one peer."""
    epochs = work.epochs[quick]
    rounds, limit = (3, 3.0) if quick else (11, 120.0)
    saving = case.peer == "lightning"

    def ours(count: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fit_gnomon(work, count, **({"out": f"{folder}/run"} if saving else {}))

    def measure(fit: Callable[[int], None]) -> Callable[[], Seconds]:
        return lambda: per_unit(fit, epochs, work.steps)

    with silent():
        peer = case.make(work)
        ours(1)
        peer(1)
        return compare(measure(ours), measure(peer), rounds=rounds, limit=limit)


def seeds(work: Work, *, quick: bool) -> Comparison:
    """Sixteen models in one fit against sixteen fits."""
    count, rounds, limit = (1, 1, 0.0) if quick else (5, 5, 120.0)

    def one_by_one() -> None:
        for index in range(16):
            fit_gnomon(work, count, seed=index, doctor=False)

    with silent():
        fit_gnomon(work, 1)
        fit_gnomon(work, 1, seeds=2)
        return compare(lambda: timed(lambda: fit_gnomon(work, count, seeds=16)), lambda: timed(one_by_one), rounds=rounds, limit=limit)


def doctor(work: Work, *, quick: bool) -> Comparison:
    """A whole fit of about a thousand steps with the doctor against one without."""
    epochs = max(1, (40 if quick else 1000) // work.steps)
    rounds, limit = (3, 3.0) if quick else (11, 150.0)
    with silent():
        fit_gnomon(work, 1)
        return compare(
            lambda: timed(lambda: fit_gnomon(work, epochs)),
            lambda: timed(lambda: fit_gnomon(work, epochs, doctor=False)),
            rounds=rounds, limit=limit,
        )  # fmt: skip


def tell(name: str, bar: float, result: Comparison) -> None:
    """One line of the table."""
    low, high = result.quartiles
    print(
        f"{name:<18}{result.ratio:7.3f}  {f'{low:.3f} - {high:.3f}':<15}{result.cpu_ratio:7.3f}{bar:7.2f}"
        f"{result.our_seconds * 1e6:12.0f} us{result.peer_seconds * 1e6:12.0f} us  {len(result.ours)}",
        flush=True,
    )


def main() -> None:
    """Run all cases whose peers are installed and print the table."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    work = works(options.quick)
    print(header("Training step, small networks", ("torch", "lightning", "accelerate", "skorch", "keras"), *METHOD))
    print(f"{'case':<18}{'ratio':>7}  {'quartiles':<15}{'by CPU':>7}{'bar':>7}{'Gnomon':>15}{'peer':>15}  rounds")
    figures: dict[str, float] = {}
    for case in CASES:
        if installed(case.package) is None:
            print(f"{case.name:<18} left out: {case.package} is not installed; pip install 'gnomon[bench]'")
            continue
        result = against(case, work[case.work], quick=options.quick)
        tell(case.name, case.bar, result)
        figures[case.name] = result.ratio
        figures[f"{case.work}_{case.peer}_step_seconds"] = result.peer_seconds
        figures.setdefault(f"{case.work}_gnomon_step_seconds", result.our_seconds)
    for name, bar, result in (
        ("seeds16/runs16", 0.4, seeds(work["mlp64"], quick=options.quick)),
        ("doctor_cnn28/off", 1.02, doctor(work["cnn28"], quick=options.quick)),
        ("doctor_mlp64/off", 1.05, doctor(work["mlp64"], quick=options.quick)),
    ):
        tell(name, bar, result)
        figures[name] = result.ratio
    emit(figures, as_json=options.json)


if __name__ == "__main__":
    main()
