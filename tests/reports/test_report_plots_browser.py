from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dots import NO_WEBGL, data_of, drag, painted, pixel_of, view_of
from report_builders import HOSTILE, token_row, unspeakable_row, write_run

from reports.compare_report import write_compare_report
from reports.index_report import write_index
from reports.scan_report import write_scan_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
SCATTER = "#plot-scatter"
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


def test_the_brush_filters_the_table(visit: Visit, report: Path):
    page = drawn(visit(report))
    # When a box is dragged over the left half of the plot
    drag(page, SCATTER, (0.02, 0.02), (0.5, 0.98))
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
    whole = view_of(page, SCATTER)
    page.click("#scatter-zoom")
    assert page.get_attribute("#scatter-zoom", "aria-pressed") == "true"
    drag(page, SCATTER, (0.2, 0.1), (0.5, 0.9))
    zoomed = view_of(page, SCATTER)
    width = whole["x"][1] - whole["x"][0]
    assert zoomed["x"] == pytest.approx([whole["x"][0] + 0.2 * width, whole["x"][0] + 0.5 * width], abs=0.005 * width)
    assert ranges(page) == ["", "", "", ""]
    page.click("#scatter-reset")
    assert view_of(page, SCATTER) == whole


def test_the_plot_is_moved_by_hand_wheel_and_keys(visit: Visit, report: Path):
    page = drawn(visit(report))
    whole = view_of(page, SCATTER)
    width = whole["x"][1] - whole["x"][0]
    # A hand moves it
    page.click("#scatter-move")
    drag(page, SCATTER, (0.5, 0.5), (0.4, 0.5))
    moved = view_of(page, SCATTER)
    assert moved["x"] == pytest.approx([end + 0.1 * width for end in whole["x"]], abs=0.005 * width)
    assert moved["y"] == pytest.approx(whole["y"])
    # The wheel zooms it where the pointer is, now that it has the focus
    page.mouse.wheel(0, -300)
    nearer = view_of(page, SCATTER)
    assert nearer["x"][1] - nearer["x"][0] < 0.8 * width
    at = moved["x"][0] + 0.4 * width
    share = (at - nearer["x"][0]) / (nearer["x"][1] - nearer["x"][0])
    assert share == pytest.approx(0.4, abs=0.01)
    # And so do the keys
    page.keyboard.press("0")
    assert view_of(page, SCATTER) == whole
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    keyed = view_of(page, SCATTER)
    assert keyed["x"][1] - keyed["x"][0] == pytest.approx(width / 1.4)
    assert sum(keyed["x"]) / 2 == pytest.approx(sum(whole["x"]) / 2 + 0.15 * width / 1.4)


def test_a_wheel_over_a_plot_without_the_focus_scrolls_the_page(visit: Visit, report: Path):
    page = drawn(visit(report))
    page.mouse.move(*pixel_of(page, SCATTER, 10.0, 0.0))
    whole, before = view_of(page, SCATTER), page.evaluate("scrollY")
    page.mouse.wheel(0, -200)
    page.wait_for_timeout(300)
    assert view_of(page, SCATTER) == whole
    assert page.evaluate("scrollY") < before


def test_pointing_names_the_dot_and_a_click_opens_it(visit: Visit, report: Path):
    page = drawn(visit(report))
    page.click("#scatter-log")  # straight margins, so that places follow from the numbers of the run
    at = pixel_of(page, SCATTER, 1.0 + 18, MARGINS[18])
    page.mouse.move(*at)
    tip = page.locator(f"{SCATTER} .dots-tip")
    assert tip.inner_text().splitlines()[:2] == ["t18", "token 18, speakable"]
    page.mouse.click(*at)
    page.locator("#panel-title:text-is('Token 18')").wait_for()
    assert page.url.endswith("#token=18")


def test_groups_are_counted_and_can_be_switched_off(visit: Visit, report: Path):
    page = drawn(visit(report))
    keys = page.locator("#scatter-legend button:visible")
    names = [one.split() for one in keys.all_inner_texts()]
    assert names == [["own-direction", "10"], ["hard-to-speak", "10"], ["unspeakable", str(len(HOSTILE))]]
    view_of(page, SCATTER)
    full = painted(page, SCATTER)
    keys.first.click()
    assert keys.first.get_attribute("aria-pressed") == "false"
    view_of(page, SCATTER)
    assert 0 < painted(page, SCATTER) < full
    # Tokens that are not shown cannot be pointed at
    page.click("#scatter-log")
    page.mouse.move(*pixel_of(page, SCATTER, 1.0 + 18, MARGINS[18]))
    assert page.locator(f"{SCATTER} .dots-tip").is_hidden()


@pytest.mark.parametrize("painter", ["webgl", "canvas", "lost"])
def test_dots_are_drawn_with_and_without_webgl(visit: Visit, report: Path, painter: str):
    page = drawn(visit(report, before=None if painter != "canvas" else NO_WEBGL))
    view_of(page, SCATTER)
    if painter == "lost":
        lose = "document.querySelector('#plot-scatter canvas').getContext('webgl').getExtension('WEBGL_lose_context')"
        page.evaluate(f"(window.lost = {lose}).loseContext()")
        page.locator(f"{SCATTER}[data-painter='canvas']").wait_for()
        assert view_of(page, SCATTER)
        assert painted(page, SCATTER) > 200
        page.evaluate("window.lost.restoreContext()")
    wanted = "canvas" if painter == "canvas" else "webgl"
    page.locator(f"{SCATTER}[data-painter='{wanted}']").wait_for()
    view_of(page, SCATTER)
    assert data_of(page, SCATTER)["dots"] == str(20 + len(HOSTILE))
    # 33 dots of some 20 pixels; 13 of them lie at one norm
    assert 200 < painted(page, SCATTER) < 2000


def test_a_bar_shows_its_tokens(visit: Visit, report: Path):
    page = drawn(visit(report))
    page.locator("#hist-unspeakable rect.bin").first.click()
    page.locator("#status:text-matches('^[0-9]+ of ')").wait_for()
    found = shown(page)
    assert page.is_checked("#verdict-unspeakable")
    assert found
    assert all(token >= 20 for token in found)


def test_the_axis_is_logarithmic_only_as_long_as_it_is_wanted(visit: Visit, report: Path):
    page = drawn(visit(report))
    title = page.locator(f"{SCATTER} .label").last
    assert "signed log" in title.text_content()
    page.click("#scatter-log")
    page.locator(f"{SCATTER} .label:text-is('margin, logits')").wait_for(state="attached")
    ticks = [
        float(one.replace("−", "-"))
        for one in page.locator(f"{SCATTER} .tick[text-anchor='end']").all_text_contents()
    ]
    steps = {round(after - before, 9) for before, after in pairwise(ticks)}
    assert len(steps) == 1


def test_plots_follow_the_theme(visit: Visit, report: Path):
    page = drawn(visit(report, color_scheme="light"))
    fill = "getComputedStyle(document.querySelector('#plot-unspeakable rect.bin')).fill"
    before = page.evaluate(fill)
    page.click("#theme")
    page.wait_for_timeout(300)
    assert page.evaluate(fill) != before


def test_hostile_tokens_in_plots_stay_text(visit: Visit, report: Path):
    page = drawn(visit(report))
    page.click("#scatter-log")
    tip = page.locator(f"{SCATTER} .dots-tip")
    for at, text in enumerate(HOSTILE):
        page.mouse.move(*pixel_of(page, SCATTER, 30.0, -0.1 - at))
        assert f"token {20 + at}, unspeakable" in tip.inner_text()
        assert tip.locator("*:not(bdi, div, .mark)").count() == 0
        if text.startswith("<"):
            assert tip.locator("bdi").text_content().replace("␣", " ") == text[:40] or "more" in tip.inner_text()
    assert page.evaluate("window.owned") is None


def test_the_panel_names_the_nearest_rows(visit: Visit, report: Path):
    page = visit(report, "#token=0")
    table = page.locator("#panel .nearest")
    assert table.locator("tbody tr").all_inner_texts() == ["t1\t0.900\t0.1000", "t2\t−0.500\t2.000"]
    page.evaluate("location.hash = 'token=3'")
    page.locator("#panel-title:text-is('Token 3')").wait_for()
    assert page.locator("#panel .nearest").count() == 0


COLOURS = """() => {
  const seen = [...document.querySelectorAll('#plot-scatter canvas')].find((one) => !one.hidden);
  const copy = Object.assign(document.createElement('canvas'), {width: seen.width, height: seen.height});
  copy.getContext('2d').drawImage(seen, 0, 0);
  const parts = copy.getContext('2d').getImageData(0, 0, copy.width, copy.height).data;
  const found = new Set();
  for (let at = 0; at < parts.length; at += 4) {
    if (parts[at + 3] > 200) found.add([parts[at], parts[at + 1], parts[at + 2]].map((part) => part >> 4).join(' '));
  }
  return [...found].sort().join(', ');
}"""


def test_dots_are_light_on_paper_and_follow_the_theme(visit: Visit, report: Path):
    page = drawn(visit(report, color_scheme="light"))
    view_of(page, SCATTER)
    light = page.evaluate(COLOURS)
    page.click("#theme")
    view_of(page, SCATTER)
    page.wait_for_function(f"light => ({COLOURS})() !== light", arg=light)
    dark = page.evaluate(COLOURS)
    # Before paper is asked for, the canvas is painted as on a light page; afterwards as it was
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(COLOURS) == light
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(COLOURS) == dark
    page.emulate_media(media="print")
    assert page.locator(SCATTER).is_visible()
    assert page.locator("#plot-unspeakable").is_visible()
    assert page.locator("#scatter-tools").is_hidden()


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
