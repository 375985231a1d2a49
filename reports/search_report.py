"""A stored search in, one self-contained HTML page out."""

from __future__ import annotations

from pathlib import Path

from reach.runs.atomic import RUN_AGAIN, write_page
from reach.search.stored import JSON_FILE, PAGE_FILE
from reports.render import render_page
from reports.search_page import search_page
from solvers.errors import BadInput

_SCRIPTS = (
    "decode.js", "marks.js", "numbers.js", "plots.js", "theme-button.js", "searchplots.js", "searchpanel.js",
    "search.js", "start.js",
)  # fmt: skip


def write_search_report(run: Path, out: Path | None = None, *, force: bool = True, again: str = RUN_AGAIN) -> Path:
    """Write the page of `reach search`: `search.html` in the run folder, or `out`.

    `again` says what to do once the reason why it cannot be written is mended.

    Raises:
        BadInput: the run holds no search, it is damaged or of another schema, or the page cannot be written.
    """
    file = run / PAGE_FILE if out is None else out
    try:
        page = search_page(run)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadInput(
            f"{run / JSON_FILE}: an entry is missing or of another kind ({error}); search again with --force"
        ) from None
    write_page(file, render_page("search.html", scripts=_SCRIPTS, plots=True, page=page), force=force, again=again)
    return file
