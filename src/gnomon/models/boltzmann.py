"""Boltzmann generator: a flow that learns to draw from an energy, without data.

The invertible maps are those of `gnomon.models.flow`; what weights are worth is said by `gnomon.blocks.importance`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections import Bijection
from gnomon.data import Examples, Image, Periodic, Ragged, Real, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import Loss, Player, wants
from gnomon.models.flow import Flow
from gnomon.options import unknown


class Boltzmann(Flow):
    """A flow trained to draw from p(x | given) = exp(-E(x)) / Z, for an energy E of which only values and slopes are known.

    Minimises the reverse Kullback-Leibler divergence ``E_q[log q(x | given) + E(x)]``, in nats; its least value is -log Z. Such a flow
    may miss a mode of the target altogether, and nothing in the loss tells. The values of x in a batch are not looked at:
    `gnomon.data.blank` makes data that say only how many rows an epoch has and what the conditions are.

    Args:
        spec: x a Vector of real numbers and angles, or an Image of real pixels; given, if any, is shown to every network.
        energy: a function or module ``(n, *x) -> (n,)``, or with a condition ``(n, *x), (n, given columns) -> (n,)``. Numbers are the
            user's own (blank data leave them as they are), angles radians, conditions as `fit` scales them. Parameters stay as they are.
        bijection: a `blocks.bijections.Bijection` of flat rows from data to noise, its condition a vector of `condition.outputs`
            numbers; None takes that of the Flow.
        estimator: of the gradient: "path" leaves out the part whose expectation is zero, so that noise vanishes as q meets p (and
            continuous flows cannot lower the loss by errors of their solver), or "total", at about half the cost.
        flow: options of the Flow whose bijection is taken, without dropout and actnorm: both directions must be one map.
        size: factor on the widths.

    Raises:
        DataError: x is of another kind, or has columns that are neither real nor periodic, or levels.
        OptionError: an option out of range, or an energy that cannot be called.

    Reference: Noé et al. 2019, https://arxiv.org/abs/1812.01729; the estimator: Roeder et al. 2017, https://arxiv.org/abs/1703.09194;
    Vaitl et al. 2022, https://arxiv.org/abs/2206.09016

    Example:
        >>> model = Boltzmann(Spec(Vector.real(2)), energy=lambda x: 0.5 * x.square().sum(1), flow={"transforms": 2})
        >>> x, log_weight = model.weighted_sample(5)
        >>> x.shape, log_weight.shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    dequantises: ClassVar[bool] = False
    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 2000, "doctor": False}  # it would complain of rows without content

    bijection: Any

    def __init__(
        self,
        spec: Spec,
        *,
        energy: Any,
        bijection: nn.Module | None = None,
        estimator: Literal["path", "total"] = "path",
        flow: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        kind = wants(spec, (Vector, Image), by="Boltzmann")
        if not callable(energy):
            raise OptionError(f"option 'energy' of Boltzmann must be a function or module of x, given from Python; got {energy!r}")
        if estimator not in ("path", "total"):
            raise OptionError(unknown("estimator", estimator, ("path", "total"), owner="Boltzmann"))
        if bijection is not None and not isinstance(bijection, Bijection):
            raise OptionError(f"option 'bijection' of Boltzmann must be a blocks.bijections.Bijection; got {type(bijection).__name__}")
        if isinstance(kind, Image) and kind.levels is not None:
            raise DataError(f"Boltzmann wants an image of real pixels; got one of {kind.levels} levels")
        columns = kind.columns if isinstance(kind, Vector) else ()
        other = next((c for c in columns if not isinstance(c.support, (Real, Periodic))), None)
        if other is not None:
            raise DataError(f"Boltzmann wants real and periodic columns; '{other.name}' is {other.support.name}; change variables in E")
        for option in ("dropout", "actnorm"):
            if (flow or {}).get(option):
                raise OptionError(f"Boltzmann's flow has no {option}, since both of its directions must be one map; leave it out")
        super().__init__(spec, **{**(flow or {}), "dropout": 0.0, "size": size})
        self.energy, self.estimator = energy, estimator
        if bijection is not None:
            self.bijection = bijection

    def players(self) -> tuple[Player, ...]:
        """One, that owns the bijection; an energy's parameters stay as they are."""
        return (Player("model", modules=("bijection",)),)

    def begin(self, examples: Examples) -> None:
        """The rows tell nothing: the energy does."""

    def loss(self, batch: Examples) -> Loss:
        """The reverse Kullback-Leibler divergence less log Z, from as many draws as the batch has rows."""
        x, log_q = self.sample_and_log_prob(len(batch), batch.given)
        energy = self._energy(x, batch.given)
        value = log_q + energy
        if self.estimator == "path" and torch.is_grad_enabled():
            path = energy + (self._slope(x, batch.given) * x).flatten(1).sum(1)
            value = path + (value - path).detach()  # the value of the divergence, the gradient along the path
        return Loss.mean(value, batch.weight, energy=energy)

    def weighted_sample(self, n: int, given: Tensor | Ragged | None = None) -> tuple[Tensor, Tensor]:
        """Draws ``(n, *x)`` and the log of their importance weights, ``-E(x) - log q(x)``, ``(n,)``, whose mean weight is Z.

        Args:
            n: how many.
            given: ``(n, given columns)`` or None.
        """
        x, log_q = self.sample_and_log_prob(n, given)
        return x, -self._energy(x, given) - log_q

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _slope(self, x: Tensor, given: Tensor | Ragged | None) -> Tensor:
        """The gradient of log q with respect to where it is taken, ``(n, *x)``, as a constant."""
        with torch.no_grad():  # no graph of the gradient itself
            return torch.func.grad(lambda place: self.log_prob(Examples(place, given=given)).sum())(x.detach())

    def _energy(self, x: Tensor, given: Tensor | Ragged | None) -> Tensor:
        return self.energy(x) if self.spec.given is None else self.energy(x, given)
