"""The backward pass of a scalar, without the checks that torch makes for the general case.

On the CPU they cost as much as a small layer. Compiled losses and other devices take torch's own way, which hands their context on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def backward_pass(device: torch.device, compiled: bool) -> Callable[[Tensor], None]:
    """What adds the gradient of a scalar to the leaves it came from.

    Args:
        device: where the scalar lives.
        compiled: whether it comes out of a compiled function.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> backward_pass(torch.device("cpu"), False)(x * x)
        >>> x.grad
        tensor(6.)
    """
    engine = getattr(torch.autograd.Variable, "_execution_engine", None)
    if compiled or device.type != "cpu" or engine is None:
        return torch.Tensor.backward
    ones = {dtype: torch.ones((), dtype=dtype) for dtype in (torch.float32, torch.float64)}

    def run(total: Tensor) -> None:
        one = ones.get(total.dtype)
        if one is None or total.ndim:
            total.backward()
        else:
            engine.run_backward((total,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)

    return run
