"""The report in a real browser: every figure is drawn, nothing is logged, it fits a phone, and a screen reader finds its way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gnomon.checks import Case, Effort, Report, judge
from tests.browser import CHROMIUM, Browser, chromium
from tests.checks.samples import sides

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian's package chromium)")
SMALL = Effort(draws=49, more_draws=50, retrainings=2, joint_rows=60, few_draws=19)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def report() -> Report:
    made = judge(Case(sides(0, 150, 150), effort=SMALL))
    assert made.pictures.heat is not None and len(made.pictures.histograms) == 5
    return made


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.save(tmp_path_factory.mktemp("report"))


def _figures(browser: Browser) -> list[dict]:
    return browser.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => 1, () => 0).then(ok => "
        "({ok, width: i.naturalWidth, shown: i.getBoundingClientRect().width, alt: i.alt}))))"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_and_nothing_is_logged(browser: Browser, page: Path, report: Report, scheme: str) -> None:
    browser.log.clear()
    browser.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(page)
    shown = _figures(browser)
    wanted = len(report.pictures.histograms) + 1 + sum(len(s.curves) + len(s.bars) for s in report.pictures.sections)
    assert len(shown) == wanted and all(one["ok"] and one["width"] > 50 and one["shown"] > 50 and one["alt"] for one in shown), shown
    assert browser.log == []
    dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in dark.removeprefix("rgb(").removesuffix(")").split(",")) < 384) == (scheme == "dark")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_any_screen(browser: Browser, page: Path, width: int) -> None:
    browser.do("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 1000)
    browser.open(page)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.do("Emulation.clearDeviceMetricsOverride")


def test_a_screen_reader_finds_its_way(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.do("Accessibility.enable")
    nodes = browser.do("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node.get("ignored")]
    assert roles.count("main") == 1 and "table" in roles and "columnheader" in roles
    named = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") in ("image", "heading", "region")]
    assert named and all(named), "a picture, heading or region has no name"
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), levels


def test_a_broken_picture_is_noticed(browser: Browser, tmp_path: Path) -> None:
    """The tests above can fail: a figure that does not decode, a script, and a request are all seen."""
    wrong = tmp_path / "wrong.html"
    wrong.write_text('<img src="data:image/png;base64,AAAA" alt="x"><script>console.error("seen")</script>', encoding="utf-8")
    browser.log.clear()
    browser.open(wrong)
    assert not _figures(browser)[0]["ok"] and browser.log == ["seen"]


def test_hostile_names_do_nothing(browser: Browser, tmp_path: Path) -> None:
    from gnomon.checks import Sides

    names = ["</title><script>console.error(1)</script>", '"><img src=x onerror=console.error(2)>', "javascript:console.error(3)"]
    rng = np.random.default_rng(0)
    made = judge(Case(Sides.of(rng.normal(size=(90, 3)), rng.normal(size=(90, 3)) + 1, names), effort=SMALL), title=names[0])
    browser.log.clear()
    browser.open(made.save(tmp_path / "hostile"))
    assert browser.log == [] and all(one["ok"] for one in _figures(browser))
    assert browser.evaluate("document.querySelectorAll('script').length") == 0
