"""Every page of real runs in a browser: nothing blank, nothing cut off, no entry of its data under a wrong name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import real_runs
from browsing import see_plots

from reach.search.options import LEVELS
from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]

# What a value that is not there looks like. "None is undecided." is a sentence, and so are some others.
BLANK = re.compile(
    r"not recorded|\bNone\b(?! is undecided| counts it| found)|"
    r"\bnan\b|NaN|undefined|\[object|\bnull\b|Infinity|\binf\b"
)

# What the scripts ask of the page's own data, and is not there: by name, with [] for places in a list.
NOTE_ABSENT = """(() => {
  const absent = (window.absent = new Set());
  const parse = JSON.parse;
  const watch = (value, path) => value === null || typeof value !== 'object' ? value : new Proxy(value, {
    get(target, key) {
      if (typeof key !== 'string') return Reflect.get(target, key);
      const list = Array.isArray(target);
      if (!(key in target) && !list && key !== 'toJSON') absent.add(`${path}.${key}`);
      const found = target[key];
      if (typeof found === 'function') return found;
      return watch(found, list ? `${path}[]` : `${path}.${key}`);
    },
  });
  JSON.parse = (text, ...more) => watch(parse(text, ...more), 'data');
})();"""

OPTIONAL = {
    "data.tokens[].claims.": "only of backends that made one",
    "data.margin.": "only of levels that were searched",
    "data[].lines[].dash": "only of lines that are not solid",
    "data[].points[].symbol": "only of points that are no dots",
    "data[].points[].token": "only of points that are tokens",
}
"""What the scripts may ask for in vain, and why. A name that ends with a dot stands for everything below it."""

PAGES: dict[str, tuple[Callable[[], Path], str]] = {
    "a scan": (real_runs.scanned, "report.html"),
    "a scan with margins": (real_runs.scanned_with_margins, "report.html"),
    "a scan with silencers": (real_runs.scanned_with_silencers, "report.html"),
    "a scan in part": (real_runs.scanned_in_part, "report.html"),
    "a scan in no time": (real_runs.scanned_in_no_time, "report.html"),
    "a scan of a wide head": (real_runs.scanned_widely, "report.html"),
    "a scan with a control": (real_runs.compared, "report.html"),
    "a comparison": (real_runs.compared, "solvers.html"),
    "a short comparison": (real_runs.compared_shortly, "solvers.html"),
    "a search": (real_runs.searched, "search.html"),
    "a short search": (real_runs.searched_shortly, "search.html"),
    "interference": (real_runs.measured, "interference.html"),
    "interference alone": (real_runs.measured_shortly, "interference.html"),
    "interference in many dimensions": (real_runs.measured_widely, "interference.html"),
}


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a name in PAGES, as `reach report` writes it; or of several runs, or of a folder of runs."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [real_runs.scanned, real_runs.scanned_in_part, real_runs.scanned_in_no_time]

    def write(name: str) -> Path:
        if name == "several scans":
            return write_reports([made() for made in runs], folder / "compare.html")[0]
        if name == "a folder of scans":
            for made in runs:
                made()
            return write_reports([], folder / "index.html", index=real_runs.scanned().parent)[0]
        made, page = PAGES[name]
        return next(one for one in write_reports([made()]) if one.name == page)

    return write


def drawn(page: Page) -> Page:
    see_plots(page)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    return page


def blanks(page: Page) -> list[str]:
    return [line for line in page.inner_text("body").splitlines() if BLANK.search(line)]


@pytest.mark.parametrize("name", [*PAGES, "several scans", "a folder of scans"])
def test_a_page_shows_what_its_run_holds(visit: Visit, page_of: Callable[[str], Path], name: str):
    page = drawn(visit(page_of(name), before=NOTE_ABSENT))
    assert blanks(page) == []
    absent = page.evaluate("[...window.absent]")
    assert [one for one in absent if not one.startswith(tuple(OPTIONAL))] == []
    # Nothing reaches beyond the page.
    assert page.evaluate("document.documentElement.scrollWidth") <= 1360


def one_of_each(file: Path, *columns: str) -> list[int]:
    """Ids of tokens, the first with each combination of entries in these columns."""
    table = pq.read_table(file, columns=list(columns)).to_pylist()
    return sorted({tuple(row.values()): at for at, row in reversed(list(enumerate(table)))}.values())


SCANS = [
    real_runs.scanned,
    real_runs.scanned_with_margins,
    real_runs.scanned_with_silencers,
    real_runs.scanned_in_part,
    real_runs.scanned_in_no_time,
]


@pytest.mark.parametrize("made", SCANS)
def test_the_panel_of_every_kind_of_token_is_filled(visit: Visit, made: Callable[[], Path]):
    tokens = one_of_each(made() / "verdicts.parquet", "verdict", "own_direction", "evidence", "stage", "witness")
    assert len(tokens) > 4
    page = visit(write_reports([made()])[0], before=NOTE_ABSENT)
    for token in tokens:
        page.evaluate("hash => { location.hash = hash; }", f"token={token}")
        page.locator(f"#panel-title:text-is('Token {token}')").wait_for()
        assert not BLANK.search(page.inner_text("#panel")), token
    assert page.evaluate("[...window.absent]") == []


def test_every_kind_of_token_of_a_search_opens(visit: Visit, page_of: Callable[[str], Path]):
    levels = [f"{level}_witness" for level in LEVELS]
    tokens = one_of_each(real_runs.searched() / "search.parquet", "verdict", "first_failed", *levels)
    assert len(tokens) > 4
    page = drawn(visit(page_of("a search"), before=NOTE_ABSENT))
    for token in tokens:
        page.evaluate("hash => { location.hash = hash; }", f"token={token}")
        page.locator(f"#panel-title:text-is('Token {token}')").wait_for()
        text = page.inner_text("#panel")
        assert not BLANK.search(text), token
    assert page.evaluate("[...window.absent]") == []


def test_verdict_and_margin_come_first_on_a_phone(visit: Visit):
    page = visit(write_reports([real_runs.scanned()])[0], viewport={"width": 390, "height": 800})
    cells = page.locator("#grid-body .line").first.locator(".cell:visible")
    placed = cells.evaluate_all(
        "all => all.map((one) => [one.getBoundingClientRect().left, one.className.split(' ')[1]])"
    )
    assert [name for _, name in sorted(placed)] == ["c-verdict", "c-margin", "c-id", "c-token"]
    assert page.evaluate("document.querySelector('#grid').scrollWidth <= document.querySelector('#grid').clientWidth")


def test_a_mix_of_all_rows_says_that_its_weights_are_a_summary(visit: Visit, page_of: Callable[[str], Path]) -> None:
    page = visit(page_of("a scan of a wide head"), "#token=598")
    page.wait_for_selector("#panel:not([hidden])")
    text = page.locator("#panel").inner_text()
    assert "Its row lies inside the hull of the others" in text
    assert re.search(r"Below are the 8 heaviest of these weights, 0\.\d+ of the whole\. They are a summary", text)
    assert page.locator("#panel .bars li").count() == 8
