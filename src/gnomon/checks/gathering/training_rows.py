"""The rows that a model was trained on: as given, as kept since the fit, or read again from where they came.

What is done with them (nearest neighbours, an encoder, classical densities) is the business of others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gnomon import registry
from gnomon.data import Examples, Prepared, fingerprint, prepare
from gnomon.errors import DataError, GnomonError
from gnomon.learned import Learned


def training_rows(learned: Learned, train: Any, held_out: Prepared, *, absent: bool) -> tuple[Examples | None, list[str]]:
    """Raw examples that the model was trained on, or None where they are not at hand.

    Rows are read again only where the run says from which file or bundled set they came, and these are still the same; they are split as
    the fit split them, so rows that were held out then are not among them.

    Args:
        learned: the fitted model.
        train: the rows, as the user gives them (anything `fit` reads), or None.
        held_out: the rows that the model is checked with.
        absent: whether conditions may be missing.

    Returns:
        the rows, and notes for the report.

    Raises:
        DataError: `train` cannot be read as rows of this run, or is what the model is checked with.
    """
    if train is not None:
        given = prepare(train, spec=learned.spec, missing="drop", absent=absent)
        if fingerprint(given.raw) == fingerprint(held_out.raw):
            raise DataError("train= and the data to check are the same rows; pass rows that the model has not seen as data")
        return given.raw, [f"train: {notice}" for notice in given.notices]
    if (learned.info.get("data") or {}).get("sha256") == fingerprint(held_out.raw):
        return None, ["the rows of this check are those of the fit, so nothing can be said about memorisation"]
    if learned.training is not None:
        return learned.training, []
    path = (learned.info.get("data") or {}).get("path")
    if path is None:
        return None, []
    try:
        return _again(learned, path)
    except GnomonError as error:
        return None, [f"the training rows could not be read again: {error}"]


def _again(learned: Learned, path: str) -> tuple[Examples | None, list[str]]:
    """The training rows from the file or bundled set of the fit."""
    from gnomon.training.supply import STREAMED_BYTES, Request, supply

    told = dict(learned.recipe.get("fit") or {})
    told.pop("data", None)
    own = told.pop("own_validation", False)
    if not os.path.exists(path) and path not in registry.datasets:
        return None, [f"the training rows are not at hand: '{path}' is not there"]
    if told.get("stream") or (Path(path).is_file() and Path(path).stat().st_size > STREAMED_BYTES):
        return None, [f"the training rows are not read again: '{path}' is too large to be held"]
    try:
        request = Request(**(told | ({"validation": 0} if own else {})))
    except TypeError:  # a run written before the recipe said all this
        return None, ["the training rows are not read again: the run does not say how the fit read them"]
    found = supply(type(learned.model), path, request, None if request.start is None else learned)
    if found.facts["data"]["sha256"] != learned.info["data"].get("sha256"):
        return None, [f"the training rows are not at hand: '{path}' has changed since the fit"]
    return found.raw, [f"{len(found.raw):,} training rows were read again from '{path}'" + ("" if own else ", split as in the fit")]
