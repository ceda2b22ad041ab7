"""Walks through a latent space in the user's units: from one example to another, along one number of the code, by analogy, over a map.

Pictures of them are drawn by `gnomon.checks.latent_pictures`; how codes are learned is the models' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.data import Examples
from gnomon.errors import AbilityError, DataError, OptionError
from gnomon.learned.conditions import Encoded
from gnomon.learned.learned import Learned
from gnomon.options import whole

Codes = NDArray[np.float64]

VALUES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Where `Latent.traverse` goes, in standard deviations of the codes."""


class Latent:
    """The latent space of a fitted model that can encode and decode.

    Args:
        learned: the model.
        data: examples whose codes say where the middle of each number of the code lies and how far it spreads; without them the middle
            is 0 and the spread 1. That is so under a standard normal prior, which a VAE has by default; with a mixture, vamp or flow
            prior, and for an autoencoder, give data.

    Attributes:
        codes: ``(n, k)`` of `data`, or None.
        centre: ``(k,)`` means of the codes; without data one 0 for all, of shape ``()``.
        spread: ``(k,)`` standard deviations, 1 where a number never varies; without data one 1 for all, of shape ``()``.

    Raises:
        AbilityError: the model cannot encode and decode.
        DataError: no examples.
        OptionError: a number of the code that there is not, or an option of a walk out of range.

    Examples come back as `Learned.decode` gives them. Where a model has conditions, those of the example a walk begins with stay in place.

    Example:
        >>> import gnomon
        >>> learned = gnomon.fit("pca", "wine", options={"components": 2}, progress=False)
        >>> rows = learned.reconstruct("wine")
        >>> Latent(learned).interpolate(rows.slice(0, 1), rows.slice(100, 1), steps=5).num_rows
        5
    """

    def __init__(self, learned: Learned, data: Any = None) -> None:
        missing = [ability for ability in ("encode", "decode") if ability not in learned.abilities]
        if missing:
            raise AbilityError(f"{learned.name} cannot {missing[0]}, so its codes cannot be explored; fit an autoencoder, a VAE or PCA")
        self.learned = learned
        self.codes: Codes | None = None if data is None else self._read(data)[1]
        self._width = None if self.codes is None else self.codes.shape[1]
        self.centre: Codes = np.zeros(()) if self.codes is None else self.codes.mean(0)
        spread = np.ones(()) if self.codes is None else self.codes.std(0)
        self.spread: Codes = np.where(spread > 1e-6 * max(float(spread.max()), 1e-300), spread, 1.0)

    def encode(self, data: Any) -> Codes:
        """Codes ``(n, k)`` of examples, in float64."""
        return self.learned.encode(data).astype(np.float64)

    def interpolate(self, a: Any, b: Any, steps: int = 8, *, spherical: bool = False) -> Any:
        """Examples on the way from `a` to `b`, both ends included.

        Args:
            a, b: one example each, or n of them, paired in order.
            steps: how many examples a walk has, at least 2.
            spherical: turn from one code to the other about the origin instead of going straight: lengths in between stay those of the
                ends, as codes of many normal numbers have it, which all lie near one sphere.

        Returns:
            ``n * steps`` examples, walk after walk.

        Reference: White 2016, https://arxiv.org/abs/1609.04468
        """
        steps = whole(steps, "steps", least=2)
        first, one = self._read(a)
        _, other = self._read(b)
        if one.shape != other.shape:
            raise DataError(f"interpolate wants as many examples on both ends; got {len(one)} and {len(other)}")
        t = np.linspace(0, 1, steps)[None, :, None]
        walk = _turned(one[:, None], other[:, None], t) if spherical else (1 - t) * one[:, None] + t * other[:, None]
        return self._decoded(walk, first)

    def traverse(self, x: Any, dimension: int, values: Sequence[float] | ArrayLike = VALUES) -> Any:
        """Examples that differ from `x` in one number of the code.

        Args:
            x: one example, or n.
            dimension: position of that number.
            values: what it becomes, in standard deviations from the middle (see `centre` and `spread`).

        Returns:
            ``n * len(values)`` examples, those of the first one first.
        """
        first, codes = self._read(x)
        dimension = _position(dimension, "dimension", codes.shape[1])
        places = _numbers(values)
        walk = np.repeat(codes[:, None], len(places), axis=1)
        walk[:, :, dimension] = self._in_codes(places, dimension)
        return self._decoded(walk, first)

    def analogy(self, a: Any, b: Any, c: Any) -> Any:
        """What is to `c` as `b` is to `a`: code(c) + mean code(b) - mean code(a), decoded.

        Args:
            a, b: examples without and with what is to be added, any number of each.
            c: examples that it is added to.

        Returns:
            As many examples as `c` has.
        """
        first, codes = self._read(c)
        shift = self._read(b)[1].mean(0) - self._read(a)[1].mean(0)
        return self._decoded((codes + shift)[:, None], first)

    def grid(self, dimensions: tuple[int, int] = (0, 1), steps: int = 12, *, reach: float = 2.5, given: Any = None) -> Any:
        """Examples over a plane of the latent space, row by row from the top left, all other numbers in the middle.

        Args:
            dimensions: positions of the numbers that grow to the right and upwards.
            steps: examples along each side.
            reach: how far the plane goes, in standard deviations.
            given: the condition, as for `Learned.decode`.

        Returns:
            ``steps * steps`` examples.
        """
        width = self._code_width()
        if np.shape(dimensions) != (2,) or dimensions[0] == dimensions[1]:
            raise OptionError(f"dimensions want two different positions; got {dimensions!r}")
        first, second = (_position(dimension, "dimensions", width) for dimension in dimensions)
        if not isinstance(reach, Real) or not np.isfinite(float(reach)):
            raise OptionError(f"reach wants a number; got {reach!r}")
        along = np.linspace(-float(reach), float(reach), whole(steps, "steps", least=2))
        up, right = (m.ravel() for m in np.meshgrid(along[::-1], along, indexing="ij"))
        codes = np.broadcast_to(self.centre, (len(up), width)).copy()
        codes[:, first], codes[:, second] = self._in_codes(right, first), self._in_codes(up, second)
        return self.learned.decode(codes, given)

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _code_width(self) -> int:
        """How long a code is. Raises OptionError where nothing tells."""
        width = self._width or getattr(self.learned.model, "latent", None)
        if not width:
            raise OptionError("the length of a code is not known; give data: Latent(learned, data)")
        return int(width)

    def _in_codes(self, places: Codes, dimension: int) -> Codes:
        """Standard deviations from the middle as numbers of the code."""
        centre, spread = (part if part.ndim == 0 else part[dimension] for part in (self.centre, self.spread))
        return centre + spread * places

    def _read(self, data: Any) -> tuple[Examples, Codes]:
        raw = self.learned.read(data)
        if not len(raw):
            raise DataError("a walk wants at least one example; got none")
        return raw, self.encode(raw)

    def _decoded(self, walk: Codes, first: Examples) -> Any:
        """The examples of codes ``(n, steps, k)``, with the conditions of `first`."""
        n, steps, _ = walk.shape
        given = None
        if first.given is not None:
            import torch

            given = Encoded(first.given[torch.arange(n).repeat_interleave(steps)])
        return self.learned.decode(walk.reshape(n * steps, -1), given)


def _position(value: Any, name: str, width: int) -> int:
    """The position of a number of a code. Raises OptionError naming it `name`."""
    place = whole(value, name)
    if place >= width:
        raise OptionError(f"{name} wants a position from 0 to {width - 1}; got {place}")
    return place


def _numbers(values: Any) -> Codes:
    """Where a traversal goes. Raises OptionError for anything but finite numbers."""
    try:
        places = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise OptionError(f"values want numbers; got {values!r}") from error
    if places.ndim != 1 or not places.size or not np.isfinite(places).all():
        raise OptionError(f"values want finite numbers in a row, at least one; got {values!r}")
    return places


def _turned(one: Codes, other: Codes, t: Codes) -> Codes:
    """Codes between two on a great circle, their lengths between the two lengths; straight where the two point the same way, or apart."""
    lengths = [np.linalg.norm(end, axis=-1, keepdims=True) for end in (one, other)]
    units = [end / np.maximum(length, 1e-300) for end, length in zip((one, other), lengths, strict=True)]
    angle = np.arccos(np.clip((units[0] * units[1]).sum(-1, keepdims=True), -1, 1))
    sine = np.sin(angle)
    straight = (1 - t) * one + t * other
    safe = np.where(sine > 1e-6, sine, 1.0)
    direction = (np.sin((1 - t) * angle) * units[0] + np.sin(t * angle) * units[1]) / safe
    return np.where(sine > 1e-6, direction * ((1 - t) * lengths[0] + t * lengths[1]), straight)
