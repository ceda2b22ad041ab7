"""Codes as users hand them in: checked, and turned into the tensor that models decode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnomon.errors import DataError


def read_codes(z: Any, width: int | None) -> Tensor:
    """``(n, k)`` float32 from an array, a tensor or nested lists.

    Args:
        z: codes as `Learned.encode` gives them, at least one.
        width: k, where the model knows it.

    Raises:
        DataError: they are no finite real numbers, or of another shape.

    Example:
        >>> read_codes([[0.5, 1]], 2)
        tensor([[0.5000, 1.0000]])
    """
    try:
        numbers = np.asarray(z)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths, or a tensor with a gradient
        reason = str(error).splitlines()[0]
        raise DataError(f"decode wants codes (n, k) as encode gives them; they make no array: {reason}") from error
    if numbers.dtype.kind not in "biuf":
        raise DataError(f"decode wants codes that are real numbers; got {type(z).__name__} of {numbers.dtype}")
    if numbers.ndim != 2 or not len(numbers) or numbers.shape[1] != (width or numbers.shape[1]):
        raise DataError(f"decode wants codes of shape (n, {width or 'k'}) with n from 1; got {numbers.shape}")
    codes = torch.as_tensor(numbers, dtype=torch.float32)
    bad = ~codes.isfinite()
    if bool(bad.any()):
        row, column = (int(place) for place in bad.nonzero()[0])
        raise DataError(f"decode wants finite codes; code {row + 1} has {float(numbers[row, column])} in place {column + 1}")
    return codes
