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


def judged(texts: Iterable[str], known: Iterable[str] | None = (), *, by: Judge = "syntax") -> pa.Table:
    """A verdict on each of the texts.

    Args:
        texts: SMILES, as a list, an array or a column of Arrow.
        known: those that are not novel, such as the training rows; None if there are none.
        by: "syntax": grammar, ring closures and valences by `smiles.fault`, and two texts are one molecule if they are the same text;
            "rdkit": what RDKit reads, and two texts are one molecule if RDKit writes them alike (stereochemistry counts).

    Returns:
        Columns ``smiles`` (as they came), ``valid``, ``unique`` (valid, and no earlier text is the same molecule) and ``novel`` (valid,
        and none of `known` is the same molecule).

    Raises:
        OptionError: another judge, or RDKit is not installed.
        DataError: an item that is no text, or one text instead of many.

    Example:
        >>> judged(["CCO", "CCO", "C(", "CC"], known=["CC"]).to_pydict()["unique"]
        [True, False, False, True]
    """
    if by not in JUDGES:
        raise OptionError(unknown("judge", by, JUDGES))
    made, before = _listed(texts, "molecules are judged as texts"), _listed(() if known is None else known, "known wants texts")
    names = _written_alike(made) if by == "rdkit" else [text if smiles.fault(text) is None else None for text in made]
    old = set(_written_alike(before) if by == "rdkit" else before)
    seen: set[str] = set()
    unique = []
    for name in names:
        unique.append(name is not None and name not in seen)
        if name is not None:
            seen.add(name)
    valid = [name is not None for name in names]
    novel = [name is not None and name not in old for name in names]
    return pa.table({"smiles": pa.array(made, pa.string()), "valid": valid, "unique": unique, "novel": novel})


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


def _listed(texts: Any, wanted: str) -> list[str]:
    """Texts as a list. Raises DataError, which says first what was `wanted`, where they are something else."""
    if isinstance(texts, (str, bytes)):
        raise DataError(f"{wanted}, a list of them; got {texts!r} alone, so put it in a list")
    if not isinstance(texts, Iterable):
        raise DataError(f"{wanted}, a list of them; got a {type(texts).__name__}")
    items = texts.to_pylist() if isinstance(texts, (pa.Array, pa.ChunkedArray)) else list(texts)
    for place, item in enumerate(items, 1):
        if not isinstance(item, str):
            raise DataError(f"{wanted}; item {place} is a {type(item).__name__}")
    return items


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
