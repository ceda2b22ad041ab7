"""Fréchet distance of both sides as points: their means and covariances, extrapolated to endless samples, with error, null and p-value.

What means and covariances do not see is left to `sliced`, `kernels` and `c2st`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.measures.frechet import Moments, dealt, extrapolated, frechet_distance, gaussian_map
from gnomon.checks.nulls import error_of_distance, null_draws, permutation_p, surprising
from gnomon.checks.points import Points, points
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.checks.statistics.influence import linear_error, moves_of_spreads
from gnomon.errors import DataError

MOST = 32
"""Of more coordinates than this, the leading components of both sides together are compared."""

BLOCKS = 16
"""Blocks of rows from which halves are joined."""

SMALL = 50
"""Rows a side and coordinate up to which the extrapolation itself is repeated on relabelled rows: order 1 / n² is not yet nothing."""

_WORK = 2e10  # multiplications allowed for the null; rows are drawn down to fit
_SECONDS = 1.0  # allowed for repeating the extrapolation
_HELD = 2e7  # products of coordinates held at once for the null


def frechet(case: Case) -> list[Statistic]:
    """Fréchet distance of the points of both sides, 2 · FD(n) − mean FD(n / 2), which is 0 on average if both are of one distribution.

    P compares FD(n) with that of relabelled rows, whose means and covariances follow from sums of their coefficients.

    Reference: Dowson & Landau 1982, J. Multivariate Analysis 12, 450; Chong & Forsyth 2020, CVPR, for the extrapolation.

    Raises:
        LeftOut: fewer than 8 rows on a side, or weights that leave no covariance.
    """
    sides = case.sides
    if sides is None or not sides.compared:
        return []
    whole = points(sides)
    if not whole.real.shape[1]:
        return []
    if sides.rows < 8:
        raise LeftOut(f"{sides.rows} rows on the smaller side; means and covariances of halves want at least 8")
    width = min(MOST, whole.real.shape[1])
    products = width * (width + 3) / 2
    few = int(min(_WORK / (products * 2 * (case.effort.draws + case.effort.more_draws)), _HELD / (2 * products)))
    part = whole.drawn(max(100, min(case.effort.null_rows, few)), sides.generator("frechet", "rows"))
    space = _Space.of(part)
    try:
        weights = [side.weight for side in (sides.real, sides.generated)]
        turned = [rows if space.complete else rows @ space.basis for rows in (whole.real, whole.generated)]  # first: moments grow faster
        blocks = dealt((turned[0], turned[1]), weights, BLOCKS, sides.generator("frechet", "halves"), paired=sides.paired)
        found = extrapolated(*blocks, paired=sides.paired)
    except DataError as error:
        raise LeftOut(str(error)) from None
    first, second = (sum(side[1:], start=side[0]) for side in blocks)
    noise = whole.pool.noise
    own, draws = _relabelled(case, part, space, None if part is whole else _plain(first, second) / noise)
    if sides.rows < SMALL * width and part is whole and not _multiplied(whole):
        null = _extrapolated_null(part, space, case.effort)
        centre = float(null.mean())
    else:
        means = sum(np.roll(draws, k + 1) for k in range(found.splits)) / found.splits  # halves tell the mean from so many distances
        null, centre = (draws - means) * noise, 0.0
    linear = _linear(part, space, first, second) * np.sqrt(noise / part.pool.noise)
    made = Statistic(
        name="frechet",
        where="all columns",
        value=found.distance,
        error=error_of_distance(found.distance - centre, linear, null - centre),
        null=centre,
        null_error=float(null.std(ddof=1)),
        p=permutation_p(own, draws),
        n=sides.rows,
        note=_note(whole, part, space, found.plain, found.splits, len(draws)),
    )
    return [made.with_(claim=f"all columns: {_difference(whole, space, first, second, found.distance)} ({made})")]


def _multiplied(whole: Points) -> bool:
    """Whether relabelled rows are no two sides with weights of their own: negative weights, or weights and sides of different length."""
    weight = whole.pool.weight
    return weight is not None and (whole.pool.real != whole.pool.generated or bool((weight <= 0).any()))


@dataclass(frozen=True, eq=False)
class _Space:
    """The coordinates in which means and covariances are compared: all, or the leading components of both sides together.

    Args:
        basis: ``(F, K)`` orthonormal.
        share: of the variance that lies in them.
    """

    basis: Floats
    share: float = 1.0

    @property
    def complete(self) -> bool:
        """Whether these are all coordinates, as they are."""
        return self.basis.shape[0] == self.basis.shape[1]

    @classmethod
    def of(cls, part: Points) -> _Space:
        width = part.real.shape[1]
        if width <= MOST:
            return cls(np.eye(width))
        if len(part.pooled) < width:  # the covariance of few rows in many columns is large, and its rank small
            centred = part.pooled - part.pooled.mean(axis=0)
            _, spreads, rows = np.linalg.svd(centred, full_matrices=False)
            squares = np.square(spreads)
            return cls(rows[:MOST].T, float(squares[:MOST].sum() / squares.sum()) if squares.sum() > 0 else 1.0)
        values, vectors = np.linalg.eigh(Moments.of(part.pooled).covariance)
        return cls(vectors[:, -MOST:], float(values[-MOST:].sum() / values.sum()))


def _plain(first: Moments, second: Moments) -> float:
    """The distance with covariances that are divided by n, as `_relabelled` has them."""
    return float(frechet_distance(first.mean, first.scatter / first.total, second.mean, second.scatter / second.total))


def _relabelled(case: Case, part: Points, space: _Space, own: float | None) -> tuple[float, Floats]:
    """The distance of the data and of relabelled rows, in units of the noise of their coefficients.

    Sides are what is common to both plus and minus the difference that the coefficients make, in means and in mean products.

    Args:
        case: of the effort.
        part: the rows.
        space: their coordinates.
        own: the distance of the data, or None if it is that of the part.
    """
    pool = part.pool
    weight = np.ones(len(pool)) if pool.weight is None else pool.weight
    rows = part.pooled @ space.basis
    rows = rows - weight @ rows / weight.sum()
    width = rows.shape[1]
    i, j = np.triu_indices(width)
    features = np.concatenate([rows, rows[:, i] * rows[:, j]], axis=1)
    common = weight @ features / weight.sum()
    real = weight[: pool.real].sum() / weight.sum()

    def moments(features: Floats) -> tuple[Floats, Floats]:
        mean, products = features[:, :width], np.empty((len(features), width, width))
        products[:, i, j] = products[:, j, i] = features[:, width:]
        return mean, products - mean[:, :, None] * mean[:, None, :]

    def measure(batch: Floats) -> dict[str, Floats]:
        difference = batch @ features
        sides = (common + (1 - real) * difference, common - real * difference)
        return {"distance": frechet_distance(*moments(sides[0]), *moments(sides[1])) / pool.noise}

    value = float(measure(pool.observed()[None])["distance"][0]) if own is None else own
    generator, effort = part.sides.generator("frechet"), case.effort
    draws = null_draws(pool, generator, measure, effort, lambda made: surprising([permutation_p(value, made["distance"])], effort))
    return value, draws["distance"]


def _extrapolated_null(part: Points, space: _Space, effort: Effort) -> Floats:
    """The extrapolated distance of relabelled rows."""
    pool, generator = part.pool, part.sides.generator("frechet", "relabelled halves")
    rows, count = part.pooled @ space.basis, int(min(effort.few_draws, _SECONDS / (0.008 + 2.2e-5 * space.basis.shape[1] ** 2)))
    made = []
    for batch in pool.relabelled(count, generator):
        for row in batch:
            sides = [np.flatnonzero(row > 0), np.flatnonzero(row < 0)]
            if pool.paired:  # row i of both sides still belongs to one condition
                sides = [side[np.argsort(side % pool.real)] for side in sides]
            weights = [None if pool.weight is None else np.abs(row[side]) for side in sides]
            blocks = dealt([rows[side] for side in sides], weights, BLOCKS, generator, paired=pool.paired)
            made.append(extrapolated(*blocks, paired=pool.paired).distance)
    return np.array(made)


def _linear(part: Points, space: _Space, first: Moments, second: Moments) -> float:
    """Standard error for the rows of the part, by the quadratic Kantorovich potentials of the two Gaussians."""
    pool, influences, stretch = part.pool, [], np.zeros(len(space.basis))
    covariances = [one.scatter / one.total for one in (first, second)]
    means, halves = (first.mean, second.mean), (slice(0, pool.real), slice(pool.real, None))
    for side, rows in enumerate((part.real, part.generated)):
        centred = rows @ space.basis - means[side]
        onward = centred - centred @ gaussian_map(covariances[side], covariances[1 - side])  # x - T(x), less the step of the means
        step = means[side] - means[1 - side]
        influences.append((centred * onward).sum(axis=1) + 2 * centred @ step)
        stretch += np.abs(pool.observed()[halves[side]]) @ (rows * (2 * (onward + step) @ space.basis.T))
    return linear_error(influences[0], influences[1], pool, besides=-moves_of_spreads(part) @ stretch)


# ---- words ---------------------------------------------------------------------------------------------------------------


def _note(whole: Points, part: Points, space: _Space, plain: float, splits: int, draws: int) -> str:
    unit = "standardised columns" if whole.space == "columns" else whole.space
    text = f"Fréchet distance of {unit}, in squared spreads, extrapolated from {splits} splits into halves ({number(plain)} without)"
    if space.basis.shape[0] > space.basis.shape[1]:
        text += f"; in {MOST} leading components of {len(space.basis)} coordinates, with {space.share:.0%} of the variance"
    if whole.sides.rows < 4 * space.basis.shape[1]:
        text += f"; covariances of {whole.sides.rows // 2} rows in {space.basis.shape[1]} coordinates are "
        text += f"{'singular' if whole.sides.rows <= 2 * space.basis.shape[1] else 'rough'}, and the extrapolation with them"
    text += f"; null from {part.pool.method} {draws} times"
    return text + ("" if part is whole else f" on {part.sides.rows:,} rows a side, scaled to all rows")


def _difference(whole: Points, space: _Space, first: Moments, second: Moments, distance: float) -> str:
    """What differs, in words."""
    shift = space.basis @ (second.mean - first.mean)
    covariances = [one.scatter / one.total for one in (first, second)]
    variance = ((space.basis @ (covariances[0] + covariances[1]) / 2) * space.basis).sum(axis=1)
    by_means = float(shift @ shift - whole.pool.noise * variance.sum()) >= distance / 2
    if whole.space != "columns":
        return f"{whole.space} of generated rows have other {'means' if by_means else 'variances and covariances'} than those of real rows"
    names = [feature.name for feature in whole.sides.features()[0]]
    if by_means:
        k = int(np.abs(shift).argmax())
        way = "higher" if shift[k] > 0 else "lower"
        return f"generated rows have other means than real ones, most of all in '{names[k]}' ({number(abs(shift[k]))} spreads {way})"
    spread = np.sqrt(np.where(variance > 0, variance, np.inf))
    scaled = space.basis / spread[:, None]  # so that chance alone would move all entries alike
    change = scaled @ (covariances[1] - covariances[0]) @ scaled.T
    own = np.diag(change) / np.sqrt(2)
    np.fill_diagonal(change, own)
    np.abs(change, out=change)  # in place: of many columns it is large
    i, j = sorted(int(k) for k in np.unravel_index(change.argmax(), change.shape))
    if i == j:
        return f"generated rows have {'more' if own[i] > 0 else 'less'} variance than real ones, most of all in '{names[i]}'"
    return f"generated rows have other covariances than real ones, most of all of '{names[i]}' and '{names[j]}'"
