"""Torch's global random state, borrowed for the time of a fit and given back as it was.

Dropout and `randn_like` read the global generators, so these are what a run seeds, saves and restores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gnomon.learned.chunks import single_precision


def state(device: torch.device) -> dict[str, Tensor]:
    """The random state of the host and, where it is another, of the device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore(states: dict[str, Tensor], device: torch.device) -> None:
    """Put back what `state` returned."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def seed(value: int, device: torch.device) -> None:
    """Seed the host's and the device's generator, and no other."""
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)


@contextmanager
def borrowed(value: int, device: torch.device) -> Iterator[None]:
    """Inside the block the generators are ours, seeded with `value`, and new tensors are float32; afterwards all is as it was."""
    before = state(device)
    seed(value, device)
    try:
        with single_precision():
            yield
    finally:
        restore(before, device)
