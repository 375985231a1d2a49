"""Every number of the table of a scan and of the panels of its tokens, held against the tables of the run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import real_runs
from browsing import unroll
from page_text import NUMBER, Bound, Number
from recount import Row, Scan, page_of, rows_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]

CELLS = """() => [...document.querySelectorAll('#grid-body .line')].map((line) => Object.fromEntries(
  [...line.querySelectorAll('.cell')].map((cell) => [/c-(\\w+)/.exec(cell.className)[1], cell.textContent])))"""


@pytest.mark.parametrize("made", [real_runs.scanned_with_margins, real_runs.scanned_in_no_time])
def test_the_table_says_what_the_file_says(visit: Visit, made: Callable):
    scan = Scan(made())
    page = visit(page_of(made(), "report.html"), viewport={"width": 2400, "height": 900})
    unroll(page)
    found = page.evaluate(CELLS)
    assert sorted(int(cells["id"]) for cells in found) == list(range(len(scan.rows)))
    for cells in found:
        row = scan.rows[int(cells["id"])]
        assert cells["verdict"].endswith(row["verdict"])
        for name in {"evidence", "stage"} & cells.keys():  # what is needed least gives way where it is narrow
            assert cells[name] == (row[name] or "–")
        says(cells["margin"], margin_of(row))
        says(cells["norm"], row["row_norm"])


def margin_of(row: Row) -> float | None:
    """The bound that proves the verdict."""
    if row["verdict"] == "tied":
        return None if row["margin_lower"] is None and row["margin_upper"] is None else 0.0
    value = row["margin_lower" if row["verdict"] == "speakable" else "margin_upper"]
    return None if value is None else Bound(value)


def says(text: str, *values: float | None) -> None:
    said = [Number(one) for one in NUMBER.findall(text)]
    wanted = [value for value in values if value is not None]
    assert len(said) == len(wanted), (text, values)
    assert all(one.stands_for(value) for one, value in zip(said, wanted, strict=True)), (text, values)


def test_a_panel_says_what_the_files_say(visit: Visit):
    run = real_runs.scanned_with_margins()
    scan, near, hull = Scan(run), rows_of(run, "nearest.parquet"), rows_of(run, "hull_weights.parquet")
    page = visit(page_of(run, "report.html"))
    kinds = {(row["verdict"], row["own_direction"], row["stage"]): token for token, row in enumerate(scan.rows)}
    assert len(kinds) > 4
    for token in sorted({*kinds.values(), *scan.ids(scan.of("unspeakable"))}):
        row = scan.rows[token]
        page.evaluate("hash => { location.hash = hash; }", f"token={token}")
        page.locator(f"#panel-title:text-is('Token {token}')").wait_for()
        # The bounds of its margin, with all their digits
        facts = dict(zip(page.locator("#panel dt").all_inner_texts(), page.locator("#panel dd").all(), strict=True))
        for name, column in (("at least", "margin_lower"), ("at most", "margin_upper")):
            written = facts[f"Margin {name}"].inner_text().replace("−", "-")
            assert written == "–" if row[column] is None else float(written) == row[column]
        assert float(facts["Norm of its row"].inner_text()) == row["row_norm"]
        # Its neighbours
        rows = page.locator("#panel .nearest tbody tr")
        mine = [one for one in near if one["token_id"] == token]
        assert rows.count() == len(mine)
        for line, one in zip(rows.all(), mine, strict=True):
            assert line.locator("a").get_attribute("href").endswith(f"#token={one['row_id']}")
            cosine, distance = line.locator(".num").all_inner_texts()
            # Rounded twice: to 12 and 14 binary digits in the page's data, then to decimal ones.
            if "…" in cosine:
                assert float(cosine.rstrip("…")) <= one["cosine"] < 1
            else:
                says(cosine, Bound(one["cosine"]))
            says(distance, Bound(one["distance"]))
        # Its proof: the stored weights, the heaviest first, behind those that suffice
        page.evaluate("document.querySelectorAll('#panel details').forEach((one) => { one.open = true; })")
        weights = {one["row_id"]: one["weight"] for one in hull if one["token_id"] == token}
        shown = page.locator("#panel .bars").last.locator("li:has(a)").all() if weights else []
        assert len(shown) == len(weights) <= 24
        for line in shown:
            other = re.search(r"#token=(\d+)$", line.locator("a").get_attribute("href") or "")
            assert other
            says(line.locator(".num").inner_text(), weights[int(other[1])])
