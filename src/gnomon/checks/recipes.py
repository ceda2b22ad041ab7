"""Runs of one recipe that differ in their seed only: which these are, what they are called, and how much their seeds matter.

Formulas stand in `measures.seeds`, the comparison of single runs in `comparing`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.checks.measures.seeds import spread, welch
from gnomon.checks.nulls import holm

_OF_A_SEED = ("seed", "seeds", "device", "compile")  # what may differ between runs of one recipe


@dataclass(frozen=True)
class Recipe:
    """Runs of one recipe, beside the best recipe.

    Args:
        recipe: what it is called: the model, and those options in which recipes differ.
        runs: names of its runs.
        mean: of the metric over the runs.
        sd: standard deviation from one seed to the next; NaN for one run.
        error: standard error of the mean over seeds; NaN for one run.
        difference: how much worse than the best recipe.
        difference_error: its standard error, from the seeds of both and from the rows.
        p: two-sided, by Welch's test, corrected for all pairs of recipes (Holm); NaN where a recipe has one run.
        verdict: "best", "worse", "not told apart" or "one seed only".
    """

    recipe: str
    runs: tuple[str, ...]
    mean: float
    sd: float
    error: float
    difference: float
    difference_error: float
    p: float
    verdict: str


def labels(infos: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each run what its recipe is called; runs that differ in their seed only have the same name.

    Args:
        infos: what `Learned.info` holds for each.

    Example:
        >>> one, two = ({"recipe": {"model": "flow", "options": {"transforms": k}}} for k in (4, 8))
        >>> labels([one, two, one])
        ['flow (transforms=4)', 'flow (transforms=8)', 'flow (transforms=4)']
    """
    parts = [_parts(info) for info in infos]
    names = [str(info.get("recipe", {}).get("model") or info.get("recipe", {}).get("class", "?")).split(":")[-1] for info in infos]
    made = []
    for name, own in zip(names, parts, strict=True):
        rivals = [other for other_name, other in zip(names, parts, strict=True) if other_name == name]
        keys = sorted({key for other in rivals for key in {*own, *other} if own.get(key) != other.get(key)})
        told = ", ".join(f"{key}={own[key]}" if key in own else f"no {key}" for key in keys)
        made.append(f"{name} ({told})" if told else name)
    return made


def recipes_of(
    names: Sequence[str],
    called: Sequence[str],
    losses: Sequence[float],
    *,
    sign: float = 1.0,
    level: float = 0.05,
    shared_error: Callable[[Sequence[int], Sequence[int]], float] | None = None,
) -> list[Recipe]:
    """The recipes, best first; empty if no recipe has more than one run.

    Args:
        names: of the runs.
        called: what the recipe of each run is called, see `labels`.
        losses: the mean loss of each run, smaller is better.
        sign: 1 if the metric is the loss, −1 if it is its negative.
        level: p-value from which on recipes count as told apart.
        shared_error: from the indices of the runs of two recipes to the standard error that their difference has from the rows alone.

    Example:
        >>> [(one.recipe, one.verdict) for one in recipes_of("abcd", ["x", "y", "x", "y"], [1.0, 2.0, 1.1, 2.1])]
        [('x', 'best'), ('y', 'worse')]
    """
    groups: dict[str, list[int]] = {}
    for i, label in enumerate(called):
        groups.setdefault(label, []).append(i)
    if len(groups) == len(names) or not np.isfinite(losses).all():
        return []
    means = {label: [losses[i] for i in members] for label, members in groups.items()}
    order = sorted(groups, key=lambda label: float(np.mean(means[label])))
    found = {}
    for k, a in enumerate(order):
        for b in order[k + 1 :]:
            rows = 0.0 if shared_error is None else shared_error(groups[a], groups[b])
            found[a, b] = welch(means[b], means[a], shared_error=rows)
    corrected = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
    made = []
    for label in order:
        own, p, difference, error, verdict = spread(means[label]), math.nan, 0.0, 0.0, "best"
        if label != order[0]:
            difference, error, p = found[order[0], label].value, found[order[0], label].error, corrected[order[0], label]
            verdict = "one seed only" if math.isnan(p) else "worse" if p <= level else "not told apart"
        runs = tuple(names[i] for i in groups[label])
        made.append(Recipe(label, runs, sign * own.mean, own.sd, own.error, difference, error, p, verdict))
    return made


def _parts(info: Mapping[str, Any]) -> dict[str, str]:
    """Everything that makes a recipe what it is, as flat texts."""
    recipe = info.get("recipe", {})
    fit = recipe.get("fit") or {}
    flat: dict[str, Any] = dict(recipe.get("options") or {})
    flat |= {key: value for key, value in fit.items() if key not in ("reading", "settings", *_OF_A_SEED)}
    flat |= {**(fit.get("reading") or {}), **{k: v for k, v in (fit.get("settings") or {}).items() if k not in _OF_A_SEED}}
    data = info.get("data") or {}
    flat["data"] = data.get("path") or flat.get("data")
    if data.get("sha256"):
        flat["rows"] = f"{data.get('rows')}:{str(data['sha256'])[:8]}"
    return {key: value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str) for key, value in flat.items()}
