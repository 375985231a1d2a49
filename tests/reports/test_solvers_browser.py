from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_runs import compared, copied
from solver_builders import STRONG, older_problems, write_comparison

from reports.solvers_page import write_solvers_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture
def page(visit: Visit) -> Page:
    found = visit(compared() / "solvers.html")
    found.locator("html[data-plots='drawn']").wait_for(state="attached")
    return found


@pytest.fixture
def apart(visit: Visit, tmp_path: Path) -> Page:
    """The page of backends that disagree."""
    run = write_comparison(copied(compared(), tmp_path / "run"), problems=older_problems())
    found = visit(write_solvers_page(run))
    found.locator("html[data-plots='drawn']").wait_for(state="attached")
    return found


def test_every_plot_is_drawn_without_complaint(page: Page):
    # Two backends, each with a small chart of a line
    for place, lines in (
        ("#plot-detection .limits:not([hidden])", 2), ("#plot-profile", 2), ("#plot-hidden", 3),
    ):  # fmt: skip
        assert page.locator(f"{place} path[data-name]").count() == lines, place
    page.select_option("#pick-kind", "unspeakable")
    assert page.locator("#plot-detection .limits:not([hidden])").get_attribute("data-kind") == "unspeakable"
    page.click("#theme")
    page.hover("#plot-hidden")


def test_two_backends_can_be_chosen_from_the_keyboard(apart: Page):
    # The pair that disagrees most is shown at once
    disagreements = older_problems()["model"]["disagreements"]
    count, both = len(disagreements["tokens"]), disagreements["compared"][0][1]
    assert 0 < count < both
    assert f"disagree on {count} of the {both} tokens" in apart.inner_text("#picked")
    assert apart.locator("#picked .chip").count() == count
    apart.select_option("#pick-b", STRONG)
    assert apart.inner_text("#picked") == "Choose two different backends."


def test_a_cell_of_the_heat_map_opens_its_tokens_and_they_open_in_the_report(apart: Page):
    apart.select_option("#pick-b", STRONG)
    # Two by two cells: the one at the top right
    cell = apart.locator("#pairs [data-pair='0 1']")
    apart_on = older_problems()["model"]["disagreements"]
    assert cell.inner_text() == str(len(apart_on["tokens"]))
    count, of = len(apart_on["tokens"]), apart_on["compared"][0][1]
    assert cell.get_attribute("title") == f"{' and '.join(apart_on['backends'])} disagree on {count} of {of} tokens"
    cell.click()
    token = older_problems()["model"]["disagreements"]["tokens"][0]["token_id"]
    apart.locator("#picked .chip").first.click()
    apart.locator(f"#panel-title:text-is('Token {token}')").wait_for()


def test_the_list_of_a_pair_is_one_stop_and_arrow_keys_go_through_it(apart: Page):
    chips = apart.locator("#picked ul.chips a")
    assert chips.count() > 1
    assert chips.evaluate_all("all => all.map((one) => one.tabIndex)") == [0] + [-1] * (chips.count() - 1)
    chips.first.focus()
    for _ in range(chips.count() - 1):
        apart.keyboard.press("ArrowRight")
    assert chips.last.evaluate("one => one === document.activeElement")
