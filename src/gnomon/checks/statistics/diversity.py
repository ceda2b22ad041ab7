"""Diversity of generated rows beside that of real ones: the mean distance of two rows, and the Vendi score.

Which real rows the generated ones do not reach is for `neighbours` to say.
"""

from __future__ import annotations

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.equal_rows import Labels, equal_rows, error_beside, labels, p_value, relabelled, told
from gnomon.checks.measures.diversity import distances_from_each, mean_distance, mean_distances, vendi, vendi_error
from gnomon.checks.nulls import Pool
from gnomon.checks.points import points
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number

FEWEST = 20
"""Rows a side below which no diversity is looked at."""

_MOST = 800  # rows a side of a Vendi score, whose cost grows with their cube


def diversity(case: Case) -> list[Statistic]:
    """Mean distance of two generated rows over that of two real ones: 1 for a good model, less for one that makes too much of the same.

    The p-value is for both directions: too much diversity is no good either.

    Raises:
        LeftOut: fewer than 20 rows a side, negative or very unequal weights, or real rows that are all the same.
    """
    if case.sides is None or not case.sides.compared:
        return []
    part = equal_rows(case.sides, max(FEWEST, case.effort.kernel_rows // 3), fewest=FEWEST)
    made = points(part)
    pooled = made.pooled
    own = mean_distance(made.real)
    if not own > 0:
        raise LeftOut("all real rows are the same")

    def measure(labelled: Labels) -> dict[str, Floats]:
        generated, real = mean_distances(pooled, labelled)
        return {"diversity": np.divide(generated, real, out=np.ones_like(real), where=real > 0)}

    null = relabelled(part, "diversity", measure, case.effort, {"diversity": "both"})
    value, draws = null.values["diversity"], null.draws["diversity"]
    row = Statistic(
        name="diversity",
        where="generated rows",
        value=value,
        error=error_beside(value, draws, lambda: _error(made.real, made.generated, part.paired)),
        null=float(draws.mean()),
        null_error=float(draws.std(ddof=1)),
        p=null.p["diversity"],
        n=part.rows,
        note=f"mean distance of two generated rows over that of two real ones ({number(own)}), by {made.space}; "
        f"null from {Pool.of(part).method} {len(draws)} times; p for both directions{told(part, case.sides)}",
    )
    how = "too much alike: two of them are nearer to each other than two real ones" if value < row.null else "too diverse"
    return [row.with_(claim=f"generated rows: they are {how} ({row})")]


def _error(real: Floats, generated: Floats, paired: bool) -> float:
    """Standard error of the ratio: a mean distance moves by twice what a row's own mean distance differs from it."""
    effects = []
    for side in (generated, real):
        each = distances_from_each(side)
        effects.append(2 * (each / each.mean() - 1))
    ratio = mean_distance(generated) / mean_distance(real)
    variance = np.var(effects[0] - effects[1]) if paired else np.var(effects[0]) + np.var(effects[1])
    return ratio * float(np.sqrt(variance / len(real)))


def vendi_score(case: Case) -> list[Statistic]:
    """Effective number of different rows among the generated ones, beside relabelled rows; for information.

    Kernel: exp(-d² / 2w²), where w is the median distance of two rows of both sides together. The error takes w as given: where most of the
    spread is that of conditions shared by both sides, it is too large.

    Reference: Friedman & Dieng 2023, https://arxiv.org/abs/2210.02410.

    Raises:
        LeftOut: fewer than 20 rows a side, or negative or very unequal weights.
    """
    if case.sides is None or not case.sides.compared:
        return []
    part = equal_rows(case.sides, max(FEWEST, min(case.effort.transport_rows, _MOST)), fewest=FEWEST)
    made = points(part)
    pooled = made.pooled
    width = _median_distance(pooled)
    relabelled_rows = labels(Pool.of(part), case.effort.few_draws, part.generator("vendi"))
    draws = np.array([vendi(pooled[chosen], width=width) for chosen in relabelled_rows])
    value, real = (vendi(side, width=width) for side in (made.generated, made.real))
    row = Statistic(
        name="vendi",
        where="generated rows",
        value=value,
        error=error_beside(value, draws, lambda: vendi_error(made.generated, width)),
        null=float(draws.mean()),
        null_error=float(draws.std(ddof=1)),
        p=p_value(value, draws, "both"),
        n=part.rows,
        note=f"effective number of different rows among {part.rows:,}, by {made.space}; real rows have {number(real)}; "
        f"null from {Pool.of(part).method} {len(draws)} times; p for both directions{told(part, case.sides)}",
        alarm="never",
    )
    return [row]


def _median_distance(pooled: Floats) -> float:
    some = pooled[:: max(1, len(pooled) // 500)]
    squares = np.square(some[:, None, :] - some[None, :, :]).sum(axis=2)[np.triu_indices(len(some), 1)]
    middle = float(np.sqrt(np.median(squares)))
    return middle if middle > 0 else float(np.sqrt(squares.mean())) or 1.0
