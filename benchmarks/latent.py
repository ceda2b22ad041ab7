"""Models with a latent code against a hand-written loop and pythae: an epoch of training, the log-likelihood by weighted draws, its memory.

One function a case, each with its bar in `BARS`; peers that are not installed are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gnomon
from benchmarks.timing import Comparison, Seconds, arguments, compare, emit, header, installed, per_unit, timed
from benchmarks.training import silent
from gnomon.data import Examples, Image, Spec
from gnomon.models.base import Model
from gnomon.models.vae import VAE
from gnomon.models.vqvae import VQVAE

ROWS, BATCH, LATENT, HIDDEN = 6_400, 128, 16, (128,)
DRAWS, IMAGES, QUICK_IMAGES = 1000, 50, 5
MANY, MANY_DRAWS, QUICK_DRAWS = 1000, 1000, 100
RATE, SEED = 1e-3, 0
KIND = Image(1, (28, 28), levels=2)
OPTIONS: dict[str, Any] = {
    "latent": LATENT, "likelihood": "bernoulli", "encoder": "mlp", "decoder": "mlp", "net": {"hidden": HIDDEN, "activation": "relu"},
}  # fmt: skip
CODES, POSITIONS, SIZE = 512, 16, 8
TABLE: dict[str, Any] = {
    "codes": CODES, "quantiser": "vq", "positions": POSITIONS, "latent": SIZE, "likelihood": "gaussian", "spread": "fixed",
    "encoder": "mlp", "decoder": "mlp", "net": {"hidden": HIDDEN, "activation": "relu"},
}  # fmt: skip
BARS = {"vae_epoch/loop": 1.05, "vae_epoch/pythae": 0.65, "vqvae_epoch/pythae": 0.65, "nll/pythae": 0.5, "nll_peak_bytes": 1e9}

METHOD = (
    f"VAE 784-{HIDDEN[0]}-{LATENT}-{HIDDEN[0]}-784 (ReLU), {ROWS:,} made images of two levels, Bernoulli, batch {BATCH}, Adam; one thread",
    "epoch: (fit of 2 N epochs - fit of N) / N on both sides, so that start-up cancels; no validation; paired rounds, median of the ratios",
    "Gnomon: gnomon.fit with schedule, clipping, averaged weights, history and doctor; loop: the same module, permute, split, fused Adam",
    "pythae: its BaseTrainer and VAE with the same layers, binary cross-entropy, no saving inside; progress bars go to memory",
    f"vqvae: 784-{HIDDEN[0]}-{POSITIONS} codes of {CODES}, {SIZE} numbers each-{HIDDEN[0]}-784, running means on both sides; "
    "Gnomon with k-means and moved codes, without its prior over codes, which pythae does not train here",
    f"nll: {IMAGES} images ({QUICK_IMAGES} with --quick), {DRAWS} weighted draws each, pythae's get_nll at its own batch of 100",
    f"nll_peak_bytes: {MANY} images, {MANY_DRAWS} draws ({QUICK_DRAWS} with --quick), peak memory of a process above what its imports need",
)


def made_images(rows: int = ROWS) -> np.ndarray:
    """Filled rectangles with a few flipped pixels: ``(rows, 1, 28, 28)`` zeros and ones."""
    rng = np.random.default_rng(SEED)
    places = np.arange(28)
    low, width = rng.integers(2, 14, (rows, 2)), rng.integers(4, 13, (rows, 2))
    inside = (places >= low[..., None]) & (places < (low + width)[..., None])
    flipped = rng.random((rows, 28, 28)) < 0.02
    return ((inside[:, 0, :, None] & inside[:, 1, None, :]) ^ flipped).astype(np.uint8)[:, None]


def module() -> VAE:
    """The module that is trained and evaluated."""
    torch.manual_seed(SEED)
    return VAE(Spec(KIND), **OPTIONS)


def examples(images: np.ndarray) -> Tensor:
    """The images in the network space of `module`: levels in the middle of their cells."""
    return torch.from_numpy(images).float() + 0.5


class FirstStage(VQVAE):
    """A VQVAE whose prior is left as it is."""

    def stages(self) -> Iterator[Model]:
        """The first of two."""
        self.stage = 0
        yield self
        self.stage = None


def fit_gnomon(images: np.ndarray, model: str | type[Model] = "vae") -> Callable[[int], None]:
    """`gnomon.fit` with everything on."""
    options = OPTIONS if model == "vae" else TABLE

    def fit(epochs: int) -> None:
        gnomon.fit(
            model, images, options=options, epochs=epochs, batch_size=BATCH, lr=RATE, optimizer="adam", schedule="cosine", clip=5.0,
            average=0.999, validation=0.0, device="cpu", compile="off", seed=SEED,
        )  # fmt: skip

    return fit


def fit_loop(images: np.ndarray) -> Callable[[int], None]:
    """The shortest loop that one would write by hand, around the same module."""
    x = examples(images)

    def fit(epochs: int) -> None:
        model = module()
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
        for _ in range(epochs):
            for batch in x[torch.randperm(len(x))].split(BATCH):
                loss = model.loss(Examples(batch))
                optimizer.zero_grad()
                (loss.total / loss.weight).backward()
                optimizer.step()

    return fit


# ---- pythae -----------------------------------------------------------------------------------------------------------


def pythae_vae() -> Any:
    """pythae's VAE of the same layers."""
    from pythae.models import VAE as PeerVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN[0]), nn.ReLU(), nn.Linear(HIDDEN[0], 2 * LATENT))

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.layers(x).chunk(2, -1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(LATENT, HIDDEN[0]), nn.ReLU(), nn.Linear(HIDDEN[0], 784), nn.Sigmoid())

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z).view(-1, 1, 28, 28))

    torch.manual_seed(SEED)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    return PeerVAE(config, encoder=Encoder(), decoder=Decoder())


def pythae_vqvae() -> Any:
    """pythae's VQVAE of the same layers, whose codes it wants as a grid."""
    from pythae.models import VQVAE as PeerVQVAE
    from pythae.models import VQVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN[0]), nn.ReLU(), nn.Linear(HIDDEN[0], POSITIONS * SIZE))

        def forward(self, x: Tensor) -> Any:
            return ModelOutput(embedding=self.layers(x).view(len(x), SIZE, 4, POSITIONS // 4))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(POSITIONS * SIZE, HIDDEN[0]), nn.ReLU(), nn.Linear(HIDDEN[0], 784))

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z.flatten(1)).view(-1, 1, 28, 28))

    torch.manual_seed(SEED)
    config = VQVAEConfig(input_dim=(1, 28, 28), latent_dim=POSITIONS * SIZE, num_embeddings=CODES, use_ema=True)
    return PeerVQVAE(config, encoder=Encoder(), decoder=Decoder())


def fit_pythae(model: Callable[[], Any], images: np.ndarray) -> Callable[[int], None]:
    """pythae's own trainer on a model of its own."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    data = BaseDataset(torch.from_numpy(images).float(), torch.zeros(len(images)))

    def fit(epochs: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder, num_epochs=epochs, learning_rate=RATE, per_device_train_batch_size=BATCH, no_cuda=True,
                steps_saving=None, keep_best_on_train=False,
            )  # fmt: skip
            BaseTrainer(model=model(), train_dataset=data, training_config=config).train()

    return fit


# ---- cases ------------------------------------------------------------------------------------------------------------


def epochs_against(peer: Callable[[int], None], images: np.ndarray, *, quick: bool, model: str | type[Model] = "vae") -> Comparison:
    """Paired rounds of an epoch by Gnomon and by a peer."""
    count, rounds, limit = (1, 3, 3.0) if quick else (4, 9, 150.0)
    ours = fit_gnomon(images, model)
    with silent():
        ours(1)
        peer(1)
        return compare(lambda: per_unit(ours, count), lambda: per_unit(peer, count), rounds=rounds, limit=limit)


def vae_epoch_loop(*, quick: bool) -> Comparison:
    """An epoch of a VAE against the same module in a loop written by hand."""
    images = made_images(ROWS // 4 if quick else ROWS)
    return epochs_against(fit_loop(images), images, quick=quick)


def vae_epoch_pythae(*, quick: bool) -> Comparison:
    """An epoch of a VAE against pythae's trainer."""
    images = made_images(ROWS // 4 if quick else ROWS)
    return epochs_against(fit_pythae(pythae_vae, images), images, quick=quick)


def vqvae_epoch_pythae(*, quick: bool) -> Comparison:
    """An epoch of a VQVAE with a table of codes against pythae's trainer."""
    images = made_images(ROWS // 4 if quick else ROWS)
    return epochs_against(fit_pythae(pythae_vqvae, images), images, quick=quick, model=FirstStage)


def nll_pythae(*, quick: bool) -> Comparison:
    """The log-likelihood of images by weighted draws."""
    images = made_images(QUICK_IMAGES if quick else IMAGES)
    ours, peer = module().eval(), pythae_vae().eval()
    x, theirs = Examples(examples(images)), torch.from_numpy(images).float()

    def other() -> None:
        with torch.no_grad():
            peer.get_nll(theirs, n_samples=DRAWS)

    def own() -> Seconds:
        return timed(lambda: ours.log_prob_bound(x, samples=DRAWS))

    own()
    return compare(own, lambda: timed(other), rounds=3 if quick else 15, limit=3.0 if quick else 90.0)


COMPARISONS: dict[str, tuple[Callable[..., Comparison], str | None]] = {
    "vae_epoch/loop": (vae_epoch_loop, None),
    "vae_epoch/pythae": (vae_epoch_pythae, "pythae"),
    "vqvae_epoch/pythae": (vqvae_epoch_pythae, "pythae"),
    "nll/pythae": (nll_pythae, "pythae"),
}
"""Case to how it is measured and which package it wants."""


def measure_peak(draws: int) -> dict[str, float]:
    """In a process of its own: peak memory of the bound above what stood after imports and data, in bytes, and its seconds."""
    model = module().eval()
    x = Examples(examples(made_images(MANY)))
    model.log_prob_bound(x[:2], samples=2)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    seconds = timed(lambda: model.log_prob_bound(x, samples=draws)).wall
    return {"nll_peak_bytes": float(_status("VmHWM") - before), "nll_peak_run_seconds": seconds}


def _status(name: str) -> int:
    """A line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def peak(*, quick: bool) -> Iterator[tuple[str, float]]:
    """The figures of `measure_peak`; prints a line."""
    if not Path("/proc/self/clear_refs").exists():
        print("nll_peak_bytes left out: it reads /proc/self/status, which only Linux has")
        return
    draws = QUICK_DRAWS if quick else MANY_DRAWS
    code = f"import json; from benchmarks.latent import measure_peak; print(json.dumps(measure_peak({draws})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    bar = BARS["nll_peak_bytes"] / 1e6
    print(
        f"{'nll_peak_bytes':<20}{figures['nll_peak_bytes'] / 1e6:7.0f} MB (bar {bar:.0f}){figures['nll_peak_run_seconds']:9.1f} s",
        flush=True,
    )
    yield from figures.items()


def main() -> None:
    """Run all cases whose peers are installed and print the table."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    print(header("Models with a latent code", ("torch", "pythae"), *METHOD))
    print(f"{'case':<20}{'ratio':>7}  {'quartiles':<15}{'by CPU':>7}{'bar':>7}{'Gnomon':>13}{'peer':>13}  rounds")
    figures: dict[str, float] = {}
    for name, (measure, package) in COMPARISONS.items():
        if package is not None and installed(package) is None:
            print(f"{name:<20} left out: {package} is not installed")
            continue
        result = measure(quick=options.quick)
        low, high = result.quartiles
        print(
            f"{name:<20}{result.ratio:7.3f}  {f'{low:.3f} - {high:.3f}':<15}{result.cpu_ratio:7.3f}{BARS[name]:7.2f}"
            f"{1e3 * result.our_seconds:10.1f} ms{1e3 * result.peer_seconds:10.1f} ms  {len(result.ours)}", flush=True,
        )  # fmt: skip
        figures |= {name: result.ratio, f"{name.replace('/', '_')}_cpu": result.cpu_ratio, f"{name}_seconds": result.our_seconds}
    figures.update(peak(quick=options.quick))
    emit(figures, as_json=options.json)


if __name__ == "__main__":
    main()
