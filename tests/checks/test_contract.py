"""Every registered statistic, on every sort of case, through the same few tests."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gnomon import registry
from gnomon.checks import Case, Effort, LeftOut, Likelihood, Places, Predictions, Reconstruction, Sides, Statistic, judge
from gnomon.checks.case import Anomalies, Labelled, Latent, Ranks
from gnomon.checks.gathering.sources import assemble
from gnomon.data import Examples, Image, Ragged, Set, Spec, Vector
from tests.checks.samples import COLUMNS, sides

CLASSES = {"accuracy", "log_loss", "roc_auc", "average_precision", "class_recall", "ece", "conformal_coverage", "set_size"}
NUMBERS = {"rmse", "r2", "crps", "spread_coverage", "pit", "conformal_coverage", "interval_width"}
NEIGHBOURS = {"precision", "recall", "density", "coverage", "diversity", "vendi", "copies", "duplicates"}
TRANSPORT = {"sliced_w2", "earth_mover", "sinkhorn", "frechet"}
JOINT = NEIGHBOURS | TRANSPORT | {"c2st_auc", "mmd", "energy"}
LINES = {"w1", "ks", "cvm", "separation"}
PAIRS = {"correlation", "rank_correlation"}
SMALL = Effort(draws=49, more_draws=50, retrainings=2, joint_rows=60, null_rows=300)


def _images(seed: int) -> Sides:
    import torch

    pixels = torch.rand(60, 1, 5, 4, generator=torch.Generator().manual_seed(seed))
    return assemble(Spec(Image(1, (5, 4))), Examples(pixels[:30]), Examples(pixels[30:]))


def _likelihood(weighted: bool = False) -> Likelihood:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 2))
    weight = rng.exponential(size=200) if weighted else None
    drawn = -rng.exponential(size=200) - np.log(2 * np.pi)
    return Likelihood(-0.5 * (rows**2).sum(1) - np.log(2 * np.pi), drawn, weight, places=Places.of(rows, weight=weight))


def _predictions(weighted: bool = False) -> tuple[Predictions, ...]:
    rng = np.random.default_rng(0)
    chance = rng.dirichlet([1, 1, 1], size=200)
    truth = (rng.random((200, 1)) > chance.cumsum(1)).sum(1)
    weight = rng.exponential(size=200) if weighted else None
    number = rng.normal(size=200)
    return (
        Predictions("kind", truth, probability=chance, classes=("a", "b", "c"), weight=weight),
        Predictions("size", number + rng.normal(size=200), mean=number, spread=np.ones(200), weight=weight),
    )


def _anomalies(weighted: bool = False) -> Anomalies:
    rng = np.random.default_rng(0)
    truth = rng.random(200) < 0.1
    return Anomalies(rng.normal(size=200) + truth, truth, rng.exponential(size=200) if weighted else None)


def _latent(weighted: bool = False) -> Latent:
    rng = np.random.default_rng(0)
    weight = rng.exponential(size=200) if weighted else None
    return Latent(rng.normal(size=(200, 3)), rng.random((200, 1)), weight, 1e-5 * rng.random(200))


def _ranks(weighted: bool = False) -> Ranks:
    rng = np.random.default_rng(0)
    weight = rng.exponential(size=200) if weighted else None
    ranks, distances, central = rng.integers(0, 32, (200, 2)), rng.integers(0, 32, 200), rng.integers(0, 32, 200)
    return Ranks(("a", "b"), ranks, 31, distances, weight, central)


def _labelled(weighted: bool = False) -> Labelled:
    rng = np.random.default_rng(0)
    sides = [np.eye(3)[rng.integers(0, 3, size=n)] * 0.9 + 1 / 30 for n in (150, 120)]
    weights = (rng.exponential(size=150), None) if weighted else (None, None)
    return Labelled("sort", ("a", "b", "c"), *sides, accuracy=0.95, chance=0.4, weights=weights)


def _sets(seed: int) -> Sides:
    rng = np.random.default_rng(seed)
    made = [Ragged(torch.from_numpy(rng.normal(size=(3 * n, 2))), torch.full((n,), 3)) for n in (60, 50)]
    return assemble(Spec(Set(Vector.real(2))), *(Examples(sets) for sets in made))


def _reconstruction() -> Reconstruction:
    made = sides(3).real.values
    again = made.copy()
    again[:, 0] *= 0.9
    return Reconstruction(COLUMNS, made, again)


CASES = {
    "plain": lambda: Case(sides(0), effort=SMALL),
    "unequal": lambda: Case(sides(0, 200, 90), effort=SMALL),
    "weights": lambda: Case(sides(0, weights="same"), effort=SMALL),
    "weights on one side, unequal": lambda: Case(sides(0, 200, 120, weights="one"), effort=SMALL),
    "paired": lambda: Case(sides(0, paired=True), effort=SMALL),
    "training rows": lambda: Case(replace(sides(0), train=sides(1).real), effort=SMALL),
    "larger than its null": lambda: Case(sides(0, 900, 800), effort=SMALL),
    "one column": lambda: Case(Sides.of(np.arange(30.0), np.arange(30.0) + 0.5), effort=SMALL),
    "constant": lambda: Case(Sides.of(np.ones((30, 2)), np.ones((40, 2))), effort=SMALL),
    "few rows": lambda: Case(sides(0, 3, 2), effort=SMALL),
    "images": lambda: Case(_images(0), effort=SMALL),
    "likelihood": lambda: Case(sides(0), _likelihood(), effort=SMALL),
    "weighted likelihood": lambda: Case(None, _likelihood(True), effort=SMALL),
    "predictions": lambda: Case(predictions=_predictions(), effort=SMALL),
    "weighted predictions": lambda: Case(predictions=_predictions(True), effort=SMALL),
    "anomalies": lambda: Case(anomalies=_anomalies(), effort=SMALL),
    "weighted anomalies": lambda: Case(anomalies=_anomalies(True), effort=SMALL),
    "reconstruction": lambda: Case(reconstruction=_reconstruction(), effort=SMALL),
    "labels": lambda: Case(labelled=_labelled(), effort=SMALL),
    "weighted labels": lambda: Case(labelled=_labelled(True), effort=SMALL),
    "sets": lambda: Case(_sets(0), effort=SMALL),
    "latent": lambda: Case(latent=_latent(), effort=SMALL),
    "weighted latent": lambda: Case(latent=_latent(True), effort=SMALL),
    "ranks": lambda: Case(ranks=_ranks(), effort=SMALL),
    "weighted ranks": lambda: Case(ranks=_ranks(True), effort=SMALL),
    "many rows in pairs": lambda: Case(sides(0, 900, 900, paired=True), effort=SMALL),
    "nothing": lambda: Case(effort=SMALL),
}


def _rows(name: str, case: Case) -> list[Statistic]:
    try:
        return registry.statistics[name](case)
    except LeftOut as reason:
        assert str(reason)
        return []


@pytest.fixture(scope="module", params=CASES)
def twice(request: pytest.FixtureRequest) -> tuple[dict[str, list[Statistic]], dict[str, list[Statistic]]]:
    """All statistics of a case, computed twice: in the registry's order and in the reverse order, on fresh copies."""
    names = list(registry.statistics)
    state = np.random.get_state()[1].copy()
    first, second = CASES[request.param](), CASES[request.param]()
    made = {name: _rows(name, first) for name in names}
    again = {name: _rows(name, second) for name in reversed(names)}
    assert (np.random.get_state()[1] == state).all(), "the user's random state was touched"
    return made, again


def test_rows_are_complete(twice: tuple) -> None:
    for name, rows in twice[0].items():
        for row in rows:
            assert isinstance(row, Statistic) and row.name and row.where, name
            assert row.n > 0 and math.isfinite(row.value), row
            assert not row.error < 0 and not row.null_error < 0, row
            for p in (row.p, row.p_for_findings):
                assert math.isnan(p) or 0 <= p <= 1, row
            if row.alarm != "never":
                assert row.claim and row.where.split(",")[0] in row.claim, row
            if math.isfinite(row.p) and row.alarm == "low" and name in ("w1", "ks", "kuiper", "tv", "correlation", "c2st_auc"):
                assert math.isfinite(row.null) and math.isfinite(row.null_error) and math.isfinite(row.error), row
            json.dumps(row.to_json(), allow_nan=False)
            assert list(row.to_json()) == ["name", "where", "value", "error", "null", "null_error", "p", "n", "note"]


def test_the_same_seed_gives_the_same_rows_in_any_order(twice: tuple) -> None:
    assert json.dumps([[r.to_json() for r in twice[0][name]] for name in twice[0]]) == json.dumps(
        [[r.to_json() for r in twice[1][name]] for name in twice[0]]
    )


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("plain", JOINT | LINES | PAIRS | {"kuiper", "tv"}),
        ("training rows", JOINT | LINES | PAIRS | {"kuiper", "tv", "memorisation"}),
        ("one column", JOINT | LINES),
        ("labels", {"class_share", "mode_score", "inception_score"}),
        ("images", JOINT | LINES | PAIRS | {"power_spectrum", "kid", "distinct"}),
        ("weighted likelihood", {f"{word}log_likelihood" for word in ("", "gaussian_", "mixture_", "kde_", "histogram_")}),
        ("predictions", CLASSES | NUMBERS),
        ("weighted predictions", CLASSES | NUMBERS),
        ("anomalies", {"anomaly_auc", "anomaly_average_precision"}),
        ("reconstruction", {"reconstruction"}),
        ("latent", {"latent_normality", "inversion_error"}),
        ("ranks", {"sbc", "tarp"}),
        ("nothing", set()),
    ],
)
def test_which_statistics_apply(case: str, wanted: set[str]) -> None:
    made = CASES[case]()
    assert {row.name for name in registry.statistics for row in _rows(name, made)} == wanted


def test_conditions_are_compared_only_together() -> None:
    rows = [row for name in ("w1", "ks", "tv") for row in _rows(name, CASES["paired"]())]
    assert {row.where for row in rows} == {"gauss", "heavy", "angle"}


def test_another_seed_gives_other_draws_of_the_null() -> None:
    one, two = (_rows("w1", Case(sides(0), effort=SMALL)), _rows("w1", Case(sides(0, 150, 151), effort=SMALL)))
    assert one[0].null != two[0].null


def test_a_new_statistic_is_one_function_and_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows_more(case: Case) -> list[Statistic]:
        assert case.sides is not None
        return [Statistic("rows_more", "all columns", len(case.sides.generated) - len(case.sides.real), p=0.0, n=1, claim="more rows")]

    monkeypatch.setattr(registry.statistics, "_registered", {"rows_more": rows_more})
    report = judge(Case(sides(0, 40, 60), effort=SMALL))
    assert report["rows_more"][0].value == 20 and "More rows" in report.findings


def test_reasons_for_leaving_out_are_told() -> None:
    notes = judge(CASES["few rows"]()).notes
    assert any(note.startswith("c2st_auc is left out: 2 rows") for note in notes)


def test_half_sides_are_refused() -> None:
    from gnomon.errors import DataError

    with pytest.raises(DataError, match=r"column 'x1' of the generated side holds missing"):
        Sides.of(np.zeros((3, 2)), np.array([[0, 1], [2, np.nan]]))
    with pytest.raises(DataError, match=r"shape \(3, 1\); expected \(rows, 2\)"):
        Sides.of(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(DataError, match="as many rows"):
        Sides.of(np.zeros((3, 1)), np.zeros((4, 1)), paired=True)
    with pytest.raises(DataError, match="has no rows"):
        Sides.of(np.zeros((0, 1)), np.zeros((4, 1)))
    with pytest.raises(DataError, match="sum to"):
        Sides.of(np.zeros((2, 1)), np.zeros((2, 1)), weights=(np.array([1.0, -3.0]), None))
