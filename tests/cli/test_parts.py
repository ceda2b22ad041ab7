"""Parts of the command line that need no run: texts read as arguments, lines for people, and what a history tells."""

from __future__ import annotations

import math

import pytest

from gnomon.cli.arguments import assignments, listed, nested, supports
from gnomon.cli.diagnosis import diagnose
from gnomon.cli.lines import as_json, number, table
from gnomon.data import Categorical, Column, Integer, Vector
from gnomon.errors import DataError, OptionError
from gnomon.learned.conditions import parse_conditions

DONE = {"weights": {"file": "model.safetensors"}}


def test_names_with_a_dot_are_tables() -> None:
    assert nested({"a": "1", "b.c": "2", "b.d.e": "3"}, "--set") == {"a": "1", "b": {"c": "2", "d": {"e": "3"}}}
    for wrong in ({"a": "1", "a.b": "2"}, {"a.b": "2", "a": "1"}):
        with pytest.raises(OptionError, match="--set names 'a' both as a value and as a table"):
            nested(wrong, "--set")


def test_assignments() -> None:
    assert assignments(["a=1", "b=x=y"], "--set") == {"a": "1", "b": "x=y"}
    assert assignments(["a=1,b=New York, NY,c=3"], "--given", several=True) == {"a": "1", "b": "New York, NY", "c": "3"}
    assert assignments(["hidden=32,32"], "--set") == {"hidden": "32,32"}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(OptionError, match="--set"):
            assignments(wrong, "--set")


def test_lists_and_supports() -> None:
    assert listed(["a, b", "c"]) == ["a", "b", "c"] and listed(None) == []
    assert supports(["ns:x:bounded(0,1)"]) == {"ns:x": "bounded(0,1)"}
    with pytest.raises(OptionError, match="name:support"):
        supports([":real"])


def test_conditions_are_read_as_their_columns_want_them() -> None:
    kind = Vector((
        Column("e"), Column("n", Integer(0, 9)), Column("flag", Categorical((False, True))), Column("k", Categorical((1, 2))),
        Column("t", type="timestamp[us]", origin="2024-01-01T00:00:00"),
    ))  # fmt: skip
    made = parse_conditions(kind, {"e": "1e3", "n": "4", "flag": "FALSE", "k": "2", "t": "2024-02-01T00:00:00"})
    assert made["e"] == 1000.0 and made["n"] == 4 and made["flag"] is False and made["k"] == 2 and made["t"].month == 2
    for name, text, error in (("n", "4.5", OptionError), ("k", "3", DataError), ("t", "soon", OptionError), ("m", "1", OptionError)):
        with pytest.raises(error, match=name):
            parse_conditions(kind, {name: text})


def test_lines() -> None:
    assert table(["a", "b"], [["x", 1.23456], ["yy", 10]]) == "a       b\nx   1.235\nyy     10"
    assert number(math.nan) == "–" and number(1e-9) == "1e-09"
    assert as_json({"a": math.nan, "b": [math.inf, 1.5], "é": True}) == '{"a": null, "b": [null, 1.5], "é": true}'


# ---- doctor ---------------------------------------------------------------------------------------------------------


def history(held: list[float], train: list[float] | None = None) -> list[dict[str, float]]:
    train = train or [0.8 * h for h in held]
    return [
        {"step": 10 * i, "epoch": i + 1, "train/loss": t, "validation/loss": h} for i, (t, h) in enumerate(zip(train, held, strict=True))
    ]


def falling(epochs: int, floor: float = 1.0, rate: float = 0.3) -> list[float]:
    return [floor + math.exp(-rate * i) + 1e-3 * (-1) ** i for i in range(epochs)]


def severities(findings: list[tuple[str, str]]) -> set[str]:
    return {severity for severity, _ in findings}


def test_a_healthy_run_is_called_good() -> None:
    findings = diagnose(history(falling(60)), DONE)
    assert severities(findings) == {"good"}, findings


def test_overfitting_is_named_with_its_epoch() -> None:
    held = [1.0 + math.exp(-0.5 * i) + 0.02 * max(0, i - 15) for i in range(60)]
    (finding,) = [
        text for severity, text in diagnose(history(held, [math.exp(-0.1 * i) for i in range(60)]), DONE) if severity == "warning"
    ]
    assert "overfitting" in finding and "epoch 1" in finding and "of 60" in finding


def test_a_run_that_still_falls_is_called_unfinished() -> None:
    findings = diagnose(history([5.0 - 0.1 * i for i in range(20)]), DONE)
    assert any("still falling" in text and severity == "warning" for severity, text in findings)


def test_a_run_that_never_moved_is_called_a_plateau() -> None:
    flat = [1.0 + 0.01 * (-1) ** i for i in range(30)]
    assert any("plateau" in text for _, text in diagnose(history(flat), DONE))


def test_a_jump_is_named() -> None:
    values = falling(40)
    values[20:] = [v + 3.0 for v in values[20:]]
    assert any("jumped" in text and "epoch 21" in text for _, text in diagnose(history(values), DONE))


@pytest.mark.parametrize("bad", [math.nan, math.inf, "nan"])
def test_what_is_not_finite_is_an_error(bad: object) -> None:
    entries = history(falling(10))
    entries[4]["train/loss"] = bad
    findings = diagnose(entries, DONE)
    assert ("error" in severities(findings)) and any("epoch 5" in text for _, text in findings)


def test_the_record_of_the_run_is_heard() -> None:
    assert any("interrupted" in text for _, text in diagnose(history(falling(9)), {**DONE, "decisions": {"interrupted": True}}))
    assert any(
        "not finite" in text or "finite" in text for _, text in diagnose(history(falling(9)), {**DONE, "decisions": {"diverged": True}})
    )
    assert any("not finished" in text for _, text in diagnose(history(falling(9)), {"weights": None}))
    noted = history(falling(9))
    noted[3]["doctor"] = ["gradients of layer 1 vanish"]
    assert any("layer 1" in text for _, text in diagnose(noted, DONE))


def test_few_epochs_are_not_judged() -> None:
    assert any("too few" in text for _, text in diagnose(history([1.0, 0.9]), DONE))


def test_a_game_without_a_monitor_is_sent_to_check() -> None:
    entries = [{"epoch": i + 1, "train/critic/loss": 1.0, "train/generator/loss": 1.0 + 0.1 * (i % 2)} for i in range(20)]
    findings = diagnose(entries, DONE)
    assert any("gnomon check" in text for _, text in findings) and "warning" not in severities(findings)
