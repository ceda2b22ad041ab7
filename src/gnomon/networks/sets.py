"""Networks for sets: any number of unordered elements per example, held in a Ragged.

Sums over rows are in `blocks.segments`; elements are read by `blocks.ColumnFeatures`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnomon.blocks import MLP, Initialiser, make_activation, pieces, segment_mean, segment_sum
from gnomon.data import Ragged, Set
from gnomon.networks.roles import beside, ports, scaled


class DeepSets(nn.Module):
    """A function of sets: each element is mapped alone, then sum, mean and count are mapped together.

    Blind to the order of the elements. An empty set is legal: its sum and mean are zero.

    Args:
        kind: the Set that is read.
        role: "encoder".
        inputs: numbers per element that go in, where they are not the features of `kind`.
        outputs: numbers that come out.
        given: size of the condition, which joins the pooled numbers; 0 for none.
        size: factor on the widths.
        element: width of each layer of the map of one element.
        hidden: width of each hidden layer of the map of the pooled numbers.
        activation: name in `blocks.activations`.
        dropout: probability with which a hidden number is set to zero in training.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: Ragged of n sets with values ``(elements, columns)``, ``(n, given) -> (n, outputs)``.

    Reference: Zaheer et al. 2017, https://arxiv.org/abs/1703.06114

    Example:
        >>> from gnomon.data import Vector
        >>> network = DeepSets(Set(Vector.real(3)), "encoder", outputs=2)
        >>> network(Ragged(torch.zeros(5, 3), torch.tensor([4, 0, 1]))).shape
        torch.Size([3, 2])
    """

    roles: ClassVar[dict[str, tuple[type, ...]]] = {"encoder": (Set,)}

    def __init__(
        self,
        kind: Set,
        role: str,
        *,
        inputs: int | None = None,
        outputs: int | None = None,
        given: int = 0,
        size: float = 1.0,
        element: tuple[int, ...] = (128, 128),
        hidden: tuple[int, ...] = (128,),
        activation: str = "silu",
        dropout: float = 0.0,
        initialiser: Initialiser = "gain",
    ) -> None:
        super().__init__()
        port = ports("deepsets", kind, role, inputs, outputs)
        self.features, self.inputs, self.outputs, self.given = port.features, port.inputs, port.outputs, given
        widths = tuple(scaled(w, size) for w in element)
        code = widths[-1] if widths else port.inputs
        shared: dict[str, Any] = {"activation": activation, "dropout": dropout, "initialiser": initialiser}
        self.element = MLP(port.inputs, code * pieces(activation), hidden=widths[:-1], **shared)
        self.activation = make_activation(activation)
        self.net = MLP(2 * code + 1 + given, port.outputs, hidden=tuple(scaled(w, size) for w in hidden), final=0.1, **shared)

    def forward(self, x: Ragged, given: Float[Tensor, "n given"] | None = None) -> Float[Tensor, "n outputs"]:
        """Map each element, pool each set, map the pooled numbers."""
        values = x.values if self.features is None else self.features(x.values)
        codes, rows, count = self.activation(self.element(values)), x.rows(), len(x)
        total, mean = segment_sum(codes, rows, count), segment_mean(codes, rows, count)
        logs = torch.log1p(x.lengths.to(total)).unsqueeze(-1)
        return self.net(beside(torch.cat([total, mean, logs], -1), given, self.given))
