"""Pages on paper and without scripts: light, complete, no box without content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import real_runs

from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PAGES = ["report", "margins", "solvers", "search", "interference", "compare", "index"]

# Boxes in sight that hold neither words nor anything drawn; of a canvas that is a pixel with a colour.
EMPTY = """() => {
  const painted = (canvas) => {
    const copy = Object.assign(document.createElement('canvas'), {width: canvas.width, height: canvas.height});
    copy.getContext('2d').drawImage(canvas, 0, 0);
    return copy.getContext('2d').getImageData(0, 0, copy.width, copy.height).data.some((part) => part > 0);
  };
  const drawn = (one) => one.querySelector('path, rect, img') || [...one.querySelectorAll('canvas')].some(painted);
  const holds = (one) => one.tagName === 'CANVAS' ? painted(one) : one.textContent.trim() || drawn(one);
  return [...document.querySelectorAll('figure, .plot, .scroll, section, table, ul, canvas, svg.drawn')]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height > 8 && !holds(one))
    .map((one) => one.outerHTML.slice(0, 200));
}"""
# Whatever is still being waited for, or asks for a click that nothing answers.
PROMISES = """() => [...document.querySelectorAll('button, select, input, p, label')]
  .filter((one) => one.checkVisibility())
  .filter((one) => /being unpacked|Choose a cell/.test(one.innerText) || ['SELECT', 'INPUT'].includes(one.tagName))
  .map((one) => one.outerHTML.slice(0, 200))"""
# Colours of everything in sight on paper: how dark its ground is, and how light its letters are.
DARK = """() => {
  const light = (colour) => {
    const [r, g, b, a] = (colour.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    return a === 0 ? null : (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
  };
  return [...document.querySelectorAll('body, body *')].filter((one) => one.checkVisibility()).filter((one) => {
    const style = getComputedStyle(one);
    const [ground, ink] = [light(style.backgroundColor), light(style.color)];
    return (ground !== null && ground < 0.5 && !one.closest('svg')) || (one.textContent.trim() && ink > 0.6);
  }).map((one) => one.outerHTML.slice(0, 120));
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("paper")
    report, solvers = write_reports([real_runs.compared()])
    runs = [real_runs.scanned(), real_runs.scanned_in_no_time()]
    return {
        "report": report,
        "margins": write_reports([real_runs.scanned_with_margins()])[0],
        "solvers": solvers,
        "search": write_reports([real_runs.searched()])[1],
        "interference": write_reports([real_runs.measured()])[1],
        "compare": write_reports(runs, folder / "compare.html")[0],
        "index": write_reports([], folder / "index.html", index=runs[0].parent)[0],
    }


def opened(browser: Browser, page: Path, **options: object) -> Page:
    found = browser.new_context(viewport={"width": 1100, "height": 800}, **options).new_page()  # type: ignore[arg-type]
    found.goto(page.resolve().as_uri())
    return found


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_there_are_numbers_and_no_empty_boxes(browser: Browser, pages: dict[str, Path], name: str):
    page = opened(browser, pages[name], java_script_enabled=False)
    # Scripts of the page do not run, the test's own do.
    assert page.evaluate(EMPTY) == []
    assert page.evaluate(PROMISES) == []
    assert page.locator("td").count() > 3
    if name in ("report", "margins", "interference"):
        assert page.locator("svg.drawn path.line, svg.drawn rect.bin").count() > 0
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_everything_is_light_drawn_and_small(browser: Browser, pages: dict[str, Path], name: str):
    page = opened(browser, pages[name], color_scheme="dark")
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.get_attribute("html", "data-theme") == "dark"
    if name in ("report", "margins"):
        for plot in ("scatter", "map"):
            page.wait_for_selector(f"#plot-{plot}[data-dots]")
    charts = page.locator("svg.drawn").count()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(DARK) == []
    assert page.evaluate(EMPTY) == []
    hidden = [one for one in page.locator("svg.drawn").all() if not one.is_visible()]
    folded = page.locator("details:not([open]) svg.drawn").count() + page.locator("[hidden] svg.drawn").count()
    assert len(hidden) <= folded
    assert charts or name in ("index", "search")
    page.emulate_media(media=None, color_scheme="dark")
    assert len(page.pdf()) < 3e6
    page.context.close()
