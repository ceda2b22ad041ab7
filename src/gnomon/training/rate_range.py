"""The learning-rate range test: one short run whose rate rises, the loss at each rate, and the rate that it suggests.

It plays turns of the ordinary loop on a model of its own; nothing that the user holds is changed.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from typing import Any

import numpy as np

from gnomon.data.seeds import mix
from gnomon.errors import OptionError, TrainingError
from gnomon.training import randomness
from gnomon.training.fit import ModelLike, requested

_BLOWN = 3.0  # the run ends when the smoothed loss has risen from its lowest by this many times its fall
_SMOOTH = 0.9


@dataclass(frozen=True)
class RangeTest:
    """What a range test found.

    Args:
        rates: learning rates tried, rising, ``(n,)``.
        losses: training loss at each, ``(n,)``.
        smooth: the same, averaged over neighbouring steps.
        suggestion: the rate at which the smoothed loss has made half of its fall.
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggestion: float

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw loss against rate, with the suggestion, to a picture whose suffix names its format."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, ".", markersize=3, color="0.6", label="training loss of a batch")
        axes.plot(self.rates, self.smooth, color="C0", label="averaged over steps")
        axes.axvline(self.suggestion, color="C1", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        low, high = float(self.smooth.min()), float(self.smooth[: max(2, len(self.smooth) // 3)].max())
        margin = 0.2 * max(high - low, 1e-12)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - margin, high + 3 * margin))
        axes.legend()
        try:
            figure.savefig(path)
        except (OSError, ValueError) as error:
            raise OptionError(
                f"the picture '{path}' cannot be written ({error}); name a .png, .pdf or .svg in a folder that is there"
            ) from error


def range_test(
    model: ModelLike, data: Any = None, *, low: float = 1e-6, high: float = 10.0, steps: int = 200, **arguments: Any
) -> RangeTest:
    """Train for a few steps while the learning rate rises from `low` to `high`, and suggest one.

    Args:
        model, data: as in `gnomon.fit`.
        low, high: first and last learning rate; the run ends earlier where the loss blows up.
        steps: at most this many; each multiplies the rate by the same factor.
        arguments: any others of `gnomon.fit`, but for those that say how long to train and where to keep it.

    Raises:
        OptionError: the model has several players, or rates or steps make no sense.
        TrainingError: the loss was not finite at the lowest rates.

    Reference: Smith 2017, https://arxiv.org/abs/1506.01186

    Example:
        >>> found = range_test("classifier", "wine", steps=60, options={"net": {"hidden": "16"}})
        >>> 1e-4 < found.suggestion < 1
        True
    """
    if not 0 < low < high or steps < 10:
        raise OptionError(f"a range test wants 0 < low < high and 10 steps or more; got {low}, {high}, {steps}")
    for name in ("epochs", "out", "overwrite", "lr", "schedule", "warmup", "seeds"):
        if name in arguments:
            raise OptionError(f"a range test decides '{name}' by itself; leave it out")
    fit = requested(model, data, {"progress": False, "compile": "off"} | arguments)
    with randomness.borrowed(mix("range", fit.request.seed), fit.device):
        models, material, settings = fit.prepare()
        if len(models[0].players()) != 1:
            raise OptionError(f"a range test watches one loss, and {type(models[0]).__name__} has {len(models[0].players())} players")
        settings = replace(settings, lr=low, schedule="constant", patience=None, average=None, doctor=False)
        train = material.train(models[0], settings, fit.team)
        (stage, *_) = fit.stages(models)
        loop = fit.loop(stage, train, None, settings, 0)
        factor = (high / low) ** (1 / (steps - 1))
        loop.plan = replace(loop.plan, schedule=lambda turn: factor**turn)
        loop.game.train()
        batches = chain.from_iterable(train.batches(fit.request.seed, epoch) for epoch in count())
        losses: list[float] = []
        while len(losses) < steps and not _blown(losses):
            loop.play(list(islice(batches, loop.batches_per_turn)))
            losses.append(float(loop.meter.means()["loss"]))  # type: ignore[arg-type]
            loop.meter.clear()
    finite = losses if math.isfinite(losses[-1]) else losses[:-1]
    if len(finite) < 5:
        raise TrainingError(f"the loss is not finite after {len(finite)} steps at rates near {low:g}; lower low, or look at the data")
    rates, values = low * factor ** np.arange(len(finite)), np.array(finite)
    smooth = _smoothed(values)
    return RangeTest(rates, values, smooth, float(rates[_halfway(smooth)]))


def _blown(losses: list[float]) -> bool:
    """Whether the loss has left for good."""
    if len(losses) < 10:
        return bool(losses) and not math.isfinite(losses[-1])
    smooth = _smoothed(np.array(losses))
    lowest = float(np.min(smooth))
    return not math.isfinite(losses[-1]) or smooth[-1] > smooth[0] + _BLOWN * max(smooth[0] - lowest, 0.1 * abs(smooth[0]))


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Exponential averages from both ends, so that nothing is shifted along the rates."""
    both = []
    for series in (values, values[::-1]):
        average, weight, out = 0.0, 0.0, []
        for value in series:
            average, weight = _SMOOTH * average + (1 - _SMOOTH) * value, _SMOOTH * weight + (1 - _SMOOTH)
            out.append(average / weight)
        both.append(np.array(out))
    return 0.5 * (both[0] + both[1][::-1])


def _halfway(smooth: np.ndarray) -> int:
    """Where the smoothed loss has made half of its fall: in the middle of the slope, wherever noise makes it steepest."""
    lowest = int(np.argmin(smooth))
    start = float(np.median(smooth[: max(3, len(smooth) // 10)]))
    below = np.flatnonzero(smooth[: lowest + 1] <= 0.5 * (start + smooth[lowest]))
    return int(below[0]) if len(below) else lowest
