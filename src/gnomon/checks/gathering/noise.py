"""Held-out rows as the noise from which a flow would draw them, and how well they come back from it.

How a flow turns rows into noise is its own affair; whether the noise is what it should be is judged by `statistics.latent`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gnomon.checks.case import Latent
from gnomon.checks.effort import Effort
from gnomon.checks.gathering.sources import thinned
from gnomon.data import Examples
from gnomon.learned import Learned
from gnomon.learned.chunks import each, evaluating, rows_of
from gnomon.models.flow import Flow

_NUMBERS = 4_000_000  # noise is looked at up to so many numbers
_CELLS = 3  # columns of whole numbers whose place in the cell can be drawn
_TRIES = 64  # places in a cell of which one is drawn
_FEWEST = 20


def latent_of(learned: Learned, raw: Examples, effort: Effort, seed: int, notes: list[str]) -> Latent | None:
    """The noise of held-out rows under a flow; None for other models.

    A row of whole numbers is a cell, and the flow's density inside it is nobody's claim about the data. So its place is drawn from that
    very density (the best of 64 uniform places after adding Gumbel noise to their log-density): then the noise is normal if the
    probabilities of the cells are right. With more than three such columns, or pixels with levels, this is left out.

    Args:
        learned: the fitted model.
        raw: held-out rows in the user's units.
        effort: its `model_rows`.
        seed: of the choice of rows and of places in cells.
        notes: a reason for leaving it out is added here.
    """
    model, scaling = learned.model, learned.scaling
    if not isinstance(model, Flow) or model.bijection is None or not isinstance(raw.x, Tensor):
        return None
    if scaling.cells > _CELLS:
        notes.append(f"latent_normality is left out: no place can be drawn in a cell of {scaling.cells} whole numbers per row")
        return None
    width = max(1, model.numbers + model.angles)
    rows = max(500, min(effort.model_rows // (16 if scaling.cells else 1), _NUMBERS // width))
    inside = raw[torch.nonzero(~scaling.outside(raw)).flatten()]
    part = thinned(inside, rows, seed, "latent")
    if len(part) < _FEWEST:
        return None
    device = model.device

    def work(chunk: Examples) -> tuple[Tensor, ...]:
        return _noise(learned, model, chunk)

    with evaluating(model, device):
        noise, error = each(work, part.with_(y=None), rows_of(learned.spec.x), device=device, seed=("latent", seed))
    assert isinstance(noise, Tensor) and isinstance(error, Tensor)
    made = noise.double().numpy()
    weight = None if part.weight is None else part.weight.double().numpy() * (len(part) / float(part.weight.sum()))
    circle = (made[:, model.numbers :] + math.pi) / (2 * math.pi) % 1.0
    return Latent(made[:, : model.numbers], circle, weight, error.double().numpy())


def _noise(learned: Learned, model: Flow, chunk: Examples) -> tuple[Tensor, Tensor]:
    """Noise ``(n, numbers + angles)``, and the largest difference of a column after the way there and back ``(n,)``."""
    batch = _placed(learned, model, chunk.with_(weight=None))
    code = model.encode(batch)
    assert isinstance(batch.x, Tensor)
    difference = _parted(model, model.decode(code, batch.given)) - _parted(model, batch.x)
    circle = difference[:, model.numbers :]
    wrapped = torch.remainder(circle + math.pi, 2 * math.pi) - math.pi
    error = torch.cat([difference[:, : model.numbers], wrapped], 1).abs().amax(1)
    return _parted(model, code).cpu(), error.cpu()


def _parted(model: Flow, x: Tensor) -> Tensor:
    """Numbers, then angles."""
    flat = x.flatten(1)
    return torch.cat([flat.index_select(1, model.at_reals), flat.index_select(1, model.at_angles)], 1)


def _placed(learned: Learned, model: Flow, chunk: Examples) -> Examples:
    """The rows in network space, whole numbers at a place drawn from the model's density in their cell."""
    scaling = learned.scaling
    if not scaling.has_integers:
        return scaling.forward(chunk).to(model.device)
    stored = scaling.store(chunk)
    best: Tensor | None = None
    kept = stored.x
    for _ in range(_TRIES):
        u = scaling.noise(len(chunk), None, torch.device("cpu"))
        tried = scaling.spread(stored, u).to(model.device)
        gumbel = -torch.empty(len(chunk), dtype=torch.float64).exponential_().log()
        score = model.log_prob(tried).cpu().double() + scaling.log_det(chunk, u) + gumbel
        assert isinstance(tried.x, Tensor)
        if best is None:
            best, kept = score, tried.x
            continue
        assert isinstance(kept, Tensor)
        better = score > best
        best, kept = torch.where(better, score, best), torch.where(better.to(model.device)[:, None], tried.x, kept)
    return Examples(kept, given=stored.given).to(model.device)
