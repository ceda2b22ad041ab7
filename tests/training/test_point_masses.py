"""Data that have no density: each fault is named with its columns and numbers, sound data are not, and only a single row is refused."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import gnomon
from gnomon.data import Examples, Scaling, prepare
from gnomon.errors import DataError
from gnomon.models.mixture_density import MixtureDensity
from gnomon.models.pca import PCA
from gnomon.models.regressor import Regressor
from gnomon.training.point_masses import notices


def told(columns: dict[str, Any], held_out: dict[str, Any] | None = None, model: Any = MixtureDensity, **supports: str) -> list[str]:
    prepared = prepare(pa.table(columns), columns=supports)
    scaling = Scaling.fit(prepared.spec, prepared.raw)
    held = None if held_out is None else prepare(pa.table(held_out), spec=prepared.spec).raw
    return notices(model(prepared.spec), prepared.raw, held, scaling)


@pytest.fixture
def chance() -> np.random.Generator:
    return np.random.default_rng(0)


def test_sound_data_are_passed_in_silence(chance: np.random.Generator) -> None:
    x = chance.normal(size=(5000, 4))
    columns = {
        "a": x[:, 0],
        "b": x[:, 0] + 1e-3 * x[:, 1],
        "c": x[:, 2].round(3),
        "n": chance.poisson(3, 5000),
        "s": chance.choice(["u", "v"], 5000),
    }
    assert told(columns) == []
    assert told({f"c{i}": chance.normal(size=30) for i in range(40)}) == []  # more columns than rows are sums of others by chance


def test_the_same_column_twice_is_named(chance: np.random.Generator) -> None:
    a = chance.normal(size=400)
    for twin in (a, -3 * a + 7, a + 1e-6 * chance.normal(size=400)):
        (line,) = told({"a": a, "c": chance.normal(size=400), "b": twin})
        assert (
            line.startswith("columns 'a' and 'b' are the same up to scale: a density over both does not exist") and "drop one ('b')" in line
        )
    assert told({"a": np.exp(a), "b": np.exp(2 * a)}, a="positive", b="positive")[0].startswith("columns 'a' and 'b' are the same")


def test_a_sum_of_columns_is_named_with_its_parts(chance: np.random.Generator) -> None:
    a, b, c = chance.normal(size=(3, 400))
    (line,) = told({"a": a, "unused": chance.normal(size=400), "b": b, "c": c, "total": a + 2 * b - c})
    assert line.startswith("column 'total' is a weighted sum of 'a', 'b', 'c': a density over all of them does not exist")


def test_whole_numbers_and_constant_columns_may_agree(chance: np.random.Generator) -> None:
    n = chance.poisson(3, 400)
    assert told({"n": n, "m": n, "flat": np.ones(400), "flatter": np.ones(400), "a": chance.normal(size=400)}) == []


def test_repeated_values_are_told_with_their_share(chance: np.random.Generator) -> None:
    a = chance.normal(size=1000)
    (line,) = told({"a": np.where(chance.random(1000) < 0.3, 0.0, a), "b": chance.normal(size=1000)})
    assert line.startswith("one value is held by many rows of 'a' (0 in 32 %)")
    (line,) = told({"a": a.round(1), "b": chance.normal(size=1000)})
    assert line.startswith("few different values in 1,000 rows of 'a' (") and "add noise as wide as the rounding" in line


def test_held_out_values_beyond_a_support_are_counted(chance: np.random.Generator) -> None:
    sound = {"e": chance.uniform(1, 2, 40), "a": chance.normal(size=40)}
    (line,) = told(sound, {"e": [1.0, -1.0, -2.0], "a": [0.0, 0.0, 0.0]}, e="positive")
    assert line.startswith("column 'e' is positive but holds other values in 2 of 3 held-out rows")
    count = int((sound["e"] > 1.5).sum())
    with pytest.raises(DataError, match=rf"column 'e' row \d+ holds .* \(and {count - 1} more rows are outside\); its support 'bounded'"):
        prepare(pa.table(sound), columns={"e": "bounded(0, 1.5)"})
    spec = prepare(pa.table({"e": [0.1, 1.4], "a": [0.0, 1.0]}), columns={"e": "bounded(0, 1.5)"}).spec
    with pytest.raises(DataError, match=rf"column 'e' is bounded but holds .* \(row \d+ of the training part, and {count - 1} more\)"):
        Scaling.fit(spec, prepare(pa.table(sound), spec=spec).raw)


def test_other_models_are_told_nothing(chance: np.random.Generator) -> None:
    a = chance.normal(size=400)
    assert told({"a": a, "b": a}, model=lambda spec: PCA(spec, components=1)) == []
    prepared = prepare(pa.table({"a": a, "b": a, "t": a}), target="t", wanted="numbers")
    assert notices(Regressor(prepared.spec), prepared.raw, None, Scaling.fit(prepared.spec, prepared.raw)) == []


def test_a_single_row_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="Flow is a density, and a single row has none"):
        gnomon.fit("flow", {"x": np.zeros((1, 2))}, validation=0, epochs=1, progress=False)


def test_fit_says_it_and_learns_all_the_same(chance: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    a = chance.normal(size=200)
    learned = gnomon.fit("mixture_density", pa.table({"a": a, "b": 2 * a}), epochs=2)
    assert "columns 'a' and 'b' are the same up to scale" in capsys.readouterr().err
    assert np.isfinite(learned.log_prob(pa.table({"a": a, "b": 2 * a}))).all()


def test_a_wide_table_takes_no_time(chance: np.random.Generator) -> None:
    x = torch.from_numpy(chance.normal(size=(20_000, 300)))
    prepared = prepare(x.numpy())
    scaling, start = Scaling.fit(prepared.spec, Examples(x)), time.perf_counter()
    assert notices(MixtureDensity(prepared.spec, covariance="diagonal", hidden=(4,)), Examples(x), None, scaling) == []
    assert time.perf_counter() - start < 10
