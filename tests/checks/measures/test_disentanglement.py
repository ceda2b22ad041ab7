"""The mutual information gap against closed forms, and against scikit-learn's mutual information."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from gnomon.checks.measures.disentanglement import mutual_information_gap, mutual_informations
from gnomon.errors import DataError


def test_of_correlated_normals_it_is_the_textbooks() -> None:
    chance = np.random.default_rng(0)
    factor = chance.normal(size=100_000)
    code = 0.8 * factor + 0.6 * chance.normal(size=100_000)
    found = mutual_informations(code[:, None], factor, bins=50)[0, 0] * math.log(50)
    assert found == pytest.approx(-0.5 * math.log(1 - 0.8**2), rel=0.03)  # cut into parts a little is lost


def test_of_categories_it_is_scikit_learns_less_the_bias() -> None:
    chance = np.random.default_rng(1)
    factor = chance.integers(3, size=2000)
    code = np.where(chance.random(2000) < 0.7, factor, chance.integers(3, size=2000))
    found = mutual_informations(code[:, None], factor)[0, 0] * mutual_info_score(factor, factor)
    assert found == pytest.approx(mutual_info_score(code, factor) - 4 / 4000, abs=1e-9)


def test_independent_numbers_share_nothing_in_the_mean() -> None:
    chance = np.random.default_rng(2)
    found = mutual_informations(chance.normal(size=(5000, 20)), chance.normal(size=5000))
    assert found.mean() < 0.005


def test_the_gap_is_one_for_factors_and_none_for_their_mixtures() -> None:
    chance = np.random.default_rng(3)
    factors = np.stack([chance.uniform(size=4000), chance.integers(3, size=4000)], 1)
    noise = chance.normal(size=(4000, 2))
    apart = mutual_information_gap(np.concatenate([factors, noise], 1), factors)
    assert apart.value > 0.97 and apart.error < 0.02 and apart.n == 4000
    normal = chance.normal(size=(4000, 2))
    turned = normal @ np.array([[1.0, 1.0], [-1.0, 1.0]])
    assert mutual_information_gap(turned, normal).value < 3 * mutual_information_gap(turned, normal).error + 0.02


def test_the_error_is_that_of_fresh_rows() -> None:
    values, errors = [], []
    for seed in range(30):
        chance = np.random.default_rng(seed)
        factor = chance.normal(size=1500)
        codes = np.stack([factor + 0.5 * chance.normal(size=1500), factor + chance.normal(size=1500)], 1)
        made = mutual_information_gap(codes, factor)
        values.append(made.value)
        errors.append(made.error)
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.35)


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(DataError, match="factor 1 never varies"):
        mutual_informations(np.zeros((4, 2)), np.array([[0, 1], [1, 1], [2, 1], [3, 1]]))
    with pytest.raises(DataError, match="a single number"):
        mutual_information_gap(np.zeros((4, 1)), np.arange(4))
    with pytest.raises(DataError, match="want the same rows"):
        mutual_information_gap(np.zeros((4, 2)), np.arange(3))
