"""What a search refuses before anything is trained: unknown names, values that no fit would take, ways that do not go together.

Data are read before it, since networks follow from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from gnomon import registry
from gnomon.data import Spec
from gnomon.data.seeds import mix
from gnomon.errors import DataError, OptionError
from gnomon.models import Model
from gnomon.options import parse, signature, unknown
from gnomon.selection.space import Space, arguments_of
from gnomon.training import Settings, fit, randomness
from gnomon.training.settings import resolve

HOW = ("random", "halving", "optuna")
OURS = ("out", "overwrite", "seed", "progress", "seeds", "stream", "log")
"""Arguments of `fit` that a search does not hand on: it decides them, or they have no sense there."""


def class_of(model: Any) -> type[Model] | None:
    """The model's class, or None for a factory."""
    kind = registry.models[model] if isinstance(model, str) else model
    return kind if isinstance(kind, type) else None


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Names of arguments are those of `fit`. Raises OptionError with the nearest one."""
    known = [name for name in (*signature(fit), *signature(Settings)) if name not in OURS and name != "settings"]
    for name in arguments:
        if name in OURS:
            raise OptionError(f"a search takes no {name}=; every trial is one fit in memory")
        if name not in known:
            raise OptionError(unknown("argument", name, known, owner="search"))
    validation = arguments.get("validation", 0.1)
    if isinstance(validation, bool) or not isinstance(validation, (int, float)):
        raise OptionError(f"in a search validation must be a share of each trial's own rows; got {validation!r}")


def check_space(space: Space, model: Any, spec: Spec, arguments: Mapping[str, Any], rows: int) -> None:
    """Every name of the space is known, and each of its values is taken by itself.

    Args:
        space: what is searched.
        model: name, class or factory.
        spec: of the data.
        arguments: of `fit` that all trials share.
        rows: about how many one trial learns from.

    Raises:
        OptionError: an unknown name (with the nearest known one), or a value of the wrong type or out of range.
    """
    kind = class_of(model)
    settings = [name for name in signature(Settings) if name != "compile"]
    options = [] if kind is None else [f"options.{name}" for name in signature(kind) if name != "net"]
    nets = kind is not None and "net" in signature(kind)
    for name in space:
        group = name.partition(".")[0]
        if name not in settings and name not in options and not (group == "net" and nets and "." in name):
            raise OptionError(_unknown(name, kind, [*settings, *options]))
    defaults = {} if kind is None else dict(kind.defaults)
    with randomness.borrowed(mix("check"), torch.device("cpu")):
        _try("the fit as it is", {}, kind, spec, arguments, lambda said: resolve(said, defaults, rows), settings)
        for name, quantity in space.items():
            for value in quantity.samples:
                _try(f"{name}={value}", {name: value}, kind, spec, arguments, lambda said: resolve(said, defaults, rows), settings)


def _unknown(name: str, kind: type[Model] | None, known: list[str]) -> str:
    """The text for a name that is in no table; a bare option of the model is the commonest slip."""
    if f"options.{name}" in known:
        return f"unknown name '{name}' in the space; it is an option of the model: write 'options.{name}'"
    nets = {option for network in registry.networks for option in signature(registry.networks[network])}
    if kind is not None and "net" in signature(kind) and name in nets:
        return f"unknown name '{name}' in the space; it is an option of networks: write 'net.{name}'"
    return unknown("name", name, known, owner="the space")


def _try(
    what: str,
    setting: dict[str, Any],
    kind: type[Model] | None,
    spec: Spec,
    arguments: Mapping[str, Any],
    settle: Callable[[dict[str, Any]], Settings],
    settings: list[str],
) -> None:
    """Settle the settings and build the model once, as a fit would."""
    made = arguments_of(setting, arguments)
    try:
        settle({name: value for name, value in made.items() if name in settings})
        if kind is not None:
            kind(spec, **parse(kind, made["options"], name=kind.__name__))
        elif made["options"]:
            raise OptionError("options go with a model's name or class; a factory sets its own")
    except DataError:
        raise
    except (OptionError, ValueError, TypeError) as error:
        raise OptionError(f"{what}: {error}") from error


def check_numbers(trials: Any, how: Any, folds: Any, test: Any, nested: Any) -> None:
    """Counts and shares are such. Raises OptionError naming the one that is not."""
    for name, value, least in (("trials", trials, 1), ("nested", nested, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least or (name == "nested" and value == 1):
            wants = "0, or 2 folds or more" if name == "nested" else "a whole number of 1 or more"
            raise OptionError(f"{name} wants {wants}; got {value!r}")
    if how not in HOW:
        raise OptionError(unknown("way of searching", str(how), HOW))
    whole = isinstance(folds, int) and not isinstance(folds, bool) and folds >= 2
    if not whole and not (isinstance(folds, float) and 0 < folds < 1):
        raise OptionError(f"folds wants 2 or more, or a share of rows between 0 and 1; got {folds!r}")
    if isinstance(test, bool) or not isinstance(test, (int, float)) or not 0 <= test < 1:
        raise OptionError(f"test wants a share of rows from 0 to below 1; got {test!r}")
