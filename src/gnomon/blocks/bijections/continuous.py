"""Continuous flows: points move along a learned velocity from data to noise, and the density follows its divergence.

How the equation of motion is solved is left to `gnomon.blocks.ode`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import jvp, vmap

from gnomon.blocks.bijections.bijection import Bijection
from gnomon.blocks.dense import MLP
from gnomon.blocks.ode import dopri5, rk4
from gnomon.errors import OptionError
from gnomon.options import unknown

Trace = Literal["auto", "exact", "hutchinson"]
Noise = Literal["rademacher", "normal"]
Solver = Literal["rk4", "dopri5"]

EXACT_AT_MOST = 8
"""Columns up to which "auto" takes the exact trace in training too."""


class Velocity(nn.Module):
    """The velocity of each point as an MLP of where it is, when, and the condition. Zero at the start.

    Args:
        size: number of columns.
        given: size of the condition, 0 for none.
        hidden: width of each hidden layer.
        activation: name in `blocks.activations`; a smooth one, since solvers count on derivatives.

    Shape: ``t () or (n,), x (n, size), given (n, given) or None -> (n, size)``.

    Example:
        >>> Velocity(2)(torch.tensor(0.5), torch.ones(3, 2)).shape
        torch.Size([3, 2])
    """

    def __init__(self, size: int, *, given: int = 0, hidden: Sequence[int] = (64, 64), activation: str = "silu") -> None:
        super().__init__()
        self.network = MLP(size + 1 + given, size, hidden=hidden, activation=activation, final=0.0)

    def forward(self, t: Tensor, x: Tensor, given: Tensor | None = None) -> Tensor:
        """dx/dt."""
        seen = [x, t.expand(len(x))[:, None]]
        return self.network(torch.cat(seen if given is None else [*seen, given], 1))


class Continuous(Bijection):
    """Moves points along dx/dt = velocity(t, x, given) from t = 0, data, to t = 1, noise.

    The log-determinant is the integral of the velocity's divergence: the exact trace of its Jacobian at the cost of one derivative
    per column, or Hutchinson's estimate e·Je at the cost of one, with noise e that is drawn once per call and kept all the way.
    Gradients go through the steps of the solver (discretise, then optimise). It starts as the identity.

    Args:
        size: number of columns, all on the line; angles need another map.
        velocity: a module as `Velocity`, that is taken by default. If it has a method ``with_divergence`` of the same arguments, that
            returns velocity ``(n, size)`` and divergence ``(n,)``, the trace is its business.
        given: size of the condition, 0 for none.
        trace: "exact", "hutchinson", or "auto": the estimate in training on more than eight columns, and exact in evaluation, so that
            densities repeat.
        noise: Hutchinson's: "rademacher" (the smaller variance) or "normal".
        solver: "rk4" in equal steps, for training under vmap and compile, or "dopri5" with steps of its own for each row, to a
            tolerance, which asks the host once per step. Neither is undone exactly: round trips are as good as the solution.
        steps: of "rk4".
        rtol, atol, max_steps: of "dopri5".
        hidden, activation: of the default velocity.

    Raises:
        OptionError: an unknown name, or as `blocks.ode`: steps below 1, tolerances that are not positive, `max_steps` reached.

    Reference: Chen et al. 2018, https://arxiv.org/abs/1806.07366; Grathwohl et al. 2019, https://arxiv.org/abs/1810.01367

    Example:
        >>> flow = Continuous(2, hidden=(16,))
        >>> z, log_det = flow.forward_and_log_det(torch.ones(5, 2))
        >>> z.shape, log_det.shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    def __init__(
        self,
        size: int,
        *,
        velocity: nn.Module | None = None,
        given: int = 0,
        trace: Trace = "auto",
        noise: Noise = "rademacher",
        solver: Solver = "rk4",
        steps: int = 8,
        rtol: float = 1e-5,
        atol: float = 1e-6,
        max_steps: int = 1000,
        hidden: Sequence[int] = (64, 64),
        activation: str = "silu",
    ) -> None:
        super().__init__()
        for option, value, known in (
            ("trace", trace, ("auto", "exact", "hutchinson")),
            ("noise", noise, ("rademacher", "normal")),
            ("solver", solver, ("rk4", "dopri5")),
        ):
            if value not in known:
                raise OptionError(unknown(option, value, known, owner="Continuous"))
        if steps < 1 or not (rtol > 0 and atol > 0 and max_steps >= 1):
            raise OptionError(
                f"Continuous wants steps and max_steps of 1 or more, rtol and atol above 0; got {steps}, {max_steps}, {rtol} and {atol}"
            )
        self.size, self.trace, self.noise, self.solver = size, trace, noise, solver
        self.steps, self.rtol, self.atol, self.max_steps = steps, rtol, atol, max_steps
        self.velocity = velocity or Velocity(size, given=given, hidden=hidden, activation=activation)

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        return self._solved(x, given, 0.0, 1.0)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        return self._solved(z, given, 1.0, 0.0)

    def _solved(self, x: Tensor, given: Tensor | None, start: float, end: float) -> tuple[Tensor, Tensor]:
        moving = self._moving(x, given)

        def field(t: Tensor, state: Tensor) -> Tensor:
            velocity, divergence = moving(t, state[:, :-1])
            return torch.cat([velocity, divergence[:, None]], 1)

        state = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        if self.solver == "rk4":
            state = rk4(field, state, start, end, steps=self.steps)
        else:
            state = dopri5(field, state, start, end, rtol=self.rtol, atol=self.atol, max_steps=self.max_steps)
        return state[:, :-1], state[:, -1]

    def _moving(self, x: Tensor, given: Tensor | None) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Velocity and divergence as a function of time and place, for one solution."""
        own = getattr(self.velocity, "with_divergence", None)
        if own is not None:
            return lambda t, x: own(t, x, given)
        if self.trace == "hutchinson" or (self.trace == "auto" and self.training and self.size > EXACT_AT_MOST):
            noise = torch.randn_like(x)
            if self.noise == "rademacher":
                noise = torch.where(noise >= 0, 1.0, -1.0).to(x.dtype)
            return lambda t, x: _estimated(lambda place: self.velocity(t, place, given), x, noise)
        basis = torch.eye(self.size, dtype=x.dtype, device=x.device)
        return lambda t, x: _exact(lambda place: self.velocity(t, place, given), x, basis)


def _exact(velocity: Callable[[Tensor], Tensor], x: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Velocity ``(n, size)`` and the trace of its Jacobian ``(n,)``, one column of it at a time."""

    def along(direction: Tensor) -> tuple[Tensor, Tensor]:
        value, change = jvp(velocity, (x,), (direction.expand_as(x),))[:2]
        return value, (change * direction).sum(1)

    value, diagonal = vmap(along)(basis)
    return value[0], diagonal.sum(0)


def _estimated(velocity: Callable[[Tensor], Tensor], x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Velocity ``(n, size)`` and Hutchinson's estimate of the trace ``(n,)``."""
    value, change = jvp(velocity, (x,), (noise,))[:2]
    return value, (change * noise).sum(1)
