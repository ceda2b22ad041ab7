"""Texts as columns that can be compared one by one: how many symbols, which share each has, and which symbols follow one another.

These see frequencies; whether a text is well formed is left to what knows its grammar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.checks.sides import Floats
from gnomon.data import Bounded, Column, Integer, Ragged, Tokens

_SYMBOLS, _PAIRS = 24, 24  # the most frequent ones have a share each


def text_columns(kind: Tokens, real: Ragged, generated: Ragged, *others: Ragged) -> tuple[tuple[Column, ...], list[Floats]]:
    """Summary columns of the texts of both sides: length, shares of the most frequent symbols and of the most frequent pairs of neighbours.

    Beginning and end count as neighbours. Which are frequent is taken from both sides together, so it does not know which is real.

    Args:
        kind: what the symbols are.
        real: n texts.
        generated: m texts.
        others: further texts that are only summarised in the same way.

    Returns:
        columns, and their values: ``(n, columns)`` of the real side, ``(m, columns)`` of the generated one, then of the others.

    Example:
        >>> import torch
        >>> texts = Ragged(torch.tensor([0, 1, 1]), torch.tensor([2, 1]))
        >>> columns, (values, _) = text_columns(Tokens(("a", "b")), texts, texts)
        >>> [column.name for column in columns[:3]], values[:, :3].tolist()
        (['length', "share of 'b'", "share of 'a'"], [[2.0, 0.5, 0.5], [1.0, 1.0, 0.0]])
    """
    sides = [real, generated, *others]
    symbols, edge = len(kind.vocabulary), len(kind.vocabulary)
    single = [_rows_and_codes(side) for side in sides]
    pairs = [_pairs(side, edge) for side in sides]
    names = [repr(symbol) for symbol in kind.vocabulary] + ["the edge"]
    often = _frequent([codes for _, codes in single[:2]], symbols, _SYMBOLS)
    together = _frequent([codes for _, codes in pairs[:2]], (symbols + 1) ** 2, _PAIRS)
    listed = [Column("length", Integer(0, None))]
    listed += [Column(f"share of {names[code]}", Bounded(0.0, 1.0)) for code in often]
    listed += [
        Column(f"share of {names[code // (symbols + 1)]} before {names[code % (symbols + 1)]}", Bounded(0.0, 1.0)) for code in together
    ]
    made = []
    for side, own, own_pairs in zip(sides, single, pairs, strict=True):
        lengths = side.lengths.numpy().astype(np.float64)
        made.append(np.concatenate([lengths[:, None], _shares(own, often, lengths), _shares(own_pairs, together, lengths + 1)], axis=1))
    return tuple(listed), made


Occurrences = tuple[NDArray[np.intp], NDArray[np.intp]]


def _rows_and_codes(texts: Ragged) -> Occurrences:
    return texts.rows().numpy().astype(np.intp), texts.values.numpy().astype(np.intp)


def _pairs(texts: Ragged, edge: int) -> Occurrences:
    """Row and code of each pair of neighbours, where `edge` stands before and after a text."""
    rows, codes = _rows_and_codes(texts)
    count = len(texts)
    place = np.arange(len(codes)) + rows
    before = np.full(len(codes) + count, edge, dtype=np.intp)
    after = before.copy()
    before[place + 1], after[place] = codes, codes
    owners = np.repeat(np.arange(count), texts.lengths.numpy() + 1)
    return owners, before * (edge + 1) + after


def _frequent(codes: list[NDArray[np.intp]], count: int, most: int) -> list[int]:
    """The most frequent codes, the first one first."""
    if not sum(map(len, codes)):
        return []
    found = np.bincount(np.concatenate(codes), minlength=count)
    return [int(code) for code in np.argsort(-found, kind="stable")[:most] if found[code] > 0]


def _shares(found: Occurrences, codes: list[int], totals: Floats) -> Floats:
    """``(texts, codes)``: how often each code occurs in each text, over `totals`; zero in an empty one."""
    rows, own = found
    columns = [np.bincount(rows[own == code], minlength=len(totals)) / np.maximum(totals, 1) for code in codes]
    return np.stack(columns, axis=1).astype(np.float64) if columns else np.empty((len(totals), 0))
