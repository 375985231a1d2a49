"""Headless Chromium for the tests that open a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from solvers.errors import BadInput

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

# Lets these tests run the `reach` command the way the tests of `reach` do.
sys.path.append(str(Path(__file__).resolve().parents[1] / "reach"))
# And starts the browser as the scripts do that look at pages.
sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))


def _absent(reason: str) -> None:
    # A machine of one's own may lack a browser; the project's own checks must never pass by skipping.
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    from headless import chromium

    with ExitStack() as open_ones:
        try:
            started = open_ones.enter_context(chromium())
        except BadInput as error:
            _absent(str(error))
        yield started


def _is_trouble(line: ConsoleMessage) -> bool:
    # A browser without a GPU reads every drawn frame back to show it, and says that this is slow.
    slow = "GL Driver Message (OpenGL, Performance" in line.text
    return line.type in ("error", "warning") and not slow


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page from disk, offline; `before` is a script that runs ahead of the page's own.

    At the end: no console error, no request but for the page's own data.
    """
    from headless import load

    contexts, troubles = [], []

    def open_page(file: Path, fragment: str = "", before: str | None = None, **options: object) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1360, "height": 900}} | options))
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        if before is not None:
            page.add_init_script(before)
        page.on("console", lambda line: troubles.append(line.text) if _is_trouble(line) else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith(("file:", "data:", "blob:"))
                else troubles.append(f"asked for {asked.url}")
            ),
        )
        load(page, file, fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
