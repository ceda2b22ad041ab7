"""Dropout that is switched on for a part of the training only: early against underfitting, late against overfitting.

Which layers drop what, the networks say; here their probability is set to 0 while they are to keep everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from torch import nn

from gnomon.blocks import DropPath
from gnomon.errors import OptionError


class DropoutSchedule:
    """Early dropout acts in the first part of the steps, late dropout in the rest.

    Args:
        models: whose dropout and stochastic depth are switched.
        when: "early" or "late".
        part: where the switch lies, as a share of the steps.
        total: planned steps.

    Raises:
        OptionError: there is no dropout in the model.

    Reference: Liu et al. 2023, https://arxiv.org/abs/2303.01500
    """

    def __init__(self, models: Iterable[nn.Module], when: Literal["early", "late"], part: float, total: int) -> None:
        kinds = (nn.modules.dropout._DropoutNd, DropPath)
        layers: list[Any] = [layer for model in models for layer in model.modules() if isinstance(layer, kinds)]
        self._layers = [(layer, layer.p) for layer in layers if layer.p > 0]
        if not self._layers:
            raise OptionError(f"dropout_when='{when}' needs dropout: set it in the network, as in net={{'dropout': 0.1}}")
        self._early = when == "early"
        self._switch = round(part * total)
        self._on: bool | None = None

    def set(self, turn: int) -> None:
        """Make the layers what they are to be at `turn`."""
        on = (turn < self._switch) == self._early
        if on is not self._on:
            self._on = on
            for layer, p in self._layers:
                layer.p = p if on else 0.0

    def end(self) -> None:
        """Give every layer its probability back."""
        for layer, p in self._layers:
            layer.p = p
