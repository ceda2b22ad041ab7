"""One fit, step by step: prepare, split, scale, build, play, hand back. The loop itself is in `loop`.

`fit` and `resume` say what is wanted; here it is done, in the order data flows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gnomon import options as option_parsing
from gnomon import registry, runs
from gnomon.data import Examples, InMemory, Prepared, Scaling, Spec, fingerprint, prepare, split
from gnomon.data.seeds import mix
from gnomon.errors import DataError, OptionError, RunError, TrainingError
from gnomon.learned import Learned
from gnomon.models import Model
from gnomon.training import randomness, schedules
from gnomon.training.checkpoint import STATE, Checkpoint
from gnomon.training.game import Game
from gnomon.training.loop import Loop, Plan, turn_size
from gnomon.training.progress import Progress
from gnomon.training.settings import Settings, resolve
from gnomon.training.team import join

VALIDATION_BATCH = 512


@dataclass(frozen=True)
class Request:
    """What the user asked for, as it is written to the run and replayed on resume."""

    reading: dict[str, Any]
    validation: Any
    group: str | None
    time: str | None
    settings: dict[str, Any]
    compile: str
    seed: int
    seeds: int | None
    device: str | None

    def plain(self, data: Any) -> dict[str, Any]:
        """JSON values; data in memory are left out."""
        own = not isinstance(self.validation, (int, float))
        values = {**vars(self), "data": _path(data), "own_validation": own}
        if own:
            values["validation"] = _path(self.validation)
        return values


class Fit:
    """One fit, step by step; each step leaves what the next one needs."""

    def __init__(self, model: Any, options: dict[str, Any], data: Any, request: Request, folder: Path | None, progress: bool) -> None:
        self.team, self.device = join(_device(request.device))
        first = self.team.rank == 0
        self.wanted, self.options, self.data, self.request = model, options, data, request
        self.home = folder
        self.folder, self.show = folder if first else None, progress and first
        if self.team.world > 1 and request.seeds is not None:
            raise OptionError("seeds= trains on one process; start it without torchrun")

    def claim_folder(self, overwrite: bool) -> None:
        """Make the run folder; an existing run is refused, or emptied if it may be overwritten."""
        if self.folder is not None:
            _empty_folder(self.folder, overwrite)

    def run(self, resumed: dict[str, Any] | None = None) -> Any:
        """Prepare, build, play, hand back; with the `run.json` of an interrupted run, go on with it."""
        start = time.perf_counter()
        prepared, held_out = self._prepare()
        scaling = Scaling.fit(prepared.spec, prepared.raw)
        for notice in [*prepared.notices, *scaling.notices]:
            self._say(notice)
        with randomness.borrowed(mix("fit", self.request.seed), self.device):
            models = self._build(prepared.spec)
            settings = self._settings(models[0], len(prepared.raw), resumed)
            info = self._info(models[0], prepared, settings, held_out)
            if resumed is not None:
                self._refuse_changed_data(info, resumed)
            elif self.folder is not None:
                runs.write_info(self.folder, info)
            history, facts = self._play(models, prepared.raw, held_out, scaling, settings, resumed)
        info["timing"] = {"seconds": round(time.perf_counter() - start, 3)}
        info["decisions"] |= facts
        return self._hand_back(models, scaling, info, history, held_out)

    # -- data -------------------------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[Prepared, Examples | None]:
        """The training rows, and the held-out rows."""
        request, model = self.request, self.wanted
        spec = model.spec if isinstance(model, Model) else None
        kind = registry.models[model] if isinstance(model, str) else model
        reading = dict(request.reading)
        if request.group is not None:
            reading["drop"] = [*reading["drop"], request.group]
        prepared = prepare(self.data, spec=spec, wanted=getattr(kind, "target", None), **reading)
        rows = len(prepared.raw)
        self.fingerprint = fingerprint(prepared.raw)
        self.rows = rows
        self.source = prepared.source
        if isinstance(request.validation, (int, float)) and not isinstance(request.validation, bool):
            fraction = float(request.validation)
            if not 0.0 <= fraction < 1.0:
                raise OptionError(f"validation must be a share from 0 to below 1, or data; got {request.validation}")
            if fraction == 0.0:
                return self._weighted(prepared, slice(None)), None
            how, values = self._how(prepared)
            train, held = split(rows, fraction, seed=mix("split", request.seed), how=how, values=values)
            self.split = {
                "how": how,
                "by": request.group or request.time,
                "fraction": fraction,
                "train": len(train),
                "validation": len(held),
            }
            if len(train) == 0 or len(held) == 0:
                raise DataError(f"{rows} rows cannot be split with validation={fraction}; give more rows or validation=0")
            return self._weighted(prepared, train), self._weighted(prepared, held).raw
        held_out = prepare(request.validation, spec=prepared.spec, missing=reading["missing"])
        self.split = {"how": "own", "by": None, "fraction": None, "train": rows, "validation": len(held_out.raw)}
        return self._weighted(prepared, slice(None)), self._weighted(held_out, slice(None)).raw

    split: dict[str, Any] | None = None

    def _how(self, prepared: Prepared) -> tuple[str, Any]:
        """How rows are split, and by which values."""
        for how, column in (("group", self.request.group), ("time", self.request.time)):
            if column is not None:
                if prepared.table is None or column not in prepared.table.column_names:
                    known = [] if prepared.table is None else prepared.table.column_names
                    raise DataError(option_parsing.unknown("column", column, known) + f" ({how}=)")
                return how, prepared.table[column].to_numpy(zero_copy_only=False)
        y = prepared.raw.y
        if isinstance(y, Tensor) and y.dtype == torch.int64 and y.ndim == 1:
            return "stratified", y.numpy()
        return "random", None

    @staticmethod
    def _weighted(prepared: Prepared, rows: Any) -> Prepared:
        """Those rows, their weights scaled to mean 1."""
        raw = prepared.raw[rows]
        if raw.weight is not None:
            mean = raw.weight.mean()
            if not mean > 0:
                raise DataError(f"the weights of one side of the split sum to {float(raw.weight.sum()):.4g}; they must sum to more than 0")
            raw = raw.with_(weight=raw.weight / mean)
        return replace(prepared, raw=raw)

    # -- model ------------------------------------------------------------------------------------------------------

    def _build(self, spec: Spec) -> list[Model]:
        """The model, or one for each seed, with parameters made on the host."""
        wanted, count = self.wanted, self.request.seeds
        if isinstance(wanted, Model):
            if count is not None:
                raise OptionError("seeds= needs a model that can be built again: pass its name, class or a factory, not a built model")
            return [wanted.to(self.device)]
        models = []
        for index in range(count or 1):
            randomness.seed(mix("parameters", self.request.seed + index), torch.device("cpu"))
            models.append(self._one(spec).to(self.device))
        return models

    def _one(self, spec: Spec) -> Model:
        kind = registry.models[self.wanted] if isinstance(self.wanted, str) else self.wanted
        name = self.wanted if isinstance(self.wanted, str) else getattr(kind, "__name__", "the model")
        if isinstance(kind, type):
            return kind(spec, **option_parsing.parse(kind, self.options, name=name))
        if self.options:
            raise OptionError("options= go with a model's name or class; a factory sets its own")
        made = kind(spec)
        if not isinstance(made, Model):
            raise OptionError(f"the factory must return a gnomon Model; got {type(made).__name__}")
        return made

    def _settings(self, model: Model, rows: int, resumed: dict[str, Any] | None) -> Settings:
        if resumed is not None:
            return Settings(**_tuples(resumed["decisions"]["settings"]))
        settings = resolve(self.request.settings, {**model.defaults}, rows)
        if settings.drop_given and model.spec.given is None:
            raise OptionError("drop_given needs a condition: name its columns with given=")
        if model.separable is False and settings.accumulate > 1:
            raise OptionError(
                f"accumulate={settings.accumulate} would change what {type(model).__name__} learns: its examples act on each other"
            )
        if self.request.compile not in ("auto", "on", "off"):
            raise OptionError(f"compile wants auto, on or off; got {self.request.compile!r}")
        planned = settings.epochs * max(1, rows // settings.batch_size)
        compiled = self.request.compile == "on" or (self.request.compile == "auto" and self.device.type == "cuda" and planned >= 2000)
        return replace(settings, compile=compiled and self.request.seeds is None)

    # -- play -------------------------------------------------------------------------------------------------------

    def _play(
        self,
        models: list[Model],
        raw: Examples,
        held_out: Examples | None,
        scaling: Scaling,
        settings: Settings,
        resumed: dict[str, Any] | None,
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Every stage of the model, one after the other."""
        model, seed = models[0], self.request.seed
        if not model.players():
            for each in models:
                each.solve(scaling.forward(raw).to(self.device))
                each.eval()
            return [], {"interrupted": False}
        train = InMemory(
            scaling.store(raw).to(self.device),
            scaling,
            batch_size=settings.batch_size,
            dequantises=model.dequantises,
            rank=self.team.rank,
            world=self.team.world,
        )
        validation = None
        if held_out is not None and model.monitor is not None:
            size = max(settings.batch_size, VALIDATION_BATCH)
            validation = InMemory(
                scaling.store(held_out).to(self.device), scaling, batch_size=size, dequantises=model.dequantises, shuffle=False
            )
        checkpoint = None if self.folder is None else Checkpoint(self.folder)
        saved = None if resumed is None or self.home is None else Checkpoint(self.home).load()
        history: list[dict[str, Any]] = []
        loop: Loop | None = None
        for index, stage in enumerate(self._stages(models)):
            if saved is not None and index < saved[1]["stage"]:
                continue
            game = Game(
                stage,
                settings.optimiser(),
                together=self.request.seeds is not None,
                compiled=settings.compile,
                precision=settings.precision,
            )
            turns = max(1, train.steps // (turn_size(game) * settings.accumulate)) * settings.epochs
            plan = Plan(
                settings.epochs, schedules.make(settings.schedule, turns, warmup=settings.warmup), settings.accumulate, settings.patience,
                stage[0].monitor if validation is not None else None, _hide_given(settings.drop_given),
            )  # fmt: skip
            shown = Progress(turns, settings.epochs, show=self.show)
            loop = Loop(game, train, validation, plan, seed=seed, checkpoint=checkpoint, progress=shown, stage=index, team=self.team)
            loop.history = history
            if saved is None:
                randomness.seed(mix("play", seed, index, self.team.rank), self.device)
            else:
                loop.load_state(*saved, [] if checkpoint is None else checkpoint.cut_history(saved[1]["history"]))
                if self.team.world > 1:  # only the first process's random state was saved
                    randomness.seed(mix("resumed", seed, loop.turn, self.team.rank), self.device)
                saved = None
            loop.run()
            history = loop.history
            game.release()
            if loop.interrupted or loop.diverged:
                break
        assert loop is not None
        facts = {"interrupted": loop.interrupted, "diverged": loop.diverged, "turns": loop.turn, "best": loop.best}
        return history, facts

    def _stages(self, models: list[Model]) -> Any:
        """For each stage, the games of all models; a single model may have several stages."""
        if len(models) == 1:
            return ([stage] for stage in models[0].stages())
        return zip(*(model.stages() for model in models), strict=True)

    # -- result -----------------------------------------------------------------------------------------------------

    def _info(self, model: Model, prepared: Prepared, settings: Settings, held_out: Examples | None) -> dict[str, Any]:
        """What `run.json` says, all but the weights."""
        recipe = runs.describe_model(model) | {"fit": runs.plain(self.request.plain(self.data))}
        if isinstance(self.wanted, str):
            recipe["model"] = self.wanted
        return {
            "recipe": recipe,
            "spec": prepared.spec.to_json(),
            "split": None if self.split is None else {**self.split, "seed": self.request.seed},
            "seed": self.request.seed,
            "data": {"path": _path(self.data), "rows": self.rows, "sha256": self.fingerprint},
            "decisions": {"settings": runs.plain(settings.plain()), "device": str(self.device)},
        }

    def _refuse_changed_data(self, info: dict[str, Any], resumed: dict[str, Any]) -> None:
        if info["data"]["sha256"] != resumed["data"]["sha256"]:
            raise RunError(
                f"the data changed since run '{self.folder}' began ({resumed['data']['rows']} rows then, {info['data']['rows']} now); "
                "resume with the same data, or fit again"
            )

    def _hand_back(
        self, models: list[Model], scaling: Scaling, info: dict[str, Any], history: list[dict[str, Any]], held_out: Examples | None
    ) -> Any:
        learned = []
        for index, model in enumerate(models):
            own = info | {"seed": self.request.seed + index}
            one = Learned(model, scaling, own, history=_history_of(history, index) if len(models) > 1 else history)
            if held_out is not None:
                one.calibrate(held_out)
            learned.append(one)
        if self.folder is not None:
            best = info["decisions"].get("best") or [0.0]
            first = min(range(len(learned)), key=lambda i: best[i] if i < len(best) else 0.0)
            learned[first].save(self.folder, overwrite=True)
            if len(learned) > 1:
                for index, one in enumerate(learned):
                    one.save(self.folder / f"seed-{index}", overwrite=True)
        return learned if self.request.seeds is not None else learned[0]

    def _say(self, text: str) -> None:
        Progress(1, 1, show=self.show).say(text)


def _hide_given(share: float) -> Callable[[Examples], Examples] | None:
    """What hides the whole condition of a random `share` of the examples of a batch."""
    if not share:
        return None

    def alter(batch: Examples) -> Examples:
        given = batch.given
        assert given is not None
        hidden = torch.rand((len(given), 1), device=given.device) < share
        return batch.with_(given=torch.where(hidden, torch.nan, given))

    return alter


def _history_of(history: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    """One model's lines out of the history of several trained together."""
    return [{key: value[index] if isinstance(value, list) else value for key, value in record.items()} for record in history]


def _empty_folder(folder: Path, overwrite: bool) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise RunError(f"'{folder}' exists and is not empty; choose another folder, pass overwrite, or resume the run in it")
        if not runs.is_run(folder):
            raise RunError(f"'{folder}' is not a run folder, so it is not overwritten; choose another folder")
        for name in (runs.RUN, runs.WEIGHTS, runs.HISTORY, STATE):
            (folder / name).unlink(missing_ok=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder '{folder}': {error.strerror or error}") from error


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"device '{name}' is not known; use cpu or cuda") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise TrainingError(f"device '{name}' is not available here; use cpu" + (" or cuda" if torch.cuda.is_available() else ""))
    return device


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _path(data: Any) -> str | None:
    return os.fspath(data) if isinstance(data, (str, os.PathLike)) else None
