"""Runs ranked on the same held-out rows, with paired differences, so that luck of the rows cancels.

It asks each run for one number per row; what a run can do is `Learned`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gnomon.data import Examples, Label
from gnomon.errors import DataError, OptionError
from gnomon.learned import Learned, load

Judged = tuple[str, np.ndarray, str]


def compare_runs(names: Sequence[str], data: Any, device: str = "cpu") -> tuple[str, list[dict[str, Any]]]:
    """Rank runs by what each gives to every row of the same data.

    Args:
        names: run folders.
        data: rows that none of them has seen, with all columns they need.
        device: where they work.

    Returns:
        The metric's name, and one dict a run, best first: rank, run, model, value, error, difference (to the best: how much worse,
        paired row by row), difference_error, n, note.

    Raises:
        OptionError: the runs are of sorts that cannot be compared, or learned about different columns.
    """
    made = [(name, load(name, device=device)) for name in names]
    _refuse_unlike(made)
    judged = [(name, learned, judge(learned, data)) for name, learned in made]
    metrics = {metric for _, _, (metric, _, _) in judged}
    if len(metrics) > 1:
        raise OptionError(f"these runs have no measure in common ({', '.join(sorted(metrics))}); compare runs of one sort of model")
    (metric,) = metrics
    judged.sort(key=lambda entry: float(np.mean(entry[2][1])))
    best = judged[0][2][1]
    ranking = []
    for rank, (name, learned, (_, losses, note)) in enumerate(judged, start=1):
        with np.errstate(invalid="ignore"):
            behind = np.where(losses == best, 0.0, losses - best)
        sign = -1.0 if metric.startswith("log") else 1.0
        ranking.append({
            "rank": rank, "run": str(name), "model": learned.name, "value": sign * float(np.mean(losses)), "error": _error(losses),
            "difference": float(np.mean(behind)), "difference_error": _error(behind), "n": len(losses),
            "note": "; ".join(part for part in (note, _seen(learned, data)) if part),
        })  # fmt: skip
    return metric, ranking


def judge(learned: Learned, data: Any) -> Judged:
    """Name of the measure, one loss per row (smaller is better), and a note.

    Raises:
        DataError: the data lacks the target that a prediction is compared with.
        OptionError: the model has nothing to be ranked by.
    """
    if "predict" in learned.abilities:
        return _predictions(learned, data)
    if "log_prob" in learned.abilities:
        return "log_prob (nats)", -learned.log_prob(data), ""
    if "log_prob_bound" in learned.abilities:
        return "log_prob (nats)", -learned.log_prob_bound(data)[0], "a lower bound"
    if "score" in learned.abilities:
        return "anomaly score", learned.score(data), ""
    raise OptionError(f"{learned.name} has neither a log-probability nor a prediction nor a score to be ranked by; use `gnomon check`")


def _predictions(learned: Learned, data: Any) -> Judged:
    raw: Examples = learned.read(data, target=True)
    if raw.y is None:
        raise DataError(f"comparing {learned.name} runs needs the target in the data")
    y = raw.y.numpy()  # type: ignore[union-attr]
    if isinstance(learned.spec.y, Label):
        probability = learned.predict(raw, proba=True)[np.arange(len(y)), y]
        right = float(np.mean(learned.predict(raw, proba=True).argmax(1) == y))
        return "log-probability of the true class (nats)", -np.log(np.maximum(probability, 1e-300)), f"accuracy {right:.4f}"
    error = np.square(learned.predict(raw).reshape(len(y), -1) - y.reshape(len(y), -1)).sum(1)
    return "squared error", error, f"rmse {math.sqrt(float(error.mean())):.4g}"


def _refuse_unlike(made: Sequence[tuple[str, Learned]]) -> None:
    """A density over other columns, or of another target, is no rival."""
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


def _error(values: np.ndarray) -> float:
    """Standard error of a mean."""
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _seen(learned: Learned, data: Any) -> str:
    path = learned.info.get("data", {}).get("path")
    return "trained on this data" if path is not None and str(data) == str(path) else ""
