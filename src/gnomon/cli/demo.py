"""`gnomon demo`: the whole job on bundled data, by the same commands a user would type, in about two minutes.

It writes data, runs the verbs one after the other, and draws two pictures; everything else is theirs.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.arguments import Debug, Overwrite, new_target
from gnomon.errors import RunError

MOONS, DIGITS = 8000, 0.8  # rows of moons that are learned from, share of the digits


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where everything is put.")] = Path("gnomon-demo"),
    epochs: Annotated[float, typer.Option(metavar="FACTOR", help="Factor on the lengths of the fits: 0.1 for a quick look.")] = 1.0,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> int:
    """Fit, sample, predict, score and check bundled data; ends with the path of a report.

    A flow learns two moons, a classifier and a variational autoencoder learn handwritten digits.

    \b
    Examples:
      gnomon demo
      gnomon demo -o somewhere --epochs 0.1
    """
    new_target(out, overwrite)
    start = time.perf_counter()
    _write_data(out)
    for command in commands(out, epochs):
        _run(command)
    pictures = [_draw_digits(out), _draw_moons(out)]
    print("\n# how good is it? every number beside what two samples of the same distribution give")
    _run(["check", out / "moons", out / "moons-heldout.parquet", "--budget", "15s"])
    page = out / "moons" / "check" / "report.html"
    print(f"\n{time.perf_counter() - start:.0f} s in all")
    for picture in pictures:
        print(f"picture: {picture}")
    print(f"report: {page}")
    return 0


def commands(out: Path, factor: float) -> list[list[Any]]:
    """What is run, in order, before the last check; `factor` shortens the fits."""

    def length(epochs: int) -> list[str]:
        return ["--epochs", str(max(1, round(epochs * factor))), "--overwrite"]

    digits, held_out = out / "digits-train.npz", out / "digits-heldout.npz"
    return [
        ["fit", "flow", out / "moons-train.parquet", "-o", out / "moons", *length(60)],
        ["sample", out / "moons", "-n", "2000", "-o", out / "moons-samples.parquet", "--overwrite"],
        ["score", out / "moons", out / "moons-heldout.parquet", "--anomaly", "-o", out / "moons-scores.parquet", "--overwrite"],
        ["fit", "classifier", digits, "-o", out / "digits-classifier", *length(20)],
        ["predict", out / "digits-classifier", held_out, "--proba", "-o", out / "digits-probabilities.parquet", "--overwrite"],
        ["check", out / "digits-classifier", held_out, "--budget", "5s"],
        ["fit", "vae", digits, "-o", out / "digits-vae", *length(80)],
        ["sample", out / "digits-vae", "-n", "64", "-o", out / "digits-samples.npy", "--overwrite"],
        ["sample", out / "digits-vae", "-n", "10", "-o", out / "digits-samples", "--overwrite"],
    ]


def _run(command: list[Any]) -> None:
    """One command as a user would type it, shown and then run. Raises RunError if it fails."""
    from gnomon.cli import main

    texts = [os.fspath(part) for part in command]
    print(f"\n$ gnomon {shlex.join(texts)}", flush=True)
    code = main(texts)
    if code != 0:
        raise KeyboardInterrupt if code == 130 else RunError(f"the demo stopped: `gnomon {texts[0]}` ended with exit code {code}")
    sys.stderr.flush()


def _write_data(out: Path) -> None:
    """Training and held-out data as files, so that every step can be repeated by hand."""
    import numpy as np

    from gnomon.data import load, split, write

    out.mkdir(parents=True, exist_ok=True)
    moons = load("moons")
    write(moons.slice(0, MOONS), out / "moons-train.parquet", overwrite=True)
    write(moons.slice(MOONS), out / "moons-heldout.parquet", overwrite=True)
    digits = load("digits")
    parts = split(len(digits["x"]), 1 - DIGITS, seed=0, how="stratified", values=digits["y"])
    for name, rows in zip(("train", "heldout"), parts, strict=True):
        np.savez(out / f"digits-{name}.npz", **{role: values[rows.numpy()] for role, values in digits.items()})


def _draw_digits(out: Path) -> Path:
    """64 generated digits beside 64 real ones."""
    import numpy as np

    made, real = np.load(out / "digits-samples.npy"), np.load(out / "digits-heldout.npz")["x"]
    figure, axes = _canvas(2, (8.0, 4.3))
    for axis, pictures, title in zip(axes, (made, real), ("generated", "real, held out"), strict=True):
        framed = np.pad(pictures[:64].reshape(64, 8, 8), ((0, 0), (1, 1), (1, 1)))
        grid = framed.reshape(8, 8, 10, 10).transpose(0, 2, 1, 3).reshape(80, 80)
        axis.imshow(grid, cmap="gray_r", interpolation="nearest", vmin=0, vmax=16)
        axis.set(title=title, xticks=[], yticks=[])
    figure.savefig(out / "digits.png", dpi=120)
    return out / "digits.png"


def _draw_moons(out: Path) -> Path:
    """Generated and held-out moons, and the density that was learned."""
    import numpy as np
    import pyarrow.parquet as parquet

    from gnomon.learned import load

    tables = [parquet.read_table(out / name) for name in ("moons-samples.parquet", "moons-heldout.parquet")]
    points = [np.stack([column.to_numpy() for column in table.columns], 1) for table in tables]
    names = tables[1].column_names
    low, high = points[1].min(0) - 0.3, points[1].max(0) + 0.3
    first, second = np.meshgrid(np.linspace(low[0], high[0], 160), np.linspace(low[1], high[1], 120))
    density = np.exp(load(out / "moons").log_prob({names[0]: first.ravel(), names[1]: second.ravel()})).reshape(first.shape)
    figure, axes = _canvas(3, (11.0, 3.6))
    for axis, values, title in zip(axes, points, ("generated", "real, held out"), strict=False):
        axis.scatter(values[:, 0], values[:, 1], s=2, color="#0072b2", linewidths=0)
        axis.set(title=title)
    axes[2].pcolormesh(first, second, density, cmap="viridis", shading="nearest", rasterized=True)
    axes[2].set(title="learned density")
    for axis in axes:
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=names[0], ylabel=names[1])
    figure.savefig(out / "moons.png", dpi=120)
    return out / "moons.png"


def _canvas(panels: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure that leaves matplotlib's global state and back end alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, panels)
