"""What can go wrong with codes: symbols that nobody uses, and a prior that is not where the codes are.

Codes that tell nothing at all are found in `principles`, which asks here where a model can show its codes.
"""

from __future__ import annotations

import torch
from torch import Tensor

DEAD = 0.25  # codes in use, of those that would be were all alike
NEIGHBOURS = 5
SHUFFLES = 100  # of which side a code is of, for the null
SIGMAS = 6.0  # of the null
HOLE = 0.75  # of a code's neighbours, of its own side; 0.5 where the two sides are one distribution

Fault = tuple[str, str]


def dead(indices: Tensor, codes: int) -> Fault | None:
    """Most codes stand idle.

    Args:
        indices: codes of rows of data, any shape.
        codes: how many different ones there are.
    """
    count = indices.numel()
    used = int(torch.unique(indices).numel())
    alike = codes * (1 - (1 - 1 / codes) ** count)
    if used >= DEAD * alike:
        return None
    return "codes", (
        f"dead codes: of {codes} codes {used} are in use ({alike:.0f} were they all alike); use quantiser='fsq', which has no table to be "
        "learned, or fewer codes, or let the table begin from the data and idle codes be moved"
    )


def hole(codes: Tensor, prior: Tensor) -> Fault | None:
    """Codes of data and draws from the prior lie in different places: neighbours are of the same side.

    Args:
        codes: ``(n, k)``, drawn from the posteriors of rows.
        prior: as many drawn from the prior.
    """
    if codes.shape != prior.shape or not bool(torch.isfinite(codes).all() and torch.isfinite(prior).all()):
        return None
    share, null, spread = same_side(codes, prior)
    if share <= HOLE or share <= null + SIGMAS * spread:
        return None
    return "hole", (
        f"hole in the prior: {100 * share:.0f} % of the nearest neighbours of codes and of draws from the prior are of their own kind "
        f"({100 * null:.0f} ± {100 * spread:.0f} % were they alike), so samples come from codes that the decoder never saw; raise beta, "
        "use prior='mixture' or 'flow', or the model two_stage"
    )


def same_side(first: Tensor, second: Tensor) -> tuple[float, float, float]:
    """The share of nearest neighbours that are of the same of two samples, and its mean and spread where sides are dealt at random.

    Reference: Schilling 1986, https://doi.org/10.1080/01621459.1986.10478337

    Example:
        >>> near, far = torch.zeros(40, 1) + torch.arange(40)[:, None] / 40, 9 + torch.arange(40)[:, None] / 40
        >>> share, null, _ = same_side(near, far)
        >>> share, 0.4 < null < 0.6
        (1.0, True)
    """
    both = torch.cat([first, second]).double()
    both = (both - both.mean(0)) / both.std(0).clamp_min(1e-12)
    apart = torch.cdist(both, both)
    apart.fill_diagonal_(float("inf"))
    near = apart.topk(NEIGHBOURS, largest=False).indices
    side = torch.arange(len(both), device=both.device) < len(first)
    generator = torch.Generator().manual_seed(0)
    orders = torch.stack([torch.randperm(len(both), generator=generator) for _ in range(SHUFFLES)]).to(both.device)
    dealt = side[orders]
    nulls = (dealt[:, near] == dealt[:, :, None]).double().mean((1, 2))
    return float((side[near] == side[:, None]).double().mean()), float(nulls.mean()), float(nulls.std())
