"""A density over codes: what the stages move, what is drawn, and that save, load, resume, seeds and conditions work as elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

import gnomon
from gnomon.data import Examples, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models import abilities
from gnomon.models.two_stage import TwoStage
from gnomon.training import loop as loop_module
from gnomon.training.doctor import Doctor

SMALL: dict[str, Any] = {"latent": 2, "base_options": {"net": {"hidden": (16,)}}}
QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 32, "validation": 0.25, "progress": False}


def ring(n: int = 400, seed: int = 0) -> np.ndarray:
    """Three numbers that tell an angle, which a single Gaussian cannot describe."""
    chance = np.random.default_rng(seed)
    angle = chance.uniform(0, 2 * math.pi, n)
    return np.stack([np.cos(angle), np.sin(angle), np.cos(angle) - np.sin(angle)], 1) + 0.02 * chance.normal(size=(n, 3))


def test_each_stage_moves_its_own_part_only() -> None:
    model = TwoStage(Spec(Vector.real(3)), density="mixture", **SMALL)
    model.begin(Examples(torch.randn(50, 3)))
    assert [player.name for player in model.players()] == ["base", "density"]
    batch = Examples(torch.randn(8, 3))
    for stage, own in zip(model.stages(), ("base", "density"), strict=True):
        (player,) = stage.players()
        stage.zero_grad()
        getattr(stage, player.loss)(batch).total.backward()
        moved = {name.split(".")[0] for name, p in stage.named_parameters() if p.grad is not None and bool(p.grad.any())}
        assert moved == {own}
    assert model.stage is None


def test_a_base_that_is_held_still_drops_nothing() -> None:
    options = {"net": {"hidden": (16,), "dropout": 0.5}}
    model = TwoStage(Spec(Vector.real(3)), base="autoencoder", density="gaussian", latent=2, base_options=options)
    stages = model.stages()
    next(stages)
    assert model.train().base.training
    next(stages)
    assert model.train().density.training and not model.base.training


def test_codes_are_measured_before_the_second_stage() -> None:
    model = TwoStage(Spec(Vector.real(3)), base="autoencoder", density="gaussian", **SMALL)
    rows = Examples(3 + 2 * torch.randn(3000, 3))
    model.begin(rows)
    stages = model.stages()
    next(stages), next(stages)
    codes = model.encode(rows)
    torch.testing.assert_close(model.centre, codes.mean(0))
    torch.testing.assert_close(model.spread, codes.std(0))
    scaled = model._codes(rows).x
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(scaled.std(0), torch.ones(2), atol=1e-3, rtol=0)


def test_a_code_that_never_varies_has_a_finite_density() -> None:
    model = TwoStage(Spec(Vector.real(3)), base="autoencoder", density="gaussian", **SMALL)
    with torch.no_grad():
        for parameter in model.base.encoder.parameters():
            parameter.zero_()
    model.begin(Examples(torch.randn(100, 3)))
    for stage in model.stages():
        loss = stage.validate(Examples(torch.randn(10, 3)))
        assert torch.isfinite(loss.total)
    assert torch.equal(model.spread, torch.ones(2))


def test_the_gaussian_is_that_of_the_codes_and_the_score_counts_it() -> None:
    learned = gnomon.fit(
        "two_stage", ring(), options={"base": "autoencoder", "density": "gaussian", "latent": 2, "base_options": {"net": {"hidden": ()}}},
        epochs=60, batch_size=32, progress=False, lr=0.01, patience=None,
    )  # fmt: skip
    model = learned.model
    codes = learned.encode(ring()).astype(np.float64)
    drawn = model.sample_codes(40_000).double().detach().numpy()
    assert np.abs(np.cov(drawn.T) - np.cov(codes.T)).max() < 0.08 * np.cov(codes.T).max()
    batch = learned.scaling.forward(learned.read(ring(20, 1)))
    z = model.encode(batch).double()
    density = MultivariateNormal(torch.tensor(codes.mean(0)), torch.tensor(np.cov(codes.T)))
    told = model.score(batch).double() - model.base.score(batch).double()
    torch.testing.assert_close(told, -density.log_prob(z), atol=0.1, rtol=0.05)


@pytest.mark.parametrize("base", ["vae", "autoencoder"])
def test_samples_lie_where_the_data_do(base: str) -> None:
    made = {}
    for density in ("gaussian", "mixture"):
        learned = gnomon.fit(
            "two_stage",
            ring(1000),
            options={"base": base, "density": density, "latent": 2},
            epochs=60,
            batch_size=64,
            progress=False,
            lr=5e-3,
        )
        x = learned.sample(1000, seed=3)
        made[density] = np.abs(np.hypot(x[:, 0], x[:, 1]) - 1).mean()
    assert made["mixture"] < 0.15 and (base == "vae" or made["mixture"] < 0.6 * made["gaussian"])


@pytest.mark.parametrize("density", ["flow", "mixture", "vae"])
def test_the_bound_is_below_the_probability_summed_over_codes(density: str) -> None:
    learned = gnomon.fit(
        "two_stage", ring(), options={"density": density, "latent": 2}, epochs=10, batch_size=32, progress=False, lr=5e-3
    )  # fmt: skip
    model, batch = learned.model, learned.scaling.forward(learned.read(ring(6, 1)))
    draws = 500 if density == "vae" else 4000
    torch.manual_seed(0)
    with torch.no_grad():
        end = 6 * float(model.spread.max())
        line = torch.linspace(-end, end, 201)
        codes = torch.cartesian_prod(line, line) + model.centre
        prior = model.log_prior(codes) + 2 * math.log(2 * end / 200)
        exact = torch.stack([(model.base.likelihood(codes).log_prob(x.expand(len(codes), -1)) + prior).logsumexp(0) for x in batch.x])
    value, error = model.log_prob_bound(batch, samples=draws)
    slack = 0.3 if density == "vae" else 0.02  # a second VAE tells a bound on p(code), with noise of its own
    assert ((value - exact).abs() < 5 * error + slack).all(), (value - exact, error)
    few = torch.stack([model.log_prob_bound(batch, samples=1)[0] for _ in range(100)]).mean(0)
    assert (few < value + slack).all() and few.mean() < value.mean()
    own = model.base.log_prob_bound(batch, samples=draws)[0]
    assert own.mean() < value.mean()  # the density is what codes look like; the prior is not


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 3, "base_options": {"latent": 2}}, "'latent' of TwoStage is said twice"),
        ({"density": "gaussian", "density_options": {"components": 3}}, "has one component"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TwoStage(Spec(Vector.real(3)), **options)


def test_codes_that_are_points_have_no_bound() -> None:
    assert "log_prob_bound" in abilities(TwoStage(Spec(Vector.real(3)), **SMALL))
    assert "log_prob_bound" not in abilities(TwoStage(Spec(Vector.real(3)), base="autoencoder", **SMALL))


@pytest.mark.parametrize("density", ["flow", "mixture", "gaussian", "vae"])
def test_every_density_is_saved_and_loaded_and_repeats(density: str, tmp_path: Path) -> None:
    small = {"density_options": {"transforms": 2, "hidden": (8,), "bins": 4}} if density == "flow" else {}
    table = {"a": ring(200)[:, 0], "b": ring(200)[:, 1], "c": ring(200)[:, 2], "kind": np.arange(200) % 2}
    learned = gnomon.fit("two_stage", table, given=["kind"], options={"density": density, **SMALL, **small}, **QUICK)
    again = gnomon.load(learned.save(tmp_path / "run"))
    assert again.abilities == ("sample", "log_prob_bound", "encode", "decode", "reconstruct", "score")
    given = {"kind": np.arange(10) % 2}
    assert learned.sample(10, given=given).equals(again.sample(10, given=given))
    np.testing.assert_array_equal(learned.score(table), again.score(table))
    np.testing.assert_array_equal(learned.encode(table), again.encode(table))
    assert again.reconstruct(table).num_rows == again.decode(again.encode(table), given={"kind": table["kind"]}).num_rows == 200
    assert [record["epoch"] for record in learned.history] == [1, 2, 3, 4, 1, 2, 3, 4]
    other = gnomon.fit("two_stage", table, given=["kind"], options={"density": density, **SMALL, **small}, **QUICK)
    assert other.sample(10, given=given).equals(again.sample(10, given=given))


def test_the_doctor_judges_each_stage_by_its_own_history(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = Doctor.close_epoch

    def watched(self: Doctor, history: Any, *, last: bool = False) -> list[str]:
        seen.append([record["epoch"] for record in history])
        return original(self, history, last=last)

    monkeypatch.setattr(Doctor, "close_epoch", watched)
    gnomon.fit("two_stage", ring(120), options={"density": "gaussian", **SMALL}, **QUICK)
    assert seen == [list(range(1, epoch + 1)) for _ in range(2) for epoch in range(1, 5)]


class Killed(BaseException):
    """Stands for the power going off."""


@pytest.mark.parametrize("told", [{}, {"seeds": 2}], ids=["one", "seeds"])
def test_killed_in_the_second_stage_and_resumed_equals_uninterrupted(
    told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"density": "flow", **SMALL, "density_options": {"transforms": 2, "hidden": (8,), "bins": 4}}
    whole = gnomon.fit("two_stage", ring(120), options=options, out=tmp_path / "whole", **QUICK, **told)
    original = loop_module.Loop.play

    def watched(self: Any, group: list[Examples]) -> None:
        original(self, group)
        if self.checkpoint is not None and self.stage == 1 and self.turn == 4:
            self.save()
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop_module.Loop, "play", watched)
        with pytest.raises(Killed):
            gnomon.fit("two_stage", ring(120), options=options, out=tmp_path / "parts", **QUICK, **told)
    parts = gnomon.resume(tmp_path / "parts", ring(120), progress=False)
    pairs = zip(*(one if isinstance(one, list) else [one] for one in (whole, parts)), strict=True)
    for expected, found in pairs:
        assert expected.history == found.history
        for name, value in expected.model.state_dict().items():
            assert torch.equal(value, found.model.state_dict()[name]), name


@pytest.mark.parametrize("kind", ["set", "tokens"])
def test_sets_and_texts_have_a_density_of_their_codes(kind: str, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    lengths = chance.integers(1, 5, 120)
    data = [chance.normal(size=(n, 2)) for n in lengths] if kind == "set" else ["ab" * n for n in lengths]
    learned = gnomon.fit("two_stage", data, kind=kind, options={"density": "mixture", "latent": 2, "size": 0.25}, **QUICK)
    again = gnomon.load(learned.save(tmp_path / "run"))
    assert len(again.sample(5)) == 5 and np.isfinite(again.score(data)).all()
    np.testing.assert_array_equal(learned.encode(data), again.encode(data))


def test_what_cannot_be_is_refused_in_one_line() -> None:
    spec = Spec(Vector.real(3))
    for options, words in (
        ({"base": "gan"}, "unknown base 'gan' of TwoStage"),
        ({"density": "flaw"}, "unknown density 'flaw' of TwoStage; did you mean 'flow'"),
        ({"base_options": {"colour": 1}}, "unknown option 'colour' of base 'vae'"),
        ({"density_options": {"colour": 1}}, "unknown option 'colour' of density 'flow'"),
        ({"latent": 0}, "'latent' of VAE must be at least 1; got 0"),
    ):
        with pytest.raises(OptionError, match=words):
            TwoStage(spec, **options)
    assert "predict" not in abilities(TwoStage)
