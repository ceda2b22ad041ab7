"""Weighted means of losses over an epoch, without waiting for the device at every step.

Sums are kept in float64, one value after the other, so that they do not depend on when they were read.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gnomon.models import Loss
from gnomon.training.team import Team

EVERY = 256  # losses that may wait on the device before they are read

Value = float | list[float]


class Meter:
    """Collects losses under a prefix; reads them in bulk.

    Args:
        copies: how many models each loss speaks of, or None for one.
    """

    def __init__(self, copies: int | None = None) -> None:
        self.copies = copies
        self.sums: dict[str, list[float]] = {}
        self.weights: dict[str, list[float]] = {}
        self._waiting: list[tuple[str, Loss]] = []

    def add(self, loss: Loss, prefix: str = "") -> None:
        """Take note of a loss; cheap."""
        self._waiting.append((prefix, Loss(loss.total.detach(), loss.weight.detach(), loss.parts)))
        if len(self._waiting) >= EVERY:
            self.read()

    def read(self) -> None:
        """Bring what waits to the host, in order."""
        waiting, self._waiting = self._waiting, []
        for prefix in dict.fromkeys(prefix for prefix, _ in waiting):
            losses = [loss for key, loss in waiting if key == prefix]
            weights = _numbers([loss.weight for loss in losses])
            self._add(self.weights, prefix, weights)
            self._add(self.sums, prefix + "loss", _numbers([loss.total for loss in losses]))
            for part in losses[0].parts:
                self._add(self.sums, prefix + part, _numbers([loss.parts[part] for loss in losses]))

    def means(self, team: Team | None = None) -> dict[str, Value]:
        """The mean of everything seen (by all of a team), by name; one number, or one per copy."""
        self.read()
        means: dict[str, Value] = {}
        all_sums, all_weights = (team.sum(s) if team else s for s in (self.sums, self.weights))
        for name, sums in all_sums.items():
            weights = all_weights[max((p for p in all_weights if name.startswith(p)), key=len)]
            values = [s / w if w else math.nan for s, w in zip(sums, weights, strict=True)]
            means[name] = values if self.copies else values[0]
        return means

    def clear(self) -> None:
        """Forget everything, for a new epoch."""
        self.sums, self.weights, self._waiting = {}, {}, []

    def state(self) -> dict[str, Any]:
        """The sums so far, as plain values."""
        self.read()
        return {"sums": self.sums, "weights": self.weights}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.sums, self.weights = state["sums"], state["weights"]

    @staticmethod
    def _add(sums: dict[str, list[float]], name: str, rows: list[list[float]]) -> None:
        total = sums.get(name) or [0.0] * len(rows[0])
        for row in rows:
            total = [t + value for t, value in zip(total, row, strict=True)]
        sums[name] = total


def _numbers(values: list[Tensor]) -> list[list[float]]:
    stacked = torch.stack(values)
    return stacked.reshape(len(values), -1).double().tolist()
