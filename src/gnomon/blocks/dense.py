"""Fully connected blocks on the last axis of a tensor.

What the numbers mean (columns, pixels, conditions) is left to the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks.activations import make_activation, pieces
from gnomon.blocks.dropout import checked, make_dropout
from gnomon.blocks.initialisers import Initialiser, initialise
from gnomon.blocks.stochastic_depth import DropPath, rising


class MLP(nn.Sequential):
    """Fully connected layers with an activation between them.

    By default hidden weights keep the size of the signal (He initialisation for the activation chosen).

    Args:
        inputs: size of the last axis of the input.
        outputs: size of the last axis of the output.
        hidden: width of each hidden layer; empty makes a linear map.
        activation: name in `blocks.activations`, or a module class.
        dropout: probability with which a hidden number is set to zero in training.
        norm: what normalises each hidden layer before its activation. "batch" needs two-dimensional input.
        final: factor on the weights of the last layer; 0 makes the block start as the zero function.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: ``(*, inputs) -> (*, outputs)``.

    Example:
        >>> MLP(3, 2, hidden=(16,))(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: Sequence[int] = (128, 128),
        activation: str | type[nn.Module] = "silu",
        dropout: float = 0.0,
        norm: Literal["none", "layer", "batch"] = "none",
        final: float = 1.0,
        initialiser: Initialiser = "gain",
    ) -> None:
        layers: list[nn.Module] = []
        widths = (inputs, *checked(hidden))
        for position, (fan_in, width) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            numbers = width * pieces(activation)
            linear = nn.Linear(fan_in, numbers)
            initialise(linear, after=activation if position else None, before=activation, initialiser=initialiser)
            layers.append(linear)
            if norm != "none":
                layers.append(nn.LayerNorm(numbers) if norm == "layer" else nn.BatchNorm1d(numbers))
            layers.append(make_activation(activation))
            if dropout:
                layers.append(make_dropout(dropout))
        last = nn.Linear(widths[-1], outputs)
        initialise(last, final, after=activation if hidden else None, initialiser=initialiser)
        super().__init__(*layers, last)
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Apply the layers one after the other."""
        for layer in self:
            x = layer(x)
        return x


class ResidualMLP(nn.Module):
    """Fully connected residual layers, each seeing the condition.

    ``h ← h + W₂ f(W₁ f(h) + V given)``, where W₂ starts at zero, so that depth costs nothing at the start.

    Args:
        inputs: size of the last axis of the input.
        outputs: size of the last axis of the output.
        width: size of ``h``.
        depth: number of residual layers.
        given: size of the condition, 0 for none.
        activation: name in `blocks.activations`, or a module class.
        dropout: probability with which a number inside a residual layer is set to zero in training.
        drop_path: probability with which the last residual layer leaves an example as it is in training; earlier ones do so less
            often, in proportion to their depth.
        final: factor on the weights of the last layer; 0 makes the block start as the zero function.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`; W₂ is zero under every rule.

    Shape: ``(*, inputs), (*, given) -> (*, outputs)``.

    References: He et al. 2016, https://arxiv.org/abs/1603.05027; `drop_path`: Huang et al. 2016, https://arxiv.org/abs/1603.09382

    Example:
        >>> block = ResidualMLP(3, 2, width=16, given=4)
        >>> block(torch.zeros(5, 3), torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 128,
        depth: int = 2,
        given: int = 0,
        activation: str | type[nn.Module] = "silu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        final: float = 1.0,
        initialiser: Initialiser = "gain",
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.given = given
        self.activation = make_activation(activation)
        self.dropout = make_dropout(dropout)
        self.paths = nn.ModuleList(DropPath(p) for p in rising(drop_path, depth)) if drop_path else None
        (width,) = checked((width,))
        numbers = width * pieces(activation)
        self.first = nn.Linear(inputs + given, numbers)
        self.inner = nn.ModuleList(nn.Linear(width + given, numbers) for _ in range(depth))
        self.outer = nn.ModuleList(nn.Linear(width, numbers) for _ in range(depth))
        self.last = nn.Linear(width, outputs)
        initialise(self.first, before=activation, initialiser=initialiser)
        for inner in self.inner:
            initialise(inner, after=activation, before=activation, initialiser=initialiser)
        for outer in self.outer:
            initialise(outer, 0.0)
        initialise(self.last, final, after=activation, initialiser=initialiser)

    def forward(
        self, x: Float[Tensor, "*batch inputs"], given: Float[Tensor, "*batch given"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """Map ``x`` (and ``given``) to the outputs."""
        h = self.first(_beside(x, given, self.given))
        for i, (inner, outer) in enumerate(zip(self.inner, self.outer, strict=True)):
            branch = outer(self.dropout(self.activation(inner(_beside(self.activation(h), given, self.given)))))
            h = h + (branch if self.paths is None else self.paths[i](branch))
        return self.last(self.activation(h))


def _beside(x: Tensor, given: Tensor | None, size: int) -> Tensor:
    return x if given is None or size == 0 else torch.cat([x, given], -1)
