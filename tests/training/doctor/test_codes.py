"""Codes: idle ones and a prior that is elsewhere are named where they were planted, and nothing is said of healthy fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import gnomon
from gnomon.data import Examples
from gnomon.models.vae import VAE
from gnomon.models.vqvae import VQVAE
from gnomon.training.doctor.codes import dead, hole, same_side
from tests.training.doctor.models_for_the_doctor import ring

SPEC, TRAIN, HELD_OUT = ring()


def alone(spoiled: bool = False, **options: Any) -> VQVAE:
    """The first stage of a VQVAE, from the data or from a table far away whose codes are never moved."""
    torch.manual_seed(0)
    model = VQVAE(SPEC, codes=64, **options)
    model.stage = 0
    if spoiled:
        model.quantiser.least = 0.0
        model.quantiser.table.mul_(10)
        model.quantiser.sums.mul_(10)
    else:
        model.begin(TRAIN)
    return model


def test_a_table_that_nobody_uses_is_named(visit) -> None:
    lines = visit(alone(True, quantiser="vq"), SPEC, TRAIN, HELD_OUT, epochs=20, lr=3e-3).lines
    assert any("dead codes" in line and "of 64 codes" in line for line in lines), lines


@pytest.mark.parametrize("quantiser", ["fsq", "vq"])
def test_codes_in_use_give_no_line(visit, quantiser) -> None:
    assert visit(alone(quantiser=quantiser), SPEC, TRAIN, HELD_OUT, epochs=20, lr=3e-3).lines == []


@pytest.mark.parametrize("beta", [0.0, 0.01])
def test_a_prior_that_is_elsewhere_is_named(visit, beta) -> None:
    torch.manual_seed(0)
    lines = visit(VAE(SPEC, latent=4, beta=beta), SPEC, TRAIN, HELD_OUT, epochs=30, lr=3e-3).lines
    assert any("hole in the prior" in line for line in lines), lines


@pytest.mark.parametrize("seed", range(3))
def test_a_prior_where_the_codes_are_gives_no_line(visit, seed) -> None:
    torch.manual_seed(seed)
    assert visit(VAE(SPEC, latent=4), SPEC, TRAIN, HELD_OUT, epochs=30, lr=3e-3).lines == []


def test_whole_fits_are_silent_in_both_stages() -> None:
    learned = gnomon.fit("vqvae", TRAIN.x.numpy(), options={"codes": 32}, epochs=25, progress=False)
    assert [line for record in learned.history for line in record.get("doctor", [])] == []


def test_neighbours_are_those_of_another_implementation_and_the_null_is_even() -> None:
    chance = np.random.default_rng(0)
    first, second = chance.normal(size=(120, 3)), chance.normal(size=(120, 3)) + 0.7
    both = np.concatenate([first, second])
    both = (both - both.mean(0)) / both.std(0)
    near = NearestNeighbors(n_neighbors=6).fit(both).kneighbors(both)[1][:, 1:]
    expected = ((near < 120) == (np.arange(240) < 120)[:, None]).mean()
    share, null, spread = same_side(torch.tensor(first), torch.tensor(second))
    assert share == pytest.approx(expected, abs=1e-9)
    assert null == pytest.approx(0.498, abs=0.01) and 0.005 < spread < 0.04


def test_one_distribution_has_no_hole_whatever_the_seed() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        a, b = (torch.randn(256, 8, generator=generator) for _ in range(2))
        assert hole(a, b) is None
    assert hole(a, 0.2 * b) is not None and hole(a, b * torch.nan) is None


def test_dead_codes_are_counted_against_what_chance_would_use() -> None:
    generator = torch.Generator().manual_seed(0)
    assert dead(torch.randint(0, 100_000, (256,), generator=generator), 100_000) is None  # few rows, many codes
    assert dead(torch.randint(0, 20, (256, 4), generator=generator), 512) is not None
    assert dead(torch.randint(0, 200, (256, 4), generator=generator), 512) is None


def test_a_draw_of_codes_fits_the_model() -> None:
    torch.manual_seed(0)
    for options in ({"prior": "flow", "posterior": "flow"}, {"prior": "vamp", "components": 4}, {"posterior": "full"}):
        model = VAE(SPEC, latent=2, **options).eval()
        codes, drawn = model.code_draws(Examples(TRAIN.x[:40]))
        assert codes.shape == drawn.shape == (40, 2)
