"""From network space back to the user's units: densities with their Jacobians, and moments through bent scalings.

It knows a scaling and a function to evaluate, but no model, file or table.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnomon.data import Categorical, Examples, Periodic, Ragged, Real, Scaling, Vector
from gnomon.errors import OptionError

LATTICE = 64
"""Points over which the density of whole numbers is averaged: the same for all rows, so that values do not depend on a draw."""

BOUND_LATTICE = 16
"""The same for a lower bound by random draws, which are shared out over the points."""

_BENT = 3  # up to so many whole numbers the lattice is bent towards the cells' edges, where densities on bounded columns turn sharply

NODES = 64
"""Nodes of the Gauss–Hermite rule that carries a Gaussian through a bent scaling."""

Evaluate = Callable[[Examples], tuple[Tensor, Tensor | None]]


def log_density(
    evaluate: Evaluate, scaling: Scaling, raw: Examples, device: torch.device, *, role: str = "x", points: int = LATTICE
) -> tuple[Tensor, Tensor]:
    """Log-density of one role in the user's units: nats per example, of probability where columns are whole numbers.

    Real columns: the model's log-density plus log |dz/dx|. Whole numbers: p(k) is the integral over offsets u in [0, 1) of the
    density at k + u, by a lattice rule (see `offsets`).

    Args:
        evaluate: batch in network space to log-density ``(n,)`` and its standard error ``(n,)`` or None.
        scaling: the run's scaling.
        raw: examples in the user's units.
        device: where batches go.
        role: whose density it is: "x", or "y" for a model of targets.
        points: size of the lattice.

    Returns:
        value and standard error, float64 ``(n,)`` on the host; outside the support the value is −inf and the error 0.
    """
    outside = scaling.outside(raw, role=role)
    values, errors = [], []
    for u, log_weight in offsets(scaling, points) if scaling.has_integers and role == "x" else [(None, 0.0)]:
        batch = scaling.forward(raw) if u is None else scaling.at(raw, u)
        value, error = evaluate(_inside(batch, outside, role).to(device))
        values.append(value.cpu().double() + scaling.log_det(raw, u, role=role) + log_weight)
        errors.append(torch.zeros(len(raw)).double() if error is None else error.cpu().double())
    stacked = torch.stack(values)
    value = stacked.logsumexp(0)
    shares = (stacked - value).exp().nan_to_num(nan=0.0)
    error = (shares * torch.stack(errors)).square().sum(0).sqrt()
    return value.masked_fill(outside, -math.inf), error.masked_fill(outside, 0.0)


def offsets(scaling: Scaling, points: int = LATTICE) -> list[tuple[Tensor, float]]:
    """Points u ``(cells,)`` inside the cells of whole numbers, with the log of their weights in the mean over a cell.

    The points of the scaling's lattice v; up to three whole numbers per example they are bent to u = v³ (10 - 15 v + 6 v²) with
    weight du/dv, which makes any smooth integrand periodic and the lattice rule exact to several orders more.

    Reference: Sidi 1993, "A new variable transformation for numerical integration".
    """
    v = scaling.lattice(points).double()
    weights = torch.full((len(v),), 1 / len(v)).double()
    if scaling.cells <= _BENT:
        weights = weights * (30 * v.square() * (1 - v).square()).prod(1)
        v = v**3 * (10 - 15 * v + 6 * v.square())
    return list(zip(v, (weights / weights.sum()).log().tolist(), strict=True))


def draws(bound: Callable[..., Any], samples: int | None, scaling: Scaling) -> dict[str, int]:
    """The options with which a model's `log_prob_bound` makes `samples` draws per example, over all points of the lattice together.

    Raises:
        OptionError: `samples` is below 1, or given to a model that takes no number of draws.
    """
    known = inspect.signature(bound).parameters
    if samples is not None and ("samples" not in known or samples < 1):
        raise OptionError(f"samples wants a whole number from 1, and a model whose bound is drawn; got {samples}")
    if "samples" not in known:
        return {}
    total = known["samples"].default if samples is None else samples
    return {"samples": math.ceil(total / BOUND_LATTICE) if scaling.has_integers else int(total)}


def _inside(batch: Examples, outside: Tensor, role: str) -> Examples:
    """The batch with rows outside the support replaced by zeros: their result is thrown away, but NaN must not reach an index."""
    values = getattr(batch, role)
    if not bool(outside.any()):
        return batch
    if isinstance(values, Ragged):
        bad = outside.to(values.device)[values.rows()]
        clean: Tensor | Ragged = Ragged(values.values.masked_fill(bad[:, None], 0.0), values.lengths)
    else:
        clean = values.masked_fill(outside.to(values.device).reshape(-1, *([1] * (values.dim() - 1))), 0)
    return batch.with_(**{role: clean})


def moments(scaling: Scaling, role: str, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation in the user's units of Gaussians in network space.

    Columns with a bent scaling (log, logit) are integrated by Gauss–Hermite quadrature, so the mean is the mean and not the
    median; for an angle the circular mean and the spread on the circle's tangent are given; whole numbers stay fractions.

    Args:
        scaling: the run's scaling.
        role: "y", or whichever role holds the numbers.
        mean: ``(n, columns)`` or ``(n, channels, *size)`` in network space.
        spread: standard deviations, of the same shape.

    Returns:
        mean and sd, float64, of the same shape.
    """
    mean, spread = mean.cpu().double(), spread.cpu().double()
    kind = getattr(scaling.spec, role)
    centre = _plain(scaling.inverse(role, mean, whole=False)).double()
    sd = spread * scaling.derivative(role, mean)
    if not isinstance(kind, Vector):
        return centre, sd
    bent = [i for i, column in enumerate(kind.columns) if not isinstance(column.support, (Real, Periodic, Categorical))]
    if not bent:
        return centre, sd
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(NODES))
    weights = weights / weights.sum()
    z = mean[:, None] + spread[:, None] * nodes[:, None]
    x = _plain(scaling.inverse(role, z.flatten(0, 1), whole=False)).reshape(z.shape)[..., bent]
    first = (weights[:, None] * x).sum(1)
    second = (weights[:, None] * (x - first[:, None]) ** 2).sum(1)
    return centre.index_copy(1, torch.tensor(bent), first), sd.index_copy(1, torch.tensor(bent), second.sqrt())


def predicted(outputs: list[Any], scaling: Scaling) -> tuple[Tensor, ...]:
    """What passes of a model's `predict` amount to in the user's units.

    Args:
        outputs: one per pass: logits ``(n, classes)``, or mean and spread ``(n, columns)`` (the spread may be None).
        scaling: the run's scaling.

    Returns:
        Mean class probabilities ``(n, classes)``; or mean and standard deviation of the mixture of all passes, or the mean alone
        where there is one pass without a spread. float64.
    """
    if isinstance(outputs[0], Tensor):
        return (torch.stack([logits.cpu().double().softmax(-1) for logits in outputs]).mean(0),)
    spreadless = outputs[0][1] is None
    pairs = [moments(scaling, "y", mean, torch.zeros_like(mean) if spread is None else spread) for mean, spread in outputs]
    if len(pairs) == 1:
        return pairs[0][:1] if spreadless else pairs[0]
    means, sds = torch.stack([mean for mean, _ in pairs]), torch.stack([sd for _, sd in pairs])
    return means.mean(0), (sds.square().mean(0) + means.var(0, correction=0)).sqrt()


def _plain(values: Tensor | Ragged) -> Tensor:
    assert isinstance(values, Tensor)
    return values
