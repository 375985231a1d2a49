"""The pages of a run folder: beside each other, linked to each other and to the same token."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from reach.runs.folder import PAGE_FILE
from reach.studies import STUDIES

SCAN = "manifest.json"
"""What a scan leaves in a run folder; a study leaves the file of its record."""
TRACE = ("trace.json", "trace.html")
"""What a trace leaves in a folder of its own: its record and its page, by the names of `reach.trace.record`, which
takes a second to import."""
_OPENS_TOKENS = frozenset({SCAN, "solvers.json", "search.json"})
_MARK = '<meta name="generator" content="token-reachability start page">'
_MARKED = 2000
_DEEPEST = 3


@dataclass(frozen=True)
class PageLink:
    """A page of a run.

    Attributes:
        record: whose page it is.
        title: in links.
        href: from the pages beside it.
        current: it is the page that the link stands on.
        tokens: it opens a token that its address names.
    """

    record: str
    title: str
    href: str
    current: bool
    tokens: bool


@dataclass(frozen=True)
class Site:
    """The pages of a run, the scan's among them, and the start page over many runs above it, if there is one."""

    pages: tuple[PageLink, ...]
    scan: str
    start: str | None


def page_files() -> dict[str, str]:
    """What commands leave in a run folder, and the name of its page there, in the order of the pages."""
    return {SCAN: PAGE_FILE} | {study.record.FILE: study.record.PAGE for study in STUDIES.values()}


def title_of(record: str) -> str:
    """The title of a record's page, in links."""
    return "Scan" if record == SCAN else Path(page_files()[record]).stem.capitalize()


def held(run: Path) -> dict[str, str]:
    """The pages that a run folder can have: those of what it holds."""
    return {record: page for record, page in page_files().items() if (run / record).is_file()}


def places(run: Path, out: Path | None) -> dict[str, Path]:
    """Where the pages of a run go: into its folder, or the first to `out` and the others beside it.

    Without any record it is no run folder; the scan's page is the one that says so.
    """
    found = held(run) or {SCAN: PAGE_FILE}
    first = out or run / next(iter(found.values()))
    return {record: first if at == 0 else first.with_name(page) for at, (record, page) in enumerate(found.items())}


def site_of(record: str, where: dict[str, Path]) -> Site:
    """The site as the page of one record sees it.

    Args:
        record: whose page links.
        where: the pages' places, all in one folder.
    """
    links = tuple(
        PageLink(one, title_of(one), place.name, one == record, one in _OPENS_TOKENS) for one, place in where.items()
    )
    scan = where[SCAN].name if SCAN in where else PAGE_FILE
    return Site(links, scan, _start_above(where[record]))


def own_site(run: Path, page: Path, record: str) -> Site:
    """The site of a page that is written alone: the others of its run are beside it, under their own names."""
    beside = {one: page.with_name(name) for one, name in held(run).items()}
    return site_of(record, beside | {record: page})


def _start_above(page: Path) -> str | None:
    """The nearest start page in the folders above a page."""
    folder = page.resolve().parent
    for _, above in zip(range(_DEEPEST), folder.parents, strict=False):
        file = above / "index.html"
        if is_start_page(file):
            return Path(os.path.relpath(file, folder)).as_posix()
    return None


def is_start_page(file: Path) -> bool:
    """Whether a file is a start page over runs, and no other page of that name."""
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return _MARK in stream.read(_MARKED)
    except OSError:
        return False
