"""The space of a search: which values each setting may take, in one small notation for Python, TOML and the command line.

Drawing is done here, by a generator that is handed in; which setting is tried when is decided in `proposals`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.errors import OptionError

_RANGES = ("log", "uniform", "integer")
_CALL = re.compile(r"\s*(log|uniform|integer)\s*\(([^()]*)\)\s*")


@dataclass(frozen=True)
class Quantity:
    """What one searched name may be.

    Args:
        sort: "choice", "log" (a number, its logarithm uniform), "uniform" (a number) or "integer" (a whole number, ends included).
        values: the choices, or low and high.

    Example:
        >>> quantity("lr", "log(1e-4, 1e-1)")
        Quantity(sort='log', values=(0.0001, 0.1))
        >>> quantity("net.hidden", "32,32|64,64").values
        ('32,32', '64,64')
    """

    sort: str
    values: tuple[Any, ...]

    @property
    def size(self) -> float:
        """How many different values there are."""
        if self.sort == "choice":
            return len(self.values)
        return self.values[1] - self.values[0] + 1 if self.sort == "integer" else math.inf

    @property
    def samples(self) -> tuple[Any, ...]:
        """Every choice, or the two ends: what is tried out before anything is trained."""
        return self.values

    def draw(self, chance: np.random.Generator) -> Any:
        """One value."""
        if self.sort == "choice":
            return self.values[int(chance.integers(len(self.values)))]
        low, high = self.values
        if self.sort == "integer":
            return int(chance.integers(low, high, endpoint=True))
        if self.sort == "log":
            return float(min(max(math.exp(chance.uniform(math.log(low), math.log(high))), low), high))
        return float(chance.uniform(low, high))

    def all(self) -> tuple[Any, ...]:
        """Every value, where they can be counted."""
        return self.values if self.sort == "choice" else tuple(range(self.values[0], self.values[1] + 1))

    def to_json(self) -> list[Any]:
        """As TOML has it."""
        return list(self.values) if self.sort == "choice" else [self.sort, *self.values]


Space = dict[str, Quantity]
Setting = dict[str, Any]


def parse_space(space: Any) -> Space:
    """The quantities of a space by name.

    Args:
        space: a table of names, each with a list of choices; ``("log", low, high)``, ``("uniform", low, high)`` or
            ``("integer", low, high)`` (lists will do, so that TOML can say it); or a text: ``"log(1e-4,1e-1)"``, ``"16|32|64"``.

    Raises:
        OptionError: an empty space, or values that say none of this.

    Example:
        >>> parse_space({"lr": ("log", 1e-4, 1e-1), "options.size": [0.5, 1, 2], "batch_size": "16|64"})["batch_size"].values
        (16, 64)
    """
    if not isinstance(space, Mapping) or not space or not all(isinstance(name, str) for name in space):
        raise OptionError(f"space wants a table of names and values, such as {{'lr': ('log', 1e-4, 1e-1)}}; got {space!r}")
    return {name: value if isinstance(value, Quantity) else quantity(name, value) for name, value in space.items()}


def quantity(name: str, value: Any) -> Quantity:
    """One entry of a space. Raises OptionError naming it."""
    wants = f"space '{name}' wants choices or a range, such as 16|32|64, log(1e-4,1e-1), uniform(0,0.5) or integer(1,8); got {value!r}"
    if isinstance(value, str):
        call = _CALL.fullmatch(value)
        if call:
            value = [call[1], *(_read(part) for part in call[2].split(","))]
        elif re.fullmatch(r"\s*\w+\s*\(.*\)\s*", value) or not all(part.strip() for part in value.split("|")):
            raise OptionError(wants)
        else:
            value = [_read(part) for part in value.split("|")]
    if not isinstance(value, (list, tuple)) or not value:
        raise OptionError(wants)
    if isinstance(value[0], str) and value[0] in _RANGES and len(value) > 1 and not any(isinstance(v, str) for v in value[1:]):
        return _range(name, value[0], list(value[1:]), wants)
    return Quantity("choice", tuple(tuple(v) if isinstance(v, list) else v for v in value))


def _range(name: str, sort: str, ends: list[Any], wants: str) -> Quantity:
    numbers = (int,) if sort == "integer" else (int, float)
    if len(ends) != 2 or not all(isinstance(end, numbers) and not isinstance(end, bool) and math.isfinite(end) for end in ends):
        raise OptionError(wants)
    low, high = ends
    if not low < high:
        raise OptionError(f"space '{name}': the lower end must be below the upper one; got {low} and {high}")
    if sort == "log" and not low > 0:
        raise OptionError(f"space '{name}': a logarithmic range starts above 0; got {low}")
    return Quantity(sort, (low, high) if sort == "integer" else (float(low), float(high)))


def _read(text: str) -> Any:
    """A number where a text is one."""
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def size_of(space: Space) -> float:
    """How many settings there are."""
    return math.prod(one.size for one in space.values())


def every(space: Space) -> Iterator[Setting]:
    """Each setting of a space that can be counted."""
    for values in itertools.product(*(one.all() for one in space.values())):
        yield dict(zip(space, values, strict=True))


def arguments_of(setting: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `fit` for a setting, laid over those that all trials share.

    Args:
        setting: name to value; names begin with ``options.`` or ``net.`` where they belong to the model or its networks.
        base: arguments of `fit`.

    Example:
        >>> arguments_of({"lr": 0.1, "options.size": 2, "net.hidden": "8"}, {"lr": 1.0, "options": {"net": {"norm": "layer"}}})
        {'lr': 0.1, 'options': {'net': {'norm': 'layer', 'hidden': '8'}, 'size': 2}}
    """
    options = dict(base.get("options") or {})
    made = {**base, "options": options}
    for name, value in setting.items():
        group, dot, rest = name.partition(".")
        if not dot:
            made[name] = value
        elif group == "net":
            options["net"] = {**(options.get("net") or {}), rest: value}
        else:
            options[rest] = value
    return made


def told(setting: Mapping[str, Any]) -> str:
    """A setting in one line.

    Example:
        >>> told({"lr": 0.0123456, "net.hidden": "8,8"}), told({})
        ('lr=0.01235 net.hidden=8,8', 'the default')
    """
    return " ".join(f"{name}={shown(value)}" for name, value in setting.items()) or "the default"


def shown(value: Any) -> str:
    """One value in few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return ",".join(map(shown, value)) if isinstance(value, tuple) else str(value)
