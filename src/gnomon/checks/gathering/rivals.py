"""The runs that are to be compared: their names, what they have in common, and which do not belong together.

What each loses on a row stands in `losses`; how they are ranked, in `comparing`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.checks.gathering.losses import way_of
from gnomon.errors import OptionError
from gnomon.learned import Learned, load


def loaded(runs: Sequence[Any] | Mapping[str, Any], device: str) -> list[tuple[str, Learned]]:
    """Runs with their names: as given, else their folders, else their models with a number."""
    if isinstance(runs, Mapping):
        return [(str(name), run if isinstance(run, Learned) else load(run, device=device)) for name, run in runs.items()]
    if isinstance(runs, (str, os.PathLike, Learned)):
        return loaded([runs], device)
    made = []
    for i, run in enumerate(runs, start=1):
        if isinstance(run, Learned):
            made.append((f"{run.name} {i}" if run.run is None else str(run.run), run))
        else:
            made.append((str(run), load(run, device=device)))
    return made


def common_way(named: Sequence[tuple[str, Learned]]) -> str:
    """The best way in which all runs can be compared. Raises OptionError if there is none."""
    ways = [way_of(learned.abilities) for _, learned in named]
    for (_, learned), own in zip(named, ways, strict=True):
        if not own:
            raise OptionError(f"{learned.name} has neither a log-probability nor a prediction, samples or a score to be ranked by")
    common = [way for way in ways[0] if all(way in own for own in ways)]
    if not common:
        told = ", ".join(sorted({own[0].replace("predict", "predictions") for own in ways}))
        raise OptionError(f"these runs have no measure in common ({told}); compare runs of one sort of model")
    return common[0]


def refuse_unlike(made: Sequence[tuple[str, Learned]]) -> None:
    """A density over other columns, or of another target, is no rival: OptionError."""
    (name, first), *others = made
    for other, learned in others:
        for role, what in (("x", "learned about"), ("y", "predicts")):
            if role == "y" and "predict" not in first.abilities:
                continue
            mine, its = _columns(getattr(first.spec, role)), _columns(getattr(learned.spec, role))
            if mine != its and not (role == "x" and "predict" in first.abilities and "predict" in learned.abilities):
                raise OptionError(f"'{name}' {what} {_told(mine)}, but '{other}' {_told(its)}; such runs cannot be compared")


def _columns(kind: Any) -> tuple[Any, ...]:
    return tuple(getattr(kind, "names", None) or getattr(kind, "shape", ()) or (getattr(kind, "name", None),))


def _told(columns: tuple[Any, ...]) -> str:
    return ", ".join(str(c) for c in columns[:6]) + (", …" if len(columns) > 6 else "")


def short(names: Sequence[str]) -> list[str]:
    """The last part of each path, where these differ.

    Example:
        >>> short(["runs/flow", "runs/vae"]), short(["a/run", "b/run"])
        (['flow', 'vae'], ['a/run', 'b/run'])
    """
    last = [Path(name).name or name for name in names]
    return last if len(set(last)) == len(set(names)) else list(names)


def trained_on(learned: Learned, data: Any) -> str:
    """What has to be said if the data is the file of the fit; empty if not."""
    path = learned.info.get("data", {}).get("path")
    return "trained on this data" if path is not None and str(data) == str(path) else ""
