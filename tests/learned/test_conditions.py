"""Models under conditions that are images and sets: learned, saved, drawn from, checked, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import gnomon
from gnomon.data import Image, Set, Spec, Vector
from gnomon.errors import AbilityError, DataError, OptionError
from gnomon.training import fit

RNG = np.random.default_rng(1)
N, HELD = 2500, 500
LEVEL = RNG.uniform(-2, 2, size=(N, 1, 1, 1))
IMAGES = RNG.normal(size=(N, 1, 6, 6)) * RNG.uniform(0.2, 1.0, size=(N, 1, 1, 1)) + LEVEL
SETS = [RNG.normal(size=(k, 2)) * s for k, s in zip(RNG.integers(10, 30, N), RNG.uniform(0.2, 2.0, N), strict=True)]
SHORT = [s[: i % 4] for i, s in enumerate(SETS)]  # some are empty
BRIGHTNESS = IMAGES.mean((1, 2, 3))
CONTRAST = IMAGES.std((1, 2, 3))
SPREAD = np.array([s.std() for s in SETS])
NOISE = RNG.normal(size=N)
SMALL = {"progress": False, "epochs": 2}
GIVEN = {"image": IMAGES, "set": SHORT}


def rows(x: Any, given: Any, part: slice) -> dict[str, Any]:
    return {"x": x[part], "given": given[part]}


def learned(model: str, given: Any, rows: int = 200, **more: Any) -> Any:
    """A model fitted for a moment, x a table."""
    table = pa.table({"a": NOISE[:rows], "b": BRIGHTNESS[:rows]})
    return fit(model, {"x": table, "given": given[:rows]}, **{**SMALL, **more})


# ---- what is learned ------------------------------------------------------------------------------------------------


def gaussian(x: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd) - 0.5 * math.log(2 * math.pi)


TRUTHS: dict[str, tuple[Any, np.ndarray, np.ndarray]] = {
    "image": (IMAGES, BRIGHTNESS, 0.4 * CONTRAST),  # the mean is how bright a picture is, the spread its contrast
    "set": (SETS, np.zeros(N), SPREAD),  # the spread is that of the elements
}


@pytest.mark.parametrize("name", TRUTHS)
def test_mean_and_spread_are_read_from_the_condition(name: str) -> None:
    given, mean, sd = TRUTHS[name]
    x = mean + sd * NOISE
    train, test = slice(0, N - HELD), slice(N - HELD, N)
    made = fit("mixture_density", rows(x, given, train), progress=False, epochs=40)
    own = made.log_prob(rows(x, given, test))
    best = gaussian(x[test], mean[test], sd[test])
    blind = gaussian(x[test], np.full(HELD, x.mean()), np.full(HELD, x.std()))
    assert own.mean() - blind.mean() > 0.85 * (best.mean() - blind.mean())
    for i in (N - HELD + np.argsort(sd[test])[[HELD // 5, HELD // 2, 4 * HELD // 5]]).tolist():
        drawn = made.sample(4000, given=given[i], seed=1)
        assert abs(drawn.mean() - mean[i]) < 0.6 * sd[i] and 0.65 < drawn.std() / sd[i] < 1.5


def test_the_order_of_a_sequence_is_heard() -> None:
    chance = np.random.default_rng(5)
    given = [chance.normal(size=(count, 2)) for count in chance.integers(1, 8, 1200)]
    x = np.array([sequence[-1, 0] for sequence in given])[:, None] + 0.2 * chance.normal(size=(1200, 1))
    train, test = slice(0, 1000), slice(1000, 1200)
    made = {
        kind: fit("mixture_density", rows(x, given, train), kind={"given": kind}, progress=False, epochs=25) for kind in ("sequence", "set")
    }
    told = {kind: one.log_prob(rows(x, given, test)).mean() for kind, one in made.items()}
    assert told["sequence"] > told["set"] + 0.4
    with pytest.raises(DataError, match=r"given has shape \(2, 3\)"):
        made["sequence"].sample(1, given=[np.zeros((2, 3))])
    with pytest.raises(AbilityError, match="the condition has to be given"):
        made["sequence"].sample(1)


def test_a_picture_may_be_absent() -> None:
    x = BRIGHTNESS + 0.3 * NOISE
    made = fit("mixture_density", rows(x, IMAGES, slice(0, N - HELD)), progress=False, epochs=30, drop_given=0.3, options={"components": 5})
    test = rows(x, IMAGES, slice(N - HELD, N))
    without = made.log_prob({"x": test["x"]})
    assert -1.75 < without.mean() < -1.3 < made.log_prob(test).mean()  # uniform over [-2, 2] and a little noise: -1.5 nats at best
    drawn = made.sample(4000, seed=1)
    assert abs(drawn.mean()) < 0.2 and abs(drawn.std() - x.std()) < 0.2
    hidden = np.where(np.arange(HELD)[:, None, None, None] % 2, np.nan, test["given"])
    mixed = made.log_prob({"x": test["x"], "given": hidden})
    assert np.allclose(mixed[1::2], without[1::2], atol=1e-5) and np.allclose(mixed[::2], made.log_prob(test)[::2], atol=1e-5)


# ---- every model ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("model", ["flow", "mixture_density", "vae", "gan", "autoencoder"])
def test_a_run_comes_back_from_its_folder(model: str, given: str, tmp_path: Path) -> None:
    options = {"transforms": 2, "hidden": (16,)} if model == "flow" else {}
    made = learned(model, GIVEN[given], options=options)
    again = gnomon.load(made.save(tmp_path / "run"))
    assert again.spec == made.spec and isinstance(again.spec.given, Image if given == "image" else Set)
    some = {"x": pa.table({"a": NOISE[:7], "b": NOISE[:7]}), "given": GIVEN[given][:7]}
    for ability in {"log_prob", "encode"} & set(made.abilities):
        assert np.array_equal(getattr(made, ability)(some), getattr(again, ability)(some))
    if "log_prob_bound" in made.abilities:
        assert np.isfinite(made.log_prob_bound(some, samples=4)[0]).all()
    if "reconstruct" in made.abilities:
        assert made.reconstruct(some).equals(again.reconstruct(some))
    if "decode" in made.abilities:
        codes = made.encode(some)
        assert made.decode(codes, given=some["given"]).equals(again.decode(codes, given=some["given"]))
    if "sample" in made.abilities:
        drawn = made.sample(7, given=some["given"], seed=3)
        assert drawn.column_names == ["a", "b"] and drawn.equals(again.sample(7, given=some["given"], seed=3))
        assert not drawn.equals(made.sample(7, given=GIVEN[given][10:17], seed=3))
        assert made.sample(3, given=some["given"][:3], seed=3).equals(drawn.slice(0, 3))


@pytest.mark.parametrize("given", GIVEN)
def test_predictions_hear_the_condition(given: str) -> None:
    data = {"x": NOISE[:200], "y": BRIGHTNESS[:200], "given": GIVEN[given][:200]}
    for model, y in (("regressor", data["y"]), ("classifier", (data["y"] > 0).astype(int))):
        made = fit(model, {**data, "y": y}, **SMALL)
        args = {"proba": True} if model == "classifier" else {}
        asked = {"x": data["x"], "given": data["given"]}
        moved = {"x": data["x"], "given": data["given"][::-1]}
        assert not np.allclose(made.predict(asked, **args), made.predict(moved, **args))


@pytest.mark.parametrize("given", GIVEN)
def test_many_seeds_in_one_step(given: str) -> None:
    made = learned("mixture_density", GIVEN[given], seeds=2)
    some = {"x": pa.table({"a": NOISE[:5], "b": NOISE[:5]}), "given": GIVEN[given][:5]}
    one, two = (m.log_prob(some) for m in made)
    assert np.isfinite(one).all() and not np.allclose(one, two)


def test_the_two_sides_of_a_gan_have_an_encoder_each() -> None:
    from gnomon.models.gan import GAN

    for kind in (Image(1, (8, 8)), Set(Vector.real(2))):
        critic, generator = GAN(Spec(Vector.real(2), given=kind)).players()
        assert critic.modules == ("critic", "critic_condition") and generator.modules == ("generator", "condition")
    plain = GAN(Spec(Vector.real(2), given=Vector.real(2)))
    assert [player.modules for player in plain.players()] == [("critic",), ("generator",)] and plain.critic_condition is None


def test_columns_of_lists_come_back_beside_the_sample() -> None:
    table = pa.table({"a": NOISE[:100], "pt": [list(s[:, 0]) for s in SHORT[:100]]})
    made = fit("mixture_density", table, given=["pt"], **SMALL)
    drawn = made.sample(3, given={"pt": [[1.0, 2.0], [], [3.0]]})
    assert drawn.column_names == ["a", "pt"] and drawn["pt"].to_pylist() == [[1.0, 2.0], [], [3.0]]
    assert made.sample(2, given=table.slice(0, 2))["pt"].to_pylist() == table["pt"].to_pylist()[:2]


# ---- what is said ---------------------------------------------------------------------------------------------------


def test_a_check_names_a_model_that_does_not_listen() -> None:
    x = BRIGHTNESS + 0.3 * NOISE
    shuffled = IMAGES[RNG.permutation(N - HELD)]
    deaf = fit("mixture_density", {"x": x[: N - HELD], "given": shuffled}, progress=False, epochs=10)
    report = gnomon.check(deaf, rows(x, IMAGES, slice(N - HELD, N)), budget=10)
    found = {s.name: s.p for s in report.statistics}
    assert found["sbc"] < 0.01 and any("the condition is an image" in note for note in report.notes)


@pytest.mark.parametrize("given", GIVEN)
def test_what_is_given_wrongly_is_refused(given: str) -> None:
    made = learned("mixture_density", GIVEN[given], rows=100)
    with pytest.raises(AbilityError, match="the condition has to be given"):
        made.sample(3)
    with pytest.raises(DataError, match="the condition has 5 rows for 3 examples"):
        made.sample(3, given=GIVEN[given][:5])
    with pytest.raises(DataError, match="given has shape|given: images have shape"):
        made.sample(3, given=np.zeros((3, 5)))
    with pytest.raises(OptionError, match="which has no column 'energy'"):
        made.sample(3, given={"energy": 3.0})
    with pytest.raises(DataError, match="the data has no given"):
        made.log_prob(pa.table({"a": NOISE[:3], "b": NOISE[:3]}))
    with pytest.raises(DataError, match="PCA wants given to be Vector"):
        learned("pca", GIVEN[given])


def test_a_set_is_never_absent_nor_mixed() -> None:
    with pytest.raises(OptionError, match="an empty set is a condition like any other"):
        learned("mixture_density", SHORT, drop_given=0.1)
    with pytest.raises(OptionError, match="wants them of one size"):
        fit("regressor", {"x": NOISE[:100], "y": NOISE[:100], "given": SHORT[:100]}, **SMALL, mixup=0.2)


def test_images_are_mixed_with_their_x() -> None:
    from gnomon.data import Examples, Label
    from gnomon.training.alterations import Mixture

    mixture = Mixture(Spec(Vector.real(1), y=Label(("a", "b")), given=Image(1, (2, 2))), mixup=1.0)
    x = torch.arange(6.0)
    mixed = mixture(Examples(x[:, None], torch.zeros(6, dtype=torch.int64), x.view(6, 1, 1, 1).expand(6, 1, 2, 2).clone()))
    assert torch.allclose(mixed.given, mixed.x.view(6, 1, 1, 1).expand(6, 1, 2, 2))
