"""Dropout with its probability checked, and the widths of hidden layers likewise; both are options that users write.

When dropout acts in the course of training is decided by the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gnomon.errors import OptionError


def make_dropout(probability: float) -> nn.Module:
    """`nn.Dropout`, or `nn.Identity` for a probability of 0.

    Raises:
        OptionError: the probability is not at least 0 and below 1.

    Example:
        >>> make_dropout(0.1)
        Dropout(p=0.1, inplace=False)
    """
    if not 0 <= probability < 1:
        raise OptionError(f"dropout is the probability of setting a number to zero, at least 0 and below 1; got {probability}")
    return nn.Dropout(probability) if probability else nn.Identity()


def checked(hidden: Sequence[int]) -> tuple[int, ...]:
    """The widths of hidden layers as they are.

    Raises:
        OptionError: a width below 1.

    Example:
        >>> checked([32, 32])
        (32, 32)
    """
    if any(width < 1 for width in hidden):
        raise OptionError(f"hidden layers want widths of 1 or more, such as 128,128; got {','.join(map(str, hidden))}")
    return tuple(hidden)
