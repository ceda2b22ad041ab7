"""One call: gather what there is, run every statistic that applies, and report.

Which statistics there are stands in the registry; a new one is a file and a row there, and nothing changes here.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gnomon import registry
from gnomon.checks.case import Case
from gnomon.checks.equal_rows import evened
from gnomon.checks.gathering.features import Features, enriched
from gnomon.checks.gathering.sources import Reading, case_of_data
from gnomon.checks.reports import collecting
from gnomon.checks.reports.report import Report
from gnomon.checks.sides import Sides
from gnomon.checks.statistic import LeftOut, Statistic, number
from gnomon.data import Support
from gnomon.errors import OptionError
from gnomon.learned import Learned
from gnomon.learned.anomaly import By

FEW = 20
"""Fewer rows on a side are said to be few at the head of the verdict."""


def check(
    learned_or_real: Any,
    data_or_generated: Any,
    *,
    budget: str | float | None = None,
    seed: int = 0,
    features: Features = "auto",
    train: Any = None,
    anomaly: str | None = None,
    anomaly_by: By | None = None,
    weight: str | None = None,
    target: str | None = None,
    drop: str | Sequence[str] = (),
    columns: Mapping[str, str | Support] | None = None,
    kind: str | None = None,
) -> Report:
    """Say, with errors, whether what was learned is any good, or whether two data sets have the same distribution.

    Args:
        learned_or_real: a `Learned` or the folder of a run; or the real data: anything `fit` reads.
        data_or_generated: data that the model has not seen; or the generated data.
        budget: about how long it may take ("1min", 30); sizes are chosen from it and recorded, and never depend on the clock.
        seed: of every random choice; the same seed gives the same report.
        features: what turns images and sets into vectors between which distances mean something: "auto" trains a small encoder on real
            rows that are not compared (`report.save` keeps it in ``folder/features``); that folder, another run or a model is used as
            it is; so is a function of the examples (pixels ``(n, channels, *size)``, a Ragged, columns) that returns ``(n, k)`` numbers;
            None leaves it at pixels and summary columns.
        train: rows that the model was trained on, with which generated rows are compared for memorisation; by default those of a fit just
            done on data in memory, or read again from where the run says, if they are still the same.
        anomaly: for a model with an anomaly score: the column that tells which rows are anomalies: booleans, 0 and 1, or two values of
            which the rarer marks them. The rest of the check is then about the other rows.
        anomaly_by: with `anomaly`: how strangeness is told: "reconstruction", "bound", "density" or "latent", as `Learned.score` takes
            it; None for the model's own way.
        weight: for two data sets: the column of weights, which either side may have.
        target: for two data sets: the column of labels, which the generated side may lack.
        drop: for two data sets: columns to leave out.
        columns: for two data sets: supports by column name, such as ``{"phase": "periodic(0,2pi)"}``.
        kind: for two data sets: what bare arrays of three axes are.

    Returns:
        The `Report`: findings, statistics, verdict; ``report.save(folder)`` writes it.

    Raises:
        DataError: the data cannot be read, or the sides differ in columns, types or shapes.
        OptionError: the budget is no duration, the seed no whole number, a run stands where data belongs, or an option for two data sets
            is given with a model.
        AbilityError: the model can do nothing that could be checked.

    Example:
        >>> import numpy as np
        >>> real = np.random.default_rng(0).normal(size=(300, 2))
        >>> report = check(real, real + [0.0, 0.5], budget="2s")
        >>> report.findings[0].startswith("Column 'x1'")
        True
    """
    _refuse(data_or_generated, seed)
    if anomaly_by is not None and anomaly is None:
        raise OptionError("anomaly_by says how anomalies are told; name their column too: anomaly='column'")
    learned = _learned(learned_or_real)
    if learned is None:
        if anomaly is not None:
            raise OptionError("anomaly names the anomalies that a model is to find; with two data sets there is no model")
        reading = Reading(weight=weight, target=target, drop=drop, columns=columns, kind=kind)
        case, notes = case_of_data(learned_or_real, data_or_generated, reading, budget=budget, seed=seed, train=train)
        made = enriched(case, features)
        return judge(made.case, title="Generated data against real data", notes=notes + made.notes, encoder=made.encoder)
    if weight is not None or target is not None or drop or columns is not None or kind is not None:
        raise OptionError("weight, target, drop, columns and kind are for two data sets; a run knows its columns")
    from gnomon.checks.gathering.learned_case import case_of

    case, notes, warnings = case_of(
        learned, data_or_generated, budget=budget, seed=seed, train=train, anomaly=anomaly, anomaly_by=anomaly_by
    )
    made = enriched(case, features)
    return judge(made.case, title=f"Check of a {learned.name}", notes=notes + made.notes, warnings=warnings, encoder=made.encoder)


def judge(
    case: Case, *, title: str = "Check", notes: Sequence[str] = (), warnings: Sequence[str] = (), encoder: Learned | None = None
) -> Report:
    """Run every registered statistic on a case.

    Args:
        case: what is judged.
        title: heading of the report.
        notes: what was done to the data.
        warnings: sentences that open the verdict.
        encoder: that was trained for the features of the sides, to be kept with the report, or None.
    """
    rows: list[Statistic] = []
    told = list(notes)
    given = case.sides
    if given is not None:
        case = replace(case, sides=evened(given))
    for name in registry.statistics:
        try:
            rows += registry.statistics[name](case)
        except LeftOut as reason:
            told.append(f"{name} is left out: {reason}")
    told += [str(case.effort), f"seed {case.seed}"]
    shown = collecting.collect(case, rows)
    said = [*warnings, *_too_few(given, case.sides)]
    return Report(rows, rows=_sizes(case), title=title, notes=told, warnings=said, pictures=shown, encoder=encoder)


def _too_few(given: Sides | None, judged: Sides | None) -> list[str]:
    """What has to be said where no check could find much."""
    if given is None or judged is None:
        return []
    made = []
    for name, side, left in (("real", given.real, judged.real), ("generated", given.generated, judged.generated)):
        if side.weight is not None and left.weight is None and len(left) < len(side):
            counted = f"The weights are so uneven that the {len(side):,} {name} rows count as {number(side.effective)}"
            made.append(f"{counted}: they are judged by {len(left):,} of them, drawn by weight")
        if len(left) < FEW:
            made.append(f"Of {len(left)} {name} row{'s' if len(left) > 1 else ''} little can be said: even gross faults may go unseen")
    return made


def _refuse(data: Any, seed: Any) -> None:
    """Say before any work what cannot be meant: a seed that is no whole number, or a run in the place of data."""
    try:
        operator.index(seed)
    except TypeError:
        raise OptionError(f"seed wants a whole number; got {seed!r}") from None
    if _is_run(data):
        raise OptionError(f"{_shown(data)} is a run, where data is expected; the run comes first: check(run, data)")


def _shown(thing: Any) -> str:
    return f"'{os.fspath(thing)}'" if isinstance(thing, (str, os.PathLike)) else f"the second argument, a {type(thing).__name__},"


def _sizes(case: Case) -> str:
    if case.sides is not None:
        return f"{len(case.sides.real):,} real and {len(case.sides.generated):,} generated rows"
    if case.predictions:
        return f"{len(case.predictions[0].truth):,} rows"
    if case.likelihood is not None:
        return f"{len(case.likelihood.real):,} rows"
    return "the data" if case.reconstruction is None else f"{len(case.reconstruction.real):,} rows"


def _is_run(thing: Any) -> bool:
    """Whether this is a `Learned`, or the folder of one."""
    if isinstance(thing, (str, os.PathLike)):
        return (Path(thing) / "run.json").is_file()
    return not isinstance(thing, (dict, tuple, list)) and hasattr(thing, "abilities")


def _learned(thing: Any) -> Any:
    """The `Learned` that `thing` is or whose run folder it names, or None for data."""
    if not _is_run(thing):
        return None
    if isinstance(thing, (str, os.PathLike)):
        from gnomon.learned import load

        return load(thing)
    return thing
