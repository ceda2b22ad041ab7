"""Help: every verb has examples, and every example is a command that exists with options that exist."""

from __future__ import annotations

import re
import shlex

import pytest

from gnomon.cli import main
from gnomon.cli.application import VERBS, command
from gnomon.models import Model
from gnomon.options import signature
from gnomon.registry import models, networks

PROMISED = {
    "fit": "--out --target --given --weight --drop --column --kind --validation --group --time --epochs --batch-size --lr --optimizer "
    "--schedule --patience --set --encoder --decoder --mapper --net --seed --seeds --device --precision --compile --quiet --json --debug "
    "--recipe --resume --overwrite",
    "search": "--space --trials --how --folds --test --nested --metric --target --group --time --epochs --seed --device --recipe --out "
    "--overwrite --quiet --json",
    "sample": "-n --given --given-from --seed --out --overwrite",
    "score": "--anomaly --anomaly-by --direction --label --out --overwrite",
    "predict": "--proba --samples --out --overwrite",
    "encode": "--out --overwrite",
    "decode": "--out --overwrite",
    "reconstruct": "--out --overwrite",
    "explore": "--out --label --spherical --steps --overwrite",
    "check": "--budget --require --seed --json --out --overwrite",
    "compare": "--json",
    "doctor": "--json",
    "list": "",
    "show": "",
    "demo": "--out --overwrite",
}


def options_of(verb: str) -> set[str]:
    return {option for parameter in command().commands[verb].params for option in getattr(parameter, "opts", [])}


def help_of(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([verb, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", PROMISED)
def test_every_promised_option_is_there_and_every_verb_has_debug(verb: str) -> None:
    assert set(PROMISED[verb].split()) | {"--debug"} <= options_of(verb)


def test_no_verb_is_missing() -> None:
    assert set(VERBS) == set(PROMISED)


@pytest.mark.parametrize("verb", PROMISED)
def test_examples_are_commands_that_exist(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"^    gnomon (.+)$", help_of(verb, capsys), re.MULTILINE)
    assert examples
    for example in examples:
        name, *rest = shlex.split(example)
        assert name == verb, example
        for word in rest:
            assert not word.startswith("-") or word in options_of(verb), f"{word} in: {example}"
        if verb == "fit" and rest[0] in models:
            _check_settings(rest)


def _check_settings(words: list[str]) -> None:
    """Model options and networks that an example names exist."""
    kind: type[Model] = models[words[0]]
    for flag, value in zip(words, words[1:], strict=False):
        if flag == "--set":
            assert value.partition("=")[0] in signature(kind)
        if flag in ("--encoder", "--decoder", "--mapper"):
            assert value in networks


def test_the_first_page_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {verb}  ", text, re.MULTILINE) for verb in VERBS) and "…\n" not in text.split("Commands:")[1]


@pytest.mark.parametrize("verb", PROMISED)
def test_help_has_no_colours_or_frames(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not re.search(r"[\x1b─│╭╰]", help_of(verb, capsys))
