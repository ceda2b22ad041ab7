"""The doctor: looks at a fit now and then, and speaks only when something is wrong.

What is looked at, and what counts as wrong, is said in the files beside this one; here looks are taken and findings handed on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gnomon.data import Examples, Spec
from gnomon.data.seeds import mix
from gnomon.training.doctor import before, curves, nonfinite, principles, rates
from gnomon.training.doctor.findings import Findings
from gnomon.training.doctor.looks import Looks
from gnomon.training.doctor.probe import Probe, Prober, lengths
from gnomon.training.doctor.rates import Level, Step
from gnomon.training.game import Game, Side

TURNS = frozenset(6**k - 1 for k in range(16))
PROBE = 256  # rows that are kept: for progress, samples and codes
PROGRESS_ROWS = 128  # of these, on which progress is measured
CHUNKS = 4
LATE = 299  # turns after which samples and codes are judged; earlier they may be anything
FEWEST = 99  # … or at the end of shorter fits, after so many
PROGRESS = 0.01  # of the first loss: below, chance would do as well
RISEN = 0.2  # of the first loss: above that the fit has done harm
NOTICED = 0.05  # of the first loss: a rate with which it fell so far is not called too low
CAUSES = (
    "dead", "saturated", "vanishing", "exploding", "unreached", "rate", "low", "loss", "reach", "shapes", "finite", "constant", "inputs",
    "targets", "outputs", "posterior",
)  # fmt: skip
"""Findings that explain by themselves why nothing was learned."""


class Doctor:
    """Watches one fit. What it does leaves weights, buffers, gradients, random numbers and optimisers as they are.

    Of several models trained together (`seeds`) the first is looked at. Compiled losses are looked at uncompiled.

    Args:
        game: what is trained.
        spec: what the data is.
        seed: of the random numbers that looks draw.
        turns: how many are planned, if that is known.
        precision: "float32", or "bfloat16" for autocast.

    Attributes:
        notes: what is worth knowing and no fault: rare classes, constant columns, a loss that cannot be looked at.
    """

    def __init__(self, game: Game, spec: Spec, *, seed: int = 0, turns: int | None = None, precision: str = "float32") -> None:
        self.game, self.spec, self.turns = game, spec, turns
        self.notes: list[str] = []
        self.prober = Prober(game, seed=mix("doctor", seed), precision=precision)
        self.findings = Findings()
        self.looks = Looks(self.findings, self.prober.layers)
        self._retired = False
        self._rivals = len(game.sides) > 1
        self._levels: dict[str, Level] = {}
        self._chunks: list[float] = []
        self._steps: dict[str, list[Step]] = {}
        self._turn = self._looked = self._tried = -1
        self._probe: Examples | None = None
        self._kept: dict[str, tuple[Tensor, Examples, Probe, float]] = {}

    # -- what the loop calls ------------------------------------------------------------------------------------------

    def before(self, train: Examples, held_out: Examples | None = None) -> list[str]:
        """Look at the data before the first turn; also on resume, where `load_state` follows.

        Args:
            train: training rows in network space on the game's device; a few thousand tell most.
            held_out: held-out rows, likewise.
        """
        for kind, text in before.faults(self.spec, train, held_out):
            self.findings.say(kind, text)
        self.notes = before.notes(self.spec, train)
        self._probe = train[:PROBE]
        if not self._rivals and len(train):
            self._chunks = self._losses()
            if self._chunks:  # one row cannot be cut into parts
                self._levels[self.game.sides[0].player.name] = Level.of(self._chunks)
        return self.findings.take()

    def due(self, turn: int) -> bool:
        """Whether to look before this turn: at 0, 5, 35, 215, 1295, …"""
        self._turn = turn
        if turn in TURNS:
            self._looked = turn
            return True
        return False

    def examine(self, side: Side, batch: Examples, factor: float) -> None:
        """Look at one player on a batch before its update; `after_update` completes the look.

        Args:
            side: the player.
            batch: on which it is about to move.
            factor: of the schedule.
        """
        name = side.player.name
        self._kept.pop(name, None)
        if self._retired:
            return
        try:
            probe = self.prober.look(side, batch)
        except RuntimeError as error:
            # The loop is about to compute the same loss: what is wrong with it is said there, and what only hinders looking
            # (scripted modules, no memory for a second graph) must not end a fit.
            self._retired = True
            self.notes.append(
                f"the doctor cannot look at the loss of {type(self.game.model).__name__} and has stopped: {str(error).splitlines()[0]}"
            )
            return
        if not probe.finite:
            self._not_finite(side, batch, probe)
            return
        self._levels.setdefault(name, Level(probe.loss, 0.5 * abs(probe.loss)))
        self._judge(side, probe)
        self._kept[name] = (self._flat(side).clone(), batch, probe, factor)

    def after_update(self, side: Side) -> None:
        """Look at what the update did to the weights and to the loss on the examined batch."""
        name = side.player.name
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        steps = self._steps.setdefault(name, [])
        steps.append(self._step(side, *kept))
        del steps[:-3]
        line = rates.too_high(steps, self._levels[name], side.optimiser.options.lr, rivals=self._rivals)
        if line is not None:
            self.findings.say("rate", line, player=self._named(side))

    def close_epoch(self, history: Sequence[Mapping[str, Any]], *, last: bool = False) -> list[str]:
        """New findings, one line each, every one said once.

        Args:
            history: records of all epochs so far.
            last: whether this was the last epoch; the model is then looked at once more.
        """
        if not self._retired and (last or _milestone(len(history))):
            if last:
                self._last_look()
            self._judge_rates(history)
            if not self._rivals:
                self._judge_curves(history, last)
            # Samples are dear: they are drawn after three times as many turns as the time before, and at the end.
            if (self._turn >= max(LATE, 3 * self._tried)) or (last and self._turn >= FEWEST):
                self._tried = self._turn
                self._judge_principle(history, last)
        return self.findings.take()

    def diverged(self, batch: Examples) -> list[str]:
        """What can be said of a loss that is no longer finite, on one of the last batches: call before giving up."""
        for side in self.game.sides:
            probe = self.prober.look(side, batch)
            if not probe.finite:
                self._not_finite(side, batch, probe)
        return self.findings.take()

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that was seen, as JSON values, so that a resumed fit says the same."""
        return {
            "turn": self._turn, "looked": self._looked, "tried": self._tried,
            "findings": self.findings.state(), "looks": self.looks.state(), "chunks": self._chunks,
            "levels": {name: vars(level) for name, level in self._levels.items()},
            "steps": {name: [vars(step) for step in steps] for name, steps in self._steps.items()},
        }  # fmt: skip

    def load_state(self, facts: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.findings.load_state(facts["findings"])
        self.looks.load_state(facts["looks"])
        self._turn, self._looked, self._tried = facts["turn"], facts["looked"], facts["tried"]
        self._chunks = list(facts["chunks"])
        self._levels = {name: Level(**level) for name, level in facts["levels"].items()}
        self._steps = {name: [Step(**step) for step in steps] for name, steps in facts["steps"].items()}

    # -- judging ------------------------------------------------------------------------------------------------------

    def _judge(self, side: Side, probe: Probe) -> None:
        layer = self._still_zero(side, probe) if self._turn >= 2 else None
        if layer is not None:  # it explains everything else that could be seen
            text = f"zero weights: those of layer '{layer}' are all zero and stay so, since no gradient passes; draw them at random"
            self.findings.say("unreached", text, player=self._named(side))
            return
        level = self._levels.get(side.player.name)
        stuck = level is not None and probe.loss > level.value - 0.05 * abs(level.value)
        self.looks.judge(probe, self._turn, player=self._named(side), stuck=stuck)

    def _still_zero(self, side: Side, probe: Probe) -> str | None:
        """The first layer whose weights are exactly zero after two updates and have an exactly zero gradient, or None."""
        if all(probe.sizes.values()):
            return None
        for name, weight in self._views(side, self._flat(side)).items():
            gradient = probe.gradients.get(name)
            if weight.ndim >= 2 and weight.numel() > 1 and gradient is not None and not gradient.any() and not weight.any():
                return self.prober.layers.get(name, name)
        return None

    def _judge_rates(self, history: Sequence[Mapping[str, Any]]) -> None:
        for side in self.game.sides:
            name, rate = side.player.name, side.optimiser.options.lr
            line = rates.too_low(self._steps.get(name, []), rate, self.turns, rivals=self._rivals)
            known = self.findings.has("dead", "saturated", "vanishing", "unreached", "rate", "finite")
            if line is not None and not known and (self._rivals or self._gain() < NOTICED):
                self.findings.say("low", line, player=self._named(side))
            level = self._levels.get(name)
            if not self._rivals and level is not None and rates.ratios_above(self._steps.get(name, []), rates.STILL):
                # On the very rows on which it was measured before: means over other rows differ by chance.
                if curves.above(history, "train/loss", level.high) and self._gain() < -RISEN:
                    now = float(curves.series(history, "train/loss")[-1])
                    text = (
                        f"the learning rate {rate:g} is too high: the training loss stands at {now:.4g}, above the "
                        f"{level.value:.4g} before the "
                        "first step; lower lr tenfold"
                    )
                    self.findings.say("rate", text)

    def _judge_curves(self, history: Sequence[Mapping[str, Any]], last: bool) -> None:
        level = self._levels.get(self.game.sides[0].player.name)
        first = None if level is None else level.value
        text = curves.overfitting(history, first=first) or (curves.by_heart(history, first=first) if last else None)
        if text is not None:
            self.findings.say("overfitting", text)
        if not last or self._turn < 29 or self.findings.has(*CAUSES):
            return
        values = curves.series(history, "train/loss")
        jumped = curves.jumps(history, "train/loss")
        rate = self.game.sides[0].optimiser.options.lr
        if self._nothing_learned():
            text = (
                f"plateau: after {self._turn + 1:,} turns the loss on training rows is what it was at the start "
                f"({_mean(self._chunks):.4g}); try a "
                "higher lr, another initialisation, or see whether x tells anything about the target"
            )
            self.findings.say("plateau", text)
        elif jumped is not None and values[-1] > 0.5 * (values.max() + values.min()):
            self.findings.say(
                "rate", f"the training loss jumped up in epoch {jumped} and stayed up: the learning rate {rate:g} is too high; lower lr"
            )
        elif curves.steady(values):
            text = (
                f"the training loss fell as fast at the end as at the start (from {values[0]:.4g} to {values[-1]:.4g}): the "
                f"learning rate {rate:g} "
                "is too low or the fit too short; raise lr or train for more epochs"
            )
            self.findings.say("low", text)

    def _judge_principle(self, history: Sequence[Mapping[str, Any]], last: bool) -> None:
        if self._probe is None:
            return
        with self.game.averaged():
            first = {name: level.value for name, level in self._levels.items()}
            found = dict(principles.faults(self.prober, self._probe, history, first))
        for kind in principles.KINDS:
            sure = self.findings.twice(f"principle {kind}", kind in found) or last or kind == "inversion"
            if kind in found and sure:
                self.findings.say(kind, found[kind])

    def _not_finite(self, side: Side, batch: Examples, probe: Probe) -> None:
        if self.findings.has("finite", "rate"):
            return
        steps = self._steps.get(side.player.name, [])
        rate = side.optimiser.options.lr
        if steps and (not steps[-1].rise <= rates.OVERSHOT or steps[-1].ratio > 1):
            self.findings.say("rate", rates.blown_up(steps[-1], rate), player=self._named(side))
        else:
            self.findings.say("finite", nonfinite.culprit(self.prober, side, batch, probe, max(0, self._turn)), player=self._named(side))

    def _last_look(self) -> None:
        """One more look at every player, on rows kept from the start, if the one before is long past."""
        if self._probe is None or len(self._probe) < 16 or self._turn + 1 < 1.5 * (self._looked + 1):
            return
        for side in self.game.sides:
            probe = self.prober.look(side, self._probe[: PROGRESS_ROWS // 2])
            if probe.finite:
                self._judge(side, probe)

    # -- measuring ----------------------------------------------------------------------------------------------------

    def _step(self, side: Side, old: Tensor, batch: Examples, probe: Probe, factor: float) -> Step:
        """What the update did: weights against those kept, the loss on the same batch with the same random numbers."""
        moved = self._flat(side) - old
        steps, weights = self._views(side, moved), self._views(side, old)
        names = [name for name, weight in weights.items() if weight.ndim >= 2] or list(weights)
        read = lengths([*(steps[n] for n in names), *(weights[n] for n in names), moved])
        gone, sizes = read[: len(names)], read[len(names) : -1]
        relative = [a / b if b > 0 else 0.0 for a, b in zip(gone, sizes, strict=True)]
        largest = names[max(range(len(names)), key=relative.__getitem__)]
        reach = math.hypot(*probe.sizes.values()) * read[-1]
        (after,) = self.prober.losses(side, [batch])
        return Step(
            turn=self._turn,
            before=probe.loss,
            after=after,
            rise=(after - probe.loss) / reach if reach > 0 else 0.0,
            ratio=math.hypot(*gone) / max(math.hypot(*sizes), 1e-30),
            factor=factor,
            largest=self.prober.layers.get(largest, largest),
        )

    def _flat(self, side: Side) -> Tensor:
        """The flat weights of the model that is looked at, ``(1, size)``."""
        return side.data[:1]

    def _views(self, side: Side, flat: Tensor) -> dict[str, Tensor]:
        parameters = side.optimiser.parameters
        copies = self.game.copies
        views = parameters.views(flat if copies is None else flat.expand(copies, -1))
        return views if copies is None else {name: view[0] for name, view in views.items()}

    def _losses(self) -> list[float]:
        """The loss on each part of the rows kept from the start."""
        if self._probe is None:
            return []
        rows = self._probe[:PROGRESS_ROWS]
        size = max(2, math.ceil(len(rows) / CHUNKS))
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        return self.prober.losses(self.game.sides[0], [part for part in parts if len(part) > 1])

    def _nothing_learned(self) -> bool:
        """Whether the loss on the rows kept from the start fell neither in all parts nor by much."""
        gains = [a - b for a, b in zip(self._chunks, self._losses(), strict=True)]
        return bool(gains) and not all(g > 0 for g in gains) and _mean(gains) < PROGRESS * abs(_mean(self._chunks))

    def _gain(self) -> float:
        """By how much of its first value the loss on the rows kept from the start has fallen."""
        if not self._chunks:
            return 0.0
        return (_mean(self._chunks) - _mean(self._losses())) / max(abs(_mean(self._chunks)), 1e-30)

    def _named(self, side: Side) -> str:
        return side.player.name if self._rivals else ""


def _milestone(epochs: int) -> bool:
    """Whether curves are read after so many epochs: at numbers that grow by a fifth."""
    return epochs <= 5 or math.floor(math.log(epochs) / math.log(1.2)) > math.floor(math.log(epochs - 1) / math.log(1.2))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
