"""What can go wrong with one principle of learning only, found by what a model can do and not by its name.

Samples that all look alike (two or more players and `sample`), codes that tell nothing (`encode`) or stand idle (`indices`), a prior that
is elsewhere (`code_draws`), an inverse that does not invert (`encode`, `decode` and `log_prob`), a critic that has won or lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnomon.data import Examples
from gnomon.models import Model
from gnomon.training.doctor import codes
from gnomon.training.doctor.curves import History, series
from gnomon.training.doctor.probe import Prober

ROWS = 256  # rows of data, and generated rows, that are compared
FEWEST = 32
NEIGHBOURS = 5
POINT = 0.1  # mean distance between generated rows, in that between rows of the data: all are one
COVERED = 0.35  # of the data's neighbourhoods; the same distribution covers 0.97
NEAR = 0.5  # of the generated rows, near the data: what is drawn is right, but it is few things
ACTIVE = 0.01  # variance of a code's mean over the data: Burda et al. 2016, https://arxiv.org/abs/1509.00519
NATS = 0.02
INVERTED = 0.01  # of the data's spread, missed by the ninth tenth of values after there and back
WON = 0.05  # critic's loss against that at the start

_DIVERGENCES = ("kl", "kld", "kl_divergence", "divergence", "rate")

KINDS = ("collapse", "critic", "posterior", "inversion", "codes", "hole")

Fault = tuple[str, str]


def faults(prober: Prober, probe: Examples, history: History, first: Mapping[str, float]) -> list[Fault]:
    """Faults of the model as it stands, each as (kind, sentence).

    Args:
        prober: for the model.
        probe: training rows in network space.
        history: records of epochs.
        first: loss of each player before the first step.
    """
    model = prober.game.model
    rows = probe[:ROWS]
    if len(rows) < FEWEST or not isinstance(rows.x, Tensor):
        return []
    found: list[Fault | None] = []
    if _can(model, "sample") and len(prober.game.sides) > 1:
        generated = prober.call("sample", len(rows), rows.given)
        found += [_collapse(rows.x, generated), _critic(prober, history, first, rows.x, generated)]
    if _can(model, "encode", "decode", "log_prob"):
        found.append(_inversion(prober, rows))
    elif _can(model, "encode"):
        found.append(_posterior(prober, rows, history))
    elif (kl := _divergence(prober, rows, history)) is not None and kl < NATS:
        found.append(("posterior", f"the posterior has collapsed: the code tells {kl:.2g} nats about an example; {_WIDER}"))
    if _can(model, "indices") and isinstance(getattr(model, "codes", None), int):
        found.append(codes.dead(prober.call("indices", rows), model.codes))  # type: ignore[arg-type]
    if _can(model, "code_draws") and not any(found):  # a posterior that has collapsed is not where the prior is either
        found.append(codes.hole(*prober.call("code_draws", rows)))
    return [fault for fault in found if fault is not None]


_WIDER = "lower beta, raise it slowly from 0, or weaken the decoder"


def _can(model: Model, *names: str) -> bool:
    return all(callable(getattr(model, name, None)) for name in names)


def _inversion(prober: Prober, rows: Examples) -> Fault | None:
    assert isinstance(rows.x, Tensor)
    code = prober.call("encode", rows)
    back = prober.call("decode", code, rows.given)
    if not isinstance(back, Tensor) or back.shape != rows.x.shape or code.flatten(1).shape != rows.x.flatten(1).shape:
        return None
    x, y = rows.x.flatten(1).float(), back.flatten(1).float()
    missed = (y - x).abs()
    missed = torch.minimum(missed, (missed - 2 * math.pi).abs())  # an angle may come back a whole turn further
    spread = x.std(0).clamp_min(1e-3)
    error = float(torch.quantile((missed / spread).flatten()[:100_000], 0.9))
    if error <= INVERTED:
        return None
    worst = int((missed / spread).mean(0).argmax())
    return "inversion", (
        f"the inverse does not invert: decode(encode(x)) misses x by {error:.2g} of its spread (most in column {worst}); samples do "
        f"not follow "
        "the density; make inverse and forward the same map, and bound its scales"
    )


def _posterior(prober: Prober, rows: Examples, history: History) -> Fault | None:
    code = prober.call("encode", rows)
    if not isinstance(code, Tensor) or code.ndim != 2 or not torch.isfinite(code).all():
        return None
    variance = code.float().var(0)
    kl = _divergence(prober, rows, history)
    limit = 1e-8 if kl is None else ACTIVE
    if bool((variance > limit).any()):
        return None
    what = "the code has collapsed" if kl is None else "the posterior has collapsed"
    told = "" if kl is None else f" and it tells {kl:.2g} nats about an example"
    return "posterior", f"{what}: none of {len(variance)} latent dimensions changes with the example{told}; {_WIDER}"


def _divergence(prober: Prober, rows: Examples, history: History) -> float | None:
    """The mean of the part of the loss that is called a divergence, in nats per example; None if the loss has none."""
    sides = prober.game.sides
    named = {key.rpartition("/")[2].lower() for key in history[-1]} if history else set(_DIVERGENCES)
    if len(sides) != 1 or not named.intersection(_DIVERGENCES):
        return None
    parts = {name.lower(): value for name, value in prober.parts(sides[0], rows).items()}
    return next((parts[name] for name in _DIVERGENCES if name in parts), None)


def _collapse(real: Tensor, generated: Any) -> Fault | None:
    if not isinstance(generated, Tensor) or generated.shape != real.shape or not torch.isfinite(generated).all():
        return None
    a, b = real.flatten(1).float(), generated.flatten(1).float()
    apart, own = torch.cdist(b, b), torch.cdist(a, a)
    usual = float(own.sum() / (len(a) * (len(a) - 1)))
    spread = float(apart.sum() / (len(b) * (len(b) - 1))) / usual if usual > 0 else 1.0
    covered, near = _covered(a, b, own)
    if spread < POINT or (covered < COVERED and near > NEAR):
        return "collapse", (
            f"mode collapse: generated rows lie {spread:.2g} times as far apart as real ones and reach {100 * covered:.0f} % of the data "
            f"({100 * (1 - 0.5**NEIGHBOURS):.0f} % would be all of it); raise the penalty (gamma), lower the generator's lr, or "
            f"give the critic "
            "more steps"
        )
    return None


def _covered(real: Tensor, generated: Tensor, own: Tensor) -> tuple[float, float]:
    """Share of real rows with a generated one nearer than their k-th neighbour, and of generated rows inside such a ball."""
    radius = own.kthvalue(NEIGHBOURS + 1, dim=1).values
    inside = torch.cdist(real, generated) <= radius[:, None]
    return float(inside.any(1).float().mean()), float(inside.any(0).float().mean())


def _critic(prober: Prober, history: History, first: Mapping[str, float], real: Tensor, generated: Any) -> Fault | None:
    """A critic whose loss is almost nothing has won; one whose loss never moved, though the samples are wrong, has lost."""
    if not isinstance(generated, Tensor) or generated.shape != real.shape or len(history) < 6 or not torch.isfinite(generated).all():
        return None
    name = _critics(prober)
    if name is None:
        return None
    losses = series(history, f"train/{name}/loss")
    if len(losses) < 6 or losses.min() < 0:
        return None  # only losses that are never negative have a floor that says "won"
    a, b = real.flatten(1).float(), generated.flatten(1).float()
    covered, _ = _covered(a, b, torch.cdist(a, a))
    recent, start = losses[-5:], first.get(name, float(losses[0]))
    if float(recent.max()) < WON * start and covered < COVERED:
        return "critic", (
            f"the critic ('{name}') has won: its loss is {float(recent.mean()):.2g} ({start:.2g} at the start), so the "
            "generator learns nothing; lower the critic's lr or steps, raise its penalty (gamma), or use a loss that does not saturate"
        )
    still = float(np.ptp(losses)) <= 0.01 * abs(float(losses[0]))
    if still and covered < COVERED:
        return "critic", (
            f"the critic ('{name}') has lost: its loss stays at {float(losses[-1]):.3g} while generated rows reach "
            f"{100 * covered:.0f} % of "
            "the data; give it a larger network, lr or more steps"
        )
    return None


def _critics(prober: Prober) -> str | None:
    """The name of the critic: as it is usually called, or the player that moves first."""
    sides = prober.game.sides
    if len(sides) != 2:
        return None
    for side in sides:
        if side.player.name in ("critic", "discriminator"):
            return side.player.name
    return sides[0].player.name
