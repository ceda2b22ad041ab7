"""What training data have no density, told before the first step: one row, columns that follow from others, values that repeat.

Nothing is changed: the rows stay as they are. Columns that never change, and leakage, are the doctor's business.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnomon.data import Bounded, Examples, NonNegative, Periodic, Positive, Ragged, Real, Scaling, Vector
from gnomon.errors import DataError
from gnomon.models import Model, abilities

ROWS = 20_000
"""Rows that are looked at, at most."""

UNEXPLAINED = 1e-4
"""A column follows from others if they leave less than this share of its standard deviation unexplained."""

SPIKE, FEWEST = 0.05, 50
"""A value is told if so large a share of so many rows holds it."""

ROUNDED, MANY = 0.1, 200
"""Rounding is told if so many rows hold fewer different values than this share of their number."""

_NAMED = 4  # columns by name in one sentence
_MOST_COLUMNS = 512

_ON_THE_LINE = (Real, Positive, NonNegative, Bounded)


def notices(model: Model, raw: Examples, held_out: Examples | None, scaling: Scaling) -> list[str]:
    """What the user should know of the data if `model` is a density; nothing for other models.

    A density over columns of which one follows from the others, or of a value that many rows share, does not exist: its logarithm grows
    without end as it is learned. Such data are learned as they are, since samples may still be wanted; only one row is refused.

    Args:
        model: what will be trained.
        raw: training rows in the user's units.
        held_out: held-out rows, or None.
        scaling: fitted on the training rows.

    Raises:
        DataError: a density is to be learned from a single row.
    """
    if not {"log_prob", "log_prob_bound"} & set(abilities(model)) or model.target is not None or not model.players():
        return []
    if len(raw) == 1:
        raise DataError(f"{type(model).__name__} is a density, and a single row has none: give at least 2 rows for training")
    kind, entry = scaling.spec.x, scaling.maps.get("x")
    if not isinstance(kind, Vector) or isinstance(raw.x, Ragged) or entry is None or len(kind) > _MOST_COLUMNS:
        return []
    found = _outside(kind, scaling, held_out)
    x = raw.x[:ROWS].double()
    line = [i for i, column in enumerate(kind.columns) if isinstance(column.support, _ON_THE_LINE)]
    z = entry.forward(x)[:, line]
    changing = [place for place in range(len(line)) if bool(z[:, place].max() > z[:, place].min())]
    found += _following([kind.names[line[place]] for place in changing], z[:, changing])
    told = [i for i, column in enumerate(kind.columns) if isinstance(column.support, (*_ON_THE_LINE, Periodic))]
    return found + _repeating([kind.names[i] for i in told], x[:, told])


def _outside(kind: Vector, scaling: Scaling, held_out: Examples | None) -> list[str]:
    """Held-out values beyond a support; among training rows they are refused by the scaling."""
    if held_out is None or not isinstance(held_out.x, Tensor):
        return []
    found = []
    for i, count in enumerate(scaling.maps["x"].outside(held_out.x.double()).sum(0).tolist()):
        if count:
            column = kind.columns[i]
            found.append(
                f"column '{column.name}' is {column.support.name} but holds other values in {count} of {len(held_out)} held-out rows: "
                "their probability is zero, and the held-out loss takes them for the edge of the support; declare another support"
            )
    return found


def _following(names: list[str], z: Tensor) -> list[str]:
    """One line for each column that is another one up to scale, or a sum of others."""
    if len(names) < 2 or len(z) < 3:
        return []
    z = (z - z.mean(0)) / z.std(0, correction=0)
    agreement = z.mT @ z / len(z)
    root = torch.zeros_like(agreement)  # Cholesky factor of the agreement among those kept, which grows by one row for each
    kept: list[int] = []
    found = []
    for i in range(len(names)):
        twin = next((j for j in kept if float(1 - agreement[i, j].abs()) < 0.5 * UNEXPLAINED**2), None)
        if twin is not None:
            found.append(
                f"columns '{names[twin]}' and '{names[i]}' are the same up to scale: a density over both does not exist, and its "
                f"log-probabilities say nothing; drop one ('{names[i]}')"
            )
            continue
        count = len(kept)
        row = torch.linalg.solve_triangular(root[:count, :count], agreement[kept, i][:, None], upper=False)[:, 0]
        unexplained = float(1 - row.square().sum())
        if unexplained < UNEXPLAINED**2:
            if len(z) > 2 * count + 2:  # in fewer rows columns are sums of others by chance
                found.append(_sum(names[i], [names[j] for j in kept], root[:count, :count], row))
            continue
        root[count, :count], root[count, count] = row, unexplained**0.5
        kept.append(i)
    return found


def _sum(name: str, kept: list[str], root: Tensor, row: Tensor) -> str:
    """The sentence for a column that is a sum of those kept."""
    weights = torch.linalg.solve_triangular(root.mT, row[:, None], upper=True)[:, 0].abs().tolist()
    others = _listed([f"'{one}'" for one, weight in zip(kept, weights, strict=True) if weight > 10 * UNEXPLAINED])
    return (
        f"column '{name}' is a weighted sum of {others}: a density over all of them does not exist, and its log-probabilities say "
        f"nothing; drop one ('{name}')"
    )


def _repeating(names: list[str], x: Tensor) -> list[str]:
    """One line for columns with a value that many rows share, one for columns with few values."""
    spikes, rounded = [], []
    for name, column in zip(names, x.unbind(1), strict=True):
        values, counts = torch.unique(column, return_counts=True)
        most = int(counts.argmax())
        if len(values) < 2:
            continue
        if len(x) >= MANY and len(values) < ROUNDED * len(x):
            rounded.append(f"'{name}' ({len(values)} values)")
        elif len(x) >= FEWEST and counts[most] >= SPIKE * len(x):
            spikes.append(f"'{name}' ({float(values[most]):.6g} in {100 * float(counts[most]) / len(x):.0f} %)")
    found = []
    remedy = "log-probabilities depend on how narrow it is allowed to become"
    if spikes:
        found.append(
            f"one value is held by many rows of {_listed(spikes)}, where a density grows without end: {remedy}; declare the column "
            "categorical or integer, or add noise"
        )
    if rounded:
        found.append(
            f"few different values in {len(x):,} rows of {_listed(rounded)}, and a density grows without end at each: {remedy}; declare "
            "whole numbers integer, or add noise as wide as the rounding"
        )
    return found


def _listed(told: list[str]) -> str:
    return ", ".join(told[:_NAMED]) + (f" and {len(told) - _NAMED} more" if len(told) > _NAMED else "")
