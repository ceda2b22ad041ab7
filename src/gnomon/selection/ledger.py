"""The file `search.json`: what was asked, every score as soon as it is known, and the result.

A search is the same program every time; what stands in the ledger is not computed again. So a killed one goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gnomon import __version__
from gnomon.errors import RunError
from gnomon.learned import runs

FILE, BEST = "search.json", "best"
FORMAT = 1


class Ledger:
    """Scores by key, in memory and, with a folder, on disk: written whole after each, in one step.

    Args:
        folder: of the search, or None.
        asked: all that decides the scores, as JSON has it; another search in the same folder is refused.
        overwrite: begin anew in a folder that holds a search.

    Raises:
        RunError: the folder holds something else, another search, or a damaged one.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, asked: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = None if folder is None else Path(folder)
        self.asked: dict[str, Any] = json.loads(json.dumps(runs.plain(asked)))
        self.scores: dict[str, dict[str, Any]] = {}
        if self.folder is None:
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"'{self.folder}' is a file; a search needs a folder")
        path = self.folder / FILE
        if path.is_file():
            if not overwrite:
                self.scores = self._read(path)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise RunError(f"'{self.folder}' exists and holds no search; choose another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write()

    @property
    def best(self) -> Path | None:
        """Where the run with the best setting goes."""
        return None if self.folder is None else self.folder / BEST

    def once(self, key: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What stands under `key`, or what `work` makes, which is then written down."""
        if key not in self.scores:
            self.scores[key] = json.loads(json.dumps(runs.plain(work())))
            self.write()
        return self.scores[key]

    def write(self, result: Mapping[str, Any] | None = None) -> None:
        """Replace the file. Raises RunError if it cannot be written; the old one is then untouched."""
        if self.folder is None:
            return
        whole = {"format": FORMAT, "gnomon": __version__, "asked": self.asked, "scores": self.scores, "result": runs.plain(result)}
        text = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
        try:
            runs.replaced(self.folder / FILE, lambda path: path.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise RunError(f"cannot write '{self.folder / FILE}': {error.strerror or error}; the last good state is kept") from error

    def _read(self, path: Path) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            number, asked, scores = found["format"], found["asked"], found["scores"]
            if not isinstance(asked, dict) or not isinstance(scores, dict) or not all(isinstance(s, dict) for s in scores.values()):
                raise ValueError("wrong types")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(f"'{path}' is damaged ({' '.join(str(error).split())[:100]}); take it from a copy, or pass overwrite") from error
        if number != FORMAT:
            raise RunError(f"'{path}' has format {number}; this gnomon {__version__} reads format {FORMAT}")
        if asked != self.asked:
            other = sorted(key for key in {*asked, *self.asked} if asked.get(key) != self.asked.get(key))
            raise RunError(f"'{path.parent}' holds a search that differs in {', '.join(other)}; choose another folder, or pass overwrite")
        return scores
