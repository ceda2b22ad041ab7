"""The first layer that made a value, or a slope, that is not finite.

Called when a loss or its gradient is broken; it computes them again, slowly, looking at every call.
"""

from __future__ import annotations

import math
import warnings

import torch

from gnomon.data import Examples
from gnomon.training.doctor import gradients
from gnomon.training.doctor.probe import Probe, Prober
from gnomon.training.game import Side


def culprit(prober: Prober, side: Side, batch: Examples, probe: Probe, turn: int) -> str:
    """One line: which function after which layer made the first value or slope that is not finite.

    Args:
        prober: for the game.
        side: the player whose loss or gradient is not finite.
        batch: on which.
        probe: the look that showed it.
        turn: of the loop.
    """
    broken = next((name for name, t in side.optimiser.parameters.leaves.items() if not bool(torch.isfinite(t).all())), None)
    if broken is not None:
        return f"'{broken}' is not finite in turn {turn + 1}: a step before took it there; lower lr tenfold, or set clip=1"
    if math.isfinite(probe.loss):
        name = gradients.not_finite(probe) or "a weight"
        return (
            f"the loss is finite but the gradient of '{name}' is not{_slope(prober, side, batch)} in turn {turn + 1}; add a small "
            f"number under "
            "sqrt, norm, log or division, where the slope is infinite at zero"
        )
    found = prober.look(side, batch, hunt=True).watch.culprit
    function, layer = found if found is not None else ("the loss", "")
    where = f" after layer '{layer}'" if layer else ""
    return (
        f"the first value that is not finite is made by {function}{where} in turn {turn + 1}; keep its argument in range (a floor "
        f"under log, "
        "sqrt and divisors), or lower lr if weights have grown"
    )


def _slope(prober: Prober, side: Side, batch: Examples) -> str:
    """The function whose slope is not finite, in words, where torch can tell."""
    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("ignore")
        try:
            prober.look(side, batch)
        except RuntimeError as error:
            name = str(error).partition("'")[2].partition("Backward")[0]
            return f" (broken in the slope of {name.lower()})" if name else ""
    return ""
