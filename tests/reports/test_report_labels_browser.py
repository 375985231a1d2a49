"""Labels of plots: names from runs are shown as they are, and read as no tag, no template and no control."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_runs import compared, copied
from report_builders import token_row, unspeakable_row, write_run
from solver_builders import WEAK, comparison

from reports.compare_report import write_compare_report
from reports.render import asset, environment
from reports.solvers_page import write_solvers_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]

LINK = '<a href="https://example.org">press</a><b>bold</b>%{x}&amp;'
WILD = "\u202egnp\u2066\x1b[31m\x9b\u200b\u2028"
SHOWN = "U+202EgnpU+2066ESC[31mU+009BU+200BU+2028"


@pytest.fixture(scope="module")
def evaluate(browser: Browser) -> Iterator[Any]:
    """Functions of the plotting script on a page of its own, called by name."""
    page = browser.new_page()
    page.add_script_tag(content=asset("marks.js") + asset("plots.js"))
    yield lambda name, value: page.evaluate(f"value => {name}(value)", value)
    page.close()


def test_names_are_made_safe_for_labels(evaluate: Any):
    assert evaluate("plotText", "this model, d = 64") == "this model, d = 64"
    assert evaluate("plotText", WILD) == SHOWN
    assert evaluate("plotText", "a <b>&%{x}") == "a &lt;b&gt;&amp;%&#123;x}"
    assert evaluate("plotText", 3) == "3"
    assert evaluate("plotToken", f"<i>{WILD}") == f"&lt;i&gt;{SHOWN}"


def test_what_reaches_the_library_holds_no_tag_but_the_pages_own(evaluate: Any):
    own = "margin %{x:.3g}<br>of two<extra></extra> &lt;b&gt;"
    assert evaluate("tamed", own) == own
    figure = {"name": LINK, "x": [1, None, 0.5, "<b>"], "deep": [{"text": f"<br/>{WILD}<BR>", "n": True, "no": None}]}
    assert evaluate("tamed", figure) == {
        "name": '&lt;a href="https://example.org">press&lt;/a>&lt;b>bold&lt;/b>%{x}&amp;',
        "x": [1, None, 0.5, "&lt;b>"],
        "deep": [{"text": f"&lt;br/>{SHOWN}&lt;BR>", "n": True, "no": None}],
    }


def test_every_plot_goes_through_the_last_gate():
    for name in environment().list_templates():
        calls = re.findall(r"Plotly\.(?:react|newPlot|relayout|restyle|update|addTraces)\(", asset(name))
        assert len(calls) == (name == "plots.js"), name


def words(page: Page, place: str) -> list[str]:
    """Every text of a plot, having checked that it holds neither a link nor anything bold or wild."""
    page.locator("html[data-plots='drawn']").wait_for(state="attached")
    plot = page.locator(place)
    assert plot.locator("svg a").count() == 0
    assert plot.locator("svg tspan[style*='font-weight']").count() == 0
    found = plot.locator("svg text").all_text_contents()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", "".join(found))
    return found


def hovered(page: Page, place: str, trace: int, start: str) -> None:
    """Point at the first point of a trace: a box appears, one text of which begins so."""
    page.evaluate(
        "([place, trace]) => Plotly.Fx.hover(place, [{ curveNumber: trace, pointNumber: 0 }])", [place, trace]
    )
    page.wait_for_function(
        """([place, start]) => [...document.querySelectorAll(`#${place} .hoverlayer text`)]
            .some((text) => text.textContent.startsWith(start))""",
        arg=[place, start],
    )
    words(page, f"#{place}")


def test_runs_side_by_side_with_wild_names(visit: Visit, tmp_path: Path):
    rows = [token_row(margin_lower=0.5 + at) for at in range(6)] + [unspeakable_row()]
    names = [f"<b>a<br>%{{x}}&amp;{WILD}", "plain"]
    runs = [write_run(tmp_path / name, rows) for name in names]
    page = visit(write_compare_report(runs, tmp_path / "compare.html"))
    assert f"<b>a<br>%{{x}}&amp;{SHOWN}" in words(page, "#plot-speakable")
    hovered(page, "plot-speakable", 0, f"<b>a<br>%{{x}}&amp;{SHOWN}")
    assert f"bound on the margin in <b>a<br>%{{x}}&amp;{SHOWN}, logits" in words(page, "#plot-pair-0")


def test_backends_with_wild_names(visit: Visit, tmp_path: Path):
    """The record of a comparison that somebody else made."""
    name = LINK + WILD
    run = copied(compared(), tmp_path / "run")
    record = json.loads(json.dumps(comparison()).replace(json.dumps(WEAK), json.dumps(name)))
    record["hidden"] = [one for one in record["hidden"] if one["method"] == name]
    (run / "solvers.json").write_text(json.dumps(record), encoding="utf-8")
    page = visit(write_solvers_page(run))
    for place in ("#plot-profile", "#plot-hidden", "#plot-disagree", "#plot-detection"):
        assert any(text.startswith(LINK) and text.endswith(SHOWN) for text in words(page, place)), place
    drawn = list(record["problems"]["model"]["profile"]["share"])
    hovered(page, "plot-profile", drawn.index(name), f"{LINK}{SHOWN}within")
    hovered(page, "plot-hidden", 0, f"{LINK}{SHOWN}: {record['hidden'][0]['found']}")
