from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from report_builders import token_row, write_run
from solver_builders import write_comparison

from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture
def page(visit: Visit, tmp_path: Path) -> Page:
    run = write_comparison(write_run(tmp_path / "run", [token_row(token=f"t{at}") for at in range(4)]))
    found = visit(write_reports([run])[1])
    found.locator("html[data-plots='drawn']").wait_for(state="attached")
    return found


def test_every_plot_is_drawn_without_complaint(page: Page):
    for name, lines in (("detection", 6), ("profile", 2), ("hidden", 3)):
        assert page.locator(f"#plot-{name} .scatterlayer .trace").count() == lines, name
    page.click("#theme")
    page.hover("#plot-hidden .nsewdrag")


def test_two_backends_can_be_chosen_from_the_keyboard(page: Page):
    # The pair that disagrees most is shown at once
    assert "disagree on 1 of the 4 tokens" in page.inner_text("#picked")
    page.select_option("#pick-b", "strong")
    assert page.inner_text("#picked") == "Choose two different backends."


def test_a_cell_of_the_heat_map_opens_its_tokens_and_they_open_in_the_report(page: Page):
    page.select_option("#pick-b", "strong")
    page.locator("#plot-disagree").scroll_into_view_if_needed()
    box = page.locator("#plot-disagree .nsewdrag").bounding_box()
    assert box is not None
    # Two by two cells: the one at the top right
    x, y = box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"]
    page.mouse.move(x, y)
    page.mouse.click(x, y)
    page.locator("#picked .chip").click()
    page.locator("#panel-title:text-is('Token 1')").wait_for()
