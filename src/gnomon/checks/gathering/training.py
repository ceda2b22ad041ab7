"""How a run was trained, for its report: losses by epoch, and what the doctor said on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnomon.checks.pictures import Curves, Section, Series, Table


def training_section(history: Sequence[Mapping[str, Any]]) -> Section | None:
    """Losses by epoch, and the doctor's lines with the epoch in which each was said; None without a history.

    Args:
        history: the lines of `history.jsonl`.

    Example:
        >>> made = training_section([{"epoch": 1, "train/loss": 2.0}, {"epoch": 2, "train/loss": 1.0, "doctor": ["dead units"]}])
        >>> made.tables[0].rows
        (('2', 'dead units'),)
    """
    series = []
    for key in sorted({key for record in history for key in record if key.endswith("loss")}, key=lambda key: (key[0] == "v", key)):
        known = [(record["epoch"], record[key]) for record in history if _finite(record.get(key)) and "epoch" in record]
        if len(known) > 1:
            x, y = np.array(known, dtype=np.float64).T
            series.append(Series(x, y, key.replace("/", ": ", 1), role="real" if key.startswith("validation") else "generated"))
    said = tuple((str(record.get("epoch", "?")), str(line)) for record in history for line in record.get("doctor") or ())
    if not series and not said:
        return None
    words = "What the loop wrote down after every epoch; the weights of the best epoch were kept where rows were held out."
    if not said:
        words += " The doctor, who looked at a probe batch now and then, found nothing wrong."
    last = "; ".join(f"{one.label} from {one.y[0]:.4g} to {one.y[-1]:.4g}" for one in series)
    curves = [Curves("Loss by epoch", tuple(series), "epoch", "loss", f"Losses by epoch: {last}.")] if series else []
    tables = [Table("What the doctor said", ("epoch", "finding"), said)] if said else []
    return Section("training", "Training", words, curves, tables=tables)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
