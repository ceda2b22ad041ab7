"""Data in which a column tells the anomalies: those rows, all the others, and what a model's anomaly score says of both.

The others are what the rest of the check looks at; how well the scores part the two is judged in `statistics.anomalies`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gnomon.checks.case import Anomalies
from gnomon.checks.effort import Effort
from gnomon.checks.gathering.sources import thinned
from gnomon.data import Categorical, Examples, Label, Spec, Vector, prepare, read
from gnomon.errors import AbilityError, DataError
from gnomon.learned import Learned
from gnomon.learned.anomaly import By


@dataclass(frozen=True, eq=False)
class Parted:
    """A table in two parts.

    Args:
        usual: rows that are no anomalies.
        strange: the anomalies.
        note: which value of the column was taken for an anomaly.
    """

    usual: pa.Table
    strange: pa.Table
    note: str


def parted(learned: Learned, data: Any, column: str) -> Parted:
    """The data in two parts, by a column as `truth_of` reads it.

    Args:
        learned: the fitted model.
        data: a table, or what is read as one.
        column: its name.
    """
    table, mask, note = truth_of(learned, data, column)
    return Parted(table.filter(pa.array(~mask)), table.filter(pa.array(mask)), note)


def truth_of(learned: Learned, data: Any, column: str) -> tuple[pa.Table, NDArray[np.bool_], str]:
    """Which rows are anomalies, by a column of booleans, of 0 and 1, or of two values of which the rarer marks them.

    Args:
        learned: the fitted model, which must not have seen the column.
        data: a table, or what is read as one.
        column: its name.

    Returns:
        the data as a table, ``(n,)`` True for an anomaly, and which value was taken for one.

    Raises:
        AbilityError: the model has no anomaly score.
        DataError: there is no such column, the model learned about it, or it does not tell two sorts of rows.
    """
    if "score" not in learned.abilities:
        raise AbilityError(f"{learned.name} has no anomaly score, so anomaly='{column}' cannot be judged; it can: {_can(learned)}")
    table = getattr(read(data, types=_texts(learned.spec)), "columns", None)
    if table is None:
        raise DataError(f"anomaly='{column}' names a column, but the data are arrays; pass a table or a dict of columns")
    if column not in table.column_names:
        raise DataError(f"the data has no column '{column}' that could tell the anomalies; it has: {', '.join(table.column_names[:8])}")
    if column in _seen(learned.spec):
        raise DataError(f"the model learned about column '{column}', so it cannot tell which rows are strange to it; name another column")
    return table, *_anomalous(table[column], column)


def anomalies_of(
    learned: Learned, usual: Examples, parts: Parted, effort: Effort, seed: int, *, absent: bool, by: By | None = None
) -> tuple[Anomalies, list[str]]:
    """Anomaly scores of both parts, and notes for the report.

    Of very many rows, some are drawn at random from each part, and weighted so that the share of anomalies stays what it was.

    Args:
        learned: the fitted model.
        usual: the rows that are no anomalies, as raw examples.
        parts: what `parted` gave.
        effort: its `model_rows` bound both parts together.
        seed: of the drawing.
        absent: whether conditions may be missing.
        by: how strangeness is told, as `Learned.score` takes it.
    """
    found = prepare(parts.strange, spec=learned.spec, missing="drop", absent=absent)
    notes = [parts.note + ("" if by is None else f"; strangeness is told by {by}"), *(f"anomalies: {notice}" for notice in found.notices)]
    both = (usual, found.raw)
    slow = by in (None, "bound") and "log_prob" not in learned.abilities and "log_prob_bound" in learned.abilities
    most = effort.model_rows // (8 if slow else 1)
    shown = [thinned(part, max(most // 2, most - len(other)), seed, "anomalies") for part, other in zip(both, both[::-1], strict=True)]
    scores = np.concatenate([np.asarray(learned.score(part, by=by), dtype=np.float64) for part in shown])
    truth = np.repeat([False, True], [len(part) for part in shown])
    weight = [_weight(part, len(whole) / len(part)) for part, whole in zip(shown, both, strict=True)]
    fewer = [part.weight is not None or len(part) < len(whole) for part, whole in zip(shown, both, strict=True)]
    for part, whole, name in zip(shown, both, ("other rows", "anomalies"), strict=True):
        if len(part) < len(whole):
            notes.append(f"{len(part):,} of {len(whole):,} {name} are scored, drawn at random and weighted accordingly")
    together = np.concatenate(weight)
    return Anomalies(scores, truth, together * (len(together) / together.sum()) if any(fewer) else None), notes


def _weight(part: Examples, factor: float) -> NDArray[np.float64]:
    own = np.ones(len(part)) if part.weight is None else part.weight.double().numpy()
    return own * factor


def _anomalous(values: pa.ChunkedArray, column: str) -> tuple[NDArray[np.bool_], str]:
    """Which rows are anomalies, and how that was read from the column."""
    if values.null_count:
        raise DataError(f"column '{column}' holds {values.null_count} missing values; each row must be an anomaly or not")
    encoded = values.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    words, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
    if len(words) != 2:
        shown = ", ".join(repr(word) for word in words[:5])
        raise DataError(f"column '{column}' must hold two values, of anomalies and of other rows; it holds {len(words)}: {shown}")
    if set(words) == {0, 1}:  # booleans too
        return codes == words.index(1), f"anomalies are the rows with {column} = {words[words.index(1)]}"
    counts = np.bincount(codes, minlength=2)
    if counts[0] == counts[1]:
        raise DataError(
            f"column '{column}' holds as many {words[0]!r} as {words[1]!r}, so it is not told which are anomalies; write 0 and 1"
        )
    rarer = int(counts.argmin())
    return codes == rarer, f"anomalies are the rows with {column} = {words[rarer]!r}, the rarer of its two values ({counts[rarer]:,} rows)"


def _seen(spec: Spec) -> set[str]:
    """Names of the columns that a model learned about."""
    kinds = (spec.x, spec.y, spec.given)
    names = {name for kind in kinds if isinstance(kind, Vector) for name in kind.names}
    return names | {kind.name for kind in kinds if isinstance(kind, Label)} | ({spec.weight} if spec.weight else set())


def _texts(spec: Spec) -> dict[str, pa.DataType]:
    """Columns that were texts in training are read as texts."""
    listed = [column for kind in (spec.x, spec.y, spec.given) if isinstance(kind, Vector) for column in kind.columns]
    found = [c.name for c in listed if isinstance(c.support, Categorical) and c.support.values and isinstance(c.support.values[0], str)]
    return {name: pa.string() for name in found}


def _can(learned: Learned) -> str:
    return ", ".join(learned.abilities) or "nothing"
