"""A fitted model and data it should not have seen, as a case: its samples, log-probabilities, predictions and reconstructions.

How these are made is `Learned`'s business; judging them is the statistics'.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gnomon.checks.case import Case, Likelihood, Predictions, Reconstruction
from gnomon.checks.effort import Effort
from gnomon.checks.gathering.sources import assemble, thinned
from gnomon.checks.sides import Floats, Sides
from gnomon.data import Categorical, Examples, Image, Integer, Label, Periodic, Prepared, Spec, Vector, fingerprint, prepare
from gnomon.data.seeds import mix
from gnomon.errors import AbilityError, DataError
from gnomon.learned import Learned
from gnomon.learned.conditions import Encoded

_FEWEST = 200  # rows whose log-probabilities are taken even where each costs many passes
_FITTED = 50_000  # further rows to which the Gaussian is fitted
_PIXELS = 256  # a Gaussian is fitted to images of at most so many pixels


def case_of(learned: Learned, data: Any, *, budget: str | float | None, seed: int) -> tuple[Case, list[str], list[str]]:
    """Everything the model can do, done once on the data.

    Args:
        learned: the fitted model.
        data: anything `fit` reads, with the columns of the run (the target too, if the model predicts one).
        budget: for the sample sizes.
        seed: of sampling and of every statistic.

    Returns:
        the case, notes for the report, and warnings for its verdict.

    Raises:
        DataError: the data does not fit the run.
        AbilityError: the model can do nothing that could be checked.
    """
    predicts, samples = "predict" in learned.abilities, "sample" in learned.abilities
    prepared = prepare(data, spec=learned.spec, missing="drop", absent=bool(_settings(learned).get("drop_given", 0)))
    warnings = [text for text in [_trained_on(learned, prepared)] if text]
    notes = list(prepared.notices)
    effort = Effort.of(budget, columns=_width(learned.spec))
    raw = thinned(prepared.raw, effort.rows, seed, "data")
    if len(raw) < len(prepared.raw):
        notes.append(f"{len(raw):,} of {len(prepared.raw):,} rows are used, drawn at random")
    if predicts:
        found = _predictions(learned, raw)
        likelihood = _likelihood(learned, raw, None, effort, seed, notes)
        return Case(likelihood=likelihood, predictions=found, effort=effort, seed=seed), notes, warnings
    sides, drawn = (None, None) if not samples else _sides(learned, raw, seed)
    likelihood, again = _likelihood(learned, raw, drawn, effort, seed, notes), _reconstruction(learned, raw, effort, seed)
    case = Case(sides, likelihood, reconstruction=again, effort=effort, seed=seed)
    if case.sides is None and case.likelihood is None and case.reconstruction is None:
        raise AbilityError(f"{learned.name} can only {', '.join(learned.abilities) or 'do nothing'}; there is nothing in that to check")
    return case, notes, warnings


def _sides(learned: Learned, raw: Examples, seed: int) -> tuple[Sides, Examples]:
    """As many rows drawn from the model as there are, under the conditions of the data."""
    spec = learned.spec
    given = None
    if spec.given is not None and raw.given is not None:
        given = {name: Encoded(raw.given[:, i]) for i, name in enumerate(spec.given.names)}
    made = learned.sample(len(raw), given=given, seed=mix("check", seed))
    x = prepare(made, spec=Spec(spec.x), roles=("x",)).raw.x
    drawn = Examples(x, given=raw.given)
    known = spec.with_(y=None)
    shown = raw.with_(y=None)
    if raw.given is not None and bool(torch.isnan(raw.given).any()):  # absent conditions cannot be compared as columns
        known, shown = known.with_(given=None), shown.with_(given=None)
        return assemble(known, shown, Examples(x, weight=raw.weight), seed=seed), drawn
    return assemble(known, shown, drawn, shared=raw.given is not None, seed=seed), drawn


def _likelihood(learned: Learned, raw: Examples, drawn: Examples | None, effort: Effort, seed: int, notes: list[str]) -> Likelihood | None:
    """Log-probabilities of the data and of the model's own rows."""
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
    return made if "predict" in learned.abilities else _with_baseline(made, learned.spec, raw, some)


def _with_baseline(made: Likelihood, spec: Spec, raw: Examples, some: torch.Tensor) -> Likelihood:
    """The same with the rows as numbers, if a Gaussian is a meaningful density for them."""
    numbers, lattice = _gaussian_numbers(spec, raw)
    given = np.empty((len(raw), 0)) if raw.given is None else _plain_columns(spec.given, raw.given)
    if numbers is None or given is None:
        return made
    rest = torch.ones(len(raw), dtype=torch.bool)
    rest[some] = False
    others = rest.numpy() if made.weight is None else np.zeros(len(raw), dtype=bool)
    picked = some.numpy()
    return replace(
        made,
        numbers=numbers[picked],
        given=given[picked] if given.shape[1] else None,
        others=np.concatenate([numbers, given], axis=1)[others][:_FITTED],
        lattice=lattice,
    )


def _gaussian_numbers(spec: Spec, raw: Examples) -> tuple[Floats | None, Any]:
    """The rows as numbers, if a Gaussian is a meaningful density for them, and which columns are whole numbers."""
    x = raw.x
    if not isinstance(x, torch.Tensor):
        return None, None
    if isinstance(spec.x, Image):
        flat = x.reshape(len(x), -1)
        fits = flat.shape[1] <= _PIXELS
        return (flat.double().numpy() if fits else None), np.full(flat.shape[1], spec.x.levels is not None)
    if not isinstance(spec.x, Vector):
        return None, None
    return _plain_columns(spec.x, x), np.array([isinstance(c.support, Integer) for c in spec.x.columns])


def _plain_columns(kind: Vector | None, values: torch.Tensor) -> Floats | None:
    """The columns as they are, unless one is a category, an angle or absent."""
    assert kind is not None
    if any(isinstance(c.support, (Categorical, Periodic)) for c in kind.columns) or bool(torch.isnan(values).any()):
        return None
    return values.double().numpy()


def _predictions(learned: Learned, raw: Examples) -> tuple[Predictions, ...]:
    """Predictions of the target beside the truth; one entry per target column."""
    target = learned.spec.y
    if raw.y is None or target is None:
        known = target.names if isinstance(target, Vector) else (getattr(target, "name", "y"),)
        shown = ", ".join(f"'{name}'" for name in known)
        raise DataError(f"the data has no target {shown}, with which the predictions of {learned.name} are compared")
    weight = None if raw.weight is None else raw.weight.double().numpy()
    weight = None if weight is None else weight * (len(weight) / weight.sum())
    asked = raw.with_(y=None, weight=None)
    if isinstance(target, Label):
        probability = np.asarray(learned.predict(asked, proba=True), dtype=np.float64)
        return (Predictions(target.name, raw.y.numpy(), probability=probability, classes=target.classes, weight=weight),)  # type: ignore[union-attr]
    mean, spread = _numbers_predicted(learned, asked)
    truth = raw.y.double().numpy().reshape(len(raw), -1)  # type: ignore[union-attr]
    names = target.names if isinstance(target, Vector) else tuple(f"target {i}" for i in range(truth.shape[1]))
    return tuple(
        Predictions(name, truth[:, i], mean=mean[:, i], spread=None if spread is None else spread[:, i], weight=weight)
        for i, name in enumerate(names)
    )


def _numbers_predicted(learned: Learned, asked: Examples) -> tuple[Floats, Floats | None]:
    """Means and, where the model has them, standard deviations, each ``(n, targets)``."""
    rows = len(asked)
    try:
        made = learned.predict(asked, sd=True)
    except AbilityError:  # fitted without a spread
        return np.asarray(learned.predict(asked), dtype=np.float64).reshape(rows, -1), None
    mean, spread = (np.asarray(part, dtype=np.float64).reshape(rows, -1) for part in made)
    return mean, spread


def _reconstruction(learned: Learned, raw: Examples, effort: Effort, seed: int) -> Reconstruction | None:
    """The rows as the model tells them again, for numbers and images."""
    if "reconstruct" not in learned.abilities or not isinstance(raw.x, torch.Tensor):
        return None
    part = thinned(raw, effort.model_rows, seed, "reconstruction")
    made = learned.reconstruct(part.with_(y=None, weight=None))
    x = prepare(made, spec=Spec(learned.spec.x), roles=("x",)).raw.x
    assert isinstance(x, torch.Tensor) and isinstance(part.x, torch.Tensor)
    weight = None if part.weight is None else part.weight.double().numpy()
    kind = learned.spec.x
    columns = kind.columns if isinstance(kind, Vector) else ()
    flat = [values.reshape(len(values), -1).double().numpy() for values in (part.x, x)]
    if not isinstance(kind, Image):
        return Reconstruction(columns, flat[0], flat[1], weight)
    data_range = float(kind.levels - 1) if kind.levels is not None else float(np.ptp(flat[0]))
    return Reconstruction(columns, flat[0], flat[1], weight, tuple(kind.shape), data_range)


def _trained_on(learned: Learned, prepared: Prepared) -> str:
    """What has to be said if these are the rows of the fit."""
    known = learned.info.get("data") or {}
    if known.get("sha256") is None or known.get("sha256") != fingerprint(prepared.raw):
        return ""
    split = learned.info.get("split") or {}
    share = f"{split['train']:,} of these {len(prepared.raw):,} rows" if split.get("how") != "own" and "train" in split else "these rows"
    return f"The model was trained on {share}, so this check is too kind; check it on rows that it has not seen"


def _settings(learned: Learned) -> dict[str, Any]:
    return (learned.info.get("decisions") or {}).get("settings") or {}


def _width(spec: Spec) -> int:
    kinds = [kind for kind in (spec.x, spec.given) if isinstance(kind, Vector)]
    pixels = int(np.prod(spec.x.shape)) if isinstance(spec.x, Image) else 0
    return sum(len(kind) for kind in kinds) + min(pixels, 64)
