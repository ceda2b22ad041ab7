"""A run's folder in the hands of one fit: what is refused, what is cleared, and that no other fit writes there meanwhile.

What goes into the files, `runs` and `checkpoint` know.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from gnomon.errors import RunError
from gnomon.learned import runs
from gnomon.training import start
from gnomon.training.checkpoint import HISTORIES, STATE

try:
    import fcntl
except ImportError:  # Windows locks no folders; there two fits in one folder are the user's to avoid
    fcntl = None  # type: ignore[assignment]

_OWN = {runs.RUN, runs.WEIGHTS, runs.HISTORY, STATE, HISTORIES, start.FOLDER}


class RunFolder:
    """The folder of one fit; as a context, it is given back at the end.

    The lock is on the folder itself, so the system takes it back when the process ends, however it ends. Readers need none:
    every file of a run is replaced whole. Where the file system knows no locks, there is none.

    Args:
        path: where; it need not exist.

    Attributes:
        ours: whether what is in it belongs to this fit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ours = False
        self._overwrite: bool | None = None
        self._lock: int | None = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def refuse(self, overwrite: bool) -> None:
        """Stop before any work if a new run cannot go there. Raises RunError."""
        self._overwrite = overwrite
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"'{self.path}' is a file; a run needs a folder")
        found = runs.contents(self.path)
        if found and not overwrite:
            raise RunError(f"'{self.path}' exists and is not empty; choose another folder, pass overwrite, or resume the run in it")
        if found and not runs.is_run(self.path) and not {entry.name for entry in found} <= _OWN:
            raise RunError(f"'{self.path}' is not a run folder, so it is not overwritten; choose another folder")

    def take(self) -> None:
        """Keep other fits out, and remove half-written files of one that was killed.

        Raises:
            RunError: another fit, of this or another process, is writing there; or there can be no such folder.
        """
        runs.make_folder(self.path)
        if fcntl is not None:
            self._lock = os.open(self.path, os.O_RDONLY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise RunError(f"another fit is writing to '{self.path}'; wait until it is done, or choose another folder") from error
        with runs.said_in_words(self.path):
            runs.sweep(self.path)
        self.ours = True

    def begin(self, info: dict[str, Any]) -> None:
        """Take the folder and make it that of a run that has just begun.

        The state of an earlier run goes first, so that nobody goes on from it by mistake, and its weights last: killed in
        between, the folder holds the earlier run or the new one.

        Raises:
            RunError: as `refuse` and `take`.
        """
        if not self.ours:
            self.take()
            self.refuse(bool(self._overwrite))  # another fit may have been there since it was asked for
        with runs.said_in_words(self.path):
            for name in (STATE, HISTORIES, runs.HISTORY):
                (self.path / name).unlink(missing_ok=True)
            if runs.is_run(self.path / start.FOLDER):
                shutil.rmtree(self.path / start.FOLDER)
            runs.write_info(self.path, info)
            (self.path / runs.WEIGHTS).unlink(missing_ok=True)
