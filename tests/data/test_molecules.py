"""Verdicts on made molecules and their rates, against counts by hand and against RDKit."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gnomon.data.molecules import Judge, Share, judged, rates
from gnomon.errors import DataError, OptionError

MADE = ["CCO", "OCC", "CCO", "C1CC", "c1ccccc1", "C1=CC=CC=C1", "", "N"]
KNOWN = ["N", "OCC"]


def test_texts_are_judged_by_syntax() -> None:
    table = judged(MADE, KNOWN).to_pydict()
    assert table["smiles"] == MADE
    assert table["valid"] == [True, True, True, False, True, True, False, True]
    assert table["unique"] == [True, True, False, False, True, True, False, True]
    assert table["novel"] == [True, False, True, False, True, True, False, False]


def test_molecules_are_the_same_however_they_are_written() -> None:
    pytest.importorskip("rdkit")
    table = judged(MADE, KNOWN, by="rdkit").to_pydict()
    assert table["valid"] == [True, True, True, False, True, True, False, True]
    assert table["unique"] == [True, False, False, False, True, False, False, True]
    assert table["novel"] == [False, False, False, False, True, True, False, False]


def test_rates_are_shares_of_what_is_left() -> None:
    found = {name: (share.value, share.of) for name, share in rates(judged(MADE, KNOWN)).items()}
    assert found == {"valid": (6 / 8, 8), "unique": (5 / 6, 6), "novel": (3 / 5, 5)}


def test_the_error_of_a_share_is_that_of_repeated_counts() -> None:
    counts = np.random.default_rng(0).random((4000, 400)) < 0.3
    errors = [Share.counted(row.tolist()).error for row in counts[:200]]
    assert np.mean(errors) == pytest.approx(counts.mean(1).std(), rel=0.05)
    assert Share.counted([True] * 50).error > 0 and Share.counted([True] * 50).value == 1
    assert math.isnan(Share.counted([]).value) and Share.counted([]).of == 0


def test_what_cannot_be_judged_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="unknown judge 'taste'"):
        judged(["C"], by="taste")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="item 2 is a int"):
        judged(["C", 3])  # type: ignore[list-item]
    monkeypatch.setitem(sys.modules, "rdkit", None)
    monkeypatch.setitem(sys.modules, "rdkit.Chem", None)
    with pytest.raises(OptionError, match="RDKit is not installed: pip install"):
        judged(["C"], by="rdkit")


WRONG: dict[str, tuple[Any, Any, str]] = {
    "one text": ("CCO", (), "molecules are judged as texts, a list of them; got 'CCO' alone, so put it in a list"),
    "bytes": (b"CCO", (), "molecules are judged as texts, a list of them; got b'CCO' alone"),
    "nothing": (None, (), "molecules are judged as texts, a list of them; got a NoneType"),
    "a hole": (pa.array(["C", None]), (), "molecules are judged as texts; item 2 is a NoneType"),
    "one known": (["C"], "C", "known wants texts, a list of them; got 'C' alone, so put it in a list"),
    "a known number": (["C"], ["C", 1], "known wants texts; item 2 is a int"),
    "a number": (["C"], 1, "known wants texts, a list of them; got a int"),
}


@pytest.mark.parametrize("by", ["syntax", "rdkit"])
@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_list_of_texts_is_named(name: str, by: Judge) -> None:
    if by == "rdkit":
        pytest.importorskip("rdkit")
    texts, known, message = WRONG[name]
    with pytest.raises(DataError, match=message):
        judged(texts, known, by=by)


@pytest.mark.parametrize("by", ["syntax", "rdkit"])
def test_texts_come_as_anything_that_holds_them(by: Judge) -> None:
    if by == "rdkit":
        pytest.importorskip("rdkit")
    expected = judged(MADE, KNOWN, by=by)
    for made in (tuple(MADE), np.array(MADE), pa.array(MADE), pa.chunked_array([MADE[:3], MADE[3:]]), iter(MADE)):
        assert judged(made, pa.array(KNOWN), by=by).equals(expected)
    assert judged(MADE, None, by=by).equals(judged(MADE, by=by))
