"""The picture of a search: the score of every trial against each searched quantity.

Drawn with matplotlib's object interface: the user's back end, settings and open figures are left as they are.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.errors import OptionError
from gnomon.selection.space import Quantity, shown

if TYPE_CHECKING:
    from gnomon.selection.result import Search

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a8a8a"  # Okabe and Ito's, which colour-blind readers tell apart
_COLUMNS = 3


def draw(search: Search, path: Path) -> Path:
    """Write the picture.

    Raises:
        OptionError: an ending that matplotlib does not write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(search.space)
    columns = min(_COLUMNS, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4.2 * columns, 3.3 * lines), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    formats = canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in formats:
        raise OptionError(f"a picture ends in {', '.join(sorted(formats))}; got '{path.name}'")
    for place, name in enumerate(names):
        axes = figure.add_subplot(lines, columns, place + 1)
        _panel(axes, search, name, search.space[name])
        if place % columns == 0:
            axes.set_ylabel(f"{search.metric} ({'more' if search.greater else 'less'} is better)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _panel(axes: Any, search: Search, name: str, quantity: Quantity) -> None:
    """One quantity: a point with its error for each trial, the best one marked, the default setting as a line."""
    ranked = [trial for trial in search.ranking() if not trial.failed]
    last = ranked[0]
    for trial in ranked:
        if name not in trial.setting:
            colour, words = (ORANGE, "default setting, the best") if trial is last else (GREY, "default setting")
            axes.axhline(trial.score.value, color=colour, linewidth=1, linestyle="--", label=words)
            continue
        at = quantity.values.index(trial.setting[name]) if quantity.sort == "choice" else trial.setting[name]
        best = trial is last
        early = trial.rung is not None and trial.rung < max(t.rung or 0 for t in ranked)
        colour = ORANGE if best else GREY if early else BLUE
        error = trial.score.error if math.isfinite(trial.score.error) else None
        axes.errorbar(
            at, trial.score.value, error, fmt="o", color=colour, markersize=6 if best else 4, elinewidth=1, label="best" if best else None
        )
    if quantity.sort == "choice":
        axes.set_xticks(range(len(quantity.values)), [shown(value) for value in quantity.values])
        axes.set_xlim(-0.5, len(quantity.values) - 0.5)
    elif quantity.sort == "log":
        low, high = quantity.values
        axes.set_xscale("log")
        axes.set_xticks([low * (high / low) ** (i / 4) for i in range(5)], [f"{low * (high / low) ** (i / 4):.2g}" for i in range(5)])
        axes.set_xticks([], minor=True)
        axes.set_xlim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
    axes.set_xlabel(name.replace("$", r"\$"))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize="small")
