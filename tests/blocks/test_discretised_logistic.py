"""Whole numbers exactly: sums of one, cells against scipy, far tails in single precision, gradients, samples, chains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks.discretised_logistic import DiscretisedLogistics, IntegerChain
from gnomon.errors import OptionError

INF = math.inf


def bound(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def mixture(n: int = 1, low: float = -INF, high: float = INF, seed: int = 0) -> DiscretisedLogistics:
    torch.manual_seed(seed)
    logits, means, log_scales = torch.randn(3, 1, 4).double().unbind()
    return DiscretisedLogistics(*(t.expand(n, 4) for t in (logits, 3 * means, log_scales)), bound(low), bound(high))


def test_a_cell_holds_what_scipys_distribution_says() -> None:
    k = np.arange(-30, 31)
    one = mixture(61)
    weight, mean, scale = one.logits[0].softmax(0).numpy(), one.means[0].numpy(), one.log_scales[0].exp().numpy()
    ends = [stats.logistic.cdf(k[:, None] + half, mean, scale) for half in (-0.5, 0.5)]
    ours = one.log_prob(torch.from_numpy(k).double()).exp().numpy()
    np.testing.assert_allclose(ours, ((ends[1] - ends[0]) * weight).sum(1), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("low, high", [(-INF, INF), (0, 9), (-4, INF), (-INF, 2), (3, 3)])
def test_probabilities_sum_to_one(low: float, high: float) -> None:
    k = torch.arange(max(low, -3000.0), min(high, 3000.0) + 1).double()
    assert mixture(len(k), low, high).log_prob(k).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", [-7.0, 0.0, 12.0])
def test_far_tails_are_finite_and_right_in_single_precision(scale: float) -> None:
    k = torch.tensor([-1e6, -300.0, 0.0, 300.0, 1e6])
    leaves = [torch.zeros(5, 2, requires_grad=True), torch.tensor([[0.3, -0.3]]).repeat(5, 1).requires_grad_()]
    leaves.append(torch.full((5, 2), scale, requires_grad=True))
    value = DiscretisedLogistics(*leaves, bound(-INF), bound(INF)).log_prob(k)
    assert value.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(value.sum(), leaves))
    exact = DiscretisedLogistics(*(leaf.double() for leaf in leaves), bound(-INF), bound(INF)).log_prob(k.double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-5)
    if scale == 0.0:  # far below, log p = k + mean of e^mean + log 2 sinh(1/2), where differences of probabilities are zero
        expected = -300 + math.log(0.5 * (math.exp(-0.3) + math.exp(0.3))) + math.log(2 * math.sinh(0.5))
        assert value[1].item() == pytest.approx(expected, rel=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    k, low, high = torch.tensor([0.0, 3.0, 9.0, 5.0]).double(), bound(0), bound(9)

    def value(logits: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
        return DiscretisedLogistics(logits, means, log_scales, low, high).log_prob(k)

    torch.manual_seed(0)
    assert torch.autograd.gradcheck(value, [torch.randn(4, 3).double().requires_grad_() for _ in range(3)])


def test_samples_follow_the_probabilities() -> None:
    torch.manual_seed(0)
    drawn = mixture(50_000, -2, 6).sample()
    k = torch.arange(-2.0, 7.0).double()
    probability = mixture(9, -2, 6).log_prob(k).exp()
    seen = (drawn[:, None] == k).double().mean(0)
    assert seen.sum() == 1
    assert ((seen - probability).abs() < 4.5 * (probability / 50_000).sqrt() + 1e-9).all()


# ---- chains ----------------------------------------------------------------------------------------------------------------------


def chain(given: int = 0, seed: int = 0, scale: float = 0.5) -> IntegerChain:
    """Three columns in float64 with every parameter moved off its start."""
    torch.manual_seed(seed)
    made = IntegerChain([(0, 4), (None, 3), (-1, 2)], components=3, given=given, hidden=(8,)).double()
    made.measure(torch.tensor([2.0, -1.0, 0.4]), torch.tensor([1.2, 2.0, 0.9]))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return made


def cells(lowest: int = -400) -> Tensor:
    return torch.cartesian_prod(torch.arange(5), torch.arange(lowest, 4), torch.arange(-1, 3))


@pytest.mark.parametrize("given", [0, 2])
def test_a_chain_sums_to_one(given: int) -> None:
    made, k = chain(given), cells()
    condition = None if not given else torch.tensor([[0.3, -1.0]]).double().expand(len(k), 2)
    assert made.log_prob(k, condition).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_a_chains_samples_follow_its_probability() -> None:
    made, k = chain(), cells(-12)
    torch.manual_seed(1)
    with torch.no_grad():
        drawn, probability = made.sample(40_000), made.log_prob(k).exp()
    assert drawn.dtype == torch.int64 and (made.log_prob(drawn) > -INF).all()
    code = ((k[:, 0] * 16) + k[:, 1] + 12) * 4 + k[:, 2] + 1
    seen = torch.zeros(5 * 16 * 4).double()
    inside = drawn[drawn[:, 1] >= -12]
    seen.index_add_(0, ((inside[:, 0] * 16) + inside[:, 1] + 12) * 4 + inside[:, 2] + 1, torch.full((len(inside),), 1 / 40_000).double())
    assert ((seen[code] - probability).abs() < 5 * (probability / 40_000).sqrt() + 1e-4).all()


def test_beyond_the_bounds_the_probability_is_zero_and_gradients_are_finite() -> None:
    made = chain()
    k = torch.tensor([[5, 0, 0], [0, 4, 0], [0, -500, -2], [0, -500, 0]])
    value = made.log_prob(k)
    assert (value[:3] == -INF).all() and value[3].isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(value[3], list(made.parameters())))


def test_large_numbers_keep_their_steps_in_single_precision() -> None:
    made = IntegerChain([(0, None)], components=1)
    made.measure(torch.tensor([40_000_000.0]), torch.tensor([1.0]))
    k = torch.arange(39_999_980, 40_000_021)[:, None]
    assert made.log_prob(k).exp().sum().item() == pytest.approx(1, abs=1e-5)
    torch.manual_seed(0)
    assert len(made.sample(1000).unique()) > 5


def test_a_chain_learns_counts() -> None:
    torch.manual_seed(0)
    rate = torch.rand(4000, 1) * 6 + 1
    k = torch.poisson(rate)
    made = IntegerChain([(0, None)], given=1, hidden=(32,))
    made.measure(k.mean(0), k.std(0))
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(250):
        loss = -made.log_prob(k, rate / 4 - 1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    test_rate = torch.rand(4000, 1) * 6 + 1
    test = torch.poisson(test_rate)
    truth = torch.distributions.Poisson(test_rate).log_prob(test).mean()
    assert 0 < (truth - made.log_prob(test, test_rate / 4 - 1).mean()).item() + 0.005 < 0.02


def test_copies_of_a_chain_work_together() -> None:
    models = [chain(seed=seed) for seed in range(3)]
    parameters, buffers = stack_module_state(models)
    k = cells(-3)

    def one(own: dict[str, Tensor], fixed: dict[str, Tensor]) -> Tensor:
        return functional_call(models[0], {**own, **fixed}, (k,))

    models[0].forward = models[0].log_prob  # type: ignore[method-assign]
    together = vmap(one)({name: p.detach() for name, p in parameters.items()}, buffers)
    torch.testing.assert_close(together, torch.stack([model.log_prob(k) for model in models]), rtol=1e-9, atol=1e-9)


def test_state_carries_what_was_measured() -> None:
    made, other = chain(), chain(seed=5)
    other.measure(torch.zeros(3), torch.zeros(3))
    assert (other.spread == 1).all()
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.log_prob(cells(-5)), made.log_prob(cells(-5)))


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match="lowest whole number must not be above the highest; got 3 and 1"):
        IntegerChain([(3, 1)])
    with pytest.raises(OptionError, match="'components' of IntegerChain must be 1 or more; got 0"):
        IntegerChain([(0, 1)], components=0)
