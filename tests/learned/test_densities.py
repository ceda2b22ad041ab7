"""Densities in the user's units: against closed forms, as integrals, outside the support, and for whole numbers."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from scipy.integrate import quad

from gnomon.errors import AbilityError, OptionError
from tests.learned.toys import Bounded, Line, Normal, learn

RNG = np.random.default_rng(0)
ROWS = 400

# support, training values, where to integrate
CONTINUOUS = {
    "real": (RNG.normal(3.0, 2.0, ROWS), (-40.0, 40.0)),
    "positive": (RNG.lognormal(1.0, 0.7, ROWS), (0.0, 400.0)),
    "nonnegative": (RNG.lognormal(-1.0, 0.5, ROWS), (0.0, 50.0)),
    "bounded(-2,5)": (RNG.uniform(-1.5, 4.5, ROWS), (-2.0, 5.0)),
}
WHOLE = {
    "integer": (RNG.integers(-6, 7, ROWS), range(-80, 81)),
    "integer(0,9)": (RNG.integers(0, 10, ROWS), range(0, 10)),
    "integer(0,1)": (RNG.integers(0, 2, ROWS), range(0, 2)),
}


def learned_of(support: str, values: np.ndarray) -> object:
    return learn(Normal, {"a": values}, columns={"a": support})


@pytest.mark.parametrize("support", CONTINUOUS)
def test_the_density_integrates_to_one(support: str) -> None:
    values, (low, high) = CONTINUOUS[support]
    learned = learned_of(support, values)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(low, high, 4001)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    points = (middle[:, None] + half[:, None] * nodes).ravel()
    density = np.exp(learned.log_prob({"a": points})).reshape(-1, 20)
    assert float((density * weights * half[:, None]).sum()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("support", WHOLE)
def test_probabilities_of_whole_numbers_sum_to_one(support: str) -> None:
    values, all_values = WHOLE[support]
    learned = learned_of(support, values)
    probability = np.exp(learned.log_prob({"a": np.array(all_values)}))
    assert probability.sum() == pytest.approx(1.0, abs=1e-3)


def test_two_dimensions_of_different_supports_integrate_to_one() -> None:
    learned = learn(Normal, {"a": CONTINUOUS["positive"][0], "k": WHOLE["integer(0,9)"][0]}, columns={"a": "positive", "k": "integer(0,9)"})
    a = np.exp(np.linspace(math.log(1e-3), math.log(1e3), 2001))
    total = 0.0
    for k in range(10):
        total += np.trapezoid(np.exp(learned.log_prob({"a": a, "k": np.full(len(a), k)})), a)
    assert total == pytest.approx(1.0, abs=1e-3)


def test_a_lognormal_column_has_the_lognormal_density() -> None:
    values = CONTINUOUS["positive"][0]
    mean, sd = np.log(values).mean(), np.log(values).std()
    points = np.array([0.1, 1.0, 2.5, 40.0])
    expected = stats.lognorm.logpdf(points, s=sd, scale=math.exp(mean))
    np.testing.assert_allclose(learned_of("positive", values).log_prob({"a": points}), expected, rtol=2e-6, atol=2e-6)


def test_a_whole_number_has_the_probability_of_its_cell() -> None:
    values = WHOLE["integer"][0]
    learned = learned_of("integer", values)
    mean, scale = learned.scaling.maps["x"].mean.item(), learned.scaling.maps["x"].scale.item()
    k = np.arange(-9, 10)
    expected = stats.norm.cdf((k + 1 - mean) / scale) - stats.norm.cdf((k - mean) / scale)
    np.testing.assert_allclose(np.exp(learned.log_prob({"a": k})), expected, rtol=1e-5)


def test_two_whole_numbers_have_the_product_of_their_probabilities() -> None:
    a, b = WHOLE["integer"][0], WHOLE["integer(0,9)"][0]
    both = learn(Normal, {"a": a, "b": b}, columns={"a": "integer", "b": "integer(0,9)"})
    rows = {"a": np.array([-3, 0, 2, 5]), "b": np.array([0, 4, 9, 1])}
    apart = learned_of("integer", a).log_prob({"a": rows["a"]}) + learned_of("integer(0,9)", b).log_prob({"a": rows["b"]})
    np.testing.assert_allclose(both.log_prob(rows), apart, atol=2e-3)


def test_units_move_the_density_by_the_jacobian() -> None:
    values = CONTINUOUS["real"][0]
    in_metres, in_millimetres = learned_of("real", values), learned_of("real", 1000 * values)
    points = np.array([-1.0, 0.0, 4.0])
    difference = in_metres.log_prob({"a": points}) - in_millimetres.log_prob({"a": 1000 * points})
    np.testing.assert_allclose(difference, math.log(1000.0), atol=1e-5)


@pytest.mark.parametrize(
    ("support", "values", "outside"),
    [
        ("positive", CONTINUOUS["positive"][0], [-1.0, 0.0]),
        ("nonnegative", CONTINUOUS["nonnegative"][0], [-1e-9]),
        ("bounded(-2,5)", CONTINUOUS["bounded(-2,5)"][0], [-2.001, 5.001]),
        ("integer(0,9)", WHOLE["integer(0,9)"][0], [-1, 10]),
    ],
)
def test_outside_the_support_it_is_minus_infinity_and_inside_it_is_not(support: str, values: np.ndarray, outside: list[float]) -> None:
    learned = learned_of(support, values)
    mixed = np.array([*outside, values[0], *outside])
    got = learned.log_prob({"a": mixed})
    inside = len(outside)
    assert got[inside] == learned.log_prob({"a": values[:1]})[0] and np.isfinite(got[inside])
    assert np.all(np.delete(got, inside) == -math.inf)


def test_closed_ends_are_finite() -> None:
    learned = learned_of("bounded(-2,5)", CONTINUOUS["bounded(-2,5)"][0])
    assert np.isfinite(learned.log_prob({"a": np.array([-2.0, 5.0])})).all()


def test_log_prob_is_float64_and_one_per_row() -> None:
    got = learned_of("real", CONTINUOUS["real"][0]).log_prob({"a": np.zeros(3)})
    assert got.dtype == np.float64 and got.shape == (3,)


def test_a_model_with_only_a_bound_says_so() -> None:
    learned = learn(Bounded, {"a": CONTINUOUS["real"][0]})
    assert learned.abilities == ("log_prob_bound", "score")
    with pytest.raises(AbilityError, match="log_prob_bound"):
        learned.log_prob({"a": np.zeros(3)})


def test_a_bound_comes_in_the_users_units_with_its_error() -> None:
    values = CONTINUOUS["real"][0]
    learned = learn(Bounded, {"a": values})
    value, error = learned.log_prob_bound({"a": np.array([1.0, 4.0])})
    np.testing.assert_allclose(value, stats.norm.logpdf([1.0, 4.0], values.mean(), values.std()) - 1.0, atol=1e-5)
    np.testing.assert_allclose(error, 0.5)


def test_a_bound_on_whole_numbers_stays_below_and_its_error_shrinks() -> None:
    values = WHOLE["integer"][0]
    bound, error = learn(Bounded, {"a": values}).log_prob_bound({"a": np.arange(-5, 6)})
    exact = learned_of("integer", values).log_prob({"a": np.arange(-5, 6)})
    np.testing.assert_allclose(bound, exact - 1.0, atol=1e-3)
    assert (error < 0.5).all() and (error >= 0.5 / math.sqrt(16) - 1e-12).all()


# ---- predictions through bent scalings ------------------------------------------------------------------------------


def regressor(support: str, values: np.ndarray, spread: float) -> object:
    data = {"x": np.linspace(-1.0, 1.0, len(values)), "y": values}
    return learn(Line, data, target="y", columns={"y": support}, options={"spread": spread})


def test_a_gaussian_through_a_logarithm_has_the_lognormal_mean_and_sd() -> None:
    values = CONTINUOUS["positive"][0]
    mean, scale = np.log(values).mean(), np.log(values).std()
    x = np.array([-0.9, 0.0, 0.5])
    got, sd = regressor("positive", values, 0.8).predict({"x": x}, sd=True)
    z = (x - 0.0) / np.linspace(-1.0, 1.0, ROWS).std()
    expected = stats.lognorm(s=0.8 * scale, scale=np.exp(mean + z * scale))
    np.testing.assert_allclose(got, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(sd, expected.std(), rtol=1e-5)


def test_a_gaussian_through_a_logit_has_the_integrated_mean_and_sd() -> None:
    learned = regressor("bounded(-2,5)", CONTINUOUS["bounded(-2,5)"][0], 1.5)
    got, sd = learned.predict({"x": np.array([0.3])}, sd=True)
    scaling = learned.scaling.maps["y"]
    centre = 0.3 / np.linspace(-1.0, 1.0, ROWS).std()

    def through(t: float) -> float:
        logit = (centre + 1.5 * t) * scaling.scale.item() + scaling.mean.item()
        return -2 + 7 / (1 + math.exp(-logit))

    mean = quad(lambda t: through(t) * stats.norm.pdf(t), -9, 9)[0]
    second = quad(lambda t: (through(t) - mean) ** 2 * stats.norm.pdf(t), -9, 9)[0]
    assert got[0] == pytest.approx(mean, rel=1e-5) and sd[0] == pytest.approx(math.sqrt(second), rel=1e-5)


def test_real_targets_come_back_linearly_and_whole_ones_as_fractions() -> None:
    values = CONTINUOUS["real"][0]
    got, sd = regressor("real", values, 0.5).predict({"x": np.array([0.0])}, sd=True)
    assert got[0] == pytest.approx(values.mean()) and sd[0] == pytest.approx(0.5 * values.std())
    counts = WHOLE["integer"][0]
    got = regressor("integer", counts, 0.5).predict({"x": np.array([0.0])})
    assert got[0] == pytest.approx(counts.mean(), abs=1e-5)


def test_an_angle_comes_back_within_its_period() -> None:
    got, sd = regressor("periodic(0,6.283185307179586)", RNG.uniform(0, 6.28, ROWS), 0.1).predict({"x": np.array([-1.0, 1.0])}, sd=True)
    assert ((got >= 0) & (got < 2 * math.pi)).all()
    np.testing.assert_allclose(sd, 0.1, rtol=1e-6)


def test_timestamps_are_densities_per_second() -> None:
    seconds = np.arange(100)
    times = pa.array(seconds * 1_000_000 + 1_700_000_000_000_000, pa.timestamp("us"))
    got = learn(Normal, pa.table({"t": times})).log_prob(pa.table({"t": times[:1]}))
    assert got[0] == pytest.approx(stats.norm.logpdf(0.0, seconds.mean(), seconds.std()), abs=1e-5)


def test_draws_are_shared_out_over_the_cells_of_whole_numbers() -> None:
    seen: list[int] = []

    class Counting(Bounded):
        def log_prob_bound(self, batch: object, samples: int = 256) -> object:
            seen.append(samples)
            return super().log_prob_bound(batch, samples)

    learn(Counting, {"a": CONTINUOUS["real"][0]}).log_prob_bound({"a": [0.5]}, samples=100)
    assert seen == [100]
    seen.clear()
    learn(Counting, {"a": WHOLE["integer"][0]}).log_prob_bound({"a": [1]})
    assert seen == [16] * 16
    with pytest.raises(OptionError, match="samples"):
        learn(Counting, {"a": CONTINUOUS["real"][0]}).log_prob_bound({"a": [0.5]}, samples=0)
