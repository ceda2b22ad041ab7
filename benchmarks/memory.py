"""Peak memory of `sample`, `score` and `check` on a million rows of ten columns, counted above the imports.

Each verb runs in a process of its own, on a run fitted beforehand. Linux only: the peak is read from /proc.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import emit, header

COLUMNS, FITTED = 10, 4_000
VERBS = ("sample", "score", "check")
BAR = 1e9
METHOD = (
    "peak resident memory of the process while the verb runs, less its resident memory after importing all of Gnomon, torch, pyarrow,",
    "scikit-learn and matplotlib; what the verb imports beyond these counts against it",
    "flow on ten real columns; the data is read from, and the result written to, Parquet; one thread",
)


def resident(name: str) -> int:
    """A line of /proc/self/status in bytes: `VmRSS` now, `VmHWM` at most since the last `forget_peak`."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no line {name}")


def forget_peak() -> None:
    """Set the peak of this process back to what it holds now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def prepare(folder: Path, rows: int) -> None:
    """Fit a flow on correlated, skewed columns and write the large table."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    import gnomon

    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(COLUMNS, COLUMNS))

    def table(count: int) -> pa.Table:
        values = np.sinh(0.5 * generator.normal(size=(count, COLUMNS))) @ mixing
        return pa.table({f"c{i}": values[:, i] for i in range(COLUMNS)})

    gnomon.fit("flow", table(FITTED), epochs=2, seed=0, device="cpu", compile="off", progress=False, out=str(folder / "run"))
    with pq.ParquetWriter(folder / "large.parquet", table(1).schema) as writer:
        for _ in range(rows // 50_000):
            writer.write_table(table(50_000))


def measure(verb: str, folder: Path, rows: int) -> dict[str, float]:
    """Run one verb in this process: its peak in bytes above the imports, and its seconds."""
    import_everything()
    base = resident("VmRSS")
    forget_peak()
    began = time.perf_counter()
    perform(verb, folder, rows)
    return {f"{verb}_peak_bytes": float(resident("VmHWM") - base), f"{verb}_seconds": time.perf_counter() - began}


def import_everything() -> None:
    """All modules of Gnomon, and the large packages that it imports only when needed."""
    import matplotlib.figure  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import torch

    import gnomon

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(gnomon.__path__, "gnomon."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def perform(verb: str, folder: Path, rows: int) -> None:
    """What the command line does for `verb`, in this process."""
    from gnomon.cli import main

    run, source, target = str(folder / "run"), str(folder / "large.parquet"), str(folder / verb)
    arguments = {
        "sample": ["sample", run, "-n", str(rows), "-o", target + ".parquet"],
        "score": ["score", run, source, "-o", target + ".parquet"],
        "check": ["check", run, source, "-o", target],
    }[verb]
    if code := main(arguments):
        raise RuntimeError(f"gnomon {' '.join(arguments)} ended with {code}")


def main() -> None:
    """Measure all verbs, or one in this process when called by itself with --verb."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--json", action="store_true", help="print all figures as one flat JSON object on the last line")
    parser.add_argument("--verb", choices=VERBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = 100_000 if options.quick else 1_000_000
    if options.verb:
        print(json.dumps(measure(options.verb, options.folder, rows)))
        return
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("this benchmark reads /proc/self/status, which only Linux has")
    print(header(f"Memory, {rows:,} rows x {COLUMNS} columns", ("torch", "pyarrow"), *METHOD))
    figures: dict[str, float] = {"rows": float(rows)}
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), rows)
        for verb in VERBS:
            command = [sys.executable, "-m", "benchmarks.memory", "--verb", verb, "--folder", name] + ["--quick"] * options.quick
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            figures |= json.loads(done.stdout.splitlines()[-1])
            print(
                f"{verb:<8}{figures[verb + '_peak_bytes'] / 1e6:9.0f} MB (bar {BAR / 1e6:.0f}){figures[verb + '_seconds']:9.1f} s",
                flush=True,
            )
    emit(figures, as_json=options.json)


if __name__ == "__main__":
    main()
