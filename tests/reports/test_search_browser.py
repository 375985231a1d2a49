"""The page of `reach search` in a browser, from a real search of a tiny model."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "reach" / "search"))
from tiny_search import few_steps, live_of, tiny_llama

from reach.search.command import SearchOrder, search_to_folder
from reach.search.roundtrip import RoundTrip
from reach.vocabulary import Vocabulary
from reports.search_report import write_search_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "run"
    with pytest.MonkeyPatch.context() as less:
        less.setattr("reach.search.phases.SAMPLED", 512)
        less.setattr("reach.search.strength.PLANTS", 128)
        live = live_of(tiny_llama())
        names = [f"<t{token}>" for token in range(live.v)]
        search_to_folder(
            live, RoundTrip(None), Vocabulary(names, [None] * live.v, []), None, folder, few_steps(budget=6.0),
            SearchOrder("tiny", {"model": "tiny"}),
        )  # fmt: skip
    write_search_report(folder)
    return folder


@pytest.fixture
def page(visit: Visit, run: Path) -> Page:
    found = visit(run / "search.html")
    found.locator("html[data-plots='drawn']").wait_for(state="attached")
    return found


def test_every_method_has_a_curve_at_the_level_and_length_chosen(page: Page, run: Path):
    curves = json.loads((run / "search.json").read_text())["strength"]["curves"]
    lines = page.locator("#plot-contest .scatterlayer .trace")
    assert lines.count() == 4
    page.select_option("#contest-level", "tokens")
    # Single tokens are tried out at once: no method has anything left to find.
    assert page.locator("#contest-length option").all_inner_texts() == ["2"]
    page.wait_for_function("document.querySelectorAll('#plot-contest .scatterlayer .trace').length === 2")
    page.select_option("#contest-level", "hull")
    page.select_option("#contest-length", "2")
    page.wait_for_function("document.querySelectorAll('#plot-contest .scatterlayer .trace').length === 4")
    shown = page.locator("[aria-label='Methods against each other'] tbody tr").filter(has_text="Convex hull").last
    last = [str(one["points"][-1][2]) for one in curves if (one["level"], one["length"]) == ("hull", 2)]
    assert shown.locator("td").all_inner_texts()[2:6] == last


def test_a_token_opens_with_its_prompt_and_with_its_nearest_tokens(page: Page, run: Path):
    prompt = pq.read_table(run / "search_witnesses" / "prompts.parquet").to_pylist()[0]
    page.fill("#pick-token", str(prompt["token_id"]))
    page.keyboard.press("Enter")
    text = page.inner_text("#picked")
    assert f"<t{prompt['token_id']}>" in text
    assert all(f"<t{token}>" in text for token in prompt["ids"])
    nearest = pq.read_table(run / "search_witnesses" / "nearest.parquet").to_pylist()[0]
    page.fill("#pick-token", str(nearest["token_id"]))
    page.keyboard.press("Enter")
    assert f"<t{nearest['row_id'][0]}>" in page.inner_text("#picked")


def test_the_plots_follow_the_theme(page: Page):
    colour = "getComputedStyle(document.querySelector('#plot-contest .scatterlayer path.js-line')).stroke"
    before = page.evaluate(colour)
    page.click("#theme")
    page.wait_for_function(f"{colour} !== {json.dumps(before)}")


def test_methods_with_wild_names_are_plain_labels(visit: Visit, run: Path, tmp_path: Path):
    """The record of a search that somebody else made."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    record = json.loads((copy / "search.json").read_text())
    for one in record["strength"]["curves"]:
        one["method"] += '<a href="https://example.org">press</a>%{x}\u202e\x1b'
    (copy / "search.json").write_text(json.dumps(record))
    page = visit(write_search_report(copy))
    page.locator("html[data-plots='drawn']").wait_for(state="attached")
    shown = page.locator("#plot-contest .legendtext").all_text_contents()
    assert shown
    assert all(text.endswith('<a href="https://example.org">press</a>%{x}U+202EESC') for text in shown)
    assert page.locator("#plot-contest svg a").count() == 0
