"""Texts as data: read from files, lists and tables, cut into symbols, followed, split, written back, and refused."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from gnomon.data import (
    Examples,
    InMemory,
    Ragged,
    Scaling,
    Spec,
    Streamed,
    Tokens,
    decode,
    describe,
    fingerprint,
    open_rows,
    prepare,
    smiles,
)
from gnomon.data import write as written
from gnomon.data.encoding.tokens import SPLITS
from gnomon.errors import DataError, OptionError
from gnomon.training.doctor.before import leakage

NAMES = ["emma", "olivia", "", "ava", "isabella"]
MOLECULES = ["CCO", "C[C@H](Cl)Br", "c1cc[nH]c1", "[Na+].[Cl-]"]
MOLECULE_FILE = Path(os.environ.get("GNOMON_DATA", "")) / "molecules" / "qm9_smiles_homo_lumo.csv.gz"


def sources(folder: Path) -> dict[str, Any]:
    """The names in every form in which texts come."""
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return {
        "list": NAMES,
        "array": np.array(NAMES),
        "file": folder / "names.txt",
        "dict": {"name": NAMES},
        "table": pa.table({"name": NAMES}),
        "roles": {"x": NAMES, "given": np.zeros((5, 1))},
    }


@pytest.mark.parametrize("form", ["list", "array", "file", "dict", "table", "roles"])
def test_texts_come_in_many_forms_and_go_back_as_they_came(form: str, tmp_path: Path) -> None:
    prepared = prepare(sources(tmp_path)[form], kind="tokens")
    kind, x = prepared.spec.x, prepared.raw.x
    assert isinstance(kind, Tokens) and isinstance(x, Ragged) and x.values.dtype == torch.int64
    assert kind.vocabulary == tuple(sorted(set("".join(NAMES)))) and kind.longest == 8
    assert x.lengths.tolist() == [4, 6, 0, 3, 8]
    assert [kind.vocabulary[code] for code in x[:1].values.tolist()] == list("emma")
    back = decode(kind, x)
    assert back == NAMES if form not in ("dict", "table") else back.to_pydict() == {"name": NAMES}


def test_files_say_by_their_suffix_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("CCO ethanol\nC[Br] 2\r\n", encoding="utf-8")
    kind = prepare(tmp_path / "a.smi").spec.x
    assert kind == Tokens(("C", "O", "[Br]"), "smiles", longest=3)
    assert prepare(tmp_path / "a.smi", kind="tokens").spec.x.split == "characters"
    (tmp_path / "b.txt").write_bytes("\ufeffäöü\nß".encode())
    assert prepare(tmp_path / "b.txt").raw.x.lengths.tolist() == [3, 1]


def test_spec_is_saved_and_followed() -> None:
    table = pa.table({"s": MOLECULES, "a": [1.0, 2.0, 3.0, 4.0]})
    prepared = prepare(table, kind="smiles", given="a")
    spec = Spec.from_json(prepared.spec.to_json())
    assert spec == prepared.spec and "symbols of SMILES" in describe(spec)
    again = prepare(table.slice(1, 2), spec=spec).raw
    assert torch.equal(again.x.values, prepared.raw[1:3].x.values) and again.given.tolist() == [[2.0], [3.0]]
    assert fingerprint(prepare(table, spec=spec).raw) == fingerprint(prepared.raw)


def test_a_list_may_be_scored_by_a_model_of_a_table_and_the_other_way_round(tmp_path: Path) -> None:
    of_table, of_list = (prepare(data, kind="tokens").spec for data in ({"s": ["ab", "b"]}, ["ab", "b"]))
    (tmp_path / "t.txt").write_text("ba\n", encoding="utf-8")
    for spec, data in ((of_table, ["ba"]), (of_table, tmp_path / "t.txt"), (of_list, {"t": ["ba"]})):
        assert prepare(data, spec=spec).raw.x.values.tolist() == [1, 0]


def test_digits_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("s\n12\n21\n", encoding="utf-8")
    spec = Spec(Tokens(("1", "2"), name="s", bare=False))
    assert decode(spec.x, prepare(tmp_path / "t.csv", spec=spec).raw.x).to_pydict() == {"s": ["12", "21"]}


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "unknown symbol": (
        ["ab", "axb"],
        {"spec": Spec(Tokens(("a", "b")))},
        "column 'x' row 2 holds the symbol 'x', which was not in training",
    ),
    "two columns": ({"s": ["a"], "n": [1]}, {"kind": "tokens"}, "wants one column of texts for x; got s, n"),
    "numbers": ({"s": [1, 2]}, {"kind": "tokens"}, "column 's' holds int64, not texts"),
    "missing": ({"s": ["a", None]}, {"kind": "tokens"}, r"column 's' holds 1 missing text\(s\), the first in row 2"),
    "empty": (["", ""], {"kind": "tokens"}, "nothing but empty texts"),
    "an array": (np.zeros((2, 2)), {"kind": "tokens"}, "x: item 1 is a ndarray; tokens are made of texts"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_said_in_one_line(name: str) -> None:
    data, options, message = WRONG[name]
    with pytest.raises(DataError, match=message) as caught:
        prepare(data, **options)
    assert "\n" not in str(caught.value)


def test_texts_are_no_condition_and_files_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no network reads texts as a condition yet"):
        prepare({"x": ["a"], "given": ["b"]}, kind={"x": "tokens", "given": "tokens"})
    (tmp_path / "a.txt").write_text("1\n2\n", encoding="utf-8")
    with pytest.raises(DataError, match="lines of text are tokens; kind='image' wants numbers"):
        prepare(tmp_path / "a.txt", kind="image")
    (tmp_path / "b.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError, match="line 2 holds bytes that are not UTF-8"):
        prepare(tmp_path / "b.txt")
    (tmp_path / "c.smi").write_text("C\n\nC\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 is empty"):
        prepare(tmp_path / "c.smi")


def test_missing_texts_are_dropped_on_demand() -> None:
    prepared = prepare({"s": ["ab", None, "b"], "n": [1.0, 2.0, 3.0]}, kind="tokens", given="n", missing="drop")
    assert decode(prepared.spec.x, prepared.raw.x).to_pydict() == {"s": ["ab", "b"]} and prepared.raw.given.flatten().tolist() == [1.0, 3.0]


def test_nothing_is_scaled() -> None:
    prepared = prepare({"s": ["ab", "b"], "n": [1.0, 3.0]}, kind="tokens", given="n")
    scaling = Scaling.fit(prepared.spec, prepared.raw)
    stored = scaling.forward(prepared.raw)
    assert torch.equal(stored.x.values, prepared.raw.x.values) and stored.x.values.dtype == torch.int64
    assert stored.given.tolist() == [[-1.0], [1.0]]
    assert scaling.log_det(prepared.raw).tolist() == [0.0, 0.0] and not scaling.has_integers and not scaling.outside(prepared.raw).any()
    assert torch.equal(scaling.inverse("x", stored.x).values, prepared.raw.x.values)
    again = Scaling.from_state(prepared.spec, scaling.state())
    assert again.forward(prepared.raw).given.tolist() == [[-1.0], [1.0]]


def test_batches_hold_every_text_once() -> None:
    texts = [f"{i:b}" for i in range(23)]
    prepared = prepare(texts, kind="tokens")
    scaling = Scaling.fit(prepared.spec, prepared.raw)
    source = InMemory(scaling.store(prepared.raw), scaling, batch_size=4, shuffle=False)
    seen = [text for batch in source.batches(seed=0, epoch=0) for text in decode(prepared.spec.x, batch.x)]
    assert seen == texts


def test_tables_of_texts_are_streamed(tmp_path: Path) -> None:
    texts = [f"{i:b}" for i in range(50)]
    path = written(pa.table({"s": texts}), tmp_path / "t.parquet")
    prepared = prepare(path, kind="tokens")
    source = Streamed(open_rows(path, block_rows=8), Scaling.fit(prepared.spec, prepared.raw), batch_size=5, shuffle=False)
    batches = list(source.batches(seed=0, epoch=0))
    assert [t for batch in batches for t in decode(prepared.spec.x, batch.x)["s"].to_pylist()] == texts


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".parquet", ".feather", ".npy", ".npz"])
def test_lists_of_texts_go_to_files_and_come_back(suffix: str, tmp_path: Path) -> None:
    texts = ["ab", "b, c", "ä"]
    path = written(texts, tmp_path / f"t{suffix}")
    back = prepare(path, kind="tokens")
    made = decode(back.spec.x, back.raw.x)
    assert (made if isinstance(made, list) else made.column(0).to_pylist()) == texts


def test_line_breaks_and_columns_do_not_fit_into_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="text 2 holds a line break"):
        written(["a", "b\nc"], tmp_path / "t.txt")
    with pytest.raises(DataError, match="holds texts and nothing beside them"):
        written(pa.table({"s": ["a"], "n": [1]}), tmp_path / "t.txt")
    assert not list(tmp_path.iterdir())


def test_anagrams_are_no_twins() -> None:
    chance = random.Random(0)
    words = ["".join(chance.sample("abcdefghij", 10)) for _ in range(600)]
    raw = prepare(list(dict.fromkeys(words)), kind="tokens")
    train, held_out = raw.raw[:400], raw.raw[400:]
    assert leakage(raw.spec, train, held_out) is None
    assert "leakage" in str(leakage(raw.spec, train, Examples.cat([held_out, train[:100]])))


# ---- molecules ------------------------------------------------------------------------------------------------------


def test_symbols_of_molecules_are_atoms_and_bonds() -> None:
    assert smiles.symbols("C[C@@H](Cl)c1ccc%12cc1Br") == ["C", "[C@@H]", "(", "Cl", ")", *"c1ccc", "%12", *"cc1", "Br"]
    for rule in SPLITS.values():
        assert all("".join(rule(text)) == text for text in [*MOLECULES, "any text at all [", ""])


FAULTS = {
    "C(": "a branch is left open",
    "C)": "a branch is closed that was never opened",
    "C()C": "a branch ends without an atom",
    "(C)C": "a branch follows no atom",
    "C1CC": "ring 1 is left open",
    "C11": "a ring closes on its own atom",
    "C12CCCCC12": "two atoms are bound twice",
    "C=1CC-1": "ring 1 is opened with = and closed with -",
    "C=": "a bond leads nowhere",
    "=C": "the bond = follows no atom",
    "C==C": "the bond = follows no atom",
    "C.": "a dot leads nowhere",
    "X": "'X' is no symbol of SMILES",
    "[Xx]": "Xx is no element",
    "[C": "[ is no atom",
    "": "the text is empty",
    "C(C)(C)(C)(C)C": "C has 5 bonds; at most 4",
    "[NH4]": "N has 4 bonds; at most 3",
    "O=O=O": "O has 4 bonds; at most 2",
    "cC": "an aromatic atom is in no ring",
    "c1cccc1": "the aromatic bonds cannot be made single and double",
    **dict.fromkeys(["C", "[NH4+]", "[Na+].[Cl-]", "CS(=O)(=O)C", "FS(F)(F)(F)(F)F", "c1ccccc1", "c1cc[nH]c1", "c1ccoc1", "C%12CC%12"]),
    **dict.fromkeys(
        ["F/C=C/F", "N[C@@H](C)C(=O)O", "[13CH4]", "O=[N+]([O-])c1ccccc1", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "c1ccc2ccccc2c1", "*C"]
    ),
}


@pytest.mark.parametrize("text", FAULTS)
def test_grammar_and_valences_are_checked(text: str) -> None:
    assert smiles.fault(text) == FAULTS[text]


def test_the_verdict_is_that_of_a_chemistry_library() -> None:
    chem: Any = pytest.importorskip("rdkit.Chem")
    if not MOLECULE_FILE.is_file():
        pytest.skip("no molecules at hand")
    chem.rdBase.DisableLog("rdApp.*")
    with gzip.open(MOLECULE_FILE, "rt") as lines:
        known = [line.split(",")[0] for line in lines][1:]
    chance = random.Random(0)
    real = chance.sample(known, 1500)
    symbols = sorted({symbol for text in real for symbol in smiles.symbols(text)})

    def corrupted(text: str) -> str:
        parts = smiles.symbols(text)
        place = chance.randrange(len(parts))
        parts[place : place + chance.randrange(2)] = [chance.choice(symbols)] if chance.random() < 0.7 else []
        return "".join(parts)

    damaged = [corrupted(text) for text in real]
    theirs = [chem.MolFromSmiles(text) is not None and text != "" for text in damaged]
    assert all(smiles.fault(text) is None for text in real)
    assert 0.1 < np.mean(theirs) < 0.9
    assert np.mean([(smiles.fault(text) is None) == valid for text, valid in zip(damaged, theirs, strict=True)]) > 0.97
