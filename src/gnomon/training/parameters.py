"""A player's parameters laid end to end in one buffer, so that an update is one kernel and an average one call.

Knows tensors and names; nothing of losses, optimisers or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

ALIGNMENT = 16  # elements: every parameter starts on a 64-byte boundary of a float32 buffer
KINDS = ("weights", "embeddings", "biases", "scales")
"""Kinds of parameters, in the order in which they lie in the buffer: matrices and kernels, tables of vectors, constants, and
the factors of normalisations."""

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


def kinds_of(module: nn.Module) -> dict[str, str]:
    """The kind of each parameter of a module, by full name.

    Example:
        >>> kinds_of(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)))
        {'0.weight': 'weights', '0.bias': 'biases', '1.weight': 'scales', '1.bias': 'biases'}
    """
    kinds = {}
    for prefix, owner in module.named_modules():
        for name, parameter in owner.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            if isinstance(owner, nn.Embedding):
                kinds[full] = "embeddings"
            elif isinstance(owner, _NORMS) and name == "weight":
                kinds[full] = "scales"
            else:
                kinds[full] = "weights" if parameter.ndim >= 2 else "biases"
    return kinds


class FlatParameters:
    """Leaf tensors of one player as views of a flat buffer ``(copies, size)``, gradients likewise.

    After construction each leaf's data is a view of `data`, so an update of `data` moves the leaves; for a plain model
    its gradient is a view of `grad` too, so the backward pass adds into the buffer. Leaves of several copies are not
    contiguous views, for which autograd wants gradients of their own; `gather` copies these into `grad`. Parameters of a
    kind lie together, so that what concerns a kind concerns a slice: `slices`.

    Args:
        leaves: full name to leaf tensor. With `copies` each has a leading axis of that size, one entry per seed.
        copies: how many models are trained together, or None for one plain model.
        kinds: full name to kind; by the number of axes where it is not given.
    """

    def __init__(self, leaves: dict[str, Tensor], copies: int | None = None, kinds: Mapping[str, str] | None = None) -> None:
        self.copies = copies
        axes = 0 if copies is None else 1
        found = kinds or {name: "weights" if leaf.ndim - axes >= 2 else "biases" for name, leaf in leaves.items()}
        order = sorted(leaves, key=lambda name: KINDS.index(found[name]))
        self.leaves = {name: leaves[name] for name in order}
        self.kinds = {name: found[name] for name in order}
        self.slices: dict[str, slice] = {}
        self._places: dict[str, tuple[int, int, torch.Size]] = {}
        offset = 0
        for name, leaf in self.leaves.items():
            shape = leaf.shape[axes:]
            self._places[name] = (offset, math.prod(shape), shape)
            start = self.slices.get(self.kinds[name], slice(offset, None)).start
            offset += math.ceil(math.prod(shape) / ALIGNMENT) * ALIGNMENT
            self.slices[self.kinds[name]] = slice(start, offset)
        first = next(iter(self.leaves.values()))
        self.data = first.new_zeros((copies or 1, offset)).detach()
        self.grad = torch.zeros_like(self.data)
        for (name, view), gradient in zip(self.views(self.data).items(), self.views(self.grad).values(), strict=True):
            leaf = self.leaves[name]
            view.copy_(leaf.detach())
            leaf.data = view
            leaf.grad = gradient if copies is None else None
        self._gradients = list(self.views(self.grad).values())

    def zero_grad(self) -> None:
        """Forget the gradient."""
        if self.copies is None:
            self.grad.zero_()
        else:
            for leaf in self.leaves.values():
                leaf.grad = None

    def gather(self) -> None:
        """Bring the gradient of the last backward passes into `grad`."""
        if self.copies is not None:
            found = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in self.leaves.values()]
            torch._foreach_copy_(self._gradients, found)

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The parts of a buffer laid out like `data`, by parameter name."""
        if self.copies is None:
            return {name: buffer[0, start : start + size].view(shape) for name, (start, size, shape) in self._places.items()}
        copies = self.copies
        return {name: buffer[:, start : start + size].view(copies, *shape) for name, (start, size, shape) in self._places.items()}

    def release(self) -> None:
        """Give every leaf memory of its own again, without gradient."""
        for leaf in self.leaves.values():
            leaf.grad = None
            leaf.data = leaf.data.clone()
