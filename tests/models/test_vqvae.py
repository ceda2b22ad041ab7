"""Codes out of a finite set: what the stages move, the bound, the grid of codes, and that save, load, seeds, conditions work."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gnomon
from gnomon.blocks.quantisers import ResidualQuantiser
from gnomon.data import Examples, Image, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models import abilities
from gnomon.models.code_prior import CodePrior
from gnomon.models.vqvae import VQVAE

SMALL: dict[str, Any] = {"codes": 8, "positions": 2, "net": {"hidden": (16,)}, "prior": {"width": 16, "layers": 1}}
QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 32, "validation": 0.25, "progress": False}


def ring(n: int = 400, seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    angle = chance.uniform(0, 2 * math.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1) + 0.02 * chance.normal(size=(n, 2))


def shaken(model: VQVAE) -> VQVAE:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def test_it_can_do_what_a_density_with_codes_can() -> None:
    assert abilities(VQVAE) == ("sample", "log_prob_bound", "encode", "decode", "reconstruct", "score")


@pytest.mark.parametrize("given", [None, Vector.real(2)])
@pytest.mark.parametrize("quantiser", ["fsq", "vq"])
def test_each_stage_moves_its_own_part_only(quantiser: str, given: Vector | None) -> None:
    model = VQVAE(Spec(Vector.real(3), given=given), quantiser=quantiser, **SMALL)
    batch = Examples(torch.randn(50, 3), given=None if given is None else torch.randn(50, 2))
    model.begin(batch)
    assert [player.name for player in model.players()] == ["autoencoder", "prior"]
    for stage, name in zip(model.stages(), ("autoencoder", "prior"), strict=True):
        stage.train()
        (player,) = stage.players()
        before = {key: value.clone() for key, value in stage.named_buffers()}
        stage.zero_grad()
        getattr(stage, player.loss)(batch).total.backward()
        moved = {key.split(".")[0] for key, p in stage.named_parameters() if p.grad is not None and bool(p.grad.any())}
        assert player.name == name and (moved == {"prior"}) == (name == "prior")
        followed = any(not torch.equal(before[key], value) for key, value in stage.named_buffers())
        assert followed == (name == "autoencoder")
    assert model.stage is None


def test_the_prior_sums_up_to_one_and_draws_what_it_says() -> None:
    torch.manual_seed(0)
    prior = CodePrior(3, 3, given=2, width=16, layers=2, heads=2).eval()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        rows = torch.tensor(list(itertools.product(range(3), repeat=3)))
        given = torch.tensor([0.5, -1.0])
        told = prior.log_prob(rows, given.expand(27, 2)).exp()
        assert float(told.sum()) == pytest.approx(1.0, abs=1e-5)
        drawn = prior.sample(20_000, given.expand(20_000, 2))
    counts = torch.bincount(drawn @ torch.tensor([9, 3, 1]), minlength=27).double()
    chi_squared = float(((counts - 20_000 * told).square() / (20_000 * told)).sum())
    assert chi_squared < 26 + 5 * math.sqrt(52)
    assert not torch.allclose(told, prior.log_prob(rows, torch.zeros(27, 2)).exp())


def test_the_bound_is_one_of_the_terms_that_sum_up_to_the_density() -> None:
    model = shaken(VQVAE(Spec(Vector.real(2)), spread="example", **SMALL))
    batch = Examples(torch.randn(30, 2))
    rows = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    with torch.no_grad():
        terms = []
        for row in rows:
            told = model.likelihood(model.vectors(row.expand(30, 2))).log_prob(batch.x)
            terms.append(told + model.prior.log_prob(row.expand(30, 2), None))
        exact = torch.stack(terms).logsumexp(0)
        bound, error = model.log_prob_bound(batch)
        own = model.indices(batch)
    assert bool((bound <= exact + 1e-4).all()) and not bool(error.any())
    at = torch.stack(terms).gather(0, (own @ torch.tensor([8, 1]))[None])[0]
    torch.testing.assert_close(bound, at, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.score(batch), -bound)
    torch.testing.assert_close(model.validate(batch).total, -bound.sum(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("size", "longest", "cells"), [((8, 8), None, 16), ((28, 28), 7, 49), ((20,), None, 10), ((5, 4, 6), None, 8)])
def test_images_have_a_grid_of_codes_each_of_its_own_place(size: tuple[int, ...], longest: int | None, cells: int) -> None:
    net = {"width": 8, **({} if longest is None else {"longest": longest})}
    model = VQVAE(Spec(Image(1, size)), codes=64, net=net, prior={"width": 8, "layers": 1}, size=1.0).eval()
    x = torch.randn(2, 1, *size)
    assert model.indices(Examples(x)).shape == (2, cells)
    code = model.encode(Examples(x))
    assert code.shape == (2, cells * 2) and model.decode(code).shape == x.shape
    moved = code.clone()
    moved[:, :2] += 0.5  # the first cell only
    change = (model.decode(moved) - model.decode(code)).detach().abs().flatten(1)
    assert float(change[:, 0].min()) > 0


def test_vectors_of_a_code_are_what_the_encoder_gives() -> None:
    for quantiser in ("fsq", "vq", "residual"):
        model = VQVAE(Spec(Vector.real(4)), quantiser=quantiser, **SMALL)
        batch = Examples(torch.randn(40, 4))
        model.begin(batch)
        model.eval()
        indices = model.indices(batch)
        assert indices.shape == (40, 2 * (2 if quantiser == "residual" else 1))
        torch.testing.assert_close(model.vectors(indices), model.encode(batch))
        assert isinstance(model.quantiser, ResidualQuantiser) == (quantiser == "residual")
        torch.testing.assert_close(model.reconstruct(batch), model.decode(model.encode(batch)))


def test_a_table_begins_where_the_encoder_puts_the_data() -> None:
    batch = Examples(torch.randn(500, 3))
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        model = VQVAE(Spec(Vector.real(3)), quantiser="vq", codes=32, positions=2)
        model.begin(batch)
        states.append(model.quantiser.table.clone())
    assert torch.equal(*states)
    assert len(torch.unique(model.eval().indices(batch))) == 32


def test_usage_is_told_by_parts_of_the_loss() -> None:
    learned = gnomon.fit("vqvae", ring(), options=SMALL, **QUICK)
    (first, *_), last = learned.history, learned.history[-1]
    assert first["train/perplexity"] > 2 and 0 < first["train/used"] <= 1 and "train/perplexity" not in last
    assert len(learned.history) == 8


@pytest.mark.parametrize("quantiser", ["fsq", "vq"])
def test_codes_tell_a_ring_and_samples_lie_on_it(quantiser: str) -> None:
    learned = gnomon.fit(
        "vqvae", ring(1500), options={"codes": 32, "quantiser": quantiser}, epochs=25, batch_size=64, lr=5e-3, progress=False
    )
    held_out = ring(500, 1)
    back = np.asarray(learned.reconstruct(held_out))
    assert np.square(back - held_out).sum(1).mean() < 0.02
    drawn = learned.sample(1000, seed=2)
    assert np.abs(np.hypot(drawn[:, 0], drawn[:, 1]) - 1).mean() < 0.12
    used = len(np.unique(learned.model.indices(learned.scaling.forward(learned.read(held_out)))))
    assert used >= (30 if quantiser == "vq" else 16)  # levels are laid on a plane, and a ring does not fill one


@pytest.mark.parametrize("quantiser", ["fsq", "vq", "residual"])
def test_it_is_saved_and_loaded_and_repeats(quantiser: str, tmp_path: Path) -> None:
    table = {"a": ring(200)[:, 0], "b": ring(200)[:, 1], "count": np.arange(200) % 3, "kind": np.arange(200) % 2}
    learned = gnomon.fit("vqvae", table, given=["kind"], options={"quantiser": quantiser, **SMALL}, **QUICK)
    again = gnomon.load(learned.save(tmp_path / "run"))
    assert learned.sample(9, given={"kind": 1}).equals(again.sample(9, given={"kind": 1}))
    np.testing.assert_array_equal(learned.encode(table), again.encode(table))
    for one in (learned, again):
        assert np.isfinite(one.score(table)).all() and one.reconstruct(table).num_rows == 200
    np.testing.assert_array_equal(learned.log_prob_bound(table)[0], again.log_prob_bound(table)[0])


@pytest.mark.parametrize("quantiser", ["fsq", "vq"])
def test_seeds_learn_together(quantiser: str) -> None:
    several = gnomon.fit("vqvae", ring(), options={"quantiser": quantiser, **SMALL}, seeds=2, **QUICK)
    assert len(several) == 2 and not np.allclose(several[0].encode(ring(10)), several[1].encode(ring(10)))
    assert all(np.isfinite(one.score(ring(10))).all() for one in several)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantiser": "knn"}, "unknown quantiser"),
        ({"positions": 0}, "positions"),
        ({"codes": 1}, "at least 2 codes"),
        ({"latent": 5}, "leave 'latent' out"),
        ({"commitment": 0.1}, "no effect with quantiser='fsq'"),
        ({"quantiser": "vq", "depth": 2}, "no effect with quantiser='vq'"),
        ({"quantiser": "residual", "balance": 0.1}, "no effect with quantiser='residual'"),
        ({"balance": float("nan")}, "a finite number from 0; got nan"),
        ({"quantiser": "residual", "depth": 0}, "at least 1"),
        ({"prior": {"depth": 3}}, "unknown"),
        ({"prior": {"layers": 0}}, "'layers' of the prior over codes must be at least 1; got 0"),
        ({"prior": {"heads": 0}}, "'heads' of the prior over codes must be at least 1; got 0"),
        ({"prior": {"width": -1}}, "'width' of the prior over codes must be at least 1; got -1"),
        ({"prior": {"given": 3}}, "the conditions are those of the data"),
    ],
)
def test_what_cannot_be_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        VQVAE(Spec(Vector.real(3)), **options)


def test_a_spread_that_nothing_has_is_refused() -> None:
    with pytest.raises(OptionError, match="'spread' of VQVAE has no effect"):
        VQVAE(Spec(Image(1, (8, 8), levels=2)), spread="column")


def test_examples_act_on_each_other_where_codes_are_kept_in_use() -> None:
    pixels = Spec(Image(1, (8, 8), levels=2))
    assert not VQVAE(pixels).separable and VQVAE(pixels, balance=0.0).separable and VQVAE(pixels, quantiser="vq").separable
    assert not VQVAE(pixels).dequantises and VQVAE(Spec(Image(1, (8, 8), levels=16))).dequantises
