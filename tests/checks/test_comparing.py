"""Runs ranked on the same rows: paired errors, valid p-values for a best that is found in the data, and plain sentences."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import gnomon
from gnomon.checks import compare
from gnomon.checks.comparing import LEVEL
from gnomon.checks.recipes import labels, recipes_of
from gnomon.data import Column, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.learned import Learned


class Known(Learned):
    """A run whose log-probabilities are given."""

    def __init__(
        self, values: np.ndarray, *, bound: bool = False, recipe: str = "", weight: str | None = None, name: str = "known"
    ) -> None:
        self.values, self.bound, self._name = np.asarray(values, dtype=np.float64), bound, name
        self.info = {"recipe": {"model": name, "options": {"size": recipe}}}
        self.run, self._weight = None, weight

    @property
    def spec(self) -> Spec:
        return Spec(Vector((Column("x"),)), weight=self._weight)

    @property
    def name(self) -> str:
        return self._name

    @property
    def abilities(self) -> tuple[str, ...]:
        return ("log_prob_bound",) if self.bound else ("log_prob",)

    def log_prob(self, data: Any) -> np.ndarray:
        return self.values

    def log_prob_bound(self, data: Any, samples: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        return self.values, np.zeros(len(self.values))


def _runs(*shifts: float, rows: int = 200, seed: int = 0, noise: float = 0.3) -> dict[str, Known]:
    """Runs that share the luck of the rows and differ by a shift and some noise of their own."""
    rng = np.random.default_rng(seed)
    luck = 3 * rng.normal(size=rows)
    return {name: Known(luck + shift + noise * rng.normal(size=rows)) for name, shift in zip("abcdefgh", shifts, strict=False)}


def test_differences_are_paired_and_corrected_for_all_pairs() -> None:
    runs = _runs(0.0, -0.3, -0.02)
    made = compare(runs, {"x": np.zeros(200)})
    assert made.metric == "log_prob (nats)" and made.ranking[0].verdict == "best"
    by_name = {entry.run: entry for entry in made.ranking}
    worst, best = by_name["b"], made.ranking[0].run
    gap = runs[best].values - runs["b"].values
    assert worst.difference == pytest.approx(gap.mean()) and worst.difference_error == pytest.approx(stats.sem(gap))
    assert worst.error > 5 * worst.difference_error and worst.verdict == "worse"
    raw = [stats.ttest_rel(runs[i].values, runs[j].values).pvalue for i, j in ("ab", "ac", "bc")]
    third = next(entry for entry in made.ranking[1:] if entry.run != "b")
    assert third.p == pytest.approx(max(raw)) and third.verdict == "not told apart"
    assert worst.p == pytest.approx(3 * min(raw), rel=1e-6) or worst.p == pytest.approx(2 * sorted(raw)[1], rel=1e-6)


def test_sentences_are_plain() -> None:
    said = compare(_runs(0.0, -0.3, -0.02), {"x": np.zeros(200)}).sentences
    assert any("' is worse than '" in one and " nats a row (p < 0.001)" in one for one in said)
    assert any(" cannot be told from '" in one and "(behind by 0.0" in one for one in said)
    run = _runs(0.0)["a"]
    assert compare({"one": run, "two": run}, {"x": np.zeros(200)}).sentences[0] == "'two' gives the same as 'one' on every row"


def test_runs_of_equal_merit_are_rarely_told_apart() -> None:
    """The best of five equals is found in the same rows; still, some pair is called different in 5 % of cases at most."""
    wrong = 0
    for seed in range(300):
        made = compare(_runs(0, 0, 0, 0, 0, rows=60, seed=seed), {"x": np.zeros(60)})
        wrong += any(entry.verdict == "worse" for entry in made.ranking)
    assert stats.binomtest(wrong, 300, LEVEL, alternative="greater").pvalue > 0.01, wrong


def test_real_differences_are_found() -> None:
    found = [compare(_runs(0.0, -0.15, rows=200, seed=seed), {"x": np.zeros(200)}).ranking[1].verdict == "worse" for seed in range(40)]
    assert np.mean(found) > 0.9


def test_a_lower_bound_that_is_behind_proves_nothing() -> None:
    runs: dict[str, Any] = _runs(0.0, -0.5)
    runs["b"].bound = True
    made = compare(runs, {"x": np.zeros(200)})
    assert made.ranking[1].verdict == "worse by its bound" and "a lower bound" in made.ranking[1].note
    assert "may be better than that" in made.sentences[0] and "lower bound on the log-probability, beside" in made.sentences[-1]
    runs["b"].values = runs["b"].values + 2.0  # ahead even by its bound
    made = compare(runs, {"x": np.zeros(200)})
    assert made.ranking[0].run == "b" and made.ranking[1].verdict == "worse"
    runs["a"].bound = True
    assert not any("beside runs" in one for one in compare(runs, {"x": np.zeros(200)}).sentences)


def test_impossible_rows_are_told() -> None:
    runs = _runs(0.0, 1.0)
    runs["b"].values[:3] = -np.inf
    made = compare(runs, {"x": np.zeros(200)})
    assert [entry.run for entry in made.ranking] == ["a", "b"] and made.ranking[1].verdict == "worse"
    assert made.sentences[0] == "'b' holds 3 of 200 rows to be impossible (probability 0), which 'a' does not"
    assert made.to_json()["ranking"][1]["value"] is None and json.dumps(made.to_json(), allow_nan=False)
    runs["a"].values[5] = -np.inf
    made = compare(runs, {"x": np.zeros(200)})
    assert [entry.run for entry in made.ranking] == ["a", "b"] and "they cannot be ranked" in made.sentences[0]


def test_weights_count() -> None:
    rng = np.random.default_rng(1)
    weight = rng.exponential(size=200)
    runs = _runs(0.0, -0.3)
    for run in runs.values():
        run._weight = "w"
    made = compare(runs, {"x": np.zeros(200), "w": weight})
    gap = runs["a"].values - runs["b"].values
    assert made.ranking[1].difference == pytest.approx(np.average(gap, weights=weight)) and "weighted by 'w'" in made.ranking[1].note
    runs["b"]._weight = None
    made = compare(runs, {"x": np.zeros(200), "w": weight})
    assert made.ranking[1].difference == pytest.approx(gap.mean()) and "weights are left out" in made.ranking[1].note
    assert "weighted" not in compare(_runs(0.0, -0.3), {"x": np.zeros(200), "w": weight}).ranking[0].note


# ---- seeds ---------------------------------------------------------------------------------------------------------------


def _seeded(gap: float, spread: float, seed: int = 0, seeds: int = 3) -> dict[str, Known]:
    rng = np.random.default_rng(seed)
    luck = rng.normal(size=300)
    shifts = {f"{recipe}{k}": (recipe, -gap * (recipe == "v") + spread * rng.normal()) for recipe in "uv" for k in range(seeds)}
    return {name: Known(luck + shift + 0.05 * rng.normal(size=300), recipe=recipe) for name, (recipe, shift) in shifts.items()}


def test_runs_that_differ_in_their_seed_are_taken_together() -> None:
    runs = _seeded(0.5, 0.05)
    made = compare(runs, {"x": np.zeros(300)})
    best, other = made.recipes
    assert best.recipe == "known (size=u)" and set(best.runs) == {"u0", "u1", "u2"} and (best.verdict, other.verdict) == ("best", "worse")
    means = [runs[name].values.mean() for name in best.runs]
    assert (best.mean, best.sd, best.error) == pytest.approx((np.mean(means), np.std(means, ddof=1), stats.sem(means)))
    rows = np.mean([runs[f"u{k}"].values - runs[f"v{k}"].values for k in range(3)], axis=0)
    seeds = np.hypot(best.error, other.error)
    assert other.difference == pytest.approx(rows.mean()) and other.difference_error == pytest.approx(np.hypot(seeds, stats.sem(rows)))
    assert any("more than seeds explain" in one for one in made.sentences)
    assert any("in 3 runs" in one and "from run to run ±" in one for one in made.sentences)


def test_what_seeds_explain_is_no_difference_of_recipes() -> None:
    """Rows tell every two runs apart, but the recipes are the same up to their seeds: 5 % wrong at most."""
    wrong, apart = 0, 0
    for seed in range(150):
        made = compare(_seeded(0.0, 0.3, seed), {"x": np.zeros(300)})
        wrong += made.recipes[1].verdict == "worse"
        apart += made.ranking[-1].verdict == "worse"
    assert stats.binomtest(wrong, 150, LEVEL, alternative="greater").pvalue > 0.01, wrong
    assert apart > 140


def test_a_single_run_has_no_spread() -> None:
    runs = _seeded(0.5, 0.05)
    made = compare({name: runs[name] for name in ("u0", "u1", "v0")}, {"x": np.zeros(300)})
    assert made.recipes[1].verdict == "one seed only" and any("one of them has a single run" in one for one in made.sentences)
    assert compare({name: runs[name] for name in ("u0", "v0")}, {"x": np.zeros(300)}).recipes == ()


def test_names_of_recipes() -> None:
    def info(model: str, seed: int, data: str = "d", **options: Any) -> dict[str, Any]:
        return {
            "recipe": {"model": model, "options": options, "fit": {"seed": seed, "settings": {"lr": options.get("lr", 0.1)}, "data": data}}
        }

    assert labels([info("flow", 0), info("flow", 1), info("vae", 0)]) == ["flow", "flow", "vae"]
    assert labels([info("flow", 0, bins=4), info("flow", 1, bins=8)]) == ["flow (bins=4)", "flow (bins=8)"]
    assert labels([info("flow", 0, data="d"), info("flow", 0, data="e")]) == ["flow (data=d)", "flow (data=e)"]
    assert recipes_of("ab", ["x", "x"], [1.0, np.inf]) == []


# ---- real runs ---------------------------------------------------------------------------------------------------------------


def _rows(seed: int, rows: int = 400) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=rows)
    return pa.table({"a": x[:, 0], "b": x[:, 1], "y": x.sum(1) + rng.normal(size=rows), "kind": np.where(x[:, 0] > 0, "up", "down")})


def test_seeds_of_one_fit_are_one_recipe() -> None:
    runs = gnomon.fit("flow", _rows(0).select(["a", "b"]), epochs=1, seeds=2, progress=False)
    other = gnomon.fit("pca", _rows(0).select(["a", "b"]), options={"components": 1}, progress=False)
    made = compare([*runs, other], _rows(1))
    assert {one.recipe: len(one.runs) for one in made.recipes} == {"flow": 2, "pca": 1}
    assert {entry.run for entry in made.ranking} == {"flow 1", "flow 2", "pca 3"}


def test_a_run_without_log_probability_is_compared_by_samples() -> None:
    data = _rows(0, 1000).select(["a", "b"])
    gan = gnomon.fit("gan", data, epochs=1, progress=False)
    good = gnomon.fit("pca", data, options={"components": 1}, progress=False)
    made = gnomon.compare({"gan": gan, "pca": good}, _rows(1, 200), budget="1s")
    assert [entry.run for entry in made.ranking] == ["pca", "gan"]
    assert made.ranking[1].verdict == "worse" and made.ranking[1].note.startswith("null ")
    assert "samples of each were compared with the data" in " ".join(made.sentences)
    again = gnomon.compare({"gan": gan, "pca": good}, _rows(1, 200), budget="1s")
    assert again.to_json() == made.to_json()


def test_predictions_are_compared_by_what_they_lose() -> None:
    data = _rows(0)
    runs = {f"{e}": gnomon.fit("regressor", data, target="y", drop=["kind"], epochs=e, progress=False) for e in (1, 60)}
    made = compare(runs, _rows(1))
    assert made.metric == "squared error" and made.ranking[0].run == "60" and "rmse" in made.ranking[0].note
    assert made.ranking[0].value == pytest.approx(np.mean((runs["60"].predict(_rows(1)) - _rows(1)["y"].to_numpy()) ** 2))
    classes = {f"{e}": gnomon.fit("classifier", data, target="kind", drop=["y"], epochs=e, progress=False) for e in (1, 40)}
    made = compare(classes, _rows(1))
    assert made.metric.startswith("log-probability of the true class") and made.ranking[0].run == "40" and made.ranking[0].value < 0
    with pytest.raises(OptionError, match="such runs cannot be compared"):
        compare({**classes, **{"r": runs["1"]}}, _rows(1))


def test_what_cannot_be_compared_is_named() -> None:
    run = _runs(0.0)["a"]
    with pytest.raises(OptionError, match="two or more runs; got 1"):
        compare([run], {"x": np.zeros(200)})
    with pytest.raises(DataError, match="different numbers of rows"):
        compare({"a": run, "b": Known(np.zeros(7))}, {"x": np.zeros(200)})
    scores = gnomon.fit("autoencoder", _rows(0).select(["a", "b"]), epochs=1, progress=False)
    drawn = gnomon.fit("gan", _rows(0).select(["a", "b"]), epochs=1, progress=False)
    with pytest.raises(OptionError, match=r"no measure in common \(sample, score\)"):
        compare({"a": scores, "b": drawn}, _rows(1))
    assert compare({"a": scores, "b": scores}, _rows(1)).metric == "anomaly score"
