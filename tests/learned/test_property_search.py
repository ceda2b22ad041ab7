"""Searches uphill in a latent space, against linear properties and priors whose borders are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import chi2, kstest

import gnomon
from gnomon.data import smiles
from gnomon.errors import AbilityError, DataError, OptionError
from gnomon.learned import Learned, property_rows, property_search

LINEAR: dict[str, Any] = {"options": {"net": {"hidden": ()}, "spread": "none"}, "epochs": 60, "lr": 0.02, "progress": False}


def slope(told: Learned, width: int) -> np.ndarray:
    """The gradient of a linear property in the user's units."""
    ends = np.asarray(told.predict(np.concatenate([np.zeros((1, width)), np.eye(width)]).astype(np.float32)))
    return ends[1:] - ends[0]


@pytest.fixture(scope="module")
def plane() -> tuple[Learned, Learned, np.ndarray]:
    """PCA of points in a plane, and a linear property of its codes."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(400, 2)) @ chance.normal(size=(2, 4)) + 3.0
    learned = gnomon.fit("pca", x, options={"components": 2}, progress=False, validation=0)
    return learned, gnomon.fit("regressor", property_rows(learned, x, 2 * x[:, 0] - x[:, 2]), **LINEAR), x


@pytest.fixture(scope="module")
def vae() -> tuple[Learned, Learned, np.ndarray]:
    """A VAE of points in space whose prior is normal, and a linear property of its codes."""
    chance = np.random.default_rng(1)
    x = chance.normal(size=(1500, 3)) @ chance.normal(size=(3, 6)) + 0.05 * chance.normal(size=(1500, 6))
    learned = gnomon.fit("vae", x, options={"latent": 3, "size": 0.5}, epochs=25, progress=False)
    return learned, gnomon.fit("regressor", property_rows(learned, x, x[:, 0]), **LINEAR), x


def test_the_way_leads_straight_up_a_slope(plane: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, told, x = plane
    uphill = slope(told, 2)
    for least in (False, True):
        found = property_search(learned, told, x[:5], steps=20, rate=0.1, looks=1, within=None, least=least)
        way = (-1 if least else 1) * uphill / np.linalg.norm(uphill)
        length = 0.1 * sum(1 - step / 20 for step in range(20))
        np.testing.assert_allclose(found.codes, learned.encode(x[:5]) + length * way, atol=1e-3)
        np.testing.assert_allclose(found.examples, learned.decode(found.codes), atol=1e-5)
        np.testing.assert_allclose(found.before, told.predict(learned.encode(x[:5])), atol=1e-5)
        np.testing.assert_allclose(found.predicted, told.predict(learned.encode(found.examples)), atol=1e-4)
        assert ((found.predicted < found.before) if least else (found.predicted > found.before)).all()


def test_the_best_that_passes_the_check_is_kept(plane: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, _, x = plane
    bent = gnomon.fit("regressor", property_rows(learned, x, -np.square(x[:, 0] - 3)), epochs=40, progress=False)
    looked: list[tuple[np.ndarray, np.ndarray]] = []

    def check(made: np.ndarray) -> np.ndarray:
        passed = made[:, 0] < 3.1
        looked.append((passed, np.asarray(bent.predict(learned.encode(made)))))
        return passed

    found = property_search(learned, bent, x[:40], steps=4, rate=2.0, looks=4, within=None, valid=check)  # it leaps over the top
    passed, predicted = (np.stack(part) for part in zip(*looked, strict=True))
    assert passed.shape == (4, 40) and not passed.all() and (np.diff(predicted, axis=0) < 0).any()
    np.testing.assert_array_equal(found.valid, passed.any(0))
    best = np.where(passed, predicted, -np.inf).max(0)
    np.testing.assert_allclose(found.predicted, np.where(found.valid, best, predicted[-1]), atol=1e-4)
    np.testing.assert_allclose(found.predicted, bent.predict(learned.encode(found.examples)), atol=1e-4)
    np.testing.assert_allclose(found.examples, learned.decode(found.codes), atol=1e-4)


def test_codes_end_where_the_prior_does_at_its_highest_point(vae: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, told, x = vae
    uphill = slope(told, 3)
    for within in (0.05, 0.5):
        found = property_search(learned, told, x[:6], steps=300, rate=0.1, looks=1, within=within)
        radius = np.sqrt(chi2.ppf(1 - within, 3))
        np.testing.assert_allclose(found.codes, np.tile(radius * uphill / np.linalg.norm(uphill), (6, 1)), atol=0.06 * radius)
    free = property_search(learned, told, x[:6], steps=300, rate=0.1, looks=1, within=None)
    assert (np.linalg.norm(free.codes, axis=1) > 2 * radius).all()


def test_what_lies_outside_is_led_back(vae: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, told, _ = vae
    far = learned.decode(np.array([[9.0, 0, 0], [0, -9.0, 0]], dtype=np.float32))
    assert (np.linalg.norm(learned.encode(far), axis=1) > 5).all()
    found = property_search(learned, told, far, steps=120, within=0.05, looks=1)
    assert (np.linalg.norm(found.codes, axis=1) < 1.06 * np.sqrt(chi2.ppf(0.95, 3))).all()


def test_past_the_border_a_step_leads_along_it(vae: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, told, x = vae
    codes = learned.encode(x)
    uphill, radius = slope(told, 3), np.sqrt(chi2.ppf(0.5, 3))
    out = np.linalg.norm(codes, axis=1) > 1.1 * radius
    rows = np.flatnonzero(out & (codes @ uphill > 0))[:20]
    moved = property_search(learned, told, x[rows], steps=1, rate=0.1, looks=1, within=0.5).codes - codes[rows]
    away = codes[rows] / np.linalg.norm(codes[rows], axis=1, keepdims=True)
    inwards = (moved * away).sum(1)
    assert (inwards < 0).all()
    np.testing.assert_allclose(np.linalg.norm(moved - inwards[:, None] * away, axis=1), 0.1, rtol=1e-3)


def test_a_search_does_not_depend_on_how_it_is_split(vae: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, told, x = vae
    whole = property_search(learned, told, x[:5], steps=5)
    np.testing.assert_allclose(property_search(learned, told, x[2:4], steps=5).codes, whole.codes[2:4], atol=1e-5)


@pytest.mark.parametrize("prior", ["flow", "mixture"])
def test_other_priors_have_borders_too(prior: str) -> None:
    chance = np.random.default_rng(0)
    table = {"a": chance.normal(size=300), "b": chance.normal(size=300), "e": chance.uniform(1, 2, 300)}
    learned = gnomon.fit("vae", table, given=["e"], options={"latent": 2, "prior": prior, "size": 0.25}, epochs=2, progress=False)
    told = gnomon.fit("regressor", property_rows(learned, table, table["a"]), **{**LINEAR, "epochs": 5})
    found = property_search(learned, told, {name: values[:4] for name, values in table.items()}, steps=8)
    made = found.table()
    assert made.column_names == ["a", "b", "e", "predicted", "before"]
    np.testing.assert_allclose(made["e"].to_numpy(), table["e"][:4])


@pytest.mark.parametrize(
    ("model", "options"),
    [("vae", {"prior": "flow"}), ("vae", {"prior": "mixture"}), ("two_stage", {"density": "mixture", "base": "autoencoder"})],
)
def test_the_prior_of_codes_is_a_density(model: str, options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(200, 2))
    learned = gnomon.fit(model, x, options={"latent": 1, "size": 0.25, **options}, epochs=3, progress=False)
    line = torch.linspace(-60, 60, 60001)[:, None]
    with torch.no_grad():
        density = learned.model.log_prior(line).exp().double()
        codes = learned.model.sample_codes(4000)
    assert float(torch.trapezoid(density, line[:, 0].double())) == pytest.approx(1, abs=1e-3)
    below = torch.cumulative_trapezoid(density, line[:, 0].double())
    shares = np.interp(codes[:, 0].numpy(), line[1:, 0].numpy(), below.numpy())
    assert kstest(shares, "uniform").statistic < 0.04


def test_codes_of_a_vae_are_drawn_from_its_posterior(vae: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, _, x = vae
    batch = learned.scaling.forward(learned.read(x))
    spread = learned.model.posterior(batch.x).log_spread.exp().detach().numpy()
    noise = (property_rows(learned, x, x[:, 0])["x"] - learned.encode(x)) / spread
    assert abs(noise.mean()) < 0.05 and noise.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(property_rows(learned, x, x[:, 0])["x"], property_rows(learned, x, x[:, :1])["x"])


@pytest.mark.parametrize("given", [False, True], ids=["", "given"])
@pytest.mark.parametrize("kind", ["smiles", "tokens"])
def test_texts_make_a_table_and_molecules_one_with_verdicts(kind: str, given: bool) -> None:
    chance = np.random.default_rng(0)
    texts = ["".join(chance.choice(["C", "O", "N", "C(C)"], size=int(k))) for k in chance.integers(2, 6, 200)]
    data: Any = pa.table({"molecule": texts, "e": chance.normal(size=200)}) if given else texts
    reading = {"kind": kind, **({"given": "e"} if given else {})}
    learned = gnomon.fit("vae", data, options={"latent": 3, "size": 0.25}, epochs=2, batch_size=32, progress=False, **reading)
    told = gnomon.fit("regressor", property_rows(learned, data, [float(len(t)) for t in texts]), epochs=3, progress=False)
    start = data.slice(0, 10) if given else data[:10]
    found = property_search(learned, told, start, steps=6, looks=2)
    table = found.table(known=texts)
    name, verdicts = "molecule" if given else "x", ["valid", "unique", "novel"] if kind == "smiles" else []
    assert table.column_names == [name, *(["e"] if given else []), "predicted", "before", *verdicts] and table.num_rows == 10
    made = table[name].to_pylist()
    assert found.examples.column("molecule").to_pylist() == made if given else found.examples == made
    np.testing.assert_allclose(found.predicted, told.predict(learned.encode(found.examples)), atol=1e-4)
    assert found.valid.tolist() == [kind == "tokens" or smiles.fault(text) is None for text in made]
    if kind == "smiles":
        assert table["valid"].to_pylist() == found.valid.tolist()
    assert property_search(learned, told, start, steps=6, looks=2).table(known=texts).equals(table)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "steps": ({"steps": 0}, OptionError, "steps wants a whole number of 1 or more; got 0"),
    "looks": ({"looks": 0}, OptionError, "looks wants a whole number of 1 or more; got 0"),
    "rate": ({"rate": -1.0}, OptionError, "rate wants a positive number; got -1.0"),
    "within": ({"within": 1.5}, OptionError, "within is a share of the prior's draws, between 0 and 1; got 1.5"),
    "prior": ({"within": 0.01}, AbilityError, "pca has no prior of codes to stay in; pass within=None"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_out_of_range_are_named(name: str, plane: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, told, x = plane
    options, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        property_search(learned, told, x[:2], **{"within": None, **options})


def test_what_cannot_be_searched_is_said(plane: tuple[Learned, Learned, np.ndarray], vae: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, told, x = plane
    with pytest.raises(OptionError, match="told from 3 numbers; codes of pca have 2"):
        property_search(learned, vae[1], x[:2], within=None)
    with pytest.raises(OptionError, match="the property wants one number told from codes alone"):
        both = gnomon.fit("regressor", {"x": x[:, :2], "y": x[:, 2:]}, epochs=1, progress=False)
        property_search(learned, both, x[:2], within=None)
    with pytest.raises(AbilityError, match="pca cannot predict a property"):
        property_search(learned, learned, x[:2], within=None)
    mixture = gnomon.fit("mixture_density", x[:, :2], epochs=1, progress=False)
    with pytest.raises(AbilityError, match="mixture_density cannot encode"):
        property_search(mixture, told, x[:2, :2])
    with pytest.raises(AbilityError, match="mixture_density cannot encode"):
        property_rows(mixture, x[:, :2], x[:, 0])
    with pytest.raises(DataError, match="the property of example 2 is not finite"):
        property_rows(learned, x[:2], [1.0, float("nan")])
    with pytest.raises(DataError, match="arrays, which make no table"):
        property_search(learned, told, x[:2], steps=1, within=None).table()


VALUES: dict[str, tuple[Any, str]] = {
    "too many": ([1.0, 2.0, 3.0], r"one value for each example is wanted; got an array of shape \(3,\) for 2 examples"),
    "none": ([], r"got an array of shape \(0,\) for 2 examples"),
    "one number": (3.0, r"got an array of shape \(\) for 2 examples"),
    "two columns": ([[1.0, 2.0], [3.0, 4.0]], r"got an array of shape \(2, 2\) for 2 examples"),
    "texts": (["a", "b"], r"the property wants one number for each example; got \['a', 'b'\]"),
    "rows of all lengths": ([[1.0], [2.0, 3.0]], "the property wants one number for each example"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_are_no_property_are_named(name: str, plane: tuple[Learned, Learned, np.ndarray]) -> None:
    values, message = VALUES[name]
    with pytest.raises(DataError, match=message):
        property_rows(plane[0], plane[2][:2], values)


CHECKS: dict[str, tuple[Any, str]] = {
    "too few": ([True], r"valid wants to give one bool for each of 3 examples; it gave bool \(1,\)"),
    "one": (True, r"for each of 3 examples; it gave bool \(\)"),
    "a column": ([[True]] * 3, r"for each of 3 examples; it gave bool \(3, 1\)"),
    "texts": (["yes", "no", "no"], "for each of 3 examples; it gave <U3"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_gives_one_bool_for_each(name: str, plane: tuple[Learned, Learned, np.ndarray]) -> None:
    learned, told, x = plane
    verdict, message = CHECKS[name]
    with pytest.raises(OptionError, match=message):
        property_search(learned, told, x[:3], steps=2, within=None, valid=lambda made: verdict)


def test_a_density_without_a_gradient_is_refused() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3))
    options = {"base": "autoencoder", "density": "vae", "latent": 2, "size": 0.25}
    learned = gnomon.fit("two_stage", pa.table({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}), options=options, epochs=1, progress=False)
    table = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}
    told = gnomon.fit("regressor", property_rows(learned, table, x[:, 0]), epochs=1, progress=False)
    with pytest.raises(AbilityError, match="the density of codes has no gradient"):
        property_search(learned, told, table, steps=1)
    assert property_search(learned, told, table, steps=1, within=None).table().num_rows == 200
