"""Every page at three widths: nothing is cut off, labels of charts are right and apart, and loading is light work."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import real_runs
from every_page import KINDS, TOKEN_OF, page_of
from headless import NOTE_BLOCKS

from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]
WIDTHS = [1400, 800, 390]
MOST_BLOCKED = 1.0
"""Longest task of the main thread until a page is ready, in units of SPIN."""

# Everything whose content is wider than its place, and that neither scrolls nor says the whole in a title.
CUT = """() => {
  const whole = (node) => node.textContent.replaceAll(/\\s+/g, ' ').trim();
  const told = (node) => [node, ...node.querySelectorAll('[title]')].some((one) => one.title);
  return [...document.querySelectorAll('main *, #panel *, .topbar *')].filter((node) => {
    if (!(node instanceof HTMLElement) || !node.checkVisibility()) return false;
    if (node.scrollWidth <= node.clientWidth + 1) return false;
    const style = getComputedStyle(node);
    if (style.display === 'inline') return false;
    if (['auto', 'scroll'].includes(style.overflowX)) return false;
    if (node.closest('.grid') && node.matches('.body, .head, .line, .block')) return false;
    if (style.overflowX === 'visible' && !node.matches('td, th, .cell')) return false;
    return !(style.textOverflow === 'ellipsis' && told(node));
  }).map((node) => `${node.tagName} ${node.className}: ${whole(node).slice(0, 80)}`);
}"""

# Of each chart of the page: its axes with labels (places in pixels of the drawing), and labels that overlap.
CHARTS = """() => [...document.querySelectorAll('svg.drawn')].filter((one) => one.checkVisibility()).map((chart) => {
  const [left, right, top, floor] = chart.dataset.frame.split(' ').map(Number);
  const labels = [...chart.querySelectorAll('.ticks text:not(.title)')].map((one) => ({
    x: Number(one.getAttribute('x')), y: Number(one.getAttribute('y')), word: one.textContent,
  }));
  const [across, down] = [labels.filter(({ y }) => y > floor + 10), labels.filter(({ y }) => y <= floor + 10)];
  const texts = [...chart.querySelectorAll('text')].map((one) => [one.textContent, one.getBoundingClientRect()]);
  const touch = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  const overlaps = [];
  for (const [at, [one, box]] of texts.entries()) for (const [other, there] of texts.slice(at + 1)) {
    if (touch(box, there)) overlaps.push(`${one} | ${other}`);
  }
  const frame = chart.closest('figure, section').getBoundingClientRect();
  const [xName, yName] = chart.dataset.names.split('|');
  return {
    id: chart.id, overlaps, axes: [
      [xName, chart.dataset.x, across.map(({ x, word }) => [(x - left) / (right - left), word])],
      [yName, chart.dataset.y, down.map(({ y, word }) => [(floor - y + 4) / (floor - top), word])],
    ],
    outside: texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1).map(([one]) => one),
  };
})"""


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_off_and_labels_are_right(visit: Visit, kind: str) -> None:
    fragment = f"#token={TOKEN_OF[kind]}" if kind in TOKEN_OF else ""
    page = visit(page_of(kind), fragment, viewport={"width": WIDTHS[0], "height": 900}, reduced_motion="reduce")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))")
        assert page.evaluate(CUT) == [], width
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        for chart in page.evaluate(CHARTS):
            assert chart["overlaps"] == [], (width, chart["id"])
            assert chart["outside"] == [], (width, chart["id"])
            for name, scale, labels in chart["axes"]:
                labels_are_right(name, scale, labels)


def labels_are_right(name: str, scale: str, labels: list[tuple[float, str]]) -> None:
    """No two alike, and each number where the scale has it; axes of counts begin at 0."""
    kind, *ends = scale.split()
    low, high, unit = map(float, ends[:3])
    assert len({word for _, word in labels}) == len(labels) > 1, labels
    assert all(one[0] < other[0] for one, other in pairwise(sorted(labels)))
    if name in ("tokens", "% of the tokens"):
        assert low == 0
    bent = {"linear": lambda value: value, "log": math.log10, "signed": lambda value: math.asinh(value / unit)}[kind]
    for share, word in labels:
        value = as_number(word)
        if value is None:
            continue
        place = (bent(abs(value) if kind == "log" else value) - bent(low)) / (bent(high) - bent(low))
        assert (1 - place if ends[3:] else place) == pytest.approx(share, abs=0.02), (name, word)


def as_number(word: str) -> float | None:
    """A label's number; None for a name."""
    try:
        return float(word.replace("−", "-").replace(",", ""))
    except ValueError:
        return None


SPIN = """() => {
  const started = performance.now();
  const found = new Float64Array(2_000_000);
  for (let at = 0; at < found.length; at++) found[at] = Math.sin(at);
  found.sort();
  return performance.now() - started;
}"""
"""A piece of work of known size: how long this machine takes for it, in ms."""


def test_loading_a_long_table_keeps_the_page_alive(visit: Visit) -> None:
    """Loading is cut into pieces, none longer than some share of sorting two million numbers at a stretch."""
    file = write_reports([real_runs.scanned_at_length()])[0]
    ratios = []
    for _ in range(3):
        page = visit(file, before=NOTE_BLOCKS)
        spin = min(page.evaluate(SPIN) for _ in range(2))
        page.wait_for_timeout(200)
        ready = page.evaluate("performance.getEntriesByName('reach-ready')[0].startTime")
        blocks = [duration for start, duration in page.evaluate("window.blocks") if start <= ready]
        ratios.append(max(blocks, default=0.0) / spin)
    assert min(ratios) < MOST_BLOCKED, ratios
