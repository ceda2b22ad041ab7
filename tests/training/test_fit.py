"""`fit` and `resume` from the outside: residents on vectors and images, killed and resumed, saved and loaded elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

import gnomon
from gnomon.data import Examples, Spec
from gnomon.errors import DataError, GnomonError, OptionError, RunError
from gnomon.models import Loss, Model

SOURCE = Path(gnomon.__file__).parent.parent
RESIDENTS = ["classifier", "regressor", "pca", "autoencoder", "vae", "flow", "gan"]
OPTIONS: dict[str, dict[str, Any]] = {"flow": {"transforms": 2, "hidden": (16,)}, "pca": {"components": 2}}


def table(rows: int = 96) -> pa.Table:
    chance = np.random.default_rng(0)
    energy = chance.uniform(1, 3, rows)
    side = chance.choice(["left", "right"], rows)
    return pa.table(
        {
            "energy": energy,
            "a": chance.normal(energy, 1.0),
            "count": chance.integers(0, 9, rows),
            "b": chance.normal(0.0, energy),
            "side": side,
        }
    )


def images(rows: int = 96) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    energy = chance.uniform(1, 3, rows)
    y = chance.choice(["left", "right"], rows)
    x = (chance.uniform(0, 8, (rows, 1, 6, 5)) * energy[:, None, None, None] / 3).astype(np.uint8)
    return {"x": x, "y": y, "given": energy[:, None]}


def arguments(model: str, kind: str, given: bool) -> tuple[Any, dict[str, Any]]:
    """Data and arguments of a small fit."""
    told: dict[str, Any] = {"epochs": 2, "batch_size": 32, "progress": False, "options": OPTIONS.get(model, {})}
    if kind == "image":
        data = images()
        if model == "regressor":
            data["y"] = np.arange(96.0)
        elif model != "classifier":
            del data["y"]
        if not given:
            del data["given"]
        return data, told
    target = {"classifier": "side", "regressor": "b"}.get(model)
    return table(), told | ({"target": target} if target else {}) | ({"given": ["energy"]} if given else {})


CASES = [(m, k, g) for m in RESIDENTS for k in ("vector", "image") for g in (False, True) if not (m == "pca" and g)]


def outputs(learned: Any, data: Any) -> dict[str, Any]:
    """What a Learned says about the first rows."""
    few = data.slice(0, 7) if isinstance(data, pa.Table) else {role: values[:7] for role, values in data.items()}
    found: dict[str, Any] = {}
    for ability in learned.abilities:
        if ability == "sample":
            given = None if learned.spec.given is None else {name: 2.0 for name in learned.spec.given.names}
            found[ability] = learned.sample(5, given=given)
        elif ability != "decode":
            found[ability] = getattr(learned, ability)(few)
    return found


def as_bytes(value: Any) -> Any:
    if isinstance(value, tuple):
        return [as_bytes(part) for part in value]
    if isinstance(value, pa.Table):
        return value.to_pydict()
    return np.asarray(value).tolist()


@pytest.mark.parametrize(("model", "kind", "given"), CASES, ids=["-".join([m, k, "given" if g else "plain"]) for m, k, g in CASES])
def test_every_resident_fits_saves_and_loads(model, kind, given, tmp_path) -> None:
    data, told = arguments(model, kind, given)
    learned = gnomon.fit(model, data, out=tmp_path / "run", **told)
    again = gnomon.load(tmp_path / "run")
    expected, found = outputs(learned, data), outputs(again, data)
    assert expected.keys() == found.keys() and expected
    for ability, value in expected.items():
        assert as_bytes(value) == as_bytes(found[ability]), ability


SCRIPT = """
    import sys, json, numpy as np
    sys.path[:0] = json.loads(sys.argv[1])
    import gnomon
    from gnomon.training import loop
    from tests.training.test_fit import arguments
    if sys.argv[3] == "often":
        loop.LOOK = loop.SAVE = -1.0
    model, kind, seeds, run = sys.argv[4], sys.argv[5], int(sys.argv[6]) or None, sys.argv[2]
    data, told = arguments(model, kind, True)
    told["epochs"] = 8
    if sys.argv[3] == "resume":
        gnomon.resume(run, data, progress=False)
    else:
        gnomon.fit(model, data, out=run, seeds=seeds, validation=0.25, **told)
"""


def start(how: str, run: Path, model: str, kind: str, seeds: int) -> subprocess.Popen[bytes]:
    paths = json.dumps([str(SOURCE), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), paths, str(run), how, model, kind, str(seeds)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()


KILLED = [
    pytest.param("vae", "vector", 4, id="vae-vector-4"),
    pytest.param("gan", "vector", 0, id="gan-vector-one", marks=pytest.mark.slow),
    pytest.param("vae", "image", 0, id="vae-image-one", marks=pytest.mark.slow),
    pytest.param("flow", "vector", 0, id="flow-vector-one", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "kind", "seeds"), KILLED)
def test_killed_in_the_middle_and_resumed_equals_uninterrupted(model, kind, seeds, tmp_path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(start("whole", whole, model, kind, seeds))
    victim = start("often", parts, model, kind, seeds)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and victim.poll() is None:
        state = parts / "state.safetensors"
        if state.exists() and len((parts / "history.jsonl").read_text().splitlines() if (parts / "history.jsonl").exists() else []) >= 2:
            break
        time.sleep(0.002)
    victim.kill()
    victim.communicate()
    assert json.loads((parts / "run.json").read_text())["weights"] is None, "the run was over before it could be killed"
    finish(start("resume", parts, model, kind, seeds))
    for name in ("model.safetensors", "state.safetensors"):
        expected, found = load_file(whole / name), load_file(parts / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key].nan_to_num(), found[key].nan_to_num()) for key in expected), name
    assert (whole / "history.jsonl").read_text() == (parts / "history.jsonl").read_text()


def test_the_users_random_state_and_settings_are_untouched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    gnomon.fit("vae", "wine", epochs=1, progress=False).sample(3)
    assert torch.equal(before, torch.get_rng_state())
    assert (dtype, threads) == (torch.get_default_dtype(), torch.get_num_threads())


def test_the_same_seed_repeats_bit_for_bit_and_another_differs() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        return list(gnomon.fit("vae", "wine", epochs=2, seed=seed, progress=False).model.state_dict().values())

    first, second, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_finished_run_is_loaded_by_resume(tmp_path) -> None:
    learned = gnomon.fit("vae", "wine", epochs=2, out=tmp_path / "run", progress=False)
    again = gnomon.resume(tmp_path / "run", progress=False)
    assert all(torch.equal(a, b) for a, b in zip(learned.model.state_dict().values(), again.model.state_dict().values(), strict=True))


def test_changed_data_are_not_resumed_with(tmp_path) -> None:
    data = table()
    gnomon.fit("vae", data, epochs=1, out=tmp_path / "run", progress=False)
    with pytest.raises(RunError, match="pass the same data"):
        gnomon.resume(tmp_path / "run", progress=False)
    with pytest.raises(RunError, match="data changed.*96 rows then, 95 now"):
        gnomon.resume(tmp_path / "run", data.slice(1), progress=False)


def test_an_existing_run_is_kept_unless_it_may_be_overwritten(tmp_path) -> None:
    gnomon.fit("pca", "iris", out=tmp_path / "run", progress=False)
    with pytest.raises(RunError, match="exists"):
        gnomon.fit("pca", "iris", out=tmp_path / "run", progress=False)
    gnomon.fit("pca", "wine", out=tmp_path / "run", overwrite=True, progress=False)
    assert len(gnomon.load(tmp_path / "run").spec.x) == 14
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…")
    with pytest.raises(RunError, match="not a run folder"):
        gnomon.fit("pca", "iris", out=tmp_path / "mine", overwrite=True, progress=False)


class Tiny(Model):
    """A user's own model."""

    target = "numbers"

    def __init__(self, spec: Spec, *, width: int = 3) -> None:
        super().__init__(spec)
        self.net = torch.nn.Linear(len(spec.x), 1)

    def loss(self, batch: Examples) -> Loss:
        return Loss.mean((self.net(batch.x) - batch.y).square().sum(1), batch.weight)

    def predict(self, batch: Examples) -> tuple[torch.Tensor, torch.Tensor]:
        return self.net(batch.x), torch.ones(len(batch), 1)


def test_models_may_be_classes_factories_instances_and_recipes() -> None:
    told = {"epochs": 1, "progress": False, "target": "b", "drop": ["side"]}
    by_class = gnomon.fit(Tiny, table(), options={"width": "4"}, **told)
    by_factory = gnomon.fit(lambda spec: Tiny(spec, width=4), table(), **told)
    by_recipe = gnomon.fit({"model": Tiny, "options": {"width": 4}, "target": "b", "drop": ["side"], "epochs": 1}, table(), progress=False)
    by_instance = gnomon.fit(Tiny(by_class.spec), table(), epochs=1, progress=False)
    assert by_class.model.options_ == by_factory.model.options_ == by_recipe.model.options_ == {"width": 4}
    for other in (by_factory, by_recipe):
        assert all(torch.equal(a, b) for a, b in zip(by_class.model.parameters(), other.model.parameters(), strict=True))
    assert by_instance.predict(table()).shape == (96,)


def test_drop_given_teaches_the_absent_condition() -> None:
    data = {"x": np.random.default_rng(0).normal(size=(200, 2)), "given": np.random.default_rng(1).normal(size=(200, 1))}
    learned = gnomon.fit("vae", data, drop_given=0.3, epochs=2, progress=False)
    assert learned.sample(4).shape == (4, 2)
    plain = gnomon.fit("vae", data, epochs=2, progress=False)
    with pytest.raises(GnomonError, match="condition|given"):
        plain.sample(4)


def test_weights_change_what_is_learned() -> None:
    x = np.concatenate([np.full(200, -1.0), np.full(200, 1.0)])
    data = pa.table({"x": x + 0.01 * np.random.default_rng(0).normal(size=400), "w": np.where(x < 0, 1.0, 9.0)})
    learned = gnomon.fit("regressor", data.append_column("y", data["x"]).select(["w", "y"]).append_column("one", pa.array(np.zeros(400))),
                         target="y", weight="w", epochs=60, progress=False)  # fmt: skip
    assert learned.predict({"one": [0.0]})[0] == pytest.approx(0.8, abs=0.15)  # (9 - 1) / 10


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        ({"model": "flwo"}, OptionError, "did you mean 'flow'"),
        ({"model": "vae", "options": {"latnet": 3}}, OptionError, "did you mean 'latent'"),
        ({"model": "vae", "epochz": 3}, OptionError, "did you mean 'epochs'"),
        ({"model": "vae", "validation": 1.5}, OptionError, "validation"),
        ({"model": "vae", "seed": -1}, OptionError, "seed"),
        ({"model": "vae", "seeds": 0}, OptionError, "seeds"),
        ({"model": "vae", "compile": "perhaps"}, OptionError, "auto, on or off"),
        ({"model": "vae", "schedule": "cosinus"}, OptionError, "schedule"),
        ({"model": "vae", "lr": -1}, OptionError, "lr"),
        ({"model": "vae", "target": "energi"}, DataError, "did you mean 'energy'"),
        ({"model": "vae", "group": "energi"}, DataError, "did you mean 'energy'"),
        ({"model": "vae", "drop_given": 0.5}, OptionError, "condition"),
        ({"model": "vae", "device": "tpu7"}, GnomonError, "tpu7"),
        ({"model": "classifier"}, DataError, "target|y"),
    ],
)
def test_bad_requests_get_one_line(told, error, message) -> None:
    with pytest.raises(error, match=message) as caught:
        gnomon.fit(data=table(), progress=False, **told)
    assert "\n" not in str(caught.value)


def test_groups_stay_on_one_side(tmp_path) -> None:
    groups = np.repeat(np.arange(12), 8)
    data = table().append_column("run", pa.array(groups))
    learned = gnomon.fit("vae", data, group="run", epochs=1, validation=0.25, progress=False)
    assert learned.info["split"]["how"] == "group" and learned.info["split"]["validation"] % 8 == 0
    assert "run" not in learned.spec.x.names


def test_validation_data_of_ones_own(tmp_path) -> None:
    learned = gnomon.fit("vae", table(), validation=table(40), epochs=1, progress=False)
    assert learned.info["split"]["validation"] == 40 and learned.info["split"]["train"] == 96


def test_a_streamed_file_teaches_and_resumes_as_memory_does(tmp_path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "events.parquet"
    pq.write_table(table(600), path, row_group_size=100)
    told = {"target": "b", "drop": ["side"], "epochs": 2, "batch_size": 32, "progress": False}
    streamed = gnomon.fit("regressor", path, stream=True, out=tmp_path / "run", **told)
    assert streamed.info["data"]["rows"] == 600 and streamed.info["split"] == {
        "how": "random", "by": None, "fraction": 0.1, "seed": 0, "train": 540, "validation": 60,
    }  # fmt: skip
    in_memory = gnomon.fit("regressor", path, **told)
    assert streamed.history[-1]["validation/loss"] == pytest.approx(in_memory.history[-1]["validation/loss"], rel=0.3)
    again = gnomon.resume(tmp_path / "run", progress=False)
    assert np.array_equal(again.predict(path), streamed.predict(path))
    with pytest.raises(OptionError, match="path of a Parquet"):
        gnomon.fit("regressor", table(), stream=True, **told)


@pytest.mark.parametrize("model", ["classifier", "vae", "flow", "gan"])
def test_a_users_default_dtype_does_not_matter_and_stays(model, tmp_path) -> None:
    data, told = arguments(model, "vector", True)
    expected = gnomon.fit(model, data, out=tmp_path / "run", **told)
    torch.set_default_dtype(torch.float64)
    try:
        found = gnomon.fit(model, data, **told)
        again = gnomon.load(tmp_path / "run")
        for ability, value in outputs(expected, data).items():
            assert as_bytes(value) == as_bytes(outputs(found, data)[ability]) == as_bytes(outputs(again, data)[ability])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"given": 5}, "given wants names"),
        ({"drop": 7}, "drop wants names"),
        ({"columns": ["a"]}, "columns wants"),
        ({"columns": {"a": 5}}, "column 'a' wants a support"),
        ({"options": [1]}, "options wants"),
        ({"weight": 5}, "weight wants the name"),
        ({"target": 5}, "target wants the name"),
        ({"validation": True}, "validation must be"),
        ({"accumulate": 10**6}, "more batches than an epoch has"),
        ({"columns": {"a": "bounded(-inf,inf)"}}, "finite ends"),
        ({"seed": 1.5}, "seed wants a whole number"),
    ],
)
def test_wrong_types_are_named_at_the_door(told, message) -> None:
    with pytest.raises(GnomonError, match=message):
        gnomon.fit("vae", table(), progress=False, **{"epochs": 1, **told})


def test_one_name_may_be_given_as_a_text() -> None:
    learned = gnomon.fit("vae", table(), given="energy, side", epochs=1, progress=False)
    assert learned.spec.given.names == ("energy", "side")
    for wrong in (None, float("nan"), 0, 1.5, True):
        with pytest.raises(OptionError, match="sample wants a whole number"):
            learned.sample(wrong, given={"energy": 1.0, "side": "left"})


def test_columns_too_small_to_square_are_refused() -> None:
    with pytest.raises(DataError, match="rescale it"):
        gnomon.fit("vae", {"a": np.random.default_rng(0).normal(size=50) * 1e-300}, epochs=1, progress=False)


def test_mixed_precision_learns_nearly_the_same() -> None:
    told = {"epochs": 4, "progress": False}
    full = gnomon.fit("regressor", "diabetes", **told).history[-1]["validation/loss"]
    mixed = gnomon.fit("regressor", "diabetes", precision="bfloat16", **told).history[-1]["validation/loss"]
    assert mixed == pytest.approx(full, rel=0.02) and mixed != full


@pytest.mark.slow
def test_a_compiled_loss_learns_the_same() -> None:
    told = {"epochs": 3, "progress": False}
    plain = gnomon.fit("regressor", "diabetes", compile="off", **told)
    compiled = gnomon.fit("regressor", "diabetes", compile="on", **told)
    assert compiled.info["decisions"]["settings"]["compile"] and not plain.info["decisions"]["settings"]["compile"]
    assert compiled.history[-1]["validation/loss"] == pytest.approx(plain.history[-1]["validation/loss"], rel=1e-4)


def test_one_training_row_is_enough_to_run() -> None:
    learned = gnomon.fit("autoencoder", np.random.default_rng(0).normal(size=(2, 3)), epochs=1, progress=False)
    assert learned.info["split"]["train"] == 1 and len(learned.history) == 1
