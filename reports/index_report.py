"""A folder of runs in, one start page out."""

from __future__ import annotations

from pathlib import Path

from reach.runs.atomic import write_page
from reports.index_page import index_page
from reports.render import render_page


def write_index(folder: Path, out: Path | None = None, *, force: bool = True) -> Path:
    """Write `index.html` in the folder, or at `out`.

    Raises:
        BadInput: the folder holds no run, or the page cannot be written.
    """
    file = folder / "index.html" if out is None else out
    page = index_page(folder, file)
    write_page(file, render_page("index.html", scripts=("start.js",), page=page), force=force)
    return file
