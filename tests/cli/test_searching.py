"""`gnomon search` in the shell: table, JSON, recipe, going on, and how wrong words are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gnomon
from gnomon.cli import main

COMMON = ["wine", "--drop", "cultivar", "--folds", "2", "--metric", "log_prob"]


def search(*arguments: object) -> int:
    return main(["search", "pca", *COMMON, *(str(a) for a in arguments)])


def test_a_search_tells_its_table_and_keeps_the_best_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, picture = tmp_path / "a search é", tmp_path / "picture.svg"
    assert search("--space", "options.components=1|3|6", "-o", out, "--nested", 2, "--plot", picture) == 0
    said, told = capsys.readouterr()
    assert said.splitlines()[0].split() == ["trial", "options.components", "log_prob", "±", "note"]
    assert "nested cross-validation" in said and "untouched test rows" in said and "cannot be told" in said or "is better than" in said
    assert "search: trial 1" in told and f"run: {out / 'best'}" in told
    assert gnomon.load(out / "best").name == "pca" and picture.stat().st_size > 1000
    kept = json.loads((out / "search.json").read_text())
    assert kept["format"] == 1 and len(kept["result"]["trials"]) == 4
    before = (out / "search.json").stat().st_mtime_ns
    assert search("--space", "options.components=1|3|6", "-o", out, "--nested", 2, "--quiet") == 0  # known: nothing is fitted again
    assert capsys.readouterr().out == "" and (out / "search.json").stat().st_mtime_ns > before


def test_json_is_the_only_thing_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search("--space", "options.components=integer(1,3)", "-o", tmp_path / "a", "--json") == 0
    out, err = capsys.readouterr()
    said: dict[str, Any] = json.loads(out)
    assert err == "" and said["run"] == str(tmp_path / "a" / "best") and said["test"]["n"] == 36 and len(said["trials"]) == 4


def test_a_recipe_holds_the_space_and_what_is_said_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "search.toml"
    recipe.write_text(
        'model = "pca"\ndata = "wine"\ndrop = ["cultivar"]\nmetric = "log_prob"\nfolds = 2\ntrials = 2\n'
        '[space]\n"options.components" = ["integer", 1, 12]\n'
    )
    assert main(["search", "--recipe", str(recipe), "-o", str(tmp_path / "a"), "--trials", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["trials"]) == 4 and said["space"] == {"options.components": ["integer", 1, 12]}
    recipe.write_text('model = "pca"\nspaces = 3')
    assert main(["search", "--recipe", str(recipe), "-o", str(tmp_path / "b")]) == 2
    assert "did you mean 'space'" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gnomon import training

    fit, calls = training.fit, []

    def asked(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return fit(*arguments, **named)

    monkeypatch.setattr(training, "fit", asked)
    assert search("--space", "options.components=1|3|6", "-o", tmp_path / "a", "--quiet") == 130
    assert search("--space", "options.components=1|3|6", "-o", tmp_path / "a", "--quiet") == 0
    assert len(calls) == 4 + 4 * 2 - 3 + 1  # all fits once, the one that was broken off twice


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "components=1|3", "-o", "a"], "write 'options.components'"),
        (["--space", "options.components=1|300", "-o", "a"], "options.components=300"),
        (["--space", "lr", "-o", "a"], "--space wants name=value"),
        (["-o", "a"], "wants a model, data and a space"),
        (["--space", "options.components=1|3"], "add -o FOLDER"),
        (["--space", "options.components=1|3", "-o", "a", "--how", "grid"], "unknown way of searching 'grid'"),
        (["--space", "options.components=1|3", "-o", "a", "--folds", "some"], "--folds wants"),
    ],
)
def test_wrong_words_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["search", "pca", "wine", "--drop", "cultivar", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1 and not list(tmp_path.iterdir())
