"""The room of checks against peers and against its promises: kernel distances, and all joint distances of large samples.

Every row of `CASES` is one measurement; what is to be reached stands in its bars.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.memory import forget_peak, import_everything, resident
from benchmarks.timing import Seconds, compare, emit, header, installed, timed

COLUMNS = 10
PERMUTATIONS = 200
JOINT = ("w1", "ks", "sliced_w2", "mmd", "c2st_auc")

METHOD = (
    f"the same threads on all sides, {COLUMNS} columns; ratios: median of paired rounds (Gnomon, peer, Gnomon, ...) in one process",
    f"mmd: 10^4 standard normal rows a side (3000 with --quick), {PERMUTATIONS} relabellings. Gnomon: as a report calls it, from rows to "
    "p-value, five bandwidths; peers: one bandwidth, float32, the whole kernel matrix stored",
    "mmd/full: every relabelling indexes the matrix, as alibi-detect documents it; a few are timed, the time of all is extrapolated",
    "mmd/full_gemm: all relabellings as one matrix product with the stored matrix",
    "prdc/prdc: precision, recall, density and coverage of 10^4 standard normal rows a side (2500 with --quick), float64, k = 5; the "
    "worst of 10, 32 and 64 columns",
    f"joint1e5: {' + '.join(JOINT)} on 10^5 rows a side, one column shifted by 0.1, so that all further relabellings are made too",
    'check1e6: gnomon.check(budget="5min") on two arrays of 10^6 rows',
    "bytes: peak resident memory of a fresh process, less what it held after all imports and with the data in memory",
)


# ---- maximum mean discrepancy ------------------------------------------------------------------------------------------


def samples(rows: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal rows of both sides; the last column of the second is shifted."""
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(rows, COLUMNS)) for _ in range(2))
    y[:, -1] += shift
    return x, y


def kernel_matrix(points: Tensor, width: float) -> Tensor:
    """Gaussian kernel of all pairs of rows, with zeros on its diagonal."""
    squares = points.square().sum(dim=1)
    matrix = torch.addmm(squares[:, None] + squares[None, :], points, points.T, alpha=-2)
    return matrix.clamp_min_(0).mul_(-0.5 / width**2).exp_().fill_diagonal_(0)


def unbiased(matrix: Tensor, rows: int) -> Tensor:
    """Squared maximum mean discrepancy from a kernel matrix whose first rows are one side."""
    others = len(matrix) - rows
    within = matrix[:rows, :rows].sum() / (rows * (rows - 1)) + matrix[rows:, rows:].sum() / (others * (others - 1))
    return within - 2 * matrix[:rows, rows:].mean()


def by_indexing(points: Tensor, rows: int, width: float, some: int) -> tuple[float, Seconds]:
    """Value, and the time of all relabellings of which only some are made, each on a permuted copy of the matrix."""
    began = time.perf_counter(), time.process_time()
    matrix = kernel_matrix(points, width)
    value = float(unbiased(matrix, rows))
    built = Seconds(time.perf_counter() - began[0], time.process_time() - began[1])
    generator = torch.Generator().manual_seed(0)

    def relabel() -> list[float]:
        orders = (torch.randperm(len(points), generator=generator) for _ in range(some))
        return [float(unbiased(matrix[order][:, order], rows)) for order in orders]

    relabelled = timed(relabel)
    return value, Seconds(*(b + r * PERMUTATIONS / some for b, r in zip(built, relabelled, strict=True)))


def by_product(points: Tensor, rows: int, width: float) -> float:
    """P-value by one product of the stored matrix with the signs of all relabellings."""
    matrix = kernel_matrix(points, width)
    generator = torch.Generator().manual_seed(0)
    signs = torch.full((len(points), PERMUTATIONS + 1), -1.0 / (len(points) - rows))
    signs[:rows, 0] = 1.0 / rows
    for k in range(1, PERMUTATIONS + 1):
        signs[torch.randperm(len(points), generator=generator)[:rows], k] = 1.0 / rows
    forms = (matrix @ signs).mul_(signs).sum(dim=0)
    return float((forms[1:] >= forms[0]).sum() + 1) / (PERMUTATIONS + 1)


def mmd_cases(quick: bool) -> dict[str, float]:
    """Both peers at 2 × 10⁴ rows on both sides together (6000 if quick), and without --quick the same with so many a side."""
    figures: dict[str, float] = {}
    sizes = ((3_000, ""),) if quick else ((10_000, ""), (20_000, "_of_2e4_a_side"))
    for rows, suffix in sizes:
        needed = 4 * 4 * (2 * rows) ** 2  # float32; the matrix, two copies while it is indexed, and what else there is
        if needed > available_bytes():
            print(f"mmd/full{suffix}: left out; the peer needs {needed / 1e9:.0f} GB of free memory")
            continue
        figures |= mmd_against_peers(rows, suffix, rounds=1 if suffix else 3, some=2 if quick or suffix else 10)
    return figures


def mmd_against_peers(rows: int, suffix: str, *, rounds: int, some: int) -> dict[str, float]:
    """Ratios to both peers at so many rows a side, of which the one by indexing makes only some of its relabellings."""
    from gnomon.checks import Case as Checked
    from gnomon.checks import Effort, Sides
    from gnomon.checks.measures.kernels import median_distance, mmd
    from gnomon.checks.statistics import kernels

    x, y = samples(rows)
    points = torch.from_numpy(np.concatenate([x, y])).float()
    width = median_distance(np.concatenate([x[:500], y[:500]]))
    effort = Effort(draws=PERMUTATIONS, more_draws=0, kernel_rows=rows)
    value = by_indexing(points, rows, width, 1)[0]
    own = mmd(x, y, bandwidths=[width], single=True)
    if abs(value - own) > 5e-6:  # the peer adds up in float32
        raise RuntimeError(f"Gnomon and the peer disagree: {own} and {value}")

    def ours() -> Seconds:
        return timed(lambda: kernels.mmd(Checked(Sides.of(x, y), effort=effort)))

    full = compare(ours, lambda: by_indexing(points, rows, width, some)[1], rounds=rounds)
    product = compare(ours, lambda: timed(lambda: by_product(points, rows, width)), rounds=rounds)
    return {
        f"mmd/full{suffix}": full.ratio,
        f"mmd/full_gemm{suffix}": product.ratio,
        f"mmd{suffix}_gnomon_seconds": product.our_seconds,
        f"mmd{suffix}_full_seconds": full.peer_seconds,
        f"mmd{suffix}_full_gemm_seconds": product.peer_seconds,
    }


def available_bytes() -> float:
    """Memory that a process could take without swapping; without /proc, no limit is known."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("inf")
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


# ---- nearest neighbours ------------------------------------------------------------------------------------------------


def prdc_cases(quick: bool) -> dict[str, float]:
    """Against the authors' program at 10⁴ rows a side and several numbers of columns, the worst of which is the ratio; and memory."""
    from threadpoolctl import threadpool_limits

    from gnomon.checks.measures.neighbours import prdc

    rows, figures, ratios = 2_500 if quick else 10_000, {}, []
    with threadpool_limits(torch.get_num_threads()):
        for columns in (10, 32, 64):
            real, generated = np.random.default_rng(columns).normal(size=(2, rows, columns))
            own, peer = prdc(real, generated), peer_prdc(real, generated)
            if any(abs(getattr(own, name) - value) > 1e-9 for name, value in peer.items()):
                raise RuntimeError(f"Gnomon and prdc disagree: {own} and {peer}")
            made = compare(
                lambda x=real, y=generated: timed(lambda: prdc(x, y)),  # type: ignore[misc]
                lambda x=real, y=generated: timed(lambda: peer_prdc(x, y)),  # type: ignore[misc]
                rounds=1 if quick else 3,
            )
            ratios.append(made.ratio)
            figures |= {f"prdc_of_{columns}_columns/prdc": made.ratio, f"prdc_of_{columns}_columns_seconds": made.our_seconds}
            figures[f"prdc_of_{columns}_columns_prdc_seconds"] = made.peer_seconds
    for name in ("prdc_gnomon", "prdc_prdc"):
        figures |= in_own_process(name)(quick)
    return {
        "prdc/prdc": max(ratios),
        "prdc_share_of_peak_bytes": figures["prdc_gnomon_peak_bytes"] / figures["prdc_prdc_peak_bytes"],
    } | figures


def peer_prdc(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """The authors' program, without what it prints. It always starts eight jobs."""
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        return compute_prdc(real, generated, 5)


def prdc_memory(which: str) -> dict[str, float]:
    """Peak memory of precision, recall, density and coverage at 10⁴ rows a side and 64 columns."""
    from gnomon.checks.measures.neighbours import prdc

    work = prdc if which == "gnomon" else peer_prdc
    work(*np.random.default_rng(1).normal(size=(2, 100, 64)))  # what is loaded at the first call
    real, generated = np.random.default_rng(0).normal(size=(2, 10_000, 64))
    return measured(f"prdc_{which}", lambda: work(real, generated))


# ---- large samples, each in a process of its own -----------------------------------------------------------------------


def in_own_process(name: str) -> Callable[[bool], dict[str, float]]:
    """A measurement of `ALONE`, made by this module in a fresh process."""

    def run(quick: bool) -> dict[str, float]:
        threads = str(torch.get_num_threads())
        command = [sys.executable, "-m", "benchmarks.checks", "--alone", name, "--threads", threads]
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
        if done.returncode:
            sys.exit(f"{name} ended with {done.returncode}")
        *told, last = done.stdout.splitlines()
        print(*told, sep="\n", flush=True)
        return dict(json.loads(last))

    return run


def measured(name: str, work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of `work`, and its peak memory above what is held now."""
    base = resident("VmRSS")
    forget_peak()
    seconds = timed(work).wall
    return {f"{name}_seconds": seconds, f"{name}_peak_bytes": float(resident("VmHWM") - base)}


def joint() -> dict[str, float]:
    """Statistics of all columns together, and of each, at 10⁵ rows a side."""
    from gnomon import registry
    from gnomon.checks import Case as Checked
    from gnomon.checks import Effort, Sides

    absent = [name for name in JOINT if name not in registry.statistics]
    if absent:
        sys.exit(f"joint1e5 measures {', '.join(JOINT)}; {', '.join(absent)} is not registered in gnomon.registry.statistics")
    x, y = samples(100_000, shift=0.1)

    def work() -> None:
        case = Checked(Sides.of(x, y), effort=Effort())
        for name in JOINT:
            seconds = timed(lambda name=name: registry.statistics[name](case))  # type: ignore[misc]
            print(f"  {name:<12}{seconds.wall:8.2f} s  (CPU {seconds.cpu:.2f} s)")

    return measured("joint1e5", work)


def check() -> dict[str, float]:
    """`gnomon.check` of two large arrays, as a user calls it."""
    import gnomon

    x, y = samples(1_000_000)
    return measured("check1e6", lambda: gnomon.check(x, y, budget="5min"))


ALONE: dict[str, Callable[[], dict[str, float]]] = {
    "joint": joint,
    "check": check,
    "prdc_gnomon": lambda: prdc_memory("gnomon"),
    "prdc_prdc": lambda: prdc_memory("prdc"),
}


# ---- all of them -------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One measurement.

    Args:
        name: what --only selects.
        packages: peers that must be installed.
        bars: figures that are to stay below a number.
        run: takes whether it is to be quick, and gives the figures.
        long: left out of --quick.
    """

    name: str
    packages: tuple[str, ...]
    bars: dict[str, float]
    run: Callable[[bool], dict[str, float]]
    long: bool = False


CASES = (
    Case("mmd", ("torch",), {"mmd/full": 0.33}, mmd_cases),
    Case("prdc", ("prdc",), {"prdc/prdc": 0.5, "prdc_share_of_peak_bytes": 0.1}, prdc_cases),
    Case("joint", (), {"joint1e5_seconds": 60.0, "joint1e5_peak_bytes": 1e9}, in_own_process("joint")),
    Case("check", (), {"check1e6_seconds": 300.0, "check1e6_peak_bytes": 1e9}, in_own_process("check"), long=True),
)


def main() -> None:
    """Run the cases whose peers are installed, or one measurement in this process when called by itself with --alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds, less than 60 seconds")
    parser.add_argument("--json", action="store_true", help="print all figures as one flat JSON object on the last line")
    parser.add_argument("--only", choices=[case.name for case in CASES], help="one case")
    parser.add_argument("--threads", type=int, default=1, help="more on a quiet machine only: on a busy core they wait for each other")
    parser.add_argument("--alone", choices=ALONE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        import_everything()
        torch.set_num_threads(options.threads)
        print(json.dumps(ALONE[options.alone]()))
        return
    torch.set_num_threads(options.threads)
    print(header(f"Checks, {options.threads} thread{'s' * (options.threads > 1)}", ("torch", "numpy", "scikit-learn"), *METHOD))
    figures: dict[str, float] = {}
    for case in CASES:
        if (options.quick and case.long) or options.only not in (None, case.name):
            continue
        if missing := [package for package in case.packages if installed(package) is None]:
            print(f"{case.name}: left out; {', '.join(missing)} is not installed")
            continue
        made = case.run(options.quick)
        for key, value in made.items():
            bar = f"   (bar {case.bars[key]:g})" if key in case.bars else ""
            print(f"{key:<36}{value:12.4g}{bar}", flush=True)
        figures |= made
    emit(figures, as_json=options.json)


if __name__ == "__main__":
    main()
