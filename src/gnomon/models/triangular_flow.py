"""Triangular flow: a density whose columns follow one order throughout, so that marginals, conditionals and quantiles are exact.

Everything else it can do is `Flow`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gnomon.blocks.bijections import AutoregressiveSpline, Bijection
from gnomon.data import Examples, Ragged, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import tensor, wants
from gnomon.models.flow import Flow
from gnomon.networks.transforms import Plan
from gnomon.options import unknown


class TriangularFlow(Flow):
    """Autoregressive splines that all take the columns in one order: log p(x | given) = Σᵢ log p(xᵢ | x₁ … xᵢ₋₁, given).

    Noise i depends on columns 1 … i alone, and grows with column i. So the density of the first columns is exact whatever the others
    are, the others can be drawn for known first ones, and the next column's quantiles are images of the normal distribution's.

    Args:
        spec: x a Vector without categories; given, if any, is shown to every network.
        first: names of columns that come first in the order, before the others as they stand.
        transforms: number of steps.
        bins: pieces of each spline.
        hidden: width of each hidden layer of the networks; all the same.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training; None takes 0.2 from 16 columns on, else 0.
        bound: half the width of the interval inside which splines act, in standard deviations.
        frequencies: how many octaves of waves of the numbers the networks see beside the numbers; None takes 3 for one or two columns.
        size: factor on the widths.

    Attributes:
        order: names of the columns, first to last.

    Raises:
        DataError: x is no Vector, or has columns that are categories.
        OptionError: an option out of range, or an unknown column in `first`.

    Reference: Papamakarios et al. 2017, https://arxiv.org/abs/1705.07057; Durkan et al. 2019, https://arxiv.org/abs/1906.04032

    Example:
        >>> flow = TriangularFlow(Spec(Vector.real(3)), first=("x2",))
        >>> flow.order, round(flow.quantile([0.975], "x2", torch.zeros(1, 3)).item(), 2)
        (('x2', 'x0', 'x1'), 1.96)
    """

    def __init__(
        self,
        spec: Spec,
        *,
        first: Sequence[str] = (),
        transforms: int = 3,
        bins: int = 16,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float | None = None,
        bound: float = 4.0,
        frequencies: int | None = None,
        size: float = 1.0,
    ) -> None:
        kind = wants(spec, (Vector,), by="TriangularFlow")
        for name in first:
            if name not in kind.names:
                raise OptionError(unknown("column", name, kind.names, owner="first"))
        self.order = (*first, *(name for name in kind.names if name not in first))
        super().__init__(
            spec, transform="autoregressive", transforms=transforms, bins=bins, hidden=hidden, activation=activation, dropout=dropout,
            bound=bound, mixing="none", frequencies=frequencies, size=size,
        )  # fmt: skip

    def log_prob_by_column(self, batch: Examples) -> Tensor:
        """``(n, columns)`` nats in network space: of each column given those before it in the order, and the condition.

        Their sum is `log_prob`; the sum over the first k columns of the order is the log-density of these k.
        """
        x, _, given = self._read(batch)
        total = torch.zeros_like(x)
        for step in self._chain():
            x, log_slopes = step.forward_and_log_slopes(x, given)
            total = total + log_slopes
        line = -0.5 * x[:, : self.numbers].square() - 0.5 * math.log(2 * math.pi)
        circle = torch.full_like(x[:, self.numbers :], -math.log(2 * math.pi))
        return self._laid(total + torch.cat([line, circle], 1), None)

    def marginal_log_prob(self, batch: Examples, columns: Sequence[str]) -> Tensor:
        """The log-density of some columns, all others integrated out, ``(n,)`` nats in network space.

        Args:
            batch: n examples, of which only these columns are read.
            columns: the first ones of the order, however they are arranged.

        Raises:
            OptionError: they are not the first of the order.
        """
        places = self._first(columns)
        others = torch.ones(len(self.order), dtype=torch.bool).index_fill(0, torch.tensor(places, dtype=torch.int64), False)
        blank = batch.with_(x=tensor(batch.x).masked_fill(others.to(self.origin.device), 0.0))
        return self.log_prob_by_column(blank)[:, places].sum(1)

    def complete(self, x: Tensor, known: Sequence[str], given: Tensor | Ragged | None = None) -> Tensor:
        """Rows whose known columns stay; the others are drawn given these.

        Args:
            x: ``(n, columns)`` in network space, of which only the known columns are read.
            known: the first columns of the order, however they are arranged.
            given: n conditions or None.

        Returns: ``(n, columns)`` in network space.

        Raises:
            OptionError: they are not the first of the order.
        """
        noise = self._laid(torch.cat([self._line(len(x)), self._circle(len(x))], 1), None)
        return self._from_known(x, self._first(known), noise, given)

    def quantile(
        self, p: Sequence[float], column: str, x: Tensor, known: Sequence[str] = (), given: Tensor | Ragged | None = None
    ) -> Tensor:
        """Where one column reaches the probabilities `p` in each row, given its known columns, ``(n, len(p))`` in network space.

        Args:
            p: from 0 to 1.
            column: the one that follows the known ones in the order.
            x: ``(n, columns)`` in network space, of which only the known columns are read.
            known: the first columns of the order, however they are arranged.
            given: n conditions or None.

        Raises:
            OptionError: they are not the first of the order, `column` is not the next, or it is an angle, which has no quantiles.
        """
        places = self._first(known)
        following = self.order[len(places)] if len(places) < len(self.order) else None
        if column != following:
            told = "no column is left" if following is None else f"the next one is '{following}'"
            raise OptionError(f"quantiles are those of the column after the {len(places)} known ones, and {told}; got '{column}'")
        place = self._places()[len(places)]
        if place in self.layout.angles:
            raise OptionError(f"column '{column}' is an angle and has no quantiles; ask for those of a number")
        noise = torch.special.ndtri(torch.as_tensor(p, dtype=x.dtype, device=x.device))
        made = [self._from_known(x, places, z.expand(len(x), len(self.order)), given)[:, place] for z in noise]
        return torch.stack(made, 1)

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _steps(self, transform: str, plan: Plan) -> list[Bijection]:
        if self.layout.labels:
            kind = self.spec.x
            assert isinstance(kind, Vector)
            raise DataError(
                f"TriangularFlow wants numbers and angles; column '{kind.names[self.layout.labels[0]]}' holds categories; use Flow"
            )
        frequencies = (3 if plan.columns <= 2 else 0) if plan.frequencies is None else plan.frequencies
        inside = [*self.layout.reals, *self.layout.angles]
        own: dict[str, Any] = {"given": plan.given, "bins": plan.bins, "bound": plan.bound, "frequencies": frequencies, **plan.network}
        order = [inside.index(place) for place in self._places()]
        return [AutoregressiveSpline(plan.columns, order=order, circular=plan.circular, **own) for _ in range(plan.transforms or 1)]

    def _chain(self) -> list[Any]:
        return [] if self.bijection is None else list(self.bijection.steps)

    def _places(self) -> list[int]:
        """Positions in the data of the columns of the order."""
        kind = self.spec.x
        assert isinstance(kind, Vector)
        return [kind.names.index(name) for name in self.order]

    def _first(self, columns: Sequence[str]) -> list[int]:
        """Positions of columns that must be the first of the order."""
        for name in columns:
            if name not in self.order:
                raise OptionError(unknown("column", name, self.order))
        if set(columns) != set(self.order[: len(columns)]) or len(set(columns)) != len(columns):
            order = ", ".join(self.order)
            raise OptionError(
                f"known columns must be the first of the order ({order}); got {', '.join(columns)}; fit with first=… for others"
            )
        return self._places()[: len(columns)]

    def _from_known(self, x: Tensor, places: list[int], noise: Tensor, given: Tensor | Ragged | None) -> Tensor:
        """Rows of noise ``(n, columns)`` that take the noise of what is known in its place."""
        index = torch.tensor(places, dtype=torch.int64, device=x.device)
        known = x.index_select(1, index)
        own = self.encode(Examples(torch.zeros_like(noise).index_copy(1, index, known), given=given))  # there as of any row that begins so
        mixed = noise.index_copy(1, index, own.index_select(1, index))
        return self.decode(mixed, given).index_copy(1, index, known)
