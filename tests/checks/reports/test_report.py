"""The report: JSON as agreed, Markdown that keeps its table, one HTML page that nothing can break, and no side effects."""

from __future__ import annotations

import base64
import html.parser
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gnomon.checks import Case, Effort, Report, Sides, Statistic, check, judge
from gnomon.checks.reports.figures import DARK, LIGHT, printable
from gnomon.checks.reports.report import refuse_folder
from gnomon.data import Categorical, Column
from gnomon.errors import RunError, visible
from tests.checks.samples import sides

SMALL = Effort(draws=49, more_draws=50, retrainings=2, joint_rows=60)
HOSTILE = [
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}{$ |a|b| `c` **d**",
    "line\nbreak\ttab\x00nul\u202e",
    "<!-- -->{{ 7*7 }}{% raw %}",
    "x" * 300,
    "漢字 ünï",
]


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "source", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def hostile() -> Report:
    rng = np.random.default_rng(0)
    columns = [Column(name) for name in HOSTILE] + [Column("c", Categorical(tuple(HOSTILE[:4])))]

    def side(shift: float) -> np.ndarray:
        return np.concatenate([rng.normal(size=(120, len(HOSTILE))) + shift, rng.integers(0, 4, size=(120, 1))], axis=1)

    return judge(Case(Sides.of(side(0), side(0.8), columns), effort=Effort(draws=999, retrainings=2)), title="<b>T</b>", notes=["<i>"])


@pytest.fixture(scope="module")
def text(hostile: Report) -> str:
    return hostile.html()


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_json_is_as_agreed() -> None:
    first = Statistic("w1", "a", 1.0, float("nan"), 2.0, float("inf"), n=np.int64(3))
    report = Report([first, Statistic("ks", "b", np.float64(0.1), p=0.5)])
    made = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert list(made) == ["format", "verdict", "findings", "statistics"] and made["format"] == 1
    assert made["statistics"][0] == {
        "name": "w1", "where": "a", "value": 1.0, "error": None, "null": 2.0, "null_error": None, "p": None, "n": 3, "note": "",
    }  # fmt: skip


def test_hostile_names_cannot_break_the_page(text: str, page: Page) -> None:
    assert page.open == [], "a tag was left open"
    assert not page.all("script") and not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert "49" not in "".join(t for t in page.texts if "{{" in t or "raw" in t)
    assert "\x00" not in text and "\u202e" not in text
    joined = "".join(page.texts)
    assert all(name in joined for name in HOSTILE if "\x00" not in name), "a name was lost"
    assert len(page.all("h1")) == 1 and "<b>T</b>" in joined


def test_the_page_needs_nothing_from_elsewhere(text: str, page: Page) -> None:
    sources = [a[key] for _, a in page.tags for key in ("src", "href", "srcset", "action", "data") if key in a]
    assert sources and all(source.startswith("data:") for source in sources)
    assert "url(" not in text and "@import" not in text
    assert any(a.get("name") == "viewport" for a in page.all("meta"))
    assert "prefers-color-scheme: dark" in text and page.all("html")[0]["lang"] == "en"


def test_every_picture_has_words_and_a_dark_version(page: Page, hostile: Report) -> None:
    images = page.all("img")
    drawn = sum(len(part.curves) + len(part.bars) for part in hostile.pictures.sections)
    assert drawn and len(images) == len(HOSTILE) + 1 + 1 + drawn  # a histogram per column, the matrix, and what statistics left
    assert all(len(image["alt"] or "") > 40 for image in images)
    assert len(page.all("source")) == len(images)
    assert all(source["media"] == "(prefers-color-scheme: dark)" for source in page.all("source"))
    assert page.all("th") and all("scope" in th for th in page.all("th")) and page.all("caption")
    light, dark = (page.all(tag)[0][key] or "" for tag, key in (("img", "src"), ("source", "srcset")))
    colours = [base64.b64decode(uri.partition(",")[2]).decode() for uri in (light, dark)]
    assert LIGHT.real in colours[0] and LIGHT.real not in colours[1] and DARK.real in colours[1]


def test_pictures_are_well_formed_and_without_script(page: Page) -> None:
    import xml.etree.ElementTree as tree

    for image in page.all("img"):
        kind, _, data = (image["src"] or "").partition(";base64,")
        assert kind == "data:image/svg+xml"
        root = tree.fromstring(base64.b64decode(data))
        names = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert "svg" in names and not names & {"script", "foreignObject"}


def test_findings_name_hostile_columns_plainly(hostile: Report) -> None:
    assert len(hostile.findings) >= len(HOSTILE)
    assert any(HOSTILE[0] in finding for finding in hostile.findings)


def test_markdown_keeps_its_table(hostile: Report) -> None:
    lines = hostile.markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == len(hostile.statistics) + 2
    bare = [line.replace("\\|", "") for line in table]
    assert {line.count("|") for line in bare} == {len(Report.columns) + 1}
    assert "<script>" not in hostile.markdown().replace("\\<", "")


def test_the_table_has_a_cell_for_each_heading(hostile: Report) -> None:
    assert {len(row) for row in hostile.table()} == {len(Report.columns)}
    assert all(isinstance(cell, str) for row in hostile.table() for cell in row)


def test_saving(tmp_path: Path) -> None:
    report = judge(Case(sides(0, 40, 40), effort=SMALL))
    path = report.save(tmp_path / "made" / "check")
    assert path == tmp_path / "made" / "check" / "report.html"
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.html", "report.json", "report.md"]
    assert json.loads((path.parent / "report.json").read_text(encoding="utf-8")) == report.to_json()
    with pytest.raises(RunError, match="exists; choose another folder or pass overwrite=True"):
        report.save(path.parent)
    before = path.read_bytes()
    report.save(path.parent, overwrite=True)
    assert path.read_bytes() == before, "the page is not the same for the same report"
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        report.save(tmp_path / "file")


def _put_by(report: Report, folder: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Save over what is there, cut off after so many files were put in place."""
    put, count = os.replace, 0

    def stop(source, target) -> None:  # noqa: ANN001
        nonlocal count
        if Path(target).parent == folder:
            if count == after:
                raise KeyboardInterrupt
            count += 1
        put(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stop)
        report.save(folder, overwrite=True)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_report_that_was_cut_off_does_not_look_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    old, new = Report([], title="old"), Report([Statistic("w1", "a", 1.0, p=0.5)], title="new")
    old.save(tmp_path)
    _put_by(new, tmp_path, monkeypatch, after)
    assert not (tmp_path / "report.json").exists(), "a report of two halves looks whole"
    new.save(tmp_path, overwrite=True)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == new.to_json()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]


def test_a_full_disk_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Report([], title="old").save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(RunError, match="cannot write the report to .*: No space left"):
        patch.setattr(os, "fsync", full)
        Report([], title="new").save(tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_places_where_no_report_can_be_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in ("file", "loop"):
        for path in (tmp_path / place, tmp_path / place / "deeper"):
            with pytest.raises(RunError, match=f"'.*{place}' is no folder; choose another place"):
                refuse_folder(path)
    refuse_folder(tmp_path / "made" / "later")
    assert not (tmp_path / "made").exists()


# ---- findings ----------------------------------------------------------------------------------------------------------


def _grained(where: str, value: float, cause: str) -> Statistic:
    row = Statistic("distinct", where, value, 0.01, 0.0, 0.01, p=1e-4, corrected=1e-4, cause=cause)
    return row.with_(claim=f"column '{where}': values repeat")


def test_findings_of_one_cause_share_a_sentence_and_the_rows_stay() -> None:
    rows = [_grained(f"x{i}", 0.3 + 0.01 * i, "repeats") for i in range(6)] + [_grained("y", 0.9, "grid")]
    report = Report(rows)
    assert report.findings == [
        "Column 'y': values repeat",
        "Column 'x5': values repeat; so it is in 'x4', 'x3', 'x2' and 2 more",
    ]
    assert report.verdict.startswith("2 findings") and len(report.to_json()["statistics"]) == 7
    assert report.html().count('<tr class="wrong"') == 7, "every row that is a finding is marked in the table"


def test_a_statistic_with_many_findings_tells_the_worst_in_full() -> None:
    rows = [
        Statistic("ks", f"c{i}", 0.2 + 0.1 * i, 0.01, 0.1, 0.01, p=1e-4, corrected=1e-4, claim=f"column 'c{i}': moved") for i in range(8)
    ]
    found = Report(rows).findings
    assert found == [*(f"Column 'c{i}': moved" for i in (7, 6, 5, 4, 3)), "By ks there are more differences, in 'c2', 'c1', 'c0'"]


def test_a_memoriser_is_told_in_few_sentences() -> None:
    rng = np.random.default_rng(0)
    train, real = rng.normal(size=(2, 300, 8))
    report = check(real, train[rng.integers(0, 300, 300)], train=train, budget="2s")
    assert {row.where for row in report["distinct"]} == {f"x{i}" for i in range(8)}
    assert sum("occur more than once" in finding for finding in report.findings) == 1
    assert any("and 4 more" in finding for finding in report.findings)


def test_a_classifier_that_tells_nothing_is_not_said_to_tell_something() -> None:
    row = Statistic("c2st_auc", "all columns", 0.6, 0.05, 0.5, 0.05, p=0.06)
    assert "are not told apart by a classifier (AUC 0.6)" in Report([row]).verdict
    assert "are told apart now and then by a classifier (AUC 0.6)" in Report([row.with_(p=0.001)]).verdict


def test_what_steers_a_terminal_is_not_shown() -> None:
    name = "a\x1b]0;owned\x07b"
    text = Report([Statistic("w1", name, 1.0, p=0.5)], title=name, notes=[name]).markdown()
    assert "\x1b" not in text and "\x07" not in text and visible(name) == "a\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER}b"


def test_matplotlib_is_left_as_it_was(tmp_path: Path) -> None:
    program = f"""
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["font.size"] = 33
matplotlib.rcParams["text.usetex"] = True
matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=["red"])
before = dict(matplotlib.rcParams)
import sys
sys.path[:0] = {sys.path!r}
from tests.checks.samples import sides
from gnomon.checks import Case, Effort, judge
judge(Case(sides(0, 40, 40), effort=Effort(draws=9, retrainings=2))).save({str(tmp_path / "r")!r})
assert dict(matplotlib.rcParams) == before
assert "matplotlib.pyplot" not in sys.modules
print("kept")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "kept", done.stderr[-2000:]


def test_colours_are_from_the_palette_for_colour_blind_readers() -> None:
    palette = {"#0072b2", "#d55e00", "#56b4e9", "#e69f00"}
    assert {LIGHT.real, LIGHT.generated, DARK.real, DARK.generated} == palette


@pytest.mark.parametrize("name", HOSTILE)
def test_names_in_figures_are_printable_and_short(name: str) -> None:
    assert len(printable(name)) <= 40 and not any(ord(c) < 32 for c in printable(name))


def test_images_are_shown_as_grids() -> None:
    rng = np.random.default_rng(0)
    report = check(rng.integers(0, 17, (50, 1, 8, 8)).astype(np.uint8), rng.integers(0, 17, (50, 1, 8, 8)).astype(np.uint8), budget="1s")
    images = [a for a in Page(report.html()).all("img") if (a["src"] or "").startswith("data:image/png")]
    assert [a["alt"].split(",")[0] for a in images] == ["Real images", "Generated images"]


def test_histograms_add_up() -> None:
    report = judge(Case(sides(0, 90, 70, weights="same"), effort=SMALL))
    for shown in report.pictures.histograms:
        for side in (shown.real, shown.generated):
            assert 0.97 <= side.sum() + shown.left_out <= 1.03, shown.name
        assert len(shown.real) == len(shown.edges) - 1 == len(shown.real_error)


def test_a_report_without_anything_says_so() -> None:
    report = Report([], rows="3 rows")
    assert report.verdict == "Nothing could be judged on 3 rows." and not report.findings
    assert Page(report.html()).open == []
