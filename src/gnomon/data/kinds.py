"""What one example is: columns with supports, kinds of data, and the roles they play in a `Spec`.

Pure descriptions without any data in them; they are saved with every run as JSON.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from gnomon.errors import DataError

# ---- supports -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """Any finite number."""

    name: ClassVar[str] = "real"


@dataclass(frozen=True)
class Positive:
    """Numbers > 0. A zero is an error that suggests `NonNegative`."""

    name: ClassVar[str] = "positive"


@dataclass(frozen=True)
class NonNegative:
    """Numbers >= 0; exact zeros are moved inward by a small fraction of the column's scale (see `Scaling`)."""

    name: ClassVar[str] = "nonnegative"


@dataclass(frozen=True)
class Bounded:
    """Numbers in [low, high]; exact ends are moved inward by 1e-6 of the width."""

    low: float
    high: float
    name: ClassVar[str] = "bounded"


@dataclass(frozen=True)
class Periodic:
    """Numbers on a circle: `high` is the same place as `low`; values are kept in [low, high)."""

    low: float
    high: float
    name: ClassVar[str] = "periodic"

    @property
    def period(self) -> float:
        """Length of the circle, `high` - `low`."""
        return self.high - self.low


@dataclass(frozen=True)
class Integer:
    """Whole numbers, from `low` to `high` inclusive where these are given."""

    low: int | None = None
    high: int | None = None
    name: ClassVar[str] = "integer"


@dataclass(frozen=True)
class Categorical:
    """One of finitely many values (texts, booleans or whole numbers), held as codes 0 … K-1."""

    values: tuple[Any, ...]
    name: ClassVar[str] = "categorical"


Support = Real | Positive | NonNegative | Bounded | Periodic | Integer | Categorical

# ---- kinds --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: the column's name in the user's data.
        support: where its values live.
        units: the user's units, for axes and reports.
        type: Arrow type name that comes back on output ("double", "int64", "bool", "string", "timestamp[us]" …).
        origin: for timestamps, the first one as ISO text; values are seconds since it.
    """

    name: str
    support: Support = field(default_factory=Real)
    units: str = ""
    type: str = "double"
    origin: str | None = None


@dataclass(frozen=True)
class Vector:
    """A row of columns. `bare` tells that it came as a plain array and goes back as one.

    In network space it is a float32 tensor ``(n, len(columns))``: one number per column (category → code, angle → angle).
    """

    columns: tuple[Column, ...]
    bare: bool = False

    @classmethod
    def real(cls, width: int, *, bare: bool = True) -> Vector:
        """`width` unnamed real columns."""
        return cls(tuple(Column(f"x{i}") for i in range(width)), bare=bare)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names in order."""
        return tuple(column.name for column in self.columns)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example in network space."""
        return (len(self.columns),)

    def __len__(self) -> int:
        return len(self.columns)


@dataclass(frozen=True)
class Image:
    """A regular grid in one (signal), two or three dimensions: tensor ``(n, channels, *size)``.

    Args:
        channels: number of channels.
        size: extent along each spatial axis; its length is the dimension.
        levels: number of grey levels if pixels are whole numbers 0 … levels-1, None if they are real.
        layout: where the user's arrays keep channels: "first", "last" or "none".
    """

    channels: int
    size: tuple[int, ...]
    levels: int | None = None
    layout: str = "first"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example in network space."""
        return (self.channels, *self.size)

    @property
    def dimension(self) -> int:
        """Number of spatial axes."""
        return len(self.size)


@dataclass(frozen=True)
class Set:
    """Any number of unordered elements, each a Vector: a `Ragged`."""

    of: Vector


@dataclass(frozen=True)
class Sequence:
    """Any number of ordered elements, each a Vector: a `Ragged`."""

    of: Vector


@dataclass(frozen=True)
class Tokens:
    """A sequence of symbols from a finite vocabulary: a `Ragged` of int64 codes, places in `vocabulary`.

    Args:
        vocabulary: the symbols, sorted.
        split: how a text falls apart into symbols: "characters", or "smiles" (see `data.smiles`).
        longest: number of symbols of the longest text seen; what is made of a model's own stays below a quarter more.
        name: the column's name in the user's data.
        bare: whether the texts came as a list or a file of lines, and go back as a list.
    """

    vocabulary: tuple[str, ...]
    split: str = "characters"
    longest: int = 100
    name: str = "x"
    bare: bool = True


@dataclass(frozen=True)
class Label:
    """One class out of several: int64 codes ``(n,)``."""

    classes: tuple[Any, ...]
    name: str = "y"
    type: str = "int64"


Kind = Vector | Image | Set | Sequence | Tokens | Label
ConditionKind = Vector | Image | Set | Sequence
"""What a condition may be: columns, or what an encoder reads."""


@dataclass(frozen=True)
class Spec:
    """The roles of one example.

    Args:
        x: what is learned about.
        y: target, a Label or a Vector, or None.
        given: condition, a Vector, an Image or a Set, or None.
        weight: name of the column with weights, or None ("" for a bare array of weights).
    """

    x: Kind
    y: Kind | None = None
    given: ConditionKind | None = None
    weight: str | None = None

    def with_(self, **roles: Any) -> Spec:
        """A copy with some roles replaced."""
        return replace(self, **roles)

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `Spec.from_json` makes an equal Spec."""
        roles = {role: getattr(self, role) for role in ("x", "y", "given")}
        return {role: None if kind is None else _kind_to_json(kind) for role, kind in roles.items()} | {"weight": self.weight}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Spec:
        """The Spec written by `to_json`. Raises DataError if the object does not describe one."""
        try:
            roles = {role: None if data[role] is None else _kind_from_json(data[role]) for role in ("x", "y", "given")}
            return cls(**roles, weight=data["weight"])  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the saved description of the data cannot be read ({error!r}); the run folder is damaged") from error


_SUPPORTS: dict[str, Any] = {c.name: c for c in (Real, Positive, NonNegative, Bounded, Periodic, Integer, Categorical)}
_KINDS: dict[str, Any] = {c.__name__.lower(): c for c in (Vector, Image, Set, Sequence, Tokens, Label)}


def _kind_to_json(kind: Kind) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": type(kind).__name__.lower()}
    if isinstance(kind, Vector):
        return data | {"columns": [_column_to_json(c) for c in kind.columns], "bare": kind.bare}
    if isinstance(kind, (Set, Sequence)):
        return data | {"of": _kind_to_json(kind.of)}
    return data | {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(kind).items()}


def _kind_from_json(data: dict[str, Any]) -> Kind:
    values = dict(data)
    kind = _KINDS[values.pop("kind")]
    if kind is Vector:
        if not isinstance(values["bare"], bool):
            raise TypeError(f"bare is {values['bare']!r}, not true or false")
        return Vector(tuple(_column_from_json(c) for c in values["columns"]), bare=values["bare"])
    if kind in (Set, Sequence):
        return kind(_kind_from_json(values["of"]))
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


def _column_to_json(column: Column) -> dict[str, Any]:
    support = {"name": column.support.name} | {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(column.support).items()}
    return {"name": column.name, "support": support, "units": column.units, "type": column.type, "origin": column.origin}


def _column_from_json(data: dict[str, Any]) -> Column:
    for key in ("name", "units", "type"):
        if not isinstance(data[key], str):
            raise TypeError(f"{key} of a column is {data[key]!r}, not a text")
    support = dict(data["support"])
    made = _SUPPORTS[support.pop("name")](**{k: tuple(v) if isinstance(v, list) else v for k, v in support.items()})
    return Column(data["name"], made, data["units"], data["type"], data["origin"])


def parse_support(text: str, *, column: str) -> Support:
    """The support written as `positive`, `bounded(0,1)`, `periodic(-3.14,3.14)`, `integer(0,9)`, `categorical` …

    `categorical` comes back with no values: they are taken from the data.

    Raises:
        DataError: the text is no support, or its bounds are not two rising numbers.

    Example:
        >>> parse_support("bounded(0, 1)", column="efficiency")
        Bounded(low=0.0, high=1.0)
    """
    name, _, rest = text.strip().partition("(")
    arguments = [part.strip() for part in rest.rstrip(")").split(",") if part.strip()]
    wanted = "real, positive, nonnegative, bounded(low,high), periodic(low,high), integer, integer(low,high) or categorical"
    try:
        numbers = [_number(part) for part in arguments]
        if name == "categorical" and not numbers:
            return Categorical(())
        if name == "integer" and len(numbers) in (0, 2):
            if not all(x.is_integer() for x in numbers):
                raise ValueError(text)
            made: Support = Integer(*(int(x) for x in numbers))
        elif name in ("bounded", "periodic") and len(numbers) == 2:
            made = _SUPPORTS[name](*numbers)
        elif name in ("real", "positive", "nonnegative") and not numbers:
            made = _SUPPORTS[name]()
        else:
            raise ValueError(text)
    except ValueError as error:
        raise DataError(f"column '{column}': support '{text}' is not known; use {wanted}") from error
    low, high = getattr(made, "low", None), getattr(made, "high", None)
    if low is not None and high is not None and not (low < high and math.isfinite(high - low)):
        raise DataError(f"column '{column}': support '{text}' needs finite ends, its low end below its high end")
    return made


def _number(text: str) -> float:
    """A number, in which pi may stand as a factor: ``-pi``, ``2pi``, ``0.5*pi``."""
    factor, pi, rest = text.partition("pi")
    if not pi:
        return float(text)
    if rest:
        raise ValueError(text)
    factor = factor.rstrip("*").strip()
    return math.pi * float(factor + "1" if factor in ("", "+", "-") else factor)
