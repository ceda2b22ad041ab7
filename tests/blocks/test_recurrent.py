"""Recurrent layers agree with torch's own, and stand still where nothing is filled."""

from __future__ import annotations

import torch

from gnomon.blocks.padding import grid
from gnomon.blocks.recurrent import GRU
from gnomon.data import Ragged


def pair() -> tuple[GRU, torch.nn.GRU]:
    torch.manual_seed(0)
    ours, theirs = GRU(3, 5).double(), torch.nn.GRU(3, 5, batch_first=True).double()
    with torch.no_grad():
        for name, layer in (("ih", ours.input), ("hh", ours.state)):
            layer.weight.copy_(getattr(theirs, f"weight_{name}_l0"))
            layer.bias.copy_(getattr(theirs, f"bias_{name}_l0"))
    return ours, theirs


def test_the_scan_is_that_of_torch() -> None:
    ours, theirs = pair()
    x, first = torch.randn(4, 7, 3).double(), torch.randn(4, 5).double()
    torch.testing.assert_close(ours(x, state=first), theirs(x, first[None])[0])
    torch.testing.assert_close(ours.step(x[:, 0], first), ours(x, state=first)[:, 0])


def test_rows_of_different_lengths_end_where_they_end() -> None:
    ours, theirs = pair()
    x = Ragged(torch.randn(9, 3).double(), torch.tensor([4, 0, 3, 2]))
    place = grid(x)
    states = ours(place.pad(x.values), place.filled)
    for row, own in enumerate(x.split()):
        expected = theirs(own[None])[0][0, -1] if len(own) else torch.zeros(5).double()
        torch.testing.assert_close(states[row, -1], expected)


def test_a_grid_and_back() -> None:
    x = Ragged(torch.randn(6, 2), torch.tensor([0, 3, 1, 2, 0]))
    place = grid(x)
    assert place.pad(x.values).shape == (5, 3, 2) and torch.equal(place.unpad(place.pad(x.values)), x.values)
    assert place.filled.sum(1).tolist() == x.lengths.tolist()
    assert place.pad(x.values)[~place.filled].abs().sum() == 0
    nothing = grid(Ragged(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)))
    assert nothing.pad(torch.zeros(0, 2)).shape == (0, 1, 2)
