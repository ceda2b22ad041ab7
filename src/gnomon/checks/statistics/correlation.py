"""Pairs of columns: the matrix of differences of their correlations, with standard errors and a p-value for the largest.

Categories enter through indicators and angles through sine and cosine. Ranks are correlated in `rank_correlation`;
dependence that correlations do not see is left to `c2st`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.nulls import Pool, error_of_distance, null_draws, permutation_p, surprising
from gnomon.checks.sides import Feature, Floats, Side, Sides
from gnomon.checks.statistic import LeftOut, Statistic, number, plus_minus

_CHUNK = 65_536  # rows whose products are formed at once
_WORK = 1.5e10  # multiplications allowed for the null; rows are drawn down to fit
MOST = 200
"""Features beyond this many are left out of the matrix."""


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlation matrices of both sides.

    Args:
        features: what the rows and columns of the matrices stand for.
        real: ``(F, F)``.
        generated: ``(F, F)``.
        error: ``(F, F)`` standard error of ``generated - real``.
        pairs: ``(F, F)`` whether the pair is looked at: above the diagonal, of different columns, not both conditions, none constant.
    """

    features: tuple[Feature, ...]
    real: Floats
    generated: Floats
    error: Floats
    pairs: NDArray[np.bool_]

    @property
    def difference(self) -> Floats:
        """``(F, F)``: generated minus real."""
        return self.generated - self.real


def correlation(case: Case) -> list[Statistic]:
    """The largest difference of the correlation of any two columns, generated minus real.

    "Largest" is in standard errors. Its null and p-value take the largest over all pairs of every relabelling, so they are corrected
    for looking at all pairs. Leaves the matrices under ``case.pictures["correlation"]``.

    Reference: for the standard error, the influence function of Pearson's r: Devlin, Gnanadesikan & Kettenring 1975, Biometrika 62, 531.

    Raises:
        LeftOut: fewer than 10 rows on a side.
    """
    if case.sides is None or not applies(case.sides):
        return []
    sides = case.sides
    found = correlations(sides)
    if not found.pairs.any():
        return []
    case.pictures["correlation"] = found
    return [row("correlation", "their correlation", sides, found, null(sides, found, case.effort, fill_influence, "correlation"))]


def applies(sides: Sides) -> bool:
    """Whether there are two columns. Raises LeftOut if there are fewer than 10 rows on a side."""
    if len(sides.columns) < 2:
        return False
    if sides.rows < 10:
        raise LeftOut("fewer than 10 rows on a side")
    return True


def row(name: str, what: str, sides: Sides, found: Correlations, drawn: Null) -> Statistic:
    """The pair whose correlation differs most, in standard errors.

    Args:
        name: of the statistic.
        what: is compared, in words.
        sides: the rows.
        found: their correlations.
        drawn: the null.
    """
    worst = int(drawn.own.argmax())
    i, j = (int(k[worst]) for k in np.nonzero(found.pairs))
    value, p = float(abs(found.difference[i, j])), permutation_p(float(drawn.own[worst]), drawn.pull)
    names = [found.features[k].name for k in (i, j)]
    count = int((np.array([permutation_p(float(one), drawn.pull) for one in np.sort(drawn.own)[::-1][:100]]) <= 0.01).sum())
    note = f"largest of {drawn.own.size:,} pairs, for which null and p are corrected; relabelled {len(drawn.pull)} times"
    note += "" if drawn.part is sides else f" on {drawn.part.rows:,} rows a side"
    made = Statistic(
        name=name,
        where=", ".join(names),
        value=value,
        error=error_of_distance(value, float(found.error[i, j]), drawn.largest),
        null=float(drawn.largest.mean()),
        null_error=float(drawn.largest.std(ddof=1)),
        p=p,
        n=sides.rows,
        note=f"absolute difference; {note}; {count} of them beyond chance (1 % level)",
    )
    real, generated = found.real[i, j], found.generated[i, j]
    others = f"; {count - 1} more pair{'s' if count > 2 else ''} differ{'' if count > 2 else 's'}" if count > 1 else ""
    claim = (
        f"columns '{names[0]}' and '{names[1]}': {what} is {number(generated)} among generated rows, "
        f"but {number(real)} among real ones (correlation differs by {plus_minus(value, made.error)}, p {number(p)}){others}"
    )
    return made.with_(claim=claim)


def correlations(sides: Sides) -> Correlations:
    """Both matrices, and the standard errors of their difference, on all rows."""
    return sides.once("correlations", lambda: _correlations(sides))


def _correlations(sides: Sides) -> Correlations:
    features = sides.listed_features()[:MOST]
    made = [_matrix(sides, side, len(features)) for side in (sides.real, sides.generated)]
    column = np.array([f.column for f in features])
    fixed = np.array([sides.columns[k].name in sides.shared for k in column], dtype=bool)
    constant = np.isnan(np.diag(made[0][0])) | np.isnan(np.diag(made[1][0]))
    error = np.sqrt(made[0][1] + made[1][1])
    pairs = np.triu(column[:, None] != column[None, :], 1) & ~(fixed[:, None] & fixed[None, :])
    pairs &= ~(constant[:, None] | constant[None, :]) & (error > 1e-9)
    return Correlations(features, made[0][0], made[1][0], error, pairs)


def _matrix(sides: Sides, side: Side, width: int) -> tuple[Floats, Floats]:
    """Correlations ``(F, F)`` and their variances; NaN for constant features."""
    mean, spread = moments(sides, side, width)
    spread[spread <= 1e-12 * np.maximum(np.abs(mean), 1e-300)] = np.nan
    r, m22, m31 = np.zeros((width, width)), np.zeros((width, width)), np.zeros((width, width))
    m40 = np.zeros(width)
    for values, share in _chunks(sides, side, width):
        z, w = (values - mean) / spread, share[:, None]
        r += z.T @ (w * z)
        noise, square = np.square(w), np.square(z)
        m22 += square.T @ (noise * square)
        m31 += (square * z).T @ (noise * z)
        m40 += (noise * np.square(square)).sum(axis=0)
    # Σ share² ψ² with the influence ψ = z_i z_j - r (z_i² + z_j²) / 2
    variance = m22 - r * (m31 + m31.T) + np.square(r) / 4 * (m40[:, None] + m40[None, :] + 2 * m22)
    return r, np.maximum(variance, 0.0)


def moments(sides: Sides, side: Side, width: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature on one side."""
    mean, square = np.zeros(width), np.zeros(width)
    for values, share in _chunks(sides, side, width):
        mean += share @ values
    for values, share in _chunks(sides, side, width):
        square += share @ np.square(values - mean)
    return mean, np.sqrt(np.maximum(square, 0.0))


def _chunks(sides: Sides, side: Side, width: int) -> Iterator[tuple[Floats, Floats]]:
    """The features of successive rows of a side, and the share of the weight that each row has: never all of them at once."""
    weight = np.ones(len(side)) if side.weight is None else side.weight
    total = weight.sum()
    for start in range(0, len(side), _CHUNK):
        part = slice(start, start + _CHUNK)
        yield sides.features_of(Side(side.values[part]))[:, :width], weight[part] / total


@dataclass(frozen=True, eq=False)
class Null:
    """What relabelled rows give.

    Args:
        own: ``(pairs,)`` differences of the data, in standard errors.
        largest: ``(draws,)`` the difference that is largest in standard errors, of every relabelling.
        pull: ``(draws,)`` the same in standard errors.
        part: the rows that were relabelled.
    """

    own: Floats
    largest: Floats
    pull: Floats
    part: Sides


Fill = Callable[[Sides, Side, Correlations, Floats], None]
"""Writes the influence ``(rows, pairs)`` of each row of a side on each correlation into the array at the end."""


def null(sides: Sides, found: Correlations, effort: Effort, fill: Fill, stream: str) -> Null:
    """The null of the largest difference.

    A correlation moves with a row's label by its influence psi. With each side standardised by itself, the mean influence of a side
    *is* its correlation up to a constant, so the data themselves are treated exactly as the relabelled rows are. The spreads come from
    both sides together: errors estimated on each side by itself vary with the very difference that is looked for.

    Args:
        sides: the rows.
        found: their correlations.
        effort: number of draws.
        fill: the influences.
        stream: of chance.
    """
    pairs = np.nonzero(found.pairs)
    part = sides.take(int(max(100, min(10_000, _WORK / (2 * effort.draws * len(pairs[0]))))))
    pool = Pool.of(part)
    scale = np.sqrt(Pool.of(sides).noise / pool.noise)
    influence = np.empty((len(pool), len(pairs[0])))
    for side, rows in ((part.real, slice(0, pool.real)), (part.generated, slice(pool.real, None))):
        fill(part, side, found, influence[rows])
    weight = np.ones(len(pool)) if pool.weight is None else pool.weight
    spread = np.sqrt(np.square(weight) @ np.square(influence) / np.square(weight).sum() * Pool.of(sides).noise) + 1e-12
    own = np.abs(found.difference[pairs]) / spread

    def measure(batch: Floats) -> dict[str, Floats]:
        change = np.abs(batch @ influence) * scale
        z = change / spread
        top = z.argmax(axis=1)[:, None]
        return {"largest": np.take_along_axis(change, top, axis=1)[:, 0], "pull": np.take_along_axis(z, top, axis=1)[:, 0]}

    top = float(own.max())
    made = null_draws(pool, sides.generator(stream), measure, effort, lambda draws: surprising([permutation_p(top, draws["pull"])], effort))
    return Null(own, made["largest"], made["pull"], part)


def fill_influence(sides: Sides, side: Side, found: Correlations, made: Floats) -> None:
    """Fill ``(rows, pairs)`` with the influence of each row of a side on each correlation."""
    mean, spread = moments(sides, side, len(found.features))
    spread = np.where(spread > 0, spread, 1.0)
    i, j = np.nonzero(found.pairs)
    middle = (found.real + found.generated)[i, j] / 4
    step = max(1, _CHUNK // 16)
    for start in range(0, len(side), step):
        part = slice(start, start + step)
        z = (sides.features_of(Side(side.values[part]))[:, : len(mean)] - mean) / spread
        square = np.square(z)
        made[part] = z[:, i] * z[:, j] - middle * (square[:, i] + square[:, j])
