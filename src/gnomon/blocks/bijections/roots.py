"""Where a rising function takes a given value: a bracket that halves, polished by Newton's method, without a wait for the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Rising = Callable[[Tensor], tuple[Tensor, Tensor]]


def rising_root(function: Rising, value: Tensor, low: Tensor, high: Tensor, *, halvings: int = 30) -> Tensor:
    """The place between `low` and `high` where a rising smooth function takes `value`, element by element.

    Newton's steps that stay inside the bracket and halvings of it take turns, a fixed number of times and without gradients. Two more
    of Newton's steps from there on carry the first and second derivatives by `value` and by whatever the function depends on.

    Args:
        function: what rises; returns its value and its slope, above zero, each of the shape of its argument.
        value: ``(*batch)``.
        low, high: ``(*batch)`` between which the place lies.
        halvings: how often the bracket is halved.

    Returns: ``(*batch)``.

    Example:
        >>> two = torch.tensor([2.0], dtype=torch.float64)
        >>> rising_root(lambda x: (x**3, 3 * x**2), two, 0.5 * two, two)
        tensor([1.2599], dtype=torch.float64)
    """
    with torch.no_grad():
        place = 0.5 * (low + high)
        for turn in range(2 * halvings):
            height, slope = function(place)
            above = height > value
            low, high = torch.where(above, low, place), torch.where(above, place, high)
            middle = 0.5 * (low + high)
            if turn % 2:
                place = middle
                continue
            newton = place - (height - value) / slope
            place = torch.where((newton > low) & (newton < high), newton, middle)
        place = place.detach()
    for _ in range(2):
        height, slope = function(place)
        place = place - (height - value) / slope
    return place
