"""Solvers of differential equations: closed forms, orders of convergence, rows that keep their own pace, gradients of the steps taken."""

from __future__ import annotations

import math

import pytest
import scipy.integrate
import torch
from torch import Tensor

from gnomon.blocks.ode import dopri5, rk4
from gnomon.errors import OptionError

MATRIX = torch.tensor([[0.3, -1.2], [0.9, -0.4]], dtype=torch.float64)


def linear(t: Tensor, y: Tensor) -> Tensor:
    return y @ MATRIX.T


def stiff(t: Tensor, y: Tensor) -> Tensor:
    """Rows turn the faster the larger they are, and with time."""
    speed = y.square().sum(1, keepdim=True) * (1 + t.expand(len(y))[:, None])
    return speed * torch.stack([-y[:, 1], y[:, 0]], 1) + torch.cos(3 * y)


def start(n: int = 30) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("begin", "end"), [(0.0, 1.0), (1.0, 0.0), (-0.5, 2.0)])
def test_a_linear_equation_is_the_exponential_of_its_matrix(begin: float, end: float) -> None:
    expected = start() @ torch.linalg.matrix_exp((end - begin) * MATRIX).T
    torch.testing.assert_close(dopri5(linear, start(), begin, end, rtol=1e-10, atol=1e-10), expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(rk4(linear, start(), begin, end, steps=200), expected, rtol=0, atol=1e-8)


def test_rk4_is_of_fourth_order() -> None:
    exact = rk4(stiff, 0.5 * start(), 0.0, 1.0, steps=1024)
    errors = [float((rk4(stiff, 0.5 * start(), 0.0, 1.0, steps=n) - exact).abs().max()) for n in (32, 64, 128)]
    assert all(13 < a / b < 19 for a, b in zip(errors, errors[1:], strict=False))


def test_dopri5_is_scipys_solution_and_errors_fall_with_the_tolerance() -> None:
    y = start(8)
    exact = torch.stack(
        [
            torch.from_numpy(
                scipy.integrate.solve_ivp(
                    lambda t, v: stiff(torch.tensor(t), torch.from_numpy(v)[None])[0].numpy(), (0, 1), row, "DOP853", rtol=1e-12, atol=1e-12
                ).y[:, -1]
            )
            for row in y.numpy()
        ]
    )
    errors = [float((dopri5(stiff, y, 0.0, 1.0, rtol=tol, atol=tol) - exact).abs().max()) for tol in (1e-4, 1e-6, 1e-8, 1e-10)]
    assert all(b < 0.1 * a for a, b in zip(errors, errors[1:], strict=False)) and errors[-1] < 1e-8


def test_rows_do_not_influence_each_other() -> None:
    y = start() * torch.linspace(0.1, 3, 30, dtype=torch.float64)[:, None]  # from one slow row to a very quick one
    counts = []

    def counted(t: Tensor, y: Tensor) -> Tensor:
        counts.append(len(y))
        return stiff(t, y)

    together = dopri5(counted, y, 0.0, 1.0)
    looks = len(counts)
    alone = []
    for row in y.split(1):
        counts.clear()
        alone.append((dopri5(stiff if alone else counted, row, 0.0, 1.0), len(counts)))
    torch.testing.assert_close(together, torch.cat([value for value, _ in alone]), rtol=0, atol=1e-12)
    assert alone[0][1] < looks / 3  # the slow row needs few steps, and stands still while others go on


def test_gradients_are_those_of_the_solution() -> None:
    y = start(4).requires_grad_()
    exact = torch.linalg.matrix_exp(MATRIX)
    for solved in (dopri5(linear, y, 0.0, 1.0, rtol=1e-9, atol=1e-9), rk4(linear, y, 0.0, 1.0, steps=50)):
        (slope,) = torch.autograd.grad(solved[:, 0].sum(), y)
        torch.testing.assert_close(slope, exact[0].expand(4, 2), rtol=0, atol=1e-6)
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(dopri5(lambda t, y: rate * y, torch.ones(1, 1).double(), 0.0, 2.0, rtol=1e-9, atol=1e-9).sum(), rate)
    assert float(slope) == pytest.approx(2 * math.exp(1.4), abs=1e-6)


def test_numbers_with_gradients_are_those_without() -> None:
    with torch.no_grad():
        without = dopri5(stiff, start(), 0.0, 1.0)
    torch.testing.assert_close(dopri5(stiff, start(), 0.0, 1.0), without, rtol=0, atol=1e-13)


def test_trials_that_overflow_leave_gradients_finite() -> None:
    y = torch.full((2, 1), 10.0, dtype=torch.float64, requires_grad=True)
    solved = dopri5(lambda t, y: -torch.exp(y.square()).clamp_max(1e300) * y.sign(), y, 0.0, 1e-3, max_steps=5000)
    assert solved.isfinite().all() and torch.autograd.grad(solved.sum(), y)[0].isfinite().all()


def test_what_cannot_be_solved_is_said() -> None:
    with pytest.raises(OptionError, match=r"did not reach t = 1 in max_steps = 20: 1 of 2 rows .*raise max_steps"):
        dopri5(lambda t, y: y.square(), torch.tensor([[0.1], [2.0]]), 0.0, 1.0, max_steps=20)  # the second explodes at t = 0.5
    with pytest.raises(OptionError, match="not finite"):
        dopri5(lambda t, y: y * math.nan, torch.ones(2, 1), 0.0, 1.0, max_steps=5)
    with pytest.raises(OptionError, match="rtol and atol above 0"):
        dopri5(linear, start(), 0.0, 1.0, rtol=0.0)
    with pytest.raises(OptionError, match="steps of 1 or more; got 0"):
        rk4(linear, start(), 0.0, 1.0, steps=0)


def test_nothing_to_do_is_done() -> None:
    assert dopri5(linear, start(0), 0.0, 1.0).shape == (0, 2)
    assert torch.equal(dopri5(linear, start(), 1.0, 1.0), start())
