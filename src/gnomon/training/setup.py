"""One fit, step by step: prepare, split, scale, build, play, hand back. The loop itself is in `loop`.

`fit` and `resume` say what is wanted; here it is done, in the order data flows.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from gnomon import options as option_parsing
from gnomon import registry
from gnomon.data import Examples, Ragged, Source, Spec, Tokens, describe
from gnomon.data.seeds import mix
from gnomon.errors import OptionError, RunError, TrainingError
from gnomon.learned import Learned, runs
from gnomon.models import Model
from gnomon.training import loggers, point_masses, randomness, schedules
from gnomon.training.alterations import Alteration, alterations
from gnomon.training.checkpoint import Checkpoint
from gnomon.training.compiling import decide
from gnomon.training.doctor import Doctor
from gnomon.training.dropout import DropoutSchedule
from gnomon.training.folder import RunFolder
from gnomon.training.game import Game
from gnomon.training.layout import channels_last, wants_channels_last
from gnomon.training.loop import Loop, Plan, turn_size
from gnomon.training.progress import Progress
from gnomon.training.settings import Settings, resolve
from gnomon.training.start import fitted, keep
from gnomon.training.supply import Request, Supply, supply
from gnomon.training.team import join

FIRST_ROWS = 4_000  # of either side that models and the doctor are shown before the first turn
KEPT_BYTES = 2**28
"""Training rows given in memory are kept with the result up to this size, since nothing else could find them again."""


class Fit:
    """One fit, step by step; each step leaves what the next one needs."""

    def __init__(self, model: Any, options: dict[str, Any], data: Any, request: Request, folder: Path | None, progress: bool) -> None:
        self.team, self.device = join(_device(request.device))
        first = self.team.rank == 0
        self.wanted, self.options, self.data, self.request = model, options, data, request
        self.home = folder
        self.start: Learned | None = None
        self.folder, self.show = folder if first else None, progress and first
        self.place = None if self.folder is None else RunFolder(self.folder)
        self.loggers = loggers.make(request.log, self.folder, say=self._say) if first else []
        if self.team.world > 1 and request.seeds is not None:
            raise OptionError("seeds= trains on one process; start it without torchrun")

    def run(self, resumed: dict[str, Any] | None = None, *, overwrite: bool = False) -> Any:
        """Prepare, build, play, hand back; with the `run.json` of an interrupted run, go on with it."""
        with self.place or nullcontext():
            try:
                return self._run(resumed, overwrite)
            except KeyboardInterrupt:
                if self.place is None or not self.place.ours:
                    raise
                raise KeyboardInterrupt(f"interrupted; the last save is kept; go on with: gnomon fit --resume {self.folder}") from None
            finally:
                for logger in self.loggers:
                    logger.finish()

    def _run(self, resumed: dict[str, Any] | None, overwrite: bool) -> Any:
        start = time.perf_counter()
        if self.place is not None:
            self.place.refuse(overwrite) if resumed is None else self.place.take()
        with randomness.borrowed(mix("fit", self.request.seed), self.device):
            models, material, settings = self.prepare(resumed)
            info = self._info(models[0], material, settings)
            if resumed is not None:
                self._refuse_changed_data(info, resumed)
                info["decisions"] = resumed["decisions"] | info["decisions"]
                for logger in self.loggers:
                    logger.start(info)
            else:
                for text in (describe(material.spec), *material.notices):
                    self._say(text)
            history, facts = self._play(models, material, settings, info, resumed)
        before = 0.0 if resumed is None else float((resumed.get("timing") or {}).get("seconds", 0.0))
        info["timing"] = {"seconds": round(before + time.perf_counter() - start, 3)}
        info["decisions"] |= facts
        return self._hand_back(models, material, info, history)

    def prepare(self, resumed: dict[str, Any] | None = None) -> tuple[list[Model], Supply, Settings]:
        """The models, what they learn from, and how; to be called with the random generators borrowed."""
        self.start = start = fitted(self.request.start, self.home if resumed is not None else None)
        material = supply(self.wanted, self.data, self.request, start)
        if start is not None and resumed is None and isinstance(self.wanted, (str, type)):
            self.options = self._kind().options_from(start.model, self.options)
        models = self._build(material.spec)
        if start is not None and not models[0].players():
            raise OptionError(f"{type(models[0]).__name__} learns in closed form, from nothing; leave out start")
        material.scaling.whole = models[0].whole
        edges = material.scaling.edges()
        if edges is not None:
            for model in models:
                model.enclose(*edges)
        rows = material.scaling.forward(material.raw[:FIRST_ROWS])
        for model in models:
            model.begin(rows)
            if start is not None:
                model.adopt(start.model)
        told = point_masses.notices(models[0], material.raw, material.held_out, material.scaling)
        material = replace(material, notices=[*material.notices, *told])
        return models, material, self._settings(models[0], material.rows, resumed)

    # -- model ------------------------------------------------------------------------------------------------------

    def _build(self, spec: Spec) -> list[Model]:
        """The model, or one for each seed, with parameters made on the host."""
        wanted, count = self.wanted, self.request.seeds
        if self.start is not None and not isinstance(wanted, (str, type)):
            raise OptionError("start= needs a model's name or class, not a built model or a factory")
        if isinstance(wanted, Model):
            if count is not None:
                raise OptionError("seeds= needs a model that can be built again: pass its name, class or a factory, not a built model")
            return [wanted.to(self.device)]
        models = []
        for index in range(count or 1):
            randomness.seed(mix("parameters", self.request.seed + index), torch.device("cpu"))
            models.append(self._one(spec).to(self.device))
        return models

    def _kind(self) -> Any:
        """The class or factory that is wanted."""
        return registry.models[self.wanted] if isinstance(self.wanted, str) else self.wanted

    def _one(self, spec: Spec) -> Model:
        kind = self._kind()
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
            return Settings(**option_parsing.parse(Settings, resumed["decisions"]["settings"], name="the run"))
        settings = resolve(self.request.settings, {**model.defaults}, rows)
        if model.separable is False and settings.accumulate > 1:
            raise OptionError(
                f"accumulate={settings.accumulate} would change what {type(model).__name__} learns: its examples act on each other"
            )
        norm = next((type(part).__name__ for part in model.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)), None)
        if norm is not None and settings.accumulate > 1:
            raise OptionError(
                f"accumulate={settings.accumulate} would change what {type(model).__name__} learns: its {norm} looks at one batch at a "
                "time; choose another norm of the network, or a larger batch_size"
            )
        if settings.schedule == "plateau" and len(model.players()) > 1 and model.monitor is None:
            raise OptionError(f"schedule=plateau watches one loss, and {type(model).__name__} has several players and no quality to watch")
        if self.request.compile not in ("auto", "on", "off"):
            raise OptionError(f"compile wants auto, on or off; got {self.request.compile!r}")
        batches = max(1, rows // settings.batch_size)
        if settings.accumulate > batches:
            raise OptionError(f"accumulate={settings.accumulate} wants more batches than an epoch has ({batches}); lower it or batch_size")
        return replace(settings, compile=self.request.compile == "on" and self.request.seeds is None)

    # -- play -------------------------------------------------------------------------------------------------------

    def _begin(self, info: dict[str, Any]) -> None:
        """Start the loggers and make the run's folder, once nothing that was asked for can be refused any more."""
        for logger in self.loggers:
            logger.start(info)
        if self.place is not None:
            self.place.begin(info)
            if self.start is not None:
                keep(self.start, self.place.path)

    def _play(
        self, models: list[Model], material: Supply, settings: Settings, info: dict[str, Any], resumed: dict[str, Any] | None
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Every stage of the model, one after the other."""
        model, seed = models[0], self.request.seed
        if not model.players():
            if resumed is None:
                self._begin(info)
            if material.stream is not None:
                self._say(f"{type(model).__name__} learns in closed form from the sample of {len(material.raw):,} rows")
            for each in models:
                each.solve(material.scaling.forward(material.raw).to(self.device))
                each.eval()
            return [], {"interrupted": False}
        train = material.train(model, settings, self.team)
        validation = material.validation(model, settings, self.team)
        if resumed is None and self.request.compile == "auto" and self.request.seeds is None and self.team.world == 1:
            settings = self._compiling(models, train, settings, info)
        saved = None
        if resumed is not None and self.home is not None and (resumed["weights"] is not None or Checkpoint(self.home).exists()):
            saved = Checkpoint(self.home).load()  # without a state yet, a run begins once more
        history: list[dict[str, Any]] = []
        loop: Loop | None = None
        for index, stage in enumerate(self.stages(models)):
            if saved is not None and index < saved[1]["stage"]:
                continue
            loop = self.loop(stage, train, validation, settings, index)
            loop.history, loop.loggers = history, self.loggers
            if settings.doctor and self.team.rank == 0:
                self._call_doctor(loop, material, settings, speak=saved is None and index == 0)
            if saved is None:
                if index == 0:
                    self._begin(info)
                randomness.seed(mix("play", seed, index, self.team.rank), self.device)
            else:
                loop.load_state(*saved, [] if loop.checkpoint is None else loop.checkpoint.cut_history(saved[1]["history"]))
                if self.team.world > 1:  # only the first process's random state was saved
                    randomness.seed(mix("resumed", seed, loop.turn, self.team.rank), self.device)
                saved = None
            loop.run()
            history = loop.history
            loop.game.release()
            if loop.interrupted or loop.diverged:
                break
        assert loop is not None
        facts = {"interrupted": loop.interrupted, "diverged": loop.diverged, "turns": loop.turn, "best": loop.best}
        return history, facts

    def loop(self, stage: list[Model], train: Source, validation: Source | None, settings: Settings, index: int) -> Loop:
        """The loop that plays one stage, ready to run."""
        together = self.request.seeds is not None
        game = Game(
            stage,
            settings.optimiser(),
            own=settings.own(),
            together=together,
            compiled=settings.compile,
            precision=settings.precision,
        )
        turns = max(1, train.steps // (turn_size(game) * settings.accumulate)) * settings.epochs
        plan = Plan(
            settings.epochs, schedules.make(settings.schedule, turns, warmup=settings.warmup), settings.accumulate, settings.patience,
            stage[0].monitor if validation is not None else None, _alter(settings, stage[0], together),
            schedules.Plateau(settings.plateau_patience) if settings.schedule == "plateau" else None,
            None if settings.dropout_when == "always" else DropoutSchedule(stage, settings.dropout_when, settings.dropout_part, turns),
        )  # fmt: skip
        checkpoint = None if self.folder is None else Checkpoint(self.folder)
        shown = Progress(turns, settings.epochs, show=self.show)
        seed = self.request.seed
        return Loop(game, train, validation, plan, seed=seed, checkpoint=checkpoint, progress=shown, stage=index, team=self.team)

    def _call_doctor(self, loop: Loop, material: Supply, settings: Settings, *, speak: bool) -> None:
        """Let the doctor look at the data, and watch the loop."""
        model = loop.game.model
        loop.doctor = Doctor(
            loop.game, model.spec, seed=self.request.seed, turns=loop.plan.epochs * loop.turns_per_epoch, precision=settings.precision
        )
        rows = material.scaling.forward(material.raw[:FIRST_ROWS]).to(self.device)
        held_out = None
        if material.held_out is not None and material.stream is None:  # the rows known of a streamed file are of both sides
            held_out = material.scaling.forward(material.held_out[:FIRST_ROWS]).to(self.device)
        found = loop.doctor.before(rows, held_out)
        if speak:
            loop.noted = found
            for line in found:
                self._say(f"doctor: {line}")

    def _compiling(self, models: list[Model], train: Source, settings: Settings, info: dict[str, Any]) -> Settings:
        """The settings with the decision whether to compile, which goes to the run's record."""

        def play(compiled: bool) -> Callable[[], object]:
            trial = replace(settings, compile=compiled)
            (stage, *_) = self.stages(copy.deepcopy(models))
            loop = self.loop(stage, train, None, replace(trial, patience=None), 0)
            loop.checkpoint = None
            loop.game.train()
            group = list(islice(cycle(train.batches(self.request.seed, 0)), loop.batches_per_turn))
            return lambda: loop.play(group)

        planned = max(1, train.steps // settings.accumulate) * settings.epochs
        if isinstance(models[0].spec.x, Tokens):  # a scan over other lengths is another graph: the trial would say nothing of the run
            found: dict[str, Any] = {"compile": False, "why": "texts differ in length from batch to batch"}
        else:
            with randomness.borrowed(mix("compiling", self.request.seed), self.device):
                found = decide(play, planned, self.device)
        info["decisions"]["compile"] = found
        info["decisions"]["settings"]["compile"] = found["compile"]
        if found["compile"]:
            self._say(f"losses are compiled: {found['why']}")
        return replace(settings, compile=found["compile"])

    def stages(self, models: list[Model]) -> Any:
        """For each stage, the games of all models; a single model may have several stages."""
        if len(models) == 1:
            return ([stage] for stage in models[0].stages())
        return zip(*(model.stages() for model in models), strict=True)

    # -- result -----------------------------------------------------------------------------------------------------

    def _info(self, model: Model, material: Supply, settings: Settings) -> dict[str, Any]:
        """What `run.json` says, all but the weights."""
        recipe = runs.describe_model(model) | {"fit": runs.plain(self.request.plain(self.data))}
        if isinstance(self.wanted, str):
            recipe["model"] = self.wanted
        return {
            "recipe": recipe,
            "spec": material.spec.to_json(),
            **material.facts,
            "seed": self.request.seed,
            "decisions": {"settings": runs.plain(settings.plain()), "device": str(self.device)},
        }

    def _refuse_changed_data(self, info: dict[str, Any], resumed: dict[str, Any]) -> None:
        if info["data"]["sha256"] != resumed["data"]["sha256"]:
            raise RunError(
                f"the data changed since run '{self.folder}' began ({resumed['data']['rows']} rows then, {info['data']['rows']} now); "
                "resume with the same data, or fit again"
            )

    def _hand_back(self, models: list[Model], material: Supply, info: dict[str, Any], history: list[dict[str, Any]]) -> Any:
        """The Learned of each model, calibrated and saved."""
        learned = []
        for index, model in enumerate(models):
            own = info | {"seed": self.request.seed + index}
            one = Learned(model, material.scaling, own, history=history if self.request.seeds is None else _history_of(history, index))
            if material.held_out is not None:
                one.calibrate(material.held_out, material.raw)
            one.training = _kept(material) if "sample" in one.abilities else None
            learned.append(one)
        if self.folder is not None:
            best = info["decisions"].get("best") or [0.0]
            first = min(range(len(learned)), key=lambda i: best[i] if i < len(best) else 0.0)
            if self.request.seeds is not None and history:
                Checkpoint(self.folder).keep_histories(history)
            learned[first].save(self.folder, overwrite=True)
            if len(learned) > 1:
                for index, one in enumerate(learned):
                    one.save(self.folder / f"seed-{self.request.seed + index}", overwrite=True)
        return learned if self.request.seeds is not None else learned[0]

    def _say(self, text: str) -> None:
        Progress(1, 1, show=self.show).say(text)


def _alter(settings: Settings, model: Model, together: bool) -> Alteration | None:
    """What is done to every training batch: what the settings ask for, then the layout in memory that convolutions like."""
    asked = alterations(model.spec, augment=settings.augment, mixup=settings.mixup, cutmix=settings.cutmix, drop_given=settings.drop_given)
    if together or not wants_channels_last(model):
        return asked
    return channels_last if asked is None else lambda batch: channels_last(asked(batch))


def _kept(material: Supply) -> Examples | None:
    """The training rows, if they came from memory and are not large: checks compare generated rows with them. They are never saved."""
    tensors = [part.values if isinstance(part, Ragged) else part for _, part in material.raw.roles()]
    large = sum(tensor.nbytes for tensor in tensors) > KEPT_BYTES
    return None if large or material.facts["data"]["path"] is not None else material.raw


def _history_of(history: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    """One model's lines out of the history of several trained together."""
    return [
        {key: value[index] if isinstance(value, list) and key != "doctor" else value for key, value in record.items()} for record in history
    ]


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
