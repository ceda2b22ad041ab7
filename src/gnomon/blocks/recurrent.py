"""A gated recurrent layer by a plain scan over the steps, which takes vmap, jvp and second derivatives.

Where a row begins and ends is said by a mask; embeddings and what is read off the states are left to networks.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gnomon.blocks.initialisers import Initialiser, initialise


class GRU(nn.Module):
    """One layer of gated recurrent units: at each step the old state is kept, forgotten or replaced, number by number.

    Steps that are not `filled` leave the state as it is, so that the last state of a padded row is that of its last element.

    Args:
        inputs: numbers per step that go in.
        width: numbers of the state.
        initialiser: rule by which weights are drawn, a name in `blocks.initialisers`.

    Shape: ``(n, steps, inputs)``, filled ``(n, steps)``, first state ``(n, width) -> (n, steps, width)``.

    Reference: Cho et al. 2014, https://arxiv.org/abs/1406.1078; the reset gate acts after the product, as in cuDNN.

    Example:
        >>> layer = GRU(3, 5)
        >>> layer(torch.zeros(2, 4, 3)).shape
        torch.Size([2, 4, 5])
    """

    def __init__(self, inputs: int, width: int, *, initialiser: Initialiser = "gain") -> None:
        super().__init__()
        self.width = width
        self.input = nn.Linear(inputs, 3 * width)
        self.state = nn.Linear(width, 3 * width)
        for layer in (self.input, self.state):
            initialise(layer, initialiser=initialiser)

    def forward(
        self,
        x: Float[Tensor, "n steps inputs"],
        filled: Bool[Tensor, "n steps"] | None = None,
        state: Float[Tensor, "n width"] | None = None,
    ) -> Float[Tensor, "n steps width"]:
        """The state after each step."""
        reads = self.input(x).unbind(1)  # at once: taking step after step would cost a grid of zeros each on the way back
        stands = [None] * len(reads) if filled is None else filled.unsqueeze(-1).unbind(1)
        state = x.new_zeros(x.shape[0], self.width) if state is None else state
        states = []
        for read, stand in zip(reads, stands, strict=True):
            after = self._moved(read, state)
            state = after if stand is None else torch.where(stand, after, state)
            states.append(state)
        return torch.stack(states, 1)

    def step(self, x: Float[Tensor, "n inputs"], state: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        """The state after one more step."""
        return self._moved(self.input(x), state)

    def _moved(self, read: Tensor, state: Tensor) -> Tensor:
        gates, new = read.split((2 * self.width, self.width), -1)
        own_gates, own_new = self.state(state).split((2 * self.width, self.width), -1)
        reset, keep = torch.sigmoid(gates + own_gates).chunk(2, -1)
        return torch.lerp(torch.tanh(new + reset * own_new), state, keep)
