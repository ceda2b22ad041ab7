"""What a fit starts from: a fitted model with its spec and scaling, which is kept inside the run so that this can be resumed.

What a model takes over is its own matter (`Model.options_from`, `Model.adopt`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gnomon.errors import OptionError
from gnomon.learned import Learned, load, runs

FOLDER = "start"
"""Where in a run the model lies that it started from."""


def fitted(start: Any, run: Path | None) -> Learned | None:
    """The fitted model that `start` names, or None.

    Args:
        start: a Learned, a run folder, or None.
        run: the folder of a fit that is resumed, whose own copy comes first, or None.

    Raises:
        OptionError: `start` is something else.
        RunError: there is no such run, or it is damaged.
    """
    if start is None or isinstance(start, Learned):
        return start
    if not isinstance(start, (str, os.PathLike)):
        raise OptionError(f"start wants a Learned or the folder of a run; got {start!r}")
    kept = None if run is None else run / FOLDER
    return load(kept if kept is not None and runs.is_run(kept) else start)


def keep(learned: Learned, run: Path) -> None:
    """Write a copy of the fitted model into the folder of a run."""
    runs.write_run(run / FOLDER, learned.info, learned.tensors())


def named(start: Any) -> str | None:
    """`start` as it is written to the run: the folder it came from, if it did."""
    if isinstance(start, Learned):
        return FOLDER if start.run is None else os.fspath(start.run)
    return None if start is None else os.fspath(start)
