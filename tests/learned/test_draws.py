"""Draws with their log-density: the draws of `sample`, the values of `log_prob`, in the user's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gnomon
from gnomon.errors import AbilityError, GnomonError
from gnomon.learned import sample_and_log_prob

QUICK: dict[str, Any] = {"epochs": 5, "lr": 5e-3, "progress": False}


def table(rows: int = 400) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, rows)
    return {
        "x": x,
        "share": rng.beta(2, 3, rows),
        "size": np.exp(0.3 * x),
        "sort": np.where(x > 5, "b", "a"),
        "phi": rng.uniform(0, 6, rows),
    }


CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "flow": (
        "flow",
        table(),
        {"options": {"transforms": 2}, "columns": {"share": "bounded(0,1)", "size": "positive", "phi": "periodic(0,6)"}},
    ),
    "given": ("flow", table(), {"options": {"transforms": 2}, "given": "x"}),
    "exact": ("flow", {"k": np.random.default_rng(1).poisson(3, 300), "x": np.arange(300.0)}, {"options": {"integers": "exact"}}),
    "mixture": ("mixture_density", table(), {"given": "x,sort"}),
    "signals": ("flow", np.random.default_rng(2).normal(3, 2, (200, 1, 6)), {"options": {"transforms": 2}, "kind": "signal"}),
    "sets": ("set_flow", [np.random.default_rng(i).normal(2, 3, (i % 3, 2)) for i in range(200)], {"kind": "set"}),
}


@pytest.mark.parametrize("case", CASES)
def test_draws_are_those_of_sample_and_values_those_of_log_prob(case: str) -> None:
    name, data, options = CASES[case]
    learned = gnomon.fit(name, data, **QUICK, **options)
    given = {column: [4.0, 6.0, 5.0] if column == "x" else ["a", "b", "a"] for column in getattr(learned.spec.given, "names", ())} or None
    drawn, log_prob = sample_and_log_prob(learned, 3, given, seed=7)
    same = learned.sample(3, given, seed=7)
    assert str(drawn) == str(same) and log_prob.shape == (3,)
    np.testing.assert_allclose(log_prob, learned.log_prob(drawn), rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("pca", np.random.default_rng(0).normal(size=(50, 2)), "pca cannot draw and evaluate in one pass; use sample and then log_prob"),
        ("flow", {"k": np.arange(50)}, "whole numbers of x are spread .* fit a flow with integers='exact'"),
    ],
)
def test_what_cannot_be_is_named(name: str, data: Any, text: str) -> None:
    learned = gnomon.fit(name, data, **(QUICK if name == "flow" else {"progress": False}))
    with pytest.raises(AbilityError, match=text):
        sample_and_log_prob(learned, 3)
    with pytest.raises(GnomonError):
        sample_and_log_prob(learned, 0)
