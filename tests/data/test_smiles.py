"""What is wrong with a SMILES: that nothing crashes or hangs, against RDKit; the sharing out of double bonds, against Tutte's theorem."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

import numpy as np
import pytest

from gnomon.data.smiles import _matched, fault, symbols

PRIME = 1_000_003

VERDICTS: dict[str, str | None] = {
    "C²": "'²' is no symbol of SMILES",
    "c1cc²": "'²' is no symbol of SMILES",
    "C1CC\u0661": "'\u0661' is no symbol of SMILES",  # digits of another script
    "C%\u0661\u0662CC%\u0661\u0662": "'%' is no symbol of SMILES",
    "[C\u0661H4]": "[C\u0661H4] is no atom",
    "[\u0661C]": "[\u0661C] is no atom",
    "[C+20]": None,
    "[CH+20]": "C has 1 bond; at most 0",
    "C[H]C": "H has 2 bonds; at most 1",
    "I(F)(F)(F)(F)(F)F": "I has 6 bonds; at most 5",
    "ClCl=O": "Cl has 3 bonds; at most 1",
    "N(C)(C)(C)(C)C": "N has 5 bonds; at most 3",
    "CN(=O)(=O)=O": "N has 7 bonds; at most 3",
    **{
        text: f"{text[: text.index(']') + 1]} is no atom"
        for text in ["[C@@TH1H](F)(Cl)Br", "[C@TH3](F)(Cl)(Br)I", "[C@1](F)(Cl)(Br)I", "[C@@@](F)(Cl)(Br)I", "[C@SP4](F)(Cl)(Br)I"]
    },
    **dict.fromkeys(
        ["[C@TH1H](F)(Cl)Br", "[C@@H](F)(Cl)Br", "[Pt@SP3](F)(Cl)(Br)I", "[P@TB20](F)(Cl)(Br)(I)C", "[Co@OH30](F)(Cl)(Br)(I)(C)N"]
    ),
    **dict.fromkeys(["N(=O)(=O)C", "CN=N#N", "C=N#N", "CN(C)(C)=O", "O=n1ccccc1", "ON(=O)=O", "CC#N=O"]),
    **dict.fromkeys(
        ["Cl(=O)(=O)(=O)O", "OCl=O", "OBr(=O)=O", "O=I(=O)(=O)O", "I(F)(F)(F)(F)F", "F[Si-2](F)(F)(F)(F)F", "F[P-](F)(F)(F)(F)F"]
    ),
}


@pytest.mark.parametrize("text", VERDICTS)
def test_the_verdict_on(text: str) -> None:
    assert fault(text) == VERDICTS[text]


@pytest.mark.parametrize("text", [text for text in VERDICTS if text.isascii()])
def test_rdkit_gives_the_same_verdict_on(text: str) -> None:
    chem: Any = pytest.importorskip("rdkit.Chem")
    chem.rdBase.DisableLog("rdApp.*")
    if text == "[CH+20]":
        pytest.skip("it says nothing of atoms of which nothing is left")
    assert (chem.MolFromSmiles(text) is None) == (VERDICTS[text] is not None)


LONG: dict[str, tuple[str, str | None]] = {
    "an odd ring": ("c1" + "c" * 4000 + "1", "the aromatic bonds cannot be made single and double"),
    "an even ring": ("c1" + "c" * 3999 + "1", None),
    "many rings": (".".join(["c1ccccc1"] * 2000) + ".c1cccc1", "the aromatic bonds cannot be made single and double"),
    "rings in a row": ("c1ccccc1-" * 2000 + "c1ccccc1", None),
    "brackets": ("[" * 50_000, "[ is no atom"),
    "branches": ("C(" * 50_000, "a branch is left open"),
}


@pytest.mark.parametrize("name", LONG)
def test_long_texts_take_no_longer_than_they_are(name: str) -> None:
    text, expected = LONG[name]
    start = time.perf_counter()
    assert fault(text) == expected
    assert time.perf_counter() - start < 5


def test_whatever_is_written_there_are_words_or_none() -> None:
    chance = random.Random(0)
    letters = "CcNnOos()[]=#%123+-@HTSPBrl.:/\\*²٣é\n 𝟙"
    for _ in range(20_000):
        text = "".join(chance.choices(letters, k=chance.randrange(25)))
        found = fault(text)
        assert found is None or (found and isinstance(found, str))
        assert "".join(symbols(text)) == text


# ---- the sharing out of double bonds ---------------------------------------------------------------------------------


def rank(matrix: np.ndarray) -> int:
    """The rank of a matrix of whole numbers modulo a prime."""
    left, found = matrix % PRIME, 0
    for column in range(len(left)):
        pivot = next((row for row in range(found, len(left)) if left[row, column]), None)
        if pivot is None:
            continue
        left[[found, pivot]] = left[[pivot, found]]
        left[found] = left[found] * pow(int(left[found, column]), -1, PRIME) % PRIME
        left[found + 1 :] = (left[found + 1 :] - left[found + 1 :, column, None] * left[found]) % PRIME
        found += 1
    return found


def can_be_matched(must: set[int], near: dict[int, list[int]], chance: np.random.Generator) -> bool:
    """Whether all of `must` can have partners, as the determinant of a random antisymmetric matrix tells (Tutte 1947, Lovász 1979).

    Those that need none are joined to each other and, for an even number, to one more, so that all are to be matched.
    """
    others = [place for place in near if place not in must]
    edges = {(min(one, other), max(one, other)) for one in near for other in near[one]} | set(itertools.combinations(others, 2))
    size = len(near) + len(near) % 2
    edges |= {(place, len(near)) for place in others} if len(near) % 2 else set()
    matrix = np.zeros((size, size), dtype=np.int64)
    for one, other in edges:
        matrix[one, other] = chance.integers(1, PRIME)
        matrix[other, one] = -matrix[one, other]
    return rank(matrix) == size


def test_partners_are_found_wherever_there_are_some() -> None:
    chance = np.random.default_rng(0)
    seen = []
    for trial in range(1200):
        size = int(chance.integers(1, 24)) if trial % 20 else int(chance.integers(40, 70))
        near: dict[int, list[int]] = {place: [] for place in range(size)}
        for one, other in chance.integers(0, size, (int(chance.integers(0, 1.8 * size + 1)), 2)).tolist():
            if one != other and other not in near[one]:
                near[one].append(other)
                near[other].append(one)
        share = chance.choice([0.5, 0.8, 1.0])
        must = {place for place in near if near[place] and chance.random() < share}
        seen.append(can_be_matched(must, near, chance))
        assert _matched(must, near) == seen[-1]
    assert 0.2 < np.mean(seen) < 0.8


def test_the_verdict_on_aromatic_rings_is_that_of_rdkit() -> None:
    """Cages of rings grown at random, of carbon and nitrogen, written from a random atom."""
    chem: Any = pytest.importorskip("rdkit.Chem")
    chem.rdBase.DisableLog("rdApp.*")
    chance = random.Random(0)
    theirs, ours = [], []
    for _ in range(400):
        made = chem.RWMol()
        ring = [made.AddAtom(chem.Atom("C")) for _ in range(chance.choice([5, 6, 7]))]
        edges = list(zip(ring, ring[1:] + ring[:1], strict=True))
        for _ in range(chance.randrange(1, 8)):
            degrees = [sum(atom in edge for edge in edges) for atom in range(made.GetNumAtoms())]
            one, other = chance.choice([edge for edge in edges if max(degrees[place] for place in edge) < 3] or [(-1, -1)])
            if one < 0:
                break
            path = [one, *(made.AddAtom(chem.Atom("C")) for _ in range(chance.choice([3, 4, 4, 5]))), other]
            edges += list(itertools.pairwise(path))
        for one, other in edges:
            made.AddBond(one, other, chem.BondType.AROMATIC)
        for atom in made.GetAtoms():
            atom.SetIsAromatic(True)
            if chance.random() < 0.1 and atom.GetDegree() == 2:
                atom.SetAtomicNum(7)
                atom.SetNumExplicitHs(chance.randrange(2))
        text = chem.MolToSmiles(made, canonical=False, rootedAtAtom=chance.randrange(made.GetNumAtoms()))
        theirs.append(chem.MolFromSmiles(text) is not None)
        ours.append(fault(text) is None)
    assert 0.2 < np.mean(theirs) < 0.8
    assert theirs == ours
