"""Every ability on tables and arrays: what comes back, in which order, the same however split, with nothing global changed."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

import gnomon
from gnomon.errors import AbilityError, DataError, OptionError
from tests.learned.toys import Chooser, Line, Network, Normal, Scorer, learn

RNG = np.random.default_rng(0)
ROWS = 300
MIXED = pa.table(
    {
        "energy": RNG.lognormal(1.0, 0.5, ROWS),
        "when": pa.array(1_700_000_000_000_000 + RNG.integers(0, 10**12, ROWS), pa.timestamp("us")),
        "flag": RNG.integers(0, 2, ROWS).astype(bool),
        "city": pa.array(RNG.choice(["Rome", "Oslo"], ROWS)),
        "count": pa.array(RNG.integers(0, 50, ROWS), pa.int32()),
        "beam": RNG.normal(50.0, 5.0, ROWS),
    }
)
TWO = {"a": RNG.normal(5.0, 2.0, ROWS), "b": RNG.normal(-1.0, 1.0, ROWS)}


def conditional(**options: float) -> object:
    return learn(Normal, MIXED, given=["beam", "city"], columns={"energy": "positive"}, **options)


# ---- sampling -------------------------------------------------------------------------------------------------------


def test_samples_have_the_training_tables_schema_in_its_order() -> None:
    made = conditional().sample(7, {"beam": 50.0, "city": "Oslo"})
    assert made.schema.equals(MIXED.schema)
    assert made["beam"].to_pylist() == [50.0] * 7 and made["city"].to_pylist() == ["Oslo"] * 7
    assert min(made["energy"].to_pylist()) > 0


def test_a_bare_array_comes_back_as_one() -> None:
    made = learn(Normal, RNG.normal(size=(50, 3)).astype(np.float32)).sample(4)
    assert isinstance(made, np.ndarray) and made.shape == (4, 3) and made.dtype == np.float32


def test_images_come_back_as_the_user_had_them() -> None:
    pictures = RNG.integers(0, 17, (20, 6, 5, 1)).astype(np.uint8)
    learned = learn(Normal, pictures)
    made = learned.sample(3)
    assert made.shape == (3, 6, 5, 1) and made.dtype == np.uint8
    assert learned.reconstruct(pictures).tolist() == pictures.tolist()
    assert learned.encode(pictures).shape == (20, 30)


def test_fewer_samples_are_the_beginning_of_more() -> None:
    learned = learn(Network, TWO)
    many = learned.sample(2600)
    for n in (1, 10, 1024, 1500):
        assert learned.sample(n).equals(many.slice(0, n))
    assert not learned.sample(10, seed=1).equals(many.slice(0, 10))


def test_chunks_are_independent_draws() -> None:
    made = np.asarray(learn(Network, TWO).sample(3000)["a"])
    assert len(np.unique(made)) == 3000


def test_samples_follow_the_model() -> None:
    made = np.asarray(learn(Normal, TWO).sample(20_000)["a"])
    assert made.mean() == pytest.approx(TWO["a"].mean(), abs=5 * 2 / np.sqrt(20_000))
    assert made.std() == pytest.approx(TWO["a"].std(), rel=0.03)


@pytest.mark.parametrize("n", [0, -1, True, 2.5])
def test_an_impossible_number_of_samples_is_refused(n: float) -> None:
    with pytest.raises(OptionError, match="sample wants a whole number of 1 or more"):
        learn(Normal, TWO).sample(n)


# ---- conditions -----------------------------------------------------------------------------------------------------


def test_conditions_move_the_samples() -> None:
    learned = conditional()
    low = np.asarray(learned.sample(500, {"beam": 40.0, "city": "Rome"})["count"]).mean()
    high = np.asarray(learned.sample(500, {"beam": 60.0, "city": "Rome"})["count"]).mean()
    assert high > low


def test_conditions_may_be_scalars_arrays_tables_or_files(tmp_path: Path) -> None:
    learned = conditional()
    beam, city = np.linspace(40.0, 60.0, 5), ["Rome", "Oslo", "Oslo", "Rome", "Rome"]
    table = pa.table({"other": [1] * 5, "city": city, "beam": beam})
    parquet.write_table(table, tmp_path / "given file ü.parquet")
    expected = learned.sample(5, {"beam": beam, "city": city})
    assert expected["beam"].to_pylist() == beam.tolist() and expected["city"].to_pylist() == city
    for given in (
        table,
        tmp_path / "given file ü.parquet",
        str(tmp_path / "given file ü.parquet"),
        {"beam": torch.tensor(beam), "city": city},
    ):
        assert learned.sample(5, given).equals(expected)
    scalars = learned.sample(5, {"beam": 45, "city": "Rome"})
    assert scalars.equals(learned.sample(5, {"beam": [45.0] * 5, "city": ["Rome"] * 5}))


def test_conditions_given_as_a_bare_array() -> None:
    x, given = RNG.normal(size=(40, 2)), RNG.normal(size=(40, 2))
    learned = learn(Normal, {"x": x, "given": given})
    assert learned.sample(3, given[:3]).shape == (3, 2)
    assert np.array_equal(learned.sample(3, given[0]), learned.sample(3, np.repeat(given[:1], 3, axis=0)))
    with pytest.raises(DataError, match="2 columns"):
        learned.sample(3, np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"beem": 1.0, "city": "Rome"}, OptionError, "beam"),
        ({"beam": 1.0, "city": "Paris"}, DataError, "Paris"),
        ({"beam": [1.0, 2.0], "city": "Rome"}, DataError, "2 values for 5"),
        ({"city": "Rome"}, AbilityError, "beam.*drop_given"),
        (None, AbilityError, "beam.*drop_given"),
    ],
)
def test_a_wrong_condition_is_named(given: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        conditional().sample(5, given)


def test_a_condition_far_from_training_is_no_error() -> None:
    assert conditional().sample(2, {"beam": 1e4, "city": "Rome"}).num_rows == 2


def test_absent_conditions_are_for_models_that_learned_without() -> None:
    learned = conditional(drop_given=0.2)
    made = learned.sample(3, {"beam": 50.0})
    assert made["city"].null_count == 3 and made["beam"].null_count == 0
    assert learned.sample(3).num_rows == 3
    assert np.isfinite(learned.log_prob(MIXED.drop_columns(["beam"]))).all()


def test_a_model_without_conditions_takes_none() -> None:
    with pytest.raises(OptionError, match="without conditions"):
        learn(Normal, TWO).sample(3, {"a": 1.0})
    assert learn(Normal, TWO).sample(3, {}).num_rows == 3


# ---- codes ----------------------------------------------------------------------------------------------------------


def test_codes_and_back() -> None:
    learned = conditional()
    codes = learned.encode(MIXED)
    assert codes.shape == (ROWS, 4) and codes.dtype == np.float32
    again = learned.decode(codes, MIXED)
    assert again.schema.equals(MIXED.schema)
    np.testing.assert_allclose(again["energy"], MIXED["energy"], rtol=1e-5)
    for name in ("flag", "city", "count", "beam"):
        assert again[name].to_pylist() == MIXED[name].to_pylist(), name
    assert learned.reconstruct(MIXED).equals(again)
    with pytest.raises(DataError, match="shape"):
        learned.decode(np.zeros(3))


# ---- predictions ----------------------------------------------------------------------------------------------------


def test_a_classifier_gives_labels_of_the_users_type() -> None:
    data = pa.table({"a": [2.0, -2.0, 0.0], "b": [0.0, 0.0, 3.0], "kind": ["yes", "no", "no"]})
    learned = learn(Chooser, data, target="kind")
    assert learned.spec.y.classes == ("no", "yes")
    probability = learned.predict(data, proba=True)
    assert probability.shape == (3, 2) and probability.dtype == np.float64
    np.testing.assert_allclose(probability.sum(1), 1.0, atol=1e-12)
    assert learned.predict(data.drop_columns(["kind"])).tolist() == [("no", "yes")[i] for i in probability.argmax(1)]
    numbers = learn(Chooser, {"a": [2.0, -2.0], "b": [0.0, 1.0], "k": [7, 5]}, target="k").predict({"a": [9.0], "b": [0.0]})
    assert numbers.tolist() == [5] and np.issubdtype(numbers.dtype, np.integer)
    with pytest.raises(AbilityError, match="standard deviation"):
        learned.predict(data, sd=True)


def test_sets_are_classified_the_same_however_split() -> None:
    sets = [RNG.normal(i % 2, 1.0, (RNG.integers(0, 6), 2)) for i in range(300)]
    learned = gnomon.fit("classifier", {"x": sets, "y": np.arange(300) % 2}, kind="set", epochs=1, progress=False)
    whole = learned.predict({"x": sets}, proba=True)
    parts = [learned.predict({"x": part}, proba=True) for part in (sets[:7], sets[7:])]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_a_regressor_gives_numbers_and_spreads() -> None:
    data = {"a": RNG.normal(size=50), "y": RNG.normal(size=50)}
    learned = learn(Line, data, target="y")
    mean, sd = learned.predict({"a": data["a"]}, sd=True)
    assert mean.shape == sd.shape == (50,) and mean.dtype == np.float64
    with pytest.raises(AbilityError, match="probabilities"):
        learned.predict(data, proba=True)
    with pytest.raises(AbilityError, match="without a spread"):
        learn(Line, data, target="y", options={"spread": None}).predict(data, sd=True)


def test_dropout_is_averaged_over_when_asked() -> None:
    data = {"a": RNG.normal(5.0, 1.0, 64), "y": RNG.normal(size=64)}
    learned = learn(Line, data, target="y", options={"dropout": 0.5, "spread": None})
    still = learned.predict(data)
    assert np.array_equal(still, learned.predict(data))
    mean, sd = learned.predict(data, samples=4000, sd=True)
    scale, (x,) = np.std(data["y"]), (((data["a"] - data["a"].mean()) / data["a"].std()),)
    np.testing.assert_allclose(mean, still, atol=5 * scale * np.abs(x).max() / np.sqrt(4000))  # inverted dropout keeps the mean
    np.testing.assert_allclose(sd, scale * np.abs(x), rtol=0.1)  # x is dropped or doubled: the sd is |x|
    assert np.array_equal(mean, learned.predict(data, samples=4000))
    with pytest.raises(AbilityError, match="dropout"):
        learn(Line, data, target="y").predict(data, samples=3)
    with pytest.raises(OptionError, match="from 1"):
        learned.predict(data, samples=0)


# ---- scores ---------------------------------------------------------------------------------------------------------


def test_p_values_are_shares_of_held_out_scores() -> None:
    learned = learn(Scorer, TWO)
    learned.calibration = np.array([1.0, 2.0, 2.0, 3.0])
    assert learned.p_value(np.array([0.0, 2.0, 2.5, 9.0])).tolist() == [1.0, 0.8, 0.4, 0.2]


def test_p_values_of_fresh_rows_are_uniform() -> None:
    learned = learn(Normal, TWO)
    learned.calibrate(learned.read(learned.sample(30_000, seed=1)))
    assert len(learned.calibration) == 10_000 and (np.diff(learned.calibration) >= 0).all()
    _, p = learned.score(learned.sample(5000, seed=2), anomaly=True)
    for level in (0.05, 0.3, 0.7):
        assert (p <= level).mean() == pytest.approx(level, abs=5 * np.sqrt(level * (1 - level) * (1 / 5000 + 1 / 10_000)))


def test_stranger_rows_score_higher() -> None:
    learned = learn(Normal, TWO)
    learned.calibrate(learned.read(TWO))
    scores, p = learned.score({"a": [5.0, 50.0], "b": [-1.0, 9.0]}, anomaly=True)
    assert scores[1] > scores[0] and p[1] == pytest.approx(1 / (ROWS + 1)) and p[0] > 0.5
    assert scores.tolist() == (-learned.log_prob({"a": [5.0, 50.0], "b": [-1.0, 9.0]})).tolist()


def test_outside_the_support_nothing_is_stranger() -> None:
    learned = learn(Scorer, {"a": RNG.lognormal(size=50)}, columns={"a": "positive"})
    learned.calibrate(learned.read({"a": RNG.lognormal(size=50)}))
    scores, p = learned.score({"a": [-1.0, 1.0]}, anomaly=True)
    assert scores[0] == np.inf and p[0] == pytest.approx(1 / 51) and np.isfinite(scores[1])


def test_without_held_out_scores_there_are_no_p_values() -> None:
    with pytest.raises(AbilityError, match="validation"):
        learn(Normal, TWO).score(TWO, anomaly=True)


# ---- what it cannot, and what it leaves alone -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ability", "call"),
    [
        ("predict", lambda learned: learned.predict(TWO)),
        ("sample", lambda learned: learned.sample(3)),
        ("log_prob", lambda learned: learned.log_prob(TWO)),
        ("log_prob_bound", lambda learned: learned.log_prob_bound(TWO)),
        ("encode", lambda learned: learned.encode(TWO)),
        ("decode", lambda learned: learned.decode(np.zeros((2, 2)))),
        ("reconstruct", lambda learned: learned.reconstruct(TWO)),
    ],
)
def test_an_ability_it_lacks_is_one_line_naming_those_it_has(ability: str, call: object) -> None:
    learned = learn(Scorer, TWO)
    assert ability not in learned.abilities
    with pytest.raises(AbilityError, match="it can: score") as caught:
        call(learned)
    assert "\n" not in str(caught.value)


def test_results_do_not_depend_on_how_a_call_is_split() -> None:
    learned = learn(Network, {f"c{i}": RNG.normal(size=ROWS) for i in range(5)})
    raw = learned.read({f"c{i}": RNG.normal(size=3000) for i in range(5)})
    whole = learned.log_prob(raw)
    for cut in (1, 3, 1023, 1024, 2500):
        assert np.array_equal(np.concatenate([learned.log_prob(raw[:cut]), learned.log_prob(raw[cut:])]), whole)


def test_a_call_leaves_random_state_modes_and_gradients_alone() -> None:
    learned = learn(Line, {"a": RNG.normal(size=9), "y": RNG.normal(size=9)}, target="y", options={"dropout": 0.5})
    learned.model.train()
    learned.model.drop.eval()
    torch.manual_seed(3)
    before, expected = torch.get_rng_state(), torch.rand(3)
    torch.manual_seed(3)
    numpy_before = np.random.get_state()[1].tolist()
    learned.predict({"a": [1.0]}, samples=5)
    learn(Normal, TWO)
    torch.set_rng_state(before)
    learned.predict({"a": [1.0]}, samples=5)
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(torch.rand(3), expected)
    assert np.random.get_state()[1].tolist() == numpy_before
    assert learned.model.training and not learned.model.drop.training
    assert torch.is_grad_enabled() and all(p.grad is None for p in learned.model.parameters())


def test_a_failing_call_leaves_modes_alone_too() -> None:
    learned = learn(Normal, TWO)
    learned.model.train()
    learned.model.log_prob = lambda batch: 1 / 0
    with pytest.raises(ZeroDivisionError):
        learned.log_prob(TWO)
    assert learned.model.training and not torch.is_inference_mode_enabled()


def test_extra_columns_are_ignored_and_missing_ones_named() -> None:
    learned = learn(Normal, TWO)
    assert np.array_equal(learned.log_prob({**TWO, "c": np.zeros(ROWS)}), learned.log_prob(TWO))
    with pytest.raises(DataError, match="'b'"):
        learned.log_prob({"a": TWO["a"]})


def test_times_as_conditions() -> None:
    learned = learn(Normal, MIXED, given=["when"], drop=["city", "flag", "beam"])
    when = datetime.datetime(2023, 11, 20)
    assert learned.sample(2, {"when": when})["when"].to_pylist() == [when, when]
