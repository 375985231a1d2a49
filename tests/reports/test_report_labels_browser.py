"""Labels of plots: names from runs are shown as they are, and read as no tag, no template and no control."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_runs import compared, copied
from report_builders import token_row, unspeakable_row, write_run
from solver_builders import WEAK, comparison

from reports.compare_report import write_compare_report
from reports.solvers_page import write_solvers_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]

LINK = '<a href="https://example.org">press</a><b>bold</b>%{x}&amp;'
WILD = "\u202egnp\u2066\x1b[31m\x9b\u200b\u2028"
SHOWN = "U+202EgnpU+2066ESC[31mU+009BU+200BU+2028"


def words(page: Page, place: str) -> list[str]:
    """Every text of a chart and its legend, having checked that it holds neither a link nor anything wild."""
    figure = page.locator("figure", has=page.locator(place)).first
    assert figure.locator("a, b").count() == 0
    found = [str(one).strip() for one in figure.locator("svg.drawn text, .legend li, figcaption").all_text_contents()]
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", "".join(found))
    return found


def hovered(page: Page, place: str, name: str) -> str:
    """Point at the first point of a mark: a box says its name and values."""
    chart = page.locator(place)
    chart.scroll_into_view_if_needed()
    mark = next(one for one in chart.locator("path[data-name]").all() if one.get_attribute("data-name") == name)
    start = re.match(r"M([\d.]+) ([\d.]+)", str(mark.get_attribute("d")))
    assert start is not None
    box, width = chart.bounding_box(), float(str(chart.get_attribute("viewBox")).split()[2])
    assert box is not None
    scale = box["width"] / width
    page.mouse.move(box["x"] + float(start[1]) * scale, box["y"] + float(start[2]) * scale)
    said = page.locator("figure", has=chart).first.locator(".readout")
    said.wait_for(state="visible")
    return said.inner_text()


def test_runs_side_by_side_with_wild_names(visit: Visit, tmp_path: Path):
    rows = [token_row(margin_lower=0.5 + at) for at in range(6)] + [unspeakable_row()]
    names = [f"<b>a<br>%{{x}}&amp;{WILD}", "plain"]
    runs = [write_run(tmp_path / name, rows) for name in names]
    page = visit(write_compare_report(runs, tmp_path / "compare.html"))
    assert f"<b>a<br>%{{x}}&amp;{SHOWN}" in words(page, "#plot-speakable")
    assert hovered(page, "#plot-speakable", f"<b>a<br>%{{x}}&amp;{SHOWN}").startswith(f"<b>a<br>%{{x}}&amp;{SHOWN}: ")
    assert f"bound on the margin in <b>a<br>%{{x}}&amp;{SHOWN}, logits" in words(page, "#plot-pair-0")


def test_backends_with_wild_names(visit: Visit, tmp_path: Path):
    """The record of a comparison that somebody else made."""
    name = LINK + WILD
    run = copied(compared(), tmp_path / "run")
    record = json.loads(json.dumps(comparison()).replace(json.dumps(WEAK), json.dumps(name)))
    record["hidden"] = [one for one in record["hidden"] if one["method"] == name]
    (run / "solvers.json").write_text(json.dumps(record), encoding="utf-8")
    page = visit(write_solvers_page(run))
    for place in ("#plot-profile", "#plot-hidden", "#plot-detection-0-0"):
        assert any(text.startswith(LINK[:21]) for text in words(page, place)), place
    assert page.locator("#pairs a, #pairs b").count() == 0
    assert any(text.startswith(LINK) and text.endswith(SHOWN) for text in page.locator("#pairs th").all_inner_texts())
    # A share of tokens within so many times the fastest, and a count: the values that the record has
    profile = record["problems"]["model"]["profile"]
    said = hovered(page, "#plot-profile", f"{LINK}{SHOWN}").removeprefix(f"{LINK}{SHOWN}: ")
    assert [float(one.replace("−", "-")) for one in said.split(", ")] == pytest.approx(
        [profile["tau"][0], 100 * profile["share"][name][0]], rel=0.02, abs=0.5
    )
    hidden = record["hidden"][0]
    assert hovered(page, "#plot-hidden", "found").startswith("found: ")
    assert float(hovered(page, "#plot-hidden", "found").split(": ")[1].split(",")[0]) == pytest.approx(
        hidden["found"], rel=0.02, abs=0.5
    )
