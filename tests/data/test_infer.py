"""Inference of the Spec, its overrides, missing values, weights, and new data that follows an old Spec."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.data import (
    Bounded,
    Categorical,
    Column,
    Image,
    Integer,
    Label,
    NonNegative,
    Periodic,
    Positive,
    Ragged,
    Real,
    Sequence,
    Set,
    Spec,
    Vector,
    describe,
    prepare,
)
from gnomon.errors import DataError, GnomonError, OptionError

ROWS = 6
MIXED = pa.table(
    {
        "real": [0.5, -1.5, 2.5, 3.5, 0.0, 7.0],
        "positive": [0.5, 1.5, 2.5, 3.5, 0.1, 7.0],
        "share": [0.0, 0.25, 0.5, 0.75, 1.0, 0.1],
        "angle": [0.0, 1.0, 3.0, -3.0, -1.0, 2.0],
        "count": pa.array([1, 2, 3, 4, 5, 6], pa.int32()),
        "flag": [True, False, True, True, False, True],
        "colour": ["red", "blue", "red", "green", "blue", "red"],
        "when": pa.array([60, 0, 120, 180, 240, 300], pa.timestamp("s", "UTC")),
        "kind": ["u", "v", "u", "v", "u", "v"],
        "w": [1.0, 2.0, 0.5, 1.0, 1.0, 0.5],
    }
)
OVERRIDES = {"positive": "positive", "share": "bounded(0,1)", "angle": "periodic(-pi,pi)", "count": "integer(0,9)"}


# ---- inference ----------------------------------------------------------------------------------------------------


def test_supports_are_read_off_the_types() -> None:
    supports = [c.support for c in prepare(MIXED).spec.x.columns]
    assert supports == [
        *[Real()] * 4,
        Integer(),
        Categorical((False, True)),
        Categorical(("blue", "green", "red")),
        Real(),
        Categorical(("u", "v")),
        Real(),
    ]


def test_overrides_as_texts_or_supports() -> None:
    columns = {**OVERRIDES, "real": Bounded(-2.0, 8.0), "w": "nonnegative"}
    found = {c.name: c.support for c in prepare(MIXED, columns=columns).spec.x.columns}
    assert found["positive"] == Positive() and found["share"] == Bounded(0.0, 1.0) and found["count"] == Integer(0, 9)
    assert found["angle"] == Periodic(-math.pi, math.pi) and found["real"] == Bounded(-2.0, 8.0) and found["w"] == NonNegative()


@pytest.mark.filterwarnings("error")
def test_roles_take_their_columns_out_of_x() -> None:
    prepared = prepare(MIXED, target="kind", given="colour, flag", weight="w", drop=["when", "angle"], wanted="label")
    spec, raw = prepared.spec, prepared.raw
    assert spec.x.names == ("real", "positive", "share", "count")
    assert spec.y == Label(("u", "v"), "kind", "string") and raw.y.tolist() == [0, 1] * 3
    assert spec.given.names == ("colour", "flag") and raw.given[:, 0].tolist() == [2, 0, 2, 1, 0, 2]
    assert spec.weight == "w" and raw.weight.tolist() == MIXED["w"].to_pylist() and raw.weight.dtype == torch.float64
    assert prepared.table.column_names == MIXED.column_names and prepared.source["columns"] == MIXED.column_names
    assert prepared.source["rows"] == ROWS and prepared.kept is None


def test_a_name_with_a_comma_is_one_name() -> None:
    assert prepare({"a": [1.0], "b,c": [2.0]}, drop="b,c").spec.x.names == ("a",)


TARGETS: list[tuple[Any, str | None, type, Any]] = [
    (["u", "v", "u"], None, Label, ("u", "v")),
    ([True, False, True], None, Label, (False, True)),
    ([2, 7, 2], None, Label, (2, 7)),
    ([0.5, 1.5, 2.5], None, Vector, "double"),
    ([2, 7, 2], "numbers", Vector, "double"),
    ([2, 7, 2], "label", Label, (2, 7)),
    ([0.0, 1.0, 0.0], "label", Label, (0.0, 1.0)),
    (pa.array([1, 2, 3], pa.timestamp("s")), "numbers", Vector, "timestamp[s]"),
    (pd.Categorical(["u", "v", "u"], categories=["v", "u"]), "label", Label, ("v", "u")),
]


@pytest.mark.parametrize("case", range(len(TARGETS)))
def test_the_models_demand_decides_how_targets_are_read(case: int) -> None:
    values, wanted, kind, expected = TARGETS[case]
    y = pa.array(values) if isinstance(values, pd.Categorical) else values
    prepared = prepare({"a": [1.0, 2.0, 3.0], "y": y}, target="y", wanted=wanted)
    assert isinstance(prepared.spec.y, kind)
    if kind is Label:
        assert prepared.spec.y.classes == expected and prepared.raw.y.dtype == torch.int64
        back = [prepared.spec.y.classes[code] for code in prepared.raw.y.tolist()]
        assert back == list(values)
    else:
        assert prepared.spec.y.columns[0].type == expected and prepared.raw.y.shape == (3, 1)


def test_many_whole_numbers_are_no_classes_unless_wanted() -> None:
    table = {"a": np.zeros(600), "y": np.arange(600) // 2}
    assert isinstance(prepare(table, target="y").spec.y, Vector)
    assert isinstance(prepare(table, target="y", wanted="label").spec.y, Label)


def test_several_targets() -> None:
    prepared = prepare(MIXED, target=["real", "share"], wanted="numbers", columns={"share": "bounded(0,1)"})
    assert prepared.spec.y.names == ("real", "share") and prepared.spec.y.columns[1].support == Bounded(0.0, 1.0)
    assert prepared.raw.y.shape == (ROWS, 2)


def test_bare_arrays() -> None:
    prepared = prepare((np.ones((4, 3), np.float32), np.array([0, 1, 1, 0])), wanted="label")
    assert prepared.spec.x == Vector(tuple(Column(f"x{i}", Real(), type="float") for i in range(3)), bare=True)
    assert prepared.spec.y == Label((0, 1), "y", "int64") and prepared.table is None
    everything = prepare({"x": np.ones((4, 3)), "y": np.ones((4, 2)), "given": np.ones(4), "weight": np.ones(4)})
    assert everything.spec.y.names == ("y0", "y1") and everything.spec.given.names == ("given0",) and everything.spec.weight == ""
    assert prepare(np.arange(4.0)).raw.x.shape == (4, 1)
    assert prepare((np.ones((4, 3)), np.ones((4, 1))), wanted="numbers").spec.y.names == ("y",)


def test_bare_arrays_of_other_values() -> None:
    assert prepare(np.array([[True, False], [False, False]])).spec.x.columns[0].support == Categorical((False, True))
    assert prepare(np.array([["a", "u"], ["b", "u"]])).raw.x.tolist() == [[0, 0], [1, 0]]
    days = prepare(np.array(["2020-01-02", "2020-01-01"], dtype="M8[D]"))
    assert days.raw.x.tolist() == [[86400], [0]]
    masked = np.ma.masked_array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])
    assert prepare(masked, missing="drop").raw.x.tolist() == [[3, 4]]
    overridden = prepare(np.array([[0.0, 5.0], [1.0, 7.0]]), columns={"x1": "categorical"})
    assert overridden.spec.x.columns[1].support == Categorical((5.0, 7.0)) and overridden.raw.x.tolist() == [[0, 0], [1, 1]]


def test_columns_of_bare_arrays_can_be_named() -> None:
    array = np.array([[0.5, 1.0, 0.0], [1.5, 2.0, 1.0], [2.5, 3.0, 0.0]])
    prepared = prepare(array, target="x2", given="x1", wanted="label")
    assert prepared.spec.x.names == ("x0",) and prepared.spec.x.bare and prepared.raw.y.tolist() == [0, 1, 0]
    again = prepare(array, spec=prepared.spec)
    assert again.raw.x.tolist() == prepared.raw.x.tolist() and again.raw.given.tolist() == prepared.raw.given.tolist()


IMAGES: list[tuple[tuple[int, ...], str | None, tuple[int, ...], str]] = [
    ((5, 8, 9), "image", (1, 8, 9), "none"),
    ((5, 3, 8, 9), None, (3, 8, 9), "first"),
    ((5, 8, 9, 3), None, (3, 8, 9), "last"),
    ((5, 8, 9, 1), None, (1, 8, 9), "last"),
    ((5, 1, 8, 8), None, (1, 8, 8), "first"),
    ((5, 2, 1, 1), None, (1, 2, 1), "last"),
    ((5, 1, 1, 1), None, (1, 1, 1), "first"),
    ((5, 6, 8, 9), None, (6, 8, 9), "first"),
    ((5, 2, 6, 8, 9), None, (2, 6, 8, 9), "first"),
    ((5, 6, 8, 9, 2), None, (2, 6, 8, 9), "last"),
    ((5, 30), "signal", (1, 30), "none"),
    ((5, 2, 30), "signal", (2, 30), "first"),
    ((5, 30, 2), "signal", (2, 30), "last"),
]


@pytest.mark.parametrize("case", range(len(IMAGES)))
def test_image_layouts(case: int) -> None:
    shape, kind, expected, layout = IMAGES[case]
    array = np.random.default_rng(0).normal(size=shape)
    prepared = prepare(array, kind=kind)
    assert prepared.spec.x == Image(expected[0], expected[1:], None, layout)
    moved = np.moveaxis(array, -1, 1) if layout == "last" else array
    assert np.array_equal(prepared.raw.x.numpy(), moved.reshape(5, *expected))
    assert torch.equal(prepare(array, spec=prepared.spec).raw.x, prepared.raw.x)


@pytest.mark.parametrize(
    ("pixels", "levels", "dtype"),
    [
        (np.array([0, 16]), 17, torch.uint8),
        (np.array([0.0, 16.0]), 17, torch.uint8),
        (np.array([0, 200], dtype=np.uint8), 256, torch.uint8),
        (np.array([0, 1], dtype=bool), 2, torch.uint8),
        (np.array([0, 300], dtype=np.uint16), 65536, torch.int32),
        (np.array([-1, 1]), None, torch.float32),
        (np.array([0.0, 0.5], dtype=np.float32), None, torch.float32),
        (np.array([0.0, 0.5]), None, torch.float64),
        (np.array([0, 70_000]), None, torch.float32),
    ],
)
def test_grey_levels(pixels: np.ndarray, levels: int | None, dtype: torch.dtype) -> None:
    prepared = prepare(np.tile(pixels, (3, 1, 4, 2)))
    assert prepared.spec.x.levels == levels and prepared.raw.x.dtype == dtype
    assert prepared.raw.x[0, 0, 0, :2].tolist() == pixels.tolist()


def test_grey_levels_can_be_said() -> None:
    array = np.tile([0, 16], (3, 1, 4, 2))
    assert prepare(array, columns={"x": "integer(0,255)"}).spec.x.levels == 256
    assert prepare(array, columns={"x": "real"}).spec.x.levels is None


def test_sets_and_sequences() -> None:
    items = [np.ones((2, 3)), np.zeros((0, 3)), np.full((1, 3), 2.0)]
    for kind, made in (("set", Set), ("sequence", Sequence)):
        prepared = prepare((items, [0, 1, 0]), kind=kind, wanted="label")
        assert isinstance(prepared.spec.x, made) and isinstance(prepared.raw.x, Ragged)
        assert prepared.raw.x.lengths.tolist() == [2, 0, 1] and prepared.raw.x.values.dtype == torch.float64
        again = prepare(items, spec=prepared.spec)
        assert torch.equal(again.raw.x.values, prepared.raw.x.values)
    assert prepare([np.ones(2), np.ones(3)], kind="set").raw.x.values.shape == (5, 1)
    assert prepare(np.ones((4, 2, 3)), kind="set").raw.x.lengths.tolist() == [2] * 4
    assert prepare([[1.0, 2.0], [], [3.0]], kind="set").raw.x.lengths.tolist() == [2, 0, 1]


def test_empty_sets_follow_a_spec() -> None:
    spec = prepare([np.ones((2, 3)), np.ones((1, 3))], kind="set").spec
    for empty in ([np.zeros((0, 3))] * 2, [[], []], np.zeros((2, 0, 3))):
        raw = prepare(empty, spec=spec).raw
        assert raw.x.values.shape == (0, 3) and raw.x.lengths.tolist() == [0, 0]


def test_columns_named_like_roles_follow_their_table() -> None:
    """A table with columns x and y (the toys) is no array by role, and a bare column by role is no table."""
    spec = prepare({"x": [1.0, 2.0], "y": [3.0, 4.0]}).spec
    assert prepare({"x": [5.0], "y": [6.0]}, spec=spec).raw.x.tolist() == [[5, 6]]
    bare = prepare((np.arange(4.0), np.array([0, 1, 1, 0])), wanted="label").spec
    assert prepare({"x": np.array([7.0]), "y": np.array([1])}, spec=bare).raw.x.tolist() == [[7]]
    assert prepare({"x0": [7.0]}, spec=bare).raw.x.tolist() == [[7]]


def test_sets_in_list_columns() -> None:
    table = pa.table({"pt": [[1.0, 2.0], [], [3.0]], "charge": [[1, -1], [], [1]], "mass": [5.0, 6.0, 7.0]})
    prepared = prepare(table, kind="set", given="mass")
    assert prepared.spec.x.of.names == ("pt", "charge") and prepared.raw.x.lengths.tolist() == [2, 0, 1]
    assert prepared.raw.x.values.tolist() == [[1, 1], [2, -1], [3, 1]] and prepared.raw.given[:, 0].tolist() == [5, 6, 7]
    assert torch.equal(prepare(table, spec=prepared.spec).raw.x.values, prepared.raw.x.values)
    for bad, fragments in [
        (table.append_column("e", pa.array([[1.0], [], [2.0]])), ("'e'", "row 1", "1 elements", "2")),
        (table.append_column("q", pa.array([1.0, 2.0, 3.0])), ("'q'", "given or drop")),
    ]:
        with pytest.raises(DataError) as caught:
            prepare(bad, kind="set", given="mass")
        assert all(f in str(caught.value) for f in fragments), caught.value


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"), [(3.5, -3.0, 3.0, -2.5), (6.0, 0.0, 6.0, 0.0), (-0.5, 0.0, 6.0, 5.5), (2.25, 0.0, 6.0, 2.25)]
)
def test_angles_are_brought_into_their_interval(value: float, low: float, high: float, expected: float) -> None:
    prepared = prepare({"a": [value]}, columns={"a": f"periodic({low},{high})"})
    assert prepared.raw.x.item() == pytest.approx(expected) and low <= prepared.raw.x.item() < high


@given(st.floats(-1e6, 1e6), st.floats(-100, 100), st.floats(0.01, 100))
@settings(max_examples=200, deadline=None)
def test_wrapping_moves_by_whole_turns(value: float, low: float, period: float) -> None:
    from gnomon.data.encoding.columns import wrap

    moved = wrap(np.array([value]), Periodic(low, low + period))[0]
    turns = (value - moved) / period
    assert low <= moved < low + period and abs(turns - round(turns)) < 1e-6 * max(1, abs(value) / period)


# ---- what is wrong with the values --------------------------------------------------------------------------------

N = 12
GOOD = {"a": np.arange(N) + 0.5, "n": np.arange(N), "c": ["u", "v", "w"] * 4, "y": ["p", "q"] * 6, "w": np.ones(N)}


def spoilt(name: str, row: int, value: Any) -> dict[str, Any]:
    values = list(GOOD[name])
    values[row - 1] = value
    return GOOD | {name: values}


BAD: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "missing number": (spoilt("a", 4, None), {}, ("'a'", "1 missing value ", "row 4", 'missing="drop"', 'missing="impute"')),
    "missing NaN": (spoilt("a", 4, math.nan), {}, ("'a'", "1 missing value ", "row 4")),
    "missing integer": (spoilt("n", 5, None), {}, ("'n'", "row 5")),
    "missing text": (spoilt("c", 6, None), {}, ("'c'", "row 6")),
    "missing in two columns": (spoilt("a", 4, None) | {"c": [None] * 2 + ["u", "v"] * 5}, {}, ("'a'", "1 other column")),
    "missing target": (spoilt("y", 3, None), {"target": "y"}, ("'y'", "row 3", 'missing="drop"')),
    "missing target is not filled": (spoilt("y", 3, None), {"target": "y", "missing": "impute"}, ("'y'", "never filled", "drop")),
    "missing condition": (spoilt("a", 3, None), {"given": "a"}, ("'a'", "row 3")),
    "missing weight": (spoilt("w", 3, None), {"weight": "w"}, ("'w'", "row 3")),
    "all rows missing": ({"a": [None, 1.0], "b": [1.0, None]}, {"missing": "drop"}, ("every row", "'b' lacks 50%")),
    "half a character": ({"a": np.array(["x", "\ud800"]), "b": [1.0, 2.0]}, {}, ("'a'", "surrogate", "mend")),
    "half a character in a list": ({"a": ["x", "\ud800"], "b": [1.0, 2.0]}, {}, ("'a'", "surrogate", "mend")),
    "infinite": (spoilt("a", 7, math.inf), {}, ("'a'", "row 7", "inf")),
    "minus infinite": (spoilt("a", 8, -math.inf), {"missing": "drop"}, ("'a'", "row 8", "-inf")),
    "infinite in an array": (np.array([[1, 2], [3, math.inf]]), {}, ("'x1'", "row 2")),
    "infinite weight": (spoilt("w", 2, math.inf), {"weight": "w"}, ("'w'", "row 2", "inf")),
    "weights of no sum": (GOOD | {"w": [1.0, -1.0] * 6}, {"weight": "w"}, ("'w'", "sum to 0", "greater than 0")),
    "weights negative": (GOOD | {"w": -np.ones(N)}, {"weight": "w"}, ("sum to -12",)),
    "weights of text": (GOOD, {"weight": "c"}, ("'c'", "string", "numbers")),
    "weights by array": ({"x": np.ones((3, 2)), "weight": np.zeros(3)}, {}, ("weights", "sum to 0")),
    "weights of two axes": ({"x": np.ones((3, 2)), "weight": np.ones((3, 2))}, {}, ("weight", "(3, 2)")),
    "unknown target": (GOOD, {"target": "yy"}, ("'yy'", "target", "did you mean 'y'")),
    "unknown given": (GOOD, {"given": ["aa"]}, ("'aa'", "given", "did you mean 'a'")),
    "unknown drop": (GOOD, {"drop": "a,cc"}, ("'cc'", "drop", "did you mean 'c'")),
    "unknown weight": (GOOD, {"weight": "W"}, ("'W'", "weight")),
    "unknown override": (GOOD, {"columns": {"aa": "real"}}, ("'aa'", "columns", "did you mean 'a'")),
    "unknown override of an array": (np.ones((3, 2)), {"columns": {"x2": "real"}}, ("'x2'", "x0, x1")),
    "two weights": (GOOD, {"weight": "a,w"}, ("one column",)),
    "two roles": (GOOD, {"given": "a", "target": "a"}, ("'a'", "target and given")),
    "nothing left": (GOOD, {"drop": list(GOOD)}, ("no column is left",)),
    "no support": (GOOD, {"columns": {"a": "reel"}}, ("'a'", "'reel'", "bounded(low,high)")),
    "bounds fall": (GOOD, {"columns": {"a": "bounded(1,0)"}}, ("'a'", "low end below")),
    "columns is no dict": (GOOD, {"columns": ["a:real"]}, ("dict", "positive")),
    "zero is not positive": (GOOD, {"columns": {"n": "positive"}}, ("'n'", "row 1", "holds 0", "nonnegative")),
    "negative is not positive": (spoilt("a", 3, -1.0), {"columns": {"a": "positive"}}, ("'a'", "row 3", "-1", "> 0")),
    "negative": (spoilt("a", 3, -1.0), {"columns": {"a": "nonnegative"}}, ("'a'", "row 3", ">= 0")),
    "out of bounds": (GOOD, {"columns": {"a": "bounded(0,5)"}}, ("'a'", "row 6", "5.5", "[0, 5]")),
    "out of integers": (GOOD, {"columns": {"n": "integer(0,5)"}}, ("'n'", "row 7", "holds 6", "from 0 to 5")),
    "not whole": (GOOD, {"columns": {"a": "integer"}}, ("'a'", "row 1", "0.5", "whole")),
    "not whole in an array": (np.array([[1.0, 2.0], [3.0, 4.5]]), {"columns": {"x1": "integer"}}, ("'x1'", "row 2", "4.5")),
    "text as numbers": (GOOD, {"columns": {"c": "real"}}, ("'c'", "'u' in row 1", "numbers")),
    "bool as numbers": ({"b": [True, False]}, {"columns": {"b": "real"}}, ("'b'", "bool", "categorical")),
    "times as categories": ({"t": pa.array([1, 2], pa.timestamp("s"))}, {"columns": {"t": "categorical"}}, ("'t'", "timestamp")),
    "unknown category": (GOOD, {"columns": {"c": Categorical(("u", "v"))}}, ("'c'", "row 3", "'w'", "'u', 'v'")),
    "every text another": ({"id": [f"i{i}" for i in range(20)]}, {}, ("'id'", "20 rows", "drop", "categorical")),
    "too many texts": ({"id": [f"i{i % 1500}" for i in range(3000)]}, {}, ("'id'", "1500 distinct", "1000", "drop")),
    "too many classes": ({"a": np.ones(3000), "y": np.arange(3000) % 1500}, {"target": "y", "wanted": "label"}, ("'y'", "1500", "1000")),
    "fractions as classes": ({"a": np.ones(50), "y": np.arange(50) / 7}, {"target": "y", "wanted": "label"}, ("'y'", "regressor")),
    "every class another": ({"a": np.ones(50), "y": np.arange(50)}, {"target": "y", "wanted": "label"}, ("'y'", "each of its 50 rows")),
    "one class": (GOOD | {"y": ["p"] * N}, {"target": "y", "wanted": "label"}, ("'y'", "one class", "'p'")),
    "times as classes": ({"a": [1.0], "y": pa.array([1], pa.date32())}, {"target": "y", "wanted": "label"}, ("'y'", "date32")),
    "classes as numbers": (GOOD, {"target": "c", "wanted": "numbers"}, ("'c'", "string", "regressor")),
    "two targets for a classifier": (GOOD, {"target": "c,y", "wanted": "label"}, ("one target", "got 2")),
    "classes by support": (GOOD, {"target": "n", "wanted": "label", "columns": {"n": "positive"}}, ("'n'", "classifier", "positive")),
    "no target": (GOOD, {"wanted": "label"}, ("needs a target", "target=")),
    "no target in an array": (np.ones((3, 2)), {"wanted": "label"}, ("needs a target", "(x, y)")),
    "one-hot target": ((np.ones((3, 2)), np.eye(3)), {"wanted": "label"}, ("one target", "got 3")),
    "target of three axes": ((np.ones((3, 2)), np.ones((3, 2, 2))), {}, ("y has shape (3, 2, 2)",)),
    "names for images": (np.ones((3, 1, 4, 4)), {"target": "y"}, ("name columns", "x=, y=")),
    "table as image": (GOOD, {"kind": "image"}, ("kind='image'", "table")),
    "image of two axes": (np.ones((3, 4)), {"kind": "image"}, ("(n, height, width)", "(3, 4)")),
    "signal of four axes": (np.ones((3, 4, 5, 6)), {"kind": "signal"}, ("(n, length)", "(3, 4, 5, 6)")),
    "vector of three axes": (np.ones((3, 4, 5)), {"kind": "vector"}, ("(3, 4, 5)", "kind=")),
    "image of text": (np.full((3, 4, 4), "a"), {"kind": "image"}, ("images hold numbers",)),
    "image without pixels": (np.ones((3, 1, 0, 4)), {}, ("no pixels",)),
    "image with NaN": (np.where(np.arange(48).reshape(3, 1, 4, 4) == 20, np.nan, 0.5), {}, ("image 2", "drop")),
    "image with NaN is not filled": (np.full((3, 1, 4, 4), np.nan), {"missing": "impute"}, ("cannot be filled",)),
    "image support": (np.ones((3, 1, 4, 4)), {"columns": {"x": "positive"}}, ("integer(0,levels-1)", "positive")),
    "image beyond levels": (np.full((3, 1, 4, 4), 9), {"columns": {"x": "integer(0,7)"}}, ("0 to 7",)),
    "images of two shapes": ([np.ones((4, 4)), np.ones((4, 5))], {"kind": "image"}, ("item 2", "(4, 5)", "(4, 4)")),
    "sets of two widths": ([np.ones((2, 3)), np.ones((1, 2))], {"kind": "set"}, ("item 2", "(1, 2)", "3")),
    "sets of text": ([["a"], ["b", "c"]], {"kind": "set"}, ("item 1",)),
    "sets all empty": ([[], []], {"kind": "set"}, ("all sets are empty",)),
    "set with NaN": ([np.ones((2, 1)), np.full((1, 1), np.nan)], {"kind": "set"}, ("'x0'", "row 2")),
    "unknown kind": (np.ones((3, 4, 4)), {"kind": "picture"}, ("kind='picture'", "'image'")),
    "unknown missing": (GOOD, {"missing": "fill"}, ("missing='fill'", "'impute'")),
    "unknown wanted": (GOOD, {"wanted": "classes"}, ("wanted='classes'", "'label'")),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BAD)
def test_every_bad_value_gives_one_line(name: str) -> None:
    data, arguments, expected = BAD[name]
    with pytest.raises(GnomonError) as caught:
        prepare(data, **arguments)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    for fragment in expected:
        assert fragment in message, message


def test_the_file_is_named(tmp_path: Path) -> None:
    for name, write in (("t.parquet", pa.parquet.write_table), ("t.csv", lambda t, path: t.to_pandas().to_csv(path, index=False))):
        path = tmp_path / name
        write(pa.table(spoilt("a", 4, None)), path)
        with pytest.raises(DataError) as caught:
            prepare(path)
        assert str(caught.value).startswith(f"{path}: column 'a' holds 1 missing value (the first in row 4)")


def test_what_is_meant_can_be_said() -> None:
    """Every refusal that suggests an override is satisfied by it."""
    assert prepare({"id": [f"i{i}" for i in range(20)]}, columns={"id": "categorical"}).raw.x[:3, 0].tolist() == [0, 1, 12]
    assert prepare(spoilt("n", 3, 0), columns={"n": "nonnegative"}).spec.x.columns[1].support == NonNegative()
    mixed = {"a": ["1", "2", "3", "x"]}
    assert prepare(mixed, columns={"a": "categorical"}).spec.x.columns[0].support == Categorical(("1", "2", "3", "x"))
    big = {"id": [2**60, 2**60 + 1, 2**60]}
    assert prepare(big, columns={"id": "categorical"}).raw.x[:, 0].tolist() == [0, 1, 0]
    many = {"a": np.ones(3000), "y": np.arange(3000) % 1500}
    assert len(prepare(many, target="y", wanted="label", columns={"y": "categorical"}).spec.y.classes) == 1500


# ---- missing values -----------------------------------------------------------------------------------------------


def test_drop_says_how_many_and_keeps_the_rest() -> None:
    table = pa.table({"a": [1.0, None, 3.0, 4.0], "c": ["u", "v", None, "u"], "y": [1, 2, 1, 2], "unused": [None, 1, 2, 3]})
    prepared = prepare(table, target="y", wanted="label", drop="unused", missing="drop")
    assert prepared.raw.x.tolist() == [[1, 0], [4, 0]] and prepared.raw.y.tolist() == [0, 1]
    assert prepared.kept.tolist() == [0, 3] and prepared.table["a"].to_pylist() == [1, 4] and prepared.source["rows"] == 2
    assert prepared.notices == ["dropped 2 of 4 rows with missing values"]


def test_impute_against_pandas() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=99), "c": rng.choice(["u", "v", "w"], 99)})
    frame.loc[::7, "a"] = np.nan
    frame.loc[::9, "c"] = None
    prepared = prepare(frame, missing="impute")
    assert np.allclose(prepared.raw.x[:, 0], frame["a"].fillna(frame["a"].median()))
    codes = frame["c"].fillna(frame["c"].mode()[0]).map({"u": 0, "v": 1, "w": 2})
    assert prepared.raw.x[:, 1].tolist() == codes.tolist()
    assert len(prepared.notices) == 2 and "15 missing values with the median" in prepared.notices[0]
    assert "most frequent" in prepared.notices[1]


def test_imputed_integers_stay_whole() -> None:
    assert prepare({"n": pa.array([1, 2, None])}, missing="impute").raw.x.tolist() == [[1], [2], [1]]


def test_dropping_images_and_sets() -> None:
    images = np.full((3, 1, 2, 2), 0.5)
    images[1, 0, 0, 0] = np.nan
    prepared = prepare((images, np.array([0, 1, 1])), wanted="label", missing="drop")
    assert prepared.raw.x.shape == (2, 1, 2, 2) and prepared.raw.y.tolist() == [0, 1]
    sets = prepare([np.array([1.0, np.nan]), np.zeros(0), np.array([2.0, 3.0, 4.0])], kind="set", missing="drop")
    assert sets.raw.x.lengths.tolist() == [0, 3] and sets.raw.x.values[:, 0].tolist() == [2, 3, 4]


# ---- following a Spec ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted() -> Spec:
    return prepare(MIXED, target="kind", given="colour", weight="w", columns=OVERRIDES, wanted="label").spec


def test_order_extra_columns_and_types_do_not_matter(fitted: Spec) -> None:
    first = prepare(MIXED, spec=fitted)
    shuffled = MIXED.select(MIXED.column_names[::-1]).append_column("extra", pa.array(["?"] * ROWS))
    other = prepare(shuffled.to_pandas(), spec=fitted)
    for role, values in first.raw.roles():
        assert torch.equal(values, getattr(other.raw, role)), role
    assert other.spec is fitted


def test_codes_and_origins_are_those_of_training(fitted: Spec) -> None:
    late = MIXED.slice(3, 2)
    raw = prepare(late, spec=fitted).raw
    names = fitted.x.names
    assert raw.x[:, names.index("when")].tolist() == [180, 240]
    assert raw.given[:, 0].tolist() == [1, 0] and raw.y.tolist() == [1, 0]


def test_roles_that_are_not_needed_may_be_missing(fitted: Spec) -> None:
    bare = MIXED.drop_columns(["kind", "w"])
    raw = prepare(bare, spec=fitted).raw
    assert raw.y is None and raw.weight is None and raw.given is not None
    assert prepare(MIXED, spec=fitted, roles=("x",)).raw.given is None
    with pytest.raises(DataError, match="column 'kind' is missing"):
        prepare(bare, spec=fitted, roles=("x", "y"))
    with pytest.raises(DataError, match="column 'w' is missing"):
        prepare(bare, spec=fitted, roles=("x", "weight"))


def test_values_outside_a_support_are_left_to_the_density(fitted: Spec) -> None:
    """−inf is the answer of log_prob there, so reading must not refuse."""
    table = MIXED.set_column(1, "positive", pa.array([-1.0] * ROWS))
    assert prepare(table, spec=fitted).raw.x[:, 1].tolist() == [-1.0] * ROWS


FOLLOWING: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "missing column": (MIXED.drop_columns("share"), {}, ("'share' is missing", "real, positive")),
    "unknown category": (MIXED.set_column(6, "colour", pa.array(["red"] * 5 + ["pink"])), {}, ("'colour'", "row 6", "'pink'", "'blue'")),
    "unknown class": (MIXED.set_column(8, "kind", pa.array(["u"] * 4 + ["z"] * 2)), {"roles": ("x", "y")}, ("'kind'", "row 5", "'z'")),
    "text for numbers": (MIXED.set_column(0, "real", pa.array(["1"] * 5 + ["x"])), {}, ("'real'", "'x' in row 6", "numbers")),
    "numbers for times": (MIXED.set_column(7, "when", pa.array([1.0] * ROWS)), {}, ("'when'", "double", "timestamp")),
    "times for numbers": (MIXED.set_column(0, "real", pa.array([1] * ROWS, pa.timestamp("s"))), {}, ("'real'", "timestamp", "double")),
    "missing value": (MIXED.set_column(0, "real", pa.array([None] + [1.0] * 5)), {}, ("'real'", "row 1", "drop")),
    "an empty column": (MIXED.set_column(0, "real", pa.nulls(ROWS)), {}, ("'real'", "6 missing values")),
    "array for a table": (np.ones((3, 8)), {}, ("table with the columns real", "8 columns")),
    "no rows": (MIXED.slice(0, 0), {}, ("no rows",)),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_data_that_does_not_follow_is_refused_in_one_line(name: str, fitted: Spec) -> None:
    data, arguments, expected = FOLLOWING[name]
    with pytest.raises(DataError) as caught:
        prepare(data, spec=fitted, **arguments)
    assert "\n" not in str(caught.value)
    for fragment in expected:
        assert fragment in str(caught.value), caught.value


def test_following_bare_arrays() -> None:
    spec = prepare((np.ones((4, 3)), np.array(["u", "v"] * 2)), wanted="label").spec
    assert prepare(np.zeros((2, 3)), spec=spec).raw.y is None
    assert prepare((np.zeros((2, 3)), ["v", "u"]), spec=spec).raw.y.tolist() == [1, 0]
    assert prepare({"x1": [2.0], "x0": [1.0], "x2": [3.0]}, spec=spec).raw.x.tolist() == [[1, 2, 3]]
    for bad in (np.zeros((2, 4)), np.zeros((2, 3, 1)), np.zeros(2)):
        with pytest.raises(DataError, match=r"expected \(n, 3\)"):
            prepare(bad, spec=spec)
    with pytest.raises(DataError, match="'w'"):
        prepare((np.zeros((1, 3)), ["w"]), spec=spec)


def test_following_images_and_sets() -> None:
    spec = prepare(np.tile(np.arange(16), (3, 1, 4, 1)).astype(np.uint8)).spec
    for bad, fragment in [
        (np.zeros((2, 1, 4, 5)), "expected (1, 4, 16)"),
        (np.full((2, 1, 4, 16), 99), "image 1 holds 99"),
        (np.full((2, 1, 4, 16), 0.5), "image 1 holds 0.5"),
        (MIXED, "expected images"),
        ([np.zeros((4, 16)), np.zeros((4, 15))], "item 2 has shape (4, 15)"),
    ]:
        with pytest.raises(DataError) as caught:
            prepare(bad, spec=spec)
        assert fragment in str(caught.value), caught.value
    sets = prepare([np.ones((2, 3)), np.ones((1, 3))], kind="set").spec
    with pytest.raises(DataError, match="3"):
        prepare([np.ones((2, 2)), np.ones((1, 2))], spec=sets)


def test_texts_of_digits_stay_texts(tmp_path: Path) -> None:
    """A new CSV in which a column of texts happens to hold only digits."""
    (tmp_path / "train.csv").write_text("zip,a\n" + "x1,1.5\n01,2\n" * 5)
    (tmp_path / "new.csv").write_text("zip,a\n01,1\n01,2\n")
    spec = prepare(tmp_path / "train.csv").spec
    assert prepare(tmp_path / "new.csv", spec=spec).raw.x.tolist() == [[0, 1], [0, 2]]


def test_absent_conditions() -> None:
    spec = prepare(MIXED, given=["colour", "share"]).spec
    table = MIXED.drop_columns("share").set_column(5, "colour", pa.array(["red", None] * 3))
    with pytest.raises(DataError, match="'share' is missing"):
        prepare(table, spec=spec)
    found = prepare(table, spec=spec, absent=True).raw.given
    assert found[:, 1].isnan().all() and found[:, 0].isnan().tolist() == [False, True] * 3


def test_categories_meet_across_types() -> None:
    """Whole numbers that became floats on the way (pandas with holes), and 0/1 for booleans."""
    spec = prepare({"n": [3, 5, 3], "b": [True, False, True]}, columns={"n": "categorical"}).spec
    assert prepare({"n": [5.0, 3.0], "b": [1, 0]}, spec=spec).raw.x.tolist() == [[1, 1], [0, 0]]
    with pytest.raises(DataError, match="row 2 holds 2"):
        prepare({"n": [5, 3], "b": [1, 2]}, spec=spec)


def test_spec_survives_json(fitted: Spec) -> None:
    import json

    again = Spec.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    assert torch.equal(prepare(MIXED, spec=again).raw.x, prepare(MIXED, spec=fitted).raw.x)


# ---- words, speed and memory --------------------------------------------------------------------------------------


def test_describe(fitted: Spec) -> None:
    lines = describe(fitted).splitlines()
    assert len(lines) == len(fitted.x) + 3 and len({line.index("  ") for line in lines[:8]}) == 1
    text = describe(fitted)
    for fragment in (
        "periodic(-3.14159, 3.14159)",
        "integer(0, 9)",
        "categorical (2: False, True)",
        "seconds since 1970",
        "label (2: u, v)",
    ):
        assert fragment in text
    assert describe(prepare(np.ones((4, 784))).spec) == "x  x0 … x783  real  double"
    assert "image 3x8x9, 256 levels, channels last" in describe(prepare(np.full((2, 8, 9, 3), 99, np.uint8)).spec)
    assert "\n" not in describe(prepare({"c": ["a\nb", "a\nb", "c"]}).spec)


def test_options_are_option_errors() -> None:
    with pytest.raises(OptionError):
        prepare(np.ones((3, 2)), missing="no")


MEASURE = """
import resource, sys, time
import numpy as np, pyarrow as pa, pyarrow.compute, pyarrow.csv, pyarrow.parquet, torch
from gnomon.data import prepare
prepare({"a": [1.0, 2.0], "c": ["u", "v"]})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
prepared = prepare(sys.argv[1], target="y", wanted="label")
print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, len(prepared.raw))
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_million_rows_in_seconds_and_well_under_a_gigabyte(suffix: str, tmp_path: Path) -> None:
    from gnomon.data import write

    n, rng = 10**6, np.random.default_rng(0)
    table = pa.table(
        {f"f{i}": rng.normal(size=n) for i in range(5)}
        | {"i": rng.integers(0, 100, n), "b": rng.random(n) < 0.5, "s": rng.integers(0, 20, n).astype(str)}
        | {"t": pa.array(rng.integers(0, 10**15, n), pa.timestamp("us")), "y": rng.integers(0, 3, n)}
    )
    path = write(table, tmp_path / f"t.{suffix}")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, env=environment)
    seconds, megabytes, rows = (float(part) for part in done.stdout.split())
    assert rows == n and megabytes < 600 and seconds < 20, done.stdout
