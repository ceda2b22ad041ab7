"""The report of a check: findings, statistics and verdict; as JSON, Markdown, and one HTML page that needs nothing else.

What is judged is decided before; here it is told. Figures are drawn by `figures` when the page is written.
"""

from __future__ import annotations

import base64
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gnomon import __version__
from gnomon.checks.reports import verdict as verdicts
from gnomon.checks.reports.collecting import Pictures
from gnomon.checks.statistic import Statistic, number, plus_minus
from gnomon.errors import RunError, visible
from gnomon.learned import Learned
from gnomon.learned.runs import PARTIAL, replaced

FORMAT = 1
MOST_ROWS = 30
"""Longer tables of statistics show one row of each statistic, and all of them behind a click."""

FILES = ("report.html", "report.json", "report.md")
FEATURES = "features"


class Report:
    """What a check found.

    Args:
        statistics: every number, with error and null.
        rows: what was compared, in words.
        title: heading of the report.
        notes: sample sizes, what was left out and why.
        warnings: sentences that open the verdict.
        pictures: what the figures show.
        encoder: that was trained for the features of this comparison, or None; it is kept with the report.

    Attributes:
        findings: plain sentences, worst first; empty when nothing is wrong.
        verdict: the check in a few sentences.

    Example:
        >>> report = Report([Statistic("w1", "a", 0.1, 0.01, 0.09, 0.02, p=0.4)], rows="50 real and 50 generated rows")
        >>> report.findings, report.verdict
        ([], 'Nothing wrong was found on 50 real and 50 generated rows: 1 statistic agrees with what it should be.')
    """

    columns = ("statistic", "where", "value", "null", "p", "corrected p", "n", "note")

    def __init__(
        self,
        statistics: Sequence[Statistic],
        *,
        rows: str = "the data",
        title: str = "Check",
        notes: Sequence[str] = (),
        warnings: Sequence[str] = (),
        pictures: Pictures | None = None,
        encoder: Learned | None = None,
    ) -> None:
        self.statistics = list(statistics)
        self.title = title
        self.notes = list(notes)
        self.warnings = list(warnings)
        self.pictures = pictures or Pictures()
        self.encoder = encoder
        self.findings = verdicts.findings(self.statistics)
        self.verdict = verdicts.verdict(self.statistics, self.findings, rows, self.warnings)

    def __repr__(self) -> str:
        return f"<Report: {self.verdict}>"

    def __getitem__(self, name: str) -> list[Statistic]:
        """The rows of one statistic."""
        return [row for row in self.statistics if row.name == name]

    def table(self) -> list[tuple[str, ...]]:
        """The statistics as rows of texts, one cell for each of `Report.columns`."""
        made: list[tuple[str, ...]] = []
        for row, p in zip(self.statistics, verdicts.corrected(self.statistics), strict=True):
            null = plus_minus(row.null, row.null_error)
            made.append(
                (row.name, row.where, plus_minus(row.value, row.error), null, number(row.p, 2), number(p, 2), f"{row.n:,}", row.note)
            )
        return made

    def to_json(self) -> dict[str, Any]:
        """``{"format": 1, "verdict", "findings", "statistics"}``; numbers that are not finite become None."""
        rows = [row.to_json() for row in self.statistics]
        return {"format": FORMAT, "verdict": self.verdict, "findings": list(self.findings), "statistics": rows}

    def markdown(self) -> str:
        """The report without its figures, as Markdown."""
        lines = [f"# {_marked(self.title)}", "", _marked(self.verdict), "", "## Findings", ""]
        lines += [f"{i}. {_marked(finding)}" for i, finding in enumerate(self.findings, 1)] or ["None."]
        lines += ["", "## Statistics", "", "| " + " | ".join(self.columns) + " |", "|---|---|--:|--:|--:|--:|--:|---|"]
        lines += ["| " + " | ".join(_marked(cell) for cell in row) + " |" for row in self.table()]
        lines += ["", "## How this was done", ""] + [f"- {_marked(note)}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """One page with all figures inside it: no script, no style sheet or font from elsewhere."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        pages = Environment(loader=PackageLoader("gnomon.checks.reports"), autoescape=True, undefined=StrictUndefined, finalize=_visible)
        rows = [{"cells": cells, "wrong": bad} for cells, bad in zip(self.table(), verdicts.wrong(self.statistics), strict=True)]
        return pages.get_template("report.html").render(
            title=self.title,
            verdict=self.verdict,
            findings=self.findings,
            columns=self.columns,
            rows=rows,
            chosen=rows if len(rows) <= MOST_ROWS else [rows[i] for i in self._most_striking()],
            sections=self._sections(),
            notes=self.notes,
            version=__version__,
            level=number(100 * verdicts.LEVEL),
        )

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write `report.html`, `report.json` and `report.md` to a folder, and to ``features/`` in it the encoder that was trained.

        Args:
            folder: made if it does not exist; other files in it are left alone.
            overwrite: replace a report that is there.

        Returns:
            The path of `report.html`.

        Raises:
            RunError: the folder holds a report already and `overwrite` is false, or it cannot be written.
        """
        folder = Path(folder)
        refuse_folder(folder)
        parts = FILES if self.encoder is None else (*FILES, FEATURES)
        there = [name for name in parts if os.path.lexists(folder / name)]
        if there and not overwrite:
            raise RunError(f"'{folder / there[0]}' exists; choose another folder or pass overwrite=True")
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        contents = dict(zip(FILES, (self.html(), text, self.markdown()), strict=True))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.encoder is not None:
                self.encoder.save(folder / FEATURES, overwrite=overwrite)
            _put(folder, contents)
        except OSError as error:
            raise RunError(f"cannot write the report to '{folder}': {error.strerror or error}") from error
        return folder / FILES[0]

    def _most_striking(self) -> list[int]:
        """The row of each statistic that is furthest from what it should be, in order."""
        best: dict[str, tuple[float, int]] = {}
        for i, row in enumerate(self.statistics):
            rank = -row.p_for_findings if row.alarm == "low" and math.isfinite(row.p_for_findings) else 0.0
            if row.name not in best or rank > best[row.name][0]:
                best[row.name] = (rank, i)
        return [i for _, i in best.values()]

    def _sections(self) -> list[dict[str, Any]]:
        from gnomon.checks.reports import figures

        shown = self.pictures
        tiles = [] if shown.tiles is None else figures.draw_tiles(shown.tiles)
        heat = [] if shown.heat is None else [figures.draw_heat(shown.heat)]
        left_out = f" {shown.left_out} columns that differ less are left out." if shown.left_out else ""
        band = "Solid and shaded: real. Dashed: generated, with standard errors. Below, their ratio, with the real side's error as a band, "
        band += "and the pull: the difference in standard errors; the band holds 95 % of the bins where nothing is wrong."
        made = [
            ("images", "Examples", "The first examples of both sides on one scale.", tiles, True),
            ("marginals", "Column by column", band + left_out, [figures.draw_histogram(h) for h in shown.histograms], False),
            ("pairs", "Pairs of columns", "Difference of the correlations of every two columns; white where there is none.", heat, True),
        ]
        for part in shown.sections:
            drawn = [figures.draw_curves(c) for c in part.curves] + [figures.draw_bars(b) for b in part.bars]
            drawn += [figure for t in part.tiles for figure in figures.draw_tiles(t)]
            made.append((part.anchor, part.title, part.words, drawn, False))
        tables = {part.anchor: part.tables for part in shown.sections}
        return [
            {
                "anchor": a,
                "title": title,
                "words": words,
                "figures": [_embedded(f) for f in drawn],
                "wide": wide,
                "tables": tables.get(a, []),
            }
            for a, title, words, drawn, wide in made
        ]


def refuse_folder(folder: Path) -> None:
    """Raise RunError where no report can be put, so that this is said before the work."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise RunError(f"cannot write the report to '{folder}': '{place}' is no folder; choose another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunError(f"cannot write the report to '{folder}': '{place}' may not be written; choose another place")


def _put(folder: Path, contents: Mapping[str, str]) -> None:
    """Write all files beside the old ones, then put them in place; report.json comes last, and is not there while the others change."""
    with tempfile.TemporaryDirectory(prefix=".report.", suffix=PARTIAL, dir=folder) as name:
        waiting = Path(name)
        for file, content in contents.items():
            replaced(waiting / file, partial(Path.write_text, data=content, encoding="utf-8", errors="replace"))
        last = FILES[1]
        (folder / last).unlink(missing_ok=True)
        for file in (*(other for other in contents if other != last), last):
            os.replace(waiting / file, folder / file)


def _visible(value: Any) -> Any:
    return visible(value) if type(value) is str else value


def _embedded(figure: Any) -> dict[str, Any]:
    uris = [f"data:{figure.mime};base64,{base64.b64encode(part).decode()}" for part in (figure.light, figure.dark)]
    return {"title": figure.title, "alt": figure.alt, "light": uris[0], "dark": uris[1], "pixelated": figure.pixelated}


def _marked(text: str) -> str:
    """Text as Markdown shows it unchanged: on one line, with its special characters escaped."""
    flat = visible(" ".join(str(text).split()))
    for character in "\\`*[]<>|#":
        flat = flat.replace(character, "\\" + character)
    return flat
