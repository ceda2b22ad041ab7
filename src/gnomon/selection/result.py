"""Search: what `gnomon.search` returns: the best setting, what it is worth, and whether it is really better than the others.

Scores and comparisons are handed in; here they are told, tabulated, drawn and written as JSON.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.learned import Learned, runs
from gnomon.selection.scoring import Score, plus_minus
from gnomon.selection.space import Setting, Space, shown
from gnomon.selection.trials import Trial
from gnomon.selection.verdicts import Comparison


@dataclass(frozen=True, eq=False)
class Search:
    """The outcome of a search.

    Args:
        metric: name of the score.
        greater: whether more of it is better.
        space: what was searched.
        trials: every trial, the default setting first; of successive halving one for each rung that a setting reached.
        best: the chosen setting, name to value; empty if it is the default.
        inner: its score over the folds. It was chosen for this, so it is optimistic.
        test: of the refitted model on rows that the search never saw, or None.
        nested: of the whole procedure, on outer folds that each search never saw, or None.
        comparisons: the best beside the default and the runner-up.
        learned: refitted with the best setting on all rows but the test rows.
        test_rows: numbers of the test rows in the data, from 0.
        planned_epochs: that successive halving said it would spend on its folds, or None.
        folder: where `search.json` and the run ``best`` are, or None.
    """

    metric: str
    greater: bool
    space: Space
    trials: tuple[Trial, ...]
    best: Setting
    inner: Score
    test: Score | None
    nested: Score | None
    comparisons: tuple[Comparison, ...]
    learned: Learned
    test_rows: tuple[int, ...]
    planned_epochs: int | None = None
    folder: Path | None = None

    @property
    def settings(self) -> int:
        """From how many settings the best was chosen."""
        return len({trial.number for trial in self.trials})

    @property
    def spent_epochs(self) -> int:
        """Epochs played on the folds, over all trials; early ends count as they were."""
        return sum(trial.spent for trial in self.trials)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is to be said, in plain words."""
        ranked = self.ranking()
        said = [
            f"best of {self.settings} settings: {ranked[0].name}"
            + (f" ({', '.join(f'{name}={shown(value)}' for name, value in self.best.items())})" if self.best else "")
            + f"; {self.metric} {self.inner} on the rows it was chosen by, which is optimistic",
            *(str(comparison) for comparison in self.comparisons),
        ]
        if self.nested is not None:
            said.append(f"nested cross-validation of the whole search: {self.metric} {self.nested} on rows that no choice has seen")
        if self.test is not None:
            said.append(f"refitted with it, on {self.test.n:,} untouched test rows: {self.metric} {self.test}")
        if self.test is None and self.nested is None:
            said.append("no row was left untouched (test=0, nested=0), so what the choice is worth on new rows is not known")
        failed = [trial for trial in self.trials if trial.failed]
        if failed:
            said.append(f"{len(failed)} of {len(self.trials)} trials failed; the first: {failed[0].name}: {failed[0].failed}")
        return tuple(said)

    def ranking(self) -> list[Trial]:
        """Trials, best first: those that ran their whole length, then those that were given up earlier, then failed ones."""
        sign = -1.0 if self.greater else 1.0
        return sorted(self.trials, key=lambda t: (t.failed is not None, -_rung(t), sign * t.score.value if not t.failed else 0.0, t.number))

    def table(self) -> str:
        """Every trial in a line, best first."""
        halved = any(trial.rung is not None for trial in self.trials)
        header = ["trial", *self.space, *(["epochs"] if halved else []), self.metric, "±", "note"]
        rows = []
        for trial in self.ranking():
            values = [shown(trial.setting[name]) if name in trial.setting else "default" for name in self.space]
            value, _, error = plus_minus(trial.score.value, trial.score.error).partition(" ± ")
            length = [str(trial.epochs) if trial.epochs is not None else "all"] if halved else []
            rows.append([str(trial.number), *values, *length, "–" if trial.failed else value, error or "–", trial.failed or ""])
        return aligned(header, rows)

    def to_json(self) -> dict[str, Any]:
        """Everything but the model, as JSON values."""
        return {
            "metric": self.metric, "greater": self.greater, "space": runs.plain({name: q.to_json() for name, q in self.space.items()}),
            "best": runs.plain(self.best), "inner": self.inner.to_json(),
            "test": None if self.test is None else self.test.to_json(), "nested": None if self.nested is None else self.nested.to_json(),
            "comparisons": [comparison.to_json() for comparison in self.comparisons], "trials": [trial.to_json() for trial in self.trials],
            "planned_epochs": self.planned_epochs, "spent_epochs": self.spent_epochs, "test_rows": list(self.test_rows),
            "sentences": list(self.sentences),
        }  # fmt: skip

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """A picture of the score against each searched quantity; the ending of the name decides its format (png, svg, pdf)."""
        from gnomon.selection.figures import draw

        return draw(self, Path(path))

    def __str__(self) -> str:
        return "\n".join([self.table(), "", *(f"- {sentence}" for sentence in self.sentences)])


def _rung(trial: Trial) -> float:
    """The default setting and whole fits come before any rung that was not the last."""
    return float("inf") if trial.rung is None else trial.rung


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under a header, texts to the left.

    Example:
        >>> print(aligned(["a", "long"], [["1.25", "x"]]))
        a     long
        1.25  x
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows])
