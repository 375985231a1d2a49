"""A stored comparison of solvers in, one self-contained HTML page out."""

from __future__ import annotations

from pathlib import Path

from reach.runs.atomic import RUN_AGAIN, write_page
from reports.render import render_page
from reports.solvers_page import solvers_page

_SCRIPTS = (
    "decode.js",
    "marks.js",
    "numbers.js",
    "plots.js",
    "theme-button.js",
    "disagree.js",
    "solverplots.js",
    "solvers.js",
    "start.js",
)


def write_solvers_report(run: Path, out: Path | None = None, *, force: bool = True, again: str = RUN_AGAIN) -> Path:
    """Write the page of `compare-solvers`: `solvers.html` in the run folder, or `out`.

    `again` says what to do once the reason why it cannot be written is mended.

    Raises:
        BadInput: the run holds no comparison, it is damaged or of another schema, or the page cannot be written.
    """
    file = run / "solvers.html" if out is None else out
    page = solvers_page(run)
    write_page(file, render_page("solvers.html", scripts=_SCRIPTS, plots=True, page=page), force=force, again=again)
    return file
