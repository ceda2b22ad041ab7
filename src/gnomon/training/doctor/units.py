"""Units that no longer take part: dead ones, which give nothing for any example, and saturated ones, which barely answer.

Judges activations that were watched; what made them so is told by the time at which they fell silent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gnomon.training.doctor.watch import Activation, Watch

DEAD_SHARE = 0.7  # of a layer's units; half of them is what a deep plain net shows without any fault
SATURATED_SHARE = 0.5  # of a layer's values, while training begins; well initialised layers have next to none
STUCK_SHARE = 0.9  # of a layer's values later on, where some saturation is what was learned
CHANCE = 1e-3

_FLAT = 0.99  # share of the range beyond which sigmoid and tanh count as flat
_OFF = -6.0  # input below which a smooth unit is off: its slope is below a hundredth
_CUT = {"relu", "relu6"}
_SMOOTH = {"silu", "gelu", "softplus", "mish", "elu", "selu"}
_SQUASHING = {"sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid"}


@dataclass(frozen=True)
class Silent:
    """One activation's units.

    Args:
        site: the activation, in words: "relu after 'net.0'".
        layer: the layer before it.
        units: how many; 0 where they cannot die.
        dead: which of them gave nothing for any example.
        saturated: share of values that are flat.
    """

    site: str
    layer: str
    units: int
    dead: frozenset[int]
    saturated: float

    def mostly_dead(self, dead: frozenset[int]) -> bool:
        """Whether so many dead units are a fault: all, or far more than the half that chance explains."""
        count = len(dead)
        return self.units > 0 and (count == self.units or (count >= DEAD_SHARE * self.units and _tail(self.units, count) < CHANCE))


def silent(watch: Watch) -> list[Silent]:
    """The units of every hidden activation of the watched player, in the order of the calls."""
    own = [a for a in watch.activations if a.own and _judged(a, watch)]
    masks = [_dead(a) for a in own if a.function not in _SQUASHING]
    shares = [_saturated(a) for a in own if a.function in _SQUASHING]
    off = iter([] if not masks else [part.tolist() for part in torch.cat(masks).cpu().split([len(mask) for mask in masks])])
    flat = iter([] if not shares else torch.stack(shares).tolist())
    found = []
    seen: dict[str, int] = {}
    for activation in own:
        site = f"{activation.function} after '{activation.layer}'"
        seen[site] = seen.get(site, 0) + 1
        site += "" if seen[site] == 1 else f" (call {seen[site]})"
        if activation.function in _SQUASHING:
            found.append(Silent(site, activation.layer, 0, frozenset(), float(next(flat))))
        else:
            mask = next(off)
            found.append(Silent(site, activation.layer, len(mask), frozenset(i for i, dead in enumerate(mask) if dead), 0.0))
    return found


def _judged(activation: Activation, watch: Watch) -> bool:
    """Cut-off activations everywhere, squashing ones only inside: outputs may well sit at the end of their range."""
    function = activation.function
    if activation.output.ndim < 2 or not activation.output.numel():
        return False
    if function in _CUT or function in _SMOOTH:
        return True
    later = watch.layers[activation.place :]
    return function in _SQUASHING and bool(later) and later[0].own


def _dead(activation: Activation) -> Tensor:
    """``(units,)`` bool: units that are off for every example."""
    cut = activation.function in _CUT
    values = activation.output if cut else activation.input
    axes = [axis for axis in range(values.ndim) if axis != activation.axis % values.ndim]
    off = values.amax(axes) <= 0 if cut else values.amax(axes) < _OFF
    return off | (values.amin(axes) >= 6) if activation.function == "relu6" else off


def _saturated(activation: Activation) -> Tensor:
    """Share of the values that lie in the outer hundredth of the range."""
    out = activation.output
    if activation.function in ("sigmoid", "hardsigmoid"):
        return ((out - 0.5).abs() > _FLAT - 0.5).float().mean()
    return (out.abs() > _FLAT).float().mean()


def _tail(n: int, k: int) -> float:
    """Probability that a fair coin shows heads at least k times in n throws."""
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k, n + 1)]
    return sum(math.exp(value) for value in logs)
