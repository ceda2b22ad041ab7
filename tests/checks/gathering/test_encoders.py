"""Encoders: how sets are spoilt, how long they train, what they remember, and that odd rows do not stop them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnomon.checks.gathering.encoders import (
    LONGEST,
    Made,
    autoencoder_of,
    classifier_of,
    digests,
    features_by,
    prepared_for,
    probabilities_by,
    set_encoder_of,
    shown_as,
    spoilt_sets,
)
from gnomon.data import Categorical, Column, Image, Integer, Label, Periodic, Positive, Ragged, Real, Set, Vector
from gnomon.learned import load

KIND = Set(Vector((Column("pt", Positive()), Column("sort", Categorical(("a", "b")), type="string"), Column("phi", Periodic(0.0, 1.0)))))


def _sets(seed: int, rows: int) -> Ragged:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 6, size=rows)
    n = int(lengths.sum())
    made = np.stack([rng.exponential(size=n), rng.integers(0, 2, size=n), rng.random(n)], axis=1)
    return Ragged(torch.from_numpy(made), torch.from_numpy(lengths))


def test_spoilt_sets_hold_the_same_elements_otherwise_arranged() -> None:
    sets = _sets(0, 200)
    both, done = spoilt_sets(KIND, sets, np.random.default_rng(1))
    assert len(both) == 600 and done.tolist() == [0] * 200 + [1] * 200 + [2] * 200
    whole, exchanged, shuffled = (both[torch.arange(600)[done == k]] for k in range(3))
    assert torch.equal(whole.values, sets.values)
    for part in (exchanged, shuffled):
        assert torch.equal(part.lengths, sets.lengths)
    known = {tuple(row) for row in sets.values.tolist()}
    assert {tuple(row) for row in exchanged.values.tolist()} <= known
    changed = (exchanged.values != sets.values).any(1).double().mean()
    assert 0.5 < float(changed) < 0.75  # a share from 0.3 to 1, less those drawn again by chance
    for one, two in zip(shuffled.split(), sets.split(), strict=True):
        differing = [c for c in range(3) if not torch.equal(one[:, c], two[:, c])]
        assert len(differing) <= 1 and all(torch.equal(one[:, c].sort().values, two[:, c].sort().values) for c in range(3))


def test_elements_of_one_column_cannot_be_shuffled() -> None:
    kind = Set(Vector((Column("x"),)))
    both, done = spoilt_sets(kind, Ragged(torch.rand(5, 1), torch.tensor([2, 0, 3])), np.random.default_rng(0))
    assert len(both) == 6 and set(done.tolist()) == {0, 1}
    none, _ = spoilt_sets(kind, Ragged(torch.zeros(0, 1), torch.tensor([0, 0])), np.random.default_rng(0))
    assert len(none.values) == 0


def test_kinds_are_freed_of_their_supports() -> None:
    shown = shown_as(Set(Vector((Column("n", Integer(0, 3)), Column("c", Categorical(("u", "v"))), Column("t", origin="2020")))))
    assert [type(c.support) for c in shown.of.columns] == [Real, Categorical, Real] and shown.of.columns[2].origin is None


@pytest.mark.parametrize(("size", "wanted"), [((1000,), (500,)), ((64, 50), (32, 25)), ((28, 33), (28, 17)), ((30, 12, 12), (10, 12, 12))])
def test_long_axes_are_averaged_down(size: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    kind = Image(2, size, 256, "last")
    shown = shown_as(kind)
    assert shown == Image(2, wanted, None, "first") and max(wanted) <= LONGEST[len(size)]
    pixels = torch.randint(0, 256, (3, 2, *size), dtype=torch.uint8)
    made = prepared_for(shown, pixels)
    assert isinstance(made, torch.Tensor) and made.shape == (3, 2, *wanted) and made.dtype == torch.float32
    if all(a % b == 0 for a, b in zip(size, wanted, strict=True)):
        assert torch.allclose(made.mean(dim=tuple(range(2, made.dim()))), pixels.float().mean(dim=tuple(range(2, made.dim()))), rtol=1e-4)


def test_budgets_decide_the_number_of_steps_and_nothing_else_does() -> None:
    rng = np.random.default_rng(0)
    rows, codes = torch.from_numpy(rng.normal(size=(128, 2))), rng.integers(0, 2, 128)
    label = Label(("no", "yes"), "y", "string")
    short, long = (Made.of(classifier_of(Vector.real(2), rows, label, codes, seconds=s, seed=0)).steps for s in (0.01, 0.3))
    assert short == 40 and 150 <= long <= 250


@pytest.mark.parametrize("kind", ["image", "set", "vector"])
def test_an_encoder_is_stored_with_what_it_remembers_and_works_alike(kind: str, tmp_path) -> None:  # noqa: ANN001
    rng = np.random.default_rng(0)
    if kind == "image":
        what, rows = Image(1, (40, 36), 256), torch.from_numpy(rng.integers(0, 256, (64, 1, 40, 36)).astype(np.uint8))
        made = autoencoder_of(what, rows, seconds=0.01, seed=0)
    elif kind == "set":
        what, rows = KIND, _sets(0, 64)  # type: ignore[assignment]
        made = set_encoder_of(KIND, _sets(0, 64), seconds=0.01, seed=0)
    else:
        what, rows = Vector((Column("y", Positive()), Column("n", Integer()))), torch.from_numpy(rng.integers(1, 9, (64, 2)) + 0.0)  # type: ignore[assignment]
        made = classifier_of(what, rows, Label((3, 5), "y"), rng.integers(0, 2, 64), seconds=0.01, seed=0)
        assert made.spec.y.name == "y'"
    made.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert Made.of(again) == Made.of(made) and Made.of(again).steps >= 30
    assert np.array_equal(features_by(made, what, rows), features_by(again, what, rows))
    assert features_by(made, what, rows).shape == (64, 24 if kind == "image" else 32)
    if kind == "vector":
        assert np.allclose(probabilities_by(again, what, rows).sum(axis=1), 1)
        assert np.isfinite(features_by(again, what, -1e6 * rows)).all()  # the other side may stray from any support


def test_digests_know_a_row_whatever_its_type() -> None:
    pixels = torch.randint(0, 9, (5, 1, 3, 3), dtype=torch.uint8)
    assert digests(pixels) == digests(pixels.float()) and len(set(digests(pixels))) == 5 and len(digests(pixels)[0]) == 16
    sets = _sets(0, 6)
    assert digests(sets)[2:4] == digests(sets[torch.tensor([2, 3])])
    assert digests(pixels[:0]) == []
