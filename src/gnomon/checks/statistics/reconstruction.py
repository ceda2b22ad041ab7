"""How much of the data comes back through a model's code: the share of variance explained; for images also SSIM and PSNR.

How images are compared pair by pair stands in `measures.image_quality`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gnomon.checks.case import Case
from gnomon.checks.sides import Floats
from gnomon.checks.statistic import LeftOut, Statistic, plus_minus
from gnomon.checks.statistics.likelihood import weighted_mean
from gnomon.data import Categorical, Column, Periodic

FEWEST = 10


def reconstruction(case: Case) -> list[Statistic]:
    """Share of the variance explained by the reconstructions, the mean over columns (or over pixels by their variance).

    0 is what always answering the column's mean gets, 1 is perfect. Categories count as right or wrong against the most frequent one.

    Raises:
        LeftOut: fewer than 10 rows.
    """
    given = case.reconstruction
    if given is None:
        return []
    if len(given.real) < FEWEST:
        raise LeftOut(f"{len(given.real)} rows; reconstructions are judged from {FEWEST}")
    ours, constant = _losses(given.real, given.again, given.columns, given.weight)
    totals = np.array([weighted_mean(column, given.weight)[0] for column in constant.T])
    known = totals > 0
    if not known.any():
        raise LeftOut("every column is constant")
    if given.columns:
        scores = (ours[:, known] / totals[known]).mean(axis=1)
        unit = (constant[:, known] / totals[known]).mean(axis=1)
    else:
        scores, unit = ours.sum(axis=1) / totals.sum(), constant.sum(axis=1) / totals.sum()
    lost = weighted_mean(scores, given.weight)[0]
    error = weighted_mean(scores - lost * unit, given.weight)[1]
    p = _one_sided(1 - lost, error)
    made = Statistic(
        "reconstruction", "all columns", 1 - lost, error, 0.0, p=p, n=len(given.real), alarm="high",
        note="share of variance explained by reconstructions; null: always answering the mean; p is small if the model beats it",
    )  # fmt: skip
    claim = f"all columns: the reconstructions are no better than always answering the mean (reconstruction {plus_minus(1 - lost, error)})"
    return [made.with_(claim=claim)]


def ssim(case: Case) -> list[Statistic]:
    """Mean structural similarity of images and their reconstructions; the null is the mean image as constant answer."""
    from gnomon.checks.measures.image_quality import ssim as similarity

    return _image_quality(case, "ssim", lambda one, two, span: similarity(one, two, data_range=span), "1 is perfect")


def psnr(case: Case) -> list[Statistic]:
    """Mean peak signal-to-noise ratio of reconstructed images in decibels; the null is the mean image as constant answer."""
    from gnomon.checks.measures.image_quality import psnr as ratio

    return _image_quality(case, "psnr", lambda one, two, span: np.minimum(ratio(one, two, data_range=span), 100.0), "decibels, at most 100")


def _image_quality(case: Case, name: str, measure: Callable[[Floats, Floats, float], Floats], words: str) -> list[Statistic]:
    given = case.reconstruction
    if given is None or given.shape is None:
        return []
    if len(given.real) < FEWEST or not given.data_range > 0:
        raise LeftOut(f"{len(given.real)} images of range {given.data_range:g}; reconstructions are judged from {FEWEST}")
    images, again = (part.reshape(-1, *given.shape) for part in (given.real, given.again))
    centre = np.average(images, axis=0, weights=given.weight)
    value, error = weighted_mean(measure(images, again, given.data_range), given.weight)
    null, null_error = weighted_mean(measure(images, np.broadcast_to(centre, images.shape), given.data_range), given.weight)
    note = f"of images and their reconstructions, {words}; null: always answering the mean image"
    return [Statistic(name, "reconstructions", value, error, null, null_error, n=len(images), note=note, alarm="never")]


def _losses(real: Floats, again: Floats, columns: tuple[Column, ...], weight: Floats | None) -> tuple[Floats, Floats]:
    """Squared (for categories: 0-1) loss of the reconstructions and of the best constant, each ``(n, D)``."""
    ours, constant = np.square(real - again), np.empty_like(real)
    for i in range(real.shape[1]):
        support = columns[i].support if columns else None
        if isinstance(support, Categorical):
            counts = np.bincount(real[:, i].astype(np.intp), weights=weight)
            ours[:, i], constant[:, i] = real[:, i] != again[:, i], real[:, i] != counts.argmax()
        elif isinstance(support, Periodic):
            turns = np.exp(2j * np.pi * real[:, i] / support.period)
            centre = np.angle(np.average(turns, weights=weight)) * support.period / (2 * np.pi)
            ours[:, i], constant[:, i] = (np.square(_around(real[:, i] - other, support.period)) for other in (again[:, i], centre))
        else:
            constant[:, i] = np.square(real[:, i] - weighted_mean(real[:, i], weight)[0])
    return ours, constant


def _around(difference: Floats, period: float) -> Floats:
    return (difference + period / 2) % period - period / 2


def _one_sided(gain: float, error: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(-gain / error)) if error > 0 else (0.0 if gain > 0 else 1.0)
