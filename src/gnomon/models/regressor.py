"""Regressor: numbers from examples, each with a learned spread.

How examples are read is the encoder's business; the user's units are `Learned`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from gnomon import networks
from gnomon.blocks import ColumnDensity, ColumnHead
from gnomon.blocks.losses import absolute, huber, number_losses
from gnomon.data import Examples, Image, Set, Spec, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.models.base import Loss, Model, applied, tensor, wants
from gnomon.options import unknown


class Regressor(Model):
    """An encoder that gives each target a mean and a spread.

    Minimises -log p(y | x, given) in nats per example, with a Gaussian for numbers, a von Mises for angles, a softmax for
    categories; without a spread, the mean squared error over the targets, or another loss.

    Args:
        spec: x a Vector, an Image, a Set or Tokens; y a Vector.
        spread: where the spread of the targets comes from: "example" (the encoder: it may differ from example to example),
            "column" (one per target), "shared" (one for all), or "none": squared error, and predictions without a spread.
        loss: without a spread, what is minimised in units of the targets' standard deviations: "squared" (the default) leads to the
            mean, "absolute" to the median, "huber" is squared below one and absolute beyond, each a mean over the targets;
            "chebyshev" is the largest error among the targets, "euclidean" the distance. None where the likelihood decides.
        encoder: name of a network or a module ``(x, given) -> (n, head.outputs)``; None takes the default of the kind of data.
        net: options of the network.
        size: factor on the network's widths.

    Raises:
        DataError: x or y is of a kind that cannot be regressed.
        OptionError: an option that the network does not know; a loss beside a spread, or for targets that are not all numbers.

    Reference: Nix & Weigend 1994, https://doi.org/10.1109/ICNN.1994.374138

    Example:
        >>> import torch
        >>> from gnomon.data import Examples, Spec, Vector
        >>> model = Regressor(Spec(Vector.real(4), y=Vector.real(2)))
        >>> mean, spread = model.predict(Examples(torch.zeros(5, 4)))
        >>> mean.shape, spread.shape
        (torch.Size([5, 2]), torch.Size([5, 2]))
    """

    target: ClassVar[str | None] = "numbers"
    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "steps": 4000}

    def __init__(
        self,
        spec: Spec,
        *,
        spread: Literal["example", "column", "shared", "none"] = "example",
        loss: Literal["squared", "absolute", "huber", "chebyshev", "euclidean"] | None = None,
        encoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, (Vector, Image, Set, Tokens), by="Regressor")
        targets = wants(spec, (Vector,), role="y", by="Regressor")
        self.condition = networks.Condition(spec.given, size=size)
        self.head = ColumnHead(targets, spread="fixed" if spread == "none" else spread)
        self.spread = spread
        self.criterion = self._criterion(loss)
        self.squared = spread == "none" and self.head.features.plain and self.criterion is None
        self.encoder = networks.make("encoder", kind, encoder, outputs=self.head.outputs, given=self.condition.outputs, size=size, net=net)

    def raw(self, batch: Examples) -> Tensor:
        """The encoder's outputs, ``(n, head.outputs)``: means, and what else the head reads."""
        if self.spec.given is None:
            return self.encoder(batch.x)  # the shortest way: it is felt in small networks
        return applied(self.encoder, batch.x, self.condition(batch.given, len(batch)))

    def likelihood(self, batch: Examples) -> ColumnDensity:
        """p(y | x, given), one density of n examples."""
        return self.head(self.raw(batch))

    def loss(self, batch: Examples) -> Loss:
        """-log p(y | x, given) in nats; without a spread, the mean squared error over the targets, or the loss that was chosen."""
        if self.squared:
            return self._squared_error(batch)
        if self.criterion is not None:
            return Loss.mean(self._costs(self.raw(batch), tensor(batch.y)), batch.weight)
        return Loss.mean(-self.likelihood(batch).log_prob(tensor(batch.y)), batch.weight)

    def validate(self, batch: Examples) -> Loss:
        """The loss, and beside it (where all targets are numbers) the squared error of the mean, averaged over the targets."""
        density, y = self.likelihood(batch), tensor(batch.y)
        if not self.head.features.plain:
            return Loss.mean(-density.log_prob(y), batch.weight)
        error = (density.mean() - y).square().mean(-1)
        if self.criterion is not None:
            return Loss.mean(self._costs(density.mean(), y), batch.weight, squared_error=error)
        return Loss.mean(error if self.squared else -density.log_prob(y), batch.weight, squared_error=error)

    def residuals(self, batch: Examples) -> Tensor:
        """What the loss without a spread sums the squares of, ``(n, columns)``: Levenberg–Marquardt steps need them one by one.

        Raises:
            OptionError: with a spread the loss is no sum of squares.
        """
        if not self.squared:
            raise OptionError(
                "the loss of this regressor is no sum of squares: set spread=none and loss=squared, and have numbers as targets"
            )
        error = (self.raw(batch) - tensor(batch.y)) / self.head.outputs**0.5
        return error if batch.weight is None else error * batch.weight.sqrt()[:, None]

    def predict(self, batch: Examples) -> tuple[Tensor, Tensor | None]:
        """The mean of the targets and its spread (standard deviation), each ``(n, columns)`` in network space.

        Categories give the most probable one, with NaN for a spread; without a learned spread None stands for all.
        """
        density = self.likelihood(batch)
        return density.mean(), None if self.spread == "none" else density.spread()

    def _criterion(self, loss: str | None) -> Callable[[Tensor, Tensor], Tensor] | None:
        """The chosen loss; None for the likelihood, and for squared error, which has a path of its own."""
        if loss is None:
            return None
        if loss not in number_losses:
            raise OptionError(unknown("loss", loss, number_losses, owner="Regressor"))
        if self.spread != "none":
            raise OptionError(f"loss='{loss}' wants spread='none': with spread='{self.spread}' the likelihood is the loss; leave one out")
        if not self.head.features.plain:
            raise OptionError(
                f"loss='{loss}' wants targets that are all numbers; angles and categories are learned by likelihood; leave it out"
            )
        return None if loss == "squared" else number_losses[loss]

    def _costs(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The chosen loss of each example, ``(n,)``; sums over the targets as means."""
        assert self.criterion is not None
        costs = self.criterion(prediction, y)
        return costs / prediction.shape[-1] if self.criterion in (absolute, huber) else costs

    def _squared_error(self, batch: Examples) -> Loss:
        # One kernel over the whole batch: this is the path whose overhead is felt.
        prediction, y = self.raw(batch), tensor(batch.y)
        if batch.weight is not None:
            return Loss.mean((prediction - y).square().mean(-1), batch.weight)
        total = F.mse_loss(prediction, y, reduction="sum")
        columns = prediction.shape[-1]
        return Loss(total if columns == 1 else total / columns, total.new_full((), float(len(y))), {})
