"""Summary columns of texts: lengths and shares by hand, the edge as a neighbour, and choices that do not know the side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnomon.checks.gathering.text_columns import text_columns
from gnomon.data import Ragged, Tokens

KIND = Tokens(("a", "b"))
REAL = Ragged(torch.tensor([0, 1, 0, 1]), torch.tensor([3, 0, 1]))
OTHER = Ragged(torch.tensor([0, 0]), torch.tensor([1, 1]))


def test_columns_are_what_their_names_say() -> None:
    columns, (real, other) = text_columns(KIND, REAL, OTHER)
    named = {column.name: (real[:, i].tolist(), other[:, i].tolist()) for i, column in enumerate(columns)}
    assert named["length"] == ([3.0, 0.0, 1.0], [1.0, 1.0])
    assert named["share of 'a'"] == ([pytest.approx(2 / 3), 0.0, 0.0], [1.0, 1.0])
    assert named["share of 'a' before 'b'"] == ([0.25, 0.0, 0.0], [0.0, 0.0])
    assert named["share of the edge before 'a'"] == ([0.25, 0.0, 0.0], [0.5, 0.5])
    assert named["share of the edge before the edge"] == ([0.0, 1.0, 0.0], [0.0, 0.0])


def test_the_sides_may_change_places_and_others_follow() -> None:
    columns, (real, other, third) = text_columns(KIND, REAL, OTHER, REAL)
    turned, (first, second) = text_columns(KIND, OTHER, REAL)
    assert [c.name for c in columns] == [c.name for c in turned]
    assert np.array_equal(first, other) and np.array_equal(second, real) and np.array_equal(third, real)
