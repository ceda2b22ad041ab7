"""Noise that autoencoders undo: as strong as promised, where it belongs, and refused where it cannot be."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import vmap

from gnomon.blocks.corruption import STRENGTHS, Corruption
from gnomon.data import Categorical, Column, Image, Kind, Periodic, Ragged, Set, Tokens, Vector
from gnomon.errors import OptionError

MIXED = Vector((Column("e"), Column("phi", Periodic(0, 1)), Column("kind", Categorical(("a", "b", "c")))))


def mixed(n: int) -> torch.Tensor:
    return torch.stack([torch.full((n,), 3.0), torch.full((n,), 1.0), torch.full((n,), 2.0)], 1)


def test_gaussian_noise_has_the_spread_that_was_asked_for() -> None:
    torch.manual_seed(0)
    change = Corruption(MIXED, "gaussian", strength=0.7)(mixed(20_000)) - mixed(20_000)
    assert change[:, 0].std().item() == pytest.approx(0.7, rel=0.02) and abs(change[:, 0].mean().item()) < 0.02
    assert not change[:, 1:].any()  # angles and categories are no numbers on a line


def test_masking_takes_the_share_of_values_that_was_asked_for() -> None:
    torch.manual_seed(0)
    out = Corruption(MIXED, "masking", strength=0.3)(mixed(20_000))
    assert set(out[:, 0].unique().tolist()) == {0.0, 3.0}
    assert (out[:, 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    angles = out[:, 1][out[:, 1] != 1.0]
    assert len(angles) == pytest.approx(6000, abs=300) and angles.abs().max() <= math.pi and angles.min() < -3 < 3 < angles.max()
    shares = torch.bincount(out[:, 2].long(), minlength=3) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.1, 0.8]), atol=0.01, rtol=0)


def test_salt_and_pepper_are_the_ends_of_the_pixels() -> None:
    torch.manual_seed(0)
    noise = Corruption(Image(2, (8, 8)), "salt_and_pepper", strength=0.4)
    x = torch.full((500, 2, 8, 8), 0.5)
    assert set(noise(x).unique().tolist()) == {-2.0, 0.5, 2.0}
    noise.enclose(torch.tensor([-1.0, -3.0]), torch.tensor([1.5, 4.0]))
    out = noise(x)
    assert set(out[:, 0].unique().tolist()) == {-1.0, 0.5, 1.5} and set(out[:, 1].unique().tolist()) == {-3.0, 0.5, 4.0}
    for end in (-1.0, 1.5):
        assert (out[:, 0] == end).float().mean().item() == pytest.approx(0.2, abs=0.01)


def test_blur_keeps_an_even_image_and_the_sum_of_a_dot() -> None:
    torch.manual_seed(0)
    noise = Corruption(Image(1, (15, 15)), "blur", strength=1.5)
    torch.testing.assert_close(noise(torch.ones(3, 1, 15, 15)), torch.ones(3, 1, 15, 15))
    dot = torch.zeros(50, 1, 15, 15)
    dot[:, :, 7, 7] = 1.0
    out = noise(dot)
    torch.testing.assert_close(out.sum((1, 2, 3)), torch.ones(50))
    assert out[:, 0, 7, 7].min() < 0.15 and out[:, 0, 7, 7].max() > 0.9


def test_the_elements_of_sets_and_the_symbols_of_sequences_get_it() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([2, 0, 3000])
    elements = Corruption(Set(MIXED), "masking", strength=0.5)(Ragged(mixed(3002), lengths))
    assert isinstance(elements, Ragged) and torch.equal(elements.lengths, lengths)
    assert (elements.values[:, 0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    codes = Ragged(torch.zeros(3002, dtype=torch.int64), lengths)
    symbols = Corruption(Tokens(("a", "b", "c", "d")), "masking", strength=1.0)(codes)
    assert symbols.values.dtype == torch.int64
    torch.testing.assert_close(torch.bincount(symbols.values) / 3002, torch.full((4,), 0.25), atol=0.04, rtol=0)


@pytest.mark.parametrize("noise", STRENGTHS)
def test_copies_draw_their_own(noise: str) -> None:
    block = Corruption(Image(1, (8, 8)), noise)
    x = torch.randn(3, 1, 8, 8)
    out = vmap(lambda _: block(x), randomness="different")(torch.zeros(2))
    assert out.shape == (2, 3, 1, 8, 8) and not torch.equal(out[0], out[1])


@pytest.mark.parametrize(
    ("kind", "noise", "words"),
    [
        (Vector.real(2), "blur", "'blur' is for images"),
        (Tokens(("a", "b")), "gaussian", "x holds symbols; use masking"),
        (Vector((MIXED.columns[2],)), "salt_and_pepper", "x has none; use masking"),
        (Vector.real(2), "gausian", "unknown noise 'gausian'; did you mean 'gaussian'"),
    ],
)
def test_noise_that_cannot_be_is_refused(kind: Kind, noise: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Corruption(kind, noise)


@pytest.mark.parametrize(("noise", "strength"), [("masking", 1.5), ("gaussian", 0.0), ("blur", math.inf), ("salt_and_pepper", -0.1)])
def test_a_strength_out_of_range_is_refused(noise: str, strength: float) -> None:
    with pytest.raises(OptionError, match=f"strength of noise '{noise}' must be above 0"):
        Corruption(Image(1, (8, 8)), noise, strength=strength)
