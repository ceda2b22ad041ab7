"""Many rows drawn under the condition of each held-out row, and where that row lies among them.

How rows are drawn is `Learned`'s business; whether the ranks are what they should be is judged by `statistics.simulation`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gnomon.blocks import ColumnFeatures, segment_mean
from gnomon.checks.case import Ranks
from gnomon.checks.effort import Effort
from gnomon.checks.measures.simulation import distance_ranks, sbc_ranks
from gnomon.checks.sides import Floats
from gnomon.data import Categorical, Examples, Image, Periodic, Ragged, Scaling, Set, Spec, Vector, prepare
from gnomon.data.seeds import mix
from gnomon.learned import Learned
from gnomon.learned.conditions import Encoded

DRAWS = 63
"""Rows drawn under the condition of each held-out row: ranks then run over 64 values."""

FEWEST = 100
"""Fewer held-out rows are not ranked."""

_PER_ROW = 4  # so many rows are drawn for every one whose log-probability would be taken
_NUMBERS = 500  # likewise so many numbers: images are large
_AT_ONCE = 16_384  # rows drawn together
_COARSE = 4  # pixels along each side of an image by which conditions are called near


def ranks_of(learned: Learned, raw: Examples, effort: Effort, seed: int, notes: list[str]) -> Ranks | None:
    """Held-out rows among rows drawn under their own condition; None where rows cannot be drawn under conditions.

    Half the reference points are rows that the model drew under the condition of another row. The others are held-out rows of nearly the
    same condition that are not ranked themselves, where there are enough: only points that know the condition betray a model that
    ignores it. Neither kind depends on the row that is ranked.

    Args:
        learned: the fitted model.
        raw: held-out rows in the user's units.
        effort: its `model_rows`.
        seed: of the choice of rows, and of drawing.
        notes: how many rows were ranked is added here.
    """
    kind = learned.spec.x
    if "sample" not in learned.abilities or learned.spec.given is None or raw.given is None or not isinstance(raw.x, Tensor):
        return None
    if not isinstance(kind, (Vector, Image)) or (isinstance(raw.given, Tensor) and bool(torch.isnan(raw.given).any())):
        return None
    largest = max(math.prod(one.shape) for one in (kind, learned.spec.given) if isinstance(one, (Vector, Image)))
    affordable = effort.model_rows * min(_PER_ROW, _NUMBERS / largest)
    rows = min(len(raw), int(affordable) // DRAWS)
    if rows < FEWEST:
        notes.append(f"sbc and tarp are left out: {rows} rows; ranks want at least {FEWEST}")
        return None
    order = torch.randperm(len(raw), generator=torch.Generator().manual_seed(mix("ranks", seed)))
    picked, rest = raw[order[:rows].sort().values], raw[order[rows:]]
    notes.append(f"sbc and tarp: {DRAWS} rows drawn under the condition of each of {rows:,} held-out rows")
    generator = np.random.default_rng([mix("ranks", seed), seed & 0xFFFFFFFF])
    references = _references(learned, picked, rest, seed, generator)
    parts = []
    step = max(1, _AT_ONCE // DRAWS)
    for start in range(0, rows, step):
        part = picked[start : start + step]
        drawn = _drawn(learned, part, DRAWS, mix("ranks", seed, start))
        parts.append(_ranked(learned.scaling, part, drawn, references[start : start + step], generator))
    columns, distances, central = (np.concatenate(made) for made in zip(*parts, strict=True))
    weight = None if picked.weight is None else picked.weight.double().numpy()
    weight = None if weight is None else weight * (len(weight) / weight.sum())
    return Ranks(_names(kind), columns, DRAWS, distances, weight, central)


def _drawn(learned: Learned, part: Examples, draws: int, seed: int) -> Tensor:
    """``(rows * draws, *x)`` in the user's units, those of one condition together."""
    assert part.given is not None
    repeated = part.given[torch.arange(len(part)).repeat_interleave(draws)]
    made = prepare(learned.sample(len(repeated), given=Encoded(repeated), seed=seed), spec=Spec(learned.spec.x), roles=("x",)).raw.x
    assert isinstance(made, Tensor)
    return made


def _references(learned: Learned, picked: Examples, rest: Examples, seed: int, generator: np.random.Generator) -> Floats:
    """``(rows, F)`` a point for each picked row that may know its condition, but not the row."""
    other = picked[torch.from_numpy(generator.permutation(len(picked)))]
    points = _points(learned.scaling, _drawn(learned, other, 1, mix("references", seed)))
    if len(rest) < FEWEST:
        return points
    from scipy.spatial import cKDTree

    odd = np.arange(1, len(picked), 2)
    near = cKDTree(_conditions(learned.scaling, rest)).query(_conditions(learned.scaling, picked)[odd])[1]
    assert isinstance(rest.x, Tensor)
    points[odd] = _points(learned.scaling, rest.x[torch.from_numpy(near)])
    return points


def _ranked(
    scaling: Scaling, part: Examples, drawn: Tensor, references: Floats, generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Ranks of each row: by column, by the distance from its reference point, and by the distance from the centre of all."""
    assert isinstance(part.x, Tensor)
    rows = len(part)
    truth = _ranked_columns(scaling.spec.x, part.x)
    columns = sbc_ranks(truth, _ranked_columns(scaling.spec.x, drawn).reshape(rows, -1, truth.shape[1]), generator)
    points = _points(scaling, part.x)
    samples = _points(scaling, drawn).reshape(rows, -1, points.shape[1])
    centre = (points + samples.sum(axis=1)) / (samples.shape[1] + 1)  # of all, so that it favours neither
    return columns, distance_ranks(points, samples, references, generator), distance_ranks(points, samples, centre, generator)


def _ranked_columns(kind: object, x: Tensor) -> Floats:
    """``(n, D)`` the columns that have an order; of images their mean and their contrast."""
    if isinstance(kind, Image):
        flat = x.flatten(1).double()
        return torch.stack([flat.mean(1), flat.std(1, correction=0)], 1).numpy()
    assert isinstance(kind, Vector)
    return x.double().numpy()[:, [not isinstance(column.support, Categorical) for column in kind.columns]]


def _names(kind: Vector | Image) -> tuple[str, ...]:
    if isinstance(kind, Image):
        return ("mean intensity", "contrast")
    return tuple(column.name for column in kind.columns if not isinstance(column.support, Categorical))


def _points(scaling: Scaling, x: Tensor) -> Floats:
    """``(n, F)`` rows as points between which distances mean something: network space, angles and categories on circles and corners."""
    made = scaling.forward(Examples(x)).x
    assert isinstance(made, Tensor)
    return _unfolded(scaling.spec.x, made.flatten(1).double().numpy())


def _conditions(scaling: Scaling, raw: Examples) -> Floats:
    """``(n, F)`` conditions as such points: of images a few coarse pixels, of sets means, spreads and the number of their elements."""
    kind, given = scaling.spec.given, scaling.store(raw).given
    if isinstance(given, Ragged):
        assert isinstance(kind, Set)
        features, rows, count = ColumnFeatures(kind.of)(given.values), given.rows(), len(given)
        mean = segment_mean(features, rows, count)
        spread = segment_mean((features - mean[rows]).square(), rows, count).sqrt()
        return torch.cat([mean, spread, given.lengths[:, None].float().log1p()], 1).double().numpy()
    assert given is not None
    if isinstance(kind, Image):
        pool: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[kind.dimension - 1]
        given = pool(given, tuple(min(extent, _COARSE) for extent in kind.size)).flatten(1)
    return _unfolded(kind, given.double().numpy())


def _unfolded(kind: object, values: Floats) -> Floats:
    if not isinstance(kind, Vector):
        return values
    parts: list[Floats] = []
    for column, one in zip(kind.columns, values.T, strict=True):
        if isinstance(column.support, Periodic):
            parts += [np.cos(one), np.sin(one)]
        elif isinstance(column.support, Categorical):
            parts += [np.where(one == k, np.sqrt(0.5), 0.0) for k in range(len(column.support.values))]
        else:
            parts.append(one)
    return np.stack(parts, axis=1)
