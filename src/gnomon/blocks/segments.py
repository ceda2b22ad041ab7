"""Sums, means and maxima over the rows of a Ragged: the elements that share a row number.

By `index_add` and `scatter_reduce`, which are twice differentiable and take vmap and jvp (`torch.segment_reduce` does not).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

_COARSE = (torch.float16, torch.bfloat16)


def segment_sum(values: Float[Tensor, "elements ..."], rows: Int64[Tensor, " elements"], count: int) -> Float[Tensor, "count ..."]:
    """Sum of the elements of each row; an empty row gives zeros. Half precision is added up in float32.

    Args:
        values: ``(elements, *features)``.
        rows: ``(elements,)`` row number of each element, in any order, from 0 to ``count - 1``.
        count: number of rows.

    Returns: ``(count, *features)``.

    Example:
        >>> segment_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
        tensor([3., 0., 4.])
    """
    if values.dtype in _COARSE:
        return segment_sum(values.float(), rows, count).to(values.dtype)
    return values.new_zeros(count, *values.shape[1:]).index_add(0, rows, values)


def segment_mean(values: Float[Tensor, "elements ..."], rows: Int64[Tensor, " elements"], count: int) -> Float[Tensor, "count ..."]:
    """Mean of the elements of each row; an empty row gives zeros. Arguments as `segment_sum`.

    Example:
        >>> segment_mean(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
        tensor([1.5000, 0.0000, 4.0000])
    """
    sizes = segment_sum(values.new_ones(len(values), dtype=torch.float32), rows, count).clamp_min(1)
    total = segment_sum(values.float() if values.dtype in _COARSE else values, rows, count)
    return (total / sizes.to(total.dtype).reshape(-1, *(1,) * (values.ndim - 1))).to(values.dtype)


def segment_max(values: Float[Tensor, "elements ..."], rows: Int64[Tensor, " elements"], count: int) -> Float[Tensor, "count ..."]:
    """Maximum over the elements of each row; an empty row gives zeros. Arguments as `segment_sum`.

    Example:
        >>> segment_max(torch.tensor([-1.0, -2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
        tensor([-1.,  0.,  4.])
    """
    index = rows.reshape(-1, *(1,) * (values.ndim - 1)).expand_as(values)
    return values.new_zeros(count, *values.shape[1:]).scatter_reduce(0, index, values, "amax", include_self=False)


class SegmentSum(nn.Module):
    """`segment_sum` as a module, for lists of modules.

    Shape: ``(elements, *features), (elements,) -> (count, *features)``.

    Example:
        >>> SegmentSum()(torch.ones(3), torch.tensor([0, 1, 1]), 2)
        tensor([1., 2.])
    """

    def forward(self, values: Float[Tensor, "elements ..."], rows: Int64[Tensor, " elements"], count: int) -> Float[Tensor, "count ..."]:
        """Sum of the elements of each row."""
        return segment_sum(values, rows, count)
