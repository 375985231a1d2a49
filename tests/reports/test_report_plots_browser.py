from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from report_builders import HOSTILE, token_row, unspeakable_row, write_run

from reports.compare_report import write_compare_report
from reports.index_report import write_index
from reports.scan_report import write_scan_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]

# Norms grow with the id, so a brush over the left half holds the lower ids.
MARGINS = [0.002 * 1.5**at for at in range(20)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        token_row(
            token=f"t{at}", margin_lower=margin, margin_upper=1.5 * margin, row_norm=1.0 + at,
            own_direction=at % 2 == 0,
        )
        for at, margin in enumerate(MARGINS)
    ]  # fmt: skip
    rows += [unspeakable_row(token=one, margin_upper=-0.1 - at, row_norm=30.0) for at, one in enumerate(HOSTILE)]
    nearest = [(0, 1, 0.9, 0.1), (0, 2, -0.5, 2.0)]
    return write_run(tmp_path_factory.mktemp("plots") / "run", rows, nearest=nearest)


@pytest.fixture(scope="module")
def report(run: Path) -> Path:
    return write_scan_report(run)


def drawn(page: Page) -> Page:
    page.locator("html[data-plots='drawn']").wait_for(state="attached")
    return page


def shown(page: Page) -> list[int]:
    return [int(one) for one in page.locator("#grid-body .c-id").all_inner_texts()]


def ranges(page: Page) -> list[str]:
    return [page.input_value(f"#{name}") for name in ("margin-from", "margin-to", "norm-from", "norm-to")]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the scatter, in shares of its plotting area from the top left."""
    page.locator("#scatter").scroll_into_view_if_needed()
    box = page.locator("#plot-scatter .nsewdrag").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=5)
    page.mouse.up()


def test_the_brush_filters_the_table(visit: Visit, report: Path):
    page = drawn(visit(report))
    # When a box is dragged over the left half of the plot
    drag(page, (0.02, 0.02), (0.5, 0.98))
    page.locator("#status:text-matches('^[0-9]+ of ')").wait_for()
    # Then the table holds what lies in the box, all of it
    bounds = [float(one) for one in ranges(page)]
    expected = [
        at
        for at, margin in enumerate(MARGINS)
        if bounds[0] <= margin <= bounds[1] and bounds[2] <= 1.0 + at <= bounds[3]
    ]
    assert shown(page) == expected
    assert 0 < len(expected) < 20
    # And Clear takes the brush away
    page.click("#clear")
    assert ranges(page) == ["", "", "", ""]
    assert page.inner_text("#status") == f"All {20 + len(HOSTILE)} tokens"


def test_ranges_can_be_typed(visit: Visit, report: Path):
    page = visit(report)
    page.fill("#norm-from", "3")
    page.fill("#norm-to", "5")
    assert shown(page) == [2, 3, 4]
    page.fill("#margin-from", str(MARGINS[3]))
    assert shown(page) == [3, 4]


def test_zooming_and_back(visit: Visit, report: Path):
    page = drawn(visit(report))
    axis = "document.getElementById('plot-scatter').layout.xaxis.range.map(Number)"
    whole = page.evaluate(axis)
    page.click("#scatter-zoom")
    assert page.get_attribute("#scatter-zoom", "aria-pressed") == "true"
    drag(page, (0.2, 0.1), (0.5, 0.9))
    page.wait_for_timeout(200)
    zoomed = page.evaluate(axis)
    assert whole[0] < zoomed[0] < zoomed[1] < whole[1]
    assert ranges(page) == ["", "", "", ""]
    page.click("#scatter-reset")
    page.wait_for_timeout(200)
    assert page.evaluate(axis) == whole


def test_a_bar_shows_its_tokens(visit: Visit, report: Path):
    page = drawn(visit(report))
    page.locator("#plot-unspeakable").scroll_into_view_if_needed()
    page.locator("#plot-unspeakable .nsewdrag").wait_for(state="attached")
    box = page.locator("#plot-unspeakable .bars .point path").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    found = shown(page)
    assert page.is_checked("#verdict-unspeakable")
    assert found
    assert all(token >= 20 for token in found)


def test_the_axis_is_logarithmic_only_as_long_as_it_is_wanted(visit: Visit, report: Path):
    page = drawn(visit(report))
    title = "document.getElementById('plot-scatter').layout.yaxis.title.text"
    assert "signed log" in page.evaluate(title)
    page.click("#scatter-log")
    assert "signed log" not in page.evaluate(title)


def test_plots_follow_the_theme(visit: Visit, report: Path):
    page = drawn(visit(report, color_scheme="light"))
    fill = "getComputedStyle(document.querySelector('#plot-unspeakable .bars path')).fill"
    before = page.evaluate(fill)
    page.click("#theme")
    page.wait_for_timeout(300)
    assert page.evaluate(fill) != before


def test_hostile_tokens_in_plots_stay_text(visit: Visit, report: Path):
    page = drawn(visit(report))
    texts = page.evaluate("document.getElementById('plot-scatter').data.flatMap(trace => trace.hovertext)")
    assert len(texts) == 20 + len(HOSTILE)
    assert not any("<" in text.replace("<br>", "") for text in texts)
    assert page.evaluate("window.owned") is None


def test_the_panel_names_the_nearest_rows(visit: Visit, report: Path):
    page = visit(report, "#token=0")
    table = page.locator("#panel .nearest")
    assert table.locator("tbody tr").all_inner_texts() == ["t1\t0.900\t0.1000", "t2\t−0.500\t2.000"]
    page.evaluate("location.hash = 'token=3'")
    page.locator("#panel-title:text-is('Token 3')").wait_for()
    assert page.locator("#panel .nearest").count() == 0


def test_paper_gets_still_histograms(visit: Visit, report: Path):
    page = drawn(visit(report))
    assert page.locator("svg.still").first.is_hidden()
    page.emulate_media(media="print")
    assert page.locator("svg.still").first.is_visible()
    assert page.locator("#plot-unspeakable").is_hidden()
    assert page.locator("#plot-scatter").is_visible()


def test_runs_side_by_side_are_drawn(visit: Visit, run: Path, tmp_path: Path):
    # Margins of at least 8.5 against ones of at most 6.7: all have moved, and 12 are named.
    rows = [token_row(token=f"t{at}", margin_lower=8.5 + at, margin_upper=9.5 + at) for at in range(20)]
    other = write_run(tmp_path / "other run", rows)
    page = drawn(visit(write_compare_report([run, other], tmp_path / "compare.html")))
    assert page.locator("#plot-speakable path[data-name]").count() == 2
    assert page.locator("#plot-pair-0 .marks text").count() == 12
    page.click("#theme")
    assert page.evaluate("window.owned") is None


def test_the_start_page_leads_to_the_reports(visit: Visit, report: Path):
    page = visit(write_index(report.parent.parent))
    page.click("a[href='run/report.html']")
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.inner_text("#status") == f"All {20 + len(HOSTILE)} tokens"
