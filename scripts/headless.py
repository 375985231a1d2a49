"""Headless Chromium, started in one way by the tests of pages and by the scripts that look at pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from solvers.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_CANDIDATES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NOTE_BLOCKS = """(() => {
  window.blocks = [];
  new PerformanceObserver((seen) => {
    for (const { startTime, duration } of seen.getEntries()) window.blocks.push([startTime, duration]);
  }).observe({ type: 'longtask', buffered: true });
})();"""
"""Runs ahead of a page's own scripts: `window.blocks` gets the start and duration in ms of every task that keeps the
main thread for 50 ms or more (the browser tells of no shorter ones)."""


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser, closed at the end.

    Args:
        arguments: of the command line, beside the usual ones.

    Raises:
        MissingExtra: playwright is not installed.
        BadInput: there is no Chromium on the PATH.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingExtra("playwright is not installed (pip install -e '.[test]')") from None
    found = next(filter(None, map(shutil.which, _CANDIDATES)), None)
    if found is None:
        raise BadInput(f"no Chromium on the PATH (looked for {', '.join(_CANDIDATES)})")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*_ARGUMENTS, *arguments])
        yield browser
        browser.close()


def open_file(context: BrowserContext, file: Path, fragment: str = "", before: str | None = None) -> Page:
    """Open a page from disk and wait until it says that it is ready.

    Args:
        context: of the browser.
        file: the page.
        fragment: goes behind its address.
        before: a script that runs ahead of the page's own.
    """
    page = context.new_page()
    if before is not None:
        page.add_init_script(before)
    load(page, file, fragment)
    return page


def load(page: Page, file: Path, fragment: str = "") -> None:
    """Load a file into a page and wait until it says that it is ready."""
    page.goto(file.resolve().as_uri() + fragment)
    page.wait_for_selector("html[data-ready]", state="attached")


def scroll_through(page: Page) -> None:
    """Go down the page and back up, so that what waits until it comes into view is there."""
    page.evaluate(
        """async () => {
          const pause = () => new Promise((next) => setTimeout(() => requestAnimationFrame(next), 60));
          for (let top = 0; top < document.body.scrollHeight; top += innerHeight / 2) {
            scrollTo({ top, behavior: 'instant' });
            await pause();
          }
          scrollTo({ top: 0, behavior: 'instant' });
          await pause();
        }"""
    )


def pages_of(places: list[Path]) -> dict[str, Path]:
    """The pages at some places: each page that is named, and all that lie in a folder that is named.

    Args:
        places: run folders, or pages.

    Returns:
        By a name that tells them apart: that of the folder and of the page, with a number where two are alike.

    Raises:
        BadInput: a place is neither, or holds no page.
    """
    found: dict[str, Path] = {}
    for place in places:
        if place.is_dir():
            files = sorted(place.glob("*.html"))
            if not files:
                raise BadInput(f"{place}: no page lies there; 'reach report {place}' writes them")
        elif place.is_file() and place.suffix == ".html":
            files = [place]
        else:
            raise BadInput(f"{place} is neither a run folder nor a page (.html)")
        for file in files:
            stem = name = f"{file.resolve().parent.name}-{file.stem}"
            at = 1
            while name in found:
                at += 1
                name = f"{stem}-{at}"
            found[name] = file
    return found
