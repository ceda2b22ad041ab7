"""Importance weights: closed forms between normal densities, errors that cover, a chain that follows the target."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gnomon.blocks.importance import effective_share, independence_metropolis, log_partition, normalised, weighted_mean

WIDTH = 1.3
"""The proposal's standard deviation; the target is 5 exp(-x²/2)."""
LOG_Z = math.log(5) + 0.5 * math.log(2 * math.pi)
# For normal densities: ∫ p² / q = WIDTH² / sqrt(2 WIDTH² - 1), and the share in the limit is one over it.
SHARE = math.sqrt(2 * WIDTH**2 - 1) / WIDTH**2


def draws(n: int, seed: int) -> tuple[Tensor, Tensor]:
    x = WIDTH * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    log_q = -0.5 * (x / WIDTH).square() - math.log(WIDTH) - 0.5 * math.log(2 * math.pi)
    return x, math.log(5) - 0.5 * x.square() - log_q


def test_values_are_those_of_normal_densities_and_errors_those_seen() -> None:
    found: dict[str, list[tuple[float, float]]] = {"log Z": [], "share": [], "mean": []}
    for seed in range(200):
        x, log_weights = draws(2000, seed)
        for name, measured in zip(
            found, (log_partition(log_weights), effective_share(log_weights), weighted_mean(x.square(), log_weights)), strict=True
        ):
            found[name].append(measured)
    for name, expected in (("log Z", LOG_Z), ("share", SHARE), ("mean", 1.0)):
        values, errors = torch.tensor(found[name], dtype=torch.float64).T
        assert abs(float(values.mean()) - expected) < 4 * float(values.std()) / math.sqrt(200) + 1e-4, name
        assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.15), name


def test_equal_weights_are_worth_all_and_one_is_worth_itself() -> None:
    equal = torch.full((50,), -700.0)  # the weights themselves would vanish in single precision
    assert log_partition(equal) == (pytest.approx(-700.0), pytest.approx(0.0, abs=1e-12))
    assert effective_share(equal) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-9))
    assert torch.equal(normalised(equal), torch.ones(50).double())
    alone = torch.tensor([0.0] + [-math.inf] * 49)
    assert effective_share(alone).value == pytest.approx(1 / 50)
    assert log_partition(alone).value == pytest.approx(-math.log(50))


def test_the_jackknife_is_the_one_written_out() -> None:
    log_weights = draws(20, 0)[1]
    shares = torch.tensor([effective_share(torch.cat([log_weights[:i], log_weights[i + 1 :]])).value for i in range(20)])
    expected = float((19 / 20 * (shares - shares.mean()).square().sum()).sqrt())
    assert effective_share(log_weights).error == pytest.approx(expected, rel=1e-4)


def test_the_chain_follows_the_target() -> None:
    x, log_weights = draws(40_000, 3)
    chain, accepted = independence_metropolis(log_weights, generator=torch.Generator().manual_seed(0))
    assert chain.shape == (40_000,) and (chain.diff() >= 0).all() and (chain <= torch.arange(40_000)).all()
    assert float(x[chain].square().mean()) == pytest.approx(1.0, abs=0.03) and float(x.square().mean()) > 1.6
    # In equilibrium: the mean over pairs of draws from target and proposal of min(1, w' / w).
    old, new = draws(200_000, 4)[1].split(100_000)
    expected = float((old.exp() * torch.minimum(torch.ones(()), (new - old).exp())).mean() / old.exp().mean())
    assert accepted == pytest.approx(expected, abs=0.01)
    assert accepted == pytest.approx(float((chain.diff() > 0).double().mean()))


def test_impossible_draws_are_left_and_never_taken() -> None:
    chain, _ = independence_metropolis(torch.tensor([-math.inf, 0.0, -math.inf, math.nan]))
    assert chain.tolist() == [0, 1, 1, 1]
    assert independence_metropolis(torch.zeros(1))[0].tolist() == [0]
    first, again = (independence_metropolis(draws(50, 1)[1], generator=torch.Generator().manual_seed(2))[0] for _ in range(2))
    assert torch.equal(first, again)
