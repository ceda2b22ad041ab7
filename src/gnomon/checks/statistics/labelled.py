"""Classes of generated rows, as a classifier trained on the user's labels sees them: their shares, and the scores built on them.

Training that classifier is done in `gathering.labelling`; the formulas of the scores stand in `measures.classes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnomon.checks.case import Case, Labelled
from gnomon.checks.measures.classes import certainty_of, log_inception, log_mode
from gnomon.checks.nulls import Pool, error_of_distance, null_draws, permutation_p
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number

RIGHT = 0.8
"""A classifier that is right less often than this on held-out real rows is not believed."""

BEYOND_CHANCE = 0.5
"""Nor is one that closes less than this share of the gap between always naming the most frequent class and being always right."""


def class_share(case: Case) -> list[Statistic]:
    """Largest difference of the shares of a class between generated and real rows.

    Every row counts for its most probable class. The largest difference is sought in standard deviations of each class's own null, so
    that a lost rare class stands out; its p-value is corrected for looking at all classes.

    Raises:
        LeftOut: the classifier is not right often enough.
    """
    labelled = _believed(case)
    if labelled is None:
        return []
    found = _shared(labelled, case)
    k, value = found.worst, abs(float(found.differences[found.worst]))
    error = error_of_distance(value, found.share_error, found.draws["share"])
    made = Statistic(
        name="class_share",
        where=labelled.target,
        value=value,
        error=error,
        null=float(found.draws["share"].mean()),
        null_error=float(found.draws["share"].std(ddof=1)),
        p=permutation_p(found.pull, found.draws["pull"]),
        n=found.rows,
        note=f"class '{labelled.classes[k]}' out of {len(labelled.classes)}; {found.note}",
    )
    real, generated = (f"{number(100 * float(share), 2)} %" for share in (found.real[k], found.generated[k]))
    claim = f"{labelled.target}: class '{labelled.classes[k]}' makes up {generated} of the generated rows, but {real} of the real ones"
    return [made.with_(claim=f"{claim} ({made})")]


def inception_score(case: Case) -> list[Statistic]:
    """Inception score by the user's own classes: exp of the mutual information of generated row and class.

    The null is the score of relabelled rows, so that of the real ones; the p-value is two-sided.

    Raises:
        LeftOut: the classifier is not right often enough.
    """
    return _score(case, "inception")


def mode_score(case: Case) -> list[Statistic]:
    """Mode score by the user's own classes: the inception score, lowered where classes are shared out otherwise than in the data.

    The null is the score of relabelled rows; the p-value is two-sided.

    Raises:
        LeftOut: the classifier is not right often enough.
    """
    return _score(case, "mode")


@dataclass(frozen=True, eq=False)
class Shared:
    """What the three statistics have in common.

    Args:
        real: ``(classes,)`` shares of the real rows.
        generated: ``(classes,)`` of the generated ones.
        differences: ``(classes,)`` real less generated.
        worst: the class with the largest difference in units of its null.
        pull: that difference in these units.
        share_error: its standard error.
        scores: value of each score.
        score_errors: their standard errors.
        draws: ``(draws,)`` under the null: of "share", "pull", "inception", "mode".
        rows: of the smaller side.
        note: how good the classifier is, and how the null was made.
    """

    real: Floats
    generated: Floats
    differences: Floats
    worst: int
    pull: float
    share_error: float
    scores: dict[str, float]
    score_errors: dict[str, float]
    draws: dict[str, Floats]
    rows: int
    note: str


def _believed(case: Case) -> Labelled | None:
    labelled = case.labelled
    if labelled is None:
        return None
    if labelled.accuracy < RIGHT or labelled.accuracy - labelled.chance < BEYOND_CHANCE * (1 - labelled.chance):
        raise LeftOut(
            f"a classifier of '{labelled.target}' is right in {100 * labelled.accuracy:.0f} % of held-out real rows, and naming the most "
            f"frequent class in {100 * labelled.chance:.0f} %; that is too seldom to believe it on generated ones"
        )
    return labelled


def _score(case: Case, which: str) -> list[Statistic]:
    labelled = _believed(case)
    if labelled is None:
        return []
    found = _shared(labelled, case)
    value, draws = found.scores[which], found.draws[which]
    null = float(draws.mean())
    p = min(1.0, 2 * min(permutation_p(value, draws), permutation_p(-value, -draws)))
    made = Statistic(
        name=f"{which}_score",
        where=labelled.target,
        value=value,
        error=_error_of_score(value - null, found.score_errors[which], draws),
        null=null,
        null_error=float(draws.std(ddof=1)),
        p=p,
        n=found.rows,
        note=f"of at most {len(labelled.classes)}; {found.note}",
        alarm="never",
    )
    return [made]


def _error_of_score(distance: float, linear: float, draws: Floats) -> float:
    """Standard error of a score of the generated side alone, whose null shares rows with it.

    Near the null it is what covers 68.3 % of the null draws; far from it `linear`, the spread over fresh rows. In between the variances
    are mixed so that the error stays below the distance wherever the latter is beyond the null's.
    """
    near = float(np.quantile(np.abs(draws - draws.mean()), 0.6827))
    if not abs(distance) > near:
        return near
    if not near > 0:
        return linear
    gain = (distance / near) ** 2 - 1
    share = gain / (gain + (linear / near) ** 2)
    return float(np.sqrt(share * linear**2 + (1 - share) * near**2))


# ---- one pass over relabelled rows for all three ---------------------------------------------------------------------


def _shared(labelled: Labelled, case: Case) -> Shared:
    return labelled.once(("shared", case.effort), lambda: _compute(labelled, case))


def _compute(labelled: Labelled, case: Case) -> Shared:
    pool = _pool(labelled)
    classes = len(labelled.classes)
    features = _features(labelled)
    coefficients = pool.observed()
    real, generated = coefficients[: pool.real] @ features[: pool.real], -coefficients[pool.real :] @ features[pool.real :]
    differences = (real - generated)[:classes]
    spread = _null_spread(pool, features[:, :classes])
    pulls = np.abs(differences) / spread
    worst = int(pulls.argmax())
    scores, errors = _scores_with_errors(pool, features, real, generated)
    middle = (_size(pool, 0) * real + _size(pool, 1) * generated) / (_size(pool, 0) + _size(pool, 1))
    draws, note = _null(labelled, case, pool, features, spread, middle, {"pull": float(pulls[worst]), **scores})
    share_error = _spread_of(pool, coefficients * features[:, worst])
    note = f"by a classifier that is right in {100 * labelled.accuracy:.3g} % of held-out real rows; {note}"
    return Shared(
        real[:classes], generated[:classes], differences, worst, float(pulls[worst]), share_error, scores, errors, draws,
        min(pool.real, pool.generated), note,
    )  # fmt: skip


def _pool(labelled: Labelled) -> Pool:
    sizes = len(labelled.real), len(labelled.generated)
    weight = None
    if any(w is not None for w in labelled.weights):
        weight = np.concatenate([np.ones(n) if w is None else w * (n / w.sum()) for w, n in zip(labelled.weights, sizes, strict=True)])
    return Pool(*sizes, weight, labelled.paired)


def _features(labelled: Labelled) -> Floats:
    """``(rows, 2 classes + 1)``: indicator of the most probable class, the probabilities, and how certain they are."""
    probability = np.concatenate([labelled.real, labelled.generated])
    hard = np.eye(probability.shape[1])[probability.argmax(axis=1)]
    return np.concatenate([hard, probability, certainty_of(probability)[:, None]], axis=1)


def _size(pool: Pool, side: int) -> float:
    """Rows of equal weight that carry as much as those of a side."""
    if pool.weight is None:
        return float((pool.real, pool.generated)[side])
    own = pool.weight[: pool.real] if side == 0 else pool.weight[pool.real :]
    return float(own.sum() ** 2 / np.square(own).sum())


def _centred(pool: Pool, contributions: Floats, coefficients: Floats) -> list[Floats]:
    """Contributions ``(rows, …)`` less what their coefficient times the side's mean would give, by side."""
    made = []
    for part in (slice(0, pool.real), slice(pool.real, None)):
        share = coefficients[part] / coefficients[part].sum()
        made.append(contributions[part] - np.multiply.outer(share, contributions[part].sum(axis=0)))
    return made


def _spread_of(pool: Pool, contributions: Floats) -> float:
    """Standard error of a sum of contributions ``(rows,)``, one per row; rows of a pair vary together."""
    parts = _centred(pool, contributions, pool.observed())
    if pool.paired:
        return float(np.sqrt(np.square(parts[0] + parts[1]).sum()))
    return float(np.sqrt(sum(np.square(part).sum() for part in parts)))


def _null_spread(pool: Pool, hard: Floats) -> Floats:
    """``(classes,)`` standard deviation of the difference of shares under relabelling; infinite where it cannot differ."""
    coefficients = pool.observed()
    if pool.paired:
        moved = coefficients[:, None] * hard
        variance = np.square(moved[: pool.real] + moved[pool.real :]).sum(axis=0)
    else:
        share = np.abs(coefficients) @ hard / np.abs(coefficients).sum()
        variance = pool.noise * share * (1 - share)
    return np.where(variance > 1e-18, np.sqrt(np.maximum(variance, 1e-18)), np.inf)


def _scores(real: Floats, generated: Floats) -> dict[str, Floats]:
    """Both scores from the mean features ``(*, 2 classes + 1)`` of both sides."""
    classes = real.shape[-1] // 2
    means = []
    for side in (real, generated):
        mean = np.maximum(side[..., classes:-1], 0.0)
        means.append(mean / mean.sum(axis=-1, keepdims=True))
    certainty = generated[..., -1]
    return {"inception": np.exp(log_inception(means[1], certainty)), "mode": np.exp(log_mode(means[1], certainty, means[0]))}


def _scores_with_errors(pool: Pool, features: Floats, real: Floats, generated: Floats) -> tuple[dict[str, float], dict[str, float]]:
    """The scores of the data, and the standard errors of their linearisations."""
    scores = {name: float(value) for name, value in _scores(real, generated).items()}
    classes = features.shape[1] // 2
    probability, certainty = features[:, classes:-1], features[:, -1]
    logs = [np.log(np.maximum(side[classes:-1], 1e-12)) for side in (real, generated)]
    coefficients = pool.observed()
    coefficients[pool.real :] *= -1  # now shares of each side's own weight
    inception = coefficients * (certainty - probability @ logs[1])
    mode = coefficients * (certainty - probability @ (2 * logs[1] - logs[0]))
    inception[: pool.real] = 0.0
    mode[: pool.real] = coefficients[: pool.real] * (probability[: pool.real] @ (generated[classes:-1] / np.exp(logs[0])))
    return scores, {"inception": scores["inception"] * _spread_of(pool, inception), "mode": scores["mode"] * _spread_of(pool, mode)}


def _null(
    labelled: Labelled, case: Case, pool: Pool, features: Floats, spread: Floats, middle: Floats, observed: dict[str, float]
) -> tuple[dict[str, Floats], str]:
    """Draws of everything under the null, at the sides' own size, and how they were made.

    A relabelling gives the difference d of mean features. With the mean m of both sides it also gives each side's own mean: the real
    side's is m + d · generated / all, the other's m - d · real / all.
    """
    rows = _some(pool, case)
    part = pool if rows is None else Pool(*_sizes(pool, rows), None if pool.weight is None else pool.weight[rows], pool.paired)
    shown = features if rows is None else features[rows]
    scale = float(np.sqrt(pool.noise / part.noise))
    classes = len(spread)
    lever = _size(pool, 0) / (_size(pool, 0) + _size(pool, 1))

    def measure(batch: Floats) -> dict[str, Floats]:
        moved = batch @ shown * scale
        return _worst_share(moved[:, :classes], spread) | _scores(middle + (1 - lever) * moved, middle - lever * moved)

    def extreme(draws: dict[str, Floats]) -> bool:
        return any(not draws[key].min() <= value <= draws[key].max() for key, value in observed.items() if key != "pull") or bool(
            observed["pull"] > draws["pull"].max()
        )

    draws = null_draws(part, case.generator("classes"), measure, case.effort, extreme)
    if rows is not None and pool.weight is None and not pool.paired:
        draws |= _counted(pool, features[:, :classes], spread, len(draws["pull"]), case.generator("class counts"))
    note = f"null from {part.method} {len(draws['pull'])} times"
    return draws, note + ("" if rows is None else f" on at most {case.effort.null_rows:,} rows a side, scaled to all rows")


def _worst_share(moved: Floats, spread: Floats) -> dict[str, Floats]:
    """``(batch, classes)`` differences of shares to the largest in units of `spread`: its size and these units."""
    pulls = np.abs(moved) / spread
    worst = pulls.argmax(axis=1)
    every = np.arange(len(moved))
    return {"pull": pulls[every, worst], "share": np.abs(moved)[every, worst]}


def _counted(pool: Pool, hard: Floats, spread: Floats, draws: int, generator: np.random.Generator) -> dict[str, Floats]:
    """Shares under the null at full size, where counts of relabelled rows are hypergeometric: rare classes do not scale."""
    counts = hard.sum(axis=0).astype(np.intp)
    real = generator.multivariate_hypergeometric(counts, pool.real, size=draws, method="marginals")
    return _worst_share(real / pool.real - (counts - real) / pool.generated, spread)


def _some(pool: Pool, case: Case) -> np.ndarray | None:
    """Rows of the pool in which the null is drawn, pairs kept together; None for all."""
    most = case.effort.null_rows
    if max(pool.real, pool.generated) <= most:
        return None
    generator = case.generator("classes", "rows")
    picks = [np.sort(generator.permutation(n)[:most]) for n in (pool.real, pool.generated)]
    return np.concatenate([picks[0], pool.real + (picks[0] if pool.paired else picks[1])])


def _sizes(pool: Pool, rows: np.ndarray) -> tuple[int, int]:
    real = int((rows < pool.real).sum())
    return real, len(rows) - real
