"""The page of `reach search` in a browser, from a real search of a tiny model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from real_runs import searched, searched_shortly

from reports.search_page import write_search_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture
def page(visit: Visit) -> Page:
    found = visit(searched() / "search.html")
    found.locator("html[data-plots='drawn']").wait_for(state="attached")
    return found


def names() -> list[str]:
    """What each token is called: its text where it has one."""
    table = pq.read_table(searched() / "search.parquet", columns=["token", "text"]).to_pylist()
    # The page shows a space by a sign.
    return [(row["text"] or row["token"] or "").replace(" ", "␣") for row in table]


def witnesses(name: str, run: Path | None = None) -> list[dict[str, Any]]:
    return pq.read_table((run or searched()) / "search_witnesses" / f"{name}.parquet").to_pylist()


def test_every_method_has_a_curve_at_the_level_and_length_chosen(page: Page):
    curves = json.loads((searched() / "search.json").read_text())["strength"]["curves"]
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


def test_a_token_opens_with_its_prompt_and_with_its_nearest_tokens(page: Page):
    prompt = witnesses("prompts")[0]
    page.fill("#pick-token", str(prompt["token_id"]))
    page.keyboard.press("Enter")
    text = page.inner_text("#picked")
    assert names()[prompt["token_id"]] in text
    assert prompt["text"].replace(" ", "␣") in text
    assert f"[{', '.join(map(str, prompt['ids']))}]" in text
    nearest = witnesses("nearest")[0]
    page.fill("#pick-token", str(nearest["token_id"]))
    page.keyboard.press("Enter")
    assert f"nearest: {names()[nearest['row_id'][0]]} (" in page.inner_text("#picked")


def test_what_the_head_proves_out_of_reach_was_not_searched_for(page: Page):
    rows = pq.read_table(searched() / "search.parquet").to_pylist()
    never = next(row["token_id"] for row in rows if row["first_failed"] == "head")
    page.fill("#pick-token", str(never))
    text = page.inner_text("#picked")
    assert "the head proves that no input can" in text
    assert "not found" not in text
    assert "Steps spent" not in text
    # A token that was looked for in vain keeps both.
    missed = next(row["token_id"] for row in rows if row["first_failed"] not in (None, "head"))
    page.fill("#pick-token", str(missed))
    text = page.inner_text("#picked")
    assert "not found" in text
    assert "Steps spent on it" in text


def test_what_was_not_asked_for_was_not_searched_for(visit: Visit, tmp_path: Path):
    page = visit(write_search_report(searched_shortly(), tmp_path / "search.html"))
    page.fill("#pick-token", "50")
    text = page.inner_text("#picked")
    assert "not searched for" in text
    assert "Steps spent" not in text


def test_without_a_tokenizer_a_prompt_is_shown_by_its_ids(visit: Visit, tmp_path: Path):
    run = searched_shortly()
    prompt = witnesses("prompts", run)[0]
    assert prompt["text"] is None
    page = visit(write_search_report(run, tmp_path / "search.html"))
    page.fill("#pick-token", str(prompt["token_id"]))
    page.keyboard.press("Enter")
    ids = prompt["ids"]
    assert f"{' '.join(f'#{one}' for one in ids)} [{', '.join(map(str, ids))}]" in page.inner_text("#picked")


def test_the_plots_follow_the_theme(page: Page):
    colour = "getComputedStyle(document.querySelector('#plot-contest .scatterlayer path.js-line')).stroke"
    before = page.evaluate(colour)
    page.click("#theme")
    page.wait_for_function(f"{colour} !== {json.dumps(before)}")


def test_methods_with_wild_names_are_plain_labels(visit: Visit, tmp_path: Path):
    """The record of a search that somebody else made."""
    copy = Path(shutil.copytree(searched(), tmp_path / "run"))
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
