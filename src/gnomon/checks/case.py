"""All that a statistic may look at: the two sides, the model's log-probabilities, its predictions, and how much work to do.

Parts that a check does not have are None; a statistic returns no rows where what it needs is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.effort import Effort
from gnomon.checks.sides import Floats, Sides
from gnomon.data import Column
from gnomon.data.seeds import mix

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Places:
    """Rows as points of the space in which classical densities are fitted: network space, or the user's units.

    Args:
        points: ``(k, n, D)`` numbers: k places spread evenly over each row's cell where columns hold whole numbers, else k = 1.
        log_det: ``(k, n)`` log |d points / d user's units|, and the log of the share that a place has in the mean over the cell.
        given: ``(n, G)`` conditions that are numbers.
        code: ``(n,)`` which combination of categories a row has.
        given_code: ``(n,)`` which combination of categories its condition has.
        codes: how many combinations of categories a row may have.
        weight: ``(n,)`` or None.
        fitted: ``(n, D)`` a place of each row, drawn at random in its cell, to which densities are fitted; None takes the only place.
    """

    points: Floats
    log_det: Floats
    given: Floats
    code: NDArray[np.intp]
    given_code: NDArray[np.intp]
    codes: int = 1
    weight: Floats | None = None
    fitted: Floats | None = None

    def __len__(self) -> int:
        return self.points.shape[1]

    @classmethod
    def of(cls, numbers: Floats, given: Floats | None = None, weight: Floats | None = None) -> Places:
        """Rows ``(n, D)`` of real numbers, in the user's units, under conditions ``(n, G)``."""
        rows = len(numbers)
        none = np.zeros(rows, dtype=np.intp)
        return cls(numbers[None], np.zeros((1, rows)), np.empty((rows, 0)) if given is None else given, none, none, 1, weight)

    def at(self, rows: NDArray[Any]) -> Places:
        """Some of the rows."""
        weight, fitted = (None if part is None else part[rows] for part in (self.weight, self.fitted))
        parts = (self.points[:, rows], self.log_det[:, rows], self.given[rows], self.code[rows], self.given_code[rows])
        return Places(*parts, self.codes, weight, fitted)

    def to_fit(self) -> Places:
        """The same rows, each at the one place to which densities are fitted."""
        points = self.points[:1] if self.fitted is None else self.fitted[None]
        return Places(points, np.zeros((1, len(self))), self.given, self.code, self.given_code, self.codes, self.weight)

    def joined(self, other: Places) -> Places:
        """These rows, then others of the same columns and as many places."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in ("points", "log_det", "given", "code", "given_code")]
        points, log_det, given, code, given_code = (np.concatenate(pair, axis=1 if i < 2 else 0) for i, pair in enumerate(pairs))
        weights = [np.ones(len(one)) if one.weight is None else one.weight for one in (self, other)]
        weight = None if self.weight is None and other.weight is None else np.concatenate(weights)
        return Places(points, log_det, given, code, given_code, self.codes, weight)


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Log-probabilities in nats, in the user's units.

    Args:
        real: ``(n,)`` of held-out rows; −inf where the model holds a row to be impossible.
        generated: ``(m,)`` of rows drawn from the model itself, or None.
        weight: ``(n,)`` weights of the held-out rows, or None.
        bound: whether these are lower bounds.
        paired: whether row i of both was drawn under the same condition.
        places: the held-out rows as points, if classical densities are meaningful beside the model, else None.
        others: further rows as points, one place each, to which classical densities are fitted, or None.
        seen: whether `others` are rows that the model was trained on; if not, the held-out rows are fitted to in turn as well.
        given: ``(n, G)`` conditions in the user's units, or None.
        given_columns: name and support of each condition.
        pixels: how many numbers one image has, if these are levels, else 0.
    """

    real: Floats
    generated: Floats | None = None
    weight: Floats | None = None
    bound: bool = False
    paired: bool = False
    places: Places | None = None
    others: Places | None = None
    seen: bool = False
    given: Floats | None = None
    given_columns: tuple[Column, ...] = ()
    pixels: int = 0


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
        shape: ``(channels, *size)`` of an image, None for a table.
        data_range: largest value less smallest one that a pixel can have; 0 for a table.
    """

    columns: tuple[Column, ...]
    real: Floats
    again: Floats
    weight: Floats | None = None
    shape: tuple[int, ...] | None = None
    data_range: float = 0.0


@dataclass(frozen=True, eq=False)
class Latent:
    """Held-out rows as the noise from which an exact density would draw them.

    Args:
        normal: ``(n, D)`` coordinates that are standard normal if the density is right.
        uniform: ``(n, C)`` coordinates that are uniform on [0, 1] if it is.
        weight: ``(n,)`` with mean 1, or None.
        inversion: ``(n,)`` how far a row comes back from its noise: the largest over its columns, in spreads of the column; or None.
    """

    normal: Floats
    uniform: Floats
    weight: Floats | None = None
    inversion: Floats | None = None


@dataclass(frozen=True, eq=False)
class Ranks:
    """Held-out rows among rows drawn under the same condition, for simulation-based calibration.

    Args:
        names: ``(D,)`` of the columns that are ranked.
        ranks: ``(n, D)`` how many of the drawn values lie below the held-out one, ties shared out at random: 0 … draws.
        draws: rows drawn per held-out row.
        distance_ranks: ``(n,)`` how many of the drawn rows lie nearer to a random reference point than the held-out row: 0 … draws.
        weight: ``(n,)`` with mean 1, or None.
        central_ranks: ``(n,)`` how many of the drawn rows lie nearer to their own centre than the held-out row does, or None.
    """

    names: tuple[str, ...]
    ranks: NDArray[np.intp]
    draws: int
    distance_ranks: NDArray[np.intp]
    weight: Floats | None = None
    central_ranks: NDArray[np.intp] | None = None


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
        chance: share that would be right by always naming the most frequent class.
        weights: of both sides, ``(n,)`` and ``(m,)`` with mean 1, or None.
        paired: whether row i of both sides has the same condition, so that under the null the two may be swapped.
    """

    target: str
    classes: tuple[Any, ...]
    real: Floats
    generated: Floats
    accuracy: float
    chance: float = 0.0
    weights: tuple[Floats | None, Floats | None] = (None, None)
    paired: bool = False
    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed at the first request only: what several statistics share."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


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
