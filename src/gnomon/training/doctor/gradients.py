"""How signals and gradients change on their way through the layers: vanishing, exploding, not finite.

Judges what a probe saw. Steps, rates and curves are not its business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gnomon.training.doctor.probe import Probe, rms

VANISHED = 1e-4  # gradient of the first layer against the last but one
EXPLODED = 1e4
GROWN = 1e3  # signal at a layer against what went into the first one
FEWEST = 4  # layers through which a trend can be told from an accident


@dataclass(frozen=True)
class Profile:
    """Sizes layer by layer, in the order in which the layers are called.

    Args:
        layers: names.
        slopes: length of the gradient of the loss with respect to what each layer gives.
        gradients: root mean square of the gradient of each layer's weight.
        signals: root mean square of what each layer gives.
        input: root mean square of what the first layer is given.
    """

    layers: list[str]
    slopes: list[float]
    gradients: list[float]
    signals: list[float]
    input: float


def profile(probe: Probe, layers: Mapping[str, str]) -> Profile:
    """The player's own layers with their gradients and signals; layers that no gradient can reach are left out.

    Args:
        probe: a look at one player.
        layers: name of the layer by full name of the parameter.
    """
    weights: dict[str, float] = {}
    for name, gradient in probe.gradients.items():
        if gradient is not None and gradient.ndim >= 2:
            weights.setdefault(layers.get(name, name), probe.sizes[name] / max(1, gradient.numel()) ** 0.5)
    called = {layer.name: layer for layer in reversed(probe.watch.layers) if layer.own and layer.name in weights}
    order = [name for name in dict.fromkeys(each.name for each in probe.watch.layers) if name in called and name in probe.slopes]
    first = called[order[0]].input if order else None
    signals = rms([called[name].output for name in order] + ([] if first is None else [first]))
    return Profile(
        order,
        [probe.slopes[name] for name in order],
        [weights[name] for name in order],
        signals[: len(order)],
        signals[-1] if first is not None else math.nan,
    )


def unreached(probe: Probe, layers: Mapping[str, str]) -> str | None:
    """The first own layer that was called although no gradient comes back to its weight, or None."""
    sizes: dict[str, float] = {}
    for name in probe.gradients:
        layer = layers.get(name, name)
        sizes[layer] = sizes.get(layer, 0.0) + probe.sizes.get(name, 0.0)
    called = dict.fromkeys(layer.name for layer in probe.watch.layers if layer.own)
    return next((name for name in called if sizes.get(name) == 0.0), None)


def vanishing(seen: Profile) -> tuple[float, str, str] | None:
    """(ratio, first layer, layer before the last) where the gradient dies out on its way back, else None.

    The last layer is left out: one that starts at (almost) zero scales all gradients before it alike, which is no fault.
    """
    inner = seen.slopes[:-1]
    if len(inner) < FEWEST or not inner[-1] > 0:
        return None
    ratio = inner[0] / inner[-1]
    if ratio < VANISHED and _rising(inner):
        return ratio, seen.layers[0], seen.layers[len(inner) - 1]
    return None


def exploding(seen: Profile) -> tuple[float, str, str] | None:
    """(ratio, first layer, layer before the last) where the gradient grows without measure on its way back, else None."""
    inner = seen.slopes[:-1]
    if len(inner) < FEWEST or not inner[-1] > 0:
        return None
    ratio = inner[0] / inner[-1]
    if ratio > EXPLODED and _rising([-g for g in inner]):
        return ratio, seen.layers[0], seen.layers[len(inner) - 1]
    return None


def growing(seen: Profile) -> tuple[float, str, float] | None:
    """(growth, layer that adds most, its factor) where signals grow without measure on their way forward, else None."""
    if len(seen.signals) < 2 or not seen.input > 0:
        return None
    growth = seen.signals[-1] / seen.input
    if not growth > GROWN:
        return None
    sizes = [seen.input, *seen.signals]
    factors = [after / before if before > 0 else 0.0 for before, after in zip(sizes[:-1], sizes[1:], strict=True)]
    worst = max(range(len(factors)), key=factors.__getitem__)
    return growth, seen.layers[worst], factors[worst]


def not_finite(probe: Probe) -> str | None:
    """The first parameter whose gradient is not finite, or None."""
    return next((name for name, size in probe.sizes.items() if not math.isfinite(size)), None)


def _rising(values: list[float]) -> bool:
    """Whether values mostly rise: at least four of five pairs do (zeros count as equal)."""
    pairs = [(a, b) for i, a in enumerate(values) for b in values[i + 1 :]]
    return sum(b >= a for a, b in pairs) >= 0.8 * len(pairs)
