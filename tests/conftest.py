"""For all tests: Ctrl-C means what it means in a terminal, also where a script runs them in the background and it is ignored."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit it as the usual end, not as ignored
