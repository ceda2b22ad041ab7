"""Texts as sequences of symbols: the vocabulary learned from them, their codes laid end to end, and back.

Where a text is cut is said by a rule with a name; the rule for molecules stands in `smiles`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gnomon.data import smiles
from gnomon.data.encoding.vectors import Part, demand
from gnomon.data.examples import Ragged
from gnomon.data.kinds import Tokens
from gnomon.errors import DataError

SPLITS: dict[str, Callable[[str], list[str]]] = {"characters": list, "smiles": smiles.symbols}
"""Rules by which a text falls apart into symbols that, end to end, are the text again."""


def of_table(table: pa.Table, names: list[str], *, split: str, place: str, bare: bool = False) -> Part:
    """The one column of texts among `names`, with a vocabulary learned from it.

    Raises:
        DataError: several columns, or one that holds no texts.
    """
    if len(names) > 1:
        raise DataError(
            f"{place}kind='{split}' wants one column of texts for x; got {', '.join(names[:6])}: put the others into given, target or drop"
        )
    return learned_from(_texts_of(table, names[0], place), split=split, place=place, name=names[0], bare=bare)


def learned_from(items: Any, *, split: str, place: str, name: str = "x", bare: bool = True) -> Part:
    """Texts with the vocabulary that they use.

    Args:
        items: a list or an array of texts, None where missing.
        split: "tokens" or "characters" for single characters, "smiles" for the symbols of molecules.
        place: what stands before every message.
        name: the column's name.
        bare: whether the texts go back as a list.

    Raises:
        DataError: an item that is no text, or nothing but empty texts.

    Example:
        >>> part = learned_from(["ab", "b"], split="tokens", place="")
        >>> part.kind.vocabulary, part.values.tolist(), part.lengths.tolist()
        (('a', 'b'), [0, 1, 1], [2, 1])
    """
    rule = "smiles" if split == "smiles" else "characters"
    cut = _cut(items, rule, place)
    vocabulary = tuple(sorted(set(chain.from_iterable(cut))))
    if not vocabulary:
        raise DataError(f"{place}column '{name}' holds nothing but empty texts; expected at least one symbol")
    kind = Tokens(vocabulary, rule, longest=max(map(len, cut)), name=name, bare=bare)
    return _part(items, cut, kind, place)


def encoded(items: Any, kind: Tokens, *, place: str) -> Part:
    """Texts as `kind` says.

    Raises:
        DataError: an item that is no text, or a symbol that the vocabulary lacks.
    """
    return _part(items, _cut(items, kind.split, place), kind, place)


def text_column(table: pa.Table, kind: Tokens, place: str) -> list[str | None]:
    """The texts of a table that `kind` names; the only column there is, if they had no name in training."""
    name = table.column_names[0] if kind.bare and table.num_columns == 1 else kind.name
    demand(table, [name], place)
    return _texts_of(table, name, place)


def texts(kind: Tokens, values: Ragged) -> list[str]:
    """The texts that codes stand for.

    Example:
        >>> texts(Tokens(("a", "b")), Ragged(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1])))
        ['ab', '', 'b']
    """
    symbols = [kind.vocabulary[code] for code in values.values.tolist()]
    ends = values.offsets().tolist()
    return ["".join(symbols[start:end]) for start, end in zip(ends[:-1], ends[1:], strict=True)]


def _texts_of(table: pa.Table, name: str, place: str) -> list[str | None]:
    column = table.column(name)
    type_ = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(type_) or pa.types.is_large_string(type_)):
        raise DataError(f"{place}column '{name}' holds {column.type}, not texts; put it into given, target or drop")
    return column.to_pylist()


def _cut(items: Any, split: str, place: str) -> list[list[str]]:
    """The symbols of each text; none where it is missing."""
    rule = SPLITS[split]
    cut = []
    for row, item in enumerate(items, 1):
        if item is not None and not isinstance(item, str):
            raise DataError(f"{place}x: item {row} is a {type(item).__name__}; tokens are made of texts")
        cut.append([] if item is None else rule(item))
    return cut


def _part(items: Iterable[Any], cut: list[list[str]], kind: Tokens, place: str) -> Part:
    codes = {symbol: code for code, symbol in enumerate(kind.vocabulary)}
    lengths = np.array([len(symbols) for symbols in cut], dtype=np.int64)
    try:
        values = np.fromiter((codes[symbol] for symbol in chain.from_iterable(cut)), dtype=np.int64, count=int(lengths.sum()))
    except KeyError as error:
        row = next(number for number, symbols in enumerate(cut, 1) if error.args[0] in symbols)
        raise DataError(
            f"{place}column '{kind.name}' row {row} holds the symbol {error.args[0]!r}, which was not in training; drop the row or fit anew"
        ) from error
    missing = np.fromiter((item is None for item in items), dtype=bool, count=len(cut))
    return Part(kind, torch.from_numpy(values), kind.name, lengths, missing)
