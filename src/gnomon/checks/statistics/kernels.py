"""Kernel distances of all columns together: maximum mean discrepancy, energy distance, and KID of images and of what an encoder sees.

They say that the sides differ, not where: single columns are in `columns`, pairs in `correlation`, directions in `sliced`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.measures.kernels import FACTORS, Distance, GaussianMixture, Kernel, Polynomial, block_sums, median_distance
from gnomon.checks.measures.random_features import RandomFeatures, unbiased_by_frequency
from gnomon.checks.nulls import permutation_p
from gnomon.checks.points import Points, points
from gnomon.checks.sides import Floats, Sides
from gnomon.checks.statistic import Alarm, LeftOut, Statistic, number
from gnomon.checks.statistics.blocks import Blocks, SquaredDistance, sums_of

FEWEST = 5
"""Rows a side below which pairs of rows say nothing."""

FEATURES = 2050
"""Random features, where there are too many rows for all pairs."""

_MEDIAN = 500  # rows a side between which the median distance is taken
_ROUNDING = 1e-6  # of the kernel's values: forms that differ by less are equal


def mmd(case: Case) -> list[Statistic]:
    """Squared maximum mean discrepancy by the mean of five Gaussian kernels, unbiased: 0 is expected of sides that agree.

    Sides that are not too long are compared by all pairs of rows, longer ones by random features of all rows.

    Reference: Gretton et al. 2012, JMLR 13, 723; Rahimi & Recht 2007, NeurIPS 20.

    Raises:
        LeftOut: fewer than 5 rows on a side, or weights that leave no pairs.
    """
    sides = _fit_for_pairs(case)
    if sides is None:
        return []
    whole = points(sides)
    median = _median(whole, sides.generator("mmd", "median"))
    kernel = GaussianMixture(tuple(factor * median for factor in FACTORS))
    widths = f"{number(min(kernel.bandwidths))} to {number(max(kernel.bandwidths))} spreads"
    note = f"squared; mean of {len(FACTORS)} Gaussian kernels of the {whole.space}, bandwidths {widths}"
    generator = sides.generator("mmd")
    if max(len(sides.real), len(sides.generated)) <= case.effort.kernel_rows:
        return [_row("mmd", _by_pairs(kernel, whole, generator), case.effort, generator, f"{note}, all pairs of rows")]
    found, choice = _by_features(kernel, whole, generator)
    note += f", {FEATURES:,} random features of all rows, whose choice adds ± {number(choice, 2)} to a difference"
    return [_row("mmd", found, case.effort, generator, note, more=choice)]


def energy(case: Case) -> list[Statistic]:
    """Energy distance 2 E|x − y| − E|x − x'| − E|y − y'| in spreads, unbiased. For information: where it sees something, `mmd` does too.

    Reference: Székely & Rizzo 2013, J. Stat. Plan. Inference 143, 1249.

    Raises:
        LeftOut: fewer than 5 rows on a side, or weights that leave no pairs.
    """
    return _on_drawn_rows(case, "energy", Distance(), "of the {space} in spreads")


def kid(case: Case) -> list[Statistic]:
    """Squared maximum mean discrepancy by the cubic kernel of KID, on pixels or on what an encoder sees; unbiased. For information.

    Its features are not those of the Inception network, so values may be compared with each other, but not with published ones.

    Reference: Bińkowski et al. 2018, https://arxiv.org/abs/1801.01401

    Raises:
        LeftOut: fewer than 5 rows on a side, or weights that leave no pairs.
    """
    if case.sides is None or (case.sides.real.embedding is None and case.sides.real.pixels is None):
        return []
    return _on_drawn_rows(case, "kid", Polynomial(), "cubic kernel of the {space}, not of the Inception network")


def _on_drawn_rows(case: Case, name: str, kernel: Kernel, what: str) -> list[Statistic]:
    sides = _fit_for_pairs(case)
    if sides is None:
        return []
    whole = points(sides)
    part = whole.drawn(case.effort.kernel_rows, sides.generator("kernels", "rows"))
    generator = sides.generator(name)
    found = _by_pairs(kernel, part, generator)
    drawn = "" if part is whole else f" on {len(part.real):,} real and {len(part.generated):,} generated rows drawn at random"
    note = f"{what.format(space=whole.space)}, all pairs of rows{drawn}"
    return [_row(name, found, replace(case.effort, more_draws=0), generator, note, alarm="never")]


def _row(
    name: str,
    found: SquaredDistance,
    effort: Effort,
    generator: np.random.Generator,
    note: str,
    *,
    more: float = 0.0,
    alarm: Alarm = "low",
) -> Statistic:
    pool = found.blocks.pool
    own, draws = found.null(effort, generator)
    relabelled = pool.method if len(found.blocks) == len(pool) else f"{pool.method} in {len(found.blocks):,} blocks"
    made = Statistic(
        name=name,
        where="all columns",
        value=found.value if abs(found.value) >= found.rounding else 0.0,
        error=found.error(own, draws, more),
        null=0.0 if pool.weight is None or pool.paired else float(draws.mean()),
        null_error=float(draws.std(ddof=1)),
        p=permutation_p(own, draws),
        n=min(pool.real, pool.generated),
        note=f"{note}; null from {relabelled}, {len(draws)} times",
        alarm=alarm,
    )
    return made.with_(claim=f"all columns: generated rows do not have the joint distribution of the real ones ({made})")


def _fit_for_pairs(case: Case) -> Sides | None:
    """The sides, or None if there is nothing to compare."""
    sides = case.sides
    if sides is None or not sides.compared or not points(sides).real.shape[1]:
        return None
    if sides.rows < FEWEST:
        raise LeftOut(f"{sides.rows} rows on the smaller side; pairs of rows want at least {FEWEST}")
    if min(side.effective for side in (sides.real, sides.generated)) < 2:
        raise LeftOut("the weights leave less than two rows' worth on a side")
    return sides


def _median(whole: Points, generator: np.random.Generator) -> float:
    """The median distance between some rows, chosen without a look at their sides (pairs together), so that relabelling stays exact."""
    count = len(whole.real)
    if whole.sides.paired:
        first = second = generator.permutation(count)[:_MEDIAN]
    else:
        rows = generator.permutation(len(whole.pool))[: 2 * _MEDIAN]
        first, second = rows[rows < count], rows[rows >= count] - count
    return median_distance(np.concatenate([whole.real[first], whole.generated[second]]))


# ---- sums over pairs of blocks -----------------------------------------------------------------------------------------


def _by_pairs(kernel: Kernel, part: Points, generator: np.random.Generator) -> SquaredDistance:
    """By the kernel of all pairs of rows."""
    rows, blocks = part.pooled, Blocks.of(part.pool, generator)
    sums = block_sums(kernel, rows, blocks.blocks, blocks.weight, count=len(blocks), single=True)
    if part.pool.paired:
        half = len(part.real)
        joint = blocks.weight[:half] * blocks.weight[half:] * kernel.between(part.real, part.generated)
        _take_off(sums, sums_of(blocks.blocks[:half], joint, blocks.real))
    size = np.abs(kernel.between(rows, rows)).mean() + np.abs(kernel.between(rows, rows[::-1])).mean()
    return SquaredDistance(blocks, sums, _ROUNDING * part.pool.noise * float(size))


def _by_features(kernel: GaussianMixture, whole: Points, generator: np.random.Generator) -> tuple[SquaredDistance, float]:
    """By random features, whose choice adds the standard error that is returned too."""
    blocks, half = Blocks.of(whole.pool, generator), len(whole.real)
    features = RandomFeatures.of(kernel, whole.real.mean(axis=0), FEATURES, generator)
    count = (blocks.real, len(blocks) - blocks.real)
    parts = [
        features.block_sums(side, blocks.blocks[rows] - first, blocks.weight[rows], many)
        for side, rows, first, many in ((whole.real, slice(0, half), 0, count[0]), (whole.generated, slice(half, None), *count))
    ]
    each = np.concatenate(parts).reshape(len(blocks), -1)
    sums = each @ each.T / (len(features) / 2)
    sums[np.diag_indices(len(blocks))] -= blocks.squares
    together = None
    if whole.pool.paired:
        joint = features.between(whole.real, whole.generated, blocks.blocks[:half], blocks.weight[:half] * blocks.weight[half:], count[0])
        _take_off(sums, joint.mean(axis=1))
        together = joint.sum(axis=0)
    means = [part.sum(axis=0) for part in parts]
    by_frequency = unbiased_by_frequency(means[0], means[1], (blocks.weight[:half], blocks.weight[half:]), together)
    bands = by_frequency.reshape(features.bandwidths, -1)
    choice = float(np.sqrt((bands.var(axis=1, ddof=1) / bands.shape[1]).mean() / len(bands)))
    return SquaredDistance(blocks, sums, 2 * _ROUNDING * whole.pool.noise), choice


def _take_off(sums: Floats, joint: Floats) -> None:
    """Leave out of the sums the pairs of rows that belong together."""
    real = np.arange(len(joint))
    sums[real, len(joint) + real] -= joint
    sums[len(joint) + real, real] -= joint
