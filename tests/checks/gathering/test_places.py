"""Rows as points for classical densities: every sort of column in network space, with the Jacobian, so that densities stay normalised."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats

from gnomon.checks import Case, Effort
from gnomon.checks.gathering.places import emptiest, places_of
from gnomon.checks.statistics import mixed_densities
from gnomon.checks.statistics.mixed_densities import MixedDensity
from gnomon.data import Categorical, Column, Examples, Image, Integer, Periodic, Positive, Scaling, Spec, Vector


def _made(columns: list[Column], values: np.ndarray, *, given: list[Column] | None = None, conditions: np.ndarray | None = None):  # noqa: ANN202
    spec = Spec(Vector(tuple(columns)), given=None if given is None else Vector(tuple(given)))
    raw = Examples(torch.from_numpy(values), given=None if conditions is None else torch.from_numpy(conditions))
    return Scaling.fit(spec, raw), raw


def test_a_gaussian_of_a_positive_column_is_lognormal() -> None:
    x = np.exp(1 + 0.8 * np.random.default_rng(0).normal(size=(4000, 1)))
    scaling, raw = _made([Column("pt", Positive())], x)
    rows = places_of(scaling, raw, np.empty(0), evaluated=True)
    made = MixedDensity.fit(rows, mixed_densities.gaussian, 0).log_prob(rows)
    log = np.log(x[:, 0])
    assert np.allclose(made, stats.lognorm(log.std(), scale=np.exp(log.mean())).logpdf(x[:, 0]), atol=1e-4)


def test_probabilities_of_whole_numbers_add_up_to_one() -> None:
    k = np.random.default_rng(0).poisson(3, size=(3000, 1)).astype(float)
    scaling, raw = _made([Column("count", Integer(0, None))], k)
    density = MixedDensity.fit(places_of(scaling, raw, np.empty(0), evaluated=False).to_fit(), mixed_densities.mixture, 0)
    cells = Examples(torch.arange(0.0, 60.0, dtype=torch.float64)[:, None])
    rows = places_of(scaling, cells, np.empty(0), evaluated=True)
    chance = np.exp(density.log_prob(rows))
    assert rows.points.shape[0] > 1 and chance.sum() == pytest.approx(1, abs=0.01)
    assert np.abs(chance[:10] - stats.poisson.pmf(np.arange(10), 3)).max() < 0.03


def test_angles_are_cut_where_there_are_fewest() -> None:
    angle = np.random.default_rng(0).vonmises(np.pi, 2, size=(3000, 1))  # around the ends of [-pi, pi)
    scaling, raw = _made([Column("phi", Periodic(-np.pi, np.pi))], angle)
    cuts = emptiest(scaling, raw)
    assert abs(cuts[0]) < 0.8
    rows = places_of(scaling, raw, cuts, evaluated=True)
    made = MixedDensity.fit(rows, mixed_densities.gaussian, 0).log_prob(rows).mean()
    truth = stats.vonmises(2, loc=np.pi).logpdf(angle[:, 0]).mean()
    assert truth - 0.06 < made < truth


def test_categories_and_conditions_have_their_places() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=500), rng.integers(0, 3, 500), rng.integers(0, 2, 500)], axis=1).astype(float)
    conditions = np.stack([rng.uniform(0, 1, 500), rng.integers(0, 4, 500)], axis=1).astype(float)
    columns = [Column("x"), Column("a", Categorical(("u", "v", "w"))), Column("b", Categorical((False, True)))]
    given = [Column("phase", Periodic(0, 1)), Column("run", Categorical(tuple("abcd")))]
    scaling, raw = _made(columns, values, given=given, conditions=conditions)
    rows = places_of(scaling, raw, np.empty(0), evaluated=True)
    assert rows.points.shape == (1, 500, 1) and rows.given.shape == (500, 2) and rows.codes == 6
    assert (rows.code == values[:, 1] * 2 + values[:, 2]).all() and (rows.given_code == conditions[:, 1]).all()
    assert np.allclose(np.square(rows.given).sum(axis=1), 1)
    absent = Examples(raw.x, given=torch.full((500, 2), torch.nan, dtype=torch.float64))
    assert places_of(scaling, absent, np.empty(0), evaluated=True) is None


def test_large_images_have_none() -> None:
    spec = Spec(Image(1, (20, 20)))
    raw = Examples(torch.rand(30, 1, 20, 20))
    assert places_of(Scaling.fit(spec, raw), raw, np.empty(0), evaluated=True) is None


def test_baselines_of_a_model_are_fitted_to_its_training_rows_and_stand_in_the_users_units() -> None:
    import gnomon
    from gnomon.checks.gathering.learned_case import case_of
    from gnomon.checks.statistics.baselines import baselines

    def table(seed: int, rows: int) -> pa.Table:
        rng = np.random.default_rng(seed)
        return pa.table({"a": 100 + 5 * rng.normal(size=rows), "b": np.exp(rng.normal(size=rows))})

    learned = gnomon.fit("flow", table(0, 800), columns={"b": "positive"}, epochs=1, progress=False)
    case, _, _ = case_of(learned, table(1, 400), budget="2s", seed=0, train=table(0, 800))
    assert case.likelihood.seen and len(case.likelihood.others) == 800
    rows = {row.name: row for row in baselines(Case(likelihood=case.likelihood, effort=Effort()))}
    test = table(1, 400).to_pydict()
    truth = stats.norm(100, 5).logpdf(test["a"]) + stats.lognorm(1).logpdf(test["b"])
    assert rows["gaussian_log_likelihood"].value == pytest.approx(truth.mean(), abs=0.02)
    assert "fitted to 800 rows of the training" in rows["gaussian_log_likelihood"].note
