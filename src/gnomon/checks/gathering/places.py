"""Rows as points at which classical densities can be fitted and evaluated: numbers in network space, with the Jacobian.

What is fitted there is the statistics' business.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnomon.checks.case import Places
from gnomon.checks.sides import Floats
from gnomon.data import Categorical, ConditionKind, Examples, Image, Periodic, Ragged, Scaling, Vector
from gnomon.data.seeds import generator
from gnomon.learned.units import offsets

PIXELS = 256
"""Classical densities are fitted to images of at most so many pixels."""

_POINTS = 16  # places in the cell of a row of whole numbers
_CODES = 2**31  # combinations of categories that can be told apart


def places_of(scaling: Scaling, raw: Examples, cuts: Floats, *, evaluated: bool) -> Places | None:
    """Raw examples as points, or None if they or their conditions are sets, images or texts, are large images, or lack a condition.

    Args:
        scaling: of the run.
        raw: examples in the user's units.
        cuts: ``(angles,)`` in network space, where each angle of x is cut open (see `emptiest`).
        evaluated: whether whole numbers get a place at each point of a lattice over their cell, beside a random one to be fitted to.
    """
    kind = scaling.spec.x
    if not isinstance(raw.x, Tensor) or not isinstance(kind, (Vector, Image)):
        return None
    if isinstance(kind, Image) and math.prod(kind.shape) > PIXELS:
        return None
    if raw.given is not None and not comparable(scaling.spec.given, raw.given):
        return None
    raw = raw.with_(y=None, weight=None)
    drawn = None
    if scaling.has_integers:
        drawn = _at(scaling, raw, scaling.noise(len(raw), generator("places", len(raw)), torch.device("cpu")), 0.0, cuts)
    lattice: list[tuple[Tensor | None, float]] = list(offsets(scaling, _POINTS)) if evaluated and drawn is not None else [(None, 0.0)]
    made = [_at(scaling, raw, u, log_share, cuts) for u, log_share in lattice]
    points, log_det = (np.stack([part[i] for part in made]) for i in range(2))
    x = raw.x
    assert isinstance(x, Tensor)
    code, codes = (np.zeros(len(raw), dtype=np.intp), 1) if isinstance(kind, Image) else _codes(kind, x)
    if raw.given is None or scaling.spec.given is None:
        given, given_code = np.empty((len(raw), 0)), np.zeros(len(raw), dtype=np.intp)
    else:
        assert isinstance(scaling.spec.given, Vector) and isinstance(raw.given, Tensor)
        given, given_code = _conditions(scaling, raw), _codes(scaling.spec.given, raw.given)[0]
    return None if codes > _CODES else Places(points, log_det, given, code, given_code, codes, fitted=None if drawn is None else drawn[0])


def comparable(kind: ConditionKind | None, given: Tensor | Ragged) -> bool:
    """Whether conditions can be compared as columns: they are columns, and none is absent."""
    return isinstance(kind, Vector) and isinstance(given, Tensor) and not bool(torch.isnan(given).any())


def emptiest(scaling: Scaling, raw: Examples) -> Floats:
    """``(angles,)`` for each angle of x the middle of its widest gap, in network space: where it can be cut with least harm."""
    kind = scaling.spec.x
    if not isinstance(kind, Vector) or not isinstance(raw.x, Tensor) or not len(raw):
        return np.empty(0)
    at = [i for i, column in enumerate(kind.columns) if isinstance(column.support, Periodic)]
    angles = scaling.forward(raw.with_(y=None, weight=None)).x
    assert isinstance(angles, Tensor)
    made = []
    for i in at:
        ordered = np.sort(angles[:, i].double().numpy())
        some = max(1, len(ordered) // 100)  # gaps between so many neighbours: not the accident of two rows
        after = np.concatenate([ordered[some:], ordered[:some] + 2 * np.pi])[: len(ordered)]
        widest = int((after - ordered).argmax())
        made.append((ordered[widest] + after[widest]) / 2)
    return np.array(made)


def _at(scaling: Scaling, raw: Examples, u: Tensor | None, log_share: float, cuts: Floats) -> tuple[Floats, Floats]:
    """Points ``(n, D)`` of the columns that are numbers, and the logarithm of the Jacobian ``(n,)``."""
    x = scaling.forward(raw).x if u is None else scaling.at(raw, u).x
    assert isinstance(x, Tensor)
    numbers = x.flatten(1).double().numpy()
    kind = scaling.spec.x
    if isinstance(kind, Vector):
        at = [i for i, column in enumerate(kind.columns) if isinstance(column.support, Periodic)]
        numbers[:, at] = cuts + np.mod(numbers[:, at] - cuts, 2 * np.pi)
        numbers = numbers[:, [not isinstance(column.support, Categorical) for column in kind.columns]]
    return numbers, scaling.log_det(raw, u).numpy() + log_share


def _conditions(scaling: Scaling, raw: Examples) -> Floats:
    """``(n, G)`` conditions that are numbers, in network space; angles as cosine and sine."""
    given = scaling.store(raw).given
    assert isinstance(given, Tensor) and isinstance(scaling.spec.given, Vector)
    parts: list[Floats] = []
    for column, values in zip(scaling.spec.given.columns, given.double().numpy().T, strict=True):
        if isinstance(column.support, Periodic):
            parts += [np.cos(values), np.sin(values)]
        elif not isinstance(column.support, Categorical):
            parts.append(values)
    return np.stack(parts, axis=1) if parts else np.empty((len(raw), 0))


def _codes(kind: Vector, values: Tensor) -> tuple[NDArray[np.intp], int]:
    """``(n,)`` which combination of the categorical columns' values each row has, and how many there may be."""
    made, count = np.zeros(len(values), dtype=np.intp), 1
    for column, codes in zip(kind.columns, values.double().numpy().T, strict=True):
        if isinstance(column.support, Categorical) and count <= _CODES:
            made = made * len(column.support.values) + codes.astype(np.intp)
            count *= max(1, len(column.support.values))
    return made, count
