"""Fully connected networks in every role, for Vectors and (flattened) Images; of sets and texts they give the parameters of a likelihood.

How columns are read is left to `blocks.ColumnFeatures`; what the outputs mean, to the models.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks import MLP, Initialiser, ResidualMLP
from gnomon.data import Image, Set, Tokens, Vector
from gnomon.networks.roles import beside, ports, present, scaled

_BOTH = (Vector, Image)


class _Dense(nn.Module):
    """What dense networks share: reading columns or pixels, and giving an image its shape back."""

    roles: ClassVar[dict[str, tuple[type, ...]]] = {"encoder": _BOTH, "decoder": (*_BOTH, Set, Tokens), "mapper": _BOTH}

    def __init__(
        self, name: str, kind: Vector | Image | Set | Tokens, role: str, *, inputs: int | None, outputs: int | None, given: int
    ) -> None:
        super().__init__()
        port = ports(name, kind, role, inputs, outputs)
        cells = math.prod(kind.size) if isinstance(kind, Image) else 1
        self.given = given
        self.features = port.features
        self.inputs, self.outputs = port.inputs, port.outputs
        self.wide_inputs = port.inputs * (1 if role == "decoder" else cells)
        self.wide_outputs = port.outputs * (1 if role == "encoder" else cells)
        self.image = kind.size if isinstance(kind, Image) and role != "encoder" else None
        self.plain = isinstance(kind, Vector) and (self.features is None or self.features.plain)

    def _flat(self, x: Tensor) -> Tensor:
        return (x if self.features is None else self.features(x)).flatten(1)

    def _shaped(self, y: Tensor) -> Tensor:
        return y if self.image is None else y.reshape(len(y), self.outputs, *self.image)


class VectorNetwork(_Dense):
    """Fully connected layers; the condition joins the input.

    Args:
        kind: the Vector or Image that is read (encoder), written (decoder) or both (mapper).
        role: "encoder", "decoder" or "mapper".
        inputs: numbers (channels) that go in, where they are not the features of `kind`.
        outputs: numbers (channels) that come out.
        given: size of the condition, 0 for none.
        size: factor on the widths.
        hidden: width of each hidden layer.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.
        norm: what normalises each hidden layer.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: encoder ``(n, columns) -> (n, outputs)``, decoder ``(n, inputs) -> (n, outputs)``, mapper ``(n, columns) -> (n, outputs)``,
        each with ``(n, given)``; images are ``(n, channels, *size)``.

    Example:
        >>> import torch
        >>> network = VectorNetwork(Vector.real(3), "encoder", outputs=2)
        >>> network(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        kind: Vector | Image | Set | Tokens,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        hidden: tuple[int, ...] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
        norm: Literal["none", "layer", "batch"] = "none",
        initialiser: Initialiser = "gain",
    ) -> None:
        super().__init__("mlp", kind, role, inputs=inputs, outputs=outputs, given=given)
        widths = tuple(scaled(width, size) for width in hidden)
        self.net = MLP(
            self.wide_inputs + given,
            self.wide_outputs,
            hidden=widths,
            activation=activation,
            dropout=dropout,
            norm=norm,
            final=0.1,
            initialiser=initialiser,
        )

    def forward(self, x: Float[Tensor, "n ..."], given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, "n ..."]:
        """Apply the network."""
        if self.plain and not self.given:
            return self.net(x)
        return self._shaped(self.net(beside(self._flat(x), given, self.given)))


class ResidualVectorNetwork(_Dense):
    """Fully connected residual layers, each seeing the condition: deeper than `mlp` at the same ease of training.

    Args:
        kind: the Vector or Image that is read (encoder), written (decoder) or both (mapper).
        role: "encoder", "decoder" or "mapper".
        inputs: numbers (channels) that go in, where they are not the features of `kind`.
        outputs: numbers (channels) that come out.
        given: size of the condition, 0 for none.
        size: factor on the width.
        width: size of the hidden state.
        depth: number of residual layers.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.
        drop_path: probability with which the last residual layer leaves an example as it is in training; earlier ones do so less
            often, in proportion to their depth.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: as `VectorNetwork`.

    Example:
        >>> import torch
        >>> network = ResidualVectorNetwork(Vector.real(3), "decoder", inputs=2, given=1)
        >>> network(torch.zeros(5, 2), torch.zeros(5, 1)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        kind: Vector | Image | Set | Tokens,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        width: int = 128,
        depth: int = 2,
        activation: str = "silu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        initialiser: Initialiser = "gain",
    ) -> None:
        super().__init__("residual", kind, role, inputs=inputs, outputs=outputs, given=given)
        self.net = ResidualMLP(
            self.wide_inputs,
            self.wide_outputs,
            width=scaled(width, size),
            depth=depth,
            given=given,
            activation=activation,
            dropout=dropout,
            drop_path=drop_path,
            final=0.1,
            initialiser=initialiser,
        )

    def forward(self, x: Float[Tensor, "n ..."], given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, "n ..."]:
        """Apply the network."""
        return self._shaped(self.net(self._flat(x), present(given, self.given) if self.given else None))
