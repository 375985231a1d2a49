"""The page of `reach search` in a browser, from a real search of a tiny model."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from browsing import shown, unroll
from real_runs import searched, searched_shortly

from reports.search_page import write_search_report
from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit(write_reports([searched()])[-1])


def names() -> list[str]:
    """What each token is called: its text where it has one."""
    table = pq.read_table(searched() / "search.parquet", columns=["token", "text"]).to_pylist()
    # The page shows a space by a sign.
    return [(row["text"] or row["token"] or "").replace(" ", "␣") for row in table]


def witnesses(name: str, run: Path | None = None) -> list[dict[str, Any]]:
    return pq.read_table((run or searched()) / "search_witnesses" / f"{name}.parquet").to_pylist()


def test_every_method_has_a_curve_at_the_level_and_length_chosen(page: Page):
    curves = json.loads((searched() / "search.json").read_text())["strength"]["curves"]
    lines = page.locator("#contests .contest:visible .legend li")
    assert lines.count() == 4
    page.select_option("#contest-level", "Real tokens")
    # Single tokens are tried out at once: no method has anything left to find.
    assert page.locator("#contest-length option").all_inner_texts() == ["2"]
    assert lines.count() == 2
    page.select_option("#contest-level", "Convex hull")
    page.select_option("#contest-length", "2")
    assert page.locator("#contests .contest:visible").count() == 1
    assert lines.count() == 4
    shown = page.locator("[aria-label='Methods against each other'] tbody tr").filter(has_text="Convex hull").last
    last = [str(one["points"][-1][2]) for one in curves if (one["level"], one["length"]) == ("hull", 2)]
    assert shown.locator("td").all_inner_texts()[2:6] == last


def opened(page: Page, token: int) -> str:
    """What the panel says of a token that is looked up by its id."""
    page.fill("#search", f"#{token}")
    page.keyboard.press("Enter")
    page.locator(f"#panel-title:text-is('Token {token}')").wait_for()
    return page.inner_text("#panel")


def test_a_token_opens_with_its_prompt_and_with_its_nearest_tokens(page: Page):
    prompt = witnesses("prompts")[0]
    text = opened(page, prompt["token_id"])
    assert names()[prompt["token_id"]] in text
    assert prompt["text"].replace(" ", "␣") in text
    assert f"[{', '.join(map(str, prompt['ids']))}]" in text
    nearest = witnesses("nearest")[0]
    assert f"nearest: {names()[nearest['row_id'][0]]} (" in opened(page, nearest["token_id"])


def test_what_the_head_proves_out_of_reach_was_not_searched_for(page: Page):
    rows = pq.read_table(searched() / "search.parquet").to_pylist()
    never = next(row["token_id"] for row in rows if row["first_failed"] == "head")
    text = opened(page, never)
    assert "the head proves that no input can" in text
    assert "not found" not in text
    assert "Steps spent" not in text
    cells = page.locator(f"#row-{never}")
    assert "not found" not in cells.inner_text()
    assert cells.locator(".c-steps").all_inner_texts() in ([], ["–"])
    # A token that was looked for in vain keeps both.
    missed = next(row["token_id"] for row in rows if row["first_failed"] not in (None, "head"))
    text = opened(page, missed)
    assert "not found" in text
    assert "Steps spent on it" in text
    assert "not found" in page.locator(f"#row-{missed}").inner_text()


def test_what_was_not_asked_for_was_not_searched_for(visit: Visit, tmp_path: Path):
    page = visit(write_search_report(searched_shortly(), tmp_path / "search.html"))
    text = opened(page, 50)
    assert "not searched for" in text
    assert "Steps spent" not in text


def test_without_a_tokenizer_a_prompt_is_shown_by_its_ids(visit: Visit, tmp_path: Path):
    run = searched_shortly()
    prompt = witnesses("prompts", run)[0]
    assert prompt["text"] is None
    page = visit(write_search_report(run, tmp_path / "search.html"))
    ids = prompt["ids"]
    words = " ".join(f"#{one}" for one in ids)
    assert f"{words} [{', '.join(map(str, ids))}]" in opened(page, prompt["token_id"])
    assert page.locator(f"#row-{prompt['token_id']} .c-input").inner_text() == words


def test_an_address_opens_a_token_and_closing_gives_the_table_back(visit: Visit):
    page = visit(write_reports([searched()])[-1], "#token=20")
    assert page.inner_text("#panel-title") == "Token 20"
    page.keyboard.press("Escape")
    assert "token=" not in page.url
    page.locator("#failing details[open] .chip").first.click()
    assert page.locator("#panel").is_visible()


# --- the table -----------------------------------------------------------------------------------------------------


def table() -> list[dict[str, Any]]:
    return pq.read_table(searched() / "search.parquet").to_pylist()


def brief(value: float) -> str:
    """As the page writes a margin: three digits."""
    mantissa, _, power = f"{value:.2e}".partition("e")
    if value != 0 and abs(value) < 1e-3:
        return f"{mantissa}e{int(power)}".replace("-", "−")
    digits = max(0, 2 - int(power))
    return f"{value:.{digits}f}".replace("-", "−")


def shortest(prompts: list[dict[str, Any]], token: int) -> dict[str, Any] | None:
    mine = [one for one in prompts if one["token_id"] == token]
    return min(mine, key=lambda one: (len(one["ids"]), one["level"] != "text"), default=None)


def test_every_row_of_the_table_is_that_of_the_file(visit: Visit):
    page = visit(write_reports([searched()])[-1], "#sort=id", viewport={"width": 1900, "height": 900})
    unroll(page)
    record = json.loads((searched() / "search.json").read_text())
    prompts, rows = witnesses("prompts"), table()
    heads = dict(
        zip(("free", "norm", "hull", "tokens", "text"), ("Free", "Norm", "Hull", "Tokens", "Text"), strict=True)
    )
    assert len(shown(page)) == len(rows) == record["v"]
    for row in rows:
        line = page.locator(f"#row-{row['token_id']}")
        cells = dict(line.locator(".cell").evaluate_all(
            "all => all.map((one) => [one.className.split(' ')[1].slice(2), one.textContent])"
        ))  # fmt: skip
        assert row["verdict"] in cells["verdict"]
        head = cells["head"].replace("−", "-")
        assert (head == "–") == (row["head_margin"] is None)
        if row["head_margin"] is not None:
            assert float(head) <= row["head_margin"]
            assert float(head) == pytest.approx(row["head_margin"], rel=1e-3)
        first = row["first_failed"]
        assert cells["first"] == ("none" if first is None else {"head": "Head"}.get(first) or heads[first])
        for level in record["levels"]:
            margin, length = row[f"{level}_margin"], row[f"{level}_length"]
            nothing = "–" if first == "head" else "not found"
            assert cells[level] == (nothing if margin is None else f"{brief(margin)} ({length})"), row
        best = shortest(prompts, row["token_id"])
        # Spaces and what else cannot be seen are signs there.
        plain = best is not None and best["text"].isascii() and best["text"].isprintable() and len(best["text"]) < 40
        if best is None:
            assert cells["input"] == "–"
        elif plain:
            assert cells["input"] == best["text"].replace(" ", "␣")
        assert cells["steps"] == ("–" if first == "head" else f"{row['steps']:,}")


def test_boxes_count_and_show_what_the_file_holds(visit: Visit):
    page = visit(write_reports([searched()])[-1])
    rows = table()
    everything = len(rows)

    def status(count: int) -> str:
        return f"All {count} tokens" if count == everything else f"{count} of {everything} tokens"

    for name, wanted in (
        ("first-head", lambda row: row["first_failed"] == "head"),
        ("first-text", lambda row: row["first_failed"] == "text"),
        ("first-none", lambda row: row["first_failed"] is None),
        ("found-free", lambda row: row["free_hit"]),
        ("found-tokens", lambda row: row["tokens_hit"]),
        ("found-never", lambda row: not row["free_hit"] and row["first_failed"] != "head"),
        ("verdict-unspeakable", lambda row: row["verdict"] == "unspeakable"),
    ):
        count = sum(map(bool, map(wanted, rows)))
        if not count:
            assert page.locator(f"#{name}").count() == 0, name
            continue
        page.check(f"#{name}")
        assert page.inner_text("#status") == status(count), name
        assert page.locator(f"label:has(#{name}) .count").inner_text() == str(count)
        page.uncheck(f"#{name}")


def test_the_parquet_of_the_page_is_the_runs_own_and_the_inputs(visit: Visit, tmp_path: Path):
    for run, fragment in ((searched(), "#sort=id"), (searched_shortly(), "#sort=id")):
        page = visit(write_search_report(run, tmp_path / f"{run.name}.html"), fragment)
        with page.expect_download() as waiting:
            page.click("#parquet")
        assert waiting.value.suggested_filename == f"{run.name}-search.parquet"
        waiting.value.save_as(tmp_path / "got.parquet")
        found, own = pq.read_table(tmp_path / "got.parquet"), pq.read_table(run / "search.parquet")
        assert found.select(own.column_names).equals(own)
        prompts = witnesses("prompts", run)
        for row in found.select(["token_id", "input_level", "input_ids", "input_text", "input_how"]).to_pylist():
            best = shortest(prompts, row["token_id"])
            if best is None:
                assert row["input_ids"] is None
            else:
                ids = " ".join(map(str, best["ids"]))
                assert [row[f"input_{name}"] for name in ("level", "ids", "text", "how")] == [
                    best["level"], ids, best["text"], best["how"],
                ]  # fmt: skip


def test_the_csv_holds_the_rows_shown_with_their_whole_input(visit: Visit, tmp_path: Path):
    page = visit(write_search_report(searched(), tmp_path / "search.html"), "#found=text&sort=-shortest")
    with page.expect_download() as waiting:
        page.click("#csv")
    waiting.value.save_as(tmp_path / "got.csv")
    with (tmp_path / "got.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    reached = [row["token_id"] for row in table() if row["text_hit"]]
    assert sorted(int(row["token_id"]) for row in rows) == reached
    lengths = [len(row["input_ids"].split()) for row in rows]
    assert lengths == sorted(lengths, reverse=True)


# --- charts --------------------------------------------------------------------------------------------------------


def test_the_charts_follow_the_theme(page: Page):
    colour = "getComputedStyle(document.querySelector('#contests .contest:not([hidden]) path.line')).stroke"
    before = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) != before


def test_methods_with_wild_names_are_plain_labels(visit: Visit, tmp_path: Path):
    """The record of a search that somebody else made."""
    copy = Path(shutil.copytree(searched(), tmp_path / "run"))
    record = json.loads((copy / "search.json").read_text())
    for one in record["strength"]["curves"]:
        one["method"] += '<a href="https://example.org">press</a>%{x}\u202e\x1b'
    (copy / "search.json").write_text(json.dumps(record))
    page = visit(write_search_report(copy))
    shown = page.locator("#contests .legend li").all_text_contents()
    assert shown
    assert all(text.strip().endswith('<a href="https://example.org">press</a>%{x}U+202EESC') for text in shown)
    assert page.locator("#contests a").count() == 0
