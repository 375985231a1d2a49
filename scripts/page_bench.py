"""What a page costs its reader: its size, its first paint, and how long it keeps the main thread busy at a stretch.

Each page is opened from disk several times in a fresh context; the best load counts, since other work on the machine
only ever adds to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from headless import NOTE_BLOCKS, chromium, open_file, pages_of, scroll_through

from solvers.errors import BadInput

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_TIMES = """() => ({
  paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN,
  ready: performance.getEntriesByName('reach-ready')[0]?.startTime ?? NaN,
})"""
_SHORTEST = 50
"""In ms: what the browser calls a long task; of shorter ones it does not tell."""


@dataclass(frozen=True)
class Load:
    """One opening of a page, in ms: when something is seen, when it is ready, and the longest blocks of the main
    thread until then and while the reader scrolls through it."""

    paint: float
    ready: float
    block: float
    scrolling: float


def main(
    pages: Annotated[list[Path], typer.Argument(help="Pages, or run folders.")],
    times: Annotated[int, typer.Option(min=1, help="Openings of each page; the best counts.")] = 5,
) -> None:
    try:
        files = pages_of(pages)
        with chromium() as browser:
            rows = [row(name, file, [load_once(browser, file) for _ in range(times)]) for name, file in files.items()]
    except BadInput as error:
        typer.echo(f"page_bench: {error}", err=True)
        raise typer.Exit(2) from None
    lines = [
        "| page | MB | first paint, ms | ready, ms | longest block, ms | while scrolling, ms |",
        "|---|---|---|---|---|---|",
    ]
    typer.echo("\n".join([*lines, *rows]))


def load_once(browser: Browser, file: Path) -> Load:
    """Open a page, wait until it is ready, and scroll through it."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_offline(True)
    page = open_file(context, file, before=NOTE_BLOCKS)
    page.wait_for_timeout(300)  # the browser tells of a long task once it is over
    times = page.evaluate(_TIMES)
    before = page.evaluate("window.blocks.splice(0)")
    scroll_through(page)
    page.wait_for_timeout(300)
    after = page.evaluate("window.blocks")
    context.close()
    longest = [max((duration for _, duration in blocks), default=0.0) for blocks in (before, after)]
    return Load(times["paint"], times["ready"], *longest)


def row(name: str, file: Path, loads: list[Load]) -> str:
    """A line of the table: the best of all loads, each number by itself."""
    size = f"{file.stat().st_size / 1e6:.2f}"
    best = [min(getattr(load, what) for load in loads) for what in ("paint", "ready", "block", "scrolling")]
    said = [f"{best[0]:.0f}", f"{best[1]:.0f}", *(f"{one:.0f}" if one else f"under {_SHORTEST}" for one in best[2:])]
    return f"| {name} | {size} | {' | '.join(said)} |"


if __name__ == "__main__":
    typer.run(main)
