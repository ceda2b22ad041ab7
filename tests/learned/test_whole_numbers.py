"""Whole numbers with an exact probability: told in the user's units, whatever their size, and kept in the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gnomon
from gnomon.data import Column, Examples, Integer, Scaling, Spec, Vector

FAR = 100_000_000  # beyond what single precision tells apart
OPTIONS = {"integers": "exact", "transforms": 1, "bins": 4, "hidden": (16,)}


@pytest.fixture(scope="module")
def fitted() -> gnomon.Learned:
    rng = np.random.default_rng(0)
    dice, letter = rng.integers(1, 4, 600), rng.integers(0, 2, 600)
    data = {"far": FAR + dice + rng.poisson(2, 600), "letter": np.array(["a", "b"])[letter], "dice": dice}
    return gnomon.fit("flow", data, columns={"dice": "integer(1,3)", "far": "integer"}, options=OPTIONS, epochs=20, lr=0.01, progress=False)


def grid(low: int, high: int) -> dict[str, list[object]]:
    cells = [(far, letter, dice) for far in range(low, high) for letter in "ab" for dice in (1, 2, 3)]
    far, letter, dice = (list(values) for values in zip(*cells, strict=True))
    return {"far": far, "letter": letter, "dice": dice}


def test_probabilities_of_all_rows_sum_to_one(fitted: gnomon.Learned) -> None:
    probability = np.exp(fitted.log_prob(grid(FAR - 200, FAR + 200)))
    assert abs(probability.sum() - 1) < 1e-5
    near = np.exp(fitted.log_prob(grid(FAR, FAR + 12)))
    assert near.sum() > 0.95 and near.max() > 3 / len(near)


def test_draws_have_the_probabilities(fitted: gnomon.Learned) -> None:
    drawn, cells = fitted.sample(4000, seed=1).to_pydict(), grid(FAR, FAR + 12)
    assert set(drawn["dice"]) == {1, 2, 3} and drawn["far"][0] > FAR - 100
    rows = list(zip(*(drawn[name] for name in cells), strict=True))
    probability = np.exp(fitted.log_prob(cells))
    seen = np.array([rows.count(cell) for cell in zip(*cells.values(), strict=True)]) / len(rows)
    error = np.sqrt(probability * (1 - probability) / len(rows))
    assert (np.abs(seen - probability) < 4.5 * error + 1e-3).all()


def test_beyond_its_bounds_a_number_is_impossible(fitted: gnomon.Learned) -> None:
    row = {"far": [FAR + 4], "letter": ["a"], "dice": [2]}
    assert np.isfinite(fitted.log_prob(row)).all()
    assert fitted.log_prob(row | {"dice": [4]})[0] == -np.inf


def test_the_run_keeps_it(fitted: gnomon.Learned, tmp_path: Path) -> None:
    again = gnomon.load(fitted.save(tmp_path / "run"))
    cells = grid(FAR, FAR + 9)
    assert np.array_equal(again.log_prob(cells), fitted.log_prob(cells))
    assert again.decode(again.encode(cells)).to_pydict() == cells


def test_other_columns_are_scaled_as_ever() -> None:
    import torch

    spec = Spec(Vector((Column("k", Integer(2, None)), Column("m", Integer(None, 9)), Column("x"))))
    raw = Examples(torch.tensor([[2.0, 9.0, 1.0], [7.0, 5.0, 3.0]]).double())
    made = Scaling.fit(spec, raw)
    whole = Scaling.from_state(spec, made.state(), whole=True)
    stored = whole.forward(raw)
    assert stored.x.tolist() == [[0.0, 0.0, -1.0], [5.0, -4.0, 1.0]] and not whole.has_integers
    assert torch.equal(whole.inverse("x", stored.x), raw.x)
    assert torch.equal(whole.log_det(raw), torch.zeros(2).double()) and bool((whole.derivative("x", stored.x)[:, :2] == 1).all())
