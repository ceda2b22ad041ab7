"""Scores and their errors against plain formulas; comparisons against their promise; the notation of a space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import gnomon
from gnomon.selection.proposals import drawn
from gnomon.selection.scoring import Score, blocks_of, measure, paired, plus_minus, pooled
from gnomon.selection.space import parse_space, size_of
from gnomon.selection.verdicts import compared


def fold(values: np.ndarray, parts: int = 40) -> Score:
    blocks = np.array([[part.mean(), len(part)] for part in np.array_split(values, min(parts, len(values)))])
    return Score(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), len(values), blocks)


def test_log_prob_is_the_weighted_mean_of_the_rows() -> None:
    chance = np.random.default_rng(0)
    data = {"a": chance.normal(size=40), "b": chance.normal(size=40), "w": chance.uniform(0.5, 2, 40)}
    learned = gnomon.fit("pca", data, weight="w", options={"components": 1}, progress=False, validation=0)
    raw = learned.read(data)
    blocks = blocks_of(40, how="random", values=None, seed=0)
    found = measure(learned, raw.with_(weight=torch.from_numpy(data["w"])), "log_prob", seed=0, blocks=blocks)
    values, weight = learned.log_prob(data), data["w"] / data["w"].mean()
    assert found.value == pytest.approx((values * weight).mean(), rel=1e-9) and found.n == 40
    assert found.error == pytest.approx((values * weight).std(ddof=1) / np.sqrt(40), rel=1e-9)


def test_what_a_model_measures_is_the_mean_over_rows_however_they_are_cut() -> None:
    chance = np.random.default_rng(0)
    x = chance.normal(size=(200, 3))
    data = {"a": x[:, 0], "b": x[:, 1], "label": np.where(x[:, 0] + 0.5 * x[:, 2] > 0, "p", "q")}
    learned = gnomon.fit("classifier", data, target="label", epochs=3, progress=False)
    raw = learned.read(data, target=True)
    right = (learned.predict(data) == data["label"]).mean()
    chances = learned.predict(data, proba=True)[np.arange(200), (data["label"] == "q").astype(int)]
    for how, values in (("random", None), ("group", np.arange(200) % 7), ("time", np.arange(200)[::-1].copy())):
        blocks = blocks_of(200, how=how, values=values, seed=0)
        assert sorted(row for block in blocks for row in block.tolist()) == list(range(200))
        assert measure(learned, raw, "accuracy", seed=0, blocks=blocks).value == pytest.approx(right, abs=1e-9)
        assert measure(learned, raw, "loss", seed=0, blocks=blocks).value == pytest.approx(-np.log(chances).mean(), rel=1e-5)
    assert [len(block) for block in blocks_of(200, how="group", values=np.arange(200) % 7, seed=0)] == [29] * 4 + [28] * 3


def test_an_error_by_groups_sees_what_rows_hide() -> None:
    """Rows of a group that are all alike count once: the error is that of the groups' means."""
    learned = gnomon.fit("pca", {"a": np.repeat(np.arange(8.0), 25)}, options={"components": 1}, progress=False, validation=0)
    raw, groups = learned.read({"a": np.repeat(np.arange(8.0), 25)}), np.repeat(np.arange(8), 25)
    by_group = measure(learned, raw, "log_prob", seed=0, blocks=blocks_of(200, how="group", values=groups, seed=0))
    means = learned.log_prob(raw).reshape(8, 25).mean(1)
    assert by_group.error == pytest.approx(means.std(ddof=1) / np.sqrt(8), rel=1e-9)


def test_pooled_folds() -> None:
    chance = np.random.default_rng(0)
    folds = [chance.normal(size=n) for n in (20, 30, 25)]
    found = pooled([fold(values) for values in folds])
    assert found.value == pytest.approx(np.concatenate(folds).mean()) and found.n == 75
    assert pooled([fold(folds[0])]).error == pytest.approx(folds[0].std(ddof=1) / np.sqrt(20))
    apart = [fold(values + 10 * k) for k, values in enumerate(folds)]
    assert pooled(apart).error > 4


def test_one_fold_of_single_rows_is_a_paired_t_test() -> None:
    chance = np.random.default_rng(0)
    one, two = chance.normal(size=30), chance.normal(0.3, 1, size=30)
    difference, error, p = paired([fold(one)], [fold(two)], 0.0)
    expected = stats.ttest_rel(two, one)
    assert difference == pytest.approx((two - one).mean()) and p == pytest.approx(expected.pvalue)
    assert error == pytest.approx((two - one).std(ddof=1) / np.sqrt(30))
    apart = [fold(one + k) for k in (0, 5, -3)], [fold(two + 2 * k) for k in (0, 5, -3)]
    means = np.array([(b.value - a.value) for a, b in zip(*apart, strict=True)])
    difference, error, p = paired(*apart, 0.5)  # fits differ: only the folds count, corrected by Nadeau and Bengio
    assert error == pytest.approx(np.sqrt(means.var(ddof=1) * (1 / 3 + 0.5)))
    assert p == pytest.approx(2 * stats.t.sf(abs(means.mean()) / error, 2))
    assert paired([fold(one)], [fold(one)], 0.1)[2] == 1.0


@pytest.mark.parametrize("fits", [0.0, 0.1, 0.2, 1.0])
def test_equals_are_seldom_told_apart(fits: float) -> None:
    """300 pairs of equal settings whose fits differ by chance: at the level 5 % at most as many are called different."""
    chance = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        rows = chance.normal(size=(5, 60))
        one, two = ([fold(row + 0.7 * chance.normal(size=60) + fits * chance.normal()) for row in rows] for _ in range(2))
        wrong += paired(one, two, 0.25)[2] < 0.05
    assert wrong / 300 < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_many_settings_ask_for_more() -> None:
    from gnomon.selection.trials import Trial

    chance = np.random.default_rng(0)
    rows = chance.normal(size=(5, 40))
    trials = [
        Trial(k, {"a": k}, Score(0.3 * k, 0.1, 200), tuple(fold(row + 0.3 * k + 0.5 * chance.normal(size=40)) for row in rows))
        for k in range(3)
    ]
    by_best = [trials[1], trials[2], trials[0]]
    few, many = (compared(by_best, settings, 0.25, True) for settings in (3, 300))
    assert [c.other for c in few] == ["the default", "trial 2"] and few[0].best == "trial 1"
    assert many[0].p == pytest.approx(min(1, few[0].p * 100)) and many[1].p >= few[1].p
    assert few[0].difference == pytest.approx(0.3, abs=0.1)
    assert compared(by_best, 3, 0.25, False)[0].difference == pytest.approx(-few[0].difference)


# ---- the space ----------------------------------------------------------------------------------------------------------


def test_three_ways_of_saying_the_same() -> None:
    import tomllib

    python = parse_space(
        {"lr": ("log", 1e-4, 1e-1), "net.hidden": ["32,32", "64"], "options.k": ("integer", 1, 4), "d": ("uniform", 0, 0.5)}
    )
    toml = tomllib.loads(
        'lr = ["log", 1e-4, 1e-1]\n"net.hidden" = ["32,32", "64"]\n"options.k" = ["integer", 1, 4]\nd = ["uniform", 0, 0.5]'
    )
    text = parse_space({"lr": "log(1e-4, 1e-1)", "net.hidden": "32,32|64", "options.k": "integer(1,4)", "d": "uniform(0,0.5)"})
    assert python == parse_space(toml)
    assert {**python, "net.hidden": None} == {**text, "net.hidden": None} and text["net.hidden"].values == ("32,32", 64)
    assert parse_space({name: quantity.to_json() for name, quantity in python.items()}) == python


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_draws_are_inside_and_differ(seed: int, count: int) -> None:
    space = parse_space({"a": ("log", 1e-3, 10.0), "b": ("integer", 2, 5), "c": ("uniform", -1, 1), "d": ["x", "y", (1, 2)]})
    found = drawn(space, count, seed)
    assert len(found) == count == len({str(setting) for setting in found}) and found == drawn(space, count, seed)
    for setting in found:
        assert (
            1e-3 <= setting["a"] <= 10 and setting["b"] in (2, 3, 4, 5) and -1 <= setting["c"] <= 1 and setting["d"] in ("x", "y", (1, 2))
        )


def test_a_logarithmic_range_is_uniform_in_its_logarithm_and_a_small_space_is_tried_whole() -> None:
    values = [setting["a"] for setting in drawn(parse_space({"a": ("log", 1e-4, 1.0)}), 400, 0)]
    assert stats.kstest(np.log10(values), stats.uniform(-4, 4).cdf).pvalue > 0.01
    small = parse_space({"a": ("integer", 1, 3), "b": "x|y"})
    assert size_of(small) == 6 and len(drawn(small, 100, 0)) == 6


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [(0.51234, 0.02, "0.512 ± 0.02"), (-1234.5, 67.8, "-1234 ± 68"), (1e-9, 1e-11, "1e-09 ± 1e-11"), (0.5, 0.0, "0.5")],
)
def test_values_with_errors(value: float, error: float, text: str) -> None:
    assert plus_minus(value, error) == text
