"""Normalising flow: the exact density of tables and images, from which one can also sample.

The invertible maps are in `gnomon.blocks.bijections`, categories and whole numbers in `gnomon.blocks.discrete`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gnomon.blocks.bijections import ActNorm, Bijection, Box, Chain, LULinear, wrapped
from gnomon.blocks.columns import Layout
from gnomon.blocks.discrete import DiscreteChain
from gnomon.data import Examples, Image, Integer, Ragged, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import Loss, Model, tensor, wants
from gnomon.networks import Condition
from gnomon.networks.transforms import Mixing, Plan, TransformName, bijections, find

_FARTHEST = 1e8  # standard deviations: numbers beyond, infinities too, count as there, so that gradients stay finite


class Flow(Model):
    """Normalising flow: invertible maps between data and noise, by default spline couplings, and softmaxes for categories.

    Maximises log p(x | given) = log p(categories | given) + log p(noise) + log |det d noise / d numbers| in nats per example,
    where the maps see the categories. Numbers on the line have normal noise; angles have uniform noise on the circle and are
    moved on the circle; pixels with levels never leave their range once `enclose` has told it. Whole numbers are numbers spread over
    their cell, or have an exact probability beside the categories.

    Args:
        spec: x a Vector or an Image; given, if any, is shown to every network: the density is p(x | given).
        transform: name in `networks.transforms.TRANSFORMS`. "coupling": half of the columns is moved by splines, depending on the other
            half, equally quick both ways; "autoregressive": each column is moved, depending on those before it, often the better
            density, while sampling takes one step per column. For numbers without angles: "affine" and "affine_autoregressive", which
            stretch and shift instead (one column alone stays normal), "planar", "radial" and "continuous". For images: "multiscale", whose
            convolutional couplings see pixels beside each other.
        transforms: number of couplings; None takes 4, from 5 columns on 6, or where `mixing` leaves columns out as many (up to 16) as
            part every two of them; twice as many (up to 16) affine ones, 16 of "planar" and "radial", 4 at each scale of "multiscale".
        bins: pieces of each spline.
        hidden: width of each hidden layer of the networks; None takes 128,128, and of "multiscale" 32,32 channels.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training; None takes 0.2 from 16 columns on, where small
            data would be learned by heart, and 0 below, where edges need to be sharp.
        bound: half the width of the interval inside which splines act, in standard deviations.
        mixing: what numbers (of "multiscale" the channels of a pixel) go through after every second coupling: "lu" a learned linear
            map, "orthogonal" a learned rotation, "permutation" another order, "none" nothing; "auto" takes "lu" from 3 to 128 numbers
            and for channels, but nothing beside "planar" and "radial".
        actnorm: whether numbers (channels) are brought to mean zero and one scale before each coupling, begun from the training rows.
        frequencies: how many octaves of waves of the numbers a coupling's network sees beside the numbers, so that it can turn
            sharply; None takes 3 for one or two columns, where they pay, and 0 beyond, where they lead small data astray.
        integers: "spread": columns of whole numbers are spread over their cells and moved as numbers are, and their probability is the
            mean of the density over the cell by a lattice of 64 points; "exact": they come after the categories and before the
            numbers, each a mixture of logistics cut into cells, whose probability is exact. Quicker to evaluate, and better where
            they are few or heaped; pixels are always spread.
        size: factor on the widths.

    Raises:
        DataError: x is neither a Vector nor an Image, or has no columns.
        OptionError: an option out of range, or a transform that does not move such data.

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
    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 6000, "warmup": 300}

    origin: Tensor
    at_reals: Tensor
    at_angles: Tensor
    at_codes: Tensor
    at_order: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        transform: TransformName = "coupling",
        transforms: int | None = None,
        bins: int = 16,
        hidden: Sequence[int] | None = None,
        activation: str = "silu",
        dropout: float | None = None,
        bound: float = 4.0,
        mixing: Mixing = "auto",
        actnorm: bool = False,
        frequencies: int | None = None,
        integers: Literal["spread", "exact"] = "spread",
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, (Vector, Image), by="Flow")
        width = math.prod(kind.shape)
        if width == 0:
            raise DataError("Flow wants x to have at least one column; got none")
        check_options("Flow", transforms=transforms, bins=bins, bound=bound, frequencies=frequencies, size=size)
        self.shape = kind.shape
        self.layout = Layout(tuple(range(width)), (), (), ()) if isinstance(kind, Image) else Layout.of(kind)
        exact = {} if isinstance(kind, Image) or integers == "spread" else _whole_columns(kind)
        self.layout = replace(self.layout, reals=tuple(i for i in self.layout.reals if i not in exact))
        self.whole = bool(exact)
        self.plain = self.layout.reals == tuple(range(width))
        self.numbers, self.angles = len(self.layout.reals), len(self.layout.angles)
        codes = (*self.layout.labels, *exact)
        laid = [*self.layout.reals, *self.layout.angles, *codes]
        places = {"reals": self.layout.reals, "angles": self.layout.angles, "codes": codes, "order": [laid.index(i) for i in range(width)]}
        for name, index in places.items():
            self.register_buffer(f"at_{name}", torch.tensor(index, dtype=torch.int64), persistent=False)
        self.register_buffer("origin", torch.zeros(1), persistent=False)
        self.condition = Condition(spec.given, size=size)
        if dropout is None:
            dropout = 0.2 if width >= 16 else 0.0
        plan = Plan(
            self.numbers, tuple(kind.names[i] for i in self.layout.angles) if isinstance(kind, Vector) else (),
            shape=kind.shape if isinstance(kind, Image) else None, transforms=transforms, bins=bins, bound=bound, frequencies=frequencies,
            mixing=mixing, actnorm=actnorm,
        )  # fmt: skip
        network: dict[str, Any] = {"activation": activation, "dropout": dropout}
        network["hidden"] = tuple(max(1, round(h * size)) for h in (find(transform).hidden if hidden is None else hidden))
        given = self.condition.outputs
        self.discrete = DiscreteChain(self.layout.classes, tuple(exact.values()), given=given, **network) if codes else None
        given += 0 if self.discrete is None else self.discrete.outputs
        steps = self._steps(transform, replace(plan, given=given, network=network))
        if steps and isinstance(kind, Image) and kind.levels is not None:
            steps = [Box(self.numbers, torch.tensor(-math.inf), torch.tensor(math.inf)), *steps]
        self.bijection = Chain(steps) if steps else None

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

    def begin(self, examples: Examples) -> None:
        """Start as the normal distribution of the rows, where triangles mix the numbers first, and at the moments of whole numbers."""
        numbers, codes, given = self._read(examples)
        if self.discrete is not None and codes is not None:
            self.discrete.measure(codes)
        steps: list[Any] = [] if self.bijection is None else list(self.bijection.steps)
        ahead = [step for step in steps[:1] if isinstance(step, Box)]
        first = next(iter(steps[len(ahead) :]), None)
        if isinstance(first, LULinear) and len(examples) > 1:
            with torch.no_grad():
                inside = Chain(ahead).forward_and_log_det(numbers)[0]
            first.whiten(inside[:, : first.columns])
        norms = [module for module in self.modules() if isinstance(module, ActNorm)]
        if norms and self.bijection is not None:
            training = self.training
            self.eval()
            for norm in norms:
                norm.train()  # they take what they see; dropout stays off
            with torch.no_grad():
                self.bijection.forward_and_log_det(numbers, self._seen(codes, given))
            self.train(training)

    def loss(self, batch: Examples) -> Loss:
        """The negative log-likelihood in nats."""
        return Loss.mean(-self.log_prob(batch), batch.weight)

    def log_prob(self, batch: Examples) -> Tensor:
        """log p(x | given) of each example, ``(n,)`` nats in network space (a probability for categories)."""
        numbers, codes, given = self._read(batch)
        total = numbers.new_zeros(len(numbers))
        if self.discrete is not None and codes is not None:
            total = self.discrete.log_prob(codes, given)
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

    def decode(self, z: Tensor, given: Tensor | Ragged | None = None) -> Tensor:
        """The example of each noise: the inverse of `encode`.

        Args:
            z: ``(n, columns)``.
            given: ``(n, given columns)`` or None.

        Returns: ``(n, *x)`` in network space.
        """
        numbers, codes = self._parted(z)
        return self._from_noise(numbers, codes, self.condition(given, len(z)))

    def sample(self, n: int, given: Tensor | Ragged | None = None) -> Tensor:
        """``(n, *x)`` in network space: categories, then noise, then numbers.

        Args:
            n: how many.
            given: ``(n, given columns)`` or None.
        """
        return self.sample_and_log_prob(n, given)[0]

    def sample_and_log_prob(self, n: int, given: Tensor | Ragged | None = None) -> tuple[Tensor, Tensor]:
        """``(n, *x)`` in network space and its log-density ``(n,)``, as `log_prob` gives it, in one pass.

        Args:
            n: how many.
            given: ``(n, given columns)`` or None.

        Example:
            >>> flow = Flow(Spec(Vector.real(2)), transforms=2)
            >>> x, log_prob = flow.sample_and_log_prob(5)
            >>> torch.allclose(log_prob, flow.log_prob(Examples(x)), atol=1e-4)
            True
        """
        seen = self.condition(given, n)
        codes, log_prob = (None, self.origin.expand(n)) if self.discrete is None else self.discrete.sample_and_log_prob(n, seen)
        numbers = torch.cat([self._line(n), self._circle(n)], 1)
        if self.bijection is not None:
            log_prob = log_prob + self._base_log_prob(numbers)
            numbers, log_det = self.bijection.inverse_and_log_det(numbers, self._seen(codes, seen))
            log_prob = log_prob - log_det
        return self._laid(numbers, codes).unflatten(1, self.shape), log_prob

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _steps(self, transform: str, plan: Plan) -> list[Bijection]:
        """From numbers, then angles, to noise."""
        return bijections(transform, plan)

    def _read(self, batch: Examples) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Numbers and angles ``(n, numbers + angles)``, codes ``(n, labels)``, and the condition's vector."""
        numbers, codes = self._parted(tensor(batch.x).flatten(1))
        return numbers.clamp(-_FARTHEST, _FARTHEST), codes, self.condition(batch.given, len(batch))

    def _parted(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.plain:
            return x, None
        numbers = torch.cat([x.index_select(1, self.at_reals), wrapped(x.index_select(1, self.at_angles))], 1)
        codes = x.index_select(1, self.at_codes).round().long() if self.discrete is not None else None
        return numbers, codes

    def _seen(self, codes: Tensor | None, given: Tensor | None) -> Tensor | None:
        """What the couplings see: the condition, the categories and the exact whole numbers."""
        if self.discrete is None or codes is None:
            return given
        features = self.discrete.features(codes)
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

    def _line(self, n: int) -> Tensor:
        """Noise in place of numbers."""
        return torch.randn_like(self.origin.expand(n, self.numbers))

    def _circle(self, n: int) -> Tensor:
        """Noise in place of angles."""
        return torch.rand_like(self.origin.expand(n, self.angles)) * (2 * math.pi) - math.pi

    def _base_log_prob(self, noise: Tensor) -> Tensor:
        line = noise if not self.angles else noise[:, : self.numbers]
        constant = 0.5 * self.numbers * math.log(2 * math.pi) + self.angles * math.log(2 * math.pi)
        return -0.5 * line.square().sum(1) - constant


def _whole_columns(kind: Vector) -> dict[int, tuple[int | None, int | None]]:
    """Positions of the columns of whole numbers, with their bounds as they stand in network space (see `Scaling.whole`)."""
    found: dict[int, tuple[int | None, int | None]] = {}
    for i, support in enumerate(column.support for column in kind.columns):
        if isinstance(support, Integer):
            low, high = support.low, support.high
            span = None if low is None or high is None else high - low
            found[i] = (None, None if high is None else 0) if low is None else (0, span)
    return found


_LEAST: dict[str, float] = {"transforms": 1, "bins": 2, "frequencies": 0, "table": 1, "components": 1}


def check_options(owner: str, **options: float | None) -> None:
    """Raises OptionError for an option of a flow that is too small; those without a least number must be above 0, None is fine."""
    for name, value in options.items():
        if value is None:
            continue
        if name in _LEAST and value < _LEAST[name]:
            raise OptionError(f"option '{name}' of {owner} must be {_LEAST[name]} or more; got {value}")
        if not value > 0 and name not in _LEAST:
            raise OptionError(f"option '{name}' of {owner} must be above 0; got {value}")
