"""Runs ranked on the same held-out rows, with paired differences, so that luck of the rows cancels, and which of them are real.

Losses row by row come from `gathering.losses`; runs without any are ranked by how far their samples lie from the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from gnomon import registry
from gnomon.checks.case import Case
from gnomon.checks.effort import Effort
from gnomon.checks.gathering.losses import Losses, losses_of, weights_of
from gnomon.checks.gathering.rivals import common_way, loaded, refuse_unlike, short, trained_on
from gnomon.checks.nulls import holm
from gnomon.checks.recipes import Recipe, labels, recipes_of
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, number, plus_minus
from gnomon.checks.statistics.likelihood import weighted_mean
from gnomon.errors import DataError, OptionError
from gnomon.learned import Learned

LEVEL = 0.05
"""Chance that runs of equal merit are said to differ at all."""

DISTANCES = ("energy", "sliced_w2", "mmd", "c2st_auc")
"""Statistics by which runs that can only sample are ranked: the first that all of them have; the others are told beside it."""

_RETRAININGS = 4  # of the classifier that is told beside a distance


@dataclass(frozen=True)
class Entry:
    """One run.

    Args:
        rank: from 1.
        run: its folder or name.
        model: the model's name.
        value: mean of the metric.
        error: its standard error.
        difference: how much worse than the best, in the metric's units.
        difference_error: standard error of the difference, paired row by row where there are rows to pair.
        p: chance of so large a difference of equals, corrected for all pairs of runs (Holm); NaN for the best.
        verdict: "best", "worse", "not told apart", or "worse by its bound": a lower bound that is worse proves nothing.
        n: rows.
        note: what else is known of it.
    """

    rank: int
    run: str
    model: str
    value: float
    error: float
    difference: float
    difference_error: float
    p: float
    verdict: str
    n: int
    note: str


@dataclass(frozen=True)
class Comparison:
    """Runs ranked, best first.

    Args:
        metric: what is compared.
        ranking: one entry a run, best first.
        recipes: runs that differ in their seed only, taken together; empty where there are none.
        sentences: which differences are real, in plain words.
    """

    metric: str
    ranking: tuple[Entry, ...]
    recipes: tuple[Recipe, ...] = ()
    sentences: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """``{"metric", "ranking", "recipes", "sentences"}``; numbers that are not finite become None."""
        made = {"metric": self.metric, "ranking": [asdict(entry) for entry in self.ranking]}
        return _finite({**made, "recipes": [asdict(one) for one in self.recipes], "sentences": list(self.sentences)})

    def __str__(self) -> str:
        return "\n".join(self.sentences)


@dataclass(frozen=True, eq=False)
class _Rival:
    name: str
    learned: Learned
    value: float
    error: float
    n: int
    note: str
    losses: Losses | None = None


def compare(
    runs: Sequence[Any] | Mapping[str, Any], data: Any, *, budget: str | float | None = "20s", seed: int = 0, device: str = "cpu"
) -> Comparison:
    """Rank runs by what each gives to every row of the same data, and say which differences are real.

    Densities are ranked by mean log-probability (or its lower bound, and this is said), classifiers by the log-probability of the true
    class, regressors by squared error. Where a run has neither, all are ranked by a two-sample statistic of their samples, and those that
    do not sample by their anomaly score. Every two runs are compared with each other, since the best is only known from the data.

    Args:
        runs: two or more `Learned` or run folders; a dict gives them names.
        data: rows that none of them has seen, with all columns they need.
        budget: about how long sampling runs may take each.
        seed: of samples and their statistics.
        device: where runs that are loaded from folders work.

    Returns:
        the `Comparison`; ``print`` it for its sentences.

    Raises:
        OptionError: fewer than two runs, or runs of sorts that cannot be compared, or that learned about different columns.
        DataError: the data lacks columns, or the target that predictions are compared with.

    Example:
        >>> import gnomon
        >>> runs = {f"{k}": gnomon.fit("pca", "wine", drop=["cultivar"], options={"components": k}, progress=False) for k in (1, 5)}
        >>> [(entry.run, entry.verdict) for entry in compare(runs, "wine").ranking]
        [('5', 'best'), ('1', 'worse')]
    """
    named = loaded(runs, device)
    if len(named) < 2:
        raise OptionError(f"a comparison wants two or more runs; got {len(named)}")
    refuse_unlike(named)
    way = common_way(named)
    if way == "sample":
        return _by_samples(named, data, budget, seed)
    return _by_losses(named, data, way)


# ---- row by row ----------------------------------------------------------------------------------------------------------


def _by_losses(named: Sequence[tuple[str, Learned]], data: Any, way: str) -> Comparison:
    found = [losses_of(learned, data, way) for _, learned in named]
    metrics = {one.metric for one in found}
    if len(metrics) > 1:
        raise OptionError(f"these runs have no measure in common ({', '.join(sorted(metrics))}); compare runs of one sort of model")
    rows = {len(one.values) for one in found}
    if len(rows) > 1:
        raise DataError(f"the runs read different numbers of rows from the data ({', '.join(map(str, sorted(rows)))})")
    weight, told = _weight(named, data, rows.pop())
    rivals = []
    for (name, learned), one in zip(named, found, strict=True):
        value, error = _mean(one.values, weight)
        note = "; ".join(part for part in (one.note, told, trained_on(learned, data)) if part)
        rivals.append(_Rival(name, learned, one.sign * value, error, len(one.values), note, one))
    rivals.sort(key=lambda rival: _merit(rival.losses))
    tests = {(i, j): _paired(rivals[i].losses, rivals[j].losses, weight) for i in range(len(rivals)) for j in range(i + 1, len(rivals))}
    entries = _entries(rivals, tests)
    unit = found[0].unit
    names = short([rival.name for rival in rivals])
    sentences = [
        _sentence(entry, name, names[0], unit, rival) for entry, name, rival in zip(entries[1:], names[1:], rivals[1:], strict=True)
    ]
    sign, losses = found[0].sign, [rival.losses.values for rival in rivals if rival.losses is not None]

    def shared(one: Sequence[int], two: Sequence[int]) -> float:
        return _mean(np.mean([losses[i] for i in two], axis=0) - np.mean([losses[i] for i in one], axis=0), weight)[1]

    recipes = _recipes(rivals, sign, shared)
    sentences += _of_recipes(recipes, unit) + _of_bounds(rivals, names)
    return Comparison(found[0].metric, entries, tuple(recipes), tuple(sentences))


def _paired(best: Losses | None, other: Losses | None, weight: Floats | None) -> tuple[float, float, float]:
    """How much worse the second is, its standard error, and the p-value of Student's t; NaN for p where rows are impossible."""
    assert best is not None and other is not None
    with np.errstate(invalid="ignore"):
        behind = np.where(other.values == best.values, 0.0, other.values - best.values)
    value, error = _mean(behind, weight)
    if not np.isfinite(behind).all():
        return value, math.nan, math.nan
    if not error > 0:
        return value, error, 1.0 if value == 0 else 0.0
    from scipy.special import stdtr

    effective = len(behind) if weight is None else weight.sum() ** 2 / np.square(weight).sum()
    return value, error, float(2 * stdtr(max(1.0, effective - 1), -abs(value) / error))


def _merit(losses: Losses | None) -> tuple[float, int, float]:
    """Sorts runs: by mean loss; those with impossible rows by how many, then by the mean over the others."""
    assert losses is not None
    finite = np.isfinite(losses.values)
    mean = float(losses.values[finite].mean()) if finite.any() else math.inf
    return (mean, 0, 0.0) if finite.all() else (math.inf, int((~finite).sum()), mean)


def _mean(values: Floats, weight: Floats | None) -> tuple[float, float]:
    """Mean and standard error; an infinite mean has none."""
    if not np.isfinite(values).all() or len(values) < 2:
        with np.errstate(invalid="ignore"):
            return float(np.mean(values)), math.nan
    return weighted_mean(values, weight)


def _weight(named: Sequence[tuple[str, Learned]], data: Any, rows: int) -> tuple[Floats | None, str]:
    """Weights that all runs agree on, and what is to be said about them."""
    columns = {learned.spec.weight for _, learned in named}
    if columns == {None}:
        return None, ""
    if len(columns) > 1:
        return None, "weights are left out, since the runs were fitted with different ones"
    weight = weights_of(named[0][1], data, rows)
    return weight, "" if weight is None else f"weighted by '{named[0][1].spec.weight}'"


# ---- by samples ----------------------------------------------------------------------------------------------------------


def _by_samples(named: Sequence[tuple[str, Learned]], data: Any, budget: str | float | None, seed: int) -> Comparison:
    """Ranks runs by the first of `DISTANCES` that all have; differences are of independent samples beside the same rows."""
    measured = [_distances(learned, data, budget, seed) for _, learned in named]
    common = [name for name in DISTANCES if all(name in one for one in measured)]
    if not common:
        raise OptionError("these runs can be compared by their samples alone, and no two-sample statistic could be computed on this data")
    metric = common[0]
    rivals = []
    for (name, learned), one in zip(named, measured, strict=True):
        row = one[metric]
        beside = [f"{other} {plus_minus(one[other].value, one[other].error)}" for other in common[1:]]
        note = "; ".join([f"null {plus_minus(row.null, row.null_error)}", *beside, *filter(None, [trained_on(learned, data)])])
        rivals.append(_Rival(name, learned, row.value, row.error, row.n, note))
    rivals.sort(key=lambda rival: rival.value)
    tests = {}
    for i, best in enumerate(rivals):
        for j in range(i + 1, len(rivals)):
            error = math.hypot(best.error, rivals[j].error)
            behind = rivals[j].value - best.value
            tests[i, j] = (behind, error, _two_sided(behind / error) if error > 0 else float(behind == 0))
    entries, recipes = _entries(rivals, tests), _recipes(rivals, 1.0, None)
    names = short([rival.name for rival in rivals])
    unit = f"of {metric}"
    sentences = [
        _sentence(entry, name, names[0], unit, rival) for entry, name, rival in zip(entries[1:], names[1:], rivals[1:], strict=True)
    ]
    sentences.append(
        f"The runs have no log-probability in common, so samples of each were compared with the data ({metric}, smaller is better)"
    )
    return Comparison(metric, entries, tuple(recipes), (*sentences, *_of_recipes(recipes, unit)))


def _distances(learned: Learned, data: Any, budget: str | float | None, seed: int) -> dict[str, Statistic]:
    """The two-sample statistics of one run's samples, by name."""
    from gnomon.checks.gathering.learned_case import sides_of
    from gnomon.checks.gathering.sources import thinned
    from gnomon.data import prepare

    raw = prepare(data, spec=learned.spec, missing="drop").raw
    effort = Effort.of(budget, columns=len(getattr(learned.spec.x, "names", ())) or 64)
    sides, _ = sides_of(learned, thinned(raw, effort.rows, seed, "data"), None, seed)
    case = Case(sides, effort=replace(effort, retrainings=_RETRAININGS), seed=seed)
    made: dict[str, Statistic] = {}
    for name in DISTANCES:
        if name in registry.statistics:
            try:
                rows = [row for row in registry.statistics[name](case) if row.name == name]
            except LeftOut:  # the reason is told where no statistic is left at all
                continue
            if rows and math.isfinite(rows[0].value) and math.isfinite(rows[0].error):
                made[name] = rows[0]
    return made


# ---- verdicts ------------------------------------------------------------------------------------------------------------


def _entries(rivals: Sequence[_Rival], tests: Mapping[tuple[int, int], tuple[float, float, float]]) -> tuple[Entry, ...]:
    """The ranking, with p-values corrected for all pairs: which run is the best is known from the same rows."""
    pairs = list(tests)
    corrected = dict(zip(pairs, holm([tests[pair][2] for pair in pairs]), strict=True))
    made = []
    for j, rival in enumerate(rivals):
        difference, error, _ = tests[0, j] if j else (0.0, 0.0, math.nan)
        p = corrected[0, j] if j else math.nan
        verdict = _verdict(rivals[0], rival, p) if j else "best"
        made.append(
            Entry(j + 1, rival.name, rival.learned.name, rival.value, rival.error, difference, error, p, verdict, rival.n, rival.note)
        )
    return tuple(made)


def _verdict(best: _Rival, other: _Rival, p: float) -> str:
    if other.losses is not None and best.losses is not None and math.isnan(p):
        return "worse" if np.isfinite(best.losses.values).all() else "not told apart"
    if p > LEVEL:
        return "not told apart"
    one, two = best.losses, other.losses
    return "worse by its bound" if one is not None and two is not None and two.bound and not one.bound else "worse"


def _sentence(entry: Entry, name: str, best: str, unit: str, rival: _Rival) -> str:
    """What is to be said of a run beside the best one."""
    if math.isnan(entry.p):
        lost = int((~np.isfinite(rival.losses.values)).sum()) if rival.losses is not None else 0
        told = f"'{name}' holds {lost:,} of {entry.n:,} rows to be impossible (probability 0)"
        return (
            f"{told}, which '{best}' does not"
            if entry.verdict == "worse"
            else f"{told}, and so does '{best}' with some: they cannot be ranked"
        )
    if entry.difference == 0 and entry.difference_error == 0:
        return f"'{name}' gives the same as '{best}' on every row"
    gap, chance = plus_minus(entry.difference, entry.difference_error), _chance(entry.p)
    if entry.verdict == "worse":
        return f"'{name}' is worse than '{best}' by {gap} {unit} ({chance})"
    if entry.verdict == "worse by its bound":
        return f"'{name}' is behind '{best}' by {gap} {unit} ({chance}), but it is judged by a lower bound and may be better than that"
    return f"'{name}' cannot be told from '{best}' (behind by {gap} {unit}, {chance})"


def _recipes(rivals: Sequence[_Rival], sign: float, shared: Callable[[Sequence[int], Sequence[int]], float] | None) -> list[Recipe]:
    """Runs that differ in their seed only, taken together."""
    names, called = [rival.name for rival in rivals], labels([rival.learned.info for rival in rivals])
    return recipes_of(names, called, [sign * rival.value for rival in rivals], sign=sign, level=LEVEL, shared_error=shared)


def _of_recipes(recipes: Sequence[Recipe], unit: str) -> list[str]:
    """What seeds do, and which recipes differ by more than that."""
    said = []
    for one in recipes:
        if len(one.runs) > 1:
            told = f"'{one.recipe}' in {len(one.runs)} runs: {plus_minus(one.mean, one.error)} {unit}"
            said.append(f"{told}, from run to run ± {number(one.sd, 2)}")
    for one in recipes[1:]:
        best, gap = recipes[0].recipe, plus_minus(one.difference, one.difference_error)
        if one.verdict == "worse":
            said.append(f"'{one.recipe}' is worse than '{best}' by {gap} {unit}, more than seeds explain ({_chance(one.p)})")
        elif one.verdict == "not told apart":
            said.append(
                f"'{one.recipe}' cannot be told from '{best}' beyond the spread over seeds (behind by {gap} {unit}, {_chance(one.p)})"
            )
        else:
            said.append(f"Whether '{one.recipe}' and '{best}' differ by more than their seeds is not known: one of them has a single run")
    return said


def _of_bounds(rivals: Sequence[_Rival], names: Sequence[str]) -> list[str]:
    """A warning where lower bounds stand beside log-probabilities."""
    bounds = [name for rival, name in zip(rivals, names, strict=True) if rival.losses is not None and rival.losses.bound]
    if not bounds or len(bounds) == len(rivals):
        return []
    listed = ", ".join(f"'{name}'" for name in bounds)
    return [f"Ranked by a lower bound on the log-probability, beside runs whose log-probability is known: {listed}"]


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {number(p, 2)}"


def _two_sided(z: float) -> float:
    from scipy.special import ndtr

    return float(2 * ndtr(-abs(z)))


# ---- parts ---------------------------------------------------------------------------------------------------------------


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
