"""Sets and texts in models with a latent code, from data to data: fitted, told again, drawn, scored, saved, and judged."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import gnomon
from gnomon.cli import main
from gnomon.data import Examples, Image, Ragged, Set, Spec, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.models.latent import head_for
from gnomon.models.vae import VAE

RNG = np.random.default_rng(0)
WORDS = ["".join(RNG.choice(list("abc"), size=int(k))) for k in RNG.integers(1, 6, 240)]
SETS = [np.stack([RNG.normal(2.0, 0.3, k), RNG.normal(-1.0, 2.0, k)], axis=1) for k in RNG.integers(1, 5, 240)]
GIVEN = {"size": RNG.normal(size=240), "sort": RNG.choice(["u", "v"], 240)}
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 64, "progress": False, "seed": 0}


def data(kind: str, given: bool) -> tuple[Any, dict[str, Any]]:
    """A table (with conditions) or a bare list, and how it is to be read."""
    if kind == "tokens":
        return (pa.table({"word": WORDS, **GIVEN}), {"kind": "tokens", "given": "size,sort"}) if given else (WORDS, {"kind": "tokens"})
    if not given:
        return SETS, {"kind": "set"}
    lists = {"pt": [s[:, 0].tolist() for s in SETS], "eta": [s[:, 1].tolist() for s in SETS]}
    return pa.table({**lists, **GIVEN}), {"kind": "set", "given": "size,sort"}


def rows(made: Any) -> int:
    return made.num_rows if isinstance(made, pa.Table) else len(made)


@pytest.mark.parametrize("given", [False, True], ids=["", "given"])
@pytest.mark.parametrize("kind", ["tokens", "set"])
@pytest.mark.parametrize("model", ["vae", "autoencoder"])
def test_every_ability_from_data_to_data(model: str, kind: str, given: bool, tmp_path: Path) -> None:
    x, reading = data(kind, given)
    learned = gnomon.fit(model, x, options={"latent": 3, "size": 0.25}, **reading, **QUICK)
    some = x.slice(0, 20) if isinstance(x, pa.Table) else x[:20]
    condition = {"size": 0.5, "sort": "v"} if given else None
    codes = learned.encode(some)
    assert codes.shape == (20, 3) and np.isfinite(codes).all()
    again, told = learned.reconstruct(some), learned.decode(codes, given=None if not given else some.select(["size", "sort"]))
    assert rows(again) == rows(told) == 20 and type(again) is type(x)
    assert again.column_names == x.column_names if given else isinstance(again[0], str if kind == "tokens" else np.ndarray)
    assert np.isfinite(learned.score(some)).all()
    if model == "vae":
        drawn = learned.sample(7, given=condition, seed=3)
        assert rows(drawn) == 7
        more = learned.sample(12, given=condition, seed=3)
        texts = [d.column("word").to_pylist() if given else d for d in (drawn, more)] if kind == "tokens" else []
        assert not texts or texts[0] == texts[1][:7]
        value, error = learned.log_prob_bound(some, samples=16)
        assert np.isfinite(value).all() and (error > 0).all()
        if kind == "tokens":
            assert (value < 0).all()  # of probability
    learned.save(tmp_path / "run")
    loaded = gnomon.load(tmp_path / "run")
    assert loaded.spec == learned.spec and np.array_equal(loaded.encode(some), codes)
    if isinstance(again, pa.Table):
        assert loaded.reconstruct(some).equals(again)


def test_the_bound_of_texts_is_below_the_probability_summed_over_codes() -> None:
    torch.manual_seed(0)
    model = VAE(Spec(Tokens(("a", "b"), longest=3)), latent=1, size=0.25).eval()
    with torch.no_grad():
        for parameter in [*model.decoder.parameters(), *model.head.parameters()]:  # the posterior stays as wide as the prior
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = Ragged(torch.tensor([0, 1, 1, 0]), torch.tensor([2, 0, 2]))
    z = torch.linspace(-8, 8, 2001)[:, None]
    log_weights = -0.5 * z[:, 0].double().square()
    log_weights = log_weights - log_weights.logsumexp(0)
    with torch.no_grad():
        rows = [model.likelihood(z).log_prob(Ragged.cat([x[i : i + 1]] * len(z))).double() for i in range(3)]
    exact = torch.stack([(row + log_weights).logsumexp(0) for row in rows])
    torch.manual_seed(1)
    value, error = model.log_prob_bound(Examples(x), samples=4000)
    assert ((value - exact).abs() < 5 * error + 1e-3).all() and (error < 0.05).all()


def test_the_density_of_sets_is_in_the_users_units() -> None:
    scaled = [s * np.array([10.0, 0.1]) for s in SETS]
    bounds = [
        gnomon.fit("vae", sets, kind="set", options={"latent": 2, "size": 0.25}, **QUICK).log_prob_bound(sets[:50], samples=8)[0]
        for sets in (SETS, scaled)
    ]
    moved = np.array([len(s) for s in SETS[:50]]) * (math.log(10.0) + math.log(0.1))
    assert bounds[1] + moved == pytest.approx(bounds[0], abs=0.05)


@pytest.mark.slow
def test_an_autoencoder_tells_texts_and_sets_again() -> None:
    learned = gnomon.fit("autoencoder", WORDS, kind="tokens", epochs=120, batch_size=64, validation=0, progress=False)
    assert np.mean([a == b for a, b in zip(learned.reconstruct(WORDS), WORDS, strict=True)]) > 0.95
    sets = gnomon.fit("autoencoder", SETS, kind="set", epochs=60, batch_size=64, validation=0, progress=False)
    again = sets.reconstruct(SETS)
    assert np.mean([len(a) == len(b) for a, b in zip(again, SETS, strict=True)]) > 0.95


def test_a_model_of_texts_learns_their_order() -> None:
    words = ["ab" * int(k) for k in RNG.integers(1, 5, 300)]
    learned = gnomon.fit("vae", words, kind="tokens", options={"latent": 2, "size": 0.5}, epochs=20, batch_size=32, progress=False)
    drawn = learned.sample(100)
    assert np.mean([word == "ab" * (len(word) // 2) and word != "" for word in drawn]) > 0.9
    bound = learned.log_prob_bound(["abab", "baba", "aabb"], samples=16)[0]
    assert bound[0] > math.log(0.15) and (bound[1:] < -3).all()


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "likelihood of texts": (
        Tokens(("a",)),
        {"likelihood": "bernoulli"},
        "likelihood 'bernoulli' is not for texts; use 'recurrent' or 'causal'",
    ),
    "likelihood of sets": (Set(Vector.real(1)), {"likelihood": "causal"}, "likelihood 'causal' is not for sets"),
    "spread of sets": (Set(Vector.real(1)), {"spread": "optimal"}, "spread 'optimal' is for columns and pixels"),
    "likelihood of columns": (Vector.real(1), {"likelihood": "recurrent"}, "'recurrent' is for texts; x is a Vector"),
    "likelihood of images": (Image(1, (2,)), {"likelihood": "causal"}, "'causal' is for texts; x is an Image"),
    "classes without whole numbers": (Vector.real(1), {"likelihood": "categorical"}, "for columns that are classes, and x has none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_likelihoods_that_cannot_be_are_named(name: str) -> None:
    kind, options, message = REFUSED[name]
    with pytest.raises(OptionError, match=message):
        head_for(kind, **options)


def test_options_reach_the_network_that_writes_texts() -> None:
    model = VAE(Spec(Tokens(("a", "b"))), likelihood="causal", net={"layers": 3, "word_dropout": 0.25})
    assert len(model.head.mapper.layers) == 3 and model.head.mapper.word_dropout == 0.25
    with pytest.raises(OptionError, match="unknown option 'colour'"):
        VAE(Spec(Tokens(("a", "b"))), net={"colour": 1})


def test_texts_in_the_shell(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    options = ["--epochs", "1", "--quiet", "--set", "latent=2", "--set", "size=0.25"]
    assert main(["fit", "vae", str(tmp_path / "words.txt"), "--out", str(tmp_path / "run"), *options]) == 0
    for verb, more, out in (
        ("sample", ["-n", "5"], "s.txt"),
        ("reconstruct", [str(tmp_path / "words.txt")], "r.csv"),
        ("encode", [str(tmp_path / "words.txt")], "z.parquet"),
        ("decode", [str(tmp_path / "z.parquet")], "d.parquet"),
        ("score", [str(tmp_path / "words.txt"), "--anomaly"], "score.csv"),
        ("score", [str(tmp_path / "words.txt"), "--direction", "both"], "both.csv"),
        ("explore", [str(tmp_path / "words.txt"), "--steps", "3"], "looks"),
    ):
        assert main([verb, str(tmp_path / "run"), *more, "-o", str(tmp_path / out)]) == 0, verb
    assert len((tmp_path / "s.txt").read_text(encoding="utf-8").splitlines()) == 5
    table = gnomon.data.read(tmp_path / "score.csv").columns
    assert table.num_rows == len(WORDS) and set(table.column_names) >= {"log_prob_bound", "anomaly", "p_value"}
    assert "p_value" in gnomon.data.read(tmp_path / "both.csv").columns.column_names  # a direction implies --anomaly
    assert sorted(path.name for path in (tmp_path / "looks").iterdir()) == ["interpolations.csv", "map.png", "traversals.csv"]
    assert gnomon.data.read(tmp_path / "looks" / "interpolations.csv").columns.column_names == ["text"]
    for verb, more in (("explore", ["--steps", "1"]), ("score", ["--anomaly-by", "latent", "--samples", "3"])):
        assert main([verb, str(tmp_path / "run"), str(tmp_path / "words.txt"), *more, "-o", str(tmp_path / "none")]) != 0
        assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_texts_are_checked_by_length_and_frequencies() -> None:
    learned = gnomon.fit("vae", WORDS, kind="tokens", options={"latent": 2, "size": 0.25}, **QUICK)
    fresh = ["".join(RNG.choice(list("abc"), size=int(k))) for k in RNG.integers(1, 6, 400)]
    report = gnomon.check(learned, fresh, budget="10s")
    places = {statistic.where for statistic in report.statistics}
    assert "length" in places and any(place.startswith("share of 'a'") for place in places)
    worst = [finding for finding in report.findings if "length" in finding or "share" in finding]
    assert worst, report.verdict  # two epochs teach neither


@pytest.mark.slow
def test_a_classifier_and_a_regressor_read_texts() -> None:
    table = pa.table({"word": WORDS, "first": [word[0] for word in WORDS], "length": [float(len(word)) for word in WORDS]})
    sorts = gnomon.fit("classifier", table, kind="tokens", target="first", drop="length", epochs=30, batch_size=32, progress=False)
    assert np.mean(np.asarray(sorts.predict(table)) == np.array(table["first"].to_pylist())) > 0.95
    sizes = gnomon.fit("regressor", table, kind="tokens", target="length", drop="first", epochs=30, batch_size=32, progress=False)
    assert np.corrcoef(sizes.predict(table), table["length"].to_numpy())[0, 1] > 0.95


def test_models_of_texts_are_not_compiled_unasked() -> None:
    learned = gnomon.fit("vae", WORDS[:8], kind="tokens", options={"latent": 2, "size": 0.1}, epochs=1, progress=False, validation=0)
    assert learned.info["decisions"]["compile"] == {"compile": False, "why": "texts differ in length from batch to batch"}


def test_the_code_of_texts_is_not_left_empty() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcd"), rng.integers(2, 6))) for _ in range(300)]
    kept = {
        free: gnomon.fit("vae", words, kind="tokens", options={"latent": 4, **more}, epochs=30, batch_size=64, progress=False)
        for free, more in (("default", {}), ("none", {"free_bits": 0.0}))
    }
    told = {
        free: float(np.mean([row["validation/kl"] for row in one.history if "validation/kl" in row][-1:])) for free, one in kept.items()
    }
    assert told["default"] > 4 * 0.3 > told["none"]
    assert VAE(Spec(Vector.real(2))).free_bits == 0 == VAE(Spec(Tokens(("a",))), prior="mixture").free_bits
    chosen = [VAE(Spec(Tokens(("a",))), **options).free_bits for options in ({}, {"beta": 4.0}, {"kl_warmup": 0.5})]
    assert chosen == [0.5, 0, 0]
