"""Random changes by name: which there are for which kind of data, and how they are asked for.

A change is asked for by its name and one strength: ``{"flip": True, "rotate": 15}``, or as text ``"flip,rotate=15"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gnomon import options
from gnomon.blocks.augmentation.columns import ColumnNoise, ColumnSwap
from gnomon.blocks.augmentation.geometry import RandomCrop, RandomErasing, RandomFlip, RandomRotation, RandomScale
from gnomon.blocks.augmentation.intensity import (
    RandomBlur,
    RandomColour,
    RandomContrast,
    RandomDownsampling,
    RandomEdge,
    RandomNoise,
    RandomPCA,
)
from gnomon.blocks.augmentation.shift import RandomTranslation
from gnomon.data import Image, Sequence, Set, Vector
from gnomon.errors import OptionError

augmentations: dict[type, dict[str, type[nn.Module]]] = {
    Image: {
        "flip": RandomFlip,
        "rotate": RandomRotation,
        "scale": RandomScale,
        "crop": RandomCrop,
        "translate": RandomTranslation,
        "edge": RandomEdge,
        "blur": RandomBlur,
        "downsample": RandomDownsampling,
        "contrast": RandomContrast,
        "colour": RandomColour,
        "pca": RandomPCA,
        "noise": RandomNoise,
        "erase": RandomErasing,
    },
    Vector: {"swap": ColumnSwap, "noise": ColumnNoise},
    Set: {"noise": ColumnNoise},
    Sequence: {"noise": ColumnNoise},
}
"""Changes by kind of data and name, in the order in which they are made. The first option of each is its strength."""

_ON, _OFF = {"true", "yes", "on"}, {"false", "no", "off", "none"}


def parse_augment(asked: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The changes asked for as a table of plain values, which the run's record can hold.

    Args:
        asked: a text such as ``"flip,rotate=15,noise=0.1"`` (several values of one change with plus signs: ``flip=0+1``), or a
            table of a strength per name, where True stands for the usual strength and False for none.

    Raises:
        OptionError: an unknown name (the nearest one is named), one that stands twice, or a strength of the wrong type.

    Example:
        >>> parse_augment("flip,rotate=15"), parse_augment({"noise": 0.1, "swap": False}), parse_augment("flip=0+1")
        ({'flip': True, 'rotate': 15.0}, {'noise': 0.1}, {'flip': [0, 1]})
    """
    named = _from_text(asked) if isinstance(asked, str) else asked or {}
    if not isinstance(named, Mapping):
        raise OptionError(f"augment wants names and strengths, such as flip,rotate=15; got {asked!r}")
    known: dict[str, type[nn.Module]] = {}
    for changes in augmentations.values():
        known |= {name: change for name, change in changes.items() if name not in known}  # a name has one strength in all kinds
    parsed: dict[str, Any] = {}
    for name, value in named.items():
        if name not in known:
            raise OptionError(options.unknown("change", str(name), known, owner="augment"))
        if isinstance(value, str) and value.strip().lower() in _ON | _OFF:
            value = value.strip().lower() in _ON
        if value is None or value is False:
            continue
        strength = next(iter(options.signature(known[name])))
        made = True if value is True else options.parse(known[name], {strength: value}, name=f"augment {name}")[strength]
        parsed[name] = list(made) if isinstance(made, tuple) else made
    return parsed


def make_augmentation(kind: Any, asked: str | Mapping[str, Any] | None) -> nn.Sequential | None:
    """The changes asked for, of examples of a kind, one after the other in the order of the table; None for none.

    Args:
        kind: an Image, a Vector, or a Set or Sequence of Vectors, whose elements are changed as rows.
        asked: as `parse_augment` takes it.

    Raises:
        OptionError: as `parse_augment`; a change that does not suit the kind, or a strength out of range.

    Example:
        >>> make_augmentation(Vector.real(2), "noise=0.3")
        Sequential(
          (noise): ColumnNoise(strength=0.3)
        )
    """
    parsed = parse_augment(asked)
    suited = suiting(kind)
    for name in parsed:
        if name not in suited:
            can = f"what can be done to it: {', '.join(suited)}" if suited else "nothing can be done to it"
            raise OptionError(f"augment '{name}' does not suit {_called(kind)}; {can}")
    if not parsed:
        return None
    made = nn.Sequential()
    subject = kind.dimension if isinstance(kind, Image) else kind.of if isinstance(kind, (Set, Sequence)) else kind
    for name, change in suited.items():
        if name in parsed:
            strength = next(iter(options.signature(change)))
            given = {} if parsed[name] is True else {strength: parsed[name]}
            made.add_module(name, change(subject, **options.parse(change, given, name=f"augment {name}")))
    return made


def suiting(kind: Any) -> dict[str, type[nn.Module]]:
    """The changes by name that suit a kind of data.

    Example:
        >>> list(suiting(Vector.real(2))), "rotate" in suiting(Image(1, (64,)))
        (['swap', 'noise'], False)
    """
    changes = augmentations.get(type(kind), {})
    if not isinstance(kind, Image):
        return changes
    return {name: change for name, change in changes.items() if kind.dimension in getattr(change, "dimensions", (1, 2, 3))}


def _called(kind: Any) -> str:
    if isinstance(kind, Image):
        return f"an Image of {kind.dimension} {'dimension' if kind.dimension == 1 else 'dimensions'}"
    return f"a {type(kind).__name__}"


def _from_text(text: str) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for part in options.names(text, "augment"):
        name, equals, value = part.partition("=")
        name = name.strip()
        if name in named:
            raise OptionError(f"augment names '{name}' twice; name each change once")
        named[name] = value.strip().replace("+", ",") if equals else True
    return named
