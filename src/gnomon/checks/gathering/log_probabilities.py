"""Log-probabilities of held-out rows and of the model's own, with the same rows as points for classical densities.

How a model computes them is `Learned`'s business; judging them is the statistics'.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from gnomon.checks.case import Likelihood
from gnomon.checks.effort import Effort
from gnomon.checks.gathering.places import comparable, emptiest, places_of
from gnomon.checks.sides import Floats
from gnomon.data import Examples, Image, Vector
from gnomon.errors import AbilityError
from gnomon.learned import Learned

_FEWEST = 200  # rows whose log-probabilities are taken even where each costs many passes
_FITTED = 50_000  # further rows to which classical densities are fitted


def likelihood_of(
    learned: Learned, raw: Examples, drawn: Examples | None, effort: Effort, seed: int, notes: list[str], *, train: Examples | None = None
) -> Likelihood | None:
    """Log-probabilities of the data and of the model's own rows; None if the model has none.

    Args:
        learned: the fitted model.
        raw: held-out rows.
        drawn: as many rows drawn from the model under their conditions, or None.
        effort: its `model_rows`.
        seed: of the choice of rows and of bounds.
        notes: what a reader has to know is added here.
        train: rows that the model was trained on, if they are at hand: classical densities are then fitted to these.
    """
    bound = "log_prob" not in learned.abilities
    if bound and "log_prob_bound" not in learned.abilities:
        return None
    lattice = learned.scaling.has_integers  # each row is then evaluated at many points of its cell
    rows = max(_FEWEST, effort.model_rows // (8 if lattice else 1) // (8 if bound else 1))
    draws = 8 if lattice else 64
    some = torch.arange(len(raw))
    if len(raw) > rows:
        some = torch.randperm(len(raw), generator=torch.Generator().manual_seed(seed & 0xFFFFFFFF))[:rows].sort().values
        notes.append(f"log-probabilities are taken of {rows:,} rows drawn at random")
    part = raw[some]

    def evaluate(examples: Examples) -> Floats:
        made = learned.log_prob_bound(examples, samples=draws, seed=seed)[0] if bound else learned.log_prob(examples)
        return np.asarray(made, dtype=np.float64)

    if bound:
        notes.append(f"log_likelihood is a lower bound with {draws} draws per row; more draws would raise it a little")
    try:
        real = evaluate(part)
    except AbilityError as error:  # a density that this kind of data does not have
        notes.append(f"log_likelihood is left out: {error}")
        return None
    generated = None if drawn is None else evaluate(drawn[some])
    weight = None if part.weight is None else part.weight.double().numpy()
    made = Likelihood(real, generated, weight, bound, drawn is not None and part.given is not None)
    if "predict" in learned.abilities:  # it is a density of targets, not of rows
        return made
    kind, conditions = learned.spec.x, learned.spec.given
    if isinstance(kind, Image) and kind.levels is not None:
        made = replace(made, pixels=math.prod(kind.shape))
    if part.given is not None and comparable(conditions, part.given):
        assert isinstance(conditions, Vector) and isinstance(part.given, torch.Tensor)
        made = replace(made, given=part.given.double().numpy(), given_columns=conditions.columns)
    return _with_places(made, learned, raw, some, train)


def _with_places(made: Likelihood, learned: Learned, raw: Examples, some: torch.Tensor, train: Examples | None) -> Likelihood:
    """The same with the rows as points, and further rows to which classical densities are fitted."""
    if train is None:
        rest = torch.ones(len(raw), dtype=torch.bool)
        rest[some] = False
        others = raw[torch.nonzero(rest).flatten()]
    else:
        others = train
    if len(others) > _FITTED:
        others = others[torch.linspace(0, len(others) - 1, _FITTED).long()]
    cuts = emptiest(learned.scaling, others if train is not None else raw)
    places = places_of(learned.scaling, raw[some], cuts, evaluated=True)
    if places is None:
        return made
    places = replace(places, weight=made.weight)
    if not len(others):
        return replace(made, places=places)
    further = places_of(learned.scaling, others, cuts, evaluated=False)
    if further is None:
        return replace(made, places=places)
    further = replace(further, weight=None if others.weight is None else others.weight.double().numpy())
    return replace(made, places=places, others=further, seen=train is not None)
