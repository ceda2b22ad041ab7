"""Loggers: what a fit tells other programs while it runs (TensorBoard, MLflow, Weights & Biases, or one of the user's own).

Found by name in `gnomon.registry`; nothing is imported before one is asked for. What is measured is decided by the loop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gnomon import registry
from gnomon.errors import GnomonError, OptionError

__all__ = ["Guarded", "Logger", "facts", "make", "numbers"]


@runtime_checkable
class Logger(Protocol):
    """What every logger is; a class of one takes the run's folder (or None) and nothing else."""

    def start(self, info: dict[str, Any]) -> None:
        """Open it. `info` is flat: names to numbers and short texts, as `facts` makes it."""
        ...

    def log(self, record: dict[str, float], step: int) -> None:
        """Note finite numbers by name, as `numbers` makes them, at a turn of the loop."""
        ...

    def finish(self) -> None:
        """Close it."""
        ...


class Guarded:
    """A logger that can stop training before it begins, and never after.

    Args:
        name: for messages.
        logger: the one that is guarded.
        say: how the user is told that it was switched off.
    """

    def __init__(self, name: str, logger: Logger, say: Callable[[str], None]) -> None:
        self.name, self.logger, self.say, self.on = name, logger, say, False

    def start(self, info: Mapping[str, Any]) -> None:
        """Open it with the facts of a run, given as `run.json` has them.

        Raises:
            OptionError: it cannot be opened; in one line.
        """
        try:
            self.logger.start(facts(info))
        except GnomonError:
            raise
        except ImportError as error:
            raise OptionError(f"log='{self.name}' cannot be imported: {_line(error)}") from error
        except Exception as error:
            raise OptionError(f"log='{self.name}' cannot be started ({_line(error)}); mend it or leave it out") from error
        self.on = True

    def log(self, record: Mapping[str, Any], step: int) -> None:
        """Hand a line of the history on. If the logger raises, this is said once and it is switched off."""
        if not self.on:
            return
        try:
            self.logger.log(numbers(record), step)
        except Exception as error:
            self._off(error)

    def finish(self) -> None:
        """Close it, if it is still on. Does nothing the second time."""
        if not self.on:
            return
        try:
            self.logger.finish()
        except Exception as error:
            self._off(error)
        self.on = False

    def _off(self, error: Exception) -> None:
        self.on = False
        self.say(f"log='{self.name}' failed and is off from here on ({_line(error)}); training goes on")


def make(names: Any, folder: Path | None = None, *, say: Callable[[str], None] | None = None) -> list[Guarded]:
    """The loggers a user asked for, not yet started; an empty list, and nothing imported, for None.

    Args:
        names: None, a name, names separated by commas, a Logger, or a sequence of names and Loggers.
        folder: of the run; those that write files put them into a folder of their own in it.
        say: how the user is told of a failure; by default a line on stderr.

    Raises:
        OptionError: an unknown name, or something that is no logger.

    Example:
        >>> make(None)
        []
        >>> [one.name for one in make("tensorboard, wandb", Path("run"))]
        ['tensorboard', 'wandb']
    """
    if names is None:
        return []
    asked = [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names
    if isinstance(asked, Logger) or not isinstance(asked, (list, tuple)):
        asked = [asked]
    said = say or _on_stderr
    made = []
    for one in asked:
        if isinstance(one, str):
            made.append(Guarded(one, registry.loggers[one](folder), said))
        elif isinstance(one, Logger) and not isinstance(one, type):
            made.append(Guarded(type(one).__name__, one, said))
        else:
            raise OptionError(f"log wants names of loggers, or objects with start, log and finish; got {one!r}")
    return made


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a line of history; one of several models trained together gets its number after the name.

    Example:
        >>> numbers({"step": 10, "train/loss": 0.5, "validation/loss": [1.0, float("nan")], "doctor": ["dead units"]})
        {'step': 10.0, 'train/loss': 0.5, 'validation/loss/0': 1.0}
    """
    found: dict[str, float] = {}
    for name, value in record.items():
        several = value if isinstance(value, (list, tuple)) else [value]
        for index, one in enumerate(several):
            if isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < float("inf"):
                found[name if several is not value else f"{name}/{index}"] = float(one)
    return found


def facts(info: Mapping[str, Any]) -> dict[str, Any]:
    """What loggers are told of a run: model, options, settings, seed, and how many rows. No path, and nothing of the data.

    Args:
        info: the fields of `run.json`.

    Example:
        >>> facts({"recipe": {"model": "pca", "options": {"components": 2}, "fit": {"data": "/home/me/x.csv"}}, "seed": 0})
        {'model': 'pca', 'seed': 0, 'options.components': 2}
    """
    recipe, decisions, data = (info.get(key) or {} for key in ("recipe", "decisions", "data"))
    plain: dict[str, Any] = {"model": recipe.get("model") or str(recipe.get("class", "")).rpartition(":")[2] or None}
    plain |= {"gnomon": info.get("gnomon"), "seed": info.get("seed"), "rows": data.get("rows")}
    for group, values in (("options", recipe.get("options")), ("settings", decisions.get("settings"))):
        plain |= _flat(group, values or {})
    return {key: value for key, value in plain.items() if value is not None}


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Tables inside tables as names with dots; lists as texts; texts that name a place are left out."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            made |= _flat(f"{prefix}.{name}", value)
        elif isinstance(value, (bool, int, float)):
            made[f"{prefix}.{name}"] = value
        elif value is not None and not any(mark in str(value) for mark in ("/", "\\", "://")):
            made[f"{prefix}.{name}"] = str(value)
    return made


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
