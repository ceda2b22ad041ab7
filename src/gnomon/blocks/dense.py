"""Fully connected blocks on the last axis of a tensor.

What the numbers mean (columns, pixels, conditions) is left to the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks.activations import activation_class, gain, initialise


class MLP(nn.Sequential):
    """Fully connected layers with an activation between them.

    Hidden weights keep the size of the signal (He initialisation for the activation chosen).

    Args:
        inputs: size of the last axis of the input.
        outputs: size of the last axis of the output.
        hidden: width of each hidden layer; empty makes a linear map.
        activation: name in `blocks.activations`, or a module class.
        dropout: probability with which a hidden number is set to zero in training.
        norm: what normalises each hidden layer before its activation. "batch" needs two-dimensional input.
        final: factor on the weights of the last layer; 0 makes the block start as the zero function.

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
    ) -> None:
        layers: list[nn.Module] = []
        widths = (inputs, *hidden)
        for position, (fan_in, fan_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            linear = nn.Linear(fan_in, fan_out)
            initialise(linear, gain(activation) if position else 1.0)
            layers.append(linear)
            if norm != "none":
                layers.append(nn.LayerNorm(fan_out) if norm == "layer" else nn.BatchNorm1d(fan_out))
            layers.append(activation_class(activation)())
            if dropout:
                layers.append(nn.Dropout(dropout))
        last = nn.Linear(widths[-1], outputs)
        initialise(last, final * (gain(activation) if hidden else 1.0))
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
        final: factor on the weights of the last layer; 0 makes the block start as the zero function.

    Shape: ``(*, inputs), (*, given) -> (*, outputs)``.

    Reference: He et al. 2016, https://arxiv.org/abs/1603.05027

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
        final: float = 1.0,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.given = given
        self.activation = activation_class(activation)()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.first = nn.Linear(inputs + given, width)
        self.inner = nn.ModuleList(nn.Linear(width + given, width) for _ in range(depth))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, outputs)
        initialise(self.first)
        for inner in self.inner:
            initialise(inner, gain(activation))
        for outer in self.outer:
            initialise(outer, 0.0)
        initialise(self.last, final * gain(activation))

    def forward(
        self, x: Float[Tensor, "*batch inputs"], given: Float[Tensor, "*batch given"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """Map ``x`` (and ``given``) to the outputs."""
        h = self.first(_beside(x, given, self.given))
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(self.dropout(self.activation(inner(_beside(self.activation(h), given, self.given)))))
        return self.last(self.activation(h))


def _beside(x: Tensor, given: Tensor | None, size: int) -> Tensor:
    return x if given is None or size == 0 else torch.cat([x, given], -1)
