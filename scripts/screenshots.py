"""Pictures of every page of some runs: three widths, light and dark, and with the panel of a token open."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from headless import chromium, load, pages_of, scroll_through

from solvers.errors import BadInput

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = {1400: 900, 800: 900, 390: 844}
"""Widths of the window, each with its height."""
SCHEMES = ("light", "dark")
_PANEL = "#panel"
"""Where a page shows a single token, if it does."""


@dataclass(frozen=True)
class Picture:
    """One picture: of which page, how, and its file."""

    page: str
    width: int
    scheme: str
    part: str
    file: Path


def main(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or single pages.")],
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("screenshots"),
    unfold: Annotated[bool, typer.Option("--unfold", help="With all that is folded away opened.")] = False,
) -> None:
    try:
        pages = pages_of(runs)
        if out.exists() and not out.is_dir():
            raise BadInput(f"--out {out} is a file: name a folder")
        with chromium() as browser:
            out.mkdir(parents=True, exist_ok=True)
            taken = [one for name, file in pages.items() for one in photograph(browser, name, file, out, unfold)]
    except BadInput as error:
        typer.echo(f"screenshots: {error}", err=True)
        raise typer.Exit(2) from None
    index = out / "index.html"
    index.write_text(gallery(taken), encoding="utf-8")
    typer.echo(f"{len(taken)} pictures of {len(pages)} pages: {index}")


def photograph(browser: Browser, name: str, file: Path, out: Path, unfold: bool) -> list[Picture]:
    """All pictures of one page."""
    taken = []
    for width, height in WIDTHS.items():
        for scheme in SCHEMES:
            size = {"width": width, "height": height}
            context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
            context.set_offline(True)
            page = context.new_page()
            load(page, file)
            if unfold:
                page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            scroll_through(page)
            wanted = [("page", True)]
            if page.locator(_PANEL).count():
                wanted.append(("token", False))
            for part, whole in wanted:
                if part == "token":
                    show_token(page, remarkable(file.parent))
                picture = Picture(name, width, scheme, part, out / f"{name}-{width}-{scheme}-{part}.png")
                page.screenshot(path=picture.file, full_page=whole)
                taken.append(picture)
            context.close()
    return taken


def remarkable(run: Path) -> int:
    """A token whose panel has much to show: the first unspeakable one, or else the first."""
    table = run / "verdicts.parquet"
    if not table.is_file():
        return 0
    at = pc.index(pq.read_table(table, columns=["verdict"])["verdict"].cast("string"), "unspeakable").as_py()
    return max(0, at)


def show_token(page: Page, token: int) -> None:
    """Open the panel of a token where the page has one."""
    page.evaluate("hash => { location.hash = hash; }", f"token={token}")
    page.locator(_PANEL).first.wait_for(state="attached")
    page.wait_for_timeout(200)


def gallery(taken: list[Picture]) -> str:
    """A page of all pictures, one line for each page and part."""
    lines = []
    for page, part in dict.fromkeys((one.page, one.part) for one in taken):
        cells = "".join(
            f'<figure><a href="{html.escape(one.file.name)}"><img loading="lazy" src="{html.escape(one.file.name)}" '
            f'alt="{html.escape(page)}, {one.width} pixels, {one.scheme}"></a>'
            f"<figcaption>{one.width}, {one.scheme}</figcaption></figure>"
            for one in taken
            if (one.page, one.part) == (page, part)
        )
        lines.append(f"<h2>{html.escape(page)}, {part}</h2><div>{cells}</div>")
    style = (
        "body{font:15px system-ui;margin:2rem}div{display:flex;gap:1rem;overflow-x:auto}figure{margin:0}"
        "img{height:420px;border:1px solid #999}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Pictures of pages</title><style>{style}</style>'
        f"<h1>Pictures of pages</h1>{''.join(lines)}</html>\n"
    )


if __name__ == "__main__":
    typer.run(main)
