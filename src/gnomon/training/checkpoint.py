"""What a run leaves on disk while it trains: `state.safetensors` and `history.jsonl`, replaced or cut so that they always agree.

Knows files; not what the tensors mean.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gnomon.errors import RunError
from gnomon.learned.runs import HISTORY, disk_error, replaced
from gnomon.training.game import on_host

FORMAT = 1
STATE = "state.safetensors"
HISTORIES = "histories.jsonl"
"""The history of several models trained together, kept beside that of the one that the finished folder holds."""


class Checkpoint:
    """The state of one run in a folder.

    The history on disk never lags behind the state: lines that could not be written wait, and no state is saved before them.

    Args:
        folder: the run folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting = b""

    def exists(self) -> bool:
        """Whether anything was saved yet."""
        return (self.folder / STATE).exists()

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Replace the state in one move: afterwards the file holds either the old state or the new one.

        Raises:
            RunError: the disk is full or the folder cannot be written; the last good state is untouched.
        """
        target = self.folder / STATE
        own = {name: on_host(t) for name, t in tensors.items()}
        self._write_history(durably=True)
        try:
            replaced(target, lambda partial: save_file(own, partial, metadata={"facts": json.dumps(facts)}))
        except (OSError, SafetensorError) as error:
            raise RunError(f"cannot save the state of the run to {target}: {disk_error(error)}; the last good state is kept") from error

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors and facts of the last `save`.

        Raises:
            RunError: there is no state, it is damaged, or a newer version wrote it.
        """
        path = self.folder / STATE
        if not path.exists():
            raise RunError(f"{self.folder} holds no {STATE}: there is nothing to resume; fit again")
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["facts"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
            raise RunError(f"{path} is damaged and cannot be read ({error}); fit again") from error
        if facts.get("format", FORMAT) > FORMAT:
            raise RunError(f"{path} has format {facts['format']}; this gnomon goes on from format {FORMAT}: upgrade gnomon")
        return tensors, facts

    def append(self, record: dict[str, Any]) -> None:
        """Add one line to the history.

        Raises:
            RunError: it cannot be written; it is kept for the next `append` or `save`.
        """
        self._waiting += (json.dumps(record) + "\n").encode()
        self._write_history()

    def cut_history(self, lines: int) -> list[dict[str, Any]]:
        """Keep the first `lines` lines of the history, those that the saved state has seen, and return them."""
        path, joint = self.folder / HISTORY, self.folder / HISTORIES
        source = joint if joint.exists() else path
        kept = source.read_text(encoding="utf-8", errors="replace").splitlines()[:lines] if source.exists() else []
        if len(kept) < lines:
            raise RunError(f"{source} holds {len(kept)} lines where the saved state has seen {lines}: it was cut; fit again")
        try:
            records = [json.loads(line) for line in kept]
        except ValueError as error:
            raise RunError(f"{source} is damaged within the {lines} lines that the saved state has seen ({error}); fit again") from error
        try:
            replaced(path, lambda partial: partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8"))
            joint.unlink(missing_ok=True)  # only now: until then it is the one that counts
        except OSError as error:
            raise RunError(f"cannot write {path}: {disk_error(error)}; the last good state is kept") from error
        return records

    def keep_histories(self, history: list[dict[str, Any]]) -> None:
        """Keep the history of several models whole, before the folder becomes the run of one of them."""
        text = "".join(json.dumps(record) + "\n" for record in history)
        try:
            replaced(self.folder / HISTORIES, lambda partial: partial.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise RunError(f"cannot write {self.folder / HISTORIES}: {disk_error(error)}; the last good state is kept") from error

    def _write_history(self, *, durably: bool = False) -> None:
        """Add the lines that wait, all of them or none; `durably` waits until the disk has everything."""
        path = self.folder / HISTORY
        if not self._waiting and not (durably and path.exists()):
            return
        try:
            with path.open("ab", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                try:
                    written = 0
                    while written < len(self._waiting):
                        written += file.write(self._waiting[written:]) or 0
                except OSError:
                    file.truncate(end)
                    raise
                self._waiting = b""
                if durably:
                    os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"cannot write {path}: {disk_error(error)}; the last good state is kept") from error
