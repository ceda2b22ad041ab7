"""What a fit can be told beside data and model, and how what was left out is filled in.

Explicit values win over the model's own defaults, these over the general ones. All that was decided is written to the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from gnomon import options
from gnomon.errors import OptionError
from gnomon.training.optimisers import OptimiserOptions
from gnomon.training.schedules import SCHEDULES

STEPS = 6000  # a fit that is told nothing plans about this many steps …
EPOCHS = (10, 500)  # … within these numbers of epochs


@dataclass(frozen=True, kw_only=True)
class Settings(OptimiserOptions):
    """Resolved settings of one fit; the optimiser's among them.

    Args:
        epochs: passes over the training rows.
        batch_size: examples per batch.
        schedule: "constant", "cosine", "linear" or "one-cycle".
        warmup: steps of linear rise before the schedule's full rate.
        patience: epochs without improvement before the end, or None.
        accumulate: batches per move.
        drop_given: share of training examples whose condition is hidden, so that the model also learns to do without.
        precision: "float32", or "bfloat16" for mixed precision.
        compile: whether losses are compiled.
    """

    epochs: int
    batch_size: int
    schedule: Literal["constant", "cosine", "linear", "one-cycle"] = "cosine"
    warmup: int = 0
    patience: int | None = 25
    accumulate: int = 1
    drop_given: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        OptimiserOptions.__post_init__(self)
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise OptionError(f"option '{name}' must be 1 or more; got {getattr(self, name)}")
        if self.schedule not in SCHEDULES:
            raise OptionError(options.unknown("schedule", self.schedule, SCHEDULES))
        if self.warmup < 0 or (self.patience is not None and self.patience < 1):
            raise OptionError("option 'warmup' must be 0 or more, and 'patience' 1 or more (or none)")
        if not 0.0 <= self.drop_given < 1.0:
            raise OptionError(f"option 'drop_given' must be from 0 to below 1; got {self.drop_given}")

    def optimiser(self) -> OptimiserOptions:
        """The part that concerns the optimiser."""
        return OptimiserOptions(**{f.name: getattr(self, f.name) for f in fields(OptimiserOptions)})

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
    merged = {**defaults, **said}
    planned = merged.pop("steps", STEPS)
    batch = merged.setdefault("batch_size", usual_batch(rows))
    if batch < 1:
        raise OptionError(f"option 'batch_size' must be 1 or more; got {batch}")
    batch = merged["batch_size"] = min(batch, max(1, rows))
    steps = max(1, rows // batch)
    merged.setdefault("epochs", min(max(math.ceil(planned / steps), EPOCHS[0]), EPOCHS[1]))
    return Settings(**merged)


def usual_batch(rows: int) -> int:
    """A power of two near a twentieth of the rows, from 16 to 512."""
    return 2 ** min(max(int(math.log2(max(1.0, rows / 20))), 4), 9)
