"""Continuous flows: the linear flow in closed form, zuko's with the same network, autograd's Jacobian of the whole map, round trips."""

from __future__ import annotations

import math

import pytest
import torch
import zuko
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks.bijections import Chain, Continuous, Velocity
from gnomon.data import Examples, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.flow import Flow
from gnomon.networks.transforms import Plan, bijections
from tests.module_contract import Case, CompileContract, ModuleContract

EXACT = {"solver": "dopri5", "rtol": 1e-10, "atol": 1e-10}


class Linear(nn.Module):
    """dx/dt = A x."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(0.5 * torch.randn(size, size, generator=torch.Generator().manual_seed(0)).double())

    def forward(self, t: Tensor, x: Tensor, given: Tensor | None = None) -> Tensor:
        return x @ self.matrix.T


class Both(nn.Module):
    """Image and log-determinant side by side."""

    def __init__(self, inverse: bool = False, **options: object) -> None:
        super().__init__()
        self.flow = Continuous(3, hidden=(5,), steps=2, **options)
        self.inverse = inverse

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        y, log_det = (self.flow.inverse_and_log_det if self.inverse else self.flow.forward_and_log_det)(x, given)
        return torch.cat([y, log_det[:, None]], 1)


def points(*sizes: int):
    return lambda generator: tuple(torch.randn(4, size, generator=generator) for size in sizes)


CASES = {
    "forward": Case(lambda: Both(), points(3)),
    "inverse": Case(lambda: Both(True), points(3)),
    "given": Case(lambda: Both(given=2), points(3, 2)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


class TestContinuous(ModuleContract):
    """The contract, in both directions."""


class TestCompiledContinuous(CompileContract):
    """Compilation."""


def lively(size: int, **options: object) -> Continuous:
    """A flow in float64 whose velocity is away from zero."""
    torch.manual_seed(0)
    flow = Continuous(size, hidden=(16, 16), activation="tanh", **options).double()
    for p in flow.parameters():
        p.data.add_(0.4 * torch.randn_like(p))
    return flow


def batch(size: int, n: int = 20, seed: int = 1) -> Tensor:
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("trace", ["exact", "auto"])
@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_a_linear_flow_is_the_exponential_and_its_trace(solver: str, trace: str) -> None:
    flow = Continuous(4, velocity=Linear(4), trace=trace, **{**EXACT, "solver": solver, "steps": 100})
    x, matrix = batch(4), flow.velocity.matrix.detach()
    for method, sign in ((flow.forward_and_log_det, 1), (flow.inverse_and_log_det, -1)):
        y, log_det = method(x)
        torch.testing.assert_close(y, x @ torch.linalg.matrix_exp(sign * matrix).T, rtol=0, atol=1e-8)
        torch.testing.assert_close(log_det, (sign * matrix.trace()).expand(20), rtol=0, atol=1e-8)


@pytest.mark.parametrize("given", [0, 2])
def test_it_is_zukos_flow_of_the_same_network(given: int) -> None:
    flow = lively(3, given=given, **EXACT)
    x, c = batch(3), batch(2, seed=2) if given else None

    def velocity(t: Tensor, x: Tensor) -> Tensor:
        seen = torch.cat([x, t.expand(len(x), 1), *([] if c is None else [c])], 1)
        return flow.velocity.network(seen)

    zero, one = torch.tensor(0.0).double(), torch.tensor(1.0).double()
    peer = zuko.transforms.FreeFormJacobianTransform(velocity, zero, one, phi=flow.parameters(), atol=1e-10, rtol=1e-10, exact=True)
    y, log_det = flow.forward_and_log_det(x, c)
    theirs, their_log_det = peer.call_and_ladj(x)
    torch.testing.assert_close(y, theirs, rtol=0, atol=1e-7)
    torch.testing.assert_close(log_det, their_log_det, rtol=0, atol=1e-7)


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_log_determinant_is_autograds_of_the_whole_map(solver: str) -> None:
    flow = lively(3, solver=solver, steps=50, rtol=1e-7, atol=1e-7)
    x = batch(3, n=1)
    for method in (flow.forward_and_log_det, flow.inverse_and_log_det):
        log_det = method(x)[1]
        for i in range(len(x)):
            jacobian = torch.autograd.functional.jacobian(lambda v, m=method: m(v[None])[0][0], x[i])
            torch.testing.assert_close(log_det[i], torch.linalg.slogdet(jacobian)[1], rtol=0, atol=1e-6)


def test_the_round_trip_is_as_good_as_the_tolerance() -> None:
    x, errors = batch(3), []
    for tolerance in (1e-3, 1e-5, 1e-7, 1e-9):
        flow = lively(3, solver="dopri5", rtol=tolerance, atol=tolerance)
        with torch.no_grad():
            z, there = flow.forward_and_log_det(x)
            again, back = flow.inverse_and_log_det(z)
        assert (z - x).abs().max() > 0.1
        errors.append(max(float((again - x).abs().max()), float((there + back).abs().max())))
    assert all(b < 0.2 * a for a, b in zip(errors, errors[1:], strict=False)) and errors[-1] < 1e-7


def test_rows_do_not_influence_each_other() -> None:
    flow = lively(3, solver="dopri5")
    x = batch(3) * torch.linspace(0.1, 5, 20, dtype=torch.float64)[:, None]
    with torch.no_grad():
        together, log_det = flow.forward_and_log_det(x)
        alone = [flow.forward_and_log_det(row) for row in x.split(1)]
    torch.testing.assert_close(together, torch.cat([y for y, _ in alone]), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_det, torch.cat([value for _, value in alone]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("noise", ["rademacher", "normal"])
def test_hutchinsons_estimate_has_the_exact_mean(noise: str) -> None:
    flow, exact = (lively(10, trace=trace, noise=noise, steps=4) for trace in ("hutchinson", "exact"))
    x = batch(10, n=1)
    torch.manual_seed(3)
    with torch.no_grad():
        y, expected = exact.forward_and_log_det(x)
        moved, values = flow.forward_and_log_det(x.expand(4000, -1))
    torch.testing.assert_close(moved, y.expand(4000, -1), rtol=0, atol=1e-12)  # the noise concerns the determinant alone
    assert values.std() > 0.01
    assert abs(float(values.mean() - expected)) < 4 * float(values.std()) / math.sqrt(4000)


def test_the_noise_is_kept_all_the_way() -> None:
    """With one e, the estimate of a linear flow is e·Ae exactly, whatever the steps."""
    flow = Continuous(4, velocity=Linear(4), trace="hutchinson", **EXACT)
    torch.manual_seed(5)
    e = torch.where(torch.randn(20, 4, dtype=torch.float64) >= 0, 1.0, -1.0).double()
    torch.manual_seed(5)
    log_det = flow.forward_and_log_det(batch(4))[1]
    torch.testing.assert_close(log_det, (e * (e @ flow.velocity.matrix.T)).sum(1), rtol=0, atol=1e-9)


def test_auto_is_exact_where_densities_must_repeat() -> None:
    wide, x = lively(12), batch(12)
    repeated = [wide.train(mode).forward_and_log_det(x)[1] for mode in (True, True, False, False)]
    assert not torch.equal(repeated[0], repeated[1]) and torch.equal(repeated[2], repeated[3])
    narrow = lively(8).train()
    assert torch.equal(narrow.forward_and_log_det(batch(8))[1], narrow.forward_and_log_det(batch(8))[1])


def test_it_starts_as_the_identity() -> None:
    y, log_det = Continuous(5).forward_and_log_det(torch.randn(7, 5))
    assert log_det.abs().max() == 0 and Continuous(2).inverse_and_log_det(torch.ones(1, 2))[0].equal(torch.ones(1, 2))
    assert y.shape == (7, 5)


def test_copies_train_together_with_noise_of_their_own() -> None:
    flows = [lively(3, trace="hutchinson", steps=2) for _ in range(3)]
    state = stack_module_state(flows)
    x = batch(3)

    def loss(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return functional_call(Summed(flows[0]), ({f"flow.{k}": v for k, v in p.items()}, {}), (x,))

    values = vmap(torch.func.grad_and_value(loss), randomness="different")(*state)[1]
    assert values.shape == (3,) and len(set(values.tolist())) == 3


class Summed(nn.Module):
    """The sum of log-determinants."""

    def __init__(self, flow: Continuous) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        return self.flow.forward_and_log_det(x)[1].sum()


def test_bad_options_are_named() -> None:
    for option, value in (("trace", "exakt"), ("noise", "uniform"), ("solver", "euler")):
        with pytest.raises(OptionError, match=f"unknown {option} '{value}' of Continuous"):
            Continuous(2, **{option: value})
    with pytest.raises(OptionError, match="steps and max_steps of 1 or more"):
        Continuous(2, steps=0)


# ---- in the table of transforms --------------------------------------------------------------------------------------------------


def test_the_table_builds_it_for_numbers_and_refuses_angles() -> None:
    network = {"hidden": (8,), "dropout": 0.2}
    (step,) = bijections("continuous", Plan(3, given=2, network=network))
    assert isinstance(step, Continuous) and isinstance(step.velocity, Velocity)
    assert not any(isinstance(part, nn.Dropout) for part in step.modules())
    steps = bijections("continuous", Plan(4, transforms=2, mixing="lu", network=network))
    assert [type(step).__name__ for step in steps] == ["LULinear", "Continuous", "Continuous", "LULinear"]
    assert Chain(steps).forward_and_log_det(torch.randn(5, 4))[0].shape == (5, 4)
    with pytest.raises(OptionError, match="'continuous' moves numbers only and column 'phi' is an angle; use coupling or autoregressive"):
        bijections("continuous", Plan(1, angles=("phi",)))


def test_a_flow_of_it_integrates_to_one() -> None:
    torch.manual_seed(0)
    flow = Flow(Spec(Vector.real(2)), transform="continuous", hidden=(8,)).double().eval()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p))
        axis = (torch.arange(100).double() + 0.5) / 100 * 14 - 7
        log_prob = flow.log_prob(Examples(torch.cartesian_prod(axis, axis)))
    assert abs(float(log_prob.exp().sum()) * 0.14**2 - 1) < 1e-3
    assert (log_prob.exp() - log_prob.flip(0).exp()).abs().max() > 0.02  # and is no longer the noise's density
