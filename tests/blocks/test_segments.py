"""Segment reductions against loops over rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gnomon.blocks import SegmentSum, segment_max, segment_mean, segment_sum

LOOPS: dict[str, tuple[Callable, Callable[[Tensor], Tensor]]] = {
    "sum": (segment_sum, lambda part: part.sum(0)),
    "mean": (segment_mean, lambda part: part.mean(0)),
    "max": (segment_max, lambda part: part.amax(0)),
}


@pytest.mark.parametrize("name", LOOPS)
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.integers(0, 6), max_size=20), features=st.sampled_from([(), (3,), (2, 2)]), seed=st.integers(0, 9))
def test_equals_a_loop(name: str, rows: list[int], features: tuple[int, ...], seed: int) -> None:
    function, of_row = LOOPS[name]
    values = torch.randn(len(rows), *features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 3
    index = torch.tensor(rows, dtype=torch.int64)
    expected = torch.stack(
        [of_row(values[index == i]) if (index == i).any() else torch.zeros(features, dtype=torch.float64) for i in range(7)]
    )
    torch.testing.assert_close(function(values, index, 7), expected)


def test_half_precision_is_added_up_in_single() -> None:
    values, rows = torch.ones(5000, dtype=torch.bfloat16), torch.zeros(5000, dtype=torch.int64)
    assert segment_sum(values, rows, 1).item() == 4992  # 5000 to the nearest bfloat16; in bfloat16 the sum stalls at 256
    assert segment_mean(values, rows, 1).item() == 1
    assert segment_mean(values, rows, 1).dtype == torch.bfloat16


def test_order_of_elements_is_free() -> None:
    values, rows = torch.randn(30, dtype=torch.float64), torch.arange(30) % 4
    shuffled = torch.randperm(30)
    torch.testing.assert_close(SegmentSum()(values[shuffled], rows[shuffled], 4), segment_sum(values, rows, 4))
