"""Plain words for a difference in one column: which way the values moved, and where it is largest.

Whether a difference is real is decided elsewhere; these sentences only describe it.
"""

from __future__ import annotations

import numpy as np

from gnomon.checks.sides import Floats, Side, Sides
from gnomon.checks.statistic import number
from gnomon.data import Periodic


def change_of_values(sides: Sides, column: int) -> str:
    """What happened to a numeric column: moved, widened, narrowed, or changed in shape."""
    name = f"column '{sides.names[column]}'"
    if isinstance(sides.columns[column].support, Periodic):
        return f"{name}: the generated angles are distributed differently round the circle"
    (mean, spread, e_mean, e_spread), (mean2, spread2, e_mean2, e_spread2) = (
        _moments(side, column) for side in (sides.real, sides.generated)
    )
    if not spread > 1e-12 * abs(mean):
        return f"{name}: the real values are all {number(mean)}, the generated ones are not"
    if not spread2 > 1e-12 * abs(mean2):
        return f"{name}: the generated values are all {number(mean2)}, the real ones are not"
    shift, ratio = (mean2 - mean) / spread, spread2 / spread
    pulls = (abs(mean2 - mean) / np.hypot(e_mean, e_mean2), abs(np.log(ratio)) / np.hypot(e_spread, e_spread2))
    if max(pulls) < 3:
        return f"{name}: the generated values have another shape of distribution, though much the same mean and spread"
    if pulls[0] >= pulls[1]:
        return f"{name}: the generated values are {'higher' if shift > 0 else 'lower'} by {number(abs(shift), 2)} of its spread on average"
    if ratio > 2:
        return f"{name}: the generated values are spread {number(ratio, 2)} times as wide"
    return f"{name}: the generated values are spread {number(abs(ratio - 1) * 100, 2)} % {'wider' if ratio > 1 else 'less wide'}"


def most_different_place(sides: Sides, column: int) -> str:
    """Where the distribution functions of a numeric column differ most, with the two shares."""
    pooled = np.unique(np.concatenate([side.values[:, column] for side in (sides.real, sides.generated)]))
    shares = [_share_below(side, column, pooled) for side in (sides.real, sides.generated)]
    top = int(np.abs(shares[0] - shares[1]).argmax())
    return (
        f"column '{sides.names[column]}': {_percent(shares[1][top])} of the generated values lie at or below {number(pooled[top], 4)}, "
        f"but {_percent(shares[0][top])} of the real ones"
    )


def change_of_category(sides: Sides, column: int) -> str:
    """The category whose share changed most."""
    values = sides.columns[column].support.values  # type: ignore[union-attr]
    shares = []
    for side in (sides.real, sides.generated):
        counts = np.bincount(side.values[:, column].astype(np.intp), weights=side.weight, minlength=len(values))
        shares.append(counts / counts.sum())
    top = int(np.abs(shares[0] - shares[1]).argmax())
    return (
        f"column '{sides.names[column]}': '{values[top]}' makes up {_percent(shares[1][top])} of the generated rows, "
        f"but {_percent(shares[0][top])} of the real ones"
    )


def _moments(side: Side, column: int) -> tuple[float, float, float, float]:
    """Weighted mean, standard deviation, and the standard errors of the mean and of the logarithm of the deviation."""
    values = side.values[:, column]
    weight = np.ones(len(values)) if side.weight is None else side.weight
    share = weight / weight.sum()
    mean = float(share @ values)
    square = np.square(values - mean)
    variance = max(0.0, float(share @ square))
    noise = np.square(share)
    error = float(np.sqrt(noise @ square))
    log_error = 0.5 * float(np.sqrt(noise @ np.square(square - variance))) / variance if variance > 0 else np.inf
    return mean, float(np.sqrt(variance)), error, log_error


def _share_below(side: Side, column: int, points: Floats) -> Floats:
    order = np.argsort(side.values[:, column])
    ordered = side.values[order, column]
    weight = np.ones(len(order)) if side.weight is None else side.weight[order]
    reached = np.concatenate([[0.0], np.cumsum(weight)])
    return reached[np.searchsorted(ordered, points, side="right")] / reached[-1]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
