"""Made molecules judged as texts: valid, unique, novel, and how often, each share with its error.

What makes a SMILES valid is told by `smiles`, or by RDKit where that is asked for; what a molecule is worth is not told here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from gnomon.data import smiles
from gnomon.errors import DataError, OptionError
from gnomon.options import unknown

Judge = Literal["syntax", "rdkit"]
JUDGES = ("syntax", "rdkit")


class Share(NamedTuple):
    """So many of how many.

    Args:
        value: the share itself; NaN of nothing.
        error: its binomial standard error, with half a success and half a failure added so that it is never 0.
        of: how many were counted.
    """

    value: float
    error: float
    of: int

    @classmethod
    def counted(cls, verdicts: Sequence[bool]) -> Share:
        """The share of True.

        Example:
            >>> Share.counted([True, True, False, True])
            Share(value=0.75, error=0.22..., of=4)
        """
        n, k = len(verdicts), sum(map(bool, verdicts))
        if not n:
            return cls(float("nan"), float("nan"), 0)
        likely = (k + 0.5) / (n + 1)
        return cls(k / n, (likely * (1 - likely) / n) ** 0.5, n)


def judged(texts: Sequence[str], known: Iterable[str] = (), *, by: Judge = "syntax") -> pa.Table:
    """A verdict on each of the texts.

    Args:
        texts: SMILES.
        known: those that are not novel, such as the training rows.
        by: "syntax": grammar, ring closures and valences by `smiles.fault`, and two texts are one molecule if they are the same text;
            "rdkit": what RDKit reads, and two texts are one molecule if RDKit writes them alike (stereochemistry counts).

    Returns:
        Columns ``smiles`` (as they came), ``valid``, ``unique`` (valid, and no earlier text is the same molecule) and ``novel`` (valid,
        and none of `known` is the same molecule).

    Raises:
        OptionError: another judge, or RDKit is not installed.
        DataError: an item that is no text.

    Example:
        >>> judged(["CCO", "CCO", "C(", "CC"], known=["CC"]).to_pydict()["unique"]
        [True, False, False, True]
    """
    if by not in JUDGES:
        raise OptionError(unknown("judge", by, JUDGES))
    wrong = next((row for row, text in enumerate(texts, 1) if not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError(f"molecules are judged as texts; item {wrong} is a {type(texts[wrong - 1]).__name__}")
    names = _written_alike(list(texts)) if by == "rdkit" else [text if smiles.fault(text) is None else None for text in texts]
    old = set(_written_alike(list(known)) if by == "rdkit" else known)
    seen: set[str] = set()
    unique = []
    for name in names:
        unique.append(name is not None and name not in seen)
        if name is not None:
            seen.add(name)
    valid = [name is not None for name in names]
    novel = [name is not None and name not in old for name in names]
    return pa.table({"smiles": pa.array(texts, pa.string()), "valid": valid, "unique": unique, "novel": novel})


def rates(table: pa.Table) -> dict[str, Share]:
    """How often made molecules are good, from the verdicts of `judged`.

    Returns:
        ``valid``: share of all that are; ``unique``: of the valid ones, those that are no repetition; ``novel``: of those, the new ones.

    Example:
        >>> {name: (share.value, share.of) for name, share in rates(judged(["C", "C", "CC", "("], known=["C"])).items()}
        {'valid': (0.75, 4), 'unique': (0.666..., 3), 'novel': (0.5, 2)}
    """
    valid, unique, novel = (table.column(name).to_pylist() for name in ("valid", "unique", "novel"))
    return {
        "valid": Share.counted(valid),
        "unique": Share.counted([u for u, v in zip(unique, valid, strict=True) if v]),
        "novel": Share.counted([n for n, u in zip(novel, unique, strict=True) if u]),
    }


def _written_alike(texts: list[str]) -> list[str | None]:
    """The one text that RDKit writes for each molecule; None for what it does not read."""
    try:
        chem, base = importlib.import_module("rdkit.Chem"), importlib.import_module("rdkit.rdBase")
    except ModuleNotFoundError as error:
        raise OptionError("RDKit is not installed: pip install 'gnomon[molecules]', or judge by='syntax'") from error
    quiet = base.BlockLogs()  # it would tell of every text that it refuses
    try:
        read: list[Any] = [chem.MolFromSmiles(text) if text else None for text in texts]
        return [None if molecule is None else chem.MolToSmiles(molecule) for molecule in read]
    finally:
        del quiet
