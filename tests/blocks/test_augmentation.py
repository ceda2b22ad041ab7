"""Random shifts: whole pixels, within the limit, each example by its own, and nothing in evaluation."""

from __future__ import annotations

import pytest
import torch
from torch.func import vmap

from gnomon.blocks.augmentation import RandomShift
from gnomon.errors import OptionError


def moved(x: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """One image moved, filled with the least value of each channel."""
    out = x.amin((-2, -1), keepdim=True).expand_as(x).clone()
    h, w = x.shape[-2:]
    for i in range(h):
        for j in range(w):
            if 0 <= i - down < h and 0 <= j - right < w:
                out[..., i, j] = x[..., i - down, j - right]
    return out


def test_every_move_within_the_limit_occurs_and_no_other() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 8, 5)
    out = RandomShift(2, 0.25)(x.expand(600, -1, -1, -1))  # at most 2 rows and 1 column
    expected = {(d, r): moved(x[0], d, r) for d in range(-2, 3) for r in range(-1, 2)}
    counts = {move: sum(torch.equal(image, one) for one in out) for move, image in expected.items()}
    assert sum(counts.values()) == 600
    assert min(counts.values()) > 15  # 40 on average


def test_evaluation_and_no_share_leave_images_alone() -> None:
    x = torch.randn(3, 1, 8, 8)
    assert RandomShift(2, 0.25).eval()(x) is x
    assert torch.equal(RandomShift(2, 0.0)(x), x)


def test_signals_and_volumes_move_too() -> None:
    torch.manual_seed(0)
    for size in ((12,), (8, 8, 8)):
        x = torch.randn(4, 1, *size)
        out = RandomShift(len(size), 0.25)(x)
        assert out.shape == x.shape and not torch.equal(out, x)


def test_copies_move_by_their_own() -> None:
    x = torch.randn(3, 1, 16)
    out = vmap(lambda _: RandomShift(1, 0.5)(x), randomness="different")(torch.zeros(4))
    assert out.shape == (4, 3, 1, 16)
    assert not all(torch.equal(out[0], other) for other in out[1:])


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(OptionError, match="from 0 to below 1"):
        RandomShift(2, share)
