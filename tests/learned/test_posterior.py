"""Posteriors under learned likelihoods: stretch moves against known densities, the posterior of a Gaussian against its closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gnomon
from gnomon.errors import DataError, OptionError
from gnomon.learned.posterior import posterior, stretch


def test_stretch_moves_keep_a_correlated_gaussian() -> None:
    rng = np.random.default_rng(0)
    root = np.array([[1.0, 0.0, 0.0], [3.0, 0.1, 0.0], [0.0, 2.0, 0.02]])
    inverse = np.linalg.inv(root @ root.T)
    start = 2 * rng.normal(size=(4000, 3)) @ root.T  # twice too wide
    made, accepted = stretch(lambda x: -0.5 * np.einsum("ni,ij,nj->n", x, inverse, x), start, 150, rng)
    white = made @ np.linalg.inv(root).T
    np.testing.assert_allclose(white.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=0.12)
    assert 0.2 < accepted < 0.9


def test_stretch_moves_leave_the_stationary_density_alone() -> None:
    rng = np.random.default_rng(1)
    start = rng.exponential(size=(20_000, 1))  # a hard edge at zero
    made, _ = stretch(lambda x: np.where(x[:, 0] > 0, -x[:, 0], -np.inf), start, 20, rng)
    assert (made > 0).all()
    for power, expected in ((1, 1.0), (2, 2.0), (3, 6.0)):
        assert (made**power).mean() == pytest.approx(expected, rel=0.03 * power)


@pytest.fixture(scope="module")
def line() -> tuple[gnomon.learned.Learned, np.ndarray]:
    """x = (θ₁ + θ₂, θ₁ - θ₂) / √2 + noise of 0.5, under a standard normal prior."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(6000, 2))
    turned = theta @ (np.array([[1, 1], [1, -1]]) / np.sqrt(2)) + 0.5 * rng.normal(size=(6000, 2))
    return gnomon.fit("mixture_density", {"x": turned, "given": theta}, seed=0, epochs=25, progress=False, compile="off"), theta


def test_the_posterior_is_the_closed_form_for_one_and_for_several_observations(line: tuple) -> None:
    learned, theta = line
    seen = np.array([[1.0, 0.2], [0.6, -0.4], [0.8, 0.5]])
    for rows in (seen[:1], seen):
        made = posterior(learned, rows, theta, lambda t: -0.5 * np.square(t).sum(1), n=1000, moves=40, seed=3)
        precision = 1 + len(rows) / 0.25
        mean = (rows.sum(0) / 0.25 / precision) @ (np.array([[1, 1], [1, -1]]) / np.sqrt(2)).T
        np.testing.assert_allclose(made.values.mean(0), mean, atol=0.1)
        np.testing.assert_allclose(np.cov(made.values.T), np.eye(2) / precision, atol=0.05)
        assert 0.2 < made.acceptance < 1 and made.effective > 20


def test_a_seed_repeats_and_a_prior_cuts(line: tuple) -> None:
    learned, theta = line

    def positive(t: np.ndarray) -> np.ndarray:
        return np.where((t > 0).all(1), -0.5 * np.square(t).sum(1), -np.inf)

    inside = theta[(theta > 0).all(1)]
    first, again = (posterior(learned, [[0.5, 0.5]], inside, positive, n=200, moves=5, seed=1).values for _ in range(2))
    assert np.array_equal(first, again) and (first > 0).all()


def test_what_cannot_be_is_refused_by_name(line: tuple) -> None:
    learned, theta = line
    with pytest.raises(DataError, match=r"draws of shape \(m, 2\); got \(6000, 1\)"):
        posterior(learned, [[0.0, 0.0]], theta[:, :1], lambda t: t[:, 0])
    with pytest.raises(OptionError, match="n wants a whole number of 6 or more; got 2"):
        posterior(learned, [[0.0, 0.0]], theta, lambda t: t[:, 0], n=2)
    with pytest.raises(OptionError, match="an even number of walkers above 4; got 7"):
        stretch(lambda t: t[:, 0], theta[:7], 1, np.random.default_rng(0))
    with pytest.raises(OptionError, match=r"log_prob wants to give shape \(8,\), one number for each walker; it gave \(\)"):
        stretch(lambda t: 0.0, theta[:8], 1, np.random.default_rng(0))  # type: ignore[arg-type, return-value]
    with pytest.raises(OptionError, match="fitted without a condition"):
        posterior(gnomon.fit("pca", "iris", options={"components": 1}, progress=False), [[0.0]], theta, lambda t: t[:, 0])


def flat(theta: np.ndarray) -> np.ndarray:
    return np.zeros(len(theta))


NOWHERE = np.full((10, 2), np.nan)
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "an odd n": ({"n": 7}, OptionError, "n wants an even number of 6 or more; got 7"),
    "moves": ({"moves": -1}, OptionError, "moves wants a whole number of 0 or more; got -1"),
    "no prior": ({"prior": np.empty((0, 2))}, DataError, r"draws of shape \(m, 2\); got \(0, 2\)"),
    "a prior of texts": ({"prior": [["a", "b"]]}, DataError, r"draws of shape \(m, 2\); got \[\['a', 'b'\]\]"),
    "a prior of NaN": ({"prior": NOWHERE}, DataError, "the prior's draw 1 of 10 is not finite; drop those that are not"),
    "one NaN": ({"prior": np.array([[0.0, 0.0], [0.0, np.nan]])}, DataError, "the prior's draw 2 of 2 is not finite"),
    "no density": ({"log_prior": lambda t: flat(t) - np.inf}, DataError, "log_prior gives no draw from the prior any density"),
    "one density": ({"log_prior": lambda t: 0.0}, OptionError, r"log_prior wants to give shape \(20,\), .* it gave \(\)"),
    "a column": ({"log_prior": lambda t: t[:, :1]}, OptionError, r"log_prior wants to give shape \(20,\), .* it gave \(20, 1\)"),
    "nothing seen": ({"observed": np.empty((0, 2))}, DataError, "the data holds no rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_before_the_likelihood_is_asked(name: str, line: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    learned, theta = line
    monkeypatch.setattr(learned, "log_prob", lambda rows: pytest.fail("the likelihood was asked"))
    options, error, message = REFUSED[name]
    arguments = {"observed": [[0.0, 0.0]], "prior": theta[:20], "log_prior": flat, **options}
    with pytest.raises(error, match=message):
        posterior(learned, **arguments)


def test_draws_outside_the_prior_have_no_weight(line: tuple) -> None:
    learned, theta = line

    def positive(t: np.ndarray) -> np.ndarray:
        return np.where((t > 0).all(1), 0.0, np.nan)

    made = posterior(learned, [[-0.5, -0.5]], theta, positive, n=200, moves=0)
    assert (made.values > 0).all()


def test_a_likelihood_of_sets_is_refused() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(int(k), 2)) for k in rng.integers(1, 4, 60)]
    learned = gnomon.fit(
        "vae", {"x": sets, "given": rng.normal(size=(60, 1))}, kind="set", options={"size": 0.25}, epochs=1, progress=False
    )
    with pytest.raises(OptionError, match="posterior wants a likelihood of columns or images; vae is one of"):
        posterior(learned, sets[:1], rng.normal(size=(10, 1)), flat)
