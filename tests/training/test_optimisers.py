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
from gnomon.training.optimisers import Optimiser, OptimiserOptions
from gnomon.training.parameters import ALIGNMENT, FlatParameters
from gnomon.training.settings import resolve, usual_batch


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))


ORACLES = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01, betas=(0.8, 0.95)),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95)),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True),
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
    assert (optimiser._fused is not None) == (name != "sgd" and dtype == torch.float32 and copies is None)
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
    assert flat.decayed == sum(math.ceil(p.numel() / ALIGNMENT) * ALIGNMENT for p in net.parameters() if p.ndim > 1)
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
