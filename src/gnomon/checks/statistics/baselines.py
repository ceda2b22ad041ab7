"""Classical densities beside a model's likelihood: a Gaussian, a mixture, kernels and a histogram on the very same rows.

They are what a model has to beat. Their formulas stand in `measures`, the model's own likelihood in `likelihood`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.case import Case, Likelihood, Places
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, plus_minus
from gnomon.checks.statistics import mixed_densities
from gnomon.checks.statistics.likelihood import FEWEST, finite_rows, weighted_mean
from gnomon.checks.statistics.mixed_densities import Fit, MixedDensity

_FOLDS = 10
_COSTLY_FOLDS = 5  # of densities whose fit takes long
_PLENTY = 4_000


@dataclass(frozen=True)
class _Kind:
    """A classical density.

    Args:
        name: of its statistic.
        words: what it is, with its article.
        fit: how it is fitted to whitened rows.
        folds: into how many parts the rows are divided where it is fitted to the others in turn.
        few: whether it is fitted to, and evaluated on, a limited number of rows.
    """

    name: str
    words: str
    fit: Fit
    folds: int
    few: tuple[bool, bool] = (False, False)


_KINDS = (
    _Kind("gaussian_log_likelihood", "a full-covariance Gaussian", mixed_densities.gaussian, _FOLDS),
    _Kind("mixture_log_likelihood", "a mixture of Gaussians", mixed_densities.mixture, _COSTLY_FOLDS, (True, False)),
    _Kind("kde_log_likelihood", "a kernel density", mixed_densities.kernels, _COSTLY_FOLDS, (True, True)),
    _Kind("histogram_log_likelihood", "a histogram", mixed_densities.histogram, _FOLDS),
)


def baselines(case: Case) -> list[Statistic]:
    """Mean log-probability of the held-out rows under each classical density that applies, in nats per row.

    The densities are fitted to the rows that the model was trained on, where these are at hand, else to the other parts of the held-out
    rows in turn. They see numbers as the model does (scaled; logarithms of positive columns and the like, with the Jacobian), angles cut
    open where there are fewest, and have their own parameters for every combination of categories with rows enough. Given conditions, it
    is p(row, conditions) / p(conditions).

    p is the chance of so large a lead of the density over the model if the model were as good: of the paired differences, one-sided.
    Only the best of the densities can raise the alarm, its p-value times their number.

    Raises:
        LeftOut: too few rows, or a constant column, which has no density.
    """
    given = case.likelihood
    if given is None or given.places is None:
        return []
    known, _ = finite_rows(given)
    if len(known.real) < FEWEST:
        raise LeftOut(f"{len(known.real)} rows with finite log-probability; classical densities want at least {FEWEST}")
    assert known.places is not None
    _refuse(known)
    made = [_beside(case, known, kind) for kind in _KINDS if _applies(kind, known.places)]
    best = int(np.argmin([gain for gain, _ in made]))
    rows = [row for _, row in made]
    rows[best] = rows[best].with_(alarm="low", corrected=min(1.0, len(rows) * rows[best].p))
    return rows


def _applies(kind: _Kind, rows: Places) -> bool:
    """Histograms are for at most two numbers; without any there are only the shares of the categories."""
    width = rows.points.shape[2] + rows.given.shape[1]
    return width <= 2 if kind.fit is mixed_densities.histogram else width > 0


def _refuse(known: Likelihood) -> None:
    rows = known.places
    assert rows is not None
    width = rows.points.shape[2] + rows.given.shape[1]
    count = len(known.others) if known.seen and known.others is not None else len(rows) + (0 if known.others is None else len(known.others))
    if count < 5 * width:
        raise LeftOut(f"{count} rows for {width} columns; classical densities want at least 5 rows per column")
    for one in (rows, known.others):
        if one is None or (one is rows and known.seen):
            continue
        x = mixed_densities.joint(one.to_fit())
        if len(one) and (x.std(axis=0) <= 1e-12 * np.abs(x).max(axis=0, initial=1e-300)).any():
            raise LeftOut("a column is constant, so it has no density")


def _beside(case: Case, known: Likelihood, kind: _Kind) -> tuple[float, Statistic]:
    """The model's lead over the density, and the density's statistic."""
    from scipy.special import ndtr

    rows = known.places
    assert rows is not None
    most = case.effort.kernel_rows
    picked = np.arange(len(rows))
    if kind.few[1] and len(rows) > (fitting := max(FEWEST, 4 * most // max(4, len(rows.points)))):
        picked = np.sort(case.generator(kind.name, "rows").permutation(len(rows))[:fitting])
    scores = _scores(case, known, kind, picked)
    real, weight = known.real[picked], None if known.weight is None else known.weight[picked]
    value, error = weighted_mean(scores, weight)
    gain, gain_error = weighted_mean(real - scores, weight)
    p = float(ndtr(gain / gain_error)) if gain_error > 0 else (1.0 if gain >= 0 else 0.0)
    how = f"{_folds(kind, len(rows), most)}-fold on the checked rows"
    if known.seen and known.others is not None:
        how = f"fitted to {min(most, len(known.others)) if kind.few[0] else len(known.others):,} rows of the training"
    bound = ", of which only a lower bound is known," if known.bound else ""
    note = (
        f"nats per row of {kind.words}, {how}; the model's mean{bound} is {plus_minus(gain, gain_error)} above; "
        f"p is small if the model is worse"
    )
    claim = (
        f"all columns: the model is worse than {kind.words}: its log_likelihood is {plus_minus(-gain, gain_error)} nats per row lower than "
        f"{kind.name}, {plus_minus(value, error)}"
    )
    return gain, Statistic(kind.name, "all columns", value, error, p=p, n=len(picked), note=note, claim=claim, alarm="never")


def _scores(case: Case, known: Likelihood, kind: _Kind, picked: NDArray[np.intp]) -> Floats:
    """``(n,)`` log-probability of the picked rows under the density, which has not seen the row that it judges."""
    rows, others, seed = known.places, known.others, case.seed & 0xFFFFFFFF
    assert rows is not None
    most = case.effort.kernel_rows if kind.few[0] else 0
    generator = case.generator(kind.name, "fit")
    judged = rows.at(picked)
    if known.seen and others is not None:
        return MixedDensity.fit(_thinned(others.to_fit(), most, generator), kind.fit, seed).log_prob(judged)
    fitted = rows.to_fit()
    folds = _folds(kind, len(rows), most)
    part = np.arange(len(rows)) % folds
    made = np.empty(len(picked))
    for k in range(folds):
        training = fitted.at(np.flatnonzero(part != k))
        training = training if others is None else training.joined(others.to_fit())
        mine = part[picked] == k
        if mine.any():
            made[mine] = MixedDensity.fit(_thinned(training, most, generator), kind.fit, seed).log_prob(judged.at(np.flatnonzero(mine)))
    return made


def _folds(kind: _Kind, rows: int, most: int) -> int:
    """Two where half the rows are plenty."""
    return 2 if rows >= 2 * max(most, _PLENTY) else kind.folds


def _thinned(rows: Places, most: int, generator: np.random.Generator) -> Places:
    if not most or len(rows) <= most:
        return rows
    return rows.at(np.sort(generator.permutation(len(rows))[:most]))
