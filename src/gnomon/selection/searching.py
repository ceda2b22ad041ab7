"""`search`: settings tried on folds, the best refitted and judged on rows that were never touched, and the whole judged by nesting.

Read top to bottom: what is asked, which rows are set apart, the choice, the refit, the outer folds.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gnomon.data import fingerprint
from gnomon.errors import GnomonError, OptionError, RunError, TrainingError
from gnomon.learned import Learned, load
from gnomon.options import signature, whole
from gnomon.selection import proposals
from gnomon.selection.checking import check_arguments, check_numbers, check_space, class_of
from gnomon.selection.ledger import Ledger
from gnomon.selection.result import Search
from gnomon.selection.rows import read, refuse_built, seed_of
from gnomon.selection.scoring import GREATER, Score, pooled, scored_by
from gnomon.selection.space import Space, parse_space
from gnomon.selection.trials import Bench, Trial, score_from
from gnomon.selection.verdicts import compared
from gnomon.training import Settings
from gnomon.training.progress import Progress
from gnomon.training.settings import resolve


def search(
    model: Any,
    data: Any = None,
    space: Mapping[str, Any] | None = None,
    *,
    trials: int = 20,
    how: str = "random",
    folds: int | float = 5,
    test: float = 0.2,
    nested: int = 0,
    seed: int = 0,
    metric: str | None = None,
    greater: bool | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **arguments: Any,
) -> Search:
    """Look for the settings with which a model learns best, and say what the choice is worth on rows that took no part in it.

    First a share of the rows is set apart. On the others every setting is fitted and scored fold by fold; a fit holds out its own share
    of its own rows to know when to stop, so that the judged rows are never seen. The default setting (what is said beside the space) is
    always tried as well. The best setting is refitted on all rows but the test rows and judged on these, once. With `nested` the whole
    procedure is repeated on outer folds, which gives its honest score with an error also where test rows are few.

    Args:
        model: a name, a Model class, a factory, or a recipe with "model" and any argument of `fit`.
        data: anything that `fit` takes and that fits into memory.
        space: names of settings (``lr``), of the model's options (``options.latent``) and of its networks' (``net.hidden``), each with
            what it may be; see `gnomon.selection.parse_space`.
        trials: settings that are drawn.
        how: "random"; "halving": many settings for few epochs, a third of them for three times as many, and so on, the last ones for
            the whole fit (Jamieson & Talwalkar 2016); "optuna": as its estimator proposes (``pip install 'gnomon[optuna]'``).
        folds: of the cross-validation, or a share of rows that is held out once.
        test: share of rows set apart, or 0.
        nested: outer folds, or 0.
        seed: of everything random.
        metric: the score: "log_prob", or what the model measures on held-out rows; by default what it watches there itself, its loss.
            A loss is in scaled units, good for comparing settings; "log_prob" is in the user's units.
        greater: whether more of it is better; by default for "accuracy" and "log_prob" only.
        out: folder for `search.json` and the refitted run ``best``; with it the same call goes on after any interruption.
        overwrite: begin anew in a folder that holds a search.
        progress: say each trial in a line.
        **arguments: of `fit`, for all trials alike.

    Returns:
        a `Search`; ``print`` it for the table and its sentences.

    Raises:
        DataError, OptionError: as `fit`; an unknown name in the space, or a value that a fit would refuse.
        RunError: `out` holds something else.
        TrainingError: every trial failed.

    Example:
        >>> import gnomon
        >>> space = {"options.components": [1, 3, 6]}
        >>> found = gnomon.search("pca", "wine", space, metric="log_prob", folds=3, drop=["cultivar"], progress=False)
        >>> [trial.setting for trial in found.trials][:2], found.test.n
        ([{}, {'options.components': 1}], 36)
    """
    if isinstance(model, Mapping):
        recipe = {name: value for name, value in model.items() if name not in ("model", "data")}
        data, arguments = model.get("data") if data is None else data, {**recipe, **arguments}
        model = model.get("model")
    if model is None or data is None:
        raise OptionError("a search wants a model, data and a space: gnomon.search('classifier', data, {'lr': ('log', 1e-4, 1e-1)})")
    refuse_built(model)
    check_numbers(trials, how, folds, test, nested)
    check_arguments(arguments)
    plan = _Plan(parse_space(space), trials, how, folds, test, nested)
    if how == "optuna":
        proposals.load_optuna()
    rows = read(model, data, arguments)
    everyone = torch.arange(len(rows.prepared.raw))
    nobody = everyone[:0]
    rest, tested = rows.apart(everyone, float(test), seed_of("test", whole(seed, "seed"))) if test else (everyone, nobody)
    name = scored_by(class_of(model), metric)
    check_space(plan.space, model, rows.prepared.spec, arguments, len(rest))
    asked = plan.asked(model, arguments) | {"metric": name, "seed": seed, "sha256": fingerprint(rows.prepared.raw)}
    ledger = Ledger(out, asked, overwrite=overwrite)
    say = Progress(1, 1, show=progress).say
    bench = Bench(model, rows, arguments, name, name in GREATER if greater is None else greater, seed, ledger, say)
    chosen = _choose(bench, plan, rest, "search")
    learned = _refitted(bench, chosen.best, rest)
    test_score = None if not len(tested) else score_from(ledger.once("test", lambda: bench.score(learned, tested).to_json()))
    outer = _nested(bench, plan, rest) if nested else None
    found = Search(
        name, bench.greater, plan.space, tuple(chosen.trials), chosen.best.setting, chosen.best.score, test_score, outer,
        tuple(compared(chosen.candidates, len({t.number for t in chosen.trials}), chosen.ratio, bench.greater)), learned,
        tuple(rows.original(tested)), chosen.planned, ledger.folder,
    )  # fmt: skip
    ledger.write(found.to_json())
    return found


@dataclass(frozen=True)
class _Plan:
    """What is searched, and how."""

    space: Space
    trials: int
    how: str
    folds: int | float
    test: float
    nested: int

    def asked(self, model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All that decides the scores, but data, metric and seed."""
        named = model if isinstance(model, str) else f"{getattr(model, '__module__', '')}:{getattr(model, '__qualname__', '')}"
        space = {name: quantity.to_json() for name, quantity in self.space.items()}
        return {"model": named, "arguments": arguments, **vars(self), "space": space}


@dataclass(frozen=True)
class _Chosen:
    """Every trial; those that ran their whole length, best first; judged rows over training rows; epochs that halving planned."""

    trials: list[Trial]
    candidates: list[Trial]
    ratio: float
    planned: int | None

    @property
    def best(self) -> Trial:
        return self.candidates[0]


def _choose(bench: Bench, plan: _Plan, rows: Tensor, where: str) -> _Chosen:
    """The search proper, on some rows.

    Raises:
        TrainingError: every trial failed.
    """
    parts = bench.rows.folds(rows, plan.folds, seed_of(f"{where} folds", bench.seed))
    ratio = sum(len(held) / len(train) for train, held in parts) / len(parts)
    count, chance = proposals.least(math.prod(q.size for q in plan.space.values()), plan.trials), seed_of(where, bench.seed)
    planned = None
    if plan.how == "halving":
        epochs = _epochs(bench, plan.space, min(len(train) for train, _ in parts))
        planned = proposals.all_epochs(epochs, count, len(parts))
        stages = ", ".join(f"{n} × {length}" for n, length in proposals.rungs(count, epochs))
        bench.say(f"{where}: settings × epochs {stages}, the default × {epochs}; {planned:,} epochs on {len(parts)} folds")
        trials = [bench.trial(0, {}, parts, where, epochs=epochs)]
        trials += proposals.by_halving(bench, plan.space, count, parts, where, chance, epochs)
    else:
        trials = [bench.trial(0, {}, parts, where)]
        propose = proposals.by_random if plan.how == "random" else proposals.by_optuna
        trials += propose(bench, plan.space, plan.trials, parts, where, chance)
    last = max((trial.rung for trial in trials if trial.rung is not None), default=None)
    length = len(proposals.rungs(count, epochs)) - 1 if plan.how == "halving" else None
    candidates = [t for t in trials if not t.failed and (t.rung is None or (t.rung == last and last == length))]
    if not candidates:
        raise TrainingError(f"no trial of the search succeeded; the first failed with: {trials[0].failed}")
    return _Chosen(trials, sorted(candidates, key=lambda t: (bench.merit(t), t.number)), ratio, planned)


def _epochs(bench: Bench, space: Space, rows: int) -> int:
    """Epochs of a whole fit, of which successive halving gives shares.

    Raises:
        OptionError: the space decides them, or the model has none.
    """
    kind = class_of(bench.model)
    if "epochs" in space:
        raise OptionError("how='halving' shares out epochs itself; leave them out of the space and say the most as epochs=")
    if kind is not None:
        from gnomon.options import parse

        model = kind(bench.rows.prepared.spec, **parse(kind, bench.arguments.get("options") or {}, name=kind.__name__))
        if not model.players():
            raise OptionError(f"{kind.__name__} learns in closed form and has no epochs to be halved; use how='random'")
    said = {name: value for name, value in bench.arguments.items() if name in signature(Settings)}
    learning = max(1, round(rows * (1 - float(bench.arguments.get("validation", 0.1)))))
    return resolve(said, {} if kind is None else dict(kind.defaults), learning).epochs


def _refitted(bench: Bench, best: Trial, rows: Tensor) -> Learned:
    """A fit of all rows with the best setting, or the one that an earlier call has left in the folder."""
    key, folder = json.dumps(["refit", best.number]), bench.ledger.best
    if folder is not None and key in bench.ledger.scores:
        try:
            return load(folder, None if isinstance(bench.model, str) else bench.model)
        except RunError as error:
            bench.say(f"the refitted run cannot be used ({error}); it is fitted again")
    learned = bench.fit(best.setting, rows, seed_of("refit", bench.seed), out=folder)
    bench.ledger.once(key, lambda: {"done": True})
    return learned


def _nested(bench: Bench, plan: _Plan, rows: Tensor) -> Score:
    """The score of the whole procedure: every outer fold is judged by a search that has not seen it."""
    found = []
    for number, (train, held) in enumerate(bench.rows.folds(rows, plan.nested, seed_of("outer", bench.seed)), start=1):
        where = f"outer fold {number}"
        best = _choose(bench, plan, train, where).best
        made = bench.ledger.once(json.dumps([where, "refit"]), lambda: _judged(bench, best, train, held, number))  # noqa: B023
        if "failed" in made:
            bench.say(f"{where}: the chosen setting could not be fitted: {made['failed']}")
            return Score(math.nan, math.nan, len(rows))
        found.append(score_from(made))
        bench.say(f"{where}: {best.name} chosen, {bench.metric} {found[-1]} on rows it has not seen")
    return pooled(found)


def _judged(bench: Bench, best: Trial, train: Tensor, held: Tensor, number: int) -> dict[str, Any]:
    try:
        learned = bench.fit(best.setting, train, seed_of("outer refit", bench.seed, number))
    except (GnomonError, RuntimeError, ValueError, ArithmeticError) as error:
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    return bench.score(learned, held).to_json()
