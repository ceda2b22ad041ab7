"""The range test: it finds rates that train, says what it cannot watch, and touches nobody's random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gnomon
from gnomon.errors import OptionError


def test_the_suggestion_trains_nearly_as_well_as_the_best_of_a_grid(tmp_path) -> None:
    options = {"shift": 0.0, "encoder": "mlp", "net": {"hidden": (32,)}}
    shared = {"options": options, "batch_size": 64, "progress": False}
    state = torch.get_rng_state()
    found = gnomon.range_test("classifier", "digits", **shared)
    assert torch.equal(state, torch.get_rng_state())
    again = gnomon.range_test("classifier", "digits", **shared)
    np.testing.assert_array_equal(found.losses, again.losses)
    assert np.all(np.diff(found.rates) > 0) and found.rates[0] < found.suggestion < found.rates[-1]

    def reached(rate: float) -> float:
        learned = gnomon.fit("classifier", "digits", lr=rate, epochs=3, average=None, **shared)
        return learned.history[-1]["validation/loss"]

    grid = [reached(rate) for rate in (1e-4, 1e-3, 1e-2, 1e-1)]
    assert reached(found.suggestion) < np.median(grid)
    found.plot(tmp_path / "range.png")
    assert (tmp_path / "range.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("gan", {}, "watches one loss"),
        ("vae", {"epochs": 3}, "decides 'epochs' by itself"),
        ("vae", {"low": 1.0, "high": 0.1}, "0 < low < high"),
        ("vae", {"clipp": 1.0}, "did you mean 'clip'"),
    ],
)
def test_what_it_cannot_do_is_named(model, arguments, message) -> None:
    with pytest.raises(OptionError, match=message):
        gnomon.range_test(model, "digits", **arguments)
