"""Velocities of fields on a periodic lattice that know its symmetries, with their divergence in closed form.

What the field is, and what its action, is left to the models; how it moves, to `gnomon.blocks.bijections.continuous`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import buffers
from gnomon.errors import OptionError


class LatticeVelocity(nn.Module):
    """The velocity of a real field on a torus, linear in sines of the field at every site, seen through symmetric kernels.

    ``dφ(x)/dt = Σ_y Σ_f W_f(|x - y|, t) h_f(φ(y))`` with h of ``φ`` itself and ``sin(ω_f φ)``; the kernels are equal for displacements
    that translations, reflections and, between axes of one length, rotations of the lattice carry into each other, and are sums of
    cosines in time. It is odd in φ, so that a density even in φ stays one. At the start it only stretches the field to noise.

    Args:
        size: extent along each axis; fields come flattened, ``(n, sites)``.
        frequencies: how many sines.
        highest: the largest ω at the start; they are equally spaced from the smallest, ``highest / frequencies``, and learned.
        times: how many cosines in time, the constant counted; the solver's steps must resolve the last.
        spread: standard deviation of the field at the start, where noise has 1.

    Shape: ``t () or (n,), x (n, sites) -> (n, sites)``. Per-row times cost as many products as there are cosines.

    Reference: Gerdes et al. 2022, https://arxiv.org/abs/2207.00283

    Example:
        >>> velocity = LatticeVelocity((4, 4))
        >>> moved, divergence = velocity.with_divergence(torch.tensor(0.5), torch.ones(3, 16))
        >>> moved.shape, divergence.shape, velocity.weight.shape
        (torch.Size([3, 16]), torch.Size([3]), torch.Size([3, 6, 9]))
    """

    orbits: Tensor
    waves: Tensor

    def __init__(self, size: Sequence[int], *, frequencies: int = 8, highest: float = 6.0, times: int = 3, spread: float = 1.0) -> None:
        super().__init__()
        if min(*size, 1) < 1 or frequencies < 0 or times < 1 or not (highest > 0 and spread > 0):
            raise OptionError(
                "LatticeVelocity wants extents and times of 1 or more, frequencies of 0 or more, highest and spread above 0; "
                f"got {tuple(size)}, {times}, {frequencies}, {highest} and {spread}"
            )
        orbits, count = displacements(size)
        self.sites = len(orbits)
        buffers(self, orbits=orbits, waves=torch.arange(times).float())
        self.omega = nn.Parameter(highest * torch.arange(1, frequencies + 1) / frequencies)
        self.weight = nn.Parameter(torch.zeros(times, count, frequencies + 1))
        self.weight.data[0, 0, 0] = -math.log(spread)

    def forward(self, t: Tensor, x: Tensor, given: Tensor | None = None) -> Tensor:
        """dφ/dt."""
        return self.with_divergence(t, x, given)[0]

    def with_divergence(self, t: Tensor, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """dφ/dt ``(n, sites)`` and its divergence ``(n,)``."""
        phase = x.unsqueeze(-1) * self.omega
        seen = torch.cat([x.unsqueeze(-1), phase.sin()], -1).flatten(1)
        slopes = (phase.cos() * self.omega).sum(1)
        slopes = torch.cat([torch.full_like(slopes[:, :1], float(self.sites)), slopes], 1)
        clock = (math.pi * t.unsqueeze(-1) * self.waves).cos()
        if t.dim() == 0:
            weight = (clock @ self.weight.flatten(1)).view_as(self.weight[0])
            kernel = weight[self.orbits].transpose(1, 2).flatten(0, 1)  # (sites · features, sites)
            return seen @ kernel, slopes @ weight[0]
        kernels = self.weight[:, self.orbits].transpose(2, 3).flatten(1, 2)
        moved = torch.einsum("nt,ni,tij->nj", clock, seen, kernels)
        return moved, torch.einsum("nt,nf,tf->n", clock, slopes, self.weight[:, 0])


def displacements(size: Sequence[int]) -> tuple[Tensor, int]:
    """Which displacements between sites of a torus its symmetries carry into each other.

    Args:
        size: extent along each axis.

    Returns:
        ``(sites, sites)`` int64, the class of the displacement between each two sites, 0 for none; and how many classes there are.

    Example:
        >>> displacements((3,))
        (tensor([[0, 1, 1],
                [1, 0, 1],
                [1, 1, 0]]), 2)
    """
    places = list(itertools.product(*(range(extent) for extent in size)))

    def shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        folded = [min((i - j) % n, (j - i) % n) for i, j, n in zip(a, b, size, strict=True)]
        return tuple(sorted(zip(size, folded, strict=True)))

    found: dict[tuple[tuple[int, int], ...], int] = {}
    rows = [[found.setdefault(shape(a, b), len(found)) for b in places] for a in places]
    return torch.tensor(rows), len(found)
