"""Figures of a report as SVG and PNG bytes, in a light and a dark version.

Drawn with matplotlib's object interface: the user's back end, settings and open figures are left as they are. What the figures show
is collected in `pictures`; where they stand on the page is the report's business.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.checks.pictures import Bars, Curves, Heat, Histogram, Tiles
from gnomon.checks.sides import Floats


@dataclass(frozen=True)
class Theme:
    """Colours of one version: Okabe and Ito's palette, which colour-blind readers tell apart, on paper or on slate."""

    ink: str
    faint: str
    real: str
    generated: str


LIGHT = Theme(ink="#1c1c1c", faint="#c9c9c9", real="#0072b2", generated="#d55e00")
DARK = Theme(ink="#e8e8e8", faint="#4a4a4a", real="#56b4e9", generated="#e69f00")


@dataclass(frozen=True)
class Figure:
    """A picture in two versions.

    Args:
        title: above it.
        alt: the picture in words.
        mime: "image/svg+xml" or "image/png".
        light: bytes for a light page.
        dark: bytes for a dark page.
        pixelated: whether it is to be enlarged without smoothing.
    """

    title: str
    alt: str
    mime: str
    light: bytes
    dark: bytes
    pixelated: bool = False


def draw_histogram(shown: Histogram) -> Figure:
    """Real and generated shares with errors, and their ratio below."""
    return _both(printable(shown.name), shown.alt, lambda figure, theme: _histogram(figure, shown, theme), (4.2, 4.0))


def draw_heat(shown: Heat) -> Figure:
    """A matrix of differences on a scale that is symmetric about zero."""
    size = float(np.clip(0.28 * len(shown.names) + 2.2, 3.6, 9.0))
    return _both("Correlations: generated minus real", shown.alt, lambda figure, theme: _heat(figure, shown, theme), (size, size * 0.92))


def draw_curves(shown: Curves) -> Figure:
    """Lines with bands, and points with error bars."""
    return _both(printable(shown.title, 80), shown.alt, lambda figure, theme: _curves(figure, shown, theme), (4.2, 3.4))


def draw_bars(shown: Bars) -> Figure:
    """Horizontal bars with their names."""
    size = (4.2, float(np.clip(0.26 * len(shown.names) + 0.9, 1.6, 9.0)))
    return _both(printable(shown.title, 80), shown.alt, lambda figure, theme: _bars(figure, shown, theme), size)


def draw_tiles(shown: Tiles) -> list[Figure]:
    """Example images, real and generated; signals become small curves."""
    if shown.real.ndim == 2:
        parts = ((f"{shown.words[0]} signals", shown.real), (f"{shown.words[1]} signals", shown.generated))
        return [_both(title, f"{title} out of {shown.alt}.", _signals(values), (4.8, 3.4)) for title, values in parts]
    made = []
    for title, values in ((f"{shown.words[0]} images", shown.real), (f"{shown.words[1]} images", shown.generated)):
        png = _png(_grid(values))
        made.append(Figure(title, f"{title}, a grid of {len(values)}: {shown.alt}.", "image/png", png, png, pixelated=True))
    return made


# ---- drawing ----------------------------------------------------------------------------------------------------------


def _histogram(figure: Any, shown: Histogram, theme: Theme) -> None:
    top, ratio, pull = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.2, 1.0))
    edges, middle = shown.edges, (shown.edges[:-1] + shown.edges[1:]) / 2
    top.stairs(shown.real, edges, fill=True, color=theme.real, alpha=0.3)
    top.stairs(shown.real, edges, color=theme.real, linewidth=1.4, label="real")
    top.stairs(shown.generated, edges, color=theme.generated, linewidth=1.6, linestyle=(0, (4, 1.5)), label="generated")
    top.errorbar(middle, shown.generated, shown.generated_error, fmt="none", ecolor=theme.generated, elinewidth=0.8)
    top.set_ylabel("share")
    top.set_ylim(0, None)
    top.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(0, 1.22), ncols=2)
    _ratio(ratio, shown, theme)
    _pull(pull, shown, theme)
    if shown.labels:
        names = [printable(label, 14) for label in shown.labels]
        pull.set_xticks(middle, labels=names, rotation=60 if len(names) > 4 or max(map(len, names)) > 6 else 0)
    if shown.left_out > 0:
        pull.set_xlabel(f"up to {100 * shown.left_out:.2g} % of the rows lie outside", fontsize="small")


def _ratio(axes: Any, shown: Histogram, theme: Theme) -> None:
    """Generated over real in each bin, with the real side's error as a band."""
    edges, middle = shown.edges, (shown.edges[:-1] + shown.edges[1:]) / 2
    known = shown.real > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(known, shown.generated / shown.real, np.nan)
        errors = np.where(known, shown.generated_error / shown.real, np.nan)
        band = np.where(known, shown.real_error / shown.real, np.nan)
    axes.stairs(1 + band, edges, baseline=1 - band, fill=True, color=theme.real, alpha=0.3)
    axes.axhline(1, color=theme.real, linewidth=1)
    axes.errorbar(middle, values, errors, fmt="o", markersize=2.4, color=theme.generated, elinewidth=0.8)
    trusted = values[np.isfinite(values) & (errors < 0.3)]
    reach = float(np.clip(np.abs(trusted - 1).max(initial=0.15) * 1.2, 0.2, 1.0))
    axes.set_ylim(1 - reach, 1 + reach)
    axes.set_ylabel("ratio")


def _pull(axes: Any, shown: Histogram, theme: Theme) -> None:
    """Difference of each bin in its standard errors, with the band in which 95 % of bins lie without any fault."""
    error = np.hypot(shown.real_error, shown.generated_error)
    values = np.where(error > 0, (shown.generated - shown.real) / np.where(error > 0, error, 1.0), 0.0)
    axes.axhspan(-2, 2, color=theme.real, alpha=0.15, linewidth=0)
    axes.stairs(values, shown.edges, fill=True, color=theme.generated, alpha=0.8)
    axes.axhline(0, color=theme.faint, linewidth=1)
    reach = float(np.clip(np.abs(values).max(initial=0) * 1.1, 4.0, 50.0))
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("pull")


def _heat(figure: Any, shown: Heat, theme: Theme) -> None:
    axes = figure.subplots()
    top = max(float(np.nanmax(np.abs(shown.values))), 1e-6)
    drawn = axes.imshow(shown.values, cmap="PuOr_r", vmin=-top, vmax=top, interpolation="nearest")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.75)
    bar.outline.set_edgecolor(theme.faint)
    if len(shown.names) <= 40:
        names = [printable(name, 18) for name in shown.names]
        axes.set_xticks(range(len(names)), labels=names, rotation=90, fontsize="small")
        axes.set_yticks(range(len(names)), labels=names, fontsize="small")
    else:
        axes.set_xticks([])
        axes.set_yticks([])


def _curves(figure: Any, shown: Curves, theme: Theme) -> None:
    axes = figure.subplots()
    colours = {"real": theme.real, "generated": theme.generated, "expected": theme.faint}
    for series in shown.series:
        colour = colours[series.role]
        if series.points:
            bars = None if series.low is None or series.high is None else np.stack([series.y - series.low, series.high - series.y])
            axes.errorbar(series.x, series.y, bars, fmt="o", markersize=3.5, color=colour, elinewidth=1, label=series.label or None)
            continue
        if series.low is not None and series.high is not None:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.3, linewidth=0)
        style = (0, (4, 1.5)) if series.role == "generated" else "solid"
        axes.plot(series.x, series.y, color=colour, linewidth=1.5, linestyle=style, label=series.label or None)
    if "x" in shown.logarithmic:
        axes.set_xscale("log")
    if "y" in shown.logarithmic:
        axes.set_yscale("log")
    if shown.square:
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
    axes.set_xlabel(printable(shown.horizontal, 60))
    axes.set_ylabel(printable(shown.vertical, 60))
    if any(series.label for series in shown.series):
        axes.legend(frameon=False, fontsize="small")


def _bars(figure: Any, shown: Bars, theme: Theme) -> None:
    axes = figure.subplots()
    places = np.arange(len(shown.names))[::-1]
    axes.barh(places, shown.values, color=theme.generated, height=0.65)
    axes.set_yticks(places, labels=[printable(name, 24) for name in shown.names], fontsize="small")
    axes.axvline(0, color=theme.faint, linewidth=1)
    axes.set_xlabel(printable(shown.horizontal, 60))


def _signals(values: Floats) -> Callable[[Any, Theme], None]:
    def draw(figure: Any, theme: Theme) -> None:
        for axes, values_of_one in zip(figure.subplots(4, 3).flat, values, strict=False):
            axes.plot(values_of_one, color=theme.real, linewidth=0.8)
            axes.set_xticks([])
            axes.set_yticks([])

    return draw


def _grid(images: Floats) -> Floats:
    """Images side by side, about square, with a thin grey line between them."""
    count, height, width = images.shape[:3]
    across = min(count, max(1, int(np.ceil(np.sqrt(count * 1.6)))))
    down = -(-count // across)
    sheet = np.full((down * (height + 1) - 1, across * (width + 1) - 1, *images.shape[3:]), 0.5)
    for k, image in enumerate(images):
        y, x = (k // across) * (height + 1), (k % across) * (width + 1)
        sheet[y : y + height, x : x + width] = image
    return sheet


def _png(sheet: Floats) -> bytes:
    from PIL import Image

    times = max(1, min(8, 400 // max(sheet.shape[:2])))
    pixels = np.rint(sheet * 255).astype(np.uint8).repeat(times, axis=0).repeat(times, axis=1)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, format="PNG", optimize=True)
    return target.getvalue()


# ---- matplotlib, without side effects ----------------------------------------------------------------------------------


def _both(title: str, alt: str, draw: Callable[[Any, Theme], None], size: tuple[float, float]) -> Figure:
    light = _svg(draw, LIGHT, size)
    return Figure(title, alt, "image/svg+xml", light, _recoloured(light))


def _recoloured(svg: bytes) -> bytes:
    """The light version in the dark version's colours; drawing it twice would take twice as long."""
    colours = {getattr(LIGHT, part).encode(): getattr(DARK, part).encode() for part in ("ink", "faint", "real", "generated")}

    def recolour(found: re.Match[bytes]) -> bytes:
        colour: bytes = found[2]
        return b"%b%b" % (found[1], colours.get(colour, colour))

    return re.sub(rb"((?:fill|stroke): )(#[0-9a-f]{6})", recolour, svg)


def _svg(draw: Callable[[Any, Theme], None], theme: Theme, size: tuple[float, float]) -> bytes:
    with _own_settings(theme):
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=size, layout="constrained")
        draw(figure, theme)
        target = io.BytesIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return target.getvalue()


@contextmanager
def _own_settings(theme: Theme) -> Iterator[None]:
    """matplotlib's defaults with our colours, whatever the user has set; theirs come back afterwards."""
    import matplotlib

    own: dict[Any, Any] = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend") and key != "interactive"
    }
    for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"):
        own[key] = theme.ink
    own |= {"axes.edgecolor": theme.faint, "font.family": ["DejaVu Sans"], "font.size": 9.0, "axes.spines.top": False}
    own |= {"axes.spines.right": False, "text.parse_math": False, "text.usetex": False, "svg.fonttype": "none", "svg.hashsalt": "gnomon"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the reader's browser has the letters
        warnings.simplefilter("ignore", matplotlib.MatplotlibDeprecationWarning)
        with matplotlib.rc_context():
            matplotlib.rcParams.update(own)
            yield


def printable(text: str, most: int = 40) -> str:
    """A name as it may stand in a figure: no control characters, and not too long.

    Example:
        >>> printable("a\\nb\\x00c")
        'a b c'
    """
    clean = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") else c for c in str(text))
    return clean if len(clean) <= most else clean[: most - 1] + "…"
