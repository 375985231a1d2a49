"""Which pages `reach report` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reach.runs.atomic import RUN_AGAIN
from reach.maps.found import MapFound, stored_map
from reach.runs.folder import PAGE_FILE, RunFolder
from reach.studies import STUDIES
from reports.compare_report import write_compare_report
from reports.index_report import write_index
from reports.markdown import write_markdown
from reports.scan_report import write_scan_report
from solvers.errors import BadInput

_PAGES: tuple[tuple[str, str, Callable[..., Path]], ...] = (
    ("manifest.json", PAGE_FILE, write_scan_report),
    *((study.record.FILE, study.record.PAGE, study.writer()) for study in STUDIES.values()),
)
"""What commands leave in a run folder, and its page."""


def write_reports(
    runs: list[Path],
    out: Path | None = None,
    *,
    index: Path | None = None,
    markdown: bool = False,
    again: str = RUN_AGAIN,
    map_of: Callable[[RunFolder], MapFound] = stored_map,
) -> list[Path]:
    """Write what was asked for and say where it lies.

    Args:
        runs: run folders; several make a page that compares them.
        out: the file to write, unless its usual place will do. The further pages of a run go beside it.
        index: a folder of runs that gets a start page; `runs` is then empty.
        markdown: a summary in Markdown instead of a page.
        again: what to do once the reason why the pages of a run cannot be written is mended.
        map_of: gives a scan's page its map; by default the one that the run holds.

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
        return _all_pages(runs[0], out, again, map_of)
    return [write_compare_report(runs, Path("compare.html") if out is None else out)]


def _all_pages(
    run: Path, out: Path | None, again: str, map_of: Callable[[RunFolder], MapFound]
) -> list[Path]:
    """The pages of everything that a run folder holds, beside each other: they link to each other's tokens.

    A page that cannot be written does not keep the others from being written.
    """
    # Without any of them it is no run folder, and the scan's page says so.
    held = [page for page in _PAGES if (run / page[0]).is_file()] or _PAGES[:1]
    first = run / held[0][1] if out is None else out
    places = [first, *(first.with_name(name) for _, name, _ in held[1:])]
    if len(set(places)) < len(places):
        raise BadInput(f"{first}: a further page of {run} goes there; choose another name with --out")
    written, faults = list[Path](), list[BadInput]()
    for (_, _, write), place in zip(held, places, strict=True):
        further = {"map_of": map_of} if write is write_scan_report else {}
        try:
            written.append(write(run, place, again=again, **further))
        except BadInput as fault:
            faults.append(fault)
    if faults:
        kept = f" (written all the same: {', '.join(page.name for page in written)})" if written else ""
        raise BadInput(f"{faults[0]}{kept}")
    return written
