"""Stopped dead and resumed equals uninterrupted bit for bit: every optimiser, schedule, alteration, regulariser and resident model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

import gnomon
from gnomon.data import Examples, Spec
from gnomon.models import Loss, Model, Player
from gnomon.training import loop as loop_module
from gnomon.training.checkpoint import STATE
from gnomon.training.optimisers.options import FIRST_ORDER, OPTIMISERS, WHOLE_DATA
from gnomon.training.schedules import SCHEDULES

ROWS, BATCH, EPOCHS = 80, 16, 3  # a quarter is held out: three turns an epoch
DEATHS = ((2, 2), (4, 5), (5, 7))
"""Turn of the last save, and turn of the death: in the middle of an epoch, and after a line of history that no state has seen."""


class Killed(BaseException):
    """Stands for the power going off: nothing may be done about it."""


def vectors() -> pa.Table:
    chance = np.random.default_rng(0)
    a, b, w = chance.normal(size=ROWS), chance.normal(size=ROWS), chance.uniform(0.5, 2.0, ROWS)
    side = np.where(a + 0.5 * chance.normal(size=ROWS) > 0, "right", "left")
    return pa.table({"a": a, "b": b, "energy": chance.uniform(1, 3, ROWS), "side": side, "y": a**2 + b, "w": w})


def images(channels: int = 1) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    return {
        "x": chance.integers(0, 9, (ROWS, channels, 6, 6)).astype(np.uint8),
        "y": chance.choice(["left", "right"], ROWS),
        "given": chance.uniform(1, 3, (ROWS, 1)),
    }


def sets() -> dict[str, Any]:
    chance = np.random.default_rng(0)
    return {"x": [chance.normal(size=(n, 2)) for n in chance.integers(1, 6, ROWS)], "y": chance.normal(size=(ROWS, 1))}


def texts() -> list[str]:
    chance = np.random.default_rng(0)
    return ["".join(chance.choice(list("abc"), n)) for n in chance.integers(1, 6, ROWS)]


def conditioned(role: str) -> dict[str, Any]:
    """Numbers, whose conditions are images or sets."""
    source = images() if role == "images" else sets()
    return {"x": np.random.default_rng(1).normal(size=(ROWS, 2)), "given": source["x"]}


REGRESSOR = {"target": "y", "drop": ["side", "w"], "options": {"net": {"hidden": (6, 6)}}}
DROPOUT = REGRESSOR | {"options": {"net": {"hidden": (6, 6), "dropout": 0.3}}}
RESIDUALS = REGRESSOR | {"options": {"net": {"hidden": (6,)}, "spread": "none"}, "batch_size": "all", "epochs": 9}
FLOW = {"options": {"transforms": 2, "hidden": (8,), "bins": 4}}
CLASSIFIER = {"target": "side", "drop": ["y", "w"], "options": {"net": {"hidden": (6,)}}}
IMAGES = {"options": {"net": {"width": 4}}}
PLAYERS = {"critic": {"optimizer": "rmsprop", "lr": 1e-3}}
BATCH_NORM = REGRESSOR | {"options": {"net": {"hidden": (6,), "norm": "batch"}}}

CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {}
"""Name to model, data and what fit is told."""
for name in FIRST_ORDER:
    CASES[name] = ("regressor", vectors, REGRESSOR | {"optimizer": name})
    CASES[f"{name}-seeds"] = ("regressor", vectors, DROPOUT | {"optimizer": name, "seeds": 2})
for name in WHOLE_DATA:
    CASES[name] = ("regressor", vectors, RESIDUALS | {"optimizer": name})
for name in SCHEDULES:
    CASES[f"schedule-{name}"] = ("regressor", vectors, DROPOUT | {"schedule": name, "warmup": 2, "plateau_patience": 1, "lr": 0.1})
CASES |= {
    "sharpness": ("regressor", vectors, DROPOUT | {"sharpness": 0.05}),
    "sharpness-muon": ("regressor", vectors, DROPOUT | {"sharpness": 0.05, "optimizer": "muon"}),
    "dropout-early": ("regressor", vectors, DROPOUT | {"dropout_when": "early", "dropout_part": 0.5}),
    "dropout-late": ("regressor", vectors, DROPOUT | {"dropout_when": "late", "dropout_part": 0.5}),
    "dropout-late-seeds": ("regressor", vectors, DROPOUT | {"dropout_when": "late", "dropout_part": 0.5, "seeds": 2}),
    "accumulate": ("regressor", vectors, DROPOUT | {"accumulate": 3, "epochs": 8}),
    "weighted": ("regressor", vectors, DROPOUT | {"drop": ["side"], "weight": "w", "mixup": 0.3}),
    "penalties": ("regressor", vectors, REGRESSOR | {
        "l1": 1e-2, "weight_decay": 1e-2, "max_norm": 2.0, "adaptive_clip": 0.05, "clip": 0.01, "gradient_noise": 0.1}),
    "penalties-seeds": ("regressor", vectors, REGRESSOR | {"l1": 1e-2, "clip": 0.01, "gradient_noise": 0.1, "seeds": 2}),
    "trains-biases": ("regressor", vectors, REGRESSOR | {"trains": ("biases",)}),
    "no-average": ("regressor", vectors, DROPOUT | {"average": None}),
    "no-validation": ("regressor", vectors, DROPOUT | {"validation": 0}),
    "patience": ("regressor", vectors, DROPOUT | {"patience": 1, "lr": 0.3, "epochs": 9}),
    "batch-norm": ("regressor", vectors, BATCH_NORM),
    "batch-norm-seeds": ("regressor", vectors, BATCH_NORM | {"seeds": 2}),
    "bfloat16": ("regressor", vectors, DROPOUT | {"precision": "bfloat16"}),
    "one-seed": ("regressor", vectors, DROPOUT | {"seeds": 1}),
    "column-noise": ("classifier", vectors, CLASSIFIER | {"augment": {"noise": 0.1, "swap": 0.2}, "mixup": 0.4}),
    "drop-given": ("vae", vectors, {"given": ["energy", "side"], "drop": ["w"], "drop_given": 0.3}),
    "sets": ("regressor", sets, {"kind": "set"}),
    "given-images": ("flow", lambda: conditioned("images"), FLOW | {"drop_given": 0.3}),
    "given-sets": ("mixture_density", lambda: conditioned("sets"), {}),
    "given-sets-seeds": ("mixture_density", lambda: conditioned("sets"), {"seeds": 2}),
    "players-given-images": ("gan", lambda: conditioned("images"), {"players": PLAYERS}),
    "augmented-images": ("classifier", images, IMAGES | {
        "augment": {"flip": True, "rotate": 10, "translate": 0.1, "scale": 0.1, "erase": 0.3, "noise": 0.05, "contrast": 0.2, "blur": 0.5},
        "mixup": 0.4, "cutmix": 1.0}),
    "colours": ("classifier", lambda: images(3), IMAGES | {"augment": {"colour": 0.2, "pca": 0.1, "crop": 0.3}}),
    "dropped-paths": ("classifier", images, {"options": {"net": {"width": 4, "depth": 3, "drop_path": 0.2, "dropout": 0.2}}}),
    "players": ("gan", vectors, {"drop": ["w"], "players": PLAYERS}),
    "kl-warmup": ("vae", vectors, {"drop": ["w"], "options": {"kl_warmup": 0.7, "spread": "optimal"}}),
    "kl-warmup-seeds": ("vae", vectors, {
        "drop": ["w"], "options": {"kl_warmup": 0.7, "posterior": "full", "prior": "mixture"}, "seeds": 2}),
    "weighted-draws": ("vae", images, {"options": {"objective": "dreg", "draws": 3, "prior": "vamp", "components": 5}}),
    "denoising": ("autoencoder", vectors, {
        "drop": ["w"], "options": {"noise": "masking", "sparsity": "l1", "contractive": 0.1}}),
    "quantiser": ("vqvae", vectors, {"drop": ["w"], "options": {"quantiser": "vq", "codes": 8}}),
    "texts": ("vae", texts, {"kind": "tokens"}),
    "players-images": ("gan", images, {"players": PLAYERS | {"generator": {"optimizer": "muon", "gradient_noise": 0.01}}}),
}  # fmt: skip
for name in ("classifier", "regressor", "autoencoder", "vae", "ladder_vae", "vqvae", "two_stage", "flow", "gan"):
    target = {"classifier": "side", "regressor": "y"}.get(name)
    told: dict[str, Any] = {"given": ["energy"], "drop": ["w"]} | ({} if target is None else {"target": target})
    told |= FLOW if name == "flow" else {}
    CASES[f"{name}-vector"] = (name, vectors, told)
    CASES[f"{name}-seeds"] = (name, vectors, told | {"seeds": 2})
    CASES[f"{name}-image"] = (name, images, FLOW if name == "flow" else {})


def data_of(model: str, make: Any) -> Any:
    """The data as this model takes them: images have a target only for a classifier, and one of numbers for a regressor."""
    data = make()
    if isinstance(data, dict) and isinstance(data["x"], np.ndarray):
        if model == "regressor":
            data["y"] = np.arange(float(ROWS))
        elif model != "classifier":
            data.pop("y", None)
    return data


def mortal(monkeypatch: pytest.MonkeyPatch, save: int, die: int) -> None:
    """Let the loop save after turn `save` and stop dead after turn `die`."""
    original = loop_module.Loop.play

    def watched(self: Any, group: list[Examples]) -> None:
        original(self, group)
        if self.checkpoint is not None and self.turn == save:
            self.save()
        if self.checkpoint is not None and self.turn == die:
            raise Killed

    monkeypatch.setattr(loop_module.Loop, "play", watched)
    monkeypatch.setattr(loop_module, "SAVE", 1e6)  # no other saves but the first, the last and ours


def fitted(model: Any, make: Any, told: dict[str, Any], out: Path) -> Any:
    arguments = {"validation": 0.25, "epochs": EPOCHS, "batch_size": BATCH, "progress": False, "lr": 0.02, **told}
    if str(told.get("optimizer")) in WHOLE_DATA:
        del arguments["lr"]
    return gnomon.fit(model, data_of(model, make), out=out, **arguments)


def killed_and_resumed(monkeypatch: pytest.MonkeyPatch, folder: Path, begin: Any, again: Any, deaths: Any = DEATHS) -> Any:
    """What comes out of a fit that dies at each of `deaths`."""
    for index, (save, die) in enumerate(deaths):
        with monkeypatch.context() as patch:
            mortal(patch, save, die)
            with pytest.raises(Killed):
                (begin if index == 0 else again)(folder)
        torch.manual_seed(12345 + index)  # whatever the random state is, the saved one counts
    return again(folder)


def assert_equal(whole: Path, parts: Path) -> None:
    """The two run folders hold the same bits: weights, scaling, calibration, history, and the state to go on from."""
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.suffix in (".safetensors", ".jsonl"))
    assert files == sorted(path.relative_to(parts) for path in parts.rglob("*") if path.suffix in (".safetensors", ".jsonl"))
    for file in files:
        if file.suffix == ".jsonl":
            assert (whole / file).read_text() == (parts / file).read_text(), file
            continue
        expected, found = load_file(whole / file), load_file(parts / file)
        assert expected.keys() == found.keys(), file
        for name, value in expected.items():
            assert value.dtype == found[name].dtype and value.numpy().tobytes() == found[name].numpy().tobytes(), f"{file}: {name}"


def same(one: Any, other: Any) -> bool:
    """Whether two Learneds (or lists of them) agree bit for bit."""
    pairs = zip(one if isinstance(one, list) else [one], other if isinstance(other, list) else [other], strict=True)
    return all(
        a.history == b.history
        and np.array_equal(a.calibration, b.calibration) is (a.calibration is not None or b.calibration is None)
        and all(torch.equal(v, b.model.state_dict()[k]) for k, v in a.model.state_dict().items())
        for a, b in pairs
    )


def test_every_optimiser_and_schedule_is_here() -> None:
    assert set(OPTIMISERS) <= CASES.keys()
    assert {f"schedule-{name}" for name in SCHEDULES} <= CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_killed_again_and_again_equals_uninterrupted(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, make, told = CASES[case]
    whole = fitted(model, make, told, tmp_path / "whole")
    parts = killed_and_resumed(
        monkeypatch,
        tmp_path / "parts",
        lambda folder: fitted(model, make, told, folder),
        lambda folder: gnomon.resume(folder, data_of(model, make), progress=False),
    )
    assert_equal(tmp_path / "whole", tmp_path / "parts")
    assert same(whole, parts)


class Pretrained(Model):
    """Learns layer by layer; the second stage builds on what the first has learned."""

    target = "numbers"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.first = torch.nn.Linear(len(spec.x), 4)
        self.second = torch.nn.Linear(4, 1)
        self.active = "first"

    def players(self) -> tuple[Player, ...]:
        return (Player(self.active, modules=(self.active,)),)

    def loss(self, batch: Examples) -> Loss:
        hidden = self.first(batch.x)
        made = hidden[:, :1] if self.active == "first" else self.second(torch.tanh(hidden))
        return Loss.mean((made - batch.y).square().sum(1))

    def stages(self) -> Iterator[Model]:
        for name in ("first", "second"):
            self.active = name
            yield self

    def predict(self, batch: Examples) -> tuple[torch.Tensor, torch.Tensor]:
        return self.second(torch.tanh(self.first(batch.x))), torch.ones(len(batch), 1)


@pytest.mark.parametrize("told", [{}, {"seeds": 2}], ids=["one", "seeds"])
def test_the_second_stage_goes_on_from_the_first(told, tmp_path, monkeypatch) -> None:
    def begin(folder: Path) -> Any:
        return fitted(Pretrained, vectors, {"target": "y", "drop": ["side", "w"], "options": {}} | told, folder)

    def again(folder: Path) -> Any:
        return gnomon.resume(folder, vectors(), model=Pretrained, progress=False)

    whole = begin(tmp_path / "whole")
    with monkeypatch.context() as patch:  # dies in the second stage, whose turns count from 0 again
        original = loop_module.Loop.play

        def watched(self: Any, group: list[Examples]) -> None:
            original(self, group)
            if self.stage == 1 and self.turn == 4:
                self.save()
                raise Killed

        patch.setattr(loop_module.Loop, "play", watched)
        with pytest.raises(Killed):
            begin(tmp_path / "parts")
    parts = again(tmp_path / "parts")
    assert_equal(tmp_path / "whole", tmp_path / "parts")
    assert same(whole, parts)


def test_killed_before_the_first_save_a_run_begins_once_more(tmp_path, monkeypatch) -> None:
    fitted("regressor", vectors, DROPOUT, tmp_path / "whole")
    with monkeypatch.context() as patch:

        def dead(self: Any, **told: Any) -> None:
            raise Killed

        patch.setattr(loop_module.Loop, "save", dead)
        with pytest.raises(Killed):
            fitted("regressor", vectors, DROPOUT, tmp_path / "parts")
    assert not (tmp_path / "parts" / STATE).exists()
    gnomon.resume(tmp_path / "parts", vectors(), progress=False)
    assert_equal(tmp_path / "whole", tmp_path / "parts")


def test_interrupted_in_order_and_resumed_equals_uninterrupted(tmp_path, monkeypatch) -> None:
    for name, told in (("one", DROPOUT), ("three", DROPOUT | {"seeds": 3})):
        whole = fitted("regressor", vectors, told, tmp_path / name / "whole")
        with monkeypatch.context() as patch:
            original = loop_module.Loop._epoch

            def interrupted(self: Any, interrupt: Any, original: Any = original) -> None:
                interrupt.asked = self.epoch == 2
                original(self, interrupt)

            patch.setattr(loop_module.Loop, "_epoch", interrupted)
            early = fitted("regressor", vectors, told, tmp_path / name / "parts")
        first = early[0] if isinstance(early, list) else early
        assert first.info["decisions"]["interrupted"] and len(first.history) == 2
        parts = gnomon.resume(tmp_path / name / "parts", vectors(), progress=False)
        assert_equal(tmp_path / name / "whole", tmp_path / name / "parts")
        assert same(whole, parts)
        again = gnomon.resume(tmp_path / name / "parts", vectors(), progress=False)  # a finished run is loaded
        assert same(whole, again)


def test_several_models_have_a_history_of_their_own_each(tmp_path) -> None:
    one, two = fitted("regressor", vectors, DROPOUT | {"seeds": 2}, tmp_path / "two")
    assert all(isinstance(value, (int, float)) for record in (*one.history, *two.history) for value in record.values())
    assert one.history != two.history
    (alone,) = fitted("regressor", vectors, DROPOUT | {"seeds": 1}, tmp_path / "one")
    assert all(isinstance(value, (int, float)) for record in alone.history for value in record.values())


def test_a_streamed_file_is_gone_on_with_in_the_middle_of_an_epoch(tmp_path, monkeypatch) -> None:
    import pyarrow.parquet as parquet

    parquet.write_table(vectors(), tmp_path / "rows.parquet", row_group_size=20)
    told = {k: v for k, v in DROPOUT.items() if k != "drop"} | {"stream": True, "drop": ["side", "w"]}

    def begin(folder: Path) -> Any:
        return gnomon.fit("regressor", tmp_path / "rows.parquet", out=folder, epochs=EPOCHS, batch_size=BATCH, progress=False, **told)

    begin(tmp_path / "whole")
    killed_and_resumed(monkeypatch, tmp_path / "parts", begin, lambda folder: gnomon.resume(folder, progress=False), ((2, 2), (6, 7)))
    assert_equal(tmp_path / "whole", tmp_path / "parts")


def test_settings_are_replayed_with_their_types(tmp_path, monkeypatch) -> None:
    told = DROPOUT | {"clip": float("inf"), "betas": (0.8, 0.99), "augment": {"noise": 0.1}, "players": {"model": {"betas": (0.7, 0.9)}}}
    fitted("regressor", vectors, told, tmp_path / "whole")
    killed_and_resumed(
        monkeypatch,
        tmp_path / "parts",
        lambda folder: fitted("regressor", vectors, told, folder),
        lambda folder: gnomon.resume(folder, vectors(), progress=False),
    )
    assert_equal(tmp_path / "whole", tmp_path / "parts")
    said = [json.loads((tmp_path / name / "run.json").read_text())["decisions"] for name in ("whole", "parts")]
    assert said[0] == said[1]


def test_what_the_doctor_saw_before_the_first_turn_is_not_lost(tmp_path, monkeypatch) -> None:
    data = vectors().slice(0, 20)
    data = pa.concat_tables([data] * 4)  # the same rows on both sides of the split

    def begin(folder: Path) -> Any:
        return gnomon.fit(
            "regressor", data, out=folder, **{"validation": 0.25, "epochs": 3, "batch_size": 16, "progress": False}, **REGRESSOR
        )

    whole = begin(tmp_path / "whole")
    assert any("leakage" in line for line in whole.history[0]["doctor"])
    killed_and_resumed(monkeypatch, tmp_path / "parts", begin, lambda folder: gnomon.resume(folder, data, progress=False))
    assert_equal(tmp_path / "whole", tmp_path / "parts")
