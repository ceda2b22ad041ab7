"""Plain words for a difference in one column: which way the values moved, and where it is largest.

Whether a difference is real is decided elsewhere; these sentences only describe it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnomon.checks.sides import Side, Sides
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
    with np.errstate(divide="ignore"):  # two rows a side have a spread whose error is 0
        pulls = (abs(mean2 - mean) / np.hypot(e_mean, e_mean2), abs(np.log(ratio)) / np.hypot(e_spread, e_spread2))
    if max(pulls) < 3:
        return f"{name}: the generated values have another shape of distribution, though much the same mean and spread"
    if pulls[0] >= pulls[1]:
        return f"{name}: the generated values are {'higher' if shift > 0 else 'lower'} by {number(abs(shift), 2)} of its spread on average"
    if ratio > 2:
        return f"{name}: the generated values are spread {number(ratio, 2)} times as wide"
    return f"{name}: the generated values are spread {number(abs(ratio - 1) * 100, 2)} % {'wider' if ratio > 1 else 'less wide'}"


def most_different_place(sides: Sides, column: int, place: float) -> str:
    """The shares of both sides up to the value at which the distribution functions of a numeric column differ most."""
    shares = [_share_up_to(side, column, place) for side in (sides.real, sides.generated)]
    return (
        f"column '{sides.names[column]}': {percent(shares[1])} of the generated values lie at or below {number(place, 4)}, "
        f"but {percent(shares[0])} of the real ones"
    )


def change_in_tails(sides: Sides, column: int, place: float) -> str:
    """The shares of both sides in the tail of a numeric column that begins at a value."""
    below = [_share_up_to(side, column, place) for side in (sides.real, sides.generated)]
    real, generated = below if sum(below) < 1 else (_share_up_to(side, column, place, above=True) for side in (sides.real, sides.generated))
    where = f"{'at or below' if sum(below) < 1 else 'above'} {number(place, 4)}"
    shares = [percent(generated), percent(real)]
    shares[0 if generated < real else 1] = "only " + shares[0 if generated < real else 1]
    told = [share if share != "only 0 %" else "none" for share in shares]
    return f"column '{sides.names[column]}': {told[0]} of the generated values lie {where}, but {told[1]} of the real ones"


def change_of_category(sides: Sides, column: int) -> str:
    """The category whose share changed most."""
    values = sides.columns[column].support.values  # type: ignore[union-attr]
    shares = []
    for side in (sides.real, sides.generated):
        counts = np.bincount(side.values[:, column].astype(np.intp), weights=side.weight, minlength=len(values))
        shares.append(counts / counts.sum())
    top = int(np.abs(shares[0] - shares[1]).argmax())
    return (
        f"column '{sides.names[column]}': '{values[top]}' makes up {percent(shares[1][top])} of the generated rows, "
        f"but {percent(shares[0][top])} of the real ones"
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


def _share_up_to(side: Side, column: int, place: float, *, above: bool = False) -> float:
    """Share of the weight up to a place, or above it."""
    inside = (side.values[:, column] <= place) ^ above
    return float(inside.mean()) if side.weight is None else float(side.weight @ inside / side.weight.sum())


def listed(places: Sequence[str]) -> str:
    """Some places by name, and how many more there are.

    Example:
        >>> listed(["a"]), listed(list("abcdef"))
        ("'a'", "'a', 'b', 'c' and 3 more")
    """
    most = 4 if len(places) == 4 else 3  # no use in "and 1 more"
    return ", ".join(f"'{place}'" for place in places[:most]) + (f" and {len(places) - most:,} more" if len(places) > most else "")


def percent(share: float) -> str:
    """A share in per cent, with one decimal, or with two figures if it is small.

    Example:
        >>> percent(0.12345), percent(0.00014), percent(0.0)
        ('12.3 %', '0.014 %', '0 %')
    """
    text = f"{100 * share:.1f}" if abs(share) >= 0.01 else number(100 * share, 2)
    return f"{text} %"
