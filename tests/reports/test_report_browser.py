from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from browsing import at_rest, shown
from report_builders import (
    HOSTILE,
    hard_row,
    head,
    skipped_row,
    tied_row,
    token_row,
    undecided_row,
    unmarked,
    unspeakable_row,
    write_big_run,
    write_run,
)

from reports.marks import visible
from reports.scan_report import write_scan_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]
log = logging.getLogger(__name__)

CAT, FOO, BAR, NEVER, MIXED, HARD, TIED, OPEN, SKIPPED = range(9)
BY_ID = "#sort=id"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One token of each kind, then the hostile ones."""
    rows = [
        token_row(token="cat", margin_lower=3.0),
        token_row(token="Ġfoo", text=" foo", margin_lower=0.123456, runner_up_id=CAT),
        token_row(token="bar", margin_lower=2.0, evidence="exact"),
        unspeakable_row(token="never", margin_upper=-0.5),
        unspeakable_row(token="mixed", margin_upper=0.0, evidence="exact"),
        hard_row(token="hard", margin_lower=0.01, witness="stored"),
        tied_row(token="tie", argmax_id=CAT),
        undecided_row(token="open", margin_lower=-1e-9, margin_upper=1e-9, reason="limit"),
        skipped_row(token="skipped"),
        *(token_row(token=one, margin_lower=10.0 + at) for at, one in enumerate(HOSTILE)),
    ]
    hull = [(NEVER, CAT, 0.75), (NEVER, BAR, 0.25), (MIXED, FOO, 0.31), (MIXED, CAT, 0.69)]
    return write_scan_report(write_run(tmp_path_factory.mktemp("small") / "small run", rows, hull))


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many tokens as the largest vocabularies have."""
    return write_scan_report(write_big_run(tmp_path_factory.mktemp("huge"), 256_000))


def panel(page: Page) -> str:
    page.wait_for_selector("#panel:not([hidden])")
    return page.locator("#panel").inner_text()


def wait_for_token(page: Page, token: int) -> None:
    # Not `wait_for_function`: it evaluates strings in the page, which the page's own policy forbids.
    page.locator(f"#panel-title:text-is('Token {token}')").wait_for()


def test_search_by_text_regex_and_id(visit: Visit, small: Path):
    page = visit(small, BY_ID)
    for query, expected in (
        ("FOO", [FOO]),
        (" foo", [FOO]),
        ("␣foo", [FOO]),
        ("/^(cat|bar)$/", [CAT, BAR]),
        ("/^CAT$/i", [CAT]),
        ("#5", [HARD]),
        ("3", [NEVER, 11, 13, 14, 15]),  # id 3, and the hostile tokens with a 3 in them
        ("window.owned", [9, 10]),
        ("no such token", []),
    ):
        page.fill("#search", query)
        found = shown(page)
        if query == "3":
            assert NEVER in found
        else:
            assert found == expected, query
    page.fill("#search", "/(/")
    assert "Not a regular expression" in page.inner_text("#search-error")
    page.click("#clear")
    assert page.inner_text("#status") == f"All {9 + len(HOSTILE)} tokens"
    assert page.locator("#search-error").is_hidden()


def test_filters_narrow_and_add_up(visit: Visit, small: Path):
    page = visit(small, BY_ID)
    page.check("#verdict-unspeakable")
    assert shown(page) == [NEVER, MIXED]
    page.check("#evidence-exact")
    assert shown(page) == [MIXED]
    page.uncheck("#verdict-unspeakable")
    assert shown(page) == [BAR, MIXED]
    page.click("#clear")
    page.check("#category-hard")
    assert shown(page) == [HARD]
    page.click("#clear")
    page.check("#verdict-none")
    assert shown(page) == [SKIPPED]


def test_figures_on_top_filter_the_table(visit: Visit, small: Path):
    page = visit(small, BY_ID)
    page.click(".tile.unspeakable")
    assert page.is_checked("#verdict-unspeakable")
    assert shown(page) == [NEVER, MIXED]


def test_sorting_puts_empty_values_last_both_ways(visit: Visit, small: Path):
    page = visit(small)
    page.fill("#search", "/^(cat|Ġfoo|bar|hard|never|skipped)$/")
    page.click(".c-margin button")
    assert shown(page) == [NEVER, HARD, FOO, BAR, CAT, SKIPPED]
    page.click(".c-margin button")
    assert shown(page) == [CAT, BAR, FOO, HARD, NEVER, SKIPPED]
    assert page.get_attribute(".head .c-margin", "aria-sort") == "descending"
    page.click(".c-token button")
    assert shown(page) == [BAR, CAT, HARD, NEVER, SKIPPED, FOO]  # Ġ comes after all plain letters


def test_every_verdict_is_explained(visit: Visit, small: Path):
    page = visit(small)
    for token, words in (
        (FOO, ["by at least 0.1234 logits", "The runner-up there is cat", "along the token's own row"]),
        (NEVER, ["Mix the logits of its 2 blockers", "by at least 0.5000 logits", "0.7500", "0.2500"]),
        (
            MIXED,
            ["the mix is at least as high as this token", "always matches or beats it", "exact rational arithmetic"],
        ),
        (HARD, ["Hard-to-speak", "stored in the run's witnesses folder"]),
        (TIED, ["exactly the same row and offset", "argmax returns cat"]),
        (OPEN, ["Neither", "Why: limit.", "between −1.000e−9 and 1.000e−9 logits"]),
        (SKIPPED, ["not asked about this token"]),
    ):
        page.evaluate("hash => { location.hash = hash; }", f"token={token}")
        wait_for_token(page, token)
        text = panel(page).replace("\xa0", " ")
        for part in [*words, f"Token {token}", "reach verify 'small run'"]:
            assert part in text, (token, part, text)


def test_without_offsets_an_unspeakable_row_is_a_mix_of_its_blockers(visit: Visit, tmp_path: Path):
    # Given a head without any offset, where the third row is 0.31 of the second and 0.69 of the first
    rows = [token_row(token="cat"), token_row(token=" foo"), unspeakable_row(margin_upper=0.0, evidence="exact")]
    plain = head(norm="rmsnorm", tensors={"weight": "lm_head.weight"})
    file = write_scan_report(write_run(tmp_path, rows, [(2, 1, 0.31), (2, 0, 0.69)], head=plain))
    # When its panel is opened, then it says just that
    text = panel(visit(file, "#token=2"))
    assert "Its row is 0.6900 × cat + 0.3100 × ␣foo. A mix is never above everything that went into it" in text
    assert "solves for them again as fractions" in text


def test_a_link_to_no_token_says_so(visit: Visit, small: Path):
    page = visit(small, "#token=99999")
    assert page.inner_text("#status").startswith("There is no token 99999")
    assert page.locator("#panel").is_hidden()


def test_blockers_lead_to_their_own_panels_and_back(visit: Visit, small: Path):
    page = visit(small, f"#token={NEVER}")
    panel(page)
    page.click("#panel .bars a >> nth=0")
    wait_for_token(page, 0)
    page.go_back()
    wait_for_token(page, NEVER)


def test_keyboard_only(visit: Visit, small: Path):
    page = visit(small, BY_ID)
    # Given a reader who tabs from the search box to the table
    page.focus("#search")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "grid":
            break
    assert page.evaluate("document.activeElement.id") == "grid"
    # When they go down two rows and press Enter
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#grid", "aria-activedescendant") == f"row-{BAR}"
    page.keyboard.press("Enter")
    # Then the panel opens and has the focus; arrows go on; Escape gives the focus back
    assert f"Token {BAR}" in panel(page)
    assert page.evaluate("document.activeElement.id") == "panel-title"
    page.keyboard.press("ArrowRight")
    wait_for_token(page, NEVER)
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden()
    assert page.evaluate("document.activeElement.id") == "grid"
    assert page.get_attribute("#grid", "aria-activedescendant") == f"row-{NEVER}"
    page.keyboard.press("End")
    assert page.get_attribute("#grid", "aria-activedescendant") == f"row-{8 + len(HOSTILE)}"
    assert "#token" not in page.url


def test_escape_returns_to_the_link_that_opened_the_panel(visit: Visit, small: Path):
    page = visit(small)
    page.focus(f".chip[href='#token={NEVER}']")
    page.keyboard.press("Enter")
    panel(page)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"#token={NEVER}"


def test_the_theme_follows_the_system_until_it_is_chosen(visit: Visit, small: Path):
    page = visit(small, color_scheme="dark")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate(theme) == "light"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate(theme) == "light"


def test_hostile_tokens_are_shown_and_do_nothing(visit: Visit, small: Path):
    page = visit(small, "#sort=-id")  # the hostile ones first
    for token in range(9, 9 + len(HOSTILE)):
        page.evaluate("hash => { location.hash = hash; }", f"token={token}")
        wait_for_token(page, token)
        # The browser's rules for signs and those of the static part are the same.
        expected = visible(HOSTILE[token - 9], limit=200)
        cut = f"… {expected.hidden} more" if expected.hidden else ""
        text = "".join(piece.text for piece in expected.pieces) + cut or "empty"
        assert page.locator(".bigtoken").text_content() == text
    assert page.evaluate("window.owned") is None
    assert page.locator("img").count() == 0


def downloaded(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.click("#csv")
    text = Path(waiting.value.path()).read_bytes().decode("utf-8")  # line ends inside of tokens must stay as they are
    return list(csv.DictReader(io.StringIO(text, newline="")))


def field(value: Any) -> str:
    """A value of the Parquet file as the CSV writes it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def same(found: str, value: Any) -> bool:
    if isinstance(value, float) and math.isfinite(value):
        return float(found) == value
    return unmarked(found) == field(value)


def test_the_csv_holds_what_is_shown_and_what_the_run_holds(visit: Visit, small: Path):
    page = visit(small, BY_ID)
    table = pq.read_table(small.parent / "verdicts.parquet")
    everything = downloaded(page)
    assert list(everything[0]) == table.column_names
    for found, expected in zip(everything, table.to_pylist(), strict=True):
        assert all(same(found[name], value) for name, value in expected.items()), (found, expected)
    page.check("#verdict-unspeakable")
    page.click(".c-margin button")
    assert [row["token_id"] for row in downloaded(page)] == [str(NEVER), str(MIXED)]


def test_a_phone_shows_the_columns_that_fit(visit: Visit, small: Path):
    page = visit(small, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#grid-head .c-stage").is_hidden()
    page.tap(f"#row-{NEVER}")
    assert "unspeakable" in panel(page)
    box = page.locator("#panel").bounding_box()
    assert box is not None
    assert box["width"] <= 390


def test_print_leaves_out_what_paper_cannot_do(visit: Visit, small: Path):
    page = visit(small)
    page.emulate_media(media="print")
    assert page.locator("#grid").is_hidden()
    assert page.locator("#margins").is_visible()
    assert page.locator(f".chip[href='#token={NEVER}']").is_visible()


def test_the_page_says_when_its_data_is_damaged(visit: Visit, small: Path, tmp_path: Path):
    text = small.read_text(encoding="utf-8")
    start = text.index('id="data">') + len('id="data">')
    (tmp_path / "cut.html").write_text(text[:start] + text[start + 400 :], encoding="utf-8")
    page = visit(tmp_path / "cut.html")
    assert page.inner_text("#failure").startswith("The table could not be shown")


def test_256_000_rows(visit: Visit, huge: Path):
    page = visit(huge, BY_ID)
    assert page.inner_text("#status") == "All 256,000 tokens"
    # Few rows are in the page, whatever the vocabulary
    assert page.locator("#grid-body .line").count() < 80
    page.focus("#grid")
    page.keyboard.press("End")
    assert shown(page)[-1] == 255_999
    page.keyboard.press("Home")
    assert shown(page)[0] == 0
    page.fill("#search", "tion")
    at_rest(page)
    page.fill("#search", "/^ (ab|ba)/")
    at_rest(page)
    page.fill("#search", "")
    at_rest(page)
    for column in ("margin", "norm", "token", "text", "verdict", "stage"):
        page.click(f".c-{column} button")
        at_rest(page)
    page.click(".c-text button")
    at_rest(page)
    texts = pq.read_table(huge.parent / "verdicts.parquet", columns=["text"]).column("text").to_pylist()
    expected = sorted(range(len(texts)), key=lambda at: (texts[at].encode("utf-16-be"), at))
    assert shown(page) == expected[: len(shown(page))]
    page.check("#verdict-unspeakable")
    at_rest(page)
    taken = page.evaluate("performance.getEntriesByName('reach-refresh').map(one => one.duration)")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1")
    ready = page.evaluate("performance.getEntriesByName('reach-ready')[0].startTime")
    names = [
        "start",
        "text",
        "regex",
        "clear",
        "sort lower",
        "norm",
        "piece",
        "text",
        "verdict",
        "stage",
        "text again",
        "filter",
    ]
    told = ", ".join(f"{name} {one:.0f}" for name, one in zip(names, taken, strict=False))
    log.info("256,000 rows, ms: first paint %.0f, table ready %.0f; %s", paint, ready, told)


def test_50_000_rows_paint_soon(visit: Visit, tmp_path: Path):
    file = write_scan_report(write_big_run(tmp_path, 50_257))
    page = visit(file)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1")
    ready = page.evaluate("performance.getEntriesByName('reach-ready')[0].startTime")
    log.info("50,257 rows, %.1f MB, ms: first paint %.0f, table ready %.0f", file.stat().st_size / 1e6, paint, ready)
    assert page.inner_text("#status") == "All 50,257 tokens"
