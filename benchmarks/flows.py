"""Normalising flows against zuko, nflows and normflows: training step and sampling, the same architecture on every side.

Every row of `CASES` is one measurement; the best peer is found first and then run in turns with Gnomon.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.timing import Seconds, arguments, compare, emit, header, installed, timed
from gnomon.data import Examples, Spec, Vector
from gnomon.models import LossOf
from gnomon.models.flow import Flow

TRANSFORMS, BINS, HIDDEN, BOUND = 5, 8, 64, 5.0
BATCH, SAMPLES, QUICK_SAMPLES = 512, 10_000, 500
SEED = 0

METHOD = (
    f"{TRANSFORMS} transforms, two hidden layers of {HIDDEN}, relu, {BINS} bins on [-{BOUND:g}, {BOUND:g}], no mixing; float32, one thread",
    f"train: one step of fused Adam on {BATCH} normal rows: loss, backward, update. sample: {SAMPLES:,} rows ({QUICK_SAMPLES:,} with "
    "--quick), no gradient",
    "nsf, ar: masked autoregressive splines; coupling: halves of the columns in turn. Gnomon's masked network has a residual layer "
    "64-(64-64) where zuko and nflows have one plain hidden layer more; normflows has its own residual blocks",
    "best: the peer with the lowest median time, run eagerly, in a trial of five; then paired rounds Gnomon, peer, Gnomon, peer, ...",
    "train: Gnomon compiled by torch.compile (seconds for that are given apart), the peers eager; best_compiled: both compiled",
)


class Sides(NamedTuple):
    """One architecture in one library: its module, the mean negative log-likelihood of rows, and how to draw rows."""

    module: nn.Module
    loss: Callable[[Tensor], Tensor]
    sample: Callable[[int], Any]


def gnomon_flow(columns: int, transform: str) -> Sides:
    """Gnomon's own."""
    flow = Flow(
        Spec(Vector.real(columns)), transform=transform, transforms=TRANSFORMS, bins=BINS, hidden=(HIDDEN, HIDDEN), activation="relu",
        bound=BOUND, mixing="none", frequencies=0, dropout=0.0,
    )  # fmt: skip
    whole = LossOf(flow)

    def loss(x: Tensor) -> Tensor:
        made = whole(Examples(x))
        return made.total / made.weight

    return Sides(flow, loss, flow.sample)


def zuko_flow(columns: int, transform: str) -> Sides:
    """zuko's neural spline flow."""
    import zuko

    passes = {"autoregressive": None, "coupling": 2}[transform]
    flow = zuko.flows.NSF(columns, transforms=TRANSFORMS, bins=BINS, hidden_features=(HIDDEN, HIDDEN), passes=passes)
    return Sides(flow, lambda x: -flow().log_prob(x).mean(), lambda n: flow().sample((n,)))


def nflows_flow(columns: int, transform: str) -> Sides:
    """nflows's splines, masked or in couplings."""
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow as Distribution
    from nflows.nn.nets import ResidualNet
    from nflows.transforms import (
        CompositeTransform,
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        PiecewiseRationalQuadraticCouplingTransform,
        ReversePermutation,
    )

    options: dict[str, Any] = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}

    def network(inputs: int, outputs: int) -> nn.Module:
        return ResidualNet(inputs, outputs, hidden_features=HIDDEN, num_blocks=1, activation=torch.relu)

    steps: list[nn.Module] = []
    for i in range(TRANSFORMS):
        if transform == "coupling":
            mask = [(j + i) % 2 for j in range(columns)]
            steps.append(PiecewiseRationalQuadraticCouplingTransform(mask, network, **options))
        else:
            steps += [
                MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                    columns, HIDDEN, num_blocks=1, use_residual_blocks=False, activation=torch.relu, **options
                ),
                ReversePermutation(columns),
            ]
    flow = Distribution(CompositeTransform(steps), StandardNormal([columns]))
    return Sides(flow, lambda x: -flow.log_prob(x).mean(), flow.sample)


def normflows_flow(columns: int, transform: str) -> Sides:
    """normflows's splines, masked or in couplings."""
    import normflows

    kind = {"autoregressive": "AutoregressiveRationalQuadraticSpline", "coupling": "CoupledRationalQuadraticSpline"}[transform]
    step = getattr(normflows.flows, kind)
    steps = [step(columns, 1, HIDDEN, num_bins=BINS, tail_bound=BOUND, activation=nn.ReLU) for _ in range(TRANSFORMS)]
    flow = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(columns, trainable=False), steps)
    return Sides(flow, flow.forward_kld, flow.sample)


PEERS: dict[str, Callable[[int, str], Sides]] = {"zuko": zuko_flow, "nflows": nflows_flow, "normflows": normflows_flow}


class Case(NamedTuple):
    """One measurement.

    Args:
        name: of the ratios.
        columns: of the data.
        transform: "autoregressive" or "coupling".
        what: "train" or "sample".
        bars: by peer: "best", and for training "best_compiled".
        quick: whether it belongs to a quick run.
    """

    name: str
    columns: int
    transform: str
    what: str
    bars: dict[str, float]
    quick: bool


CASES = (
    Case("nsf6_train", 6, "autoregressive", "train", {"best": 0.5, "best_compiled": 1.0}, False),
    Case("nsf32_train", 32, "autoregressive", "train", {"best": 0.6, "best_compiled": 1.0}, False),
    Case("nsf6_train_eager", 6, "autoregressive", "eager", {"best": 1.0}, True),
    Case("ar32_sample", 32, "autoregressive", "sample", {"best": 0.125}, True),
    Case("coupling32_sample", 32, "coupling", "sample", {"best": 0.5}, True),
)


def stepper(sides: Sides, columns: int, *, compiled: bool) -> Callable[[], None]:
    """One training step on fixed rows."""
    x = torch.randn(BATCH, columns, generator=torch.Generator().manual_seed(SEED))
    optimizer = torch.optim.Adam(sides.module.parameters(), lr=1e-4, fused=True)
    loss = torch.compile(sides.loss) if compiled else sides.loss

    def step() -> None:
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()

    return step


def action(case: Case, make: Callable[[int, str], Sides], *, rows: int = SAMPLES, compiled: bool = False) -> Callable[[], None]:
    """What is timed, ready to run."""
    torch.manual_seed(SEED)
    sides = make(case.columns, case.transform)
    if case.what != "sample":
        return stepper(sides, case.columns, compiled=compiled)
    sides.module.eval()

    def draw() -> None:
        with torch.no_grad():
            sides.sample(rows)

    return draw


def trial(run: Callable[[], None], repeats: int = 5) -> float:
    """Median seconds of a few runs after one that does not count."""
    run()
    return statistics.median(timed(run).wall for _ in range(repeats))


def peers(case: Case, rows: int) -> dict[str, Callable[[], None]]:
    """The installed peers' actions, by name."""
    return {name: action(case, make, rows=rows) for name, make in PEERS.items() if installed(name) is not None}


def measured(case: Case, *, quick: bool) -> Iterator[tuple[str, float]]:
    """The figures of one case, by name; prints a line for each ratio."""
    samples = QUICK_SAMPLES if quick else SAMPLES
    found = peers(case, samples)
    if not found:
        print(f"{case.name:<32} left out: none of {', '.join(PEERS)} is installed")
        return
    times = {name: trial(run, 2 if quick else 5) for name, run in found.items()}
    best = min(times, key=lambda name: times[name])
    ours = action(case, gnomon_flow, rows=samples, compiled=case.what == "train")
    yield from _compile_seconds(f"{case.name}_compile_seconds", ours, case.what == "train")
    count = 1 if case.what == "sample" else 5
    rounds, limit = (3, 6.0) if quick else (31, 60.0)
    for peer, bar in case.bars.items():
        other = found[best]
        if peer == "best_compiled":
            other = action(case, PEERS[best], compiled=True)
            yield from _compile_seconds(f"{case.name}_{best}_compile_seconds", other, True)
        result = compare(_clocked(ours, count), _clocked(other, count), rounds=rounds, limit=limit)
        low, high = result.quartiles
        tried = ", ".join(f"{name} {1e3 * seconds:.1f}" for name, seconds in times.items())
        print(
            f"{case.name + '/' + peer:<26}{result.ratio:7.3f}  {f'{low:.3f} - {high:.3f}':<15}{result.cpu_ratio:7.3f}{bar:7.3f}"
            f"{1e3 * result.our_seconds / count:10.1f} ms{1e3 * result.peer_seconds / count:10.1f} ms  {best} (ms: {tried})", flush=True,
        )  # fmt: skip
        yield f"{case.name}/{peer}", result.ratio


def _clocked(run: Callable[[], None], count: int) -> Callable[[], Seconds]:
    return lambda: timed(lambda: _repeat(run, count))


def _repeat(run: Callable[[], None], count: int) -> None:
    for _ in range(count):
        run()


def _compile_seconds(name: str, run: Callable[[], None], compiled: bool) -> Iterator[tuple[str, float]]:
    seconds = timed(lambda: _repeat(run, 2)).wall
    if compiled:
        print(f"{name:<40}{seconds:8.1f} s", flush=True)
        yield name, seconds


def main() -> None:
    """Run all cases and print the table."""
    options = arguments(__doc__ or "")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(header("Normalising flows", ("torch", *PEERS), *METHOD))
    print(f"{'case':<26}{'ratio':>7}  {'quartiles':<15}{'by CPU':>7}{'bar':>7}{'Gnomon':>13}{'peer':>13}  best peer")
    figures: dict[str, float] = {}
    for case in CASES:
        if case.quick or not options.quick:
            figures.update(measured(case, quick=options.quick))
    emit(figures, as_json=options.json)


if __name__ == "__main__":
    main()
