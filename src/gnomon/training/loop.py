"""The loop: turns of a game over batches of examples, judged after every epoch, saved so that nothing is lost.

Top to bottom: `run` → `_epoch` → `play`, then `_close_epoch`, `_validate` and the state. It knows neither files of data
nor units; where the batches come from and what a loss is, others say.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

from gnomon.data import Examples, Source
from gnomon.data.seeds import mix
from gnomon.errors import OptionError, RunError, TrainingError
from gnomon.models import Loss
from gnomon.training import garbage, randomness
from gnomon.training.checkpoint import Checkpoint
from gnomon.training.doctor import Doctor
from gnomon.training.dropout import DropoutSchedule
from gnomon.training.game import Game, Side
from gnomon.training.interrupt import orderly
from gnomon.training.loggers import Guarded
from gnomon.training.meter import Meter, Value
from gnomon.training.optimisers import Look
from gnomon.training.progress import Progress
from gnomon.training.schedules import Plateau, Schedule
from gnomon.training.team import Team

LOOK = 0.2  # seconds between looks at the clock's business: progress and saving
SAVE = 10.0  # seconds between saves inside an epoch, at least


@dataclass(frozen=True)
class Plan:
    """How long to play.

    Args:
        epochs: passes over the data.
        schedule: factor on the learning rate at a turn.
        accumulate: batches whose gradients make one move.
        patience: epochs without a better monitored value before the end, or None.
        monitor: the validation quantity that decides "best" (lower is better), or None.
        alter: what is done to every training batch before the model sees it, or None.
        plateau: lowers the learning rate where nothing becomes better, or None.
        dropout: switches dropout on or off, or None.
    """

    epochs: int
    schedule: Schedule
    accumulate: int = 1
    patience: int | None = None
    monitor: str | None = None
    alter: Callable[[Examples], Examples] | None = None
    plateau: Plateau | None = None
    dropout: DropoutSchedule | None = None


class Loop:
    """One game played to its end.

    Args:
        game: what is moved.
        train: where training batches come from.
        validation: where held-out batches come from, or None.
        plan: how long.
        seed: decides the order of examples; random numbers are drawn from the global generator, which the caller has seeded.
        checkpoint: where state and history are kept, or None.
        progress: what the user sees.
        stage: which of the model's stages this is.
        team: the processes that share the fit; only the first one has a checkpoint and progress.
    """

    def __init__(
        self,
        game: Game,
        train: Source,
        validation: Source | None,
        plan: Plan,
        *,
        seed: int,
        checkpoint: Checkpoint | None = None,
        progress: Progress | None = None,
        stage: int = 0,
        team: Team | None = None,
    ) -> None:
        self.game, self.train, self.validation, self.plan, self.seed = game, train, validation, plan, seed
        self.checkpoint, self.stage, self.team = checkpoint, stage, team or Team()
        self.judge = game.loss_of("validate") if validation is not None else None
        if self.team.world > 1 and any(side.optimiser.looks_again for side in game.sides):
            raise OptionError("rules that look at the loss more than once in a step train on one process; start the fit without torchrun")
        self.batches_per_turn = turn_size(game) * plan.accumulate
        self.turns_per_epoch = max(1, train.steps // self.batches_per_turn)
        self.progress = progress or Progress(plan.epochs * self.turns_per_epoch, plan.epochs, show=False)
        self.meter = Meter(game.copies)
        self.history: list[dict[str, Any]] = []
        self.loggers: Sequence[Guarded] = ()
        self.doctor: Doctor | None = None
        self.noted: list[str] = []
        self._clocks = [buffer for name, buffer in game.buffers().items() if name.rpartition(".")[2] == "elapsed"]
        self.epoch = self.turn = self.turn_in_epoch = 0
        self.best = [math.inf] * (game.copies or 1)
        self.stale = [0] * (game.copies or 1)
        self.interrupted = self.diverged = False
        self._last_batch: Examples | None = None
        self._latest: dict[str, float] = {}
        self._save_seconds = 0.0

    def run(self) -> None:
        """Play until the planned epochs are over, patience runs out, the loss diverges or Ctrl-C asks for an end.

        Afterwards the best weights (or the averaged ones, where nothing decides what is best) are in place.

        Raises:
            TrainingError: the loss was never finite.
        """
        for side in self.game.sides:
            self.team.same_start(side.optimiser.parameters)
        if self.checkpoint is not None and self.turn == 0:
            self.save()
        self.progress.start(self.turn)
        self._next_save = time.perf_counter() + SAVE
        try:
            with garbage.frozen(), orderly() as interrupt:
                while self.epoch < self.plan.epochs and not self._out_of_patience():
                    self._epoch(interrupt)
                    if self.diverged or interrupt.asked:
                        break
                    self._close_epoch()
                self.interrupted = interrupt.asked
            self._finish()
        finally:
            self.progress.stop()
            if self.plan.dropout is not None:
                self.plan.dropout.end()

    def _epoch(self, interrupt: Any) -> None:
        """The turns left in this epoch."""
        self.game.train()
        next_look = time.perf_counter() + LOOK
        batches = iter(self.train.batches(self.seed, self.epoch, start=self.turn_in_epoch * self.batches_per_turn))
        while self.turn_in_epoch < self.turns_per_epoch:
            interrupt.asked, self.diverged = self.team.any(interrupt.asked, self.diverged)
            if interrupt.asked or self.diverged:
                return
            group = list(islice(batches, self.batches_per_turn))
            if len(group) < self.batches_per_turn:  # less data than one turn wants: go round
                group = list(islice(cycle(group), self.batches_per_turn))
            self.play(group)
            if time.perf_counter() > next_look:
                self._look()
                next_look = time.perf_counter() + LOOK

    def play(self, group: list[Examples]) -> None:
        """One turn: every player whose turn it is makes its moves on its part of `group`, `batches_per_turn` batches."""
        if self.plan.alter is not None:
            group = [self.plan.alter(batch) for batch in group]
        self._last_batch = group[0]
        watching = self.doctor is not None and self.doctor.due(self.turn)
        if self.plan.dropout is not None:
            self.plan.dropout.set(self.turn)
        for clock in self._clocks:
            clock.fill_(self.turn / (self.plan.epochs * self.turns_per_epoch))
        factor, accumulate = self.plan.schedule(self.turn), self.plan.accumulate
        if self.plan.plateau is not None:
            factor *= self.plan.plateau.factor
        sides = self.game.sides
        for side in sides:
            if self.turn % side.player.every:
                continue
            if len(sides) > 1:
                for other in sides:
                    other.require_gradient(other is side)
            prefix = f"{side.player.name}/" if len(sides) > 1 else ""
            for move in range(side.player.steps):
                batches = group[move * accumulate : (move + 1) * accumulate]
                if watching and move == 0:
                    self._watched_move(side, batches, factor, prefix)
                else:
                    self._move(side, batches, factor, prefix)
        self.turn += 1
        self.turn_in_epoch += 1

    def _watched_move(self, side: Side, batches: list[Examples], factor: float, prefix: str) -> None:
        assert self.doctor is not None
        self.doctor.examine(side, batches[0], factor)
        self._move(side, batches, factor, prefix)
        self.doctor.after_update(side)

    def _move(self, side: Side, batches: list[Examples], factor: float, prefix: str) -> None:
        optimiser = side.optimiser
        if not optimiser.looks_again:
            optimiser.step(factor, self._gradient(side, batches, prefix)[1])
            return
        start, told = randomness.state(self.game.device), [prefix]

        def gradient() -> tuple[Tensor, Tensor]:
            randomness.restore(start, self.game.device)
            return self._gradient(side, batches, told.pop() if told else None)

        def residuals() -> tuple[Tensor, Tensor, Tensor]:
            randomness.restore(start, self.game.device)
            parts = [self.game.residuals(side, batch) for batch in batches]
            values, jacobians, weights = zip(*parts, strict=True)
            return torch.cat(values), torch.cat(jacobians), torch.stack(weights).sum()

        optimiser.move(factor, Look(gradient, residuals))

    def _gradient(self, side: Side, batches: list[Examples], prefix: str | None) -> tuple[Tensor, Tensor]:
        """The gradient of the summed loss into the side's buffer; that sum and its weight. The meter hears of it under `prefix`."""
        side.optimiser.zero_grad()
        total: Tensor | None = None
        weight: Tensor | None = None
        for batch in batches:
            loss: Loss = side.loss(batch)
            self.game.backward(loss.total.sum() if self.game.copies else loss.total)
            total = loss.total.detach() if total is None else total + loss.total.detach()
            weight = loss.weight if weight is None else weight + loss.weight
            if prefix is not None:
                self.meter.add(loss, prefix)
        assert total is not None and weight is not None
        return total, self.team.sum_gradients(side.optimiser.parameters, weight)

    def _look(self) -> None:
        """Show progress; save when the last save is long enough ago."""
        self._check_finite()
        if self.diverged:
            return
        self.progress.update(self.turn, self.epoch, self._latest)
        if self.checkpoint is not None and time.perf_counter() > self._next_save:
            self.save()

    def _close_epoch(self) -> None:
        """Judge the epoch, remember it if it is the best, write it down, save."""
        self._check_finite()
        (self.diverged,) = self.team.any(self.diverged)
        if self.diverged:
            return
        record: dict[str, Any] = {"step": self.turn, "epoch": self.epoch + 1}
        record |= {f"train/{name}": value for name, value in self.meter.means(self.team).items()}
        record |= {f"validation/{name}": value for name, value in self._validate().items()}
        if self.plan.plateau is not None:
            watched = record[f"validation/{self.plan.monitor}" if self.judge and self.plan.monitor else "train/loss"]
            self.plan.plateau.see(sum(watched) / len(watched) if isinstance(watched, list) else watched)
        if self.doctor is not None:
            self._hear_doctor(self.doctor, record)
        self._write_down(record)
        self.meter.clear()
        self.epoch, self.turn_in_epoch = self.epoch + 1, 0
        self.progress.update(self.turn, self.epoch, self._latest)
        last = self.epoch >= self.plan.epochs or self._out_of_patience()
        if self.checkpoint is not None and (last or time.perf_counter() > self._next_save - SAVE / 2):
            self.save(last=last)

    def _hear_doctor(self, doctor: Doctor, record: dict[str, Any]) -> None:
        """Say what is newly found, and write it down beside the epoch's numbers."""
        last = self.epoch + 1 >= self.plan.epochs or self._out_of_patience()
        own = self.history[len(self.history) - self.epoch :]  # earlier stages learned something else
        found = doctor.close_epoch([*own, record], last=last)
        for line in found:
            self.progress.say(f"doctor: {line}")
        if self.noted + found:
            record["doctor"] = self.noted + found
        self.noted = []

    def _validate(self) -> dict[str, Value]:
        """Means over the held-out examples, with averaged weights where these are kept; remembers the best."""
        if self.validation is None or self.judge is None:
            return {}
        meter = Meter(self.game.copies)
        with randomness.borrowed(mix("validation", self.seed), self.game.device), self.game.averaged(), torch.no_grad():
            self.game.train(False)
            for batch in self.validation.batches(self.seed, 0):
                meter.add(self.judge(batch))
            means = meter.means()
            if self.plan.monitor is not None:
                self._compare(means[self.plan.monitor])
        return means

    def _compare(self, value: Value) -> None:
        values = value if isinstance(value, list) else [value]
        better = [
            v < b and (self.plan.patience is None or s < self.plan.patience) for v, b, s in zip(values, self.best, self.stale, strict=True)
        ]
        self.best = [v if yes else b for v, b, yes in zip(values, self.best, better, strict=True)]
        self.stale = [0 if yes else s + 1 for s, yes in zip(self.stale, better, strict=True)]
        if any(better):
            self.game.keep_best(torch.tensor(better, device=self.game.device) if self.game.copies else None)

    def _out_of_patience(self) -> bool:
        return self.plan.patience is not None and all(stale >= self.plan.patience for stale in self.stale)

    def _check_finite(self) -> None:
        """Read the losses; the run has diverged when no copy has a finite one."""
        means = self.meter.means()
        self._latest = {name: sum(v) / len(v) if isinstance(v, list) else v for name, v in means.items() if name.endswith("loss")}
        losses = [v for name, v in means.items() if name.endswith("loss")]
        finite = [[math.isfinite(x) for x in (v if isinstance(v, list) else [v])] for v in losses]
        self.diverged = bool(finite) and not any(all(copy) for copy in zip(*finite, strict=True))

    def _write_down(self, record: dict[str, Any]) -> None:
        self.history.append(record)
        for logger in self.loggers:
            logger.log(record, self.turn)
        shown = {name.partition("/")[2]: v for name, v in record.items() if name == f"validation/{self.plan.monitor}"}
        self._latest |= {f"validation {k}": sum(v) / len(v) if isinstance(v, list) else v for k, v in shown.items()}
        if self.checkpoint is not None:
            try:
                self.checkpoint.append(record)
            except RunError as error:  # the line waits for the next save, and without it there is none
                self.progress.say(str(error))

    def _finish(self) -> None:
        """Put the weights that are given back in place."""
        if self.diverged:
            where = f"the loss is no longer finite in epoch {self.epoch + 1}"
            if self.doctor is not None and self._last_batch is not None:
                where = "; ".join([where, *self.doctor.diverged(self._last_batch)])
            if not any(side.best is not None for side in self.game.sides):
                raise TrainingError(f"{where}; lower lr, set clip, or look for extreme values in the data")
            self.progress.say(f"{where}; the best weights so far are given back. Lower lr or set clip to train on.")
        elif self.interrupted:
            if self.checkpoint is not None:
                self.save(last=True)
            if self.turn_in_epoch:
                self._validate()
        if self.plan.monitor is not None and self.validation is not None:
            self.game.use_best()
        else:
            self.game.use_averages()

    # -- state ------------------------------------------------------------------------------------------------------

    def save(self, *, last: bool = False) -> None:
        """Save everything needed to go on exactly. A failed save is said; the `last` one also raises."""
        assert self.checkpoint is not None
        begin = time.perf_counter()
        tensors, steps = self.game.state()
        tensors |= {f"random/{name}": t for name, t in randomness.state(self.game.device).items()}
        facts = {
            "format": 1, "stage": self.stage, "epoch": self.epoch, "turn": self.turn, "turn_in_epoch": self.turn_in_epoch,
            "steps": steps, "best": self.best, "stale": self.stale, "meter": self.meter.state(), "history": len(self.history),
            "doctor": None if self.doctor is None else self.doctor.state(), "noted": self.noted,
            "plateau": None if self.plan.plateau is None else self.plan.plateau.state(),
        }  # fmt: skip
        try:
            self.checkpoint.save(tensors, facts)
        except RunError as error:
            if last:
                raise
            self.progress.say(str(error))
        spent = time.perf_counter() - begin
        self._next_save = time.perf_counter() + max(SAVE, 50 * spent)

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any], history: list[dict[str, Any]]) -> None:
        """Go on from what `save` wrote. Raises RunError if it does not fit this game."""
        try:
            self.game.load_state(tensors, facts["steps"])
        except (KeyError, RuntimeError) as error:
            raise RunError(f"the saved state does not fit the model ({error}); it was written by another model or version") from error
        randomness.restore({n.removeprefix("random/"): t for n, t in tensors.items() if n.startswith("random/")}, self.game.device)
        self.epoch, self.turn, self.turn_in_epoch = facts["epoch"], facts["turn"], facts["turn_in_epoch"]
        self.best, self.stale, self.history = facts["best"], facts["stale"], history
        self.meter.load_state(facts["meter"])
        if self.plan.plateau is not None:
            self.plan.plateau.load_state(facts["plateau"])
        if self.doctor is not None and facts.get("doctor"):
            self.doctor.load_state(facts["doctor"])
            self.noted = list(facts.get("noted", []))


def turn_size(game: Game) -> int:
    """Groups of batches that one turn takes: those of the player with the most moves."""
    return max(side.player.steps for side in game.sides)
