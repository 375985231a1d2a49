"""Heads without a tokenizer: wherever a token would be named, its id stands with a # before it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_runs import copied, scanned_with_silencers

from reach.runs.folder import RunFolder
from reports.markdown import markdown
from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
UNNAMED = re.compile(r"\bno entry\b|\bnull\b|\bundefined\b|not whole text")


@pytest.mark.browser
def test_the_page_of_a_bare_head_calls_every_token_by_its_id(visit: Visit):
    page = visit(write_reports([scanned_with_silencers()])[0])
    assert not UNNAMED.search(page.inner_text("body"))
    # Chips say it once.
    assert "#39" in [text.strip() for text in page.locator("a.chip.unspeakable").all_inner_texts()]
    # The table: its piece, its text, and its runner-up.
    page.fill("#search", "#39")
    row = page.locator("#row-39")
    row.wait_for()
    assert row.locator(".c-token, .c-text").all_inner_texts() == ["#39", "#39"]
    assert re.fullmatch(r"#\d+", row.locator(".c-runner").inner_text())
    # The panel: its title, who keeps it from the top, and what the vocabulary does not say.
    row.click()
    panel = page.locator("#panel:not([hidden])")
    panel.wait_for()
    assert panel.locator(".bigtoken").inner_text() == "#39"
    assert re.search(r"#\d+ \(", panel.inner_text())
    assert not UNNAMED.search(panel.inner_text())
    assert "does not decode" not in panel.inner_text()


@pytest.mark.browser
def test_two_scans_of_a_bare_head_are_compared_by_ids(visit: Visit, tmp_path: Path):
    runs = [copied(scanned_with_silencers(), tmp_path / name) for name in ("one", "other")]
    page = visit(write_reports(runs, tmp_path / "both.html")[0])
    page.locator("html[data-plots='drawn']").wait_for(state="attached")
    assert not UNNAMED.search(page.inner_text("body"))


def test_the_summary_of_a_bare_head_names_tokens_by_their_ids():
    said = markdown(RunFolder.open(scanned_with_silencers()))
    assert "#39" in said
    assert "no entry" not in said
