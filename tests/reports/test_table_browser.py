"""The table that several pages have: its address, its orders, what fits, and that the page answers meanwhile."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import real_runs
from browsing import at_rest, cut_cells, scrolls_sideways, shown, unroll
from playwright.sync_api import expect
from report_builders import token_row, undecided_row, unspeakable_row, write_big_run, write_run

from reports.render import asset
from reports.scan_report import write_scan_report
from reports.search_page import write_search_report
from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vocabulary in which "4" is an id, a token and a part of others."""
    texts = ["4", "cat", "a4", "14", "dog", " 4", "eel"]
    rows = [token_row(token=text, margin_lower=1.0 + at) for at, text in enumerate(texts)]
    rows += [unspeakable_row(token="never", margin_upper=-0.25), undecided_row(token="open")]
    return write_scan_report(write_run(tmp_path_factory.mktemp("table") / "run", rows))


def fragment(page: Page) -> str:
    return str(page.evaluate("location.hash.slice(1)"))


# --- the address ---------------------------------------------------------------------------------------------------


def test_an_address_holds_what_is_shown_and_restores_it(visit: Visit, scan: Path):
    page = visit(scan)
    page.fill("#search", "e")
    page.check("#verdict-speakable")
    page.fill("#margin-from", "2")
    page.fill("#norm-to", "1e6")
    page.click(".c-margin button")
    page.click(".c-margin button")
    assert page.get_attribute(".head .c-margin", "aria-sort") == "descending"
    page.click("#grid-body .line >> nth=0")
    assert fragment(page) == "token=6&search=e&verdict=speakable&margin=2..&norm=..1000000&sort=-margin"
    again = visit(scan, f"#{fragment(page)}")
    assert again.inner_text("#panel-title") == "Token 6"
    assert again.input_value("#search") == "e"
    assert again.is_checked("#verdict-speakable")
    assert again.input_value("#margin-from") == "2"
    assert again.input_value("#sort") == "margin true"
    assert shown(again) == shown(page) == [6]


def test_text_of_any_kind_survives_the_address(visit: Visit, scan: Path):
    page, again = visit(scan), visit(scan)
    for text in (" 4", "/^(4|a4)$/i", "a&sort=id", "100 %25 +é中", "#4"):
        page.fill("#search", text)
        again.evaluate("hash => { location.hash = hash; }", fragment(page))
        expect(again.locator("#search")).to_have_value(text)
        assert shown(again) == shown(page)
        assert fragment(again) == fragment(page)


def test_back_and_forward_restore_what_was_shown(visit: Visit, scan: Path):
    page = visit(scan)
    page.check("#verdict-speakable")
    page.click("#grid-body .line >> nth=0")
    page.locator("#panel-title:text-is('Token 0')").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator("#panel-title:text-is('Token 1')").wait_for()
    page.go_back()
    page.locator("#panel-title:text-is('Token 0')").wait_for()
    page.go_back()
    page.locator("#panel").wait_for(state="hidden")
    assert page.is_checked("#verdict-speakable")
    page.go_forward()
    page.locator("#panel-title:text-is('Token 0')").wait_for()
    assert fragment(page) == "token=0&verdict=speakable"
    assert 7 not in shown(page)


def test_typing_leaves_one_entry_behind(visit: Visit, scan: Path):
    page = visit(scan)
    before = page.evaluate("history.length")
    page.focus("#search")
    page.keyboard.type("cat")
    page.check("#verdict-speakable")
    assert fragment(page) == "search=cat&verdict=speakable"
    assert page.evaluate("history.length") == before
    page.click("#clear")
    assert fragment(page) == ""


def test_a_place_on_the_page_changes_nothing_that_is_shown(visit: Visit, scan: Path):
    page = visit(scan, "#verdict=unspeakable")
    page.click("nav a[href='#method']")
    assert fragment(page) == "method"
    assert page.is_checked("#verdict-unspeakable")
    assert shown(page) == [7]


@pytest.mark.parametrize(
    "said",
    [
        "verdict=<img src=x onerror=alert(1)>,none-such&sort=__proto__&margin=NaN..Infinity",
        "constructor=1&__proto__=2&token=abc&search=",
        "sort=-edge&margin=..&norm=a..b&category=%ff%fe",
        "=&=&&&==",
        "token=-1&sort=",
        "verdict=,,,&%ZZ=%E0%A4%A",
    ],
)
def test_what_an_address_says_wrongly_is_as_if_it_said_nothing(visit: Visit, scan: Path, said: str):
    page = visit(scan, f"#{said}")
    assert page.inner_text("#status") == "All 9 tokens"
    assert page.input_value("#sort") == "edge false"
    assert page.locator("#panel").is_hidden()
    assert page.locator("#groups :checked").count() == 0


def test_an_expression_in_the_address_that_is_none_is_complained_about(visit: Visit, scan: Path):
    page = visit(scan, "#search=/(/&verdict=unspeakable")
    assert "Not a regular expression" in page.inner_text("#search-error")
    assert shown(page) == [7]


def test_without_leave_to_change_the_address_its_fragment_is_set(visit: Visit, scan: Path):
    forbidden = """for (const name of ['pushState', 'replaceState']) {
      history[name] = () => { throw new DOMException('forbidden', 'SecurityError'); };
    }"""
    page = visit(scan, before=forbidden)
    page.check("#verdict-unspeakable")
    page.click("#grid-body .line >> nth=0")
    assert fragment(page) == "token=7&verdict=unspeakable"
    page.locator("#panel-title:text-is('Token 7')").wait_for()
    page.keyboard.press("Escape")
    page.locator("#panel").wait_for(state="hidden")
    assert fragment(page) == "verdict=unspeakable"
    assert page.is_checked("#verdict-unspeakable")


# --- looking up ----------------------------------------------------------------------------------------------------


def test_a_number_is_an_id_and_a_text(visit: Visit, scan: Path):
    page = visit(scan)
    page.fill("#search", "4")
    assert sorted(shown(page)) == [0, 2, 3, 4, 5]
    # The token with this id, and those whose whole text it is.
    assert page.inner_text("#named") == "Exactly: dog #4, 4 #0, ␣4 #5"
    page.click("#named a >> nth=1")
    assert page.inner_text("#panel-title") == "Token 0"
    page.fill("#search", "#4")
    assert shown(page) == [4]
    assert page.locator("#named").is_hidden()


def test_enter_opens_what_is_named(visit: Visit, scan: Path):
    page = visit(scan)
    for query, token in (("cat", 1), ("4", 4), ("/^d/", 4), ("#6", 6), (" 4", 5)):
        page.fill("#search", query)
        page.keyboard.press("Enter")
        page.locator(f"#panel-title:text-is('Token {token}')").wait_for()
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id") == "search"


# --- orders --------------------------------------------------------------------------------------------------------


def margins(run: Path) -> list[float | None]:
    """The bound on each token's margin that proves its verdict, or none."""
    found = []
    for row in pq.read_table(run / "verdicts.parquet").to_pylist():
        lower, upper = row["margin_lower"], row["margin_upper"]
        found.append(upper if row["verdict"] == "unspeakable" else lower)
    return found


@pytest.mark.parametrize("made", [real_runs.scanned_with_margins, real_runs.scanned_in_part])
def test_the_first_order_is_nearest_to_the_edge(visit: Visit, made: Callable[[], Path]):
    page = visit(write_reports([made()])[0])
    assert page.locator("#sort option:checked").inner_text() == "Nearest to the edge"
    sizes = [math.inf if one is None else abs(one) for one in margins(made())]
    unroll(page)
    seen = shown(page)
    got = [sizes[token] for token in seen]
    assert len(got) == len(sizes)
    known = [one for one in got if one < math.inf]
    assert known == sorted(known)
    assert got[len(known) :] == [math.inf] * (len(got) - len(known))
    ties = [(a, b) for a, b in pairwise(seen) if sizes[a] == sizes[b]]
    assert all(a < b for a, b in ties)


@pytest.fixture(scope="module")
def orders(browser: Browser) -> Any:
    """Sorts on a page of its own: kind, values and direction in, order out."""
    page = browser.new_page()
    page.add_script_tag(content=asset("slices.js") + asset("order.js"))

    def order(kind: str, values: list[Any], descending: bool = False, slices: bool = False) -> list[int]:
        return page.evaluate(
            """async ([kind, values, descending, slices]) => {
              const sorts = new Map([['it', { [kind]: (i) => values[i] }]]);
              const pause = slices ? () => nextTask() : () => null;
              return Array.from(await makeOrder(values.length, sorts)('it', descending, pause));
            }""",
            [kind, values, descending, slices],
        )

    yield order
    page.close()


def expected(values: list[Any], key: Callable[[Any], Any], *, descending: bool) -> list[int]:
    full = [at for at, value in enumerate(values) if value is not None]
    empty = [at for at, value in enumerate(values) if value is None]
    return sorted(full, key=lambda at: key(values[at]), reverse=descending) + empty


TEXTS = [
    "b", None, "a", "", "ab", "a", "aaaaaaa", "aaaaaaab", "aaaaaaa", "\uffff", "\U0001f469", "é", "z" * 300,
    "z" * 299 + "y", None, "\x00", "\x00\x00", "", "a\x00",
]  # fmt: skip


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("slices", [False, True])
def test_texts_are_ordered_by_code_units_and_ties_by_id(orders: Any, descending: bool, slices: bool):
    found = orders("strings", TEXTS, descending, slices)
    assert found == expected(TEXTS, lambda text: text.encode("utf-16-be", "surrogatepass"), descending=descending)


@pytest.mark.parametrize("descending", [False, True])
def test_numbers_are_ordered_and_those_without_come_last(orders: Any, descending: bool):
    values = [3.5, None, -1e300, 0, -0.0, 3.5, 5e-324, None, 1e300, -2, 3.5]
    assert orders("numbers", values, descending) == expected(values, lambda one: one, descending=descending)


# --- what fits -----------------------------------------------------------------------------------------------------

WIDTHS = [1400, 800, 390]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "made", [real_runs.scanned, real_runs.scanned_with_margins, real_runs.scanned_with_silencers, real_runs.searched]
)
def test_every_cell_fits_or_says_the_whole_by_pointing(visit: Visit, made: Callable[[], Path], width: int):
    page = visit(write_reports([made()])[-1], viewport={"width": width, "height": 900})
    assert page.locator("#grid-body .line").count() > 5
    assert cut_cells(page) == []
    assert not scrolls_sideways(page)


def test_the_table_of_a_scan_drops_what_is_needed_least(visit: Visit, scan: Path):
    seen = {}
    for width in WIDTHS:
        page = visit(scan, viewport={"width": width, "height": 900})
        names = page.locator("#grid-head .cell").evaluate_all("all => all.map(one => one.className.split(' ')[1])")
        seen[width] = names
    assert seen[390][:2] == ["c-verdict", "c-margin"]
    assert {"c-id", "c-token", "c-text", "c-verdict", "c-margin"} <= set(seen[800]) < set(seen[1400])
    assert "c-runner" in seen[1400]
    assert "c-runner" not in seen[800]


def test_a_wider_window_brings_columns_back(visit: Visit, scan: Path):
    page = visit(scan, viewport={"width": 390, "height": 900})
    assert page.locator("#grid-head .c-evidence").count() == 0
    page.set_viewport_size({"width": 1400, "height": 900})
    page.locator("#grid-head .c-evidence").wait_for()
    assert page.locator("#grid-body .line").first.locator(".c-evidence").count() == 1


def test_long_names_are_cut_with_the_whole_in_a_title(visit: Visit, tmp_path: Path):
    name = " long name" * 30
    rows = [token_row(token=name), token_row(token="x", runner_up_id=0), unspeakable_row()]
    page = visit(write_scan_report(write_run(tmp_path / "run", rows)), "#sort=id")
    signed = name.replace(" ", "␣")
    assert page.locator("#row-0 .c-token").get_attribute("title") == signed
    assert page.locator("#row-1 .c-runner").get_attribute("title") == signed
    assert page.locator("#row-1 .c-token").get_attribute("title") is None


# --- slices --------------------------------------------------------------------------------------------------------


def test_a_large_table_never_keeps_the_page_waiting_and_the_last_question_counts(visit: Visit, tmp_path: Path):
    """Slices are counted, not seconds: how long one takes is the machine's affair."""
    file = write_scan_report(write_big_run(tmp_path, 60_000))
    counted = """
      window.turns = 0;
      const turn = () => { window.turns += 1; setTimeout(turn, 0); };
      turn();
      const now = performance.now.bind(performance);
      let slow = 0;
      performance.now = () => { slow += 15; return now() + slow; };  // every look at the clock finds it 15 ms later
    """
    page = visit(file, before=counted)
    assert page.inner_text("#status") == "All 60,000 tokens"
    before = page.evaluate("window.turns")
    page.click(".c-text button")
    at_rest(page)
    assert page.evaluate("window.turns") > before + 3
    # Three questions in a row: the answer is that to the last one.
    page.evaluate(
        """() => {
          const box = document.getElementById('search');
          for (const text of ['a', 'tion', '#7']) {
            box.value = text;
            box.dispatchEvent(new Event('input'));
          }
        }"""
    )
    assert page.get_attribute("#grid", "aria-busy") in ("true", None)
    assert shown(page) == [7]
    assert re.fullmatch(r"1 of 60,000 tokens", page.inner_text("#status"))


# --- large vocabularies --------------------------------------------------------------------------------------------


def parquet(page: Page, folder: Path) -> list[dict[str, Any]]:
    with page.expect_download() as waiting:
        page.click("#parquet")
    waiting.value.save_as(folder / "got.parquet")
    return pq.read_table(folder / "got.parquet").to_pylist()


def near(found: float | None, value: float | None, digits: int) -> bool:
    if found is None or value is None:
        return found is value
    return abs(found - value) <= abs(value) * 2.0 ** (1 - digits)


def test_numbers_of_a_large_scan_are_rounded_outwards_and_the_page_says_so(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reports.pack.LARGE", 50)
    run = real_runs.scanned_with_margins()
    page = visit(write_scan_report(run, tmp_path / "report.html"), "#sort=id")
    assert "rounded" in page.inner_text("#table-note")
    for found, own in zip(parquet(page, tmp_path), pq.read_table(run / "verdicts.parquet").to_pylist(), strict=True):
        for name in ("margin_lower", "margin_upper", "row_norm"):
            assert near(found[name], own[name], 16), (name, found, own)
        assert own["margin_lower"] is None or found["margin_lower"] <= own["margin_lower"]
        assert own["margin_upper"] is None or found["margin_upper"] >= own["margin_upper"]
        for name in ("token", "text", "verdict"):
            assert found[name] == own[name]


def test_numbers_of_a_large_search_are_rounded_and_the_page_says_so(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reports.search_columns.LARGE", 50)
    run = real_runs.searched()
    page = visit(write_search_report(run, tmp_path / "search.html"), "#sort=id")
    assert "rounded" in page.inner_text("#table-note")
    rounded = 0
    for found, own in zip(parquet(page, tmp_path), pq.read_table(run / "search.parquet").to_pylist(), strict=True):
        assert own["head_margin"] is None or found["head_margin"] <= own["head_margin"]
        for name, value in own.items():
            if isinstance(value, float):
                assert near(found[name], value, 7), (name, found, own)
                rounded += found[name] != value
            else:
                assert found[name] == value
    assert rounded
