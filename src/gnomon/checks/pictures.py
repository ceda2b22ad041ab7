"""What figures show, as small numbers with words: histograms, curves, matrices, tiles of images, tables of neighbours.

Statistics leave them in `Case.pictures`, so that a report holds no rows of the data beyond those; drawing them is the reports' work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gnomon.checks.sides import Floats


@dataclass(frozen=True, eq=False)
class Histogram:
    """Shares of one column on both sides.

    Args:
        name: of the column, with units.
        edges: ``(bins + 1,)``; for categories 0 … bins.
        labels: names of the categories, empty for numbers.
        real: ``(bins,)`` shares of the real rows.
        generated: ``(bins,)`` shares of the generated rows.
        real_error: ``(bins,)`` standard errors.
        generated_error: ``(bins,)`` standard errors.
        left_out: share of both sides' rows outside the picture.
        alt: the picture in words.
    """

    name: str
    edges: Floats
    labels: tuple[str, ...]
    real: Floats
    generated: Floats
    real_error: Floats
    generated_error: Floats
    left_out: float
    alt: str


@dataclass(frozen=True, eq=False)
class Heat:
    """A matrix of differences with the names of its rows.

    Args:
        names: ``(F,)``.
        values: ``(F, F)``; NaN where nothing is compared.
        alt: the picture in words.
    """

    names: tuple[str, ...]
    values: Floats
    alt: str


@dataclass(frozen=True, eq=False)
class Tiles:
    """Example images of both sides, as arrays ``(k, height, width)`` or ``(k, height, width, 3)`` in [0, 1]; signals ``(k, length)``.

    Args:
        real: of the data.
        generated: to be judged.
        alt: the pictures in words.
        words: what the first and the second are called.
    """

    real: Floats
    generated: Floats
    alt: str
    words: tuple[str, str] = ("Real", "Generated")


@dataclass(frozen=True, eq=False)
class Series:
    """One line, or one row of points, of a `Curves`.

    Args:
        x: ``(k,)``.
        y: ``(k,)``.
        label: for the legend; empty for none.
        low: ``(k,)`` lower end of the band or error bar, or None.
        high: ``(k,)`` upper end, or None.
        role: "real", "generated", or "expected" for what would be seen without any fault.
        points: whether points with error bars are drawn instead of a line with a band.
    """

    x: Floats
    y: Floats
    label: str = ""
    low: Floats | None = None
    high: Floats | None = None
    role: str = "generated"
    points: bool = False


@dataclass(frozen=True, eq=False)
class Curves:
    """Lines or points over a common axis.

    Args:
        title: above the figure.
        series: what is drawn, from the bottom to the top.
        horizontal: words at the horizontal axis.
        vertical: words at the vertical axis.
        alt: the picture in words.
        logarithmic: which axes are logarithmic: "", "x", "y" or "xy".
        square: whether both axes go from 0 to 1.
    """

    title: str
    series: tuple[Series, ...]
    horizontal: str
    vertical: str
    alt: str
    logarithmic: str = ""
    square: bool = False


@dataclass(frozen=True, eq=False)
class Bars:
    """Numbers by name, such as how much each column tells.

    Args:
        title: above the figure.
        names: ``(k,)`` from the largest to the smallest.
        values: ``(k,)``.
        horizontal: what the values are.
        alt: the picture in words.
    """

    title: str
    names: tuple[str, ...]
    values: Floats
    horizontal: str
    alt: str


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of texts.

    Args:
        caption: what they are.
        columns: headings.
        rows: a text for each heading.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Section:
    """Figures of one subject.

    Args:
        anchor: name inside the page.
        title: heading.
        words: how to read them.
        curves: what is drawn.
        bars: likewise.
        tiles: likewise.
        tables: what is told in rows.
    """

    anchor: str
    title: str
    words: str
    curves: list[Curves] = field(default_factory=list)
    bars: list[Bars] = field(default_factory=list)
    tiles: list[Tiles] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
