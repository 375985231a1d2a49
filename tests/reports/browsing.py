"""What tests of several pages ask of a page in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Cells in sight whose text is wider than its place, unless all of it can be read by pointing: [key, text, title].
_CUT = """() => {
  const grid = document.getElementById('grid');
  return [...grid.querySelectorAll('.cell')].filter((cell) => {
    const place = cell.querySelector('button') ?? cell;
    if (place.scrollWidth <= place.clientWidth) {
      // The content must fit between the paddings, too.
      const content = document.createRange();
      content.selectNodeContents(place);
      const { paddingLeft, paddingRight } = getComputedStyle(place);
      const room = place.getBoundingClientRect().width - parseFloat(paddingLeft) - parseFloat(paddingRight);
      if (content.getBoundingClientRect().width <= room + 0.01) return false;
    }
    return !cell.title || (!cell.textContent.includes('…') && cell.title !== cell.textContent);
  }).map((cell) => [cell.className, cell.textContent, cell.title]);
}"""


def at_rest(page: Page) -> None:
    """Wait until the table shows what was asked of it: large ones take several slices of time."""
    page.locator("#grid:not([aria-busy])").wait_for()


def shown(page: Page) -> list[int]:
    """The ids in sight in the table, from the top."""
    at_rest(page)
    return [int(one) for one in page.locator("#grid-body .c-id").all_inner_texts()]


def unroll(page: Page) -> None:
    """Make the table so high that all rows of a small one are in it."""
    page.evaluate("document.getElementById('grid').style.height = '4000px'")
    rows = int(page.get_attribute("#grid", "aria-rowcount") or 0) - 1
    page.locator("#grid-body .line").nth(rows - 1).wait_for()


def see_plots(page: Page) -> None:
    """Scroll to the plots that are drawn only when they come near, and wait for them."""
    if page.locator("#margins #scatter").count():
        page.locator("#margins").scroll_into_view_if_needed()
    page.locator("html[data-plots='drawn']").wait_for(state="attached")


def cut_cells(page: Page, pages: int = 4) -> list[list[str]]:
    """Cells of the table that are cut off and cannot be read by pointing, over the first few screens of it."""
    found = {tuple(one) for one in page.evaluate(_CUT)}
    page.focus("#grid")
    for _ in range(pages):
        page.keyboard.press("PageDown")
        found |= {tuple(one) for one in page.evaluate(_CUT)}
    return [list(one) for one in sorted(found)]


def scrolls_sideways(page: Page) -> bool:
    """Whether the table or the page is wider than its place."""
    return bool(
        page.evaluate(
            """[document.querySelector('#grid'), document.documentElement]
                .some((one) => one.scrollWidth > one.clientWidth)"""
        )
    )
