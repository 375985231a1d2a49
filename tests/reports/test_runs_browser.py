"""The table of runs on the start page in a browser: sorted, searched, narrowed, downloaded, remembered."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from report_builders import hard_row, head, token_row, unspeakable_row, write_run

from reports.index_report import CSV, write_index

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two Llamas, a bare head over all points, a run that goes on, and a training run of three checkpoints."""
    folder = tmp_path_factory.mktemp("zoo")
    llama = head(architecture="LlamaForCausalLM")
    write_run(folder / "one", [token_row(), unspeakable_row()], head=llama)
    write_run(folder / "two", [token_row(), *[unspeakable_row()] * 3], head=llama)
    bare = head(architecture="bare head", norm=None, tie="untied: a bare head")
    write_run(folder / "wild", [token_row()], head=bare, domain="free", squared_radius=None)
    write_run(folder / "going", [token_row()], status="running")
    for step in (1, 2, 10):
        write_run(folder / "s" / f"checkpoint-{step}", [token_row(), hard_row(), unspeakable_row()])
    write_index(folder)
    return folder


def names(page: Page) -> list[str]:
    cells = page.locator("#runs-table tbody tr:not([hidden]) th").all_inner_texts()
    return [text.split("\n")[0] for text in cells]


def cards(page: Page) -> list[str]:
    return page.locator(".card:not([hidden]) h3").all_inner_texts()


def test_of_a_training_run_the_last_checkpoint_is_shown_until_all_are_asked_for(visit: Visit, zoo: Path):
    page = visit(zoo / "index.html")
    assert names(page) == ["going", "one", "s/checkpoint-10", "two", "wild"]
    assert page.inner_text("#status") == "All 5 runs, of each training run the last checkpoint"
    page.check("#every")
    assert names(page) == ["going", "one", "s/checkpoint-1", "s/checkpoint-2", "s/checkpoint-10", "two", "wild"]
    assert page.inner_text("#status") == "All 7 runs"
    assert page.url.endswith("#checkpoints=every")
    assert cards(page) == ["one", "s", "two", "wild"]


def test_a_single_run_is_one(visit: Visit, tmp_path: Path):
    write_run(tmp_path / "runs" / "alone", [token_row()])
    write_index(tmp_path / "runs")
    assert visit(tmp_path / "runs" / "index.html").inner_text("#status") == "One run"
    for step in (1, 2):
        write_run(tmp_path / "family" / "s" / f"checkpoint-{step}", [token_row()])
    write_index(tmp_path / "family")
    page = visit(tmp_path / "family" / "index.html")
    assert page.inner_text("#status") == "One run, of each training run the last checkpoint"
    page.fill("#search", "nothing is called so")
    assert page.inner_text("#status") == "0 of 1 runs, of each training run the last checkpoint"


def test_a_click_on_a_head_sorts_and_the_address_remembers(visit: Visit, zoo: Path):
    page = visit(zoo / "index.html")
    button = page.locator("th[data-key='unspeakable_share'] button")
    button.click()
    # Numbers begin with the largest; what has none comes last either way.
    assert names(page) == ["two", "one", "s/checkpoint-10", "wild", "going"]
    assert page.get_attribute("th[data-key='unspeakable_share']", "aria-sort") == "descending"
    assert page.url.endswith("#sort=-unspeakable_share")
    button.click()
    assert names(page) == ["wild", "s/checkpoint-10", "one", "two", "going"]
    again = visit(zoo / "index.html", "#sort=unspeakable_share&search=o")
    assert names(again) == ["s/checkpoint-10", "one", "two", "going"]
    assert again.input_value("#search") == "o"
    button.click()
    assert names(page) == ["going", "one", "s/checkpoint-10", "two", "wild"]
    assert page.locator("th[aria-sort]").count() == 0


def test_search_boxes_and_ranges_narrow_table_and_cards(visit: Visit, zoo: Path):
    page = visit(zoo / "index.html")
    page.fill("#search", "LLAMA")
    assert (names(page), cards(page)) == (["one", "two"], ["one", "two"])
    page.fill("#search", "/^two|^wi/")
    assert names(page) == ["two", "wild"]
    page.fill("#search", "/(/")
    assert "Not a regular expression" in page.inner_text("#search-error")
    page.click("#clear")
    page.get_by_label("bare head").check()
    assert names(page) == ["wild"]
    page.click("#clear")
    page.locator("#ranges input").first.fill("3")
    assert names(page) == ["s/checkpoint-10", "two"]
    assert page.url.endswith("#v=3..")
    page.fill("#search", "nothing has this")
    assert names(page) == []
    assert page.locator("#csv").is_disabled()
    assert page.inner_text("#status").startswith("0 of 5 runs")


def test_what_is_downloaded_is_what_the_command_writes(visit: Visit, zoo: Path, tmp_path: Path):
    page = visit(zoo / "index.html", "#checkpoints=every")
    with page.expect_download() as waiting:
        page.click("#csv")
    waiting.value.save_as(tmp_path / "got.csv")
    write_index(zoo, tmp_path / "said.csv", form=CSV)
    files = [(tmp_path / name).read_text(encoding="utf-8") for name in ("got.csv", "said.csv")]
    got, said = (list(csv.reader(text.splitlines())) for text in files)
    assert got[0] == said[0]
    for one, other in zip(got[1:], said[1:], strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert mine == theirs or float(mine) == float(theirs)


def test_without_scripts_every_run_is_in_the_table(browser: object, zoo: Path):
    page = browser.new_context(java_script_enabled=False).new_page()  # type: ignore[attr-defined]
    page.goto((zoo / "index.html").as_uri())
    assert len(names(page)) == 7
    assert page.locator("#filters").is_hidden()
    assert page.locator("#status").is_hidden()
    assert page.locator("#families svg.drawn").count() > 0
    page.context.close()


def test_on_paper_the_table_is_as_wide_as_the_paper(visit: Visit, zoo: Path):
    page = visit(zoo / "index.html", viewport={"width": 720, "height": 1000})
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    assert page.locator("#filters").is_hidden()


def test_pointing_at_a_dot_names_the_model(visit: Visit, zoo: Path):
    page = visit(zoo / "index.html")
    dot = page.locator("#plot-domain-0-unspeakable-v path[data-name='Llama, two']")
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator(".readout:not([hidden])").inner_text().startswith("Llama, two: 4, 75")
