"""Ctrl-C during a fit: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether an orderly end was asked for."""

    asked = False


@contextmanager
def orderly() -> Iterator[Interrupt]:
    """Inside the block a first Ctrl-C only sets `asked`; a second raises KeyboardInterrupt.

    Nothing changes outside the main thread, where Python delivers no signals, and in a program that ignores Ctrl-C, as those
    do that a shell's script runs in the background, or whose Ctrl-C is none of Python's.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield interrupt
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if interrupt.asked:
            raise KeyboardInterrupt
        interrupt.asked = True

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
