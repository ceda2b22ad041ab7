"""Scaling: the one invertible map between the user's units and network space, fitted on training rows only.

It maps, measures log-determinants and spreads whole numbers over their cells; how networks read a column is not its matter.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from gnomon.data.examples import Examples, Ragged
from gnomon.data.kinds import Image, Integer, Kind, Sequence, Set, Spec, Vector
from gnomon.data.maps import EDGE, ChannelMap, ColumnMap, constant
from gnomon.data.seeds import generator as seeded
from gnomon.errors import DataError, RunError

__all__ = ["EDGE", "Scaling"]

_FARTHEST = 1e8  # standard deviations: numbers beyond count as there, so that no model meets what float32 cannot square
_ROLES = ("x", "y", "given")


class Scaling:
    """One map per column or channel of every role, made by `Scaling.fit` or `Scaling.from_state`.

    Three spaces: *raw* (the user's numbers, float64), *stored* (what a source keeps: float32 in network space, but whole
    numbers of x still whole), and *network space* z (float32, at most 1e8 standard deviations from zero). Targets and conditions
    that are whole numbers go to the middle of their cell at once; those of x are spread over it by `dequantise`, unless the model
    wants them `whole`.

    Attributes:
        spec: what the data is.
        maps: role to its map; roles that are labels or tokens have none.
        notices: plain sentences about constant columns.
        whole: the whole numbers among the columns of x stay whole in network space, each measured from its lowest (else its highest, else
            a number near the mean), with a log-determinant of zero: a model gives them probabilities, not densities.

    Example:
        >>> from gnomon.data import Examples, Spec, Vector
        >>> raw = Examples(torch.tensor([[1.0], [3.0]], dtype=torch.float64))
        >>> scaling = Scaling.fit(Spec(Vector.real(1)), raw)
        >>> scaling.forward(raw).x.tolist(), scaling.log_det(raw).tolist()
        ([[-1.0], [1.0]], [0.0, 0.0])
    """

    def __init__(
        self, spec: Spec, maps: dict[str, ColumnMap | ChannelMap], notices: list[str] | None = None, *, whole: bool = False
    ) -> None:
        self.spec = spec
        self.maps = maps
        self.notices = notices or []
        self.whole = whole
        self._cells: dict[torch.device, ColumnMap] = {}
        self._integers: dict[torch.device, Tensor] = {}

    # ---- making -------------------------------------------------------------------------------------------------------

    @classmethod
    def fit(cls, spec: Spec, raw: Examples) -> Scaling:
        """Measure means and scales on training rows. Weights count (by size, if some are negative); NaN in given does not.

        Raises:
            DataError: a role of the spec is absent, no rows, or a value lies outside its column's support.
        """
        maps: dict[str, ColumnMap | ChannelMap] = {}
        notices = []
        for role, kind in _mapped(spec):
            values = getattr(raw, role)
            if values is None:
                raise DataError(f"the data has no '{role}', which its description asks for")
            if not len(values):
                raise DataError("no rows to learn the scaling from")
            weight = raw.weight if not isinstance(values, Ragged) or raw.weight is None else raw.weight[values.rows()]
            flat = values.values if isinstance(values, Ragged) else values
            if isinstance(kind, Image):
                maps[role] = made = ChannelMap.fit(kind, flat, weight)
                notices += [f"channel {c} of {role} is constant; its scale is 1" for c in _flat_channels(kind, made, flat)]
                continue
            flat = flat.double()
            maps[role] = ColumnMap.fit(kind, flat, weight)
            _refuse(maps[role], kind, flat, role)
            for i in torch.nonzero(constant(flat)).flatten().tolist():
                notices.append(f"column '{kind.names[i]}' is constant; its scale is 1")
        return cls(spec, maps, notices)

    def state(self) -> dict[str, Tensor]:
        """What was measured, as float64 tensors by name (``x.mean``, ``x.scale``, ``x.floor``, …)."""
        made = {}
        for role, entry in self.maps.items():
            for name in _names(entry):
                made[f"{role}.{name}"] = getattr(entry, name).detach().cpu().clone().contiguous()
        return made

    @classmethod
    def from_state(cls, spec: Spec, state: dict[str, Tensor], *, whole: bool = False) -> Scaling:
        """The Scaling whose `state` this is. Raises RunError if it does not fit the spec."""
        maps: dict[str, ColumnMap | ChannelMap] = {}
        for role, kind in _mapped(spec):
            width = kind.channels if isinstance(kind, Image) else len(kind)
            entry: type[ColumnMap] | type[ChannelMap] = ChannelMap if isinstance(kind, Image) else ColumnMap
            values = []
            for name in _names(entry):
                value = state.get(f"{role}.{name}")
                if value is None or value.shape != (width,):
                    got = "nothing" if value is None else f"shape {tuple(value.shape)}"
                    raise RunError(f"the saved scaling does not fit the data: '{role}.{name}' wants {width} numbers; got {got}")
                values.append(value.double().clone())
            maps[role] = entry(kind, *values)  # type: ignore[arg-type]
        return cls(spec, maps, whole=whole)

    # ---- to network space ---------------------------------------------------------------------------------------------

    def store(self, raw: Examples) -> Examples:
        """What a source keeps: see the class. Absent roles stay absent; weights become float32."""
        weight = None if raw.weight is None else raw.weight.float()
        x, y, given = (self._store(role, getattr(raw, role)) for role in _ROLES)
        return Examples(x, y, given, weight)  # type: ignore[arg-type]

    def dequantise(self, stored: Examples, generator: torch.Generator | None = None, *, noise: bool = True) -> Examples:
        """Spread the whole numbers of x over their cells and scale them; the very argument if there are none.

        Args:
            stored: from `store`, on any device.
            generator: on the same device; torch's global one if None.
            noise: u uniform in [0, 1); if False every u is 1/2.
        """
        if not self.has_integers:
            return stored
        if not noise:
            return self.spread(stored, torch.full((), 0.5, device=stored.device))
        count = len(stored.x.values) if isinstance(stored.x, Ragged) else len(stored.x)
        return self.spread(stored, self.noise(count, generator, stored.device))

    def noise(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """``(count, *cells)`` uniform numbers for `count` examples (elements of sets), row by row."""
        return torch.rand((count, *self._cell_shape()), generator=generator, device=device)

    def spread(self, stored: Examples, u: Tensor) -> Examples:
        """Network space with the whole numbers k of x at k + `u`; u broadcasts against ``(n, *cells)``."""
        if not self.has_integers:
            return stored
        entry, x = self.maps["x"], stored.x
        values = x.values if isinstance(x, Ragged) else x
        u = u.to(values.device, torch.float32)
        if isinstance(entry, ChannelMap):
            z = entry.forward_(values + (u.reshape(*u.shape[:-1], *entry.image.shape) if u.dim() in (1, 2) else u))
        else:
            cells, index = self._of_integers(values.device)
            z = values.index_copy(1, index, cells.forward(values[:, index] + u))
        return Examples(Ragged(z, x.lengths) if isinstance(x, Ragged) else z, stored.y, stored.given, stored.weight)

    def forward(self, raw: Examples, noise: bool = False, generator: torch.Generator | None = None) -> Examples:
        """Network space in float32; whole numbers sit in the middle of their cell unless `noise`."""
        return self.dequantise(self.store(raw), generator, noise=noise)

    def at(self, raw: Examples, u: Tensor) -> Examples:
        """Network space with the same offsets `u` ``(cells,)`` for all rows, such as one row of `lattice`."""
        return self.spread(self.store(raw), u)

    @property
    def has_integers(self) -> bool:
        """Whether x holds whole numbers that a density needs spread."""
        return self.cells > 0

    @functools.cached_property
    def cells(self) -> int:
        """How many whole numbers one example of x (one element of a set) has."""
        return math.prod(self._cell_shape()) if self._cell_shape() != (0,) else 0

    def edges(self) -> tuple[Tensor, Tensor] | None:
        """Where level 0 begins and the highest level ends in network space, ``(channels,)`` each; None unless x has levels."""
        entry = self.maps.get("x")
        if not isinstance(entry, ChannelMap) or entry.image.levels is None:
            return None
        return (0.0 - entry.mean) / entry.scale, (entry.image.levels - entry.mean) / entry.scale

    def lattice(self, count: int) -> Tensor:
        """``(count, cells)`` offsets shared by all rows over which densities of whole numbers are averaged.

        One column: midpoints. Up to 16: the Korobov lattice with the least P2 error. More: fixed permutations of the
        midpoints, one per column. Every column runs through the midpoints (j + 1/2) / count exactly once.
        """
        return _lattice(count, self.cells)

    # ---- back, and densities ------------------------------------------------------------------------------------------

    def inverse(self, role: str, z: Tensor | Ragged, *, whole: bool = True) -> Tensor | Ragged:
        """The user's numbers of a role: float64 (images: uint8, int32 or float32; labels as they are).

        Integers are floored and clipped, angles wrapped into [low, high), categories rounded to a legal code.
        With ``whole=False`` integers stay real numbers (k + u - 1/2), as a mean wants to be told.
        """
        if isinstance(z, Ragged):
            made = self.inverse(role, z.values, whole=whole)
            assert isinstance(made, Tensor)
            return Ragged(made, z.lengths)
        entry = self.maps.get(role)
        if entry is None:
            return z
        if isinstance(entry, ChannelMap):
            return entry.inverse(z, whole=whole)
        z = z.detach().cpu().double()
        x = entry.inverse(z, whole=whole)
        if not self._kept_whole(role, entry):
            return x
        return x.index_copy(1, entry.integers, entry.kept(z[:, entry.integers], whole=whole))

    def derivative(self, role: str, z: Tensor) -> Tensor:
        """dx/dz at `z`, positive, float64, on the host: spreads in network space times this are spreads in the user's units."""
        entry = self.maps.get(role)
        if entry is None:
            return torch.ones(z.shape).double()
        slope = entry.derivative(z.detach().cpu().double())
        return slope.index_fill(-1, entry.integers, 1.0) if isinstance(entry, ColumnMap) and self._kept_whole(role, entry) else slope

    def log_det(self, raw: Examples, u: Tensor | None = None, *, role: str = "x") -> Tensor:
        """``(n,)`` float64: the sum over columns of log |dz/dx|, with whole numbers k at k + u.

        Args:
            raw: in the user's units.
            u: ``(cells,)`` or ``(n, cells)`` offsets; None means 1/2. Used for x only.
            role: whose columns.
        """
        entry, values = self.maps.get(role), getattr(raw, role)
        if entry is None:
            return torch.zeros(len(values)).double()
        if isinstance(entry, ChannelMap):
            return torch.full((len(values),), entry.log_det()).double()
        flat = (values.values if isinstance(values, Ragged) else values).double()
        if len(entry.integers):
            offset = torch.full((), 0.5) if u is None or role != "x" else u
            flat = flat.index_copy(1, entry.integers, flat[:, entry.integers] + offset.cpu().double())
        terms = entry.log_derivative(flat)
        if self._kept_whole(role, entry):
            terms = terms.index_fill(1, entry.integers, 0.0)
        terms = terms.sum(1)
        if isinstance(values, Ragged):
            return torch.zeros(len(values)).double().index_add(0, values.rows(), terms)
        return terms

    def outside(self, raw: Examples, *, role: str = "x") -> Tensor:
        """``(n,)`` bool: rows with a value outside its support, where a density is zero. Angles are never outside: they wrap."""
        entry, values = self.maps.get(role), getattr(raw, role)
        if entry is None:
            return torch.zeros(len(values), dtype=torch.bool)
        if isinstance(entry, ChannelMap):
            return entry.outside(values)
        flat = (values.values if isinstance(values, Ragged) else values).double()
        bad = entry.outside(flat).any(1)
        if isinstance(values, Ragged):
            return torch.zeros(len(values)).index_add(0, values.rows(), bad.float()) > 0
        return bad

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _store(self, role: str, values: Tensor | Ragged | None) -> Tensor | Ragged | None:
        if isinstance(values, Ragged):
            made = self._store(role, values.values)
            assert isinstance(made, Tensor)
            return Ragged(made, values.lengths)
        entry = self.maps.get(role)
        if values is None or entry is None:
            return values
        if isinstance(entry, ChannelMap):
            return self._store_image(role, entry, values)
        x = values.double()
        if not len(entry.integers):
            return entry.forward(x).clamp(-_FARTHEST, _FARTHEST).float()
        z = entry.forward(x.index_copy(1, entry.integers, x[:, entry.integers] + 0.5)).clamp(-_FARTHEST, _FARTHEST)
        if role == "x":
            z = z.index_copy(1, entry.integers, x[:, entry.integers] - entry.origins())
        return z.float()

    def _store_image(self, role: str, entry: ChannelMap, values: Tensor) -> Tensor:
        levels = entry.image.levels
        if levels is None:
            return entry.forward(values.float())
        if role != "x":
            return entry.forward(values.float() + 0.5)
        return values.to(torch.uint8 if levels <= 256 else torch.int32)

    def _cell_shape(self) -> tuple[int, ...]:
        entry = self.maps.get("x")
        if isinstance(entry, ChannelMap):
            return (0,) if entry.image.levels is None else entry.image.shape
        return (len(entry.integers) if entry is not None and not self.whole else 0,)

    def _kept_whole(self, role: str, entry: ColumnMap) -> bool:
        """Whether columns of a role stay whole in network space."""
        return self.whole and role == "x" and len(entry.integers) > 0

    def _of_integers(self, device: torch.device) -> tuple[ColumnMap, Tensor]:
        entry = self.maps["x"]
        assert isinstance(entry, ColumnMap)
        if device not in self._cells:
            with torch.inference_mode(False):  # what is kept must serve in training too
                self._cells[device] = entry.of_integers(device)
                self._integers[device] = entry.integers.to(device)
        return self._cells[device], self._integers[device]


def _mapped(spec: Spec) -> list[tuple[str, Vector | Image]]:
    """(role, kind) of the roles that have a map: vectors, images, and the elements of sets and sequences."""
    kinds: list[tuple[str, Kind | None]] = [(role, getattr(spec, role)) for role in _ROLES]
    return [(r, k.of if isinstance(k, (Set, Sequence)) else k) for r, k in kinds if isinstance(k, (Vector, Image, Set, Sequence))]


def _names(entry: object) -> tuple[str, ...]:
    return ("mean", "scale") if isinstance(entry, ChannelMap) or entry is ChannelMap else ("mean", "scale", "floor")


def _flat_channels(kind: Image, made: ChannelMap, x: Tensor) -> list[int]:
    if made.scale.ne(1).all():
        return []
    return [c for c in range(kind.channels) if bool(x[:, c].max() == x[:, c].min())]


def _refuse(entry: ColumnMap | ChannelMap, kind: Vector, x: Tensor, role: str) -> None:
    """Stop at the first training value outside its column's support (NaN in given means absent)."""
    assert isinstance(entry, ColumnMap)
    bad = entry.outside(x)
    if role == "given":
        bad &= ~x.isnan()
    if not bool(bad.any()):
        return
    row, i = (int(v) for v in torch.nonzero(bad)[0])
    column, value = kind.columns[i], float(x[row, i])
    hint = "declare it nonnegative" if column.support.name == "positive" and value == 0 else "declare another support or drop the row"
    if isinstance(column.support, Integer) and value == math.floor(value):
        hint = "widen its bounds or drop the row"
    more = int(bad[:, i].sum()) - 1
    place = f"row {row + 1} of the training part" + (f", and {more} more" if more else "")
    raise DataError(f"column '{column.name}' is {column.support.name} but holds {value:g} ({place}); {hint}")


@functools.lru_cache(maxsize=16)
def _lattice(count: int, cells: int) -> Tensor:
    steps = torch.arange(count)
    if cells <= 16:
        factors = _korobov(count, min(cells, 16))
        ranks = torch.stack([(steps * g) % count for g in factors], 1) if factors else torch.zeros(count, 0, dtype=torch.int64)
    else:
        ranks = torch.stack([torch.randperm(count, generator=seeded("lattice", count, i)) for i in range(cells)], 1)
    return (ranks.double() + 0.5) / count


def _korobov(count: int, cells: int) -> list[int]:
    """Powers modulo `count` of the multiplier whose rank-1 lattice integrates smooth periodic functions best (P2)."""
    if cells <= 1:
        return [1] * cells
    best, least = [1] * cells, math.inf
    steps = torch.arange(count)
    for a in range(1, min(count, 512)):
        if math.gcd(a, count) != 1:
            continue
        factors = [pow(a, i, count) for i in range(cells)]
        x = torch.stack([(steps * g) % count for g in factors], 1).double() / count
        error = float((1 + 2 * math.pi**2 * (x**2 - x + 1 / 6)).prod(1).mean())
        if error < least - 1e-12:
            best, least = factors, error
    return best
