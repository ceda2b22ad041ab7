"""What a run's history tells about its training: diverged, stopped early, overfitted, still falling, or in order.

It reads numbers that were written during training and looks at no weights or data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnomon.training.doctor import curves

Finding = tuple[str, str]


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
    findings += [("warning", f"noted during training: {text}") for entry in history for text in _texts(entry.get("doctor"))]
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
    held = curves.series(history, monitor)
    if len(held) < curves.FEWEST:
        return [("note", f"only {len(held)} epochs: too few to judge a trend")]
    best = int(np.argmin(held))
    where = f"held-out loss {held[best]:.4g} in epoch {best + 1} of {len(held)}"
    over = curves.overfitting(history)
    if over is not None:
        return [("warning", f"{over}; the best weights were kept")]
    if curves.still_falling(held):
        severity = "warning" if curves.steady(held) else "note"
        return [(severity, f"not finished: the held-out loss was still falling at the end ({where}); train for more epochs")]
    if best >= 0.9 * len(held) - 1:
        return [("good", f"best {where}: at the very end, so more epochs may still help a little")]
    return [("good", f"best {where}; it levelled off")]


def _training(history: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Whether the only player's training loss moved at all, and whether it jumped; those of rivals may do as they like."""
    players = sorted({key for key in history[-1] if key.startswith("train/") and key.endswith("loss")})
    if len(players) != 1:
        return []
    (key,) = players
    values = curves.series(history, key)
    findings: list[Finding] = []
    if curves.flat(history, key):
        text = f"plateau from the first epoch on: {key} went from {values[0]:.4g} to {values[-1]:.4g}; if that is no good, try a higher lr"
        findings.append(("note", text))
    epoch = curves.jumps(history, key)
    if epoch is not None:
        stayed = values[-1] > 0.5 * (values.max() + values.min())
        text = f"{key} jumped up in epoch {epoch}" + (" and stayed up" if stayed else " and came back") + "; lower lr or set clip=1"
        findings.append(("warning" if stayed else "note", text))
    return findings


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)]
