"""A fitted model and data it should not have seen, as a case: its samples, log-probabilities, predictions and reconstructions.

How these are made is `Learned`'s business; judging them is the statistics'.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gnomon.checks.case import Case, Predictions, Reconstruction
from gnomon.checks.effort import Effort
from gnomon.checks.gathering.anomalous import anomalies_of, parted
from gnomon.checks.gathering.labelling import with_labels
from gnomon.checks.gathering.log_probabilities import likelihood_of
from gnomon.checks.gathering.noise import latent_of
from gnomon.checks.gathering.places import comparable
from gnomon.checks.gathering.simulating import ranks_of
from gnomon.checks.gathering.sources import assemble, thinned
from gnomon.checks.gathering.training import training_section
from gnomon.checks.gathering.training_rows import training_rows
from gnomon.checks.sides import Floats, Sides
from gnomon.data import Examples, Image, Label, Prepared, Spec, Vector, fingerprint, prepare
from gnomon.data.seeds import mix
from gnomon.errors import AbilityError, DataError
from gnomon.learned import Learned
from gnomon.learned.anomaly import By, demand_way
from gnomon.learned.conditions import Encoded


def case_of(
    learned: Learned,
    data: Any,
    *,
    budget: str | float | None,
    seed: int,
    train: Any = None,
    anomaly: str | None = None,
    anomaly_by: By | None = None,
) -> tuple[Case, list[str], list[str]]:
    """Everything the model can do, done once on the data.

    Args:
        learned: the fitted model.
        data: anything `fit` reads, with the columns of the run (the target too, if the model predicts one).
        budget: for the sample sizes.
        seed: of sampling and of every statistic.
        train: rows that the model was trained on, or None to look for them (see `training_rows`).
        anomaly: the column that tells which rows are anomalies, or None; the rest of the check is then about the other rows.
        anomaly_by: how strangeness is told, as `Learned.score` takes it; None for the model's own way.

    Returns:
        the case, notes for the report, and warnings for its verdict.

    Raises:
        DataError: the data does not fit the run.
        AbilityError: the model can do nothing that could be checked.
    """
    predicts, samples = "predict" in learned.abilities, "sample" in learned.abilities
    absent = bool(_settings(learned).get("drop_given", 0))
    demand_way(learned, anomaly_by)
    parts = None if anomaly is None else parted(learned, data, anomaly)
    data = data if parts is None else parts.usual
    prepared = replace(prepare(data, spec=learned.spec, missing="drop", absent=absent), table=None)  # the numbers are enough
    warnings = [text for text in [_trained_on(learned, prepared)] if text]
    notes = list(prepared.notices)
    effort = Effort.of(budget, columns=_width(learned.spec))
    raw = thinned(prepared.raw, effort.rows, seed, "data")
    if len(raw) < len(prepared.raw):
        notes.append(f"{len(raw):,} of {len(prepared.raw):,} rows are used, drawn at random")
    anomalies = None
    if parts is not None:
        anomalies, told = anomalies_of(learned, prepared.raw, parts, effort, seed, absent=absent, by=anomaly_by)
        notes += told
    if predicts:
        notes += ["train= has no effect: predictions are judged by held-out rows alone"] * (train is not None)
        found = _predictions(learned, raw)
        likelihood = likelihood_of(learned, raw, None, effort, seed, notes)
        case = Case(likelihood=likelihood, predictions=found, anomalies=anomalies, effort=effort, seed=seed)
        case.pictures["training"] = training_section(learned.history)
        return case, notes, warnings
    trained, told = training_rows(learned, train, prepared, absent=absent)
    notes += told
    trained = None if trained is None else thinned(trained, effort.rows, seed, "train")
    sides, drawn = (None, None) if not samples else sides_of(learned, raw, trained, seed)
    if sides is not None:
        sides = with_labels(sides, data, prepared, lambda rows: thinned(rows, effort.rows, seed, "data"), train=trained)
    if raw.given is not None and not isinstance(learned.spec.given, Vector):
        what = type(learned.spec.given).__name__.lower()
        notes.append(f"the condition is {'an' if what[0] in 'aeiou' else 'a'} {what}, no column: only sbc and tarp look at it")
    likelihood, again = likelihood_of(learned, raw, drawn, effort, seed, notes, train=trained), _reconstruction(learned, raw, effort, seed)
    latent, ranks = latent_of(learned, raw, effort, seed, notes), ranks_of(learned, raw, effort, seed, notes)
    case = Case(sides, likelihood, reconstruction=again, latent=latent, ranks=ranks, anomalies=anomalies, effort=effort, seed=seed)
    if case.sides is None and case.likelihood is None and case.reconstruction is None and case.anomalies is None:
        raise AbilityError(f"{learned.name} can only {', '.join(learned.abilities) or 'do nothing'}; there is nothing in that to check")
    case.pictures["training"] = training_section(learned.history)
    return case, notes, warnings


def sides_of(learned: Learned, raw: Examples, train: Examples | None, seed: int) -> tuple[Sides, Examples]:
    """As many rows drawn from the model as there are, under the conditions of the data."""
    spec = learned.spec
    given = None if raw.given is None else Encoded(raw.given)
    made = learned.sample(len(raw), given=given, seed=mix("check", seed))
    x = prepare(made, spec=Spec(spec.x), roles=("x",)).raw.x
    del made
    pa.default_memory_pool().release_unused()
    drawn = Examples(x, given=raw.given)
    known = spec.with_(y=None)
    shown = raw.with_(y=None)
    if raw.given is not None and not comparable(spec.given, raw.given):
        known, shown = known.with_(given=None), shown.with_(given=None)
        return assemble(known, shown, Examples(x, weight=raw.weight), seed=seed, train=train), drawn
    return assemble(known, shown, drawn, shared=raw.given is not None, seed=seed, train=train), drawn


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
