"""A stored scan in, one self-contained HTML page out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reach.maps.found import MapFound, stored_map
from reach.runs.atomic import RUN_AGAIN, write_page
from reach.runs.folder import PAGE_FILE, RunFolder
from reports.render import TABLE_SCRIPTS, render_page
from reports.scan_page import scan_page
from reports.site import SCAN, Site, own_site

_SCRIPTS = (
    "decode.js",
    "marks.js",
    "numbers.js",
    "verdicts.js",
    "columns.js",
    "sidepanel.js",
    "panel.js",
    "scantable.js",
    *TABLE_SCRIPTS,
    "scales.js",
    "dotspick.js",
    "dotsview.js",
    "dotsgl.js",
    "dotsflat.js",
    "dotshand.js",
    "dotslegend.js",
    "dots.js",
    "scatter.js",
    "ramps.js",
    "mapcolours.js",
    "map.js",
    "main.js",
)


def write_scan_report(
    run: Path,
    out: Path | None = None,
    *,
    force: bool = True,
    again: str = RUN_AGAIN,
    map_of: Callable[[RunFolder], MapFound] = stored_map,
    site: Site | None = None,
    read: RunFolder | None = None,
) -> Path:
    """Write the report of a finished scan.

    Args:
        run: the run folder.
        out: the page to write; `report.html` in the run folder unless given.
        force: replace a page that is already there.
        again: what to do once the reason why it cannot be written is mended.
        map_of: gives the map that the page shows; by default the one that the run holds.
        site: the other pages; those of the run unless given.
        read: the run, where it has been read already.

    Returns:
        The path of the page.

    Raises:
        BadInput: the run is unfinished, damaged, empty or of another schema, or the page cannot be written.
    """
    folder = read or RunFolder.open(run)
    file = folder.path / PAGE_FILE if out is None else Path(out)
    write_page(
        file,
        render_page(
            "scan.html",
            scripts=_SCRIPTS,
            page=scan_page(folder, map_of),
            site=site or own_site(folder.path, file, SCAN),
        ),
        force=force,
        again=again,
    )
    return file
