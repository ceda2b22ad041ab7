"""Spread over seeds, against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gnomon.checks.measures.seeds import spread, welch
from gnomon.errors import DataError


def test_spread_is_the_textbook_s() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=7)
    made = spread(values)
    assert (made.mean, made.sd, made.error, made.trainings) == pytest.approx((values.mean(), values.std(ddof=1), stats.sem(values), 7))
    many = [spread(np.random.default_rng(seed).normal(size=6)) for seed in range(3000)]
    assert np.mean([m.sd_error for m in many]) == pytest.approx(np.std([m.sd for m in many]), rel=0.05)
    alone = spread([4.0])
    assert alone.mean == 4.0 and math.isnan(alone.sd) and math.isnan(alone.error)


def test_welch_is_scipy_s() -> None:
    rng = np.random.default_rng(1)
    for first, second in ((3, 5), (2, 2), (10, 4)):
        a, b = rng.normal(size=first), 0.5 + 3 * rng.normal(size=second)
        wanted = stats.ttest_ind(a, b, equal_var=False)
        made = welch(a, b)
        assert (made.p, made.freedom, made.value / made.error) == pytest.approx((wanted.pvalue, wanted.df, wanted.statistic), rel=1e-9)


def test_an_error_that_all_share_is_added() -> None:
    a, b = [1.0, 1.1, 0.9], [1.5, 1.6, 1.4]
    alone, both = welch(a, b), welch(a, b, shared_error=1.0)
    assert both.error == pytest.approx(np.hypot(alone.error, 1.0)) and both.p > 0.4 > alone.p
    assert both.freedom > alone.freedom


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_p_is_uniform_under_the_null(shared: float) -> None:
    p = []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        common = shared * rng.normal()
        p.append(welch(rng.normal(size=4) + common, 2 * rng.normal(size=4), shared_error=shared).p)
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01


def test_few_and_equal_values() -> None:
    assert math.isnan(welch([1.0], [2.0, 3.0]).p)
    assert welch([1.0, 1.0], [1.0, 1.0]).p == 1.0 and welch([1.0, 1.0], [2.0, 2.0]).p == 0.0
    with pytest.raises(DataError, match="finite number per training"):
        spread([])
    with pytest.raises(DataError, match="finite number per training"):
        welch([1.0, math.inf], [1.0, 2.0])
