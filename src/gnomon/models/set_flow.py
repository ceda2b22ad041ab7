"""Normalising flow of sets: the exact density of any number of unordered elements, from which one can also sample.

The invertible maps are in `gnomon.blocks.bijections.sets`, the number of elements in `gnomon.blocks.counts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from gnomon.blocks.bijections import LULinear, splits, wrapped
from gnomon.blocks.bijections.sets import Each, ElementCoupling, Members, Modes, SetBijection, SetChain
from gnomon.blocks.categories import CategoryChain
from gnomon.blocks.columns import Layout
from gnomon.blocks.counts import Counts
from gnomon.data import Examples, Integer, Ragged, Set, Spec
from gnomon.errors import DataError
from gnomon.models.base import Loss, Model, wants
from gnomon.models.flow import check_options
from gnomon.networks import Condition

_FARTHEST = 1e8  # standard deviations: numbers beyond, infinities too, count as there, so that gradients stay finite
_MIXED = (3, 128)  # so many numbers of an element are mixed by learned triangles after every second coupling


class SetFlow(Model):
    """Normalising flow of sets: a distribution of how many elements, and invertible maps between all elements and independent noise.

    Maximises log p(set | given) = log p(N | given) + Σ log p(categories of an element | N, given) + Σ log p(noise of an element)
    + log |det d noise / d numbers of all elements| in nats per set.

    The maps do not see the order of elements. Couplings move a part of each element's columns by splines, depending on its other
    columns, its categories and these of all elements of the set together; between them the mean and the spread of the whole set are
    moved (`Modes`), which ties elements in one and the same column, and is all that ties elements of one column on the line. Angles of
    different elements are tied through other columns only, categories not beyond N and given.

    The density is that of the list of elements in any order, the same for every order: it integrates over all lists of N elements to
    p(N | given). The density of the unordered set is N! times as large; add ``lgamma(N + 1)`` for its logarithm. p(N | given) is a
    softmax over small N and a mixture of discretised logistics beyond: a set larger than any in training is improbable, not impossible.

    Args:
        spec: x a Set of Vectors without whole numbers; given, if any, is shown to every network: the density is p(set | given).
        transforms: number of couplings; None takes 4, from 5 columns on 6.
        bins: pieces of each spline.
        hidden: width of each hidden layer of the networks.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.
        bound: half the width of the interval inside which splines act, in standard deviations.
        frequencies: how many octaves of waves of an element's own numbers a coupling's network sees beside them; None takes 3 for one
            or two columns and 0 beyond.
        table: how many small numbers of elements, from 0 on, have a probability of their own each.
        components: logistic distributions of the larger numbers of elements.
        size: factor on the widths.

    Raises:
        DataError: x is no Set of Vectors, has no columns, or whole numbers.
        OptionError: an option out of range.

    References: Deep Sets, Zaheer et al. 2017, https://arxiv.org/abs/1703.06114; equivariant flows, Köhler et al. 2020,
    https://arxiv.org/abs/2006.02425

    Example:
        >>> from gnomon.data import Vector
        >>> flow = SetFlow(Spec(Set(Vector.real(2))), transforms=2)
        >>> sets, log_prob = flow.sample_and_log_prob(5)
        >>> len(sets), sets.values.shape == (sets.lengths.sum(), 2), log_prob.shape
        (5, True, torch.Size([5]))
    """

    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 4000}

    origin: Tensor
    at_reals: Tensor
    at_angles: Tensor
    at_labels: Tensor
    at_order: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        transforms: int | None = None,
        bins: int = 16,
        hidden: Sequence[int] = (64, 64),
        activation: str = "silu",
        dropout: float = 0.0,
        bound: float = 4.0,
        frequencies: int | None = None,
        table: int = 32,
        components: int = 5,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, (Set,), by="SetFlow")
        _check(kind)
        counts: dict[str, int | None] = {"transforms": transforms, "bins": bins, "frequencies": frequencies, "table": table}
        check_options("SetFlow", **counts, components=components, bound=bound, size=size)
        self.layout = layout = Layout.of(kind.of)
        self.numbers, self.angles = len(layout.reals), len(layout.angles)
        for name in ("reals", "angles", "labels", "order"):
            self.register_buffer(f"at_{name}", torch.tensor(getattr(layout, name), dtype=torch.int64), persistent=False)
        self.register_buffer("origin", torch.zeros(1), persistent=False)
        self.condition = Condition(spec.given, size=size)
        network: dict[str, Any] = {"hidden": tuple(max(1, round(h * size)) for h in hidden), "activation": activation, "dropout": dropout}
        self.counts = Counts(table=table, components=components, given=self.condition.outputs, **network)
        known = self.condition.outputs + 2
        self.categories = CategoryChain(layout.classes, given=known, **network) if layout.labels else None
        self.labels = 0 if self.categories is None else self.categories.outputs
        columns = self.numbers + self.angles
        count = (4 if columns <= 4 else 6) if transforms is None else transforms
        waves = (3 if columns <= 2 else 0) if frequencies is None else frequencies
        own = {"given": known, "bins": bins, "bound": bound, **network}
        self.bijection = SetChain(self._steps(count, waves, own)) if columns else None

    def _steps(self, count: int, frequencies: int, own: dict[str, Any]) -> Iterator[SetBijection]:
        columns = self.numbers + self.angles
        circular = range(self.numbers, columns)
        for i, moved in enumerate(splits(columns, count)):
            if i % 2 == 0 and self.numbers:
                yield Modes(columns, columns=self.numbers, **own)
            yield ElementCoupling(columns, moved=moved, circular=circular, labels=self.labels, frequencies=frequencies, **own)
            if i % 2 and _MIXED[0] <= self.numbers <= _MIXED[1]:
                yield Each(LULinear(columns, columns=self.numbers))

    def begin(self, examples: Examples) -> None:
        """Start with the number of elements as often as it comes in these sets; `fit` does this."""
        self.counts.measure(_ragged(examples.x).lengths)

    def loss(self, batch: Examples) -> Loss:
        """The negative log-likelihood in nats per set, and the part of it that is of the number of elements."""
        elements, count = self._log_probs(batch)
        return Loss.mean(-elements - count, batch.weight, count=-count)

    def log_prob(self, batch: Examples) -> Tensor:
        """log p(set | given) of each example, ``(n,)`` nats in network space: of the list of elements in any order, see the class."""
        elements, count = self._log_probs(batch)
        return elements + count

    def score(self, batch: Examples) -> Tensor:
        """How improbable each example is: minus `log_prob`, ``(n,)``."""
        return -self.log_prob(batch)

    def count_log_prob(self, counts: Tensor, given: Tensor | Ragged | None = None) -> Tensor:
        """log p(N | given), ``(n,)`` nats; −inf below zero.

        Args:
            counts: ``(n,)`` int64 numbers of elements.
            given: the condition of each, or None.
        """
        return self.counts.log_prob(counts, self.condition(given, len(counts)))

    def sample(self, n: int, given: Tensor | Ragged | None = None) -> Ragged:
        """`n` sets in network space: how many elements, their categories, then noise, then numbers.

        Args:
            n: how many.
            given: the condition of each, or None.
        """
        return self.sample_and_log_prob(n, given)[0]

    def sample_and_log_prob(self, n: int, given: Tensor | Ragged | None = None) -> tuple[Ragged, Tensor]:
        """What `sample` gives, and the log-density of each set ``(n,)``, as `log_prob` gives it, in one pass."""
        seen = self.condition(given, n)
        counts = self.counts.sample(n, seen)
        log_prob = self.counts.log_prob(counts, seen)
        lengths = counts.cpu()
        total = int(lengths.sum())
        members = self._members(Ragged(self.origin.expand(total, 1), lengths), seen)
        codes = None
        if self.categories is not None:
            codes, own = self.categories.sample_and_log_prob(total, members.at(members.given))
            members, log_prob = self._labelled(members, codes), log_prob + members.sum(own)
        line = torch.randn_like(self.origin.expand(total, self.numbers))
        circle = torch.rand_like(self.origin.expand(total, self.angles)) * (2 * math.pi) - math.pi
        numbers = torch.cat([line, circle], 1)
        if self.bijection is not None:
            log_prob = log_prob + members.sum(self._base_log_prob(numbers))
            numbers, log_det = self.bijection.inverse_and_log_det(numbers, members)
            log_prob = log_prob - log_det
        return Ragged(self._laid(numbers, codes), lengths), log_prob

    def to_noise(self, batch: Examples) -> tuple[Ragged, Tensor]:
        """The noise of each set, normal in place of numbers, uniform angles in place of angles, codes as they are; and the log-determinant.

        Returns: sets in network space, and log |det d noise / d numbers of all elements| ``(n,)``.
        """
        members, numbers, codes = self._read(_ragged(batch.x), self.condition(batch.given, len(batch)))
        log_det = torch.zeros_like(members.sizes)
        if self.bijection is not None:
            numbers, log_det = self.bijection.forward_and_log_det(numbers, members)
        return Ragged(self._laid(numbers, codes), _ragged(batch.x).lengths), log_det

    def from_noise(self, noise: Ragged, given: Tensor | Ragged | None = None) -> tuple[Ragged, Tensor]:
        """The inverse of `to_noise`, and the log-determinant of this direction.

        Args:
            noise: n sets.
            given: the condition of each, or None.
        """
        members, numbers, codes = self._read(noise, self.condition(given, len(noise)))
        log_det = torch.zeros_like(members.sizes)
        if self.bijection is not None:
            numbers, log_det = self.bijection.inverse_and_log_det(numbers, members)
        return Ragged(self._laid(numbers, codes), noise.lengths), log_det

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _log_probs(self, batch: Examples) -> tuple[Tensor, Tensor]:
        """log p(elements | N, given) and log p(N | given), ``(n,)`` each."""
        sets, seen = _ragged(batch.x), self.condition(batch.given, len(batch))
        count = self.counts.log_prob(sets.lengths.to(sets.device), seen)
        members, numbers, codes = self._read(sets, seen)
        total = torch.zeros_like(members.sizes)
        if self.categories is not None and codes is not None:
            total = members.sum(self.categories.log_prob(codes, members.at(members.given)))
        if self.bijection is not None:
            noise, log_det = self.bijection.forward_and_log_det(numbers, members)
            total = total + members.sum(self._base_log_prob(noise)) + log_det
        return total, count

    def _read(self, sets: Ragged, seen: Tensor | None) -> tuple[Members, Tensor, Tensor | None]:
        """Who belongs to whom, numbers and angles ``(elements, numbers + angles)`` and codes ``(elements, labels)``."""
        members, x = self._members(sets, seen), sets.values
        numbers = torch.cat([x.index_select(1, self.at_reals), wrapped(x.index_select(1, self.at_angles))], 1)
        codes = None if self.categories is None else x.index_select(1, self.at_labels).round().long()
        return self._labelled(members, codes), numbers.clamp(-_FARTHEST, _FARTHEST), codes

    def _members(self, sets: Ragged, seen: Tensor | None) -> Members:
        """What is known of each set: its number of elements, twice, and the condition."""
        lengths = sets.lengths.to(sets.device)
        known = self.counts.features(lengths)
        return Members(sets.rows(), lengths.to(self.origin.dtype), known if seen is None else torch.cat([known, seen], 1))

    def _labelled(self, members: Members, codes: Tensor | None) -> Members:
        if self.categories is None or codes is None:
            return members
        return Members(members.rows, members.sizes, members.given, self.categories.one_hot(codes))

    def _laid(self, numbers: Tensor, codes: Tensor | None) -> Tensor:
        """Columns in their own order."""
        parts = [numbers] if codes is None else [numbers, codes.to(numbers.dtype)]
        return torch.cat(parts, 1).index_select(1, self.at_order)

    def _base_log_prob(self, noise: Tensor) -> Tensor:
        constant = (0.5 * self.numbers + self.angles) * math.log(2 * math.pi)
        return -0.5 * noise[:, : self.numbers].square().sum(1) - constant


def _ragged(values: Tensor | Ragged) -> Ragged:
    if isinstance(values, Ragged):
        return values
    raise DataError(f"SetFlow wants sets of elements as Ragged(values, lengths); got a tensor of shape {tuple(values.shape)}")


def _check(kind: Set) -> None:
    if not len(kind.of):
        raise DataError("SetFlow wants the elements of x to have at least one column; got none")
    for column in kind.of.columns:
        if isinstance(column.support, Integer):
            raise DataError(
                f"SetFlow wants elements without whole numbers; column '{column.name}' holds such: "
                f"pass columns={{'{column.name}': 'categorical'}}, or 'real' if its steps are fine"
            )
