"""What a fit can be told beside data and model, and how what was left out is filled in.

Explicit values win over the model's own defaults, these over the general ones. All that was decided is written to the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from gnomon import options
from gnomon.blocks.augmentation import parse_augment
from gnomon.errors import OptionError
from gnomon.training.optimisers import OptimiserOptions
from gnomon.training.optimisers.options import RATES, WHOLE_DATA, refuse_idle
from gnomon.training.schedules import SCHEDULES

STEPS = 6000  # a fit that is told nothing plans about this many steps …
EPOCHS = (10, 500)  # … within these numbers of epochs


@dataclass(frozen=True, kw_only=True)
class Settings(OptimiserOptions):
    """Resolved settings of one fit; the optimiser's among them.

    Args:
        epochs: passes over the training rows.
        batch_size: examples per batch.
        schedule: how the learning rate changes: a key of `schedules.SCHEDULES`.
        warmup: steps of linear rise before the schedule's full rate, at most a quarter of all.
        plateau_patience: with schedule="plateau", epochs without improvement before the rate is halved.
        patience: epochs without improvement before the end, or None.
        accumulate: batches per move; together they are one big batch, but for what is drawn at random in each.
        drop_given: share of training examples whose condition is hidden, so that the model also learns to do without.
        augment: random changes of the training examples and their strengths, as in {"flip": True, "rotate": 15} or "flip,rotate=15".
        mixup: parameter of the Beta distribution by which pairs of examples are mixed, 0 for none.
        cutmix: the same, for images that get a rectangle of another.
        dropout_when: "always", or only "early" or "late" in the training.
        dropout_part: share of the steps at which early dropout ends or late dropout begins.
        players: options of the optimiser that are another's for one player, as in {"critic": {"lr": 1e-4}}.
        doctor: whether a probe batch is examined now and then for what goes wrong.
        precision: "float32", or "bfloat16" for mixed precision.
        compile: whether losses are compiled.

    Raises:
        OptionError: a value out of range.
    """

    epochs: int
    batch_size: int
    schedule: Literal[
        "constant", "cosine", "linear", "one-cycle", "exponential", "steps", "inverse-root", "trapezoid", "restarts", "plateau"
    ] = "cosine"
    warmup: int = 0
    plateau_patience: int = 5
    patience: int | None = 25
    accumulate: int = 1
    drop_given: float = 0.0
    augment: dict[str, Any] | str = field(default_factory=dict)
    mixup: float = 0.0
    cutmix: float = 0.0
    dropout_when: Literal["always", "early", "late"] = "always"
    dropout_part: float = 0.3
    players: dict[str, Any] = field(default_factory=dict)
    doctor: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        OptimiserOptions.__post_init__(self)
        object.__setattr__(self, "augment", parse_augment(self.augment))
        if self.optimizer in WHOLE_DATA and (self.augment or self.mixup or self.cutmix or self.drop_given):
            raise OptionError(f"optimizer='{self.optimizer}' needs the same loss at every step: no augment, mixup, cutmix, drop_given")
        for name in ("epochs", "batch_size", "accumulate", "plateau_patience"):
            if getattr(self, name) < 1:
                raise OptionError(f"option '{name}' must be 1 or more; got {getattr(self, name)}")
        if self.schedule not in SCHEDULES:
            raise OptionError(options.unknown("schedule", self.schedule, SCHEDULES))
        if self.warmup < 0 or (self.patience is not None and self.patience < 1):
            raise OptionError("option 'warmup' must be 0 or more, and 'patience' 1 or more (or none)")
        if not 0.0 <= self.drop_given < 1.0:
            raise OptionError(f"option 'drop_given' must be from 0 to below 1; got {self.drop_given}")
        for name in ("mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise OptionError(f"option '{name}' must be 0 or above; got {getattr(self, name)}")
        if not 0.0 < self.dropout_part < 1.0:
            raise OptionError(f"option 'dropout_part' must be between 0 and 1; got {self.dropout_part}")

    def optimiser(self) -> OptimiserOptions:
        """The part that concerns every player's optimiser."""
        return OptimiserOptions(**{f.name: getattr(self, f.name) for f in fields(OptimiserOptions)})

    def own(self) -> dict[str, OptimiserOptions]:
        """The options of the players that have some of their own. Raises OptionError for an unknown one."""
        shared, each = asdict(self.optimiser()), {}
        for player, values in self.players.items():
            said = options.parse(OptimiserOptions, values, name=f"player '{player}'")
            optimizer = said.get("optimizer", self.optimizer)
            refuse_idle(optimizer, said)
            rate = {} if optimizer == self.optimizer or optimizer not in RATES else {"lr": RATES[optimizer]}
            each[player] = OptimiserOptions(**{**shared, **rate, **said})
        return each

    def plain(self) -> dict[str, Any]:
        """As plain values for the run's record, from which `Settings(**…)` makes an equal one."""
        return asdict(self)


def resolve(given: Mapping[str, Any], defaults: Mapping[str, Any], rows: int) -> Settings:
    """Settings from what the user said, what the model prefers, and the number of training rows.

    Args:
        given: the user's values; a key that is absent was not said. ``batch_size`` may be "all".
        defaults: the model's own; ``steps`` among them says about how many steps to plan where nobody names epochs.
        rows: training rows.

    Raises:
        OptionError: an unknown name, or a value of the wrong type or out of range.

    Example:
        >>> resolve({"lr": "0.01"}, {"epochs": 40}, 1000).batch_size
        32
    """
    said = dict(given)
    if said.get("batch_size") == "all":
        said["batch_size"] = rows
    said = options.parse(Settings, said, name="fit")
    refuse_idle(said.get("optimizer", defaults.get("optimizer", "adam")), said)
    merged = {**defaults, **said}
    if "optimizer" in said and "lr" not in said and merged["optimizer"] in RATES:
        merged["lr"] = RATES[merged["optimizer"]]
    planned = merged.pop("steps", STEPS)
    batch = merged.setdefault("batch_size", usual_batch(rows))
    if batch < 1:
        raise OptionError(f"option 'batch_size' must be 1 or more; got {batch}")
    batch = merged["batch_size"] = min(batch, max(1, rows))
    steps = max(1, rows // batch)
    if merged.get("optimizer") in WHOLE_DATA and batch < rows:
        raise OptionError(f"optimizer='{merged['optimizer']}' needs the same loss at every step: set batch_size='all'")
    merged.setdefault("epochs", min(max(math.ceil(planned / steps), EPOCHS[0]), EPOCHS[1]))
    return Settings(**merged)


def usual_batch(rows: int) -> int:
    """A power of two near a twentieth of the rows, from 16 to 512."""
    return 2 ** min(max(int(math.log2(max(1.0, rows / 20))), 4), 9)
