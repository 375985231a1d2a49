"""Categories and indicators on the page: the sentence at its top, filter, column, panel and downloads."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import real_runs
from report_builders import HOSTILE, token_row, unspeakable_row, write_run

from reach.categories.findings import Finding
from reach.categorise import as_table
from reach.export import as_csv, tokens_table
from reach.runs.folder import RunFolder
from reports.scan_report import write_scan_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens 0 to 9 are unspeakable padding rows, 10 equals a hostile one; 12 has markup in its evidence."""
    rows = [
        *(unspeakable_row(token=None, text=None) for _ in range(10)),
        *(token_row(token=one) for one in HOSTILE),
        *(token_row(token=f"t{n}") for n in range(400)),
    ]
    findings = [Finding(t, "padding") for t in range(10)]
    findings += [Finding(10, "equal-row", "2 tokens have this row and offset", (11,), 10), Finding(10, "added")]
    findings += [Finding(12, "special", "eos (<img src=x onerror='window.owned=1'>)")]
    run = write_run(tmp_path_factory.mktemp("categories") / "run", rows)
    pq.write_table(as_table(findings), run / "categories.parquet")
    return write_scan_report(run)


def test_the_cause_comes_first(visit: Visit, report: Path):
    page = visit(report)
    first = page.locator(".answer p").first
    assert first.inner_text() == (
        "10 unspeakable: all 10 are padding rows, which have no token (none of the 413 others)."
    )


def test_boxes_filter_and_add_up(visit: Visit, report: Path):
    page = visit(report)
    page.check("#kind-padding")
    assert page.inner_text("#status") == "10 of 423 tokens"
    page.check("#kind-added")
    assert page.inner_text("#status") == "11 of 423 tokens"
    page.check("#verdict-speakable")
    assert page.inner_text("#status") == "1 of 423 tokens"
    page.click("#clear")
    assert page.inner_text("#status") == "All 423 tokens"
    assert page.locator("#kind-bundle").count() == 0  # no token has it


def test_the_column_names_them_and_sorts(visit: Visit, report: Path):
    page = visit(report)
    page.check("#kind-equal-row")
    cell = page.locator("#grid-body .c-kinds").first
    assert cell.inner_text() == "added +1"
    assert cell.locator("[title]").get_attribute("title") == "added, duplicate"
    page.click("#clear")
    page.click(".c-kinds button")
    assert [int(one) for one in page.locator("#grid-body .c-id").all_inner_texts()[:3]] == [12, 10, 0]


def test_the_panel_gives_the_evidence_and_leads_to_the_other(visit: Visit, report: Path):
    page = visit(report, "#token=10")
    kinds = page.locator("#panel .kinds li")
    assert kinds.count() == 2
    assert "duplicate 2 tokens have this row and offset: " in kinds.nth(1).inner_text()
    kinds.nth(1).locator("a").click()
    assert page.inner_text("#panel-title") == "Token 11"
    assert page.locator("#panel .kinds").count() == 0


def test_evidence_is_text_and_nothing_else(visit: Visit, report: Path):
    page = visit(report, "#token=12")
    assert "eos (<img src=x onerror='window.owned=1'>)" in page.locator("#panel .kinds").inner_text()
    assert page.locator("#panel img").count() == 0
    assert page.evaluate("window.owned === undefined")


def test_the_table_of_categories_leads_to_its_tokens(visit: Visit, report: Path):
    page = visit(report)
    row = page.locator("#categories tr", has_text="padding row")
    assert row.locator("td").all_inner_texts()[:2] == ["10", "10"]
    row.locator("a").click()
    assert page.inner_text("#status") == "10 of 423 tokens"


def test_the_csv_is_that_of_the_command(visit: Visit, report: Path, tmp_path: Path):
    page = visit(report)
    with page.expect_download() as waiting:
        page.click("#csv")
    waiting.value.save_as(tmp_path / "got.csv")
    texts = (tmp_path / "got.csv").read_bytes().decode(), as_csv(tokens_table(RunFolder.open(report.parent)))
    got, own = ({row["token_id"]: row for row in csv.DictReader(text.splitlines(keepends=True))} for text in texts)
    for token, row in got.items():
        assert row["categories"] == own[token]["categories"]
        assert row["category_evidence"] == own[token]["category_evidence"]
    with page.expect_download() as waiting:
        page.click("#parquet")
    waiting.value.save_as(tmp_path / "got.parquet")
    column = pq.read_table(tmp_path / "got.parquet").column("categories").to_pylist()
    assert column[10] == "added equal-row"


def test_a_real_run_says_what_indicators_find(visit: Visit, tmp_path: Path):
    run = real_runs.copied(real_runs.scanned(), tmp_path / "run")
    page = visit(write_scan_report(run))
    page.click("#categories summary")
    rows = page.locator("#categories details tbody tr")
    record = RunFolder.open(run).record.categories.indicators
    assert rows.count() == len(record.rows)
    cut = next(cut for cut in record.rows[0].cuts if cut.k == record.positives)
    assert rows.first.locator("td").nth(1).inner_text().startswith(f"{cut.hits}: ")
