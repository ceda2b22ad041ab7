"""Unfolding by classifiers: what was true, from what was measured, by reweighting simulated pairs of both.

Classifiers are fitted by `fit`; how simulated pairs are made, and whether unfolded ones are right, is left to the user and the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.data.seeds import mix
from gnomon.errors import DataError
from gnomon.options import whole
from gnomon.training.fit import fit

Floats = NDArray[np.float64]
Ratio = Callable[[ArrayLike], Floats]

LARGEST = 1e3
"""No ratio of densities is taken above it, or below its inverse: beyond, a few events would carry everything."""

_USUAL: dict[str, Any] = {"epochs": 15, "batch_size": 1000, "lr": 3e-3, "options": {"size": 0.5}}


@dataclass(frozen=True)
class Unfolded:
    """Weights under which simulated truth is distributed as the truth behind the measurement.

    Args:
        weight: ``(n,)`` one for each simulated pair, of mean 1: after the last iteration.
        history: ``(iterations, n)`` the same after each.
    """

    weight: Floats
    history: Floats

    @property
    def effective(self) -> float:
        """Effective number of simulated pairs, (Σw)² / Σw²."""
        return float(self.weight.sum() ** 2 / np.square(self.weight).sum())


def unfold(
    truth: ArrayLike,
    simulated: ArrayLike,
    measured: ArrayLike,
    *,
    iterations: int = 4,
    measured_weight: ArrayLike | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Unfolded:
    """OmniFold: unfold a measurement without bins, in any number of columns.

    Each iteration first weighs simulated measurements so that they look like the real ones, then makes the weight a function of the
    simulated truth alone; both by the ratio of densities that a classifier learns. It is expectation maximisation for the truth, which
    begins at the simulation's and comes closer with every iteration; many iterations also follow the noise. Only shapes are unfolded
    (weights have mean 1), and every pair must have been measured: there is no efficiency to be corrected.

    Args:
        truth: ``(n, D)`` what was simulated.
        simulated: ``(n, M)`` how the same events were measured.
        measured: ``(m, M)`` the real measurements.
        iterations: from 1.
        measured_weight: ``(m,)`` weights of real measurements (background may be taken off by negative ones), or None.
        seed: of all fits.
        settings: arguments of `gnomon.fit` for the classifiers, in place of the usual ones.

    Raises:
        DataError: the arrays do not belong together.

    Reference: Andreassen et al. 2020, https://arxiv.org/abs/1911.09107

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth, real = rng.normal(-0.5, 1, (4000, 1)), rng.normal(0, 1, (4000, 1))
        >>> simulated, measured = (events + 0.5 * rng.normal(size=(4000, 1)) for events in (truth, real))
        >>> unfolded = unfold(truth, simulated, measured, iterations=2)
        >>> abs(float((unfolded.weight * truth[:, 0]).mean())) < 0.1
        True
    """
    truth, simulated, measured = _rows(truth, "truth"), _rows(simulated, "simulated"), _rows(measured, "measured")
    if len(truth) != len(simulated):
        raise DataError(f"truth and simulated are pairs and must have as many rows; got {len(truth)} and {len(simulated)}")
    if simulated.shape[1] != measured.shape[1]:
        raise DataError(f"simulated and measured must have the same columns; got {simulated.shape[1]} and {measured.shape[1]}")
    weight = np.ones(len(truth))
    history = []
    for turn in range(whole(iterations, "iterations", least=1)):
        weights = {"numerator_weight": measured_weight, "denominator_weight": weight}
        looks = density_ratio(measured, simulated, **weights, seed=mix("measured", seed, turn), settings=settings)
        pulled = _to_mean_one(weight * looks(simulated))
        weight = _to_mean_one(density_ratio(truth, truth, numerator_weight=pulled, seed=mix("truth", seed, turn), settings=settings)(truth))
        history.append(weight)
    return Unfolded(weight, np.stack(history))


def density_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    *,
    numerator_weight: ArrayLike | None = None,
    denominator_weight: ArrayLike | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Ratio:
    """The ratio of two densities as a function of rows, learned by a classifier that tells draws of one from those of the other.

    Args:
        numerator: ``(n, D)`` draws of the density above the line.
        denominator: ``(m, D)`` draws of the one below.
        numerator_weight, denominator_weight: one for each draw, or None; each side is scaled to the same total.
        seed: of the fit.
        settings: arguments of `gnomon.fit` for the classifier, in place of the usual ones.

    Returns:
        ``(k, D)`` to the ratio ``(k,)``, from 1e-3 to 1e3.

    Raises:
        DataError: the two have different columns, or weights that do not belong to them or do not sum to more than 0.

    Reference: Cranmer, Pavez & Louppe 2015, https://arxiv.org/abs/1506.02169

    Example:
        >>> rng = np.random.default_rng(0)
        >>> ratio = density_ratio(rng.normal(1, 1, (4000, 1)), rng.normal(0, 1, (4000, 1)))
        >>> bool(abs(np.log(ratio([[0.5]]))[0]) < 0.1)  # where both densities are the same
        True
    """
    above, below = _rows(numerator, "numerator"), _rows(denominator, "denominator")
    if above.shape[1] != below.shape[1]:
        raise DataError(f"numerator and denominator must have the same columns; got {above.shape[1]} and {below.shape[1]}")
    weight = np.concatenate([_weights(numerator_weight, len(above), "numerator"), _weights(denominator_weight, len(below), "denominator")])
    data = {"x": np.concatenate([above, below]), "y": np.repeat([1, 0], [len(above), len(below)]), "weight": weight}
    learned = fit("classifier", data, seed=seed, progress=False, **{**_USUAL, **(settings or {})})

    def ratio(rows: ArrayLike) -> Floats:
        chance = learned.predict({"x": _rows(rows, "rows")}, proba=True)
        return np.clip(chance[:, 1] / np.maximum(chance[:, 0], 1 / LARGEST**2), 1 / LARGEST, LARGEST)

    return ratio


def _rows(values: ArrayLike, name: str) -> Floats:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or not len(rows) or not rows.shape[1]:
        raise DataError(f"{name} wants rows and columns, an array (n, D); got shape {rows.shape}")
    return rows


def _weights(weight: ArrayLike | None, rows: int, name: str) -> Floats:
    """Weights of one side, of mean 1 when both sides have as many rows: each side in all weighs as much as the other."""
    given = np.ones(rows) if weight is None else np.asarray(weight, dtype=np.float64)
    if given.shape != (rows,):
        raise DataError(f"{name} has {rows} rows and wants as many weights; got shape {given.shape}")
    if not given.sum() > 0:
        raise DataError(f"the weights of {name} sum to {given.sum():.4g}; they must sum to more than 0")
    return given * (1e4 / given.sum())


def _to_mean_one(weight: Floats) -> Floats:
    return weight / weight.mean()
