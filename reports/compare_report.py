"""Stored scans in, one page that sets them side by side out."""

from __future__ import annotations

from pathlib import Path

from reach.runs.atomic import write_page
from reach.runs.folder import RunFolder
from reports.compare_page import compare_page
from reports.render import render_page

_SCRIPTS = ("start.js",)


def write_compare_report(runs: list[Path], out: Path, *, force: bool = True) -> Path:
    """Write the page.

    Args:
        runs: two or more run folders; the first is what the others are held against.
        out: the page to write.
        force: replace a page that is already there.

    Raises:
        BadInput: a run is unfinished, damaged, empty or of another schema, or the page cannot be written.
    """
    page = compare_page([RunFolder.open(run) for run in runs], out)
    write_page(out, render_page("compare.html", scripts=_SCRIPTS, page=page), force=force)
    return out
