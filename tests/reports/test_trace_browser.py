"""The page of a trace in a browser."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import trace_family
from every_page import page_of

from reach.trace.record import TraceResult
from reports.trace_columns import shades
from reports.trace_figures import strip

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit(page_of("trace"), viewport={"width": 1400, "height": 900})


@cache
def rows() -> list[dict[str, Any]]:
    return pq.read_table(trace_family.traced() / "trace.parquet").to_pylist()


def shown(page: Page) -> list[int]:
    """The rows in sight."""
    ids = page.eval_on_selector_all("#grid-body .line", "lines => lines.map((line) => line.id)")
    return [int(one.removeprefix("row-")) for one in ids]


def test_strips_are_those_that_python_draws(page: Page):
    ends = shades(TraceResult.read(trace_family.traced()))
    drawn = page.eval_on_selector_all(
        "#grid-body .line",
        """lines => lines.map((line) => [
          line.id, line.querySelector('.strip').getAttribute('aria-label'),
          [...line.querySelectorAll('.strip path')].map((one) => [one.getAttribute('class'), one.getAttribute('d')]),
        ])""",
    )
    assert len(drawn) > 10
    for name, words, paths in drawn:
        row = rows()[int(name.removeprefix("row-"))]
        wanted = strip(row["class"], row["margin"], row["steps"], ends)
        assert words == wanted.words
        assert sorted(map(tuple, paths)) == sorted(wanted.paths)


def test_a_token_of_all_series_stands_together_and_one_series_can_be_chosen(page: Page):
    names = [one["name"] for one in TraceResult.read(trace_family.traced()).record.plain()["series"]]
    assert page.inner_text("#status") == f"All {len(rows()):,} trajectories"
    assert [(rows()[row]["series"], rows()[row]["token_id"]) for row in shown(page)[:8]] == [
        (name, token) for token in (0, 1) for name in names
    ]
    page.locator("#groups label").filter(has_text=names[2]).first.click()
    page.wait_for_function(
        f"document.querySelector('#status').textContent.startsWith('{trace_family.VOCABULARY} of')"
    )
    assert {rows()[row]["series"] for row in shown(page)} == {names[2]}


def test_rows_are_sorted_by_what_they_show(page: Page):
    page.select_option("#sort", "margin false")
    page.wait_for_function("document.querySelector('[aria-sort=ascending]')")
    margins = [rows()[row]["margin"][-1] for row in shown(page)]
    assert margins == sorted(margins)
    assert margins[0] == min(row["margin"][-1] for row in rows() if row["margin"][-1] is not None)


def test_histories_add_up_to_all_rows_that_are_decided(page: Page):
    labels = page.locator("#groups fieldset").filter(has_text="History").locator("label").all_inner_texts()
    counts = {label.split("\n")[0]: int(label.split("\n")[-1].replace(",", "")) for label in labels}
    turned = [row["turns"] for row in rows()]
    assert counts.get("went back and forth", 0) == sum(one > 1 for one in turned)
    assert sum(counts.values()) == len(rows())


def test_an_id_finds_the_token_in_every_series_and_opens_with_all_its_strips(page: Page):
    page.fill("#search", "#17")
    page.wait_for_function("document.querySelector('#status').textContent.startsWith('4 of')")
    assert {rows()[row]["token_id"] for row in shown(page)} == {17}
    page.keyboard.press("Enter")
    page.locator("#panel").wait_for()
    row = rows()[shown(page)[0]]
    assert page.inner_text("#panel-title") == f"Token 17, {row['series']}"
    assert page.locator("#panel .strips .strip").count() == 4
    steps = page.locator("#panel tbody tr").all_inner_texts()
    assert [one.split("\t")[0] for one in steps] == [str(step) for step in row["steps"]]


def test_one_chart_of_two_series_is_seen_at_a_time(page: Page):
    views = page.locator("#pairs .pairview")
    assert views.count() == 6
    assert page.locator("#pairs .pairview:visible").count() == 1
    page.select_option("#pair", "3")
    assert views.nth(3).is_visible()
    assert page.locator("#pairs .pairview:visible").count() == 1
