"""Likelihoods in the user's units: the bounds of all possible rows and images of a fitted VAE sum to one, or to just below."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gnomon.data import Categorical, Column, Image, Integer, Kind, Spec, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.models.autoencoder import Autoencoder
from gnomon.models.ladder_vae import LadderVAE
from gnomon.models.latent import LatentModel
from gnomon.models.vae import VAE
from gnomon.models.vqvae import VQVAE
from gnomon.training import fit

QUICK: dict[str, Any] = {"epochs": 30, "batch_size": 64, "progress": False, "seed": 0, "doctor": False, "validation": 0.1}
SMALL: dict[str, Any] = {"latent": 2, "encoder": "mlp", "decoder": "mlp", "net": {"hidden": (32,)}}


def signals(levels: int, n: int = 600) -> np.ndarray:
    """Three pixels of which neighbours are alike, so that no independent pixels tell them."""
    rng = np.random.default_rng(0)
    walk = rng.integers(0, levels, (n, 1)) + np.cumsum(rng.integers(-1, 2, (n, 3)), axis=1)
    return np.clip(walk, 0, levels - 1).astype(np.uint8).reshape(n, 1, 3)


def everything(levels: int) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(levels)] * 3, indexing="ij"), -1).reshape(-1, 1, 3).astype(np.uint8)


@pytest.mark.parametrize(
    "likelihood, levels", [(None, 2), ("bernoulli", 2), ("categorical", 4), ("discretised_logistic", 4)]
)  # fmt: skip
def test_the_probabilities_of_all_images_sum_to_one(likelihood: str | None, levels: int) -> None:
    learned = fit("vae", signals(levels), options={**SMALL, "likelihood": likelihood}, kind="signal", **QUICK)
    assert learned.spec.x == Image(1, (3,), levels=levels)
    images = everything(levels)
    value, error = learned.log_prob_bound(images, samples=4000)
    assert np.exp(value).sum() == pytest.approx(1, abs=0.03)
    shares = np.array([(signals(levels) == image).all((1, 2)).mean() for image in images])
    assert np.exp(value[shares > 0.05]) == pytest.approx(shares[shares > 0.05], rel=0.6)
    assert set(np.unique(learned.sample(50, seed=1))) <= set(range(levels))
    assert (learned.reconstruct(signals(levels)[:50]) == signals(levels)[:50]).mean() > 0.6


def test_the_probabilities_of_all_rows_of_whole_numbers_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(3, 6, 600)
    second = np.where(rng.random(600) < 0.8, first - 3, rng.integers(0, 3, 600))
    data = {"a": first, "b": second}
    columns = {"a": "integer(3,5)", "b": "integer(0,2)"}
    learned = fit("vae", data, columns=columns, options={**SMALL, "likelihood": "categorical"}, **{**QUICK, "epochs": 120})
    a, b = (c.ravel() for c in np.meshgrid([3, 4, 5], [0, 1, 2]))
    value, _ = learned.log_prob_bound({"a": a, "b": b}, samples=4000)
    assert np.exp(value).sum() == pytest.approx(1, abs=0.03)
    assert np.exp(value[a == b + 3]).sum() > 0.7
    drawn = learned.sample(300, seed=1)
    assert set(drawn["a"].to_pylist()) <= {3, 4, 5} and set(drawn["b"].to_pylist()) <= {0, 1, 2}


def test_whole_numbers_without_bounds_cannot_be_classes() -> None:
    with pytest.raises(OptionError, match="column 'n' within two bounds"):
        VAE(Spec(Vector((Column("n", Integer(0)),))), likelihood="categorical")


@pytest.mark.parametrize("column", [Column("a"), Column("a", Categorical(("u", "v")))])
def test_a_table_without_whole_numbers_has_none_that_are_classes(column: Column) -> None:
    with pytest.raises(OptionError, match="'categorical' is for columns of whole numbers, and x has none"):
        Autoencoder(Spec(Vector((column,))), likelihood="categorical")


CLASSES = Vector((Column("a", Categorical(("u", "v"))), Column("n", Integer(0, 3))))
WITHOUT_SPREAD: dict[str, tuple[Kind, dict[str, Any], str]] = {
    "two levels": (Image(1, (4,), levels=2), {}, "pixels"),
    "levels": (Image(1, (4,), levels=5), {"likelihood": "categorical"}, "pixels"),
    "texts": (Tokens(("a", "b")), {}, "texts"),
    "classes": (CLASSES, {"likelihood": "categorical"}, "columns"),
}


@pytest.mark.parametrize("name", WITHOUT_SPREAD)
def test_a_spread_that_is_asked_for_must_have_an_effect(name: str) -> None:
    kind, options, told = WITHOUT_SPREAD[name]
    for model in (Autoencoder, VAE, LadderVAE, VQVAE):
        model(Spec(kind), size=0.25, **options)  # what is usual is not refused
    assert Autoencoder(Spec(kind), size=0.25, **options).separable
    for model, spread in ((Autoencoder, "fixed"), (Autoencoder, "optimal"), (VAE, "column"), (VAE, "optimal"), (LadderVAE, "shared")):
        with pytest.raises(OptionError, match=f"'spread' of {model.__name__} has no effect: .* {told} has none; leave '{spread}' out"):
            model(Spec(kind), size=0.25, spread=spread, **options)


def test_examples_act_on_each_other_only_where_the_spread_is_that_of_a_batch() -> None:
    for kind, likelihood in ((Vector.real(2), None), (Image(1, (4,), levels=2), "gaussian"), (CLASSES, None)):
        assert not Autoencoder(Spec(kind), likelihood=likelihood, spread="optimal").separable
        assert Autoencoder(Spec(kind), likelihood=likelihood, spread="shared").separable
    wiring: dict[str, Any] = {"latent": 2, "spread": "optimal", "encoder": None, "decoder": None, "net": None, "size": 0.25}
    assert not LatentModel(Spec(Image(1, (4,), levels=3)), **wiring).separable
    assert LatentModel(Spec(Image(1, (4,), levels=2)), **wiring).separable  # the usual "optimal" of a model where levels have no spread


def test_grey_levels_between_the_ends() -> None:
    learned = fit("vae", signals(9), options={**SMALL, "likelihood": "continuous_bernoulli"}, kind="signal", **QUICK)
    value, _ = learned.log_prob_bound(everything(9), samples=256)
    assert 0.9 < np.exp(value).sum() < 1.01  # a density, averaged over cells


def test_the_optimal_spread_is_near_the_one_that_is_learned() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(800, 1))
    x = (np.cos(z + np.arange(4)) + 0.1 * rng.normal(size=(800, 4))).astype(np.float32)
    train, test = x[:600], x[600:]
    quick = {**QUICK, "epochs": 120}
    value = {}
    for spread in ("optimal", "shared"):
        learned = fit("vae", train, options={"latent": 1, "net": {"hidden": (64, 64)}, "spread": spread}, **quick)
        value[spread] = learned.log_prob_bound(test)[0].mean()
    assert value["optimal"] > value["shared"] - 0.3
