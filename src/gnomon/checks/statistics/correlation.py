"""Pairs of columns: the matrix of differences of their correlations, with standard errors and a p-value for the largest.

Categories enter through indicators and angles through sine and cosine. Dependence that correlations do not see is left to `c2st`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.nulls import Pool, error_of_distance, null_draws, permutation_p
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
    sides = case.sides
    if sides is None or len(sides.columns) < 2:
        return []
    if sides.rows < 10:
        raise LeftOut("fewer than 10 rows on a side")
    found = correlations(sides)
    if not found.pairs.any():
        return []
    case.pictures["correlation"] = found
    difference = found.difference[found.pairs]
    z, largest, pulls, part = _null(sides, found, case.effort)
    worst = int(z.argmax())
    i, j = (int(k[worst]) for k in np.nonzero(found.pairs))
    value, p = float(abs(difference[worst])), permutation_p(float(z[worst]), pulls)
    names = [found.features[k].name for k in (i, j)]
    count = int((np.array([permutation_p(float(one), pulls) for one in np.sort(z)[::-1][:100]]) <= 0.01).sum())
    note = f"largest of {z.size:,} pairs, for which null and p are corrected; relabelled {len(pulls)} times"
    note += "" if part is sides else f" on {part.rows:,} rows a side"
    made = Statistic(
        name="correlation",
        where=", ".join(names),
        value=value,
        error=error_of_distance(value, float(found.error[i, j]), largest),
        null=float(largest.mean()),
        null_error=float(largest.std(ddof=1)),
        p=p,
        n=sides.rows,
        note=f"absolute difference; {note}; {count} of them beyond chance (1 % level)",
    )
    real, generated = found.real[i, j], found.generated[i, j]
    others = f"; {count - 1} more pair{'s' if count > 2 else ''} differ{'' if count > 2 else 's'}" if count > 1 else ""
    claim = (
        f"columns '{names[0]}' and '{names[1]}': their correlation is {number(generated)} among generated rows, "
        f"but {number(real)} among real ones (correlation differs by {plus_minus(value, made.error)}, p {number(p)}){others}"
    )
    return [made.with_(claim=claim)]


def correlations(sides: Sides) -> Correlations:
    """Both matrices, and the standard errors of their difference, on all rows."""
    return sides.once("correlations", lambda: _correlations(sides))


def _correlations(sides: Sides) -> Correlations:
    features, real, generated = sides.features()
    features = features[:MOST]
    made = [_matrix(values[:, : len(features)], side.weight) for values, side in ((real, sides.real), (generated, sides.generated))]
    column = np.array([f.column for f in features])
    fixed = np.array([sides.columns[k].name in sides.shared for k in column], dtype=bool)
    constant = np.isnan(np.diag(made[0][0])) | np.isnan(np.diag(made[1][0]))
    error = np.sqrt(made[0][1] + made[1][1])
    pairs = np.triu(column[:, None] != column[None, :], 1) & ~(fixed[:, None] & fixed[None, :])
    pairs &= ~(constant[:, None] | constant[None, :]) & (error > 1e-9)
    return Correlations(features, made[0][0], made[1][0], error, pairs)


def _matrix(values: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """Correlations ``(F, F)`` and their variances; NaN for constant features."""
    share = np.full(len(values), 1 / len(values)) if weight is None else weight / weight.sum()
    mean = share @ values
    spread = np.sqrt(np.maximum(share @ np.square(values - mean), 0.0))
    spread[spread <= 1e-12 * np.maximum(np.abs(mean), 1e-300)] = np.nan
    width = values.shape[1]
    r, m22, m31 = np.zeros((width, width)), np.zeros((width, width)), np.zeros((width, width))
    m40 = np.zeros(width)
    for start in range(0, len(values), _CHUNK):
        z = (values[start : start + _CHUNK] - mean) / spread
        w = share[start : start + _CHUNK, None]
        r += z.T @ (w * z)
        noise, square = np.square(w), np.square(z)
        m22 += square.T @ (noise * square)
        m31 += (square * z).T @ (noise * z)
        m40 += (noise * np.square(square)).sum(axis=0)
    # Σ share² ψ² with the influence ψ = z_i z_j - r (z_i² + z_j²) / 2
    variance = m22 - r * (m31 + m31.T) + np.square(r) / 4 * (m40[:, None] + m40[None, :] + 2 * m22)
    return r, np.maximum(variance, 0.0)


def _null(sides: Sides, found: Correlations, effort: Effort) -> tuple[Floats, Floats, Floats, Sides]:
    """Pulls ``(pairs,)`` of the data, the largest difference and the largest pull ``(draws,)`` of every relabelling, and its rows.

    A correlation moves with a row's label by its influence psi. With each side standardised by itself, the mean influence of a side
    *is* its correlation up to a constant, so the data themselves are treated exactly as the relabelled rows are. The spreads come from
    both sides together: errors estimated on each side by itself vary with the very difference that is looked for.
    """
    pairs = np.nonzero(found.pairs)
    part = sides.take(int(max(100, min(10_000, _WORK / (2 * effort.draws * len(pairs[0]))))))
    pool = Pool.of(part)
    scale = np.sqrt(Pool.of(sides).noise / pool.noise)
    _, *values = part.features()
    influence = np.concatenate([_influence(v, side, found, pairs) for v, side in zip(values, (part.real, part.generated), strict=True)])
    weight = np.ones(len(pool)) if pool.weight is None else pool.weight
    spread = np.sqrt(np.square(weight) @ np.square(influence) / np.square(weight).sum() * Pool.of(sides).noise) + 1e-12
    own = np.abs(found.difference[pairs]) / spread

    def measure(batch: Floats) -> dict[str, Floats]:
        change = np.abs(batch @ influence) * scale
        z = change / spread
        top = z.argmax(axis=1)[:, None]
        return {"largest": np.take_along_axis(change, top, axis=1)[:, 0], "pull": np.take_along_axis(z, top, axis=1)[:, 0]}

    made = null_draws(pool, sides.generator("correlation"), measure, effort, lambda draws: own.max() > draws["pull"].max(initial=0))
    return own, made["largest"], made["pull"], part


def _influence(values: Floats, side: Side, found: Correlations, pairs: tuple[NDArray[np.intp], ...]) -> Floats:
    """``(rows, pairs)``: influence of each row on each correlation."""
    values = values[:, : len(found.features)]
    share = np.full(len(values), 1 / len(values)) if side.weight is None else side.weight / side.weight.sum()
    mean = share @ values
    spread = np.sqrt(np.maximum(share @ np.square(values - mean), 0.0))
    z = (values - mean) / np.where(spread > 0, spread, 1.0)
    i, j = pairs
    middle = (found.real + found.generated)[pairs] / 2
    return z[:, i] * z[:, j] - middle * (np.square(z[:, i]) + np.square(z[:, j])) / 2
