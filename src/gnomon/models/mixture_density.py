"""Mixture density network: a density in closed form, whose Gaussians move with the condition.

Gaussian mixtures themselves are in `gnomon.blocks.gaussian_mixtures`, categorical columns in `gnomon.blocks.categories`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections import wrapped
from gnomon.blocks.bijections.conditioner import Conditioner
from gnomon.blocks.categories import CategoryChain
from gnomon.blocks.columns import ColumnDensity, ColumnHead, Layout
from gnomon.blocks.gaussian_mixtures import GaussianMixtureHead, GaussianMixtures
from gnomon.data import Examples, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import Loss, Model, tensor, wants
from gnomon.networks import Condition
from gnomon.options import unknown

_FARTHEST = 1e8  # standard deviations: numbers beyond count as there, so that their squares stay finite
_COVARIANCES = ("full", "diagonal")


class MixtureDensity(Model):
    """Mixture density network: p(x | given) as a mixture of Gaussians whose weights, means and covariances a network reads from given.

    Maximises log p(x | given) = log p(categories | given) + log Σₖ wₖ N(numbers; μₖ, Σₖ) Πⱼ vonMises(angleⱼ; μⱼₖ, κⱼₖ) in nats per
    example, where w, μ, Σ, κ are functions of given and of the categories. Within a component angles depend on nothing else; the mixture
    ties them. One component is the conditional Gaussian; without given it is a plain mixture.

    Args:
        spec: x a Vector; given, if any, is what the network reads.
        components: how many Gaussians.
        covariance: "full", or "diagonal": within a component no number depends on another.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.
        floor: a lower bound on the standard deviation of each number given those before it, within a component, in units of the training
            column's: no component can collapse onto one point, where the likelihood would grow without end.
        size: factor on the widths.

    Raises:
        DataError: x is no Vector, or has no columns.
        OptionError: an option out of range.

    Reference: Bishop 1994, https://publications.aston.ac.uk/id/eprint/373/

    Example:
        >>> model = MixtureDensity(Spec(Vector.real(2), given=Vector.real(1)), components=3)
        >>> given = torch.zeros(5, 1)
        >>> x, log_prob = model.sample_and_log_prob(5, given)
        >>> x.shape, bool((log_prob == model.log_prob(Examples(x, given=given))).all())
        (torch.Size([5, 2]), True)
        >>> model.quantile([0.05, 0.95], "x0", x, given=given).shape
        torch.Size([5, 2])
    """

    dequantises: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "steps": 4000}

    origin: Tensor
    at_reals: Tensor
    at_angles: Tensor
    at_labels: Tensor
    at_order: Tensor
    start: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        components: int = 1,
        covariance: Literal["full", "diagonal"] = "full",
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
        floor: float = 1e-3,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, (Vector,), by="MixtureDensity")
        _check(kind, components, covariance, floor, size)
        self.layout = layout = Layout.of(kind)
        for name in ("reals", "angles", "labels", "order"):
            self.register_buffer(f"at_{name}", torch.tensor(getattr(layout, name), dtype=torch.int64), persistent=False)
        self.register_buffer("origin", torch.zeros(1), persistent=False)
        self.condition = Condition(spec.given, size=size)
        network: dict[str, Any] = {"hidden": tuple(max(1, round(h * size)) for h in hidden), "activation": activation, "dropout": dropout}
        given = self.condition.outputs
        self.categories = CategoryChain(layout.classes, given=given, **network) if layout.labels else None
        self.numbers = GaussianMixtureHead(len(layout.reals), components, full=covariance == "full", floor=floor)
        self.circles = nn.ModuleList(ColumnHead(Vector((kind.columns[i],))) for i in layout.angles)
        self.parts = (self.numbers.outputs, *(components * head.outputs for head in _heads(self.circles)))
        seen = given + (0 if self.categories is None else self.categories.outputs)
        self.network = Conditioner(seen, sum(self.parts), **network) if layout.reals or layout.angles else None
        self.register_buffer("start", torch.cat([self.origin[:0], *(_around(components, head) for head in _heads(self.circles))]))
        self.components = components

    def loss(self, batch: Examples) -> Loss:
        """The negative log-likelihood in nats."""
        return Loss.mean(-self.log_prob(batch), batch.weight)

    def log_prob(self, batch: Examples) -> Tensor:
        """log p(x | given) of each example, ``(n,)`` nats in network space (a probability for categories)."""
        x, given = tensor(batch.x).clamp(-_FARTHEST, _FARTHEST), self.condition(batch.given, len(batch))
        return self._log_prob(x, self._codes(x), given)

    def score(self, batch: Examples) -> Tensor:
        """How improbable each example is: minus `log_prob`, ``(n,)``."""
        return -self.log_prob(batch)

    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        """``(n, columns)`` in network space: categories, then a component, then numbers and angles.

        Args:
            n: how many.
            given: ``(n, given columns)`` or None.
        """
        return self._sample(n, self.condition(given, n))[0]

    def sample_and_log_prob(self, n: int, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What `sample` gives, and the `log_prob` of each, ``(n,)``."""
        condition = self.condition(given, n)
        x, codes = self._sample(n, condition)
        return x, self._log_prob(x, codes, condition)

    # ---- closed forms -------------------------------------------------------------------------------------------------

    def conditional(self, x: Tensor, known: Sequence[str | int], given: Tensor | None = None) -> GaussianMixtures:
        """The mixture of all numbers that are not known, given those columns that are; angles that are not known are integrated out.

        Args:
            x: ``(n, columns)`` in network space; only known columns are read.
            known: names or positions of the columns that are known.
            given: ``(n, given columns)`` or None.

        Returns:
            The mixtures of n rows over the unknown numbers, in their order; in network space.

        Raises:
            OptionError: no such column, a categorical column that is not known, or no number left.
        """
        held = self._held(known)
        if self.network is None:
            raise OptionError("x has neither numbers nor angles, so it has no mixture; ask for log_prob")
        mixture, circles = self._mixture(len(x), self._codes(x), self.condition(given, len(x)))
        logits = mixture.logits.log_softmax(-1) + self._angles_log_prob(x, circles, held)
        mixture = GaussianMixtures(logits, mixture.means, mixture.log_scales, mixture.mixing)
        places = [place for place, i in enumerate(self.layout.reals) if i in held]
        return mixture.conditional(places, x[:, [self.layout.reals[place] for place in places]]) if places else mixture

    def marginal(self, columns: Sequence[str | int], n: int = 1, given: Tensor | None = None) -> GaussianMixtures:
        """The mixture of some numbers, all other columns integrated out.

        Args:
            columns: names or positions of numbers.
            n: how many rows.
            given: ``(n, given columns)`` or None.

        Raises:
            OptionError: no such column, one that is no number, or x has categorical columns (then see `conditional`).
        """
        wanted = self._positions(columns)
        for i in wanted:
            if i not in self.layout.reals:
                raise OptionError(f"column '{self._vector.names[i]}' is no number, so it has no Gaussian mixture; name numbers only")
        blank = self.origin.expand(n, len(self._vector))
        return self.conditional(blank, (), given).marginal([self.layout.reals.index(i) for i in wanted])

    def marginal_log_prob(self, batch: Examples, columns: Sequence[str | int]) -> Tensor:
        """The log-density of some columns, all others integrated out, ``(n,)`` nats in network space.

        Args:
            batch: n examples, of which only these columns are read.
            columns: names or positions; every categorical column must be among them.

        Raises:
            OptionError: no such column, or a categorical one is left out.
        """
        x, given = tensor(batch.x), self.condition(batch.given, len(batch))
        held = self._held(columns)
        codes = self._codes(x)
        total = x.new_zeros(len(x))
        if self.categories is not None and codes is not None:
            total = self.categories.log_prob(codes, given)
        if self.network is None:
            return total
        mixture, circles = self._mixture(len(x), codes, given)
        each = mixture.logits.log_softmax(-1) + self._angles_log_prob(x, circles, held)
        places = [place for place, i in enumerate(self.layout.reals) if i in held]
        if places:
            each = each + mixture.marginal(places).component_log_prob(x[:, [self.layout.reals[place] for place in places]])
        return total + each.logsumexp(-1)

    def complete(self, x: Tensor, known: Sequence[str | int], given: Tensor | None = None) -> Tensor:
        """Rows whose known columns stay; the others are drawn given these.

        Args:
            x: ``(n, columns)`` in network space, of which only the known columns are read.
            known: names or positions; every categorical column must be among them.
            given: ``(n, given columns)`` or None.

        Raises:
            OptionError: no such column, or a categorical one is left out.
        """
        held = self._held(known)
        if self.network is None:
            return x
        mixture, circles = self._mixture(len(x), self._codes(x), self.condition(given, len(x)))
        logits = mixture.logits.log_softmax(-1) + self._angles_log_prob(x, circles, held)
        places = [place for place, i in enumerate(self.layout.reals) if i in held]
        values = x[:, [self.layout.reals[place] for place in places]]
        if places:
            logits = logits + mixture.marginal(places).component_log_prob(values)
        component = GaussianMixtures(logits, mixture.means, mixture.log_scales).sample_components()
        made = x.clone()
        rest = [i for i in self.layout.reals if i not in held]
        if rest:
            made[:, rest] = (mixture.conditional(places, values) if places else mixture).sample(component)
        for i, circle in zip(self.layout.angles, circles, strict=True):
            if i not in held:
                made[:, i] = circle.sample().gather(1, component[:, None, None]).flatten()
        return made

    def quantile(
        self, p: Sequence[float], column: str | int, x: Tensor, known: Sequence[str | int] = (), given: Tensor | None = None
    ) -> Tensor:
        """Where one number reaches the probabilities `p` in each row, given its known columns, ``(n, len(p))``; in network space.

        Args:
            p: between 0 and 1.
            column: name or position of a number that is not known.
            x: ``(n, columns)`` in network space, of which only the known columns are read.
            known: names or positions; every categorical column must be among them.
            given: ``(n, given columns)`` or None.

        Raises:
            OptionError: no such column, one that is known or no number, or a categorical one is not known.
        """
        (wanted,), held = self._positions([column]), self._positions(known)
        if wanted not in self.layout.reals or wanted in held:
            reason = "is known already" if wanted in held else "is no number, so it has no quantiles"
            raise OptionError(f"column '{self._vector.names[wanted]}' {reason}; name another")
        left = [i for i in self.layout.reals if i not in held]
        return self.conditional(x, known, given).marginal([left.index(wanted)]).quantile(p)

    # ---- parts --------------------------------------------------------------------------------------------------------

    @property
    def _vector(self) -> Vector:
        assert isinstance(self.spec.x, Vector)
        return self.spec.x

    def _positions(self, columns: Sequence[str | int]) -> list[int]:
        names = self._vector.names
        for column in columns:
            if isinstance(column, str) and column not in names:
                raise OptionError(unknown("column", column, names))
            if not isinstance(column, str) and not 0 <= column < len(names):
                raise OptionError(f"columns have positions from 0 to {len(names) - 1}; got {column}")
        return [names.index(column) if isinstance(column, str) else column for column in columns]

    def _held(self, known: Sequence[str | int]) -> list[int]:
        """Positions of known columns, among which all categories must be."""
        held = self._positions(known)
        for i in self.layout.labels:
            if i not in held:
                name = self._vector.names[i]
                raise OptionError(f"the categorical column '{name}' wants a value before the numbers have one mixture; name it in known")
        return held

    def _angles_log_prob(self, x: Tensor, circles: list[ColumnDensity], held: list[int]) -> Tensor:
        """The log-density of the angles that are held under each component, ``(n, K)``."""
        total = x.new_zeros(len(x), self.components)
        for i, circle in zip(self.layout.angles, circles, strict=True):
            if i in held:
                total = total + circle.log_prob(wrapped(x[:, i, None])[:, None])
        return total

    def _codes(self, x: Tensor) -> Tensor | None:
        return None if self.categories is None else x.index_select(1, self.at_labels).round().long()

    def _mixture(self, n: int, codes: Tensor | None, given: Tensor | None) -> tuple[GaussianMixtures, list[ColumnDensity]]:
        """The Gaussians, and for each angle the von Mises density of each component."""
        assert self.network is not None
        parts = [] if given is None else [given]
        if self.categories is not None and codes is not None:
            parts.append(self.categories.one_hot(codes))
        raw = self.network(torch.cat(parts, 1) if parts else self.origin.expand(n, 1)[:, :0])
        numbers, *angles = torch.cat([raw[:, : self.parts[0]], raw[:, self.parts[0] :] + self.start], 1).split(self.parts, 1)
        circles = [head(part.unflatten(1, (self.components, -1))) for head, part in zip(_heads(self.circles), angles, strict=True)]
        return self.numbers(numbers), circles

    def _log_prob(self, x: Tensor, codes: Tensor | None, given: Tensor | None) -> Tensor:
        total = x.new_zeros(len(x))
        if self.categories is not None and codes is not None:
            total = self.categories.log_prob(codes, given)
        if self.network is None:
            return total
        mixture, circles = self._mixture(len(x), codes, given)
        each = mixture.logits.log_softmax(-1) + mixture.component_log_prob(x.index_select(1, self.at_reals))
        for place, circle in enumerate(circles):
            each = each + circle.log_prob(wrapped(x.index_select(1, self.at_angles[place : place + 1]))[:, None])
        return total + each.logsumexp(-1)

    def _sample(self, n: int, given: Tensor | None) -> tuple[Tensor, Tensor | None]:
        codes = None if self.categories is None else self.categories.sample(n, given)
        laid = [] if codes is None else [codes.to(self.origin.dtype)]
        if self.network is not None:
            mixture, circles = self._mixture(n, codes, given)
            component = mixture.sample_components()
            angles = [circle.sample().gather(1, component[:, None, None]).squeeze(1) for circle in circles]
            laid = [mixture.sample(component), *angles, *laid]
        return torch.cat(laid, 1).index_select(1, self.at_order), codes


def _heads(circles: nn.ModuleList) -> list[ColumnHead]:
    return [head for head in circles if isinstance(head, ColumnHead)]


def _around(components: int, head: ColumnHead) -> Tensor:
    """Raw numbers of one angle at the start, flat: directions of components spread around the circle; one component is uniform."""
    turns = 2 * math.pi * (torch.randperm(components) + 0.5) / components
    vector = torch.stack([turns.cos(), turns.sin()], 1) if components > 1 else torch.zeros(1, 2)
    return torch.cat([vector, torch.zeros(components, head.outputs - 2)], 1).flatten()


def _check(kind: Vector, components: int, covariance: str, floor: float, size: float) -> None:
    if not len(kind):
        raise DataError("MixtureDensity wants x to have at least one column; got none")
    if components < 1:
        raise OptionError(f"option 'components' of MixtureDensity must be 1 or more; got {components}")
    if covariance not in _COVARIANCES:
        raise OptionError(unknown("covariance", covariance, _COVARIANCES, owner="MixtureDensity"))
    if not 0 < floor < 1:
        raise OptionError(f"option 'floor' of MixtureDensity must be above 0 and below 1; got {floor}")
    if not size > 0:
        raise OptionError(f"option 'size' of MixtureDensity must be above 0; got {size}")
