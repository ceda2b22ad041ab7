"""Which settings are tried, and for how long: at random, by successive halving, or as Optuna proposes.

All are repeatable programs over the bench: run again, they ask for the same trials in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor

from gnomon.errors import OptionError
from gnomon.selection.space import Setting, Space, every, size_of
from gnomon.selection.trials import Bench, Trial

ETA = 3
"""Of the settings in a rung of successive halving one in so many goes on, with so many times the epochs."""

Parts = list[tuple[Tensor, Tensor]]


def drawn(space: Space, count: int, seed: int) -> list[Setting]:
    """`count` different settings at random; all there are, where these are fewer.

    Example:
        >>> from gnomon.selection.space import parse_space
        >>> drawn(parse_space({"a": [1, 2], "b": "x|y"}), 9, 0)
        [{'a': 1, 'b': 'x'}, {'a': 1, 'b': 'y'}, {'a': 2, 'b': 'x'}, {'a': 2, 'b': 'y'}]
    """
    if size_of(space) <= count:
        return list(every(space))
    chance = np.random.default_rng(seed)
    found: dict[str, Setting] = {}
    while len(found) < count:
        setting = {name: quantity.draw(chance) for name, quantity in space.items()}
        found.setdefault(repr(setting), setting)
    return list(found.values())


def rungs(count: int, epochs: int, eta: int = ETA) -> list[tuple[int, int]]:
    """Settings and epochs of each rung of successive halving: all for few epochs first, the last ones for all epochs.

    Reference: Jamieson & Talwalkar 2016, https://arxiv.org/abs/1502.07943

    Args:
        count: settings at the beginning.
        epochs: of the last rung.
        eta: one setting in `eta` goes on, with `eta` times the epochs.

    Example:
        >>> rungs(20, 27), rungs(5, 2)
        ([(20, 3), (6, 9), (2, 27)], [(5, 2)])
    """
    last = 0
    while eta ** (last + 1) <= min(count, epochs):
        last += 1
    return [(count // eta**i, max(1, epochs // eta ** (last - i))) for i in range(last + 1)]


def by_random(bench: Bench, space: Space, count: int, parts: Parts, where: str, seed: int) -> list[Trial]:
    """Independent settings, each for its whole fit."""
    return [bench.trial(k, setting, parts, where) for k, setting in enumerate(drawn(space, count, seed), start=1)]


def by_halving(bench: Bench, space: Space, count: int, parts: Parts, where: str, seed: int, epochs: int) -> list[Trial]:
    """Many settings for few epochs, the best of them for more. Each rung trains anew, so that every fit has its whole schedule."""
    going = list(enumerate(drawn(space, count, seed), start=1))
    found: list[Trial] = []
    for rung, (settings, length) in enumerate(rungs(len(going), epochs)):
        made = [bench.trial(number, setting, parts, where, rung=rung, epochs=length) for number, setting in going[:settings]]
        found += made
        going = [(t.number, t.setting) for t in sorted(made, key=lambda t: (bench.merit(t), t.number)) if not t.failed]
        if not going:
            break
    return found


def by_optuna(bench: Bench, space: Space, count: int, parts: Parts, where: str, seed: int) -> list[Trial]:
    """Optuna's tree-structured Parzen estimator, seeded. What the ledger knows is told to it again, so that it goes on alike.

    Raises:
        OptionError: Optuna is not installed, or a choice is nothing that it can hold.
    """
    optuna = load_optuna()
    with _quiet(optuna):
        sampler = optuna.samplers.TPESampler(seed=seed)
        study = optuna.create_study(direction="maximize" if bench.greater else "minimize", sampler=sampler)
        distributions, choices = _distributions(optuna, space)
        found = []
        for number in range(1, count + 1):
            asked = study.ask(distributions)
            setting = {name: choices[name][value] if name in choices else value for name, value in asked.params.items()}
            trial = bench.trial(number, {name: setting[name] for name in space}, parts, where)
            found.append(trial)
            if trial.failed:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(asked, trial.score.value)
        return found


def load_optuna() -> Any:
    """The package. Raises OptionError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise OptionError("how='optuna' needs the package optuna: pip install 'gnomon[optuna]'") from error
    return optuna


def _distributions(optuna: Any, space: Space) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """The space in Optuna's words; choices by number, since not everything can be one of theirs."""
    made: dict[str, Any] = {}
    choices: dict[str, tuple[Any, ...]] = {}
    for name, quantity in space.items():
        if quantity.sort == "choice":
            choices[name] = quantity.values
            made[name] = optuna.distributions.CategoricalDistribution(list(range(len(quantity.values))))
        elif quantity.sort == "integer":
            made[name] = optuna.distributions.IntDistribution(*quantity.values)
        else:
            made[name] = optuna.distributions.FloatDistribution(*quantity.values, log=quantity.sort == "log")
    return made, choices


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna says nothing inside the block; how much it says afterwards is as it was."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def all_epochs(epochs: int, count: int, folds: int) -> int:
    """Epochs that successive halving plans over all folds, the default setting's whole fits included.

    Example:
        >>> all_epochs(27, 20, 5) == 5 * (20 * 3 + 6 * 9 + 2 * 27 + 27)
        True
    """
    return folds * (sum(n * length for n, length in rungs(count, epochs)) + epochs)


def least(count: float, trials: int) -> int:
    """How many trials there can be."""
    return trials if math.isinf(count) else min(trials, int(count))
