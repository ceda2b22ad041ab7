"""Known columns and the others, in the user's units: against densities in closed form and integrals of the joint one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import gnomon
from gnomon.errors import AbilityError, DataError, GnomonError, OptionError
from gnomon.learned import complete, marginal_log_prob, quantile

MODELS: dict[str, dict[str, Any]] = {"triangular_flow": {"first": ["y"], "hidden": (32, 32)}, "mixture_density": {"hidden": (32,)}}
SD = np.sqrt(0.25 * 4 + 0.09)  # of log y: x has sd 2, log y = x / 2 + 0.3 ε


@pytest.fixture(scope="module", params=MODELS)
def fitted(request: pytest.FixtureRequest) -> gnomon.Learned:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, 6000)
    data = {"x": x, "y": np.exp(0.5 * x + 0.3 * rng.normal(size=6000)), "k": rng.poisson(3, 6000)}
    support = {"y": "positive", "k": "integer(0,30)"}
    return gnomon.fit(request.param, data, columns=support, options=MODELS[request.param], epochs=40, lr=5e-3, progress=False)


def test_a_marginal_is_the_columns_own_density(fitted: gnomon.Learned) -> None:
    y = np.exp(1.5 + SD * stats.norm.ppf((np.arange(400) + 0.5) / 400))
    told = marginal_log_prob(fitted, {"y": y})
    assert told.mean() == pytest.approx(stats.lognorm(SD, scale=np.exp(1.5)).logpdf(y).mean(), abs=0.03)
    edges = np.geomspace(1e-4, 1e5, 20_001)
    middles = np.sqrt(edges[1:] * edges[:-1])
    total = (np.exp(marginal_log_prob(fitted, pa.table({"y": middles}))) * np.diff(edges)).sum()
    assert total == pytest.approx(1, abs=1e-3)
    assert marginal_log_prob(fitted, {"y": [-1.0]})[0] == -np.inf


def test_a_marginal_of_all_columns_is_the_density(fitted: gnomon.Learned) -> None:
    rows = fitted.sample(50, seed=3).to_pydict()
    np.testing.assert_allclose(marginal_log_prob(fitted, rows), fitted.log_prob(rows), rtol=1e-5, atol=1e-5)


def test_quantiles_come_in_units(fitted: gnomon.Learned) -> None:
    (found,) = quantile(fitted, (0.1, 0.5, 0.9), "y")
    np.testing.assert_allclose(found, np.exp(1.5 + SD * stats.norm.ppf((0.1, 0.5, 0.9))), rtol=0.07)
    known = {"y": [2.0, 2.0, 20.0]}
    at = quantile(fitted, [0.3], "x", known)[:, 0]
    assert at[0] == at[1] < at[2]
    drawn = np.asarray(complete(fitted, {"y": 2.0}, 4000)["x"])
    assert (drawn < at[0]).mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 4000))


def test_completed_rows_keep_what_is_known(fitted: gnomon.Learned) -> None:
    rows = complete(fitted, {"y": [0.1, 7.0, 300.0]}, seed=5)
    assert rows.column_names == ["x", "y", "k"] and rows["y"].to_pylist() == [0.1, 7.0, 300.0]
    assert rows.equals(complete(fitted, {"y": [0.1, 7.0, 300.0]}, seed=5)) and not rows.equals(complete(fitted, {"y": [0.1, 7.0, 300.0]}))
    x = np.asarray(complete(fitted, {"y": 7.0}, 4000)["x"])
    gain = 0.5 * 4 / SD**2
    assert x.mean() == pytest.approx(3 + gain * (np.log(7.0) - 1.5), abs=0.1)
    assert x.std() == pytest.approx(np.sqrt(4 - gain * 0.5 * 4), rel=0.12)


BAD: dict[str, tuple[Any, type[GnomonError], str]] = {
    "unknown column": (lambda one: complete(one, {"z": 1.0}), OptionError, "unknown column 'z'; known: x, y, k"),
    "outside": (lambda one: complete(one, {"y": [1.0, -2.0]}), DataError, r"known column 'y' is positive but holds -2 \(row 2\)"),
    "no level": (lambda one: quantile(one, [1.0], "x"), OptionError, "p wants probabilities between 0 and 1"),
    "unknown wanted": (lambda one: quantile(one, [0.5], "q"), OptionError, "unknown column 'q'"),
    "no columns": (lambda one: marginal_log_prob(one, {}), OptionError, "data names no column; name one or more of x, y, k"),
    "no names": (lambda one: complete(one, np.zeros((3, 3))), DataError, "known columns want names"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_named(fitted: gnomon.Learned, case: str) -> None:
    work, error, text = BAD[case]
    with pytest.raises(error, match=text):
        work(fitted)


def test_a_model_that_cannot_part_columns_says_so() -> None:
    learned = gnomon.fit("pca", "wine", options={"components": 2}, progress=False)
    with pytest.raises(AbilityError, match="pca cannot part columns from each other, so it has no complete; fit 'triangular_flow' or"):
        complete(learned, {"alcohol": 12.0})


def test_categories_and_angles_of_a_mixture() -> None:
    rng = np.random.default_rng(1)
    letter, x = rng.integers(0, 2, 3000), rng.normal(size=3000)
    data = {"letter": np.array(["a", "b"])[letter], "phi": (letter * 2.0 + 0.3 * rng.normal(size=3000)) % 6, "x": x + letter}
    learned = gnomon.fit("mixture_density", data, columns={"phi": "periodic(0,6)"}, epochs=20, lr=3e-3, progress=False)
    rows = complete(learned, {"letter": "b"}, 2000)
    assert set(rows["letter"].to_pylist()) == {"b"} and np.asarray(rows["x"]).mean() == pytest.approx(1, abs=0.15)
    assert np.abs(np.asarray(rows["phi"]) - 2).mean() < 0.4
    with pytest.raises(OptionError, match="the categorical column 'letter' wants a value"):
        marginal_log_prob(learned, {"x": [0.0]})
    share = np.exp(marginal_log_prob(learned, {"letter": ["a", "b"]}))
    assert share.sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(OptionError, match="column 'phi' is no number, so it has no quantiles"):
        quantile(learned, [0.5], "phi", {"letter": "a"})
