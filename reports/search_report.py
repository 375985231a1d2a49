"""A stored search in, one self-contained HTML page out."""

from __future__ import annotations

from pathlib import Path

from reach.runs.atomic import write_page
from reports.render import render_page
from reports.search_page import search_page

_SCRIPTS = (
    "decode.js", "marks.js", "numbers.js", "plots.js", "theme-button.js", "searchplots.js", "searchpanel.js",
    "search.js", "start.js",
)  # fmt: skip


def write_search_report(run: Path, out: Path | None = None, *, force: bool = True) -> Path:
    """Write the page of `reach search`: `search.html` in the run folder, or `out`.

    Raises:
        BadInput: the run holds no search, it is damaged or of another schema, or the page cannot be written.
    """
    file = run / "search.html" if out is None else out
    page = search_page(run)
    write_page(file, render_page("search.html", scripts=_SCRIPTS, plots=True, page=page), force=force)
    return file
