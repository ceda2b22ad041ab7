"""What the user sees while a fit runs: a bar in a terminal, a few plain lines elsewhere.

Told numbers by the loop; decides nothing.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LINES = 10  # a run without a terminal prints about this many lines


class Progress:
    """Loss, speed and time left of one fit, written to stderr.

    Args:
        total: planned turns.
        epochs: planned epochs.
        show: False for silence.
    """

    def __init__(self, total: int, epochs: int, *, show: bool = True) -> None:
        self.total = max(1, total)
        self.epochs = epochs
        self.show = show
        self._bar: Bar | None = None
        self._start = time.perf_counter()
        self._first = 0
        self._told = 0

    def start(self, turn: int) -> None:
        """Begin (or go on) at `turn`."""
        self._start, self._first = time.perf_counter(), turn
        self._told = LINES * turn // self.total
        if self.show and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=False)
            self._bar.add_task("starting", total=self.total, completed=turn, speed="")
            self._bar.start()

    def update(self, turn: int, epoch: int, values: dict[str, float]) -> None:
        """Say where the run is."""
        if not self.show:
            return
        seconds = max(1e-9, time.perf_counter() - self._start)
        speed = f"{(turn - self._first) / seconds:,.0f} steps/s"
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        text = f"epoch {min(epoch + 1, self.epochs)}/{self.epochs}  {numbers}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=turn, description=text, speed=speed)
        elif LINES * turn // self.total > self._told:
            self._told = LINES * turn // self.total
            left = seconds * (self.total - turn) / max(1, turn - self._first)
            print(f"{text}  {speed}  {left:,.0f} s left", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line that stays, above the bar."""
        if not self.show:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Leave the terminal in order."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
