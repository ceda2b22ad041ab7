"""Conditions that are images or sets: how they are read, followed, scaled, cut into batches, and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from gnomon.data import (
    Column,
    Examples,
    Image,
    InMemory,
    Ragged,
    Scaling,
    Sequence,
    Set,
    Spec,
    Vector,
    blank,
    describe,
    fingerprint,
    prepare,
)
from gnomon.errors import DataError, OptionError

RNG = np.random.default_rng(0)
N = 30
X = RNG.normal(size=(N, 2))
IMAGES = RNG.normal(size=(N, 1, 4, 4))
SETS = [RNG.normal(size=(k, 3)) for k in RNG.integers(0, 5, N)]
EVEN = [RNG.normal(size=(4, 3)) for _ in range(N)]
TABLE = pa.table({"a": X[:, 0], "b": X[:, 1]})
THREE = Set(Vector.real(3))


def kind_of(given: Any, **more: Any) -> Any:
    return prepare({"x": X, "given": given}, **more).spec.given


# ---- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [X, X[:, 0], TABLE, {"a": X[:, 0]}, torch.tensor(X)], ids=["array", "one axis", "table", "dict", "tensor"])
@pytest.mark.parametrize("given", [IMAGES, SETS, X], ids=["images", "sets", "columns"])
def test_conditions_stand_beside_any_x(x: Any, given: Any) -> None:
    prepared = prepare({"x": x, "given": given})
    raw = prepared.raw.given
    assert len(raw) == len(prepared.raw) == N
    if given is SETS:
        assert isinstance(raw, Ragged) and raw.lengths.tolist() == [len(s) for s in SETS]
        assert np.array_equal(raw.values.numpy(), np.concatenate(SETS))
    else:
        assert np.array_equal(raw.numpy(), given)
    if isinstance(x, (dict, pa.Table)):
        assert prepared.spec.x.names[0] == "a" and not prepared.spec.x.bare


def test_what_arrays_and_lists_are() -> None:
    assert kind_of(IMAGES) == Image(1, (4, 4))
    assert kind_of((IMAGES > 0).astype(int)) == Image(1, (4, 4), 2)
    assert kind_of(RNG.normal(size=(N, 4, 4, 3))) == Image(3, (4, 4), None, "last")
    assert kind_of(RNG.normal(size=(N, 1, 4, 4, 4))) == Image(1, (4, 4, 4))
    assert kind_of(list(IMAGES)) == Image(1, (4, 4))
    for sets in (SETS, EVEN, [torch.tensor(s) for s in EVEN]):
        assert isinstance(kind_of(sets), Set) and kind_of(sets).of.names == ("given0", "given1", "given2")
    assert isinstance(kind_of([[1.0] * (i % 3) for i in range(N)]), Set)
    assert isinstance(kind_of([[1.0, 2.0]] * N), Vector)


def test_kind_tells_what_an_array_does_not() -> None:
    grey = IMAGES[:, 0]
    assert kind_of(grey, kind={"given": "image"}) == Image(1, (4, 4), None, "none")
    assert kind_of(grey, kind={"given": "signal"}) == Image(4, (4,))
    assert isinstance(kind_of(grey, kind={"given": "set"}), Set)
    both = prepare({"x": grey, "given": grey}, kind={"x": "image", "given": "signal"}).spec
    assert both.x == Image(1, (4, 4), None, "none") and both.given == Image(4, (4,))
    levels = prepare({"x": X, "given": (IMAGES > 0) * 3}, columns={"given": "integer(0,7)"}).spec.given
    assert levels == Image(1, (4, 4), 8)


def test_columns_of_lists_are_a_set() -> None:
    table = TABLE.append_column("pt", pa.array([list(s[:, 0]) for s in SETS])).append_column("eta", pa.array([list(s[:, 1]) for s in SETS]))
    prepared = prepare(table, given=["pt", "eta"])
    assert prepared.spec.given == Set(Vector((Column("pt"), Column("eta"))))
    again = prepare(table, spec=prepared.spec)
    assert fingerprint(again.raw) == fingerprint(prepared.raw)
    assert describe(prepared.spec).splitlines()[-1].split()[:4] == ["given", "eta", "set", "of"]


def test_lists_are_sequences_where_that_is_said() -> None:
    prepared = prepare({"x": X, "given": SETS}, kind={"given": "sequence"})
    assert prepared.spec.given == Sequence(prepare({"x": X, "given": SETS}).spec.given.of)
    assert Spec.from_json(prepared.spec.to_json()) == prepared.spec
    table = TABLE.append_column("pt", pa.array([list(s[:, 0]) for s in SETS]))
    listed = prepare(table, given=["pt"], kind={"given": "sequence"}).spec
    assert listed.given == Sequence(Vector((Column("pt"),))) and prepare(table, spec=listed).spec == listed


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "three axes": (IMAGES[:, 0], {}, DataError, r"given has shape \(30, 4, 4\); say what it is: kind=\{'given': 'image'\}"),
    "other rows": (IMAGES[:5], {}, DataError, "'given' has 5 rows but 'x' has 30"),
    "holes": (np.where(IMAGES > 2, np.nan, IMAGES), {}, DataError, "given: image .* holds missing or infinite pixels"),
    "no filling": (np.where(IMAGES > 2, np.nan, IMAGES), {"missing": "impute"}, DataError, "given: images with missing pixels"),
    "another width": ([*SETS[:-1], np.zeros((2, 5))], {}, DataError, r"given: item 30 has shape \(2, 5\)"),
    "another role": (IMAGES, {"kind": {"y": "image"}}, OptionError, "kind says what x and given are; got 'y'"),
    "another word": (IMAGES, {"kind": {"given": "picture"}}, OptionError, "kind='picture' is not known"),
    "said twice": (IMAGES, {"given": ["x0"]}, DataError, "also came as an array beside it"),
    "unknown override": (IMAGES, {"columns": {"given0": "positive"}}, DataError, "given0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(name: str) -> None:
    given, options, error, match = REFUSED[name]
    with pytest.raises(error, match=match):
        prepare({"x": X, "given": given}, **options)


def test_lists_beside_numbers_are_refused() -> None:
    table = TABLE.append_column("pt", pa.array([list(s[:, 0]) for s in SETS]))
    with pytest.raises(DataError, match="'pt' holds lists and 'b' does not"):
        prepare(table, given=["pt", "b"])


def test_rows_with_holes_are_dropped_with_their_x() -> None:
    holed = IMAGES.copy()
    holed[3, 0, 1, 1] = np.nan
    prepared = prepare({"x": TABLE, "given": holed}, missing="drop")
    assert prepared.kept.tolist() == [i for i in range(N) if i != 3] and prepared.table.num_rows == N - 1
    assert np.array_equal(prepared.raw.given.numpy(), np.delete(IMAGES, 3, 0))


# ---- following ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Image(2, (4, 5), 17, "last"), Image(1, (6,)), THREE], ids=["image", "signal", "set"])
def test_a_spec_survives_json(kind: Any) -> None:
    spec = Spec(Vector.real(2), given=kind)
    assert Spec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("given", [IMAGES, SETS, EVEN], ids=["images", "sets", "even sets"])
def test_new_data_are_read_as_the_first(given: Any) -> None:
    for x in (X, TABLE):
        first = prepare({"x": x, "given": given})
        assert fingerprint(prepare({"x": x, "given": given}, spec=first.spec).raw) == fingerprint(first.raw)
    with pytest.raises(DataError, match="the data has no given"):
        prepare({"x": X}, spec=prepare({"x": X, "given": given}).spec)


@pytest.mark.parametrize("levels", [None, 5])
def test_an_absent_image_is_wholly_nan(levels: int | None) -> None:
    images = IMAGES if levels is None else RNG.integers(0, levels, IMAGES.shape).astype(float)
    spec = prepare({"x": X, "given": images.astype(int) if levels else images}).spec
    some, partly = images.copy(), images.copy()
    some[2], partly[2, 0, 0, 0] = np.nan, np.nan
    raw = prepare({"x": X, "given": some}, spec=spec, absent=True).raw.given
    assert raw.is_floating_point() and raw.flatten(1).isnan().all(1).nonzero().flatten().tolist() == [2]
    assert prepare({"x": X}, spec=spec, absent=True).raw.given.isnan().all()
    with pytest.raises(DataError, match="given: image 3 holds missing"):
        prepare({"x": X, "given": partly}, spec=spec, absent=True)
    with pytest.raises(DataError, match="given: image 3 holds"):
        prepare({"x": X, "given": some}, spec=spec)


# ---- scaling and batches --------------------------------------------------------------------------------------------


def test_images_and_elements_are_standardised() -> None:
    weight = np.ones(N)
    for given in (IMAGES * 3 + 5, SETS):
        prepared = prepare({"x": X, "given": given, "weight": weight})
        scaling = Scaling.fit(prepared.spec, prepared.raw)
        stored = scaling.store(prepared.raw).given
        flat = (stored.values if isinstance(stored, Ragged) else stored.flatten()).double()
        assert torch.allclose(flat.mean(0), torch.zeros(()).double(), atol=1e-5)
        assert torch.allclose(flat.std(0, correction=0), torch.ones(()).double(), atol=1e-5)
        again = Scaling.from_state(prepared.spec, scaling.state())
        assert fingerprint(again.store(prepared.raw)) == fingerprint(scaling.store(prepared.raw))
    whole = prepare({"x": X, "given": RNG.integers(0, 9, IMAGES.shape)})
    made = Scaling.fit(whole.spec, whole.raw).store(whole.raw).given
    assert made.dtype == torch.float32 and abs(float(made.mean())) < 1e-5  # conditions are network space at once, never spread


@pytest.mark.parametrize("given", [IMAGES, SETS], ids=["images", "sets"])
def test_batches_keep_each_condition_beside_its_x(given: Any) -> None:
    mark = np.arange(N, dtype=float)  # the condition of row i tells i, and so does x
    marked = (
        np.broadcast_to(mark[:, None, None, None], IMAGES.shape)
        if given is IMAGES
        else [np.full((len(s), 1), i) for i, s in enumerate(SETS)]
    )
    prepared = prepare({"x": mark, "given": marked})
    scaling = Scaling.fit(prepared.spec, prepared.raw)
    seen = []
    for batch in InMemory(scaling.store(prepared.raw), scaling, batch_size=7).batches(seed=1, epoch=0):
        x = scaling.inverse("x", batch.x).flatten().round().long()
        back = scaling.inverse("given", batch.given)
        for i, row in zip(x.tolist(), back.split() if isinstance(back, Ragged) else back, strict=True):
            assert torch.allclose(row.double(), torch.full_like(row.double(), float(i)), atol=1e-4)
            assert not isinstance(back, Ragged) or len(row) == len(SETS[i])
        seen += x.tolist()
    assert len(set(seen)) == 28


def test_examples_index_join_and_move() -> None:
    raw = prepare({"x": X, "given": SETS}).raw
    picked = raw[torch.tensor([4, 0, 4])]
    assert isinstance(picked.given, Ragged) and picked.given.lengths.tolist() == [len(SETS[i]) for i in (4, 0, 4)]
    joined = Examples.cat([raw[:10], raw[10:]])
    assert fingerprint(joined) == fingerprint(raw) and len(raw.to("cpu").given) == N


def test_blank_rows_take_images_and_refuse_sets() -> None:
    spec = Spec(Vector.real(1), given=Image(1, (4, 4)))
    assert blank(spec, N, given=IMAGES).raw.given.shape == IMAGES.shape
    with pytest.raises(DataError, match="given is Set"):
        blank(spec.with_(given=THREE), N)
