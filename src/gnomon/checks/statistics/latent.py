"""Whether the noise that an exact density makes of held-out rows is the noise it draws from, and whether it can be undone.

How rows become noise stands in `gathering`; how uniform numbers are judged, in `uniformity`.
"""

from __future__ import annotations

import numpy as np

from gnomon.checks.case import Case, Latent
from gnomon.checks.nulls import error_of_distance
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number, plus_minus
from gnomon.checks.statistics.likelihood import weighted_mean
from gnomon.checks.statistics.uniformity import kuiper_draws, largest_of, uniformities

FEWEST = 20
INVERSION = 1e-3
"""Rows that come back from their noise further away than this, in spreads of a column, are a finding."""

_RADIUS = "squared length of the noise"


def latent_normality(case: Case) -> list[Statistic]:
    """Kuiper's distance of the noise of held-out rows from the law it is drawn from: the worst coordinate, and the squared length.

    If the density is right, every coordinate is standard normal (uniform for angles) and the squared length of the normal ones follows
    χ². The null is known: coordinates are independent then, so even the worst of them has a known law. There is no sampling noise of the
    model's side, unlike where held-out rows are compared with drawn ones.

    Raises:
        LeftOut: fewer than 20 rows.
    """
    given = case.latent
    if given is None:
        return []
    if len(given.normal) < FEWEST:
        raise LeftOut(f"{len(given.normal)} rows; noise is judged from {FEWEST}")
    rows = [_coordinates(case, given)]
    if given.normal.shape[1] > 1:
        rows.append(_length(case, given))
    return [row.with_(corrected=min(1.0, len(rows) * row.p)) for row in rows]


def inversion_error(case: Case) -> list[Statistic]:
    """How far the worst held-out row is from itself after the way to its noise and back, in spreads of a column.

    It tells whether the density is numerically invertible: single precision leaves 1e-6 to 1e-4. Above 1e-3 it is a finding.
    """
    given = case.latent
    if given is None or given.inversion is None or not len(given.inversion):
        return []
    worst = float(np.where(np.isfinite(given.inversion), given.inversion, 1e300).max())  # values of a statistic are finite
    typical = float(np.median(given.inversion))
    note = f"largest |f⁻¹(f(x)) − x| over rows and columns, in spreads of the column; the median row's is {number(typical)}"
    claim = f"all columns: the density cannot be inverted: a row comes back {number(worst)} spreads of a column away from itself"
    broken = worst > INVERSION
    p, alarm = (0.0, "low") if broken else (np.nan, "never")
    made = Statistic("inversion_error", "all columns", worst, p=p, n=len(given.inversion), note=f"{note}; from {INVERSION:g} on a finding")
    return [made.with_(alarm=alarm, claim=claim)]


def _coordinates(case: Case, given: Latent) -> Statistic:
    """The coordinate that is furthest from its law."""
    from scipy.special import ndtr

    sets = [*ndtr(given.normal).T, *given.uniform.T]
    made = uniformities(sets, given.weight, case.generator("latent"), case.effort)
    worst = min(range(len(made)), key=lambda i: (made[i].corrected, -made[i].value))
    one = made[worst]
    if given.weight is None:
        draws, p = kuiper_draws(len(given.normal), len(sets)), largest_of(one.p, len(sets))
    else:
        draws, p = np.max([other.draws for other in made], axis=0), one.corrected
    error = error_of_distance(one.value, one.linear, draws)
    where = f"noise coordinate {worst + 1}"
    note = f"Kuiper's distance; the worst of {len(sets)} coordinates, for which p is corrected" if len(sets) > 1 else "Kuiper's distance"
    made_row = Statistic("latent_normality", where, one.value, error, float(draws.mean()), float(draws.std()), p, len(given.normal), note)
    return made_row.with_(claim=f"{where}: {_shape(given, worst)} ({made_row})")


def _shape(given: Latent, worst: int) -> str:
    if worst >= given.normal.shape[1]:
        return "held-out rows are not spread evenly round the circle, as they would be if the density were right"
    values = given.normal[:, worst]
    mean = weighted_mean(values, given.weight)[0]
    spread = float(np.sqrt(max(weighted_mean(np.square(values - mean), given.weight)[0], 0.0)))
    return f"held-out rows have mean {number(mean)} and standard deviation {number(spread)} there, not 0 and 1"


def _length(case: Case, given: Latent) -> Statistic:
    """The squared length of the normal coordinates against χ²."""
    from scipy.stats import chi2

    width = given.normal.shape[1]
    squared = np.square(given.normal).sum(axis=1)
    one = uniformities([chi2.cdf(squared, width)], given.weight, case.generator("latent", "length"), case.effort)[0]
    mean, error = weighted_mean(squared, given.weight)
    narrow = _is_long(squared, given.weight, width)
    note = f"Kuiper's distance of its law from χ² with {width} degrees of freedom"
    made = Statistic("latent_normality", _RADIUS, one.value, one.error, one.null, one.null_error, one.p, len(squared), note)
    verdict = "the density is too narrow" if narrow else "the density is too wide"
    place = "further out" if narrow else "closer to the centre"
    words = f"held-out rows lie {place} than the density's own noise, so {verdict}"
    return made.with_(claim=f"{_RADIUS}: {words}: mean {plus_minus(mean, error)} where {width} is right ({made})")


def _is_long(squared: Floats, weight: Floats | None, width: int) -> bool:
    """Whether the typical squared length is above that of χ²; the mean alone would follow a few outliers."""
    from scipy.stats import chi2

    above = (squared > chi2.median(width)).astype(np.float64)
    outer = (squared > chi2.ppf(0.9, width)).astype(np.float64)
    return weighted_mean(above, weight)[0] - 0.5 + weighted_mean(outer, weight)[0] - 0.1 > 0
