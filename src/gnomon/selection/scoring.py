"""A fitted model's score on rows it has not seen, with its standard error; scores of several folds taken together, and compared.

Which rows these are is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnomon.data import Examples, InMemory, mix
from gnomon.data.seeds import generator
from gnomon.errors import OptionError
from gnomon.learned import Learned
from gnomon.options import unknown
from gnomon.training import randomness

GREATER = ("accuracy", "log_prob")
"""Scores of which more is better; of all others less is, unless told."""

BLOCKS = 40  # parts into which the rows of a fold are cut for the standard error of a score; their means are kept for comparisons
ROWS = 512  # examples in one pass, at most


@dataclass(frozen=True, eq=False)
class Score:
    """A mean over rows.

    Args:
        value: the mean.
        error: its standard error.
        n: rows.
        blocks: mean and number of rows of each independent part, ``(blocks, 2)``, or None.
    """

    value: float
    error: float
    n: int
    blocks: np.ndarray | None = None

    def __str__(self) -> str:
        return plus_minus(self.value, self.error)

    def to_json(self) -> dict[str, Any]:
        """JSON values; None for what is not finite."""
        return {"value": finite(self.value), "error": finite(self.error), "n": self.n}


def scored_by(model: Any, asked: str | None) -> str:
    """The name of the score: what was asked for, else what the model watches on held-out rows, else its log-density.

    Raises:
        OptionError: the model has neither.
    """
    if asked is not None:
        return asked
    monitor = getattr(model, "monitor", "loss")
    if monitor is not None:
        return str(monitor)
    if callable(getattr(model, "log_prob", None)):
        return "log_prob"
    raise OptionError(
        "the model watches nothing on held-out rows and has no log-density, so no setting is better than another: pass metric="
    )


def measure(learned: Learned, held: Examples, metric: str, *, seed: int, blocks: Sequence[Tensor]) -> Score:
    """The score of a model on rows in the user's units.

    Args:
        learned: the fitted model.
        held: the rows.
        metric: "log_prob" (mean log-density, in the user's units), or a name that the model measures on held-out rows ("loss", …).
        seed: of whatever is random in measuring.
        blocks: the rows' numbers in parts that are independent of each other; the standard error comes from their differences.

    Raises:
        OptionError: the model measures nothing by that name.
    """
    if held.weight is not None:
        held = held.with_(weight=held.weight / held.weight.mean())
    if metric == "log_prob":
        if "log_prob" not in learned.abilities:
            raise OptionError(
                f"{learned.name} has no log_prob to be scored by; leave metric out, or name what it measures on held-out rows"
            )
        values = torch.from_numpy(learned.log_prob(held))
        weighted = values if held.weight is None else values * held.weight
        sums = np.array([[float(weighted[block].sum()), float(len(block))] for block in blocks])
    else:
        sums = _validated(learned, held, metric, seed, blocks)
    return _ratio(sums, len(held))


def _validated(learned: Learned, held: Examples, metric: str, seed: int, blocks: Sequence[Tensor]) -> np.ndarray:
    """Sum and weight of what the model measures, for each block: ``(blocks, 2)``."""
    model, scaling = learned.model, learned.scaling
    rows = []
    with randomness.borrowed(mix("score", seed), model.device), torch.no_grad():
        model.eval()
        stored = scaling.store(held).to(model.device)
        source = InMemory(stored, scaling, batch_size=ROWS, dequantises=model.dequantises, shuffle=False)
        examples = Examples.cat(list(source.batches(0, 0)))
        for block in blocks:
            total = weight = 0.0
            for part in block.split(ROWS):
                loss = model.validate(examples[part.to(model.device)])
                named = {**loss.parts, "loss": loss.total}
                if metric not in named:
                    raise OptionError(unknown("metric", metric, [*named, "log_prob"], owner=learned.name))
                total, weight = total + float(named[metric]), weight + float(loss.weight)
            rows.append([total, weight])
    return np.array(rows)


def _ratio(sums: np.ndarray, n: int) -> Score:
    """Sum over weight, with the standard error of a ratio of sums over independent blocks."""
    total, weight = sums.sum(0)
    value = float(total / weight)
    count, blocks = len(sums), np.stack([sums[:, 0] / sums[:, 1], sums[:, 1]], 1)
    if count < 2 or not math.isfinite(value):
        return Score(value, math.nan, n, blocks)
    rest = sums[:, 0] - value * sums[:, 1]
    return Score(value, float(math.sqrt(count / (count - 1) * (rest**2).sum()) / weight), n, blocks)


def blocks_of(n: int, *, how: str, values: Any, seed: int) -> list[Tensor]:
    """Row numbers in parts that are independent of each other: groups, stretches of time, or rows at random.

    Args:
        n: rows.
        how: "group" and "time" go by `values`, the others by chance.
        values: one per row, or None.
        seed: of chance.
    """
    if how == "group":
        codes = np.unique(np.asarray(values), return_inverse=True)[1]
        return [torch.from_numpy(np.flatnonzero(codes == code)) for code in range(codes.max() + 1)]
    if how == "time":
        order = torch.from_numpy(np.argsort(np.asarray(values), kind="stable"))
    else:
        order = torch.randperm(n, generator=generator("blocks", seed))
    return [part for part in order.tensor_split(min(n, BLOCKS)) if len(part)]


def pooled(scores: Sequence[Score]) -> Score:
    """One score from those of several folds.

    The error is the larger of what rows and what folds say: rows do not know how much fits differ, and folds are few.

    Example:
        >>> str(pooled([Score(1.0, 0.1, 50), Score(2.0, 0.1, 50)]))
        '1.5 ± 0.5'
    """
    value = np.array([score.value for score in scores])
    share = np.array([score.n for score in scores]) / sum(score.n for score in scores)
    mean = float((share * value).sum())
    errors = np.array([score.error for score in scores])
    within = math.sqrt(float(((share * errors) ** 2).sum()))
    count = len(scores)
    between = math.sqrt(count / (count - 1) * float(((share * (value - mean)) ** 2).sum())) if count > 1 else 0.0
    return Score(mean, max(within, between) if math.isfinite(within) else between or math.nan, sum(score.n for score in scores))


def paired(one: Sequence[Score], two: Sequence[Score], ratio: float) -> tuple[float, float, float]:
    """How much larger `two` is than `one` on the same rows, its standard error, and the p-value of Student's t.

    Differences are taken block by block, so that luck of the rows cancels. Where folds differ by more than their rows explain (F test at
    0.1), fits differ too, and only the folds count; else all blocks do. Folds share training rows, so their differences are not
    independent: the variance is corrected by the ratio of judged to training rows (Nadeau & Bengio 2003,
    https://doi.org/10.1023/A:1024068626366).

    Args:
        one: scores of a setting, fold by fold, with their blocks.
        two: those of another, on the same blocks.
        ratio: judged rows over training rows.

    Returns:
        difference, error, p; NaN for the last two where there is a single block.
    """
    from scipy.special import fdtrc, stdtr

    first, second = ([score.blocks for score in scores if score.blocks is not None] for scores in (one, two))
    rows = [blocks[:, 1] for blocks in first]
    difference = [b[:, 0] - a[:, 0] for a, b in zip(first, second, strict=True)]
    means = np.array([np.average(d, weights=n) for d, n in zip(difference, rows, strict=True)])
    sizes = np.array([n.sum() for n in rows])
    mean, total, folds = float(np.average(means, weights=sizes)), float(sizes.sum()), len(means)
    inside = sum(len(d) - 1 for d in difference)
    if inside + folds < 2:
        return mean, math.nan, math.nan
    within = sum(float((n * (d - m) ** 2).sum()) for d, n, m in zip(difference, rows, means, strict=True))
    between = float((sizes * (means - mean) ** 2).sum())
    variance, freedom = (within + between) / (inside + folds - 1), inside + folds - 1
    if folds > 1 and inside and between / (folds - 1) > 0:
        ratio_of_variances = between / (folds - 1) / max(within / inside, 1e-300)
        if fdtrc(folds - 1, inside, ratio_of_variances) < 0.1:
            variance, freedom = between / (folds - 1), folds - 1
    error = math.sqrt(variance / total * (1 + folds * ratio))
    if not error > 0:
        return mean, error, 1.0 if mean == 0 else 0.0
    return mean, error, float(2 * stdtr(freedom, -abs(mean) / error))


def plus_minus(value: float, error: float) -> str:
    """A value with its error, to the error's second figure.

    Example:
        >>> plus_minus(1.23456, 0.0123), plus_minus(2.0, float("nan")), plus_minus(123.4, 45.6)
        ('1.235 ± 0.012', '2', '123 ± 46')
    """
    if not math.isfinite(error) or error <= 0 or not math.isfinite(value):
        return f"{value:.4g}"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{round(value, places):g} ± {round(error, places):g}" if places < 6 else f"{value:.6g} ± {error:.2g}"


def finite(value: float) -> float | None:
    """None for what JSON cannot hold."""
    return value if math.isfinite(value) else None
