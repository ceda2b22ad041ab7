"""Optimisers against torch's own, flat parameters, schedules and the meter."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from gnomon.errors import OptionError
from gnomon.models import Loss
from gnomon.training import schedules
from gnomon.training.meter import EVERY, Meter
from gnomon.training.optimisers import OPTIMISERS, Look, Optimiser, OptimiserOptions, make
from gnomon.training.optimisers.muon import orthogonal
from gnomon.training.optimisers.options import refuse_idle
from gnomon.training.parameters import ALIGNMENT, FlatParameters, kinds_of
from gnomon.training.settings import resolve, usual_batch


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))


ORACLES = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01, betas=(0.8, 0.95)),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95)),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.01),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.9),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, lr=0.01),
    "adadelta": lambda groups: torch.optim.Adadelta(groups, lr=0.01),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.01),
    "nadam": lambda groups: torch.optim.NAdam(groups, lr=0.01, betas=(0.8, 0.95)),
    "nesterov": lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("name", list(ORACLES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fused", "plain"])
@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("copies", [None, 1])
def test_updates_equal_torchs(name, dtype, clip, copies) -> None:
    ours, theirs = network().to(dtype), network().to(dtype)
    leaves = dict(ours.named_parameters())
    if copies:
        leaves = {key: p.detach()[None].clone().requires_grad_() for key, p in leaves.items()}
    options = OptimiserOptions(optimizer=name, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1, clip=clip, average=None)
    optimiser = Optimiser(FlatParameters(leaves, copies), options)
    fused = name in ("adam", "adamw", "momentum", "nesterov")
    assert (optimiser._fused is not None) == (fused and dtype == torch.float32 and copies is None)
    decayed = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim < 2]
    oracle = ORACLES[name]([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}])
    x, y = torch.randn(12, 5, dtype=dtype), torch.randn(12, 2, dtype=dtype)
    for step in range(10):
        factor = 1.0 / (1 + step)
        optimiser.zero_grad()
        used = {key: p[0] for key, p in leaves.items()} if copies else leaves
        (torch.func.functional_call(ours, used, x) - y).square().sum().backward()
        optimiser.step(factor, torch.tensor([12.0] if copies else 12.0, dtype=dtype))
        oracle.zero_grad()
        ((theirs(x) - y).square().sum() / 12).backward()
        if clip:
            norm = torch.cat([p.grad.flatten() for p in theirs.parameters()]).norm()  # torch's own clipping adds 1e-6 to it
            for p in theirs.parameters():
                p.grad *= min(1.0, clip / norm)
        for group in oracle.param_groups:
            group["lr"] = 0.01 * factor
        oracle.step()
    if name == "nadam" and dtype == torch.float64:
        dtype = torch.float32  # torch keeps the product of its momenta in single precision
    for key, expected in theirs.named_parameters():
        found = leaves[key][0] if copies else leaves[key]
        torch.testing.assert_close(
            found, expected, rtol=1e-5 if dtype == torch.float32 else 1e-10, atol=1e-6 if dtype == torch.float32 else 1e-12
        )


def test_state_continues_exactly() -> None:
    first, second = network(), network()
    one, two = (Optimiser(FlatParameters(dict(net.named_parameters())), OptimiserOptions()) for net in (first, second))
    for _ in range(5):
        one.zero_grad()
        first(torch.ones(3, 5)).square().sum().backward()
        one.step(1.0, torch.tensor(3.0))
    two.load_state({key: t.clone() for key, t in one.state().items()}, one.steps)
    for optimiser, net in ((one, first), (two, second)):
        optimiser.zero_grad()
        net(torch.ones(3, 5)).square().sum().backward()
        optimiser.step(1.0, torch.tensor(3.0))
    assert all(torch.equal(a, b) for a, b in zip(one.state().values(), two.state().values(), strict=True))


def test_flat_parameters_are_views_with_weights_first() -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    flat = FlatParameters(dict(net.named_parameters()))
    assert all(torch.equal(before[name], p) for name, p in net.named_parameters())
    weights = sum(math.ceil(p.numel() / ALIGNMENT) * ALIGNMENT for p in net.parameters() if p.ndim > 1)
    assert flat.slices == {"weights": slice(0, weights), "biases": slice(weights, flat.data.shape[1])}
    flat.data.zero_()
    assert all(p.count_nonzero() == 0 for p in net.parameters())
    net(torch.ones(1, 5)).sum().backward()
    assert flat.grad.count_nonzero() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr"),
        ({"betas": (0.9,)}, "betas"),
        ({"clip": -1.0}, "clip"),
        ({"average": 1.0}, "average"),
        ({"momentum": 1.0}, "momentum"),
    ],
)
def test_values_out_of_range_are_named(options, message) -> None:
    with pytest.raises(OptionError, match=f"option '{message}' must be"):
        OptimiserOptions(**options)


def moved(net: nn.Module, options: OptimiserOptions, gradients: list[torch.Tensor], *, whole: bool = False) -> Optimiser:
    """The optimiser after steps whose mean gradients are given, each of the size of all parameters together."""
    optimiser = make(FlatParameters(dict(net.named_parameters()), kinds=kinds_of(net)), options)
    for gradient in gradients:
        start = 0
        for p in net.parameters():
            p.grad.copy_(gradient[start : start + p.numel()].view_as(p) * 4.0)
            start += p.numel()
        optimiser.step(1.0, torch.tensor(4.0))
    return optimiser


def test_kinds_decay_and_train_as_they_are_told() -> None:
    net = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 2), nn.LayerNorm(2))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    options = OptimiserOptions(optimizer="sgd", lr=0.5, weight_decay=0.1, decays=("biases", "embeddings"), clip=None, average=None)
    moved(net, options, [torch.zeros(sum(p.numel() for p in net.parameters()))])
    for name, p in net.named_parameters():
        pulled = name in ("0.weight", "1.bias", "2.bias")
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if pulled else 1.0))


def test_muon_takes_orthogonal_steps_for_matrices_and_adams_for_the_rest() -> None:
    torch.manual_seed(0)
    made = orthogonal(torch.randn(3, 5, 9, dtype=torch.float64))
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.6 and values.max() < 1.3
    wide, tall, vectors = torch.linalg.svd(torch.randn(9, 5, dtype=torch.float64), full_matrices=False)
    same = orthogonal(wide @ torch.diag(torch.full((5,), 3.0, dtype=torch.float64)) @ vectors, 30)
    cosine = (same * (wide @ vectors)).sum() / same.norm() / math.sqrt(5)
    assert cosine > 0.999  # equal singular values stay equal: the direction is the polar factor
    net, twin = network().double(), network().double()
    gradients = [torch.randn(sum(p.numel() for p in net.parameters()), dtype=torch.float64) for _ in range(4)]
    options = OptimiserOptions(optimizer="muon", lr=0.01, weight_decay=0.1, clip=None, average=None)
    moved(net, options, gradients)
    moved(twin, OptimiserOptions(optimizer="adamw", lr=0.01, weight_decay=0.1, clip=None, average=None), gradients)
    torch.testing.assert_close(net[0].bias, twin[0].bias)
    start = network().double()
    momentum = torch.zeros_like(start[0].weight)
    for gradient in gradients:
        g = gradient[: momentum.numel()].view_as(momentum)
        momentum = 0.9 * momentum + g
        step = orthogonal(g + 0.9 * momentum)
        start[0].weight.data = start[0].weight.data * (1 - 0.01 * 0.1) - 0.01 * 0.2 * math.sqrt(7) * step
    torch.testing.assert_close(net[0].weight, start[0].weight)


class Quadratic:
    """``½ pᵀ A p`` with a condition number of 1000, as an optimiser sees it."""

    def __init__(self, options: OptimiserOptions) -> None:
        generator = torch.Generator().manual_seed(1)
        basis = torch.linalg.qr(torch.randn(16, 16, generator=generator, dtype=torch.float64))[0]
        self.matrix = basis @ torch.diag(torch.logspace(-3, 0, 16, dtype=torch.float64)) @ basis.T
        self.p = nn.Parameter(torch.ones(16, dtype=torch.float64))
        self.optimiser = make(FlatParameters({"p": self.p}), options)

    def gradient(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.optimiser.zero_grad()
        value = 0.5 * self.p @ self.matrix @ self.p
        value.backward()
        return value.detach(), torch.ones((), dtype=torch.float64)

    def residuals(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        root = torch.linalg.cholesky(self.matrix).T / math.sqrt(2)
        return root @ self.p.detach(), root, torch.ones(())


@pytest.mark.parametrize(("name", "steps"), [("lbfgs", 60), ("levenberg-marquardt", 12)])
def test_rules_on_whole_data_solve_an_ill_conditioned_quadratic(name, steps) -> None:
    problem = Quadratic(OptimiserOptions(optimizer=name, lr=1.0, average=None))
    assert problem.optimiser.looks_again
    for _ in range(steps):
        problem.optimiser.move(1.0, Look(problem.gradient, problem.residuals))
    assert problem.gradient()[0] < 1e-5
    descent = Quadratic(OptimiserOptions(optimizer="sgd", lr=1.0, clip=None, average=None))
    for _ in range(steps):
        descent.gradient()
        descent.optimiser.step(1.0, torch.ones(()))
    assert descent.gradient()[0] > 1e-2


def test_lbfgs_needs_no_more_steps_than_scipy_on_rosenbrocks_valley() -> None:
    from scipy.optimize import minimize, rosen, rosen_der

    p = nn.Parameter(torch.tensor([-1.2, 1.0, -0.5, 1.5], dtype=torch.float64))
    optimiser = make(FlatParameters({"p": p}), OptimiserOptions(optimizer="lbfgs", lr=1.0, average=None))

    def gradient() -> tuple[torch.Tensor, torch.Tensor]:
        optimiser.zero_grad()
        value = (100 * (p[1:] - p[:-1].square()).square() + (1 - p[:-1]).square()).sum()
        value.backward()
        return value.detach(), torch.ones((), dtype=torch.float64)

    theirs = minimize(rosen, p.detach().numpy().copy(), jac=rosen_der, method="L-BFGS-B", options={"gtol": 1e-8})
    steps = 0
    while gradient()[0] > 1e-12 and steps < 200:
        optimiser.move(1.0, Look(gradient, lambda: pytest.fail("L-BFGS asked for residuals")))
        steps += 1
    assert 0 < steps <= 1.5 * theirs.nit


def test_sharpness_takes_the_gradient_at_the_worst_place_nearby() -> None:
    problem = Quadratic(OptimiserOptions(optimizer="sgd", lr=0.1, clip=None, sharpness=0.5, average=None))
    start = problem.p.detach().clone()
    g = problem.matrix @ start
    problem.optimiser.move(1.0, Look(problem.gradient, problem.residuals))
    expected = start - 0.1 * problem.matrix @ (start + 0.5 * g / g.norm())
    torch.testing.assert_close(problem.p.detach(), expected)


def test_penalties_and_limits_against_their_formulas() -> None:
    zeros = torch.zeros(5 * 7 + 7 + 7 * 2 + 2)
    shared = {"optimizer": "sgd", "lr": 0.1, "clip": None, "average": None}
    net, start = network(), network()
    moved(net, OptimiserOptions(**shared, l1=0.3), [zeros])
    torch.testing.assert_close(net[0].weight, start[0].weight - 0.1 * 0.3 * start[0].weight.sign())
    torch.testing.assert_close(net[0].bias, start[0].bias)

    net = network()
    moved(net, OptimiserOptions(**shared, max_norm=0.4), [zeros])
    torch.testing.assert_close(net[0].weight, torch.renorm(start[0].weight.detach(), 2, 0, 0.4))
    assert start[0].weight.norm(dim=1).max() > 0.4

    net, gradient = network(), torch.randn_like(zeros)
    moved(net, OptimiserOptions(**shared, adaptive_clip=0.01), [gradient])
    g = gradient[:35].view(7, 5)
    most = 0.01 * start[0].weight.detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(net[0].weight, start[0].weight - 0.1 * g * (most / g.norm(dim=1, keepdim=True)).clamp(max=1.0))

    torch.manual_seed(5)
    wide, still = nn.Linear(200, 200), nn.Linear(200, 200)
    still.load_state_dict(wide.state_dict())
    moved(wide, OptimiserOptions(**shared, gradient_noise=2.0), [torch.zeros(200 * 201)] * 2)
    spread = (wide.weight - still.weight).std().item() / 0.1
    assert spread == pytest.approx(2.0 * math.sqrt(1 + 2**-0.55), rel=0.03)


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name not in ("lbfgs", "levenberg-marquardt")])
def test_several_copies_move_as_each_would_alone(name) -> None:
    options = OptimiserOptions(optimizer=name, lr=0.02, weight_decay=0.1, clip=0.7, l1=0.01, adaptive_clip=0.5, max_norm=2.0)
    nets = [network().double(), network().double()]
    nets[1][0].weight.data.mul_(2.0)
    stacked = {
        key: torch.stack([dict(net.named_parameters())[key].detach() for net in nets]).requires_grad_()
        for key, _ in nets[0].named_parameters()
    }
    together = make(FlatParameters(stacked, 2, kinds_of(nets[0])), options)
    alone = [make(FlatParameters(dict(net.named_parameters()), kinds=kinds_of(net)), options) for net in nets]
    x = torch.randn(6, 5, dtype=torch.float64)
    for _ in range(4):
        together.zero_grad()
        torch.func.vmap(lambda own: torch.func.functional_call(nets[0], own, (x,)))(stacked).square().sum().backward()
        together.step(1.0, torch.tensor([6.0, 6.0]).double())
        for optimiser, net in zip(alone, nets, strict=True):
            optimiser.zero_grad()
            net(x).square().sum().backward()
            optimiser.step(1.0, torch.tensor(6.0).double())
    for index, net in enumerate(nets):
        for key, p in net.named_parameters():
            torch.testing.assert_close(stacked[key][index], p, rtol=1e-9, atol=1e-12)


def test_options_that_would_do_nothing_are_named() -> None:
    with pytest.raises(OptionError, match="'momentum' does nothing with optimizer='adam'; it belongs to momentum"):
        refuse_idle("adam", {"momentum": 0.5, "lr": 0.1})
    with pytest.raises(OptionError, match="batch_size='all'"):
        resolve({"optimizer": "lbfgs"}, {}, 1000)
    assert resolve({"optimizer": "lbfgs", "batch_size": "all"}, {"lr": 1e-3}, 1000).lr == 1.0
    assert resolve({"optimizer": "sgd", "lr": 0.3}, {"lr": 1e-3}, 1000).lr == 0.3
    own = resolve({"players": {"critic": {"optimizer": "sgd"}}}, {"lr": 1e-3}, 1000).own()
    assert own["critic"].optimizer == "sgd" and own["critic"].lr == 0.05


def test_a_plateau_lowers_the_rate_and_goes_on_from_its_state() -> None:
    rule = schedules.Plateau(patience=2, fall=0.1)
    for value in (3.0, 2.0, 2.0, 2.5, 1.9, 2.0):
        rule.see(value)
    again = schedules.Plateau(patience=2, fall=0.1)
    again.load_state(rule.state())
    for one in (rule, again):
        one.see(2.0)
        assert one.factor == pytest.approx(0.01) and one.best == 1.9


def test_every_schedule_stays_between_zero_and_one_and_ends_low() -> None:
    for name in schedules.SCHEDULES:
        factors = [schedules.make(name, 200)(i) for i in range(201)]
        assert all(0.0 <= f <= 1.0 for f in factors), name
        assert max(factors) == pytest.approx(1.0, abs=1e-3)
        assert factors[200] <= 0.15 or name in ("constant", "plateau"), name
    restarts = schedules.make("restarts", 70)
    assert restarts(0) == restarts(10) == restarts(30) == 1.0 and restarts(9) < 0.05 and restarts(69) < 0.01


def test_schedules_have_their_shapes() -> None:
    cosine, linear, cycle = (schedules.make(name, 100) for name in ("cosine", "linear", "one-cycle"))
    assert cosine(0) == 1 and cosine(50) == pytest.approx(0.5) and cosine(100) == pytest.approx(0)
    assert linear(25) == 0.75 and linear(200) == 0
    assert cycle(0) == pytest.approx(0.04) and cycle(30) == pytest.approx(1.0, abs=1e-3) and cycle(100) < 1e-3
    assert max(range(101), key=cycle) == 30
    warm = schedules.make("constant", 100, warmup=4)
    assert [warm(i) for i in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    with pytest.raises(OptionError, match="did you mean 'cosine'"):
        schedules.make("cosin", 10)


def test_means_do_not_depend_on_when_they_are_read() -> None:
    torch.manual_seed(0)
    losses = [Loss.mean(torch.rand(n % 7 + 1), part=torch.rand(n % 7 + 1)) for n in range(EVERY + 50)]
    often, once = Meter(), Meter()
    for loss in losses:
        often.add(loss)
        often.read()
        once.add(loss)
    again = Meter()
    again.load_state(often.state())
    assert often.means() == once.means() == again.means()
    total = sum(loss.total.double() for loss in losses) / sum(loss.weight.double() for loss in losses)
    assert once.means()["loss"] == pytest.approx(total.item(), rel=1e-12)


def test_what_the_user_says_wins_over_the_models_defaults() -> None:
    settings = resolve({"lr": "0.5"}, {"lr": 0.1, "epochs": 7}, 1000)
    assert (settings.lr, settings.epochs, settings.batch_size) == (0.5, 7, 32)
    assert resolve({"batch_size": "all"}, {}, 123).batch_size == 123
    assert [usual_batch(n) for n in (1, 1293, 10**6)] == [16, 64, 512]
    with pytest.raises(OptionError, match="did you mean 'momentum'"):
        resolve({"momentun": 0.1}, {}, 100)
    with pytest.raises(OptionError, match="epochs.*wants a whole number"):
        resolve({"epochs": "many"}, {}, 100)
