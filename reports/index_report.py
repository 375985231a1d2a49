"""A folder of runs in, its start page out: as HTML, or its table as Markdown or CSV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reach.export import as_csv
from reach.runs.atomic import write_page
from reports.index_markdown import index_markdown
from reports.index_page import IndexPage, index_page
from reports.index_runs import signature
from reports.render import render_page
from reports.site import is_start_page
from solvers.errors import BadInput

_SCRIPTS = (
    "address.js", "marks.js", "numbers.js", "filter.js", "facets.js", "ranges.js", "csv.js", "parquet.js",
    "export.js", "runs.js", "start.js",
)  # fmt: skip
_MOST_ROUNDS = 10

HTML, MARKDOWN, CSV = "index.html", "index.md", "index.csv"
_FORMS: dict[str, Callable[[IndexPage], str]] = {
    HTML: lambda page: render_page("index.html", scripts=_SCRIPTS, page=page),
    MARKDOWN: index_markdown,
    CSV: lambda page: as_csv(page.table),
}


def write_index(folder: Path, out: Path | None = None, *, force: bool = True, form: str = HTML) -> Path:
    """Write `index.html` in the folder, or at `out`, anew: after a run has come, gone or changed.

    Only manifests are read, so hundreds of runs take seconds. The page is replaced as a whole, and several processes
    may write it at once: each looks again after it has written, and writes again if a run has come meanwhile, so that
    the page that stays holds every run that was finished when its last writer began to look.

    Args:
        folder: of the runs.
        out: the file to write.
        force: replace a file that is there.
        form: `HTML`, or one of `MARKDOWN` and `CSV`, which is also the name of the file in the folder.

    Raises:
        BadInput: the folder holds no run, a page of another kind has its name there, or it cannot be written.
    """
    file = folder / form if out is None else out
    if out is None and form == HTML and file.is_file() and not is_start_page(file):
        raise BadInput(
            f"{file}: is there already and is no start page over runs; move it, or choose a place with --out"
        )
    for _ in range(_MOST_ROUNDS):
        before = signature(folder) if folder.is_dir() else ()
        write_page(file, _FORMS[form](index_page(folder, file)), force=force)
        if signature(folder) == before:
            break
        force = True
    return file
