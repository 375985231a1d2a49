"""Which pages `reach report` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reach.bounded import is_there
from reach.maps.found import MapFound, stored_map
from reach.runs.atomic import RUN_AGAIN
from reach.runs.folder import RunFolder
from reach.runs.manifest import FILE
from reach.studies import STUDIES
from reach.trace.record import TraceRecord
from reports.compare_report import write_compare_report
from reports.index_report import CSV, HTML, MARKDOWN, write_index
from reports.markdown import write_markdown
from reports.scan_report import write_scan_report
from reports.site import SCAN, places, site_of
from reports.trace_page import write_trace_page
from solvers.errors import BadInput

_WRITERS: dict[str, Callable[..., Path]] = {
    SCAN: write_scan_report,
    **{study.record.FILE: study.writer() for study in STUDIES.values()},
}
"""What commands leave in a run folder, and who writes its page."""


def write_reports(
    runs: list[Path],
    out: Path | None = None,
    *,
    index: Path | None = None,
    markdown: bool = False,
    csv: bool = False,
    again: str = RUN_AGAIN,
    map_of: Callable[[RunFolder], MapFound] = stored_map,
) -> list[Path]:
    """Write what was asked for and say where it lies.

    Args:
        runs: run folders; several make a page that compares them. Or the folder of a trace.
        out: the file to write, unless its usual place will do. The further pages of a run go beside it.
        index: a folder of runs that gets a start page; `runs` is then empty.
        markdown: a summary in Markdown instead of a page.
        csv: the table of `index` as CSV instead of its page.
        again: what to do once the reason why the pages of a run cannot be written is mended.
        map_of: gives a scan's page its map; by default the one that the run holds.

    Raises:
        BadInput: the arguments do not go together, or a run cannot be reported.
    """
    if index is not None:
        if runs:
            raise BadInput("--index takes a folder and stands alone: leave out the runs")
        if markdown and csv:
            raise BadInput("--markdown and --csv are two forms of one table: choose one")
        return [write_index(index, out, form=MARKDOWN if markdown else CSV if csv else HTML)]
    if csv:
        raise BadInput(
            "--csv is the table over a folder of runs: name it with --index; the tokens of a run are "
            "'reach export RUN --csv'"
        )
    if not runs:
        raise BadInput("name at least one run folder, or --index FOLDER; make a run with 'reach scan MODEL'")
    if markdown:
        if len(runs) > 1 and out is not None:
            raise BadInput("--markdown writes one file per run: leave out --out, or name one run")
        return [write_markdown(run, out) for run in runs]
    if len(runs) == 1 and is_there(runs[0] / TraceRecord.FILE) and not is_there(runs[0] / FILE):
        return [write_trace_page(runs[0], out, again=again)]
    if len(runs) == 1:
        return _all_pages(runs[0], out, again, map_of)
    return [write_compare_report(runs, Path("compare.html") if out is None else out)]


def _all_pages(run: Path, out: Path | None, again: str, map_of: Callable[[RunFolder], MapFound]) -> list[Path]:
    """The pages of everything that a run folder holds, beside each other: they link to each other's tokens.

    A page that cannot be written does not keep the others from being written.
    """
    where = places(run, out)
    if len(set(where.values())) < len(where):
        raise BadInput(
            f"{next(iter(where.values()))}: a further page of {run} goes there; choose another name with --out"
        )
    written, faults = list[Path](), list[BadInput]()
    for record, place in where.items():
        further = {"map_of": map_of} if record == SCAN else {}
        try:
            written.append(_WRITERS[record](run, place, again=again, site=site_of(record, where), **further))
        except BadInput as fault:
            faults.append(fault)
    if faults:
        kept = f" (written all the same: {', '.join(page.name for page in written)})" if written else ""
        raise BadInput(f"{faults[0]}{kept}")
    return written
