"""Headless Chromium for tests of pages, spoken to over its debugging pipe: what a page shows, what it logs, how wide it gets.

Chromium comes from the system (Debian's package); tests skip where it is missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One page of a running Chromium.

    Attributes:
        log: everything that pages wrote to the console or that the browser logged about them, one text each.
    """

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = os.fdopen(send, "wb", buffering=0), os.fdopen(receive, "rb", buffering=0)
        self._waiting, self._events, self._last = b"", [], 0
        self.log: list[str] = []
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def open(self, page: Path) -> None:
        """Load a file and wait until all its pictures are there."""
        self._events.clear()
        self.do("Page.navigate", url=page.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._take(self._read())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; promises are waited for."""
        made = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in made:
            raise RuntimeError(json.dumps(made["exceptionDetails"]))
        return made["result"].get("value")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol."""
        return self._ask(method, parameters, session=self._session)

    def _ask(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        self._send.write(json.dumps(message).encode() + b"\0")
        while True:
            got = self._read()
            if got.get("id") == self._last:
                if "error" in got:
                    raise RuntimeError(f"{method}: {got['error']}")
                return got["result"]
            self._take(got)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            part = self._receive.read(65536)
            if not part:
                raise RuntimeError("the browser has ended")
            self._waiting += part
        message, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(message)

    def _take(self, got: dict[str, Any]) -> None:
        method, parameters = got.get("method", ""), got.get("params", {})
        self._events.append(method)
        if method == "Log.entryAdded":
            self.log.append(parameters["entry"]["text"])
        if method == "Runtime.consoleAPICalled":
            self.log.append(" ".join(str(part.get("value", part.get("description"))) for part in parameters["args"]))
        if method == "Runtime.exceptionThrown":
            self.log.append(parameters["exceptionDetails"]["text"])
        if method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith(("file:", "data:")):
            self.log.append(f"asked for {parameters['request']['url']}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a fresh profile, ended afterwards."""
    assert CHROMIUM is not None
    pipes = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (*os.pipe(), *os.pipe())]  # high numbers, clear of 3 and 4
    theirs, ours, mine, its = pipes

    def place() -> None:
        os.dup2(theirs, 3)  # Chromium reads commands from 3 and answers on 4
        os.dup2(its, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [CHROMIUM, *_QUIET, f"--user-data-dir={profile}", "about:blank"]
        running = subprocess.Popen(arguments, pass_fds=(3, 4), preexec_fn=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs)
        os.close(its)
        try:
            yield Browser(ours, mine)
        finally:
            running.terminate()
            running.wait(20)
