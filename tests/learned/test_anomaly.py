"""Anomaly scores in every way a model has, and their p-values, against formulas, scikit-learn and fresh data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.covariance import EmpiricalCovariance

import gnomon
from gnomon.data import Image, Set, Spec, Vector
from gnomon.errors import AbilityError, OptionError
from gnomon.learned import load
from gnomon.learned.anomaly import Calibration, Codes, HeldOut, ways
from gnomon.models.flow import Flow
from gnomon.models.set_flow import SetFlow
from tests.learned.toys import Bounded, Normal, Scorer, learn

RNG = np.random.default_rng(0)
MIXING = RNG.normal(size=(4, 4))


def draw(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4)) @ MIXING


@pytest.fixture(scope="module", params=["pca", "anomaly_detector", "mixture_density", "flow", "autoencoder", "vae", "two_stage"])
def fitted(request: pytest.FixtureRequest):  # noqa: ANN201
    options = {"pca": {"components": 2}, "flow": {"transforms": 2}}.get(request.param, {})
    options |= {"latent": 2} if request.param in ("autoencoder", "vae", "two_stage") else {}
    epochs = None if request.param in ("pca", "anomaly_detector") else 2
    return gnomon.fit(request.param, draw(1000, 1), options=options, validation=draw(2000, 2), epochs=epochs, progress=False)


HAS = {
    "pca": ("reconstruction", "density", "latent"),
    "anomaly_detector": (),
    "mixture_density": ("density",),
    "flow": ("density", "latent"),
    "autoencoder": ("reconstruction", "latent"),
    "vae": ("reconstruction", "bound", "latent"),
    "two_stage": ("reconstruction", "bound", "latent"),
}


def test_p_values_of_fresh_rows_are_uniform_in_every_way(fitted) -> None:  # noqa: ANN001
    assert ways(fitted.model) == HAS[fitted.name]
    fresh = draw(2000, 3)
    for by in (None, *HAS[fitted.name]):
        for direction in ("high", "low", "both"):
            scores, p = fitted.score(fresh, True, by=by, direction=direction)
            assert p.shape == scores.shape == (2000,) and p.min() > 0 and p.max() <= 1
            assert kstest(p, "uniform").statistic < 1.95 * np.sqrt(1 / 2000 + 1 / 2000), (by, direction)  # p = 1e-3, both sides drawn


def test_what_lies_far_away_is_strange_in_every_way(fitted) -> None:  # noqa: ANN001
    far = 30 * draw(50, 4)
    for by in (None, *HAS[fitted.name]):
        _, p = fitted.score(far, True, by=by)
        assert (p < 0.05).mean() > 0.7, by


def test_a_saved_run_scores_the_same(fitted, tmp_path: Path) -> None:  # noqa: ANN001
    again, fresh = load(fitted.save(tmp_path / "run")), draw(50, 5)
    for by in (None, *HAS[fitted.name]):
        for kept, read in zip(fitted.score(fresh, True, by=by), again.score(fresh, True, by=by), strict=True):
            assert np.array_equal(kept, read)


def test_a_way_it_lacks_is_named_with_those_it_has(fitted) -> None:  # noqa: ANN001
    lacking = next(way for way in ("bound", "density", "latent", "reconstruction") if way not in HAS[fitted.name])
    with pytest.raises(
        AbilityError, match=f"no anomaly score by {lacking}; it has: {HAS[fitted.name][0] if HAS[fitted.name] else 'its own'}"
    ):
        fitted.score(draw(5, 6), by=lacking)
    with pytest.raises(OptionError, match="by 'latnt'; did you mean 'latent'"):
        fitted.score(draw(5, 6), by="latnt")
    with pytest.raises(OptionError, match="unknown direction 'up'"):
        fitted.score(draw(5, 6), True, direction="up")


# ---- each way against its formula -----------------------------------------------------------------------------------


def test_density_and_bound_are_minus_the_log_probability_in_the_users_units() -> None:
    data = {"a": RNG.normal(5.0, 2.0, 100), "n": RNG.poisson(3.0, 100)}
    normal, bounded = learn(Normal, data), learn(Bounded, data)
    np.testing.assert_allclose(normal.score(data, by="density"), -normal.log_prob(data))
    np.testing.assert_allclose(bounded.score(data, by="bound"), -bounded.log_prob_bound(data, samples=32)[0])


def test_latent_is_the_mahalanobis_distance_of_the_code_from_those_of_training_rows() -> None:
    learned = gnomon.fit("pca", draw(500, 1), options={"components": 3}, validation=draw(100, 2), progress=False)
    peer = EmpiricalCovariance().fit(learned.encode(draw(500, 1)).astype(float))
    fresh = draw(40, 3)
    np.testing.assert_allclose(learned.score(fresh, by="latent"), peer.mahalanobis(learned.encode(fresh).astype(float)), rtol=1e-5)


def test_reconstruction_is_the_squared_error_where_there_is_no_likelihood_and_minus_its_log_where_there_is() -> None:
    x = draw(500, 1)
    pca = gnomon.fit("pca", x, options={"components": 2}, progress=False)
    z, back = (pca.scaling.forward(pca.read(part)).x.numpy() for part in (x[:9], pca.reconstruct(x[:9])))
    np.testing.assert_allclose(pca.score(x[:9], by="reconstruction"), np.square(z - back).sum(1), rtol=1e-3)
    coder = gnomon.fit("autoencoder", x, options={"latent": 2}, epochs=1, progress=False)
    z, back = (coder.scaling.forward(coder.read(part)).x.numpy() for part in (x[:9], coder.reconstruct(x[:9])))
    wanted = 0.5 * np.square(z - back).sum(1) + 2 * np.log(2 * np.pi)  # spread="fixed": one
    np.testing.assert_allclose(coder.score(x[:9], by="reconstruction"), wanted, rtol=1e-3)


def test_a_condition_is_used_and_rows_outside_the_support_are_endlessly_strange() -> None:
    data = {"x": RNG.lognormal(size=300)[:, None], "given": RNG.normal(size=(300, 1))}
    learned = gnomon.fit("vae", data, columns={"x0": "positive"}, options={"latent": 1}, epochs=1, progress=False)
    moved = {"x": data["x"][:5], "given": data["given"][:5] + 3}
    for by in ("reconstruction", "bound", "latent"):
        assert not np.array_equal(learned.score(moved, by=by), learned.score({k: v[:5] for k, v in data.items()}, by=by))
        assert learned.score({"x": -moved["x"], "given": moved["given"]}, by=by).tolist() == [np.inf] * 5


def test_the_decoder_hears_the_condition_when_a_reconstruction_is_judged() -> None:
    data = {"x": RNG.normal(size=(300, 2)), "given": RNG.normal(size=(300, 1))}
    learned = gnomon.fit("autoencoder", data, options={"latent": 1}, epochs=1, progress=False)
    few = {name: part[:9] for name, part in data.items()}
    back = learned.reconstruct(few)  # decoded under the condition, by an ability of its own
    z, again = (learned.scaling.forward(learned.read({"x": x, "given": few["given"]})).x.numpy() for x in (few["x"], np.asarray(back)))
    wanted = 0.5 * np.square(z - again).sum(1) + np.log(2 * np.pi)
    np.testing.assert_allclose(learned.score(few, by="reconstruction"), wanted, rtol=1e-3)


def test_which_ways_there_are_follows_from_the_abilities() -> None:
    reals = Vector.real(2)
    assert ways(Scorer(Spec(reals))) == () and ways(Normal(Spec(reals))) == ("reconstruction", "density", "latent")
    assert ways(Flow(Spec(reals))) == ("density", "latent") and ways(SetFlow(Spec(Set(reals)))) == ("density",)


# ---- p-values -------------------------------------------------------------------------------------------------------


def test_p_values_by_hand_in_all_directions() -> None:
    kept = HeldOut.of(np.array([3.0, 2.0, np.nan, 1.0, 2.0]))
    scores = np.array([0.0, 2.0, 2.5, 9.0, np.nan])
    np.testing.assert_allclose(kept.p_value(scores), [1.0, 0.8, 0.4, 0.2, np.nan])
    np.testing.assert_allclose(kept.p_value(scores, "low"), [0.2, 0.8, 0.8, 1.0, np.nan])
    np.testing.assert_allclose(kept.p_value(scores, "both"), [0.4, 1.0, 0.8, 0.4, np.nan])


def test_whole_weights_are_repeated_rows() -> None:
    scores, weight = np.array([5.0, 1.0, 3.0]), np.array([2.0, 1.0, 4.0])
    fresh = np.linspace(0, 6, 13)
    for direction in ("high", "low", "both"):
        repeated = HeldOut.of(np.repeat(scores, weight.astype(int))).p_value(fresh, direction)
        np.testing.assert_allclose(HeldOut.of(scores, weight).p_value(fresh, direction), repeated)


def test_weights_of_held_out_rows_count() -> None:
    """Half of the rows are of another kind and have next to no weight: for rows of the first kind p is uniform."""
    first, second = draw(3000, 1), draw(3000, 2) * 5
    weight = np.repeat([1.0, 1e-6], 3000)
    names = [f"x{i}" for i in range(4)]
    table = {**dict(zip(names, np.concatenate([first, second]).T, strict=True)), "w": weight}
    learned = gnomon.fit("pca", table, weight="w", options={"components": 2}, validation=0.5, progress=False)
    p = learned.score(dict(zip(names, draw(1000, 3).T, strict=True)), True, by="density")[1]
    assert kstest(p, "uniform").statistic < 1.95 * np.sqrt(1 / 1000 + 1 / 1000)
    plain = HeldOut(learned.kept.held_out["density"].scores).p_value(
        learned.score(dict(zip(names, draw(1000, 3).T, strict=True)), by="density")
    )
    assert kstest(plain, "uniform").statistic > 0.3


def test_signed_weights_leave_p_between_the_least_and_one() -> None:
    p = HeldOut.of(np.arange(6.0), np.array([1.0, 2.0, -1.0, 2.0, 2.0, -1.5])).p_value(np.linspace(-1, 7, 30), "both")
    assert (p > 0).all() and (p <= 1).all()


def test_codes_that_never_vary_and_long_codes_keep_a_distance() -> None:
    codes = np.concatenate([RNG.normal(size=(50, 2)), np.ones((50, 1))], 1)
    assert np.isfinite(Codes.of(codes).distance(codes + 1)).all()
    long = RNG.normal(size=(30, 600))
    np.testing.assert_allclose(Codes.of(long).distance(long).mean(), 600)


def test_what_is_kept_comes_back_from_its_tensors() -> None:
    kept = Calibration({"": HeldOut(np.arange(3.0)), "latent": HeldOut(np.arange(2.0), np.ones(2))}, Codes(np.zeros(2), np.eye(2)))
    again = Calibration.from_tensors(kept.tensors())
    assert set(again.held_out) == {"", "latent"} and again.held_out[""].weight is None and again.codes is not None
    assert np.array_equal(again.held_out["latent"].weight, np.ones(2)) and np.array_equal(again.codes.rounding, np.eye(2))


def test_without_held_out_rows_there_is_no_latent_distance() -> None:
    learned = gnomon.fit("pca", draw(50, 1), options={"components": 2}, validation=0, progress=False)
    with pytest.raises(AbilityError, match="kept none; fit with validation"):
        learned.score(draw(5, 2), by="latent")


def test_images_are_scored_in_every_way() -> None:
    images = RNG.integers(0, 17, size=(60, 1, 8, 8)).astype(np.uint8)
    learned = gnomon.fit("vae", images, options={"latent": 2}, epochs=1, progress=False)
    assert isinstance(learned.spec.x, Image)
    for by in ("reconstruction", "bound", "latent"):
        assert np.isfinite(learned.score(images[:5], by=by)).all()


@pytest.mark.parametrize("model", ["vae", "autoencoder", "vqvae", "two_stage", "ladder_vae", "anomaly_detector", "pca", "flow"])
def test_what_is_out_of_all_reach_is_strangest(model: str) -> None:
    chance = np.random.default_rng(0)
    data = {"a": chance.normal(size=200), "b": chance.normal(size=200)}
    learned = gnomon.fit(model, data, **({} if model in ("pca", "anomaly_detector") else {"epochs": 1}), progress=False)
    near = learned.score(data)
    for far in (1e30, -1e300):
        score, p = learned.score({"a": [far], "b": [0.0]}, anomaly=True)
        assert np.isfinite(score).all() and score[0] > near.max() and p[0] < 0.1
