"""How the benchmarks measure and report: paired A/B/A/B rounds, medians of their ratios, a header, one JSON line.

What is run, and against whom, is for the benchmarks themselves to say.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


class Seconds(NamedTuple):
    """What one measurement took: by the wall clock, and in processor time of this process and of those it waited for."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Comparison:
    """Gnomon's time ÷ the peer's over paired rounds: the median and the quartiles of the ratios (lower is better)."""

    ours: Sequence[Seconds]
    peer: Sequence[Seconds]

    @property
    def ratio(self) -> float:
        return statistics.median(self._ratios(0))

    @property
    def cpu_ratio(self) -> float:
        """The same in processor time, which other programs on the machine disturb less."""
        return statistics.median(self._ratios(1))

    @property
    def quartiles(self) -> tuple[float, float]:
        ratios = self._ratios(0)
        if len(ratios) < 2:
            return ratios[0], ratios[0]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, high

    @property
    def our_seconds(self) -> float:
        return self.median("ours").wall

    @property
    def peer_seconds(self) -> float:
        return self.median("peer").wall

    def median(self, side: Literal["ours", "peer"]) -> Seconds:
        """The median time of one side, by both clocks."""
        return Seconds(*(statistics.median(clock) for clock in zip(*getattr(self, side), strict=True)))

    def _ratios(self, clock: int) -> list[float]:
        return [ours[clock] / peer[clock] for ours, peer in zip(self.ours, self.peer, strict=True)]


def timed(action: Callable[[], object]) -> Seconds:
    """Run `action` once and take the time."""
    wall, cpu = time.perf_counter(), processor_seconds()
    action()
    return Seconds(time.perf_counter() - wall, processor_seconds() - cpu)


def processor_seconds() -> float:
    """Processor time used so far by this process and by its finished children (these only where the system tells)."""
    if resource is None:
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def per_unit(run: Callable[[int], object], count: int, units: int = 1) -> Seconds:
    """Seconds per unit of work by difference: `run(2 * count)` less `run(count)`, so that start-up costs cancel.

    Args:
        run: does a given number of rounds of work (epochs) from scratch.
        count: how many rounds the shorter run does.
        units: units (steps) in a round.
    """
    short, long = timed(lambda: run(count)), timed(lambda: run(2 * count))
    return Seconds(*((b - a) / (count * units) for a, b in zip(short, long, strict=True)))


def compare(ours: Callable[[], Seconds], peer: Callable[[], Seconds], *, rounds: int, limit: float = float("inf")) -> Comparison:
    """Measure A/B/A/B: `rounds` pairs, one right after the other, fewer (but at least three) once `limit` seconds are spent."""
    pairs: list[tuple[Seconds, Seconds]] = []
    began = time.perf_counter()
    while len(pairs) < rounds and (len(pairs) < min(3, rounds) or time.perf_counter() - began < limit):
        pairs.append((ours(), peer()))
    return Comparison([a for a, _ in pairs], [b for _, b in pairs])


def arguments(description: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The two options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, less than 60 seconds")
    parser.add_argument("--json", action="store_true", help="print all figures as one flat JSON object on the last line")
    return parser.parse_args(argv)


def header(title: str, packages: Sequence[str], *method: str) -> str:
    """What was run, on what, and how: the lines that stand above every table of figures."""
    import gnomon

    found = [f"{name} {installed(name) or 'missing'}" for name in packages]
    lines = [
        title,
        f"machine   {processor()}, {os.cpu_count()} cores, load {load()}; {platform.system()} {platform.machine()}",
        f"versions  gnomon {gnomon.__version__}, Python {platform.python_version()}, " + ", ".join(found),
        *(f"method    {line}" for line in method),
    ]
    return "\n".join(lines) + "\n"


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def load() -> str:
    """How busy the machine was in the last minute: above its number of cores, wall-clock figures mean little."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def emit(figures: dict[str, float], *, as_json: bool) -> None:
    """Print the figures as one flat JSON object on the last line, if asked to."""
    if as_json:
        sys.stdout.flush()
        print(json.dumps({name: float(f"{value:.6g}") for name, value in figures.items()}))
