"""Options: keyword-only constructor arguments are the one source of truth for Python, `--set` and recipes.

`parse(callable, values)` turns texts and TOML values into the annotated types, or says in one line what is wrong.
It knows nothing of models or networks: any callable with annotated keyword-only parameters will do.
"""

from __future__ import annotations

import difflib
import inspect
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

from gnomon.errors import OptionError

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def signature(owner: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of `owner` (a class or a function), annotations resolved, in order."""
    target = owner.__init__ if inspect.isclass(owner) else owner
    hints = typing.get_type_hints(target)
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p.replace(annotation=hints.get(p.name, Any)) for p in parameters if p.kind is p.KEYWORD_ONLY}


def parse(owner: Callable[..., Any], values: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Check `values` against the options of `owner` and convert texts such as ``"32,32"``.

    Args:
        owner: the class or function whose keyword-only parameters are the options.
        values: option name to value; texts are parsed, other values are checked strictly.
        name: what the user calls the owner, for error messages.

    Raises:
        OptionError: an unknown name (with the nearest known one) or a value of the wrong type.

    Example:
        >>> def make(*, hidden: tuple[int, ...] = (8,), rate: float = 0.1): ...
        >>> parse(make, {"hidden": "32,32", "rate": 1}, name="make")
        {'hidden': (32, 32), 'rate': 1.0}
    """
    known = signature(owner)
    parsed = {}
    for key, value in values.items():
        if key not in known:
            raise OptionError(unknown("option", key, known, owner=name))
        annotation = known[key].annotation
        try:
            parsed[key] = _convert(value, annotation)
        except (ValueError, TypeError) as error:
            raise OptionError(f"option '{key}' of {name} wants {describe(annotation)}; got {value!r}") from error
    return parsed


def whole(value: Any, name: str, *, least: int = 0) -> int:
    """`value` as a whole number of at least `least` (numpy's own included). Raises OptionError naming it `name`."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise OptionError(f"{name} wants a whole number of {least} or more; got {value!r}") from error
    if isinstance(value, bool) or number < least:
        raise OptionError(f"{name} wants a whole number of {least} or more; got {value!r}")
    return number


def names(value: Any, name: str) -> list[str]:
    """Names given as a sequence or as one text with commas. Raises OptionError naming the argument `name`.

    Example:
        >>> names("energy, angle", "given"), names(["a,b"], "drop"), names(None, "given")
        (['energy', 'angle'], ['a,b'], [])
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, Sequence) and all(isinstance(part, str) for part in value):
        return list(value)
    raise OptionError(f"{name} wants names of columns; got {value!r}")


def unknown(thing: str, key: str, known: Any, *, owner: str = "") -> str:
    """The text for an unknown name: the nearest known one, or all of them when there are few."""
    names = list(known)
    near = difflib.get_close_matches(key, names, 1)
    place = f" of {owner}" if owner else ""
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names) or 'none'}"
    return f"unknown {thing} '{key}'{place}; {hint}"


def describe(annotation: Any) -> str:
    """A type in words: ``tuple[int, ...]`` becomes 'whole numbers separated by commas'."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "none"}
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in words:
        return words[annotation]
    if origin is Literal:
        return "one of " + ", ".join(str(a) for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in arguments)
    if origin in (tuple, list, Sequence):
        return {int: "whole numbers", float: "numbers", str: "texts"}.get(arguments[0], "values") + " separated by commas"
    if origin in (dict, Mapping):
        return "a table of options"
    return getattr(annotation, "__name__", str(annotation))


def _convert(value: Any, annotation: Any) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return value
    if origin is Literal:
        return _one_of(value, arguments)
    if origin in (Union, types.UnionType):
        return _first_that_fits(value, arguments)
    if origin in (tuple, list, Sequence):
        items = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if isinstance(items, (int, float)):
            items = (items,)
        return tuple(_convert(item, arguments[0]) for item in items)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise TypeError(value)
        return dict(value)
    if annotation is bool:
        return _truth(value)
    if annotation is type(None):
        if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
            return None
        raise TypeError(value)
    if annotation is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return float(value)
    if annotation is int and isinstance(value, (int, str)) and not isinstance(value, bool):
        return int(value)
    if annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(annotation, type) and isinstance(value, annotation) and not (annotation is int and isinstance(value, bool)):
        return value
    raise TypeError(value)


def _truth(value: Any) -> bool:
    text = str(value).strip().lower()
    if isinstance(value, (bool, str)) and text in _TRUE | _FALSE:
        return text in _TRUE
    raise TypeError(value)


def _one_of(value: Any, allowed: Sequence[Any]) -> Any:
    for choice in allowed:
        if value == choice or (isinstance(value, str) and value.strip() == str(choice)):
            return choice
    raise ValueError(value)


def _first_that_fits(value: Any, annotations: Sequence[Any]) -> Any:
    ordered = sorted(annotations, key=lambda a: (a is str, a is float))  # "3" is a number before it is a text
    for annotation in ordered:
        try:
            return _convert(value, annotation)
        except (ValueError, TypeError):
            continue
    raise TypeError(value)
