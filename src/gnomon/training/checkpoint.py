"""What a run leaves on disk while it trains: `state.safetensors` and `history.jsonl`, replaced or cut so that they always agree.

Knows files; not what the tensors mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gnomon.errors import RunError
from gnomon.learned.runs import replaced
from gnomon.training.game import on_host

STATE = "state.safetensors"
HISTORY = "history.jsonl"


class Checkpoint:
    """The state of one run in a folder.

    Args:
        folder: the run folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Replace the state in one move: afterwards the file holds either the old state or the new one.

        Raises:
            RunError: the disk is full or the folder cannot be written; the last good state is untouched.
        """
        target = self.folder / STATE
        own = {name: on_host(t) for name, t in tensors.items()}
        try:
            replaced(target, lambda partial: save_file(own, partial, metadata={"facts": json.dumps(facts)}))
        except (OSError, SafetensorError) as error:
            raise RunError(f"cannot save the state of the run to {target}: {error}; the last good state is kept") from error

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors and facts of the last `save`.

        Raises:
            RunError: there is no state, or it is damaged.
        """
        path = self.folder / STATE
        if not path.exists():
            raise RunError(f"{self.folder} holds no {STATE}: there is nothing to resume; fit again")
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["facts"])
                return {name: file.get_tensor(name) for name in file.keys()}, facts
        except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
            raise RunError(f"{path} is damaged and cannot be read ({error}); fit again") from error

    def append(self, record: dict[str, Any]) -> None:
        """Add one line to the history. Raises RunError if it cannot be written."""
        try:
            with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self.folder / HISTORY}: {error}; the last good state is kept") from error

    def cut_history(self, lines: int) -> list[dict[str, Any]]:
        """Keep the first `lines` lines of the history, those that the saved state has seen, and return them."""
        path = self.folder / HISTORY
        kept = path.read_text(encoding="utf-8").splitlines()[:lines] if path.exists() else []
        if len(kept) < lines:
            raise RunError(f"{path} holds {len(kept)} lines where the saved state has seen {lines}: it was cut; fit again")
        replaced(path, lambda partial: partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8"))
        return [json.loads(line) for line in kept]
