"""Features of images and sets by an encoder that is trained on real rows, and classes by the user's labels: what rows may train them.

Rows that train an encoder are known to it better than fresh ones, so they are never compared by its features: it is trained on the
model's own training rows where these are at hand, else on real rows that are set apart.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnomon.checks.case import Case
from gnomon.checks.gathering.encoders import (
    Made,
    Rows,
    autoencoder_of,
    classifier_of,
    digests,
    features_by,
    remember,
    set_encoder_of,
)  # fmt: skip
from gnomon.checks.gathering.labelling import Known, known_labels, labelled_by, rows_of, teachable
from gnomon.checks.sides import Floats, Side, Sides
from gnomon.data import Image, Label, Ragged, Set, Vector
from gnomon.errors import DataError, OptionError, TrainingError
from gnomon.learned import Learned

SHARE = 3
"""One real row in so many is set apart to train an encoder, where the model's training rows are not at hand."""

FEWEST, MOST = 100, 5000
"""Rows that train an encoder."""

COST = 0.15
"""Share of the budget that training takes."""

Features = str | os.PathLike[str] | Learned | Callable[[Any], Any] | None
"""What may be said: "auto", a run folder, a model, a function of the examples, or None."""


@dataclass(frozen=True, eq=False)
class Enriched:
    """A case with features and classes.

    Args:
        case: what is judged.
        encoder: that was trained for it, to be kept with the report, or None.
        notes: what was done.
    """

    case: Case
    encoder: Learned | None = None
    notes: list[str] = field(default_factory=list)


def enriched(case: Case, features: Features = "auto") -> Enriched:
    """Give the rows of both sides features by an encoder, and classes where the real rows have labels.

    Args:
        case: with its sides.
        features: "auto" trains an encoder for images and sets, and none for tables; a run folder or a `Learned` is an encoder (of the
            codes of a model that encodes, or of what a classifier makes its logits from); a function is given pixels
            ``(n, channels, *size)``, a Ragged, or the columns ``(n, D)``, and returns ``(n, k)`` numbers; None leaves it at columns.

    Raises:
        OptionError: `features` is nothing of this sort.
        DataError: the encoder was made for other examples, or a function returns something else.
    """
    sides = case.sides
    encoder = None if features is None or features == "auto" else _given(features)
    if sides is None or sides.kind is None:
        return Enriched(case, None, [] if encoder is None else ["features= has no effect: there are no two sides to compare"])
    known = known_labels(sides)
    if encoder is None and features == "auto" and isinstance(sides.kind, (Image, Set)):
        return _trained(case, sides, known)
    notes: list[str] = []
    if encoder is not None:
        sides, notes = _embedded_by(encoder, sides, case.effort.model_rows)
        case = replace(case, sides=sides)
    if known is None:
        return Enriched(case, None, notes)
    if isinstance(encoder, Learned) and _knows(encoder, known.label):
        return Enriched(replace(case, labelled=labelled_by(encoder, sides)), None, notes)
    return _only_labelled(case, sides, known, notes)


# ---- an encoder trained here -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Chosen:
    """Rows that train.

    Args:
        rows: the examples.
        codes: ``(t,)`` their labels, or None.
        apart: indices of the real rows among them, which are not compared.
        words: where they come from.
    """

    rows: Rows
    codes: NDArray[np.intp] | None
    apart: NDArray[np.intp]
    words: str


def _trained(case: Case, sides: Sides, known: Known | None) -> Enriched:
    """Features of images or sets by an encoder trained on rows that are not compared."""
    chosen = _choose(sides, known)
    if chosen is None:
        shown = "pixels" if isinstance(sides.kind, Image) else "summary columns"
        return Enriched(case, None, [f"features: too few real rows to set {FEWEST} apart and train an encoder; {shown} are used instead"])
    seconds = COST * case.effort.seconds
    try:
        encoder, words = _encoder(sides.kind, chosen, known, seconds, case.seed)
    except TrainingError as error:
        return Enriched(case, None, [f"features are left out: training an encoder failed ({error})"])
    remember(encoder, replace(Made.of(encoder), digests=tuple(digests(chosen.rows))))
    notes = [f"features: {words}, trained for {Made.of(encoder).steps:,} steps on {chosen.words}"]
    part = _embedded(without(sides, chosen.apart), encoder, case.effort.model_rows, notes)
    made = replace(case, sides=part)
    if known is not None and _knows(encoder, known.label):
        made = replace(made, labelled=labelled_by(encoder, part))
    return Enriched(made, encoder, notes)


def _choose(sides: Sides, known: Known | None) -> Chosen | None:
    """The rows that train: of the model's training rows, or real ones set apart; None if there are too few."""
    generator = sides.generator("encoder", "rows")
    train = sides.train
    if train is not None and len(train) >= FEWEST and (known is None or known.train is not None):
        picked = np.sort(generator.permutation(len(train))[:MOST])
        codes = None if known is None or known.train is None else known.train[picked]
        words = f"{len(picked):,} rows that the model was trained on"
        return Chosen(rows_of(train.at(picked), sides), codes, np.empty(0, dtype=np.intp), words)
    count = min(len(sides.real) // SHARE, MOST)
    if count < FEWEST:
        return None
    apart = np.sort(generator.permutation(len(sides.real))[:count])
    codes = None if known is None else known.real[apart]
    words = f"{count:,} real rows set apart, which are not compared by it; the other {len(sides.real) - count:,} are"
    return Chosen(rows_of(sides.real.at(apart), sides), codes, apart, words)


def _encoder(kind: Any, chosen: Chosen, known: Known | None, seconds: float, seed: int) -> tuple[Learned, str]:
    """The encoder that these rows can train, and what it is in words."""
    if known is not None and chosen.codes is not None and teachable(known.label, chosen.codes):
        made = classifier_of(kind, chosen.rows, known.label, chosen.codes, seconds=seconds, seed=seed)
        return made, f"what a classifier of '{known.label.name}' decides from"
    if isinstance(kind, Set):
        assert isinstance(chosen.rows, Ragged)
        return set_encoder_of(kind, chosen.rows, seconds=seconds, seed=seed), "what a classifier of real and spoilt sets decides from"
    assert isinstance(chosen.rows, torch.Tensor)
    return autoencoder_of(kind, chosen.rows, seconds=seconds, seed=seed), "the code of an autoencoder"


def without(sides: Sides, apart: NDArray[np.intp]) -> Sides:
    """The sides without some real rows; of paired sides without their partners too."""
    if not len(apart):
        return sides
    rest = np.setdiff1d(np.arange(len(sides.real)), apart)
    generated = sides.generated.at(rest) if sides.paired else sides.generated
    return replace(sides, real=sides.real.at(rest), generated=generated, _known={})


# ---- labels without features -----------------------------------------------------------------------------------------


def _only_labelled(case: Case, sides: Sides, known: Known, notes: list[str]) -> Enriched:
    """Classes by a classifier that is used for nothing else, so that other statistics keep the rows that train it."""
    assert isinstance(sides.kind, (Vector, Image, Set))
    chosen = _choose(sides, known)
    if chosen is None or chosen.codes is None or not teachable(known.label, chosen.codes):
        told = f"classes are left out: too few real rows to set {FEWEST} apart and train a classifier of '{known.label.name}'"
        return Enriched(case, None, [*notes, told])
    try:
        classifier = classifier_of(sides.kind, chosen.rows, known.label, chosen.codes, seconds=COST * case.effort.seconds, seed=case.seed)
    except TrainingError as error:
        return Enriched(case, None, [*notes, f"classes are left out: training a classifier failed ({error})"])
    part = without(sides, chosen.apart).take(case.effort.model_rows)
    told = f"classes: by a classifier of '{known.label.name}', trained for {Made.of(classifier).steps:,} steps on {chosen.words}"
    return Enriched(replace(case, labelled=labelled_by(classifier, part)), None, [*notes, told])


# ---- an encoder that is given ----------------------------------------------------------------------------------------


def _given(features: Any) -> Any:
    """The encoder that is meant: a `Learned`, or a function."""
    from gnomon.models.classifier import Classifier

    if isinstance(features, (str, os.PathLike)):
        from gnomon.learned import load
        from gnomon.learned.runs import is_run

        if not is_run(features):
            raise OptionError(f"features wants 'auto', None, a run folder, a model or a function; '{features}' is no run folder")
        features = load(features)
    if isinstance(features, Learned):
        if not ("encode" in features.abilities or isinstance(features.model, Classifier)):
            raise OptionError(f"features wants a model that encodes, or a classifier; {features.name} can {', '.join(features.abilities)}")
        if features.spec.given is not None:
            names = ", ".join(getattr(features.spec.given, "names", ("given",)))
            raise OptionError(f"features wants a model of examples alone; {features.name} has conditions: {names}")
        return features
    if not callable(features):
        raise OptionError(f"features wants 'auto', None, a run folder, a model or a function; got {type(features).__name__}")
    return features


def _embedded_by(encoder: Any, sides: Sides, rows: int) -> tuple[Sides, list[str]]:
    """Features by an encoder that is given; real rows known to have trained it are left out."""
    if not isinstance(encoder, Learned):
        notes = [f"features: a function, {getattr(encoder, '__name__', type(encoder).__name__)}"]
        return _embedded(sides, encoder, rows, notes), notes
    seen = _seen(encoder, sides)
    notes = [f"features: by {encoder.name}" + (f" from '{encoder.run}'" if encoder.run is not None else "")]
    if len(seen):
        notes[0] += f"; {len(seen):,} real rows that trained it are left out, the other {len(sides.real) - len(seen):,} are compared"
    elif not Made.of(encoder).digests:
        notes[0] += "; no row that trained it should be among the real ones"
    if len(sides.real) - len(seen) < 2:
        raise DataError(f"all {len(sides.real):,} real rows trained the encoder of features; compare others, or pass features='auto'")
    return _embedded(without(sides, seen), encoder, rows, notes), notes


def _seen(encoder: Learned, sides: Sides) -> NDArray[np.intp]:
    """The real rows that trained the encoder, known by their digests.

    Where rows repeat each other (blank images), equal ones are no sign of having been seen, nor does it matter: nothing is left out.
    """
    told = Counter(Made.of(encoder).digests)
    if len(told) < 0.9 * sum(told.values()) or not told:
        return np.empty(0, dtype=np.intp)
    found = []
    for i, digest in enumerate(digests(rows_of(sides.real, sides))):
        if told[digest] > 0:
            told[digest] -= 1
            found.append(i)
    return np.array(found, dtype=np.intp)


def _embedded(sides: Sides, encoder: Any, most: int, notes: list[str]) -> Sides:
    """At most so many rows a side with their features."""
    part = sides.take(most)
    if part is not sides:
        notes.append(f"features are computed of at most {most:,} rows a side, drawn at random; only these are compared")
    train = part.train
    if train is not None and len(train) > 2 * most:
        train = train.at(np.sort(part.generator("features", "train").permutation(len(train))[: 2 * most]))
        notes.append(f"features are computed of {2 * most:,} of the rows that the model was trained on, drawn at random")
    three = (part.real, part.generated, train)
    made = [None if side is None else replace(side, embedding=_features(encoder, side, part)) for side in three]
    assert made[0] is not None and made[1] is not None
    return replace(part, real=made[0], generated=made[1], train=made[2], _known={})


def _features(encoder: Any, side: Side, sides: Sides) -> Floats:
    rows = rows_of(side, sides)
    if isinstance(encoder, Learned):
        return features_by(encoder, sides.kind, rows)
    made = np.asarray(encoder(rows.numpy() if isinstance(rows, torch.Tensor) else rows), dtype=np.float64)
    if made.ndim != 2 or len(made) != len(side) or not made.shape[1]:
        raise DataError(f"features= must return one row of numbers per example, shape ({len(side)}, k); got {made.shape}")
    if not np.isfinite(made).all():
        raise DataError("features= returned numbers that are not finite")
    return made


def _knows(encoder: Learned, label: Label) -> bool:
    """Whether the encoder is a classifier of this label (whose name it may have had to change)."""
    own = encoder.spec.y
    return isinstance(own, Label) and own.classes == label.classes and own.name.rstrip("'") == label.name
