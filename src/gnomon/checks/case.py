"""All that a statistic may look at: the two sides, the model's log-probabilities, its predictions, and how much work to do.

Parts that a check does not have are None; a statistic returns no rows where what it needs is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.effort import Effort
from gnomon.checks.sides import Floats, Sides
from gnomon.data import Column
from gnomon.data.seeds import mix


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Log-probabilities in nats, in the user's units.

    Args:
        real: ``(n,)`` of held-out rows; −inf where the model holds a row to be impossible.
        generated: ``(m,)`` of rows drawn from the model itself, or None.
        weight: ``(n,)`` weights of the held-out rows, or None.
        bound: whether these are lower bounds.
        paired: whether row i of both was drawn under the same condition.
        numbers: ``(n, D)`` the rows themselves if a Gaussian is a meaningful baseline for them, else None.
        given: ``(n, G)`` their conditions, or None.
        others: ``(m, D + G)`` further rows with their conditions, to which the Gaussian is fitted too, or None.
        lattice: ``(D,)`` whether each column holds whole numbers.
    """

    real: Floats
    generated: Floats | None = None
    weight: Floats | None = None
    bound: bool = False
    paired: bool = False
    numbers: Floats | None = None
    given: Floats | None = None
    others: Floats | None = None
    lattice: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of a classifier or a regressor beside the truth.

    Args:
        target: name of the target.
        truth: ``(n,)`` class codes, or numbers.
        mean: ``(n,)`` predicted numbers, or None for a classifier.
        spread: ``(n,)`` predicted standard deviations, or None.
        probability: ``(n, classes)``, or None for a regressor.
        classes: the user's names of the classes.
        weight: ``(n,)`` weights with mean 1, or None.
    """

    target: str
    truth: NDArray[Any]
    mean: Floats | None = None
    spread: Floats | None = None
    probability: Floats | None = None
    classes: tuple[Any, ...] = ()
    weight: Floats | None = None


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Rows beside what the model makes of them through its code.

    Args:
        columns: of a table; empty for images.
        real: ``(n, D)`` the rows.
        again: ``(n, D)`` as reconstructed.
        weight: ``(n,)`` or None.
    """

    columns: tuple[Column, ...]
    real: Floats
    again: Floats
    weight: Floats | None = None


@dataclass(frozen=True, eq=False)
class Latent:
    """Held-out rows as the noise from which an exact density would draw them.

    Args:
        normal: ``(n, D)`` coordinates that are standard normal if the density is right.
        uniform: ``(n, C)`` coordinates that are uniform on [0, 1] if it is.
        weight: ``(n,)`` with mean 1, or None.
    """

    normal: Floats
    uniform: Floats
    weight: Floats | None = None


@dataclass(frozen=True, eq=False)
class Ranks:
    """Held-out rows among rows drawn under the same condition, for simulation-based calibration.

    Args:
        names: ``(D,)`` of the columns that are ranked.
        ranks: ``(n, D)`` how many of the drawn values lie below the held-out one, ties shared out at random: 0 … draws.
        draws: rows drawn per held-out row.
        distance_ranks: ``(n,)`` how many of the drawn rows lie nearer to a random reference point than the held-out row: 0 … draws.
        weight: ``(n,)`` with mean 1, or None.
    """

    names: tuple[str, ...]
    ranks: NDArray[np.intp]
    draws: int
    distance_ranks: NDArray[np.intp]
    weight: Floats | None = None


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Anomaly scores beside the truth.

    Args:
        scores: ``(n,)`` larger is stranger.
        truth: ``(n,)`` whether the row is an anomaly.
        weight: ``(n,)`` with mean 1, or None.
    """

    scores: Floats
    truth: NDArray[np.bool_]
    weight: Floats | None = None


@dataclass(frozen=True, eq=False)
class Labelled:
    """Class probabilities that a classifier, trained on the user's labels, gives to rows of both sides.

    Args:
        target: name of the label.
        classes: the user's names of the classes.
        real: ``(n, classes)`` on real rows it was not trained on.
        generated: ``(m, classes)``.
        accuracy: share of those real rows that it gets right.
        weights: of both sides, ``(n,)`` and ``(m,)`` with mean 1, or None.
    """

    target: str
    classes: tuple[Any, ...]
    real: Floats
    generated: Floats
    accuracy: float
    weights: tuple[Floats | None, Floats | None] = (None, None)


@dataclass(frozen=True, eq=False)
class Case:
    """What is judged.

    Args:
        sides: real and generated rows, or None if nothing was generated.
        likelihood: log-probabilities, or None.
        predictions: one entry per predicted target; empty if the model does not predict.
        reconstruction: rows and their reconstructions, or None.
        latent: held-out rows as noise, or None.
        ranks: held-out rows among rows drawn under their condition, or None.
        anomalies: anomaly scores with known truth, or None.
        labelled: class probabilities of both sides, or None.
        effort: sizes to keep to.
        seed: of every random choice.
        pictures: what statistics leave for the figures of the report, by name.
    """

    sides: Sides | None = None
    likelihood: Likelihood | None = None
    predictions: tuple[Predictions, ...] = ()
    reconstruction: Reconstruction | None = None
    latent: Latent | None = None
    ranks: Ranks | None = None
    anomalies: Anomalies | None = None
    labelled: Labelled | None = None
    effort: Effort = Effort()
    seed: int = 0
    pictures: dict[str, Any] = field(default_factory=dict, repr=False)

    def generator(self, *name: str | int) -> np.random.Generator:
        """A fresh stream of chance that belongs to `name` and the seed alone."""
        return np.random.default_rng([mix("check", self.seed, *name), self.seed & 0xFFFFFFFF])
