"""Every page: named controls, headings in order, nothing wider than a phone. Contrast has a test of its own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import real_runs
from browsing import see_plots

from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]

# Names of what can be focused or stands for a picture, by the rules that screen readers follow.
NAMELESS = """() => {
  const text = (ids) => ids.split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join('').trim();
  const named = (node) => (node.getAttribute('aria-label') ?? '').trim()
    || text(node.getAttribute('aria-labelledby') ?? '')
    || [...(node.labels ?? [])].map((label) => label.textContent).join('').trim()
    || (['BUTTON', 'A', 'SUMMARY', 'H2'].includes(node.tagName) && node.textContent.trim());
  const controls = 'a[href], button, input, select, summary, [tabindex="0"]';
  const places = '[role="img"], [role="group"], [role="grid"], [role="dialog"]';
  return [...document.querySelectorAll(`${controls}, ${places}`)]
    .filter((node) => node.checkVisibility() && !named(node)).map((node) => node.outerHTML.slice(0, 200));
}"""
HEADINGS = """() => [...document.querySelectorAll('h1, h2, h3')]
  .filter((one) => one.checkVisibility()).map((one) => Number(one.tagName[1]))"""
BROKEN = """() => ['aria-labelledby', 'aria-describedby', 'aria-controls'].flatMap((name) =>
  [...document.querySelectorAll(`[${name}]`)].flatMap((node) => node.getAttribute(name).split(' ').filter(Boolean)))
  .filter((id) => !document.getElementById(id))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("access")
    report, solvers = write_reports([real_runs.compared()])
    runs = [real_runs.scanned(), real_runs.scanned_in_no_time()]
    return {
        "report": report,
        "solvers": solvers,
        "search": write_reports([real_runs.searched()])[1],
        "interference": write_reports([real_runs.measured()])[1],
        "compare": write_reports(runs, folder / "compare.html")[0],
        "index": write_reports([], folder / "index.html", index=runs[0].parent)[0],
    }


PAGES = ["report", "solvers", "search", "interference", "compare", "index"]


@pytest.mark.parametrize("name", PAGES)
def test_everything_has_a_name_and_headings_step_down_by_one(visit: Visit, pages: dict[str, Path], name: str):
    page = visit(pages[name], "#token=20" if name in ("report", "search") else "")
    if name != "index":
        see_plots(page)
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(BROKEN) == []
    levels = page.evaluate(HEADINGS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.get_attribute("html", "lang") == "en"


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_needs_no_scrolling_sideways(visit: Visit, pages: dict[str, Path], name: str):
    page = visit(pages[name], viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    if name != "index":
        see_plots(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_tools_of_the_plot_work_from_the_keyboard(visit: Visit, pages: dict[str, Path]):
    page = visit(pages["report"])
    see_plots(page)
    page.focus("#scatter-zoom")
    page.keyboard.press("Enter")
    assert page.get_attribute("#scatter-zoom", "aria-pressed") == "true"
    page.focus("#norm-from")
    page.keyboard.type("850")
    assert page.inner_text("#status") == "0 of 70 tokens"
