"""What a run's history tells about its training: diverged, stopped early, overfitted, still falling, or in order.

It reads numbers that were written during training and looks at no weights or data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Finding = tuple[str, str]

_FEWEST = 5  # epochs below which a trend is not judged
_TAIL = 0.2  # share of the epochs that counts as the end


def diagnose(history: Sequence[Mapping[str, Any]], info: Mapping[str, Any]) -> list[Finding]:
    """Findings as (severity, sentence): "error", "warning", "note" or "good".

    Args:
        history: lines of ``history.jsonl``, oldest first.
        info: content of ``run.json``.

    Example:
        >>> diagnose([{"epoch": 1, "train/loss": float("nan")}], {"weights": {}})[0][0]
        'error'
    """
    findings = _from_the_record(info)
    if not history:
        return [*findings, ("note", "the run has no history: the model was solved in closed form, or training had no finished epoch")]
    findings += _not_finite(history)
    monitor = "validation/loss" if "validation/loss" in history[-1] else None
    if monitor is not None:
        findings += _validation(history, monitor)
    else:
        findings.append(
            ("note", "nothing was held out that decides which epoch is best; `gnomon check` on held-out data judges the result")
        )
    findings += _training(history)
    findings += [("note", f"noted during training: {text}") for entry in history for text in _texts(entry.get("doctor"))]
    if not any(severity in ("error", "warning") for severity, _ in findings):
        findings.insert(0, ("good", f"{len(history)} epochs, and nothing in the history is out of order"))
    return findings


def _from_the_record(info: Mapping[str, Any]) -> list[Finding]:
    decisions = info.get("decisions") or {}
    findings: list[Finding] = []
    if info.get("weights") is None:
        findings.append(("warning", "the run is not finished; `gnomon fit --resume` goes on from its last save"))
    if decisions.get("interrupted"):
        findings.append(("note", "training was interrupted; `gnomon fit --resume` goes on"))
    if decisions.get("diverged"):
        findings.append(("error", "the loss stopped being finite and training ended there; lower lr, or set clip"))
    return findings


def _not_finite(history: Sequence[Mapping[str, Any]]) -> list[Finding]:
    for entry in history:
        bad = [key for key, value in entry.items() if isinstance(value, str) and value in ("nan", "inf", "-inf") or _is_bad(value)]
        if bad:
            return [
                ("error", f"{bad[0]} is not finite from epoch {entry.get('epoch', '?')} on; lower lr, set clip, or look for extreme values")
            ]
    return []


def _is_bad(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _validation(history: Sequence[Mapping[str, Any]], monitor: str) -> list[Finding]:
    """Where the best epoch lies, and how far the training loss has left the held-out loss behind."""
    held = _series(history, monitor)
    if len(held) < _FEWEST:
        return [("note", f"only {len(held)} epochs: too few to judge a trend")]
    best = int(np.argmin(held))
    where = f"held-out loss {held[best]:.4g} in epoch {best + 1} of {len(held)}"
    train = _series(history, "train/loss")
    rise = held[-1] - held[best]
    noise = _noise(held)
    if rise > 3 * noise and rise > 0.01 * abs(held[0] - held[best]) and best < (1 - _TAIL) * len(held):
        text = f"overfitting: best {where}, then it rose to {held[-1]:.4g}"
        if len(train) == len(held):
            text += f" while the training loss fell from {train[best]:.4g} to {train[-1]:.4g}"
        return [("warning", text + "; the best weights were kept; more data, a smaller model, dropout or weight_decay would help")]
    if _still_falling(held):
        return [("warning", f"not finished: the held-out loss was still falling at the end ({where}); train for more epochs")]
    if best >= 0.9 * len(held) - 1:
        return [("good", f"best {where}: at the very end, so more epochs may still help a little")]
    return [("good", f"best {where}; it levelled off")]


def _training(history: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Whether each player's training loss moved at all, and whether it jumped."""
    findings: list[Finding] = []
    players = sorted({key for key in history[-1] if key.startswith("train/") and key.endswith("loss")})
    for key in players:
        values = _series(history, key)
        if len(values) < _FEWEST:
            continue
        noise = _noise(values)
        if len(players) == 1 and abs(values[0] - values[-1]) <= 2 * noise and abs(values[0] - values.min()) <= 4 * noise:
            findings.append(("warning", f"plateau from the start: {key} went from {values[0]:.4g} to {values[-1]:.4g}; try a higher lr"))
        jumps = np.flatnonzero(np.diff(values) > max(0.5 * float(np.ptp(values)), 10 * noise))
        if len(jumps):
            findings.append(("warning", f"{key} jumped up in epoch {int(jumps[0]) + 2}; lower lr or set clip=1"))
    return findings


def _series(history: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """Finite values of a metric (means over seeds trained together), by epoch."""
    values = [entry.get(key) for entry in history]
    numbers = [float(np.mean(v)) for v in values if isinstance(v, (int, float, list)) and not isinstance(v, bool)]
    return np.array([v for v in numbers if math.isfinite(v)], dtype=np.float64)


def _noise(values: np.ndarray) -> float:
    """Size of the jitter from epoch to epoch, from second differences in the later half, so that a trend does not count."""
    second = np.diff(values[len(values) // 2 :], n=2)
    return float(np.median(np.abs(second)) / 1.65) if len(second) else 0.0


def _still_falling(values: np.ndarray) -> bool:
    """Whether the last part fell by more than a twentieth of the whole fall and more than its jitter explains."""
    tail = values[-max(3, int(_TAIL * len(values))) :]
    fall = float(tail[0] - tail[-1])
    whole = float(values[0] - values.min())
    return whole > 0 and fall > 0.05 * whole and fall > 3 * _noise(values) and int(np.argmin(values)) >= len(values) - 2


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)]
