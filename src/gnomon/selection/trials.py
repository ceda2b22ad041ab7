"""One setting on every fold: fitted, scored, written down; one that cannot be fitted is recorded and passed over.

Which settings are tried is decided in `proposals`; files are the ledger's.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gnomon import training
from gnomon.errors import GnomonError
from gnomon.learned import Learned, runs
from gnomon.selection.ledger import Ledger
from gnomon.selection.rows import READING, Rows, seed_of
from gnomon.selection.scoring import Score, blocks_of, finite, measure, pooled
from gnomon.selection.space import Setting, arguments_of, told


@dataclass(frozen=True)
class Trial:
    """One setting, on every fold.

    Args:
        number: 0 for the default setting, then in the order of drawing.
        setting: name to value.
        score: over all folds; NaN where it failed.
        folds: fold by fold.
        rung: of successive halving, from 0, or None.
        epochs: that each fit was planned for, or None where the model or the space decides.
        spent: epochs played, over all folds.
        seconds: over all folds.
        failed: why, in one line, or None.
    """

    number: int
    setting: Setting
    score: Score
    folds: tuple[Score, ...] = ()
    rung: int | None = None
    epochs: int | None = None
    spent: int = 0
    seconds: float = 0.0
    failed: str | None = None

    @property
    def name(self) -> str:
        """In words."""
        return "the default" if self.number == 0 else f"trial {self.number}"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "trial": self.number, "setting": runs.plain(self.setting), "score": finite(self.score.value), "error": finite(self.score.error),
            "folds": [score.to_json() for score in self.folds], "rung": self.rung, "epochs": self.epochs, "spent_epochs": self.spent,
            "seconds": round(self.seconds, 3), "failed": self.failed,
        }  # fmt: skip


@dataclass
class Bench:
    """What all fits of a search share.

    Args:
        model: name, class or factory.
        rows: everything that was read.
        arguments: of `fit`.
        metric: name of the score.
        greater: whether more of it is better.
        seed: of everything random.
        ledger: where scores are kept.
        say: tells the user a line.
    """

    model: Any
    rows: Rows
    arguments: Mapping[str, Any]
    metric: str
    greater: bool
    seed: int
    ledger: Ledger
    say: Callable[[str], None]

    def fit(self, setting: Setting, rows: Tensor, seed: int, *, epochs: int | None = None, out: Any = None) -> Learned:
        """A fit of some rows.

        Raises:
            KeyboardInterrupt: it was ended by Ctrl-C; a search then ends too, rather than judge half a fit.
        """
        said = {name: value for name, value in self.arguments.items() if name not in READING}
        said = arguments_of(setting, said) | ({} if epochs is None else {"epochs": epochs})
        options = said.pop("options")
        learned = training.fit(
            self.model, self.rows.data(rows), options=options or None, seed=seed, out=out, overwrite=out is not None, progress=False, **said
        )
        if (learned.info.get("decisions") or {}).get("interrupted"):
            raise KeyboardInterrupt
        return learned

    def score(self, learned: Learned, rows: Tensor) -> Score:
        """Of a model, on rows that it has not seen."""
        blocks = blocks_of(len(rows), how=self.rows.how, values=self.rows.values_of(rows), seed=self.seed)
        return measure(learned, self.rows.raw(rows), self.metric, seed=self.seed, blocks=blocks)

    def once(self, where: str, setting: Setting, part: tuple[Tensor, Tensor], fold: int, epochs: int | None) -> dict[str, Any]:
        """Fit on one side of a fold and score on the other, unless the ledger knows. All settings share a fold's seed."""
        train, held = part

        def work() -> dict[str, Any]:
            begin = time.perf_counter()
            try:
                learned = self.fit(setting, train, seed_of(f"{where} fit", self.seed, fold), epochs=epochs)
            except (GnomonError, RuntimeError, ValueError, ArithmeticError) as error:
                return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
            score = self.score(learned, held)
            made = score.to_json()
            if made["value"] is None or score.blocks is None:
                return {"failed": f"its {self.metric} is not finite"}
            made["blocks"] = score.blocks.tolist()
            played = int(learned.history[-1].get("epoch", 0)) if learned.history else 0
            return {**made, "epochs": played, "seconds": round(time.perf_counter() - begin, 3)}

        key = json.dumps([where, runs.plain(setting), epochs, fold], ensure_ascii=False)
        return self.ledger.once(key, work)

    def trial(
        self,
        number: int,
        setting: Setting,
        parts: list[tuple[Tensor, Tensor]],
        where: str,
        *,
        rung: int | None = None,
        epochs: int | None = None,
    ) -> Trial:
        """A setting on every fold; at the first that fails it is given up."""
        scores: list[Score] = []
        spent, seconds, failed = 0, 0.0, None
        for fold, part in enumerate(parts):
            made = self.once(where, setting, part, fold, epochs)
            failed = made.get("failed")
            if failed:
                break
            scores.append(score_from(made))
            spent, seconds = spent + int(made["epochs"]), seconds + float(made["seconds"])
        score = Score(math.nan, math.nan, 0) if failed else pooled(scores)
        trial = Trial(number, setting, score, () if failed else tuple(scores), rung, epochs, spent, seconds, failed)
        at = "" if rung is None else f" at {epochs} epochs"
        words = f" ({told(setting)})" if setting else ""
        self.say(f"{where}: {trial.name}{words}{at}: " + (f"failed: {failed}" if failed else f"{self.metric} {score}"))
        return trial

    def merit(self, trial: Trial) -> float:
        """Sorts trials: the best first, failed ones last."""
        if trial.failed:
            return math.inf
        return -trial.score.value if self.greater else trial.score.value


def score_from(made: Mapping[str, Any]) -> Score:
    """A score as the ledger has it."""
    value, error = (math.nan if made[key] is None else float(made[key]) for key in ("value", "error"))
    return Score(value, error, int(made["n"]), np.array(made["blocks"]) if "blocks" in made else None)
