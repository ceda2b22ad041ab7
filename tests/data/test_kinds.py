"""Kinds and Spec: they survive JSON, supports are parsed as written, damaged descriptions are refused."""

import json
import math

import pytest

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
    Real,
    Sequence,
    Set,
    Spec,
    Tokens,
    Vector,
    parse_support,
)
from gnomon.errors import DataError

SUPPORTS = [
    Real(),
    Positive(),
    NonNegative(),
    Bounded(-1.5, 2.0),
    Periodic(0.0, 2 * math.pi),
    Integer(),
    Integer(0, 9),
    Integer(0, None),
    Categorical(("a", "b")),
    Categorical((True, False)),
    Categorical((1, 5, 7)),
]
TABLE = Vector(tuple(Column(f"c{i}", s, units="m", type="double") for i, s in enumerate(SUPPORTS)))
KINDS = {
    "vector": TABLE,
    "bare vector": Vector.real(3),
    "time": Vector((Column("t", type="timestamp[us]", origin="2020-01-01T00:00:00"),)),
    "image": Image(3, (8, 9), levels=256, layout="last"),
    "signal": Image(1, (100,)),
    "volume": Image(2, (4, 5, 6)),
    "set": Set(TABLE),
    "sequence": Sequence(Vector.real(2)),
    "tokens": Tokens(("a", "b", "<end>")),
    "label": Label(("x", "y"), name="kind", type="string"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("role", ["x", "y"])
def test_spec_survives_json(name, role):
    spec = Spec(**{"x": Vector.real(1), role: KINDS[name]}, given=TABLE, weight="w")
    again = Spec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec and hash(again) == hash(spec)
    assert again != spec.with_(weight=None)


def test_categories_keep_their_type():
    spec = Spec(Vector((Column("b", Categorical((True, False)), type="bool"), Column("k", Categorical((1, 2)), type="int64"))))
    again = Spec.from_json(json.loads(json.dumps(spec.to_json())))
    assert [type(v) for c in again.x.columns for v in c.support.values] == [bool, bool, int, int]


@pytest.mark.parametrize(
    "damage", [lambda d: d.pop("x"), lambda d: d["x"].update(kind="cube"), lambda d: d["x"].pop("columns"), lambda d: d.update(x=3)]
)
def test_damaged_descriptions_are_refused(damage):
    data = Spec(Vector.real(1)).to_json()
    damage(data)
    with pytest.raises(DataError, match="run folder is damaged"):
        Spec.from_json(data)


TEXTS = {
    "real": Real(),
    "positive": Positive(),
    " nonnegative ": NonNegative(),
    "bounded(0,1)": Bounded(0.0, 1.0),
    "bounded( -1.5 , 1e3 )": Bounded(-1.5, 1000.0),
    "periodic(-pi, pi)": Periodic(-math.pi, math.pi),
    "periodic(0,2pi)": Periodic(0.0, 2 * math.pi),
    "periodic(0, 0.5*pi)": Periodic(0.0, math.pi / 2),
    "periodic(0,360)": Periodic(0.0, 360.0),
    "integer": Integer(),
    "integer(0,9)": Integer(0, 9),
    "categorical": Categorical(()),
}


@pytest.mark.parametrize("text", TEXTS)
def test_supports_as_written(text):
    assert parse_support(text, column="c") == TEXTS[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "reel",
        "bounded",
        "bounded(1)",
        "bounded(0,1,2)",
        "bounded(a,b)",
        "positive(0,1)",
        "integer(3)",
        "categorical(a)",
        "periodic(pi2,1)",
    ],
)
def test_unknown_supports_are_refused_with_the_column(text):
    with pytest.raises(DataError, match="column 'energy': support .* is not known; use real, positive"):
        parse_support(text, column="energy")


@pytest.mark.parametrize("text", ["bounded(1,0)", "periodic(1,1)", "integer(5,2)", "bounded(nan,1)"])
def test_ends_must_rise(text):
    with pytest.raises(DataError, match="low end below its high end"):
        parse_support(text, column="c")


def test_shapes():
    assert TABLE.shape == (len(SUPPORTS),) and len(TABLE) == len(SUPPORTS) and TABLE.names[0] == "c0"
    assert Image(3, (8, 9)).shape == (3, 8, 9) and Image(1, (100,)).dimension == 1
    assert Vector.real(2).bare and Vector.real(2).names == ("x0", "x1")
    assert Periodic(-1.0, 2.0).period == 3.0
