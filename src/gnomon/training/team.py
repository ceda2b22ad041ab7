"""Several processes at one fit, started by `torchrun`: each takes its part of every batch, gradients are summed.

Knows torch.distributed; not what is summed. Alone, every method does nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from gnomon.training.parameters import FlatParameters


@dataclass(frozen=True)
class Team:
    """The processes that share a fit.

    Args:
        rank: which of them this is.
        world: how many they are.
        device: where this process computes.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")

    def sum_gradients(self, parameters: FlatParameters, weight: Tensor) -> Tensor:
        """Sum the gradient in its buffer, in place, and return the summed weight."""
        if self.world == 1:
            return weight
        parameters.gather()
        torch.distributed.all_reduce(parameters.grad)
        weight = weight.clone()
        torch.distributed.all_reduce(weight)
        return weight

    def same_start(self, parameters: FlatParameters) -> None:
        """Give every process the first one's parameters."""
        if self.world > 1:
            torch.distributed.broadcast(parameters.data, 0)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is up in any process."""
        if self.world == 1:
            return flags
        raised = torch.tensor([float(flag) for flag in flags], device=self.device)
        torch.distributed.all_reduce(raised, torch.distributed.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised.tolist())

    def sum(self, sums: dict[str, list[float]]) -> dict[str, list[float]]:
        """Sum numbers by name; every process has the same names."""
        if self.world == 1 or not sums:
            return sums
        names = sorted(sums)
        flat = torch.tensor([value for name in names for value in sums[name]], dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(flat)
        parts = flat.split([len(sums[name]) for name in names])
        return {name: part.tolist() for name, part in zip(names, parts, strict=True)}


def join(device: torch.device) -> tuple[Team, torch.device]:
    """The team that `torchrun` says this process belongs to, and this process's device; alone without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        return Team(device=device), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Team(torch.distributed.get_rank(), torch.distributed.get_world_size(), device), device
