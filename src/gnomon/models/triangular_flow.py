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
from gnomon.data import Examples, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import wants
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
        >>> flow.order, round(flow.quantile(torch.tensor([0.975]), torch.empty(1, 0)).item(), 2)
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

    def complete(self, known: Tensor, given: Tensor | None = None) -> Tensor:
        """Rows whose first columns are known; the others are drawn given these.

        Args:
            known: ``(n, k)`` in network space: the first k columns of the order.
            given: ``(n, given columns)`` or None.

        Returns: ``(n, columns)`` in network space, columns as in the data.
        """
        noise = self._laid(torch.cat([self._line(len(known)), self._circle(len(known))], 1), None)
        return self._from_known(known, noise, given)

    def quantile(self, q: Tensor, known: Tensor, given: Tensor | None = None) -> Tensor:
        """The q-quantiles of the next column for known first ones.

        Args:
            q: ``(n,)`` from 0 to 1.
            known: ``(n, k)`` in network space: the first k columns of the order.
            given: ``(n, given columns)`` or None.

        Returns: ``(n,)`` of column k + 1 of the order, in network space.

        Raises:
            DataError: no column is left, or the next one is an angle, which has no quantiles.
        """
        left = self._places()[known.shape[1] :]
        if not left or left[0] in self.layout.angles:
            what = "no column is left" if not left else f"column '{self.order[known.shape[1]]}' is an angle and has no quantiles"
            raise DataError(f"TriangularFlow.quantile wants a number after the {known.shape[1]} known columns; {what}")
        noise = torch.special.ndtri(q)[:, None].expand(-1, len(self.order))
        return self._from_known(known, noise, given)[:, left[0]]

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

    def _from_known(self, known: Tensor, noise: Tensor, given: Tensor | None) -> Tensor:
        """Rows of noise ``(n, columns)`` that take the noise of what is known in its place."""
        places = torch.tensor(self._places()[: known.shape[1]], dtype=torch.int64, device=known.device)
        rows = torch.zeros_like(noise).index_copy(1, places, known)
        own = self.encode(Examples(rows, given=given))  # in these columns that of any row which begins so
        mixed = noise.index_copy(1, places, own.index_select(1, places))
        return self.decode(mixed, given).index_copy(1, places, known)
