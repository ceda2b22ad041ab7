"""Mixing: rotations against the product of their reflections, permutations, and normalisation by the first batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks.bijections import ActNorm, OrthogonalLinear, Permutation
from gnomon.errors import OptionError


def matrix(step: OrthogonalLinear, size: int) -> Tensor:
    return step.forward_and_log_det(torch.eye(size, dtype=torch.float64))[0]


@pytest.mark.parametrize("size", [2, 3, 4, 7, 32])
def test_a_rotation_is_the_product_of_its_reflections(size: int) -> None:
    torch.manual_seed(size)
    step = OrthogonalLinear(size).double()
    step.vectors.data += torch.randn_like(step.vectors)
    expected = torch.eye(size, dtype=torch.float64)
    for v in step.vectors.detach().T:
        expected = expected @ (torch.eye(size, dtype=torch.float64) - 2 * torch.outer(v, v) / v.dot(v))
    made = matrix(step, size)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(made @ made.T, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-11)
    assert torch.linalg.det(made).item() == pytest.approx(1.0)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_any_rotation_can_be_reached(size: int) -> None:
    torch.manual_seed(0)
    wanted = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]
    wanted[0] *= torch.linalg.det(wanted)
    step = OrthogonalLinear(size).double()
    optimiser = torch.optim.LBFGS(step.parameters(), max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def distance() -> Tensor:
        optimiser.zero_grad()
        error = (matrix(step, size) - wanted).square().sum()
        error.backward()
        return error

    optimiser.step(distance)
    assert distance().item() < 1e-6


def test_single_precision_stays_orthogonal_through_absurd_vectors() -> None:
    step = OrthogonalLinear(16)
    step.vectors.data = torch.randn(16, 16) * torch.logspace(-6, 6, 16)
    x = torch.randn(100, 16)
    z, _ = step.forward_and_log_det(x)
    torch.testing.assert_close(z.norm(dim=1), x.norm(dim=1), rtol=1e-4, atol=0)
    torch.testing.assert_close(step.inverse_and_log_det(z)[0], x, rtol=0, atol=1e-4)


def test_a_permutation_moves_columns() -> None:
    x = torch.arange(4.0)[None]
    step = Permutation((3, 0, 1, 2))
    assert step.forward_and_log_det(x)[0].tolist() == [[3, 0, 1, 2]]
    assert torch.equal(step.inverse_and_log_det(step.forward_and_log_det(x)[0])[0], x)
    with pytest.raises(OptionError, match="a permutation of 3 columns names each of them once; got"):
        Permutation((0, 0, 1))


# ---- normalisation by the first batch ----------------------------------------------------------------------------------------------


def batch(seed: int, n: int = 100) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=generator) * torch.tensor([3.0, 0.1]) + torch.tensor([-5.0, 2.0])


def test_the_first_training_batch_sets_it_and_no_other() -> None:
    step = ActNorm(2)
    assert torch.equal(step.eval().forward_and_log_det(batch(0))[0], batch(0)) and not step.ready
    z, log_det = step.train().forward_and_log_det(batch(0))
    torch.testing.assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(2))
    torch.testing.assert_close(log_det, -batch(0).std(0, correction=0).log().sum().expand(100))
    kept = {name: value.clone() for name, value in step.state_dict().items()}
    other = step.forward_and_log_det(batch(1))[0]
    assert kept["ready"] and all(torch.equal(value, kept[name]) for name, value in step.state_dict().items())
    torch.testing.assert_close(step.eval().forward_and_log_det(batch(1))[0], other)
    torch.testing.assert_close(step.inverse_and_log_det(other)[0], batch(1), rtol=1e-5, atol=1e-5)


def test_a_loaded_one_is_not_set_again() -> None:
    step, again = ActNorm(2), ActNorm(2)
    step.forward_and_log_det(batch(0))
    again.load_state_dict(step.state_dict())
    assert torch.equal(again.train().forward_and_log_det(batch(1))[0], step.eval().forward_and_log_det(batch(1))[0])


def test_one_row_sets_nothing_and_a_constant_column_keeps_its_scale() -> None:
    step = ActNorm(2)
    step.forward_and_log_det(batch(0, 1))
    assert not step.ready
    z, log_det = step.forward_and_log_det(torch.tensor([[7.0, 1.0], [7.0, 3.0]]))
    assert z.tolist() == [[0.0, -1.0], [0.0, 1.0]] and torch.equal(log_det, torch.zeros(2)) and step.ready


def test_two_batches_before_one_backward_pass() -> None:
    step = ActNorm(2)
    total = sum(step.forward_and_log_det(batch(seed))[0].square().sum() for seed in (0, 1))
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in step.parameters())


class Forward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = ActNorm(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.step.forward_and_log_det(x)[0]


def test_copies_each_set_their_own_under_vmap() -> None:
    modules = [Forward() for _ in range(2)]
    parameters, buffers = stack_module_state(modules)
    x = torch.stack([batch(0), batch(1)])
    for turn in range(2):  # the second batch sets nothing
        z = vmap(lambda p, b, x: functional_call(modules[0], (p, b), (x,)))(parameters, buffers, x if turn == 0 else x.flip(0))
        if turn == 0:
            torch.testing.assert_close(z.mean(1), torch.zeros(2, 2), rtol=0, atol=1e-4)
    assert buffers["step.ready"].all()
    for i, module in enumerate(modules):
        module(batch(i))
        torch.testing.assert_close(buffers["step.mean"][i], module.step.mean)


@pytest.mark.slow
def test_one_compiled_graph_sets_it_and_goes_on() -> None:
    torch._dynamo.reset()
    module = Forward()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    expected = Forward()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed in range(3):
            torch.testing.assert_close(compiled(batch(seed)), expected(batch(seed)))
    assert module.step.ready and torch.allclose(module.step.mean, expected.step.mean)
