"""Normalising flow: the exact density of tables and images, from which one can also sample.

The invertible maps are in `gnomon.blocks.bijections`, categorical columns in `gnomon.blocks.categories`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gnomon.blocks.bijections import AutoregressiveSpline, Bijection, Box, Chain, LULinear, SplineCoupling, rotations, splits, wrapped
from gnomon.blocks.categories import CategoryChain
from gnomon.blocks.columns import Layout
from gnomon.data import Examples, Image, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import Loss, Model, tensor, wants
from gnomon.networks import Condition
from gnomon.options import unknown

Mixing = Literal["auto", "lu", "none"]
_TRANSFORMS = ("coupling", "autoregressive")
_MIXED_AT_MOST = 128  # columns: beyond, the triangles of "auto" mixing would outweigh the networks


class Flow(Model):
    """Normalising flow: rational-quadratic spline couplings between data and noise, and softmaxes for categories.

    Maximises log p(x | given) = log p(categories | given) + log p(noise) + log |det d noise / d numbers| in nats per example,
    where the couplings see the categories. Numbers on the line have normal noise; angles have uniform noise on the circle and are
    moved on the circle; pixels with levels never leave their range once `enclose` has told it.

    Args:
        spec: x a Vector or an Image; given, if any, is shown to every network: the density is p(x | given).
        transform: "coupling": half of the columns is moved, depending on the other half, equally quick both ways; or "autoregressive":
            each column is moved, depending on those before it, often the better density, while sampling takes one step per column.
        transforms: number of couplings; None takes 4, from 5 columns on 6, or where `mixing` leaves columns out as many (up to 16) as
            part every two of them.
        bins: pieces of each spline.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training; None takes 0.2 from 16 columns on, where small
            data would be learned by heart, and 0 below, where edges need to be sharp.
        bound: half the width of the interval inside which splines act, in standard deviations.
        mixing: what numbers go through after every second coupling: "lu" a learned linear map, "none" nothing; "auto" takes "lu"
            from 3 to 128 numbers.
        frequencies: how many octaves of waves of the numbers a coupling's network sees beside the numbers, so that it can turn
            sharply; None takes 3 for one or two columns, where they pay, and 0 beyond, where they lead small data astray.
        size: factor on the widths.

    Raises:
        DataError: x is neither a Vector nor an Image, or has no columns.
        OptionError: an option out of range.

    Reference: Durkan et al. 2019, https://arxiv.org/abs/1906.04032

    Example:
        >>> from gnomon.data import Categorical, Column, Periodic
        >>> kind = Vector((Column("pt"), Column("phi", Periodic(0, 1)), Column("charge", Categorical(("-", "+")))))
        >>> flow = Flow(Spec(kind), transforms=2)
        >>> x = flow.sample(5)
        >>> x.shape, flow.log_prob(Examples(x)).shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    dequantises: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 6000}

    origin: Tensor
    at_reals: Tensor
    at_angles: Tensor
    at_labels: Tensor
    at_order: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        transform: Literal["coupling", "autoregressive"] = "coupling",
        transforms: int | None = None,
        bins: int = 16,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float | None = None,
        bound: float = 4.0,
        mixing: Mixing = "auto",
        frequencies: int | None = None,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, (Vector, Image), by="Flow")
        width = math.prod(kind.shape)
        _check(width, transforms=transforms, bins=bins, bound=bound, frequencies=frequencies, size=size)
        if transform not in _TRANSFORMS:
            raise OptionError(unknown("transform", transform, _TRANSFORMS, owner="Flow"))
        self.shape = kind.shape
        self.layout = Layout(tuple(range(width)), (), (), ()) if isinstance(kind, Image) else Layout.of(kind)
        self.plain = self.layout.reals == tuple(range(width))
        self.numbers, self.angles = len(self.layout.reals), len(self.layout.angles)
        for name in ("reals", "angles", "labels", "order"):
            index = torch.tensor(getattr(self.layout, name), dtype=torch.int64)
            self.register_buffer(f"at_{name}", index, persistent=False)
        self.register_buffer("origin", torch.zeros(1), persistent=False)
        self.condition = Condition(spec.given)
        if dropout is None:
            dropout = 0.2 if width >= 16 else 0.0
        network: dict[str, Any] = {"hidden": tuple(max(1, round(h * size)) for h in hidden), "activation": activation, "dropout": dropout}
        given = self.condition.outputs
        self.categories = CategoryChain(self.layout.classes, given=given, **network) if self.layout.labels else None
        given += self.categories.outputs if self.categories is not None else 0
        mixed = mixing == "lu" or (mixing == "auto" and 3 <= self.numbers <= _MIXED_AT_MOST)
        columns = self.numbers + self.angles
        if transforms is None:
            transforms = _usual_transforms(columns, alone=self.angles > 0 or not mixed)
        if frequencies is None:
            frequencies = 3 if columns <= 2 else 0
        coupling = {"given": given, "bins": bins, "bound": bound, "frequencies": frequencies, **network}
        self.bijection = self._chain(kind, transform, transforms, coupling, mixed) if columns else None

    def _chain(self, kind: Vector | Image, transform: str, transforms: int, options: dict[str, Any], mixed: bool) -> Chain:
        """From numbers, then angles, to noise."""
        columns = self.numbers + self.angles
        steps: list[Bijection] = []
        if isinstance(kind, Image) and kind.levels is not None:
            steps.append(Box(columns, torch.tensor(-math.inf), torch.tensor(math.inf)))
        circular = tuple(range(self.numbers, columns))
        moves = zip(splits(columns, transforms), rotations(columns, transforms), strict=True)
        for i, (moved, order) in enumerate(moves):
            if transform == "coupling":
                steps.append(SplineCoupling(columns, moved=moved, circular=circular, **options))
            else:
                steps.append(AutoregressiveSpline(columns, order=order, circular=circular, **options))
            if mixed and self.numbers and i % 2:
                steps.append(LULinear(columns, columns=self.numbers))
        return Chain(steps)

    def enclose(self, low: Tensor, high: Tensor) -> None:
        """Say where pixels with levels end in network space, so that the density is zero beyond; `fit` does this before it starts.

        Args:
            low: ``(channels,)`` or one number for all: where level 0 begins.
            high: where the highest level ends.

        Raises:
            OptionError: x is no image with levels.
        """
        box = None if self.bijection is None else self.bijection.steps[0]
        if not isinstance(box, Box):
            raise OptionError("Flow.enclose is for images with levels; other data has no edges in network space")
        pixels = len(box.low) // self.shape[0]
        for buffer, value in ((box.low, low), (box.high, high)):
            buffer.copy_(torch.as_tensor(value).to(buffer).expand(self.shape[0]).repeat_interleave(pixels))

    def loss(self, batch: Examples) -> Loss:
        """The negative log-likelihood in nats."""
        return Loss.mean(-self.log_prob(batch), batch.weight)

    def log_prob(self, batch: Examples) -> Tensor:
        """log p(x | given) of each example, ``(n,)`` nats in network space (a probability for categories)."""
        numbers, codes, given = self._read(batch)
        total = numbers.new_zeros(len(numbers))
        if self.categories is not None and codes is not None:
            total = self.categories.log_prob(codes, given)
            given = self._seen(codes, given)
        if self.bijection is not None:
            noise, log_det = self.bijection.forward_and_log_det(numbers, given)
            total = total + self._base_log_prob(noise) + log_det
        return total

    def score(self, batch: Examples) -> Tensor:
        """How improbable each example is: minus `log_prob`, ``(n,)``."""
        return -self.log_prob(batch)

    def encode(self, batch: Examples) -> Tensor:
        """The noise of each example, ``(n, columns)``: normal in place of numbers, uniform angles in place of angles; codes stay."""
        numbers, codes, given = self._read(batch)
        if self.bijection is not None:
            numbers = self.bijection.forward_and_log_det(numbers, self._seen(codes, given))[0]
        return self._laid(numbers, codes)

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """The example of each noise: the inverse of `encode`.

        Args:
            z: ``(n, columns)``.
            given: ``(n, given columns)`` or None.

        Returns: ``(n, *x)`` in network space.
        """
        numbers, codes = self._parted(z)
        return self._from_noise(numbers, codes, self.condition(given, len(z)))

    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        """``(n, *x)`` in network space: categories, then noise, then numbers.

        Args:
            n: how many.
            given: ``(n, given columns)`` or None.
        """
        seen = self.condition(given, n)
        codes = None if self.categories is None else self.categories.sample(n, seen)
        line = torch.randn_like(self.origin.expand(n, self.numbers))
        circle = torch.rand_like(self.origin.expand(n, self.angles)) * (2 * math.pi) - math.pi
        return self._from_noise(torch.cat([line, circle], 1), codes, seen)

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _read(self, batch: Examples) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Numbers and angles ``(n, numbers + angles)``, codes ``(n, labels)``, and the condition's vector."""
        numbers, codes = self._parted(tensor(batch.x).flatten(1))
        return numbers, codes, self.condition(batch.given, len(batch))

    def _parted(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.plain:
            return x, None
        numbers = torch.cat([x.index_select(1, self.at_reals), wrapped(x.index_select(1, self.at_angles))], 1)
        codes = x.index_select(1, self.at_labels).round().long() if self.categories is not None else None
        return numbers, codes

    def _seen(self, codes: Tensor | None, given: Tensor | None) -> Tensor | None:
        """What the couplings see: the condition and the categories."""
        if self.categories is None or codes is None:
            return given
        features = self.categories.one_hot(codes)
        return features if given is None else torch.cat([given, features], 1)

    def _laid(self, numbers: Tensor, codes: Tensor | None) -> Tensor:
        """Columns in their own order."""
        if self.plain:
            return numbers
        parts = [numbers] if codes is None else [numbers, codes.to(numbers.dtype)]
        return torch.cat(parts, 1).index_select(1, self.at_order)

    def _from_noise(self, noise: Tensor, codes: Tensor | None, given: Tensor | None) -> Tensor:
        if self.bijection is not None:
            noise = self.bijection.inverse_and_log_det(noise, self._seen(codes, given))[0]
        return self._laid(noise, codes).unflatten(1, self.shape)

    def _base_log_prob(self, noise: Tensor) -> Tensor:
        line = noise if not self.angles else noise[:, : self.numbers]
        constant = 0.5 * self.numbers * math.log(2 * math.pi) + self.angles * math.log(2 * math.pi)
        return -0.5 * line.square().sum(1) - constant


def _usual_transforms(columns: int, *, alone: bool) -> int:
    """Couplings for so many columns; `alone` if some meet the others in couplings only."""
    if columns <= 4:
        return 4
    return min(max(6, 2 * (columns - 1).bit_length()), 16) if alone else 6


_LEAST: dict[str, float] = {"transforms": 1, "bins": 2, "frequencies": 0}


def _check(width: int, **options: float | None) -> None:
    if width == 0:
        raise DataError("Flow wants x to have at least one column; got none")
    for name, value in options.items():
        if value is None:
            continue
        if name in _LEAST and value < _LEAST[name]:
            raise OptionError(f"option '{name}' of Flow must be {_LEAST[name]} or more; got {value}")
        if not value > 0 and name not in _LEAST:
            raise OptionError(f"option '{name}' of Flow must be above 0; got {value}")
