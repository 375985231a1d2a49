"""Which pages `reach report` writes."""

from __future__ import annotations

from pathlib import Path

from reports.compare_report import write_compare_report
from reports.index_report import write_index
from reports.interference_page import write_interference_page
from reports.markdown import write_markdown
from reports.scan_report import write_scan_report
from reports.search_report import write_search_report
from reports.solvers_report import write_solvers_report
from solvers.errors import BadInput

_FURTHER = (
    ("solvers.json", "solvers.html", write_solvers_report),
    ("interference.json", "interference.html", write_interference_page),
    ("search.json", "search.html", write_search_report),
)
"""What other commands leave in a run folder, and its page."""


def write_reports(
    runs: list[Path], out: Path | None = None, *, index: Path | None = None, markdown: bool = False
) -> list[Path]:
    """Write what was asked for and say where it lies.

    Args:
        runs: run folders; several make a page that compares them.
        out: the file to write, unless its usual place will do.
        index: a folder of runs that gets a start page; `runs` is then empty.
        markdown: a summary in Markdown instead of a page.

    Raises:
        BadInput: the arguments do not go together, or a run cannot be reported.
    """
    if index is not None:
        if runs or markdown:
            raise BadInput("--index takes a folder and stands alone: leave out the runs and --markdown")
        return [write_index(index, out)]
    if not runs:
        raise BadInput("name at least one run folder, or --index FOLDER; make a run with 'reach scan MODEL'")
    if markdown:
        if len(runs) > 1 and out is not None:
            raise BadInput("--markdown writes one file per run: leave out --out, or name one run")
        return [write_markdown(run, out) for run in runs]
    if len(runs) == 1:
        pages = [write_scan_report(runs[0], out)]
        # Beside the other page, whose tokens they link to.
        for record, page, write in _FURTHER:
            if (runs[0] / record).is_file():
                pages.append(write(runs[0], pages[0].with_name(page)))
        return pages
    return [write_compare_report(runs, Path("compare.html") if out is None else out)]
