"""A fit tells its loggers every line of its history, and goes on without one that fails."""

from __future__ import annotations

from typing import Any

import pytest

import gnomon
from gnomon.errors import OptionError

QUICK = {"epochs": 3, "progress": False, "options": {"net": {"hidden": (8,)}}}


class Notebook:
    """Remembers what it was told; fails at the second line if asked to."""

    def __init__(self, fails: bool = False) -> None:
        self.told: list[Any] = []
        self.fails = fails

    def start(self, info: dict[str, Any]) -> None:
        self.told.append(info["model"])

    def log(self, record: dict[str, float], step: int) -> None:
        if self.fails and len(self.told) == 2:
            raise OSError("no network")
        self.told.append((step, record["train/loss"]))

    def finish(self) -> None:
        self.told.append("end")


def test_every_line_of_the_history_is_told() -> None:
    book = Notebook()
    learned = gnomon.fit("classifier", "wine", log=book, **QUICK)
    assert book.told == ["classifier", *((r["step"], r["train/loss"]) for r in learned.history), "end"]


def test_a_logger_that_fails_is_named_once_and_training_goes_on(capsys) -> None:
    book = Notebook(fails=True)
    learned = gnomon.fit("classifier", "wine", log=[book], **{**QUICK, "progress": True})
    assert len(learned.history) == 3 and len(book.told) == 2
    assert capsys.readouterr().err.count("log='Notebook' failed and is off from here on (OSError: no network)") == 1


def test_what_is_no_logger_is_refused_before_anything_is_written(tmp_path) -> None:
    with pytest.raises(OptionError, match="unknown logger 'tensorbord'"):
        gnomon.fit("classifier", "wine", log="tensorbord", out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()
