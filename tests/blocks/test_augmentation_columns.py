"""Random changes of rows of columns, and the table by which all changes are asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from gnomon import options
from gnomon.blocks.augmentation import ColumnNoise, ColumnSwap, augmentations, make_augmentation, parse_augment, suiting
from gnomon.data import Categorical, Column, Image, Integer, Label, Periodic, Sequence, Set, Vector
from gnomon.errors import OptionError

MIXED = Vector(
    (Column("phi", Periodic(-1, 1)), Column("pt"), Column("c", Categorical(("u", "d", "s"))), Column("hits", Integer(0, 9)))
)  # fmt: skip


def mixed(rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=generator)
    x[:, 2] = torch.randint(0, 3, (rows,), generator=generator).float()
    return x


def drawn(change, x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return change(x)


# ---- columns ------------------------------------------------------------------------------------------------------


def test_noise_moves_numbers_by_the_said_spread_and_nothing_else() -> None:
    x = mixed(20000)
    made = drawn(ColumnNoise(MIXED, spread=0.5), x)
    assert torch.equal(made[:, [0, 2]], x[:, [0, 2]])
    noise = (made - x)[:, [1, 3]]
    assert noise.mean(0).abs().max() < 0.02
    torch.testing.assert_close(noise.T @ noise / 20000, 0.25 * torch.eye(2), atol=0.01, rtol=0)


def test_swapped_values_come_from_other_rows_of_the_column() -> None:
    x = torch.arange(4000.0).view(1000, 4)  # every value in one place only
    made = drawn(ColumnSwap(MIXED, share=0.3), x)
    assert torch.equal(made % 4, x % 4)  # each in its own column
    share = (made != x).float().mean(0)
    assert ((share - 0.3).abs() < 0.06).all()  # ± 0.014
    everywhere = drawn(ColumnSwap(MIXED, share=1.0), x)
    assert (everywhere != x).all()  # another row, never the same
    source = (everywhere // 4).long()
    assert source.float().mean(0).sub(499.5).abs().max() < 50  # any row, ± 9
    assert not torch.equal(source[:, 0], source[:, 1])


def test_swaps_in_a_batch_of_two_one_and_none() -> None:
    pair = mixed(2)
    assert torch.equal(drawn(ColumnSwap(MIXED, share=1.0), pair), pair.flip(0))
    for rows in (1, 0):
        assert torch.equal(drawn(ColumnSwap(MIXED, share=1.0), mixed(rows)), mixed(rows))


@pytest.mark.parametrize("change", [ColumnNoise, ColumnSwap])
def test_columns_keep_the_promises_of_all_changes(change) -> None:
    x = mixed(40)
    (strength,) = options.signature(change)
    assert drawn(change(MIXED, **{strength: 0.0}), x) is x
    usual = change(MIXED)
    assert usual.eval()(x) is x
    usual.train()
    assert torch.equal(drawn(usual, x), drawn(usual, x)) and not torch.equal(drawn(usual, x), drawn(usual, x, seed=1))
    torch.manual_seed(0)
    out = vmap(lambda _: usual(x), randomness="different")(torch.zeros(5))
    assert out.shape == (5, 40, 4) and not torch.equal(out[0], out[1])
    torch.compiler.reset()
    assert torch.equal(drawn(torch.compile(usual, backend="eager", fullgraph=True), x), drawn(usual, x))
    assert usual.state_dict() == {}  # nothing of it is saved with a model
    with pytest.raises(OptionError, match="must be"):
        change(MIXED, **{strength: -0.1})


# ---- table --------------------------------------------------------------------------------------------------------

KINDS = [Image(3, (8,)), Image(3, (6, 8)), Image(1, (4, 5, 6)), MIXED, Set(MIXED), Sequence(MIXED)]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_every_change_that_suits_a_kind_can_be_made_by_name(kind) -> None:
    names = list(suiting(kind))
    made = make_augmentation(kind, ",".join(reversed(names)))
    assert made is not None and list(dict(made.named_children())) == names  # in the table's order
    x = torch.randn(5, *kind.shape) if isinstance(kind, Image) else mixed(5)
    assert made(x).shape == x.shape
    assert made.eval()(x) is x


def test_a_name_has_one_strength_whatever_the_kind() -> None:
    seen: dict[str, list] = {}
    for changes in augmentations.values():
        for name, change in changes.items():
            strength, parameter = next(iter(options.signature(change).items()))
            assert len(options.signature(change)) == 1
            assert seen.setdefault(name, [strength, parameter.annotation]) == [strength, parameter.annotation]


@pytest.mark.parametrize(
    ("asked", "parsed"),
    [
        (None, {}),
        ("", {}),
        ({}, {}),
        ("flip", {"flip": True}),
        (" flip , rotate = 15,noise=0.1", {"flip": True, "rotate": 15.0, "noise": 0.1}),
        ({"flip": True, "rotate": "15", "noise": False, "crop": None}, {"flip": True, "rotate": 15.0}),
        ("flip=0+1,downsample=4", {"flip": [0, 1], "downsample": 4}),
        ({"flip": (-1,)}, {"flip": [-1]}),
        ({"flip": 0}, {"flip": [0]}),
        ("flip=yes,noise=off,rotate=true", {"flip": True, "rotate": True}),
    ],
)
def test_what_was_asked_as_plain_values(asked, parsed) -> None:
    assert parse_augment(asked) == parsed
    assert parse_augment(parsed) == parsed  # as it comes back from a run's record
    assert [type(v) for v in parse_augment(asked).values()] == [type(v) for v in parsed.values()]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("rotat=15", r"unknown change 'rotat' of augment; did you mean 'rotate'\?"),
        ({"zzz": 1}, "unknown change 'zzz' of augment; known: flip, rotate"),
        ("flip,flip=0", "augment names 'flip' twice"),
        ("rotate=far", "option 'degrees' of augment rotate wants a number; got 'far'"),
        ({"downsample": 1.5}, "option 'factor' of augment downsample wants a whole number; got 1.5"),
        (["flip"], "augment wants names and strengths"),
        ({"noise": "yes please"}, "wants a number"),
    ],
)
def test_what_cannot_be_asked(asked, words) -> None:
    with pytest.raises(OptionError, match=words):
        parse_augment(asked)


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        (MIXED, "rotate=15", "augment 'rotate' does not suit a Vector; what can be done to it: swap, noise"),
        (Image(1, (8,)), "rotate", "'rotate' does not suit an Image of 1 dimension; what can be done to it: flip, scale"),
        (Image(1, (8, 8)), "swap", "'swap' does not suit an Image of 2 dimensions"),
        (Set(MIXED), "swap", "'swap' does not suit a Set; what can be done to it: noise"),
        (Label(("a", "b")), "noise", "'noise' does not suit a Label; nothing can be done to it"),
        (Image(1, (8, 8)), "flip=2", "axes 0 to 1; got 2"),
        (Image(1, (8, 8)), "rotate=200", "from 0 to 180; got 200"),
        (MIXED, "noise=nan", "0 or more; got nan"),
    ],
)
def test_what_does_not_suit(kind, asked, words) -> None:
    with pytest.raises(OptionError, match=words):
        make_augmentation(kind, asked)


def test_nothing_asked_is_nothing_made() -> None:
    assert make_augmentation(MIXED, "") is None and make_augmentation(MIXED, {"rotate": False}) is None
