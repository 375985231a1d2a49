"""From the keyboard: a page's table is a few Tab presses away, and arrow keys reach every link of a group."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import real_runs

from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]

MOST_STOPS = 10
"""How often Tab may be pressed from the page's start to its search box."""

FOCUSED = "document.activeElement.id || document.activeElement.outerHTML"

# Whether the focused element is in sight: below the bar at the top, within the window, and with nothing over it.
IN_SIGHT = """() => {
  const node = document.activeElement;
  const { left, right, top, bottom } = node.getBoundingClientRect();
  const bar = node.closest('.topbar, .skip') ? 0 : document.querySelector('.topbar').getBoundingClientRect().bottom;
  const [first, last] = [Math.max(top, bar), Math.min(bottom, innerHeight)];
  if (last - first < Math.min(bottom - top, 100) - 1) return false;
  const there = document.elementFromPoint((left + right) / 2, (first + last) / 2);
  return there !== null && (node.contains(there) || there.contains(node));
}"""
STILL = {"reduced_motion": "reduce"}


def tab_to(page: Page, wanted: str) -> list[str]:
    """Press Tab until the element with this id has the focus; what had it on the way, that included."""
    stops: list[str] = []
    while not stops or stops[-1] != wanted:
        assert len(stops) < 200, stops
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
        assert page.evaluate(IN_SIGHT), stops[-1]
    return stops


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize(("made", "name"), [(real_runs.compared, "report.html"), (real_runs.searched, "search.html")])
def test_the_search_box_is_a_few_stops_away(visit: Visit, made: Callable[[], Path], name: str, width: int):
    file = next(one for one in write_reports([made()]) if one.name == name)
    page = visit(file, viewport={"width": width, "height": 800}, **STILL)
    assert len(tab_to(page, "search")) <= MOST_STOPS


GROUPS = """() => [...document.querySelectorAll('[data-roving]')].map((group, at) => {
  group.dataset.at = at;
  const links = [...group.querySelectorAll('a[href], button')].filter((one) => one.checkVisibility());
  return [at, links.length, links.filter((one) => one.tabIndex === 0).length];
}).filter(([, links]) => links)"""
IN_GROUP = "document.activeElement.closest('[data-roving]')?.dataset.at + ' ' + document.activeElement.outerHTML"


def test_arrow_keys_reach_every_link_of_every_group(visit: Visit):
    page = visit(write_reports([real_runs.scanned()])[0], **STILL)
    groups = page.evaluate(GROUPS)
    assert len(groups) >= 4
    for at, links, stops in groups:
        # One stop, which Tab would find
        assert stops == 1, at
        page.locator(f"[data-at='{at}'] [tabindex='0']").first.focus()
        reached = []
        for _ in range(links):
            reached.append(page.evaluate(IN_GROUP))
            assert page.evaluate(IN_SIGHT)
            page.keyboard.press("ArrowRight")
        # Each of them once, and none outside
        assert len(set(reached)) == links
        assert {one.split()[0] for one in reached} == {str(at)}
        page.keyboard.press("Home")
        assert page.evaluate(IN_GROUP) == reached[0]
        page.keyboard.press("End")
        assert page.evaluate(IN_GROUP) == reached[-1]
        # It stays the stop: who tabs away and back is where they were
        page.keyboard.press("Tab")
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(IN_GROUP) == reached[-1]


def test_without_scripts_every_link_is_a_stop():
    text = write_reports([real_runs.scanned()])[0].read_text(encoding="utf-8")
    links = re.findall(r"<a [^>]*href[^>]*>", text)
    assert len(links) > 20
    assert not [link for link in links if "tabindex" in link]
