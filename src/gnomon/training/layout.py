"""How images lie in memory: channels next to each other, which convolutions read fastest, and numbers unchanged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gnomon.data import Examples

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def wants_channels_last(model: nn.Module) -> bool:
    """Whether a model has convolutions over two or three axes."""
    return any(isinstance(module, (nn.Conv2d, nn.Conv3d)) for module in model.modules())


def channels_last(batch: Examples) -> Examples:
    """The batch with its images in that layout; other data are left as they are.

    Example:
        >>> channels_last(Examples(torch.zeros(2, 3, 4, 4))).x.stride()
        (48, 1, 12, 3)
        >>> channels_last(Examples(torch.zeros(2, 1, 4, 4))).x.stride()
        (16, 1, 4, 1)
    """
    images = {role: getattr(batch, role) for role in ("x", "given")}
    laid = {role: _laid(x) for role, x in images.items() if isinstance(x, Tensor) and x.ndim in _FORMATS}
    return batch.with_(**laid) if laid else batch


def _laid(x: Tensor) -> Tensor:
    if x.shape[1] == 1 and x.is_contiguous():  # the same memory read either way: only the strides say which
        strides = list(x.stride())
        strides[1] = 1
        return x.as_strided(x.shape, strides)
    return x.contiguous(memory_format=_FORMATS[x.ndim])
