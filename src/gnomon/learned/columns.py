"""Some columns known, others asked for: marginals, completions and quantiles of densities that tell them exactly, in the user's units.

Which columns a density can part from the others is the model's matter (see `TriangularFlow`, `MixtureDensity`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnomon.data import Examples, Integer, Ragged, Vector, read
from gnomon.errors import AbilityError, DataError, OptionError
from gnomon.learned.conditions import encode_conditions
from gnomon.learned.learned import Learned
from gnomon.learned.units import offsets
from gnomon.options import unknown, whole

Floats = NDArray[np.float64]


def complete(learned: Learned, known: Any, n: int | None = None, *, given: Any = None, seed: int = 0) -> Any:
    """Rows whose known columns stay, all others drawn from their density given these.

    Args:
        learned: fitted with a model that can part columns, "triangular_flow" or "mixture_density".
        known: a dict of scalars or arrays by column name, or a table.
        n: how many rows, where `known` holds scalars alone; one if None.
        given: the condition, as for `Learned.sample`.
        seed: the same seed gives the same rows.

    Returns:
        What `Learned.sample` returns.

    Raises:
        AbilityError: the model cannot part columns.
        OptionError: an unknown column, or columns that this model cannot part from the others.
        DataError: a known value lies outside its column's support.

    Example:
        >>> import gnomon
        >>> x = np.random.default_rng(0).normal(size=1000)
        >>> learned = gnomon.fit("mixture_density", {"x": x, "y": 2 * x + 0.1}, epochs=2, progress=False)
        >>> complete(learned, {"x": [1.0, 2.0]}).column("x").to_pylist()
        [1.0, 2.0]
    """
    names, raw = _laid_out(learned, "complete", known, n, given)
    places = _places(learned, names)
    _refuse_outside(learned, raw, places)

    def work(part: Examples) -> tuple[Tensor]:
        batch = _blank(learned, part)
        made = learned.scaling.inverse("x", _model(learned).complete(batch.x, names, batch.given))
        assert isinstance(made, Tensor) and isinstance(part.x, Tensor)
        return (made.index_copy(1, places, part.x[:, places]),)

    (x,) = learned._each(work, raw, seed=("complete", whole(seed, "seed")))
    return learned._in_users_units(x, raw.given)


def quantile(learned: Learned, p: Sequence[float], column: str, known: Any = None, n: int | None = None, *, given: Any = None) -> Floats:
    """Where one column reaches the probabilities `p`, in each row given its known columns.

    Args:
        learned: as for `complete`.
        p: probabilities between 0 and 1.
        column: name of a column of numbers.
        known: a dict of scalars or arrays by column name, a table, or None.
        n: how many rows, where neither `known` nor `given` holds arrays; one if None.
        given: the condition, as for `Learned.sample`.

    Returns:
        float64 ``(n, len(p))`` in the user's units.

    Raises:
        AbilityError, OptionError, DataError: as `complete`; also for a column that is known or has no quantiles.
    """
    levels = [float(level) for level in p]
    if not levels or not all(0 < level < 1 for level in levels):
        raise OptionError(f"p wants probabilities between 0 and 1, both excluded; got {levels}")
    names, raw = _laid_out(learned, "quantile", {} if known is None else known, n, given)
    _refuse_outside(learned, raw, _places(learned, names))
    (place,) = _places(learned, [column]).tolist()

    def work(part: Examples) -> tuple[Tensor]:
        batch = _blank(learned, part)
        z = _model(learned).quantile(levels, column, batch.x, names, batch.given)
        whole_rows = [torch.zeros_like(batch.x).index_copy(1, torch.tensor([place]), at[:, None]) for at in z.unbind(1)]  # type: ignore[arg-type]
        return (torch.stack([_tensor(learned.scaling.inverse("x", rows))[:, place].double() for rows in whole_rows], 1),)

    return np.asarray(learned._each(work, raw)[0].numpy())  # type: ignore[union-attr]


def marginal_log_prob(learned: Learned, data: Any, *, given: Any = None) -> Floats:
    """Log-density of the columns that `data` has, all others integrated out.

    Args:
        learned: as for `complete`.
        data: a dict of arrays by column name, or a table.
        given: the condition, as for `Learned.sample`.

    Returns:
        float64 ``(n,)`` in nats, in the user's units (of probability where columns are whole numbers); −inf outside the support.

    Raises:
        AbilityError, OptionError: as `complete`.
    """
    names, raw = _laid_out(learned, "marginal_log_prob", data, None, given)
    if not names:
        raise OptionError(f"data names no column; name one or more of {', '.join(_kind(learned).names)}")
    places = _places(learned, names)
    integers = [place for place in places.tolist() if isinstance(_kind(learned).columns[place].support, Integer)]
    points = offsets(learned.scaling) if integers else [(None, 0.0)]

    def work(part: Examples) -> tuple[Tensor]:
        outside = _outside(learned, part, places).any(1)
        each = []
        for u, log_weight in points:
            batch = _blank(learned, part, u)
            told = _model(learned).marginal_log_prob(batch, names).cpu().double()
            each.append(told + _log_derivative(learned, part, u)[:, places].sum(1) + log_weight)
        return (torch.stack(each).logsumexp(0).masked_fill(outside, -math.inf),)

    return np.asarray(learned._each(work, raw)[0].numpy())  # type: ignore[union-attr]


def _laid_out(learned: Learned, ability: str, known: Any, n: int | None, given: Any) -> tuple[list[str], Examples]:
    """Names of the known columns, and raw examples that are NaN in all others."""
    if not callable(getattr(learned.model, ability, None)):
        raise AbilityError(
            f"{learned.name} cannot part columns from each other, so it has no {ability.replace('_', ' ')}; "
            "fit 'triangular_flow' or 'mixture_density'"
        )
    kind = _kind(learned)
    if not isinstance(known, Mapping):
        table = getattr(read(known), "columns", None)
        if table is None:
            raise DataError("known columns want names; pass a dict of column name to values, or a table")
        known = {name: table.column(name).to_pylist() for name in table.column_names}
    for name in known:
        if name not in kind.names:
            raise OptionError(unknown("column", str(name), kind.names))
    if n is None:
        listed = [*known.values(), *(given.values() if isinstance(given, Mapping) else [] if given is None else [given])]
        lengths = [len(values) for values in listed if hasattr(values, "__len__") and not isinstance(values, str)]
        n = max(lengths, default=1)
    n = whole(n, "n", least=1)
    x = encode_conditions(kind, known, n, absent=True)
    assert isinstance(x, Tensor)
    return list(known), Examples(x, given=encode_conditions(learned.spec.given, given, n, absent=learned._may_be_absent))


def _kind(learned: Learned) -> Vector:
    assert isinstance(learned.spec.x, Vector)
    return learned.spec.x


def _model(learned: Learned) -> Any:
    return learned.model


def _places(learned: Learned, names: Sequence[str]) -> Tensor:
    names_of = _kind(learned).names
    for name in names:
        if name not in names_of:
            raise OptionError(unknown("column", name, names_of))
    return torch.tensor([names_of.index(name) for name in names], dtype=torch.int64)


def _blank(learned: Learned, part: Examples, u: Tensor | None = None) -> Examples:
    """A chunk in network space on the model's device, with zero where nothing is known; whole numbers at k + u (1/2 if None)."""
    batch = learned.scaling.forward(part) if u is None else learned.scaling.at(part, u)
    return batch.with_(x=_tensor(batch.x).nan_to_num(nan=0.0)).to(learned.model.device)


def _outside(learned: Learned, part: Examples, places: Tensor) -> Tensor:
    entry: Any = learned.scaling.maps["x"]
    return entry.outside(part.x)[:, places]


def _refuse_outside(learned: Learned, raw: Examples, places: Tensor) -> None:
    bad = torch.nonzero(_outside(learned, raw, places))
    if len(bad):
        row, i = bad[0].tolist()
        column = _kind(learned).columns[int(places[i])]
        value = float(_tensor(raw.x)[row, places[i]])
        raise DataError(
            f"known column '{column.name}' is {column.support.name} but holds {value:g} (row {row + 1}); give a value it can have"
        )


def _log_derivative(learned: Learned, part: Examples, u: Tensor | None) -> Tensor:
    """log |dz/dx| of each column, float64 ``(n, columns)``."""
    entry: Any = learned.scaling.maps["x"]
    x = _tensor(part.x).double()
    if u is not None:
        x = x.index_copy(1, entry.integers, x[:, entry.integers] + u.double())
    return entry.log_derivative(x)


def _tensor(values: Tensor | Ragged) -> Tensor:
    assert isinstance(values, Tensor)
    return values
