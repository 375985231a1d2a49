"""The pages of a run as one site: every page leads to every other, and a token stays open on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import real_runs

from reach.compare.record import Comparison
from reports.site import held, places, site_of
from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a scan, a search and a solver comparison, and a start page above it."""
    folder = tmp_path_factory.mktemp("site")
    run = real_runs.copied(real_runs.compared(), folder / "runs" / "a b#c")
    for name in ("search.json", "search.parquet", "search_witnesses"):
        source = real_runs.searched() / name
        real_runs.copied(source, run / name) if source.is_dir() else (run / name).write_bytes(source.read_bytes())
    write_reports([run])
    write_reports([], index=folder / "runs")
    assert len(write_reports([run])) == 3
    return run


def test_every_page_leads_to_every_other_and_to_the_start_page(visit: Visit, site: Path):
    names = {"Scan": "report.html", "Solvers": "solvers.html", "Search": "search.html"}
    for own, file in names.items():
        page = visit(site / file)
        links = page.locator("nav.pages a")
        assert links.all_inner_texts() == ["All runs", "Scan", "Solvers", "Search"]
        assert page.locator("nav.pages [aria-current='page']").inner_text() == own
        for title, to in names.items():
            page.locator("nav.pages a", has_text=title).first.click()
            page.wait_for_url(f"**/{to}*")
        page.locator("nav.pages a", has_text="All runs").click()
        page.wait_for_url("**/index.html")
        assert [one.get_attribute("href") for one in page.locator("#runs th a").all()] == [
            f"a%20b%23c/{name}" for name in names.values()
        ]


def test_an_open_token_is_taken_along(visit: Visit, site: Path):
    rows = pq.read_table(site / "search.parquet").to_pylist()
    token = next(row["token_id"] for row in rows if row["text_hit"])
    page = visit(site / "report.html", f"#token={token}")
    prompts = pq.read_table(site / "search_witnesses" / "prompts.parquet").to_pylist()
    texts = [one["text"].replace(" ", "␣") for one in prompts if one["token_id"] == token and one["level"] == "text"]
    said = page.inner_text("#panel .studies")
    assert "Said after some text that survives decoding and encoding: " in said
    assert any(text in said for text in texts)
    page.keyboard.press("Escape")
    page.evaluate(f"location.hash = 'token={token}'")
    page.locator("nav.pages a", has_text="Search").click()
    page.wait_for_url(f"**/search.html#token={token}")
    page.wait_for_selector("html[data-ready]", state="attached")
    assert str(token) in page.inner_text("#panel")


def test_the_panel_says_which_backends_were_wrong(visit: Visit, site: Path):
    record = Comparison.read(site)
    wrong: dict[int, list[str]] = {}
    for grade in record.main.grades:
        for token in grade.wrong_tokens:
            wrong.setdefault(token, []).append(grade.backend)
    right = next(int(token) for token in record.tokens if int(token) not in wrong)
    page = visit(site / "report.html", f"#token={right}")
    assert "No backend made a false claim about it" in page.inner_text("#panel .studies")
    for token, backends in list(wrong.items())[:1]:
        page.evaluate(f"location.hash = 'token={token}'")
        page.locator(f"#panel-title:text-is('Token {token}')").wait_for()
        assert f"Wrong about it: {', '.join(backends)} " in page.inner_text("#panel .studies")
    outside = next(at for at in range(record.v) if str(at) not in record.tokens)
    page.evaluate(f"location.hash = 'token={outside}'")
    page.locator(f"#panel-title:text-is('Token {outside}')").wait_for()
    assert "Solvers" not in page.inner_text("#panel .studies")


def test_the_panel_names_the_indicators_that_suspect_a_token(visit: Visit, site: Path):
    table = pq.read_table(site / "suspects.parquet").to_pylist()
    token = table[0]["token_id"]
    mine = [row for row in table if row["token_id"] == token]
    norms = pq.read_table(site / "verdicts.parquet").to_pylist()
    lengths = [row for row in table if row["indicator"] == "length of the output row"]
    # The ranks are those of the rows' lengths, as numpy sorts them
    if lengths:
        assert len(lengths) == 20
        assert sorted(row["rank"] for row in lengths)[0] == 1
        assert all(row["tokens"] == len(norms) for row in lengths)
        ordered = sorted(lengths, key=lambda row: row["rank"])
        assert [row["value"] for row in ordered] == sorted(row["value"] for row in lengths)
    page = visit(site / "report.html", f"#token={token}")
    said = page.inner_text("#panel .studies")
    for row in mine:
        place = "the smallest" if row["rank"] == 1 else f"number {row['rank']} from below"
        assert f"{row['indicator']} ({row['matrix']}): {place} of {row['tokens']}" in said
    others = set(range(len(norms))) - {row["token_id"] for row in table}
    if others:
        page.evaluate(f"location.hash = 'token={min(others)}'")
        page.locator(f"#panel-title:text-is('Token {min(others)}')").wait_for()
        assert "No indicator counts it among its most suspect" in page.inner_text("#panel .studies")


def test_a_short_proof_comes_before_the_whole_one(visit: Visit, tmp_path: Path):
    run = real_runs.scanned_with_margins()
    few = pq.read_table(run / "few_blockers.parquet").to_pylist()
    whole = pq.read_table(run / "hull_weights.parquet").to_pylist()
    if not few:
        pytest.fail("the run has no short proof to show")
    token = few[0]["token_id"]
    mine = [row for row in few if row["token_id"] == token]
    count = sum(row["token_id"] == token for row in whole)
    page = visit(write_reports([run], tmp_path / "page.html")[0], f"#token={token}")
    said = page.inner_text("#panel")
    if len(mine) > 1:
        assert f"{len(mine)} of its {count} blockers suffice to prove it" in said
    else:
        assert "A single one of its blockers suffices to prove it" in said
    bars = page.locator("#panel .bars").first.locator("li")
    assert bars.count() == len(mine)
    weights = [float(one.inner_text()) for one in bars.locator(".num").all()]
    assert weights == pytest.approx([row["weight"] for row in mine], rel=1e-3)
    bound = re.search(r"by at least ([\d.e−]+) logits", said)
    if mine[0]["margin_upper"] < 0:
        assert bound is not None
        assert float(bound[1].replace("−", "-")) <= -mine[0]["margin_upper"]
    page.locator("#panel summary").click()
    assert page.locator("#panel details .bars li").count() == min(count, 25)


def test_links_follow_the_names_that_pages_get(tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("manifest.json", "search.json", "interference.json"):
        (run / name).write_text("{}")
    assert list(held(run).values()) == ["report.html", "interference.html", "search.html"]
    where = places(run, tmp_path / "mine.html")
    site = site_of("search.json", where)
    assert [(link.title, link.href, link.current) for link in site.pages] == [
        ("Scan", "mine.html", False), ("Interference", "interference.html", False), ("Search", "search.html", True),
    ]  # fmt: skip
    assert site.start is None


def test_tokens_of_the_solver_page_lead_to_the_scan_under_its_own_name(tmp_path: Path, site: Path):
    pages = write_reports([site], tmp_path / "mine.html")
    assert [page.name for page in pages] == ["mine.html", "solvers.html", "search.html"]
    text = pages[1].read_text(encoding="utf-8")
    assert 'data-scan="mine.html"' in text
    assert "report.html" not in text
