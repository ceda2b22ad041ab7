"""One loss per row from a fitted model, so that models can be compared row by row: what they give to the same held-out data.

Which of two models is better, and whether that is luck, is said in `comparing`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.checks.sides import Floats
from gnomon.data import Examples, Label, read
from gnomon.errors import DataError, OptionError
from gnomon.learned import Learned

_SMALLEST = 1e-300  # probabilities are not taken to be smaller than this


@dataclass(frozen=True, eq=False)
class Losses:
    """What a model loses on each row.

    Args:
        metric: what is measured, as a reader knows it.
        values: ``(n,)`` smaller is better; infinite where the model holds a row to be impossible.
        sign: 1 if `metric` is the loss itself, −1 if it is what is gained.
        unit: what a difference is counted in, in words.
        note: what else is known of the model on these rows.
        bound: whether the true loss may be smaller than this.
    """

    metric: str
    values: Floats
    sign: float
    unit: str
    note: str = ""
    bound: bool = False


def way_of(abilities: tuple[str, ...]) -> tuple[str, ...]:
    """The ways in which a model can be compared row by row, or by its samples, the best first.

    Example:
        >>> way_of(("sample", "log_prob", "score"))
        ('log_prob', 'sample', 'score')
    """
    if "predict" in abilities:
        return ("predict",)
    density = ("log_prob",) if {"log_prob", "log_prob_bound"} & set(abilities) else ()
    return (*density, *(way for way in ("sample", "score") if way in abilities))


def losses_of(learned: Learned, data: Any, way: str) -> Losses:
    """The losses of a model.

    Args:
        learned: the model.
        data: rows that it has not seen, with all columns it needs.
        way: "predict", "log_prob" or "score".

    Raises:
        DataError: the data lacks the target that a prediction is compared with.
        OptionError: another way.
    """
    if way == "predict":
        return _of_predictions(learned, data)
    if way == "log_prob" and "log_prob" in learned.abilities:
        return Losses("log_prob (nats)", -np.asarray(learned.log_prob(data), dtype=np.float64), -1.0, "nats a row")
    if way == "log_prob":
        bound = -np.asarray(learned.log_prob_bound(data)[0], dtype=np.float64)
        return Losses("log_prob (nats)", bound, -1.0, "nats a row", "a lower bound", bound=True)
    if way == "score":
        note = "scores of different models are on scales of their own"
        return Losses("anomaly score", np.asarray(learned.score(data), dtype=np.float64), 1.0, "of anomaly score a row", note)
    raise OptionError(f"rows have no losses by '{way}'; use predict, log_prob or score")


def weights_of(learned: Learned, data: Any, rows: int) -> Floats | None:
    """``(rows,)`` the weights of the data, by the column that the model was fitted with, or None where there are none."""
    if learned.spec.weight is None:
        return None
    if isinstance(data, Examples):
        return None if data.weight is None else data.weight.double().numpy()
    table = getattr(read(data), "columns", None)
    if table is None or learned.spec.weight not in table.column_names:
        return None
    column = table[learned.spec.weight]
    made = np.asarray(column.to_numpy(), dtype=np.float64)
    if made.shape != (rows,) or not np.isfinite(made).all() or not made.sum() > 0:
        raise DataError(f"weight column '{learned.spec.weight}' wants one finite number per row, with a sum above 0")
    return made


def _of_predictions(learned: Learned, data: Any) -> Losses:
    raw: Examples = learned.read(data, target=True)
    if raw.y is None:
        raise DataError(f"comparing {learned.name} runs needs the target in the data")
    y = raw.y.numpy()  # type: ignore[union-attr]
    if isinstance(learned.spec.y, Label):
        probability = np.asarray(learned.predict(raw, proba=True), dtype=np.float64)
        right = float(np.mean(probability.argmax(1) == y))
        loss = -np.log(np.maximum(probability[np.arange(len(y)), y], _SMALLEST))
        return Losses("log-probability of the true class (nats)", loss, -1.0, "nats a row", f"accuracy {right:.4f}")
    error = np.square(np.asarray(learned.predict(raw), dtype=np.float64).reshape(len(y), -1) - y.reshape(len(y), -1)).sum(1)
    return Losses("squared error", error, 1.0, "of squared error a row", f"rmse {math.sqrt(float(error.mean())):.4g}")
