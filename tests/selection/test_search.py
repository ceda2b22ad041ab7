"""The search: what it never sees, what it repeats, what it survives, and what it is worth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import gnomon
from gnomon.errors import OptionError, RunError, TrainingError
from gnomon.models import Model
from gnomon.selection import Search
from gnomon.selection.proposals import rungs

ROWS = 60


def table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """A line with noise; `row` tells one row from another, `who` and `when` may split them."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=rows)
    return pa.table({
        "row": [f"r{i:03}" for i in range(rows)], "x": x, "y": 2 * x + 0.1 * chance.normal(size=rows),
        "who": [f"p{i % 12}" for i in range(rows)],
        "when": chance.permutation(rows),
    })  # fmt: skip


def searched(model: Any, **more: Any) -> Search:
    space = {"options.factor": [0.0, 0.25, 0.5, 0.75, 1.0]}
    said = {
        "target": "y",
        "given": ["row"],
        "drop": ["who", "when"],
        "folds": 3,
        "progress": False,
        "validation": 0.2,
        "columns": {"row": "categorical"},
        **more,
    }
    return gnomon.search(model, table(), said.pop("space", space), **said)


def plain(found: Search) -> dict[str, Any]:
    """Everything that must repeat: all but seconds."""
    made = found.to_json()
    for trial in made["trials"]:
        del trial["seconds"]
    return made


def test_the_best_is_found_and_really_better(shrunk: type[Model]) -> None:
    found = searched(shrunk, folds=5)
    assert found.best == {"options.factor": 1.0} and found.settings == 6
    assert found.inner.value < 0.05 and found.test is not None and found.test.value < 0.05
    assert found.learned.model.factor == 1.0
    to_default = next(c for c in found.comparisons if c.other == "the default")
    assert to_default.real and to_default.difference > 0.5 and to_default.error > 0
    assert "is better than the default" in " ".join(found.sentences)
    assert str(found).splitlines()[1].split()[:2] == ["5", "1"]


def test_scores_are_those_of_a_plain_fit_and_a_plain_mean(shrunk: type[Model]) -> None:
    """By hand: refit on the rows that are not test rows, and the mean squared error of its predictions in scaled units."""
    without = ["row", "who", "when"]
    found = searched(shrunk, space={"options.factor": [0.9]}, validation=0, given=None, drop=without, columns=None)
    data = table()
    test = np.array(found.test_rows)
    rest = np.setdiff1d(np.arange(ROWS), test)
    assert found.best == {"options.factor": 0.9}
    learned = gnomon.fit(shrunk, data.take(rest), target="y", drop=without, validation=0, progress=False, options={"factor": 0.9})
    y = np.asarray(data["y"])
    error = learned.predict(data.take(test)) - y[test]
    squares = np.square(error / y[rest].std())
    assert found.test is not None and found.test.n == 12
    np.testing.assert_allclose(found.test.value, squares.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.test.error, squares.std(ddof=1) / np.sqrt(12), rtol=1e-5)


def test_no_test_row_is_ever_learned_from(shrunk: type[Model], seen: list[list[float]]) -> None:
    found = searched(shrunk, nested=3)
    untouched = set(found.test_rows)
    fits = [{int(row) for row in rows} for rows in seen]
    assert len(untouched) == 12 and len(fits) == 6 * 3 + 1 + 3 * (6 * 3 + 1)
    assert all(not rows & untouched for rows in fits)
    assert set().union(*fits) == set(range(ROWS)) - untouched
    assert all(len(rows) < 48 for rows in fits)  # each held out rows of its own


def test_no_row_that_judges_a_nested_search_was_seen_by_it(shrunk: type[Model], seen: list[list[float]]) -> None:
    found = searched(shrunk, nested=3, validation=0)
    fits = [{int(row) for row in rows} for rows in seen[19:]]  # after the search itself: for each outer fold 6 settings × 3 and a refit
    outer = [set().union(*fits[start : start + 19]) for start in range(0, len(fits), 19)]
    rest = set(range(ROWS)) - set(found.test_rows)
    assert len(outer) == 3 and [len(rows) for rows in outer] == [32, 32, 32]
    assert all(sum(row not in rows for rows in outer) == 1 for row in rest)


@pytest.mark.parametrize("way", ["group", "time"])
def test_groups_and_time_are_kept_in_every_split(way: str, shrunk: type[Model], seen: list[list[float]]) -> None:
    data = table()
    column = {"group": "who", "time": "when"}[way]
    drop = ["when"] if way == "group" else ["who"]
    found = searched(shrunk, space={"options.factor": [1.0]}, drop=drop, nested=2, **{way: column})
    values = np.asarray(data[column])
    test = values[list(found.test_rows)]
    for rows in seen:
        mine = values[np.array(rows, dtype=int)]
        if way == "group":
            assert not set(mine) & set(test)
            whole = sum((values == one).sum() for one in set(mine))
            assert whole == len(mine)  # a group is learned from whole, or not at all
        else:
            assert mine.max() < test.min()


def test_it_repeats_and_seeds_differ(shrunk: type[Model]) -> None:
    space = {"options.factor": ("uniform", 0, 2)}
    one, two, other = (searched(shrunk, space=space, trials=4, seed=seed) for seed in (0, 0, 1))
    assert plain(one) == plain(two) and plain(one)["best"] != plain(other)["best"]
    assert np.array_equal(one.learned.predict(table()), two.learned.predict(table()))


@pytest.mark.parametrize("how", ["random", "halving"])
def test_a_killed_search_goes_on_to_the_same_end(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gnomon import training

    said: dict[str, Any] = {
        "target": "y", "drop": ["row", "who", "when"], "folds": 2, "nested": 2, "how": how, "trials": 3, "epochs": 3, "batch_size": 16,
        "patience": "none", "progress": False,
    }  # fmt: skip
    space = {"lr": ("log", 1e-3, 1e-1)}
    whole = gnomon.search("regressor", table(), space, out=tmp_path / "whole", **said)
    fit, calls = training.fit, []

    def killed(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) % 4 == 0:
            raise KeyboardInterrupt
        return fit(*arguments, **named)

    monkeypatch.setattr(training, "fit", killed)
    ends = 0
    for _ in range(30):
        try:
            again = gnomon.search("regressor", table(), space, out=tmp_path / "killed", **said)
            break
        except KeyboardInterrupt:
            ends += 1
            json.loads((tmp_path / "killed" / "search.json").read_text())
    assert ends > 2 and plain(again) == plain(whole)
    monkeypatch.setattr(training, "fit", lambda *a, **k: pytest.fail("everything was known"))
    known = gnomon.search("regressor", table(), space, out=tmp_path / "killed", **said)
    assert plain(known) == plain(whole) and np.array_equal(known.learned.predict(table()), whole.learned.predict(table()))
    assert gnomon.load(tmp_path / "killed" / "best").name == "regressor"


def test_a_process_that_was_killed_leaves_what_was_done(tmp_path: Path) -> None:
    code = (
        "import gnomon, os, numpy as np\nfrom gnomon import training\nfit = training.fit\ncalls = []\n"
        "def dying(*a, **k):\n    calls.append(1)\n    if len(calls) == 3: os.kill(os.getpid(), 9)\n    return fit(*a, **k)\n"
        "training.fit = dying\nx = np.random.default_rng(0).normal(size=(40, 4))\n"
        f"gnomon.search('pca', x, {{'options.components': [1, 2]}}, folds=2, out={str(tmp_path / 'a')!r}, progress=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(Path(gnomon.__file__).parents[1]), "PATH": ""})
    assert done.returncode == -9
    kept = json.loads((tmp_path / "a" / "search.json").read_text())
    assert len(kept["scores"]) == 2 and kept["result"] is None


def test_halving_spends_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert rungs(9, 9) == [(9, 1), (3, 3), (1, 9)] and rungs(9, 2) == [(9, 2)] and rungs(2, 100) == [(2, 100)]
    found = gnomon.search(
        "regressor", table(), {"lr": ("log", 1e-4, 1e-1)}, target="y", drop=["row", "who", "when"], how="halving", trials=9, epochs=9,
        folds=2, batch_size=16, patience="none",
    )  # fmt: skip
    assert found.planned_epochs == 2 * (9 * 1 + 3 * 3 + 1 * 9 + 9) == found.spent_epochs
    assert "settings × epochs 9 × 1, 3 × 3, 1 × 9, the default × 9; 72 epochs on 2 folds" in capsys.readouterr().err
    by_rung = [[t for t in found.trials if t.rung == rung] for rung in range(3)]
    for lower, upper in zip(by_rung, by_rung[1:], strict=False):
        best = sorted(lower, key=lambda t: t.score.value)[: len(upper)]
        assert {t.number for t in upper} == {t.number for t in best}
    assert found.best in ({}, by_rung[2][0].setting) and [t.rung for t in found.ranking()[-9:]] == [0] * 9


def test_a_failed_trial_is_recorded_and_passed_over(shrunk: type[Model]) -> None:
    found = searched(shrunk, space={"options.bad": [True, False]}, options={"factor": 1.0})
    failed = [t for t in found.trials if t.failed]
    assert len(failed) == 1 and failed[0].setting == {"options.bad": True} and "TrainingError: the loss" in str(failed[0].failed)
    assert found.trials[-1].failed is None and "1 of 3 trials failed" in found.sentences[-1]
    assert found.ranking()[-1].failed and "TrainingError" in found.table().splitlines()[-1]
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(TrainingError, match="no trial of the search succeeded; the first failed with: TrainingError: the loss"):
        searched(shrunk, space={"options.factor": [0.5]}, options={"bad": True})


def test_a_diverged_fit_is_such_a_trial() -> None:
    data = {"x": np.linspace(0, 1, 50), "y": np.linspace(0, 1, 50)}
    found = gnomon.search(
        "regressor", data, {"lr": [1e-3, 1e30]}, target="y", folds=2, epochs=3, batch_size=8, optimizer="sgd", schedule="constant",
        progress=False,
    )  # fmt: skip
    assert [bool(t.failed) for t in found.trials] == [False, False, True] and found.best in ({}, {"lr": 1e-3})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"lrr": [1]}, "unknown name 'lrr' of the space; did you mean 'lr'"),
        ({"latent": [1]}, "it is an option of the model: write 'options.latent'"),
        ({"hidden": [1]}, "it is an option of networks: write 'net.hidden'"),
        ({"options.latnt": [1]}, "did you mean 'options.latent'"),
        ({"net.widht": [1]}, r"net.widht=1: unknown option 'widht'"),
        ({"net.hidden": ["8,8", "a"]}, r"net.hidden=a: option 'hidden'.* wants whole numbers"),
        ({"lr": [0.1, "fast"]}, "lr=fast: option 'lr' of fit wants a number"),
        ({"lr": ("log", 0, 1)}, "starts above 0"),
        ({"lr": ("uniform", 1, 1)}, "lower end must be below"),
        ({"epochs": ("integer", 1.5, 3)}, "wants choices or a range"),
        ({"batch_size": ("integer", 0, 3)}, "batch_size=0: option 'batch_size' must be 1 or more"),
        ({"lr": "log(1e-4)"}, "wants choices or a range"),
        ({"lr": "lag(1e-4,1)"}, "wants choices or a range"),
        ({"lr": []}, "wants choices or a range"),
        ({}, "space wants a table"),
        ("lr=1", "space wants a table"),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_is_trained(space: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from gnomon import training

    monkeypatch.setattr(training, "fit", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(OptionError, match=message):
        gnomon.search("vae", table(), space, drop=["row", "who", "when"], progress=False)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"trials": 0}, "trials wants a whole number of 1"), ({"nested": 1}, "nested wants 0, or 2"),
        ({"folds": 1}, "folds wants 2 or more"),
        ({"folds": 1.5}, "folds wants 2 or more"), ({"test": 1.0}, "test wants a share"), ({"how": "halvin"}, "did you mean 'halving'"),
        ({"epoch": 3}, "unknown argument 'epoch' of search; did you mean 'epochs'"), ({"seeds": 3}, "takes no seeds="),
        ({"validation": table()}, "validation must be a share"), ({"how": "halving"}, "closed form and has no epochs"),
        ({"metric": "accurac"}, "unknown metric 'accurac'"), ({"metric": "log_prob"}, "has no log_prob"),
        ({"options": {"fact": 1}}, "the fit as it is"),
    ],
)  # fmt: skip
def test_wrong_arguments(more: dict[str, Any], message: str, shrunk: type[Model]) -> None:
    with pytest.raises(OptionError, match=message):
        searched(shrunk, **more)


def test_a_built_model_and_one_without_a_score_are_refused(shrunk: type[Model]) -> None:
    with pytest.raises(OptionError, match="not a built model"):
        gnomon.search(searched(shrunk, space={"options.factor": [1.0]}).learned.model, table(), {"lr": [1, 2]})
    with pytest.raises(OptionError, match="pass metric="):
        gnomon.search("gan", "wine", {"lr": [0.1]}, drop=["cultivar"])
    with pytest.raises(OptionError, match="wants a model, data and a space"):
        gnomon.search("pca")


def test_a_folder_holds_one_search(tmp_path: Path, shrunk: type[Model]) -> None:
    searched(shrunk, out=tmp_path / "a")
    with pytest.raises(RunError, match="holds a search that differs in seed"):
        searched(shrunk, out=tmp_path / "a", seed=1)
    assert searched(shrunk, out=tmp_path / "a", seed=1, overwrite=True).best == {"options.factor": 1.0}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no search"):
        searched(shrunk, out=tmp_path / "b")
    for text in ("{", '{"format": 1}', "[]", '{"format": 1, "asked": {}, "scores": 3}'):
        (tmp_path / "a" / "search.json").write_text(text)
        with pytest.raises(RunError, match="is damaged"):
            searched(shrunk, out=tmp_path / "a")
    (tmp_path / "a" / "search.json").write_text('{"format": 9, "asked": {}, "scores": {}}')
    with pytest.raises(RunError, match="has format 9"):
        searched(shrunk, out=tmp_path / "a")


def test_a_factory_and_a_recipe(shrunk: type[Model]) -> None:
    recipe = {"model": "regressor", "target": "y", "drop": ["row", "who", "when"], "epochs": 2}
    found = gnomon.search(recipe, table(), {"lr": [0.01]}, folds=0.25, test=0, progress=False)
    assert found.test is None and found.nested is None and "no row was left untouched" in " ".join(found.sentences)
    made = searched(lambda spec: shrunk(spec, factor=1.0), space={"lr": [0.1]})
    assert made.test is not None and made.test.value < 0.05
    with pytest.raises(OptionError, match="unknown name 'options.factor'"):
        gnomon.search(lambda spec: shrunk(spec), table(), {"options.factor": [0.1]}, target="y", drop=["row", "who", "when"])


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture(ending: str, tmp_path: Path) -> None:
    space = {"lr": ("log", 1e-3, 1e-1), "net.hidden": ["8", "8,8"], "options.size": ("uniform", 0.5, 2.0), "batch_size": "16|32"}
    said: dict[str, Any] = {"target": "y", "drop": ["row", "who", "when"], "folds": 2, "how": "halving", "trials": 3, "epochs": 3}
    found = gnomon.search("regressor", table(), space, progress=False, **said)
    before = "matplotlib.pyplot" in sys.modules
    path = found.plot(tmp_path / "new" / f"picture.{ending}")
    assert path.stat().st_size > 5000 and ("matplotlib.pyplot" in sys.modules) == before
    with pytest.raises(OptionError, match="a picture ends in"):
        found.plot(tmp_path / "picture.xyz")


# ---- honesty ------------------------------------------------------------------------------------------------------------


def _noise(chance: type[Model], seed: int, trials: int) -> Search:
    draw = np.random.default_rng(seed)
    data = {**{f"x{i}": draw.normal(size=80) for i in range(4)}, "label": np.repeat(["a", "b"], 40)}
    space = {"options.salt": ("integer", 1, 10**6)}
    return gnomon.search(
        chance, data, space, target="label", metric="accuracy", trials=trials, folds=2, nested=4, seed=seed, progress=False, validation=0
    )


def test_where_nothing_can_be_learned_the_nested_score_says_so_and_the_inner_one_does_not(chance: type[Model]) -> None:
    found = _noise(chance, 0, 40)
    assert found.nested is not None and found.test is not None
    assert abs(found.nested.value - 0.5) < 2 * found.nested.error
    assert found.inner.value > 0.5 + 1.5 * found.inner.error
    assert not any(comparison.real for comparison in found.comparisons)
    assert "cannot be told from" in " ".join(found.sentences)


@pytest.mark.slow
def test_the_nested_error_is_right_over_many_searches(chance: type[Model]) -> None:
    """Of 40 searches in noise, nested scores have mean 1/2 and lie within one error of it about as often as errors promise."""
    found = [_noise(chance, seed, 10) for seed in range(40)]
    nested = np.array([[one.nested.value, one.nested.error] for one in found if one.nested is not None])
    away = (nested[:, 0] - 0.5) / nested[:, 1]
    assert abs(away.mean()) < 3 / np.sqrt(40) and 0.6 <= (np.abs(away) < 1).mean() <= 0.98
    inner = np.array([one.inner.value for one in found])
    assert inner.mean() - 0.5 > 5 * inner.std() / np.sqrt(40)


# ---- Optuna --------------------------------------------------------------------------------------------------------------


def test_without_optuna_it_is_said(monkeypatch: pytest.MonkeyPatch, shrunk: type[Model]) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(OptionError, match=r"pip install 'gnomon\[optuna\]'"):
        searched(shrunk, how="optuna")


def test_optuna_proposes_repeats_and_goes_on(shrunk: type[Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = pytest.importorskip("optuna")
    before = optuna.logging.get_verbosity()
    space = {
        "options.factor": ("uniform", 0, 2),
        "options.bad": [False, True],
        "weight_decay": ("log", 1e-6, 1e-2),
        "epochs": ("integer", 1, 9),
    }
    whole = searched(shrunk, space=space, how="optuna", trials=14)
    assert optuna.logging.get_verbosity() == before
    assert abs(whole.best["options.factor"] - 1) < 0.2 and len(whole.trials) == 15
    from gnomon import training

    fit, calls = training.fit, []

    def killed(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return fit(*arguments, **named)

    monkeypatch.setattr(training, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        searched(shrunk, space=space, how="optuna", trials=14, out=tmp_path / "a")
    assert plain(searched(shrunk, space=space, how="optuna", trials=14, out=tmp_path / "a")) == plain(whole)
